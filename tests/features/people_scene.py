"""A made-up scene of a parent and a child, as detectors would see it: in any order, with gaps and false alarms."""

from __future__ import annotations

import pickle
from fractions import Fraction

import numpy as np
import pandas as pd

from nbpkg.features.people.boxes import COLUMNS
from nbpkg.video.frames import StoreWriter

FRAMES, SOURCE_FPS, SIZE = 150, 25.0, (640, 360)
AWAY = range(60, 110)  # the child is out of the picture for longer than anybody waits
WHO = ["parent", "child"]


def true_box(role, frame):
    """Return where somebody is, pixels of the source; the two walk past each other."""
    if role == "parent":
        x = 60 + 2.4 * frame
        return np.array([x, 40, x + 120, 340.0])
    if frame in AWAY:
        return None
    x = 480 - 2.4 * frame
    return np.array([x, 160, x + 80, 330.0])


def is_missed(role, frame):
    """Tell whether the detector missed somebody."""
    return frame % 13 == (5 if role == "parent" else 9)


def true_joints(role, frame):
    """Return 17 joints inside somebody's box, each at its own place: ``[17, 2]``."""
    box = true_box(role, frame)
    shares = np.stack([0.15 + 0.7 * ((np.arange(17) * 7) % 17) / 16, 0.05 + 0.9 * np.arange(17) / 16], axis=1)
    return box[:2] + shares * (box[2:] - box[:2])


def make_boxes(seed=0):
    """Make the rows of a detector, those of each frame in any order, a false alarm in frames 20 to 24."""
    draws = np.random.default_rng(seed)
    rows = []
    for frame in range(FRAMES):
        own = []
        for role in WHO:
            box = true_box(role, frame)
            if box is None or is_missed(role, frame):
                continue
            x0, y0, x1, y1 = box
            face = [x0 + 20, y0 + 5, x1 - 20, y0 + 0.2 * (y1 - y0)]
            own.append([frame, *box, 0.9, *face])
        if frame in range(20, 25):
            own.append([frame, 600, 0, 630, 40, 0.6, *[np.nan] * 4])
        own.append([frame, 300, 0, 340, 30, 0.2, *[np.nan] * 4])
        draws.shuffle(own)
        rows += own
    return pd.DataFrame(rows, columns=COLUMNS)


def write_skeletons(path, name="fam01/s1", frames=FRAMES):
    """Write a pickle whose first person is now the parent, now the child."""
    points, scores = np.zeros((2, frames, 17, 2), np.float16), np.zeros((2, frames, 17), np.float16)
    for frame in range(frames):
        there = [role for role in WHO if true_box(role, frame) is not None]
        for place, role in enumerate(there[::-1] if frame % 3 == 0 else there):
            points[place, frame], scores[place, frame] = true_joints(role, frame), 0.8
    entry = {"frame_dir": name, "total_frames": frames, "img_shape": SIZE[::-1], "label": 0}
    path.write_bytes(pickle.dumps([entry | {"keypoint": points, "keypoint_score": scores}]))
    return path


def make_media(sessions=("fam01--s1",), *, fps=Fraction(25, 2)):
    """Make the table ``media`` of sessions whose store has half of the frames, at half of the size."""
    frames = int(FRAMES * fps / Fraction(SOURCE_FPS))
    facts = {"store": "", "video": "", "source": "", "frames": frames, "fps_num": fps.numerator}
    facts |= {"fps_den": fps.denominator, "width": 320, "height": 180, "duration_ms": 6000, "source_frames": FRAMES}
    facts |= {"source_fps": SOURCE_FPS, "source_width": SIZE[0], "source_height": SIZE[1], "sha256": "x"}
    return pd.DataFrame([{"session": session, **facts} for session in sessions])


def write_store(folder, *, frames, fps=Fraction(25, 2), shown=None):
    """Write a frame store in which the parent is red and the child blue; return its folder."""
    folder.mkdir(parents=True)
    writer = StoreWriter(folder, (180, 320), fps=fps)
    for frame in range(frames):
        picture = np.full((180, 320, 3), 90, np.uint8)
        source = frame if shown is None else int(shown[frame])
        for role, colour in (("parent", (200, 30, 30)), ("child", (30, 30, 200))):
            box = true_box(role, source)
            if box is not None:
                x0, y0, x1, y1 = (box / 2).round().astype(int)
                picture[y0:y1, max(0, x0) : x1] = colour
        writer.add(picture)
    writer.finish()
    return folder
