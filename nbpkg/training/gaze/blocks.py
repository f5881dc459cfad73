"""Lessons of VTD: tracks of video in blocks with a memory, or single pictures; frames read, or their trunk baked."""

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
from nbpkg.datasets.gaze.blocks import Block, BlockDataset, FrameSource, open_block_loader
from nbpkg.datasets.gaze.items import Pixels, Preparation, Targets
from nbpkg.datasets.gaze.pictures import plan_pictures
from nbpkg.datasets.gaze.plans import LIMIT, BlockPlan, plan_blocks, usable_rows
from nbpkg.metrics.gaze.auc import Protocol
from nbpkg.models.gaze.vtd import Trunk, VtdSpatial, VtdTemporal, freeze_trunk, parameter_groups
from nbpkg.runs.files import digest
from nbpkg.training.gaze.course import GazeTraining
from nbpkg.training.gaze.losses import Loss, Whole, vtd_loss
from nbpkg.training.gaze.memory import MIB
from nbpkg.training.gaze.packing import cut_tracks, join_states
from nbpkg.training.gaze.scores import EpochScores
from nbpkg.training.gaze.steps import See, Wanted, answer_piece, learn_block, learn_pictures

SUMS = Whole(1, 1)  # losses that are added up over frames


@dataclass
class BlockLesson:
    """What VTD learns from, and how.

    Parameters
    ----------
    train, validation
        Tables `gaze`, boxes smoothed if they are to be; of other participants. Without validation rows there are no
        scores.
    stores
        Frames of each session; none is read where `baked` is given.
    prepare
        How frames, boxes and gaze points become tensors.
    video
        Whether to go through tracks with a memory; else through single frames in random order.
    augment
        Random changes of training frames; None for none.
    limit
        Most consecutive rows of a track in one epoch (video).
    frozen
        Whether the trunk stays as it is.
    baked
        What the trunk makes of every row; only without random changes and with a frozen trunk.
    seed
        Of order, windows and changes.
    workers
        Processes that read frames.
    chunk
        Time steps in the network at once when validation rows are scored.
    protocol
        Published definition of the AUC.
    """

    train: pd.DataFrame
    validation: pd.DataFrame | None
    stores: Mapping[str, FrameSource]
    prepare_how: Preparation
    video: bool
    seed: int
    augment: Augment | None = None
    limit: int | None = LIMIT
    frozen: bool = True
    baked: BakedGaze | None = None
    workers: int = 0
    chunk: int = 3
    protocol: Protocol = "vtd"
    unit: str = field(init=False)
    _stored: dict[str, BakedRows] = field(init=False)

    def __post_init__(self) -> None:
        self.unit = "track" if self.video else "picture"
        tables = {"train": self.train, "validation": self.validation}
        known = {name: table for name, table in tables.items() if table is not None}
        self._stored = {} if self.baked is None else {name: self.baked.open(table) for name, table in known.items()}

    def identity(self) -> dict[str, Any]:
        """Return what the result depends on besides the settings, in plain data."""
        return {
            "train_rows": hash_rows(self.train),
            "validation_rows": "" if self.validation is None else hash_rows(self.validation),
            "prepare": repr(self.prepare_how),
            "augment": repr(self.augment),
            "video": self.video,
            "limit": self.limit if self.video else None,
            "frozen": self.frozen,
            "baked": self.baked is not None,
            "lesson_seed": self.seed,
        }

    def prepare(self, network: nn.Module) -> None:
        """Freeze what does not learn."""
        if self.frozen:
            freeze_trunk(_vtd(network))

    def groups(self, network: nn.Module, how: GazeTraining) -> list[dict[str, Any]]:
        """Return the groups of parameters for the optimiser."""
        return parameter_groups(_vtd(network), how.learning_rate, inout_factor=how.inout_rate)

    def enter(self, network: nn.Module, how: GazeTraining) -> None:
        """Set training mode."""
        set_training(network, how)

    def batches(self, epoch: int, how: GazeTraining) -> Iterable[Any]:
        """Return the blocks of an epoch."""
        plan = self._plan(self.train, how, epoch=epoch)
        if how.max_steps:
            plan = BlockPlan(plan.blocks[: how.max_steps], plan.changes, plan.tracks, plan.left_out)
        return open_block_loader(self._open(plan, self.train), workers=self.workers)

    def rehearse(self, count: int, how: GazeTraining) -> Block:
        """Return a block of `count` tracks as long as any can be, with nothing to be seen in it."""
        steps = how.chunk if self.video else 1
        rows, side, cells = count * steps, self.prepare_how.size, self.prepare_how.map_size
        pixels = torch.zeros(rows, side, side, 3, dtype=torch.uint8)
        targets = Targets(torch.zeros(rows, cells, cells), torch.ones(rows), torch.zeros(rows, 2))
        places = torch.from_numpy(np.resize(np.flatnonzero(usable_rows(self.train)), rows))
        seen = None if self.baked is not None else Pixels(pixels, pixels, torch.zeros(rows, 4, dtype=torch.int64))
        return Block(seen, targets, places, (count,) * steps, True, count)

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
        """Add the gradients of one block up."""
        wanted = Wanted(batch.targets.maps, batch.targets.inside)
        if isinstance(network, VtdTemporal):
            see, state = self._watch(network, batch, "train"), None if batch.first else memory
            return learn_block(
                network,
                see,
                wanted,
                batch_sizes=batch.batch_sizes,
                state=state,
                part=part,
                backward=backward,
                inout_weight=how.inout_weight,
            )
        see = self._watch(_vtd(network), batch, "train")
        weight = how.inout_weight
        return learn_pictures(_vtd(network), see, wanted, part=part, backward=backward, inout_weight=weight), None

    @torch.no_grad()
    def measure(self, network: nn.Module, how: GazeTraining) -> dict[str, float]:
        """Score the network on the validation rows, block by block, whole tracks."""
        scores = EpochScores(self.protocol)
        if self.validation is None or self.validation.empty:
            return {}
        plan = self._plan(self.validation, how)
        state = None
        for block in open_block_loader(self._open(plan, self.validation), workers=self.workers):
            state = self._score(_vtd(network), block, None if block.first else state, scores)
        return scores.summarise(inout_weight=how.inout_weight)

    def frames(self, batch: Any) -> int:
        """Count the frames of a block."""
        return len(batch.rows)

    def weight(self, network: nn.Module) -> float:
        """Return the size of the input and target of one frame, MiB."""
        own, cells = _vtd(network).size, self.prepare_how.map_size
        seen = 4 * (own.compress[1] * own.grid**2 + own.grid**2) if self.baked is not None else 34 * own.size**2
        return float(seen + 4 * cells**2) / MIB

    def _plan(self, table: pd.DataFrame, how: GazeTraining, *, epoch: int = 0) -> BlockPlan:
        """Plan a pass: epochs of training from 1, or what is scored, in order and unchanged."""
        seed, augment = (self.seed, self.augment) if epoch else (None, None)
        own, size = self.prepare_how, how.batch_size
        if not self.video:
            return plan_pictures(table, batch=size, how=own, seed=seed, epoch=epoch, augment=augment)
        limit, chunk = (self.limit, how.chunk) if epoch else (None, self.chunk)
        return plan_blocks(
            table, batch=size, chunk=chunk, how=own, seed=seed, epoch=epoch, augment=augment, limit=limit
        )

    def _open(self, plan: BlockPlan, table: pd.DataFrame) -> BlockDataset:
        return BlockDataset(plan, table, stores=self.stores, how=self.prepare_how, frames=self.baked is None)

    def _watch(self, network: VtdSpatial | VtdTemporal, block: Block, split: str) -> See:
        """Return what tells what the trunk makes of rows of a block."""
        device = network.fc_inout.weight.device
        if split in self._stored:
            stored = self._stored[split]

            def recall(rows: torch.Tensor) -> Trunk:
                encoding, inside = stored.read(block.rows[rows].numpy())
                return Trunk(encoding.to(device), inside.to(device), encoding.new_empty(0))

            return recall

        def look(rows: torch.Tensor) -> Trunk:
            return network.trunk(*Pixels(*(one[rows] for one in block.pixels or ())).make_inputs(device))

        return look

    def _score(self, network: VtdSpatial | VtdTemporal, block: Block, state: Any, scores: EpochScores) -> Any:
        see, after = self._watch(network, block, "validation"), []
        for piece in cut_tracks(block.batch_sizes, block.batch_sizes[0]):
            if isinstance(network, VtdTemporal):
                heat, logit, own = answer_piece(network, see, piece, state)
                after.append(own)
            else:
                trunk = see(piece.rows)
                heat, logit = network.decode(trunk.encoding), network.judge(trunk.inside)
            maps, inside, gaze = (one[piece.rows].to(heat.device) for one in block.targets)
            loss = vtd_loss(heat, logit, maps, inside, whole=SUMS)
            scores.add(heat, logit, inside=inside, gaze=gaze, loss=loss)
        return join_states(after) if after else None


def set_training(network: nn.Module, how: GazeTraining) -> None:
    """Set training mode, in which batch normalisation may keep the statistics that it came with."""
    network.train()
    if not how.batch_statistics:
        for module in network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()


def hash_rows(table: pd.DataFrame) -> str:
    """Hash what a training takes from a table `gaze`."""
    columns = ["session", "person", "rater", "segment", "frame", "x0", "y0", "x1", "y1", "gaze_x", "gaze_y", "inside"]
    return digest(table[[*columns, "valid"]].to_csv(index=False))


def _vtd(network: nn.Module) -> Any:
    """Return the network as what it is: lessons hold none, so that their type cannot say it."""
    return network
