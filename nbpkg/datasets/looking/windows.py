"""Windows over face tracks: which seven faces a network sees together, filled where there are fewer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

SLOTS, CENTRE = 7, 3
OFFSETS = tuple(range(-CENTRE, SLOTS - CENTRE))
AROUND = tuple(slot for slot in range(SLOTS) if slot != CENTRE)  # in the order in which random numbers are drawn
Fill = Literal["nearest", "reference"]
_SPAN = 1 << 40  # more frames than any clip has


@dataclass(frozen=True)
class Windows:
    """Windows of seven faces, one for each key face.

    Parameters
    ----------
    row
        Row of each key face in ``faces.npy``, int64 ``[n]``, in the order of the tracks.
    slots
        Rows of the faces three frames before to three after, int64 ``[n, 7]``; -1 where the track has none or it has no
        crop. The key face itself is in the middle.
    label
        Of the key face: 1 looking, 0 not, -1 unknown; int64 ``[n]``.
    filtered
        Rows of faces that `keep` left out, though they have a crop.
    without_crop
        Rows of faces that would be key faces, had they a crop.
    """

    row: NDArray[np.int64]
    slots: NDArray[np.int64]
    label: NDArray[np.int64]
    filtered: NDArray[np.int64]
    without_crop: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.row)

    def pick(self, numbers: NDArray[np.integer] | Sequence[int]) -> Windows:
        """Return some of the windows, by number."""
        chosen = np.asarray(numbers, np.int64)
        return Windows(self.row[chosen], self.slots[chosen], self.label[chosen], self.filtered, self.without_crop)


def list_windows(
    tracks: pd.DataFrame,
    faces: NDArray[np.void],
    *,
    crop: NDArray[np.bool_],
    stride: int,
    keep: NDArray[np.bool_] | None = None,
) -> Windows:
    """List the windows of some tracks.

    Every `stride`-th face of a track, from its first, is a key face if it has a crop and `keep` holds for it; neither
    moves the others.

    Parameters
    ----------
    tracks
        Table ``tracks``, or some of its rows, e.g. those of some clips.
    faces
        All faces, with ``frame`` and ``label``; rising frames in each track. Of faces of one track in the same frame
        the last stands for the frame in windows of others.
    crop
        Which faces have a crop, ``[faces]``.
    stride
        Faces from one key face to the next, from 1.
    keep
        Which faces may be key faces, ``[faces]`` (see `nbpkg.features.looking.quality.is_usable`); None for all.

    Returns
    -------
    Windows
    """
    starts, counts = tracks["offset"].to_numpy(np.int64), tracks["rows"].to_numpy(np.int64)
    key = _every(starts, counts, stride)
    kept = np.ones(len(key), bool) if keep is None else np.asarray(keep[key], bool)
    there = np.asarray(crop[key], bool)
    chosen = key[kept & there]
    slots = find_around(tracks, faces["frame"], chosen)
    for place in slots.T if len(chosen) else ():
        place[~crop[place]] = -1  # where it is -1, whatever the last face has
    labels = faces["label"][chosen].astype(np.int64)
    return Windows(chosen, slots, labels, filtered=key[~kept], without_crop=key[kept & ~there])


def find_around(tracks: pd.DataFrame, frames: NDArray[np.integer], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Find the faces three frames before to three after some faces, in their own tracks.

    Parameters
    ----------
    tracks
        Tracks that the faces are in, with ``offset`` and ``rows``.
    frames
        Frame of every face of ``faces.npy``, rising in each track.
    rows
        Of the faces asked about, in `frames`, track by track.

    Returns
    -------
    ndarray
        int64 ``[n, 7]``, rows of `frames`; -1 where the track has no face. The middle is the face itself.
    """
    starts, counts = tracks["offset"].to_numpy(np.int64), tracks["rows"].to_numpy(np.int64)
    order = np.argsort(starts, kind="stable")
    members = _every(starts[order], counts[order], 1)
    codes = np.repeat(np.arange(len(order)), counts[order]) * _SPAN + frames[members].astype(np.int64)
    together = len(members) > 0 and int(members[-1] - members[0]) == len(members) - 1
    place = rows - members[0] if together else np.searchsorted(members, rows)
    last = np.append(codes[1:] != codes[:-1], True)  # of the faces of a track in one frame
    found = np.full((SLOTS, len(rows)), -1, np.int64)  # place by place in memory: millions of windows take seconds
    found[CENTRE] = rows
    for slot in AROUND if len(rows) else ():
        found[slot] = _look_up(codes, last, members, place=place, offset=OFFSETS[slot])
    return found.T


def _look_up(
    codes: NDArray[np.int64],
    last: NDArray[np.bool_],
    members: NDArray[np.int64],
    *,
    place: NDArray[np.int64],
    offset: int,
) -> NDArray[np.int64]:
    """Find the last face of each frame `offset` frames on; most lie just as many rows on, only others are searched."""
    wanted = codes[place] + offset
    guess = (place + offset).clip(0, len(codes) - 1)
    right = (codes[guess] == wanted) & last[guess]
    rest = np.flatnonzero(~right)
    guess[rest] = (np.searchsorted(codes, wanted[rest], side="right") - 1).clip(min=0)
    right[rest] = codes[guess[rest]] == wanted[rest]
    found = np.asarray(members[guess])
    found[~right] = -1
    return found


