"""Face tracks as they are learnt from: usable boxes in order, gaps filled, a label for each face."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.int64]


class CleanTrack(NamedTuple):
    """Faces of one track, frame by frame.

    Parameters
    ----------
    frames
        ``[n]``, ascending.
    boxes
        x0, y0, x1, y1, ``[n, 4]``, pixels.
    seen
        Whether the box is annotated, ``[n]``; others lie between two that are.
    dropped
        Boxes that are not usable.
    repeated
        Further boxes for a frame that had one.
    """

    frames: Frames
    boxes: NDArray[np.float64]
    seen: NDArray[np.bool_]
    dropped: int
    repeated: int


def clean_track(
    frames: Frames,
    boxes: NDArray[np.float64],
    *,
    named: NDArray[np.bool_] | None = None,
    max_gap: int | None = 15,
    compat: bool = False,
) -> CleanTrack:
    """Bring boxes into order, drop those that are not usable, and fill gaps along straight lines.

    Boxes without width or height, of frame 0 or before it, and without a person are dropped. A box that begins left of
    or above the picture is cut there, and dropped when nothing is left. Of several boxes for a frame the first counts.

    Parameters
    ----------
    frames
        ``[n]``, as annotated.
    boxes
        x, y, width, height, ``[n, 4]``, pixels, as annotated.
    named
        Whether each box says whose it is, ``[n]``; None for all.
    max_gap
        Frames without a box that are filled between two boxes; None for any number.
    compat
        As published: boxes beyond the left or upper border are moved into the picture at their full size, any gap is
        filled, and nothing is filled when there are at least as many boxes as frames from first to last, so that
        repeated frames stay and may hide a gap (10, 10, 11, 12, 14). Where a gap is filled, the last of them counts.

    Returns
    -------
    CleanTrack
        No faces when no box is usable.

    Source
    ------
    EGO4D/social-interactions (branch lam) and lemon-prog123/GazePose, ``dataset/data_loader.py``; ours differs as
    `compat` says.

    Examples
    --------
    >>> track = clean_track(np.array([4, 2]), np.array([[6.0, 0, 4, 4], [-2.0, 0, 4, 4]]))
    >>> track.frames.tolist(), track.boxes[:, 0].tolist(), track.boxes[:, 2].tolist()
    ([2, 3, 4], [0.0, 3.0, 6.0], [2.0, 6.0, 10.0])
    """
    start = np.maximum(boxes[:, :2], 0)
    end = (start if compat else boxes[:, :2]) + boxes[:, 2:]
    usable = (boxes[:, 2:] > 0).all(axis=1) & (frames > 0) & (end > start).all(axis=1)
    if named is not None:
        usable &= named
    kept, corners = frames[usable], np.hstack([start, end])[usable]
    order = np.argsort(kept, kind="stable")
    kept, corners = kept[order], corners[order]
    first = np.diff(kept, prepend=-1) > 0
    if not compat:
        kept, corners = kept[first], corners[first]
    filled, between, seen = _fill(kept, corners, max_gap=None if compat else max_gap, hide=compat)
    return CleanTrack(filled, between, seen, int((~usable).sum()), int((~first).sum()))


def _fill(
    frames: Frames, boxes: NDArray[np.float64], *, max_gap: int | None, hide: bool
) -> tuple[Frames, NDArray[np.float64], NDArray[np.bool_]]:
    """Fill gaps; with `hide`, not when repeated frames make up for the number of frames that lack."""
    seen = np.ones(len(frames), np.bool_)
    if not len(frames) or (hide and frames[-1] - frames[0] + 1 <= len(frames)):
        return frames, boxes, seen
    base = frames[np.diff(frames, prepend=-1) > 0]
    steps = np.diff(base, append=base[-1] + 1)
    counts = steps if max_gap is None else np.where(steps <= max_gap + 1, steps, 1)
    if len(base) == len(frames) and (counts == 1).all():
        return frames, boxes, seen
    starts = np.cumsum(counts) - counts
    within = np.arange(counts.sum()) - np.repeat(starts, counts)
    every = np.repeat(base, counts) + within
    between = np.stack([np.interp(every, frames, boxes[:, side]) for side in range(4)], axis=1)
    return every, between, within == 0


def label_faces(frames: Frames, spans: NDArray[np.int64]) -> NDArray[np.int8]:
    """Label the faces of one person: 1 within any span, 0 outside.

    Parameters
    ----------
    frames
        ``[n]``, ascending.
    spans
        First and last frame of each span, both inclusive, ``[m, 2]``. Spans may overlap, and may lie outside the track.

    Examples
    --------
    >>> label_faces(np.array([3, 4, 5, 9]), np.array([[4, 5], [5, 8], [7, 6]])).tolist()
    [0, 1, 1, 0]
    """
    spans = spans[spans[:, 0] <= spans[:, 1]]
    change = np.zeros(len(frames) + 1, np.int64)
    np.add.at(change, np.searchsorted(frames, spans[:, 0], side="left"), 1)
    np.add.at(change, np.searchsorted(frames, spans[:, 1], side="right"), -1)
    return (np.cumsum(change[:-1]) > 0).astype(np.int8)
