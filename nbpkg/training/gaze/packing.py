"""Blocks of packed tracks, cut by tracks: which rows belong to some of them, and where their state goes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch

State = tuple[torch.Tensor, torch.Tensor]


class Piece(NamedTuple):
    """Some tracks of a block.

    Parameters
    ----------
    first, last
        The tracks, from `first` up to but without `last`, in the order of the block.
    rows
        Their frames among those of the block, int64 ``[n]``, time-major.
    batch_sizes
        How many of them there are at each time step.
    """

    first: int
    last: int
    rows: torch.Tensor
    batch_sizes: list[int]


def cut_tracks(batch_sizes: Sequence[int], part: int) -> Iterator[Piece]:
    """Cut a block into pieces of at most `part` tracks.

    Parameters
    ----------
    batch_sizes
        Tracks at each time step of the block, never growing: frames lie time-major, longest track first.
    part
        Most tracks of a piece.

    Examples
    --------
    >>> [piece.rows.tolist() for piece in cut_tracks([3, 2, 1], 2)]
    [[0, 1, 3, 4, 5], [2]]
    """
    starts = [0, *torch.tensor(list(batch_sizes)).cumsum(0).tolist()]
    for first in range(0, batch_sizes[0], part):
        last = min(first + part, batch_sizes[0])
        sizes = [min(size, last) - first for size in batch_sizes if size > first]
        rows = [torch.arange(start + first, start + first + size) for start, size in zip(starts, sizes, strict=False)]
        yield Piece(first, last, torch.cat(rows), sizes)


def take_state(state: State | None, piece: Piece) -> State | None:
    """Return the state of some tracks, each part ``[layers, tracks, C, H, W]``."""
    return None if state is None else (state[0][:, piece.first : piece.last], state[1][:, piece.first : piece.last])


def join_states(states: Sequence[State]) -> State:
    """Put the states of all pieces together, detached: what led to them gets no gradient."""
    hidden, cells = zip(*states, strict=True)
    return torch.cat(hidden, dim=1).detach(), torch.cat(cells, dim=1).detach()
