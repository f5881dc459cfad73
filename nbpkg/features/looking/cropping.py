"""Which pixels of a frame are a face: from a box to a square crop."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 224


@dataclass(frozen=True)
class CropRule:
    """How a box becomes a crop.

    Parameters
    ----------
    size
        Side of a crop, pixels.
    enlarge
        Share by which width and height grow about the box's centre before the cut, from 0.
    scale
        As the published program enlarges: edges are multiplied by 1 - scale and 1 + scale, about the picture's corner
        instead of the box's centre, so that a box far from there moves outwards. For comparison only.
    black_where_empty
        A box without a pixel in the picture gives a black crop, as published, instead of none.
    """

    size: int = SIDE
    enlarge: float = 0.0
    scale: float = 0.0
    black_where_empty: bool = False


_PLAIN = CropRule()


def cut_edges(boxes: NDArray[np.float64], rule: CropRule = _PLAIN) -> NDArray[np.int64]:
    """Turn boxes into the edges of slices; decimals are dropped, as published.

    Parameters
    ----------
    boxes
        ``[..., 4]``: x0, y0, x1, y1, pixels. NaN, no box, becomes an empty one.
    rule
        How.

    Returns
    -------
    ndarray
        int64 ``[..., 4]``: columns from ``[..., 0]`` to before ``[..., 2]``, rows from ``[..., 1]`` to before
        ``[..., 3]``. Never negative, which would count from a picture's end; they may lie behind the picture.

    Source: EGO4D/social-interactions, branch ``lam``.

    Examples
    --------
    >>> cut_edges(np.array([[10.9, 20.9, 70.9, 100.9]])).tolist()
    [[10, 20, 70, 100]]
    >>> cut_edges(np.array([[10.0, 20.0, 30.0, 40.0]]), CropRule(enlarge=0.5)).tolist()
    [[5, 15, 35, 45]]
    """
    known = np.where(np.isfinite(boxes), boxes, 0.0)
    known = np.where(np.isfinite(boxes).all(axis=-1, keepdims=True), known, 0.0)
    corner, far = known[..., :2], known[..., 2:]
    grown = rule.enlarge / 2 * (far - corner)
    edges = np.concatenate([(1 - rule.scale) * (corner - grown), (1 + rule.scale) * (far + grown)], axis=-1)
    return np.asarray(np.trunc(edges).astype(np.int64).clip(min=0))


def cut_crop(picture: NDArray[np.uint8], edges: NDArray[np.int64], rule: CropRule = _PLAIN) -> NDArray[np.uint8] | None:
    """Cut one face out of a frame and resize it, linearly and whatever its shape, to a square.

    Parameters
    ----------
    picture
        uint8 RGB ``[H, W, 3]``.
    edges
        Of the slice (see `cut_edges`), ``[4]``; what lies behind the picture is left out.
    rule
        How.

    Returns
    -------
    ndarray or None
        uint8 RGB ``[size, size, 3]``; None where no pixel of the picture is in the box.
    """
    x0, y0, x1, y1 = (int(edge) for edge in edges)
    part = picture[y0:y1, x0:x1]
    if part.size == 0:
        return np.zeros((rule.size, rule.size, 3), np.uint8) if rule.black_where_empty else None
    resized = cv2.resize(part, (rule.size, rule.size), interpolation=cv2.INTER_LINEAR)
    crop: NDArray[np.uint8] = resized.astype(np.uint8, copy=False)
    return crop
