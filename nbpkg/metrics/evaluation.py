"""The table of results: every score with interval, size, chance and human ceiling."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import permutations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg import tables
from nbpkg.errors import TableError
from nbpkg.metrics import classification as scores
from nbpkg.metrics import intervals


def score_predictions(
    predictions: pd.DataFrame, samples: pd.DataFrame, *, seed: int, resamples: int = 2000, level: float = 0.95
) -> pd.DataFrame:
    """Score answers against every rater's labels, per task and variable.

    Balanced accuracy, accuracy and F1; for two classes also recall, specificity, precision, area under the ROC curve
    (``auc``) and Brier score. Chance comes from the very labels that are scored. The human ceiling is the score of one
    rater against another on the same clips (`human_ceiling`); it is unknown for metrics that need a probability.

    Parameters
    ----------
    predictions
        Table ``predictions``.
    samples
        Table ``samples``; those not predicted are ignored.
    seed
        The experiment's seed.
    resamples
        Bootstrap resamples of the sessions.
    level
        Coverage of the intervals.

    Returns
    -------
    pandas.DataFrame
        Table ``metrics``.

    Raises
    ------
    TableError
        When a prediction belongs to no sample, or its label differs from the sample's.
    """
    answered = _answered(predictions, samples)
    ceilings = human_ceiling(answered).set_index(["task", "variable", "metric"])["value"]
    rows = []
    for (task, variable), part in predictions.groupby(["task", "variable"], sort=True):
        for row in _measures(part, seed=seed, resamples=resamples, level=level):
            ceiling = ceilings.get((task, variable, row["metric"]), np.nan)
            rows.append({"task": task, "variable": variable, **row, "ceiling": ceiling})
    return tables.from_rows(rows, "metrics")


def human_ceiling(samples: pd.DataFrame, metrics: Sequence[scores.Metric] = scores.BINARY) -> pd.DataFrame:
    """Score one rater's clip labels against another's on the same clips, averaged over all ordered pairs of raters.

    Parameters
    ----------
    samples
        Table ``samples``; the raters of one clip share its ``clip_id``.
    metrics
        Metrics to compute.

    Returns
    -------
    pandas.DataFrame
        task, variable, metric, value (NaN when unknown), n (clips with two raters or more), pairs (ordered pairs of
        raters in which the metric is defined) and reason.

    Raises
    ------
    TableError
        When a rater labels the same clip twice.
    """
    rows = []
    for (task, variable), part in samples.groupby(["task", "variable"], sort=True):
        if part.duplicated(["clip_id", "rater"]).any():
            clip = part.loc[part.duplicated(["clip_id", "rater"]), "clip_id"].iloc[0]
            raise TableError(
                f"A rater labels clip {clip!r} twice for {task} {variable}.",
                expected="One row per clip, rater, task and variable.",
                remedy="Make the samples again.",
            )
        labels = part.pivot_table(index="clip_id", columns="rater", values="label").to_numpy(np.float64)
        shared = int(((~np.isnan(labels)).sum(axis=1) >= 2).sum())
        classes = max(2, int(part["label"].max()) + 1)
        pairs = list(_pair_confusions(labels, classes))
        for metric in metrics if classes == 2 else scores.ANY_CLASSES:
            values = metric.compute(np.array(pairs, np.float64)) if pairs else np.empty(0)
            defined = values[~np.isnan(values)]
            reason = "" if len(defined) else metric.undefined if pairs else "no clip has two raters"
            value = float(defined.mean()) if len(defined) else np.nan
            record = {"metric": metric.name, "value": value, "n": shared, "pairs": len(defined), "reason": reason}
            rows.append({"task": task, "variable": variable, **record})
    columns = ["task", "variable", "metric", "value", "n", "pairs", "reason"]
    return pd.DataFrame(rows, columns=columns)


def _pair_confusions(labels: NDArray[np.float64], classes: int) -> Iterator[NDArray[np.int64]]:
    """Confusion matrix of each ordered pair of raters (columns) on the clips (rows) both labelled."""
    for truth, answer in permutations(range(labels.shape[1]), 2):
        both = ~np.isnan(labels[:, truth]) & ~np.isnan(labels[:, answer])
        if both.any():
            yield scores.confusion(labels[both, truth], labels[both, answer], classes=classes)


def _answered(predictions: pd.DataFrame, samples: pd.DataFrame) -> pd.DataFrame:
    known = samples.set_index("sample_id")
    strangers = [name for name in predictions["sample_id"] if name not in known.index]
    if strangers:
        raise TableError(
            f"{len(strangers)} predictions belong to no sample: {', '.join(strangers[:5])}.",
            remedy="Predict and evaluate with the same samples.",
        )
    own = known.loc[predictions["sample_id"]]
    differing = predictions.loc[own["label"].to_numpy() != predictions["label"].to_numpy(), "sample_id"]
    if len(differing):
        raise TableError(
            f"{len(differing)} predictions carry another label than their sample: {', '.join(differing[:5])}.",
            remedy="Predict and evaluate with the same samples.",
        )
    return own.reset_index()


def _measures(part: pd.DataFrame, *, seed: int, resamples: int, level: float) -> Iterator[dict[str, object]]:
    """Compute all metrics of one task and variable."""
    label, answer = part["label"].to_numpy(), part["predicted"].to_numpy()
    classes = max(2, int(max(label.max(), answer.max())) + 1)
    session, names = pd.factorize(part["session"], sort=True)
    per_session = np.array(
        [scores.confusion(label[session == i], answer[session == i], classes=classes) for i in range(len(names))]
    )
    whole = per_session.sum(axis=0)
    shares = whole.sum(axis=1) / whole.sum()
    size = {"n": len(part), "n_groups": len(names)}
    for metric in scores.BINARY if classes == 2 else scores.ANY_CLASSES:
        value, reason = scores.measure(metric, whole)
        found = intervals.bootstrap_counts(per_session, metric.compute, seed=seed, resamples=resamples, level=level)
        yield _record(metric.name, metric.direction, scores.Value(value, reason), found, metric.chance(shares), size)
    if classes > 2:
        return
    score = part["score"].to_numpy(np.float64)
    area = scores.area_under_curve(label, score)
    wins = scores.pair_wins(label, score, session.astype(np.int64))
    by_class = per_session.sum(axis=2)
    found = intervals.bootstrap_area(
        wins, by_class[:, 1], negatives=by_class[:, 0], seed=seed, resamples=resamples, level=level
    )
    yield _record("auc", "higher", area, found, 0.5, size)
    error = (score - label) ** 2
    reason = f"{int(np.isnan(score).sum())} samples have no score" if np.isnan(score).any() else ""
    sums = np.stack([np.bincount(session, weights=error), np.bincount(session)], axis=1)
    brier = scores.Value(float(error.mean()), reason)
    found = intervals.bootstrap_counts(sums, lambda s: s[:, 0] / s[:, 1], seed=seed, resamples=resamples, level=level)
    yield _record("brier", "lower", brier, found, float(shares[1] * shares[0]), size)


def _record(
    name: str,
    direction: str,
    value: scores.Value,
    interval: intervals.Interval,
    chance: float,
    size: dict[str, int],
) -> dict[str, object]:
    undefined = np.isnan(value.value)  # an interval around nothing would only mislead
    return {
        "metric": name,
        "direction": direction,
        "value": value.value,
        "low": np.nan if undefined else interval.low,
        "high": np.nan if undefined else interval.high,
        "chance": chance,
        **size,
        "reason": value.reason,
    }
