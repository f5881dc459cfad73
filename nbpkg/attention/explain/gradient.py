"""Gradient: which pixels would change a class's score the most."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from nbpkg.attention.explain.passes import as_array, finish, input_gradients
from nbpkg.attention.maps import Map, saliency


def gradient(net: nn.Module, clip: torch.Tensor, *, targets: Sequence[int]) -> dict[int, Map]:
    """Explain classes by the gradient of their raw scores with respect to the clip.

    Parameters
    ----------
    net
        Gives raw scores ``[B, K]`` for ``[B, C, *space]``; a single logit (K = 1) is the score of class 1, and its
        negative that of class 0, so that both classes have the same map.
    clip
        Normalised, float ``[C, T, H, W]``, ``[C, H, W]`` or ``[C, T]``.
    targets
        Classes.

    Returns
    -------
    dict
        Class to map ``[*space]``: the largest absolute value over channels, at least 0.

    Raises
    ------
    ExplainError
        When the clip or the class does not fit the network, or values are not finite.

    Source
    ------
    Simonyan et al., ICLR workshop 2014. `nbpkg.attention.explain.passes.input_gradients` gives all channels.
    """
    raw = input_gradients(net, clip, targets=targets)
    values = {target: saliency(as_array(found)) for target, found in raw.items()}
    return finish(net, clip, values, method="gradient", layer="", settings={})
