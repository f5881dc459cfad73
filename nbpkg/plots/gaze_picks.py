"""Figures behind the pickers of gaze studies: the scores of one data set, one track."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from nbpkg.plots import gaze_maps, gaze_scores

MAIN = ("auc_box", "auc_points", "distance", "avg_distance", "min_distance", "angle", "average_precision")
OTHERS = ("auc_box_gazelle", "auc_points_gazelle")


def dataset_scores(metrics: pd.DataFrame, references: pd.DataFrame, dataset: str) -> Figure:
    """Draw the scores of one data set, see `nbpkg.plots.gaze_scores.scores`.

    Parameters
    ----------
    metrics
        Table ``metrics``.
    references
        dataset, metric, name, kind, value.
    dataset
        The data set.
    """
    own = metrics[(metrics["task"] == dataset) & metrics["value"].notna()]
    names = [name for name in (*MAIN, *OTHERS) if (own["metric"] == name).any()]
    beside = references[(references["dataset"] == dataset) & references["metric"].isin(names)]
    return gaze_scores.scores(own, references=beside, names=names)


def track_answers(rows: pd.DataFrame, *, marked: pd.DataFrame) -> Figure:
    """Draw the answers along one track, see `nbpkg.plots.gaze_maps.inside_over_time`.

    Parameters
    ----------
    rows
        Rows of table ``gaze_scores`` of one person of one session.
    marked
        Table ``gaze``.
    """
    first = rows.iloc[0]
    own = marked[(marked["session"] == first["session"]) & (marked["person"] == first["person"])]
    return gaze_maps.inside_over_time(rows, own)
