"""The loop of a fine-tuning, run by Lightning: steps, measures, checkpoints, profile, progress."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn
from torch.optim.lr_scheduler import ExponentialLR

from nbpkg import seeding
from nbpkg.errors import DivergedError, StageError
from nbpkg.training.batches import NO_CLASS, Batches, Part
from nbpkg.training.callbacks import (
    build_callbacks,
    checkpoint_files,
    flags_restored,
    quiet,
    random_state_restored,
)
from nbpkg.training.checkpointing import BEST, FACTS, LAST, Progress
from nbpkg.training.finetune import Clips, Job, is_over
from nbpkg.training.history import choose_epoch, score
from nbpkg.training.peers import ALONE, Peers

PRECISIONS: dict[str, Any] = {"float32": "32-true", "bfloat16": "bf16-mixed", "float16": "16-mixed"}


def fit(job: Job, known: Progress, peers: Peers = ALONE) -> None:
    """Train `job.network` from where `known` is to the last epoch, and keep `known` up to date.

    Parameters
    ----------
    job
        See `nbpkg.training.finetune.fine_tune`; its network is changed.
    known
        As read from ``last.ckpt``, or fresh.
    peers
        The processes that train together; each calls this with the same job.

    Raises
    ------
    DivergedError, StageError
        As `nbpkg.training.finetune.fine_tune` says.
    """
    run_lightning(
        lambda: _Loop(job, known, peers),
        folder=job.folder,
        begun=known.epoch >= 0,
        epochs=job.how.epochs,
        device=job.device,
        precision=job.how.precision,
        deterministic=job.how.deterministic,
        callbacks=lambda: build_callbacks(job, known, peers),
    )


def run_lightning(
    make: Callable[[], LightningModule],
    *,
    folder: Path,
    begun: bool,
    epochs: int,
    device: torch.device,
    precision: str,
    deterministic: bool = True,
    callbacks: Callable[[], list[Callback]] = list,
) -> None:
    """Run a loop by Lightning, which leaves global flags, random state and signals as they were.

    Parameters
    ----------
    make
        Makes the loop, and `callbacks` its callbacks, once Lightning is quiet and random state is kept.
    folder, begun
        Where ``last.ckpt`` lies, and whether to go on from it.
    epochs, device, precision, deterministic
        How far, where and with which arithmetic.

    Raises
    ------
    KeyboardInterrupt
        Which Lightning would turn into the end of the notebook's kernel.
    """
    with quiet(), flags_restored(), random_state_restored(device):
        trainer = Trainer(
            accelerator="gpu" if device.type == "cuda" else "cpu",
            devices=[device.index or 0] if device.type == "cuda" else 1,
            precision=PRECISIONS[precision],
            max_epochs=epochs,
            deterministic="warn" if deterministic else False,
            benchmark=not deterministic,
            reload_dataloaders_every_n_epochs=1,
            # Inside a SLURM allocation Lightning would else take the job's tasks for its own.
            plugins=[LightningEnvironment(), checkpoint_files()],
            callbacks=callbacks(),
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            default_root_dir=folder,
        )
        handler = signal.getsignal(signal.SIGINT)
        try:
            trainer.fit(make(), ckpt_path=folder / LAST if begun else None)
        except SystemExit as end:
            if isinstance(end.__context__, KeyboardInterrupt):
                signal.signal(signal.SIGINT, handler)  # Lightning leaves it ignored
                raise KeyboardInterrupt from None
            raise


class _Loop(LightningModule):
    """One network in training.

    Optimisation is manual: Lightning's own accumulation divides a shorter last batch by the full count, takes the mean
    of the parts' weighted means for the weighted mean, and does not fit LBFGS.

    Of several processes each has a loop of its own, with its share of every part of every batch. Sums over clips are
    added up over the processes before anything is done with them, so that all of them know and do the same.
    """

    def __init__(self, job: Job, known: Progress, peers: Peers) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.network = peers.prepare(job.network)
        self.job, self.known, self.peers = job, known, peers
        weights = job.how.class_weights
        self.weight = None if weights is None else torch.tensor(weights, device=job.device)
        self.others = {name: self._batches(clips, name) for name, clips in job.others.items()}
        self._current: tuple[int, Batches] | None = None
        self._losses: list[torch.Tensor] = []  # of this epoch, on the device: reading one would wait for it
        self._tally = torch.zeros(4, dtype=torch.int64)

    # ---- what Lightning asks for

    def configure_optimizers(self) -> Any:
        how, parameters = self.job.how, list(self.network.parameters())
        optimiser: torch.optim.Optimizer
        if how.optimiser == "adam":
            optimiser = torch.optim.Adam(parameters, lr=how.learning_rate, weight_decay=how.weight_decay)
        else:
            optimiser = torch.optim.LBFGS(parameters, lr=how.learning_rate)
        return [optimiser], [ExponentialLR(optimiser, gamma=1 - how.lr_decay)]

    def train_dataloader(self) -> Batches:
        # Not by Lightning's count, which lags behind when it asks for the first time after resuming.
        return self._train_batches(min(self.known.epoch + 1, self.job.how.epochs))

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:  # noqa: ARG002
        return batch  # part by part in the step, so that memory holds one part only

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[FACTS] = self.known.to_text()

    def on_fit_start(self) -> None:
        self.shared = self.peers.share_gradients(self.network)
        if self.known.epoch < 0:
            for name, batches in {"train": self._train_batches(0), **self.others}.items():
                self._record(name, self._measure(batches, name, epoch=0))
            self._save()
        self._enter_training()  # Lightning warns of networks in evaluation mode before the first epoch

    def on_train_epoch_start(self) -> None:
        # Each epoch has its own random numbers, so that a resumed one draws the same, and each process others.
        torch.manual_seed(seeding.child(self.job.seed, "network", self.current_epoch + 1, *self.peers.names))
        self._enter_training()
        self._losses, self._tally = [], torch.zeros(4, dtype=torch.int64, device=self.device)

    def training_step(self, batch: list[Part], batch_idx: int) -> None:  # noqa: ARG002
        if len(self._losses) > 1:
            self._check_loss(self._losses[-2], f"training step {len(self._losses) - 1}")  # the one before may still run
        optimiser: Any = self.optimizers()
        total = self.peers.add_up(sum(self._share(labels) for _, labels in batch), self.device)
        loss = tally = torch.zeros(())

        def closure() -> torch.Tensor:  # LBFGS calls it many times; the published program records the last
            nonlocal loss, tally
            optimiser.zero_grad()
            loss, tally = self.peers.once(self._penalise()), torch.zeros_like(self._tally)
            for place, (clips, host_labels) in enumerate(batch, 1):
                labels = host_labels.to(self.device, non_blocking=True)
                with self.shared.joined(last=place == len(batch)):
                    scores = self.shared.network(clips.to(self.device, non_blocking=True)).float()
                    value = F.cross_entropy(scores, labels, self.weight, reduction="sum") / total
                    with torch.autocast(self.device.type, enabled=False):
                        self.manual_backward(self.shared.scale(value))
                loss += value.detach()
                tally += _count(labels, scores.detach())
            loss = self.peers.sum(loss)
            return loss

        optimiser.step(closure)
        self._losses.append(loss)
        self._tally += tally

    def on_train_epoch_end(self) -> None:
        epoch, losses = self.current_epoch + 1, torch.stack(self._losses).double()
        for step, value in enumerate(losses.tolist(), 1):
            self._check_loss(value, f"training step {step}")
        self._record("train", (float(losses.mean()), self.peers.sum(self._tally)))
        for name, batches in self.others.items():
            self._record(name, self._measure(batches, name, epoch=epoch))
        self._check_weights(epoch)
        schedule: Any = self.lr_schedulers()
        schedule.step()
        self._save()
        self.trainer.should_stop = is_over(self.job.how, self.known)

    # ---- our own

    def _enter_training(self) -> None:
        self.network.train()
        if not self.job.how.batch_statistics:
            for module in self.network.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()

    def _train_batches(self, epoch: int) -> Batches:
        """Return the training clips of an epoch, made once although Lightning may ask twice."""
        if self._current is None or self._current[0] != epoch:
            shuffle = self.job.how.shuffle and epoch > 0
            self._current = epoch, self._batches(self.job.train(epoch), "train", epoch=epoch, shuffle=shuffle)
        return self._current[1]

    def _batches(self, clips: Clips, name: str, *, epoch: int = 0, shuffle: bool = False) -> Batches:
        job = self.job
        return Batches(
            clips,
            size=job.how.batch_size * job.how.accumulate,
            part=self.known.part,
            seed=seeding.child(job.seed, name, epoch),
            shuffle=shuffle,
            limit=job.how.max_batches,
            workers=job.workers,
            device=job.device,
            peers=self.peers,
        )

    def _share(self, labels: torch.Tensor) -> float:
        """Add up the class weights of labels that lie on the CPU."""
        weights, labels = self.job.how.class_weights, labels[labels != NO_CLASS]
        return float(len(labels) if weights is None else torch.tensor(weights)[labels].sum())

    def _penalise(self) -> torch.Tensor:
        """Return the weighted sum of squares that LBFGS has in its loss; its gradient is added at once in training."""
        how = self.job.how
        if how.optimiser == "adam" or how.weight_decay == 0:
            return torch.zeros((), device=self.device)
        penalty = how.weight_decay * torch.stack([(value**2).sum() for value in self.network.parameters()]).sum()
        if torch.is_grad_enabled():
            self.manual_backward(penalty)
        return penalty.detach()

    @torch.no_grad()
    def _measure(self, batches: Batches, split: str, *, epoch: int) -> tuple[float, torch.Tensor]:
        """Return loss and confusion of one split in evaluation mode."""
        self.network.eval()
        self.peers.share_buffers(self.network)
        tally, total = torch.zeros(4, dtype=torch.int64, device=self.device), 0.0
        sums: list[torch.Tensor] = []  # of each batch
        with self.trainer.precision_plugin.forward_context():
            for number, (clips, host_labels) in ((n, part) for n, batch in enumerate(batches) for part in batch):
                labels = host_labels.to(self.device, non_blocking=True)
                scores = self.network(clips.to(self.device, non_blocking=True)).float()
                value = F.cross_entropy(scores, labels, self.weight, reduction="sum").double()
                sums[number:] = [sums[number] + value] if number < len(sums) else [value]
                tally += _count(labels, scores)
                total += self._share(host_labels)
        values, tally = self.peers.sum(torch.stack(sums)), self.peers.sum(tally)
        for number, value in enumerate(values.tolist(), 1):
            self._check_loss(value, f"batch {number} of {split}", epoch=epoch)
        return float(values.sum() / self.peers.add_up(total, self.device) + self._penalise()), tally

    def _record(self, split: str, measured: tuple[float, torch.Tensor]) -> None:
        loss, tally = measured
        self.known.loss.setdefault(split, []).append(loss)
        self.known.confusion.setdefault(split, []).append(tally.view(2, 2).tolist())

    def _save(self) -> None:
        """Write the checkpoints: the best one first, so that the last one never counts on what is not there."""
        how, epoch = self.job.how, self.known.epoch
        best = epoch
        if "validation" in self.known.loss:
            f1 = score(self.known.history().splits["validation"].confusion, "f1")
            best = int(choose_epoch(f1, window=how.window, warm_up=how.warm_up)[0])
        self.known.best_epoch = best
        if self.peers.rank:
            return
        if best == epoch:
            self.trainer.save_checkpoint(self.job.folder / BEST, weights_only=True)
        self.trainer.save_checkpoint(self.job.folder / LAST)

    def _check_loss(self, value: torch.Tensor | float, place: str, *, epoch: int | None = None) -> None:
        if not math.isfinite(value):
            epoch = self.current_epoch + 1 if epoch is None else epoch
            raise self._diverged(f"The loss is {float(value)} in epoch {epoch}, {place}.")

    def _check_weights(self, epoch: int) -> None:
        for key, value in self.network.state_dict().items():
            if not bool(value.isfinite().all()):
                steps = len(self._losses)
                raise self._diverged(f"Weight {key} is no longer finite after epoch {epoch}, training step {steps}.")

    def _diverged(self, what: str) -> StageError:
        kept = self.job.folder / LAST
        if not kept.is_file():
            return StageError(
                what,
                where="the network before any training",
                expected="Finite numbers.",
                remedy="Look for clips of that batch, or weights, that are not finite.",
            )
        return DivergedError(
            what,
            where=f"the last good checkpoint, of epoch {self.current_epoch}, is {kept}",
            expected="Finite numbers.",
            remedy="Lower learning_rate, or look for clips of that batch that are not finite.",
        )


def _count(labels: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    """Count (label, answer) pairs, [4]; unlike a histogram it does not wait for the device."""
    cells = labels * 2 + scores.argmax(dim=1)
    return (cells[:, None] == torch.arange(4, device=cells.device)).sum(dim=0)
