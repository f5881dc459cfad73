"""Training of gaze networks: what baking the trunk saves, and that memory follows batch × chunk, not the footage.

Targets: the temporal part trains at least 2 times faster from baked activations than with a frozen trunk that is run
again, and at least 4 times faster than when gradients also go through the trunk, as in the published program, with the
same losses (1e-4). A pass through 22,500 frames stays below 6 GiB, steps of the published size at batch 16 below 8 GiB,
and 40 tracks of 5,000 frames take at most a tenth more than 4.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from bench.common import show
from nbpkg.baking.gaze import BakedGaze, GazeBake, bake_gaze, plan_gaze_features
from nbpkg.datasets.gaze.items import Preparation
from nbpkg.models.gaze.vtd import PUBLISHED, SMALL, VtdSize, VtdTemporal, parameter_groups
from nbpkg.training.gaze.blocks import BlockLesson
from nbpkg.training.gaze.course import GazeTraining
from nbpkg.training.gaze.memory import read_peak

CPU = torch.device("cpu")
STEPS = 20  # of the published size
TINY = VtdSize(
    size=56,
    stem=4,
    planes=(4, 4, 4, 4, 4),
    blocks=(1, 1, 1, 1, 1),
    strides=(1, 2, 1, 1, 1),
    compress=(8, 8),
    inout=4,
    decoder=(8, 8, 4),
)
SIZES = {"published": PUBLISHED, "small": SMALL, "tiny": TINY}


class Film:
    """Frames made when asked for, each another crop of one noisy room."""

    fps = Fraction(30)

    def __init__(self, count: int, *, width: int, height: int) -> None:
        self.count, self.width, self.height = count, width, height
        noise = np.random.default_rng(0)
        self.room = noise.integers(0, 256, (height + 64, width + 64, 3), dtype=np.uint8)

    def __len__(self) -> int:
        return self.count

    def frames(self, indices: list[int]) -> np.ndarray:
        places = [(index % 64, index * 7 % 64) for index in indices]
        return np.stack([self.room[y : y + self.height, x : x + self.width] for y, x in places])


def make_table(tracks: int, length: int, *, width: int = 640, height: int = 480) -> pd.DataFrame:
    """Tracks of one person each, a tenth of the targets outside."""
    chance, count = np.random.default_rng(1), tracks * length
    session = np.repeat([f"s{number:03d}" for number in range(tracks)], length)
    inside = (chance.random(count) > 0.1).astype(np.int64)
    gaze = chance.uniform([0, 0], [width, height], (count, 2))
    gaze[inside == 0] = np.nan
    return pd.DataFrame(
        {
            "session": session,
            "participant": session,
            "person": "s00",
            "rater": "a1",
            "segment": 0,
            "frame": np.tile(np.arange(length), tracks),
            "width": width,
            "height": height,
            "x0": 0.3 * width,
            "y0": 0.2 * height,
            "x1": 0.45 * width,
            "y1": 0.5 * height,
            "gaze_x": gaze[:, 0],
            "gaze_y": gaze[:, 1],
            "inside": inside,
            "valid": 1,
        }
    )


def make_network(size: VtdSize) -> VtdTemporal:
    """Random weights, without dropout, so that losses can be compared."""
    torch.manual_seed(0)
    return VtdTemporal(size, dropout=0.0).eval()


def train(lesson: BlockLesson, network: VtdTemporal, how: GazeTraining, *, through: bool = False) -> list[float]:
    """Make one pass through the training tracks; `through`: gradients of a trunk that does not learn, as published."""
    lesson.prepare(network)
    lesson.enter(network, how)
    groups = parameter_groups(network, how.learning_rate)
    if through:
        network.frozen = False
        network.requires_grad_(True)
    optimiser, losses, state = torch.optim.Adam(groups), [], None
    for block in lesson.batches(1, how):
        optimiser.zero_grad()
        loss, state = lesson.learn(
            network, block, state, how=how, part=how.batch_size, backward=lambda one: one.backward()
        )
        optimiser.step()
        losses.append(float(loss.total))
    return losses


def compare_baked(*, tracks: int = 4, length: int = 6) -> list[dict]:
    """Time one epoch of the published size in three ways, in turn."""
    table = make_table(tracks, length)
    stores = {name: Film(length, width=640, height=480) for name in table["session"].unique()}
    how, prepare = GazeTraining(1, 4, 5e-5, chunk=3), Preparation()
    times: dict[str, list[tuple[float, float]]] = {}
    losses: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        index = plan_gaze_features(table, stores, pictures=False)
        start = time.perf_counter()
        bake = GazeBake(prepare, 8, CPU)
        bake_gaze(make_network(PUBLISHED), table, index, stores=stores, folder=Path(folder), how=bake)
        baking = time.perf_counter() - start
        baked = BakedGaze(Path(folder), index)
        for _ in range(2):
            for name in ("baked", "trunk run again, frozen", "gradients through the trunk"):
                stored = baked if name == "baked" else None
                lesson = BlockLesson(table, None, stores, prepare, video=True, seed=0, baked=stored)
                network = make_network(PUBLISHED)
                start = time.perf_counter(), time.process_time()
                losses[name] = train(lesson, network, how, through=name.startswith("gradients"))
                spent = time.perf_counter() - start[0], time.process_time() - start[1]
                times.setdefault(name, []).append(spent)
    best = {name: [min(values) for values in zip(*own, strict=True)] for name, own in times.items()}
    away = {name: np.max(np.abs(np.array(own) / losses["baked"] - 1)) for name, own in losses.items()}
    rows = [
        {
            "epoch": name,
            "seconds": f"{best[name][0]:.2f}",
            "over baked": f"{best[name][0] / best['baked'][0]:.2f}",
            "processor time over baked": f"{best[name][1] / best['baked'][1]:.2f}",
            "losses differ by": f"{away[name]:.1e}",
        }
        for name in best
    ]
    show(
        f"An epoch of the temporal part, published size, {tracks * length} frames, batch 4 × chunk 3 "
        f"(baking once: {baking:.1f} s)",
        rows,
    )
    return rows


def use_memory(kind: str, tracks: int, length: int, batch: int, chunk: int, steps: int, score: int) -> dict:
    """Train one pass, or some steps of it, and score as many tracks; in a process of its own."""
    before = read_peak(CPU)
    size = SIZES[kind]
    table = make_table(tracks, length)
    stores = {name: Film(length, width=64, height=48) for name in table["session"].unique()}
    rows = table[table["session"].isin(sorted(stores)[:score])].reset_index(drop=True)
    lesson = BlockLesson(table, rows, stores, Preparation(size=size.size), video=True, seed=0, limit=None, chunk=chunk)
    how = GazeTraining(1, batch, 5e-5, chunk=chunk, max_steps=steps)
    network = make_network(size)
    start = time.perf_counter()
    done = len(train(lesson, network, how))
    trained = time.perf_counter() - start
    if score:
        network.eval()
        lesson.measure(network, how)
    return {
        "steps": done,
        "seconds": round(time.perf_counter() - start, 1),
        "of training": round(trained, 1),
        "at the start, MiB": round(before),
        "peak, MiB": round(read_peak(CPU)),
    }


def measure_memory(quick: bool) -> list[dict]:
    """Measure the peak of each case in a process of its own."""
    few = 50 if quick else 400
    cases = [
        ("22,500 frames, small, one pass", ("small", 45, 500, 16, 4, 0, 0)),
        (f"published, {STEPS} steps", ("published", 16, 3 * STEPS, 16, 3, 3 if quick else STEPS, 0)),
        # Four tracks fill no larger batch; with one of 16 the blocks of 40 tracks would be larger, too.
        ("4 tracks of 5,000, tiny, some steps and scores of 4 tracks", ("tiny", 4, 5000, 4, 4, few, 4)),
        ("40 tracks of 5,000, tiny, some steps and scores of 4 tracks", ("tiny", 40, 5000, 4, 4, few, 4)),
    ]
    rows = []
    for name, case in cases:
        command = [sys.executable, "-m", "bench.gaze_training", "case", *map(str, case)]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
        batch = f"{case[3]} × {case[4]}"
        rows.append({"case": name, "batch × chunk": batch, **json.loads(said)})
    less, more = (row["peak, MiB"] for row in rows[-2:])
    rows[-1]["over 4 tracks"] = f"{more / less:.3f}"
    show("Peak resident memory of a process that trains", rows)
    return rows


def main() -> list[dict]:
    """Run both parts; ``quick`` cuts the memory part to some steps."""
    return [*compare_baked(), *measure_memory("quick" in sys.argv)]


if __name__ == "__main__":
    if sys.argv[1:2] == ["case"]:
        print(json.dumps(use_memory(sys.argv[2], *map(int, sys.argv[3:]))))
    else:
        main()
