"""Chunks of utterances that the text-only network learns from: equally long, overlapping, within one recording.

Source: the published text program (text/train.py). There a batch of chunks was laid out anew in memory instead of being
transposed, so that the recurrence ran across chunks that have nothing to do with each other; here it runs along time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from nbpkg.datasets.valence.segments import Stack
from nbpkg.errors import SettingsError, TableError

Target = Literal["value", "difference"]
SMALLEST = 1e-6  # differences below it are rounding


def plan_chunks(lengths: Sequence[int], *, size: int, step: int) -> list[tuple[int, int, int]]:
    """Lay chunks over recordings.

    Parameters
    ----------
    lengths
        Utterances of each recording.
    size
        Utterances of a chunk; as many as the shortest recording has, if that is less.
    step
        From one chunk's start to the next's; a chunk's size where it is 0 or not less than that.

    Returns
    -------
    list of tuple
        Number of the recording, first and last (exclusive) utterance. What would run over a recording's end is moved
        back to end there, so that the same last chunk may come several times.

    Raises
    ------
    SettingsError
        When there is no recording, an empty one, or the size is below 1.

    Examples
    --------
    >>> plan_chunks([5, 4], size=3, step=2)
    [(0, 0, 3), (0, 2, 5), (0, 2, 5), (1, 0, 3), (1, 1, 4)]
    """
    if not lengths or min(lengths) < 1 or size < 1:
        raise SettingsError(
            f"Chunks of {size} utterances cannot be laid over recordings of {', '.join(map(str, lengths)) or 'none'}.",
            expected="Chunks of at least one utterance, and recordings that have some.",
            remedy="Leave out recordings without utterances.",
        )
    size = min(size, *lengths)
    step = step if 0 < step < size else size
    return [
        (number, min(start, length - size), min(start, length - size) + size)
        for number, length in enumerate(lengths)
        for start in range(0, length, step)
    ]


def targets_of(averages: NDArray[np.float64], *, target: Target) -> NDArray[np.float64]:
    """Return what each utterance is to be answered with.

    Parameters
    ----------
    averages
        Mean valence of each utterance, ``(U,)``; NaN where it has no frame.
    target
        ``value``: the mean itself; ``difference``: less that of the utterance before (the first: less 0); what is
        smaller than a millionth is 0.

    Returns
    -------
    numpy.ndarray
        ``(U,)``; an utterance without frames has no target, and the next is held against the last that has one.

    Examples
    --------
    >>> targets_of(np.array([0.5, np.nan, 0.2]), target="difference").tolist()
    [0.5, nan, -0.3]
    """
    if target == "value":
        return averages.copy()
    found, before = np.full(len(averages), np.nan), 0.0
    for number, value in enumerate(averages):
        if np.isfinite(value):
            change = value - before
            found[number], before = (change if abs(change) >= SMALLEST else 0.0), value
    return found


def stack_utterances(vectors: Sequence[NDArray[np.float32]], targets: Sequence[NDArray[np.float64]]) -> Stack:
    """Lay the utterances of all recordings below each other, each recording one segment.

    Parameters
    ----------
    vectors
        Utterance vectors of each recording, ``(U, D)``.
    targets
        What they are to be answered with, ``(U,)``; NaN where unknown.

    Raises
    ------
    TableError
        When vectors and targets differ in number.
    """
    counts = [len(own) for own in vectors]
    if counts != [len(own) for own in targets] or not counts or min(counts) < 1:
        raise TableError(
            f"There are {counts} utterance vectors and {[len(own) for own in targets]} targets.",
            expected="As many of both in each recording, at least one.",
        )
    pad = np.zeros((1, vectors[0].shape[1]), np.float32)
    rows = torch.from_numpy(np.concatenate([*vectors, pad]).astype(np.float32))
    values = torch.from_numpy(np.concatenate([*targets, [np.nan]]).astype(np.float32))
    starts = np.cumsum([0, *counts[:-1]])
    present = torch.ones(len(rows), dtype=torch.bool)
    present[-1] = False
    return Stack(
        {"text": rows},
        {"text": present},
        values.nan_to_num(0.0),
        ~values.isnan(),
        torch.from_numpy(starts),
        torch.tensor(counts),
    )


def cut_chunks(stack: Stack, *, size: int, step: int) -> Stack:
    """Return the same utterances cut into chunks, see `plan_chunks`."""
    plan = plan_chunks(stack.lengths.tolist(), size=size, step=step)
    spans = [(int(stack.starts[number]) + start, end - start) for number, start, end in plan]
    starts, lengths = torch.tensor(spans, dtype=torch.int64).unbind(1)
    return replace(stack, starts=starts, lengths=lengths)
