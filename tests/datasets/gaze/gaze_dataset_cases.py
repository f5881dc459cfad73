"""Made-up tables of gaze and frames that say which they are."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from nbpkg.datasets.gaze.augment import Persons

GOLDEN = Path(__file__).parents[2] / "golden" / "gaze_target"


def read_vectors(name: str) -> dict[str, np.ndarray]:
    with np.load(GOLDEN / f"{name}_open.npz", allow_pickle=False) as arrays:
        return {key: arrays[key] for key in arrays}


def read_facts(name: str) -> dict:
    return json.loads((GOLDEN / f"{name}_open.json").read_text())


def people(boxes, gaze=None, inside=None, size=(320, 180)) -> Persons:
    boxes = np.asarray(boxes, dtype=float).reshape(-1, 4)
    gaze = np.full((len(boxes), 2), np.nan) if gaze is None else np.asarray(gaze, dtype=float).reshape(-1, 2)
    inside = np.isfinite(gaze).all(1) if inside is None else np.asarray(inside)
    return Persons(boxes, gaze, inside.astype(np.int64), np.tile(np.asarray(size, dtype=float), (len(boxes), 1)))


def make_table(lengths: dict[tuple[str, str], int], *, size=(64, 48), step=1, seed=0) -> pd.DataFrame:
    """Tracks of the given lengths by (session, person), a quarter of the targets outside."""
    rng = np.random.default_rng(seed)
    parts = []
    for (session, person), length in lengths.items():
        corner = rng.uniform([0, 0], [size[0] / 2, size[1] / 2], (length, 2))
        gaze = rng.uniform([0, 0], size, (length, 2))
        inside = (rng.random(length) > 0.25).astype(np.int64)
        gaze[inside == 0] = np.nan
        parts.append(
            pd.DataFrame(
                {
                    "dataset": "made",
                    "split": "train",
                    "participant": session,
                    "session": session,
                    "person": person,
                    "rater": "a1",
                    "frame": np.arange(length) * step,
                    "image": [f"{session}/{number}.png" for number in range(length)],
                    "width": size[0],
                    "height": size[1],
                    "x0": corner[:, 0],
                    "y0": corner[:, 1],
                    "x1": corner[:, 0] + 20,
                    "y1": corner[:, 1] + 15,
                    "box_source": "manual",
                    "gaze_x": gaze[:, 0],
                    "gaze_y": gaze[:, 1],
                    "inside": inside,
                    "target": "",
                    "segment": 0,
                    "valid": 1,
                    "flags": "",
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


class CountingStore:
    """Frames made when asked for, whose value is their number; counts how many were asked for."""

    def __init__(self, count: int, size=(64, 48), start: int = 0) -> None:
        self.count, self.size, self.start, self.read = count, size, start, []

    def __len__(self) -> int:
        return self.count

    def frames(self, indices) -> np.ndarray:
        self.read += [int(number) for number in indices]
        out = np.empty((len(indices), self.size[1], self.size[0], 3), dtype=np.uint8)
        for row, number in enumerate(indices):
            out[row] = (self.start + int(number)) % 251
            out[row, :, :, 0] = np.arange(self.size[0]) % 200
        return out
