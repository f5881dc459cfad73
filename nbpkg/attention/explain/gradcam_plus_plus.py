"""Grad-CAM++: Grad-CAM whose places count by how strongly each raises the score, so that several objects all show."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from nbpkg.attention.explain.layers import activate
from nbpkg.attention.explain.passes import as_array, finish
from nbpkg.attention.maps import Map


def gradcam_plus_plus(net: nn.Module, clip: torch.Tensor, *, targets: Sequence[int], layer: str) -> dict[int, Map]:
    """Explain classes by Grad-CAM++.

    Parameters
    ----------
    net, clip, targets, layer
        As in `nbpkg.attention.explain.gradcam.gradcam`.

    Returns
    -------
    dict
        Class to map ``[T', H', W']`` (``[H', W']``, ``[T']``), at least 0.

    Raises
    ------
    ExplainError
        When the layer, the clip or the class does not fit the network, or values are not finite.

    Source
    ------
    Chattopadhay et al., WACV 2018, eq. 10 to 19 for a score that enters through the exponential function, whose common
    factor is left out; sums run over frames as well as places. Made for layers whose output is not negative, such as
    that of a ReLU: elsewhere the denominator may come near zero.
    """
    found = activate(net, clip, targets=targets, layer=layer)
    values = {target: as_array(_combine(found.values, slope)) for target, slope in found.gradients.items()}
    return finish(net, clip, values, method="gradcam_plus_plus", layer=found.layer, settings={})


def _combine(values: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
    """Weigh channels [C, *space] by their gradients and add them up."""
    axes = tuple(range(1, values.ndim))
    # The published G² / (2 G² + ΣA G³), shortened by G².
    below = 2 + values.sum(dim=axes, keepdim=True) * slope
    share = torch.where(below != 0, 1 / below, 0.0)
    weights = (share * slope.relu()).sum(dim=axes, keepdim=True)
    return (weights * values).sum(dim=0).relu()
