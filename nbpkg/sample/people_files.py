"""Files about several people as programs leave them: boxes and skeletons in the detector's order, sound, who is who."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg import seeding
from nbpkg.sample.people_film import FPS, HEIGHT, WIDTH, Scene
from nbpkg.sample.people_rule import ROLES, STEPS, Meeting, rate

SOUND_HZ = 8  # rows of sound features each second
CLASSES = ("low", "medium", "high")
_UNSEEN = 0.02  # share of frames in which the detector misses somebody
_PHANTOM = 0.03  # share of frames in which it takes the shelf for somebody
_SHELF = (78, 8, 99, 26)
_SURE, _GUESSED = 0.9375, 0.5  # scores of joints; hands and legs under the table are guessed
_HIDDEN = [9, 10, *range(13, 17)]


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as CSV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as stream:
        table.to_csv(stream, index=False, lineterminator="\n")


def detect(meeting: Meeting, scene: Scene, seed: int) -> NDArray[np.float64]:
    """Draw how sure a detector is of each person in each frame, ``[people, frames]``; NaN where it misses somebody."""
    random = seeding.generator(seed, "detector", meeting.name)
    scores = random.uniform(0.7, 0.99, size=scene.lit.shape).round(3)
    missed = random.random(scene.lit.shape) < _UNSEEN
    missed[:, 0] = False
    return np.where(missed, np.nan, scores)


def tabulate_boxes(meeting: Meeting, scene: Scene, scores: NDArray[np.float64], seed: int) -> pd.DataFrame:
    """List who is where as a detector does: frame by frame, the surest first, without names.

    Parameters
    ----------
    meeting, scene
        What is shown.
    scores
        Of `detect`.
    seed
        The sample's seed.

    Returns
    -------
    pandas.DataFrame
        frame, x0, y0, x1, y1 (pixels), score, face_x0, face_y0, face_x1, face_y1; now and then the shelf, unsurely.
    """
    person, frame = np.nonzero(np.isfinite(scores))
    values = np.column_stack([scene.boxes()[person, frame], scores[person, frame], scene.faces()[person, frame]])
    random = seeding.generator(seed, "phantoms", meeting.name)
    phantoms = np.flatnonzero(random.random(scene.frames) < _PHANTOM)
    doubt = random.uniform(0.1, 0.4, size=len(phantoms))
    shelves = np.column_stack([np.tile(_SHELF, (len(phantoms), 1)), doubt, np.full((len(phantoms), 4), np.nan)])
    names = ["x0", "y0", "x1", "y1", "score", "face_x0", "face_y0", "face_x1", "face_y1"]
    table = pd.DataFrame(np.concatenate([values, shelves]), columns=names).round(3)
    table.insert(0, "frame", np.concatenate([frame, phantoms]))
    return table.sort_values(["frame", "score"], ascending=[True, False], kind="stable").reset_index(drop=True)


def make_skeleton(meeting: Meeting, scene: Scene, scores: NDArray[np.float64]) -> dict[str, Any]:
    """Return a recording's skeletons as an entry of the published pickles, people in the detector's order."""
    order = np.argsort(-np.nan_to_num(scores, nan=-1.0), axis=0, kind="stable")
    frames = np.arange(scene.frames)
    seen = np.isfinite(scores)[order, frames]
    sure = np.full(17, _SURE)
    sure[_HIDDEN] = _GUESSED
    return {
        "frame_dir": meeting.name,
        "label": 0,
        "img_shape": (HEIGHT, WIDTH),
        "original_shape": (HEIGHT, WIDTH),
        "total_frames": scene.frames,
        "keypoint": np.where(seen[..., None, None], scene.joints()[order, frames], 0).astype(np.float16),
        "keypoint_score": np.where(seen[..., None], sure, 0).astype(np.float16),
    }


def write_skeletons(path: Path, entries: Sequence[Mapping[str, Any]]) -> None:
    """Write skeletons as a pickle of a list."""
    path.write_bytes(pickle.dumps(list(entries), protocol=4))


def tabulate_sound(meeting: Meeting, seed: int) -> pd.DataFrame:
    """List what each one's microphone hears.

    Returns
    -------
    pandas.DataFrame
        time (seconds), role, loudness, pitch and brightness of the voice (0 to 1); `SOUND_HZ` rows for a second.
    """
    random = seeding.generator(seed, "sound", meeting.name)
    signs = meeting.voices.transpose(1, 0, 2).reshape(len(ROLES), -1).repeat(SOUND_HZ // FPS, axis=1)
    noise = random.normal(0, 0.01, size=(3, *signs.shape))
    loudness = np.where(signs != 0, 0.6, 0.1) + noise[0]
    pitch, brightness = 0.5 + 0.3 * signs + noise[1], 0.4 + 0.15 * signs + noise[2]
    times = np.arange(signs.shape[1]) / SOUND_HZ
    parts = [
        pd.DataFrame({"time": times, "role": role, "loudness": one, "pitch": two, "brightness": three})
        for role, one, two, three in zip(ROLES, loudness, pitch, brightness, strict=True)
    ]
    table = pd.concat(parts, ignore_index=True).round(3)
    return table.sort_values(["time", "role"], kind="stable").reset_index(drop=True)


def name_roles(meeting: Meeting, scene: Scene) -> pd.DataFrame:
    """Say who is who by a point on each person in frame 0: path, frame, x, y, role."""
    faces = scene.faces()[:, 0]
    x, y = (faces[:, 0] + faces[:, 2]) / 2, (faces[:, 1] + faces[:, 3]) / 2
    return pd.DataFrame({"path": f"{meeting.name}.mp4", "frame": 0, "x": x.round(1), "y": y.round(1), "role": ROLES})


def list_clips(meeting: Meeting) -> pd.DataFrame:
    """List the windows of a recording: path, offset, frames, family, session."""
    offsets = np.arange(len(meeting.responds)) * STEPS
    session = f"{meeting.family}-{meeting.session}"
    facts = {"frames": STEPS, "family": meeting.family, "session": session}
    return pd.DataFrame({"path": f"{meeting.name}.mp4", "offset": offsets, **facts})


def list_ratings(meeting: Meeting, seed: int) -> pd.DataFrame:
    """List what annotators said of each window: clip, rater, rating."""
    table = rate(meeting, seed)
    names = [meeting.name + (f"@{window * STEPS}" if window else "") for window in table["window"]]
    return table.drop(columns="window").assign(clip=names)[["clip", "rater", "rating"]]


def list_truth(meeting: Meeting) -> pd.DataFrame:
    """List what was planned: one row for each window."""
    return pd.DataFrame(
        {
            "recording": meeting.name,
            "window": np.arange(len(meeting.responds)),
            "invites": meeting.invites,
            "good": meeting.good,
            "responds": meeting.responds,
            "engagement": [CLASSES[level] for level in meeting.engagement],
        }
    )


def list_signs(meeting: Meeting) -> pd.DataFrame:
    """List the planned signs: recording, window, step, role, voice, arm, light."""
    windows, people, steps = np.indices(meeting.voices.shape).reshape(3, -1)
    return pd.DataFrame(
        {
            "recording": meeting.name,
            "window": windows,
            "step": steps,
            "role": np.array(ROLES)[people],
            "voice": meeting.voices.ravel(),
            "arm": meeting.arms.ravel(),
            "light": meeting.lights.ravel().astype(np.int8),
        }
    )
