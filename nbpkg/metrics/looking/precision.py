"""The benchmark's scores of answers "looks at the camera wearer" or not: average precision, accuracy, confusion."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nbpkg.errors import Problem, TableError
from nbpkg.metrics import classification

Array = NDArray[np.float64]
Ties = Literal["stable", "grouped"]
CLASSES = ("not_looking", "looking")
NOT_MANY = 2_000_000  # numbers held at once for many weightings


class Curve(NamedTuple):
    """A precision-recall curve, one point per threshold from the highest score down.

    Parameters
    ----------
    score
        [thresholds], the lowest score that counts as an answer for the class.
    recall, precision
        [thresholds].
    envelope
        [thresholds], the best precision at this recall or a higher one; what average precision adds up.
    """

    score: Array
    recall: Array
    precision: Array
    envelope: Array


class LookingScores(NamedTuple):
    """The scores of one set of answers.

    Parameters
    ----------
    mean_precision
        mAP, the mean over the classes that occur.
    looking, not_looking
        Average precision of either class; NaN where nobody has it.
    accuracy
        Share of right answers.
    counts
        [2, 2], row: label, column: answer; 0 not looking, 1 looking.
    problems
        Warnings, e.g. that a class does not occur.
    """

    mean_precision: float
    looking: float
    not_looking: float
    accuracy: float
    counts: NDArray[np.int64]
    problems: tuple[Problem, ...] = ()


def average_precision(labels: ArrayLike, scores: ArrayLike, *, ties: Ties = "stable") -> float:
    """Average the envelope of precision over recall.

    Parameters
    ----------
    labels
        [n], 1 where the sample has the class, else 0.
    scores
        [n], how sure the answer is of the class.
    ties
        ``stable``: each sample is a threshold of its own, equal scores stay in the order of their rows, as in the
        benchmark. ``grouped``: equal scores are one threshold, so that the order of rows does not matter.

    Returns
    -------
    float
        NaN when no sample has the class.

    Raises
    ------
    TableError
        When labels and scores differ in number, a label is neither 0 nor 1, or a score is no number.

    Source
    ------
    EGO4D/social-interactions, branch ``lam``, ``common/metrics.py`` (that of ActivityNet's active speakers). There the
    sort is not stable, so that ties are scored differently on different machines.

    Examples
    --------
    >>> round(average_precision([0, 1, 1], [0.9, 0.8, 0.7]), 4)
    0.6667
    >>> average_precision([0, 1], [0.5, 0.5]), average_precision([1, 0], [0.5, 0.5])
    (0.5, 1.0)
    >>> average_precision([1, 0], [0.5, 0.5], ties="grouped")
    0.5
    """
    truth, score = check_answers(labels, scores)
    owner = np.zeros(len(truth), np.int64)
    return float(weigh_precision(truth, score, owner, weights=np.ones((1, 1)), ties=ties)[0])


def trace_precision(labels: ArrayLike, scores: ArrayLike, *, ties: Ties = "stable") -> Curve:
    """Return precision and recall at every threshold.

    Parameters
    ----------
    labels, scores, ties
        As in `average_precision`.

    Returns
    -------
    Curve
        Without a point when no sample has the class.
    """
    truth, score = check_answers(labels, scores)
    if not truth.any():
        return Curve(*np.zeros((4, 0)))
    order = _rank(score)
    ends = _find_ends(score[order], ties)
    hits = np.cumsum(truth[order])[ends].astype(np.float64)
    precision = hits / (ends + 1)
    return Curve(score[order][ends], hits / hits[-1], precision, _envelop(precision[None])[0])


def weigh_precision(
    labels: Array, scores: Array, owner: NDArray[np.int64], *, weights: Array, ties: Ties = "stable"
) -> Array:
    """Compute average precision when the samples of each group count several times, for many weightings at once.

    A sample that counts w times stands w times in a row in the ranking.

    Parameters
    ----------
    labels, scores
        [n], as from `check_answers`.
    owner
        [n], number of the group of each sample, from 0.
    weights
        [draws, groups], whole numbers from 0.
    ties
        As in `average_precision`.

    Returns
    -------
    numpy.ndarray
        [draws]; NaN where no sample of the class counts.
    """
    if not labels.any():
        return np.full(len(weights), np.nan)
    found, wrong = _count_runs(labels, scores, owner, weights.shape[1], ties)
    size = max(1, NOT_MANY // len(found))
    values = [_add_up(weights[start : start + size], found, wrong) for start in range(0, len(weights), size)]
    return np.concatenate([np.zeros(0), *values])


def score_answers(
    labels: ArrayLike, scores: ArrayLike, *, threshold: float = 0.5, ties: Ties = "stable", compat: bool = False
) -> LookingScores:
    """Score answers as the benchmark does.

    Parameters
    ----------
    labels
        [n], 1 where the person looks at the camera wearer, else 0.
    scores
        [n], probability of looking.
    threshold
        From which score on the answer is "looking"; no average precision depends on it.
    ties
        As in `average_precision`.
    compat
        As published where a class does not occur: mAP is NaN for a single sample, more cannot be scored.

    Raises
    ------
    TableError
        As `average_precision`, without samples, or with `compat` when one class lacks.

    Examples
    --------
    >>> found = score_answers([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.6])
    >>> round(found.mean_precision, 4), found.accuracy, found.counts.tolist()
    (0.8333, 0.5, [[0, 2], [0, 2]])
    """
    truth, score = check_answers(labels, scores)
    if not len(truth):
        raise TableError("There is no answer to score.", expected="At least one sample with a label and a score.")
    each = (
        average_precision(1 - truth, 1 - score, ties=ties),
        average_precision(truth, score, ties=ties),
    )
    absent = [name.replace("_", " ") for name, value in zip(CLASSES, each, strict=True) if np.isnan(value)]
    if absent and compat and len(truth) > 1:
        raise TableError(
            f"No sample is {absent[0]}, so that its recall is undefined.",
            expected="Both classes, as the published program needs.",
            remedy="Score without compat; the class that occurs then counts alone.",
        )
    mean = float("nan") if absent and compat else float(np.nanmean(each))
    counts = classification.confusion(truth.astype(np.int64), (score >= threshold).astype(np.int64))
    right = float(classification.accuracy(counts.astype(np.float64)))
    return LookingScores(mean, each[1], each[0], right, counts, tuple(_warn(name) for name in absent))


def format_reference(scores: LookingScores) -> str:
    """Print scores as the published program does: mAP, accuracy and the table of answers by label in per cent.

    Examples
    --------
    >>> format_reference(score_answers([1, 0], [0.9, 0.6])).splitlines()[:2]
    ['mAP: 1.000000', 'TOP-1 Acc:50.000%']
    """
    shares = 100 * normalise_rows(scores.counts)[::-1, ::-1]
    rows = [f"{name}\t" + "\t".join(f"{x:.3f}" for x in row) for name, row in zip(("LAM", "NLAM"), shares, strict=True)]
    head = [f"mAP: {scores.mean_precision:.6f}", f"TOP-1 Acc:{100 * scores.accuracy:.3f}%", "\tLAM\tNLAM"]
    return "\n".join([*head, *rows]) + "\n"


def normalise_rows(counts: ArrayLike) -> Array:
    """Divide a confusion matrix by how often each label occurs; NaN for a label that does not."""
    table = np.asarray(counts, np.float64)
    total = table.sum(axis=-1, keepdims=True)
    shares = np.full(table.shape, np.nan)
    np.divide(table, total, out=shares, where=total > 0)
    return shares


def check_answers(labels: ArrayLike, scores: ArrayLike) -> tuple[Array, Array]:
    """Return labels and scores as numbers, [n] each.

    Raises
    ------
    TableError
        When they differ in number, a label is neither 0 nor 1, or a score is no number.
    """
    truth, score = np.asarray(labels, np.float64), np.asarray(scores, np.float64)
    if truth.shape != score.shape or truth.ndim != 1:
        raise TableError(
            f"Labels have shape {truth.shape} and scores {score.shape}.", expected="One score for each label."
        )
    for name, wrong, expected in (
        ("labels", ~np.isin(truth, (0, 1)), "0 for not looking, 1 for looking."),
        ("scores", np.isnan(score), "A number for every sample."),
    ):
        if wrong.any():
            raise TableError(
                f"{int(wrong.sum())} of {len(wrong)} {name} cannot be used.",
                where=f"row {int(wrong.argmax()) + 1}",
                expected=expected,
            )
    return truth, score


def _rank(scores: Array) -> NDArray[np.int64]:
    return np.argsort(-scores, kind="stable").astype(np.int64)


def _find_ends(ranked: Array, ties: Ties) -> NDArray[np.int64]:
    """Return the places in the ranking at which a threshold can lie."""
    if ties == "stable":
        return np.arange(len(ranked))
    return np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)).astype(np.int64)


def _count_runs(labels: Array, scores: Array, owner: NDArray[np.int64], groups: int, ties: Ties) -> tuple[Array, Array]:
    """Count samples of each group with and without the class between the thresholds that matter, [runs, groups] each.

    Inside a run without a wrong answer precision only rises, so that the envelope is the same at all of its thresholds,
    whatever the weights; and where nothing is found, recall stays. Of a million thresholds a few thousand remain.
    """
    order = _rank(scores)
    ends = _find_ends(scores[order], ties)
    block = np.repeat(np.arange(len(ends)), np.diff(ends, prepend=-1))
    wrong = np.bincount(block, weights=1 - labels[order])
    matters = np.append(wrong[1:] > 0, True)
    run = (np.cumsum(matters) - matters)[block]
    finds = np.bincount(run, weights=labels[order]) > 0
    run = (np.cumsum(finds) - finds)[run]
    runs = int(finds.sum())
    kept = run < runs  # below the last sample of the class nothing is found any more
    cell = (run * groups + owner[order])[kept]
    parts = [np.bincount(cell, weights=own[order][kept], minlength=runs * groups) for own in (labels, 1 - labels)]
    first, second = (part.reshape(runs, groups).astype(np.float64) for part in parts)
    return first, second


def _add_up(weights: Array, found: Array, wrong: Array) -> Array:
    """Add up recall times envelope for each weighting."""
    steps = weights @ found.T
    hits = np.cumsum(steps, axis=1)
    answers = hits + np.cumsum(weights @ wrong.T, axis=1)
    sums = (steps * _envelop(hits / np.maximum(answers, 1))).sum(axis=1)
    values = np.full(len(weights), np.nan)
    np.divide(sums, hits[:, -1], out=values, where=hits[:, -1] > 0)
    return values


def _envelop(precision: Array) -> Array:
    """Return the best precision from each threshold on, along the last axis."""
    best: Array = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    return best


def _warn(name: str) -> Problem:
    return Problem(
        f"No sample is {name}; its average precision is undefined.",
        expected="mAP is that of the other class alone.",
        severity="warning",
    )
