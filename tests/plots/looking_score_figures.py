"""Small made-up tables with plausible values, from which every figure of scores of looking can be drawn."""

from __future__ import annotations

import numpy as np
import pandas as pd

from nbpkg import tables
from nbpkg.metrics.looking.human import answer_for_annotators
from nbpkg.metrics.looking.scores import Plan

PLAN = Plan(seed=0, split="val", stride=3, resamples=100)
SYSTEMS = {"gazepose": 0.5, "baseline": 0.3, "box prior": 0.06}
VIDEOS, TRACKS, FRAMES = 6, 3, 60


def names_of(table: str) -> list[str]:
    """Columns of a table."""
    return list(tables.empty(table).columns)


def segment_table() -> pd.DataFrame:
    """Table ``segments``: each person looks a few times; a second annotator saw three clips."""
    random, rows = np.random.default_rng(2), []
    for video in range(VIDEOS):
        for person in range(TRACKS):
            for start in random.choice(np.arange(0, FRAMES * 3, 45), 2, replace=False):
                begin, end = int(start + random.integers(0, 10)), int(start + random.integers(14, 30))
                rows.append((name_clip(video), "first", "looking", str(person), begin, end, ""))
                if video < 3:
                    rows.append((name_clip(video), "second", "looking", str(person), begin + 3, end + 2, ""))
    return pd.DataFrame(rows, columns=["session", "annotator", "kind", "person", "start_frame", "end_frame", "target"])


def name_clip(video: int) -> str:
    return f"c{video}aa1b2c3-4d5e-6f70"


def label_table() -> pd.DataFrame:
    """Labels of each annotator for every third frame of three tracks of each clip, with a gap."""
    segments, rows = segment_table(), []
    for video in range(VIDEOS):
        for annotator in ("first", "second")[: 1 + (video < 3)]:
            for person in range(TRACKS):
                own = segments[(segments["session"] == name_clip(video)) & (segments["person"] == str(person))]
                own = own[own["annotator"] == annotator]
                for frame in range(0, FRAMES * 3, 3):
                    if 90 <= frame < 105:
                        continue
                    label = int(((own["start_frame"] <= frame) & (frame <= own["end_frame"])).any())
                    where = name_clip(video), f"video_{video:02d}", f"{person}:0", frame, str(person)
                    rows.append((annotator, *where, label))
    return pd.DataFrame(rows, columns=["annotator", "session", "group", "track", "frame", "person", "label"])


def prediction_table() -> pd.DataFrame:
    """Table ``looking_predictions``: three systems of different strength, better on sharp faces."""
    own = label_table()
    faces = own[own["annotator"] == "first"].drop(columns="annotator").reset_index(drop=True)
    random, parts = np.random.default_rng(4), []
    quality = random.gamma(2, 60, len(faces))
    for system, strength in SYSTEMS.items():
        level = 0.25 + strength * faces["label"] * np.clip(quality / 120, 0.4, 1.4)
        score = np.clip(level + random.normal(0, 0.13, len(faces)), 0, 1)
        parts.append(faces.assign(system=system, score=score, quality=quality))
    return pd.concat(parts, ignore_index=True)[names_of("looking_predictions")]


def people_table() -> pd.DataFrame:
    """Two annotators in the network's place, on three clips."""
    return answer_for_annotators(label_table())
