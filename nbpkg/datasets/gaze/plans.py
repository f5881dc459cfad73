"""Which rows of a table each block holds: tracks in batches, cut into runs of a few time steps.

A block holds the time steps ``t .. t + chunk`` of all tracks of a batch, packed time-major: first the frame t of every
track that is still going on, longest track first, then the frame t + 1. All frames of a track get the same random
changes, which are drawn here; so a block depends on its number alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg import seeding
from nbpkg.datasets.gaze.augment import UNCHANGED, Augment, Changes, Persons, draw_video
from nbpkg.datasets.gaze.items import Preparation, read_persons, ready_persons
from nbpkg.datasets.gaze.maps import all_along
from nbpkg.errors import SettingsError, TableError

LIMIT = 50  # frames of a track that one epoch of VTD's training sees
TRACK = ["session", "person", "rater", "segment"]
Rows = NDArray[np.int64]


class Track(NamedTuple):
    """The rows of one person in one run of frames, as one annotator saw them.

    Parameters
    ----------
    name
        Session, person, rater and segment, joined by ``/``.
    rows
        Places in the table, in the order of frames, ``[T]``.
    """

    name: str
    rows: Rows


class BlockRows(NamedTuple):
    """What one block holds.

    Parameters
    ----------
    rows
        Places in the table, packed time-major, ``[N]``.
    draws
        Which entry of the plan's `changes` belongs to each row, ``[N]``.
    batch_sizes
        Tracks that are still going on at each time step; their sum is N.
    first
        Whether the block opens a batch, so that the state starts anew.
    keep
        Leading rows of the former block's state that go on; when the block is the first, rows of the new state.
    """

    rows: Rows
    draws: Rows
    batch_sizes: tuple[int, ...]
    first: bool
    keep: int


@dataclass(frozen=True)
class BlockPlan:
    """All blocks of one pass through the tracks.

    Parameters
    ----------
    blocks
        In the order in which they are to be used.
    changes
        One draw for each track.
    tracks
        Names of the tracks, in the order of `changes`.
    left_out
        Rows of the table that no track uses: without head box, not valid, or target unknown.
    """

    blocks: tuple[BlockRows, ...]
    changes: tuple[Changes, ...]
    tracks: tuple[str, ...]
    left_out: int

    @property
    def largest(self) -> int:
        """Number of the block with most rows, to try out how much memory is needed."""
        return int(np.argmax([len(block.rows) for block in self.blocks]))


def usable_rows(table: pd.DataFrame, *, need_targets: bool = True) -> NDArray[np.bool_]:
    """Say which rows can be prepared.

    Parameters
    ----------
    table
        Table `gaze`.
    need_targets
        Whether to leave out rows that are not valid or whose target is unknown, as training and scores must; rows
        without head box are always left out.
    """
    people = read_persons(table)
    usable = all_along(np.isfinite(people.boxes))
    if not need_targets:
        return usable
    known = (people.inside == 0) | ((people.inside == 1) & all_along(np.isfinite(people.gaze)))
    return np.asarray(usable & known & (table["valid"].to_numpy() == 1), dtype=np.bool_)


def group_rows(table: pd.DataFrame, columns: list[str], rows: Rows) -> list[Rows]:
    """Group rows that agree in some columns; groups in the order in which they begin, rows in theirs.

    Parameters
    ----------
    table
        Any table.
    columns
        Columns to compare.
    rows
        Places in the table.
    """
    number = table[columns].iloc[rows].groupby(columns, sort=False, observed=True).ngroup().to_numpy()
    order = np.argsort(number, kind="stable")
    return np.split(rows[order], np.flatnonzero(np.diff(number[order])) + 1) if len(rows) else []


def list_tracks(table: pd.DataFrame, *, need_targets: bool = True) -> list[Track]:
    """List the tracks of a table, in its order.

    Tracks run across skipped frames, as VTD's do, and so does the network's state; to begin anew there, cut the table
    with `nbpkg.annotations.gaze.smoothing.split_at_gaps` first.

    Parameters
    ----------
    table
        Table `gaze`.
    need_targets
        As in `usable_rows`.
    """
    frames = table["frame"].to_numpy(np.int64)
    rows = np.flatnonzero(usable_rows(table, need_targets=need_targets))
    tracks = group_rows(table, TRACK, rows[np.argsort(frames[rows], kind="stable")])
    if not tracks:
        return []
    tracks.sort(key=lambda track: int(track.min()))  # the sorting by frames has mixed them
    names = table[TRACK].iloc[[track[0] for track in tracks]].astype(str).agg("/".join, axis=1)
    return [Track(name, track) for name, track in zip(names, tracks, strict=True)]


def pack_tracks(lengths: Sequence[int]) -> tuple[Rows, Rows, Rows]:
    """Pack tracks time-major, longest first; equal lengths stay in their order.

    Parameters
    ----------
    lengths
        Frames of each track of a batch.

    Returns
    -------
    track, step : ndarray
        Which track and which of its frames stands at each place, ``[sum(lengths)]``.
    batch_sizes : ndarray
        Tracks still going on at each time step, ``[max(lengths)]``.

    Examples
    --------
    >>> [part.tolist() for part in pack_tracks([1, 3, 2])]
    [[1, 2, 0, 1, 2, 1], [0, 0, 0, 1, 1, 2], [3, 2, 1]]
    """
    counts = np.asarray(lengths, dtype=np.int64)
    order = np.argsort(-counts, kind="stable")
    alive = counts[order] > np.arange(counts.max(initial=0))[:, None]  # [time, place]
    step, place = np.nonzero(alive)
    return order[place], step, alive.sum(1)


def cut_blocks(batch_sizes: Sequence[int] | Rows, chunk: int) -> list[tuple[slice, tuple[int, ...]]]:
    """Cut a packed batch into runs of consecutive time steps.

    Parameters
    ----------
    batch_sizes
        From `pack_tracks`.
    chunk
        Time steps of each run; the last may have fewer.

    Returns
    -------
    list
        Places in the packed order and batch sizes of each run.

    Examples
    --------
    >>> cut_blocks([3, 2, 1], 2)
    [(slice(0, 5, None), (3, 2)), (slice(5, 6, None), (1,))]
    """
    ends = np.concatenate([[0], np.cumsum(batch_sizes)])
    steps = range(0, len(batch_sizes), chunk)
    return [
        (slice(int(ends[t]), int(ends[min(t + chunk, len(batch_sizes))])), tuple(map(int, batch_sizes[t : t + chunk])))
        for t in steps
    ]


def plan_blocks(
    table: pd.DataFrame,
    *,
    batch: int,
    chunk: int,
    how: Preparation,
    seed: int | None = None,
    epoch: int = 0,
    augment: Augment | None = None,
    limit: int | None = None,
    need_targets: bool = True,
) -> BlockPlan:
    """Plan one pass through the tracks of a table; no frame is read.

    Parameters
    ----------
    table
        Table `gaze`, boxes smoothed if they are to be.
    batch
        Tracks of each batch.
    chunk
        Time steps of each block.
    how
        How rows are prepared; its compat also decides how windows and crops are drawn (see `draw_video`).
    seed
        For training: tracks are shuffled, and windows and changes drawn, from this and the epoch. None keeps the
        order of the table and takes whole, unchanged tracks, as scores must.
    epoch
        Number of the pass; each has its own draws.
    augment
        Random changes; None for none.
    limit
        Longest window of consecutive rows that one pass takes of a track (published: 50); None for whole tracks.
    need_targets
        As in `usable_rows`.

    Raises
    ------
    SettingsError
        When a number is out of range, or something is to be drawn without a seed.
    TableError
        When no track is left.
    """
    check_settings(batch=batch, chunk=chunk, limit=limit, seed=seed, random=augment is not None)
    tracks = list_tracks(table, need_targets=need_targets)
    if not tracks:
        raise no_rows(table, need_targets=need_targets)
    left_out = len(table) - sum(len(track.rows) for track in tracks)
    changes = [UNCHANGED] * len(tracks)
    if seed is not None:
        tracks, changes = _shuffle_and_draw(
            tracks, read_persons(table), how, seed=seed, epoch=epoch, augment=augment, limit=limit
        )
    blocks = [
        block
        for start in range(0, len(tracks), batch)
        for block in _plan_batch(tracks[start : start + batch], chunk, first_draw=start)
    ]
    return BlockPlan(tuple(blocks), tuple(changes), tuple(track.name for track in tracks), left_out)


def check_settings(*, batch: int, chunk: int, limit: int | None, seed: int | None, random: bool) -> None:
    """Refuse numbers out of range, and draws without a seed.

    Parameters
    ----------
    batch, chunk, limit, seed
        As in `plan_blocks`.
    random
        Whether changes are to be drawn.

    Raises
    ------
    SettingsError
        When one of them cannot be.
    """
    if batch < 1 or chunk < 1 or (limit is not None and limit < 1):
        raise SettingsError(
            f"Batches of {batch}, blocks of {chunk} time steps and windows of {limit} rows cannot be made.",
            expected="Whole numbers from 1.",
            remedy="Correct batch, chunk and limit.",
        )
    if seed is None and (random or limit is not None):
        raise SettingsError(
            "Windows and random changes need a seed.",
            expected="A seed for training; neither limit nor augment for scores.",
            remedy="Give the experiment's seed, or take everything unchanged.",
        )


def no_rows(table: pd.DataFrame, *, need_targets: bool) -> TableError:
    """Make the error that says that nothing is left to be prepared."""
    return TableError(
        f"None of {len(table)} rows can be used.",
        where="table gaze.",
        expected="Rows with a head box" + (", valid, whose target is known." if need_targets else "."),
        remedy="Look at the report of the data set's check, and at the fold or part that was chosen.",
    )


def _shuffle_and_draw(
    tracks: Sequence[Track],
    people: Persons,
    how: Preparation,
    *,
    seed: int,
    epoch: int,
    augment: Augment | None,
    limit: int | None,
) -> tuple[list[Track], list[Changes]]:
    """Draw order, windows and changes of one epoch; the draw of a track depends on its name, not on its place."""
    order = seeding.generator(seed, "gaze tracks", epoch).permutation(len(tracks))
    windows, changes = [], []
    for track in (tracks[place] for place in order):
        draws = seeding.generator(seed, "gaze track", epoch, track.name)
        rows = ready_persons(people.take(track.rows), how)
        drawn = draw_video(draws, rows, augment=augment, limit=limit, compat=how.compat)
        windows.append(Track(track.name, track.rows[drawn.start : drawn.start + drawn.length]))
        changes.append(drawn.changes)
    return windows, changes


def _plan_batch(tracks: Sequence[Track], chunk: int, *, first_draw: int) -> list[BlockRows]:
    track, step, batch_sizes = pack_tracks([len(one.rows) for one in tracks])
    starts = np.cumsum([0, *(len(one.rows) for one in tracks)])
    rows = np.concatenate([one.rows for one in tracks])[starts[track] + step]
    return [
        BlockRows(rows[part], track[part] + first_draw, sizes, part.start == 0, sizes[0])
        for part, sizes in cut_blocks(batch_sizes, chunk)
    ]
