"""Clips of two people in the layout of VideoAttentionTarget, the test part annotated twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from nbpkg import seeding
from nbpkg.sample.gaze_files import write_lines, write_picture
from nbpkg.sample.gaze_people import Look
from nbpkg.sample.gaze_scenes import Gaze, draw_cast, draw_frame, draw_noise, heads_of, plan_stage, sway, watch

SHOWS = {"Attic": "train", "Kitchen": "train", "Library": "train", "Studio": "train", "Garage": "test", "Porch": "test"}
CLIPS, FRAMES, SIZE = 5, 24, (168, 224)
SECOND = "__a2"  # marks the file of the second annotator
_EVERY, _OUTSIDE = 8.0, 0.25
_GAP = (13, 16)  # frames in which the second person of each show's first clip was not annotated
_SLACK, _SLACK_SECOND = 0.012, 0.022  # how far annotators are off, in frame widths
_DISAGREE = 0.075  # of the frames: kappa 0.8 where a quarter of the targets lies outside


@dataclass
class Row:
    """One line of a track: file name, head box, what the person looks at, and the point an annotator marked."""

    name: str
    box: tuple[int, int, int, int]
    gaze: Gaze
    head: tuple[float, float]
    point: tuple[int, int] = (-1, -1)


@dataclass
class Track:
    """One person in one clip: where its file lies below the annotations, and its lines."""

    place: str
    rows: list[Row] = field(default_factory=list)


def write_clips(folder: Path, seed: int) -> list[dict[str, object]]:
    """Write ``images/`` and ``annotations/`` and return what everybody really looks at, one row per line of a track."""
    tracks: list[Track] = []
    for show, split in SHOWS.items():
        random = seeding.generator(seed, "show", show)
        room, looks = draw_cast(random, SIZE, 3)
        for clip in range(CLIPS):
            pair = [looks[index] for index in random.permutation(3)[:2]]
            new = _write_clip(folder, seed, show, clip, room=room, looks=pair)
            tracks += [replace(track, place=f"{split}/{track.place}") for track in new]
    for track in tracks:
        random = seeding.generator(seed, "annotator", track.place)
        rows = [replace(row, point=_mark(random, row, _SLACK)) for row in track.rows]
        write_lines(folder / "annotations" / f"{track.place}.txt", [_to_line(row) for row in rows])
    for track in annotate_again([track for track in tracks if track.place.startswith("test/")], seed):
        write_lines(folder / "annotations" / f"{track.place}{SECOND}.txt", [_to_line(row) for row in track.rows])
    return [_to_truth(track, row) for track in tracks for row in track.rows]


def annotate_again(tracks: Sequence[Track], seed: int) -> list[Track]:
    """Let a second person annotate: boxes and points a little off, and now and then another answer on in or out.

    Disagreement begins where people turn into or out of the frame, one or two frames late; what is missing to the
    usual amount are parts of looks taken for the other kind.
    """
    random = seeding.generator(seed, "second annotator")
    states = [np.array([row.gaze.inside for row in track.rows]) for track in tracks]
    flipped = [np.zeros(len(state), bool) for state in states]
    turns = [(track, at) for track, state in enumerate(states) for at in np.flatnonzero(np.diff(state)) + 1]
    budget = round(_DISAGREE * sum(map(len, states)))
    for index in random.permutation(len(turns))[: round(0.6 * len(turns))]:
        track, at = turns[index]
        flipped[track][at : at + int(random.integers(1, 3))] = True
    while (missing := budget - sum(int(flips.sum()) for flips in flipped)) > 0:
        track = int(random.integers(len(tracks)))
        at = int(random.integers(len(states[track]) - 4))
        flipped[track][at : at + min(4, missing)] = True
    again = []
    for track, flips in zip(tracks, flipped, strict=True):
        rows = [_answer_again(random, row, other=bool(other)) for row, other in zip(track.rows, flips, strict=True)]
        again.append(Track(track.place, rows))
    return again


def _write_clip(
    folder: Path, seed: int, show: str, clip: int, *, room: np.ndarray, looks: Sequence[Look]
) -> list[Track]:
    random = seeding.generator(seed, "clip", show, clip)
    stage = plan_stage(random, SIZE, looks=looks, room=room, things=int(random.integers(3, 5)))
    gazes = [watch(random, stage, seat, frames=FRAMES, every=_EVERY, outside=_OUTSIDE) for seat in stage.seats]
    middles = [sway(random, seat, FRAMES) for seat in stage.seats]
    noise = draw_noise(random, SIZE)
    first = 80 * clip + int(random.integers(1, 50))
    place = f"{show}/{first}_{first + FRAMES - 1}"
    tracks = [Track(f"{place}/s{person:02}") for person in range(len(stage.seats))]
    for frame in range(FRAMES):
        name = f"{first + frame:08}.jpg"
        now = [each[frame] for each in gazes]
        heads = heads_of(stage, now, [each[frame] for each in middles])
        write_picture(folder / "images" / place / name, draw_frame(stage, heads, noise[frame % len(noise)]))
        for person, (track, head, gaze) in enumerate(zip(tracks, heads, now, strict=True)):
            if not (clip == 0 and person == 1 and _GAP[0] <= frame < _GAP[1]):
                track.rows.append(Row(name, head.box(SIZE[1], SIZE[0]), gaze, (head.x, head.y)))
    return tracks


def _mark(random: np.random.Generator, row: Row, slack: float) -> tuple[int, int]:
    """Mark the gaze point as an annotator does, whole pixels inside the frame; -1 -1 when it is outside."""
    off = random.normal(0, slack * SIZE[1], size=2)
    if not row.gaze.inside:
        return -1, -1
    x, y = np.clip(np.rint(np.array(row.gaze.point) + off), 0, [SIZE[1] - 1, SIZE[0] - 1]).astype(int).tolist()
    return x, y


def _answer_again(random: np.random.Generator, row: Row, *, other: bool) -> Row:
    shift = random.integers(-1, 2, size=4)
    edges = np.clip(np.array(row.box) + shift, 0, [SIZE[1], SIZE[0], SIZE[1], SIZE[0]]).tolist()
    box = (edges[0], edges[1], edges[2], edges[3])
    point = _mark(random, row, _SLACK_SECOND)
    if other and row.gaze.inside:
        point = (-1, -1)
    elif other:  # taken for a look at whatever lies along the way of the eyes
        way = np.array(row.gaze.direction[:2]) * 0.4 * SIZE[0]
        x, y = np.clip(np.rint(np.array(row.head) + way), 0, [SIZE[1] - 1, SIZE[0] - 1]).astype(int).tolist()
        point = (x, y)
    return replace(row, box=box, point=point)


def _to_line(row: Row) -> str:
    return ",".join(map(str, (row.name, *row.box, *row.point)))


def _to_truth(track: Track, row: Row) -> dict[str, object]:
    split, show, clip, person = track.place.split("/")
    return {
        "dataset": "vat",
        "split": split,
        "folder": f"vat/images/{show}/{clip}",
        "file": row.name,
        "person": person,
        "target": row.gaze.target,
        "x": round(row.gaze.point[0], 2),
        "y": round(row.gaze.point[1], 2),
        "right": round(row.gaze.direction[0], 4),
        "down": round(row.gaze.direction[1], 4),
        "forward": round(row.gaze.direction[2], 4),
    }
