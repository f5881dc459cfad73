"""Heads that turn: eyes, brows, nose, mouth and ears on an egg that is turned and then drawn."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from nbpkg.sample.figures import HAIRS, SHIRTS, SKINS

Colour = tuple[int, int, int]  # red, green, blue
Picture = NDArray[np.uint8]
_INK: Colour = (44, 36, 44)
_WHITE: Colour = (250, 250, 246)
_LIPS: Colour = (164, 70, 76)
_SHIFT = 4  # fractional bits of the coordinates that OpenCV draws with
_WIDE, _HIGH = 0.94, 1.12  # half axes of the head, in half widths of its box
_BLUR = 1.0  # spread of a blur in half widths of the face; at 0.6 the yaw can still be guessed from it
_SEEN = 0.12  # depth from which a part of the face is drawn


@dataclass(frozen=True)
class Look:
    """Colours of a person."""

    skin: Colour
    hair: Colour
    shirt: Colour


@dataclass(frozen=True)
class Head:
    """Where a head is and how it is turned: pixels and degrees, as in `looking_plan.Person`."""

    x: float
    y: float
    half: float
    yaw: float
    pitch: float
    roll: float


def dress(who: int) -> Look:
    """Choose the looks with a number."""
    skin = SKINS[who % len(SKINS)]
    dark = (HAIRS[1], (40, 34, 36))
    hairs = HAIRS if sum(skin) > 600 else dark
    return Look(skin, hairs[who // 7 % len(hairs)], SHIRTS[who // 11 % len(SHIRTS)])


def locate_points(head: Head) -> NDArray[np.float64]:
    """Return the five points of MediaPipe's order, ``[5, 4]``: x, y (pixels), depth and how visible each is, 0 .. 1.

    Nose, left and right eye, left and right corner of the mouth; left and right are the person's.
    """
    turned = _rotate(_POINTS, head)
    seen = np.clip(0.55 + 0.9 * (turned[:, 2] - 0.3), 0.05, 0.99)
    return np.column_stack([_to_pixels(turned, head), -turned[:, 2], seen])


def draw_person(picture: Picture, head: Head, look: Look) -> None:
    """Draw head and shoulders."""
    _draw_shoulders(picture, head, look)
    parts = {name: _rotate(points, head) for name, points in _PARTS.items()}
    shade = _shade(look.skin, 0.8)
    _oval(picture, (head.x, head.y - 0.06 * head.half), (1.04 * head.half, 1.16 * head.half), head.roll, look.hair)
    ears = [parts["left ear"], parts["right ear"]]
    for ear in ears:
        _patch(picture, ear, head, shade)
    _oval(picture, (head.x, head.y), (_WIDE * head.half, _HIGH * head.half), head.roll, look.skin)
    for ear in ears:
        if ear[:, 2].mean() > _SEEN:
            _patch(picture, ear, head, shade)
    fringe = np.column_stack([_to_pixels(_FRINGE, head)])
    cv2.fillPoly(picture, [_points(fringe)], look.hair, cv2.LINE_AA, _SHIFT)
    for side in ("left", "right"):
        if parts[f"{side} eye"][:, 2].mean() > _SEEN:
            _patch(picture, parts[f"{side} eye"], head, _WHITE)
            _patch(picture, parts[f"{side} pupil"], head, _INK)
            _patch(picture, parts[f"{side} brow"], head, _shade(look.hair, 0.8))
    _patch(picture, parts["mouth"], head, _LIPS)
    _patch(picture, parts["nose"], head, shade)


def blur_face(picture: Picture, head: Head) -> None:
    """Put a face out of focus, so far that its eyes run into each other."""
    reach = np.array([1.9, 2.2]) * head.half
    middle = np.array([head.x, head.y])
    size = np.array(picture.shape[1::-1])
    left, top = np.clip(np.floor(middle - reach), 0, size).astype(int).tolist()
    right, bottom = np.clip(np.ceil(middle + reach), 0, size).astype(int).tolist()
    if right - left < 4 or bottom - top < 4:
        return
    part = picture[top:bottom, left:right]
    # On a quarter of the pixels each way: so wide a blur is slow otherwise, and looks the same.
    coarse = cv2.resize(part, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    coarse = cv2.GaussianBlur(coarse, (0, 0), _BLUR * head.half / 4)
    soft = cv2.resize(coarse, (right - left, bottom - top), interpolation=cv2.INTER_LINEAR)
    mask = np.zeros(part.shape[:2], np.float32)
    inner = np.array([1.35, 1.6]) * head.half
    low = np.rint(middle - inner - (left, top)).astype(int).tolist()
    high = np.rint(middle + inner - (left, top)).astype(int).tolist()
    cv2.rectangle(mask, low, high, 1.0, -1)
    mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), 0.12 * head.half), dtype=np.float32)[..., None]
    part[:] = np.rint(part + mask * (np.asarray(soft, dtype=np.float32) - part)).astype(np.uint8)


def _draw_shoulders(picture: Picture, head: Head, look: Look) -> None:
    x, y, half = head.x, head.y, head.half
    _oval(picture, (x, y + 1.2 * half), (0.42 * half, 0.6 * half), 0.0, _shade(look.skin, 0.86))
    _oval(picture, (x, y + 2.9 * half), (1.75 * half, 1.5 * half), 0.0, look.shirt)
    cv2.rectangle(
        picture,
        _point(x - 1.75 * half, y + 2.9 * half),
        _point(x + 1.75 * half, y + 8 * half),
        look.shirt,
        -1,
        cv2.LINE_AA,
        _SHIFT,
    )


def _rotate(points: NDArray[np.float64], head: Head) -> NDArray[np.float64]:
    """Turn points of the head, ``[n, 3]``: x to the picture's right, y down, z to the camera."""
    yaw, pitch = np.deg2rad([head.yaw, head.pitch])
    nod = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    shake = np.array([[np.cos(yaw), 0, -np.sin(yaw)], [0, 1, 0], [np.sin(yaw), 0, np.cos(yaw)]])
    turned: NDArray[np.float64] = points @ (shake @ nod).T
    return turned


