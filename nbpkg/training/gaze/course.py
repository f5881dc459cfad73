"""A training of a gaze-target network: settings in, history and weights out, resumed, in parts if memory is short."""

from __future__ import annotations

import copy
import gc
import hashlib
import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch import nn

from nbpkg import progress
from nbpkg.errors import SettingsError, StageError
from nbpkg.models.device import is_out_of_memory
from nbpkg.training import checkpointing
from nbpkg.training.checkpointing import BEST, LAST, State
from nbpkg.training.gaze import records
from nbpkg.training.gaze.losses import INOUT_WEIGHT, Loss
from nbpkg.training.gaze.memory import Estimate, estimate_peak, read_free
from nbpkg.training.gaze.records import Records

_WITHOUT_EFFECT = ("keep_every",)  # settings that do not change the result


class TooLargeError(StageError):
    """A training of which not even a single track or picture fits into memory."""


@dataclass(frozen=True)
class GazeTraining:
    """Settings of one training.

    Parameters
    ----------
    epochs
        Passes over the training frames; 0 only measures the network.
    batch_size
        Tracks (video) or pictures in a batch.
    learning_rate
        Of all that learns but what judges inside or outside.
    chunk
        Time steps of a block of video: one step of the optimiser.
    inout_rate
        How many times faster learns what judges inside or outside; 5 as published for VTD on video.
    inout_weight
        Weight of inside or outside in the loss; 100 as published for VTD, 0 for the heat map alone, 1 for Gaze-LLE.
    schedule
        ``none``, or ``cosine`` from epoch to epoch down to `last_rate`.
    last_rate
        Where the cosine ends.
    batch_statistics
        Whether batch normalisation of parts that learn uses each batch's own mean and spread (pictures; in video
        training all of it keeps what it came with).
    precision
        ``float32``, or mixed precision with ``bfloat16``.
    max_steps
        Most steps of an epoch; 0 for all.
    choose
        Score of the validation participants by which the epoch is kept.
    window, warm_up
        Which epoch is kept, see `nbpkg.training.history.choose_epoch`.
    patience
        Stop after so many epochs without a better one; 0 for never.
    keep_every
        Keep the whole network of every so manieth epoch, and of the last, as ``epoch_XX_weights.pt``; 0 for none.

    Raises
    ------
    SettingsError
        For values out of range.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    chunk: int = 3
    inout_rate: float = 5.0
    inout_weight: float = INOUT_WEIGHT
    schedule: Literal["none", "cosine"] = "none"
    last_rate: float = 1e-7
    batch_statistics: bool = True
    precision: Literal["float32", "bfloat16"] = "float32"
    max_steps: int = 0
    choose: str = "distance"
    window: int = 0
    warm_up: int = 0
    patience: int = 0
    keep_every: int = 0

    def __post_init__(self) -> None:
        values = asdict(self)
        least = {"epochs": 0, "batch_size": 1, "chunk": 1, "max_steps": 0, "window": 0, "warm_up": 0, "patience": 0}
        wrong = [f"{name} is {values[name]}" for name, low in {**least, "keep_every": 0}.items() if values[name] < low]
        wrong += [f"{name} is {values[name]}" for name in ("learning_rate", "inout_rate") if not _is_rate(values[name])]
        wrong += [f"{name} is {values[name]}" for name in ("inout_weight", "last_rate") if not 0 <= values[name] < 1e12]
        allowed = {"schedule": ("none", "cosine"), "precision": ("float32", "bfloat16")}
        wrong += [f"{name} is {values[name]!r}" for name, known in allowed.items() if values[name] not in known]
        if wrong:
            raise SettingsError(
                f"Gaze training cannot use these settings: {'; '.join(wrong)}.",
                expected="Values as GazeTraining describes them.",
                remedy="Correct the parameter file.",
            )


class Lesson(Protocol):
    """What is learnt from, and how one batch of it is; holds no network."""

    unit: str

    def identity(self) -> dict[str, Any]:
        """Return what the result depends on besides the settings, in plain data."""

    def prepare(self, network: nn.Module) -> None:
        """Freeze what does not learn."""

    def groups(self, network: nn.Module, how: GazeTraining) -> list[dict[str, Any]]:
        """Return the groups of parameters for the optimiser."""

    def enter(self, network: nn.Module, how: GazeTraining) -> None:
        """Set training mode."""

    def batches(self, epoch: int, how: GazeTraining) -> Iterable[Any]:
        """Return the batches of an epoch, from 1; with a length."""

    def rehearse(self, count: int, how: GazeTraining) -> Any:
        """Return a batch of `count` tracks or pictures as large as any can be, with nothing to be seen in it."""

    def learn(
        self,
        network: nn.Module,
        batch: Any,
        memory: Any,
        *,
        how: GazeTraining,
        part: int,
        backward: Callable[..., None],
    ) -> tuple[Loss, Any]:
        """Add the gradients of one batch up, in parts of at most `part`; return its losses and what it remembers."""

    def measure(self, network: nn.Module, how: GazeTraining) -> dict[str, float]:
        """Score the network on the validation participants; nothing when there are none."""

    def frames(self, batch: Any) -> int:
        """Count the frames of a batch."""

    def weight(self, network: nn.Module) -> float:
        """Return the size of the input and target of one frame, MiB."""


class Trained(NamedTuple):
    """The result of a training.

    Parameters
    ----------
    records
        Losses, scores, costs; ``best_epoch``.
    best, last
        State dicts of the whole network, on the CPU, at the best and at the last epoch.
    """

    records: Records
    best: State
    last: State


class Job(NamedTuple):
    """All that one training needs, see `train_network`."""

    network: nn.Module
    lesson: Lesson
    how: GazeTraining
    folder: Path
    seed: int
    device: torch.device
    label: str


def is_over(how: GazeTraining, known: Records) -> bool:
    """Tell whether all epochs are done, or none was better for too long."""
    waited = known.epoch - max(known.best_epoch, how.warm_up)
    return known.epoch >= how.epochs or 0 < how.patience <= waited


def train_network(
    network: nn.Module, lesson: Lesson, *, how: GazeTraining, folder: Path, seed: int, device: torch.device, label: str
) -> Trained:
    """Train a network and remember the best epoch; the network passed in stays as it is.

    Epoch 0 measures the network as it comes. Each further epoch makes one pass over the training frames, scores the
    validation participants and writes ``last.ckpt`` and, when it is the best so far, ``best.ckpt``; both hold only what
    training changes. Killed at any moment and called again with the same arguments it goes on from ``last.ckpt`` and
    ends with the same bytes (on the CPU); a finished training is only read. A batch too large for memory is halved and
    its gradients accumulated, which changes nothing but the draws of dropout and, where batch normalisation learns, the
    statistics that it sees. One process trains; several trainings of a search share a machine instead.

    Parameters
    ----------
    network
        Where training starts.
    lesson
        What it learns from, and how.
    how
        Settings.
    folder
        Where checkpoints and ``trained.json`` are written; one folder, one training.
    seed
        Seed of all that is random in the network; the lesson has its own.
    device
        Where to train.
    label
        Opening words of the progress report.

    Returns
    -------
    Trained
        Records and weights.

    Raises
    ------
    DivergedError
        When a loss is no longer finite; the last good checkpoint stays.
    StageError
        When the folder holds another training or a damaged one, when the disk is full, and when not even a single track
        or picture fits into memory (`TooLargeError`).
    """
    job = Job(network, lesson, how, folder, seed, device, label)
    identity = _identify(job)
    done = records.read_result(folder, identity)
    if done is None:
        done = _train(job, identity)
        records.write_result(folder, done)
    start = {key: value.detach().cpu() for key, value in network.state_dict().items()}
    last, best = ({**start, **checkpointing.load_weights(folder / name)} for name in (LAST, BEST))
    return Trained(done, best, last)


def name_changing(network: nn.Module) -> set[str]:
    """Name the entries of a state dict that training changes: what learns, and statistics that are not frozen."""
    learnt = {name for name, one in network.named_parameters() if one.requires_grad}
    norms = [
        (name, part)
        for name, part in network.named_modules()
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.training
    ]
    return learnt | {f"{name}.{key}" for name, part in norms for key, _ in part.named_buffers()}


def rehearse(job: Job, *, part: int) -> Estimate:
    """Estimate what the largest batch needs, on a network whose frozen parts are frozen.

    Parameters
    ----------
    job
        The training.
    part
        Most tracks or pictures in the network at once.
    """
    one, whole = (job.lesson.rehearse(count, job.how) for count in (1, job.how.batch_size))
    tried, frames = job.lesson.frames(one), job.lesson.frames(whole)

    def learn() -> object:
        return job.lesson.learn(job.network, one, None, how=job.how, part=1, backward=lambda _: None)

    held = min(frames, tried * part)
    size = job.lesson.weight(job.network)
    return estimate_peak(job.network, learn, frames=held, tried=tried, loaded=2 * frames + held, pictures=size)


def _identify(job: Job) -> dict[str, Any]:
    """Collect what the result depends on."""
    hashed = hashlib.sha256()
    for key, value in job.network.state_dict().items():
        hashed.update(key.encode())
        hashed.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    settings = {name: value for name, value in asdict(job.how).items() if name not in _WITHOUT_EFFECT}
    return {**settings, **job.lesson.identity(), "seed": job.seed, "starting_weights": hashed.hexdigest()}


def _train(job: Job, identity: dict[str, Any]) -> Records:
    """Train to the end, with smaller parts whenever memory does not suffice."""
    limit = job.how.batch_size
    while True:
        known = records.read_records(job.folder, identity) or Records(identity, limit)
        known.part = min(known.part, limit)
        failure = _attempt(job, known)
        if not failure:
            return known
        if known.part <= 1:
            raise TooLargeError(
                f"Not even a single {job.lesson.unit} fits into memory: {failure}",
                where=str(job.device),
                remedy="Use fewer time steps at once (chunk), a smaller network, or a device with more memory.",
            )
        limit = known.part // 2
        _say_halved(job, known.part, limit)


def _attempt(job: Job, known: Records) -> str:
    """Train from where `known` is to the end; return what the allocator said when memory did not suffice, else ''."""
    if is_over(job.how, known):
        return ""
    from nbpkg.training.gaze import loop  # Lightning takes seconds to import

    failure = ""
    own = job._replace(network=copy.deepcopy(job.network).to(job.device))
    own.lesson.prepare(own.network)
    try:
        loop.fit(own, known, _fit_part(own, known))
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        failure = str(error).splitlines()[0] if str(error) else type(error).__name__
    del own
    if failure:  # only now, when no call stack holds the network any more, can its memory be given back
        gc.collect()
        if job.device.type == "cuda":
            torch.cuda.empty_cache()
    return failure


def _fit_part(job: Job, known: Records) -> Estimate:
    """Halve the part until the estimate fits into what is free: on the CPU too much ends the process without a word."""
    free = read_free(job.device)
    with torch.random.fork_rng(devices=[job.device] if job.device.type == "cuda" else []):
        estimate = rehearse(job, part=known.part)
    first = known.part
    while known.part > 1 and estimate.total > free:
        known.part //= 2
        frames = max(1, estimate.frames * known.part // first)
        estimate = estimate._replace(frames=frames, loaded=estimate.loaded - estimate.frames + frames)
        first = known.part
        _say_halved(job, 2 * known.part, known.part)
    return estimate


def _say_halved(job: Job, before: int, after: int) -> None:
    count = -(-job.how.batch_size // after)
    progress.say(
        f"{job.label}: a batch of {before} {job.lesson.unit}s does not fit into memory; going on with {after} at a "
        f"time, gradients of {count} accumulated, from "
        f"{'the last checkpoint' if (job.folder / LAST).is_file() else 'the start'}."
    )


def _is_rate(value: float) -> bool:
    return 0 < value < math.inf
