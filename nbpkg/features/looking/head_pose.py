"""Where heads point to: yaw, pitch and roll of every crop, by Hopenet; five points of every face, by MediaPipe.

Both are computed of crops as they are, never mirrored, of every face with a crop, and kept session by session.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from nbpkg.features.looking.pixels import normalise_crops, resize_crops
from nbpkg.models.looking.hopenet import to_degrees

_SIDE = 224


class HeadPoseEstimator:
    """Tells yaw, pitch and roll of crops.

    Parameters
    ----------
    network
        Hopenet with its weights (`nbpkg.models.looking.hopenet.load_hopenet`).
    device
        Where to compute.
    """

    shape = (3,)

    def __init__(self, network: nn.Module, *, device: torch.device | None = None) -> None:
        self.device = device or torch.device("cpu")
        self._network = network.to(self.device).eval()

    @torch.inference_mode()
    def __call__(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Estimate the poses of RGB crops uint8 ``[n, S, S, 3]``: yaw, pitch, roll, float32 ``[n, 3]``, degrees."""
        inputs = normalise_crops(resize_crops(crops, _SIDE)).to(self.device)
        degrees: NDArray[np.float32] = to_degrees(self._network(inputs)).float().cpu().numpy()
        return degrees
