"""Indexing face tracks: 10,000 tracks of about 500 frames to tables and one row per face. Target: less than 10 s.

Made-up tracks have what real ones have: gaps, boxes over the border and without size, repeated and unsorted frames,
and looking segments of each person. Side by side with the way of the published loader, which goes box by box and
keeps a set of texts for each looking frame; it is timed on some of the clips and scaled up. Reading the same boxes from
JSON is timed on some of the clips, too. Run: python -m bench.looking_index
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from bench.common import clock, show
from nbpkg.annotations.looking.challenge import COLUMNS
from nbpkg.annotations.looking.clips import Clip, Segment, TrackBoxes
from nbpkg.annotations.looking.ego4d import read_ego4d
from nbpkg.annotations.looking.faces import index_tracks, list_key_frames
from nbpkg.annotations.looking.sources import Sources

CLIPS, TRACKS, FRAMES, SOME = 100, 100, 500, 5


def make_track(random: np.random.Generator, name: str, person: str) -> TrackBoxes:
    """Make one track: some frames lacking, some repeated, some swapped, some boxes that cannot be used."""
    first = int(random.integers(1, 9000 - FRAMES))
    frames = first + np.flatnonzero(random.random(FRAMES) > 0.03)
    frames[random.integers(1, len(frames), 2)] -= 1
    order = np.arange(len(frames))
    order[[10, 20]] = order[[20, 10]]
    place = random.uniform(-20, 1200, 2) + np.cumsum(random.normal(0, 2, (len(frames), 2)), axis=0)
    size = random.uniform(20, 200) + random.normal(0, 3, (len(frames), 2))
    size[random.integers(0, len(frames))] = 0
    return TrackBoxes(name, person, frames[order], np.hstack([place, size])[order], np.ones(len(frames), bool))


def make_clips() -> tuple[Clip, ...]:
    """Make all clips."""
    random = np.random.default_rng(0)
    clips = []
    for number in range(CLIPS):
        tracks = tuple(make_track(random, f"track_{one:03d}", str(1 + one % 8)) for one in range(TRACKS))
        starts = random.integers(0, 9000, 40)
        looking = tuple(Segment(str(1 + one % 8), int(at), int(at) + 45) for one, at in enumerate(starts))
        clips.append(Clip(f"clip_{number:03d}", f"video_{number // 2}", "train", tracks, looking, None, 8))
    return tuple(clips)


def index(clips: tuple[Clip, ...]) -> int:
    """Index as stage 01 does, with the key frames of every third face."""
    pictures = pd.DataFrame(columns=COLUMNS).astype({"frame": "int64"})
    found = index_tracks(Sources(clips, {clip.session: "train" for clip in clips}, {}, pictures, []))
    list_key_frames(found.tracks, 3)
    return len(found.faces)


def index_box_by_box(clips: tuple[Clip, ...]) -> int:
    """Index as the published loader does: a dictionary for each box, a text for each looking frame."""
    images = []
    for clip in clips:
        looking = {f"{frame}:{one.person}" for one in clip.looking or () for frame in range(one.start, one.end + 1)}
        for track in clip.tracks:
            lines = zip(track.frames.tolist(), track.boxes.tolist(), strict=True)
            records = [{"frame": frame, "box": box} for frame, box in lines]
            records = [one for one in records if one["box"][2] > 0 and one["box"][3] > 0 and one["frame"] != 0]
            records.sort(key=lambda one: one["frame"])
            numbers = np.array([one["frame"] for one in records])
            every = np.arange(numbers[0], numbers[-1] + 1)
            sides = np.array([one["box"] for one in records])
            boxes = np.stack([np.interp(every, numbers, sides[:, side]) for side in range(4)], axis=1)
            for frame, box in zip(every.tolist(), boxes.tolist(), strict=True):
                images.append((clip.session, track.track, frame, box, f"{frame}:{track.person}" in looking))
    return len(images)


def write_json(clips: tuple[Clip, ...], path: Path) -> None:
    """Write boxes in the form of the annotation."""
    entries = []
    for clip in clips:
        paths = [
            {
                "track_id": track.track,
                "track": [
                    {"frame": frame, "x": x, "y": y, "width": width, "height": height, "video_frame": frame}
                    for frame, (x, y, width, height) in zip(track.frames.tolist(), track.boxes.tolist(), strict=True)
                ],
            }
            for track in clip.tracks
        ]
        persons = [
            {"person_id": "0", "camera_wearer": True, "tracking_paths": []},
            {"person_id": "1", "camera_wearer": False, "tracking_paths": paths},
        ]
        entries.append({"clip_uid": clip.session, "persons": persons})
    path.write_text(json.dumps({"videos": [{"video_uid": "v", "split": "train", "clips": entries}]}))


def main() -> list[dict[str, object]]:
    """Time indexing and reading and print a Markdown table."""
    clips = make_clips()
    some = clips[:SOME]
    faces = 0

    def ours() -> None:
        nonlocal faces
        faces = index(clips)

    seconds = clock(ours)
    published = clock(lambda: index_box_by_box(some)) * CLIPS / SOME
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "av.json"
        write_json(some, path)
        reading = clock(lambda: read_ego4d([path])) * CLIPS / SOME
    rows: list[dict[str, object]] = [
        {
            "tracks": CLIPS * TRACKS,
            "faces": faces,
            "indexing, s": round(seconds, 1),
            "box by box, s (scaled)": round(published, 1),
            "times faster": round(published / seconds, 1),
            "reading JSON, s (scaled)": round(reading, 1),
        }
    ]
    show("Indexing face tracks", rows)
    return rows


if __name__ == "__main__":
    main()
