"""Whether the target is inside the frame: scores of the in/out answers over all frames."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import precision_recall_curve

from nbpkg.metrics import classification
from nbpkg.metrics.classification import Value

Array = NDArray[np.float64]
AT_ONCE = 100_000  # weights held at once: what fits into a core's cache


def measure_average_precision(
    inside: ArrayLike, answer: ArrayLike, *, compat: Literal["none", "reference"] = "none"
) -> Value:
    """Compute the step-wise average precision of in/out answers.

    Parameters
    ----------
    inside
        [n], 1 when the target is inside the frame, 0 outside; frames of which this is unknown are to be left out.
    answer
        [n], logits or probabilities: higher is more surely inside.
    compat
        ``reference``: 1 when all targets are inside and 0 when none is, as published tables have it although it says
        nothing about the answers.

    Returns
    -------
    Value
        NaN with a reason when a class has no frame or an answer is missing.

    Source
    ------
    Chong et al. (2020), which call scikit-learn's ``average_precision_score``.

    Examples
    --------
    >>> measure_average_precision([1, 0], [0.5, 0.5])
    Value(value=0.5, reason='')
    >>> measure_average_precision([1, 1], [0.5, 0.2])
    Value(value=nan, reason='all 2 targets are inside the frame')
    """
    truth, score = np.asarray(inside, np.int64), np.asarray(answer, np.float64)
    if compat == "reference" and len(truth) and len(set(truth.tolist())) == 1:
        return Value(float(truth[0]), "one class")
    reason = why_no_precision(truth, score)
    if reason:
        return Value(float("nan"), reason)
    once, together = np.ones((1, 1)), np.zeros(len(truth), np.int64)
    return Value(float(resample_average_precision(truth, score, group=together, weights=once)[0]))


def resample_average_precision(inside: NDArray, answer: Array, *, group: NDArray, weights: Array) -> Array:
    """Compute the average precision of all resamples; the answers are sorted once.

    Parameters
    ----------
    inside, answer
        [n], as in `measure_average_precision`, without NaN.
    group
        [n], number of the group of each frame.
    weights
        [resamples, groups], how often each group occurs.

    Returns
    -------
    numpy.ndarray
        [resamples]; NaN where a class has no frame.
    """
    if not len(answer):
        return np.full(len(weights), np.nan)
    order = np.argsort(-answer, kind="stable")
    ranked = answer[order]
    last = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(order) - 1)  # of each run of equal answers
    label, owner = np.asarray(inside)[order] == 1, np.asarray(group)[order]
    parts = np.array_split(weights, max(1, -(-len(weights) * len(order) // AT_ONCE)))
    return np.concatenate([_step_precision(part[:, owner], label, last) for part in parts])


def measure_balanced_accuracy(inside: ArrayLike, probability: ArrayLike) -> Value:
    """Compute the balanced accuracy of answering inside when the probability is above one half.

    Parameters
    ----------
    inside
        [n], 1 inside, 0 outside.
    probability
        [n], of inside.
    """
    truth, score = np.asarray(inside, np.int64), np.asarray(probability, np.float64)
    reason = why_no_precision(truth, score)
    if reason:
        return Value(float("nan"), reason)
    return classification.measure(classification.BALANCED_ACCURACY, count_answers(truth, score, groups=1).sum(axis=0))


def count_answers(inside: NDArray, probability: Array, *, groups: int, group: NDArray | None = None) -> Array:
    """Count frames by group, truth (row) and answer (column): [groups, 2, 2]."""
    owner = np.zeros(len(inside), np.int64) if group is None else group
    cell = (owner * 2 + (np.asarray(inside) == 1)) * 2 + (probability > 0.5)
    return np.bincount(cell, minlength=groups * 4).reshape(groups, 2, 2).astype(np.float64)


def why_no_precision(inside: NDArray, answer: Array) -> str:
    """Say why in/out answers cannot be scored; empty when they can."""
    if not len(inside):
        return "no frame tells whether the target is inside"
    missing = int(np.isnan(answer).sum())
    if missing:
        return f"{missing} of {len(answer)} frames have no in/out answer"
    if (inside == 1).all():
        return f"all {len(inside)} targets are inside the frame"
    return "" if (inside == 1).any() else f"all {len(inside)} targets are outside the frame"


def _step_precision(weight: Array, label: NDArray[np.bool_], last: NDArray) -> Array:
    """Sum precision times step of recall, [resamples], from weights [resamples, n] in order of falling answers."""
    hit = weight * label
    found, seen = np.cumsum(hit, axis=1), np.cumsum(weight, axis=1)
    if len(last) < len(label):
        found, seen = found[:, last], seen[:, last]
        hit = np.diff(found, axis=1, prepend=0)
    np.maximum(seen, 1, out=seen)  # a resample may hold nobody so high up: no step of recall there
    hits, total = found[:, -1].copy(), seen[:, -1]
    area = np.einsum("rt,rt->r", hit, np.divide(found, seen, out=found))
    has_both = (hits > 0) & (hits < total)
    return np.where(has_both, area / np.maximum(hits, 1), np.nan)


def trace_precision(scores: pd.DataFrame) -> pd.DataFrame:
    """Trace precision against recall of "the target is inside", for each data set that has both kinds of frames.

    Parameters
    ----------
    scores
        Table ``gaze_scores`` of one predictor.

    Returns
    -------
    pandas.DataFrame
        name (data set), recall (ascending), precision, average_precision, positive (share of frames inside), n.
    """
    parts = []
    for dataset, own in scores[(scores["inside"] >= 0) & scores["logit"].notna()].groupby("dataset", sort=True):
        truth, answer = own["inside"].to_numpy(np.int64), own["logit"].to_numpy(np.float64)
        if len(set(truth.tolist())) == 2:
            precision, recall, _ = precision_recall_curve(truth, answer)
            curve = pd.DataFrame({"name": str(dataset), "recall": recall[::-1], "precision": precision[::-1]})
            area = measure_average_precision(truth, answer).value
            parts.append(curve.assign(average_precision=area, positive=truth.mean(), n=len(truth)))
    columns = ["name", "recall", "precision", "average_precision", "positive", "n"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)
