"""From strokes to maps: the one rule by which paint becomes numbers, the same for every screen and speed of hand.

All lengths are in units of the short side S = min(width, height) of the shown picture: u = x * width / S and
v = y * height / S. A stroke lays dabs along its points at arc lengths 0, d, 2d, … with d = radius / 4. In the words of
a program that walks from point to point, which a preview in another language can follow::

    lay a dab at the first point, with its pressure (1 when a point has none)
    k = 1, travelled = 0
    for each segment (a, b) whose length is above 0:
        while k * d <= travelled + length + 1e-9:
            share = min(1, (k * d - travelled) / length)
            lay a dab at a + (b - a) * share, with pressure a + (b - a) * share
            k = k + 1
        travelled = travelled + length

The 1e-9 lets a dab that falls on the last point be laid whatever the rounding of sums. A dab at (cu, cv) changes the
pixels whose centres lie at q = distance / radius < 1 by a = strength * pressure * (1 - q²)²: brush m += a * (1 - m),
eraser m -= a * m, in double precision, the map kept as float32 after each dab.

Source: ours. The published painter adds a Gaussian once per pointer event, so that paint depends on the speed of the
hand and on the machine (`nbpkg.attention.painting.reference_brush`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from nbpkg.attention.painting.strokes import Stroke
from nbpkg.errors import PaintingError

SPACING = 0.25  # distance of dabs, in radii
_TOLERANCE = 1e-9
_CELLS = 1 << 20  # dab pixels computed at once: 8 MB of float64


def rasterise(strokes: Iterable[Stroke], *, shape: tuple[int, int, int], size: tuple[int, int]) -> NDArray[np.float32]:
    """Paint strokes into a map.

    Parameters
    ----------
    strokes
        Strokes in the order in which they were painted; frames do not touch each other.
    shape
        ``(T, H, W)`` of the map, any resolution.
    size
        ``(width, height)`` of the picture that was shown while painting, pixels; only their ratio matters.

    Returns
    -------
    numpy.ndarray
        float32 ``[T, H, W]``, 0 (no paint) to 1.

    Raises
    ------
    PaintingError
        When a stroke lies on a frame that the map lacks, or a size is below 1.

    Examples
    --------
    >>> click = Stroke(frame=0, tool="brush", radius=0.5, strength=0.4, points=((0, 0.5, 0.5),))
    >>> print(rasterise([click], shape=(1, 3, 3), size=(90, 90)).round(3))
    [[[0.005 0.123 0.005]
      [0.123 0.4   0.123]
      [0.005 0.123 0.005]]]
    """
    if min(*shape, *size) < 1:
        raise PaintingError(f"A map {shape} of a picture {size} cannot be painted.", expected="Sizes of at least 1.")
    result = np.zeros(shape, np.float32)
    pixel = (size[0] / (shape[2] * min(size)), size[1] / (shape[1] * min(size)))  # of the map, in short sides
    for stroke in strokes:
        if not 0 <= stroke.frame < shape[0]:
            raise PaintingError(
                f"A stroke lies on frame {stroke.frame}.",
                expected=f"Frames 0 to {shape[0] - 1}.",
                remedy="Rasterise the strokes with as many frames as were painted.",
            )
        _paint(result[stroke.frame], stroke, dabs(stroke, size), pixel)
    return result


def dabs(stroke: Stroke, size: tuple[int, int]) -> NDArray[np.float64]:
    """Lay the dabs of a stroke along its points.

    Parameters
    ----------
    stroke
        The stroke.
    size
        ``(width, height)`` of the picture that was shown.

    Returns
    -------
    numpy.ndarray
        float64 ``[n, 3]``: u and v in short sides of the picture, and strength times pressure. A click is one dab.
    """
    points = np.array([(*point, 1.0)[1:4] for point in stroke.points], np.float64)
    points[:, 0] *= size[0] / min(size)
    points[:, 1] *= size[1] / min(size)
    lengths = np.hypot(np.diff(points[:, 0]), np.diff(points[:, 1]))
    moves = np.flatnonzero(lengths > 0)
    laid = points[:1]
    if len(moves):
        lengths = lengths[moves]
        ends = np.cumsum(lengths)
        step = SPACING * stroke.radius
        at = np.arange(1, int((ends[-1] + _TOLERANCE) / step) + 1) * step
        segment = np.searchsorted(ends + _TOLERANCE, at).clip(max=len(moves) - 1)
        share = np.minimum(1.0, (at - (ends - lengths)[segment]) / lengths[segment])[:, None]
        start, end = points[moves][segment], points[moves + 1][segment]
        laid = np.concatenate([laid, start + (end - start) * share])
    return laid * (1.0, 1.0, stroke.strength)


def _paint(frame: NDArray[np.float32], stroke: Stroke, laid: NDArray[np.float64], pixel: tuple[float, float]) -> None:
    """Put dabs on one frame in place, ``[H, W]``."""
    brush = stroke.tool == "brush"
    for left, right, top, bottom, paint in _patches(laid, stroke.radius, frame.shape, pixel):
        patch = frame[top:bottom, left:right]
        old = patch.astype(np.float64)
        patch[...] = old + paint * (1.0 - old) if brush else old - paint * old


def _patches(
    laid: NDArray[np.float64], radius: float, shape: tuple[int, ...], pixel: tuple[float, float]
) -> Iterator[tuple[int, int, int, int, NDArray[np.float64]]]:
    """Give for each dab that meets the frame its patch (columns, rows) and what it lays there, float64."""
    wide, high = (int(2 * radius / side) + 2 for side in pixel)
    first = np.ceil((laid[:, :2] - radius) / pixel - 0.5)
    seen = np.all((first < shape[::-1]) & (first > (-wide, -high)), axis=1)
    laid, corners = laid[seen], first[seen].astype(np.int64)
    batch = max(1, _CELLS // (wide * high))
    for start in range(0, len(laid), batch):
        part, corner = laid[start : start + batch], corners[start : start + batch]
        across = (corner[:, :1] + np.arange(wide) + 0.5) * pixel[0] - part[:, :1]
        along = (corner[:, 1:] + np.arange(high) + 0.5) * pixel[1] - part[:, 1:2]
        squares = ((along**2)[:, :, None] + (across**2)[:, None, :]) / radius**2
        paint = part[:, 2, None, None] * np.maximum(0.0, 1.0 - squares) ** 2
        low, end = np.maximum(corner, 0), np.minimum(corner + np.array((wide, high)), shape[::-1])
        cuts = np.concatenate([low, end, low - corner, end - corner], axis=1).tolist()
        for patch, (x0, y0, x1, y1, left, top, right, bottom) in zip(paint, cuts, strict=True):
            yield x0, x1, y0, y1, patch[top:bottom, left:right]
