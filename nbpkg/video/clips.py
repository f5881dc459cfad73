"""Where clips lie, windows of one length on a fixed grid, and which frames they take."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from nbpkg.errors import MediaError, SettingsError
from nbpkg.video.frames import FrameStore


def grid(start_ms: int, end_ms: int, *, clip_ms: int, stride_ms: int) -> NDArray[np.int64]:
    """Cut an interval into windows of one length, starting at its start; what is left at the end is no window.

    Parameters
    ----------
    start_ms, end_ms
        The interval ``[start, end)``, milliseconds.
    clip_ms
        Length of every window, milliseconds, at least 1.
    stride_ms
        From one window's start to the next, milliseconds, at least 1; smaller than `clip_ms` makes windows overlap.

    Returns
    -------
    ndarray
        int64 ``[windows, 2]`` of starts and ends; no row when the interval is shorter than one window.

    Raises
    ------
    SettingsError
        When a length is not positive.

    Examples
    --------
    >>> grid(100, 1200, clip_ms=500, stride_ms=250).tolist()
    [[100, 600], [350, 850], [600, 1100]]
    """
    _check_lengths(clip_ms, stride_ms)
    starts = np.arange(start_ms, end_ms - clip_ms + 1, stride_ms, dtype=np.int64)
    return np.stack([starts, starts + clip_ms], axis=1)


def grid_table(spans: pd.DataFrame, *, clip_ms: int, stride_ms: int) -> pd.DataFrame:
    """Cut every span of a table into windows (see `grid`), keeping all its other columns.

    Parameters
    ----------
    spans
        Any table with integer columns ``start_ms`` and ``end_ms``.
    clip_ms, stride_ms
        As in `grid`.

    Returns
    -------
    pandas.DataFrame
        One row per window, in the order of the spans; ``start_ms`` and ``end_ms`` are the window's.

    Examples
    --------
    >>> spans = pd.DataFrame({"session": ["a", "b", "c"], "start_ms": [0, 50, 7], "end_ms": [20, 59, 17]})
    >>> grid_table(spans, clip_ms=10, stride_ms=5).to_dict("list")
    {'session': ['a', 'a', 'a', 'c'], 'start_ms': [0, 5, 10, 7], 'end_ms': [10, 15, 20, 17]}
    """
    _check_lengths(clip_ms, stride_ms)
    starts = spans["start_ms"].to_numpy(dtype=np.int64)
    room = spans["end_ms"].to_numpy(dtype=np.int64) - starts - clip_ms
    counts = np.where(room < 0, 0, room // stride_ms + 1)
    rows = np.repeat(np.arange(len(spans)), counts)
    number = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    first = starts[rows] + number * stride_ms
    return spans.iloc[rows].assign(start_ms=first, end_ms=first + clip_ms).reset_index(drop=True)


def _check_lengths(clip_ms: int, stride_ms: int) -> None:
    if clip_ms < 1 or stride_ms < 1:
        raise SettingsError(
            f"A clip of {clip_ms} ms every {stride_ms} ms cannot be cut.",
            expected="Both at least 1 ms.",
            remedy="Correct the clip length and the stride in the parameter file.",
        )


def frame_numbers(start_ms: ArrayLike, end_ms: ArrayLike, *, fps: Fraction, count: int) -> NDArray[np.int64]:
    """Return the frames shown at the middles of `count` equal parts of a clip.

    Frames and label cover the same interval, and all clips have equally many frames: at 25/8 frames/s the frames that
    start inside 5000 ms are 15 or 16. Whole numbers and fractions only: 25/8 frames/s is never 3.12.

    Parameters
    ----------
    start_ms, end_ms
        The clip ``[start, end)``, whole milliseconds; one number, or one for each clip.
    fps
        Exact rate, frames per second.
    count
        Frames of each clip.

    Returns
    -------
    ndarray
        int64 ``[count]``, or ``[clips, count]``: the frame at ``start + (k + 1/2) (end - start) / count``; frame n is
        shown from ``n / fps`` until the next.

    Raises
    ------
    SettingsError
        When a clip has no length or `count` is below 1.

    Examples
    --------
    >>> frame_numbers(0, 5000, fps=Fraction(25, 8), count=5)
    array([ 1,  4,  7, 10, 14])
    """
    starts, ends = np.asarray(start_ms, dtype=np.int64), np.asarray(end_ms, dtype=np.int64)
    if count < 1 or np.any(ends <= starts):
        raise SettingsError(
            f"No {count} frames can be taken from a clip that ends {int(np.min(ends - starts))} ms after its start.",
            expected="At least 1 frame and 1 ms.",
            remedy="Correct the clips' times or the number of frames.",
        )
    middles = 2 * np.arange(count, dtype=np.int64) + 1
    times = starts[..., None] * (2 * count) + middles * (ends - starts)[..., None]  # in 1 / (2 count) ms
    numbers: NDArray[np.int64] = times * fps.numerator // (2000 * count * fps.denominator)
    return numbers


def find_frames(
    store: FrameStore, start_ms: ArrayLike, end_ms: ArrayLike, *, count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return which frames of a store clips take, and how many of them repeat the last one.

    Parameters
    ----------
    store
        Frames of the session.
    start_ms, end_ms
        Clips ``[start, end)``, milliseconds; one number, or one for each clip.
    count
        Frames of each clip (see `frame_numbers`).

    Returns
    -------
    numbers : ndarray
        int64 ``[count]`` or ``[clips, count]``, all inside the store: what lies beyond the end is the last frame.
    repeated : ndarray
        int64, for each clip how many frames lie beyond the end.

    Raises
    ------
    MediaError
        When a clip starts before 0 or more than half of its frames lie beyond the end.
    """
    numbers = frame_numbers(start_ms, end_ms, fps=store.fps, count=count)
    repeated = np.asarray((numbers >= len(store)).sum(axis=-1))
    starts = np.asarray(start_ms)
    bad = np.flatnonzero((starts < 0) | (2 * repeated > count))
    if bad.size:
        start, end = np.ravel(starts)[bad[0]], np.ravel(end_ms)[bad[0]]
        raise MediaError(
            f"The clip from {start} to {end} ms lies outside the video.",
            where=str(store.path),
            expected=f"At least half of each clip inside 0 to {store.end_ms} ms.",
            remedy="Check that labels and video belong to the same session.",
        )
    return np.minimum(numbers, len(store) - 1), repeated
