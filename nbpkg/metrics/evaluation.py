"""The table of results: every score with interval, size, chance and human ceiling, for all clips and for each part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg import tables
from nbpkg.errors import TableError
from nbpkg.metrics import classification as scores
from nbpkg.metrics import intervals
from nbpkg.metrics.machine import one_answer, pick_test, take_majority

Array = NDArray[np.float64]
PAIR = ["task", "variable"]
CLIP = ["session", "start_ms", "end_ms"]
NOT_MANY = 2_000_000  # numbers held at once while curves are resampled


@dataclass(frozen=True)
class _Part:
    """What one row of scores is about: samples, what the people say of them, and what was left out."""

    by: str
    name: str
    role: str
    rows: pd.DataFrame
    ceiling: list[NDArray[np.int64]]  # confusion matrices of people in the model's place
    left_out: str = ""


def score_predictions(
    predictions: pd.DataFrame, samples: pd.DataFrame, *, seed: int, resamples: int = 2000, level: float = 0.95
) -> pd.DataFrame:
    """Score answers per task and variable: on the whole test fold, and for every rater, session and fold.

    What is scored, in column ``by``:

    - ``all``: every rater's label of each test clip is a sample. Ceiling: one rater against another on the same clips.
    - ``majority``: each test clip is a sample, with the label that most of its raters gave; ties are left out and
      counted in ``reason``. Ceiling: each rater against the majority of the others.
    - ``rater``: one rater's labels of the test clips. Ceiling: the other raters against this one.
    - ``session``, ``fold``: as ``all``, on one test session, and on one fold whatever its role.

    Metrics: balanced accuracy, accuracy and F1; for two classes also recall, specificity, precision, area under the
    ROC curve (``auc``), area under the precision-recall curve (``average_precision``), Brier score and expected
    calibration error (``calibration_error``, 10 equally wide bins). Chance comes from the very labels that are scored;
    for the calibration error it is left open, since always answering the share of positives would be perfectly
    calibrated. Its interval lies high, because a resample holds fewer different clips. The ceiling is unknown for
    metrics that need a probability. Intervals need two sessions.

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
        When a prediction belongs to no sample, its label differs from the sample's, no row is of the test fold, the
        model answers one clip in two ways, or a fold has two roles for one task and variable.
    """
    _check_known(predictions, samples)
    pick_test(predictions)
    rows = []
    for (task, variable), part in predictions.groupby(PAIR, sort=True):
        classes = _count_classes(part)
        for one in _split(part, classes):
            who = {"task": task, "variable": variable, "by": one.by, "name": one.name, "role": one.role}
            for row in _measures(one.rows, classes, seed=seed, resamples=resamples, level=level):
                reason = "; ".join(text for text in (str(row["reason"]), one.left_out) if text)
                ceiling = _mean_score(str(row["metric"]), one.ceiling).value
                rows.append({**who, **row, "reason": reason, "ceiling": ceiling})
    return tables.from_rows(rows, "metrics")


def human_ceiling(
    samples: pd.DataFrame,
    metrics: Sequence[scores.Metric] = scores.BINARY,
    *,
    against: Literal["raters", "majority"] = "raters",
) -> pd.DataFrame:
    """Score people as if they were the model, on the same clips.

    Parameters
    ----------
    samples
        Table ``samples`` or ``predictions``.
    metrics
        Metrics to compute.
    against
        ``raters``: one rater's labels against another's, averaged over all ordered pairs of raters. ``majority``: each
        rater against the majority of the others, averaged over the raters; clips on which the others are tied are left
        out.

    Returns
    -------
    pandas.DataFrame
        task, variable, metric, value (NaN when unknown), n (clips with two raters or more), pairs (comparisons in which
        the metric is defined) and reason.

    Raises
    ------
    TableError
        When a rater labels the same clip twice.
    """
    rows = []
    for (task, variable), part in samples.groupby(PAIR, sort=True):
        classes = max(2, int(part["label"].max()) + 1)
        labels, _ = _side_by_side(part)
        shared = int(((~np.isnan(labels)).sum(axis=1) >= 2).sum())
        compare = _confuse_raters if against == "raters" else _confuse_with_others
        found = [table for _, table in compare(labels, classes)]
        for metric in metrics if classes == 2 else scores.ANY_CLASSES:
            value, reason = _mean_score(metric.name, found)
            pairs = int((~np.isnan(metric.compute(np.array(found, np.float64)))).sum()) if found else 0
            own = {"metric": metric.name, "value": value, "n": shared, "pairs": pairs, "reason": reason}
            rows.append({"task": task, "variable": variable, **own})
    columns = ["task", "variable", "metric", "value", "n", "pairs", "reason"]
    return pd.DataFrame(rows, columns=columns)


def label_by_majority(predictions: pd.DataFrame, *, classes: int = 2) -> tuple[pd.DataFrame, int]:
    """Turn predictions of one task and variable into one row per clip, labelled by the majority of its raters.

    Returns
    -------
    rows : pandas.DataFrame
        task, variable, session, start_ms, end_ms, score, predicted and label.
    ties : int
        Clips left out because two labels were given equally often.
    """
    labels, clips = _side_by_side(predictions)
    label = pd.Series(take_majority(labels, classes=classes), index=clips, name="label")
    answers = one_answer(predictions).join(label, on=CLIP)
    kept = answers.dropna(subset=["label"]).astype({"label": int})
    return kept.reset_index(drop=True), len(answers) - len(kept)


def _split(part: pd.DataFrame, classes: int) -> Iterator[_Part]:
    """Cut the predictions of one task and variable into everything that is scored."""
    test = part[part["role"] == "test"]
    labels, clips = _side_by_side(test)
    pairs = list(_confuse_raters(labels, classes))
    yield _Part("all", "", "test", test, [table for _, table in pairs])
    by_clip, ties = label_by_majority(test, classes=classes)
    others = [table for _, table in _confuse_with_others(labels, classes)]
    left_out = f"{ties} clips without a majority left out" if ties else ""
    yield _Part("majority", "", "test", by_clip, others, left_out)
    raters = sorted(set(test["rater"]))
    for place, rater in enumerate(raters):
        own = [table for truth, table in pairs if truth == place]
        yield _Part("rater", rater, "test", test[test["rater"] == rater], own)
    session_of_clip = clips.get_level_values("session")
    for session, rows in test.groupby("session", sort=True):
        within = _confuse_raters(labels[session_of_clip == session], classes)
        yield _Part("session", str(session), "test", rows, [table for _, table in within])
    for fold, rows in part.groupby("fold", sort=True):
        roles = sorted(set(rows["role"]))
        if len(roles) > 1:
            raise TableError(
                f"Fold {fold} has the roles {' and '.join(roles)}.",
                where=f"table 'predictions', {rows['task'].iloc[0]} {rows['variable'].iloc[0]}",
                expected="One role per fold.",
            )
        within = _confuse_raters(_side_by_side(rows)[0], classes)
        yield _Part("fold", str(fold), roles[0], rows, [table for _, table in within])


def _side_by_side(part: pd.DataFrame) -> tuple[Array, pd.MultiIndex]:
    """Put the raters of one task and variable in columns, in order of name: labels [clips, raters], and the clips."""
    if part.duplicated([*CLIP, "rater"]).any():
        one = part.loc[part.duplicated([*CLIP, "rater"])].iloc[0]
        raise TableError(
            f"Rater {one['rater']!r} labels the clip at {one['start_ms']} ms of session {one['session']!r} twice for "
            f"{one['task']} {one['variable']}.",
            expected="One row per clip, rater, task and variable.",
            remedy="Make the samples again.",
        )
    clips = pd.MultiIndex.from_frame(part[CLIP])
    place, index = pd.factorize(clips, sort=True)
    rater, names = pd.factorize(part["rater"], sort=True)
    labels = np.full((len(index), len(names)), np.nan)
    labels[place, rater] = part["label"]
    return labels, pd.MultiIndex.from_tuples(list(index), names=CLIP)


def _confuse_raters(labels: Array, classes: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Confusion matrix of each ordered pair of raters (columns) on the clips (rows) both labelled, with the first."""
    for truth, answer in permutations(range(labels.shape[1]), 2):
        both = ~np.isnan(labels[:, truth]) & ~np.isnan(labels[:, answer])
        if both.any():
            yield truth, scores.confusion(labels[both, truth], labels[both, answer], classes=classes)


