"""A residual network over single frames, with or without a shift of channels between the frames of a clip."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn

from nbpkg.models.people.rgb.blocks import begin, unit

EXPANSION = 4
SHARE = 8  # an eighth of the channels comes from the next frame, an eighth from the one before


class TemporalShift(nn.Module):
    """Replace some channels of each frame by those of its neighbours before a convolution.

    Parameters
    ----------
    net
        The convolution.
    segments
        Frames of a clip, which stand one after another in the batch.

    Source: Lin et al., ICCV 2019 (TSM).
    """

    def __init__(self, net: nn.Conv2d, segments: int) -> None:
        super().__init__()
        self.net, self.segments = net, segments

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Map ``[B * segments, C, H, W]`` to ``[B * segments, C', H', W']``."""
        out: torch.Tensor = self.net(shift_channels(maps, self.segments))
        return out


def shift_channels(maps: torch.Tensor, segments: int) -> torch.Tensor:
    """Give each frame an eighth of the channels of the next and an eighth of the one before; zeros where none is.

    Parameters
    ----------
    maps
        ``[B * segments, C, H, W]``.
    segments
        Frames of a clip.
    """
    frames = maps.unflatten(0, (-1, segments))
    fold = maps.shape[1] // SHARE
    out = torch.zeros_like(frames)
    out[:, :-1, :fold] = frames[:, 1:, :fold]
    out[:, 1:, fold : 2 * fold] = frames[:, :-1, fold : 2 * fold]
    out[:, :, 2 * fold :] = frames[:, :, 2 * fold :]
    return out.flatten(0, 1)


class Bottleneck2d(nn.Module):
    """A residual block over places: into few channels, over 3 × 3 places, and back into many."""

    def __init__(self, inputs: int, planes: int, stride: int, *, first: bool, shifted: int) -> None:
        super().__init__()
        outputs = EXPANSION * planes
        narrow = nn.Conv2d(inputs, planes, 1, bias=False)
        self.conv1 = unit(TemporalShift(narrow, shifted) if shifted else narrow, planes)
        self.conv2 = unit(nn.Conv2d(planes, planes, 3, stride, 1, bias=False), planes)
        self.conv3 = unit(nn.Conv2d(planes, outputs, 1, bias=False), outputs, relu=False)
        self.first = first
        if first:
            self.downsample = unit(nn.Conv2d(inputs, outputs, 1, stride, bias=False), outputs, relu=False)
        self.relu = nn.ReLU()

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Map ``[B, C, H, W]`` to ``[B, 4 * planes, H', W']``."""
        shortcut = self.downsample(maps) if self.first else maps
        out: torch.Tensor = self.relu(self.conv3(self.conv2(self.conv1(maps))) + shortcut)
        return out


class ResNet2d(nn.Module):
    """The ResNet of TSN, TSM and TRN.

    Parameters
    ----------
    blocks
        Number of blocks of each stage.
    width
        Channels of the first convolution.
    shifted
        Frames of a clip between which channels are shifted before each block's first convolution; 0 for no shift.

    Notes
    -----
    Takes frames float32 ``[B, 3, H, W]``; gives maps ``[B, 32 * width, H / 32, W / 32]``.

    Source: He et al., CVPR 2016; entries named as in mmaction2 0.24.
    """

    def __init__(self, blocks: tuple[int, ...] = (3, 4, 6, 3), width: int = 64, *, shifted: int = 0) -> None:
        super().__init__()
        self.conv1 = unit(nn.Conv2d(3, width, 7, 2, 3, bias=False), width)
        self.pool = nn.MaxPool2d(3, 2, 1)
        inputs = width
        for stage, count in enumerate(blocks):
            planes, parts = width * 2**stage, OrderedDict[str, nn.Module]()
            for number in range(count):
                start, stride = (inputs, 2 if stage else 1) if number == 0 else (EXPANSION * planes, 1)
                parts[str(number)] = Bottleneck2d(start, planes, stride, first=number == 0, shifted=shifted)
            self.add_module(f"layer{stage + 1}", nn.Sequential(parts))
            inputs = EXPANSION * planes
        self.stages = tuple(f"layer{number}" for number in range(1, len(blocks) + 1))
        self.features = inputs
        begin(self)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Map frames to maps of the last stage."""
        maps: torch.Tensor = self.pool(self.conv1(frames))
        for name in self.stages:
            maps = self.get_submodule(name)(maps)
        return maps
