"""One training of a network over sequences: the published objective, resumed from a whole state, scored as it goes.

Source: the published program's training loop: per batch the sum of squared errors over all steps, divided by their
number; Adam with the weight decay in the gradient; no schedule. There, what was resumed began again at epoch 1 with a
fresh optimiser; here the same bytes come out, however often a training is cut off.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor

from nbpkg import seeding
from nbpkg.datasets.valence.segments import Batch, Stack, batches
from nbpkg.errors import DivergedError, SettingsError, StageError
from nbpkg.models.valence.build import SequenceNetwork
from nbpkg.models.weights import State
from nbpkg.runs.files import new_file
from nbpkg.training import checkpointing
from nbpkg.training.valence.rounds import Select
from nbpkg.training.valence.scoring import Scored, measure

STATE = "state.pt"
Tick = Callable[[float], None]


@dataclass(frozen=True)
class SequenceTraining:
    """Settings of one training.

    Parameters
    ----------
    epochs
        Passes over the segments.
    batch_size
        Segments in a batch.
    learning_rate, weight_decay
        Of the optimiser; the decay is added to the gradient.
    eval_every
        Epochs from one evaluation to the next.
    save_every
        Epochs from one saved state, and checkpoint where there are any, to the next.
    select
        What chooses the epoch kept: the sessions of split ``inner`` or ``held_out``; ``epoch``: a number; ``last``.
    epoch
        That number.
    optimiser
        ``adam``, or ``sgd`` as the published text program has it.
    whole_batches
        Whether a last batch that is not full is left out, as the published text program does.

    Raises
    ------
    SettingsError
        When the epoch kept is never reached.
    """

    epochs: int
    batch_size: int = 25
    learning_rate: float = 1e-5
    weight_decay: float = 5e-4
    eval_every: int = 1
    save_every: int = 100
    select: Select = "last"
    epoch: int | None = None
    optimiser: Literal["adam", "sgd"] = "adam"
    whole_batches: bool = False

    def __post_init__(self) -> None:
        if self.select == "epoch" and self.epoch is not None and self.epoch > self.epochs:
            raise SettingsError(
                f"Epoch {self.epoch} is to be kept, but there are {self.epochs}.",
                expected="An epoch that is reached.",
                remedy="Train longer, or name an earlier epoch.",
            )


class Job(NamedTuple):
    """All that one training needs.

    Parameters
    ----------
    network
        Where training begins; changed.
    segments
        What is learnt from.
    scored
        Sessions scored, by split (``inner``, ``held_out``).
    how
        Settings.
    seed
        Of order and dropout.
    device
        Where to compute.
    folder
        For the state; one folder, one training.
    checkpoints
        Folder for the network of every `save_every`-th epoch; None for none.
    identity
        What makes the training what it is, beside the settings and seed.
    tick
        Called after each epoch.
    """

    network: SequenceNetwork
    segments: Stack
    scored: Mapping[str, Scored]
    how: SequenceTraining
    seed: int
    device: torch.device
    folder: Path
    checkpoints: Path | None
    identity: Mapping[str, Any]
    tick: Tick


@dataclass
class Course:
    """What is known after some epochs.

    Parameters
    ----------
    identity
        What makes the training what it is.
    epoch
        Epochs made.
    best_epoch, best_value
        Epoch kept so far, and its score where one chooses.
    history
        Rows epoch, split, metric, value.
    """

    identity: dict[str, Any]
    epoch: int = 0
    best_epoch: int = 0
    best_value: float = -math.inf
    history: list[list[Any]] = field(default_factory=list)

    def best_of(self, split: str) -> float:
        """Return the best concordance of a split over epochs; NaN when there is none."""
        own = [row[3] for row in self.history if row[1:3] == [split, "ccc"] and not math.isnan(row[3])]
        return max(own, default=math.nan)


class Fitted(NamedTuple):
    """The result of a training: its course, and the network's state dict at the epoch kept, on the CPU."""

    course: Course
    best: State


def fit(job: Job) -> Fitted:
    """Train from where the folder is to the last epoch.

    Random numbers of an epoch follow from the seed and its number alone, so that a training that goes on from a state
    draws what it would have drawn.

    Parameters
    ----------
    job
        See `Job`.

    Returns
    -------
    Fitted
        Course, and weights of the epoch kept.

    Raises
    ------
    DivergedError
        When a loss or weight is no longer a finite number.
    StageError
        When the folder holds another training or a damaged state, or nothing is learnt from.
    """
    run = _Run(job)
    with torch.random.fork_rng(devices=[job.device] if job.device.type == "cuda" else []):
        while run.course.epoch < job.how.epochs:
            run.make_epoch()
            job.tick(1.0)
    if run.course.best_epoch == 0:  # no score was a number
        run.course.best_epoch, run.best = run.course.epoch, _copy(run.network)
    return Fitted(run.course, run.best)


