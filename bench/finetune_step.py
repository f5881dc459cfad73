"""A fine-tuning step against a bare PyTorch loop on the same network, batches and machine. Target: at most 1.05 times.

The clips lie in memory, so that neither side decodes anything; both go through torch's loader. A step runs from the
start of one forward pass to the start of the next. Where a GPU is at hand it is used, else the CPU with smaller clips.
"""

from __future__ import annotations

import copy
import os
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from bench.common import show
from nbpkg.models.encoders import Encoder
from nbpkg.models.network import Classifier, Net
from nbpkg.training.finetune import FineTune, fine_tune

ROUNDS = 5


@dataclass
class Clock:
    """When each training step began, by the wall and in this process's processor time."""

    marks: list[tuple[float, float]] = field(default_factory=list)

    def __deepcopy__(self, memo: dict) -> Clock:
        return self  # the copy that is trained reports here

    def steps(self) -> list[tuple[float, float]]:
        """Return the seconds of each step, by wall and in processor time, without the first two."""
        marks = self.marks[2:]
        return [(late[0] - early[0], late[1] - early[1]) for early, late in pairwise(marks)]


class Timed(nn.Module):
    """Notes when each forward pass in train mode begins; the loop around it reads losses, so a GPU cannot lag far."""

    def __init__(self, network: nn.Module, clock: Clock) -> None:
        super().__init__()
        self.network, self.clock = network, clock

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.clock.marks.append((time.perf_counter(), time.process_time()))
        return self.network(clips)


def bare(network: nn.Module, clips: TensorDataset, how: FineTune, device: torch.device) -> None:
    """Train one epoch as one would by hand, reading the loss of every step."""
    network = copy.deepcopy(network).to(device).train()
    optimiser = torch.optim.Adam(network.parameters(), lr=how.learning_rate, weight_decay=how.weight_decay)
    losses = []
    for x, y in DataLoader(clips, batch_size=how.batch_size, pin_memory=device.type == "cuda"):
        optimiser.zero_grad()
        loss = F.cross_entropy(network(x.to(device, non_blocking=True)), y.to(device, non_blocking=True))
        loss.backward()
        optimiser.step()
        losses.append(loss.item())


def compare(name: str, network: nn.Module, shape: tuple[int, ...], *, steps: int, device: torch.device) -> dict:
    """Time both sides in turn and return a row of the table."""
    batch = shape[0]
    clips = TensorDataset(torch.randn(batch * steps, *shape[1:]), torch.arange(batch * steps) % 2)
    few = torch.utils.data.Subset(clips, range(batch))
    how = FineTune(1, batch, 1e-6, weight_decay=1e-3, shuffle=False, deterministic=False)
    seconds: dict[str, list[tuple[float, float]]] = {"bare": [], "ours": []}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(2 * ROUNDS):
            # ours bare, bare ours, ours bare: what grows or fades in the background meets both alike
            side = ("ours", "bare")[(number + number // 2) % 2]
            timed = Timed(network, Clock())
            if side == "bare":
                bare(timed, clips, how, device)
            else:
                fine_tune(
                    timed,
                    train=lambda epoch: clips if epoch else few,
                    validation=None,
                    how=how,
                    folder=Path(folder) / str(number),
                    seed=0,
                    device=device,
                    workers=0,
                )
            seconds[side] += timed.clock.steps()
    wall, busy = ({s: statistics.median(row[i] for row in rows) for s, rows in seconds.items()} for i in (0, 1))
    return {
        "network": name,
        "batch": " × ".join(map(str, shape)),
        "bare loop, ms": f"{1e3 * wall['bare']:.2f}",
        "fine_tune, ms": f"{1e3 * wall['ours']:.2f}",
        "ratio": f"{wall['ours'] / wall['bare']:.3f}",
        "ratio of processor time": f"{busy['ours'] / busy['bare']:.3f}",
        "more, ms": f"{1e3 * (wall['ours'] - wall['bare']):.2f}",
    }


def main() -> list[dict]:
    """Time the network of the published program, and one so small that only what surrounds it is left."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = Net(Encoder("mc3_18"), Classifier(512))
    large = (8, 3, 16, 112, 112) if device.type == "cuda" else (8, 3, 4, 48, 48)
    rows = [
        compare("mc3_18", network, large, steps=30 if device.type == "cuda" else 8, device=device),
        compare("a single layer", nn.Linear(8, 2), (8, 8), steps=400, device=device),
    ]
    place = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    load = f"load {os.getloadavg()[0]:.1f}"
    show(f"A fine-tuning step, median of the steps of {ROUNDS} rounds ({place}, {load})", rows)
    return rows


if __name__ == "__main__":
    main()
