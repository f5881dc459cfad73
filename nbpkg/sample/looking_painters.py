"""Three made-up painters: what told them on a face that somebody looks at them, and the logs their painting leaves.

They look where the plan says: at eyes and nose of a face that looks at the camera, at nose, cheek and the nearer eye of
one that is turned away. As people do, they aim beside it, tremble, and leave frames empty, blurred ones more often.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg import seeding, tables
from nbpkg.annotations.looking.faces import TracksFound, build_tracks
from nbpkg.attention.choosing.snippets import SnippetRules, find_regions, place_snippets
from nbpkg.attention.looking.tracks import ELSEWHERE, LOOKING, TASK, VARIABLE, find_nearest, name_track, track_spans
from nbpkg.attention.painting.log import painting_path
from nbpkg.attention.painting.operations import check_opening, check_operation
from nbpkg.features.looking.cropping import cut_edges
from nbpkg.sample.looking_faces import locate_points
from nbpkg.sample.looking_film import place_head
from nbpkg.sample.looking_plan import FPS, HEIGHT, WIDTH, Clip, Person
from nbpkg.sample.painters import Style
from nbpkg.settings.looking import FaceTrackSettings
from nbpkg.video.clips import frame_numbers

FOLDER = "painted"
FRAMES, CLIP_MS = 7, 700  # a window of seven faces, as networks see it
PER_LABEL = 6
SIDE = 96  # pixels of the crops that are painted, as the sample's experiment cuts them
_RATE = Fraction(FPS)
_EYE, _NOSE, _CHEEK = (0.22, 0.17), (0.17, 0.22), (0.12, 0.34)  # half sizes, in half widths of the face
_EDGE = 0.82  # from the middle of the face to the edge of the cheek, half widths
_BLURRED = 3.0  # how many times as often a blurred frame is left empty
Array = NDArray[np.float64]

STYLES = {
    "p1": Style(0.07, 0.25, (0.004, 0.004), 0.006, 3, "scribble", 0.04, 0.0, 0.0, presses=False),
    "p2": Style(0.10, 0.25, (0.015, 0.020), 0.010, 1.5, "circle", 0.10, 0.0, 0.2, presses=False),
    "p3": Style(0.08, 0.35, (-0.012, 0.010), 0.012, 2, "scribble", 0.16, 0.0, 0.0, presses=True),
}


def paint_sample(folder: Path, clips: Sequence[Clip], *, seed: int) -> None:
    """Let every painter paint the same snippets of the test clips.

    Parameters
    ----------
    folder
        Folder of the sample, with its annotations; logs go to ``painted/<painter>/<snippet_id>.jsonl``.
    clips
        All clips, as planned.
    seed
        The sample's seed.
    """
    found = read_test_tracks(folder)
    snippets = choose_sample_snippets(found, clips, seed=seed)
    tracks = {name_track(row["session"], row["track"]): row for row in found.tracks.to_dict("records")}
    people = {(clip.name, person.name): person for clip in clips for person in clip.people}
    for snippet in snippets.to_dict("records"):
        track = tracks[snippet["session"]]
        person = people[track["session"], track["person"]]
        targets = _find_targets(person, track, found.faces, snippet)
        for painter in STYLES:
            path = painting_path(folder / FOLDER, painter, snippet["snippet_id"])
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_paint(snippet, painter, targets, seed=seed))


def read_test_tracks(folder: Path) -> TracksFound:
    """Read the labelled test clips from the annotation files just written."""
    return build_tracks(folder, FaceTrackSettings(annotations=["json/av_test.json"], second="second_LAM"))


def choose_sample_snippets(found: TracksFound, clips: Sequence[Clip], *, seed: int) -> pd.DataFrame:
    """Choose windows on which both annotators agree and in which no face is blurred: on those nobody can paint.

    Returns
    -------
    pandas.DataFrame
        Table ``snippets``: up to `PER_LABEL` of each label, spread over the tracks.
    """
    names = [name_track(*map(str, row)) for row in found.tracks[["session", "track"]].itertuples(index=False)]
    spans = track_spans(found.tracks, found.segments, faces=found.faces, fps=_RATE, names=names)
    rules = SnippetRules(
        absent=ELSEWHERE,
        pairs=((TASK, VARIABLE),),
        clip_ms=CLIP_MS,
        per_label=PER_LABEL,
        painters=tuple(STYLES),
        painters_per_snippet=len(STYLES),
        painter_may_have_rated=False,
    )
    regions = find_regions(spans, sorted(set(spans["session"])), rules=rules)
    regions = _keep_sharp(regions, found, clips)
    may_paint = {str(name): tuple(STYLES) for name in sorted(set(spans["session"]))}
    return place_snippets(
        regions, tables.empty("snippets"), rules=rules, may_paint=may_paint, seed=seeding.child(seed, "snippets")
    )[0]


def _keep_sharp(regions: pd.DataFrame, found: TracksFound, clips: Sequence[Clip]) -> pd.DataFrame:
    """Cut regions of possible starts down to those of windows without a blurred face."""
    people = {(clip.name, person.name): person for clip in clips for person in clip.people}
    tracks = {name_track(row["session"], row["track"]): row for row in found.tracks.to_dict("records")}
    kept = []
    for region in regions.to_dict("records"):
        track = tracks[region["session"]]
        blurred = people[track["session"], track["person"]].blurred[int(track["first"]) :]
        starts = np.arange(int(region["start_ms"]), int(region["end_ms"]))
        shown = np.stack([frame_numbers(start, start + CLIP_MS, fps=_RATE, count=FRAMES) for start in starts])
        sharp = ~blurred[shown.clip(max=len(blurred) - 1)].any(axis=1)
        edges = np.flatnonzero(np.diff(np.concatenate([[False], sharp, [False]]).astype(int)))
        for first, last in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
            kept.append({**region, "start_ms": int(starts[first]), "end_ms": int(starts[0]) + last})
    return pd.DataFrame(kept, columns=list(regions.columns))


def find_eyes(person: Person, frame: int, edges: Array) -> Array:
    """Return nose, left and right eye relative to a crop, ``[3, 3]``: x, y and how visible.

    Parameters
    ----------
    person
        As planned.
    frame
        Of the clip.
    edges
        Of the crop, pixels: x0, y0, x1, y1.
    """
    points = locate_points(place_head(person, frame))[:3]
    places = (points[:, :2] - edges[:2]) / np.maximum(edges[2:] - edges[:2], 1)
    return np.column_stack([places, points[:, 3]])


def find_crop(track: Mapping[Any, Any], faces: NDArray[Any], frame: int) -> Array:
    """Return the edges of the crop that is shown in a frame of the clip, pixels: x0, y0, x1, y1."""
    own = faces[int(track["offset"]) : int(track["offset"]) + int(track["rows"])]
    face = own[find_nearest(own["frame"].astype(np.int64), np.array([frame]))[0]]
    edges = cut_edges(np.array([face[name] for name in ("x0", "y0", "x1", "y1")], np.float64))
    return np.minimum(edges, [WIDTH, HEIGHT, WIDTH, HEIGHT]).astype(np.float64)


def _find_targets(
    person: Person, track: Mapping[Any, Any], faces: NDArray[Any], snippet: Mapping[Any, Any]
) -> list[tuple[list[Array], bool]]:
    """Return for each frame what there is to paint, boxes relative to the crop, and whether the face is blurred."""
    numbers = frame_numbers(snippet["start_ms"], snippet["end_ms"], fps=_RATE, count=FRAMES)
    targets = []
    for frame in (int(track["first"]) + numbers).tolist():
        edges = find_crop(track, faces, frame)
        half = float(person.half[frame]) / np.maximum(edges[2:] - edges[:2], 1)
        nose, *eyes = find_eyes(person, frame, edges)
        boxes = [_box(nose, _NOSE, half)]
        if person.looks[frame]:
            boxes = [*(_box(eye, _EYE, half) for eye in eyes), *boxes]
        else:
            middle = (person.x[frame] - edges[0]) / max(edges[2] - edges[0], 1)
            side = np.sign(nose[0] - middle)
            boxes.append(_box(np.array([middle + side * _EDGE * half[0], nose[1]]), _CHEEK, half))
            boxes.append(_box(max(eyes, key=lambda eye: float(eye[2])), _EYE, half))
        targets.append((boxes, bool(person.blurred[frame])))
    return targets


def _box(middle: Array, size: tuple[float, float], half: Array) -> Array:
    reach = np.asarray(size) * half
    return np.concatenate([middle[:2] - reach, middle[:2] + reach])


def _paint(
    snippet: Mapping[Any, Any], painter: str, targets: Sequence[tuple[list[Array], bool]], *, seed: int
) -> bytes:
    """Return the log of one painting."""
    random = seeding.generator(seed, "painting", painter, snippet["snippet_id"])
    style = STYLES[painter]
    numbers = frame_numbers(snippet["start_ms"], snippet["end_ms"], fps=_RATE, count=FRAMES)
    names = ("snippet_id", "session", "task", "variable", "start_ms", "end_ms")
    facts = {"painter": painter, "frame_ms": (numbers * 1000 // FPS).tolist(), "width": SIDE, "height": SIDE}
    steps = list(_list_steps(targets, style, random))
    answer = bool(snippet["label"]) != (random.random() < 0.06)  # now and then somebody sees it otherwise
    steps.append(({"op": "answer", "question": VARIABLE, "value": LOOKING if answer else ELSEWHERE}, 1.5))
    steps.append(({"op": "submit"}, 0.8))
    lines = [check_opening({**{name: snippet[name] for name in names}, **facts})]
    seconds = 0.0
    for operation, took_s in steps:
        seconds += took_s
        lines.append(check_operation({**operation, "n": len(lines), "seconds": round(seconds, 1)}))
    text = [json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in lines]
    return "".join(text).encode()


def _list_steps(
    targets: Sequence[tuple[list[Array], bool]], style: Style, random: np.random.Generator
) -> list[tuple[dict[str, object], float]]:
    """List what somebody does, and how long it takes, seconds."""
    steps: list[tuple[dict[str, object], float]] = []
    habit = random.normal(0, 0.006, size=2) + style.aim  # the whole snippet is held a little differently each time
    painted = False
    for frame, (boxes, blurred) in enumerate(targets):
        if random.random() < style.misses * (_BLURRED if blurred else 1):
            painted = False
        elif painted and random.random() < style.copies:
            steps.append(({"op": "copy", "frame": frame, "source": frame - 1}, float(random.uniform(0.5, 1.5))))
        else:
            for box in boxes:
                if random.random() < 0.03:
                    beside = box + 0.15 * random.normal(size=4)
                    steps.append((_stroke(frame, beside, style, habit, random), 1.5))
                    steps.append(({"op": "undo"}, 0.6))
                steps.append((_stroke(frame, box, style, habit, random), float(1 + random.exponential(1.0))))
            painted = True
    return steps


def _stroke(frame: int, box: Array, style: Style, habit: Array, random: np.random.Generator) -> dict[str, object]:
    """Draw one stroke over a box: to and fro, or around; times count from its start."""
    along = np.linspace(0, 1, max(4, round(5 * style.turns) + int(random.integers(-1, 3))))
    if style.way == "circle":
        turn = 2 * np.pi * (style.turns * along + random.random())
        way = np.stack([np.cos(turn), np.sin(turn)], axis=1) * (0.25 + 0.45 * along[:, None])
    else:
        swing = 2 * np.abs((style.turns * along * 1.25 + 0.5) % 2 - 1) - 1
        way = np.stack([0.7 * swing, 1.2 * along - 0.6], axis=1)
    middle, half = (box[:2] + box[2:]) / 2, np.maximum(np.abs(box[2:] - box[:2]) / 2, 0.01)
    shaking = np.cumsum(random.normal(0, style.tremor, size=way.shape), axis=0)
    place = np.clip(middle + habit + half * way + shaking - shaking.mean(axis=0), 0, 1)
    times = np.cumsum(random.uniform(25, 70, size=len(way)))
    points = np.column_stack([times - times[0], place])
    if style.presses:
        points = np.column_stack([points, np.round(np.sin(np.pi * (0.12 + 0.76 * along)), 2)])
    brush = {"tool": "brush", "radius": style.radius * float(random.uniform(0.92, 1.08)), "strength": style.strength}
    return {"op": "stroke", "frame": frame, **brush, "points": points.tolist()}
