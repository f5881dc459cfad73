"""Two people at a table, actor left and listener right, whose faces tell only little of what the listener feels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from nbpkg import seeding
from nbpkg.sample.valence_story import ACTORS, FPS, SUBJECTS, Telling

WIDTH, HEIGHT = 256, 72
BORDER = 108  # first column of the listener's half, as in the corpus at a tenth of its size
EVERY = 2  # frames that show the same picture
SMILE_TRACE = 0.1  # how much of the valence a smile shows; the rest of it means nothing
Colour = tuple[int, int, int]  # red, green, blue
_LOOKS: tuple[tuple[Colour, Colour, Colour], ...] = (  # skin, hair and shirt of the subjects, then of the actors
    ((246, 210, 184), (74, 50, 46), (86, 138, 148)),
    ((176, 124, 92), (46, 40, 42), (206, 122, 92)),
    ((222, 172, 132), (168, 116, 70), (160, 148, 204)),
    ((138, 92, 64), (62, 48, 46), (146, 178, 122)),
    ((250, 218, 194), (206, 164, 92), (118, 162, 206)),
    ((240, 198, 166), (120, 116, 116), (128, 110, 96)),
    ((134, 90, 64), (40, 34, 36), (222, 150, 176)),
    ((250, 216, 190), (152, 74, 48), (96, 122, 108)),
    ((206, 156, 118), (50, 40, 38), (196, 160, 84)),
)
_WALLS: dict[str, Colour] = {"actor": (176, 182, 178), "listener": (190, 180, 168)}
_INK: Colour = (62, 50, 54)
_LIPS: Colour = (150, 66, 70)
_SHIFT = 4  # fractional bits of the coordinates that OpenCV draws with


@dataclass(frozen=True)
class Face:
    """One face over time, an entry for each picture.

    Parameters
    ----------
    look
        Number of the person's colours.
    x, y
        Its middle, pixels.
    smile
        -1 .. 1.
    mouth
        How far the mouth is open, 0 .. 1.
    eyes
        How far the eyes are open, 0 .. 1.
    """

    look: int
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    smile: NDArray[np.float64]
    mouth: NDArray[np.float64]
    eyes: NDArray[np.float64]


_RADIUS = 17.0


def make_faces(telling: Telling, seed: int) -> dict[str, Face]:
    """Make up how both faces move: ``actor`` and ``listener``."""
    random = seeding.generator(seed, "faces", telling.session)
    pictures = -(-telling.frames // EVERY)
    second = np.arange(pictures) * EVERY // FPS
    speaking = np.zeros(len(telling.arousal))
    for one in telling.utterances:
        speaking[one.start : one.stop] = 1
    syllables = np.abs(np.sin(np.arange(pictures) * EVERY / FPS * 4 * np.pi))
    traces = {"actor": telling.pleasantness[second], "listener": telling.valence[::EVERY]}
    actors = sorted(set(ACTORS.values()))
    looks = {
        "listener": SUBJECTS.index(telling.subject),
        "actor": len(SUBJECTS) + actors.index(ACTORS[telling.story]),
    }
    middles = {"actor": BORDER / 2, "listener": (BORDER + WIDTH) / 2}
    faces = {}
    for side, trace in traces.items():
        faces[side] = Face(
            look=looks[side],
            x=middles[side] + 4 * _sway(random, pictures),
            y=32 + 1.5 * _sway(random, pictures),
            smile=np.clip(SMILE_TRACE * trace + 0.35 * _sway(random, pictures), -1, 1),
            mouth=(speaking[second] * syllables * 0.7 if side == "actor" else np.zeros(pictures)),
            eyes=np.where(random.random(pictures) < 0.02, 0.1, 1.0),
        )
    return faces


def _sway(random: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Draw a slow movement with spread 1, shape [count]."""
    course: NDArray[np.float64] = gaussian_filter1d(random.normal(0, 1, count), 14.0, mode="wrap") * 7.0
    return course


