"""Annotations in the layout of Ego4D, a second annotator's segments, and what other programs found out about faces."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg import seeding
from nbpkg.sample.looking_faces import locate_points
from nbpkg.sample.looking_film import cut_boxes, place_head
from nbpkg.sample.looking_plan import FPS, UNSORTED, UNUSABLE, WEARER_LAST, Clip, Person, Track

WEARER = "0"
_START_S, _APART_S = 12.5, 60.0  # where the first clip of a video begins, and the next ones after it
_POSE_NOISE = 12.0  # degrees by which a head pose is wrong at most
_NO_POSE, _NO_POINTS = 0.05, 0.10  # shares of faces of which nothing was found out
_MISSED = 0.12  # share of segments that the second annotator did not see
_NO_SIZE = (("width", 0), ("height", -3.5), ("width", -1.0))  # boxes that are none
_SECOND_CLIP_AT = "b"  # last letter of the clips that begin later


def write_json(path: Path, content: object) -> None:
    """Write JSON, without line breaks as in the published files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(json.dumps(content).encode())


def list_segments(clip: Clip) -> list[tuple[str, int, int]]:
    """List when each person looks at the camera wearer: person, first and last frame, both inclusive."""
    found = []
    for person in clip.people:
        steps = np.diff(np.concatenate([[0], person.looks.astype(int), [0]]))
        starts, stops = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
        found += [(person.name, int(start), int(stop) - 1) for start, stop in zip(starts, stops, strict=True)]
    return found


def annotate(clips: Sequence[Clip], seed: int) -> dict[str, Any]:
    """Return the annotation file of some clips, those of a video together.

    Train clips say ``video_start_sec``, others ``parent_start_sec``, as two versions of the annotation do.
    """
    videos: dict[str, list[dict[str, Any]]] = {}
    for clip in clips:
        videos.setdefault(clip.video, []).append(_annotate_clip(clip, seed))
    part = clips[0].part
    return {
        "date": "2024-03-01",
        "version": "sample",
        "description": f"made-up faces, {part}",
        "videos": [{"video_uid": video, "split": part, "clips": own} for video, own in videos.items()],
    }


def list_manifest(clips: Iterable[Clip]) -> pd.DataFrame:
    """List the full videos: video_uid, duration_sec, canonical_s3_location."""
    videos = sorted({clip.video for clip in clips})
    places = [f"s3://made-up-bucket/full_scale/{video}" for video in videos]
    return pd.DataFrame({"video_uid": videos, "duration_sec": 300.0, "canonical_s3_location": places})


def annotate_again(clip: Clip, seed: int) -> list[dict[str, Any]]:
    """Return a second annotator's looking segments: ends 1 to 3 frames off, a few not seen, person by person."""
    random = seeding.generator(seed, "second", clip.name)
    found = []
    for name, first, last in list_segments(clip):
        off = random.integers(1, 4, size=2) * random.choice([-1, 1], size=2)
        start, end = max(first + int(off[0]), 0), min(last + int(off[1]), clip.frames - 1)
        if random.random() >= _MISSED and start <= end:
            found.append({"label": name, "start_frame": start, "end_frame": end})
    return found


def estimate_poses(clip: Clip, seed: int) -> dict[tuple[str, str, int], list[float]]:
    """Return yaw, pitch and roll as a program finds them, also of blurred faces: by person, track and frame."""
    poses: dict[tuple[str, str, int], list[float]] = {}
    for person in clip.people:
        random = seeding.generator(seed, "pose", clip.name, person.name)
        true = np.stack([person.yaw, person.pitch, person.roll], axis=-1)
        found = true + random.uniform(-_POSE_NOISE, _POSE_NOISE, size=true.shape)
        missing = random.random(clip.frames) < _NO_POSE
        for track in person.tracks:
            for frame in range(track.first, min(track.stop, clip.filmed)):
                if not missing[frame]:
                    poses[person.name, track.name, frame] = found[frame].round(4).tolist()
    return poses


def estimate_points(clip: Clip, seed: int) -> dict[str, dict[str, list[list[float]]]]:
    """Return five points of each face, relative to its crop, by track and frame; far off where the face is blurred."""
    points: dict[str, dict[str, list[list[float]]]] = {}
    for person in clip.people:
        random = seeding.generator(seed, "points", clip.name, person.name)
        missing = random.random(clip.frames) < _NO_POINTS
        noise = random.normal(0, 1, size=(clip.frames, 5, 2)) * np.where(person.blurred, 0.1, 0.06)[:, None, None]
        boxes = cut_boxes(person)
        for track in person.tracks:
            own = [frame for frame in range(track.first, min(track.stop, clip.filmed)) if not missing[frame]]
            rows = {str(frame): _relate(person, frame, boxes[frame], noise[frame]) for frame in own}
            points[track.name] = rows
    return points


