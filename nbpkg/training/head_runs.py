"""What goes into the training of many heads, and what comes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from nbpkg.errors import SettingsError
from nbpkg.training.history import Course, History


class Weights(NamedTuple):
    """Weights [R, 2, D] and biases [R, 2] of R heads, float32."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]


@dataclass(frozen=True)
class HeadSettings:
    """Settings of R runs; a setting that is tried with several initial weights is repeated.

    Parameters
    ----------
    learning_rate
        [R], above 0.
    lr_decay
        [R], 0 to 1: the learning rate is multiplied by one minus this after each epoch.
    weight_decay
        [R], 0 or more, of weights and biases; within the gradient for Adam, within the loss for LBFGS.
    class_weights
        [R], whether each class weighs one over its share of the training rows.
    """

    learning_rate: NDArray[np.float64]
    lr_decay: NDArray[np.float64]
    weight_decay: NDArray[np.float64]
    class_weights: NDArray[np.bool_]

    def __post_init__(self) -> None:
        """Check lengths and ranges."""
        kinds = {"learning_rate": float, "lr_decay": float, "weight_decay": float, "class_weights": bool}
        columns = {name: np.asarray(getattr(self, name), kind) for name, kind in kinds.items()}
        if len({column.shape for column in columns.values()}) > 1 or self.count == 0:
            shapes = ", ".join(f"{name} {column.shape}" for name, column in columns.items())
            raise SettingsError(f"The settings have shapes {shapes}.", expected="[R] each, R at least 1.")
        for name, column in columns.items():
            top = 1 if name == "lr_decay" else np.inf
            wrong = ~np.isfinite(column) | (column < 0) | (column > top) | ((column == 0) & (name == "learning_rate"))
            if wrong.any():
                raise SettingsError(
                    f"{name} is {column[wrong][0]}.",
                    where=f"run {int(wrong.argmax())}",
                    expected="A learning rate above 0, a decay from 0 to 1 and a weight decay of 0 or more.",
                )
            object.__setattr__(self, name, column)

    @property
    def count(self) -> int:
        """R."""
        return np.size(self.learning_rate)

    def repeat(self, times: int) -> HeadSettings:
        """Return each run `times` times, one after the other."""
        return self.take(np.repeat(np.arange(self.count), times))

    def take(self, runs: slice | NDArray[np.int64]) -> HeadSettings:
        """Return some of the runs."""
        return HeadSettings(
            self.learning_rate[runs], self.lr_decay[runs], self.weight_decay[runs], self.class_weights[runs]
        )


@dataclass(frozen=True)
class HeadRuns:
    """What R trainings came to.

    Parameters
    ----------
    splits
        ``train``, ``validation`` (when given) and the names watched; courses with loss [R, epochs + 1] and confusion
        [R, epochs + 1, 2, 2], which is NaN from the epoch on at which a run failed.
    best_epoch
        [R], by the rule of `nbpkg.training.history.choose_epoch`; the last one without validation rows.
    best, last
        Weights at the best and at the last epoch.
    failed_at
        [R], first epoch with a loss that is no finite number, -1 for runs that went well.
    """

    splits: dict[str, Course]
    best_epoch: NDArray[np.int64]
    best: Weights
    last: Weights
    failed_at: NDArray[np.int64]

    def history(self, run: int) -> History:
        """Return the history of one run."""
        courses = {name: Course(part.loss[run], part.confusion[run]) for name, part in self.splits.items()}
        return History(courses, int(self.best_epoch[run]))


def initial_heads(seeds: Sequence[int], features: int) -> Weights:
    """Draw the weights that ``torch.nn.Linear(features, 2)`` starts with after ``torch.manual_seed`` of each seed.

    Torch's own generators are left alone.
    """
    weight = np.empty((len(seeds), 2, features), np.float32)
    bias = np.empty((len(seeds), 2), np.float32)
    for run, seed in enumerate(seeds):
        source = torch.Generator().manual_seed(int(seed))
        start = torch.nn.init.kaiming_uniform_(torch.empty(2, features), a=5**0.5, generator=source)
        weight[run] = start.numpy()
        bias[run] = torch.empty(2).uniform_(-(features**-0.5), features**-0.5, generator=source).numpy()
    return Weights(weight, bias)
