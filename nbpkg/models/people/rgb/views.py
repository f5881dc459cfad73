"""Several views of a clip: scored a few at a time, averaged by one of three rules."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from nbpkg.errors import SettingsError
from nbpkg.models.device import autocast

Averaging = Literal["score", "prob"]


def average_views(scores: torch.Tensor, views: int, how: Averaging | None) -> torch.Tensor:
    """Average the scores of the views of each clip.

    Parameters
    ----------
    scores
        Raw scores ``[B * views, classes]``, the views of a clip one after another.
    views
        Number of views of a clip.
    how
        ``prob``: mean of softmax; ``score``: mean of raw scores; None: no averaging.

    Returns
    -------
    torch.Tensor
        ``[B, classes]``, or `scores` as they are.

    Raises
    ------
    SettingsError
        When there is no such rule, or scores do not divide into views.

    Examples
    --------
    >>> average_views(torch.tensor([[0.0, 2.0], [2.0, 2.0]]), 2, "score")
    tensor([[1., 2.]])
    """
    if how not in ("score", "prob", None):
        raise SettingsError(
            f"There is no averaging {how!r}.", expected="score, prob or null.", remedy="Correct the setting."
        )
    if views < 1 or len(scores) % views:
        raise SettingsError(
            f"{len(scores)} rows of scores do not divide into {views} views.",
            remedy="Give the number of views of each clip.",
        )
    if how is None:
        return scores
    values = scores.softmax(dim=1) if how == "prob" else scores
    return values.reshape(-1, views, values.shape[1]).mean(dim=1)


def score_views(
    network: nn.Module, clips: torch.Tensor, *, how: Averaging | None, at_once: int = 10, precision: str = "float32"
) -> torch.Tensor:
    """Score clips with several views each, a few at a time.

    Parameters
    ----------
    network
        A classifier of `build_rgb_network`, in evaluation mode.
    clips
        ``[B, views, 3, T, H, W]``, for networks over single frames ``[B, views, S, 3, H, W]``.
    how
        As for `average_views`.
    at_once
        Views in the network at once; the answer is the same for any number.
    precision
        ``float32``, ``bfloat16`` or ``float16`` (mixed).

    Returns
    -------
    torch.Tensor
        float32 ``[B, classes]``; for no averaging ``[B * views, classes]``.

    Raises
    ------
    SettingsError
        As `average_views` and the network do; when the network is in training mode, where views would depend on each
        other.
    """
    if clips.ndim != 6 or 0 in clips.shape[:2] or at_once < 1 or network.training:
        raise SettingsError(
            f"Views of the shape {list(clips.shape)} cannot be scored {at_once} at a time"
            f"{' by a network in training' if network.training else ''}.",
            expected="Clips [B, views, 3, T, H, W] or [B, views, S, 3, H, W], at_once from 1 on, network.eval().",
            remedy="Add the axis of views, if only of one.",
        )
    with autocast(clips.device, precision):
        scores = torch.cat([network(part) for part in clips.flatten(0, 1).split(at_once)]).float()
    return average_views(scores, len(scores) // len(clips), how)
