"""2s-AGCN, one stream: a graph of which a part depends on the clip."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from numpy.typing import NDArray
from torch import nn

from nbpkg.models.people.skeleton.parts import Block, Step, plan_steps, widen
from nbpkg.models.people.skeleton.stgcn import TIME_KERNEL


class Agcn(nn.Module):
    """2s-AGCN, one stream (joints or bones, whichever comes in).

    Parameters
    ----------
    adjacency
        ``(K, V, V)``.
    channels
        Values per joint.
    width, blocks
        Channels of the first stage, at least 4; blocks of each.

    Source
    ------
    Shi et al. 2019; mmaction2 0.24.1 ``AGCN``, which has no COCO graph (ours has).
    """

    per_place = False

    def __init__(self, adjacency: NDArray, *, channels: int, width: int, blocks: Sequence[int]) -> None:
        super().__init__()
        self.register_buffer("A", torch.from_numpy(adjacency))
        self.A: torch.Tensor
        self.data_bn = nn.BatchNorm1d(adjacency.shape[-1] * channels)
        steps = plan_steps(channels, width, blocks)
        self.out_channels = steps[-1].outputs
        self.agcn_networks = nn.ModuleList(
            _build_block(step, adjacency.shape, first=not at) for at, step in enumerate(steps)
        )

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return features ``[K, D, T', V]`` of ``[K, C, T, V]``."""
        for block in self.agcn_networks:
            values = block(values, self.A)
        return values


def _build_block(step: Step, shape: tuple[int, ...], *, first: bool) -> Block:
    time = nn.Sequential(
        nn.Conv2d(step.outputs, step.outputs, (TIME_KERNEL, 1), (step.stride, 1), (TIME_KERNEL // 2, 0)),
        nn.BatchNorm2d(step.outputs),
    )
    shortcut: nn.Module | None = None
    if not first:
        shortcut = nn.Identity() if step.same else widen(step.inputs, step.outputs, stride=step.stride)
    return Block(AdaptiveGraph(step, shape), time, shortcut)


class AdaptiveGraph(nn.Module):
    """Joints mixed by the skeleton, a learnt graph, and one of how alike the joints of this clip are.

    Parameters
    ----------
    step
        Channels.
    shape
        ``(K, V, V)`` of the graph that will come.
    """

    def __init__(self, step: Step, shape: tuple[int, ...]) -> None:
        super().__init__()
        inner = max(1, step.outputs // 4)
        self.PA = nn.Parameter(torch.full(shape, 1e-6))
        self.conv_a, self.conv_b, self.conv_d = (
            nn.ModuleList(nn.Conv2d(step.inputs, width, 1) for _ in range(shape[0]))
            for width in (inner, inner, step.outputs)
        )
        self.down = nn.Identity() if step.inputs == step.outputs else widen(step.inputs, step.outputs)
        self.bn = nn.BatchNorm2d(step.outputs)

    def forward(self, values: torch.Tensor, graph: torch.Tensor) -> torch.Tensor:
        """Transform ``[K, C, T, V]`` by the skeleton's ``[M, V, V]``."""
        summed = torch.zeros((), device=values.device)
        for at, fixed in enumerate(graph + self.PA):
            left, right = self.conv_a[at](values).flatten(1, 2), self.conv_b[at](values).flatten(1, 2)
            alike = (left.transpose(1, 2) @ right / left.shape[1]).softmax(dim=1)
            summed = summed + self.conv_d[at](torch.einsum("nctu,nuv->nctv", values, alike + fixed))
        return torch.relu(self.bn(summed) + self.down(values))