def fill_slots(slots: NDArray[np.int64], rule: Fill) -> NDArray[np.int64]:
    """Fill the empty places of windows with other faces of the same window.

    Parameters
    ----------
    slots
        int64 ``[n, 7]``; -1 where there is no face.
    rule
        ``nearest``: the face nearest in time, of two the one nearer the middle. ``reference``, as published: faces move
        together around the middle and the outermost are repeated, which shifts time; an empty middle stays empty.

    Returns
    -------
    ndarray
        int64 ``[n, 7]``. Under ``nearest`` -1 is left only in windows without any face.

    Examples
    --------
    >>> fill_slots(np.array([[0, -1, -1, 3, 4, 5, 6]]), "reference").tolist()
    [[0, 0, 0, 3, 4, 5, 6]]
    >>> fill_slots(np.array([[0, -1, -1, 3, 4, 5, 6]]), "nearest").tolist()
    [[0, 0, 3, 3, 4, 5, 6]]
    """
    table = _sources(rule)
    code = ((slots < 0) * (1 << np.arange(SLOTS))).sum(axis=1)
    source = table[code]
    filled = np.take_along_axis(slots, source.clip(min=0), axis=1)
    return np.where(source >= 0, filled, -1)


@cache
def _sources(rule: Fill) -> NDArray[np.int64]:
    """Return from which place each place is filled, for all 128 ways in which places can be empty."""
    table = np.empty((1 << SLOTS, SLOTS), np.int64)
    for missing in product((False, True), repeat=SLOTS):
        code = sum(1 << slot for slot in range(SLOTS) if missing[slot])
        table[code] = _fill_together(missing) if rule == "reference" else _fill_nearest(missing)
    return table


def _fill_together(missing: Sequence[bool]) -> list[int]:
    left = [slot for slot in range(CENTRE) if not missing[slot]]
    right = [slot for slot in range(CENTRE + 1, SLOTS) if not missing[slot]]
    kept = [*left, CENTRE, *right]
    row = [kept[0]] * (CENTRE - len(left)) + kept + [kept[-1]] * (SLOTS - CENTRE - 1 - len(right))
    return [-1 if missing[slot] else slot for slot in row]


def _fill_nearest(missing: Sequence[bool]) -> list[int]:
    there = [slot for slot in range(SLOTS) if not missing[slot]]
    if not there:
        return [-1] * SLOTS
    return [min(there, key=lambda other: (abs(other - slot), abs(other - CENTRE), other)) for slot in range(SLOTS)]


def drop_slots(
    slots: NDArray[np.int64],
    p: NDArray[np.floating],
    *,
    training: bool,
    margin: float = 0.2,
    uniform: NDArray[np.float64] | None = None,
    drop_centre: bool = False,
) -> NDArray[np.int64]:
    """Leave blurred faces out of windows (Gaussian temporal dropout); the face asked about always stays.

    In training a face is left out when a random number exceeds `p` + `margin`, so with probability 1 - margin - p;
    otherwise when `p` is below `margin`.

    Parameters
    ----------
    slots
        int64 ``[n, 7]``; -1 where there is no face.
    p
        How sharp each face is, 0 to 1, ``[faces]``; NaN, which nothing is known of, is never left out.
    training
        Which of both rules.
    margin
        Share of faces that is never left out in training; limit otherwise.
    uniform
        Training: random numbers from [0, 1) for the six places around the middle, ``[n, 6]``, drawn for each place
        whether it has a face or not.
    drop_centre
        Without training: leave the middle out by the same rule, as the published program does for test crops.

    Returns
    -------
    ndarray
        int64 ``[n, 7]``, -1 where there is no face or it is left out.

    Source: lemon-prog123/GazePose; challenge report 2023.
    """
    known = np.append(p.astype(np.float64), np.nan)[slots]  # -1 takes the NaN at the end
    sharp = np.where(np.isnan(known), 1.0, known)
    if training:
        draws = np.zeros(slots.shape) if uniform is None else np.insert(uniform, CENTRE, 0.0, axis=1)
        dropped = draws > sharp + margin
    else:
        dropped = sharp < margin
    if training or not drop_centre:
        dropped[:, CENTRE] = False
    return np.where(dropped, -1, slots)


def weigh_classes(labels: NDArray[np.integer]) -> tuple[float, float]:
    """Return weights of the classes not looking and looking: the share of the other one, as published.

    Examples
    --------
    >>> weigh_classes(np.array([0, 0, 0, 1]))
    (0.25, 0.75)
    """
    looking, not_looking = int((labels == 1).sum()), int((labels == 0).sum())
    total = max(1, looking + not_looking)
    return looking / total, not_looking / total


def _every(starts: NDArray[np.int64], counts: NDArray[np.int64], stride: int) -> NDArray[np.int64]:
    """Return every `stride`-th row of each run of rows."""
    steps = -(-counts // stride)
    ends = np.cumsum(steps)
    inside = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - steps, steps)
    return np.asarray(np.repeat(starts, steps) + stride * inside)
