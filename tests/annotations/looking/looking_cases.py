"""Annotations of face tracks made on the spot, and the golden ones written to disk."""

from __future__ import annotations

import json
from pathlib import Path

GOLDEN = Path(__file__).parents[2] / "golden" / "looking_at_me"


def load(name):
    return json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))


def box(frame, x=10.0, y=20.0, width=30.0, height=40.0, **changes):
    return {"frame": frame, "x": x, "y": y, "width": width, "height": height, "clip_frame": None, **changes}


def track(name="t1", frames=range(1, 5), **changes):
    return {"track_id": name, "track": [box(frame) for frame in frames], "suspect": False, **changes}


def person(name="1", *tracks, wearer=False, **changes):
    return {"person_id": name, "camera_wearer": wearer, "tracking_paths": list(tracks), **changes}


def segment(who="1", start=2, end=3, **changes):
    return {"person": who, "start_frame": start, "end_frame": end, "target": None, "is_at_me": False, **changes}


def clip(name="c1", persons=None, **changes):
    own = [person("0", wearer=True), person("1", track())] if persons is None else persons
    return {"clip_uid": name, "video_start_sec": 0.0, "video_end_sec": 10.0, "persons": own,
            "social_segments_looking": [segment()], "social_segments_talking": None, **changes}  # fmt: skip


def content(*clips, video="v1", split="train", **changes):
    videos = [{"video_uid": video, "split": split, "clips": list(clips)}]
    return {"date": "d", "version": "v1", "description": "made", "videos": videos, **changes}


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


def write_ego4d(root, train, val=None):
    """Write annotation files where the settings look for them; return their names."""
    names = ["json/av_train.json"]
    write(root / names[0], train)
    if val is not None:
        names.append("json/av_val.json")
        write(root / names[1], val)
    return names


def write_golden(root):
    """Write the golden annotations and lists."""
    golden = load("preprocess_open")
    write_ego4d(root, golden["av_train"], golden["av_val"])
    for name, text in golden["split"].items():
        write(root / "split" / name, text)
    return golden
