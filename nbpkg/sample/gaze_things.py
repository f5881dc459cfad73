"""Rooms and the things in them that people look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from nbpkg.sample.gaze_people import Colour

_SHIFT = 4  # fractional bits of the coordinates that OpenCV draws with
_WALLS: tuple[Colour, ...] = ((206, 208, 200), (198, 204, 212), (214, 204, 194), (194, 202, 196), (212, 210, 216))
_FLOORS: tuple[Colour, ...] = ((158, 142, 126), (144, 148, 152), (168, 156, 140), (132, 124, 118))
_WOOD: Colour = (150, 122, 96)


@dataclass(frozen=True)
class Thing:
    """Something to look at.

    Parameters
    ----------
    name
        One of `TOYS` or `GROCERIES`.
    x, y
        Its middle, pixels.
    half
        Half its larger side, pixels.
    depth
        How much nearer to the camera than the people it is, in frame heights.
    """

    name: str
    x: float
    y: float
    half: float
    depth: float

    def box(self) -> tuple[int, int, int, int]:
        """Return the box ``x0 y0 x1 y1`` as an annotator draws it, whole pixels."""
        wide, high = _EXTENT.get(self.name, (1.0, 1.0))
        across, down = self.half * wide, self.half * high
        return round(self.x - across), round(self.y - down), round(self.x + across), round(self.y + down)


def draw_room(random: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Draw an empty room of ``(height, width)``, uint8 RGB ``[H, W, 3]``: wall, floor, pale things on the wall."""
    height, width = size
    wall, floor = _WALLS[random.integers(len(_WALLS))], _FLOORS[random.integers(len(_FLOORS))]
    edge = round(height * random.uniform(0.7, 0.82))
    light = np.linspace(1.04, 0.9, height)[:, None, None] * np.linspace(0.97, 1.03, width)[None, :, None]
    room = np.empty((height, width, 3))
    room[:edge], room[edge:] = wall, floor
    room = np.clip(room * light, 0, 255)
    picture = np.rint(room).astype(np.uint8)
    for _ in range(int(random.integers(1, 4))):
        x, y = random.uniform(0.05, 0.8) * width, random.uniform(0.05, 0.4) * height
        across, down = random.uniform(0.1, 0.22) * width, random.uniform(0.12, 0.25) * height
        tone = tuple(round(float(value) * random.uniform(0.84, 0.94)) for value in wall)
        _box(picture, x, y, x + across, y + down, tone)  # type: ignore[arg-type]
        _box(picture, x + 2, y + 2, x + across - 2, y + down - 2, tuple(min(255, value + 14) for value in tone))  # type: ignore[arg-type]
    cv2.line(picture, (0, edge), (width, edge), tuple(round(value * 0.8) for value in floor), 2)
    return picture


def draw_support(picture: np.ndarray, thing: Thing) -> None:
    """Draw what a thing stands on, in place: a board on the wall, or lower down a stand."""
    under, reach = thing.y + thing.half, 1.3 * thing.half
    _box(picture, thing.x - reach, under, thing.x + reach, under + max(2.0, 0.22 * thing.half), _WOOD)
    if thing.y > 0.55 * picture.shape[0]:
        dark = (118, 96, 78)
        _box(picture, thing.x - 0.35 * thing.half, under + 2, thing.x + 0.35 * thing.half, picture.shape[0], dark)


def draw_table(picture: np.ndarray, top: float) -> None:
    """Draw a table across the frame from a row on downwards, in place."""
    height, width = picture.shape[:2]
    corners = [(0.06 * width, top), (0.94 * width, top), (1.02 * width, height), (-0.02 * width, height)]
    cv2.fillPoly(picture, [_fixed(corners)], (178, 150, 118), cv2.LINE_AA, _SHIFT)
    cv2.line(picture, (int(corners[0][0]), int(top)), (int(corners[1][0]), int(top)), (150, 122, 94), 1, cv2.LINE_AA)


def draw_thing(picture: np.ndarray, thing: Thing) -> None:
    """Draw a thing, uint8 RGB ``[H, W, 3]``, in place."""
    _DRAW[thing.name](picture, thing.x, thing.y, thing.half)


def _ball(picture: np.ndarray, x: float, y: float, half: float) -> None:
    _disc(picture, x, y, half, half, (214, 46, 50))
    _disc(picture, x, y, half, 0.3 * half, (250, 244, 236))
    _disc(picture, x - 0.35 * half, y - 0.45 * half, 0.16 * half, 0.16 * half, (255, 220, 214))


def _mug(picture: np.ndarray, x: float, y: float, half: float) -> None:
    _disc(picture, x + 0.75 * half, y, 0.4 * half, 0.5 * half, (28, 84, 190))
    _disc(picture, x + 0.75 * half, y, 0.2 * half, 0.28 * half, (206, 208, 204))
    _box(picture, x - 0.75 * half, y - half, x + 0.7 * half, y + half, (36, 102, 222))
    _disc(picture, x, y - 0.95 * half, 0.72 * half, 0.2 * half, (120, 170, 246))


def _plant(picture: np.ndarray, x: float, y: float, half: float) -> None:
    for across, down in ((-0.5, -0.4), (0.5, -0.4), (0.0, -0.6), (-0.2, -0.1), (0.3, -0.1)):
        _disc(picture, x + across * half, y + down * half, 0.42 * half, 0.42 * half, (36, 160, 62))
    pot = [(x - 0.5 * half, y + 0.2 * half), (x + 0.5 * half, y + 0.2 * half)]
    pot += [(x + 0.35 * half, y + half), (x - 0.35 * half, y + half)]
    cv2.fillPoly(picture, [_fixed(pot)], (30, 110, 52), cv2.LINE_AA, _SHIFT)


