"""Backbones of Gaze-LLE: DINOv2, and a small one that learns from scratch."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import nn
from torch.nn import functional as F

from nbpkg.errors import SettingsError, StageError
from nbpkg.models import weights as files

PATCH = 14
PUBLISHED_GRID = 37  # the positions were learnt on pictures of 518 pixels
_TOKEN_SPREAD = 2.0  # of the small backbone's tokens before it learns
OFFSET = 0.1  # what DINOv2 adds to the grid before it divides

DINOV2: Mapping[str, str] = MappingProxyType(
    {
        "vits14": "vit_small_patch14_dinov2",
        "vitb14": "vit_base_patch14_dinov2",
        "vitl14": "vit_large_patch14_dinov2",
    }
)
WIDTHS: Mapping[str, int] = MappingProxyType({"vits14": 384, "vitb14": 768, "vitl14": 1024})


class DinoV2(nn.Module):
    """DINOv2 for pictures of any size that is a multiple of 14 pixels.

    Parameters
    ----------
    name
        ``vits14``, ``vitb14`` or ``vitl14``.

    Attributes
    ----------
    features
        Width of a token: 384, 768 or 1024.
    net
        timm's network, with the published names of all entries (``mask_token``, which nothing uses, is left out).

    Notes
    -----
    The network is timm's; positions are resized as DINOv2 does it, since timm's own way gives other features.

    Source: Oquab et al., 2023, facebookresearch/dinov2.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        if name not in DINOV2:
            raise SettingsError(
                f"There is no DINOv2 {name!r}.", expected=f"One of {', '.join(DINOV2)}.", remedy="Correct the setting."
            )
        import timm  # takes seconds, and nothing else here needs it

        self.features = WIDTHS[name]
        self.net: nn.Module = timm.create_model(DINOV2[name], pretrained=False, num_classes=0)

    def positions(self, height: int, width: int) -> torch.Tensor:
        """Return position codes ``[1, 1 + height × width, features]`` for a grid, the class token's first."""
        return resize_positions(self.net.get_parameter("pos_embed"), height, width)

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """Encode pictures.

        Parameters
        ----------
        images
            [B, 3, H, W], normalised; sides are multiples of 14.

        Returns
        -------
        torch.Tensor
            [B, features, H / 14, W / 14], the normalised patch tokens.

        Raises
        ------
        StageError
            When a side is no multiple of 14.
        """
        height, width = count_patches(images)
        patches: torch.Tensor = self.net.get_submodule("patch_embed.proj")(images)
        start = self.net.get_parameter("cls_token").expand(len(images), -1, -1).to(patches.dtype)
        tokens: torch.Tensor = torch.cat([start, patches.flatten(2).transpose(1, 2)], dim=1)
        tokens = tokens + self.positions(height, width).to(tokens.dtype)
        tokens = self.net.get_submodule("norm")(self.net.get_submodule("blocks")(tokens))
        as_map: torch.Tensor = tokens[:, 1:].transpose(1, 2).reshape(len(images), -1, height, width)
        return as_map

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Encode pictures (see `encode`)."""
        return self.encode(images)


class SmallBackbone(nn.Module):
    """A few convolutions behind the same interface as `DinoV2`.

    Parameters
    ----------
    features
        Channels of the tokens.

    Attributes
    ----------
    features
        As given.

    Notes
    -----
    For the sample experiment and for tests, trained from scratch together with its decoder; no published network. A
    transformer of this size learns the scenes of a small collection by heart before it sees which way a head points.
    """

    def __init__(self, features: int = 64) -> None:
        super().__init__()
        self.features = features
        self.layers = nn.Sequential(_convolve(3, 16, 5, 2), _convolve(16, 32, 3, 2), _convolve(32, features, 3, 2))
        self.last = _convolve(features, features, 3, 1)
        norm = self.last.get_submodule("1")
        # The decoder adds codes of place and head as large as 1, in which smaller tokens would go under at first.
        nn.init.constant_(norm.get_parameter("weight"), _TOKEN_SPREAD)

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """Encode pictures ``[B, 3, H, W]`` as ``[B, features, H / 14, W / 14]``."""
        encoded: torch.Tensor = self.last(F.adaptive_avg_pool2d(self.layers(images), count_patches(images)))
        return encoded

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Encode pictures (see `encode`)."""
        return self.encode(images)


def build_dinov2(name: str, weights: Mapping[str, torch.Tensor] | None = None) -> DinoV2:
    """Build a DINOv2 network.

    Parameters
    ----------
    name
        ``vits14``, ``vitb14`` or ``vitl14``.
    weights
        The published state dict, with or without ``mask_token``; None for random weights. Nothing is downloaded.

    Returns
    -------
    DinoV2
        In evaluation mode.

    Raises
    ------
    SettingsError
        When there is no such network.
    WeightsError
        When the weights do not fit, key by key.
    """
    backbone = DinoV2(name)
    if weights is not None:
        state = {key: item for key, item in weights.items() if key != "mask_token"}
        files.load_strictly(backbone.net, state, what=f"DINOv2 {name}", where="the weights of the backbone")
    return backbone.eval()


def resize_positions(positions: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Resize learnt position codes to another grid as DINOv2 does it.

    Parameters
    ----------
    positions
        [1, 1 + 37 × 37, C]; the class token's first.
    height, width
        Of the grid, in patches.

    Returns
    -------
    torch.Tensor
        [1, 1 + height × width, C]; as given for a grid of 37 × 37.

    Notes
    -----
    Bicubic, without smoothing, with scale factors a tenth of a patch too large: so the published features were made.
    """
    if (height, width) == (PUBLISHED_GRID, PUBLISHED_GRID):
        return positions
    square = positions[:, 1:].transpose(1, 2).unflatten(2, (PUBLISHED_GRID, PUBLISHED_GRID))
    factors = ((height + OFFSET) / PUBLISHED_GRID, (width + OFFSET) / PUBLISHED_GRID)
    resized = F.interpolate(square, scale_factor=factors, mode="bicubic", antialias=False)
    return torch.cat([positions[:, :1], resized.flatten(2).transpose(1, 2)], dim=1)


def count_patches(images: torch.Tensor) -> tuple[int, int]:
    """Return how many patches pictures ``[B, 3, H, W]`` have from top to bottom and from left to right.

    Raises
    ------
    StageError
        When a side is no multiple of 14 pixels.
    """
    height, width = images.shape[-2:]
    if height % PATCH or width % PATCH or not height or not width:
        raise StageError(
            f"Pictures of {width} × {height} pixels cannot be cut into patches of {PATCH} × {PATCH}.",
            expected=f"Sides that are multiples of {PATCH}.",
            remedy="Resize the pictures, e.g. to 448 × 448.",
        )
    return height // PATCH, width // PATCH


def _convolve(channels: int, out: int, kernel: int, stride: int) -> nn.Sequential:
    convolution = nn.Conv2d(channels, out, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out), nn.ReLU())
