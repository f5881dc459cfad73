"""People whose heads show where they look: a painted ball, turned in three dimensions, with nose, ears and a cap."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

Colour = tuple[int, int, int]  # red, green, blue
SKINS: tuple[Colour, ...] = ((250, 216, 190), (238, 194, 160), (220, 168, 126), (180, 126, 88), (138, 92, 64))
HAIRS: tuple[Colour, ...] = ((48, 38, 36), (88, 56, 40), (132, 84, 48), (206, 164, 92), (120, 116, 116))
SHIRTS: tuple[Colour, ...] = (
    (112, 128, 148),
    (146, 124, 110),
    (120, 142, 124),
    (150, 136, 160),
    (164, 152, 128),
    (96, 112, 124),
)
HAIRCUTS = ("short", "long", "bun")
ASPECT = 1.2  # height of a head over its width
_SIZE = (96, 192)  # rows (latitude) and columns (longitude) of the painted ball
_INK: Colour = (46, 36, 38)
_WHITE: Colour = (252, 250, 246)
_LIPS: Colour = (172, 70, 66)
_CAP_FRONT: Colour = (40, 190, 190)  # the colours of the cap are on nothing else
_CAP_BACK: Colour = (24, 40, 84)
_VISOR: Colour = (70, 240, 232)
_SHIFT = 4  # fractional bits of the coordinates that OpenCV draws with
_HAIRLINE = {
    "short": ((-180, 40), (-112, 40), (-96, -2), (-72, -10), (-58, -40), (0, -50)),
    "long": ((-180, 78), (-96, 78), (-80, 30), (-66, -8), (-48, -38), (0, -50)),
    "bun": ((-180, 22), (-112, 22), (-92, -14), (-66, -34), (-30, -52), (0, -56)),
}


@dataclass(frozen=True)
class Look:
    """What a person looks like: colours, and the haircut, one of `HAIRCUTS`."""

    skin: Colour
    hair: Colour
    shirt: Colour
    haircut: str


@dataclass(frozen=True)
class Head:
    """A head in one frame.

    Parameters
    ----------
    x, y
        Its middle, pixels.
    radius
        Half its width, pixels.
    direction
        Unit vector of where the face points: right, down, towards the camera.
    """

    x: float
    y: float
    radius: float
    direction: tuple[float, float, float]

    def box(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Return the head box ``x0 y0 x1 y1`` in whole pixels, inside a frame of this size."""
        across, down = 1.12 * self.radius, 1.06 * ASPECT * self.radius
        x0, y0 = max(0, int(self.x - across)), max(0, int(self.y - down))
        return x0, y0, min(width, int(np.ceil(self.x + across))), min(height, int(np.ceil(self.y + down)))


def draw_look(random: np.random.Generator) -> Look:
    """Draw what a person looks like."""
    return Look(
        SKINS[random.integers(len(SKINS))],
        HAIRS[random.integers(len(HAIRS))],
        SHIRTS[random.integers(len(SHIRTS))],
        HAIRCUTS[random.integers(len(HAIRCUTS))],
    )


def draw_body(picture: np.ndarray, head: Head, look: Look) -> None:
    """Draw neck and body down to the lower edge, uint8 RGB ``[H, W, 3]``, in place."""
    radius, lean = head.radius, 0.35 * head.radius * head.direction[0]
    bottom, shoulder = picture.shape[0], head.y + 2.25 * radius
    neck = [(head.x - 0.42 * radius, head.y + 0.5 * radius), (head.x + 0.42 * radius, head.y + 0.5 * radius)]
    neck += [(head.x - lean + 0.5 * radius, shoulder), (head.x - lean - 0.5 * radius, shoulder)]
    cv2.fillPoly(picture, [_fixed(neck)], _shade(look.skin, 0.82), cv2.LINE_AA, _SHIFT)
    middle = head.x - lean
    corners = [
        (middle - 0.7 * radius, shoulder - 0.75 * radius),
        (middle + 0.7 * radius, shoulder - 0.75 * radius),
        (middle + 1.75 * radius, shoulder - 0.1 * radius),
        (middle + 2.1 * radius, bottom + 2.0),
        (middle - 2.1 * radius, bottom + 2.0),
        (middle - 1.75 * radius, shoulder - 0.1 * radius),
    ]
    cv2.fillPoly(picture, [_fixed(corners)], look.shirt, cv2.LINE_AA, _SHIFT)
    collar = [corners[0], (middle, shoulder - 0.1 * radius), corners[1]]
    cv2.fillPoly(picture, [_fixed(collar)], _shade(look.skin, 0.82), cv2.LINE_AA, _SHIFT)