class _Run:
    """A training in progress."""

    def __init__(self, job: Job) -> None:
        self.job, self.how = job, job.how
        _check_segments(job)
        self.segments = job.segments.to(job.device)
        self.network = job.network.to(job.device)
        self.optimiser = _build_optimiser(self.network, job.how)
        identity = {**job.identity, **asdict(job.how), "seed": job.seed}
        self.course, self.best = Course(json.loads(json.dumps(identity))), _copy(self.network)
        self._resume()

    def make_epoch(self) -> None:
        """Train one epoch, score it when it is due, and save when that is."""
        epoch = self.course.epoch + 1
        torch.manual_seed(seeding.child(self.job.seed, "dropout", epoch))
        loss = self._learn(epoch)
        self.course.history.append([epoch, "train", "loss", loss])
        if not math.isfinite(loss):
            raise DivergedError(
                f"The loss of epoch {epoch} is {loss}.",
                where=str(self.job.folder),
                expected="A finite number.",
                remedy="Use a lower learning rate, or scale the features; the last state that was saved is kept.",
            )
        if epoch % self.how.eval_every == 0:
            self._measure(epoch)
        self._choose(epoch)
        self.course.epoch = epoch
        if epoch % self.how.save_every == 0 or epoch == self.how.epochs:
            self._save()

    def _learn(self, epoch: int) -> float:
        self.network.train()
        total, steps = torch.zeros((), dtype=torch.float64, device=self.job.device), 0
        for batch in self._batches(epoch):
            self.optimiser.zero_grad(set_to_none=True)
            count = int(batch.known.sum())
            squares = squared_errors(self.network, batch)
            (squares / max(count, 1)).backward()
            self.optimiser.step()
            total += squares.detach()
            steps += count
        return float(total) / max(steps, 1)

    def _batches(self, epoch: int) -> Iterator[Batch]:
        size = self.how.batch_size
        for batch in batches(self.segments, batch_size=size, shuffle=True, seed=self.job.seed, epoch=epoch):
            if len(batch.lengths) == size or not self.how.whole_batches:
                yield batch

    def _measure(self, epoch: int) -> None:
        for split, scored in self.job.scored.items():
            for metric, value in measure(self.network, scored, device=self.job.device).items():
                self.course.history.append([epoch, split, metric, value])

    def _choose(self, epoch: int) -> None:
        """Keep this epoch's weights when they are the best so far; a score that is no number never is."""
        how, course = self.how, self.course
        if how.select in ("inner", "held_out"):
            value = next((row[3] for row in course.history[::-1] if row[:3] == [epoch, how.select, "ccc"]), math.nan)
            better = value > course.best_value
        else:
            value, better = course.best_value, epoch == (how.epoch or how.epochs)
        if better:
            course.best_epoch, course.best_value, self.best = epoch, value, _copy(self.network)

    def _save(self) -> None:
        """Write the checkpoint first, so that a state never counts on what is not there."""
        if self.job.checkpoints is not None:
            write_checkpoint(self.job.checkpoints, self.course.epoch, self.network)
        whole = {
            checkpointing.FACTS: json.dumps(asdict(self.course)),
            "state_dict": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "best": self.best,
        }
        checkpointing.save(whole, self.job.folder / STATE)

    def _resume(self) -> None:
        path = self.job.folder / STATE
        if not path.is_file():
            return
        whole = checkpointing.load(path)
        known = Course(**json.loads(whole[checkpointing.FACTS]))
        check_same(known.identity, self.course.identity, path)
        self.network.load_state_dict(whole["state_dict"])
        self.optimiser.load_state_dict(whole["optimiser"])
        self.course, self.best = known, whole["best"]


def squared_errors(network: SequenceNetwork, batch: Batch) -> Tensor:
    """Return the sum of squared errors over the steps of a batch whose truth is known."""
    answer = network(batch.inputs, batch.mask, batch.lengths, present=batch.present)
    squares: Tensor = ((answer - batch.valence) * batch.known).square().sum()
    return squares


def write_checkpoint(folder: Path, epoch: int, network: SequenceNetwork) -> Path:
    """Write the network's weights of an epoch, complete or not at all."""
    path = checkpoint_path(folder, epoch)
    state = {key: value.detach().cpu().clone().contiguous() for key, value in network.state_dict().items()}
    with new_file(path) as temporary:
        save_file(state, temporary)
    return path


def checkpoint_path(folder: Path, epoch: int) -> Path:
    """Return where the weights of an epoch lie."""
    return folder / f"epoch_{epoch}.safetensors"


def check_same(there: Mapping[str, Any], here: Mapping[str, Any], path: Path) -> None:
    """Refuse to go on with another training.

    Raises
    ------
    StageError
        Naming what differs.
    """
    names = [name for name in sorted({*there, *here}) if there.get(name) != here.get(name)]
    if names:
        raise StageError(
            f"The folder holds another training: {', '.join(names)} differ.",
            where=str(path),
            remedy="Delete the folder to train again, or use another one.",
        )


def _check_segments(job: Job) -> None:
    size = job.how.batch_size if job.how.whole_batches else 1
    if len(job.segments) < size or not bool(job.segments.known.any()):
        raise StageError(
            f"There are {len(job.segments)} segments to learn from.",
            expected=f"At least {size}, and a second with a value.",
            remedy="Use more sessions, or smaller batches.",
        )


def _build_optimiser(network: SequenceNetwork, how: SequenceTraining) -> torch.optim.Optimizer:
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    kind = torch.optim.Adam if how.optimiser == "adam" else torch.optim.SGD
    return kind(weights, lr=how.learning_rate, weight_decay=how.weight_decay)


def _copy(network: SequenceNetwork) -> State:
    return {key: copy.deepcopy(value.detach()).cpu() for key, value in network.state_dict().items()}
