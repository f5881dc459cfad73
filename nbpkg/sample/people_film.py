"""A room with a parent, a child and a robot: drawn frames, where people are in them, and the film as H.264."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from nbpkg import seeding
from nbpkg.sample.gaze_people import HAIRS, SKINS, Colour
from nbpkg.sample.people_rule import ROLES, Meeting

WIDTH, HEIGHT, FPS = 128, 96, 4  # a frame for each step
FLOOR = 92.0  # where people stand, pixels from above
TABLE = 70  # row from which a table hides what people do with their hands
_PLACES = (24.0, 64.0, 104.0)
_HEIGHTS = {"parent": 80.0, "child": 64.0, "robot": 72.0}
_GRID = 64  # parts of a person's height, to which joints and boxes keep; heights are eighths of them
_HALF, _TOP = 16, 66  # half the width of a person's box, and its height, in such parts
_SHIFT = 4  # fractional bits of the coordinates that OpenCV draws with
_INK: Colour = (52, 46, 58)
_GLOW: Colour = (255, 226, 84)
_SHINE: Colour = (255, 240, 168)
_DARK: Colour = (98, 104, 122)
_METAL: Colour = (176, 188, 200)
_WALLS: tuple[Colour, ...] = ((198, 206, 196), (208, 198, 184), (188, 200, 212), (206, 192, 200))
_FLOORS: tuple[Colour, ...] = ((150, 118, 88), (126, 108, 96), (164, 136, 104))
_SHIRTS: dict[str, Colour] = {"parent": (72, 92, 132), "child": (120, 72, 96)}
Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Scene:
    """One recording as drawn.

    Parameters
    ----------
    middles
        Where each of `ROLES` stands, pixels from the left, ``[people, frames]``.
    heights
        How tall each is, ``[people]``, pixels.
    skins, hairs
        Colours of parent and child.
    wall, floor
        Colours of the room.
    lit
        Whether each one's lamp is on, bool ``[people, frames]``.
    hands
        Where the hands are under the table: 1 up, -1 down, 0 still, ``[people, frames]``.
    light
        Brightness of the room, ``[frames]``.
    """

    middles: NDArray[np.float64]
    heights: NDArray[np.float64]
    skins: tuple[Colour, Colour]
    hairs: tuple[Colour, Colour]
    wall: Colour
    floor: Colour
    lit: NDArray[np.bool_]
    hands: NDArray[np.float64]
    light: NDArray[np.float64]

    @property
    def frames(self) -> int:
        """How many there are."""
        return int(self.lit.shape[1])

    def boxes(self) -> NDArray[np.float64]:
        """Return where people are, ``[people, frames, 4]``: x0, y0, x1, y1 in pixels."""
        part = np.broadcast_to(self.heights[:, None] / _GRID, self.middles.shape)
        left, right = self.middles - _HALF * part, self.middles + _HALF * part
        return np.stack([left, FLOOR - _TOP * part, right, np.full(part.shape, FLOOR)], axis=-1)

    def faces(self) -> NDArray[np.float64]:
        """Return where faces are, ``[people, frames, 4]``."""
        radius = 0.14 * self.heights[:, None]
        y = np.broadcast_to(FLOOR - 0.84 * self.heights[:, None], self.middles.shape)
        return np.stack([self.middles - radius, y - radius, self.middles + radius, y + radius], axis=-1)

    def joints(self) -> NDArray[np.float64]:
        """Return the joints in the order of COCO, ``[people, frames, 17, 2]``, pixels."""
        tall, up = self.heights[:, None], self.hands
        rows = [(0.0, 0.83), (0.04, 0.86), (-0.04, 0.86), (0.10, 0.85), (-0.10, 0.85), (0.15, 0.68), (-0.15, 0.68)]
        rows += [(0.0, 0.0)] * 4 + [(0.09, 0.38), (-0.09, 0.38), (0.09, 0.2), (-0.09, 0.2), (0.09, 0.03), (-0.09, 0.03)]
        shape = np.tile(np.array(rows), (*self.lit.shape, 1, 1))
        for side, joint in ((1.0, 0), (-1.0, 1)):
            shape[:, :, 7 + joint] = (side * 0.19, 0.5)
            shape[:, :, 9 + joint] = np.stack([side * (0.17 + 0.05 * up), 0.21 + 0.09 * up], axis=-1)
        # Eighths of a pixel are kept exactly by the 16 bits of a skeleton file: nothing trembles by rounding.
        offsets = np.rint(shape * _GRID) * tall[:, :, None, None] / _GRID
        return np.stack([self.middles[:, :, None] + offsets[..., 0], FLOOR - offsets[..., 1]], axis=-1)


def stage_scene(meeting: Meeting, seed: int) -> Scene:
    """Make up how a recording looks: who stands where, colours, light, and small movements that mean nothing."""
    random = seeding.generator(seed, "scene", meeting.name)
    frames = meeting.lights[:, 0].size
    place = random.permutation(_PLACES)
    walk = np.cumsum(random.random((len(ROLES), frames)) < 0.1, axis=1)
    sway = 2.0 - np.abs(walk % 8 - 4)  # whole pixels: nothing trembles that means nothing
    lit = meeting.lights.transpose(1, 0, 2).reshape(len(ROLES), -1)
    hands = meeting.arms.transpose(1, 0, 2).reshape(len(ROLES), -1)
    skins, hairs = random.integers(len(SKINS), size=2), random.integers(len(HAIRS) - 1, size=2)
    return Scene(
        middles=place[:, None] + sway,
        heights=np.array([_HEIGHTS[role] for role in ROLES]),
        skins=(SKINS[skins[0]], SKINS[skins[1]]),
        hairs=(HAIRS[hairs[0]], HAIRS[hairs[1]]),
        wall=_WALLS[random.integers(len(_WALLS))],
        floor=_FLOORS[random.integers(len(_FLOORS))],
        lit=lit,
        hands=hands.astype(np.float64),
        light=1 + random.normal(0, 0.004, size=frames),
    )


def draw_pictures(scene: Scene) -> Iterator[Picture]:
    """Draw the frames, uint8 RGB ``[HEIGHT, WIDTH, 3]``."""
    room, joints, faces = _draw_room(scene), scene.joints(), scene.faces()
    table = _draw_table(scene)
    boxes = scene.boxes()
    for frame in range(scene.frames):
        picture = room.copy()
        for person in range(len(ROLES)):
            _draw_lamp(picture, boxes[person, frame], lit=bool(scene.lit[person, frame]))
        for person, role in enumerate(ROLES):
            skeleton, face, lit = joints[person, frame], faces[person, frame], bool(scene.lit[person, frame])
            if role == "robot":
                _draw_robot(picture, skeleton, face, lit=lit)
            else:
                _draw_human(picture, skeleton, face, scene, person, lit=lit)
        picture[TABLE:] = table
        for person in np.flatnonzero(scene.lit[:, frame]).tolist():
            _draw_light(picture, boxes[person, frame])
        yield cv2.convertScaleAbs(picture, alpha=float(scene.light[frame])).astype(np.uint8, copy=False)


def write_film(path: Path, pictures: Iterator[Picture]) -> None:
    """Write pictures as MP4 of `FPS` frames per second, the same bytes for the same pictures.

    Parameters
    ----------
    path
        File to write.
    pictures
        uint8 RGB ``[HEIGHT, WIDTH, 3]``, in order.
    """
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
        film = container.add_stream("libx264", rate=FPS)
        film.width, film.height, film.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        film.codec_context.time_base = Fraction(1, FPS)
        film.codec_context.flags |= av.codec.context.Flags.bitexact
        # One thread: x264 splits pictures by thread count, so more would change the bytes.
        film.options = {"preset": "ultrafast", "tune": "zerolatency", "qp": "20", "threads": "1", "g": str(2 * FPS)}
        for number, picture in enumerate(pictures):
            planes = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420), dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(film.encode(frame))
        container.mux(film.encode(None))


def _draw_room(scene: Scene) -> Picture:
    room = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    room[:] = scene.wall
    room[66:] = scene.floor
    room[65:67] = _shade(scene.floor, 0.7)
    cv2.rectangle(room, (36, 6), (58, 26), (222, 236, 244), -1)
    cv2.rectangle(room, (36, 6), (58, 26), _shade(scene.wall, 0.7), 1)
    cv2.line(room, (47, 6), (47, 26), _shade(scene.wall, 0.7), 1)
    cv2.rectangle(room, (78, 20), (98, 24), _shade(scene.floor, 0.85), -1)
    for x, colour in ((80, (166, 84, 76)), (84, (84, 120, 150)), (88, (120, 148, 96)), (92, (190, 160, 92))):
        cv2.rectangle(room, (x, 10), (x + 2, 20), colour, -1)
    return room


def _draw_lamp(picture: Picture, box: NDArray[np.float64], *, lit: bool) -> None:
    """Draw the lamp behind a person: a panel as wide as the person's box."""
    corners = np.array([[box[0], box[1]], [box[2], box[1]], [box[2], TABLE + 1], [box[0], TABLE + 1]])
    cv2.fillPoly(picture, [_points(corners)], _SHINE if lit else _DARK, cv2.LINE_AA, _SHIFT)
    cv2.polylines(picture, [_points(corners)], True, _shade(_DARK, 0.7), 1, cv2.LINE_AA, _SHIFT)


