"""The table of results: every score with an interval over families and what a constant answer would get beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from nbpkg.errors import TableError
from nbpkg.metrics import intervals
from nbpkg.metrics.classification import area_under_curve, pair_wins
from nbpkg.metrics.people.confusion import CONFUSION_SCORES, answer_majority, class_f1
from nbpkg.metrics.people.predictions import check_predictions, list_scores
from nbpkg.metrics.people.ranking import (
    as_scores,
    average_precision,
    mean_average_precision,
    mmit_mean_average_precision,
    top_k_hits,
)

Array = NDArray[np.float64]
COLUMNS = ["metric", "direction", "value", "low", "high", "n", "families", "undefined", "majority", "reason"]
CLASS_COLUMNS = [
    "label",
    "name",
    "n",
    "answers",
    "precision",
    "recall",
    "f1",
    "f1_low",
    "f1_high",
    "auc",
    "auc_low",
    "auc_high",
    "average_precision",
    "reason",
]


@dataclass(frozen=True)
class Resampling:
    """How intervals are made.

    Parameters
    ----------
    seed
        The experiment's seed.
    resamples
        Draws of families.
    level
        Coverage asked for.
    """

    seed: int
    resamples: int = 2000
    level: float = 0.95


@dataclass(frozen=True)
class _Answers:
    """What is scored, in arrays."""

    truth: NDArray[np.int64]
    predicted: NDArray[np.int64]
    scores: Array
    family: NDArray[np.int64]
    families: int  # 0 when a sample's family is unknown: then there is no interval

    @property
    def classes(self) -> int:
        return int(self.scores.shape[1])

    def count(self) -> Array:
        """Return the confusion matrix of each family, [families, classes, classes]."""
        size = self.classes
        cells = (self.family * size + self.truth) * size + self.predicted
        counts = np.bincount(cells, minlength=max(self.families, 1) * size * size)
        return counts.reshape(-1, size, size).astype(np.float64)


def score_predictions(
    predictions: pd.DataFrame, resampling: Resampling, *, topk: Sequence[int] = (1,), majority: int | None = None
) -> pd.DataFrame:
    """Score answers on the whole.

    Parameters
    ----------
    predictions
        Table of predictions (`nbpkg.metrics.people.predictions`).
    resampling
        How intervals are made.
    topk
        For which k to report the share of labels among the best k classes.
    majority
        Most frequent class of the training samples; None for that of the samples scored, which is the harder one.

    Returns
    -------
    pandas.DataFrame
        metric, direction, value, low and high (interval over families), n (samples), families, undefined (share of
        resamples left out), majority (what always answering that class gets), reason (why something is missing, or the
        value says nothing). Metrics: accuracy, mean_class_accuracy (as published), balanced_accuracy, macro_f1,
        weighted_f1, quadratic_kappa, macro_auc (mean over the classes, each against the rest), top<k>_accuracy.

    Raises
    ------
    TableError
        As `check_predictions`, or when `majority` is no class.
    """
    answers = _as_answers(predictions)
    if majority is not None and not 0 <= majority < answers.classes:
        raise TableError(f"The most frequent class is {majority}.", expected=f"0 to {answers.classes - 1}.")
    counts = answers.count()
    constant = answer_majority(counts.sum(axis=0), majority)
    rows = []
    for name, (score, undefined) in CONFUSION_SCORES.items():
        value = float(score(counts.sum(axis=0)))
        interval = intervals.bootstrap_counts(
            counts, score, seed=resampling.seed, resamples=resampling.resamples, level=resampling.level
        )
        reason = undefined if np.isnan(value) else ""
        rows.append(_row(name, value, interval, answers, majority=float(score(constant)), reason=reason))
    rows.append(_score_area(answers, resampling))
    rows += [_score_top(answers, k, resampling) for k in topk]
    return pd.DataFrame(rows, columns=COLUMNS)


def score_classes(predictions: pd.DataFrame, resampling: Resampling, *, classes: Sequence[str]) -> pd.DataFrame:
    """Score answers class by class, each against the rest.

    Parameters
    ----------
    predictions
        Table of predictions.
    resampling
        How intervals are made.
    classes
        Names of the classes in the order of their indices.

    Returns
    -------
    pandas.DataFrame
        label, name, n, answers (how often the class was answered), precision, recall, f1, auc and average_precision,
        intervals over families for f1 and auc, reason (why something is undefined).

    Raises
    ------
    TableError
        As `check_predictions`, or when there are not as many names as classes.
    """
    answers = _as_answers(predictions)
    if len(classes) != answers.classes:
        raise TableError(f"There are {len(classes)} names for {answers.classes} classes.", expected="One for each.")
    counts = answers.count()
    whole = counts.sum(axis=0)
    f1 = class_f1(whole)
    drawn = class_f1(np.tensordot(_draw(answers, resampling), counts, axes=1))
    rows = []
    for label, name in enumerate(classes):
        own = answers.truth == label
        area = area_under_curve(own.astype(np.int64), answers.scores[:, label])
        hits, n, said = whole[label, label], whole[label].sum(), whole[:, label].sum()
        span = _interval(drawn[:, label], answers, resampling)
        wide = _interval(_draw_areas(answers, label, resampling), answers, resampling)
        rows.append(
            {
                "label": label,
                "name": name,
                "n": int(n),
                "answers": int(said),
                "precision": hits / said if said else float("nan"),
                "recall": hits / n if n else float("nan"),
                "f1": float(f1[label]),
                "f1_low": span.low,
                "f1_high": span.high,
                "auc": area.value,
                "auc_low": wide.low,
                "auc_high": wide.high,
                "average_precision": average_precision(answers.scores[:, label], own),
                "reason": area.reason or ("never answered" if not said else ""),
            }
        )
    return pd.DataFrame(rows, columns=CLASS_COLUMNS)


def score_many_labels(
    scores: ArrayLike, labels: ArrayLike, resampling: Resampling, *, families: Sequence[str]
) -> pd.DataFrame:
    """Score answers to samples that may have several classes.

    Parameters
    ----------
    scores, labels
        [samples, classes]; a label is 1 where the sample has the class.
    resampling
        How intervals are made.
    families
        [samples], whom each shows.

    Returns
    -------
    pandas.DataFrame
        As `score_predictions`, for mean_average_precision and mmit_mean_average_precision; majority is what answering
        every sample with the frequencies of the classes gets.
    """
    table, truth = as_scores(scores), np.asarray(labels)
    measures = {one.__name__: one for one in (mean_average_precision, mmit_mean_average_precision)}
    rows: list[dict[str, object]] = []
    for name, measure in measures.items():
        found = measure(table, truth)
        span = intervals.bootstrap_rows(
            np.asarray(families),
            lambda rows, measure=measure: measure(table[rows], truth[rows]).value,  # type: ignore[misc]
            seed=resampling.seed,
            resamples=resampling.resamples,
            level=resampling.level,
        )
        constant = measure(np.broadcast_to(truth.mean(axis=0), truth.shape), truth).value
        facts = ("higher", found.value, span.low, span.high, len(table), span.n_groups, span.undefined)
        rows.append(dict(zip(COLUMNS, (name, *facts, constant, found.reason), strict=True)))
    return pd.DataFrame(rows, columns=COLUMNS)


def _as_answers(predictions: pd.DataFrame) -> _Answers:
    table = check_predictions(predictions)
    known = bool((table["family"] != "").all())
    names, family = np.unique(table["family"] if known else np.zeros(len(table), "str"), return_inverse=True)
    return _Answers(
        table["label"].to_numpy(np.int64),
        table["predicted"].to_numpy(np.int64),
        table[list_scores(table)].to_numpy(np.float64),
        family.astype(np.int64),
        len(names) if known else 0,
    )


def _score_area(answers: _Answers, resampling: Resampling) -> dict[str, object]:
    """Average the areas under the ROC curves of the classes that have samples and are not all there is."""
    areas = [area_under_curve(answers.truth == label, answers.scores[:, label]) for label in range(answers.classes)]
    lacking = [str(label) for label, area in enumerate(areas) if area.reason]
    known = [label for label, area in enumerate(areas) if not area.reason]
    if not known:
        missing = intervals.percentile_interval(np.full(1, np.nan), n_groups=answers.families)
        return _row("macro_auc", float("nan"), missing, answers, majority=float("nan"), reason="only one class occurs")
    # with a class that happens not to be drawn the mean would be another measure, so that draw is left out
    drawn = np.mean([_draw_areas(answers, label, resampling) for label in known], axis=0)
    value = float(np.mean([areas[label].value for label in known]))
    reason = f"without class {', '.join(lacking)}, which has no samples" if lacking else ""
    return _row("macro_auc", value, _interval(drawn, answers, resampling), answers, majority=0.5, reason=reason)


def _score_top(answers: _Answers, k: int, resampling: Resampling) -> dict[str, object]:
    hits = top_k_hits(answers.scores, answers.truth, k)
    size = max(answers.families, 1)
    counts = np.stack([np.bincount(answers.family, w, minlength=size) for w in (hits, np.ones(len(hits)))], axis=-1)
    interval = intervals.bootstrap_counts(
        counts,
        lambda sums: sums[:, 0] / sums[:, 1],
        seed=resampling.seed,
        resamples=resampling.resamples,
        level=resampling.level,
    )
    shares = np.sort(np.bincount(answers.truth, minlength=answers.classes))[::-1] / len(answers.truth)
    reason = f"always 1: {k} of {answers.classes} classes" if k >= answers.classes else ""
    constant = float(shares[:k].sum())
    return _row(f"top{k}_accuracy", float(hits.mean()), interval, answers, majority=constant, reason=reason)


def _draw(answers: _Answers, resampling: Resampling) -> Array:
    return intervals.draw_weights(max(answers.families, 1), seed=resampling.seed, resamples=resampling.resamples)


def _draw_areas(answers: _Answers, label: int, resampling: Resampling) -> Array:
    """Return the area under the ROC curve of a class in every resample; NaN where a side has no sample."""
    own = answers.truth == label
    size = max(answers.families, 1)
    wins = pair_wins(own.astype(np.int64), answers.scores[:, label], answers.family)
    weights = _draw(answers, resampling)
    sides = [weights @ np.bincount(answers.family[side], minlength=size) for side in (own, ~own)]
    won = np.einsum("rg,gh,rh->r", weights, wins, weights, optimize=True)
    pairs = sides[0] * sides[1]
    areas = np.full(len(pairs), np.nan)
    np.divide(won, pairs, out=areas, where=pairs > 0)
    return areas


def _interval(values: Array, answers: _Answers, resampling: Resampling) -> intervals.Interval:
    return intervals.percentile_interval(values, n_groups=answers.families, level=resampling.level)


def _row(
    name: str, value: float, interval: intervals.Interval, answers: _Answers, *, majority: float, reason: str
) -> dict[str, object]:
    known = answers.families > 0
    unknown = "" if known else "families are unknown, so that there is no interval"
    return {
        "metric": name,
        "direction": "higher",
        "value": value,
        "low": interval.low if known else float("nan"),
        "high": interval.high if known else float("nan"),
        "n": len(answers.truth),
        "families": answers.families,
        "undefined": interval.undefined,
        "majority": majority,
        "reason": "; ".join(text for text in (reason, unknown) if text),
    }