def list_truth(clip: Clip) -> pd.DataFrame:
    """List what was drawn: clip, person, track (empty between two), frame, yaw, pitch, roll, blurred, looking."""
    parts = []
    for person in clip.people:
        names = np.full(clip.frames, "", dtype=object)
        for track in person.tracks:
            names[track.first : track.stop] = track.name
        angles = {name: getattr(person, name).round(3) for name in ("yaw", "pitch", "roll")}
        facts = {"clip": clip.name, "person": person.name, "track": names, "frame": np.arange(clip.frames)}
        seen = {"blurred": person.blurred.astype(int), "looking": person.looks.astype(int)}
        parts.append(pd.DataFrame({**facts, **angles, **seen}))
    return pd.concat(parts, ignore_index=True)


def _annotate_clip(clip: Clip, seed: int) -> dict[str, Any]:
    start_s = _START_S + _APART_S * clip.name.endswith(_SECOND_CLIP_AT)
    begin = "video" if clip.part == "train" else "parent"
    wearer = {"person_id": WEARER, "camera_wearer": True, "voice_segments": [], "tracking_paths": []}
    others = [_annotate_person(clip, person, start_s, seed) for person in clip.people]
    return {
        "clip_uid": clip.name,
        f"{begin}_start_sec": start_s,
        f"{begin}_end_sec": start_s + clip.frames / FPS,
        "clip_start_frame": 0,
        "clip_end_frame": clip.frames,
        "valid": True,
        "persons": [*others, wearer] if clip.name == WEARER_LAST else [wearer, *others],
        "social_segments_looking": _annotate_looks(clip) or None,
        "social_segments_talking": [_segment(person, first, last, target or None) for person, first, last, target in
                                    clip.talking],
    }  # fmt: skip


def _annotate_person(clip: Clip, person: Person, start_s: float, seed: int) -> dict[str, Any]:
    paths = [_annotate_track(clip, person, track, start_s, seed) for track in person.tracks]
    return {"person_id": person.name, "camera_wearer": False, "voice_segments": [], "tracking_paths": paths}


def _annotate_track(clip: Clip, person: Person, track: Track, start_s: float, seed: int) -> dict[str, Any]:
    random = seeding.generator(seed, "boxes", clip.name, track.name)
    boxes = person.boxes() + random.normal(0, 0.3, size=(clip.frames, 4))
    frames = [frame for frame in range(track.first, track.stop) if frame not in track.hidden]
    records = [_record(boxes[frame], frame, start_s) for frame in frames]
    if (clip.name, person.name) in UNUSABLE:
        for record, (name, size) in zip(records[4::9], _NO_SIZE, strict=False):
            record[name] = size
    if (clip.name, person.name) in UNSORTED:
        records = [records[number] for number in random.permutation(len(records)).tolist()]
    return {
        "track_id": track.name,
        "suspect": False,
        "unmapped_frames_count": len(track.hidden),
        "unmapped_frames": list(track.hidden),
        "track": records,
    }


def _record(box: NDArray[np.float64], frame: int, start_s: float) -> dict[str, Any]:
    x0, y0, x1, y1 = box.round(2).tolist()
    return {
        "x": x0,
        "y": y0,
        "width": round(x1 - x0, 2),
        "height": round(y1 - y0, 2),
        "frame": frame,
        "video_frame": round(start_s * FPS) + frame,
        "clip_frame": None,
    }


def _annotate_looks(clip: Clip) -> list[dict[str, Any]]:
    """List looking segments; in every video's first clip also of nobody, of an unknown person, and within another."""
    found = [_segment(*one, None) for one in list_segments(clip)]
    if found and clip.name.endswith("a"):
        found[0].update({"target": WEARER, "is_at_me": True})
        found.append(_segment(None, 3, 9, None))
        found.append(_segment("-1", 5, 12, None))
        found.append({**found[1], "start_frame": found[1]["end_frame"]})
    return found


def _segment(person: str | None, first: int, last: int, target: str | None) -> dict[str, Any]:
    return {
        "start_time": first / FPS,
        "end_time": (last + 1) / FPS,
        "start_frame": first,
        "end_frame": last,
        "person": person,
        "target": target,
        "is_at_me": False,
    }


def _relate(person: Person, frame: int, box: NDArray[np.float64], noise: NDArray[np.float64]) -> list[list[float]]:
    """Return the five points of one face relative to its box: x, y, z, visibility."""
    points = locate_points(place_head(person, frame))
    size = np.maximum(box[2:] - box[:2], 1)
    points[:, :2] = (points[:, :2] - box[:2]) / size + noise
    if person.blurred[frame]:
        points[:, 3] *= 0.5
    rounded: list[list[float]] = points.round(4).tolist()
    return rounded
