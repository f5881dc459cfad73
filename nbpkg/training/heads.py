"""Train many linear two-class heads on the same features at once.

The loss of a two-class head and its slope depend on the two rows of scores only through their difference, so all heads
of a search share two matrix products per pass; Adam, which works entry by entry, is run on all weights side by side.

Source: MarcFraile/infant-engagement, ``local/training.py``, which trains one head after the other. Every run here ends
as it would there, but for the rounding of 32-bit sums.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from nbpkg.errors import FoldError, SettingsError, WeightsError
from nbpkg.training.head_passes import Chunk, Floats, Rows, Split, open_pool
from nbpkg.training.head_runs import HeadRuns, HeadSettings, Weights, initial_heads
from nbpkg.training.history import Course, choose_epoch, score
from nbpkg.training.lbfgs_heads import train_one_by_one

__all__ = ["HeadRuns", "HeadSettings", "Rows", "Weights", "initial_heads", "train_heads"]

BETAS, EPSILON = (0.9, 0.999), 1e-8  # of Adam, torch's defaults
RUNS, LANE = 1024, 16  # runs of one matrix product, and numbers of one vector register
MOVED = 2**16  # weights moved at a time, so that Adam's averages stay in cache


def train_heads(
    train: Rows,
    validation: Rows | None,
    *,
    settings: HeadSettings,
    weights: Weights,
    epochs: int,
    window: int,
    warm_up: int,
    optimiser: str = "adam",
    device: str | torch.device = "cpu",
    watch: Mapping[str, Rows] | None = None,
) -> HeadRuns:
    """Train R heads, each as the published loop would: one whole-batch step an epoch, the best epoch remembered.

    The rows are copied once (n × D × 4 bytes). On a CPU, `torch.get_num_threads` threads share them; the same number of
    threads gives the same bytes.

    Parameters
    ----------
    train
        Features [n, D], finite, and labels [n], 0 and 1, both present.
    validation
        Likewise; chooses the epoch. None: the last epoch is kept.
    settings
        R runs.
    weights
        Where each starts, e.g. from `initial_heads`.
    epochs, window, warm_up
        Steps, and the rule of the best epoch (see `nbpkg.training.history.choose_epoch`).
    optimiser
        ``adam``, or ``lbfgs``, which has nothing to share and is run one by one; its losses include the penalty, and
        a recorded training loss is the last one that a step looked at.
    device
        Where to compute Adam's runs.
    watch
        Names to further rows that are only measured.

    Returns
    -------
    HeadRuns
        Entry 1 of the training split equals entry 0: both are measured before the first step.

    Raises
    ------
    TableError
        For features that are not finite, and for rows, labels and columns that do not fit together.
    FoldError
        When the training rows hold a single class.
    WeightsError
        When the initial weights have other shapes or are not finite.
    SettingsError
        For an unknown optimiser or negative numbers of epochs.
    """
    given = {"train": train, **({} if validation is None else {"validation": validation})}
    if set(watch or {}) & {"train", "validation"}:
        raise SettingsError("'train' and 'validation' cannot be watched.", remedy="Give the rows another name.")
    given |= dict(watch or {})
    _check_numbers(optimiser, epochs=epochs, window=window, warm_up=warm_up)
    _check_weights(weights, (settings.count, 2, np.shape(train[0])[-1]))
    where = torch.device(device if optimiser == "adam" else "cpu")
    splits = {name: Split(part, np.shape(train[0])[-1], name=name) for name, part in given.items()}
    counts = splits["train"].counts
    if not counts.all():
        raise FoldError(
            f"All {counts.sum()} training rows are of class {int(counts[0] == 0)}.",
            expected="Rows of both classes: a head cannot learn, nor a class be weighed, from one alone.",
            remedy="Use fewer folds or more sessions, or leave this task and variable out.",
        )
    plan = _Plan(splits, epochs, window, warm_up, where)
    return (_run_adam if optimiser == "adam" else _run_lbfgs)(plan, settings, weights)


class _Plan(NamedTuple):
    splits: dict[str, Split]
    epochs: int
    window: int
    warm_up: int
    device: torch.device


class _Group:
    """Runs that are trained together: all arrays are [..., runs], padded to whole vector registers."""

    def __init__(self, plan: _Plan, settings: HeadSettings, weights: Weights) -> None:
        self.plan, self.count = plan, settings.count
        width = -(-self.count // LANE) * LANE
        state = np.zeros((2, weights.weight.shape[2] + 1, width), np.float32)
        state[:, :-1, : self.count] = weights.weight.transpose(1, 2, 0)
        state[:, -1, : self.count] = weights.bias.T
        self.state = torch.from_numpy(state).to(plan.device)
        self.mean, self.square = torch.zeros_like(self.state), torch.zeros_like(self.state)
        self.best, self.heads = self.state.clone(), self.state[1] - self.state[0]
        self.rate, self.gamma, decay, weighted = (
            np.pad(np.asarray(column, np.float64), (0, width - self.count))
            for column in (settings.learning_rate, 1 - settings.lr_decay, settings.weight_decay, settings.class_weights)
        )
        self.decay = self._vector(decay)
        counts = plan.splits["train"].counts
        self.balance = np.where(weighted > 0, (counts.sum() / counts)[:, None], 1.0)
        self.workers = torch.get_num_threads() if plan.device.type == "cpu" else 1
        self.shares = {
            name: split.deal(width, device=plan.device, workers=self.workers) for name, split in plan.splits.items()
        }
        self.loss = {name: np.full((width, plan.epochs + 1), np.nan) for name in plan.splits}
        self.wrong = {name: np.full((width, plan.epochs + 1, 2), np.nan) for name in plan.splits}
        self.f1, self.failed = np.full((width, plan.epochs + 1), np.nan), np.zeros(width, bool)
        self.best_epoch, self.best_score = np.zeros(width, np.int64), np.full(width, -np.inf)

    def train(self) -> _Group:
        """Run all epochs."""
        others = [name for name in self.plan.splits if name != "train"]
        with open_pool(self.workers) as self.pool:
            for epoch in range(self.plan.epochs + 1):
                if epoch:
                    self._step(epoch)
                for name in others:
                    self._measure(name, epoch)
                if "validation" in others:
                    self._choose(epoch)
            if not self.plan.epochs:
                self._measure("train", 0)
        self.shares.clear()  # their memory is for the next group
        if self.plan.epochs:
            for course in (self.loss["train"], self.wrong["train"]):
                course[:, 0] = course[:, 1]
        if "validation" not in others:
            self.best, self.best_epoch[:] = self.state, self.plan.epochs
        return self

    def _choose(self, epoch: int) -> None:
        """Keep the weights of runs that are better now than ever: `choose_epoch`, told before the end."""
        self.failed |= ~np.isfinite(self.loss["validation"][:, epoch])
        self.failed |= ~np.isfinite(self.loss["train"][:, epoch]) & (epoch > 0)
        table = _tabulate(self.wrong["validation"][:, epoch], self.plan.splits["validation"].counts)
        self.f1[:, epoch] = np.where(self.failed, np.nan, score(table, "f1"))
        if 0 < epoch <= self.plan.warm_up:
            return
        first = max(0, epoch - self.plan.window) if epoch else epoch
        now = self.f1[:, first : epoch + 1].mean(axis=-1)
        better = now > self.best_score
        self.best_score[better], self.best_epoch[better] = now[better], epoch
        if epoch and better.any():
            mask = torch.from_numpy(better).to(self.state.device)
            torch.where(mask, self.state, self.best, out=self.best)

    def _step(self, epoch: int) -> None:
        """Measure the training rows, then let Adam move all weights, some at a time."""
        factor = self._measure("train", epoch, slopes=True)
        rate = self._vector(-self.rate / (1 - BETAS[0] ** epoch))
        unbias = (1 - BETAS[1] ** epoch) ** 0.5
        places = len(self.heads)
        height = places if self.plan.device.type != "cpu" else max(1, MOVED // self.heads.shape[1])
        parts = [slice(start, start + height) for start in range(0, places, height)]
        list(self.pool.map(lambda part: self._move(part, factor, rate=rate, unbias=unbias), parts))
        self.rate = self.rate * self.gamma

    def _move(self, part: slice, factor: list[torch.Tensor], *, rate: torch.Tensor, unbias: float) -> None:
        """Let Adam move the weights of some features in all runs."""
        state, mean, square = self.state[:, part], self.mean[:, part], self.square[:, part]
        slope = torch.zeros_like(state[0])
        for share in self.shares["train"]:
            for chunk in share:
                slope.addcmul_(chunk.slope[part], factor[chunk.label])
        gradient = state * self.decay
        gradient[0].sub_(slope)
        gradient[1].add_(slope)
        mean.lerp_(gradient, 1 - BETAS[0])
        square.mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
        size = torch.sqrt(square, out=gradient).div_(unbias).add_(EPSILON)
        state.addcmul_(torch.div(mean, size, out=size), rate)
        torch.sub(state[1], state[0], out=self.heads[part])

    def _measure(self, name: str, epoch: int, *, slopes: bool = False) -> list[torch.Tensor]:
        """Note loss and wrong answers of one split; return what a row of each class weighs in the mean, [runs] each."""
        factor = self.balance / (self.balance * self.plan.splits[name].counts[:, None]).sum(axis=0)

        def run(share: list[Chunk]) -> list[tuple[int, Floats, Floats]]:
            return [(chunk.label, *chunk.run(self.heads, slopes=slopes)) for chunk in share]

        self.loss[name][:, epoch], self.wrong[name][:, epoch] = 0, 0
        for found in self.pool.map(run, self.shares[name]):
            for label, wrong, loss in found:
                self.loss[name][:, epoch] += loss * factor[label]
                self.wrong[name][:, epoch, label] += wrong
        return [self._vector(row) for row in factor]

    def _vector(self, values: NDArray[np.float64]) -> torch.Tensor:
        return torch.from_numpy(values.astype(np.float32)).to(self.plan.device)


def _tabulate(wrong: NDArray[np.float64], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Turn wrong answers [..., 2] of each class into confusion matrices [..., 2, 2]."""
    zeros, ones = wrong[..., 0], wrong[..., 1]
    return np.stack([np.stack([counts[0] - zeros, zeros], -1), np.stack([ones, counts[1] - ones], -1)], -2)


