"""Head boxes: widening, cutting to the picture, boxes that cannot be used as they are, and the face inside a box."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from nbpkg.datasets.gaze.maps import Compat, Floats, all_along
from nbpkg.errors import TableError

WIDENED = 0.1  # what VTD adds to the boxes of GazeFollow and of its demonstration


class CheckedBoxes(NamedTuple):
    """Boxes that have an area, and what had to be done or said about each.

    Parameters
    ----------
    boxes
        ``x0 y0 x1 y1`` with ``x0 + 1 <= x1`` and ``y0 + 1 <= y1``, pixels, ``[N, 4]``.
    swapped
        Whether left and right, or upper and lower side were exchanged, ``[N]``.
    grown
        Whether a side was shorter than one pixel, ``[N]``.
    outside
        Whether the box lies wholly outside its picture, ``[N]``.
    """

    boxes: Floats
    swapped: NDArray[np.bool_]
    grown: NDArray[np.bool_]
    outside: NDArray[np.bool_]

    def flags(self) -> list[str]:
        """Return words for each box joined by ``;``, as in the column flags; empty for a sound box."""
        named = zip(("swapped", "grown", "outside_image"), (self.swapped, self.grown, self.outside), strict=True)
        words = [np.where(mask, word, "") for word, mask in named]
        return [";".join(filter(None, row)) for row in zip(*words, strict=True)]


def check_boxes(boxes: ArrayLike, sizes: ArrayLike) -> CheckedBoxes:
    """Give every head box an area of at least one pixel.

    Parameters
    ----------
    boxes
        ``x0 y0 x1 y1``, pixels, shape ``[N, 4]``.
    sizes
        ``width height`` of each picture, pixels, shape ``[N, 2]`` or ``[2]``.

    Raises
    ------
    TableError
        When a box is missing (NaN) or infinite.

    Examples
    --------
    >>> check_boxes([[8, 2, 4, 2]], [10, 10]).boxes.tolist(), check_boxes([[8, 2, 4, 2]], [10, 10]).flags()
    ([[4.0, 2.0, 8.0, 3.0]], ['swapped;grown'])
    """
    given = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    missing = ~all_along(np.isfinite(given))
    if missing.any():
        raise TableError(
            f"{int(missing.sum())} of {len(given)} persons have no head box.",
            where=f"row {int(np.argmax(missing))} of those to be prepared.",
            expected="Four numbers of pixels for each.",
            remedy="Leave rows without a box out (plan_blocks and the picture data sets do), or annotate them.",
        )
    low, high = np.minimum(given[:, :2], given[:, 2:]), np.maximum(given[:, :2], given[:, 2:])
    grown = high - low < 1
    extent = np.broadcast_to(np.asarray(sizes, dtype=np.float64), low.shape)
    outside = (high <= 0) | (low >= extent)
    return CheckedBoxes(
        np.concatenate([low, np.where(grown, low + 1, high)], axis=1),
        ~all_along(given[:, :2] <= given[:, 2:]),
        ~all_along(~grown),
        ~all_along(~outside),
    )


def widen(boxes: ArrayLike, share: float) -> Floats:
    """Widen boxes as VTD does: left and upper side by a share, then the others by that share of the widened box.

    So a share k adds k to the left and k (1 + k) to the right.

    Parameters
    ----------
    boxes
        ``x0 y0 x1 y1``, shape ``[N, 4]``.
    share
        Share of width and height, k.

    Examples
    --------
    >>> widen([[0, 0, 100, 10]], 0.1).round(9).tolist()
    [[-10.0, -1.0, 111.0, 11.1]]
    """
    low, high = np.array(boxes, dtype=np.float64).reshape(-1, 2, 2).swapaxes(0, 1)
    low = low - share * np.abs(high - low)
    high = high + share * np.abs(high - low)
    return np.concatenate([low, high], axis=1)


def clamp(boxes: ArrayLike, sizes: ArrayLike) -> Floats:
    """Cut boxes to their pictures.

    Parameters
    ----------
    boxes
        ``x0 y0 x1 y1``, pixels, shape ``[N, 4]``.
    sizes
        ``width height``, pixels, shape ``[N, 2]`` or ``[2]``.

    Examples
    --------
    >>> clamp([[-5, 2, 700, 500]], [640, 480]).tolist()
    [[0.0, 2.0, 640.0, 480.0]]
    """
    limits = np.concatenate([np.asarray(sizes, dtype=np.float64)] * 2, axis=-1)
    return np.asarray(np.clip(np.asarray(boxes, dtype=np.float64).reshape(-1, 4), 0, limits))


def face_rectangle(box: ArrayLike, *, compat: Compat = "none", rounded: bool = False) -> tuple[int, int, int, int]:
    """Bring a head box to whole pixels, the rectangle of the face.

    Parameters
    ----------
    box
        ``x0 y0 x1 y1``, pixels.
    compat
        ``none`` makes every side at least one pixel long; ``reference`` lets it be empty.
    rounded
        Whether to round half to even, as VTD's demonstration does, instead of truncating towards zero.

    Examples
    --------
    >>> face_rectangle([10.9, 10.2, 10.95, 12.8]), face_rectangle([-0.9, 0.5, 1.5, 12.8], rounded=True)
    ((10, 10, 11, 12), (-1, 0, 2, 13))
    """
    x0, y0, x1, y1 = (round(float(side)) if rounded else int(side) for side in np.asarray(box, dtype=np.float64))
    if compat == "none":
        x1, y1 = max(x1, x0 + 1), max(y1, y0 + 1)
    return x0, y0, x1, y1


def cut_face(
    picture: Image.Image, box: ArrayLike, *, size: int, compat: Compat = "none", rounded: bool = False
) -> Image.Image:
    """Cut the face out of a picture and bring it to a square; what lies outside the picture is black.

    Parameters
    ----------
    picture
        RGB.
    box
        ``x0 y0 x1 y1``, pixels.
    size
        Side of the square, pixels.
    compat, rounded
        As in `face_rectangle`. With ``reference`` an empty rectangle gives a black face.
    """
    x0, y0, x1, y1 = face_rectangle(box, compat=compat, rounded=rounded)
    if x1 <= x0 or y1 <= y0:
        return Image.new("RGB", (size, size))
    return picture.crop((x0, y0, x1, y1)).resize((size, size), Image.Resampling.BILINEAR)
