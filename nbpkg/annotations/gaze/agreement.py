"""How far annotators agree on whether a target lies inside the frame; how far apart their points are, 06 says."""

from __future__ import annotations

import pandas as pd

from nbpkg import tables
from nbpkg.annotations.agreement import KEYS, count_pairs, measure_agreement
from nbpkg.annotations.scheme import AnnotationScheme, Tier

VARIABLE, PERSON = "inside", ["session", "person", "frame"]


def measure_inside(gaze: pd.DataFrame, *, seed: int, resamples: int = 1000) -> pd.DataFrame:
    """Measure agreement on inside or outside, over the frames that two annotators or more judged.

    Parameters
    ----------
    gaze
        Table ``gaze``; rows that say nothing about it take no part.
    seed, resamples
        As in `nbpkg.annotations.agreement.measure_agreement`; sessions are drawn.

    Returns
    -------
    pandas.DataFrame
        Table ``agreement``, each data set as a task; empty when no frame has two annotators.
    """
    known = gaze[gaze["inside"].isin([0, 1])]
    judged = known.groupby(PERSON)["rater"].transform("nunique")
    shared = known[judged > 1]
    if shared.empty:
        return tables.empty("agreement")
    wide = shared.pivot_table(index=["dataset", *PERSON], columns="rater", values="inside").reset_index()
    wide.columns.name = None
    wide["step"] = wide.groupby(["dataset", "session"]).cumcount()
    wide = wide.assign(task=wide["dataset"], variable=VARIABLE).drop(columns=["dataset", "person", "frame"])
    raters = [name for name in wide.columns if name not in KEYS]
    counts = count_pairs(wide[[*KEYS, *raters]], _scheme(shared, raters), labels="binary")
    return measure_agreement(counts, seed=seed, resamples=resamples)


def _scheme(shared: pd.DataFrame, raters: list[str]) -> AnnotationScheme:
    """Say in the words of the agreement room who judged what."""
    datasets = sorted(shared["dataset"].unique())
    return AnnotationScheme(
        folder="",
        name_pattern="{session}_{rater}",
        sessions=sorted(shared["session"].unique()),
        raters=raters,
        task_tier="dataset",
        tasks=datasets,
        variables=[VARIABLE],
        absent="outside",
        tiers={"dataset": Tier(values=datasets), VARIABLE: Tier(values=["inside"])},
    )
