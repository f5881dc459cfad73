"""What all classifiers of clips have in common: features, scores, and norms that training may hold."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from nbpkg.errors import SettingsError
from nbpkg.models.people.rgb.blocks import Maps, linear, pool_maps

Norms = Literal["trained", "frozen", "first_trained"]


class LinearHead(nn.Module):
    """Mean over places and times, dropout, one linear layer."""

    last: tuple[str, ...] = ("cls_head.fc_cls.*",)

    def __init__(self, features: int, classes: int, *, dropout: float, std: float = 0.01) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.fc_cls = linear(features, classes, std=std)

    def pool(self, maps: Maps) -> torch.Tensor:
        """Average maps over places and times."""
        return pool_maps(maps)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Score features ``[B, D]`` as ``[B, classes]``."""
        scores: torch.Tensor = self.fc_cls(self.dropout(features))
        return scores


class MeanOfFramesHead(nn.Module):
    """Classifier of TSN and TSM: the mean over frames is taken before (`first`) or after dropout and linear layer."""

    last: tuple[str, ...] = ("cls_head.fc_cls.*",)

    def __init__(self, features: int, classes: int, *, dropout: float, std: float, first: bool) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.fc_cls = linear(features, classes, std=std)
        self.first = first

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Score features of frames ``[B, segments, D]`` as ``[B, classes]``."""
        if self.first:
            features = features.mean(dim=1, keepdim=True)
        return self.fc_cls(self.dropout(features)).mean(dim=1)  # type: ignore[no-any-return]


class ClipNetwork(nn.Module):
    """A classifier of whole clips.

    Parameters
    ----------
    backbone
        Clips to maps or features.
    cls_head
        With ``pool`` from maps to features and ``forward`` from features to scores.
    norms
        What training does with batch normalisation: ``trained``, ``frozen`` (neither statistics nor weights change) or
        ``first_trained`` (only the first one's statistics change).
    channels
        Channels of the clips.
    least_frames, multiple
        The shortest clip, and what the number of frames has to be a multiple of.

    Notes
    -----
    Takes clips float32 ``[B, channels, T, H, W]``, normalised; gives raw scores ``[B, classes]``. Entries of its state
    dict are named as in mmaction2 0.24 (``backbone.*``, ``cls_head.*``).
    """

    def __init__(
        self,
        backbone: nn.Module,
        cls_head: nn.Module,
        *,
        norms: Norms = "trained",
        channels: int = 3,
        least_frames: int = 1,
        multiple: int = 1,
    ) -> None:
        super().__init__()
        self.backbone, self.cls_head = backbone, cls_head
        self.norms, self.channels, self.least_frames, self.multiple = norms, channels, least_frames, multiple
        freeze_norms(self, norms)

    def features(self, clips: torch.Tensor) -> torch.Tensor:
        """Return the pooled features of clips, ``[B, D]``.

        Raises
        ------
        SettingsError
            When clips have another shape than the network takes.
        """
        shape = tuple(clips.shape)
        if len(shape) != 5 or shape[1] != self.channels:
            refuse_shape(shape, f"Clips [B, {self.channels}, T, H, W]")
        if shape[2] < self.least_frames or shape[2] % self.multiple:
            wanted = f"at least {max(self.least_frames, self.multiple)}"
            refuse_shape(shape, f"Clips of {wanted} frames, a multiple of {self.multiple}")
        return self.cls_head.pool(self.backbone(clips))  # type: ignore[operator, no-any-return]

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Score clips ``[B, channels, T, H, W]`` as ``[B, classes]``."""
        scores: torch.Tensor = self.cls_head(self.features(clips))
        return scores

    def train(self, mode: bool = True) -> ClipNetwork:
        """Set training or evaluation mode; norms that are held stay as they are."""
        super().train(mode)
        hold_norms(self, self.norms)
        return self


class SegmentNetwork(nn.Module):
    """A classifier of clips that sees some of their frames, each by itself.

    Parameters
    ----------
    backbone
        Frames to maps or features.
    cls_head
        Features of a clip's frames to scores.
    segments
        Frames of a clip; 0 if any number will do.
    norms
        As for `ClipNetwork`.

    Notes
    -----
    Takes clips float32 ``[B, S, 3, H, W]``, normalised; gives raw scores ``[B, classes]``. Where S is n times
    `segments`, these are n views of a clip one after another, and there are n rows of scores for each.
    """

    def __init__(self, backbone: nn.Module, cls_head: nn.Module, *, segments: int, norms: Norms = "trained") -> None:
        super().__init__()
        self.backbone, self.cls_head, self.segments, self.norms = backbone, cls_head, segments, norms
        freeze_norms(self, norms)

    def frame_features(self, clips: torch.Tensor) -> torch.Tensor:
        """Return the pooled features of each frame, ``[B * n, segments, D]``.

        Raises
        ------
        SettingsError
            When clips have another shape than the network takes.
        """
        shape = tuple(clips.shape)
        if len(shape) != 5 or shape[2] != 3 or shape[1] % (self.segments or 1):
            number = f"a multiple of {self.segments}" if self.segments else "any number"
            refuse_shape(shape, f"Clips [B, S, 3, H, W] with S {number}")
        features = pool_maps(self.backbone(clips.flatten(0, 1)))
        return features.reshape(-1, self.segments or shape[1], features.shape[1])

    def features(self, clips: torch.Tensor) -> torch.Tensor:
        """Return the mean of the frames' features, ``[B * n, D]``."""
        return self.frame_features(clips).mean(dim=1)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Score clips ``[B, S, 3, H, W]`` as ``[B * n, classes]``."""
        scores: torch.Tensor = self.cls_head(self.frame_features(clips))
        return scores

    def train(self, mode: bool = True) -> SegmentNetwork:
        """Set training or evaluation mode; norms that are held stay as they are."""
        super().train(mode)
        hold_norms(self, self.norms)
        return self


RgbNetwork = ClipNetwork | SegmentNetwork


def refuse_shape(shape: tuple[int, ...], expected: str) -> None:
    """Say what shape was expected."""
    raise SettingsError(
        f"The network cannot take clips of the shape {list(shape)}.",
        expected=f"{expected}.",
        remedy="Set the sampling of clips for this network.",
    )


def hold_norms(network: nn.Module, norms: Norms) -> None:
    """Put batch normalisations that training may not change into evaluation mode."""
    for layer in _held(network, norms):
        layer.eval()


def freeze_norms(network: nn.Module, norms: Norms) -> None:
    """Take weights of frozen batch normalisations out of training."""
    if norms == "frozen":
        for layer in _held(network, norms):
            layer.requires_grad_(requires_grad=False)


def _held(network: nn.Module, norms: Norms) -> list[nn.Module]:
    layers: list[nn.Module] = [layer for layer in network.modules() if isinstance(layer, _BatchNorm)]
    return {"trained": [], "frozen": layers, "first_trained": layers[1:]}[norms]
