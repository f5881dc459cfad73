"""Area under the ROC curve of heat maps against where people look, two definitions under two names.

`auc_box` counts the cells around the target in the 64 × 64 map as positive (VideoAttentionTarget, ObjectAttention);
`auc_points` counts one pixel per annotator in a map at the size of the picture (GazeFollow). Their values are not
comparable although both are published as AUC. Each exists in two protocols: ``vtd`` scores the map in 256 grey levels,
as Chong et al. do, ``gazelle`` the map itself, as Ryan et al. do.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from nbpkg.errors import TableError

Array = NDArray[np.float64]
Protocol = Literal["vtd", "gazelle"]
REACH = 9  # cells from the target to the edge of its rectangle: three times the width of the Gaussian
AT_ONCE = 256  # maps scored together: 8 MB of counts


def rescale_to_bytes(maps: ArrayLike) -> NDArray[np.uint8]:
    """Stretch each map over the grey levels 0 to 255; a constant map is 0 everywhere.

    Parameters
    ----------
    maps
        [N, height, width], finite.

    Source
    ------
    ``scipy.misc.bytescale`` of SciPy 1.1, computed in the type of the maps.

    Examples
    --------
    >>> rescale_to_bytes([[[0.0, 1.0], [0.5, 2.0]]]).tolist()
    [[[0, 128], [64, 255]]]
    """
    values = np.asarray(maps)
    low = values.min(axis=(1, 2), keepdims=True)
    span = (values.max(axis=(1, 2), keepdims=True) - low).astype(np.float64)
    scale = 255 / np.where(span > 0, span, 1)  # in double precision, then in the type of the maps, as SciPy does
    grey = (values - low) * scale.astype(values.dtype)
    levels: NDArray[np.uint8] = (np.clip(grey, 0, 255) + values.dtype.type(0.5)).astype(np.uint8)
    return levels


def target_rectangles(points: ArrayLike, *, protocol: Protocol = "vtd", cells: int = 64) -> NDArray[np.int64]:
    """Find the cells that count as looked at: those that a Gaussian of 3 cells' width at the target is drawn into.

    Parameters
    ----------
    points
        [N, 2], fractions of width and height; may lie outside the frame.
    protocol
        ``gazelle`` never counts the last row and column.
    cells
        Side of the map.

    Returns
    -------
    numpy.ndarray
        [N, 4], x0 y0 x1 y1 in cells, half open; empty (x1 = x0) where no cell counts or a point is NaN.

    Examples
    --------
    >>> target_rectangles([[0.99, 0.05]]).tolist(), target_rectangles([[0.99, 0.05]], protocol="gazelle").tolist()
    ([[54, 0, 64, 13]], [[54, 0, 63, 13]])
    """
    place = np.asarray(points, np.float64).reshape(-1, 2) * cells
    known = np.isfinite(place).all(axis=1, keepdims=True)
    place = np.where(known, place, -2.0 * cells)
    last = cells if protocol == "vtd" else cells - 1
    start = np.clip(np.trunc(place - REACH), 0, last)
    end = np.clip(np.trunc(place + REACH + 1), 0, last)
    is_empty = (end <= start).any(axis=1, keepdims=True)
    rectangles: NDArray[np.int64] = np.where(is_empty, 0, np.hstack([start, end])).astype(np.int64)
    return rectangles


def auc_box(maps: ArrayLike, points: ArrayLike, *, protocol: Protocol = "vtd") -> Array:
    """Score maps by how often a cell near the target is higher than one elsewhere, ties counting half.

    Parameters
    ----------
    maps
        [N, 64, 64] heat maps; a single-precision number is what is compared.
    points
        [N, 2], the target, fractions of width and height.
    protocol
        ``vtd``: 256 grey levels. ``gazelle``: the map itself, and the last row and column never count as near.

    Returns
    -------
    numpy.ndarray
        [N]; NaN where no cell is near the target, or the map is not finite. A constant map has 0.5.

    Source
    ------
    Chong et al. (2020), evaluation of VideoAttentionTarget; Ryan et al. (2025), ``vat_auc``. Equal to the golden
    values; where no cell is near the target, the published program stops.
    """
    values = _as_maps(maps)
    side = values.shape[-1]
    edges = target_rectangles(points, protocol=protocol, cells=side)
    _check_rows(len(values), len(edges), "points")
    result = np.full(len(values), np.nan)
    usable = np.flatnonzero(_are_finite(values) & (edges[:, 2] > edges[:, 0]))
    cell = np.arange(side)
    for chosen in np.array_split(usable, -(-len(usable) // AT_ONCE)) if len(usable) else ():
        x0, y0, x1, y1 = edges[chosen].T[..., None]
        near = ((cell >= y0) & (cell < y1))[:, :, None] & ((cell >= x0) & (cell < x1))[:, None]
        block = values[chosen]
        result[chosen] = auc_of_cells(rescale_to_bytes(block) if protocol == "vtd" else block, near)
    return result


def auc_points(
    maps: ArrayLike, points: ArrayLike, *, item: ArrayLike, sizes: ArrayLike, protocol: Protocol = "vtd"
) -> Array:
    """Score maps at the size of their pictures by how often a pixel looked at is higher than another one.

    Parameters
    ----------
    maps
        [N, 64, 64] heat maps.
    points
        [P, 2], what the annotators say, fractions of width and height; those with a negative or unknown x are left out,
        and two in one pixel count once.
    item
        [P], number of the map that each point belongs to.
    sizes
        [N, 2], width and height of the pictures in pixels.
    protocol
        ``vtd``: 256 grey levels, enlarged by Pillow; pixels found in single precision. ``gazelle``: the map itself.

    Returns
    -------
    numpy.ndarray
        [N]; NaN where a map has no point, a map is not finite, or every pixel is looked at.

    Source
    ------
    Chong et al. (2020), evaluation of GazeFollow; Ryan et al. (2025), ``gazefollow_auc``. The latter's enlarging is
    rewritten so that equal neighbours stay equal, which differs in the last digit.
    """
    values, size = _as_maps(maps), np.asarray(sizes, np.int64).reshape(-1, 2)
    place, owner = np.asarray(points, np.float64).reshape(-1, 2), np.asarray(item, np.int64)
    _check_rows(len(values), len(size), "sizes")
    _check_rows(len(place), len(owner), "numbers of maps")
    known = (place[:, 0] >= 0) & np.isfinite(place[:, 1])
    place, owner = place[known], owner[known]
    order = np.argsort(owner, kind="stable")
    starts = np.searchsorted(owner[order], np.arange(len(values) + 1))
    scale = np.float32 if protocol == "vtd" else np.float64
    pixels = np.trunc(place[order].astype(scale) * size[owner[order]].astype(scale)).astype(np.int64)
    result = np.full(len(values), np.nan)
    for index in np.flatnonzero(_are_finite(values) & (np.diff(starts) > 0)):
        at = np.clip(pixels[starts[index] : starts[index + 1]], 0, size[index] - 1)
        at = np.unique(at[:, 1] * size[index, 0] + at[:, 0])
        if protocol == "vtd":
            result[index] = _area_of_bytes(values[index], at, size[index])
        else:
            result[index] = _area_of_pixels(enlarge(values[index], size[index]).ravel(), at)
    return result


def auc_of_cells(values: NDArray, positive: NDArray[np.bool_]) -> Array:
    """Compute the area under the ROC curve of each row of maps, all at once.

    Parameters
    ----------
    values
        [N, ...], grey levels (uint8) or finite numbers, compared in single precision.
    positive
        [N, ...], which cells count as positive.

    Returns
    -------
    numpy.ndarray
        [N], P(positive > negative) + P(tie) / 2; NaN where all cells or none are positive.

    Examples
    --------
    >>> auc_of_cells(np.array([[0.1, 0.7, 0.7]]), np.array([[False, False, True]])).tolist()
    [0.75]
    """
    rows = len(values)
    score, label = values.reshape(rows, -1), positive.reshape(rows, -1)
    if score.dtype == np.uint8:
        cell = np.arange(rows)[:, None] * 512 + (score.astype(np.int64) << 1 | label)
        counts = np.bincount(cell.ravel(), minlength=rows * 512).reshape(rows, 256, 2).astype(np.float64)
        return _area_of_counts(counts[..., 0], counts[..., 1])
    keys = _as_sortable(score)
    found = label.sum(axis=1)
    pairs = (found * (score.shape[1] - found)).astype(np.float64)
    own = found * (found - 1) / 2  # pairs of two positives, which the ranks below count too
    total = score.shape[1] * (score.shape[1] - 1) // 2
    # a tie counts half: once the positives stand behind the negatives of equal value, once before them
    wins = (_sum_ranks(keys, label) + total - _sum_ranks(keys, ~label)) / 2 - own
    return _divide(wins, pairs)


def enlarge(heat: NDArray[np.float32], size: ArrayLike) -> NDArray[np.float32]:
    """Resize a map to a picture's width and height by weighing the nearest cells (half-cell centres, no antialias).

    Parameters
    ----------
    heat
        [rows, columns].
    size
        Width and height in pixels.

    Source
    ------
    torch's ``interpolate(mode="bilinear", align_corners=False)``, which this equals to the last digit.
    """
    width, height = np.asarray(size, np.int64).tolist()
    left, right, share = _weigh_neighbours(heat.shape[1], width)
    wide = heat[:, left] + (heat[:, right] - heat[:, left]) * share
    above, below, part = _weigh_neighbours(heat.shape[0], height)
    upper = wide[above]
    enlarged: NDArray[np.float32] = upper + (wide[below] - upper) * part[:, None]
    return enlarged


def _weigh_neighbours(cells: int, pixels: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Find for each pixel the cell before and after it and the latter's weight."""
    half = np.float32(0.5)
    place = (np.arange(pixels, dtype=np.float32) + half) * (np.float32(cells) / np.float32(pixels)) - half
    place = np.maximum(place, np.float32(0))
    before = np.minimum(place.astype(np.int64), cells - 1)
    share = np.clip(place - before.astype(np.float32), 0, 1)
    return before, np.minimum(before + 1, cells - 1), share


