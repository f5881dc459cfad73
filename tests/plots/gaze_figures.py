"""Small made-up tables with plausible values, from which every gaze figure can be drawn."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pandas as pd

WIDTH, HEIGHT = 320, 240


def scene(number: int = 0) -> np.ndarray:
    """A table with three objects and a person with a head, RGB [240, 320, 3]."""
    random = np.random.default_rng(0)
    frame = cv2.resize(random.integers(120, 190, (6, 8, 3), dtype=np.uint8), (WIDTH, HEIGHT))
    cv2.rectangle(frame, (0, 170), (WIDTH, HEIGHT), (120, 85, 60), -1)
    for x, colour in ((60, (210, 60, 40)), (150, (60, 150, 70)), (240, (220, 190, 60))):
        cv2.rectangle(frame, (x - 12, 140), (x + 12, 185), colour, -1)
    cv2.ellipse(frame, (160 + 3 * number, 120), (34, 60), 0, 0, 360, (60, 80, 140), -1)
    cv2.ellipse(frame, (160 + 3 * number, 52), (20, 26), 0, 0, 360, (205, 165, 140), -1)
    return frame


def gaze_table(sessions: int = 2, frames: int = 60) -> pd.DataFrame:
    """Table ``gaze``: two people and two annotators a session, some frames missing, some targets outside."""
    random, rows = np.random.default_rng(1), []
    for dataset, session in [("oa", f"p0{n}--s1") for n in range(sessions)] + [("vat", "show--clip")]:
        for person in ("s00", "s01"):
            for rater in ("a1", "a2"):
                for frame in range(frames):
                    if person == "s01" and 20 <= frame < 30:
                        continue
                    inside = -1 if frame >= frames - 4 and rater == "a2" else int((frame // 12) % 3 != 1)
                    x, y = 130 + 40 * (person == "s01") + random.normal(0, 3), 30 + random.normal(0, 2)
                    target = (60, 150, 240)[(frame // 20) % 3]
                    point = (target + random.normal(0, 4), 160 + random.normal(0, 5)) if inside == 1 else (np.nan,) * 2
                    rows.append((dataset, "test", session[:3], session, person, rater, frame, f"{session}/{frame}.ppm",
                                 WIDTH, HEIGHT, x, y, x + 42, y + 54, "manual", *point, inside,
                                 "mustard" if inside == 1 else "", 0, int(inside >= 0), ""))  # fmt: skip
    names = ["dataset", "split", "participant", "session", "person", "rater", "frame", "image", "width", "height",
             "x0", "y0", "x1", "y1", "box_source",
             "gaze_x", "gaze_y", "inside", "target", "segment", "valid", "flags"]  # fmt: skip
    return pd.DataFrame(rows, columns=names)


def score_table(gaze: pd.DataFrame, noise: float = 0.05) -> pd.DataFrame:
    """Table ``gaze_scores`` of an answerer whose errors grow with `noise`."""
    random = np.random.default_rng(2)
    own = gaze[gaze["rater"] == "a1"].reset_index(drop=True)
    error = np.where(own["inside"] == 1, random.gamma(2, noise, len(own)), np.nan)
    turn = random.uniform(0, 2 * np.pi, len(own))
    return own[["session", "person", "rater", "frame", "dataset", "participant", "inside"]].assign(
        score=np.clip(random.normal(np.where(own["inside"] == 1, 0.85, 0.3), 0.15), 0, 1),
        auc=np.clip(0.99 - error / 2, 0, 1),
        distance=error,
        angle=np.clip(error * 110, 0, 180),
        peak_x=own["gaze_x"].fillna(100) / WIDTH + np.cos(turn) * np.nan_to_num(error),
        peak_y=own["gaze_y"].fillna(150) / HEIGHT + np.sin(turn) * np.nan_to_num(error),
        peak=np.clip(random.normal(0.6, 0.2, len(own)), 0, 1),
        head_size=(own["y1"] - own["y0"]) / HEIGHT + random.normal(0, 0.05, len(own)),
    )


def history_table(epochs: int = 15, folds: int = 2) -> pd.DataFrame:
    """Metrics after every epoch of a grid of batch sizes and chunk lengths."""
    random, rows, setting = np.random.default_rng(3), [], 0
    for batch in (4, 8, 16):
        for chunk in (2, 3, 4):
            text = json.dumps({"batch_size": batch, "chunk": chunk, "learning_rate": 5e-5})
            for fold in range(folds):
                for epoch in range(1, epochs + 1):
                    done = 1 - np.exp(-epoch / 4)
                    values = {
                        "auc": 0.75 + 0.14 * done + random.normal(0, 0.025),
                        "distance": 0.22 - 0.14 * done + random.normal(0, 0.01),
                        "loss": 90 * np.exp(-epoch / 5) + 20 + random.normal(0, 2),
                    }
                    for split in ("train", "validation"):
                        better = 0.03 if split == "train" else 0
                        for metric, value in values.items():
                            shown = value + better if metric == "auc" else value * (1 - 4 * better)
                            rows.append((setting, text, batch, chunk, fold, epoch, split, metric, min(shown, 1.0)
                                         if metric == "auc" else shown))  # fmt: skip
            setting += 1
    names = ["setting", "parameters", "batch_size", "chunk", "fold", "epoch", "split", "metric", "value"]
    return pd.DataFrame(rows, columns=names)


def cell_table() -> pd.DataFrame:
    """One row for each cell of the grid, one of which failed."""
    random = np.random.default_rng(4)
    rows = []
    for batch in (4, 8, 16):
        for chunk in (2, 3, 4):
            failed = (batch, chunk) == (16, 4)
            rows.append(
                {
                    "batch_size": batch, "chunk": chunk, "epoch": 11, "n": 2,
                    "auc": np.nan if failed else 0.88 + random.normal(0, 0.015),
                    "auc_sd": np.nan if failed else 0.012,
                    "distance": np.nan if failed else 0.078 + random.normal(0, 0.006),
                    "distance_sd": np.nan if failed else 0.004,
                    "reason": "out of memory on the GPU" if failed else "",
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def metric_table() -> pd.DataFrame:
    """Table ``metrics`` with three metrics of two data sets; average precision is undefined in one."""
    rows = []
    for variable, shift in (("oa", 0.0), ("vat", 0.02)):
        for metric, direction, value, chance, ceiling in (
            ("auc_box", "higher", 0.90 - shift, 0.81, 0.95),
            ("distance", "lower", 0.079 + shift, 0.15, 0.045),
            ("average_precision", "higher", np.nan if variable == "oa" else 0.85, np.nan, np.nan),
        ):
            gap = 0.02 if direction == "higher" else 0.008
            rows.append(("gaze", variable, "all", "", "test", metric, direction, value, value - gap, value + gap,
                         chance, ceiling, 5231, 14, "one class" if np.isnan(value) else ""))  # fmt: skip
    names = ["task", "variable", "by", "name", "role", "metric", "direction", "value", "low", "high", "chance",
             "ceiling", "n", "n_groups", "reason"]  # fmt: skip
    return pd.DataFrame(rows, columns=names)


def blob(x: float, y: float, width: float = 3, strength: float = 0.8) -> np.ndarray:
    """A map [64, 64] with one peak at fractions x, y of the frame."""
    rows, columns = np.mgrid[:64, :64]
    return (strength * np.exp(-((columns - 64 * x) ** 2 + (rows - 64 * y) ** 2) / 2 / width**2)).astype(np.float32)
