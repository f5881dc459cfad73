"""Guided Grad-CAM: guided backprop where Grad-CAM is strong."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from nbpkg.attention.explain.gradcam import gradcam
from nbpkg.attention.explain.guided_backprop import guided
from nbpkg.attention.explain.passes import as_array, finish, input_gradients
from nbpkg.attention.maps import Map, enlarge, saliency


def guided_gradcam(
    net: nn.Module, clip: torch.Tensor, *, targets: Sequence[int], layer: str, weights: str
) -> dict[int, Map]:
    """Explain classes by Grad-CAM, enlarged, times guided backprop.

    Parameters
    ----------
    net, clip, targets, layer, weights
        As in `nbpkg.attention.explain.gradcam.gradcam`.

    Returns
    -------
    dict
        Class to map ``[*space]``: the largest absolute value over channels, at least 0.

    Raises
    ------
    ExplainError
        When the network has no ReLU module, layer, clip or class do not fit it, or values are not finite.

    Source
    ------
    Selvaraju et al., ICCV 2017; enlarged linearly in space and time, as published.
    """
    coarse = gradcam(net, clip, targets=targets, layer=layer, weights=weights)
    with guided(net):
        raw = input_gradients(net, clip, targets=targets)
    shape = tuple(clip.shape[1:])
    values = {
        target: saliency(as_array(raw[target]) * enlarge(cam.values, shape, "trilinear"))
        for target, cam in coarse.items()
    }
    path = next((cam.layer for cam in coarse.values()), layer)
    return finish(net, clip, values, method="guided_gradcam", layer=path, settings={"weights": weights})