def _area_of_bytes(heat: NDArray[np.float32], at: NDArray[np.int64], size: NDArray[np.int64]) -> float:
    """Score one map of grey levels, enlarged as SciPy's ``imresize`` did, from its histogram."""
    picture = Image.fromarray(rescale_to_bytes(heat[None])[0])
    picture = picture.resize((int(size[0]), int(size[1])), Image.Resampling.BILINEAR)
    everything = np.array(picture.histogram(), np.float64)
    positive = np.bincount(np.asarray(picture).ravel()[at], minlength=256).astype(np.float64)
    return float(_area_of_counts((everything - positive)[None], positive[None])[0])


def _area_of_pixels(pixels: NDArray[np.float32], at: NDArray[np.int64]) -> float:
    """Score one enlarged map: few pixels are positive, so each is compared with all others, and nothing is sorted."""
    positive = pixels[at]
    rest = len(pixels) - len(at)
    if not rest:
        return float("nan")
    levels, times = np.unique(positive, return_counts=True)
    below = np.array([np.count_nonzero(pixels < level) for level in levels], np.float64)
    ties = np.array([np.count_nonzero(pixels == level) for level in levels], np.float64) - times
    below -= np.cumsum(times) - times
    return float((times * (below + ties / 2)).sum() / (len(at) * rest))


