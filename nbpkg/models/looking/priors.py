"""What is known of a face beforehand, as rows of tables: its pose, and where eyes, nose and mouth are.

All is computed on the CPU in the precision of the published programs, so that numbers on the border between two rows
fall on the same side everywhere.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Compat = Literal["none", "reference"]

CROP = 224  # the published programs go through pixels of such a crop
POINTS = 5  # nose, left eye, right eye, left and right corner of the mouth
EYES = (1, 2)
REACH = 2  # points are kept within two crop sides of the middle between the eyes
RIGHT_ANGLE = 90


def count_head_rows(split: float) -> int:
    """Count the rows of the table of an angle.

    Examples
    --------
    >>> [count_head_rows(split) for split in (1, 0.5, 0.7, 5)]
    [91, 181, 129, 19]
    """
    return int(RIGHT_ANGLE / split) + 1


def count_cells(dsplit: float) -> int:
    """Count the cells of a landmark along one axis; its table has the square of that.

    Examples
    --------
    >>> count_cells(0.1), count_cells(0.5) ** 2
    (41, 81)
    """
    return int(2 * REACH / dsplit) + 1


def count_confidence_rows(csplit: float) -> int:
    """Count the rows of the table of a landmark's confidence.

    Examples
    --------
    >>> count_confidence_rows(0.1)
    11
    """
    return int(1 / csplit) + 1


def quantise_head(angles: ArrayLike, split: float, *, compat: Compat = "none") -> NDArray[np.int64]:
    """Find the rows of head poses.

    Parameters
    ----------
    angles
        ``[..., 3]``: yaw, pitch, roll, degrees; NaN where the pose is not known.
    split
        Degrees of a row.
    compat
        ``reference``: angles beyond 90 degrees get rows that the table does not have, as published; else the last.

    Returns
    -------
    numpy.ndarray
        int64 ``[..., 3]``; of an unknown pose the rows of 90 degrees, as published.

    Notes
    -----
    The sign of an angle is lost, as published.

    Examples
    --------
    >>> quantise_head([-45.3, 98.0, float("nan")], 1).tolist()
    [45, 90, 90]
    """
    degrees = np.abs(np.asarray(angles, dtype=np.float64))
    degrees = np.where(np.isnan(degrees), RIGHT_ANGLE, degrees)
    rows = np.floor(degrees / split).astype(np.int64)
    return rows if compat == "reference" else np.minimum(rows, count_head_rows(split) - 1)


def normalise_landmarks(points: ArrayLike) -> NDArray[np.float32]:
    """Put the landmarks of a face relative to its eyes.

    Parameters
    ----------
    points
        ``[..., 5, 4]``: x and y in crop widths and heights, z, visibility; of nose, left eye, right eye, left and right
        corner of the mouth. NaN where they are not known.

    Returns
    -------
    numpy.ndarray
        float32 ``[..., 15]``: five x and five y from the middle between the eyes, within -2..2, and five confidences up
        to 1; 15 zeros for points that are not known, as published.
    """
    given = np.asarray(points, dtype=np.float64)
    placed = given[..., :2] * CROP
    middle = (placed[..., EYES[0], :] + placed[..., EYES[1], :]) / 2
    moved = np.clip((placed - middle[..., None, :]) / CROP, -REACH, REACH)
    vector = np.concatenate([moved[..., 0], moved[..., 1], np.minimum(given[..., 3], 1)], axis=-1)
    known = np.isfinite(vector).all(axis=-1, keepdims=True)
    return np.where(known, vector, 0).astype(np.float32)


def quantise_landmarks(
    vectors: ArrayLike, dsplit: float, *, csplit: float, compat: Compat = "none"
) -> NDArray[np.int64]:
    """Find the rows of landmarks.

    Parameters
    ----------
    vectors
        ``[..., 15]`` as `normalise_landmarks` gives them.
    dsplit
        Side of a cell, in crop sides.
    csplit
        Step of the confidence.
    compat
        ``reference``: cells share rows, since a column of cells is taken for half as long as it is, and nothing keeps
        rows within the table. Published checkpoints need it.

    Returns
    -------
    numpy.ndarray
        int64 ``[..., 5, 2]``: row of the place, row of the confidence.

    Examples
    --------
    >>> quantise_landmarks(np.zeros(15), 0.1, csplit=0.1)[0].tolist()
    [840, 0]
    >>> quantise_landmarks(np.zeros(15), 0.1, csplit=0.1, compat="reference")[0].tolist()
    [420, 0]
    """
    numbers = np.asarray(vectors, dtype=np.float32)
    cells = np.floor((numbers[..., : 2 * POINTS] + np.float32(REACH)) / np.float32(dsplit)).astype(np.int64)
    steps = np.floor(numbers[..., 2 * POINTS :] / np.float32(csplit)).astype(np.int64)
    if compat == "reference":
        length = int(REACH / dsplit)
    else:
        length = count_cells(dsplit)
        cells = np.clip(cells, 0, length - 1)
        steps = np.clip(steps, 0, count_confidence_rows(csplit) - 1)
    return np.stack([cells[..., :POINTS] * length + cells[..., POINTS:], steps], axis=-1)
