"""Where somebody looks, drawn on frames: heat, head boxes and arrows, for films and for figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from matplotlib import colormaps, font_manager, patheffects
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import FancyArrowPatch, Rectangle
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont

from nbpkg.plots import style
from nbpkg.plots.frames import veil
from nbpkg.plots.overlay import HEAT

Frame = NDArray[np.uint8]
PEOPLE = (style.ORANGE, style.SKY, style.PURPLE, style.GREEN, style.RED, style.BLUE)  # the first ones show on grey
_BLOCKS_OF_HEAD = 3
HALO: list[patheffects.AbstractPathEffect] = [patheffects.withStroke(linewidth=3.2, foreground="white")]


@dataclass(frozen=True)
class Person:
    """What is drawn of one person in one frame.

    Parameters
    ----------
    name
        As written beside the box.
    box
        Head box x0, y0, x1, y1, pixels; None draws no box and no arrow.
    peak
        Where the person looks, pixels x, y; None when unknown.
    inside
        Probability that the target is inside the frame; NaN when unknown, which counts as inside.
    heat
        Map over the whole frame ``[h, w]``, or None.
    """

    name: str
    box: tuple[float, float, float, float] | None
    peak: tuple[float, float] | None = None
    inside: float = float("nan")
    heat: NDArray[np.float32] | None = None


def veil_people(frame: Frame, boxes: Sequence[Sequence[float]], *, privacy: str = "pixelated") -> Frame:
    """Make one frame fit to be shown, where heads are known.

    Parameters
    ----------
    frame
        RGB ``[H, W, 3]``, uint8.
    boxes
        Head boxes x0, y0, x1, y1, pixels.
    privacy
        As in `nbpkg.plots.frames.veil`, or ``heads``: only the head boxes, a quarter larger on each side, become a
        mosaic. Whoever has no box is then shown, but a frame without any known head is veiled as a whole.

    Returns
    -------
    ndarray
        New array of the same shape.

    Raises
    ------
    SettingsError
        When `privacy` is none of these.
    """
    if privacy != "heads":
        return veil(frame, privacy=privacy)
    known = [box for box in boxes if np.isfinite(box).all()]
    if not known:
        return veil(frame)
    shown = frame.copy()
    height, width = frame.shape[:2]
    for x0, y0, x1, y1 in known:
        more_x, more_y = (x1 - x0) / 4, (y1 - y0) / 4
        left, right = max(0, int(x0 - more_x)), min(width, int(np.ceil(x1 + more_x)))
        top, bottom = max(0, int(y0 - more_y)), min(height, int(np.ceil(y1 + more_y)))
        if left < right and top < bottom:
            shown[top:bottom, left:right] = veil(frame[top:bottom, left:right], blocks=_BLOCKS_OF_HEAD)
    return shown


def lay_heat(frame: Frame, heat: ArrayLike, *, strongest: float = 1.0) -> Frame:
    """Lay a map over one frame: the picture in grey, heat the more opaque the higher the value.

    Parameters
    ----------
    frame
        RGB ``[H, W, 3]``, uint8, already veiled.
    heat
        Finite numbers ``[h, w]`` over the whole frame; brought to it by linear interpolation.
    strongest
        Value drawn as the strongest heat, the same for a whole film: a map scaled frame by frame would show a peak
        where the network found none. 0 and less are drawn as nothing.

    Returns
    -------
    ndarray
        RGB ``[H, W, 3]``, uint8.
    """
    height, width = frame.shape[:2]
    steps = np.clip(np.asarray(heat, np.float32) * (255 / strongest), 0, 255)
    level = np.rint(cv2.resize(steps, (width, height), interpolation=cv2.INTER_LINEAR)).astype(np.uint8)
    keep, add = _mixing()
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    below = grey.astype(np.float32) * keep[level]
    mixed: Frame = np.rint(below[..., None] + add[level]).astype(np.uint8)
    return mixed


def write_people(
    frame: Frame, people: Sequence[Person], *, arrows: bool, threshold: float = 0.5, colours: Sequence[str] = PEOPLE
) -> Frame:
    """Draw head boxes, names with the probability that the target is inside, and arrows to where people look.

    Parameters
    ----------
    frame
        RGB ``[H, W, 3]``, uint8, already veiled.
    people
        Each in the colour of its place.
    arrows
        Draw an arrow from head to peak for people who look inside the frame.
    threshold
        From this probability on a target counts as inside.
    colours
        For one person after the other, over again if there are more.

    Returns
    -------
    ndarray
        New array.
    """
    shown = np.ascontiguousarray(frame).copy()
    thick = max(2, round(shown.shape[0] / 240))
    for place, person in enumerate(people):
        name = colours[place % len(colours)]
        colour = _bytes(name)
        if person.box is None:
            continue
        x0, y0, x1, y1 = (round(value) for value in person.box)
        looks_out = person.inside < threshold
        _outline(shown, (x0, y0), (x1, y1), colour=colour, thick=thick)
        if arrows and person.peak is not None and not looks_out:
            centre = (round((person.box[0] + person.box[2]) / 2), round((person.box[1] + person.box[3]) / 2))
            _arrow(shown, centre, (round(person.peak[0]), round(person.peak[1])), colour=colour, thick=thick)
        likely = f"  out {1 - person.inside:.2f}" if looks_out else f"  in {person.inside:.2f}"
        text = person.name if np.isnan(person.inside) else f"{person.name}{likely}"
        write_text(shown, text, (x0, y0), colour=name)
    return shown


def draw_box(axis: Axes, box: Sequence[float], *, colour: str, label: str = "") -> None:
    """Draw a head box x0, y0, x1, y1 into a panel that shows a frame; nothing when it is missing."""
    x0, y0, x1, y1 = box
    if not np.isfinite([x0, y0, x1, y1]).all():
        return
    patch = Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, lw=1.4, ec=colour, label=label or None)
    patch.set_path_effects(HALO)
    axis.add_patch(patch)


def draw_arrow(axis: Axes, box: Sequence[float], point: Sequence[float], *, colour: str, line: str = "-") -> None:
    """Draw an arrow from the middle of a head box to a point, both in pixels; nothing when one is missing."""
    x0, y0, x1, y1 = box
    if not np.isfinite([x0, y0, x1, y1, *point]).all():
        return
    start, end = ((x0 + x1) / 2, (y0 + y1) / 2), (float(point[0]), float(point[1]))
    arrow = FancyArrowPatch(
        start, end, arrowstyle="-|>", mutation_scale=9, lw=1.6, ls=line, color=colour, shrinkA=0, shrinkB=0
    )
    arrow.set_path_effects(HALO)
    axis.add_patch(arrow)


@cache
def _mixing() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return for every level of heat, 0 to 255, the share of the grey picture and the colour added to it."""
    level = np.linspace(0, 1, 256)
    share = 0.95 * level
    colours = colormaps[HEAT](0.2 + 0.8 * level)[:, :3] * 255
    return (0.8 * (1 - share)).astype(np.float32), (share[:, None] * colours).astype(np.float32)


