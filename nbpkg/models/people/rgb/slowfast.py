"""SlowFast: a pathway that sees few frames in detail, and one that sees all of them with few channels."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace

import torch
from torch import nn

from nbpkg.models.people.rgb.blocks import begin
from nbpkg.models.people.rgb.resnet3d import EXPANSION, Plan, ResNet3d

SPEED = 8  # the fast pathway sees eight frames for each of the slow one's
NARROW = 8  # and has an eighth of its channels


class SlowFast(nn.Module):
    """Two residual networks, of which the slow one is told by the fast one after each stage but the last.

    Parameters
    ----------
    slow, fast
        Plans of both pathways; the channels of the second enter the stages of the first.

    Notes
    -----
    Takes clips float32 ``[B, 3, T, H, W]`` with T a multiple of 8; gives maps of the fast pathway ``[B, 256, T, …]``
    and of the slow one ``[B, 2048, T / 8, …]``, in the order in which the classifier joins them.

    Source: Feichtenhofer et al., ICCV 2019; entries named as in mmaction2 0.24.
    """

    def __init__(self, slow: Plan, fast: Plan) -> None:
        super().__init__()
        told = [fast.width, *(EXPANSION * fast.width * 2**stage for stage in range(len(slow.blocks) - 1))]
        self.slow_path = ResNet3d(replace(slow, lateral=tuple(2 * channels for channels in told)))
        self.fast_path = ResNet3d(fast)
        self.features = self.fast_path.features + self.slow_path.features
        self.laterals = ("conv1_lateral", *(f"{name}_lateral" for name in self.slow_path.stages[:-1]))
        for name, channels in zip(self.laterals, told, strict=True):
            conv = nn.Conv3d(channels, 2 * channels, (5, 1, 1), (SPEED, 1, 1), (2, 0, 0), bias=False)
            lateral = nn.Sequential(OrderedDict(conv=conv))
            begin(lateral)
            self.slow_path.add_module(name, lateral)

    def forward(self, clips: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map clips to the maps of the fast and of the slow pathway."""
        slow, fast = self.slow_path.stem(clips[:, :, ::SPEED]), self.fast_path.stem(clips)
        for stage, name in enumerate(self.laterals):
            told = self.slow_path.get_submodule(name)(fast)
            slow = self.slow_path.run_stage(stage, torch.cat([slow, told], dim=1))
            fast = self.fast_path.run_stage(stage, fast)
        return fast, slow
