"""One training over windows of faces: epochs, validations also inside them, the best and the last weights, resumed.

Source: the engines of the Ego4D baseline and of GazePose. Theirs keep no state of the optimiser, so that nothing could
go on, and GazePose validates inside an epoch; both choose by mAP, which is kept here. Several processes may train one
network together; each then learns from its share of every batch, and the sums that make a step are of all of them.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from nbpkg import seeding
from nbpkg.datasets.looking.windows import Windows
from nbpkg.errors import DivergedError
from nbpkg.metrics.looking.precision import score_answers
from nbpkg.models.weights import State
from nbpkg.progress import Report
from nbpkg.settings.launch import LaunchSettings
from nbpkg.settings.looking import FaceLearning
from nbpkg.training import checkpointing
from nbpkg.training.looking.learner import FaceLearner, to_scores
from nbpkg.training.peers import ALONE, Peers
from nbpkg.training.people.loop import check_same, hash_state
from nbpkg.training.relay import Relay

STATE, LOG = "state.pt", "log.jsonl"
SAVE_EVERY_S = 5.0  # small networks make many epochs a second, and a state costs as much as some of them


class Job(NamedTuple):
    """All that one training needs; it can be handed to another process.

    Parameters
    ----------
    learner
        Network, what it looks at and its loss; changed.
    train, inner
        Windows learnt from, and those that choose the epoch.
    how
        Settings.
    seed
        Of orders and draws.
    device
        Where to compute.
    folder
        For state and log; one folder, one training.
    identity
        What makes the training what it is, beside settings, seed and windows, in plain data.
    label
        For the progress report.
    launch
        How many processes train together.
    workers
        Processes that read faces.
    """

    learner: FaceLearner
    train: Windows
    inner: Windows
    how: FaceLearning
    seed: int
    device: torch.device
    folder: Path
    identity: Mapping[str, Any]
    label: str
    launch: LaunchSettings
    workers: int = 0

    def portable(self) -> Job:
        """Return it with its network on the CPU, a copy."""
        return self._replace(learner=self.learner.portable())

    def on(self, device: torch.device, *, workers: int) -> Job:
        """Return the same training on another device, read by so many processes."""
        return self._replace(device=device, workers=workers)


@dataclass
class Course:
    """What is known after some epochs.

    Parameters
    ----------
    identity
        What makes the training what it is.
    epoch
        Epochs made.
    best_epoch, best_map
        When the weights kept so far were made, a fraction inside an epoch, and their mAP on the windows that choose.
    waited
        Validations since then.
    train_map
        Of the varied training windows in the last epoch.
    history
        Rows epoch, split, metric, value.
    seconds
        Time of all epochs.
    """

    identity: dict[str, Any]
    epoch: int = 0
    best_epoch: float = 0.0
    best_map: float = -1.0
    waited: int = 0
    train_map: float = math.nan
    history: list[list[Any]] = field(default_factory=list)
    seconds: float = 0.0


class Trained(NamedTuple):
    """The result of a training: its course, and state dicts of the best and the last moment, on the CPU."""

    course: Course
    best: State
    last: State


def train_windows(job: Job, peers: Peers = ALONE) -> Trained:
    """Train from where the folder is to the last epoch, or until none was better for too long.

    Orders and draws of an epoch follow from the seed and its number alone, so that a training that goes on from a state
    draws what it would have drawn. One that is cut off inside an epoch makes that epoch anew.

    Parameters
    ----------
    job
        See `Job`.
    peers
        The processes that train together.

    Returns
    -------
    Trained
        Course, best and last weights.

    Raises
    ------
    DivergedError
        When a loss is no longer a finite number; the last state that was saved is kept.
    StageError
        When the folder holds another training or a damaged state.
    """
    run = _Run(job, peers)
    with torch.random.fork_rng(devices=[job.device] if job.device.type == "cuda" else []):
        if not job.how.epochs:
            run.measure()
        while not run.over:
            run.make_epoch()
    run.close()
    return Trained(run.course, run.best, _copy(job.learner))


def rate_at(how: FaceLearning, epoch: int) -> float:
    """Return the learning rate of an epoch, from 0.

    The cosine goes down for `FaceLearning.period` epochs and rises again beyond them, as torch's does.

    Examples
    --------
    >>> how = FaceLearning(learning_rate=5e-4, least_rate=5e-6, period=10)
    >>> [round(rate_at(how, epoch), 7) for epoch in (0, 5, 10)]
    [0.0005, 0.0002525, 5e-06]
    """
    if how.schedule == "constant":
        return how.learning_rate
    wave = (1 + math.cos(math.pi * epoch / how.period)) / 2
    return how.least_rate + (how.learning_rate - how.least_rate) * wave


def hash_windows(windows: Windows) -> str:
    """Return one hash of which faces stand in some windows, and of their labels."""
    found = hashlib.sha256()
    for part in (windows.row, windows.slots, windows.label):
        found.update(np.ascontiguousarray(part).tobytes())
    return found.hexdigest()


def read_trained(job: Job) -> Trained:
    """Read what a group of processes left of a training that is over.

    Raises
    ------
    StageError
        When it left nothing.
    """
    whole = checkpointing.load(job.folder / STATE)
    course = Course(**json.loads(whole[checkpointing.FACTS]))
    return Trained(course, whole["best"], whole["state_dict"])


def score_windows(learner: FaceLearner, log_odds: NDArray[np.float64], labels: NDArray[np.int64]) -> dict[str, float]:
    """Score answers while a training goes on: ``loss``, ``map``, and ``accuracy`` at 0.5."""
    found = score_answers(labels, to_scores(log_odds))
    return {"loss": learner.lose(log_odds, labels), "map": found.mean_precision, "accuracy": found.accuracy}


class _Run:
    """A training in progress."""

    def __init__(self, job: Job, peers: Peers) -> None:
        self.job, self.how, self.peers, self.learner = job, job.how, peers, job.learner
        self.learner.enter(job.device, peers)
        weights = [weight for weight in self.learner.network.parameters() if weight.requires_grad]
        self.optimiser = torch.optim.Adam(weights, lr=job.how.learning_rate)
        start = _copy(self.learner)
        identity = {**job.identity, **job.how.model_dump(mode="json"), "seed": job.seed}
        identity["train"] = hash_windows(job.train)
        identity["inner"] = hash_windows(job.inner)
        identity["starting_weights"] = hash_state(start)
        identity["processes"] = peers.size
        self.course, self.best = Course(json.loads(json.dumps(identity))), start
        self.saved = time.monotonic()
        self._resume()
        left = job.how.epochs - self.course.epoch
        self.report: Report | Relay | None = None
        if not self.over and peers.rank == 0:
            steps = left * self.learner.count_batches(job.train, job.how.batch_size)
            self.report = peers.begin(job.label, total=steps, unit="step")

    @property
    def over(self) -> bool:
        """Whether all epochs are made, or none was better for too long."""
        return self.course.epoch >= self.how.epochs or 0 < self.how.patience <= self.course.waited

    def close(self) -> None:
        """End the report."""
        if self.report is not None:
            self.report.close(note=f"best epoch {self.course.best_epoch:g}")

    def measure(self) -> None:
        """Score the network as it comes, which is not trained."""
        if not self.course.history:
            self._validate(0.0)
            self._save()

    def make_epoch(self) -> None:
        """Train one epoch, validate when it is due, log, and save when that is."""
        begun, epoch, job = time.monotonic(), self.course.epoch + 1, self.job
        rate = rate_at(self.how, epoch - 1)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        torch.manual_seed(seeding.child(job.seed, "network", epoch, *self.peers.names))
        losses, log_odds = self._teach(epoch)
        found = score_windows(self.learner, log_odds, job.train.label)
        found |= {"loss": sum(losses) / len(losses), "rate": rate}
        self.course.train_map = found["map"]
        self.course.history += [[float(epoch), "train", name, value] for name, value in found.items()]
        inner = self._validate(float(epoch))
        self.course.epoch = epoch
        self.course.seconds += time.monotonic() - begun
        self._log({"epoch": epoch, **found, **{f"inner_{name}": value for name, value in inner.items()}})
        if self.over or time.monotonic() - self.saved >= SAVE_EVERY_S:
            self._save()

    def _teach(self, epoch: int) -> tuple[list[float], NDArray[np.float64]]:
        """Make the steps of an epoch; return their losses, and the log odds of all windows as they were varied."""
        job, within = self.job, self.how.validate_within
        steps = self.learner.count_batches(job.train, self.how.batch_size)
        losses, found = [], np.zeros(len(job.train))
        batches = self.learner.epoch(job.train, self.how.batch_size, epoch=epoch, workers=job.workers)
        for step, batch in enumerate(batches, 1):
            self.optimiser.zero_grad(set_to_none=True)
            loss, log_odds = self.learner.learn(batch)
            self._check(loss, epoch, step)
            self.optimiser.step()
            losses.append(loss)
            own = batch.label.numpy() >= 0
            found[batch.number.numpy()[own]] = log_odds[own]
            if self.report is not None:
                self.report.step(note=f"epoch {epoch} of {self.how.epochs}")
            if within and step % within == 0 and step < steps:
                self._validate(epoch - 1 + step / steps)
        return losses, self.peers.sum(torch.from_numpy(found).to(job.device)).cpu().numpy()

    def _validate(self, moment: float) -> dict[str, float]:
        """Score the windows that choose, and keep the weights when they are the best so far."""
        job, course = self.job, self.course
        found = score_windows(self.learner, self.learner.answer(job.inner, workers=job.workers), job.inner.label)
        course.history += [[moment, "inner", name, value] for name, value in found.items()]
        course.waited += 1
        if found["map"] > course.best_map:
            course.best_epoch, course.best_map, course.waited = moment, found["map"], 0
            self.best = _copy(self.learner)
        return found

    def _check(self, loss: float, epoch: int, step: int) -> None:
        if not math.isfinite(loss):
            raise DivergedError(
                f"The loss of step {step} of epoch {epoch} is {loss}.",
                where=str(self.job.folder),
                expected="A finite number.",
                remedy="Use a lower learning rate; the last state that was saved is kept.",
            )

    def _log(self, line: Mapping[str, float]) -> None:
        if self.peers.rank == 0:
            with (self.job.folder / LOG).open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(line) + "\n")

    def _save(self) -> None:
        if self.peers.rank == 0:
            whole = {
                checkpointing.FACTS: json.dumps(asdict(self.course)),
                "state_dict": self.learner.network.state_dict(),
                "optimiser": self.optimiser.state_dict(),
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
            self.learner.network.load_state_dict(whole["state_dict"])
            self.optimiser.load_state_dict(whole["optimiser"])
            self.course, self.best = known, whole["best"]
        if self.peers.rank == 0:
            lines = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
            kept = [line for line in lines[: self.course.epoch] if line.endswith("}")]
            log.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")


def _copy(learner: FaceLearner) -> State:
    return {key: value.detach().cpu().clone() for key, value in learner.network.state_dict().items()}
