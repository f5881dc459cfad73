"""Batches of clips, each in parts small enough for memory."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from itertools import islice
from typing import Any, cast

import torch
from torch.utils.data import DataLoader, Dataset

from nbpkg import seeding
from nbpkg.errors import TableError
from nbpkg.training.peers import Peers

Part = tuple[torch.Tensor, torch.Tensor]
NO_CLASS = -100  # label that cross entropy passes over


class Batches:
    """A dataset cut into batches; each batch comes as the list of its parts.

    Where the cuts between batches lie does not depend on the size of the parts, nor does anything depend on the number
    of workers. Several processes that train together have the same batches and parts, and of each part the clips of
    their place. A process for which a part has no clip gets the part's first one, labelled `NO_CLASS`, so that none
    waits for it.

    Parameters
    ----------
    dataset
        With a length; items are (clip, label), label 0 or 1.
    size
        Clips of a batch; the last batch may be shorter.
    part
        Most clips that are in the network at once.
    seed
        Seed of the order and of the workers.
    shuffle
        Whether to go through the clips in random order; else as they lie.
    limit
        Most batches; 0 for all.
    workers
        Processes that load clips; 0 to load in this one.
    device
        Where the clips will go.
    peers
        The processes that train together.

    Raises
    ------
    TableError
        When the dataset is empty.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        *,
        size: int,
        part: int,
        seed: int,
        shuffle: bool,
        limit: int,
        workers: int,
        device: torch.device,
        peers: Peers,
    ) -> None:
        count = len(cast(Sized, dataset))
        if count == 0:
            raise TableError(
                "A split has no clips.", expected="At least one clip.", remedy="Look at folds and samples."
            )
        order = torch.randperm(count, generator=_source(seed, "order")) if shuffle else torch.arange(count)
        batches = order.split(size)[: limit or None]
        self._parts = [-(-len(batch) // part) for batch in batches]
        pieces = [piece for batch in batches for piece in batch.split(part)]
        own = [piece.tensor_split(peers.size)[peers.rank] for piece in pieces]
        self._idle = [len(mine) == 0 for mine in own]
        self._loader = DataLoader(
            dataset,
            batch_sampler=[
                (mine if len(mine) else piece[:1]).tolist() for mine, piece in zip(own, pieces, strict=True)
            ],
            num_workers=workers,
            pin_memory=device.type == "cuda",
            # Workers do not stay for the next pass: idle ones take five seconds each to end when the loader is dropped.
            generator=_source(seed, "workers"),
        )

    def __len__(self) -> int:
        return len(self._parts)

    def __iter__(self) -> Iterator[list[Part]]:
        parts = iter(zip(self._idle, self._loader, strict=True))
        for count in self._parts:
            yield [(clips, _mask(labels.long(), idle)) for idle, (clips, labels) in islice(parts, count)]


def _mask(labels: torch.Tensor, idle: bool) -> torch.Tensor:
    return torch.full_like(labels, NO_CLASS) if idle else labels


def _source(seed: int, name: str) -> torch.Generator:
    source = torch.Generator()
    source.manual_seed(seeding.child(seed, name))
    return source
