"""Cross-validation of the published fusion network: a plain loop as published, against folds side by side.

Target: over the first 20 epochs of the five-fold cross-validation at the published sizes (audio 990, text 300; 50
sessions of about 316 s in five segments, batches of 25), at least 1.3 times as fast as the published loop on two cores,
with the same losses (1e-4) and the same evaluations; with a GPU at least 4 times. ``--short`` makes two epochs,
``--device cuda`` asks for the GPU.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from bench.common import show
from nbpkg import seeding
from nbpkg.datasets.valence.recording import Recording
from nbpkg.datasets.valence.segments import cut
from nbpkg.metrics.valence.concordance import ccc, pearson
from nbpkg.metrics.valence.frames import steps_to_frames
from nbpkg.models.valence.combined import CombinedLstm, look_back
from nbpkg.models.valence.options import NetworkOptions
from nbpkg.training.rounds import Where
from nbpkg.training.valence.crossval import train_rounds
from nbpkg.training.valence.loop import SequenceTraining
from nbpkg.training.valence.material import ValenceMaterial
from nbpkg.training.valence.one_round import Plan
from nbpkg.training.valence.rounds import list_crossval

WIDTHS = {"audio": 990, "text": 300}
OPTIONS = NetworkOptions(dropout=dict.fromkeys(WIDTHS, 0.0))
FOLDS, SUBJECTS, SPLIT, BATCH, RATE, DECAY, RATIO, SEED = 5, 10, 5, 25, 1e-5, 5e-4, 25, 0


def make_material() -> ValenceMaterial:
    """Sessions of 300 to 332 s, each story a fold."""
    made = {}
    for story in range(FOLDS):
        for subject in range(SUBJECTS):
            chance, session = np.random.default_rng([story, subject]), f"Subject_{subject}_Story_{story}"
            steps = int(chance.integers(300, 333))
            features = {
                name: chance.standard_normal((steps, width)).astype(np.float32) for name, width in WIDTHS.items()
            }
            valence = np.clip(np.cumsum(chance.normal(0, 0.05, steps)), -1, 1)
            present = {name: np.ones(steps, bool) for name in WIDTHS}
            facts = (session, str(subject), str(story), "Training", "")
            made[session] = Recording(*facts, features, present, valence, np.repeat(valence, RATIO), False)
    stories = [int(one.story) for one in made.values()]
    folds = pd.DataFrame({"session": list(made), "group": stories, "fold": stories, "role": "train"})
    return ValenceMaterial(made, folds, tuple(WIDTHS), RATIO, "bench")


class Packed(CombinedLstm):
    """The network as published: sequences are packed for the LSTM."""

    def published(self, inputs: dict[str, torch.Tensor], mask: torch.Tensor, lengths: list[int]) -> torch.Tensor:
        """Answer each step."""
        joined = torch.cat([self.get_submodule(f"embed_{name}")(inputs[name]) for name in self.modalities], dim=-1)
        weights = torch.softmax(self.attn(joined), dim=-1)
        packed, _ = self.lstm(pack_padded_sequence(joined, lengths, batch_first=True))
        states, _ = pad_packed_sequence(packed, batch_first=True)
        return self.dec_target(look_back(states, weights)) * mask


def collate(items: list[tuple[np.ndarray, ...]], device: torch.device) -> tuple[Any, ...]:
    """Sort, pad and convert the items of a batch, as done there for every batch of every epoch."""
    items = sorted(items, key=lambda item: len(item[0]), reverse=True)
    lengths = [len(item[0]) for item in items]
    padded = []
    for column in zip(*items, strict=True):
        block = np.zeros((len(items), lengths[0], column[0].shape[1]))
        for row, values in zip(block, column, strict=True):
            row[: len(values)] = values
        padded.append(torch.from_numpy(block).float().to(device))
    mask = (torch.arange(lengths[0])[None] < torch.tensor(lengths)[:, None])[..., None].to(device)
    return dict(zip(WIDTHS, padded[:-1], strict=True)), padded[-1], mask, lengths


def train_published(
    material: ValenceMaterial, epochs: int, device: torch.device
) -> dict[str, list[tuple[float, float]]]:
    """Train the folds one after the other; return loss and score of every epoch of every round."""
    found: dict[str, list[tuple[float, float]]] = {}
    for one in list_crossval(material.folds, select="held_out"):
        seed = seeding.child(SEED, "valence", "crossval", one.name)
        torch.manual_seed(seeding.child(SEED, "valence", "network"))
        network = Packed(tuple(WIDTHS), WIDTHS, options=OPTIONS).to(device)
        optimiser = torch.optim.Adam(network.parameters(), lr=RATE, weight_decay=DECAY)
        items = [
            tuple(values[start:end] for values in _columns(recording))
            for recording in material.take(one.train)
            for start, end in cut(recording.steps, SPLIT)
        ]
        held_out, course = material.take(one.held_out), []
        for epoch in range(1, epochs + 1):
            generator = torch.Generator().manual_seed(seeding.child(seed, "segments", epoch))
            order = torch.randperm(len(items), generator=generator).tolist()
            network.train()
            total, steps = 0.0, 0
            for start in range(0, len(order), BATCH):
                inputs, truth, mask, lengths = collate([items[place] for place in order[start : start + BATCH]], device)
                squares = (network.published(inputs, mask, lengths) - truth).square().sum()
                optimiser.zero_grad()
                (squares / sum(lengths)).backward()
                optimiser.step()
                total, steps = total + squares.item(), steps + sum(lengths)
            course.append((total / steps, _evaluate(network, held_out, device)))
        found[one.name] = course
    return found


@torch.no_grad()
def _evaluate(network: Packed, recordings: list[Recording], device: torch.device) -> float:
    """Score whole sessions one by one."""
    network.eval()
    scores = []
    for recording in recordings:
        inputs, _, mask, lengths = collate([_columns(recording)], device)
        answer = network.published(inputs, mask, lengths)[0, :, 0].cpu().numpy()
        frames = steps_to_frames(answer, len(recording.original), ratio=RATIO)
        pearson(recording.original, frames)
        scores.append(ccc(recording.original, frames))
    return float(np.mean(scores))


def _columns(recording: Recording) -> tuple[np.ndarray, ...]:
    return (*recording.features.values(), recording.valence[:, None])


def train_ours(
    material: ValenceMaterial, epochs: int, device: torch.device, *, workers: int
) -> dict[str, list[tuple[float, float]]]:
    """Train the folds side by side; losses and scores as from `train_published`."""
    how = SequenceTraining(epochs, BATCH, RATE, DECAY, select="held_out")
    plan = Plan("crossval", "combined_lstm", OPTIONS, how, "none", {}, SPLIT, SEED, checkpoints=True)
    with tempfile.TemporaryDirectory() as folder:
        where = Where(Path(folder), SEED, device, workers)
        outcomes = train_rounds(material, list_crossval(material.folds, select="held_out"), plan=plan, where=where)
    found = {}
    for one in outcomes:
        rows = pd.DataFrame(one.history, columns=["epoch", "split", "metric", "value"])
        losses = rows.query("split == 'train'")["value"].tolist()
        scores = rows.query("split == 'held_out' and metric == 'ccc'")["value"].tolist()
        found[str(one.trial["round"])] = list(zip(losses, scores, strict=True))
    return found


def count_operations(material: ValenceMaterial, epochs: int) -> float:
    """Count the multiplications and additions of all matrix products."""
    embed, hidden, joined = OPTIONS.embed, 512, OPTIONS.embed * len(WIDTHS)
    step = sum(WIDTHS.values()) * embed + joined * embed + embed * OPTIONS.attention_steps
    step += 4 * hidden * (joined + hidden) + hidden * embed + embed
    seconds = sum(one.steps for one in material.recordings.values())
    # Every session is learnt from in all folds but one, with a backward pass of twice the work, and scored in one.
    return 2.0 * step * seconds * epochs * (3 * (FOLDS - 1) + 1)


def measure_throughput(device: torch.device) -> float:
    """Return the operations per second of large matrix products."""
    size = 2048 if device.type == "cpu" else 8192
    a, b = (torch.randn(size, size, device=device) for _ in range(2))
    best = 0.0
    for _ in range(5):
        start = time.perf_counter()
        float((a @ b)[0, 0])
        best = max(best, 2 * size**3 / (time.perf_counter() - start))
    return best


def main() -> None:
    """Compare both and print."""
    short, device = "--short" in sys.argv, torch.device("cuda" if "cuda" in sys.argv else "cpu")
    epochs, workers = 2 if short else 20, 2
    material = make_material()
    torch.set_num_threads(2)
    peak = measure_throughput(device)
    work = count_operations(material, epochs)
    times, found = {}, {}
    start = time.perf_counter()
    found["published loop"] = train_published(material, epochs, device)
    times["published loop"] = time.perf_counter() - start
    torch.set_num_threads(1)  # of each of two processes
    start = time.perf_counter()
    found["folds side by side"] = train_ours(material, epochs, device, workers=workers)
    times["folds side by side"] = time.perf_counter() - start
    first, second = (np.array(list(own.values())) for own in found.values())
    away = np.abs(first - second).max(axis=(0, 1))
    rows = [
        {
            "cross-validation": name,
            "seconds": f"{seconds:.1f}",
            "times as fast": f"{times['published loop'] / seconds:.2f}",
            "share of matrix throughput": f"{work / seconds / peak:.0%}",
            "losses differ by": f"{away[0]:.1e}",
            "scores differ by": f"{away[1]:.1e}",
        }
        for name, seconds in times.items()
    ]
    title = f"Five-fold cross-validation, {epochs} epochs, audio and text, published sizes, {device.type}"
    show(f"{title} ({work / 1e9:.0f} G operations; matrix products: {peak / 1e9:.0f} G/s)", rows)


if __name__ == "__main__":
    main()
