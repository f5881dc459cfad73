"""MS-G3D: joints mixed over many hops of the skeleton, and over several frames at once."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from nbpkg.models.people.skeleton.graphs import normalise_columns
from nbpkg.models.people.skeleton.parts import MultiScaleTime

HOPS, WINDOW_HOPS, WINDOWS = 13, 6, (3, 5)


def stack_hops(graph: NDArray, count: int) -> NDArray[np.float32]:
    """Return, for each number of steps from 0, which joints are exactly so far apart, each joint itself added.

    Parameters
    ----------
    graph
        ``(V, V)``, 1 where joints are neighbours.
    count
        How many matrices.

    Returns
    -------
    numpy.ndarray
        float32 ``(count, V, V)``, columns sum to 1.
    """
    itself = np.eye(len(graph))
    linked = (graph + itself > 0).astype(np.float64)
    within, stack = itself, [itself]
    for _ in range(1, count):
        farther = (within @ linked > 0).astype(np.float64)
        stack.append(farther - within + itself)
        within = farther
    return normalise_columns(np.stack(stack).astype(np.float32))


class MsG3d(nn.Module):
    """MS-G3D.

    Parameters
    ----------
    adjacency
        ``(1, V, V)``, 1 where joints are neighbours.
    channels
        Values per joint.
    width
        Channels of the first of three stages, a multiple of 6.
    persons
        Places of persons; the data norm of each is its own.

    Source
    ------
    Liu et al. 2020 as in PYSKL ``MSG3D``.
    """

    per_place = True

    def __init__(self, adjacency: NDArray, *, channels: int, width: int, persons: int) -> None:
        super().__init__()
        graph = adjacency[0]
        self.register_buffer("A", torch.from_numpy(graph))
        self.data_bn = nn.BatchNorm1d(persons * len(graph) * channels)
        # a stage's joints are mixed at the width of the stage before, and only then widened
        plan = [(channels, width, width), (width, width, 2 * width), (2 * width, 2 * width, 4 * width)]
        for stage, (inputs, inner, outputs) in enumerate(plan, start=1):
            stride = 1 if stage == 1 else 2
            self.add_module(f"gcn3d{stage}", _Windows(graph, inputs, inner, outputs, stride=stride))
            self.add_module(f"sgcn{stage}", _build_factorised(graph, inputs, inner, outputs, stride=stride))
            self.add_module(f"tcn{stage}", _build_time(outputs, outputs))
        self.out_channels = 4 * width

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return features ``[K, D, T', V]`` of ``[K, C, T, V]``."""
        for stage in (1, 2, 3):
            windows, factorised, time = (getattr(self, f"{name}{stage}") for name in ("gcn3d", "sgcn", "tcn"))
            values = time(torch.relu(factorised(values) + windows(values)))
        return values


def _build_time(inputs: int, outputs: int, *, stride: int = 1, activation: bool = True) -> MultiScaleTime:
    return MultiScaleTime(
        inputs, outputs, kernel=3, dilations=(1, 2, 3, 4), stride=stride, residual=True, activation=activation
    )


def _build_factorised(graph: NDArray, inputs: int, inner: int, outputs: int, *, stride: int) -> nn.Sequential:
    return nn.Sequential(
        HopGraph(graph, inputs, inner, hops=HOPS),
        _build_time(inner, outputs, stride=stride),
        _build_time(outputs, outputs, activation=False),
    )


class HopGraph(nn.Module):
    """Joints mixed over each number of hops, then a 1x1 convolution over all of them, batch norm, ReLU.

    Parameters
    ----------
    graph
        ``(V, V)``, 1 where joints are neighbours.
    inputs, outputs
        Channels.
    hops
        How many numbers of hops, from 0.
    """

    def __init__(self, graph: NDArray, inputs: int, outputs: int, *, hops: int) -> None:
        super().__init__()
        stack = torch.from_numpy(stack_hops(graph, hops))
        self.PA = nn.Parameter(torch.empty_like(stack).uniform_(-1e-6, 1e-6))
        self.register_buffer("A", stack)
        self.A: torch.Tensor
        layers = nn.Sequential(nn.Conv2d(inputs * hops, outputs, 1), nn.BatchNorm2d(outputs), nn.ReLU())
        self.mlp = nn.ModuleDict({"layers": layers})

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Transform ``[K, C, T, V]``."""
        spread = torch.einsum("hvu,nctv->nhctu", self.A + self.PA, values)
        mixed: torch.Tensor = self.mlp["layers"](spread.flatten(1, 2))
        return mixed


class _Windows(nn.Module):
    """Sum of the graphs over windows of frames."""

    def __init__(self, graph: NDArray, inputs: int, inner: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        self.gcn3d = nn.ModuleList(
            Window(graph, inputs, inner, outputs, frames=frames, stride=stride) for frames in WINDOWS
        )

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Transform ``[K, C, T, V]``."""
        return torch.stack([window(values) for window in self.gcn3d]).sum(dim=0)


class Window(nn.Module):
    """Joints of several frames in one graph: each is a neighbour of its neighbours in all of these frames.

    Parameters
    ----------
    graph
        ``(V, V)``, 1 where joints are neighbours.
    inputs, inner, outputs
        Channels that come in, in the graph, and that go out.
    frames
        Frames of the window.
    stride
        Frames from one window to the next.
    """

    def __init__(self, graph: NDArray, inputs: int, inner: int, outputs: int, *, frames: int, stride: int) -> None:
        super().__init__()
        self.frames, self.stride = frames, stride
        across = np.tile(graph + np.eye(len(graph), dtype=graph.dtype), (frames, frames))
        self.gcn3d = nn.ModuleDict({"1": HopGraph(across, inputs, inner, hops=WINDOW_HOPS)})
        self.out_conv = nn.Conv3d(inner, outputs, (1, frames, 1))
        self.out_bn = nn.BatchNorm2d(outputs)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Transform ``[K, C, T, V]``."""
        joints = values.shape[-1]
        padded = F.pad(values, (0, 0, self.frames // 2, self.frames // 2))
        windows = padded.unfold(2, self.frames, self.stride).transpose(-1, -2)  # [K, C, T', frames, V]
        mixed = self.gcn3d["1"](windows.flatten(3)).unflatten(3, (self.frames, joints))
        normed: torch.Tensor = self.out_bn(self.out_conv(mixed).squeeze(3))
        return normed
