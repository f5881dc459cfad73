"""Fine-tuning of a whole network: settings in, history and weights out, resumed after a kill."""

from __future__ import annotations

import copy
import gc
import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import nn
from torch.utils.data import Dataset

from nbpkg import progress
from nbpkg.errors import SettingsError, StageError
from nbpkg.models.device import is_out_of_memory
from nbpkg.settings.launch import LaunchSettings
from nbpkg.training import checkpointing
from nbpkg.training.checkpointing import BEST, LAST, Progress, State
from nbpkg.training.history import History
from nbpkg.training.peers import Peers

Clips = Dataset[Any]
_WITHOUT_EFFECT = ("profile",)  # settings that do not change the result


@dataclass(frozen=True)
class FineTune:
    """Settings of one fine-tuning.

    Parameters
    ----------
    epochs
        Passes over the training clips; 0 only measures the network.
    batch_size
        Clips in the network at once.
    learning_rate
        Of the first epoch.
    lr_decay
        The learning rate of an epoch is that of the one before times ``1 - lr_decay``; 0 to 1.
    weight_decay
        Adam: L2 inside Adam, over all parameters. LBFGS: weight of their sum of squares in the loss.
    class_weights
        Weight of class 0 and of class 1 in the loss; None for equal ones.
    optimiser
        ``adam`` or ``lbfgs`` (torch's defaults but for the learning rate).
    window, warm_up
        Which epoch is kept, see `nbpkg.training.history.choose_epoch`.
    precision
        ``float32``, or mixed precision with ``bfloat16`` or ``float16`` (GPU only).
    accumulate
        Batches whose gradients make one step: a step sees ``batch_size * accumulate`` clips.
    max_batches
        Most steps of an epoch, and as many clips of every other split; 0 for all.
    shuffle
        Whether each epoch has its own random order of the training clips.
    profile
        Whether to record a step with torch's profiler, to ``profile/trace.json`` in the folder.
    deterministic
        Whether to use repeatable algorithms only, where torch has them.
    patience
        Stop after so many epochs without a better one; 0 for never.
    batch_statistics
        Whether batch normalisation uses each batch's own mean and spread; else it keeps those it came with, and only
        its weights learn. The usual choice when batches are small, or dealt to several processes.

    Raises
    ------
    SettingsError
        For values out of range.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    lr_decay: float = 0.0
    weight_decay: float = 0.0
    class_weights: tuple[float, float] | None = None
    optimiser: Literal["adam", "lbfgs"] = "adam"
    window: int = 5
    warm_up: int = 5
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    accumulate: int = 1
    max_batches: int = 0
    shuffle: bool = True
    profile: bool = False
    deterministic: bool = True
    patience: int = 0
    batch_statistics: bool = True

    def __post_init__(self) -> None:
        least = {"epochs": 0, "batch_size": 1, "window": 0, "warm_up": 0, "accumulate": 1, "max_batches": 0}
        values = asdict(self)
        wrong = [f"{name} is {values[name]}" for name, low in {**least, "patience": 0}.items() if values[name] < low]
        if not 0 < self.learning_rate < math.inf:
            wrong.append(f"learning_rate is {self.learning_rate}")
        if not 0 <= self.lr_decay <= 1:
            wrong.append(f"lr_decay is {self.lr_decay}")
        if not 0 <= self.weight_decay < math.inf:
            wrong.append(f"weight_decay is {self.weight_decay}")
        if self.class_weights is not None and not all(0 < weight < math.inf for weight in self.class_weights):
            wrong.append(f"class_weights is {self.class_weights}, as when one class has no clips")
        if self.optimiser not in ("adam", "lbfgs"):
            wrong.append(f"optimiser is {self.optimiser!r}")
        if self.precision not in ("float32", "bfloat16", "float16"):
            wrong.append(f"precision is {self.precision!r}")
        if self.optimiser == "lbfgs" and self.precision == "float16":
            wrong.append("lbfgs is asked for in float16, whose scaled gradients it cannot use")
        if wrong:
            raise SettingsError(
                f"Fine-tuning cannot use these settings: {'; '.join(wrong)}.",
                expected="Values as FineTune describes them.",
                remedy="Correct the parameter file.",
            )


class Trained(NamedTuple):
    """The result of a fine-tuning.

    Parameters
    ----------
    history
        Loss and confusion matrix of each split and epoch; ``best_epoch``.
    best, last
        State dicts of the network, on the CPU, at the best and at the last epoch.
    batch_size, accumulate
        As used: other than asked for when a batch did not fit into memory.
    """

    history: History
    best: State
    last: State
    batch_size: int
    accumulate: int

    @property
    def best_epoch(self) -> int:
        """Epoch of `best`."""
        return self.history.best_epoch


def is_over(how: FineTune, known: Progress) -> bool:
    """Tell whether all epochs are done, or none was better for too long."""
    waited = known.epoch - max(known.best_epoch, how.warm_up)
    return known.epoch >= how.epochs or 0 < how.patience <= waited


class Job(NamedTuple):
    """All that one training needs, see `fine_tune`."""

    network: nn.Module
    train: Callable[[int], Clips]
    others: dict[str, Clips]
    how: FineTune
    folder: Path
    seed: int
    device: torch.device
    workers: int
    label: str
    launch: LaunchSettings

    def portable(self) -> Job:
        """Return it with its network on the CPU, a copy."""
        return self._replace(network=copy.deepcopy(self.network).cpu())

    def on(self, device: torch.device, *, workers: int) -> Job:
        """Return it on another device, read by so many processes."""
        return self._replace(device=device, workers=workers)


def fine_tune(
    network: nn.Module,
    *,
    train: Callable[[int], Clips],
    validation: Clips | None,
    how: FineTune,
    folder: Path,
    seed: int,
    device: torch.device,
    workers: int,
    watch: Mapping[str, Clips] | None = None,
    label: str = "fine-tune",
    launch: LaunchSettings | None = None,
) -> Trained:
    """Train all of a network and remember the best epoch; the network passed in stays as it is.

    Epoch 0 measures the network as it comes on all splits. Each further epoch makes one pass over the training clips
    in train mode, then measures the other splits in evaluation mode and writes ``last.ckpt`` and, when it is the best
    so far, ``best.ckpt``. Killed at any moment and called again with the same arguments it goes on from ``last.ckpt``
    and ends with the same bytes (on the CPU); a finished training is only read. A batch too large for memory is halved
    and its gradients accumulated, which changes nothing but the statistics that batch normalisation sees.

    With ``launch.processes`` or ``launch.nodes`` above 1 several processes train together (`nbpkg.training.group`).
    Every batch is the one that a single process would have, dealt to the processes, so that losses, weights and the
    best epoch are the same but for rounding, with two exceptions. Dropout and other layers that draw random numbers
    draw others. Batch normalisation in train mode sees the same clips on GPUs, where all processes share their
    statistics; on the CPU each process normalises by its own share of a batch, and the running statistics of the first
    one are kept. LBFGS enlarges rounding from step to step, also when one process cuts its batches into other parts.

    Parameters
    ----------
    network
        Clips to raw scores [B, 2].
    train
        Epoch to training clips: dataset of (clip, label). Epoch 0 is measured before training.
    validation
        Clips that choose the epoch; without them the last one is kept.
    how
        Settings.
    folder
        Where checkpoints and ``trained.json`` are written; one folder, one training.
    seed
        Seed of the order of clips and of all that is random in the network.
    device
        Where to train.
    workers
        Processes that load clips.
    watch
        Further splits that are measured and decide nothing.
    label
        Opening word of the progress report.
    launch
        How many processes train together, and on which GPUs; by default this one alone.

    Returns
    -------
    Trained
        History, weights, and the batch size that fitted.

    Raises
    ------
    DivergedError
        When the loss or a weight is no longer finite; the last good checkpoint stays.
    StageError
        When the loss is not finite even before training, when a single clip does not fit into memory, when the folder
        holds another training or a damaged one, or when the disk is full; with several processes also when the network
        or the clips cannot be handed to them, or when one of them dies.
    SettingsError
        For float16 on the CPU, for several nodes outside a cluster's allocation, and for more processes than GPUs.
    TableError
        When a split is empty.

    Source
    ------
    MarcFraile/infant-engagement, ``local/training.py``. Losses in evaluation mode are means over clips; there every
    batch counts the same, also a shorter last one, as it does here for the training loss. That one is each batch's loss
    before its step with Adam, and at the last point that LBFGS tried.
    """
    if how.precision == "float16" and device.type == "cpu":
        raise SettingsError("precision is 'float16' on the CPU.", remedy="Use 'bfloat16' or 'float32', or a GPU.")
    others = {**({} if validation is None else {"validation": validation}), **(watch or {})}
    job = Job(network, train, others, how, folder, seed, device, workers, label, launch or LaunchSettings())
    identity = _identify(job)
    done = checkpointing.read_result(folder, identity)
    if done is None:
        done = _train(job, identity)
        checkpointing.write_result(folder, done)
    last, best = (checkpointing.load_weights(folder / name) for name in (LAST, BEST))
    return Trained(done.history(), best, last, *_use(how, done.part))


def _identify(job: Job) -> dict[str, Any]:
    """Collect what the result depends on, but for the clips."""
    hashed = hashlib.sha256()
    for key, value in job.network.state_dict().items():
        hashed.update(key.encode())
        hashed.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    settings = {name: value for name, value in asdict(job.how).items() if name not in _WITHOUT_EFFECT}
    if job.launch.group > 1:  # sums in another order: other last digits
        settings["processes"] = job.launch.group
    return {**settings, "seed": job.seed, "splits": list(job.others), "starting_weights": hashed.hexdigest()}


def _train(job: Job, identity: dict[str, Any]) -> Progress:
    """Train to the end, with smaller parts whenever memory does not suffice."""
    limit = job.how.batch_size
    while True:
        known = checkpointing.read_progress(job.folder, identity) or Progress(identity, limit)
        known.part = min(known.part, limit)
        failure = _attempt(job, known)
        if not failure:
            return known
        if known.part <= job.launch.group:
            raise StageError(
                f"Not even a single clip fits into memory: {failure}",
                where=str(job.device),
                remedy="Use fewer or smaller frames, a smaller network, bfloat16, or a device with more memory.",
            )
        limit = max(known.part // 2, job.launch.group)  # at least one clip for each process
        size, count = _use(job.how, limit)
        progress.say(
            f"A batch of {known.part} clips does not fit into memory; going on with {size} at a time, "
            f"gradients of {count} accumulated, from {_describe(job.folder)}."
        )


def _attempt(job: Job, known: Progress) -> str:
    """Train from where `known` is to the end; return what the allocator said when memory did not suffice, else ''."""
    if is_over(job.how, known):
        return ""
    if job.launch.group > 1:
        from nbpkg.training import group  # with all that it takes to start processes

        failure = group.fit(job, partial(_train_with_peers, known=known))
        if not failure:
            vars(known).update(vars(checkpointing.read_progress(job.folder, known.identity) or known))
        return failure
    from nbpkg.training import lightning_loop  # Lightning takes seconds to import

    failure = ""
    try:
        lightning_loop.fit(job._replace(network=copy.deepcopy(job.network)), known)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        failure = str(error).splitlines()[0] if str(error) else type(error).__name__
    if failure:  # only now, when no call stack holds the network any more, can its memory be given back
        gc.collect()
        if job.device.type == "cuda":
            torch.cuda.empty_cache()
    return failure


def _train_with_peers(job: Job, peers: Peers, *, known: Progress) -> None:
    """Train as one of a group of processes."""
    from nbpkg.training import lightning_loop  # Lightning takes seconds to import

    lightning_loop.fit(job, known, peers)


def _use(how: FineTune, part: int) -> tuple[int, int]:
    """Return clips in the network at once and how many such parts make a step."""
    return part, -(-how.batch_size * how.accumulate // part)


def _describe(folder: Path) -> str:
    return "the last checkpoint" if (folder / LAST).is_file() else "the start"