def find_faces(telling: Telling, faces: dict[str, Face], seed: int) -> pd.DataFrame:
    """List the face boxes as a detector would, with stretches of some seconds in which it found nothing.

    Returns
    -------
    pandas.DataFrame
        ``frame``, ``side``, ``x0``, ``y0``, ``x1``, ``y1`` (pixels), by frame and side; frames without a face of a
        side have no row for it.
    """
    random = seeding.generator(seed, "missed", telling.session)
    parts = []
    for side, face in faces.items():
        frame = np.arange(telling.frames)
        seen = np.ones(telling.frames, bool)
        for start in random.integers(0, telling.frames, 2):
            seen[start : start + int(random.integers(8, 90))] = False
        x, y = face.x[frame // EVERY], face.y[frame // EVERY]
        edges = {"x0": x - _RADIUS, "y0": y - 1.2 * _RADIUS, "x1": x + _RADIUS, "y1": y + 1.25 * _RADIUS}
        boxes = {name: np.clip(np.rint(edge), 0, HEIGHT if name[0] == "y" else WIDTH).astype(int)
                 for name, edge in edges.items()}  # fmt: skip
        parts.append(pd.DataFrame({"frame": frame, "side": side, **boxes})[seen])
    return pd.concat(parts).sort_values(["frame", "side"], kind="stable", ignore_index=True)


def draw_pictures(faces: dict[str, Face]) -> Iterator[NDArray[np.uint8]]:
    """Draw all pictures, uint8 RGB ``[HEIGHT, WIDTH, 3]``; the array is used again for the next one."""
    empty = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    empty[:, :BORDER], empty[:, BORDER:] = _WALLS["actor"], _WALLS["listener"]
    empty[:, BORDER - 1 : BORDER + 1] = _INK
    picture = empty.copy()
    for number in range(len(faces["actor"].x)):
        picture[:] = empty
        for face in faces.values():
            _draw_face(picture, face, number)
        yield picture


def _draw_face(picture: NDArray[np.uint8], face: Face, number: int) -> None:
    x, y = float(face.x[number]), float(face.y[number])
    skin, hair, shirt = _LOOKS[face.look]
    _oval(picture, (x, HEIGHT - 18), (7, 12), (skin[0] - 22, skin[1] - 26, skin[2] - 26))
    _oval(picture, (0.6 * x + 0.4 * float(face.x.mean()), HEIGHT + 6), (30, 24), shirt)
    _oval(picture, (x, y - 4), (_RADIUS + 1, 1.1 * _RADIUS + 2), hair)
    _oval(picture, (x, y + 3), (0.86 * _RADIUS, _RADIUS), skin)
    for sign in (-1, 1):
        _oval(picture, (x + sign * 6, y - 1), (2.0, 0.4 + 1.9 * float(face.eyes[number])), _INK)
    _oval(picture, (x, y + 5), (1.5, 1.6), (skin[0] - 28, skin[1] - 34, skin[2] - 34))
    smile, opened = float(face.smile[number]), float(face.mouth[number])
    if opened > 0.15:
        _oval(picture, (x, y + 11), (3.0 + smile, 0.8 + 3.2 * opened), _LIPS)
        return
    bend = [(x + across, y + 11 + 2.6 * smile * (1 - (across / 6) ** 2)) for across in (-6, -3, 0, 3, 6)]
    curve = np.rint(np.array(bend) * (1 << _SHIFT)).astype(np.int32)
    cv2.polylines(picture, [curve], False, _LIPS, 2, cv2.LINE_AA, _SHIFT)


def _oval(picture: NDArray[np.uint8], middle: tuple[float, float], half: tuple[float, float], colour: Colour) -> None:
    centre = (_fixed(middle[0]), _fixed(middle[1]))
    axes = (_fixed(half[0]), _fixed(half[1]))
    cv2.ellipse(picture, centre, axes, 0, 0, 360, colour, -1, cv2.LINE_AA, _SHIFT)


def _fixed(value: float) -> int:
    return round(value * (1 << _SHIFT))
