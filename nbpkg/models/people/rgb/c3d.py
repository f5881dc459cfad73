"""C3D: eight convolutions over time and space, and two wide layers."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn

from nbpkg.errors import SettingsError
from nbpkg.models.people.rgb.blocks import begin, linear

LAYERS = (
    ("conv1a", 1),
    ("conv2a", 2),
    ("conv3a", 4),
    ("conv3b", 4),
    ("conv4a", 8),
    ("conv4b", 8),
    ("conv5a", 8),
    ("conv5b", 8),
)
POOLED = {"conv1a": "pool1", "conv2a": "pool2", "conv3b": "pool3", "conv4b": "pool4", "conv5b": "pool5"}
FRAMES_PER_STEP = 16
SIDE = 4  # of the last maps of clips of 16 frames of 112 × 112 pixels, for which weights are published


class C3d(nn.Module):
    """The C3D network.

    Parameters
    ----------
    width
        Channels of the first convolution.
    size
        Height and width of the clips in pixels, from which the size of the first wide layer follows; None brings the
        last maps of any clip to 1 × 4 × 4, which the published weights for 16 frames of 112 × 112 pixels fit.
    frames
        Length of the clips; counts where `size` is given.
    dropout
        Between the wide layers.

    Raises
    ------
    SettingsError
        When clips are too small to leave anything.

    Notes
    -----
    Takes clips float32 ``[B, 3, T, H, W]``; gives features ``[B, 64 * width]``.

    Source: Tran et al., ICCV 2015; entries named as in mmaction2 0.24, where the wide layer is for one size and clips
    of another fail.
    """

    def __init__(
        self, width: int = 64, *, size: tuple[int, int] | None = None, frames: int = 16, dropout: float = 0.5
    ) -> None:
        super().__init__()
        inputs = 3
        for name, times in LAYERS:
            conv = nn.Conv3d(inputs, times * width, 3, padding=1)
            self.add_module(name, nn.Sequential(OrderedDict(conv=conv, activate=nn.ReLU(inplace=True))))
            inputs = times * width
        self.pool1 = nn.MaxPool3d((1, 2, 2))
        self.pool2, self.pool3, self.pool4 = nn.MaxPool3d(2), nn.MaxPool3d(2), nn.MaxPool3d(2)
        self.pool5 = nn.MaxPool3d(2, padding=(0, 1, 1))
        self.to_side = nn.AdaptiveAvgPool3d((1, SIDE, SIDE)) if size is None else nn.Identity()
        self.size = size
        begin(self)
        places = SIDE * SIDE if size is None else count_places(frames, size)
        self.features = 64 * width
        self.fc6 = linear(inputs * places, self.features, std=0.005)
        self.fc7 = linear(self.features, self.features, std=0.005)
        self.relu, self.dropout = nn.ReLU(), nn.Dropout(dropout)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Map clips to features."""
        maps = clips
        for name, _ in LAYERS:
            maps = self.get_submodule(name)(maps)
            if name in POOLED:
                maps = self.get_submodule(POOLED[name])(maps)
        flat = self.to_side(maps).flatten(1)
        if flat.shape[1] != self.fc6.in_features:
            _refuse(tuple(clips.shape[2:]), self.size)
        features: torch.Tensor = self.relu(self.fc7(self.dropout(self.relu(self.fc6(flat)))))
        return features


def count_places(frames: int, size: tuple[int, int]) -> int:
    """Return how many places and times the last maps of a clip have.

    Examples
    --------
    >>> [512 * count_places(16, size) for size in ((171, 128), (256, 256), (112, 112))]
    [15360, 41472, 8192]
    """
    places = frames // FRAMES_PER_STEP * (size[0] // 16 // 2 + 1) * (size[1] // 16 // 2 + 1)
    if places == 0 or min(size) < 16:
        raise SettingsError(
            f"C3D cannot take clips of {frames} frames of {size[0]} × {size[1]} pixels.",
            expected="At least 16 frames of 16 × 16 pixels.",
            remedy="Set frames and size accordingly, e.g. 16 frames of 112 pixels.",
        )
    return places


def _refuse(shape: tuple[int, ...], size: tuple[int, int] | None) -> None:
    raise SettingsError(
        f"A clip of {shape[0]} frames of {shape[1]} × {shape[2]} pixels does not fit this C3D.",
        expected=f"Clips of {size} pixels, for which its first wide layer was made.",
        remedy="Prepare clips alike for training and test, or leave the network's size open.",
    )
