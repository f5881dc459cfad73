"""Passes of many two-class heads over the same rows: losses, wrong answers and slopes of all heads at once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from nbpkg.errors import TableError

Floats = NDArray[np.float64]
Rows = tuple[NDArray[np.float32], ArrayLike]
BLOCK, TILE = 512, 2**17  # rows of one matrix product, and numbers worked on at a time: what a core's cache holds
GPU_NUMBERS = 2**28  # scores held at once on a GPU, 1 GB
ONE = torch.tensor(1.0)


class Split:
    """Rows sorted by class in a memory of their own, those of class 1 negated, a last column for the bias.

    A head, written as the difference of its two rows of weights, times such a row is the score against the row's own
    class, so that both classes are treated alike.

    Parameters
    ----------
    rows
        Features [n, D], finite, may be memory-mapped; labels [n], 0 or 1.
    columns
        D.
    name
        What the rows are for, for messages.

    Raises
    ------
    TableError
        For features that are not finite or do not fit, and labels other than 0 and 1.
    """

    def __init__(self, rows: Rows, columns: int, *, name: str) -> None:
        features, labels = rows[0], np.asarray(rows[1])
        _check(features, labels, columns, name)
        order = np.argsort(labels, kind="stable")
        own = np.ones((len(labels), columns + 1), np.float32)
        for start in range(0, len(labels), 4096):  # in pieces, as the features may not fit into memory twice
            taken = order[start : start + 4096]
            own[start : start + 4096, :-1] = features[taken]
            broken = taken[~np.isfinite(own[start : start + 4096]).all(axis=1)]
            if len(broken):
                raise TableError(
                    f"The features of row {int(broken.min())} are not finite.",
                    where=f"{name} rows",
                    remedy="Bake the features again.",
                )
        zeros = int((labels == 0).sum())
        np.negative(own[zeros:], out=own[zeros:])
        self.rows, self.counts = torch.from_numpy(own), np.array([zeros, len(labels) - zeros])

    def plain(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return features [n, D] and labels [n], int64, as they were given but for the order; copies."""
        labels = torch.repeat_interleave(torch.from_numpy(self.counts))
        return self.rows[:, :-1] * (1.0 - 2.0 * labels.float())[:, None], labels

    def deal(self, runs: int, *, device: torch.device, workers: int) -> list[list[Chunk]]:
        """Deal the rows into equal shares of work, of one or two chunks each: two shares for each worker.

        One share each would leave the others waiting for a worker that is held up by other programs.
        """
        limit = BLOCK if device.type == "cpu" else max(BLOCK, GPU_NUMBERS // runs)
        tile = TILE if device.type == "cpu" else GPU_NUMBERS
        count, zeros = len(self.rows), int(self.counts[0])
        edges = np.linspace(0, count, min(2 * workers, -(-count // limit)) + 1).astype(int).tolist()
        rows, shares = self.rows.to(device), []
        for start, stop in pairwise(edges):
            border = min(max(start, zeros), stop)
            parts = [(0, rows[start:border]), (1, rows[border:stop])]
            shares.append([Chunk(part, label, runs, block=limit, tile=tile) for label, part in parts if len(part)])
        return shares


class Chunk:
    """Rows of one class, and the memory for one pass of R heads over them; all views are made once.

    With u the score against the own class, the loss of a row is log(1 + exp(u)) = max(u, 0) - log(max(p, 1 - p)) for
    p = sigmoid(u), and p is its slope too.
    """

    def __init__(self, rows: torch.Tensor, label: int, runs: int, *, block: int, tile: int) -> None:
        self.label = label
        count = -(-len(rows) // block)
        height = -(-len(rows) // count)
        depth = max(1, min(height, tile // runs))
        scores, spare = rows.new_empty((height, runs)), rows.new_empty((depth, runs))
        self.slope = rows.new_zeros((rows.shape[1], runs))
        cut = [(part, scores[: len(part)]) for part in rows.split(height)]
        tiles = [list(own.split(depth)) for _, own in cut]
        self.sums = rows.new_zeros((sum(map(len, tiles)), 3, runs))  # wrong answers, max(u, 0), log(max(p, 1 - p))
        outs = iter([entry.unbind() for entry in self.sums])
        self.blocks = [
            (part, own, [(tile, spare[: len(tile)], next(outs)) for tile in parts])
            for (part, own), parts in zip(cut, tiles, strict=True)
        ]

    def run(self, heads: torch.Tensor, *, slopes: bool) -> tuple[Floats, Floats]:
        """Pass all rows by the heads [D + 1, runs]; return wrong answers and sums of losses, [runs] each.

        The sums of the slopes are left in ``slope``, [D + 1, runs]; they are half of the work.
        """
        is_wrong = torch.ge if self.label else torch.gt  # of equal scores the first, class 0, is the answer
        for number, (rows, scores, tiles) in enumerate(self.blocks):
            torch.mm(rows, heads, out=scores)
            for against, spare, (wrong, over, rest) in tiles:
                torch.sum(is_wrong(against, 0, out=spare), 0, out=wrong)
                torch.sum(torch.clamp_min(against, 0, out=spare), 0, out=over)
                torch.sub(ONE, against.sigmoid_(), out=spare)
                torch.sum(torch.maximum(spare, against, out=spare).log_(), 0, out=rest)
            if slopes:
                torch.addmm(self.slope, rows.T, scores, beta=float(number > 0), out=self.slope)
        wrong, over, rest = self.sums.sum(dim=0, dtype=torch.float64).cpu().numpy()
        return wrong, over - rest


@contextmanager
def open_pool(workers: int) -> Iterator[ThreadPoolExecutor]:
    """Start threads that each compute without help of torch's own, which would wait for one another."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(workers, initializer=_prepare_thread) as pool:
            yield pool
    finally:
        torch.set_num_threads(threads)


def _prepare_thread() -> None:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # slopes of rows long learnt are below 1e-38, where sums are a hundred times slower


def _check(features: NDArray[np.float32], labels: NDArray, columns: int, name: str) -> None:
    if np.ndim(features) != 2 or labels.shape != (len(features),) or not len(labels) or features.shape[1] != columns:
        raise TableError(
            f"Features have shape {np.shape(features)} and labels {labels.shape}.",
            where=f"{name} rows",
            expected=f"Features [n, {columns}] and labels [n], n at least 1.",
            remedy="Bake all features with the same encoder, and pick those of the samples.",
        )
    if not np.isin(labels, (0, 1)).all():
        found = sorted(set(labels.tolist()) - {0, 1})[:5]
        raise TableError(f"Labels hold {', '.join(map(str, found))}.", where=f"{name} rows", expected="0 and 1 alone.")
