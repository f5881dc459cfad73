"""Occlusion: how improbable a class becomes when a block of space and time is covered."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from nbpkg.attention.explain.passes import as_clip, at_rest, finish, probability, run
from nbpkg.attention.maps import Map
from nbpkg.errors import ExplainError
from nbpkg.models.device import Parts

Block = tuple[slice, ...]
_LAYOUTS = {4: torch.channels_last, 5: torch.channels_last_3d}


def occlusion(
    net: nn.Module,
    clip: torch.Tensor,
    *,
    targets: Sequence[int],
    radius: Sequence[int],
    stride: Sequence[int],
    fill: float,
    centred: bool,
    batch_size: int,
) -> dict[int, Map]:
    """Explain classes by covering one block after the other; all classes share the passes through the network.

    Parameters
    ----------
    net, clip, targets
        As in `nbpkg.attention.explain.gradient.gradient`.
    radius
        Half of a block beside its centre, for each axis of space: ``(frames, rows, columns)``, ``(rows, columns)`` or
        ``(steps,)``. A block is ``2 radius + 1`` long and cut at the borders.
    stride
        From one block's centre to the next.
    fill
        What covers, on the network's scale; 0 is the mean colour.
    centred
        Whether centres are spread evenly, so that the map lies over the clip when it is enlarged; else the first is at
        index 0 of every axis, as published, and the enlarged map lies half a stride too far down and right.
    batch_size
        Covered clips per forward pass; halved where memory does not suffice.

    Returns
    -------
    dict
        Class to map of ``ceil(length / stride)`` values along each axis, in 0..1: 1 − probability of the class. Higher
        is more important; the level far from what matters is 1 − probability for the whole clip.

    Raises
    ------
    ExplainError
        When radius and stride do not fit the clip, clip or class do not fit the network, or values are not finite.

    Source
    ------
    Zeiler and Fergus, ECCV 2014; blocks in space and time as in the published program, which ran one clip at a time.
    """
    shape = tuple(clip.shape[1:])
    _check(shape, radius, stride, batch_size)
    blocks = list_blocks(shape, radius=radius, stride=stride, centred=centred)
    with at_rest(net), torch.inference_mode():
        pixels = as_clip(net, clip)
        whole = _new_batch(pixels, min(batch_size, len(blocks)))
        pixels = whole[0].copy_(pixels).clone()  # laid out alike, so that copying is quick

        def compute(numbers: torch.Tensor) -> NDArray[np.float32]:
            batch = whole[: len(numbers)]
            batch.copy_(pixels)
            for covered, number in zip(batch, numbers.tolist(), strict=True):
                covered[(slice(None), *blocks[number])] = fill
            scores = run(net, batch).float()
            away = torch.stack([1 - probability(scores, target) for target in targets], dim=1)
            found: NDArray[np.float32] = away.cpu().numpy()
            return found

        found = Parts(batch_size).run(compute, torch.arange(len(blocks)))
    grid = tuple(math.ceil(size / step) for size, step in zip(shape, stride, strict=True))
    values = {target: np.ascontiguousarray(found[:, place].reshape(grid)) for place, target in enumerate(targets)}
    settings: dict[str, object] = {"radius": list(radius), "stride": list(stride), "fill": fill, "centred": centred}
    return finish(net, clip, values, method="occlusion", layer="", settings=settings)


def list_blocks(shape: Sequence[int], *, radius: Sequence[int], stride: Sequence[int], centred: bool) -> list[Block]:
    """Return the blocks that are covered, in the order of the map's values.

    Examples
    --------
    >>> list_blocks([5], radius=[1], stride=[2], centred=False)
    [(slice(0, 2, None),), (slice(1, 4, None),), (slice(3, 5, None),)]
    >>> list_blocks([8], radius=[1], stride=[4], centred=True)
    [(slice(1, 4, None),), (slice(5, 8, None),)]
    """
    axes = [
        [slice(max(0, centre - half), min(size, centre + half + 1)) for centre in _centres(size, step, centred)]
        for size, half, step in zip(shape, radius, stride, strict=True)
    ]
    return list(itertools.product(*axes))


def _centres(size: int, step: int, centred: bool) -> list[int]:
    count = math.ceil(size / step)
    return [(2 * number + 1) * size // (2 * count) if centred else number * step for number in range(count)]


def _new_batch(clip: torch.Tensor, size: int) -> torch.Tensor:
    """Return room for copies of a clip, in the memory layout in which convolutions are quickest."""
    layout = _LAYOUTS.get(clip.ndim + 1, torch.contiguous_format)
    return torch.empty((size, *clip.shape), dtype=clip.dtype, device=clip.device, memory_format=layout)


def _check(shape: Sequence[int], radius: Sequence[int], stride: Sequence[int], batch_size: int) -> None:
    fits = len(radius) == len(stride) == len(shape) and min(radius) >= 0 and min(stride) >= 1 and batch_size >= 1
    if not fits:
        raise ExplainError(
            f"A clip of {' × '.join(map(str, shape))} cannot be covered with radius {list(radius)}, stride"
            f" {list(stride)} and batches of {batch_size}.",
            expected=f"{len(shape)} numbers each, radius at least 0, stride and batch size at least 1.",
            remedy="Correct the settings of occlusion.",
        )
