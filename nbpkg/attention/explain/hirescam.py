"""HiResCAM: what every place of a layer adds to a class's score."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from nbpkg.attention.explain.layers import activate
from nbpkg.attention.explain.passes import as_array, finish
from nbpkg.attention.maps import Map


def hirescam(net: nn.Module, clip: torch.Tensor, *, targets: Sequence[int], layer: str) -> dict[int, Map]:
    """Explain classes by a layer's gradients times its output, place by place.

    Parameters
    ----------
    net, clip, targets, layer
        As in `nbpkg.attention.explain.gradcam.gradcam`.

    Returns
    -------
    dict
        Class to map ``[T', H', W']`` (``[H', W']``, ``[T']``), signed, summed over channels. Where all that follows the
        layer is linear, the sum of the values is the score without its bias.

    Raises
    ------
    ExplainError
        When the layer, the clip or the class does not fit the network, or values are not finite.

    Source
    ------
    Draelos and Carin, arXiv 2011.08891; without the ReLU that some programs append, so that nothing is hidden.
    """
    found = activate(net, clip, targets=targets, layer=layer)
    values = {target: as_array((slope * found.values).sum(dim=0)) for target, slope in found.gradients.items()}
    return finish(net, clip, values, method="hirescam", layer=found.layer, settings={})
