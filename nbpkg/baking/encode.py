"""Run clips through a frozen encoder, shard by shard; finished shards are kept."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils.data import ConcatDataset, DataLoader

from nbpkg import seeding
from nbpkg.baking.plan import TRAIN
from nbpkg.baking.shards import is_finished, shard_path
from nbpkg.datasets.clips import ClipDataset, start_worker
from nbpkg.datasets.preprocess import Preprocess
from nbpkg.datasets.transforms import Augment
from nbpkg.models.device import Parts, autocast, to_channels_last
from nbpkg.progress import Report
from nbpkg.runs.files import new_file
from nbpkg.video.frames import FrameStore


@dataclass(frozen=True)
class Bake:
    """How clips are encoded.

    Parameters
    ----------
    train, grid
        What is done to clips of each view; the two may differ in size.
    augment
        Random changes of the view ``train``.
    batch_size
        Clips per forward pass; halved when memory runs out.
    precision
        ``float32``, ``bfloat16`` or ``float16``.
    device
        Where the encoder runs.
    workers
        Processes that read and change clips; 0 reads in this one.
    seed
        The experiment's seed.
    """

    train: Preprocess
    grid: Preprocess
    augment: Augment
    batch_size: int
    precision: str
    device: torch.device
    workers: int
    seed: int


def bake_features(
    encoder: nn.Module, plan: pd.DataFrame, *, stores: Mapping[str, FrameStore], folder: Path, how: Bake
) -> list[Path]:
    """Encode all planned clips into shards; what an earlier run finished stays.

    Parameters
    ----------
    encoder
        Takes normalised clips ``[B, 3, T, S, S]``, gives ``[B, D]``.
    plan
        Table ``features``.
    stores
        Open frame store of each session.
    folder
        Run folder; must belong to these settings alone.
    how
        How clips are encoded.

    Returns
    -------
    list of Path
        All shards, float32 ``[clips, D]``, rows as the plan says.

    Raises
    ------
    MediaError
        When a clip lies outside its video.
    StageError
        When the disk is full, or memory does not suffice for a single clip.
    """
    encoder = to_channels_last(encoder.to(how.device)).eval()
    width = _count_features(encoder, how)
    shards = dict(list(plan.groupby("shard", sort=True)))
    pending = {
        name: rows
        for name, rows in shards.items()
        if not is_finished(shard_path(folder, str(name)), (len(rows), width))
    }
    report = Report("bake", total=len(plan), unit="clip")
    report.step(len(plan) - sum(map(len, pending.values())))
    batches = _load(pending, stores, how)
    forward = Parts(how.batch_size)
    for name, rows in pending.items():
        with _new_shard(shard_path(folder, str(name)), (len(rows), width)) as features:
            done = 0
            while done < len(rows):
                clips = next(batches)
                features[done : done + len(clips)] = forward.run(lambda part: _encode(encoder, part, how), clips)
                done += len(clips)
                report.step(len(clips), note=str(name))
    report.close()
    return [shard_path(folder, str(name)) for name in shards]


def preview_clips(
    plan: pd.DataFrame, *, stores: Mapping[str, FrameStore], how: Bake, count: int = 4
) -> list[NDArray[np.uint8]]:
    """Return some training clips as the network sees them, normalisation undone.

    Parameters
    ----------
    plan
        Table ``features``.
    stores
        Open frame store of each session.
    how
        How clips are encoded.
    count
        How many; the first of as many different shards.

    Returns
    -------
    list of ndarray
        uint8 ``[T, S, S, 3]``.
    """
    names = plan.loc[plan["view"] == TRAIN, "shard"].unique()[:count]
    mean, std = (torch.tensor(values).view(3, 1, 1, 1) for values in (how.train.mean, how.train.std))
    shown = []
    for name in names:
        clip, _ = _dataset(plan[plan["shard"] == name], str(name), stores, how)[0]
        pixels = ((clip * std + mean).clamp(0, 1) * 255).round().to(torch.uint8)
        shown.append(pixels.permute(1, 2, 3, 0).numpy())
    return shown


def _dataset(rows: pd.DataFrame, name: str, stores: Mapping[str, FrameStore], how: Bake) -> ClipDataset:
    """Return the clips of one shard; the seed is the shard's own."""
    varied = str(rows["view"].iloc[0]) == TRAIN
    return ClipDataset(
        rows,
        np.zeros(len(rows), np.int64),
        stores=stores,
        preprocess=how.train if varied else how.grid,
        augment=how.augment if varied else None,
        seed=seeding.child(how.seed, "bake", name),
    )


def _load(pending: Mapping[Any, pd.DataFrame], stores: Mapping[str, FrameStore], how: Bake) -> Iterator[torch.Tensor]:
    """Give batches of clips in the order of the shards; none crosses from one shard to the next."""
    if not pending:
        return
    datasets = [_dataset(rows, str(name), stores, how) for name, rows in pending.items()]
    starts = np.cumsum([0, *map(len, datasets)])
    batches = [
        list(range(first, min(first + how.batch_size, starts[number + 1])))
        for number in range(len(datasets))
        for first in range(starts[number], starts[number + 1], how.batch_size)
    ]
    loader: DataLoader[Any] = DataLoader(
        ConcatDataset(datasets),
        batch_sampler=batches,
        num_workers=how.workers,
        worker_init_fn=start_worker,
        generator=torch.Generator(),  # else the loader would draw from torch's global one
        pin_memory=how.device.type == "cuda",
    )
    for clips, _ in loader:
        yield clips


def _encode(encoder: nn.Module, clips: torch.Tensor, how: Bake) -> NDArray[np.float32]:
    with torch.inference_mode(), autocast(how.device, how.precision):
        ready = clips.to(how.device, memory_format=torch.channels_last_3d, non_blocking=True)
        result: NDArray[np.float32] = encoder(ready).float().cpu().numpy()
    return result


def _count_features(encoder: nn.Module, how: Bake) -> int:
    shape = (1, 3, how.grid.frames, how.grid.size, how.grid.size)
    return int(_encode(encoder, torch.zeros(shape), how).shape[1])


@contextmanager
def _new_shard(path: Path, shape: tuple[int, int]) -> Iterator[NDArray[np.float32]]:
    """Give a memory-mapped array that becomes the shard when the block ends well."""
    with new_file(path) as temporary:
        features = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float32, shape=shape)
        if hasattr(os, "posix_fallocate"):  # not on macOS
            # Claims the room, so that a full disk is an error here and not a dead process at some later byte.
            with temporary.open("r+b") as stream:
                os.posix_fallocate(stream.fileno(), 0, temporary.stat().st_size)
        yield features
        features.flush()
