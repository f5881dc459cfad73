"""The lesson of Gaze-LLE: pictures with their people; frames read, or the backbone's tokens baked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from nbpkg.baking.gaze import BakedGaze, BakedRows
from nbpkg.datasets.gaze.augment import Augment
from nbpkg.datasets.gaze.blocks import FrameSource, open_block_loader
from nbpkg.datasets.gaze.items import Targets
from nbpkg.datasets.gaze.people import GAZELLE_SIZE, People, PeopleDataset, PeoplePlan, plan_people
from nbpkg.datasets.gaze.plans import usable_rows
from nbpkg.metrics.gaze.auc import Protocol
from nbpkg.models.gaze.gazelle import OUTPUT, decoder_groups, freeze_backbone
from nbpkg.training.gaze.blocks import SUMS, hash_rows, set_training
from nbpkg.training.gaze.course import GazeTraining
from nbpkg.training.gaze.losses import Loss, gazelle_loss
from nbpkg.training.gaze.memory import MIB
from nbpkg.training.gaze.scores import EpochScores
from nbpkg.training.gaze.steps import Wanted, learn_people


@dataclass
class PeopleLesson:
    """What Gaze-LLE learns from, and how: one head at a time, as published.

    Parameters
    ----------
    train, validation
        Tables `gaze`, of other participants. Without validation rows there are no scores.
    stores
        Frames of each session; none is read where `baked` is given.
    inout
        Whether the network judges inside or outside; without, it learns from targets inside only.
    seed
        Of order and changes.
    side
        Side of the pictures, pixels.
    augment
        Random changes of training frames; None for none.
    every
        Take every n-th picture of each session for training; published for video: 6.
    frozen
        Whether the backbone stays as it is.
    baked
        The backbone's tokens of every picture; only without random changes and with a frozen backbone.
    workers
        Processes that read frames.
    protocol
        Published definition of the AUC.
    """

    train: pd.DataFrame
    validation: pd.DataFrame | None
    stores: Mapping[str, FrameSource]
    inout: bool
    seed: int
    side: int = GAZELLE_SIZE
    augment: Augment | None = None
    every: int = 1
    frozen: bool = True
    baked: BakedGaze | None = None
    workers: int = 0
    protocol: Protocol = "gazelle"
    unit: str = field(init=False, default="picture")
    _stored: dict[str, BakedRows] = field(init=False)

    def __post_init__(self) -> None:
        tables = {"train": self.train, "validation": self.validation}
        known = {name: table for name, table in tables.items() if table is not None}
        self._stored = {} if self.baked is None else {name: self.baked.open(table) for name, table in known.items()}

    def identity(self) -> dict[str, Any]:
        """Return what the result depends on besides the settings, in plain data."""
        return {
            "train_rows": hash_rows(self.train),
            "validation_rows": "" if self.validation is None else hash_rows(self.validation),
            "augment": repr(self.augment),
            "every": self.every,
            "frozen": self.frozen,
            "baked": self.baked is not None,
            "lesson_seed": self.seed,
        }

    def prepare(self, network: nn.Module) -> None:
        """Freeze what does not learn."""
        if self.frozen:
            freeze_backbone(_gazelle(network))

    def groups(self, network: nn.Module, how: GazeTraining) -> list[dict[str, Any]]:
        """Return the groups of parameters for the optimiser."""
        faster = how.learning_rate * how.inout_rate if self.inout else None
        return decoder_groups(_gazelle(network), how.learning_rate, inout_learning_rate=faster)

    def enter(self, network: nn.Module, how: GazeTraining) -> None:
        """Set training mode."""
        set_training(network, how)

    def batches(self, epoch: int, how: GazeTraining) -> Iterable[Any]:
        """Return the batches of an epoch."""
        plan = plan_people(
            self.train,
            batch=how.batch_size,
            one_head=True,
            inside_only=not self.inout,
            every=self.every,
            seed=self.seed,
            epoch=epoch,
            augment=self.augment,
        )
        if how.max_steps:
            plan = PeoplePlan(plan.batches[: how.max_steps], plan.changes[: how.max_steps], plan.left_out)
        return self._load(plan, self.train)

    def rehearse(self, count: int, how: GazeTraining) -> People:  # noqa: ARG002 - all lessons are called alike
        """Return a batch of `count` pictures with nothing to be seen in it."""
        boxes = [torch.tensor([[0.4, 0.4, 0.6, 0.6]])] * count
        targets = Targets(torch.zeros(count, OUTPUT, OUTPUT), torch.ones(count), torch.zeros(count, 2))
        rows = torch.from_numpy(np.resize(np.flatnonzero(usable_rows(self.train)), count))
        return People(None, boxes, targets, rows)

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
        """Add the gradients of one batch up; nothing is remembered."""
        wanted = Wanted(batch.targets.maps, batch.targets.inside)
        see = self._watch(_gazelle(network), batch, "train")
        loss = learn_people(
            _gazelle(network),
            see,
            batch.boxes,
            wanted,
            part=part,
            backward=backward,
            inout_weight=how.inout_weight,
        )
        return loss, memory

    @torch.no_grad()
    def measure(self, network: nn.Module, how: GazeTraining) -> dict[str, float]:
        """Score the network on the validation rows, each picture with all its people."""
        scores = EpochScores(self.protocol)
        if self.validation is None or self.validation.empty:
            return {}
        plan = plan_people(self.validation, batch=how.batch_size)
        for batch in self._load(plan, self.validation):
            see = self._watch(_gazelle(network), batch, "validation")
            heat, score = _gazelle(network).decode(see(torch.arange(len(batch.boxes))), batch.boxes)
            maps, inside, gaze = (one.to(heat.device) for one in batch.targets)
            loss = gazelle_loss(heat, score, maps, inside, whole=SUMS)
            scores.add(heat, score, inside=inside, gaze=gaze, loss=loss)
        return scores.summarise(inout_weight=how.inout_weight)

    def frames(self, batch: Any) -> int:
        """Count the pictures of a batch."""
        return len(batch.boxes)

    def weight(self, network: nn.Module) -> float:
        """Return the size of the input and target of one picture, MiB."""
        own = _gazelle(network)
        seen = own.linear.in_channels * own.size.grid**2 if self.baked is not None else 3 * own.size.size**2
        return float(4 * (2 * seen + OUTPUT**2)) / MIB

    def _load(self, plan: PeoplePlan, table: pd.DataFrame) -> Iterable[Any]:
        frames = self.baked is None
        dataset = PeopleDataset(plan, table, stores=self.stores, size=self.side, frames=frames)
        return open_block_loader(dataset, workers=self.workers)

    def _watch(self, network: Any, batch: People, split: str) -> Callable[[torch.Tensor], torch.Tensor]:
        """Return what tells what the backbone makes of pictures of a batch."""
        device = network.linear.weight.device
        if split in self._stored:
            stored = self._stored[split]
            starts = torch.tensor([0, *(len(own) for own in batch.boxes)]).cumsum(0)  # first person of each picture
            return lambda pictures: stored.read(batch.rows[starts[pictures]].numpy())[0].to(device)
        return lambda pictures: network.encode(_images(network, batch, pictures).to(device))


def _images(network: Any, batch: People, pictures: torch.Tensor) -> torch.Tensor:
    """Return the pictures themselves; black ones for the rehearsal."""
    side = network.size.size
    return torch.zeros(len(pictures), 3, side, side) if batch.images is None else batch.images[pictures]


def _gazelle(network: nn.Module) -> Any:
    """Return the network as what it is: lessons hold none, so that their type cannot say it."""
    return network
