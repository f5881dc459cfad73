"""Where a heat map points, and how far that is from where the person looks."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Reading = Literal["index", "centre"]


class Peaks(NamedTuple):
    """The highest cell of each map.

    Parameters
    ----------
    column, row
        [N], from 0.
    value
        [N], the map there; NaN when the map holds NaN.
    """

    column: NDArray[np.int64]
    row: NDArray[np.int64]
    value: Array


def find_peaks(maps: ArrayLike) -> Peaks:
    """Find the highest cell of each map; of several the first, row by row.

    Parameters
    ----------
    maps
        [N, rows, columns].

    Examples
    --------
    >>> peaks = find_peaks([[[0, 2], [2, 1]]])
    >>> peaks.column.tolist(), peaks.row.tolist(), peaks.value.tolist()
    ([1], [0], [2.0])
    """
    values = np.asarray(maps)
    flat = values.reshape(len(values), -1)
    best = flat.argmax(axis=1)
    row, column = np.divmod(best, values.shape[-1])
    return Peaks(column, row, flat[np.arange(len(flat)), best].astype(np.float64))


def read_points(peaks: Peaks, *, reading: Reading = "index", cells: int = 64) -> Array:
    """Turn peaks into points, fractions of width and height.

    Parameters
    ----------
    peaks
        From `find_peaks`.
    reading
        ``index``: the upper left corner of the cell, as all published distances are measured, half a cell (0.0078) too
        far up and left. ``centre``: the centre of the cell.
    cells
        Side of the maps.

    Returns
    -------
    numpy.ndarray
        [N, 2].

    Examples
    --------
    >>> peak = find_peaks(np.eye(1, 64 * 64).reshape(1, 64, 64))
    >>> read_points(peak).tolist(), read_points(peak, reading="centre").tolist()
    ([[0.0, 0.0]], [[0.0078125, 0.0078125]])
    """
    shift = 0.5 if reading == "centre" else 0.0
    return (np.stack([peaks.column, peaks.row], axis=1) + shift) / cells


def measure_distances(predicted: ArrayLike, target: ArrayLike) -> Array:
    """Measure Euclidean distances of points [N, 2] in fractions of width and height.

    A step to the side and one of the same length upwards therefore differ in a picture that is not square, as in all
    published numbers.
    """
    gap = np.asarray(predicted, np.float64) - np.asarray(target, np.float64)
    return np.asarray(np.hypot(gap[:, 0], gap[:, 1]), np.float64)


def measure_to_annotators(predicted: ArrayLike, points: ArrayLike, *, item: ArrayLike) -> tuple[Array, Array]:
    """Measure the distances to several annotators: to the nearest of them, and to the mean of their points.

    Parameters
    ----------
    predicted
        [N, 2], fractions of width and height.
    points
        [P, 2], what the annotators say; rows with NaN are left out.
    item
        [P], which of the predictions each belongs to.

    Returns
    -------
    nearest, to_mean : numpy.ndarray
        [N] each; NaN where nobody says anything. The latter is published as average distance, although it is the
        distance to the average.

    Examples
    --------
    >>> nearest, to_mean = measure_to_annotators([[0.0, 0.0]], [[0.2, 0.0], [0.6, 0.0]], item=[0, 0])
    >>> nearest.tolist(), to_mean.tolist()
    ([0.2], [0.4])
    """
    guess, said, owner = np.asarray(predicted, np.float64), np.asarray(points, np.float64), np.asarray(item, np.int64)
    known = np.isfinite(said).all(axis=1)
    said, owner = said[known], owner[known]
    nearest = np.full(len(guess), np.inf)
    np.fmin.at(nearest, owner, measure_distances(guess[owner], said))
    return np.where(np.isfinite(nearest), nearest, np.nan), measure_distances(
        guess, average_points(said, item=owner, items=len(guess))
    )


def average_points(points: ArrayLike, *, item: ArrayLike, items: int) -> Array:
    """Average the points [P, 2] of each item: [items, 2]; NaN where none is known."""
    said, owner = np.asarray(points, np.float64), np.asarray(item, np.int64)
    known = np.isfinite(said).all(axis=1)
    said, owner = said[known], owner[known]
    count = np.bincount(owner, minlength=items)[:, None]
    sums = np.stack([np.bincount(owner, said[:, axis], minlength=items) for axis in (0, 1)], axis=1)
    mean = np.full((items, 2), np.nan)
    np.divide(sums, count, out=mean, where=count > 0)
    return mean


def measure_angles(predicted: ArrayLike, target: ArrayLike, *, head: ArrayLike) -> Array:
    """Measure the angle at the head between where the person looks and where the map points, in the picture's plane.

    Parameters
    ----------
    predicted, target, head
        [N, 2] in pixels, so that the picture's proportions count; `head` is the centre of the head box.

    Returns
    -------
    numpy.ndarray
        [N], degrees from 0 to 180; NaN where a point is unknown or lies on the head's centre.

    Examples
    --------
    >>> measure_angles([[10.0, 0.0]], [[0.0, 5.0]], head=[[0.0, 0.0]]).tolist()
    [90.0]
    """
    centre = np.asarray(head, np.float64)
    guess, truth = np.asarray(predicted, np.float64) - centre, np.asarray(target, np.float64) - centre
    along = (guess * truth).sum(axis=1)
    across = guess[:, 0] * truth[:, 1] - guess[:, 1] * truth[:, 0]
    angle = np.degrees(np.arctan2(np.abs(across), along))
    has_direction = (np.abs(guess).sum(axis=1) > 0) & (np.abs(truth).sum(axis=1) > 0)
    return np.where(has_direction, angle, np.nan)
