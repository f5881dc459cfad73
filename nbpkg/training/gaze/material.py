"""What gaze training may see, and the rounds it is cut into: one fold left out at a time, the test fold never there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg.baking.gaze import BakedGaze
from nbpkg.datasets.gaze.augment import Augment
from nbpkg.datasets.gaze.blocks import BlockDataset, FrameSource
from nbpkg.datasets.gaze.items import Preparation
from nbpkg.datasets.gaze.pictures import plan_pictures
from nbpkg.datasets.gaze.plans import usable_rows
from nbpkg.errors import FoldError, SettingsError
from nbpkg.metrics.gaze.auc import Protocol
from nbpkg.models.gaze.gazelle import GazeLle
from nbpkg.models.gaze.vtd import VtdSpatial, VtdTemporal
from nbpkg.training.gaze.blocks import BlockLesson
from nbpkg.training.gaze.people import PeopleLesson
from nbpkg.training.rounds import Pair

TASK = "gaze"
TRACK = ["session", "person", "rater", "segment"]
GazeNet = VtdSpatial | VtdTemporal | GazeLle
GazeLesson = BlockLesson | PeopleLesson


@dataclass(frozen=True)
class GazeMaterial:
    """All that gaze training may see.

    Parameters
    ----------
    table
        Table `gaze` of the training sessions only, head boxes smoothed.
    folds
        Table ``folds`` of the training sessions only; ``group`` is the participant.
    stores
        Frames of each training session.
    network
        Where training begins: its weights are a setting of the run.
    name
        Name of the network, see `nbpkg.models.gaze.weights.MODELS`.
    prepare
        How frames, boxes and gaze points become VTD's tensors.
    frozen
        Whether trunk or backbone stay as they are.
    footage
        ``video``: tracks in blocks, with memory; ``pictures``: single frames in any order. Gaze-LLE takes pictures.
    augment
        Random changes of training frames; None for none.
    baked
        What trunk or backbone make of every row; then no frame is read.
    longest
        Most consecutive rows of a track in one epoch (video).
    every
        Take every n-th row of a track, or picture of a session (pictures).
    workers
        Processes that read frames.
    protocol
        Published definition of the AUC of the validation participants.

    Raises
    ------
    FoldError
        When a table holds a test session, or a session without a fold.
    SettingsError
        When frames are to be changed although their features are baked, or a trunk is to learn from baked features.
    """

    table: pd.DataFrame
    folds: pd.DataFrame
    stores: Mapping[str, FrameSource]
    network: GazeNet
    name: str
    prepare: Preparation
    frozen: bool = True
    footage: Literal["pictures", "video"] = "video"
    augment: Augment | None = None
    baked: BakedGaze | None = None
    longest: int | None = 50
    every: int = 1
    workers: int = 0
    protocol: Protocol = "vtd"

    def __post_init__(self) -> None:
        """Refuse what training must not see."""
        allowed = set(self.folds.loc[self.folds["role"] == "train", "session"])
        for name in ("table", "folds"):
            strange = sorted(set(getattr(self, name)["session"]) - allowed)
            if strange:
                raise FoldError(
                    f"{name!r} holds sessions that training must not see: {', '.join(strange[:5])}.",
                    expected="Training sessions only; the test fold is looked at once, in notebook 06.",
                    remedy="Select the rows whose session has the role 'train' in the table 'folds'.",
                )
        split = self.folds.groupby("group")["fold"].nunique()
        if (split > 1).any():
            raise FoldError(
                f"Participants are in several folds: {', '.join(map(str, split[split > 1].index[:5]))}.",
                expected="All sessions of a participant in one fold.",
                remedy="Run notebooks/03_stratify.ipynb again.",
            )
        if self.baked is not None and (self.augment is not None or not self.frozen):
            raise SettingsError(
                "Baked features are those of unchanged frames and of the weights that training begins with.",
                expected="bake.frozen, and no random change in train.augment.",
                remedy="Switch the changes off, or set bake.frozen to false: frames are then read in every epoch.",
            )
        if self.baked is not None:
            self.baked.check(self.network)

    @property
    def pair(self) -> Pair:
        """Names of the searches and tables."""
        return Pair(TASK, self.name)

    @property
    def numbers(self) -> list[int]:
        """Numbers of the training folds."""
        return sorted(set(self.folds["fold"]))

    def lesson(self, fold: int, *, seed: int, chunk: int) -> GazeLesson:
        """Return what is learnt from in a round.

        Parameters
        ----------
        fold
            Fold whose participants choose the epoch; with -1 nothing is left out.
        seed
            Of order, windows and changes.
        chunk
            Time steps in the network at once when validation rows are scored.

        Raises
        ------
        FoldError
            When there is nothing to learn from, or nothing to choose by.
        """
        out = set(self.folds.loc[self.folds["fold"] == fold, "session"])
        left = self.table["session"].isin(out)
        train, validation = self.table[~left].reset_index(drop=True), self.table[left].reset_index(drop=True)
        if train.empty or (fold >= 0 and validation.empty):
            raise FoldError(
                f"Without fold {fold}, {len(train)} rows are left to learn from, {len(validation)} to choose by.",
                expected="Rows of at least one participant in both.",
                remedy="Use fewer folds or more participants.",
            )
        kept = None if fold < 0 else validation
        if isinstance(self.network, GazeLle):
            return PeopleLesson(
                train,
                kept,
                self.stores,
                inout=self.network.inout_head is not None,
                seed=seed,
                side=self.network.size.size,
                augment=self.augment,
                every=self.every,
                frozen=self.frozen,
                baked=self.baked,
                workers=self.workers,
                protocol=self.protocol,
            )
        video = self.footage == "video"
        return BlockLesson(
            train if video else take_every(train, self.every),
            kept,
            self.stores,
            self.prepare,
            video=video,
            seed=seed,
            augment=self.augment,
            limit=self.longest,
            frozen=self.frozen,
            baked=self.baked,
            workers=self.workers,
            chunk=chunk,
            protocol=self.protocol,
        )


def take_every(table: pd.DataFrame, every: int) -> pd.DataFrame:
    """Take every n-th row of each track of a table `gaze`."""
    return table[table.groupby(TRACK, sort=False, observed=True).cumcount() % every == 0].reset_index(drop=True)


def preview(
    material: GazeMaterial, count: int, *, seed: int
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]:
    """Prepare some training rows as an epoch does, to look at them.

    Parameters
    ----------
    material
        What may be seen.
    count
        Rows, spread over the table.
    seed
        Of the random changes.

    Returns
    -------
    tuple
        Scenes, uint8 RGB ``[N, S, S, 3]``; head channels ``[N, S, S]``; target maps ``[N, 64, 64]``.
    """
    usable = material.table[usable_rows(material.table)]
    rows = usable.iloc[np.linspace(0, len(usable) - 1, min(count, len(usable))).astype(int)].reset_index(drop=True)
    augment = material.augment
    plan = plan_pictures(
        rows, batch=len(rows), how=material.prepare, seed=seed if augment else None, epoch=1, augment=augment
    )
    block = BlockDataset(plan, rows, stores=material.stores, how=material.prepare)[0]
    if block.pixels is None:
        raise SettingsError("Nothing can be shown without frames.", remedy="Open the frame stores.")
    head = block.pixels.make_inputs().head[:, 0].numpy()
    return block.pixels.scene.numpy(), head, block.targets.maps.numpy()
