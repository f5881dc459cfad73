"""Gradient × input: how much each pixel adds to a class's score, to first order."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from nbpkg.attention.explain.passes import as_array, as_clip, finish, input_gradients
from nbpkg.attention.maps import Map


def gradient_input(net: nn.Module, clip: torch.Tensor, *, targets: Sequence[int]) -> dict[int, Map]:
    """Explain classes by the gradient of their raw scores times the clip.

    Parameters
    ----------
    net, clip, targets
        As in `nbpkg.attention.explain.gradient.gradient`.

    Returns
    -------
    dict
        Class to map ``[*space]``, signed: summed over channels. For a network without biases, whose score grows in
        proportion to its input, the sum of all values is the score.

    Raises
    ------
    ExplainError
        When the clip or the class does not fit the network, or values are not finite.

    Source
    ------
    Shrikumar et al., arXiv 1605.01713.
    """
    raw = input_gradients(net, clip, targets=targets)
    pixels = as_clip(net, clip)
    values = {target: as_array((found * pixels).sum(dim=0)) for target, found in raw.items()}
    return finish(net, clip, values, method="gradient_input", layer="", settings={})
