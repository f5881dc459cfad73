"""R(2+1)D: every convolution as one over places and one over time, with a normalisation between them."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn

from nbpkg.models.people.rgb.blocks import Triple, begin, conv3d, normed

EPS = 1e-3  # of the outer normalisations; the inner ones have torch's 1e-5
ONCE = (1, 1, 1)


class FactorisedConv3d(nn.Module):
    """A convolution over places into as many channels as keep the number of weights, then one over time.

    Parameters
    ----------
    inputs, outputs
        Channels.
    kernel, stride
        Of the whole: frames, rows, columns.

    Notes
    -----
    The number of channels between is published with a 3 for the length in time also where that is 1.
    """

    def __init__(self, inputs: int, outputs: int, kernel: Triple, stride: Triple = ONCE) -> None:
        super().__init__()
        area = kernel[1] * kernel[2]
        middle = 3 * inputs * outputs * area // (inputs * area + 3 * outputs)
        self.conv_s = conv3d(inputs, middle, (1, *kernel[1:]), (1, *stride[1:]))
        self.bn_s = nn.BatchNorm3d(middle)
        self.relu = nn.ReLU(inplace=True)
        self.conv_t = conv3d(middle, outputs, (kernel[0], 1, 1), (stride[0], 1, 1))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Map ``[B, inputs, T, H, W]`` to ``[B, outputs, T', H', W']``."""
        out: torch.Tensor = self.conv_t(self.relu(self.bn_s(self.conv_s(maps))))
        return out


class BasicBlock(nn.Module):
    """A residual block of two factorised convolutions."""

    def __init__(self, inputs: int, planes: int, stride: int) -> None:
        super().__init__()
        steps = (stride, stride, stride)
        self.conv1 = _factorised(inputs, planes, (3, 3, 3), steps)
        self.conv2 = _factorised(planes, planes, (3, 3, 3), relu=False)
        self.narrowed = stride != 1 or inputs != planes
        if self.narrowed:
            self.downsample = _factorised(inputs, planes, (1, 1, 1), steps, relu=False)
        self.relu = nn.ReLU()

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Map ``[B, inputs, T, H, W]`` to ``[B, planes, T', H', W']``."""
        shortcut = self.downsample(maps) if self.narrowed else maps
        out: torch.Tensor = self.relu(self.conv2(self.conv1(maps)) + shortcut)
        return out


class R2Plus1d(nn.Module):
    """The R(2+1)D network with basic blocks.

    Parameters
    ----------
    blocks
        Number of blocks of each stage.
    width
        Channels of the first stage.

    Notes
    -----
    Takes clips float32 ``[B, 3, T, H, W]``; gives maps ``[B, 8 * width, T', H', W']``. Over several GPUs the published
    training normalises all parts of a batch together.

    Source: Tran et al., CVPR 2018; entries named as in mmaction2 0.24.
    """

    def __init__(self, blocks: tuple[int, ...] = (3, 4, 6, 3), width: int = 64) -> None:
        super().__init__()
        self.conv1 = _factorised(3, width, (3, 7, 7), (1, 2, 2))
        self.pool = nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))
        inputs = width
        for stage, count in enumerate(blocks):
            planes, parts = width * 2**stage, OrderedDict[str, nn.Module]()
            for number in range(count):
                start, stride = (inputs, 2 if stage else 1) if number == 0 else (planes, 1)
                parts[str(number)] = BasicBlock(start, planes, stride)
            self.add_module(f"layer{stage + 1}", nn.Sequential(parts))
            inputs = planes
        self.stages = tuple(f"layer{number}" for number in range(1, len(blocks) + 1))
        self.features = inputs
        begin(self)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Map clips to maps of the last stage."""
        maps: torch.Tensor = self.pool(self.conv1(clips))
        for name in self.stages:
            maps = self.get_submodule(name)(maps)
        return maps


def _factorised(
    inputs: int, outputs: int, kernel: Triple, stride: Triple = ONCE, *, relu: bool = True
) -> nn.Sequential:
    conv = FactorisedConv3d(inputs, outputs, kernel, stride)
    return normed(conv, nn.BatchNorm3d(outputs, eps=EPS), relu=relu)