def _confuse_with_others(labels: Array, classes: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Confusion matrix of each rater against the majority of the other raters of each clip."""
    for rater in range(labels.shape[1]) if labels.shape[1] > 1 else ():
        others = take_majority(np.delete(labels, rater, axis=1), classes=classes)
        both = ~np.isnan(others) & ~np.isnan(labels[:, rater])
        if both.any():
            yield rater, scores.confusion(others[both], labels[both, rater], classes=classes)


def _mean_score(name: str, confusions: Sequence[NDArray[np.int64]]) -> scores.Value:
    """Average a metric over comparisons between people, leaving undefined ones out."""
    metric = next((metric for metric in scores.BINARY if metric.name == name), None)
    if metric is None:
        return scores.Value(np.nan, "people give no probabilities")
    if not confusions:
        return scores.Value(np.nan, "no clip has two raters")
    values = metric.compute(np.array(confusions, np.float64))
    if np.isnan(values).all():
        return scores.Value(np.nan, metric.undefined)
    return scores.Value(float(np.nanmean(values)))


def _check_known(predictions: pd.DataFrame, samples: pd.DataFrame) -> None:
    known = samples.set_index("sample_id")["label"]
    strangers = predictions.loc[~predictions["sample_id"].isin(known.index), "sample_id"]
    if len(strangers):
        raise TableError(
            f"{len(strangers)} predictions belong to no sample: {', '.join(strangers[:5])}.",
            remedy="Predict and evaluate with the same samples.",
        )
    own = known.loc[predictions["sample_id"]].to_numpy()
    differing = predictions.loc[own != predictions["label"].to_numpy(), "sample_id"]
    if len(differing):
        raise TableError(
            f"{len(differing)} predictions carry another label than their sample: {', '.join(differing[:5])}.",
            remedy="Predict and evaluate with the same samples.",
        )


def _count_classes(part: pd.DataFrame) -> int:
    return max(2, int(part[["label", "predicted"]].to_numpy().max()) + 1)


def _measures(
    part: pd.DataFrame, classes: int, *, seed: int, resamples: int, level: float
) -> Iterator[dict[str, object]]:
    """Compute all metrics of one set of samples."""
    label, answer = part["label"].to_numpy(), part["predicted"].to_numpy()
    session, names = pd.factorize(part["session"], sort=True)
    weights = intervals.draw_weights(len(names), seed=seed, resamples=resamples if len(names) > 1 else 0)
    size = {"n": len(part), "n_groups": len(names)}

    def record(
        name: str, direction: str, found: scores.Value, *, draws: Array, chance: float = np.nan
    ) -> dict[str, object]:
        interval = intervals.percentile_interval(draws, n_groups=len(names), level=level)
        undefined = np.isnan(found.value)  # an interval around nothing would only mislead
        low, high = (np.nan, np.nan) if undefined else (interval.low, interval.high)
        own = {"metric": name, "direction": direction, "value": found.value, "low": low, "high": high}
        return {**own, "chance": chance, **size, "reason": found.reason}

    cell = (session * classes + label) * classes + answer
    table = np.bincount(cell, minlength=len(names) * classes**2).reshape(-1, classes, classes).astype(np.float64)
    whole, drawn = table.sum(axis=0), np.tensordot(weights, table, axes=1)
    shares = whole.sum(axis=1) / whole.sum() if len(part) else np.full(classes, np.nan)
    for metric in scores.BINARY if classes == 2 else scores.ANY_CLASSES:
        found, draws = scores.measure(metric, whole), metric.compute(drawn)
        yield record(metric.name, metric.direction, found, draws=draws, chance=metric.chance(shares))
    if classes == 2:
        score = part["score"].to_numpy(np.float64)
        for name, direction, found, draws in _probability_scores(label, score, session, weights):
            chance = {"auc": 0.5, "average_precision": shares[1], "brier": shares[0] * shares[1]}.get(name, np.nan)
            yield record(name, direction, found, draws=draws, chance=float(chance))


def _probability_scores(
    label: NDArray, score: Array, session: NDArray[np.intp], weights: Array
) -> Iterator[tuple[str, str, scores.Value, Array]]:
    """Compute the metrics of probabilities, each with its resampled values."""
    unscored = int(np.isnan(score).sum())
    lacking = f"{unscored} samples have no score" if unscored else "" if len(score) else "no samples"
    one_class = scores.why_no_area(label, score)
    nothing = np.full(len(weights), np.nan)
    if lacking:
        for name, direction in (("auc", "higher"), ("average_precision", "higher")):
            yield name, direction, scores.Value(np.nan, one_class), nothing
        for name in ("brier", "calibration_error"):
            yield name, "lower", scores.Value(np.nan, lacking), nothing
        return
    counts = scores.count_thresholds(label, score, session)
    by_class = counts.sum(axis=1)
    wins = scores.pair_wins(label, score, session)
    pairs = (weights @ by_class[:, 1]) * (weights @ by_class[:, 0])
    won = np.einsum("rg,gh,rh->r", weights, wins, weights, optimize=True)
    areas = np.full(len(pairs), np.nan)
    np.divide(won, pairs, out=areas, where=pairs > 0)
    yield "auc", "higher", scores.area_under_curve(label, score), areas
    precision = scores.Value(float(scores.average_precision(counts.sum(axis=0))), one_class)
    batches = np.array_split(weights, max(1, len(weights) * counts.shape[1] * 2 // NOT_MANY))
    drawn = [scores.average_precision(np.tensordot(batch, counts, axes=1)) for batch in batches]
    yield "average_precision", "higher", precision, np.concatenate(drawn)
    error = np.stack([np.bincount(session, (score - label) ** 2), np.bincount(session)], axis=1)
    sums = weights @ error
    whole = error.sum(axis=0)
    yield "brier", "lower", scores.Value(float(whole[0] / whole[1])), sums[:, 0] / sums[:, 1]
    bins = scores.count_bins(label, score, session)
    found = scores.Value(float(scores.calibration_error(bins.sum(axis=0))))
    yield "calibration_error", "lower", found, scores.calibration_error(np.tensordot(weights, bins, axes=1))
