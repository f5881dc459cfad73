"""What training may see, and the rounds it is cut into: one fold left out at a time, the test fold never there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from nbpkg import seeding
from nbpkg.baking.encoder import Baked
from nbpkg.baking.shards import gather
from nbpkg.datasets.clips import ClipDataset
from nbpkg.datasets.preprocess import Preprocess
from nbpkg.datasets.transforms import Augment
from nbpkg.errors import FoldError, SettingsError
from nbpkg.settings.launch import LaunchSettings
from nbpkg.training.heads import Rows
from nbpkg.video.frames import FrameStore

Draw = Callable[..., tuple[pd.DataFrame, pd.DataFrame]]


class Pair(NamedTuple):
    """Task and variable that a network is trained for."""

    task: str
    variable: str

    @property
    def name(self) -> str:
        """For seeds and searches, e.g. ``people_attending``."""
        return f"{self.task}_{self.variable}"

    @property
    def path(self) -> Path:
        """Folder of the pair below another; names may hold underscores, so that `name` could mean two pairs."""
        return Path(self.task) / self.variable


@dataclass(frozen=True)
class Where:
    """Where trainings happen.

    Parameters
    ----------
    folder
        Run folder.
    seed
        The experiment's seed.
    device
        Where to compute.
    workers
        Processes that read clips.
    launch
        How many processes share the work.
    """

    folder: Path
    seed: int
    device: torch.device
    workers: int
    launch: LaunchSettings = field(default_factory=LaunchSettings)


class Clips(NamedTuple):
    """Datasets of one round of fine-tuning: epoch to training clips, and the clips of the fold left out, if any."""

    train: Callable[[int], ClipDataset]
    validation: ClipDataset | None


@dataclass(frozen=True)
class DrawnClips:
    """Training clips of a round, drawn anew for every epoch; small enough to be handed to other processes.

    Parameters
    ----------
    draw
        As in `Material`.
    tasks, spans
        Of the sessions of the round.
    chunks, seed
        How many clips to draw from each task, and the seed of the draws and of their augmentation.
    stores
        Open frame store of each session of the round.
    preprocess, augment
        As in `nbpkg.datasets.clips.ClipDataset`.
    """

    draw: Draw
    tasks: pd.DataFrame
    spans: pd.DataFrame
    chunks: int
    seed: int
    stores: Mapping[str, FrameStore]
    preprocess: Preprocess
    augment: Augment | None

    def __call__(self, epoch: int) -> ClipDataset:
        """Return the clips of an epoch."""
        clips, _ = self.draw(self.tasks, self.spans, chunks=self.chunks, epoch=epoch, seed=self.seed)
        return ClipDataset(
            clips,
            clips["label"].to_numpy(np.int64),
            stores=self.stores,
            preprocess=self.preprocess,
            augment=self.augment,
            seed=seeding.child(self.seed, "augment", epoch),
        )


@dataclass(frozen=True)
class Material:
    """All that training may see.

    Parameters
    ----------
    samples, folds, spans, tasks
        These tables, of the training sessions only.
    draws, index
        Tables ``draws`` and ``features`` of stage 04.
    folder
        Run folder of stage 04, with the features.
    baked
        What stage 04 hands on.
    stores
        Open frame store of each training session.
    draw
        Tables ``tasks`` and ``spans``, and the keywords chunks, epoch and seed, to the table ``draws`` of one epoch and
        the table ``dropped``: how the study draws training clips.

    Raises
    ------
    FoldError
        When a table holds a test session.
    """

    samples: pd.DataFrame
    folds: pd.DataFrame
    spans: pd.DataFrame
    tasks: pd.DataFrame
    draws: pd.DataFrame
    index: pd.DataFrame
    folder: Path
    baked: Baked
    stores: Mapping[str, FrameStore]
    draw: Draw

    def __post_init__(self) -> None:
        """Refuse what training must not see."""
        allowed = set(self.folds.loc[self.folds["role"] == "train", "session"])
        for name in ("samples", "folds", "spans", "tasks", "draws", "index"):
            strange = sorted(set(getattr(self, name)["session"]) - allowed)
            if strange:
                raise FoldError(
                    f"Table {name!r} holds sessions that training must not see: {', '.join(strange[:5])}.",
                    expected="Training sessions only; the test fold is looked at once, in notebook 06.",
                    remedy="Select the rows whose session has the role 'train' in the table 'folds'.",
                )

    @property
    def clip_ms(self) -> int:
        """Length of a clip, milliseconds."""
        return int((self.samples["end_ms"] - self.samples["start_ms"]).iloc[0])

    @property
    def numbers(self) -> list[int]:
        """Numbers of the training folds."""
        return sorted(set(self.folds["fold"]))

    def sessions(self, *, without: int) -> list[str]:
        """Return the training sessions outside one fold; all with -1."""
        return sorted(self.folds.loc[self.folds["fold"] != without, "session"])

    def rows(self, pair: Pair, fold: int) -> tuple[Rows, Rows | None]:
        """Return features and labels of a round: drawn clips of the other folds, grid clips of the fold left out.

        Every rater's label of a grid clip is a row. With fold -1 nothing is left out, and there is no second part.
        """
        own = set(self.sessions(without=fold))
        draws, samples = _of(self.draws, pair), _of(self.samples, pair)
        train, out = draws[draws["session"].isin(own)], samples[~samples["session"].isin(own)]
        _check_round(pair, fold, train, out)
        first = gather(self.folder, self.index, train["draw_id"]), train["label"].to_numpy(np.int64)
        if fold < 0:
            return first, None
        return first, (gather(self.folder, self.index, out["clip_id"]), out["label"].to_numpy(np.int64))

    def clips(self, pair: Pair, fold: int, *, chunks: int, seed: int) -> Clips:
        """Return the clips of a round of fine-tuning: drawn anew for every epoch, and the grid of the fold left out."""
        own = set(self.sessions(without=fold))
        tasks = self.tasks[(self.tasks["task"] == pair.task) & self.tasks["session"].isin(own)]
        spans = _of(self.spans, pair)
        out = _of(self.samples, pair)
        out = out[~out["session"].isin(own)]

        stores = {session: store for session, store in self.stores.items() if session in own}
        train = DrawnClips(self.draw, tasks, spans, chunks, seed, stores, self.baked.train, self.baked.augment)
        return Clips(train, self._grid_clips(out) if fold >= 0 else None)

    def balance(self, pair: Pair, fold: int) -> tuple[float, float]:
        """Return the weight of class 0 and class 1: one over its share of the drawn clips of a round."""
        draws = _of(self.draws, pair)
        train = draws[draws["session"].isin(self.sessions(without=fold))]
        _check_round(pair, fold, train, None)
        positive = float(train["label"].mean())
        return 1 / (1 - positive), 1 / positive

    def _grid_clips(self, clips: pd.DataFrame) -> ClipDataset:
        labels = clips["label"].to_numpy(np.int64)
        return ClipDataset(clips, labels, stores=self.stores, preprocess=self.baked.grid)


def list_pairs(samples: pd.DataFrame, wanted: Sequence[str]) -> list[Pair]:
    """Return the pairs to train for, sorted: those named ``task/variable``, or all.

    Raises
    ------
    SettingsError
        Naming a pair that no sample has.
    """
    known = {f"{task}/{variable}": Pair(task, variable) for task, variable in set(_keys(samples))}
    strange = [name for name in wanted if name not in known]
    if strange:
        raise SettingsError(
            f"train.pairs names {', '.join(strange)}.",
            expected=f"Some of {', '.join(sorted(known))}.",
            remedy="Correct train.pairs; [] trains for all.",
        )
    return [known[name] for name in sorted(wanted or known)]


def share_labels(material: Material) -> pd.DataFrame:
    """Return the share of engaged clips in each training fold, of random draws and of the grid.

    Returns
    -------
    pandas.DataFrame
        Rows task, variable and clips (draws, grid); a column for each fold.
    """
    folds = material.folds[["session", "fold"]]
    parts = {"draws": material.draws, "grid": material.samples}
    rows = pd.concat([table.merge(folds, on="session").assign(clips=name) for name, table in parts.items()])
    shares: pd.DataFrame = rows.pivot_table("label", ["task", "variable", "clips"], "fold").round(2)
    return shares


def training_part(table: pd.DataFrame, folds: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a table whose session is in a training fold."""
    return table[table["session"].isin(folds.loc[folds["role"] == "train", "session"])].reset_index(drop=True)


