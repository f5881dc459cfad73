"""The course of a training, epoch by epoch, and the rule that picks the epoch to keep.

Source: MarcFraile/infant-engagement, ``local/training.py``. An epoch counts from 1; entry 0 is the network before
training, and is a candidate like the others.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nbpkg.metrics.classification import PARITY

MEASURES = ("loss", "accuracy", "f1", "balanced_accuracy")
Floats = NDArray[np.float64]


@dataclass
class Course:
    """Loss and confusion matrix of one split after each epoch, of one training or of many side by side.

    Parameters
    ----------
    loss
        [..., epochs + 1]; the mean over batches *before* each step for the training split of epoch 1 and later.
    confusion
        [..., epochs + 1, 2, 2], row: label, column: answer.
    """

    loss: Floats
    confusion: Floats

    def measure(self, name: str) -> Floats:
        """Return one of `MEASURES`, [..., epochs + 1]."""
        return np.asarray(self.loss, np.float64) if name == "loss" else score(self.confusion, name)


@dataclass
class History:
    """The courses of all splits of a training, and the epoch that was kept.

    Parameters
    ----------
    splits
        ``train``, ``validation`` and whatever else was watched; names to courses.
    best_epoch
        Epoch kept, by the smoothed F1 of the validation split; the last one when there is no validation split.
    """

    splits: dict[str, Course] = field(default_factory=dict)
    best_epoch: int = 0

    def at(self, epoch: int, split: str) -> dict[str, float]:
        """Return all `MEASURES` of one split at one epoch, unsmoothed."""
        return {name: float(self.splits[split].measure(name)[epoch]) for name in MEASURES}


def score(confusion: Floats, name: str) -> Floats:
    """Score confusion matrices [..., 2, 2] as the published program does: 1e-6 in the denominators, so never NaN.

    An absent class counts as recall 0. Good for choosing between epochs; what is reported comes from `nbpkg.metrics`.
    """
    table = np.asarray(confusion, np.float64)
    hits = np.diagonal(table, axis1=-2, axis2=-1)
    if name == "accuracy":
        return np.asarray(hits.sum(axis=-1) / (table.sum(axis=(-2, -1)) + PARITY))
    if name == "balanced_accuracy":
        return np.asarray((hits / (table.sum(axis=-1) + PARITY)).mean(axis=-1))
    wrong = table[..., 0, 1] + table[..., 1, 0]
    return np.asarray(table[..., 1, 1] / (table[..., 1, 1] + 0.5 * wrong + PARITY))


def smooth(values: Floats, window: int) -> Floats:
    """Average each entry of the last axis with up to `window` entries before it.

    Examples
    --------
    >>> smooth(np.array([[1.0, 3.0, 5.0]]), 1).tolist()
    [[1.0, 2.0, 4.0]]
    """
    series = np.asarray(values, np.float64)
    ends = range(series.shape[-1])
    return np.stack([series[..., max(0, end - window) : end + 1].mean(axis=-1) for end in ends], axis=-1)


def choose_epoch(validation_f1: Floats, *, window: int, warm_up: int) -> tuple[NDArray[np.int64], Floats]:
    """Pick the epoch to keep: the unsmoothed start, unless a smoothed score after the warm-up is strictly higher.

    Parameters
    ----------
    validation_f1
        [..., epochs + 1], unsmoothed.
    window
        As in `smooth`.
    warm_up
        Epochs 1 to `warm_up` are no candidates.

    Returns
    -------
    tuple
        Epochs [...] and their scores [...]: of equal scores the earliest; a NaN never wins.

    Examples
    --------
    >>> epoch, value = choose_epoch(np.array([0.5, 0.0, 0.9, 0.9]), window=0, warm_up=0)
    >>> int(epoch), float(value)
    (2, 0.9)
    """
    candidates = np.nan_to_num(smooth(validation_f1, window), nan=-np.inf)
    candidates[..., 0] = np.nan_to_num(np.asarray(validation_f1)[..., 0], nan=-np.inf)
    candidates[..., 1 : warm_up + 1] = -np.inf
    epoch = candidates.argmax(axis=-1)
    return epoch, np.take_along_axis(candidates, epoch[..., None], axis=-1)[..., 0]