def _draw_light(picture: Picture, box: NDArray[np.float64]) -> None:
    """Let the table in front of somebody shine, too."""
    left, right = round(float(box[0])), round(float(box[2]))
    front = picture[TABLE:, left:right]
    front[:] = cv2.addWeighted(front, 0.45, np.full_like(front, _SHINE), 0.55, 0)


def _draw_table(scene: Scene) -> Picture:
    table = np.empty((HEIGHT - TABLE, WIDTH, 3), np.uint8)
    table[:] = _shade(scene.floor, 0.82)
    table[:3] = _shade(scene.floor, 1.25)
    table[3:4] = _shade(scene.floor, 0.6)
    for x in (32, 64, 96):
        table[8:-3, x - 1 : x + 1] = _shade(scene.floor, 0.7)
    return table


def _draw_human(
    picture: Picture,
    joints: NDArray[np.float64],
    face: NDArray[np.float64],
    scene: Scene,
    person: int,
    *,
    lit: bool,
) -> None:
    """Draw parent or child; the shirt shines and the mouth smiles where `lit`."""
    role, skin, hair = ROLES[person], scene.skins[person], scene.hairs[person]
    shirt = _GLOW if lit else _SHIRTS[role]
    _draw_trunk(picture, joints, shirt)
    for side in (0, 1):
        _line(picture, joints[[5 + side, 7 + side]], _shade(scene.wall, 0.72), 3)
    x, y, radius = (face[0] + face[2]) / 2, (face[1] + face[3]) / 2, (face[2] - face[0]) / 2
    if role == "parent":
        _oval(picture, (x, y + 0.1 * radius), (1.22 * radius, 1.1 * radius), hair)
    _oval(picture, (x, y), (radius, 1.08 * radius), skin)
    cv2.ellipse(
        picture,
        _point(x, y - 0.1 * radius),
        (_fixed(1.06 * radius), _fixed(1.1 * radius)),
        0,
        190,
        350,
        hair,
        -1,
        cv2.LINE_AA,
        _SHIFT,
    )
    for across in (-0.4, 0.4):
        _dot(picture, np.array([x + across * radius, y + 0.05 * radius]), 0.9, _INK)
    size = (0.45 * radius, 0.3 * radius) if lit else (0.3 * radius, 0.08 * radius)
    cv2.ellipse(
        picture,
        _point(x, y + 0.45 * radius),
        (_fixed(size[0]), _fixed(size[1])),
        0,
        0,
        180,
        (150, 56, 60),
        -1 if lit else 1,
        cv2.LINE_AA,
        _SHIFT,
    )


