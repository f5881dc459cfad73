"""ST-GCN in its two published forms, and ST-GCN++."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from numpy.typing import NDArray
from torch import nn

from nbpkg.errors import SettingsError
from nbpkg.models.people.skeleton.parts import (
    Block,
    ConvNorm,
    Step,
    add_shortcut,
    enter,
    plan_steps,
    pool_time,
    widen,
)

TIME_KERNEL = 9


class FirstStGcn(nn.Module):
    """ST-GCN as in mmaction2: one graph for all blocks, and how important its edges are to each.

    Parameters
    ----------
    adjacency
        ``(K, V, V)``.
    channels
        Values per joint.
    width, blocks
        Channels of the first stage, blocks of each.

    Source
    ------
    Yan, Xiong and Lin 2018; mmaction2 0.24.1 ``STGCN``.
    """

    per_place = False

    def __init__(self, adjacency: NDArray, *, channels: int, width: int, blocks: Sequence[int]) -> None:
        super().__init__()
        self.register_buffer("A", torch.from_numpy(adjacency))
        self.A: torch.Tensor
        self.data_bn = nn.BatchNorm1d(adjacency.shape[-1] * channels)
        steps = plan_steps(channels, width, blocks)
        self.out_channels = steps[-1].outputs
        self.st_gcn_networks = nn.ModuleList(
            _build_first_block(step, len(adjacency), first=not at) for at, step in enumerate(steps)
        )
        self.edge_importance = nn.ParameterList(torch.ones(adjacency.shape) for _ in steps)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return features ``[K, D, T', V]`` of ``[K, C, T, V]``."""
        for block, importance in zip(self.st_gcn_networks, self.edge_importance, strict=True):
            values = block(values, self.A * importance)
        return values


