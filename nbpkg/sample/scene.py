"""A small animation kit: layers of simple shapes over time, a camera, and the room they are seen in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

Colour = tuple[int, int, int]  # red, green, blue
WIDTH, HEIGHT = 320, 180
SUPERSAMPLING = 3
_SHIFT = 4  # fractional bits of the coordinates that OpenCV draws with
TABLE_Y = 133.0


@dataclass(frozen=True)
class Camera:
    """Where the camera stands: world units (of 320 × 180) to pixels.

    Parameters
    ----------
    zoom
        Pixels per world unit.
    shift_x, shift_y
        Displacement in pixels.
    """

    zoom: float = 1.0
    shift_x: float = 0.0
    shift_y: float = 0.0

    def to_pixels(self, points: np.ndarray) -> np.ndarray:
        """Map world points, shape [..., 2], to pixels; the zoom keeps the picture's centre."""
        centre = np.array([WIDTH, HEIGHT]) / 2
        pixels: np.ndarray = (points - centre) * self.zoom + centre + np.array([self.shift_x, self.shift_y])
        return pixels


@dataclass
class Layer:
    """One shape over time, in world units.

    Parameters
    ----------
    kind
        ``oval`` (points: its centre), ``stroke`` (a thick line through points) or ``area`` (a filled outline).
    points
        Shape [frames, points, 2].
    colour
        Fill colour.
    size
        Half axes of an oval, shape [frames, 2]; thickness of a stroke, one number.
    angle
        Rotation of an oval in degrees, shape [frames]; None for upright.
    visible
        Frames that show it, shape [frames]; None for all.
    """

    kind: str
    points: np.ndarray
    colour: Colour
    size: np.ndarray | float = 0.0
    angle: np.ndarray | None = None
    visible: np.ndarray | None = None


@dataclass
class Stack:
    """Layers from back to front, with the table between those behind it and those on it."""

    frames: int
    behind: list[Layer] = field(default_factory=list)
    front: list[Layer] = field(default_factory=list)


def oval(
    centre: np.ndarray,
    half_axes: Sequence[float] | np.ndarray,
    colour: Colour,
    *,
    angle: np.ndarray | None = None,
    visible: np.ndarray | None = None,
) -> Layer:
    """Make a filled oval; `half_axes` is one pair or shape [frames, 2]."""
    size = np.broadcast_to(np.asarray(half_axes, dtype=float), centre.shape).copy()
    return Layer("oval", centre[:, None, :], colour, size, angle, visible)


def stroke(points: np.ndarray, thickness: float, colour: Colour, *, visible: np.ndarray | None = None) -> Layer:
    """Make a thick line with round ends through points of shape [frames, points, 2]."""
    return Layer("stroke", points, colour, thickness, visible=visible)


def area(points: np.ndarray, colour: Colour, *, visible: np.ndarray | None = None) -> Layer:
    """Make a filled outline through points of shape [frames, points, 2]."""
    return Layer("area", points, colour, visible=visible)


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Blend two colours; `share` is that of the second, 0 .. 1."""
    return tuple(round(a + (b - a) * share) for a, b in zip(first, second, strict=True))  # type: ignore[return-value]


def render(stack: Stack, backdrop: np.ndarray, camera: Camera, *, light: float) -> Iterator[np.ndarray]:
    """Draw all frames.

    Parameters
    ----------
    stack
        What moves.
    backdrop
        The empty room, shape [HEIGHT, WIDTH, 3], uint8, see `room.draw_room`.
    camera
        The camera that `backdrop` was drawn with.
    light
        Brightness of the figures, 1.0 for neutral.

    Yields
    ------
    numpy.ndarray
        Shape [HEIGHT, WIDTH, 3], uint8, red green blue; the array is used again for the next frame.
    """
    behind = [_compile(layer, camera, light) for layer in stack.behind]
    front = [_compile(layer, camera, light) for layer in stack.front]
    row = int(np.clip(round(float(camera.to_pixels(np.array([0.0, TABLE_Y]))[1])), 0, HEIGHT))
    picture = backdrop.copy()
    for frame in range(stack.frames):
        picture[:row] = backdrop[:row]
        for layer in behind:
            _draw(picture, layer, frame)
        picture[row:] = backdrop[row:]
        for layer in front:
            _draw(picture, layer, frame)
        yield picture


_Compiled = tuple[str, Colour, list, list, list | None, list | None]


def _compile(layer: Layer, camera: Camera, light: float) -> _Compiled:
    """Bring a layer into the fixed-point numbers OpenCV wants, so that the frame loop only draws."""
    fixed = np.rint(camera.to_pixels(layer.points) * 2**_SHIFT).astype(np.int32)
    colour = tuple(min(255, round(value * light)) for value in layer.colour)
    visible = None if layer.visible is None else layer.visible.tolist()
    if layer.kind == "oval":
        half_axes = np.rint(np.maximum(layer.size, 0.3) * camera.zoom * 2**_SHIFT).astype(int)
        angle = None if layer.angle is None else layer.angle.tolist()
        return "oval", colour, fixed[:, 0].tolist(), half_axes.tolist(), angle, visible  # type: ignore[return-value]
    if layer.kind == "stroke":
        thickness = max(1, round(float(layer.size) * camera.zoom))
        return "stroke", colour, list(fixed), [thickness], None, visible  # type: ignore[return-value]
    return "area", colour, list(fixed), [], None, visible  # type: ignore[return-value]


def _draw(picture: np.ndarray, compiled: _Compiled, frame: int) -> None:
    kind, colour, points, size, angle, visible = compiled
    if visible is not None and not visible[frame]:
        return
    if kind == "oval":
        half_axes = size[frame]
        if half_axes[0] == half_axes[1]:
            cv2.circle(picture, points[frame], half_axes[0], colour, -1, cv2.LINE_AA, _SHIFT)
        else:
            turned = angle[frame] if angle else 0.0
            cv2.ellipse(picture, points[frame], half_axes, turned, 0, 360, colour, -1, cv2.LINE_AA, _SHIFT)
    elif kind == "stroke":
        cv2.polylines(picture, [points[frame]], False, colour, size[0], cv2.LINE_AA, _SHIFT)
    else:
        cv2.fillPoly(picture, [points[frame]], colour, cv2.LINE_AA, _SHIFT)
