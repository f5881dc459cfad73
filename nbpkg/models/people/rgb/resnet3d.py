"""Residual networks over time and space: I3D, SlowOnly, PoseC3D, CSN, and the two pathways of SlowFast."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import nn

from nbpkg.models.people.rgb.blocks import Triple, begin, conv3d, unit

EXPANSION = 4
POOL_KERNEL, POOL_PADDING = (1, 3, 3), (0, 1, 1)


@dataclass(frozen=True)
class Plan:
    """What one residual network over time and space is made of.

    Parameters
    ----------
    inflated
        Of each stage, a pattern over its blocks: whether the first convolution looks at three frames.
    blocks
        Number of blocks of each stage.
    width
        Channels of the first convolution; those of the stages follow from it.
    channels
        Channels of the clips: 3 for colours, one for each joint for heat maps of a skeleton.
    stem_kernel, stem_stride, pool_stride
        Of the first convolution and of the pooling behind it: frames, rows, columns.
    pool_after_first
        Whether time is halved behind the first stage.
    strides, frame_strides
        Of each stage, in space and in time.
    depthwise
        Whether the second convolution looks at each channel alone, and at three frames (CSN).
    lateral
        Channels that come from another pathway, for each of the fast pathway's; 0 where there is none.
    eps
        Of all normalisations.
    begin_as_nothing
        Whether residual branches begin as nothing.
    """

    inflated: tuple[tuple[bool, ...], ...]
    blocks: tuple[int, ...] = (3, 4, 6, 3)
    width: int = 64
    channels: int = 3
    stem_kernel: Triple = (1, 7, 7)
    stem_stride: Triple = (1, 2, 2)
    pool_stride: Triple = (1, 2, 2)
    pool_after_first: bool = False
    strides: tuple[int, ...] = (1, 2, 2, 2)
    frame_strides: tuple[int, ...] = (1, 1, 1, 1)
    depthwise: bool = False
    lateral: tuple[int, ...] = (0, 0, 0, 0)
    eps: float = 1e-5
    begin_as_nothing: bool = True

    @property
    def features(self) -> int:
        """Channels of the last stage."""
        return EXPANSION * (self.width << len(self.blocks) - 1)


class Bottleneck3d(nn.Module):
    """A residual block: into few channels (over three frames if inflated), over places, and back into many.

    Parameters
    ----------
    inputs, planes
        Channels of the maps and of the narrow part; the block gives four times `planes`.
    stride
        In time, rows and columns.
    inflated, plan
        Whether the first convolution looks at three frames; the network's plan.
    first
        Whether the shortcut is a convolution.

    Notes
    -----
    ``relu`` is a module of its own, so that explanations can ask for what the block gives.
    """

    def __init__(self, inputs: int, planes: int, stride: Triple, *, inflated: bool, first: bool, plan: Plan) -> None:
        super().__init__()
        outputs = EXPANSION * planes
        self.conv1 = unit(conv3d(inputs, planes, (3 if inflated else 1, 1, 1)), planes, eps=plan.eps)
        if plan.depthwise:
            alone = unit(conv3d(planes, planes, (3, 3, 3), stride, groups=planes), planes, eps=plan.eps)
            self.conv2 = nn.Sequential(alone)
        else:
            self.conv2 = unit(conv3d(planes, planes, (1, 3, 3), stride), planes, eps=plan.eps)
        self.conv3 = unit(conv3d(planes, outputs, (1, 1, 1)), outputs, relu=False, eps=plan.eps)
        if first:
            self.downsample = unit(conv3d(inputs, outputs, (1, 1, 1), stride), outputs, relu=False, eps=plan.eps)
        self.first = first
        self.relu = nn.ReLU()

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Map ``[B, C, T, H, W]`` to ``[B, 4 * planes, T', H', W']``."""
        shortcut = self.downsample(maps) if self.first else maps
        out: torch.Tensor = self.relu(self.conv3(self.conv2(self.conv1(maps))) + shortcut)
        return out


class ResNet3d(nn.Module):
    """A first convolution, a pooling, and stages of bottlenecks ``layer1``, ``layer2``, ….

    Parameters
    ----------
    plan
        What it is made of.

    Notes
    -----
    Takes clips float32 ``[B, channels, T, H, W]``; gives maps ``[B, features, T', H', W']``.

    Source: Carreira & Zisserman, CVPR 2017 (I3D); Feichtenhofer et al., ICCV 2019 (SlowOnly, SlowFast); Tran et al.,
    ICCV 2019 (CSN); Duan et al., CVPR 2022 (PoseC3D); entries named as in mmaction2 0.24.
    """

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.features = plan.features
        self.conv1 = unit(
            conv3d(plan.channels, plan.width, plan.stem_kernel, plan.stem_stride), plan.width, eps=plan.eps
        )
        self.pool = nn.MaxPool3d(POOL_KERNEL, plan.pool_stride, POOL_PADDING)
        self.pool2 = nn.MaxPool3d((2, 1, 1), (2, 1, 1)) if plan.pool_after_first else nn.Identity()
        self.stages = tuple(f"layer{number}" for number in range(1, len(plan.blocks) + 1))
        for stage, name in enumerate(self.stages):
            self.add_module(name, _build_stage(stage, plan))
        begin(self, branches=[block.conv3 for block in self._blocks()] if plan.begin_as_nothing else ())

    def stem(self, clips: torch.Tensor) -> torch.Tensor:
        """Take clips through the first convolution and the pooling behind it."""
        maps: torch.Tensor = self.pool(self.conv1(clips))
        return maps

    def run_stage(self, stage: int, maps: torch.Tensor) -> torch.Tensor:
        """Take maps through one stage, counted from 0."""
        out: torch.Tensor = self.get_submodule(self.stages[stage])(maps)
        return self.pool2(out) if stage == 0 else out  # type: ignore[no-any-return]

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Map clips ``[B, channels, T, H, W]`` to maps of the last stage."""
        maps = self.stem(clips)
        for stage in range(len(self.stages)):
            maps = self.run_stage(stage, maps)
        return maps

    def _blocks(self) -> list[Bottleneck3d]:
        return [block for block in self.modules() if isinstance(block, Bottleneck3d)]


def _build_stage(stage: int, plan: Plan) -> nn.Sequential:
    planes = plan.width * 2**stage
    inputs = plan.width if stage == 0 else EXPANSION * planes // 2
    stride = (plan.frame_strides[stage], plan.strides[stage], plan.strides[stage])
    pattern = plan.inflated[stage]
    blocks = OrderedDict[str, nn.Module]()
    for number in range(plan.blocks[stage]):
        first = number == 0
        blocks[str(number)] = Bottleneck3d(
            inputs + plan.lateral[stage] if first else EXPANSION * planes,
            planes,
            stride if first else (1, 1, 1),
            inflated=pattern[number % len(pattern)],
            first=first,
            plan=plan,
        )
    return nn.Sequential(blocks)
