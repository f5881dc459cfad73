"""Tables behind the figures: precision-recall curves and counts of answers by label."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg import tables
from nbpkg.metrics.looking.precision import (
    CLASSES,
    Curve,
    average_precision,
    normalise_rows,
    score_answers,
    trace_precision,
)
from nbpkg.metrics.looking.scores import Part, Plan, pick_labelled, split_parts

PARTS: tuple[Part, ...] = ("all", "quality")


def trace_looking(
    predictions: pd.DataFrame, plan: Plan, *, by: Sequence[Part] = PARTS, points: int = 2000
) -> pd.DataFrame:
    """Trace precision over recall of both classes for each system.

    Parameters
    ----------
    predictions
        Table ``looking_predictions``.
    plan
        How answers are scored.
    by
        Which parts get a curve.
    points
        How many points of a curve are kept at most, among those where recall changes; scores come from all.

    Returns
    -------
    pandas.DataFrame
        Table ``looking_curves``, recall ascending; no row for a class that does not occur.
    """
    found = []
    for system, whole in pick_labelled(predictions).groupby("system", sort=False):
        for part, name, own, _ in split_parts(whole, by, plan):
            if name:
                continue
            label, score = own["label"].to_numpy(np.float64), own["score"].to_numpy(np.float64)
            for kind, truth, sure in ((CLASSES[1], label, score), (CLASSES[0], 1 - label, 1 - score)):
                curve = trace_precision(truth, sure, ties=plan.ties)
                kept = _thin(curve, points)
                columns = ("threshold", "recall", "precision", "envelope")
                facts = {
                    "system": system, "split": plan.split, "stride": plan.stride, "part": part, "class": kind,
                    **{column: values[kept] for column, values in zip(columns, curve, strict=True)},
                    "average_precision": average_precision(truth, sure, ties=plan.ties),
                    "share": float(truth.mean()) if len(truth) else np.nan, "n": len(own),
                }  # fmt: skip
                if len(kept):
                    found.append(pd.DataFrame(facts))
    return tables.check(pd.concat(found), "looking_curves") if found else tables.empty("looking_curves")


def count_looking(predictions: pd.DataFrame, plan: Plan, *, by: Sequence[Part] = PARTS) -> pd.DataFrame:
    """Count answers by label for each system.

    Parameters
    ----------
    predictions, plan, by
        As in `trace_looking`.

    Returns
    -------
    pandas.DataFrame
        Table ``looking_confusion``: all four pairs of label and answer.
    """
    rows = []
    for system, whole in pick_labelled(predictions).groupby("system", sort=False):
        for part, name, own, _ in split_parts(whole, by, plan):
            if name or own.empty:
                continue
            counts = score_answers(own["label"], own["score"], threshold=plan.threshold).counts
            facts = {"system": system, "split": plan.split, "stride": plan.stride, "part": part}
            for (label, answer), share in np.ndenumerate(normalise_rows(counts)):
                pair = {"label": label, "predicted": answer, "threshold": plan.threshold}
                rows.append({**facts, **pair, "n": int(counts[label, answer]), "share": share})
    return tables.from_rows(rows, "looking_confusion")


def _thin(curve: Curve, points: int) -> NDArray[np.int64]:
    """Choose thresholds at which recall changes, the first and the last among them."""
    steps = np.flatnonzero(np.diff(curve.recall, prepend=0))
    return steps[np.unique(np.linspace(0, len(steps) - 1, points).astype(np.int64))] if len(steps) > points else steps
