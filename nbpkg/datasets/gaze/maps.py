"""Maps drawn from boxes and points: the head channel of the scene, and heat maps of where a person looks."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nbpkg.errors import SettingsError, TableError

Compat = Literal["none", "reference"]
Floats = NDArray[np.float64]
Maps = NDArray[np.float32]

INPUT_SIZE, MAP_SIZE, SIGMA = 224, 64, 3.0


def head_rectangles(
    boxes: ArrayLike, sizes: ArrayLike, *, size: int = INPUT_SIZE, compat: Compat = "none"
) -> NDArray[np.int64]:
    """Find the cells that a head box covers when its picture is brought to a square.

    Parameters
    ----------
    boxes
        ``x0 y0 x1 y1``, pixels of the picture, shape ``[N, 4]``.
    sizes
        ``width height`` of each picture, pixels, shape ``[N, 2]`` or ``[2]``.
    size
        Side of the square, cells.
    compat
        ``reference`` never covers the last row and column, and covers nothing when a box is smaller than a cell;
        ``none`` reaches the border and covers at least one cell of every box that meets the picture.

    Returns
    -------
    ndarray
        ``x0 y0 x1 y1``, half-open, int64 ``[N, 4]``; an empty rectangle is 0 0 0 0.

    Source: VTD (Chong et al., CVPR 2020): fraction times size, truncated, limited to 0 .. size - 1.
    """
    pixels, extent = _rows(boxes, 4), np.broadcast_to(_rows(sizes, 2), (len(_rows(boxes, 4)), 2))
    exact = pixels / np.tile(extent, 2) * size
    known = all_along(np.isfinite(exact))
    cells = np.trunc(np.where(known[:, None], exact, 0)).astype(np.int64)
    if compat == "reference":
        cells = np.clip(cells, 0, size - 1)
    else:
        met = known & all_along((exact[:, :2] < size) & (exact[:, 2:] > 0) & (exact[:, :2] < exact[:, 2:]))
        cells = np.clip(cells, 0, size)
        cells[:, :2] = np.minimum(cells[:, :2], size - 1)
        cells[:, 2:] = np.maximum(cells[:, 2:], cells[:, :2] + met[:, None])
        known &= met
    filled = known & all_along(cells[:, :2] < cells[:, 2:])
    return np.where(filled[:, None], cells, 0)


def head_channel(
    boxes: ArrayLike, sizes: ArrayLike, *, size: int = INPUT_SIZE, coordconv: bool = False, compat: Compat = "none"
) -> Maps:
    """Draw the head box of each person as ones on zeros, as the scene branch of VTD sees it.

    Parameters
    ----------
    boxes, sizes, size, compat
        As in `head_rectangles`.
    coordconv
        Whether to draw zeros on a ramp instead, ``(row + column) / largest sum``.

    Returns
    -------
    ndarray
        float32 ``[N, size, size]``.

    Examples
    --------
    >>> int(head_channel([[0, 0, 50, 100]], [100, 100], size=8).sum())
    32
    """
    cells = head_rectangles(boxes, sizes, size=size, compat=compat)
    place = np.arange(size)
    columns = (place >= cells[:, :1]) & (place < cells[:, 2:3])
    rows = (place >= cells[:, 1:2]) & (place < cells[:, 3:])
    inside = rows[:, :, None] & columns[:, None, :]
    if not coordconv:
        return inside.astype(np.float32)
    ramp = np.add.outer(place, place) / (2 * (size - 1))
    return np.where(inside, 0, ramp).astype(np.float32)


def gaze_map(
    points_norm: ArrayLike,
    *,
    size: int = MAP_SIZE,
    sigma: float = SIGMA,
    kind: Literal["gaussian", "cauchy"] = "gaussian",
    compat: Compat = "none",
) -> Maps:
    """Draw the map that a network is to answer for each gaze point: a bell cut to a square, highest value 1.

    Parameters
    ----------
    points_norm
        Gaze points as fractions of width and height, shape ``[N, 2]``; NaN gives zeros.
    size
        Side of the map, cells.
    sigma
        Standard deviation of the bell, cells; the square has 6 sigma + 1 cells.
    kind
        ``gaussian``, or ``cauchy`` with longer tails.
    compat
        ``reference`` truncates towards zero, which puts the peak one cell too far when a point lies less than 3 sigma
        from the left or upper border; ``none`` has the peak always in the cell of the point.

    Returns
    -------
    ndarray
        float32 ``[N, size, size]``; zeros where the square does not meet the map. A point just outside whose square
        does meet the map gets a map whose highest value is 1 at the border.

    Source: VTD. There a point between 3 sigma and 3 sigma + 2 cells outside divides 0 by 0; here the map is zero.

    Examples
    --------
    >>> target = gaze_map([[0.5, 0.25]])[0]
    >>> divmod(int(target.argmax()), 64), float(target.max())
    ((16, 32), 1.0)
    """
    cells = _rows(points_norm, 2) * size
    reach = round(3 * sigma)
    if compat == "reference":
        return _draw(np.trunc(cells - reach), np.trunc(cells + reach + 1), size=size, sigma=sigma, kind=kind)
    corner = np.floor(cells) - reach
    return _draw(corner, corner + 2 * reach + 1, size=size, sigma=sigma, kind=kind)


def gazelle_map(points_norm: ArrayLike, *, size: int = MAP_SIZE, sigma: float = SIGMA) -> Maps:
    """Draw the map that Gaze-LLE is to answer: the cell is found first, and a negative coordinate gives zeros.

    Parameters
    ----------
    points_norm, size, sigma
        As in `gaze_map`.

    Returns
    -------
    ndarray
        float32 ``[N, size, size]``.

    Source: Gaze-LLE (Ryan et al., CVPR 2025).
    """
    points = _rows(points_norm, 2)
    cells = np.trunc(np.where((points >= 0).all(1, keepdims=True), points, np.nan) * size)
    reach = round(3 * sigma)
    return _draw(cells - reach, cells + reach + 1, size=size, sigma=sigma, kind="gaussian")


def annotators_map(
    points_norm: ArrayLike, *, size: int = MAP_SIZE, sigma: float = SIGMA, compat: Compat = "none"
) -> Maps:
    """Draw one map of the points of several annotators; it is shown, never scored.

    Parameters
    ----------
    points_norm
        Gaze points as fractions, shape ``[N, A, 2]``; NaN or an x of -1 stands for no point.
    size, sigma
        As in `gaze_map`.
    compat
        ``none`` is the mean of the annotators' maps. ``reference`` adds the points one after the other, scales to
        a highest value of 1 after each (so that the last point stands out) and divides by their number.

    Returns
    -------
    ndarray
        float32 ``[N, size, size]``; zeros where nobody pointed.
    """
    points = np.asarray(points_norm, dtype=np.float64)
    if points.ndim != 3 or points.shape[2] != 2:
        raise _bad_shape(points, "[N, annotators, 2]")
    given = np.isfinite(points).all(2) & (points[..., 0] != -1)
    count = np.maximum(given.sum(1), 1)[:, None, None]
    total = np.zeros((len(points), size, size), dtype=np.float32)
    for annotator in range(points.shape[1]):
        seen = np.where(given[:, annotator, None], points[:, annotator], np.nan)
        if compat == "none":
            total += gaze_map(seen, size=size, sigma=sigma)
            continue
        added = total + _patches(seen * size, size=size, sigma=sigma)
        peak = added.max((1, 2), keepdims=True)
        touched = (given[:, annotator] & _meets(seen * size, size, round(3 * sigma)))[:, None, None]
        total = np.where(touched & (peak > 0), added / np.where(peak > 0, peak, 1), total).astype(np.float32)
    return np.asarray(total / count, dtype=np.float32)


def all_along(held: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Say of each row whether all of it holds, ``[N, K]`` to ``[N]``."""
    return np.asarray(np.logical_and.reduce(held, axis=1), dtype=np.bool_)


