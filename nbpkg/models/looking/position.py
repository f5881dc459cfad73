"""Where a place of a map lies, as sines and cosines."""

from __future__ import annotations

import math

import torch

TEMPERATURE = 10_000
EPS = 1e-6


def place_sines(height: int, width: int, channels: int, *, device: torch.device | None = None) -> torch.Tensor:
    """Describe each place of a map.

    Parameters
    ----------
    height, width
        Of the map, in places.
    channels
        Even; the first half is for the row, the second for the column.
    device
        Of the result.

    Returns
    -------
    torch.Tensor
        float32 ``[channels, height, width]``. Rows 1..height become r / (height + 1e-6) · 2π, columns likewise; channel
        j of a half is the sine (even j) or cosine (odd j) of that over 10000^(2 ⌊j / 2⌋ / half).

    Source: Carion et al., ECCV 2020 (DETR), normalised sine embedding.

    Examples
    --------
    >>> place_sines(2, 3, 8).shape
    torch.Size([8, 2, 3])
    """
    half = channels // 2
    number = torch.arange(half, device=device)
    divisor = TEMPERATURE ** (2 * (number // 2).float() / half)
    rows = _wave(height, divisor, even=number % 2 == 0)
    columns = _wave(width, divisor, even=number % 2 == 0)
    return torch.cat([rows[:, :, None].expand(-1, -1, width), columns[:, None].expand(-1, height, -1)])


def _wave(length: int, divisor: torch.Tensor, *, even: torch.Tensor) -> torch.Tensor:
    """Return ``[half, length]``."""
    places = torch.arange(1, length + 1, dtype=torch.float32, device=divisor.device) / (length + EPS) * (2 * math.pi)
    angles = places / divisor[:, None]
    return torch.where(even[:, None], angles.sin(), angles.cos())
