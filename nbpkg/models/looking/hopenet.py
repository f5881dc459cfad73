"""Hopenet: yaw, pitch and roll of a face."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from nbpkg.models.published import load_state, read_state

BINS = 66
BIN_DEGREES = 3
LOWEST_DEGREES = -99


class HeadScores(NamedTuple):
    """Scores of bins of 3 degrees, each ``[N, 66]``."""

    yaw: torch.Tensor
    pitch: torch.Tensor
    roll: torch.Tensor


class Hopenet(nn.Module):
    """A ResNet-50 with a classifier of bins for each angle.

    Notes
    -----
    ``fc_finetune`` is in published weights and used by nothing. Takes float32 crops ``[N, 3, H, W]`` of 224 × 224
    pixels, normalised as for ImageNet. It was trained on boxes larger than a face.

    Source: Ruiz et al., CVPR Workshops 2018; natanielruiz/deep-head-pose.
    """

    def __init__(self) -> None:
        super().__init__()
        trunk = torchvision.models.resnet50(weights=None)
        self.conv1, self.bn1 = trunk.conv1, trunk.bn1
        self.layer1, self.layer2, self.layer3, self.layer4 = trunk.layer1, trunk.layer2, trunk.layer3, trunk.layer4
        width = trunk.fc.in_features
        self.fc_yaw = nn.Linear(width, BINS)
        self.fc_pitch = nn.Linear(width, BINS)
        self.fc_roll = nn.Linear(width, BINS)
        self.fc_finetune = nn.Linear(width + 3, 3)

    def forward(self, crops: torch.Tensor) -> HeadScores:
        """Score bins of the three angles of crops ``[N, 3, H, W]``."""
        maps = F.max_pool2d(F.relu(self.bn1(self.conv1(crops))), kernel_size=3, stride=2, padding=1)
        pooled = self.layer4(self.layer3(self.layer2(self.layer1(maps)))).mean(dim=(2, 3))
        return HeadScores(self.fc_yaw(pooled), self.fc_pitch(pooled), self.fc_roll(pooled))


def to_degrees(scores: HeadScores) -> torch.Tensor:
    """Turn scores of bins into angles.

    Parameters
    ----------
    scores
        As `Hopenet` gives them.

    Returns
    -------
    torch.Tensor
        float32 ``[N, 3]``: yaw, pitch, roll in -99..96 degrees, the expected bin × 3 - 99.

    Examples
    --------
    >>> sure = torch.zeros(1, 66).index_fill(1, torch.tensor([33]), 100.0)
    >>> to_degrees(HeadScores(sure, sure, sure)).tolist()
    [[0.0, 0.0, 0.0]]
    """
    number = torch.arange(BINS, dtype=torch.float32, device=scores.yaw.device)
    bins = torch.stack([(one.float().softmax(dim=1) * number).sum(dim=1) for one in scores], dim=1)
    return BIN_DEGREES * bins + LOWEST_DEGREES


def load_hopenet(path: Path) -> Hopenet:
    """Build Hopenet with published weights.

    Parameters
    ----------
    path
        State dict as published, e.g. ``hopenet_robust_alpha1.pkl``, or as ``.safetensors``.

    Returns
    -------
    Hopenet
        On the CPU, in evaluation mode.

    Raises
    ------
    WeightsError
        When the file is missing, damaged or does not fit entry by entry.
    """
    state = read_state(path)
    with torch.random.fork_rng(devices=[]):
        network = Hopenet()
    load_state(network, state, where=str(path))
    return network.eval()
