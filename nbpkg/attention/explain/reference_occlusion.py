"""The published occlusion of single frames, kept for comparison; no script of the published program used it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from nbpkg.attention.explain.passes import as_clip, at_rest, run, score
from nbpkg.attention.maps import Values
from nbpkg.errors import ExplainError


def occlude_frames(
    net: nn.Module, clip: torch.Tensor, *, target: int, size: tuple[int, int], step: tuple[int, int]
) -> Values:
    """Cover squares of one frame after the other, as the published program would.

    Parameters
    ----------
    net
        Gives ``[B, K]`` for single frames ``[B, 3, 1, H, W]``; its outputs are taken as probabilities, as published.
    clip
        ``[3, T, H, W]``.
    target
        Class.
    size
        Height and width of the window, pixels; it really is one pixel longer, and begins at multiples of `step`.
    step
        Rows and columns from one window to the next.

    Returns
    -------
    ndarray
        float32 ``[T, (H − height) // rows, (W − width) // columns]``, 1 − output of the class; the last rows and
        columns of the frame are never covered.

    Raises
    ------
    ExplainError
        When the window does not fit into a frame.

    Source
    ------
    §20.6 of the published behaviour. `nbpkg.attention.explain.occlusion.occlusion` is the one to use.
    """
    counts = tuple((long - side) // by for long, side, by in zip(clip.shape[-2:], size, step, strict=True))
    if clip.ndim != 4 or min(counts) < 1:
        raise ExplainError(
            f"No window of {size} fits into a clip of shape {list(clip.shape)} with steps of {step}.",
            expected="A clip [3, T, H, W] at least one step larger than the window.",
            remedy="Use a smaller window.",
        )
    with at_rest(net), torch.inference_mode():
        pixels = as_clip(net, clip)
        frames = [
            [
                _cover(net, frame, target, (row, column), size, step)
                for row in range(counts[0])
                for column in range(counts[1])
            ]
            for frame in pixels.unbind(dim=1)
        ]
    return np.array(frames, dtype=np.float32).reshape(-1, *counts)


def _cover(
    net: nn.Module, frame: torch.Tensor, target: int, place: Sequence[int], size: Sequence[int], step: Sequence[int]
) -> float:
    top, left = place[0] * step[0], place[1] * step[1]
    covered = frame.clone()
    covered[:, top : top + size[0] + 1, left : left + size[1] + 1] = 0
    return 1.0 - float(score(run(net, covered[None, :, None]), target)[0])
