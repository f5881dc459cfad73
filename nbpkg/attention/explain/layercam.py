"""LayerCAM: a layer's output weighed place by place with what raises the score; fit for early, fine layers, too."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from nbpkg.attention.explain.layers import activate
from nbpkg.attention.explain.passes import as_array, finish
from nbpkg.attention.maps import Map


def layercam(net: nn.Module, clip: torch.Tensor, *, targets: Sequence[int], layer: str) -> dict[int, Map]:
    """Explain classes by a layer's output times its positive gradients.

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
    Jiang et al., IEEE Transactions on Image Processing 30, 2021.
    """
    found = activate(net, clip, targets=targets, layer=layer)
    values = {
        target: as_array((slope.relu() * found.values).sum(dim=0).relu()) for target, slope in found.gradients.items()
    }
    return finish(net, clip, values, method="layercam", layer=found.layer, settings={})
