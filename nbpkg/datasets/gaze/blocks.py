"""Blocks of frames, read when asked for: memory follows batch x chunk, not the length of a track or of the data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from nbpkg.datasets.clips import start_worker
from nbpkg.datasets.gaze.augment import Changes, Persons
from nbpkg.datasets.gaze.items import (
    Pixels,
    Preparation,
    Targets,
    join_pixels,
    look_at,
    make_targets,
    place_all,
    read_persons,
    ready_persons,
)
from nbpkg.datasets.gaze.plans import BlockPlan, Rows
from nbpkg.errors import MediaError, Problem, SettingsError, raise_all

T = TypeVar("T")


class FrameSource(Protocol):
    """The frames of one session: a frame store or a folder of pictures."""

    def __len__(self) -> int:
        """Return how many frames there are."""

    def frames(self, indices: Sequence[int]) -> NDArray[np.uint8]:
        """Read frames of one size by number, uint8 RGB ``[n, H, W, 3]``."""


class Block(NamedTuple):
    """One block, loaded.

    Parameters
    ----------
    pixels
        What the network sees before scaling; ``pixels.make_inputs(device)`` gives scene, head and face. None when the
        data set was opened without frames.
    targets
        What it is to answer.
    rows, batch_sizes, first, keep
        As in `BlockRows`; rows as an int64 tensor.
    """

    pixels: Pixels | None
    targets: Targets
    rows: torch.Tensor
    batch_sizes: tuple[int, ...]
    first: bool
    keep: int


class BlockDataset(Dataset[Block]):
    """Blocks of a plan, read when asked for; can be sent to another process.

    Parameters
    ----------
    plan
        From `plan_blocks`, of the same table.
    table
        Table `gaze`.
    stores
        Frames of each session.
    how
        As given to `plan_blocks`.
    frames
        Whether to read frames; without, a block has targets and rows only, for activations that were baked before.

    Raises
    ------
    MediaError
        When a session has no frames, or fewer than the table says.
    """

    def __init__(
        self,
        plan: BlockPlan,
        table: pd.DataFrame,
        *,
        stores: Mapping[str, FrameSource],
        how: Preparation,
        frames: bool = True,
    ) -> None:
        self.plan, self.how = plan, how
        self.people = read_persons(table)
        names = table["session"].astype(str)
        self.sessions, found = np.unique(names.to_numpy(dtype=str), return_inverse=True)
        self.session, self.frame = found.astype(np.int64), table["frame"].to_numpy(np.int64)
        self.stores: dict[str, FrameSource] | None = None
        if frames:
            check_frames(table, stores)
            self.stores = {str(session): stores[str(session)] for session in self.sessions}

    def __len__(self) -> int:
        return len(self.plan.blocks)

    def __getitem__(self, index: int) -> Block:
        """Return a block."""
        planned = self.plan.blocks[index]
        changes = [self.plan.changes[draw] for draw in planned.draws]
        people = ready_persons(self.people.take(planned.rows), self.how)
        placed = place_all(people, changes, self.how)
        pixels = None
        if self.stores is not None:
            pixels = self._read(planned.rows, placed, sizes=people.sizes, changes=changes)
        rows = torch.from_numpy(planned.rows)
        return Block(pixels, make_targets(placed, self.how), rows, planned.batch_sizes, planned.first, planned.keep)

    def _read(self, rows: Rows, placed: Persons, *, sizes: NDArray, changes: Sequence[Changes]) -> Pixels:
        """Read the frames of a block one at a time, each once however many persons it shows."""
        stores = self.stores or {}
        scenes, faces = np.empty((2, len(rows), self.how.size, self.how.size, 3), dtype=np.uint8)
        last, picture = (-1, -1), np.empty((0, 0, 3), dtype=np.uint8)
        for place in np.lexsort((self.frame[rows], self.session[rows])):
            key = (int(self.session[rows[place]]), int(self.frame[rows[place]]))
            if key != last:
                picture, last = stores[str(self.sessions[key[0]])].frames([key[1]])[0], key
            scenes[place], faces[place] = look_at(
                picture, placed.boxes[place], sizes[place], changes=changes[place], how=self.how
            )
        return join_pixels(scenes, faces, placed, self.how)


def open_block_loader(dataset: Dataset[T], *, workers: int, prefetch: int = 2) -> DataLoader[T]:
    """Open a loader that gives the blocks in the plan's order however many workers read them.

    Parameters
    ----------
    dataset
        Of blocks, or of `people.People`.
    workers
        Processes that read; 0 reads in this one.
    prefetch
        Blocks that each worker holds ready; memory is ``workers x prefetch`` blocks.

    Raises
    ------
    SettingsError
        When a number is out of range.
    """
    if workers < 0 or prefetch < 1:
        raise SettingsError(
            f"{workers} workers with {prefetch} blocks each cannot read.",
            expected="No negative number of workers, at least one block each.",
            remedy="Correct the numbers.",
        )
    return DataLoader(
        dataset,
        batch_size=None,
        num_workers=workers,
        prefetch_factor=prefetch if workers else None,
        worker_init_fn=start_worker,
        collate_fn=_keep,
        generator=torch.Generator(),  # else the loader would draw from torch's global generator
    )


def check_frames(table: pd.DataFrame, stores: Mapping[str, FrameSource]) -> None:
    """Check that every session of a table has its frames; none is read.

    Parameters
    ----------
    table
        Columns session, frame.
    stores
        Frames of each session.

    Raises
    ------
    MediaError
        With all sessions that have no frames, or fewer than the table says.
    """
    problems = []
    for session, last in table.groupby("session", observed=True)["frame"].max().items():
        count = len(stores[str(session)]) if str(session) in stores else 0
        if int(last) >= count:
            problems.append(
                Problem(
                    f"Frame {int(last)} is asked for, but there are {count} frames.",
                    "Frames of every session of the table.",
                    "Prepare the session's frames, or leave it out of the table.",
                    file=str(session),
                )
            )
    raise_all(problems, MediaError, summary="frames are missing")


def _keep(block: Any) -> Any:  # with batch_size None the loader hands over one block, not a list as torch declares
    return block
