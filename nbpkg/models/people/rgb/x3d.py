"""X3D-M: a narrow network of depth-wise convolutions, widened along several axes at once."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn

from nbpkg.models.people.rgb.blocks import Maps, begin, conv3d, linear, pool_maps, unit

BLOCKS = (3, 5, 11, 7)
INNER = 2.25  # channels inside a block for each outside
HIDDEN = 2048


class SqueezeExcite(nn.Module):
    """Weigh channels by what all places and times have of them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow = narrow_channels(channels)
        self.fc1 = nn.Conv3d(channels, narrow, 1)
        self.fc2 = nn.Conv3d(narrow, channels, 1)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Weigh maps ``[B, C, T, H, W]``."""
        weights = self.fc2(torch.relu(self.fc1(maps.mean(dim=(2, 3, 4), keepdim=True))))
        weighed: torch.Tensor = maps * weights.sigmoid()
        return weighed


def narrow_channels(channels: int) -> int:
    """Return a sixteenth of the channels as a multiple of 8, at least 8 and not under 90 % of it.

    Examples
    --------
    >>> [narrow_channels(channels) for channels in (54, 108, 216, 432)]
    [8, 8, 16, 32]
    """
    wanted = channels / 16
    found = max(8, 8 * int((wanted + 4) // 8))
    return found + 8 if found < 0.9 * wanted else found


class X3dBlock(nn.Module):
    """A residual block: wide, depth-wise over three frames, weighed, and narrow again."""

    def __init__(self, inputs: int, outputs: int, stride: int, *, weighed: bool, first: bool) -> None:
        super().__init__()
        inner, steps = int(INNER * outputs), (1, stride, stride)
        self.conv1 = unit(conv3d(inputs, inner, (1, 1, 1)), inner)
        self.conv2 = unit(conv3d(inner, inner, (3, 3, 3), steps, groups=inner), inner, relu=False)
        self.weighed, self.first = weighed, first
        if weighed:
            self.se_module = SqueezeExcite(inner)
        self.swish = nn.SiLU()
        self.conv3 = unit(conv3d(inner, outputs, (1, 1, 1)), outputs, relu=False)
        if first:
            self.downsample = unit(conv3d(inputs, outputs, (1, 1, 1), steps), outputs, relu=False)
        self.relu = nn.ReLU()

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Map ``[B, inputs, T, H, W]`` to ``[B, outputs, T, H', W']``."""
        inner = self.conv2(self.conv1(maps))
        inner = self.swish(self.se_module(inner) if self.weighed else inner)
        out: torch.Tensor = self.relu(self.conv3(inner) + (self.downsample(maps) if self.first else maps))
        return out


class X3d(nn.Module):
    """The X3D network.

    Parameters
    ----------
    blocks
        Number of blocks of each stage.
    width
        Channels of the first stage.

    Notes
    -----
    Takes clips float32 ``[B, 3, T, H, W]``; gives maps ``[B, features, T, H / 32, W / 32]``.

    Source: Feichtenhofer, CVPR 2020; entries named as in mmaction2 0.24.
    """

    def __init__(self, blocks: tuple[int, ...] = BLOCKS, width: int = 24) -> None:
        super().__init__()
        self.conv1_s = nn.Sequential(OrderedDict(conv=conv3d(3, width, (1, 3, 3), (1, 2, 2))))
        self.conv1_t = unit(conv3d(width, width, (5, 1, 1), groups=width), width)
        inputs = width
        for stage, count in enumerate(blocks):
            outputs = width * 2**stage
            parts = OrderedDict[str, nn.Module]()
            for number in range(count):
                start, stride = (inputs, 2) if number == 0 else (outputs, 1)
                parts[str(number)] = X3dBlock(start, outputs, stride, weighed=number % 2 == 0, first=number == 0)
            self.add_module(f"layer{stage + 1}", nn.Sequential(parts))
            inputs = outputs
        self.stages = tuple(f"layer{number}" for number in range(1, len(blocks) + 1))
        self.features = int(INNER * inputs)
        self.conv5 = unit(conv3d(inputs, self.features, (1, 1, 1)), self.features)
        begin(self, branches=[block.conv3 for block in self.modules() if isinstance(block, X3dBlock)])

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Map clips to maps of the last convolution."""
        maps: torch.Tensor = self.conv1_t(self.conv1_s(clips))
        for name in self.stages:
            maps = self.get_submodule(name)(maps)
        last: torch.Tensor = self.conv5(maps)
        return last


class X3dHead(nn.Module):
    """Classifier with a wide layer between."""

    last = ("cls_head.fc2.*",)

    def __init__(self, features: int, classes: int, *, dropout: float) -> None:
        super().__init__()
        self.fc1 = nn.Linear(features, HIDDEN, bias=False)
        nn.init.normal_(self.fc1.weight, std=0.01)
        self.dropout = nn.Dropout(dropout)
        self.fc2 = linear(HIDDEN, classes, std=0.01)

    def pool(self, maps: Maps) -> torch.Tensor:
        """Average maps over places and times."""
        return pool_maps(maps)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Score features ``[B, D]`` as ``[B, classes]``."""
        scores: torch.Tensor = self.fc2(self.dropout(torch.relu(self.fc1(features))))
        return scores
