"""Tables of tracks and faces as stage 01 writes them, made of golden lists or by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from nbpkg.annotations.looking.faces import FACE_DTYPE

GOLDEN = Path(__file__).parents[2] / "golden" / "looking_at_me"


def read_golden(name: str) -> dict:
    return json.loads((GOLDEN / f"{name}_open.json").read_text(encoding="utf-8"))


def make_tracks(lists: Sequence[tuple[str, str, Sequence[int]]]) -> tuple[pd.DataFrame, np.ndarray]:
    """Tracks of (session, track, frames), with boxes of nothing and labels unknown."""
    faces = np.zeros(sum(len(frames) for _, _, frames in lists), FACE_DTYPE)
    rows, offset = [], 0
    for session, name, frames in lists:
        own = faces[offset : offset + len(frames)]
        own["frame"], own["label"], own["seen"] = frames, -1, True
        for corner in ("x0", "y0", "x1", "y1"):
            own[corner] = np.nan
        rows.append(
            {
                "session": session,
                "track": name,
                "person": "1",
                "first": min(frames),
                "last": max(frames),
                "offset": offset,
                "rows": len(frames),
                "records": len(frames),
                "dropped": 0,
                "between": 0,
                "looking": 0,
            }
        )
        offset += len(frames)
    return pd.DataFrame(rows), faces


def golden_faces(part: str) -> tuple[pd.DataFrame, np.ndarray]:
    """All faces of the golden clips of a part, train or val, in the reference's order."""
    listed = read_golden("index_lam")[f"{part}_images"]
    frames: dict[tuple[str, str], list[int]] = {}
    for session, name, frame, _, _ in listed:
        frames.setdefault((session, name), []).append(frame)
    tracks, faces = make_tracks([(session, name, own) for (session, name), own in frames.items()])
    for place, corner in enumerate(("x0", "y0", "x1", "y1")):
        faces[corner] = [box[place] for _, _, _, box, _ in listed]
    faces["label"] = [label for *_, label in listed]
    return tracks, faces


def golden_crops(tracks: pd.DataFrame, faces: np.ndarray) -> np.ndarray:
    """Which golden faces have a crop."""
    present = read_golden("index_gazepose")["face_crops_present"]
    there = np.zeros(len(faces), bool)
    for row in tracks.itertuples():
        own = slice(row.offset, row.offset + row.rows)
        there[own] = np.isin(faces["frame"][own], present.get(row.session, {}).get(row.track, []))
    return there