def _duck(picture: np.ndarray, x: float, y: float, half: float) -> None:
    _disc(picture, x - 0.1 * half, y + 0.4 * half, 0.9 * half, 0.6 * half, (248, 206, 36))
    _disc(picture, x + 0.3 * half, y - 0.45 * half, 0.5 * half, 0.5 * half, (248, 206, 36))
    _box(picture, x + 0.7 * half, y - 0.5 * half, x + half, y - 0.25 * half, (236, 120, 30))
    _disc(picture, x + 0.42 * half, y - 0.58 * half, 0.12 * half, 0.12 * half, (30, 26, 24))


def _gift(picture: np.ndarray, x: float, y: float, half: float) -> None:
    _box(picture, x - half, y - 0.8 * half, x + half, y + half, (158, 52, 190))
    _box(picture, x - 0.2 * half, y - 0.8 * half, x + 0.2 * half, y + half, (248, 230, 250))
    _box(picture, x - half, y - 0.1 * half, x + half, y + 0.25 * half, (248, 230, 250))


def _lamp(picture: np.ndarray, x: float, y: float, half: float) -> None:
    _box(picture, x - 0.1 * half, y, x + 0.1 * half, y + half, (90, 66, 40))
    shade = [
        (x - 0.5 * half, y - half),
        (x + 0.5 * half, y - half),
        (x + half, y + 0.3 * half),
        (x - half, y + 0.3 * half),
    ]
    cv2.fillPoly(picture, [_fixed(shade)], (250, 132, 24), cv2.LINE_AA, _SHIFT)


def _mustard(picture: np.ndarray, x: float, y: float, half: float) -> None:
    _box(picture, x - 0.5 * half, y - 0.6 * half, x + 0.5 * half, y + half, (244, 200, 24))
    _box(picture, x - 0.2 * half, y - half, x + 0.2 * half, y - 0.6 * half, (190, 40, 34))
    _box(picture, x - 0.4 * half, y - 0.1 * half, x + 0.4 * half, y + 0.5 * half, (250, 240, 210))


def _masterchef(picture: np.ndarray, x: float, y: float, half: float) -> None:
    _box(picture, x - 0.7 * half, y - half, x + 0.7 * half, y + half, (30, 74, 176))
    _box(picture, x - 0.7 * half, y - 0.3 * half, x + 0.7 * half, y + 0.2 * half, (236, 238, 244))


def _pringles(picture: np.ndarray, x: float, y: float, half: float) -> None:
    _box(picture, x - 0.36 * half, y - half, x + 0.36 * half, y + half, (206, 30, 44))
    _disc(picture, x, y - 0.2 * half, 0.26 * half, 0.3 * half, (250, 226, 170))


def _sugarbox(picture: np.ndarray, x: float, y: float, half: float) -> None:
    _box(picture, x - 0.6 * half, y - half, x + 0.6 * half, y + half, (250, 250, 246))
    _box(picture, x - 0.6 * half, y - 0.2 * half, x + 0.6 * half, y + 0.6 * half, (30, 150, 84))


def _driller(picture: np.ndarray, x: float, y: float, half: float) -> None:
    _box(picture, x - 0.9 * half, y - 0.8 * half, x + 0.6 * half, y - 0.1 * half, (246, 120, 16))
    _box(picture, x + 0.6 * half, y - 0.6 * half, x + half, y - 0.3 * half, (60, 60, 64))
    _box(picture, x - 0.7 * half, y - 0.1 * half, x - 0.1 * half, y + 0.7 * half, (60, 60, 64))
    _box(picture, x - 0.9 * half, y + 0.6 * half, x + 0.3 * half, y + half, (246, 120, 16))


def _bleach(picture: np.ndarray, x: float, y: float, half: float) -> None:
    _box(picture, x - 0.55 * half, y - 0.5 * half, x + 0.55 * half, y + half, (126, 70, 200))
    _box(picture, x - 0.25 * half, y - half, x + 0.25 * half, y - 0.5 * half, (250, 250, 252))


_DRAW: dict[str, Callable[[np.ndarray, float, float, float], None]] = {
    "ball": _ball,
    "mug": _mug,
    "plant": _plant,
    "duck": _duck,
    "gift": _gift,
    "lamp": _lamp,
    "mustard": _mustard,
    "masterchef": _masterchef,
    "pringles": _pringles,
    "sugarbox": _sugarbox,
    "driller": _driller,
    "bleach": _bleach,
}
TOYS = ("ball", "mug", "plant", "duck", "gift", "lamp")
GROCERIES = ("mustard", "masterchef", "pringles", "sugarbox", "driller", "bleach")
# half width and half height of what is drawn, where it is less than the whole square
_EXTENT = {
    "mustard": (0.5, 1.0),
    "masterchef": (0.7, 1.0),
    "pringles": (0.36, 1.0),
    "sugarbox": (0.6, 1.0),
    "bleach": (0.55, 1.0),
}


def _box(picture: np.ndarray, x0: float, y0: float, x1: float, y1: float, colour: Colour) -> None:
    cv2.fillPoly(picture, [_fixed([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])], colour, cv2.LINE_AA, _SHIFT)


def _disc(picture: np.ndarray, x: float, y: float, across: float, down: float, colour: Colour) -> None:
    scale = 1 << _SHIFT
    centre, axes = (round(x * scale), round(y * scale)), (round(across * scale), round(down * scale))
    cv2.ellipse(picture, centre, axes, 0, 0, 360, colour, -1, cv2.LINE_AA, _SHIFT)


def _fixed(points: list[tuple[float, float]]) -> np.ndarray:
    fixed: np.ndarray = np.rint(np.array(points) * (1 << _SHIFT)).astype(np.int32)
    return fixed
