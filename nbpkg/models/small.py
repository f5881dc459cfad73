"""A small video network that learns from a few dozen clips in seconds on a laptop's processor."""

from __future__ import annotations

import torch
from torch import nn

FLAT = 1e-3  # keeps a clip of one colour finite


class SmallVideoNet(nn.Module):
    """Four space-time convolutions; what is there at its strongest place, on average and in its change over time.

    Every clip is brought to mean 0 and spread 1 in each colour first: how light a room is says nothing about a child,
    and with a dozen sessions to learn from, a new room's light alone would move all answers to one side.

    Parameters
    ----------
    width
        Channels of the first convolution.

    Attributes
    ----------
    features
        Length of the feature vector, 8 × `width`.

    Notes
    -----
    Takes normalised clips ``[B, 3, T, H, W]`` of any length and size from 16 pixels on; gives ``[B, features]``. The
    maximum over places finds a face or a hand wherever it is; the mean and the spread of that maximum over time tell a
    posture from a movement. For the sample experiment and for tests: it is no published network.
    """

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.features = 8 * width
        self.layers = nn.Sequential(
            _block(3, width, kernel=(1, 5, 5), stride=(1, 2, 2)),
            _block(width, 2 * width, kernel=(3, 3, 3), stride=(2, 2, 2)),
            _block(2 * width, 4 * width, kernel=(3, 3, 3), stride=(1, 2, 2)),
            _block(4 * width, 4 * width, kernel=(3, 3, 3), stride=(1, 1, 1)),
        )

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Encode normalised clips ``[B, 3, T, H, W]`` as ``[B, features]``."""
        spread, mean = torch.std_mean(clips, dim=(2, 3, 4), correction=0, keepdim=True)
        strongest = self.layers((clips - mean) / (spread + FLAT)).amax(dim=(3, 4))
        return torch.cat([strongest.mean(dim=2), strongest.std(dim=2, correction=0)], dim=1)


def _block(channels: int, out: int, *, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> nn.Sequential:
    padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
    convolution = nn.Conv3d(channels, out, kernel, stride, padding, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm3d(out), nn.ReLU())