def _keys(table: pd.DataFrame) -> list[tuple[str, str]]:
    return list(table[["task", "variable"]].itertuples(index=False, name=None))


def _of(table: pd.DataFrame, pair: Pair) -> pd.DataFrame:
    return table[(table["task"] == pair.task) & (table["variable"] == pair.variable)]


def _check_round(pair: Pair, fold: int, train: pd.DataFrame, out: pd.DataFrame | None) -> None:
    """Refuse a round in which there is nothing to learn or nothing to score."""
    labels: NDArray[np.int64] = np.unique(train["label"].to_numpy(np.int64))
    if len(labels) < 2:
        raise FoldError(
            f"Without fold {fold}, all {len(train)} training clips of {pair.task} {pair.variable} are of "
            f"{f'class {labels[0]}' if len(labels) else 'no class'}.",
            expected="Clips of both classes: a network cannot learn, nor a class be weighed, from one alone.",
            remedy="Use fewer folds or more sessions, or name the other pairs in train.pairs.",
        )
    if out is not None and fold >= 0 and out.empty:
        raise FoldError(
            f"Fold {fold} has no clip of {pair.task} {pair.variable} to choose by.",
            expected="At least one session of every training fold with a clip of this task.",
            remedy="Use fewer folds or more sessions, or name the other pairs in train.pairs.",
        )
