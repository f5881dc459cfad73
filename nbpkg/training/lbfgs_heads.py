"""Train linear two-class heads with torch's own LBFGS, whose runs have nothing to share with one another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from nbpkg.training.head_passes import open_pool
from nbpkg.training.head_runs import HeadSettings, Weights
from nbpkg.training.history import Course

Part = tuple[torch.Tensor, torch.Tensor]


class _Line(NamedTuple):
    courses: dict[str, Course]
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]


def train_one_by_one(
    parts: Mapping[str, Part],
    *,
    settings: HeadSettings,
    weights: Weights,
    balance: NDArray[np.float64],
    epochs: int,
) -> tuple[dict[str, Course], Weights]:
    """Take one whole-batch LBFGS step (up to 20 looks at the rows) an epoch, each run in one thread.

    Parameters
    ----------
    parts
        ``train`` and other names to features [n, D] and labels [n], int64.
    settings
        R runs. The loss of every split is its mean cross entropy plus the weight decay times the sum of squares of
        weights and biases.
    weights
        Where each starts.
    balance
        What a row of each class weighs in runs with class weights, [2].
    epochs
        Steps.

    Returns
    -------
    tuple
        Courses by split, and the weights [R, epochs + 1, 2, D] and biases [R, epochs + 1, 2] after each epoch. The
        training entries of an epoch are those of the last look during its step.

    Source
    ------
    MarcFraile/infant-engagement, ``local/training.py`` with ``LBFGS``: torch's defaults but for the learning rate.
    """
    weighing = torch.from_numpy(balance).float()

    def train(run: int) -> _Line:
        return _train(
            parts,
            (torch.from_numpy(weights.weight[run]), torch.from_numpy(weights.bias[run])),
            learning_rate=float(settings.learning_rate[run]),
            gamma=1 - float(settings.lr_decay[run]),
            weight_decay=float(settings.weight_decay[run]),
            balance=weighing if settings.class_weights[run] else None,
            epochs=epochs,
        )

    with open_pool(torch.get_num_threads()) as pool:
        lines = list(pool.map(train, range(settings.count)))
    courses = {
        name: Course(
            np.stack([line.courses[name].loss for line in lines]),
            np.stack([line.courses[name].confusion for line in lines]),
        )
        for name in parts
    }
    return courses, Weights(np.stack([line.weight for line in lines]), np.stack([line.bias for line in lines]))


def _train(
    parts: Mapping[str, Part],
    start: Part,
    *,
    learning_rate: float,
    gamma: float,
    weight_decay: float,
    balance: torch.Tensor | None,
    epochs: int,
) -> _Line:
    weight, bias = (values.clone().requires_grad_() for values in start)
    optimiser = torch.optim.LBFGS([weight, bias], lr=learning_rate)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimiser, gamma)
    losses: dict[str, list[float]] = {name: [] for name in parts}
    tables: dict[str, list[NDArray[np.float64]]] = {name: [] for name in parts}
    states = []

    def look(name: str) -> tuple[torch.Tensor, torch.Tensor]:
        features, labels = parts[name]
        scores = F.linear(features, weight, bias)
        penalty = weight_decay * (weight.square().sum() + bias.square().sum())
        return F.cross_entropy(scores, labels, balance) + penalty, scores

    def note(name: str, loss: torch.Tensor, scores: torch.Tensor) -> None:
        cells = torch.bincount(2 * parts[name][1] + scores.argmax(dim=1), minlength=4)
        losses[name].append(loss.item())
        tables[name].append(cells.reshape(2, 2).double().numpy())

    def step() -> tuple[torch.Tensor, torch.Tensor]:
        seen: list[torch.Tensor] = []

        def closure() -> torch.Tensor:
            optimiser.zero_grad()
            loss, scores = look("train")
            loss.backward()
            seen[:] = [loss.detach(), scores.detach()]
            return loss

        optimiser.step(closure)
        schedule.step()
        return seen[0], seen[1]

    for epoch in range(epochs + 1):
        if epoch:
            note("train", *step())
        with torch.no_grad():
            for name in parts:
                if epoch == 0 or name != "train":
                    note(name, *look(name))
        states.append([values.detach().numpy().copy() for values in (weight, bias)])
    courses = {name: Course(np.array(losses[name]), np.stack(tables[name])) for name in parts}
    return _Line(courses, np.stack([first for first, _ in states]), np.stack([last for _, last in states]))
