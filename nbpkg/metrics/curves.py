"""Tables behind the figures of an evaluation: counts, scores by session, ROC curves, calibration."""

from __future__ import annotations

import numpy as np
import pandas as pd

from nbpkg.metrics import classification as scores

KEY = ["task", "variable"]


def count_confusions(predictions: pd.DataFrame) -> pd.DataFrame:
    """Count answers by label.

    Returns
    -------
    pandas.DataFrame
        task, variable, label, predicted, n (samples) and share (of the samples with this label); all pairs of classes.
    """
    rows = []
    for (task, variable), part in predictions.groupby(KEY, sort=True):
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
    for (task, variable, session), part in predictions.groupby([*KEY, "session"], sort=True):
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
    for (task, variable), part in predictions.groupby(KEY, sort=True):
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


def bin_calibration(predictions: pd.DataFrame, *, bins: int = 5) -> pd.DataFrame:
    """Compare probabilities with how often they come true, in bins of equally many samples.

    Returns
    -------
    pandas.DataFrame
        task, variable, score (mean in the bin), positive (share of positive labels in it) and n.
    """
    rows = []
    for (task, variable), part in predictions.groupby(KEY, sort=True):
        ordered = part.dropna(subset=["score"]).sort_values(["score", "sample_id"])
        rows += [
            {
                "task": task,
                "variable": variable,
                "score": float(ordered["score"].iloc[index].mean()),
                "positive": float((ordered["label"].iloc[index] == 1).mean()),
                "n": len(index),
            }
            for index in np.array_split(np.arange(len(ordered)), bins)
            if len(index)
        ]
    return pd.DataFrame(rows, columns=[*KEY, "score", "positive", "n"])
