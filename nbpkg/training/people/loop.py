"""One training of a network over people: epochs, validations, the best and the last weights, resumed at an epoch.

Source: mmaction2 0.24.1's runner for what is done in an epoch; there the best epoch was that of the highest accuracy,
which favours the frequent classes, and D1 and D2 of its defects made it break off. Here the macro F1 of further
families chooses, and the same bytes come out however often a training is cut off.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from nbpkg import seeding
from nbpkg.errors import DivergedError, StageError
from nbpkg.metrics.people.confusion import count_confusion, macro_f1
from nbpkg.models.weights import State
from nbpkg.settings.people import PeopleLearning
from nbpkg.training import checkpointing
from nbpkg.training.people.learners import Learner, Pass, Probabilities
from nbpkg.training.people.optimiser import Stepper
from nbpkg.training.people.schedules import Span

STATE, LOG = "state.pt", "log.jsonl"
SAVE_EVERY_S = 5.0  # small networks make many epochs a second, and a state costs as much as some of them
Tick = Callable[[float], None]


class Job(NamedTuple):
    """All that one training needs.

    Parameters
    ----------
    learner
        Network, on its device, with what it looks at; changed.
    items
        Clips learnt from.
    inner
        Clips that choose the epoch; none when the last is kept.
    how
        Settings.
    seed
        Of order, draws and dropout.
    device
        Where to compute.
    folder
        For state and log; one folder, one training.
    identity
        What makes the training what it is, beside settings, seed and clips, in plain data.
    tick
        Called after each epoch.
    prior
        Share of each class among the training clips: the answer where there is nobody to be seen.
    labels
        Class of each clip.
    save_every_s
        Least time between two states, seconds; the last epoch's is always written.
    """

    learner: Learner
    items: Sequence[str]
    inner: Sequence[str]
    how: PeopleLearning
    seed: int
    device: torch.device
    folder: Path
    identity: Mapping[str, Any]
    tick: Tick
    prior: Sequence[float]
    labels: Mapping[str, int]
    save_every_s: float = SAVE_EVERY_S


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
        Epoch kept so far, and its macro F1 where one chooses.
    waited
        Validations since then.
    history
        Rows epoch, split, metric, value.
    seconds
        Time of all epochs.
    """

    identity: dict[str, Any]
    epoch: int = 0
    best_epoch: int = 0
    best_value: float = -math.inf
    waited: int = 0
    history: list[list[Any]] = field(default_factory=list)
    seconds: float = 0.0


class Trained(NamedTuple):
    """The result of a training: its course, and state dicts of the best and the last epoch, on the CPU."""

    course: Course
    best: State
    last: State


def train_network(job: Job) -> Trained:
    """Train from where the folder is to the last epoch, or until none was better for too long.

    Random numbers of an epoch follow from the seed and its number alone, so that a training that goes on from a state
    draws what it would have drawn.

    Parameters
    ----------
    job
        See `Job`.

    Returns
    -------
    Trained
        Course, best and last weights.

    Raises
    ------
    DivergedError
        When a loss or gradient is no longer a finite number; the last state that was saved is kept.
    StageError
        When the folder holds another training or a damaged state, or nothing is learnt from.
    """
    if not job.items:
        raise StageError("There is no clip to learn from.", expected="At least one.", remedy="Use more families.")
    run = _Run(job)
    with torch.random.fork_rng(devices=[job.device] if job.device.type == "cuda" else []):
        while not run.over:
            run.make_epoch()
            job.tick(1.0)
    return Trained(run.course, run.best, _copy(run.network))


def measure(answers: Probabilities, labels: NDArray[np.int64], *, prior: Sequence[float]) -> dict[str, float]:
    """Score answers while a training goes on.

    Parameters
    ----------
    answers
        Probabilities ``[n, C]``; not-a-number where there was nobody to be seen.
    labels
        Classes ``[n]``.
    prior
        What stands for such answers, ``[C]``.

    Returns
    -------
    dict
        ``macro_f1``, ``top1_acc``, and ``loss``, the mean of -log of the label's probability, nats.
    """
    known = fill_unseen(answers, prior)
    matrix, _ = count_confusion(labels, known.argmax(axis=1))
    chances = np.maximum(known[np.arange(len(labels)), labels], np.finfo(np.float32).tiny)
    hits = float((known.argmax(axis=1) == labels).mean())
    return {"macro_f1": float(macro_f1(matrix)), "top1_acc": hits, "loss": float(-np.log(chances).mean())}


def fill_unseen(answers: Probabilities, prior: Sequence[float]) -> Probabilities:
    """Answer with the shares of the training clips where there was nobody to be seen."""
    seen = np.isfinite(answers).all(axis=1, keepdims=True)
    return np.where(seen, answers, np.asarray(prior, np.float32))


