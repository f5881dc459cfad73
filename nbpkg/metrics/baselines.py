"""What answering without looking would score: the line every result has to beat."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from nbpkg import tables
from nbpkg.errors import TableError
from nbpkg.metrics.classification import always_positive


def accuracy_baseline(share: float) -> float:
    """Accuracy of always answering the more frequent of two classes, given the share of positives."""
    return max(share, 1 - share)


def f1_baseline(share: float) -> float:
    """F1 of always answering positive, given the share of positives.

    Examples
    --------
    >>> round(f1_baseline(0.5), 3)
    0.667
    """
    return 2 * share / (1 + share)


def duration_baselines(spans: pd.DataFrame, folds: pd.DataFrame | None = None, *, absent: str) -> pd.DataFrame:
    """Baselines from rated time, over all sessions and for each fold.

    The baseline of the test fold alone is the fair one to hold a test score against: its share of positive time differs
    from the whole.

    Parameters
    ----------
    spans
        Table ``spans``.
    folds
        Table ``folds``; sessions without a fold count only in fold ``all``.
    absent
        Value that means the behaviour is not there.

    Returns
    -------
    pandas.DataFrame
        Table ``baselines`` with source ``durations``; n is milliseconds, all raters together.

    Source
    ------
    MarcFraile/infant-engagement, ``calculate_metric_baselines.py``, there over all folds only.
    """
    length = spans["end_ms"] - spans["start_ms"]
    counted = spans.assign(label=(spans["value"] != absent).astype(int), weight=length)
    return _baselines(counted, folds, source="durations")


def clip_baselines(samples: pd.DataFrame, folds: pd.DataFrame | None = None) -> pd.DataFrame:
    """Baselines from clip labels, over all sessions and for each fold.

    A clip is positive when more than half of it is, so these shares differ from those of `duration_baselines`; they are
    what a network that sees clips has to beat.

    Parameters
    ----------
    samples
        Table ``samples``.
    folds
        Table ``folds``; sessions without a fold count only in fold ``all``.

    Returns
    -------
    pandas.DataFrame
        Table ``baselines`` with source ``clips``; n is samples. With more than two classes positive_probability is NaN
        and F1 is the mean over the classes.
    """
    return _baselines(samples.assign(weight=1), folds, source="clips")


def metric_baselines_json(baselines: pd.DataFrame, *, tasks: Sequence[str]) -> str:
    """Write the duration baselines of all folds as the published ``metric_baselines.json``.

    Parameters
    ----------
    baselines
        Table ``baselines`` with rows of source ``durations`` and fold ``all``.
    tasks
        Tasks in the order to write them.

    Source
    ------
    MarcFraile/infant-engagement, ``calculate_metric_baselines.py``.
    """
    rows = baselines[(baselines["source"] == "durations") & (baselines["fold"] == "all")]
    if rows.empty:
        raise TableError(
            "The baselines hold no row of source 'durations' and fold 'all'.",
            remedy="Make them with duration_baselines.",
        )
    found = {
        task: {
            str(row.variable): {
                "positive_class_probability": row.positive_probability,
                "accuracy_baseline": row.accuracy,
                "f1_baseline": row.f1,
            }
            for row in rows[rows["task"] == task].sort_values("variable").itertuples()
        }
        for task in tasks
    }
    return json.dumps(found, indent=4)


def _baselines(counted: pd.DataFrame, folds: pd.DataFrame | None, *, source: str) -> pd.DataFrame:
    records = list(_records(counted.assign(fold="all"), counted, source))
    if folds is not None:
        number = folds.set_index("session")["fold"]
        inside = counted[counted["session"].isin(number.index)]
        records += _records(inside.assign(fold=inside["session"].map(number).astype(str)), counted, source)
    return tables.from_rows(records, "baselines")


def _records(counted: pd.DataFrame, everything: pd.DataFrame, source: str) -> Iterator[dict[str, object]]:
    """Make one row per fold, task and variable; the classes are those of the variable in all folds."""
    classes = (everything.groupby(["task", "variable"])["label"].max() + 1).to_dict()
    for (fold, task, variable), rows in counted.groupby(["fold", "task", "variable"], sort=True):
        count = max(2, int(classes[(task, variable)]))
        weights = np.bincount(rows["label"], weights=rows["weight"], minlength=count)
        total = weights.sum()
        shares = weights / total if total > 0 else np.full(count, np.nan)
        yield {
            "source": source,
            "fold": fold,
            "task": task,
            "variable": variable,
            "positive_probability": shares[1] if count == 2 else np.nan,
            "accuracy": shares.max(),
            "f1": always_positive(shares),
            "balanced_accuracy": 1 / count if (shares > 0).all() else np.nan,
            "n": int(total),
        }