def _build_first_block(step: Step, matrices: int, *, first: bool) -> Block:
    time = nn.Sequential(
        nn.BatchNorm2d(step.outputs),
        nn.ReLU(),
        nn.Conv2d(step.outputs, step.outputs, (TIME_KERNEL, 1), (step.stride, 1), (TIME_KERNEL // 2, 0)),
        nn.BatchNorm2d(step.outputs),
    )
    shortcut: nn.Module | None = None
    if not first:
        shortcut = nn.Identity() if step.same else widen(step.inputs, step.outputs, stride=step.stride)
    return Block(GivenGraph(step.inputs, step.outputs, matrices=matrices), time, shortcut)


class GivenGraph(nn.Module):
    """1x1 convolution to as many parts as there are matrices, each mixed over joints by its own, then summed.

    Parameters
    ----------
    inputs, outputs
        Channels.
    matrices
        How many adjacency matrices will come.
    """

    def __init__(self, inputs: int, outputs: int, *, matrices: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs * matrices, 1)

    def forward(self, values: torch.Tensor, graph: torch.Tensor) -> torch.Tensor:
        """Mix ``[K, C, T, V]`` over joints by ``[M, V, V]``."""
        return mix_joints(self.conv(values), graph)


def mix_joints(values: torch.Tensor, graph: torch.Tensor) -> torch.Tensor:
    """Mix the parts of ``[K, M * C, T, V]`` over joints, each by one of ``[M, V, V]``, and sum them up."""
    return torch.einsum("nkctv,kvw->nctw", values.unflatten(1, (len(graph), -1)), graph)


class _Tree(nn.Module):
    """What the networks of PYSKL share: data norm, then blocks one after the other."""

    per_place = False

    def __init__(self, joints: int, *, channels: int, blocks: Sequence[Block], out_channels: int) -> None:
        super().__init__()
        self.data_bn = nn.BatchNorm1d(joints * channels)
        self.gcn = nn.ModuleList(blocks)
        self.out_channels = out_channels

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return features ``[K, D, T', V]`` of ``[K, C, T, V]``."""
        for block in self.gcn:
            values = block(values)
        return values


class StGcn(_Tree):
    """ST-GCN as in PYSKL: each block weighs the edges of its own copy of the graph.

    Parameters
    ----------
    adjacency, channels, width, blocks
        As for `FirstStGcn`.

    Source
    ------
    Duan et al. 2022, PYSKL ``STGCN`` with ``gcn_adaptive='importance'``.
    """

    def __init__(self, adjacency: NDArray, *, channels: int, width: int, blocks: Sequence[int]) -> None:
        steps = plan_steps(channels, width, blocks)
        built = [
            Block(
                WeighedGraph(step, adjacency),
                ConvNorm(step.outputs, step.outputs, kernel=TIME_KERNEL, stride=step.stride),
                add_shortcut(step, first=not at),
            )
            for at, step in enumerate(steps)
        ]
        super().__init__(adjacency.shape[-1], channels=channels, blocks=built, out_channels=steps[-1].outputs)


class WeighedGraph(nn.Module):
    """Convolution over a graph whose edges are weighed, batch norm, ReLU.

    Parameters
    ----------
    step
        Channels.
    adjacency
        ``(K, V, V)``.
    """

    def __init__(self, step: Step, adjacency: NDArray) -> None:
        super().__init__()
        self.register_buffer("A", torch.from_numpy(adjacency.copy()))
        self.A: torch.Tensor
        self.PA = nn.Parameter(torch.ones(adjacency.shape))
        self.bn = nn.BatchNorm2d(step.outputs)
        self.conv = nn.Conv2d(step.inputs, step.outputs * len(adjacency), 1)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Transform ``[K, C, T, V]``."""
        return torch.relu(self.bn(mix_joints(self.conv(values), self.A * self.PA)))


class StGcnPlusPlus(_Tree):
    """ST-GCN++: a learnt graph that begins as the skeleton, and several scales of time.

    Parameters
    ----------
    adjacency, channels, width, blocks
        As for `FirstStGcn`; `width` at least 6.

    Source
    ------
    Duan et al. 2022, PYSKL ``STGCN`` with ``gcn_adaptive='init'``, ``gcn_with_res``, ``tcn_type='mstcn'``.
    """

    def __init__(self, adjacency: NDArray, *, channels: int, width: int, blocks: Sequence[int]) -> None:
        steps = plan_steps(channels, width, blocks)
        built = [
            Block(
                LearntGraph(step, adjacency),
                SixBranches(step.outputs, stride=step.stride),
                add_shortcut(step, first=not at),
            )
            for at, step in enumerate(steps)
        ]
        super().__init__(adjacency.shape[-1], channels=channels, blocks=built, out_channels=steps[-1].outputs)


class LearntGraph(nn.Module):
    """Convolution over a learnt graph, batch norm, what came in, ReLU.

    Parameters
    ----------
    step
        Channels.
    adjacency
        ``(K, V, V)``, where the graph begins.
    """

    def __init__(self, step: Step, adjacency: NDArray) -> None:
        super().__init__()
        self.A = nn.Parameter(torch.from_numpy(adjacency.copy()))
        self.bn = nn.BatchNorm2d(step.outputs)
        self.conv = nn.Conv2d(step.inputs, step.outputs * len(adjacency), 1)
        self.down = nn.Identity() if step.inputs == step.outputs else widen(step.inputs, step.outputs)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Transform ``[K, C, T, V]``."""
        return torch.relu(self.bn(mix_joints(self.conv(values), self.A)) + self.down(values))


class SixBranches(nn.Module):
    """Four dilated convolutions, a maximum and a 1x1 convolution along time, joined and mixed.

    Parameters
    ----------
    channels
        In and out, at least 6; the first branch takes what does not divide.
    stride
        Thinning of time.

    Raises
    ------
    SettingsError
        When there are fewer channels than branches.
    """

    def __init__(self, channels: int, *, stride: int) -> None:
        super().__init__()
        if channels < 6:
            raise SettingsError(
                f"{channels} channels are fewer than the 6 branches along time.",
                expected="A width of at least 6.",
                remedy="Change the width.",
            )
        width = channels // 6
        widths = [channels - 5 * width, width, width, width]
        self.branches = nn.ModuleList(
            nn.Sequential(
                *enter(channels, own), ConvNorm(own, own, kernel=3, stride=stride, dilation=at + 1, norm=False)
            )
            for at, own in enumerate(widths)
        )
        self.branches.append(nn.Sequential(*enter(channels, width), pool_time(stride)))
        self.branches.append(nn.Conv2d(channels, width, 1, (stride, 1)))
        self.transform = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, channels, 1))
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Transform ``[K, C, T, V]``."""
        joined = torch.cat([branch(values) for branch in self.branches], dim=1)
        mixed: torch.Tensor = self.bn(self.transform(joined))
        return mixed
