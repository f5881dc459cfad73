"""What the camera wearer sees and hears: rooms, faces in and out of focus, voices."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from nbpkg import seeding
from nbpkg.sample.looking_faces import Colour, Head, Picture, blur_face, draw_person, dress
from nbpkg.sample.looking_plan import FPS, HEIGHT, WIDTH, Clip, Person
from nbpkg.sample.media import write_film
from nbpkg.sample.sound import SOUND_HZ

_MARGIN = 24  # pixels by which the room is larger than the picture on each side
_WALLS: tuple[Colour, ...] = ((178, 188, 180), (196, 186, 170), (170, 182, 196), (192, 178, 188))
_THINGS: tuple[Colour, ...] = ((166, 84, 76), (84, 120, 150), (120, 148, 96), (190, 160, 92), (222, 236, 244))
_SYLLABLES_HZ = 4


def place_head(person: Person, frame: int) -> Head:
    """Return where a head is in one frame and how it is turned."""
    return Head(*(float(values[frame]) for values in (person.x, person.y, person.half)),
                *(float(values[frame]) for values in (person.yaw, person.pitch, person.roll)))  # fmt: skip


def draw_pictures(clip: Clip, seed: int) -> Iterator[Picture]:
    """Draw the frames of a film, uint8 RGB ``[HEIGHT, WIDTH, 3]``."""
    room = _draw_room(clip.video, seed)
    looks = {person.name: dress(person.who) for person in clip.people}
    behind_first = sorted(clip.people, key=lambda person: float(person.half.mean()))
    for frame in range(clip.filmed):
        across, down = np.clip(np.rint(clip.camera[frame]), -_MARGIN, _MARGIN).astype(int).tolist()
        picture = room[_MARGIN + down :, _MARGIN + across :][:HEIGHT, :WIDTH].copy()
        heads = [(person, place_head(person, frame)) for person in behind_first]
        for person, head in heads:
            draw_person(picture, head, looks[person.name])
        for person, head in heads:
            if person.blurred[frame]:
                blur_face(picture, head)
        yield cv2.convertScaleAbs(picture, alpha=float(clip.light[frame])).astype(np.uint8, copy=False)


def film_clip(path: Path, clip: Clip, seed: int) -> None:
    """Write a clip as MP4 with its sound."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_film(
        path,
        draw_pictures(clip, seed),
        np.arange(clip.filmed) / FPS,
        drawn=np.arange(clip.filmed),
        sound=_speak(clip, seed),
        fps=FPS,
        turned=False,
        grain=np.zeros((1, HEIGHT, WIDTH), np.uint8),
    )


def cut_faces(clip: Clip, seed: int, *, size: int) -> dict[tuple[str, int], Picture]:
    """Cut every face of a clip out of its pictures, by person and frame, uint8 RGB ``[size, size, 3]``."""
    corners = {person.name: cut_boxes(person).astype(int) for person in clip.people}
    crops = {}
    for frame, picture in enumerate(draw_pictures(clip, seed)):
        for name, boxes in corners.items():
            x0, y0, x1, y1 = boxes[frame].tolist()
            crop = cv2.resize(picture[y0:y1, x0:x1], (size, size), interpolation=cv2.INTER_LINEAR)
            crops[name, frame] = np.asarray(crop, dtype=np.uint8)
    return crops


def cut_boxes(person: Person) -> NDArray[np.float64]:
    """Return a face's boxes cut at the picture's border, ``[frames, 4]``."""
    return np.clip(person.boxes(), 0, [WIDTH, HEIGHT, WIDTH, HEIGHT])


def _draw_room(video: str, seed: int) -> Picture:
    random = seeding.generator(seed, "room", video)
    height, width = HEIGHT + 2 * _MARGIN, WIDTH + 2 * _MARGIN
    room = np.empty((height, width, 3), np.uint8)
    room[:] = _WALLS[int(random.integers(len(_WALLS)))]
    room[height * 3 // 4 :] = (132, 112, 94)
    for _ in range(9):
        x, y = int(random.integers(0, width - 20)), int(random.integers(0, height // 2))
        wide, tall = int(random.integers(8, 34)), int(random.integers(8, 30))
        cv2.rectangle(room, (x, y), (x + wide, y + tall), _THINGS[int(random.integers(len(_THINGS)))], -1)
        cv2.rectangle(room, (x, y), (x + wide, y + tall), (96, 88, 84), 1)
    return room


def _speak(clip: Clip, seed: int) -> NDArray[np.float32]:
    """Synthesise the sound, mono at `nbpkg.sample.sound.SOUND_HZ`: voices of those who talk, and a quiet room."""
    random = seeding.generator(seed, "sound", clip.name)
    count = clip.filmed * SOUND_HZ // FPS
    time_s = np.arange(count) / SOUND_HZ
    sound = random.normal(0, 0.003, count)
    swell = np.abs(np.sin(np.pi * _SYLLABLES_HZ * time_s)) ** 0.6
    for number, (_, first, last, _) in enumerate(clip.talking):
        pitch_hz = (120.0, 205.0)[number % 2] * random.uniform(0.92, 1.08)
        phase = 2 * np.pi * pitch_hz * time_s
        voice = sum(np.sin(order * phase) / order for order in range(1, 9))
        spoken = (time_s >= first / FPS) & (time_s < (last + 1) / FPS)
        sound += 0.12 * voice * swell * spoken
    return np.clip(sound, -0.95, 0.95).astype(np.float32)