def draw_head(picture: np.ndarray, head: Head, look: Look) -> None:
    """Draw a turned head, uint8 RGB ``[H, W, 3]``, in place."""
    turn = turn_to(head.direction)
    if look.haircut == "bun":
        _draw_bun(picture, head, look, turn)
    nose_behind = turn[2, 2] < -0.15
    if nose_behind:
        _draw_nose(picture, head, look, turn)
        _draw_visor(picture, head, turn)
    _draw_ball(picture, head, look, turn)
    if look.haircut != "long":
        _draw_ears(picture, head, look, turn)
    if not nose_behind:
        _draw_nose(picture, head, look, turn)
        _draw_visor(picture, head, turn)


def turn_to(direction: tuple[float, float, float]) -> np.ndarray:
    """Return the rotation ``[3, 3]`` whose columns are the head's own right, down and forward, as the camera sees them.

    Examples
    --------
    >>> turn_to((0.0, 0.0, 1.0)).round().astype(int).tolist()
    [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    """
    forward = np.asarray(direction, dtype=float)
    forward /= np.linalg.norm(forward)
    right = np.cross([0.0, 1.0, 0.0], forward)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(forward, right), forward], axis=1)


def _draw_ball(picture: np.ndarray, head: Head, look: Look, turn: np.ndarray) -> None:
    """Look up each pixel of the head on the painted ball; its edge is blended with what is there."""
    reach_x, reach_y = head.radius + 1, ASPECT * head.radius + 1
    x0, x1 = max(0, int(head.x - reach_x)), min(picture.shape[1], int(head.x + reach_x) + 2)
    y0, y1 = max(0, int(head.y - reach_y)), min(picture.shape[0], int(head.y + reach_y) + 2)
    columns, rows = np.meshgrid(np.arange(x0, x1) - head.x, np.arange(y0, y1) - head.y)
    across, down = columns / head.radius, rows / (ASPECT * head.radius)
    distance = np.sqrt(across**2 + down**2)
    inner = np.minimum(1.0, 0.999 / np.maximum(distance, 1e-6))
    normal = np.stack([across * inner, down * inner], axis=-1)
    normal = np.concatenate([normal, np.sqrt(1 - (normal**2).sum(axis=-1, keepdims=True))], axis=-1)
    local = normal @ turn
    u = (np.arctan2(local[..., 0], local[..., 2]) / (2 * np.pi) + 0.5) * _SIZE[1] - 0.5
    v = (np.arcsin(np.clip(local[..., 1], -1, 1)) / np.pi + 0.5) * _SIZE[0] - 0.5
    paint = cv2.remap(_paint(look), u.astype(np.float32), v.astype(np.float32), cv2.INTER_LINEAR, None, cv2.BORDER_WRAP)
    colour = paint * (0.72 + 0.28 * normal[..., 2:])
    cover = np.clip((1 - distance) * head.radius + 0.5, 0, 1)[..., None]
    place = picture[y0:y1, x0:x1]
    place[:] = np.rint(cover * colour + (1 - cover) * place).astype(np.uint8)


@cache
def _paint(look: Look) -> np.ndarray:
    """Paint face and hair on a map of longitude and latitude, face in the middle, float32 ``[rows, columns, 3]``."""
    map_ = np.full((*_SIZE, 3), look.skin, dtype=np.uint8)
    for side in (-1, 1):
        _oval(map_, (side * 40, 24), (13, 9), _mix(look.skin, (226, 110, 96), 0.35))
        _oval(map_, (side * 24, -6), (14, 10), _WHITE)
        _oval(map_, (side * 23, -5), (7, 8), _INK)
        cv2.line(map_, _texel(side * 12, -22), _texel(side * 38, -21), _mix(look.hair, _INK, 0.4), 2, cv2.LINE_AA)
    _oval(map_, (0, 40), (19, 6), _LIPS)
    left = [_texel(*point) for point in _HAIRLINE[look.haircut]]
    right = [_texel(-longitude, latitude) for longitude, latitude in reversed(_HAIRLINE[look.haircut][:-1])]
    edge = [*left, *right, (_SIZE[1], 0), (0, 0)]
    cv2.fillPoly(map_, [np.array(edge, dtype=np.int32)], look.hair, cv2.LINE_AA)
    _paint_cap(map_)
    return cv2.GaussianBlur(map_, (0, 0), 0.9).astype(np.float32)


def _paint_cap(map_: np.ndarray) -> None:
    """Paint a cap over the upper part of the ball, lower at the nape, its front half bright and its back half dark."""
    across = (np.arange(_SIZE[1]) + 0.5) / _SIZE[1] * 360 - 180
    down = ((np.arange(_SIZE[0]) + 0.5) / _SIZE[0] * 180 - 90)[:, None]
    covered = down < -24 + 24 * np.clip((np.abs(across) - 70) / 50, 0, 1)
    front = np.cos(np.radians(down)) * np.cos(np.radians(across)) >= -0.1
    map_[covered & front] = _CAP_FRONT
    map_[covered & ~front] = _CAP_BACK


