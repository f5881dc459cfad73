"""Parts of frames: fixed ones for tests, drawn ones for training, as mmaction2 0.24 cuts and draws them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from nbpkg.errors import MediaError

Frames = NDArray[np.uint8]
Size = tuple[int, int]
_SNAP = 3  # pixels by which a crop of several scales must miss the wanted side to keep its own


class Draws(Protocol):
    """Where uniform numbers come from: a `numpy.random.Generator`, or a `numpy.random.RandomState` for parity."""

    @property
    def uniform(self) -> Callable[..., NDArray[np.float64]]:
        """Draw ``size`` numbers uniformly between ``low`` and ``high``."""

    @property
    def random(self) -> Callable[..., float]:
        """Draw one number uniformly from ``[0, 1)``."""


class Part(NamedTuple):
    """The part of a frame that is kept, pixels.

    Parameters
    ----------
    left, top, width, height
        Its place and size.
    """

    left: int
    top: int
    width: int
    height: int

    def cut(self, frames: Frames) -> Frames:
        """Return this part of frames ``[N, H, W, 3]``.

        Raises
        ------
        MediaError
            When it reaches outside the frames.
        """
        height, width = frames.shape[1:3]
        right, bottom = self.left + self.width, self.top + self.height
        if min(self) < 0 or not self.width or not self.height or right > width or bottom > height:
            raise MediaError(
                f"{self.width} x {self.height} pixels at ({self.left}, {self.top}) reach outside the frame.",
                expected=f"A part of {width} x {height} pixels.",
                remedy="Resize the frames first, or crop less.",
            )
        return frames[:, self.top : bottom, self.left : right]


def crop_centre(frames: Frames, size: Size) -> Frames:
    """Cut the middle out of frames ``[N, H, W, 3]``; `size` is ``(height, width)``.

    Raises
    ------
    MediaError
        When the frames are smaller.
    """
    height, width = frames.shape[1:3]
    return Part((width - size[1]) // 2, (height - size[0]) // 2, size[1], size[0]).cut(frames)


def crop_three(frames: Frames, size: Size) -> Frames:
    """Cut three parts out of frames along their longer side: both ends, then the middle.

    Parameters
    ----------
    frames
        uint8 ``[N, H, W, 3]``; height or width is that of the parts.
    size
        ``(height, width)`` of the parts.

    Returns
    -------
    ndarray
        uint8 ``[3 N, height, width, 3]``: all frames of one part, then all of the next.

    Raises
    ------
    MediaError
        When neither side fits.

    Source
    ------
    mmaction2 0.24.1, ``ThreeCrop``: the second end lies at twice the middle's offset, which may miss one pixel.
    """
    height, width = frames.shape[1:3]
    if size[0] != height and size[1] != width:
        raise MediaError(
            f"Frames of {width} x {height} pixels cannot be cut into three parts of {size[1]} x {size[0]}.",
            expected="The same height or the same width.",
            remedy="Resize the short side of the frames to that of the parts first.",
        )
    across, down = ((width - size[1]) // 2, 0) if size[0] == height else (0, (height - size[0]) // 2)
    parts = [Part(times * across, times * down, size[1], size[0]) for times in (0, 2, 1)]
    return np.concatenate([part.cut(frames) for part in parts])


def crop_ten(frames: Frames, size: Size) -> Frames:
    """Cut the four corners and the centre out of frames, each followed by its mirror image.

    Parameters
    ----------
    frames
        uint8 ``[N, H, W, 3]``.
    size
        ``(height, width)`` of the parts.

    Returns
    -------
    ndarray
        uint8 ``[10 N, height, width, 3]``: all frames of one part, then all of the next.

    Raises
    ------
    MediaError
        When the frames are smaller.
    """
    places = _fixed_places(frames.shape[1:3], size)[:5]
    parts = [Part(*place, size[1], size[0]).cut(frames) for place in places]
    return np.concatenate([piece for part in parts for piece in (part, np.ascontiguousarray(part[:, :, ::-1]))])


def draw_resized_crop(
    size: Size,
    draws: Draws,
    integers: random.Random,
    *,
    area: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> Part:
    """Draw a part of random area and shape.

    Parameters
    ----------
    size
        ``(height, width)`` of the frames.
    draws
        Where areas and shapes come from: ten of each, shapes first.
    integers
        Where the place comes from: x, then y.
    area
        Least and most share of the frame.
    ratio
        Least and most width over height.

    Returns
    -------
    Part
        The first of ten that fits, else the central square of the short side.

    Source
    ------
    mmaction2 0.24.1, ``RandomResizedCrop``.
    """
    height, width = size
    shapes = np.exp(draws.uniform(np.log(ratio[0]), np.log(ratio[1]), size=10))
    areas = draws.uniform(*area, size=10) * (height * width)
    widths = np.round(np.sqrt(areas * shapes)).astype(int)
    heights = np.round(np.sqrt(areas / shapes)).astype(int)
    for across, down in zip(widths.tolist(), heights.tolist(), strict=True):
        if 0 < across <= width and 0 < down <= height:
            return Part(integers.randint(0, width - across), integers.randint(0, height - down), across, down)
    side = min(size)
    return Part((width - side) // 2, (height - side) // 2, side, side)


def draw_scaled_crop(
    size: Size,
    integers: random.Random,
    *,
    wanted: Size,
    scales: Sequence[float] = (1.0,),
    gap: int = 1,
    anywhere: bool = False,
    places: Literal[5, 13] = 5,
) -> Part:
    """Draw a part whose sides are shares of the frame's short side.

    Parameters
    ----------
    size
        ``(height, width)`` of the frames.
    integers
        Where the choices come from: sides, then place.
    wanted
        ``(height, width)`` that the network takes: a side that misses it by less than 3 pixels becomes it.
    scales
        Shares of the short side.
    gap
        How many steps in `scales` width and height may differ.
    anywhere
        Whether the part may lie anywhere, else at one of `places`.
    places
        5: corners and centre; 13: also the middles of the sides and of the quarters.

    Source
    ------
    mmaction2 0.24.1, ``MultiScaleCrop``.
    """
    height, width = size
    sides = [int(min(size) * scale) for scale in scales]
    pairs = [
        (across, down)
        for place, down in enumerate(sides)
        for other, across in enumerate(sides)
        if abs(place - other) <= gap
    ]
    drawn = integers.choice(pairs)
    across, down = (
        goal if abs(side - goal) < _SNAP else side for side, goal in zip(drawn, (wanted[1], wanted[0]), strict=True)
    )
    if anywhere:
        return Part(integers.randint(0, width - across), integers.randint(0, height - down), across, down)
    return Part(*integers.choice(_fixed_places(size, (down, across))[:places]), across, down)


def _fixed_places(size: Size, part: Size) -> list[tuple[int, int]]:
    """Return left and top of 13 parts: corners, centre, middles of the sides, middles of the quarters."""
    across, down = (size[1] - part[1]) // 4, (size[0] - part[0]) // 4
    corners = [(0, 0), (4, 0), (0, 4), (4, 4), (2, 2)]
    middles = [(0, 2), (4, 2), (2, 4), (2, 0)]
    quarters = [(1, 1), (3, 1), (1, 3), (3, 3)]
    return [(x * across, y * down) for x, y in (*corners, *middles, *quarters)]
