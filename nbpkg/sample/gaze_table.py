"""One person behind a table in the layouts of ObjectAttention: restructured for learning, and raw as recorded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nbpkg import seeding
from nbpkg.sample.gaze_files import write_lines, write_picture, write_voc
from nbpkg.sample.gaze_people import ASPECT, Head, turn_to
from nbpkg.sample.gaze_scenes import Stage, draw_cast, draw_frame, draw_noise, gaze_at, plan_table, sway
from nbpkg.sample.gaze_things import Thing

SETTINGS = (2, 4)  # how many objects lie on the table
SEGMENT = 6  # frames of a look at one object
_SMALL, _LARGE = (120, 160), (168, 224)
_HEADER = "frame x_min y_min x_max y_max gaze_x gaze_y"


@dataclass(frozen=True)
class Participant:
    """How the files of one participant look: part; ending, size and digits of frames; whether tables have a header."""

    split: str
    ending: str
    size: tuple[int, int]
    digits: int = 5
    header: bool = True


PARTICIPANTS = {
    "p01": Participant("train", ".jpg", _LARGE, digits=8),
    "p02": Participant("train", ".ppm", _SMALL, header=False),
    "p03": Participant("train", ".jpg", _LARGE),
    "p04": Participant("train", ".JPG", _LARGE, header=False),
    "p05": Participant("test", ".ppm", _SMALL),
    "p06": Participant("test", ".jpg", _LARGE, header=False),
}
RAW = "p07"
# Folders of the raw participant: session and setting, objects on the table, frames per object, where the XML lies.
_TAKES = (("session_1", 1, 8, "rgb"), ("session_2/set-a", 2, 6, "rgb"), ("session_2/set-b", 2, 4, "setting"))


@dataclass(frozen=True)
class Shot:
    """One frame: picture, head, and how the head is turned."""

    picture: np.ndarray
    head: Head


def write_restructured(folder: Path, seed: int) -> list[dict[str, object]]:
    """Write ``images/<participant>/<setting>/`` and one annotation file each; return what is really looked at."""
    truth: list[dict[str, object]] = []
    for name, participant in PARTICIPANTS.items():
        random = seeding.generator(seed, "participant", name)
        room, looks = draw_cast(random, participant.size, 1)
        for things in SETTINGS:
            stage = plan_table(random, participant.size, look=looks[0], room=room, things=things)
            truth += _write_setting(folder, random, name, f"setting_{things}", stage=stage)
    return truth


def write_raw(folder: Path, seed: int) -> list[dict[str, object]]:
    """Write a participant as recorded: one folder per object, labelImg XML, key points for one; return the truth."""
    random = seeding.generator(seed, "participant", RAW)
    room, looks = draw_cast(random, _SMALL, 1)
    truth: list[dict[str, object]] = []
    for number, (place, things, frames, xml) in enumerate(_TAKES):
        stage = plan_table(random, _SMALL, look=looks[0], room=room, things=things)
        for order, thing in enumerate(stage.things):
            rgb = folder / RAW / place / thing.name / "rgb"
            shots = list(_film(random, stage, thing, frames))
            for frame, shot in enumerate(shots):
                write_picture(rgb / f"{frame:08}.ppm", shot.picture)
                if number == 1 and order == 0:
                    _write_key_points(rgb.with_name("rgb_openpose_json") / f"{frame:08}_keypoints.json", shot.head)
                truth.append(
                    _to_truth(f"raw/{RAW}/{place}/{thing.name}/rgb", f"{frame:08}.ppm", "", (thing, shot.head))
                )
            _write_logs(rgb, frames)
            if xml == "rgb" or order == 0:
                target = (rgb if xml == "rgb" else rgb.parent.parent) / "00000002.xml"
                _annotate(random, target, stage, shots[2].head, name="Head" if number == 1 and order == 0 else "head")
    return truth


def _write_setting(
    folder: Path, random: np.random.Generator, name: str, setting: str, *, stage: Stage
) -> list[dict[str, object]]:
    """Write all segments of a setting one after the other; the head box is drawn once in each and copied."""
    participant = PARTICIPANTS[name]
    width, height = stage.size[1], stage.size[0]
    lines, truth, number = [_HEADER] if participant.header else [], [], 0
    for index in random.permutation(len(stage.things)):
        thing = stage.things[index]
        copied: tuple[int, int, int, int] | None = None
        for shot in _film(random, stage, thing, SEGMENT):
            stem = f"{number:0{participant.digits}}"
            place = f"images/{name}/{setting}"
            write_picture(folder / place / f"{stem}{participant.ending}", shot.picture)
            copied = copied or shot.head.box(width, height)
            lines.append(", ".join(map(str, (stem, *copied, *_centre(thing)))))
            truth.append(_to_truth(place, f"{stem}{participant.ending}", participant.split, (thing, shot.head)))
            number += 1
    write_lines(folder / "annotations" / participant.split / name / setting / "S01.txt", lines)
    return truth


def _film(random: np.random.Generator, stage: Stage, thing: Thing, frames: int) -> Iterator[Shot]:
    """Film one person looking at one thing, already turned to it in the first frame."""
    gaze, seat = gaze_at(stage, stage.seats[0], thing), stage.seats[0]
    middles, noise = sway(random, seat, frames), draw_noise(random, stage.size)
    # A participant who was asked to look at one thing sits still.
    middles = np.array([seat.x, seat.y]) + 0.4 * (middles - [seat.x, seat.y])
    for frame in range(frames):
        shaken = np.array(gaze.direction) + random.normal(0, 0.025, size=3)
        x, y, z = (shaken / np.linalg.norm(shaken)).tolist()
        head = Head(float(middles[frame, 0]), float(middles[frame, 1]), seat.radius, (x, y, z))
        yield Shot(draw_frame(stage, [head], noise[frame % len(noise)]), head)


def _centre(thing: Thing) -> tuple[float, float]:
    x0, y0, x1, y1 = thing.box()
    return (x0 + x1) / 2, (y0 + y1) / 2


def _annotate(random: np.random.Generator, path: Path, stage: Stage, head: Head, *, name: str) -> None:
    """Write the XML of one frame, objects in any order."""
    height, width = stage.size
    objects = [(thing.name, thing.box()) for thing in stage.things] + [(name, head.box(width, height))]
    shuffled = [objects[index] for index in random.permutation(len(objects))]
    write_voc(path, f"{path.stem}.ppm", stage.size, objects=shuffled)


def _write_key_points(path: Path, head: Head) -> None:
    """Write what OpenPose would find: nose, eyes and ears that face the camera, neck and shoulders."""
    turn = turn_to(head.direction)
    # Nose, right eye, left eye, right ear, left ear in the head's own right, down and forward; BODY_25 joints.
    local = {0: (0, 0.2, 1.2), 15: (-0.38, -0.1, 0.9), 16: (0.38, -0.1, 0.9), 17: (-1.0, 0, 0), 18: (1.0, 0, 0)}
    joints = np.zeros((25, 3))
    for joint, point in local.items():
        seen = np.array(point) @ turn.T * head.radius
        if seen[2] > -0.3 * head.radius:
            joints[joint] = [head.x + seen[0], head.y + ASPECT * seen[1], 0.9]
    for joint, across, down in ((1, 0.0, 1.9), (2, -1.6, 2.2), (5, 1.6, 2.2)):
        joints[joint] = [head.x + across * head.radius, head.y + down * head.radius, 0.8]
    person = {"pose_keypoints_2d": np.round(joints, 3).ravel().tolist()}
    empty = ("face_keypoints_2d", "hand_left_keypoints_2d", "hand_right_keypoints_2d", "pose_keypoints_3d")
    content = {"version": 1.3, "people": [{"person_id": [-1], **person, **{name: [] for name in empty}}]}
    write_lines(path, [json.dumps(content)])


def _write_logs(rgb: Path, frames: int) -> None:
    """Write what the YARP recorder leaves beside the pictures."""
    write_lines(
        rgb / "data.log", [f"{frame} {1600000000 + frame / 30:.6f} {frame:08}.ppm [rgb]" for frame in range(frames)]
    )
    write_lines(rgb / "info.log", ["Type: Image;", "[0.0] /camera/rgbImage:o [connected]"])


def _to_truth(folder: str, file: str, split: str, seen: tuple[Thing, Head]) -> dict[str, object]:
    thing, head = seen
    x, y = _centre(thing)
    return {
        "dataset": "object_attention",
        "split": split,
        "folder": f"object_attention/{folder}",
        "file": file,
        "person": "S01",
        "target": thing.name,
        "x": x,
        "y": y,
        "right": round(head.direction[0], 4),
        "down": round(head.direction[1], 4),
        "forward": round(head.direction[2], 4),
    }
