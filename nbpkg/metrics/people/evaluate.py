"""The dictionary of scores that the published programs log after each evaluation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nbpkg.errors import TableError
from nbpkg.metrics.people import confusion, ranking

METRICS = ("top_k_accuracy", "mean_class_accuracy", "mean_average_precision", "mmit_mean_average_precision")


def evaluate(
    scores: ArrayLike,
    labels: Sequence[int] | Sequence[Sequence[int]],
    *,
    metrics: str | Sequence[str] = "top_k_accuracy",
    topk: int | tuple[int, ...] = (1, 3),
) -> dict[str, float]:
    """Score answers under the names of the published programs.

    The best three of three classes are always right; `nbpkg.metrics.people.scores` says so beside the number.

    Parameters
    ----------
    scores
        [samples, classes].
    labels
        Class of each sample, or the classes of each for the two average precisions.
    metrics
        Of `METRICS`.
    topk
        For ``top_k_accuracy``.

    Returns
    -------
    dict
        ``top<k>_acc`` for each k, other metrics under their name.

    Raises
    ------
    TableError
        When a metric is unknown, `topk` is a list, there are not as many scores as labels, or no sample.

    Source
    ------
    open-mmlab/mmaction2 0.24.1 as changed by ybkim95/multi_person_joint_engagement, ``BaseDataset.evaluate``.

    Examples
    --------
    >>> evaluate([[0.2, 0.8], [0.6, 0.4]], [1, 1], metrics=["top_k_accuracy", "mean_class_accuracy"], topk=1)
    {'top1_acc': 0.5, 'mean_class_accuracy': 0.25}
    """
    wanted = [metrics] if isinstance(metrics, str) else list(metrics)
    unknown = [name for name in wanted if name not in METRICS]
    if unknown:
        raise TableError(f"There is no metric {unknown[0]!r}.", expected=f"{', '.join(METRICS)}.")
    if not isinstance(topk, (int, tuple)):
        raise TableError(f"topk is a {type(topk).__name__}.", expected="A whole number or a tuple of them.")
    table = ranking.as_scores(scores)
    if len(table) != len(labels):
        raise TableError(
            f"There are {len(table)} rows of scores and {len(labels)} labels.",
            expected="One row of scores for each sample of the list.",
            remedy="Read the list that the scores were made with.",
        )
    found: dict[str, float] = {}
    for name in wanted:
        if name == "top_k_accuracy":
            each = (topk,) if isinstance(topk, int) else topk
            shares = ranking.top_k_accuracy(table, _one_class(labels), each)
            found |= {f"top{k}_acc": share for k, share in zip(each, shares, strict=True)}
        elif name == "mean_class_accuracy":
            matrix, _ = confusion.count_confusion(_one_class(labels), ranking.pick_classes(table))
            found[name] = float(confusion.mean_class_accuracy(matrix))
        else:
            score = ranking.mean_average_precision if name == METRICS[2] else ranking.mmit_mean_average_precision
            found[name] = score(table, _many_classes(labels, table.shape[1])).value
    return found


def _one_class(labels: Sequence[int] | Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """Return one class per sample."""
    if not all(isinstance(label, (int, np.integer)) for label in labels):
        raise TableError(
            "Samples have several labels.",
            expected="One class index per sample for this metric.",
            remedy=f"Choose {METRICS[2]} or {METRICS[3]}.",
        )
    return np.asarray(labels, np.int64)


def _many_classes(labels: Sequence[int] | Sequence[Sequence[int]], classes: int) -> NDArray[np.int64]:
    """Return a 1 where a sample has a class, [samples, classes]."""
    vectors = np.zeros((len(labels), classes), np.int64)
    for row, said in enumerate(labels):
        named = [int(one) for one in np.atleast_1d(np.asarray(said, np.int64))]
        wrong = [one for one in named if not 0 <= one < classes]
        if wrong:
            raise TableError(f"Label {wrong[0]} is none of {classes} classes.", expected=f"0 to {classes - 1}.")
        vectors[row, named] = 1
    return vectors
