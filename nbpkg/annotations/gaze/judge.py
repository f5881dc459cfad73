"""What is wrong with a head box or a gaze point, for all rows at once."""

from __future__ import annotations

from typing import Literal

import numpy as np

from nbpkg.annotations.gaze.delimited import to_numbers

Protocol = Literal["gazelle", "vtd"]


def judge_boxes(boxes: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Put inverted boxes in order and say which are missing, empty or outside their picture.

    Parameters
    ----------
    boxes
        [n, 4] x0 y0 x1 y1 in pixels, NaN where unknown. Four times -1 means that there is no box.
    sizes
        [n, 2] width and height of the pictures; 0 where unknown.

    Returns
    -------
    boxes : numpy.ndarray
        [n, 4]; all NaN for rows without a whole box. Boxes beyond the edge are left as they are.
    masks : dict
        For each flag [n] whether the row has it.
    """
    absent = (boxes == -1).all(axis=1) | np.isnan(boxes).any(axis=1)
    boxes = np.where(absent[:, None], np.nan, boxes)
    first, second = boxes[:, :2], boxes[:, 2:]
    ordered = np.concatenate([np.minimum(first, second), np.maximum(first, second)], axis=1)
    known = ~absent & (sizes > 0).all(axis=1)
    flat = ~absent & (ordered[:, 2:] <= ordered[:, :2]).any(axis=1)
    beyond = known & ((ordered[:, :2] < 0) | (ordered[:, 2:] > sizes)).any(axis=1)
    off = known & ((ordered[:, 2:] <= 0) | (ordered[:, :2] >= sizes)).any(axis=1)
    return ordered, {
        "no_box": absent,
        "swapped": ~absent & (first > second).any(axis=1),
        "zero_area": flat,
        "outside_image": beyond & ~off,
        "off_image": off,
    }


def judge_points(
    points: np.ndarray, sizes: np.ndarray, *, protocol: Protocol = "gazelle", keep_outside: bool = False
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Tell gaze points inside the frame from marks for "outside" and from missing ones.

    Parameters
    ----------
    points
        [n, 2] x and y in pixels, NaN where unknown.
    sizes
        [n, 2] width and height of the pictures; 0 where unknown.
    protocol
        ``gazelle``: outside when both coordinates are negative. ``vtd``: outside when both are exactly -1, and any
        other negative coordinate is set to 0, so that (-3, -2) counts as inside, at the corner.
    keep_outside
        Leave the numbers of points outside as they are; else they become NaN.

    Returns
    -------
    points : numpy.ndarray
        [n, 2].
    inside : numpy.ndarray
        [n] 1, 0, or -1 where unknown.
    masks : dict
        For each flag [n] whether the row has it.
    """
    absent = np.isnan(points).any(axis=1)
    outside = (points == -1).all(axis=1) if protocol == "vtd" else (points < 0).all(axis=1)
    negative = ~absent & ~outside & (points < 0).any(axis=1)
    inside = np.where(absent, -1, 1 - outside.astype(np.int64))
    cleaned = np.where((inside == 1)[:, None], np.maximum(points, 0), points)
    empty = absent if keep_outside else inside != 1
    cleaned = np.where(empty[:, None], np.nan, cleaned)
    beyond = (inside == 1) & (sizes > 0).all(axis=1) & (cleaned > sizes).any(axis=1)
    return cleaned, inside, {"no_gaze": absent, "gaze_to_edge": negative, "gaze_beyond_edge": beyond}


def parse_numbers(texts: np.ndarray, whole: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Turn the number fields of rows into numbers, with the flags of fields that are none.

    Parameters
    ----------
    texts
        [n, k] fields as text.
    whole
        [n] whether the row had a right number of fields.

    Returns
    -------
    numbers : numpy.ndarray
        [n, k]; NaN where a field is no finite number, and in rows that are not whole (their fields may have moved).
    masks : dict
        ``not_finite`` and ``unreadable``, each [n].
    """
    numbers, troubles = to_numbers(texts)
    numbers[~whole] = np.nan
    unreadable = troubles["unreadable"].any(axis=1) | ~whole
    return numbers, {"not_finite": troubles["not_finite"].any(axis=1) & whole, "unreadable": unreadable}


def without_doubled(masks: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Take "there is none" from rows whose fields could not be read at all, so that each trouble is told once."""
    broken = masks["unreadable"] | masks["not_finite"]
    return {word: mask & ~broken if word in ("no_box", "no_gaze") else mask for word, mask in masks.items()}