def _draw_visor(picture: np.ndarray, head: Head, turn: np.ndarray) -> None:
    """Draw the visor of the cap, darker as seen from below."""
    angle = np.linspace(-1.25, 1.25, 9)
    sine, cosine, flat = np.sin(angle), np.cos(angle), np.ones(9)
    inner = np.stack([0.92 * sine, -0.38 * flat, 0.92 * cosine], axis=1)
    outer = np.stack([0.95 * sine, -0.3 * flat, 0.3 + 1.55 * cosine], axis=1)
    from_above = turn[2] @ [0.0, -1.0, 0.05] > 0
    edge = _project(np.concatenate([inner, outer[::-1]]), head, turn)
    cv2.fillPoly(picture, [_fixed(edge)], _VISOR if from_above else _shade(_VISOR, 0.8), cv2.LINE_AA, _SHIFT)


def _draw_nose(picture: np.ndarray, head: Head, look: Look, turn: np.ndarray) -> None:
    local = np.array([[0, -0.08, 0.98], [-0.2, 0.26, 0.94], [0, 0.24, 1.42], [0.2, 0.26, 0.94]])
    root, left, tip, right = _project(local, head, turn)
    colour = _shade(look.skin, 0.86)
    cv2.fillPoly(picture, [_fixed([root, left, tip])], colour, cv2.LINE_AA, _SHIFT)
    cv2.fillPoly(picture, [_fixed([root, tip, right])], _shade(look.skin, 0.94), cv2.LINE_AA, _SHIFT)
    cv2.fillPoly(picture, [_fixed([left, tip, right])], _shade(look.skin, 0.7), cv2.LINE_AA, _SHIFT)


def _draw_ears(picture: np.ndarray, head: Head, look: Look, turn: np.ndarray) -> None:
    for side in (-1, 1):
        local = np.array([[side * 1.0, 0.02, -0.05]])
        if (local @ turn.T)[0, 2] > -0.45:
            middle = _project(local, head, turn)[0]
            axes = (max(1.0, 0.2 * head.radius), max(1.5, 0.3 * head.radius))
            _ellipse(picture, middle, axes, _shade(look.skin, 0.78))


def _draw_bun(picture: np.ndarray, head: Head, look: Look, turn: np.ndarray) -> None:
    middle = _project(np.array([[0.0, -0.62, -0.95]]), head, turn)[0]
    _ellipse(picture, middle, (0.42 * head.radius, 0.42 * head.radius), look.hair)


def _project(local: np.ndarray, head: Head, turn: np.ndarray) -> list[tuple[float, float]]:
    """Bring points of the head's own frame, in radii, to pixels."""
    seen = local @ turn.T * head.radius
    return [(head.x + across, head.y + ASPECT * down) for across, down in seen[:, :2].tolist()]


def _texel(longitude: float, latitude: float) -> tuple[int, int]:
    return round((longitude / 360 + 0.5) * _SIZE[1]), round((latitude / 180 + 0.5) * _SIZE[0])


def _oval(map_: np.ndarray, middle: tuple[float, float], axes: tuple[float, float], colour: Colour) -> None:
    """Draw an oval given in degrees."""
    x, y = (middle[0] / 360 + 0.5) * _SIZE[1], (middle[1] / 180 + 0.5) * _SIZE[0]
    _ellipse(map_, (x, y), (axes[0] / 360 * _SIZE[1], axes[1] / 180 * _SIZE[0]), colour)


def _ellipse(picture: np.ndarray, middle: tuple[float, float], axes: tuple[float, float], colour: Colour) -> None:
    scale = 1 << _SHIFT
    centre = (round(middle[0] * scale), round(middle[1] * scale))
    half = (round(axes[0] * scale), round(axes[1] * scale))
    cv2.ellipse(picture, centre, half, 0, 0, 360, colour, -1, cv2.LINE_AA, _SHIFT)


def _fixed(points: list[tuple[float, float]]) -> np.ndarray:
    fixed: np.ndarray = np.rint(np.array(points) * (1 << _SHIFT)).astype(np.int32)
    return fixed


def _shade(colour: Colour, factor: float) -> Colour:
    return tuple(min(255, round(value * factor)) for value in colour)  # type: ignore[return-value]


def _mix(one: Colour, other: Colour, share: float) -> Colour:
    return tuple(round(a + (b - a) * share) for a, b in zip(one, other, strict=True))  # type: ignore[return-value]