def _run_adam(plan: _Plan, settings: HeadSettings, weights: Weights) -> HeadRuns:
    """Train the runs in groups that are as wide as pays."""
    edges = np.linspace(0, settings.count, -(-settings.count // RUNS) + 1).astype(int).tolist()
    groups = [
        _Group(plan, settings.take(part), Weights(weights.weight[part], weights.bias[part])).train()
        for part in (slice(*edge) for edge in pairwise(edges))
    ]
    splits = {}
    for name, split in plan.splits.items():
        wrong = np.concatenate([group.wrong[name][: group.count] for group in groups])
        loss = np.concatenate([group.loss[name][: group.count] for group in groups])
        splits[name] = Course(loss, _tabulate(wrong, split.counts))
    best_epoch = np.concatenate([group.best_epoch[: group.count] for group in groups])
    best, last = (_gather([getattr(group, name)[..., : group.count] for group in groups]) for name in ("best", "state"))
    return _finish(splits, best_epoch, best, last)


def _gather(states: Sequence[torch.Tensor]) -> Weights:
    """Put weights [2, D + 1, runs] of the groups together again."""
    whole = np.concatenate([state.cpu().numpy().transpose(2, 0, 1) for state in states])
    return Weights(np.ascontiguousarray(whole[..., :-1]), np.ascontiguousarray(whole[..., -1]))


def _finish(splits: dict[str, Course], best_epoch: NDArray[np.int64], best: Weights, last: Weights) -> HeadRuns:
    """Say which runs failed, and when; what they answered from then on counts for nothing."""
    broken = ~np.isfinite(splits["train"].loss)
    if "validation" in splits:
        broken |= ~np.isfinite(splits["validation"].loss)
    broken[:, -1] |= ~np.isfinite(last.weight).all(axis=(1, 2)) | ~np.isfinite(last.bias).all(axis=1)
    for course in splits.values():
        course.confusion[np.logical_or.accumulate(broken, axis=1)] = np.nan
    return HeadRuns(splits, best_epoch, best, last, np.where(broken.any(axis=1), broken.argmax(axis=1), -1))


def _run_lbfgs(plan: _Plan, settings: HeadSettings, weights: Weights) -> HeadRuns:
    parts = {name: split.plain() for name, split in plan.splits.items()}
    counts = plan.splits["train"].counts
    splits, states = train_one_by_one(
        parts, settings=settings, weights=weights, balance=counts.sum() / counts, epochs=plan.epochs
    )
    every, last = np.arange(settings.count), np.full(settings.count, plan.epochs)
    end = Weights(*(part[:, -1] for part in states))
    runs = _finish(splits, last, end, end)
    if "validation" not in splits:
        return runs
    f1 = score(splits["validation"].confusion, "f1")
    epochs, _ = choose_epoch(f1, window=plan.window, warm_up=plan.warm_up)
    return replace(runs, best_epoch=epochs, best=Weights(*(part[every, epochs] for part in states)))


def _check_numbers(optimiser: str, *, epochs: int, window: int, warm_up: int) -> None:
    if optimiser not in ("adam", "lbfgs"):
        raise SettingsError(f"There is no optimiser {optimiser!r}.", expected="adam or lbfgs.")
    if min(epochs, window, warm_up) < 0:
        raise SettingsError(
            f"epochs is {epochs}, window {window} and warm_up {warm_up}.", expected="Whole numbers of 0 or more."
        )


def _check_weights(weights: Weights, shape: tuple[int, int, int]) -> None:
    found = np.shape(weights.weight), np.shape(weights.bias)
    if found != (shape, shape[:2]):
        raise WeightsError(
            f"Initial weights have shape {found[0]} and biases {found[1]}.",
            expected=f"{shape} and {shape[:2]}: runs, classes, features.",
            remedy="Draw one head for each run with initial_heads.",
        )
    if not (np.isfinite(weights.weight).all() and np.isfinite(weights.bias).all()):
        raise WeightsError("Initial weights are not finite.", remedy="Draw them again with initial_heads.")
