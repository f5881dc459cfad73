"""Grad-CAM: where the channels of a layer that raise a class's score are strong."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from nbpkg.attention.explain.layers import activate
from nbpkg.attention.explain.passes import as_array, finish
from nbpkg.attention.maps import Map
from nbpkg.errors import ExplainError


def gradcam(net: nn.Module, clip: torch.Tensor, *, targets: Sequence[int], layer: str, weights: str) -> dict[int, Map]:
    """Explain classes by Grad-CAM.

    Parameters
    ----------
    net, clip, targets
        As in `nbpkg.attention.explain.gradient.gradient`.
    layer
        Dotted path, or empty for `nbpkg.attention.explain.layers.default_layer`.
    weights
        How a channel is weighed. ``frame``: by its mean gradient over the places of a frame, in each frame anew;
        ``channel``: by its mean gradient over all frames and places. Pictures and sequences have one weight each.

    Returns
    -------
    dict
        Class to map ``[T', H', W']`` (``[H', W']``, ``[T']``), at least 0: what the weighted channels add up to where
        that is positive. It may be zero everywhere, when nothing speaks for a class.

    Raises
    ------
    ExplainError
        When the layer, the clip or the class does not fit the network, or values are not finite.

    Source
    ------
    Selvaraju et al., ICCV 2017. ``frame`` is what the published program did; Grad-CAM itself knows one weight.
    """
    if weights not in ("frame", "channel"):
        raise ExplainError(f"Grad-CAM has no weights {weights!r}.", expected="'frame' or 'channel'.")
    found = activate(net, clip, targets=targets, layer=layer)
    per_frame = weights == "frame" and found.values.ndim == 4
    axes = (2, 3) if per_frame else tuple(range(1, found.values.ndim))
    values = {
        target: as_array((slope.mean(dim=axes, keepdim=True) * found.values).sum(dim=0).relu())
        for target, slope in found.gradients.items()
    }
    return finish(net, clip, values, method="gradcam", layer=found.layer, settings={"weights": weights})
