"""Networks of one crop of a face: features, and the last map before they are pooled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from nbpkg.errors import SettingsError

EncoderName = Literal["resnet18", "small"]
FEATURES = 256
SMALL_CHANNELS = (16, 32, 64)
SMALL_FEATURES = 64
GRID = 3  # places on a side that the small network tells apart
FLAT = 1e-3  # keeps a crop of one colour finite


class FaceEncoder(nn.Module):
    """A ResNet-18 with two linear layers in place of its classifier.

    Parameters
    ----------
    features
        Width of what is said of a crop.
    between
        Width between both linear layers, as many as ImageNet has classes.

    Attributes
    ----------
    features, map_channels
        Width of the features; channels of the last map.

    Notes
    -----
    Convolutions start as Kaiming normal (fan out), batch norms as the identity. Takes float32 crops ``[N, 3, H, W]``,
    normalised as for ImageNet, 224 × 224 in the published programs.

    Source: He et al., CVPR 2016; Kellnhofer et al., ICCV 2019 (Gaze360).
    """

    def __init__(self, features: int = FEATURES, *, between: int = 1000) -> None:
        super().__init__()
        self.features, self.map_channels = features, 512
        trunk = torchvision.models.resnet18(weights=None)
        self.conv1, self.bn1 = trunk.conv1, trunk.bn1
        self.layer1, self.layer2, self.layer3, self.layer4 = trunk.layer1, trunk.layer2, trunk.layer3, trunk.layer4
        self.fc1 = nn.Linear(self.map_channels, between)
        self.fc2 = nn.Linear(between, features)

    def forward(self, crops: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Encode crops ``[N, 3, H, W]`` as features ``[N, features]`` and maps ``[N, 512, H / 32, W / 32]``."""
        maps = F.max_pool2d(F.relu(self.bn1(self.conv1(crops))), kernel_size=3, stride=2, padding=1)
        maps = self.layer4(self.layer3(self.layer2(self.layer1(maps))))
        return self.fc2(F.relu(self.fc1(maps.mean(dim=(2, 3))))), maps


class SmallFaceEncoder(nn.Module):
    """A few convolutions that learn from a few hundred crops in seconds on a laptop's processor.

    Parameters
    ----------
    channels
        Of the blocks, each of which halves the crop; the last are those of the map.
    features
        Width of what is said of a crop.

    Attributes
    ----------
    features, map_channels
        Width of the features; channels of the last map.

    Notes
    -----
    Every crop is brought to mean 0 and spread 1 in each colour first. The map is pooled to 3 × 3 places, not to one,
    since where the eyes are in a face tells where it turns. Norms are over groups of channels of one crop: a crop has
    the same features in any batch, so that those shared by windows are those of each window by itself. For the sample
    experiment and for tests: it is no published network. Takes crops from 16 × 16 pixels on; 48 × 48 is a good size.
    """

    def __init__(self, channels: Sequence[int] = SMALL_CHANNELS, *, features: int = SMALL_FEATURES) -> None:
        super().__init__()
        self.features, self.map_channels = features, channels[-1]
        pairs = zip((3, *channels[:-1]), channels, strict=True)
        self.blocks = nn.Sequential(*(_block(below, above) for below, above in pairs))
        self.fc = nn.Linear(GRID * GRID * self.map_channels, features)

    def forward(self, crops: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Encode crops ``[N, 3, H, W]`` as features ``[N, features]`` and maps ``[N, map_channels, h, w]``."""
        spread, mean = torch.std_mean(crops, dim=(2, 3), correction=0, keepdim=True)
        maps = self.blocks((crops - mean) / (spread + FLAT))
        pooled = F.adaptive_avg_pool2d(maps, GRID)
        return F.relu(self.fc(pooled.flatten(1))), maps


def make_face_encoder(name: EncoderName) -> FaceEncoder | SmallFaceEncoder:
    """Make a network of faces with random weights, which follow from torch's seed.

    Parameters
    ----------
    name
        ``resnet18`` or ``small``.

    Raises
    ------
    SettingsError
        When there is no such network.
    """
    if name not in get_args(EncoderName):
        raise SettingsError(
            f"There is no network of faces {name!r}.",
            expected=f"One of {', '.join(get_args(EncoderName))}.",
            remedy="Correct the setting.",
        )
    return FaceEncoder() if name == "resnet18" else SmallFaceEncoder()


def hold_statistics(network: nn.Module) -> None:
    """Let batch norms of a network in training use, and keep, the statistics that they have.

    Parameters
    ----------
    network
        Changed in place; ``train()`` undoes it.

    Notes
    -----
    Without this a crop that several windows share counts in a batch's statistics once when its features are shared, and
    several times when each window is encoded by itself: the losses differ.
    """
    for part in network.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d | nn.SyncBatchNorm):
            part.eval()


def _block(below: int, above: int) -> nn.Sequential:
    convolution = nn.Conv2d(below, above, 3, stride=2, padding=1, bias=False)
    groups = next(number for number in (8, 4, 2, 1) if above % number == 0)
    return nn.Sequential(convolution, nn.GroupNorm(groups, above), nn.ReLU())
