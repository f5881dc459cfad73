"""What a training over clips waits for its frames. Target: less than 5 % of a step's time on clips like the sample's.

Frames are read from frame stores, resized, mirrored and normalised by threads while the network works on the batch
before. Time waited is what the training itself writes to its log. ``--device cuda`` asks for the GPU, where a step is
shorter; ``--rooms`` makes larger frames, as of real recordings.
"""

from __future__ import annotations

import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch

from bench.common import show
from nbpkg.settings.people import PeopleLearning, PeopleNetworkSettings, PeopleTrainSettings
from nbpkg.training.people.clip_learners import build_learner
from nbpkg.training.people.learners import CountedLoss, Setting
from nbpkg.training.people.material import PeopleMaterial
from nbpkg.training.people.networks import build_people_network
from nbpkg.training.people.optimiser import Stepper
from nbpkg.training.people.schedules import Span
from nbpkg.video.frames import FrameStore, StoreWriter

SESSIONS, CLIPS, FRAMES, EPOCHS, BATCH = 4, 8, 50, 3, 4
CLASSES = ("low", "medium", "high")
NETWORKS = {
    "slowonly, thin": ("slowonly_r50_4x16", {"width": 8, "blocks": [1, 1, 1, 1]}, 8, 4, 64),
    "i3d, thin": ("i3d_r50", {"width": 8, "blocks": [1, 1, 1, 1]}, 16, 2, 64),
    "r2plus1d, thin": ("r2plus1d_r34", {"width": 8, "blocks": [1, 1, 1, 1]}, 8, 4, 112),
}


def write_store(folder: Path, seed: int, *, size: tuple[int, int], encoding: str) -> FrameStore:
    """Three people who move in a room with texture."""
    folder.mkdir()
    height, width = size
    chance = np.random.default_rng(seed)
    room = cv2.resize(chance.integers(60, 200, (height // 8, width // 8, 3), dtype=np.uint8), (width, height))
    writer = StoreWriter(folder, size, fps=Fraction(10), encoding=encoding)
    for number in range(CLIPS * FRAMES):
        frame = room.copy()
        for person in range(3):
            x = int(width * (0.25 * (person + 1) + 0.03 * np.sin(number / 5 + person)))
            body, head = (x, int(0.75 * height)), (x, int(0.4 * height))
            cv2.ellipse(frame, body, (width // 14, height // 4), 0, 0, 360, (70, 90 + 40 * person, 160), -1)
            cv2.circle(frame, head, height // 10, (190, 150, 130), -1)
        writer.add(frame)
    writer.finish()
    writer.close()
    return FrameStore(folder)


def make_material(folder: Path, *, size: tuple[int, int], encoding: str) -> PeopleMaterial:
    """Sessions of clips that follow each other."""
    names = [f"s{number}" for number in range(SESSIONS)]
    stores = {name: write_store(folder / name, seed, size=size, encoding=encoding) for seed, name in enumerate(names)}
    rows = [
        {"sample_id": f"{name}_{window}", "session": name, "family": name, "recording": name, "window": window,
         "first": window * FRAMES, "frames": FRAMES, "label": (window + seed) % 3, "rating": np.nan, "raters": 0,
         "split": "", "path": f"{name}.mp4"}
        for seed, name in enumerate(names)
        for window in range(CLIPS)
    ]  # fmt: skip
    folds = pd.DataFrame({"session": names, "group": names, "fold": range(SESSIONS), "role": "train"})
    return PeopleMaterial(pd.DataFrame(rows), folds, CLASSES, stores=stores)


def measure(material: PeopleMaterial, case: str, device: torch.device) -> dict:
    """Train some epochs, and say what was waited for after the first."""
    name, options, frames, interval, size = NETWORKS[case]
    how = PeopleNetworkSettings(name=name, frames=frames, interval=interval, size=size, views=1, options=options)
    train = PeopleTrainSettings(network=how, learning=PeopleLearning(batch_size=BATCH, epochs=EPOCHS))
    facts = material.describe("clips")
    built = build_people_network(how, variant="full", facts=facts, seed=0)
    setting = Setting(material, BATCH, 1, CountedLoss(), 0, device)
    items = material.list_items()
    learner = build_learner(built.network, setting, train=train, variant="full", facts=facts)
    stepper = Stepper(learner.network, train.learning, span=Span(EPOCHS, learner.count_batches(items)))
    passes = [learner.epoch(items, epoch, stepper=stepper) for epoch in range(1, EPOCHS + 1)][1:]
    waited, worked = sum(one.data_s for one in passes), sum(one.step_s for one in passes)
    return {
        "network": case,
        "views": f"{frames} frames, {size} px",
        "clips/s": f"{len(items) * len(passes) / (waited + worked):.1f}",
        "step, ms": f"{1000 * worked / learner.count_batches(items) / len(passes):.0f}",
        "waited, share of the time": f"{waited / (waited + worked):.1%}",
    }


def main() -> None:
    """Measure all networks and print."""
    device = torch.device("cuda" if "cuda" in sys.argv else "cpu")
    size, encoding = ((360, 640), "jpeg") if "--rooms" in sys.argv else ((120, 160), "raw")
    torch.set_num_threads(1)  # of two cores, one reads
    with tempfile.TemporaryDirectory() as folder:
        material = make_material(Path(folder), size=size, encoding=encoding)
        rows = [measure(material, case, device) for case in NETWORKS]
    title = f"Waiting for frames: {SESSIONS * CLIPS} clips of {FRAMES} frames, {size[1]}x{size[0]} {encoding}"
    show(f"{title}, batches of {BATCH}, {device.type}", rows)


if __name__ == "__main__":
    main()
