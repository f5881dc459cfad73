"""Boxes of people followed from frame to frame: which boxes are one person."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from nbpkg.features.people.boxes import COLUMNS, CORNERS, FACE, overlaps

SEEN, BETWEEN = "seen", "between"


class Follower:
    """Gives each box of a frame the number of the track it continues.

    Parameters
    ----------
    least_overlap
        Smallest share of the union that two boxes of one person have in common.
    patience
        Frames from one box to the next after which a track is given up, and a box at the same place is a new one.
    """

    def __init__(self, least_overlap: float, *, patience: int) -> None:
        self.least_overlap, self.patience = least_overlap, patience
        self.last: dict[int, tuple[int, NDArray[np.float64]]] = {}
        self.count = 0

    def number(self, frame: int, boxes: NDArray[np.float64]) -> list[int]:
        """Return the track of each box ``[n, 4]``, so that boxes overlap most in all; frames are to come in order."""
        self.last = {track: seen for track, seen in self.last.items() if frame - seen[0] <= self.patience}
        known = list(self.last)
        numbers = [-1] * len(boxes)
        if known and len(boxes):
            shares = overlaps(boxes, np.array([self.last[track][1] for track in known]))
            # What overlaps too little is worth nothing: it must not decide which of two others go together.
            shares[shares < self.least_overlap] = 0
            for row, column in zip(*linear_sum_assignment(-shares), strict=True):
                if shares[row, column] > 0:
                    numbers[int(row)] = known[int(column)]
        for place, box in enumerate(boxes):
            if numbers[place] < 0:
                numbers[place] = self.count
                self.count += 1
            self.last[numbers[place]] = (frame, box)
        return numbers


def follow(boxes: pd.DataFrame, *, least_overlap: float, patience: int, least_score: float) -> pd.DataFrame:
    """Join boxes of one recording to tracks of one person each.

    Parameters
    ----------
    boxes
        As `nbpkg.features.people.boxes.read_boxes` returns them; their order within a frame does not count.
    least_overlap
        Overlap (area of the intersection over that of the union) from which boxes of two frames are one person.
    patience
        Frames from one box to the next of the same track, at most.
    least_score
        Boxes below this confidence are left out; those whose confidence is not told are kept.

    Returns
    -------
    pandas.DataFrame
        The columns of `boxes`, track (from 0 in order of appearance) and how: ``seen``, or ``between`` for boxes on a
        line between the box before and the one after; ordered by frame and track.
    """
    kept = boxes[~(boxes["score"] < least_score)].sort_values(["frame", *CORNERS], kind="stable")
    kept = kept.reset_index(drop=True)
    follower = Follower(least_overlap, patience=patience)
    corners = kept[CORNERS].to_numpy(np.float64)
    tracks: list[int] = []
    starts = np.flatnonzero(kept["frame"].diff().to_numpy() != 0)
    for rows in np.split(np.arange(len(kept)), starts[1:]) if len(kept) else []:
        tracks += follower.number(int(kept["frame"].iloc[rows[0]]), corners[rows])
    kept = kept.assign(track=np.array(tracks, np.int64), how=SEEN)
    filled = [_fill(own) for _, own in kept.groupby("track", sort=True)]
    whole = pd.concat(filled) if filled else kept
    return whole[[*COLUMNS, "track", "how"]].sort_values(["frame", "track"]).reset_index(drop=True)


def _fill(own: pd.DataFrame) -> pd.DataFrame:
    """Add the frames that one track lacks, on a line between their neighbours."""
    seen = own["frame"].to_numpy(np.int64)
    missing = np.setdiff1d(np.arange(seen[0], seen[-1] + 1), seen)
    if not len(missing):
        return own
    columns = {name: np.interp(missing, seen, own[name].to_numpy()) for name in CORNERS}
    columns |= {name: _between(missing, seen, own[name].to_numpy()) for name in FACE}
    added = pd.DataFrame({"frame": missing, **columns, "score": np.nan, "track": own["track"].iloc[0], "how": BETWEEN})
    return pd.concat([own, added], ignore_index=True)


def _between(missing: NDArray[np.int64], seen: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return values between those before and after; NaN where either has none."""
    after = np.searchsorted(seen, missing)
    share = (missing - seen[after - 1]) / (seen[after] - seen[after - 1])
    between: NDArray[np.float64] = (1 - share) * values[after - 1] + share * values[after]
    return between


def source_frames(count: int, *, fps: float, source_fps: float) -> NDArray[np.int64]:
    """Return which frame of the recording each frame of the prepared video shows.

    That is the last one that begins before the middle of the prepared frame, as
    `nbpkg.video.convert.select_frames` chooses at a steady rate.

    Parameters
    ----------
    count
        Frames of the prepared video.
    fps, source_fps
        Rates of the prepared video and the recording, frames per second.

    Examples
    --------
    >>> source_frames(4, fps=3.125, source_fps=10).tolist()
    [1, 4, 7, 11]
    """
    middle = (np.arange(count) + 0.5) * (source_fps / fps)
    shown: NDArray[np.int64] = (np.ceil(middle - 1e-6).astype(np.int64) - 1).clip(min=0)
    return shown


def at_frames(rows: pd.DataFrame, shown: Sequence[int] | NDArray[np.int64]) -> pd.DataFrame:
    """Return rows of a table by the recording's frames (column frame) as rows by the frames that show them.

    Parameters
    ----------
    rows
        Any table with column frame.
    shown
        Frame of the recording that prepared frame 0, 1, … shows, as `source_frames` returns.
    """
    places = pd.DataFrame({"frame": np.asarray(shown, np.int64), "_shown": np.arange(len(shown))})
    joined = rows.merge(places, on="frame", how="inner")
    joined["frame"] = joined.pop("_shown")
    return joined.reset_index(drop=True)