def _bytes(colour: str) -> tuple[int, int, int]:
    red, green, blue = (round(255 * part) for part in to_rgb(colour))
    return red, green, blue


def _outline(
    frame: Frame, start: tuple[int, int], end: tuple[int, int], *, colour: tuple[int, int, int], thick: int
) -> None:
    cv2.rectangle(frame, start, end, (0, 0, 0), thick + 2, cv2.LINE_AA)
    cv2.rectangle(frame, start, end, colour, thick, cv2.LINE_AA)


def _arrow(
    frame: Frame, start: tuple[int, int], end: tuple[int, int], *, colour: tuple[int, int, int], thick: int
) -> None:
    cv2.line(frame, start, end, (0, 0, 0), thick + 2, cv2.LINE_AA)
    cv2.line(frame, start, end, colour, thick, cv2.LINE_AA)
    radius = max(3, frame.shape[0] // 60)
    cv2.circle(frame, end, radius + 1, (0, 0, 0), -1, cv2.LINE_AA)
    cv2.circle(frame, end, radius, colour, -1, cv2.LINE_AA)


def write_text(frame: Frame, text: str, corner: tuple[int, int], *, colour: str = "white") -> None:
    """Write into a frame above a place x, y, or below it where there is no room; always inside the frame."""
    height, width = frame.shape[:2]
    image = Image.fromarray(frame)
    pen, font = ImageDraw.Draw(image), _font(max(10, round(height / 26)))
    _, _, wide, high = (round(side) for side in pen.textbbox((0, 0), text, font=font, stroke_width=2))
    x = min(max(3, corner[0]), max(3, width - wide - 3))
    y = corner[1] - high - 4 if corner[1] > high + 4 else min(corner[1] + 6, height - high - 3)
    pen.text((x, y), text, font=font, fill=colour, stroke_width=2, stroke_fill="black")
    frame[:] = np.asarray(image)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(font_manager.findfont("DejaVu Sans"), size)
