"""Baking against the bare encoder on tensors that are ready, and evaluation's frames read once."""

from __future__ import annotations

import tempfile
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from bench.common import show
from nbpkg.baking.encode import Bake, bake_features
from nbpkg.datasets.clips import iterate_session_clips
from nbpkg.datasets.preprocess import Preprocess
from nbpkg.datasets.transforms import Augment
from nbpkg.models.encoders import build_encoder
from nbpkg.video.frames import FrameStore, StoreWriter

CLIPS, BATCH, ROUNDS = 24, 4, 3
PREPARED = Preprocess(112, 16, (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989))


def make_store(folder: Path) -> FrameStore:
    """Three minutes of noise at 25/8 frames/s, 288x160, as notebook 02 prepares them."""
    folder.mkdir(parents=True)
    writer, chance = StoreWriter(folder, (160, 288), fps=Fraction(25, 8)), np.random.default_rng(0)
    for _ in range(560):
        writer.add(chance.integers(0, 256, (160, 288, 3), dtype=np.uint8))
    writer.finish()
    return FrameStore(folder)


def make_plan(view: str) -> pd.DataFrame:
    starts = np.arange(CLIPS) * 5000
    names = [f"s_{start}" for start in starts]
    own = {"clip_id": names, "view": view, "session": "s", "rater": "r", "start_ms": starts, "end_ms": starts + 5000}
    return pd.DataFrame(own).assign(repeat=1, shard=f"s_{view}", row=np.arange(CLIPS))


def main() -> list[dict]:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    encoder = build_encoder("mc3_18", "none", seed=0, size=112, frames=16)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        store = make_store(Path(folder) / "store")
        workers = 8 if device.type == "cuda" else 0
        how = Bake(PREPARED, PREPARED, Augment(), BATCH, "float32", device, workers, 0)
        ready = torch.randn(BATCH, 3, 16, 112, 112).to(device, memory_format=torch.channels_last_3d)
        encoder = encoder.to(device).to(memory_format=torch.channels_last_3d)
        times: dict[str, list[float]] = {"bare": [], "grid": [], "train": []}
        for number in range(ROUNDS):
            began = time.perf_counter()
            with torch.inference_mode():
                for _ in range(CLIPS // BATCH):
                    encoder(ready).float().cpu()
            times["bare"].append(time.perf_counter() - began)
            for view in ("grid", "train"):
                began = time.perf_counter()
                place = Path(folder) / f"{view}{number}"
                bake_features(encoder, make_plan(view), stores={"s": store}, folder=place, how=how)
                times[view].append(time.perf_counter() - began)
        bare = float(np.median(times["bare"]))
        names = {"bare": "bare encoder, tensors ready", "grid": "baking, as they are", "train": "baking, augmented"}
        for key, name in names.items():
            seconds = float(np.median(times[key]))
            share = f"{100 * bare / seconds:.1f} %"
            rows.append({"what": name, "ms per clip": f"{1000 * seconds / CLIPS:.0f}", "of the bare encoder": share})
        overlapping = pd.DataFrame({"start_ms": np.arange(0, 150_000, 1250)}).assign(
            end_ms=lambda t: t["start_ms"] + 5000
        )
        began = time.perf_counter()
        count = sum(1 for _ in iterate_session_clips(store, overlapping, PREPARED))
        once = 1000 * (time.perf_counter() - began) / count
        name = f"evaluation: reading {count} clips that overlap by three quarters"
        rows.append({"what": name, "ms per clip": f"{once:.1f}", "of the bare encoder": ""})
    show(f"Baking, mc3_18, {CLIPS} clips of 16 frames of 112 px from a raw store, batches of {BATCH}, {device}", rows)
    return rows


if __name__ == "__main__":
    main()
