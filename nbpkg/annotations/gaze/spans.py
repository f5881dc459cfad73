"""Frames inside and outside as marks on a time line, the form in which annotators' agreement is measured."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pandas as pd

from nbpkg import tables
from nbpkg.annotations.gaze.rows import TRACK

WORDS = {1: "inside", 0: "outside"}


def mark_inside(table: pd.DataFrame, fps: Fraction, *, step: int = 1) -> pd.DataFrame:
    """Turn runs of consecutive frames with the same answer into marks.

    Frame k lasts from round(1000 k / fps) to round(1000 (k + 1) / fps) milliseconds.

    Parameters
    ----------
    table
        Table ``gaze``; rows whose ``inside`` is unknown end a run and give no mark.
    fps
        Frames per second of the picture folders.
    step
        Largest distance of two frames that still count as consecutive, for subsampled annotations; each annotated frame
        then stands for those up to the next.

    Returns
    -------
    pandas.DataFrame
        Table ``annotations``: tier is the person, value ``inside`` or ``outside``, file the picture with which the mark
        starts, row its number on the tier.

    Examples
    --------
    >>> from nbpkg.annotations.gaze.rows import finish
    >>> rows = pd.DataFrame({"session": "s", "frame": [0, 1, 2], "inside": [1, 1, 0], "image": ["a", "b", "c"]})
    >>> mark_inside(finish(rows), Fraction(25))[["value", "start_ms", "end_ms"]].to_numpy().tolist()
    [['inside', 0, 80], ['outside', 80, 120]]
    """
    known = table[table["inside"].isin(list(WORDS))].sort_values([*TRACK, "frame"], kind="stable")
    if known.empty:
        return tables.empty("annotations")
    group = known.groupby(TRACK, sort=False).ngroup().to_numpy()
    frames, inside = known["frame"].to_numpy(), known["inside"].to_numpy()
    near = np.diff(frames, prepend=frames[0] - step - 1) <= step
    begins = np.diff(group, prepend=-1) != 0
    begins |= (np.diff(inside, prepend=-1) != 0) | ~near
    first = np.flatnonzero(begins)
    last = np.append(first[1:], len(known)) - 1
    # a run goes on to the next frame annotated, if that is near and only the answer changes
    following = np.minimum(last + 1, len(known) - 1)
    touches = (group[following] == group[last]) & (following > last) & (frames[following] - frames[last] <= step)
    ends = np.where(touches, frames[following], frames[last] + 1)
    marks = known.iloc[first][["session", "rater", "person", "image"]].rename(
        columns={"person": "tier", "image": "file"}
    )
    marks = marks.assign(
        value=[WORDS[one] for one in inside[first].tolist()],
        start_ms=[round(1000 * frame / fps) for frame in frames[first].tolist()],
        end_ms=[round(1000 * frame / fps) for frame in ends.tolist()],
    )
    marks = marks.sort_values(["session", "rater", "tier", "start_ms"], kind="stable")
    marks["row"] = marks.groupby(["session", "rater", "tier"], sort=False).cumcount() + 1
    return tables.check(marks, "annotations")
