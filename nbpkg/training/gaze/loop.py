"""The loop of a gaze training, run by Lightning: steps, scores of every epoch, checkpoints, progress."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR

from nbpkg import progress, seeding
from nbpkg.progress import Report
from nbpkg.runs.files import new_file
from nbpkg.training.checkpointing import BEST, FACTS, LAST, PREFIX
from nbpkg.training.gaze.course import Job, is_over, name_changing
from nbpkg.training.gaze.losses import Loss, check_finite
from nbpkg.training.gaze.memory import Estimate, read_peak
from nbpkg.training.gaze.records import Records, write_steps
from nbpkg.training.lightning_loop import run_lightning


def fit(job: Job, known: Records, estimate: Estimate) -> None:
    """Train `job.network` from where `known` is to the last epoch, and keep `known` up to date.

    Parameters
    ----------
    job
        See `nbpkg.training.gaze.course.train_network`; its network is changed.
    known
        As read from ``last.ckpt``, or fresh.
    estimate
        Of the memory that the largest batch adds; said beside what was measured.

    Raises
    ------
    DivergedError, StageError
        As `nbpkg.training.gaze.course.train_network` says.
    """
    run_lightning(
        lambda: _Loop(job, known, estimate),
        folder=job.folder,
        begun=known.epoch >= 0,
        epochs=job.how.epochs,
        device=job.device,
        precision=job.how.precision,
    )


class _Loop(LightningModule):
    """One network in training; optimisation is manual, as a batch may come in parts and video has a memory."""

    def __init__(self, job: Job, known: Records, estimate: Estimate) -> None:
        super().__init__()
        self.estimate = estimate
        self.automatic_optimization = False
        self.strict_loading = False  # a checkpoint holds only what training changes
        self.network = job.network
        self.job, self.known, self.lesson, self.how = job, known, job.lesson, job.how
        self.lesson.enter(self.network, self.how)
        self.changing = name_changing(self.network)
        self._memory: Any = None
        self._losses: list[list[float]] = []
        self._begun = time.monotonic()
        self._report: Report | None = None

    # ---- what Lightning asks for

    def configure_optimizers(self) -> Any:
        how = self.how
        optimiser = torch.optim.Adam(self.lesson.groups(self.network, how), lr=how.learning_rate)
        if how.schedule == "cosine":
            return [optimiser], [CosineAnnealingLR(optimiser, max(how.epochs, 1), eta_min=how.last_rate)]
        return [optimiser], [LambdaLR(optimiser, lambda _: 1.0)]

    def train_dataloader(self) -> Iterable[Any]:
        # Not by Lightning's count, which lags behind when it asks for the first time after resuming.
        return self.lesson.batches(max(1, min(self.known.epoch + 1, self.how.epochs)), self.how)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:  # noqa: ARG002
        return batch  # part by part in the step, so that a GPU holds one part only

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        state = checkpoint["state_dict"]
        checkpoint["state_dict"] = {key: state[key] for key in state if key.removeprefix(PREFIX) in self.changing}
        checkpoint[FACTS] = self.known.to_text()

    def on_fit_start(self) -> None:
        if self.how.epochs:
            self._rehearse()
        if self.known.epoch < 0:
            self._measure(0)
            self._save(0)
        self.lesson.enter(self.network, self.how)  # Lightning warns of networks in evaluation mode before it trains

    def on_train_epoch_start(self) -> None:
        # Each epoch has its own random numbers, so that a resumed one draws the same.
        torch.manual_seed(seeding.child(self.job.seed, "network", self.current_epoch + 1))
        self.lesson.enter(self.network, self.how)
        self._memory, self._losses, self._begun = None, [], time.monotonic()
        if self._report is None:
            left = self.how.epochs - self.current_epoch
            self._report = Report(self.job.label, total=int(left * self.trainer.num_training_batches), unit="step")

    def training_step(self, batch: Any, batch_idx: int) -> None:
        optimiser: Any = self.optimizers()
        optimiser.zero_grad()
        loss, self._memory = self._learn(batch, self._memory)
        values = [float(one) for one in (loss.total, loss.heat, loss.inout)]
        epoch, step = self.current_epoch + 1, batch_idx + 1
        check_finite(values[0], epoch=epoch, step=step, kept=self.job.folder / LAST)
        optimiser.step()
        self._losses.append([epoch, step, *values, float(optimiser.param_groups[0]["lr"])])
        if self._report is not None:
            self._report.step(note=f"epoch {epoch} of {self.how.epochs}")

    def on_train_epoch_end(self) -> None:
        epoch = self.current_epoch + 1
        self._memory = None
        self.known.steps += self._losses
        for place, name in enumerate(("loss", "heat", "inout"), 2):
            mean = math.fsum(row[place] for row in self._losses) / max(len(self._losses), 1)
            self.known.add("train", {name: mean}, epoch=epoch)
        self._measure(epoch)
        schedule: Any = self.lr_schedulers()
        schedule.step()
        self._save(epoch)
        self._keep(epoch)
        self.trainer.should_stop = is_over(self.how, self.known)

    def on_train_end(self) -> None:
        if self._report is not None:
            self._report.close(note=f"best epoch {self.known.best_epoch}")

    # ---- our own

    def _learn(self, batch: Any, memory: Any) -> tuple[Loss, Any]:
        def backward(loss: torch.Tensor) -> None:
            if loss.requires_grad:
                with torch.autocast(self.device.type, enabled=False):
                    self.manual_backward(loss)

        return self.lesson.learn(self.network, batch, memory, how=self.how, part=self.known.part, backward=backward)

    def _rehearse(self) -> None:
        """Run the largest batch once, so that memory runs out now and not in the middle of the night."""
        self.lesson.enter(self.network, self.how)
        held = {key: value.clone() for key, value in self.network.named_buffers()}
        with self.trainer.precision_plugin.forward_context():
            self._learn(self.lesson.rehearse(self.how.batch_size, self.how), None)
        self.network.zero_grad(set_to_none=True)
        for key, value in self.network.named_buffers():  # statistics of batch normalisation
            value.copy_(held[key])
        progress.say(
            f"{self.job.label}: the largest batch is estimated to add {self.estimate}; measured peak of the process "
            f"{read_peak(self.job.device):.0f} MiB."
        )

    def _measure(self, epoch: int) -> None:
        self.network.eval()
        with torch.no_grad(), self.trainer.precision_plugin.forward_context():
            self.known.add("validation", self.lesson.measure(self.network, self.how), epoch=epoch)

    def _save(self, epoch: int) -> None:
        """Write the checkpoints: the best one first, so that the last one never counts on what is not there."""
        known, how = self.known, self.how
        known.epoch = epoch
        known.best_epoch = known.choose(how.choose, window=how.window, warm_up=how.warm_up)
        seconds = round(time.monotonic() - self._begun, 3)
        known.costs.append([epoch, seconds, round(read_peak(self.job.device), 1), known.part])
        if known.best_epoch == epoch:
            self.trainer.save_checkpoint(self.job.folder / BEST, weights_only=True)
        self.trainer.save_checkpoint(self.job.folder / LAST)
        write_steps(self.job.folder, known)

    def _keep(self, epoch: int) -> None:
        """Keep the whole network as the published programs do, also of the last epoch."""
        every = self.how.keep_every
        if every and (epoch % every == 0 or epoch == self.how.epochs):
            state = {key: value.detach().cpu() for key, value in self.network.state_dict().items()}
            with new_file(self.job.folder / f"epoch_{epoch:02d}_weights.pt") as temporary:
                torch.save({"model": state}, temporary)
