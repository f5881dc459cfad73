"""Tables behind the figures of an evaluation: counts, scores by session, curves over thresholds, calibration.

All are about the test fold: rows of ``predictions`` with another role are left out.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from nbpkg.metrics import classification as scores
from nbpkg.metrics.machine import pick_test

KEY = ["task", "variable"]


def count_confusions(predictions: pd.DataFrame) -> pd.DataFrame:
    """Count answers by label.

    Returns
    -------
    pandas.DataFrame
        task, variable, label, predicted, n (samples) and share (of the samples with this label); all pairs of classes.
    """
    rows = []
    for (task, variable), part in pick_test(predictions).groupby(KEY, sort=True):
        classes = max(2, int(part[["label", "predicted"]].to_numpy().max()) + 1)
        matrix = scores.confusion(part["label"], part["predicted"], classes=classes)
        for label, predicted in np.ndindex(classes, classes):
            n, whole = int(matrix[label, predicted]), int(matrix[label].sum())
            share = n / whole if whole else np.nan
            own = {"task": task, "variable": variable, "label": label, "predicted": predicted}
            rows.append({**own, "n": n, "share": share})
    return pd.DataFrame(rows, columns=[*KEY, "label", "predicted", "n", "share"])


def score_sessions(predictions: pd.DataFrame) -> pd.DataFrame:
    """Score every session on its own.

    Returns
    -------
    pandas.DataFrame
        task, variable, session, balanced_accuracy (NaN where a class is missing), accuracy, positive (share of positive
        labels) and n.
    """
    rows = []
    for (task, variable, session), part in pick_test(predictions).groupby([*KEY, "session"], sort=True):
        classes = max(2, int(part[["label", "predicted"]].to_numpy().max()) + 1)
        matrix = scores.confusion(part["label"], part["predicted"], classes=classes)
        rows.append(
            {
                "task": task,
                "variable": variable,
                "session": session,
                "balanced_accuracy": scores.measure(scores.BALANCED_ACCURACY, matrix).value,
                "accuracy": scores.measure(scores.ACCURACY, matrix).value,
                "positive": float((part["label"] == 1).mean()),
                "n": len(part),
            }
        )
    return pd.DataFrame(rows, columns=[*KEY, "session", "balanced_accuracy", "accuracy", "positive", "n"])


def trace_roc(predictions: pd.DataFrame) -> pd.DataFrame:
    """Trace the ROC curve: one point per distinct score, from (0, 0) to (1, 1); none where a class is missing.

    Returns
    -------
    pandas.DataFrame
        task, variable, false_positive_rate, true_positive_rate, auc and n, the same in all rows of a curve.
    """
    parts = []
    for (task, variable), part in pick_test(predictions).groupby(KEY, sort=True):
        label, score = part["label"].to_numpy(), part["score"].to_numpy(np.float64)
        area = scores.area_under_curve(label, score)
        if area.reason:
            continue
        order = np.argsort(-score, kind="stable")
        last = np.append(np.flatnonzero(np.diff(score[order])), len(order) - 1)
        found, wrong = np.cumsum(label[order] == 1)[last], np.cumsum(label[order] == 0)[last]
        points = {
            "false_positive_rate": np.append(0, wrong / wrong[-1]),
            "true_positive_rate": np.append(0, found / found[-1]),
        }
        parts.append(pd.DataFrame({"task": task, "variable": variable, **points, "auc": area.value, "n": len(part)}))
    columns = [*KEY, "false_positive_rate", "true_positive_rate", "auc", "n"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def trace_precision(predictions: pd.DataFrame) -> pd.DataFrame:
    """Trace the precision-recall curve: one point per distinct score; none where a class is missing.

    Returns
    -------
    pandas.DataFrame
        task, variable, recall (ascending), precision, average_precision, positive (share of positive labels, what
        answering without looking scores) and n, the last three the same in all rows of a curve.
    """
    parts = []
    for (task, variable), part in pick_test(predictions).groupby(KEY, sort=True):
        label, score = part["label"].to_numpy(), part["score"].to_numpy(np.float64)
        if scores.why_no_area(label, score):
            continue
        counts = scores.count_thresholds(label, score, np.zeros(len(part), np.int64))[0]
        wrong, found = counts.cumsum(axis=0).T
        points = {"recall": found / found[-1], "precision": found / (found + wrong)}
        area, share = float(scores.average_precision(counts)), float((label == 1).mean())
        own = {"average_precision": area, "positive": share, "n": len(part)}
        parts.append(pd.DataFrame({"task": task, "variable": variable, **points, **own}))
    columns = [*KEY, "recall", "precision", "average_precision", "positive", "n"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def bin_calibration(predictions: pd.DataFrame, *, bins: int = scores.BINS) -> pd.DataFrame:
    """Compare probabilities with how often they come true, in equally wide bins, those of ``calibration_error``.

    Returns
    -------
    pandas.DataFrame
        task, variable, low and high (borders of the bin), score (mean in it), positive (share of positive labels in
        it), n, and calibration_error, the same in all rows of a task and variable; bins without samples are left out.
    """
    parts = []
    for (task, variable), part in pick_test(predictions).groupby(KEY, sort=True):
        known = part.dropna(subset=["score"])
        label, score = known["label"].to_numpy(), known["score"].to_numpy(np.float64)
        if known.empty:
            continue
        sums = scores.count_bins(label, score, np.zeros(len(known), np.int64), bins=bins)[0]
        used = np.flatnonzero(sums[:, 0])
        n, total, positive = sums[used].T
        found = {"low": used / bins, "high": (used + 1) / bins, "score": total / n, "positive": positive / n}
        error = float(scores.calibration_error(sums))
        own = {"task": task, "variable": variable, **found, "n": n.astype(int), "calibration_error": error}
        parts.append(pd.DataFrame(own))
    columns = [*KEY, "low", "high", "score", "positive", "n", "calibration_error"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)
