"""Items of the published data set as they are learnt from and scored there, to compare with its program.

Source: modalities of different length were padded with zeros that the network took for features, padded seconds counted
as valence 0, and frames behind the last second replayed the last ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from nbpkg.datasets.valence.reference import Item, PublishedDataset
from nbpkg.datasets.valence.segments import Stack
from nbpkg.training.valence.scoring import Scored, StepFrames


def stack_items(items: Sequence[Item], modalities: Sequence[str]) -> Stack:
    """Lay the items of a published data set down, each as long as its longest part.

    Parameters
    ----------
    items
        Arrays of the modalities, then valence ``(T, 1)``.
    modalities
        Their names.
    """
    lengths = np.array([max(map(len, item)) for item in items])
    starts, total = np.cumsum([0, *lengths[:-1]]), int(lengths.sum()) + 1
    columns = [torch.zeros(total, rows.shape[1]) for rows in items[0]]
    for start, item in zip(starts.tolist(), items, strict=True):
        for column, rows in zip(columns, item, strict=True):
            column[start : start + len(rows)] = torch.from_numpy(np.asarray(rows, np.float32))
    there = torch.ones(total, dtype=torch.bool)
    there[-1] = False
    return Stack(
        dict(zip(modalities, columns[:-1], strict=True)),
        dict.fromkeys(modalities, there),
        columns[-1][:, 0],
        there,
        torch.from_numpy(starts),
        torch.from_numpy(lengths),
    )


def score_published(dataset: PublishedDataset) -> Scored:
    """Make the recordings of a published data set ready to be scored, whole and frame by frame."""
    whole = dataset.split(1)
    stack = stack_items([whole[place] for place in range(len(whole))], whole.modalities)
    originals = [recording.original for recording in whole.recordings]
    frames = StepFrames(tuple(map(len, originals)), whole.ratio, pad="replay")
    return Scored(stack, originals, frames)
