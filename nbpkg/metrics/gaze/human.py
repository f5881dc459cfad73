"""People in the model's place: each annotator's answers scored against the other annotators of the same frames."""

from __future__ import annotations

import numpy as np
import pandas as pd

from nbpkg import tables
from nbpkg.metrics.gaze.auc import Protocol
from nbpkg.metrics.gaze.baselines import BLOCK, draw_gaussians
from nbpkg.metrics.gaze.stream import PICTURE, ScoreStream, Truth, locate_targets


def score_annotators(gaze: pd.DataFrame, *, truth: Truth, protocol: Protocol = "vtd") -> pd.DataFrame:
    """Score annotators against each other: the ceiling of what a model can reach.

    An annotator's heat map is a Gaussian of 3 cells' width around the point; distances and angles are those of the
    point itself. The in/out answer is what the annotator says; where it is "outside" and another says "inside", there
    is no heat map and the frame has no area and no distance.

    Parameters
    ----------
    gaze
        Table ``gaze``; frames with one annotator are left out.
    truth
        ``box``: each annotator against every other one. ``points``: each against all others together.
    protocol
        As in `ScoreStream`.

    Returns
    -------
    pandas.DataFrame
        Table ``gaze_scores``, predictor: the annotator in the model's place; rater: whom the answer is held against.
        No row when no frame has two annotators.

    Source
    ------
    Chong et al. (2020) report one human against others on VideoAttentionTarget without saying how the heat map is
    made; this is ours.
    """
    known = gaze[gaze["inside"] >= 0]
    several = known[known.groupby(PICTURE)["rater"].transform("nunique") > 1]
    found = [_score_one(several, str(rater), truth, protocol) for rater in sorted(set(several["rater"]))]
    return pd.concat(found, ignore_index=True) if found else tables.empty("gaze_scores")


def _score_one(gaze: pd.DataFrame, rater: str, truth: Truth, protocol: Protocol) -> pd.DataFrame:
    """Score one annotator against the others."""
    own = gaze[gaze["rater"] == rater]
    answers = own[PICTURE].assign(said=own["inside"].to_numpy(), place=np.arange(len(own)))
    others = gaze[gaze["rater"] != rater].merge(answers, on=PICTURE, how="inner").reset_index(drop=True)
    rows = np.flatnonzero(~others.duplicated(PICTURE).to_numpy()) if truth == "points" else np.arange(len(others))
    points = locate_targets(own)[others["place"].to_numpy()]
    said = others["said"].to_numpy(np.float64)
    stream = ScoreStream(others, truth=truth, protocol=protocol, predictor=rater)
    for block in np.array_split(rows, max(1, -(-len(rows) // BLOCK))):
        stream.add(draw_gaussians(points[block]), block, probabilities=said[block], points=points[block])
    return stream.table()
