"""Single pictures of different size with GazeFollow's extended annotations, the test part by several annotators."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nbpkg import seeding
from nbpkg.sample.gaze_files import write_lines, write_picture
from nbpkg.sample.gaze_people import Head
from nbpkg.sample.gaze_scenes import Gaze, Stage, draw_cast, draw_frame, draw_noise, heads_of, plan_stage, watch

# Each picture is another arrangement of people and things, which teaches more than the next frame of a clip.
FOLDERS = {f"train/{number:08}": 64 for number in range(6)} | {f"test2/{number:08}": 12 for number in range(2)}
ANNOTATORS = 6
_SIZES = ((168, 224), (180, 240), (224, 168), (192, 256), (150, 240))
_OUTSIDE, _SLACK = 0.2, 0.03
_INVALID = (5, 41)  # running numbers of training persons whom nobody could judge


def write_photos(folder: Path, seed: int) -> list[dict[str, object]]:
    """Write pictures and both annotation files; return what everybody really looks at."""
    truth: list[dict[str, object]] = []
    lines: dict[str, list[str]] = {"train": [], "test": []}
    number = 0
    for place, count in FOLDERS.items():
        part = place[: place.index("/")].rstrip("2")
        for index in range(count):
            random = seeding.generator(seed, "photograph", place, index)
            path = f"{place}/{number:08}.jpg"
            stage, gazes = _plan(random, part)
            heads = heads_of(stage, gazes, [np.array([seat.x, seat.y]) for seat in stage.seats])
            write_picture(folder / path, draw_frame(stage, heads, draw_noise(random, stage.size, 1)[0]))
            for person, (head, gaze) in enumerate(zip(heads, gazes, strict=True)):
                idx = len(lines[part]) if part == "train" else number
                lines[part] += _annotate(random, path, idx, stage, (head, gaze), part=part)
                truth.append(_to_truth(path, person, head, gaze, part))
            number += 1
    for part, rows in lines.items():
        write_lines(folder / f"{part}_annotations_release.txt", rows)
    return truth


def _plan(random: np.random.Generator, part: str) -> tuple[Stage, list[Gaze]]:
    """Arrange one picture; in the test part everybody looks at something in it."""
    size = _SIZES[random.integers(len(_SIZES))]
    room, looks = draw_cast(random, size, 1 if size[0] > size[1] else int(random.integers(1, 3)))
    stage = plan_stage(random, size, looks=looks, room=room, things=int(random.integers(3, 5)))
    outside = _OUTSIDE if part == "train" else 0.0
    return stage, [watch(random, stage, seat, frames=1, every=8, outside=outside)[0] for seat in stage.seats]


def _annotate(
    random: np.random.Generator, path: str, idx: int, stage: Stage, seen: tuple[Head, Gaze], *, part: str
) -> list[str]:
    """Return the lines of one person: one of 17 columns for training, one of 16 per annotator for the test."""
    head, gaze = seen
    height, width = stage.size
    scale = np.array([width, height])
    box = head.box(width, height)
    body = np.clip([head.x - 2.1 * head.radius, box[1], head.x + 2.1 * head.radius, height], 0, [*scale, *scale])
    eye = (np.array([head.x, head.y]) + 0.5 * head.radius * np.array(head.direction[:2])) / scale
    start = [path, str(idx), *_write([body[0] / width, body[1] / height])]
    start += _write([(body[2] - body[0]) / width, (body[3] - body[1]) / height, *eye])
    rows = []
    for _ in range(1 if part == "train" else ANNOTATORS):
        off = random.normal(0, _SLACK if part == "test" else 0.4 * _SLACK, size=2)
        point = np.clip(np.array(gaze.point) / scale + off, 0.0, 0.999) if gaze.inside else np.array([-1.0, -1.0])
        inside = ["-1" if idx in _INVALID else str(int(gaze.inside))] if part == "train" else []
        rows.append([*start, *_write(point), *map(str, box), *inside, "rendered", f"meta/{path}"])
    return [",".join(row) for row in rows]


def _write(values: Sequence[float] | np.ndarray) -> list[str]:
    return [f"{value:.6g}" for value in values]


def _to_truth(path: str, person: int, head: Head, gaze: Gaze, part: str) -> dict[str, object]:
    folder, file = path.rsplit("/", 1)
    return {
        "dataset": "gazefollow",
        "split": part,
        "folder": f"gazefollow/{folder}",
        "file": file,
        "person": str(person),
        "target": gaze.target,
        "x": round(gaze.point[0], 2),
        "y": round(gaze.point[1], 2),
        "right": round(head.direction[0], 4),
        "down": round(head.direction[1], 4),
        "forward": round(head.direction[2], 4),
    }