def hash_state(state: State) -> str:
    """Return one hash of all weights."""
    found = hashlib.sha256()
    for key, value in sorted(state.items()):
        found.update(key.encode())
        found.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return found.hexdigest()


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


class _Run:
    """A training in progress."""

    def __init__(self, job: Job) -> None:
        self.job, self.how, self.learner = job, job.how, job.learner
        self.network: nn.Module = job.learner.network
        span = Span(job.how.epochs, job.learner.count_batches(job.items))
        self.stepper = Stepper(self.network, job.how, span=span)
        start = _copy(self.network)
        clips = hashlib.sha256("\n".join([*job.items, "", *job.inner]).encode()).hexdigest()
        identity = {**job.identity, **job.how.model_dump(), "seed": job.seed, "clips": clips}
        identity["starting_weights"] = hash_state(start)
        self.course, self.best = Course(json.loads(json.dumps(identity))), start
        self.saved = time.monotonic()
        self._resume()

    @property
    def over(self) -> bool:
        """Whether all epochs are made, or none was better for too long."""
        return self.course.epoch >= self.how.epochs or 0 < self.how.patience <= self.course.waited

    def make_epoch(self) -> None:
        """Train one epoch, validate when it is due, log, and save when that is."""
        begun = time.monotonic()
        epoch = self.course.epoch + 1
        torch.manual_seed(seeding.child(self.job.seed, "dropout", epoch))
        self.stepper.norms = []
        found = self.learner.epoch(self.job.items, epoch, stepper=self.stepper)
        _check_finite(found.loss, epoch, self.job.folder)
        norms = self.stepper.norms
        known = {"loss": found.loss, "top1_acc": found.top1_acc, "grad_norm": float(np.mean(norms)) if norms else 0.0}
        self.course.history += [[epoch, "train", name, value] for name, value in known.items()]
        inner = self._validate(epoch)
        self.course.epoch = epoch
        self.course.seconds += time.monotonic() - begun
        self._log(epoch, found, {**known, **{f"inner_{name}": value for name, value in inner.items()}})
        if self.over or time.monotonic() - self.saved >= self.job.save_every_s:
            self._save()

    def _validate(self, epoch: int) -> dict[str, float]:
        """Score the inner clips when that is due, and keep the weights when they are the best so far."""
        course, job = self.course, self.job
        if not job.inner:
            course.best_epoch, self.best = epoch, _copy(self.network) if epoch == self.how.epochs else self.best
            return {}
        if epoch % self.how.validate_every and epoch != self.how.epochs:
            return {}
        labels = np.array([job.labels[name] for name in job.inner], dtype=np.int64)
        found = measure(job.learner.answer(job.inner), labels, prior=job.prior)
        course.history += [[epoch, "inner", name, value] for name, value in found.items()]
        course.waited += 1
        if found["macro_f1"] > course.best_value:
            course.best_epoch, course.best_value, course.waited = epoch, found["macro_f1"], 0
            self.best = _copy(self.network)
        return found

    def _log(self, epoch: int, found: Pass, values: Mapping[str, float]) -> None:
        line = {
            "epoch": epoch,
            "lr": self.stepper.rate,
            **values,
            "data_s": round(found.data_s, 4),
            "step_s": round(found.step_s, 4),
        }
        plain = {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in line.items()}
        with (self.job.folder / LOG).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(plain) + "\n")

    def _save(self) -> None:
        whole = {
            checkpointing.FACTS: json.dumps(asdict(self.course)),
            "state_dict": self.network.state_dict(),
            "optimiser": self.stepper.optimiser.state_dict(),
            "best": self.best,
        }
        checkpointing.save(whole, self.job.folder / STATE)
        self.saved = time.monotonic()

    def _resume(self) -> None:
        """Go on from the state, if there is one, and forget what was logged after it."""
        self.job.folder.mkdir(parents=True, exist_ok=True)
        path, log = self.job.folder / STATE, self.job.folder / LOG
        if path.is_file():
            whole = checkpointing.load(path)
            known = Course(**json.loads(whole[checkpointing.FACTS]))
            check_same(known.identity, self.course.identity, path)
            self.network.load_state_dict(whole["state_dict"])
            self.stepper.optimiser.load_state_dict(whole["optimiser"])
            self.course, self.best = known, whole["best"]
        lines = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
        kept = [line for line in lines[: self.course.epoch] if line.endswith("}")]
        log.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")


def _check_finite(loss: float, epoch: int, folder: Path) -> None:
    if not math.isfinite(loss):
        raise DivergedError(
            f"The loss of epoch {epoch} is {loss}.",
            where=str(folder),
            expected="A finite number.",
            remedy="Use a lower learning rate, or scale the features; the last state that was saved is kept.",
        )


def _copy(network: nn.Module) -> State:
    return {key: copy.deepcopy(value.detach()).cpu() for key, value in network.state_dict().items()}
