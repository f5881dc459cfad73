"""What stands around the loop of a fine-tuning: checkpoint files, progress, profile, and flags put back."""

from __future__ import annotations

import logging
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.plugins.io import CheckpointIO

from nbpkg.progress import Report
from nbpkg.runs.files import new_file
from nbpkg.training import checkpointing
from nbpkg.training.checkpointing import Progress
from nbpkg.training.finetune import Job
from nbpkg.training.peers import Peers
from nbpkg.training.relay import Relay

PROFILED = {"wait": 2, "warmup": 2, "active": 1, "repeat": 1}


def build_callbacks(job: Job, known: Progress, peers: Peers) -> list[Callback]:
    """Return what else a process does while it trains; only the first one shows and writes anything."""
    first: list[Callback] = [_Reporter(job, known, peers.begin), *([_Profiler(job.folder)] if job.how.profile else [])]
    return [*(first if peers.rank == 0 else []), *([_Mortal()] if peers.size > 1 else [])]


def checkpoint_files() -> CheckpointIO:
    """Return what writes checkpoints complete or not at all, and reads plain weights and numbers only."""
    return _CheckpointFiles()


class _CheckpointFiles(CheckpointIO):
    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:  # noqa: ARG002
        checkpointing.save(checkpoint, Path(path))

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:  # noqa: ARG002
        return checkpointing.load(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        Path(path).unlink(missing_ok=True)


class _Reporter(Callback):
    """Shows progress step by step, in a report that `begin` begins."""

    def __init__(self, job: Job, known: Progress, begin: Callable[..., Report | Relay]) -> None:
        self.job, self.known, self.begin = job, known, begin
        self.report: Report | Relay | None = None

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        if self.report is None:
            epochs = self.job.how.epochs - trainer.current_epoch
            self.report = self.begin(self.job.label, total=int(epochs * trainer.num_training_batches), unit="step")

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if self.report is not None:
            self.report.step(note=f"epoch {trainer.current_epoch + 1} of {self.job.how.epochs}")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        if self.report is not None:
            self.report.close(note=f"best epoch {self.known.best_epoch}")


class _Mortal(Callback):
    """Lets SIGTERM end this process at once: Lightning would wait for a step in which another one may be missing."""

    def on_train_start(self, *_: Any) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


class _Profiler(Callback):
    """Records one step, with memory and call stacks, as a trace for a browser."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "profile" / "trace.json"
        self.profile = torch.profiler.profile(
            schedule=torch.profiler.schedule(**PROFILED),
            on_trace_ready=self._write,
            profile_memory=True,
            with_stack=True,
        )

    def on_train_start(self, *_: Any) -> None:
        self.profile.start()

    def on_train_batch_end(self, *_: Any) -> None:
        self.profile.step()

    def on_train_end(self, *_: Any) -> None:
        self.profile.stop()

    def on_exception(self, *_: Any) -> None:
        self.profile.stop()

    def _write(self, profile: torch.profiler.profile) -> None:
        with new_file(self.path) as temporary:
            profile.export_chrome_trace(str(temporary))


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Lightning's tips, its list of devices, and advice that does not hold for us."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            unwanted = (
                "does not have many workers",
                "GPU available but not used",
                "isinstance.treespec",
                "in eval mode at the start",
                "The `srun` comm",
            )
            for text in (f".*{words}" for words in unwanted):
                warnings.filterwarnings("ignore", message=text)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def flags_restored() -> Iterator[None]:
    """Put torch's process-wide flags back, which the trainer sets."""
    strict, warn = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    memory: Any = torch.utils.deterministic
    benchmark, fill = torch.backends.cudnn.benchmark, memory.fill_uninitialized_memory
    memory.fill_uninitialized_memory = False  # an aid for finding bugs that costs bandwidth
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(strict, warn_only=warn)
        torch.backends.cudnn.benchmark = benchmark
        memory.fill_uninitialized_memory = fill


@contextmanager
def random_state_restored(device: torch.device) -> Iterator[None]:
    """Leave torch's random state as it was."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield
