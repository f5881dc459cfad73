"""Scores that follow from the order of the classes' scores: top k, average precision."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nbpkg.errors import TableError
from nbpkg.metrics.classification import Value

Array = NDArray[np.float64]


def as_scores(scores: ArrayLike) -> Array:
    """Return scores as [samples, classes] in double precision.

    Raises
    ------
    TableError
        When they are no table with at least one row.
    """
    try:
        table = np.asarray(scores, np.float64)
    except (TypeError, ValueError):
        table = np.zeros(0)
    if table.ndim != 2 or not table.size:
        raise TableError(
            f"Scores have shape {table.shape}.", expected="One row of class scores for each sample, at least one."
        )
    return table


def pick_classes(scores: ArrayLike) -> NDArray[np.int64]:
    """Return the class with the highest score of each sample, the lowest index among equals; NaN counts as highest.

    Among equals `top_k_hits` favours the highest index instead, as published: top-1 and all scores that follow from
    the confusion matrix can differ there.
    """
    return np.asarray(as_scores(scores).argmax(axis=1), np.int64)


def top_k_hits(scores: ArrayLike, labels: ArrayLike, k: int) -> NDArray[np.bool_]:
    """Tell for which samples the label is among the k classes with the highest scores.

    Parameters
    ----------
    scores
        [samples, classes]; among equal scores the higher class index ranks higher, NaN ranks highest.
    labels
        [samples]; one without a column is never hit.
    k
        How many classes; more than there are means all.

    Raises
    ------
    TableError
        When there is no sample, k is no positive number, or labels and scores differ in number.
    """
    table, truth = as_scores(scores), np.asarray(labels)
    if truth.shape != (len(table),):
        raise TableError(
            f"There are {len(table)} rows of scores and {truth.size} labels.", expected="One label per row."
        )
    if k < 1:
        raise TableError(f"The best {k} classes were asked for.", expected="A whole number from 1.")
    best = np.argsort(table, axis=1, kind="stable")[:, -k:]
    return np.asarray((best == truth[:, None]).any(axis=1))


def top_k_accuracy(scores: ArrayLike, labels: ArrayLike, topk: Sequence[int] = (1,)) -> list[float]:
    """Return the share of samples whose label is among the best k classes, for each k (see `top_k_hits`).

    Examples
    --------
    >>> top_k_accuracy([[0.5, 0.5, 0.0]], [0], topk=(1, 2))
    [0.0, 1.0]
    """
    return [float(top_k_hits(scores, labels, k).mean()) for k in topk]


def mean_average_precision(scores: ArrayLike, labels: ArrayLike) -> Value:
    """Return the mean over the classes of the area under the precision-recall curve.

    Parameters
    ----------
    scores
        [samples, classes].
    labels
        [samples, classes], 1 where the sample has the class.

    Returns
    -------
    Value
        Classes without a sample are left out; NaN when all are.

    Source
    ------
    open-mmlab/mmaction2, ``mean_average_precision``.
    """
    table, truth = _as_pair(scores, labels)
    each = np.array([average_precision(*pair) for pair in zip(table.T, truth.T, strict=True)])
    known = each[np.isfinite(each)]
    return Value(float(known.mean())) if len(known) else Value(float("nan"), "no class has a sample")


def mmit_mean_average_precision(scores: ArrayLike, labels: ArrayLike) -> Value:
    """Return the mean over the samples of the area under the precision-recall curve of their classes.

    Parameters
    ----------
    scores, labels
        As in `mean_average_precision`.

    Returns
    -------
    Value
        NaN when a sample has no class.

    Source
    ------
    open-mmlab/mmaction2, ``mmit_mean_average_precision``, the measure of Multi-Moments in Time.
    """
    table, truth = _as_pair(scores, labels)
    each = np.array([average_precision(*pair) for pair in zip(table, truth, strict=True)])
    without = int(np.isnan(each).sum())
    return Value(float(each.mean()), f"{without} samples have no class" if without else "")


def average_precision(scores: Array, positive: NDArray[np.bool_]) -> float:
    """Return the area under the precision-recall curve as a step function; NaN without positives.

    Parameters
    ----------
    scores
        [n]; equal ones are one threshold, each NaN is one of its own above all numbers.
    positive
        [n].
    """
    order = np.argsort(scores, kind="stable")[::-1]
    ranked, hits = scores[order], np.cumsum(positive[order])
    if not len(hits) or not hits[-1]:
        return float("nan")
    last = np.append(ranked[1:] != ranked[:-1], True)
    found, answers = hits[last], np.flatnonzero(last) + 1
    return float((np.diff(found, prepend=0) * found / answers).sum() / hits[-1])


def _as_pair(scores: ArrayLike, labels: ArrayLike) -> tuple[Array, NDArray[np.bool_]]:
    table, truth = as_scores(scores), np.asarray(labels)
    if truth.shape != table.shape:
        raise TableError(
            f"Scores have shape {table.shape} and labels {truth.shape}.", expected="A 0 or 1 for every score."
        )
    return table, truth == 1
