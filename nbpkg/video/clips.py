"""Where clips lie: windows of one length on a fixed grid, in whole milliseconds."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg.errors import SettingsError


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
