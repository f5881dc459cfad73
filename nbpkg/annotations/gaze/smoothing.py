"""Head boxes over time: moving average, interpolation of short gaps, and where a track is cut."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd

from nbpkg.annotations.gaze.rows import BOX, TRACK, Compat, add_flag, remove_flag

WINDOW = 11


def smooth_boxes(table: pd.DataFrame, *, window: int = WINDOW, compat: Compat = "none") -> pd.DataFrame:
    """Replace each edge of the head box by its moving average along the track.

    The first and the last value are repeated half a window beyond the ends. Segments are smoothed apart.

    Parameters
    ----------
    table
        Table ``gaze``.
    window
        Number of frames, odd.
    compat
        ``reference`` averages consecutive rows whatever their frame numbers, across the segments of a setting. Ours
        counts frames: skipped ones are filled in between their neighbours, and a gap longer than half a window ends
        the average.

    Returns
    -------
    pandas.DataFrame
        The same rows; boxes that were missing stay so and take no part.

    Source
    ------
    VideoAttentionTarget's loader (Chong et al., CVPR 2020).
    """
    by = TRACK[:-1] if compat == "reference" else TRACK
    ordered = table.sort_values([*by, "frame"], kind="stable")
    ordered = ordered[ordered["x0"].notna()]
    if ordered.empty:
        return table.copy()
    boxes, frames = ordered[BOX].to_numpy(np.float64), ordered["frame"].to_numpy()
    group = ordered.groupby(by, sort=False).ngroup().to_numpy()
    begins = np.diff(group, prepend=group[0] - 1) != 0
    if compat == "none":
        begins |= np.diff(frames, prepend=frames[0]) > window // 2 + 1
    borders = [*np.flatnonzero(begins), len(boxes)]
    smooth = boxes.copy()
    for start, stop in pairwise(borders):
        if stop - start > 1:
            times = np.arange(stop - start) if compat == "reference" else frames[start:stop] - frames[start]
            smooth[start:stop] = _average(boxes[start:stop], times, window)
    result = table.copy()
    result.loc[ordered.index, BOX] = smooth
    return result


def smooth_values(values: np.ndarray, *, window: int = WINDOW) -> np.ndarray:
    """Average [n, ...] values over consecutive rows, the first and last repeated beyond the ends.

    Examples
    --------
    >>> smooth_values(np.array([5.0, 7.0]), window=3).round(3).tolist()
    [5.667, 6.333]
    """
    half = window // 2
    padded = np.concatenate([np.repeat(values[:1], half, axis=0), values, np.repeat(values[-1:], half, axis=0)])
    columns = padded.reshape(len(padded), -1).T
    # Not a mean: published boxes are cut to whole pixels, and a convolution rounds an edge at 30 to 29.999…
    smooth = np.stack([np.convolve(column, np.ones(window) / window, mode="valid") for column in columns], axis=1)
    return smooth.reshape(values.shape)


def interpolate_gaps(table: pd.DataFrame, *, longest: int = 10) -> pd.DataFrame:
    """Fill missing head boxes between known ones of the same track, linearly in the frame number.

    Parameters
    ----------
    table
        Table ``gaze``.
    longest
        Largest number of frames without box that is bridged.

    Returns
    -------
    pandas.DataFrame
        The same rows. A filled box has ``box_source`` and flag ``interpolated`` and no flag ``no_box``; what else
        spoils its row still does.
    """
    ordered = table.sort_values([*TRACK, "frame"], kind="stable")
    group = ordered.groupby(TRACK, sort=False).ngroup().to_numpy()
    frames, missing = ordered["frame"].to_numpy(), ordered["x0"].isna().to_numpy()
    known = np.flatnonzero(~missing)
    holes = np.flatnonzero(missing)
    after = np.searchsorted(known, holes)
    inner = (after > 0) & (after < len(known))
    holes, left, right = holes[inner], known[after[inner] - 1], known[after[inner]]
    near = (
        (group[left] == group[holes]) & (group[right] == group[holes]) & (frames[right] - frames[left] - 1 <= longest)
    )
    holes, left, right = holes[near], left[near], right[near]
    if not len(holes):
        return table.copy()
    boxes = ordered[BOX].to_numpy(np.float64)
    share = ((frames[holes] - frames[left]) / (frames[right] - frames[left]))[:, None]
    filled = boxes[left] + share * (boxes[right] - boxes[left])
    labels = ordered.index[holes]
    result = table.copy()
    result.loc[labels, BOX] = filled
    result.loc[labels, "box_source"] = "interpolated"
    where = result.index.isin(labels)
    return add_flag(remove_flag(result, "no_box", where), "interpolated", where)


def split_at_gaps(table: pd.DataFrame, *, longest: int) -> pd.DataFrame:
    """Start a new segment where a track skips more than `longest` pictures, numbered on within the session's track.

    Parameters
    ----------
    table
        Table ``gaze``.
    longest
        Largest number of pictures that may be skipped without a cut.
    """
    by = TRACK[:-1]
    ordered = table.sort_values([*by, "frame"], kind="stable")
    groups = ordered.groupby(by, sort=False)
    cut = (groups["frame"].diff() > longest + 1) | (groups["segment"].diff().fillna(0) != 0)
    segment = cut.astype("int64").groupby([ordered[name] for name in by], sort=False).cumsum()
    return table.assign(segment=segment.reindex(table.index))


def _average(boxes: np.ndarray, times: np.ndarray, window: int) -> np.ndarray:
    """Average [n, 4] boxes over `window` frames; skipped frames are filled in for this only."""
    every = np.arange(times[-1] + 1)
    if len(every) == len(times):
        return smooth_values(boxes, window=window)
    dense = np.stack([np.interp(every, times, edge) for edge in boxes.T], axis=1)
    return np.asarray(smooth_values(dense, window=window)[times])