def _to_pixels(points: NDArray[np.float64], head: Head) -> NDArray[np.float64]:
    """Put turned points into the picture, ``[n, 2]``: tilted by the roll, which keeps all in the picture's plane."""
    roll = np.deg2rad(head.roll)
    x, y = _WIDE * head.half * points[:, 0], _HIGH * head.half * points[:, 1]
    across, down = x * np.cos(roll) - y * np.sin(roll), x * np.sin(roll) + y * np.cos(roll)
    return np.stack([head.x + across, head.y + down], axis=-1)


def _patch(picture: Picture, turned: NDArray[np.float64], head: Head, colour: Colour) -> None:
    cv2.fillPoly(picture, [_points(_to_pixels(turned, head))], colour, cv2.LINE_AA, _SHIFT)


def _on_head(across: NDArray[np.float64], up: NDArray[np.float64], *, out: float = 1.0) -> NDArray[np.float64]:
    """Points of the unit ball by degrees to the picture's right and up, ``[n, 3]``."""
    a, e = np.deg2rad(across), np.deg2rad(up)
    return out * np.stack([np.sin(a) * np.cos(e), -np.sin(e), np.cos(a) * np.cos(e)], axis=-1)


def _ring(across: float, up: float, wide: float, high: float) -> NDArray[np.float64]:
    """Return an oval on the head, degrees."""
    turn = 2 * np.pi * np.arange(14) / 14
    return _on_head(across + wide * np.cos(turn), up + high * np.sin(turn))


def _nose() -> NDArray[np.float64]:
    bridge = _on_head(np.array([-3.0, 3.0]), np.array([8.0, 8.0]), out=1.02)
    wings = _on_head(np.array([10.0, -10.0]), np.array([-14.0, -14.0]), out=1.06)
    tip = _on_head(np.array([0.0]), np.array([-13.0]), out=1.24)
    return np.concatenate([bridge, wings[:1], tip, wings[1:]])


def _brow(across: float) -> NDArray[np.float64]:
    x = across + np.array([-12.0, 0.0, 12.0, 12.0, 0.0, -12.0])
    return _on_head(x, np.array([25.0, 28.0, 25.0, 22.0, 24.0, 22.0]))


def _cap() -> NDArray[np.float64]:
    """Return the hair over the forehead; it does not turn with the head, or a blur would betray the yaw."""
    turn = np.deg2rad(np.linspace(205, 335, 16))
    return np.stack([1.06 * np.cos(turn), 1.02 * np.sin(turn), np.zeros(16)], axis=-1)


# The person's left eye is at the picture's right.
_PARTS: dict[str, NDArray[np.float64]] = {
    "left eye": _ring(25.0, 10.0, 11.5, 8.0),
    "right eye": _ring(-25.0, 10.0, 11.5, 8.0),
    "left pupil": _ring(25.0, 10.0, 5.5, 6.5),
    "right pupil": _ring(-25.0, 10.0, 5.5, 6.5),
    "left brow": _brow(25.0),
    "right brow": _brow(-25.0),
    "left ear": _ring(92.0, 2.0, 13.0, 15.0),
    "right ear": _ring(-92.0, 2.0, 13.0, 15.0),
    "mouth": _ring(0.0, -37.0, 20.0, 5.5),
    "nose": _nose(),
}
_POINTS = np.concatenate(
    [
        _on_head(np.array([0.0]), np.array([-13.0]), out=1.24),
        _on_head(np.array([25.0, -25.0, 20.0, -20.0]), np.array([10.0, 10.0, -37.0, -37.0])),
    ]
)
_FRINGE = _cap()


def _shade(colour: Colour, factor: float) -> Colour:
    red, green, blue = (min(255, round(part * factor)) for part in colour)
    return red, green, blue


def _oval(
    picture: Picture, middle: tuple[float, float], half: tuple[float, float], turn: float, colour: Colour
) -> None:
    axes = (_fixed(half[0]), _fixed(half[1]))
    cv2.ellipse(picture, _point(*middle), axes, turn, 0, 360, colour, -1, cv2.LINE_AA, _SHIFT)


def _points(points: NDArray[np.float64]) -> NDArray[np.int32]:
    return np.rint(points * (1 << _SHIFT)).astype(np.int32)


def _point(x: float, y: float) -> tuple[int, int]:
    return _fixed(x), _fixed(y)


def _fixed(value: float) -> int:
    return round(float(value) * (1 << _SHIFT))
