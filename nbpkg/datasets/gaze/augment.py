"""Random changes of pictures, head boxes and gaze points: drawn once per picture or track, applied to every frame."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageEnhance

from nbpkg.datasets.gaze.boxes import clamp, widen
from nbpkg.datasets.gaze.maps import Compat, Floats

_ENHANCERS = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
_PICTURE_JITTER, _VIDEO_JITTER, _GAZELLE_JITTER = 0.2, 0.1, 0.2


class Draws(Protocol):
    """Where random numbers come from: a `numpy.random.Generator`, or a `numpy.random.RandomState` for parity."""

    def random(self) -> float:
        """Draw uniformly from ``[0, 1)``."""


class Integers(Protocol):
    """Where whole numbers come from: `random.Random`."""

    def randint(self, a: int, b: int) -> int:
        """Draw uniformly from ``a .. b``, both included."""


@dataclass(frozen=True)
class Augment:
    """Which random changes are made. A change that is off is still drawn, so that the others stay as they were.

    Parameters
    ----------
    jitter
        Widen (VTD) or shift (Gaze-LLE) the head box.
    crop
        Cut the picture so that head and gaze target stay inside.
    flip
        Mirror left and right.
    colour
        Change brightness, contrast and saturation (VTD only).
    """

    jitter: bool = True
    crop: bool = True
    flip: bool = True
    colour: bool = True


class Crop(NamedTuple):
    """The part of a picture that is kept.

    Parameters
    ----------
    left, top, width, height
        Pixels of a picture of `size`; not whole, and partly outside where a head box is.
    size
        ``width height`` of the picture for which the part was drawn, pixels.
    """

    left: float
    top: float
    width: float
    height: float
    size: tuple[int, int]

    def fit(self, size: tuple[int, int]) -> Crop:
        """Return the same part of a picture of another size."""
        across, down = size[0] / self.size[0], size[1] / self.size[1]
        if across == 1 and down == 1:
            return self
        return Crop(self.left * across, self.top * down, self.width * across, self.height * down, size)


@dataclass(frozen=True)
class Changes:
    """One draw: everything that is done to a picture, or alike to all frames of a track.

    Parameters
    ----------
    jitter
        Share by which head boxes are widened (see `boxes.widen`).
    clamped
        Whether widened boxes are cut to the picture (video) or not (pictures).
    shifts
        Gaze-LLE's jitter: shares of width (left, right) and height (upper, lower) by which the sides of each head box
        are moved; None for no jitter, else one row of four for each person.
    crop
        The part that is kept; None for all of it.
    flip
        Whether left and right are exchanged.
    colour
        Factors of brightness, contrast and saturation; None for none.
    """

    jitter: float = 0.0
    clamped: bool = False
    shifts: tuple[tuple[float, float, float, float], ...] | None = None
    crop: Crop | None = None
    flip: bool = False
    colour: tuple[float, float, float] | None = None


UNCHANGED = Changes()


class Persons(NamedTuple):
    """Heads and gaze points, one row per frame and person.

    Parameters
    ----------
    boxes
        Head box ``x0 y0 x1 y1``, pixels, float64 ``[N, 4]``.
    gaze
        Gaze point, pixels, NaN where the target is outside the picture or unknown, float64 ``[N, 2]``.
    inside
        1 when the target is inside the picture, 0 outside, -1 unknown, int64 ``[N]``.
    sizes
        ``width height`` of the picture that the numbers refer to, float64 ``[N, 2]``.
    """

    boxes: Floats
    gaze: Floats
    inside: NDArray[np.int64]
    sizes: Floats

    def take(self, rows: ArrayLike) -> Persons:
        """Return some of the rows."""
        places = np.asarray(rows)
        return Persons(*(part[places] for part in self))


def draw_picture(draws: Draws, person: Persons, *, augment: Augment, compat: Compat = "none") -> Changes:
    """Draw the changes of one picture, in the published order: jitter, crop, flip, colour, each for half the pictures.

    Parameters
    ----------
    draws
        Where random numbers come from.
    person
        One row; the head box is already widened if it is to be.
    augment
        Which changes are made.
    compat
        ``reference`` lets the gaze point of an outside target, if there is one, take part in choosing the crop.

    Source: VTD's GazeFollow training. There a missing gaze point of (-1, -1) makes the crop reach from (-width,
    -height), mostly black; here a target outside has no part in the crop.
    """
    jitter, crop, flip, colour = 0.0, None, False, None
    box = person.boxes[:1]
    if draws.random() <= 0.5:
        jitter = _PICTURE_JITTER * draws.random()
        box = widen(box, jitter) if augment.jitter else box
    if draws.random() <= 0.5:
        use = np.isfinite(person.gaze[:1]).all(1) & ((person.inside[:1] == 1) | (compat == "reference"))
        crop = _draw_crop(draws, _region(box, person.gaze[:1][use]), person.sizes[0])
    if draws.random() <= 0.5:
        flip = True
    if draws.random() <= 0.5:
        colour = (_draw(draws, 0.5, 1.5), _draw(draws, 0.5, 1.5), _draw(draws, 0, 1.5))
    return _keep(Changes(jitter, crop=crop, flip=flip, colour=colour), augment)


class VideoDraw(NamedTuple):
    """The draw of one track.

    Parameters
    ----------
    start, length
        The window, rows of the track.
    changes
        What is done to all its frames.
    """

    start: int
    length: int
    changes: Changes


def draw_video(
    draws: np.random.Generator | np.random.RandomState,
    track: Persons,
    *,
    augment: Augment | None,
    limit: int | None = 50,
    compat: Compat = "none",
) -> VideoDraw:
    """Draw the window of a track and the changes of all its frames, in the published order.

    Parameters
    ----------
    draws
        Where random numbers come from.
    track
        All rows of the track, boxes smoothed.
    augment
        Which changes are made; None makes none and draws only the window.
    limit
        Longest window, rows; None takes the whole track.
    compat
        ``reference`` never takes the last window, and lets targets outside count as (-1, -1) when the crop is chosen.

    Source: VTD's video training (VideoAttentionTarget, ObjectAttention). There one outside frame in a window puts the
    corner of the crop at -1; here outside frames have no part in it.
    """
    jitter = flip = paint = cut = 1.0
    colour = crop = None
    if augment is not None:
        jitter, flip, paint = draws.random(), draws.random(), draws.random()
        if paint < 0.5:
            colour = (_draw(draws, 0.5, 1.5), _draw(draws, 0.5, 1.5), _draw(draws, 0.5, 1.5))
        cut = draws.random()
    count = len(track.boxes)
    length = count if limit is None else min(limit, count)
    start = _draw_start(draws, count - length, compat=compat) if length < count else 0
    window = track.take(np.arange(start, start + length))
    if cut < 0.5:
        crop = _draw_crop(draws, _window_region(window, track.sizes[0], compat=compat), track.sizes[0])
    if augment is None:
        return VideoDraw(start, length, UNCHANGED)
    share = _VIDEO_JITTER * jitter if jitter < 0.5 else 0.0
    changes = Changes(share, clamped=share > 0, crop=crop, flip=flip < 0.5, colour=colour)
    return VideoDraw(start, length, _keep(changes, augment))


def draw_gazelle(
    draws: Draws, integers: Integers, people: Persons, *, augment: Augment, compat: Compat = "none"
) -> Changes:
    """Draw the changes of one picture for Gaze-LLE: crop to whole pixels, flip, then jitter of each head box.

    Parameters
    ----------
    draws
        Where uniform numbers come from.
    integers
        Where the sides of the crop come from.
    people
        All persons of the picture; heads and inside targets stay in the crop.
    augment
        Which changes are made; colour is never changed.
    compat
        ``reference`` may cut off the last fraction of a pixel, and with it a target, which then has no map.

    Source: Gaze-LLE, which draws for one person per picture and opens a debugger when a head box reaches outside the
    picture; here the crop then ends at the border.
    """
    crop, shifts = None, None
    if draws.random() <= 0.5:
        use = (people.inside == 1) & np.isfinite(people.gaze).all(1)
        width, height = (int(side) for side in people.sizes[0])
        x0, y0, x1, y1 = clamp(_region(people.boxes, people.gaze[use]), (width, height))[0]
        left, top = integers.randint(0, int(x0)), integers.randint(0, int(y0))
        right, bottom = integers.randint(int(x1), width), integers.randint(int(y1), height)
        if compat == "none":
            right, bottom = max(right, math.ceil(x1)), max(bottom, math.ceil(y1))
        left, top = min(left, width - 1), min(top, height - 1)
        crop = Crop(left, top, max(right - left, 1), max(bottom - top, 1), (width, height))
    flip = draws.random() <= 0.5
    if draws.random() <= 0.5:
        rows = [[_draw(draws, -_GAZELLE_JITTER, _GAZELLE_JITTER) for _ in range(4)] for _ in people.boxes]
        shifts = tuple((left, right, upper, lower) for left, right, upper, lower in rows)
    return _keep(Changes(shifts=shifts, crop=crop, flip=flip), augment)


def change_persons(people: Persons, changes: Changes, *, whole_pixels: bool = False) -> Persons:
    """Move head boxes and gaze points as `change_picture` moves pixels.

    Parameters
    ----------
    people
        Any number of rows; pictures may differ in size.
    changes
        The draw.
    whole_pixels
        Whether the crop is rounded as the pixels are; VTD keeps the fractions, so that boxes and pixels may differ by
        half a pixel.

    Returns
    -------
    Persons
        In pixels of the changed pictures, whose sizes need not be whole.
    """
    boxes, gaze, sizes = people.boxes, people.gaze, people.sizes
    if changes.jitter:
        boxes = widen(boxes, changes.jitter)
        boxes = clamp(boxes, sizes) if changes.clamped else boxes
    if changes.crop is not None:
        fitted = [changes.crop.fit((int(width), int(height))) for width, height in sizes]
        parts = np.array([_whole(part) if whole_pixels else part[:4] for part in fitted]).reshape(-1, 4)
        boxes, gaze, sizes = boxes - np.tile(parts[:, :2], 2), gaze - parts[:, :2], parts[:, 2:]
    if changes.flip:
        width = sizes[:, 0]
        boxes = np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], axis=1)
        gaze = np.stack([width - gaze[:, 0], gaze[:, 1]], axis=1)
    if changes.shifts is not None:
        shares = np.asarray(changes.shifts, dtype=np.float64).reshape(-1, 4)[:, [0, 2, 1, 3]]
        spans = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
        boxes = clamp(boxes + shares * spans, sizes)
    return Persons(boxes, gaze, people.inside, sizes)


def change_picture(picture: Image.Image, changes: Changes) -> Image.Image:
    """Crop, mirror and recolour one RGB picture; black where the crop reaches outside.

    Parameters
    ----------
    picture
        RGB.
    changes
        The draw.
    """
    if changes.crop is not None:
        left, top, width, height = _whole(changes.crop.fit(picture.size))
        picture = picture.crop((left, top, left + width, top + height))
    if changes.flip:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    for enhance, factor in zip(_ENHANCERS, changes.colour or (), strict=False):
        picture = enhance(picture).enhance(factor)
    return picture


def _draw(draws: Draws, low: float, high: float) -> float:
    """Draw from low to high, or from high to low: a head box may reach beyond the picture that bounds a crop."""
    return low + (high - low) * draws.random()


def _whole(part: Crop) -> tuple[int, int, int, int]:
    """Round a crop as Pillow does, each side for itself, half to even; at least one pixel."""
    left, top = round(part.left), round(part.top)
    right, bottom = round(part.left + part.width), round(part.top + part.height)
    return left, top, max(right - left, 1), max(bottom - top, 1)


def _keep(changes: Changes, augment: Augment) -> Changes:
    return replace(
        changes,
        jitter=changes.jitter if augment.jitter else 0.0,
        clamped=changes.clamped and augment.jitter,
        shifts=changes.shifts if augment.jitter else None,
        crop=changes.crop if augment.crop else None,
        flip=changes.flip and augment.flip,
        colour=changes.colour if augment.colour else None,
    )


def _region(boxes: Floats, points: Floats) -> Floats:
    """Return ``x0 y0 x1 y1`` of the smallest region that holds all boxes and points."""
    corners = np.concatenate([boxes[:, :2], boxes[:, 2:], points])
    return np.concatenate([corners.min(0), corners.max(0)])


def _window_region(window: Persons, size: Floats, *, compat: Compat) -> Floats:
    inside = (window.inside == 1) & np.isfinite(window.gaze).all(1)
    if compat == "reference":
        gaze = np.where(inside[:, None], window.gaze, -1.0)
        return _region(window.boxes, gaze if inside.any() else gaze[:0])
    scale = size / window.sizes
    return _region(window.boxes * np.tile(scale, 2), np.maximum(window.gaze * scale, 0)[inside])


def _draw_crop(draws: Draws, region: Floats, size: Floats) -> Crop:
    left, top = (_draw(draws, 0, side) if side >= 0 else float(side) for side in region[:2])
    width = _draw(draws, region[2] - left, size[0] - left)
    height = _draw(draws, region[3] - top, size[1] - top)
    return Crop(left, top, width, height, (int(size[0]), int(size[1])))


def _draw_start(draws: np.random.Generator | np.random.RandomState, spare: int, *, compat: Compat) -> int:
    end = spare if compat == "reference" else spare + 1
    return int(draws.randint(0, end) if isinstance(draws, np.random.RandomState) else draws.integers(0, end))
