"""The heat map that a network answers, as a map among those that explain it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import nn

from nbpkg.attention.explain.passes import as_array, as_clip, at_rest, finish
from nbpkg.attention.maps import Map
from nbpkg.errors import ExplainError


@runtime_checkable
class AnswersByMap(Protocol):
    """A network whose answer is a map."""

    def answer(self, clips: torch.Tensor) -> torch.Tensor:
        """Return heat maps ``[B, *space]`` of clips ``[B, C, *space]``, not below 0."""


def predicted_map(net: nn.Module, clip: torch.Tensor, *, targets: Sequence[int]) -> dict[int, Map]:
    """Return the heat map of a network that answers by one.

    Parameters
    ----------
    net
        See `AnswersByMap`; besides gives one score ``[B, 1]``.
    clip
        ``[C, *space]``.
    targets
        Classes; 1 is what the map speaks for, of any other it is the map of nothing.

    Raises
    ------
    ExplainError
        When the network answers by no map.
    """
    if not isinstance(net, AnswersByMap):
        raise ExplainError(
            "The network answers by no heat map.",
            where=type(net).__name__,
            expected="A network that predicts where people look.",
            remedy="Take 'heatmap' out of compare.explain.methods.",
        )
    with at_rest(net), torch.no_grad():
        values = as_array(net.answer(as_clip(net, clip)[None])[0])
    found = {target: values if target == 1 else values * 0 for target in targets}
    return finish(net, clip, found, method="heatmap", layer="", settings={})
