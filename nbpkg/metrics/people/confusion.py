"""Scores that follow from who was taken for what, for any number of classes.

Functions of a confusion matrix take many at once, so that a bootstrap over families costs one call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nbpkg.errors import TableError
from nbpkg.metrics.classification import accuracy

Matrix = NDArray[np.float64]
Normalise = Literal["none", "true", "predicted", "all"]


class ClassShare(NamedTuple):
    """How well one class is recognised.

    Parameters
    ----------
    label
        The class.
    place
        Its place among the classes that occur, which is what the published program prints instead of the class.
    share
        Share of its samples that are recognised; 0 for a class that is only answered.
    """

    label: int
    place: int
    share: float


def count_confusion(
    labels: ArrayLike, predicted: ArrayLike, normalise: Normalise = "none"
) -> tuple[Matrix, NDArray[np.int64]]:
    """Count samples by label (row) and answer (column).

    Parameters
    ----------
    labels, predicted
        [n], class indices.
    normalise
        ``true``: shares of each label; ``predicted``: shares of each answer; ``all``: shares of all samples.

    Returns
    -------
    matrix : numpy.ndarray
        [c, c] over the classes that are a label or an answer; a share of nothing is 0.
    classes : numpy.ndarray
        [c], which classes these are.

    Raises
    ------
    TableError
        When there is no sample, the two differ in length, or hold something else than whole numbers.
    """
    truth, answer = _as_classes(labels), _as_classes(predicted)
    if len(truth) != len(answer) or not len(truth):
        raise TableError(
            f"There are {len(truth)} labels and {len(answer)} answers.", expected="One answer per label, at least one."
        )
    classes, numbers = np.unique(np.concatenate([truth, answer]), return_inverse=True)
    size = len(classes)
    cells = numbers[: len(truth)] * size + numbers[len(truth) :]
    matrix = np.bincount(cells, minlength=size * size).reshape(size, size).astype(np.float64)
    if normalise == "all":
        return matrix / matrix.sum(), classes
    if normalise == "none":
        return matrix, classes
    wholes = matrix.sum(axis=1 if normalise == "true" else 0, keepdims=True)
    return np.divide(matrix, wholes, out=np.zeros_like(matrix), where=wholes > 0), classes


def rank_classes(matrix: ArrayLike, classes: Sequence[int] | NDArray[np.int64], *, best: bool) -> list[ClassShare]:
    """Order the classes by how well they are recognised.

    Parameters
    ----------
    matrix, classes
        Of `count_confusion`.
    best
        The best first, among equals the last; else the worst first, among equals the first.

    Returns
    -------
    list of ClassShare
        All classes that are a label or an answer.

    Source
    ------
    open-mmlab/mmaction2, ``top_k_classes``, whose order of equals depends on the processor.
    """
    table = np.asarray(matrix, np.float64)
    shares = np.nan_to_num(_ratio(np.diagonal(table), table.sum(axis=1)))
    order = np.argsort(shares, kind="stable")
    return [
        ClassShare(int(classes[place]), int(place), float(shares[place])) for place in (order[::-1] if best else order)
    ]


def mean_class_accuracy(matrix: Matrix) -> Matrix:
    """Mean share recognised over the classes that are a label or an answer; one that is only answered counts as 0.

    Source
    ------
    open-mmlab/mmaction2, ``mean_class_accuracy``.
    """
    hits, rows, columns = _sums(matrix)
    shares = np.nan_to_num(_ratio(hits, rows))
    return _ratio(shares.sum(axis=-1), ((rows + columns) > 0).sum(axis=-1))


def balanced_accuracy(matrix: Matrix) -> Matrix:
    """Mean recall over the classes that have samples."""
    hits, rows, _ = _sums(matrix)
    return _ratio(np.nan_to_num(_ratio(hits, rows)).sum(axis=-1), (rows > 0).sum(axis=-1))


def class_f1(matrix: Matrix) -> Matrix:
    """F1 of each class, [..., classes]; NaN for a class that is neither label nor answer."""
    hits, rows, columns = _sums(matrix)
    return _ratio(2 * hits, rows + columns)


def macro_f1(matrix: Matrix) -> Matrix:
    """Mean F1 over the classes that are a label or an answer."""
    each = class_f1(matrix)
    return _ratio(np.nan_to_num(each).sum(axis=-1), np.isfinite(each).sum(axis=-1))


def weighted_f1(matrix: Matrix) -> Matrix:
    """Mean F1 over the classes, each counting as often as it is a label."""
    rows = matrix.sum(axis=-1)
    return _ratio((np.nan_to_num(class_f1(matrix)) * rows).sum(axis=-1), rows.sum(axis=-1))


def quadratic_kappa(matrix: Matrix) -> Matrix:
    """Cohen's kappa in which being off by two classes counts four times as much as being off by one.

    Source
    ------
    Cohen (1968), Weighted kappa.
    """
    _, rows, columns = _sums(matrix)
    steps = np.arange(matrix.shape[-1])
    distance = (steps[:, None] - steps[None, :]) ** 2.0
    by_chance = _ratio(((rows[..., :, None] * columns[..., None, :]) * distance).sum((-2, -1)), rows.sum(axis=-1))
    kappa: Matrix = 1 - _ratio((matrix * distance).sum((-2, -1)), by_chance)
    return kappa


def answer_majority(matrix: Matrix, label: int | None = None) -> Matrix:
    """Return the confusion matrix of always answering one class.

    Parameters
    ----------
    matrix
        [..., classes, classes].
    label
        Class to answer, e.g. the most frequent one of the training samples; None for that of the samples scored.
    """
    rows = matrix.sum(axis=-1)
    chosen = np.asarray(rows.argmax(axis=-1) if label is None else np.full(rows.shape[:-1], label))
    return np.asarray(rows[..., :, None] * (np.arange(matrix.shape[-1]) == chosen[..., None])[..., None, :], np.float64)


def majority_f1(labels: ArrayLike, classes: int) -> float:
    """Return the macro F1 of always answering the most frequent class.

    Examples
    --------
    >>> round(majority_f1([0, 1, 1, 2], classes=3), 3)
    0.222
    """
    counts = np.bincount(np.asarray(labels, np.int64), minlength=classes)
    return float(macro_f1(answer_majority(np.diag(counts).astype(np.float64))))


_NONE = "no samples"
# score, and why it can be undefined; more is better in all of them
CONFUSION_SCORES: dict[str, tuple[Callable[[Matrix], Matrix], str]] = {
    "accuracy": (accuracy, _NONE),
    "mean_class_accuracy": (mean_class_accuracy, _NONE),
    "balanced_accuracy": (balanced_accuracy, _NONE),
    "macro_f1": (macro_f1, _NONE),
    "weighted_f1": (weighted_f1, _NONE),
    "quadratic_kappa": (quadratic_kappa, "labels and answers are one and the same class"),
}


def _sums(matrix: Matrix) -> tuple[Matrix, Matrix, Matrix]:
    """Return hits, labels and answers of each class."""
    return np.diagonal(matrix, axis1=-2, axis2=-1), matrix.sum(axis=-1), matrix.sum(axis=-2)


def _ratio(part: ArrayLike, whole: ArrayLike) -> Matrix:
    """Divide, with NaN where there is nothing to divide by."""
    top, bottom = np.broadcast_arrays(np.asarray(part, np.float64), np.asarray(whole, np.float64))
    result = np.full(top.shape, np.nan)
    np.divide(top, bottom, out=result, where=bottom > 0)
    return result


def _as_classes(values: ArrayLike) -> NDArray[np.int64]:
    found = np.asarray(values)
    if found.ndim != 1 or (found.size and found.dtype.kind not in "iu"):
        raise TableError(
            f"Class indices are {found.dtype} of shape {found.shape}.", expected="Whole numbers, one per sample."
        )
    return found.astype(np.int64)
