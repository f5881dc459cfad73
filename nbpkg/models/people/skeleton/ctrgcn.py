"""CTR-GCN: a graph of its own for each channel, refined by how joints differ in this clip."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from numpy.typing import NDArray
from torch import nn

from nbpkg.models.people.skeleton.parts import Block, MultiScaleTime, Step, add_shortcut, plan_steps, widen


class CtrGcn(nn.Module):
    """CTR-GCN.

    Parameters
    ----------
    adjacency
        ``(K, V, V)``, where the learnt graphs begin.
    channels
        Values per joint.
    width, blocks
        Channels of the first stage, a multiple of 4; blocks of each.
    persons
        Places of persons; the data norm of each is its own.

    Source
    ------
    Chen et al. 2021 as in PYSKL ``CTRGCN``.
    """

    per_place = True

    def __init__(self, adjacency: NDArray, *, channels: int, width: int, blocks: Sequence[int], persons: int) -> None:
        super().__init__()
        self.register_buffer("A", torch.from_numpy(adjacency))  # as published; the blocks have learnt copies
        self.data_bn = nn.BatchNorm1d(persons * adjacency.shape[-1] * channels)
        steps = plan_steps(channels, width, blocks)
        self.out_channels = steps[-1].outputs
        self.net = nn.ModuleList(
            Block(
                RefinedGraph(step, adjacency),
                MultiScaleTime(step.outputs, step.outputs, kernel=5, dilations=(1, 2), stride=step.stride),
                add_shortcut(step, first=not at),
                names=("gcn1", "tcn1"),
            )
            for at, step in enumerate(steps)
        )

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return features ``[K, D, T', V]`` of ``[K, C, T, V]``."""
        for block in self.net:
            values = block(values)
        return values


class RefinedGraph(nn.Module):
    """Joints mixed by learnt graphs, to which each channel adds what the joints' differences tell.

    Parameters
    ----------
    step
        Channels.
    adjacency
        ``(K, V, V)``, where the learnt graphs begin.
    """

    def __init__(self, step: Step, adjacency: NDArray) -> None:
        super().__init__()
        self.A = nn.Parameter(torch.from_numpy(adjacency.copy()))
        self.alpha = nn.Parameter(torch.zeros(1))
        self.convs = nn.ModuleList(Refinement(step.inputs, step.outputs) for _ in adjacency)
        self.down = nn.Identity() if step.inputs == step.outputs else widen(step.inputs, step.outputs)
        self.bn = nn.BatchNorm2d(step.outputs)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Transform ``[K, C, T, V]``."""
        mixed = torch.stack([conv(values, self.A[at], self.alpha) for at, conv in enumerate(self.convs)])
        return torch.relu(self.bn(mixed.sum(dim=0)) + self.down(values))


class Refinement(nn.Module):
    """One of the graphs of `RefinedGraph`.

    Parameters
    ----------
    inputs, outputs
        Channels.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        narrow = 8 if inputs <= 16 else inputs // 8
        self.conv1, self.conv2 = nn.Conv2d(inputs, narrow, 1), nn.Conv2d(inputs, narrow, 1)
        self.conv3, self.conv4 = nn.Conv2d(inputs, outputs, 1), nn.Conv2d(narrow, outputs, 1)

    def forward(self, values: torch.Tensor, graph: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
        """Mix ``[K, C, T, V]`` over joints by ``[V, V]`` and `alpha` times what is refined."""
        left, right = self.conv1(values).mean(dim=2), self.conv2(values).mean(dim=2)
        refined = self.conv4(torch.tanh(left[..., None] - right[..., None, :])) * alpha + graph
        return torch.einsum("ncuv,nctu->nctv", refined, self.conv3(values))
