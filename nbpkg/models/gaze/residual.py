"""The residual block of VTD's two branches."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

EXPANSION = 4  # a block's output channels over its inner ones


class Block(nn.Module):
    """Three convolutions and a shortcut.

    Parameters
    ----------
    channels, planes
        Of the input, and between the convolutions; the output has four times as many as `planes`.
    stride
        Of the second convolution and the shortcut.
    first
        Whether the shortcut is a convolution (``downsample``), as in the first block of a layer.
    twice
        Whether there is a second norm (``bn_ds``) for the shortcut of a first block; other blocks own it without use,
        since published weights hold it.

    Attributes
    ----------
    skip_single
        Whether a call with exactly one frame leaves the block's norms out; False at first.

    Source: He et al., CVPR 2016; Chong et al., CVPR 2020, attention-target-detection.
    """

    def __init__(self, channels: int, planes: int, *, stride: int, first: bool, twice: bool) -> None:
        super().__init__()
        out = EXPANSION * planes
        self.conv1 = nn.Conv2d(channels, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.downsample: nn.Module | None = None
        if first:
            self.downsample = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))
        self.bn_ds: nn.Module | None = nn.BatchNorm2d(out) if twice else None
        self.skip_single = False

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Encode ``[N, channels, H, W]`` as ``[N, 4 planes, H / stride, W / stride]``."""
        skip = self.skip_single and len(frames) == 1
        out = F.relu(normalise(self.conv1(frames), self.bn1, skip=skip))
        out = F.relu(normalise(self.conv2(out), self.bn2, skip=skip))
        out = normalise(self.conv3(out), self.bn3, skip=skip)
        shortcut = frames
        if self.downsample is not None:
            shortcut = self.downsample(frames)
            if self.bn_ds is not None:
                shortcut = normalise(shortcut, self.bn_ds, skip=skip)
        return F.relu(out + shortcut)


def normalise(maps: torch.Tensor, norm: nn.Module, *, skip: bool) -> torch.Tensor:
    """Normalise maps ``[N, C, H, W]``, or leave them as they are."""
    normalised: torch.Tensor = maps if skip else norm(maps)
    return normalised
