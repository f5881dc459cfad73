"""Parts of video networks: a convolution with its norm, pooling of maps, and how all of it begins."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

import torch
from torch import nn

Triple = tuple[int, int, int]
Maps = torch.Tensor | tuple[torch.Tensor, ...]


def conv3d(inputs: int, outputs: int, kernel: Triple, stride: Triple = (1, 1, 1), *, groups: int = 1) -> nn.Conv3d:
    """Return a convolution over time and space without bias, padded so that stride 1 keeps the shape."""
    padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
    return nn.Conv3d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)


def unit(conv: nn.Module, channels: int, *, relu: bool = True, eps: float = 1e-5) -> nn.Sequential:
    """Put batch normalisation, and ReLU if wanted, behind a convolution.

    Parameters
    ----------
    conv
        The convolution, entry ``conv``.
    channels
        What it gives.
    relu
        Whether ReLU follows.
    eps
        Of the normalisation, entry ``bn``.
    """
    norm = nn.BatchNorm3d if isinstance(conv, nn.Conv3d) else nn.BatchNorm2d
    return normed(conv, norm(channels, eps=eps), relu=relu)


def normed(conv: nn.Module, norm: nn.Module, *, relu: bool) -> nn.Sequential:
    """Name the three parts as the published checkpoints do."""
    parts = OrderedDict[str, nn.Module](conv=conv, bn=norm)
    if relu:
        parts["activate"] = nn.ReLU(inplace=True)
    return nn.Sequential(parts)


def pool_maps(maps: Maps) -> torch.Tensor:
    """Average maps ``[B, D, ...]`` over all places and times; of several pathways, one after another, as ``[B, D]``."""
    if isinstance(maps, tuple):
        return torch.cat([pool_maps(item) for item in maps], dim=1)
    return maps if maps.ndim == 2 else maps.flatten(2).mean(dim=2)


def begin(network: nn.Module, *, branches: Iterable[nn.Module] = ()) -> None:
    """Draw a network's first weights from torch's generator.

    Parameters
    ----------
    network
        Its convolutions get Kaiming's normal weights by what they give, and no bias.
    branches
        The last convolution of each residual branch, as `unit` gives it, where branches shall begin as nothing.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Conv3d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    for branch in branches:
        nn.init.zeros_(branch.get_parameter("bn.weight"))


def linear(inputs: int, outputs: int, *, std: float) -> nn.Linear:
    """Return a linear layer with weights of spread `std` and no bias to begin with."""
    layer = nn.Linear(inputs, outputs)
    nn.init.normal_(layer.weight, std=std)
    nn.init.zeros_(layer.bias)
    return layer
