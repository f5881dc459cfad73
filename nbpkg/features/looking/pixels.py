"""Crops as networks take them."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's


def resize_crops(crops: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Resize crops uint8 ``[n, S, S, 3]`` to ``[n, size, size, 3]``; those of this size stay as they are."""
    if crops.shape[1] == size and crops.shape[2] == size:
        return crops
    how = cv2.INTER_AREA if crops.shape[1] > size else cv2.INTER_LINEAR
    out = np.empty((len(crops), size, size, 3), np.uint8)
    for place, crop in zip(out, crops, strict=True):
        cv2.resize(crop, (size, size), dst=place, interpolation=how)
    return out


def normalise_crops(crops: NDArray[np.uint8]) -> torch.Tensor:
    """Turn RGB crops uint8 ``[n, H, W, 3]`` into float32 ``[n, 3, H, W]``, normalised as for ImageNet.

    Source: evaluation transform of lemon-prog123/GazePose.
    """
    values = torch.from_numpy(np.ascontiguousarray(crops)).permute(0, 3, 1, 2).to(torch.float32).div(255)
    mean, std = (torch.tensor(numbers)[:, None, None] for numbers in (MEAN, STD))
    return ((values - mean) / std).contiguous()