def _patches(cells: Floats, *, size: int, sigma: float) -> Floats:
    """Bells as the reference places them, before they are scaled."""
    reach = round(3 * sigma)
    return _bells(np.trunc(cells - reach), np.trunc(cells + reach + 1), size=size, sigma=sigma, kind="gaussian")


def _meets(cells: Floats, size: int, reach: int) -> NDArray[np.bool_]:
    return all_along((np.trunc(cells - reach) < size) & (np.trunc(cells + reach + 1) >= 0))


def _draw(corner: Floats, end: Floats, *, size: int, sigma: float, kind: str) -> Maps:
    bells = _bells(corner, end, size=size, sigma=sigma, kind=kind)
    peak = bells.max((1, 2), keepdims=True, initial=0)
    return np.asarray(bells / np.where(peak > 0, peak, 1), dtype=np.float32)


def _bells(corner: Floats, end: Floats, *, size: int, sigma: float, kind: str) -> Floats:
    """Draw bells whose square of cells ``corner .. end`` is cut at the border, ``[N, size, size]``."""
    place = np.arange(size)
    away = place - corner[:, :, None] - round(3 * sigma)  # [N, 2, size]: columns, rows
    away = np.where((place >= corner[:, :, None]) & (place < end[:, :, None]), away, np.inf)  # NaN compares as false
    if kind == "gaussian":  # a product of two rows, not size x size exponentials
        columns, rows = np.exp(-np.square(away) / (2 * sigma**2)).swapaxes(0, 1)
        return np.asarray(rows[:, :, None] * columns[:, None, :], dtype=np.float64)
    if kind != "cauchy":
        raise SettingsError(f"No map is called {kind!r}.", expected="gaussian or cauchy.", remedy="Choose one of them.")
    columns, rows = np.square(away).swapaxes(0, 1)
    return np.asarray(sigma / (columns[:, None, :] + rows[:, :, None] + sigma**2) ** 1.5, dtype=np.float64)


def _rows(values: ArrayLike, width: int) -> Floats:
    array = np.atleast_2d(np.asarray(values, dtype=np.float64))
    if array.size == 0:
        array = array.reshape(-1, width)
    if array.ndim != 2 or array.shape[1] != width:
        raise _bad_shape(array, f"[N, {width}]")
    return array


def _bad_shape(array: NDArray, expected: str) -> TableError:
    return TableError(
        f"Numbers of shape {list(array.shape)} are no boxes or points.",
        expected=f"Shape {expected}.",
        remedy="Give one row for each person.",
    )
