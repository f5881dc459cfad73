"""Scoring gaze heat maps: all at once against map by map with scikit-learn's roc_auc_score, as the papers' programs do.

Two tasks: frames of video, where the cells near the target in the 64 × 64 map count, and pictures of 640 × 480 with
ten annotators each. Both sides rescale to the same grey levels (protocol vtd) or take the map as it is (gazelle), and
both also find the peak and its distances. Run: python -m bench.gaze_scores
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from PIL import Image
from sklearn.metrics import roc_auc_score

from bench.common import median_of_rounds, show
from nbpkg.metrics.gaze.auc import enlarge
from nbpkg.metrics.gaze.baselines import draw_gaussians
from nbpkg.metrics.gaze.stream import ScoreStream, one_row_per_map

FRAMES, PICTURES, ANNOTATORS, BLOCK = 2000, 60, 10, 64
WIDTH, HEIGHT = 640, 480


def make_gaze(frames: int, raters: int) -> pd.DataFrame:
    """Make a table ``gaze`` of one person, all targets inside the frame."""
    random = np.random.default_rng(0)
    frame, rater = (part.ravel() for part in np.meshgrid(np.arange(frames), np.arange(raters), indexing="ij"))
    place = random.uniform(0.1, 0.9, (frames, 2))[frame] + random.normal(0, 0.02, (len(frame), 2))
    table = pd.DataFrame(
        {"session": "one", "person": "s00", "rater": [f"a{number}" for number in rater], "frame": frame}
    )
    table = table.assign(dataset="made", participant="p", segment=0, width=WIDTH, height=HEIGHT, inside=1)
    table = table.assign(x0=300.0, y0=40.0, x1=360.0, y1=110.0)
    return table.assign(gaze_x=place[:, 0] * WIDTH, gaze_y=place[:, 1] * HEIGHT)


def make_maps(gaze: pd.DataFrame) -> np.ndarray:
    """Make maps as a network gives them: a peak near the target, noise, and a floor of zeros."""
    random = np.random.default_rng(1)
    points = gaze[["gaze_x", "gaze_y"]].to_numpy() / (WIDTH, HEIGHT) + random.normal(0, 0.1, (len(gaze), 2))
    noise = random.standard_normal((len(gaze), 64, 64)).astype(np.float32)
    return np.maximum(draw_gaussians(points) + 0.1 * noise, 0)


def score_alone(heat: np.ndarray, said: np.ndarray, *, truth: str, protocol: str) -> tuple[float, float, float]:
    """Score one map as the published programs do: area, distance to the nearest and to the mean point."""
    level = heat
    if protocol == "vtd":
        scale = 255 / np.float64(heat.max() - heat.min())
        level = (np.clip((heat - heat.min()) * np.float32(scale), 0, 255) + np.float32(0.5)).astype(np.uint8)
    if truth == "box":
        last = 64 if protocol == "vtd" else 63
        start, end = np.trunc(said[0] * 64 - 9).clip(0, last), np.trunc(said[0] * 64 + 10).clip(0, last)
        wanted = np.zeros((64, 64))
        wanted[int(start[1]) : int(end[1]), int(start[0]) : int(end[0])] = 1
    else:
        wanted = np.zeros((HEIGHT, WIDTH))
        exact = said.astype(np.float32) if protocol == "vtd" else said
        for x, y in exact:
            wanted[min(int(y * HEIGHT), HEIGHT - 1), min(int(x * WIDTH), WIDTH - 1)] = 1
        if protocol == "vtd":
            level = np.asarray(Image.fromarray(level).resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR))
        else:
            level = enlarge(heat, (WIDTH, HEIGHT))
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    gaps = said - np.array([column, row]) / 64
    area = roc_auc_score(wanted.ravel(), level.ravel())
    return area, np.linalg.norm(gaps, axis=1).min(), np.linalg.norm(gaps.mean(axis=0))


def compare(truth: str, protocol: str) -> dict[str, object]:
    """Time both sides on the same maps, and compare every score."""
    gaze = make_gaze(FRAMES if truth == "box" else PICTURES, 1 if truth == "box" else ANNOTATORS)
    rows = one_row_per_map(gaze)
    maps = make_maps(gaze.iloc[rows])
    said = (gaze[["gaze_x", "gaze_y"]].to_numpy() / (WIDTH, HEIGHT)).reshape(len(rows), -1, 2)
    results: dict[str, np.ndarray] = {}

    def alone() -> None:
        scored = [
            score_alone(heat, point, truth=truth, protocol=protocol) for heat, point in zip(maps, said, strict=True)
        ]
        results["alone"] = np.array(scored)

    def together() -> None:
        stream = ScoreStream(gaze, truth=truth, protocol=protocol)
        for block in np.array_split(np.arange(len(rows)), -(-len(rows) // BLOCK)):
            stream.add(maps[block], rows[block])
        results["together"] = stream.table()[["auc", "min_distance", "distance"]].to_numpy()

    sides: dict[str, Callable[[], object]] = {"alone": alone, "together": together}
    together()  # libraries loaded
    seconds = median_of_rounds(sides)
    return {
        "truth": "cells near the target" if truth == "box" else f"{ANNOTATORS} points in {WIDTH} × {HEIGHT}",
        "protocol": protocol,
        "maps": len(rows),
        "map by map, ms": round(1000 * seconds["alone"] / len(rows), 2),
        "ours, ms": round(1000 * seconds["together"] / len(rows), 3),
        "times faster": round(seconds["alone"] / seconds["together"], 1),
        "largest difference": f"{np.abs(results['alone'] - results['together']).max():.0e}",
    }


def main() -> list[dict[str, object]]:
    """Time both sides and print a Markdown table."""
    rows = [compare(truth, protocol) for truth in ("box", "points") for protocol in ("vtd", "gazelle")]
    show(f"Scoring gaze heat maps, in blocks of {BLOCK}", rows)
    return rows


if __name__ == "__main__":
    main()
