"""Clips of frame stores as a torch data set, as a loader, and one session after the other without reading twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import cv2
import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from torch.utils.data import DataLoader, Dataset

from nbpkg import seeding
from nbpkg.datasets.preprocess import Preprocess, crop, normalise
from nbpkg.datasets.transforms import Augment, seeded, train_pipeline
from nbpkg.errors import MediaError, SettingsError, TableError
from nbpkg.video.clips import find_frames
from nbpkg.video.frames import FrameStore


class Repeated(NamedTuple):
    """How much of the clips lies beyond the end of a video, where the last frame is repeated.

    Parameters
    ----------
    clips
        Clips of which at least one frame is repeated.
    frames
        Frames repeated in all of them.
    """

    clips: int
    frames: int


class ClipDataset(Dataset[Any]):
    """Clips and their labels, read from frame stores when asked for.

    An item depends on its index and the seed alone, not on the process that reads it or on what was read before. To
    change augmentation from epoch to epoch, make a data set for each epoch with another seed. It can be sent to another
    process.

    Parameters
    ----------
    clips
        Columns session, start_ms, end_ms.
    labels
        Class of each clip, int64 ``[n]``.
    stores
        Open frame store of each session.
    preprocess
        Size, frames and normalisation.
    augment
        Random changes for training; None takes the central square of every frame.
    seed
        Seed of the random changes.

    Raises
    ------
    TableError
        When there are not as many labels as clips.
    MediaError
        When a session has no store or a clip lies outside its video (see `find_frames`).
    """

    def __init__(
        self,
        clips: pd.DataFrame,
        labels: ArrayLike,
        *,
        stores: Mapping[str, FrameStore],
        preprocess: Preprocess,
        augment: Augment | None = None,
        seed: int = 0,
    ) -> None:
        self.labels = np.asarray(labels, dtype=np.int64)
        if self.labels.shape != (len(clips),):
            raise TableError(
                f"There are labels of shape {list(self.labels.shape)} for {len(clips)} clips.",
                expected="One label for each clip.",
                remedy="Make labels and clips from the same table.",
            )
        self.sessions = clips["session"].astype(str).tolist()
        self.numbers, repeated = _find_all(clips, stores, preprocess)
        self.repeated = _sum_repeated(repeated)
        self.stores = {session: stores[session] for session in sorted(set(self.sessions))}
        self.preprocess, self.seed = preprocess, seed
        self.square = augment is not None and augment.central_square
        self.pipeline = None if augment is None else train_pipeline(augment, preprocess.size)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        """Return a clip, float32 ``[3, T, S, S]``, and its class."""
        index = range(len(self))[index]  # as a list does: -1 is the last, an IndexError ends a loop
        frames = self.stores[self.sessions[index]].frames(self.numbers[index])
        label = int(self.labels[index])
        if self.pipeline is None:
            return normalise(torch.from_numpy(crop(frames, self.preprocess.size)), self.preprocess), label
        whole = normalise(torch.from_numpy(_square(frames) if self.square else frames), self.preprocess).contiguous()
        return seeded(self.pipeline, whole, seeding.child(self.seed, "clip", index)), label


def count_repeated(clips: pd.DataFrame, stores: Mapping[str, FrameStore], preprocess: Preprocess) -> Repeated:
    """Count what clips at the ends of videos repeat; no frame is read.

    Parameters
    ----------
    clips
        Columns session, start_ms, end_ms.
    stores
        Open frame store of each session.
    preprocess
        Number of frames of each clip.

    Raises
    ------
    MediaError
        When a session has no store or a clip lies outside its video.
    """
    return _sum_repeated(_find_all(clips, stores, preprocess)[1])


def open_loader(
    dataset: ClipDataset,
    *,
    batch_size: int,
    workers: int,
    shuffle_seed: int | None = None,
    drop_last: bool = False,
) -> DataLoader[Any]:
    """Open a loader that gives the same batches in the same order however many workers read them.

    Parameters
    ----------
    dataset
        Clips and labels.
    batch_size
        Clips of each batch.
    workers
        Processes that read; 0 reads in this one.
    shuffle_seed
        Seed of the order; None keeps the order of the data set. Going through the loader again repeats the order: for
        another epoch, open a loader with another seed.
    drop_last
        Whether to leave out a last batch that is not full.

    Returns
    -------
    DataLoader
        Of float32 ``[B, 3, T, S, S]`` and int64 ``[B]``.

    Raises
    ------
    SettingsError
        When there is nothing to load, or a number is out of range.
    """
    count = len(dataset)
    if count == 0 or batch_size < 1 or workers < 0:
        raise SettingsError(
            f"{count} clips cannot be loaded in batches of {batch_size} by {workers} workers.",
            expected="At least one clip, batches of at least 1, no negative number of workers.",
            remedy="Correct batch size and workers, or look why no clip is left.",
        )
    generator = torch.Generator().manual_seed(seeding.child(shuffle_seed or 0, "shuffle"))
    order = range(count) if shuffle_seed is None else torch.randperm(count, generator=generator).tolist()
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=order,
        num_workers=workers,
        drop_last=drop_last,
        worker_init_fn=start_worker,
        generator=generator,  # else the loader would draw from torch's global generator
    )


def iterate_session_clips(
    store: FrameStore, clips: pd.DataFrame, preprocess: Preprocess
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Give all clips of one session in the order of time; every frame is read, decoded and scaled at most once.

    Only the frames of the current clip and those that the next ones share with it are held in memory.

    Parameters
    ----------
    store
        Frames of the session.
    clips
        Columns start_ms, end_ms, in any order; clips may overlap.
    preprocess
        Size and number of frames.

    Yields
    ------
    row : int
        Place of the clip in the table, from 0.
    frames : ndarray
        Own copy, uint8 ``[T, S, S, 3]``, to be normalised (see `nbpkg.datasets.preprocess.normalise`).

    Raises
    ------
    MediaError
        When a clip lies outside the video; before the first clip is given.
    """
    numbers, _ = find_frames(store, clips["start_ms"], clips["end_ms"], count=preprocess.frames)
    held: dict[int, NDArray[np.uint8]] = {}
    for row in np.lexsort([numbers[:, -1], numbers[:, 0]]).tolist():
        wanted = numbers[row].tolist()
        held = {number: frame for number, frame in held.items() if number >= wanted[0]}
        missing = sorted(set(wanted) - set(held))
        held.update(zip(missing, crop(store.frames(missing), preprocess.size), strict=True))
        yield row, np.stack([held[number] for number in wanted])


