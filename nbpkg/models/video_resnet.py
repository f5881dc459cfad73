"""Video residual networks of torchvision as encoders of clips."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
import torchvision
from torch import nn

from nbpkg import seeding
from nbpkg.errors import WeightsError

# Constants with which torchvision's Kinetics weights were trained; the input is scaled to 0..1 before.
MEAN = (0.43216, 0.394666, 0.37645)
STD = (0.22803, 0.22145, 0.216989)


class VideoEncoder(nn.Module):
    """A video network without its classifier.

    Parameters
    ----------
    name
        ``mc3_18``, ``r3d_18`` or ``r2plus1d_18``.

    Notes
    -----
    Takes clips uint8 ``[B, 3, T, H, W]``; gives features float32 ``[B, 512]``, the mean over time and space. The
    normalisation is part of the network, so that features and weights cannot part from it.

    Source: torchvision's video resnets (Tran et al., CVPR 2018, "A closer look at spatiotemporal convolutions").
    """

    def __init__(self, name: Literal["mc3_18", "r3d_18", "r2plus1d_18"]) -> None:
        super().__init__()
        builders = torchvision.models.video
        builder = {"mc3_18": builders.mc3_18, "r3d_18": builders.r3d_18, "r2plus1d_18": builders.r2plus1d_18}[name]
        self.base_model = builder(weights=None)
        self.base_model.fc = nn.Identity()
        self.mean: torch.Tensor
        self.std: torch.Tensor
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1, 1), persistent=False)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Encode clips uint8 ``[B, 3, T, H, W]`` as features ``[B, 512]``."""
        scaled = (clips.float() / 255 - self.mean) / self.std
        features: torch.Tensor = self.base_model(scaled)
        return features


def build_encoder(name: Literal["mc3_18", "r3d_18", "r2plus1d_18"], weights: Path | None, *, seed: int) -> VideoEncoder:
    """Build an encoder with weights from a file, or with seeded random ones.

    Parameters
    ----------
    name
        Network.
    weights
        File with a state dict of torchvision's network (its ``fc`` layer is left out); None for random weights.
    seed
        Seed of the random weights.

    Returns
    -------
    VideoEncoder
        In evaluation mode, without gradients.

    Raises
    ------
    WeightsError
        When the file is missing, is no state dict, or does not fit the network key by key.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeding.child(seed, "encoder"))
        encoder = VideoEncoder(name)
    if weights is not None:
        state = _read_state(weights)
        kept = {key: value for key, value in state.items() if not key.startswith("fc.")}
        try:
            encoder.base_model.load_state_dict(kept, strict=True)
        except RuntimeError as error:
            raise WeightsError(
                f"The weights do not fit {name}: {error}",
                where=str(weights),
                remedy=f"Use a state dict of torchvision's {name}.",
            ) from None
    return encoder.eval().requires_grad_(requires_grad=False)


def _read_state(path: Path) -> dict[str, torch.Tensor]:
    """Read a state dict without running anything that the file holds."""
    if not path.is_file():
        raise WeightsError(
            "The weights file is not there.",
            where=str(path),
            remedy="Put it there, or set bake.weights to 'random' to try the pipeline without.",
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001 - torch raises many kinds; each means the same to the user
        raise WeightsError(
            f"The file holds no plain weights: {error}", where=str(path), remedy="Save it with torch.save(state_dict)."
        ) from None
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise WeightsError("The file holds no state dict.", where=str(path), remedy="Save model.state_dict().")
    return state