def _area_of_counts(negative: Array, positive: Array) -> Array:
    """Compute the area from how many negatives and positives [N, levels] there are at each level."""
    pairs = negative.sum(axis=1) * positive.sum(axis=1)
    wins = (positive * (negative.cumsum(axis=1) - negative / 2)).sum(axis=1)
    return _divide(wins, pairs)


def _as_sortable(score: NDArray) -> NDArray[np.uint64]:
    """Turn single-precision numbers into whole numbers of the same order; both zeros are one."""
    bits = (score.astype(np.float32) + np.float32(0)).view(np.uint32)
    flipped = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))
    return flipped.astype(np.uint64) << np.uint64(1)


def _sum_ranks(keys: NDArray[np.uint64], marked: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Sum the ranks (from 0) of the marked values when they stand behind the others of equal value.

    The mark is the lowest bit of what is sorted, so that no order has to be kept and looked up.
    """
    order = np.sort(keys | marked, axis=1)
    total: NDArray[np.int64] = (order & np.uint64(1)).astype(np.int64) @ np.arange(keys.shape[1])
    return total


def _divide(part: Array, whole: Array) -> Array:
    result = np.full(len(whole), np.nan)
    np.divide(part, whole, out=result, where=whole > 0)
    return result


def _as_maps(maps: ArrayLike) -> NDArray[np.float32]:
    values = np.asarray(maps)
    if values.ndim == 4 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 3 or values.shape[1] != values.shape[2]:
        raise TableError(
            f"Heat maps have shape {values.shape}.", expected="[N, 64, 64] or [N, 1, 64, 64]: one square map each."
        )
    return values.astype(np.float32, copy=False)


def _are_finite(values: NDArray[np.float32]) -> NDArray[np.bool_]:
    return np.asarray(np.isfinite(values).all(axis=(1, 2)), bool)


def _check_rows(wanted: int, found: int, what: str) -> None:
    if wanted != found:
        raise TableError(f"{wanted} were expected, {found} {what} given.", expected="As many rows in both.")