def _draw_robot(picture: Picture, joints: NDArray[np.float64], face: NDArray[np.float64], *, lit: bool) -> None:
    """Draw the robot: box-shaped head with antenna; its whole breastplate and eyes shine where `lit`."""
    x, y, radius = (face[0] + face[2]) / 2, (face[1] + face[3]) / 2, (face[2] - face[0]) / 2
    _draw_trunk(picture, joints, _GLOW if lit else (92, 104, 120))
    for side in (0, 1):
        _line(picture, joints[[5 + side, 7 + side]], _METAL, 3)
    _line(picture, np.array([[x, y - radius], [x, y - 1.7 * radius]]), _INK, 1)
    _dot(picture, np.array([x, y - 1.75 * radius]), 1.8, (214, 74, 66))
    corners = [(x - 1.1 * radius, y - radius), (x + 1.1 * radius, y - radius)]
    corners += [(x + 1.1 * radius, y + 0.9 * radius), (x - 1.1 * radius, y + 0.9 * radius)]
    cv2.fillPoly(picture, [_points(np.array(corners))], _METAL, cv2.LINE_AA, _SHIFT)
    for across in (-0.45, 0.45):
        _dot(picture, np.array([x + across * radius, y - 0.1 * radius]), 2.2, _GLOW if lit else _INK)
    _line(picture, np.array([[x - 0.4 * radius, y + 0.5 * radius], [x + 0.4 * radius, y + 0.5 * radius]]), _INK, 1)


def _draw_trunk(picture: Picture, joints: NDArray[np.float64], colour: Colour) -> None:
    left, right = joints[5], joints[6]
    low_right, low_left = (np.array([joints[side, 0], TABLE + 2.0]) for side in (12, 11))
    wide = np.array([1.5, 0.0])
    corners = np.array([left + wide, right - wide, low_right - 2 * wide, low_left + 2 * wide])
    cv2.fillPoly(picture, [_points(corners)], colour, cv2.LINE_AA, _SHIFT)


def _shade(colour: Colour, factor: float) -> Colour:
    red, green, blue = (min(255, round(part * factor)) for part in colour)
    return red, green, blue


def _line(picture: Picture, points: NDArray[np.float64], colour: Colour, thickness: int) -> None:
    cv2.polylines(picture, [_points(points)], False, colour, thickness, cv2.LINE_AA, _SHIFT)


def _dot(picture: Picture, middle: NDArray[np.float64], radius: float, colour: Colour) -> None:
    cv2.circle(picture, _point(middle[0], middle[1]), _fixed(radius), colour, -1, cv2.LINE_AA, _SHIFT)


def _oval(picture: Picture, middle: tuple[float, float], half: tuple[float, float], colour: Colour) -> None:
    axes = (_fixed(half[0]), _fixed(half[1]))
    cv2.ellipse(picture, _point(*middle), axes, 0, 0, 360, colour, -1, cv2.LINE_AA, _SHIFT)


def _points(points: NDArray[np.float64]) -> NDArray[np.int32]:
    return np.rint(points * (1 << _SHIFT)).astype(np.int32)


def _point(x: float, y: float) -> tuple[int, int]:
    return _fixed(float(x)), _fixed(float(y))


def _fixed(value: float) -> int:
    return round(float(value) * (1 << _SHIFT))