def _square(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the central square of frames ``[T, H, W, 3]``."""
    height, width = frames.shape[1:3]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return np.ascontiguousarray(frames[:, top : top + side, left : left + side])


def _find_all(
    clips: pd.DataFrame, stores: Mapping[str, FrameStore], preprocess: Preprocess
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    numbers = np.empty((len(clips), preprocess.frames), dtype=np.int64)
    repeated = np.zeros(len(clips), dtype=np.int64)
    starts, ends = clips["start_ms"].to_numpy(), clips["end_ms"].to_numpy()
    for session, rows in clips.groupby("session").indices.items():
        if session not in stores:
            raise MediaError(
                f"Session {session!r} has clips but no frame store.",
                expected=f"A store of each session; there are {', '.join(sorted(stores)) or 'none'}.",
                remedy="Run the preparation of videos for this session.",
            )
        store = stores[str(session)]
        numbers[rows], repeated[rows] = find_frames(store, starts[rows], ends[rows], count=preprocess.frames)
    return numbers, repeated


def _sum_repeated(repeated: NDArray[np.int64]) -> Repeated:
    return Repeated(clips=int(np.count_nonzero(repeated)), frames=int(repeated.sum()))


def start_worker(_: int) -> None:
    """Let OpenCV use no threads: its pool does not survive the fork, and the workers already fill the cores."""
    cv2.setNumThreads(0)
