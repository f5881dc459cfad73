"""What graph networks over skeletons share: blocks, convolutions along time, multi-scale convolutions along time.

Values between layers are ``[K, C, T, V]``: persons of all clips, channels, frames, joints.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn

from nbpkg.errors import SettingsError


class Step(NamedTuple):
    """One block of a network: channels in and out, and by how much it thins out time."""

    inputs: int
    outputs: int
    stride: int

    @property
    def same(self) -> bool:
        """Whether what comes out has the shape of what goes in."""
        return self.inputs == self.outputs and self.stride == 1


def plan_steps(channels: int, width: int, blocks: Sequence[int]) -> list[Step]:
    """Plan blocks in stages: each further stage doubles the channels and halves the frames in its first block.

    Parameters
    ----------
    channels
        Values per joint.
    width
        Channels of the first stage.
    blocks
        Blocks of each stage, each at least 1.

    Returns
    -------
    list of Step
        In order.

    Raises
    ------
    SettingsError
        When there is no stage, or one of no blocks.

    Examples
    --------
    >>> [tuple(step) for step in plan_steps(3, 8, (1, 2))]
    [(3, 8, 1), (8, 16, 2), (16, 16, 1)]
    """
    if not blocks or min(blocks) < 1:
        raise SettingsError(
            f"A network cannot have stages of {list(blocks)} blocks.",
            expected="At least one stage, each of at least one block.",
            remedy="Correct the setting.",
        )
    steps: list[Step] = []
    for stage, count in enumerate(blocks):
        outputs = width * 2**stage
        for number in range(count):
            steps.append(Step(channels, outputs, 2 if stage and not number else 1))
            channels = outputs
    return steps


class ConvNorm(nn.Module):
    """Convolution along time, then batch norm.

    Parameters
    ----------
    inputs, outputs
        Channels.
    kernel, stride, dilation
        Of the convolution; it is padded so that only the stride shortens time.
    norm
        Whether batch norm follows.
    """

    def __init__(
        self, inputs: int, outputs: int, *, kernel: int = 1, stride: int = 1, dilation: int = 1, norm: bool = True
    ) -> None:
        super().__init__()
        padding = dilation * (kernel - 1) // 2
        self.conv = nn.Conv2d(inputs, outputs, (kernel, 1), (stride, 1), (padding, 0), (dilation, 1))
        self.bn = nn.BatchNorm2d(outputs) if norm else nn.Identity()

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Transform ``[K, C, T, V]``."""
        mixed: torch.Tensor = self.bn(self.conv(values))
        return mixed


def widen(inputs: int, outputs: int, *, stride: int = 1) -> nn.Sequential:
    """Return a 1x1 convolution with batch norm, as keys ``0`` and ``1``."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, (stride, 1)), nn.BatchNorm2d(outputs))


def enter(inputs: int, outputs: int) -> list[nn.Module]:
    """Return the beginning of a branch: 1x1 convolution, batch norm, ReLU."""
    return [nn.Conv2d(inputs, outputs, 1), nn.BatchNorm2d(outputs), nn.ReLU()]


def pool_time(stride: int) -> nn.MaxPool2d:
    """Return the maximum over three frames."""
    return nn.MaxPool2d((3, 1), (stride, 1), (1, 0))


class Block(nn.Module):
    """Joints, then time, then what came in is added, then ReLU.

    Parameters
    ----------
    space, time
        Layers over joints and over frames.
    shortcut
        What is done to what came in before it is added; ``None`` adds nothing.
    names
        Keys of `space` and `time`.
    """

    def __init__(
        self,
        space: nn.Module,
        time: nn.Module,
        shortcut: nn.Module | None,
        *,
        names: tuple[str, str] = ("gcn", "tcn"),
    ) -> None:
        super().__init__()
        self.names = names
        self.add_module(names[0], space)
        self.add_module(names[1], time)
        self.residual = shortcut

    def forward(self, values: torch.Tensor, *graphs: torch.Tensor) -> torch.Tensor:
        """Transform ``[K, C, T, V]``, with the graph where the network keeps it outside its blocks."""
        space, time = (getattr(self, name) for name in self.names)
        mixed = time(space(values, *graphs))
        return torch.relu(mixed if self.residual is None else mixed + self.residual(values))


def add_shortcut(step: Step, *, first: bool) -> nn.Module | None:
    """Return what is added to a block: nothing in the first, else the same, or a 1x1 convolution with batch norm."""
    if first:
        return None
    return nn.Identity() if step.same else ConvNorm(step.inputs, step.outputs, stride=step.stride)


class MultiScaleTime(nn.Module):
    """Branches of equal width along time: dilated convolutions, a maximum, a 1x1 convolution; each ends in batch norm.

    Parameters
    ----------
    inputs, outputs
        Channels; `outputs` divides into the branches.
    kernel, dilations
        Of the convolutions, one branch for each dilation.
    stride
        Thinning of time.
    residual
        Whether what came in is added.
    activation
        Whether ReLU follows.

    Raises
    ------
    SettingsError
        When the branches cannot be equally wide.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        kernel: int,
        dilations: Sequence[int],
        stride: int = 1,
        residual: bool = False,
        activation: bool = True,
    ) -> None:
        super().__init__()
        count = len(dilations) + 2
        if outputs % count:
            raise SettingsError(
                f"{outputs} channels do not divide into {count} branches along time.",
                expected=f"A width that is a multiple of {count}.",
                remedy="Change the width.",
            )
        width = outputs // count
        self.branches = nn.ModuleList(
            nn.Sequential(
                *enter(inputs, width), ConvNorm(width, width, kernel=kernel, stride=stride, dilation=dilation)
            )
            for dilation in dilations
        )
        self.branches.append(nn.Sequential(*enter(inputs, width), pool_time(stride), nn.BatchNorm2d(width)))
        self.branches.append(widen(inputs, width, stride=stride))
        same = Step(inputs, outputs, stride).same
        self.residual: nn.Module | None = None
        if residual:
            self.residual = nn.Identity() if same else ConvNorm(inputs, outputs, stride=stride)
        self.activation = activation

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Transform ``[K, C, T, V]``."""
        mixed = torch.cat([branch(values) for branch in self.branches], dim=1)
        if self.residual is not None:
            mixed = mixed + self.residual(values)
        return torch.relu(mixed) if self.activation else mixed
