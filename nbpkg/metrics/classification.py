"""Classification metrics from confusion matrices and scores; undefined means NaN with a reason, never 0."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nbpkg.errors import TableError

Matrix = NDArray[np.float64]
PARITY = 1e-6  # what the published program adds to denominators
BINS = 10  # equally wide bins of the calibration error and of its figure


class Value(NamedTuple):
    """One measurement: NaN with a reason when it is undefined."""

    value: float
    reason: str = ""


@dataclass(frozen=True)
class Metric:
    """A metric that follows from the confusion matrix alone.

    Parameters
    ----------
    name
        As written into the table ``metrics``.
    direction
        ``higher`` or ``lower``: which way is better.
    compute
        Confusion matrices [..., classes, classes] (row: label, column: answer) to values [...]; NaN when undefined.
    chance
        Shares of the classes to what answering without looking scores.
    undefined
        Why the value can be undefined, in words.
    """

    name: str
    direction: str
    compute: Callable[[Matrix], Matrix]
    chance: Callable[[NDArray[np.float64]], float]
    undefined: str


def confusion(labels: ArrayLike, predicted: ArrayLike, *, classes: int = 2) -> NDArray[np.int64]:
    """Count samples by label (row) and answer (column).

    Parameters
    ----------
    labels, predicted
        [n], class indices 0 .. classes - 1.
    classes
        Number of classes.

    Raises
    ------
    TableError
        When the two differ in length, or hold something that is no class index.

    Examples
    --------
    >>> confusion([0, 1, 1], [0, 1, 0]).tolist()
    [[1, 0], [1, 1]]
    """
    truth, answer = np.asarray(labels), np.asarray(predicted)
    if truth.shape != answer.shape or truth.ndim != 1:
        raise TableError(
            f"Labels have shape {truth.shape} and answers {answer.shape}.",
            expected="One answer for each label, both in one row.",
        )
    for name, values in (("label", truth), ("answer", answer)):
        wrong = values[~np.isin(values, np.arange(classes))]
        if len(wrong):
            raise TableError(
                f"{len(wrong)} of {len(values)} {name}s are no class index, e.g. {wrong[0]}.",
                expected=f"Whole numbers from 0 to {classes - 1}.",
            )
    cell = truth.astype(np.int64) * classes + answer.astype(np.int64)
    return np.bincount(cell, minlength=classes * classes).reshape(classes, classes).astype(np.int64)


def accuracy(matrix: Matrix) -> Matrix:
    """Share of right answers; undefined without samples."""
    return _ratio(np.trace(matrix, axis1=-2, axis2=-1), matrix.sum(axis=(-2, -1)))


def balanced_accuracy(matrix: Matrix) -> Matrix:
    """Mean recall over the classes; undefined when a class has no sample."""
    hits = np.diagonal(matrix, axis1=-2, axis2=-1)
    mean: Matrix = _ratio(hits, matrix.sum(axis=-1)).mean(axis=-1)
    return mean


def f1(matrix: Matrix) -> Matrix:
    """F1 of class 1 (mean over the classes when there are more than two); undefined without class 1 anywhere."""
    hits = np.diagonal(matrix, axis1=-2, axis2=-1)
    each = _ratio(2 * hits, matrix.sum(axis=-1) + matrix.sum(axis=-2))
    chosen: Matrix = each[..., 1] if matrix.shape[-1] == 2 else each.mean(axis=-1)
    return chosen


def recall(matrix: Matrix) -> Matrix:
    """Share of positives found (sensitivity); undefined without positives."""
    return _ratio(matrix[..., 1, 1], matrix[..., 1, :].sum(axis=-1))


def specificity(matrix: Matrix) -> Matrix:
    """Share of negatives recognised; undefined without negatives."""
    return _ratio(matrix[..., 0, 0], matrix[..., 0, :].sum(axis=-1))


def precision(matrix: Matrix) -> Matrix:
    """Share of positive answers that are right; undefined without positive answers."""
    return _ratio(matrix[..., 1, 1], matrix[..., :, 1].sum(axis=-1))


def cohen_kappa(matrix: Matrix) -> Matrix:
    """Agreement beyond that of independent raters with the same habits; undefined when both are constant and equal."""
    total = matrix.sum(axis=(-2, -1))
    by_chance = _ratio((matrix.sum(axis=-1) * matrix.sum(axis=-2)).sum(axis=-1), total**2)
    kappa: Matrix = _ratio(accuracy(matrix) - by_chance, 1 - by_chance)
    return kappa


def always_positive(shares: NDArray[np.float64]) -> float:
    """F1 of answering class 1 to everything; of the most frequent class when there are more than two."""
    share = float(shares[1] if len(shares) == 2 else shares.max())
    return 2 * share / (1 + share) / (1 if len(shares) == 2 else len(shares))


def toss_a_coin(shares: NDArray[np.float64]) -> float:
    """Recall of answering each class equally often; a constant answer has 1 for one class and 0 for the others."""
    return 1 / len(shares)


BALANCED_ACCURACY = Metric(
    "balanced_accuracy",
    "higher",
    balanced_accuracy,
    toss_a_coin,  # as any answer that ignores the clip
    "a class has no sample",
)
ACCURACY = Metric(
    "accuracy",
    "higher",
    accuracy,
    lambda shares: float(shares.max()),  # always the most frequent class
    "no samples",
)
F1 = Metric("f1", "higher", f1, always_positive, "a class is neither label nor answer")
RECALL = Metric("recall", "higher", recall, toss_a_coin, "no positive samples")
SPECIFICITY = Metric("specificity", "higher", specificity, toss_a_coin, "no negative samples")
PRECISION = Metric(
    "precision",
    "higher",
    precision,
    lambda shares: float(shares[1]),  # any answer that ignores the clip
    "no positive answers",
)
KAPPA = Metric("cohen_kappa", "higher", cohen_kappa, lambda _: 0.0, "no samples, or one and the same value throughout")
ANY_CLASSES = (BALANCED_ACCURACY, ACCURACY, F1)
BINARY = (*ANY_CLASSES, RECALL, SPECIFICITY, PRECISION)


def measure(metric: Metric, matrix: ArrayLike) -> Value:
    """Compute one metric of one confusion matrix, with the reason where it is undefined.

    Examples
    --------
    >>> measure(BALANCED_ACCURACY, confusion([1, 1], [1, 1]))
    Value(value=nan, reason='a class has no sample')
    """
    value = float(metric.compute(np.asarray(matrix, np.float64)))
    return Value(value, metric.undefined if np.isnan(value) else "")


def area_under_curve(labels: ArrayLike, scores: ArrayLike) -> Value:
    """Area under the ROC curve: how often a positive scores higher than a negative, ties counting half.

    Examples
    --------
    >>> area_under_curve([0, 0, 1], [0.1, 0.7, 0.7])
    Value(value=0.75, reason='')
    """
    truth, score = np.asarray(labels), np.asarray(scores, np.float64)
    reason = why_no_area(truth, score)
    if reason:
        return Value(float("nan"), reason)
    wins = pair_wins(truth, score, np.zeros(len(truth), np.int64))
    return Value(float(wins[0, 0]) / (int((truth == 1).sum()) * int((truth == 0).sum())))


def why_no_area(truth: NDArray, score: NDArray[np.float64]) -> str:
    """Say why the area under the ROC curve is undefined; empty when it is defined."""
    if np.isnan(score).any():
        return f"{int(np.isnan(score).sum())} samples have no score"
    lacking = [name for name, index in (("positive", 1), ("negative", 0)) if not (truth == index).any()]
    return f"no {' and no '.join(lacking)} samples" if lacking else ""


def pair_wins(truth: NDArray, score: NDArray[np.float64], group: NDArray[np.int64]) -> Matrix:
    """Count pairs in which the positive scores higher (a tie is half), by the groups the two belong to.

    The area under the ROC curve of any reweighting of groups is a ratio of two quadratic forms in these counts, so
    bootstrap over groups costs no sorting.

    Parameters
    ----------
    truth, score, group
        [n], labels 0 or 1, scores, and group numbers from 0.

    Returns
    -------
    numpy.ndarray
        [groups, groups], row: group of the positive, column: group of the negative.
    """
    count = int(group.max()) + 1 if len(group) else 0
    wins = np.zeros((count, count))
    positive = truth == 1
    for column in range(count):
        negative = np.sort(score[~positive & (group == column)])
        below = np.searchsorted(negative, score[positive], side="left")
        upto = np.searchsorted(negative, score[positive], side="right")
        wins[:, column] = np.bincount(group[positive], weights=(below + upto) / 2, minlength=count)
    return wins


def count_thresholds(truth: NDArray, score: NDArray[np.float64], group: NDArray[np.int64]) -> Matrix:
    """Count negatives and positives of each group at every distinct score.

    Parameters
    ----------
    truth, score, group
        [n], labels 0 or 1, scores without NaN, and group numbers from 0.

    Returns
    -------
    numpy.ndarray
        [groups, distinct scores from high to low, 2]; summed over groups what `average_precision` takes.
    """
    levels, place = np.unique(-score, return_inverse=True)
    count = int(group.max()) + 1 if len(group) else 0
    cell = (group * len(levels) + place) * 2 + (truth == 1)
    table = np.bincount(cell, minlength=count * len(levels) * 2).reshape(count, len(levels), 2)
    return table.astype(np.float64)


def average_precision(counts: Matrix) -> Matrix:
    """Area under the precision-recall curve as a step function; undefined when a class has no sample.

    Parameters
    ----------
    counts
        [..., thresholds, 2], from `count_thresholds`, summed over groups.

    Examples
    --------
    >>> counts = count_thresholds(np.array([1, 0, 1]), np.array([0.9, 0.8, 0.7]), np.zeros(3, int))
    >>> round(float(average_precision(counts.sum(axis=0))), 4)
    0.8333
    """
    wrong, found = (counts[..., label].cumsum(axis=-1) for label in (0, 1))
    if counts.shape[-2] == 0:
        return np.full(counts.shape[:-2], np.nan)
    # a resample may hold nobody above a threshold: no step of recall there, so any finite precision will do
    steps = counts[..., 1] * found / np.maximum(found + wrong, 1)
    has_both = (found[..., -1] > 0) & (wrong[..., -1] > 0)
    return np.where(has_both, steps.sum(axis=-1) / np.maximum(found[..., -1], 1), np.nan)


def count_bins(truth: NDArray, score: NDArray[np.float64], group: NDArray[np.int64], *, bins: int = BINS) -> Matrix:
    """Add up samples, scores and positives of each group in equally wide bins of the score.

    Parameters
    ----------
    truth, score, group
        [n], labels 0 or 1, probabilities without NaN, and group numbers from 0.
    bins
        Number of bins from 0 to 1; a score on a border belongs to the bin above it, 1 to the last.

    Returns
    -------
    numpy.ndarray
        [groups, bins, 3]: samples, sum of scores, positives.
    """
    count = int(group.max()) + 1 if len(group) else 0
    cell = group * bins + np.minimum((score * bins).astype(np.int64), bins - 1)
    parts = [np.bincount(cell, values, minlength=count * bins) for values in (None, score, truth == 1)]
    return np.stack(parts, axis=-1).reshape(count, bins, 3).astype(np.float64)


def calibration_error(sums: Matrix) -> Matrix:
    """Average how far probabilities and shares of positives lie apart (expected calibration error).

    In a small set it is well above 0 even for honest probabilities, since each bin holds few samples.

    Parameters
    ----------
    sums
        [..., bins, 3], from `count_bins`, summed over groups.

    Source
    ------
    Naeini et al. (2015), Obtaining well calibrated probabilities using Bayesian binning; Guo et al. (2017).

    Examples
    --------
    >>> sums = count_bins(np.array([0, 1]), np.array([0.25, 0.95]), np.zeros(2, int))
    >>> round(float(calibration_error(sums.sum(axis=0))), 3)
    0.15
    """
    return _ratio(np.abs(sums[..., 1] - sums[..., 2]).sum(axis=-1), sums[..., 0].sum(axis=-1))


def reference_metrics(matrix: ArrayLike) -> dict[str, float]:
    """Accuracy, F1 and balanced accuracy with the published program's 1e-6 in the denominators.

    For comparison with published numbers only: an absent class counts as recall 0 and a perfect score is just below 1.

    Source
    ------
    MarcFraile/infant-engagement, ``local/metrics.py``; equal to 1e-6.
    """
    table = np.asarray(matrix, np.float64)
    hits, rows = np.diagonal(table), table.sum(axis=1)
    wrong = table[0, 1] + table[1, 0]
    return {
        "accuracy": float(hits.sum() / (table.sum() + PARITY)),
        "f1": float(table[1, 1] / (table[1, 1] + 0.5 * wrong + PARITY)) if len(table) == 2 else float("nan"),
        "balanced_accuracy": float((hits / (rows + PARITY)).mean()),
    }


def smooth_history(values: Sequence[float], window: int) -> NDArray[np.float64]:
    """Average each entry with up to `window` entries before it, as the published program does.

    Examples
    --------
    >>> smooth_history([1.0, 3.0, 5.0], 1).tolist()
    [1.0, 2.0, 4.0]
    """
    series = np.asarray(values, np.float64)
    return np.array([series[max(0, end - window) : end + 1].mean() for end in range(len(series))])


def _ratio(part: Matrix, whole: Matrix) -> Matrix:
    result = np.full(np.shape(whole), np.nan)
    np.divide(part, whole, out=result, where=np.asarray(whole) > 0)
    return result
