"""The published programs' runs, put together from our parts: their data set, our network and our loop."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from nbpkg.datasets.valence.reference import PublishedDataset, load_published
from nbpkg.models.valence.build import build_network
from nbpkg.models.valence.options import NetworkOptions
from nbpkg.training.valence.loop import Fitted, Job, SequenceTraining, fit
from nbpkg.training.valence.reference import score_published, stack_items
from nbpkg.training.valence.scoring import answer, measure

sys.path.insert(0, str(Path(__file__).parents[2] / "golden"))
from fill import fill_array

CPU = torch.device("cpu")
FOLDERS = {"audio": "CombinedAudio", "text": "CombinedText", "v_sub": "CombinedVSub"}
WIDTHS = {"audio": 990, "text": 300, "v_sub": 4096}
AT, TV = ("audio", "text"), ("text", "v_sub")


def read_part(tree: Path, part: str, modalities=AT, *, truncate: bool) -> PublishedDataset:
    """Read a part of the tiny tree in the order of its files."""
    found = []
    for path in sorted((tree / part / "Annotations").glob("*.csv")):
        features = {}
        for name in modalities:
            file = next((tree / part / FOLDERS[name]).glob(f"{path.stem}[._]*"))
            features[name] = np.load(file) if file.suffix == ".npy" else pd.read_csv(file).to_numpy()
        _, subject, _, story = path.stem.split("_")
        frames = pd.read_csv(path)["valence"].to_numpy()
        found.append(load_published(frames, features, subject=subject, story=story, ratio=25, truncate=truncate))
    return PublishedDataset(found, ratio=25)


def build(prefix: str, modalities=AT):
    """The published network without dropout, its weights drawn from their names."""
    options = NetworkOptions(dropout=dict.fromkeys(modalities, 0.0))
    network = build_network("combined_lstm", modalities, widths=WIDTHS, options=options)
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    network.load_state_dict({key: torch.from_numpy(fill_array(prefix + key, shape)) for key, shape in shapes.items()})
    return network.eval()


def train(
    folder: Path, train: PublishedDataset, test: PublishedDataset, *, split: int, **how
) -> tuple[Fitted, torch.nn.Module]:
    """Train as the published program does; return the network of the best epoch."""
    segments = train.split(split)
    stack = stack_items([segments[place] for place in range(len(segments))], segments.modalities)
    network, settings = build("init:"), SequenceTraining(learning_rate=1e-3, select="held_out", **how)
    scored = {"held_out": score_published(test)}
    fitted = fit(Job(network, stack, scored, settings, 1, CPU, folder, folder, {}, lambda _: None))
    network.load_state_dict(fitted.best)
    return fitted, network


def ccc(network, dataset: PublishedDataset) -> float:
    """Mean concordance over the recordings of a data set."""
    return measure(network, score_published(dataset), device=CPU)["ccc"]


def predict(network, dataset: PublishedDataset) -> dict[str, np.ndarray]:
    """Answers of every recording, frame by frame."""
    scored = score_published(dataset)
    made = answer(network, scored.stack, device=CPU)
    names = [f"Subject_{one.subject}_Story_{one.story}" for one in dataset.recordings]
    return {name: scored.to_frames(place, made[place]) for place, name in enumerate(names)}


def embed(network, dataset: PublishedDataset) -> dict[str, np.ndarray]:
    """Features for late fusion of every recording."""
    names = [f"Subject_{one.subject}_Story_{one.story}" for one in dataset.recordings]
    return dict(zip(names, answer(network, score_published(dataset).stack, device=CPU, embed=True), strict=True))
