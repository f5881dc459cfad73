"""Pictures to numbers: torchvision's networks for pictures, or VGG-Face, without their last layer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torchvision
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from nbpkg import seeding
from nbpkg.errors import SettingsError
from nbpkg.models import weights as files
from nbpkg.models.encoders import fetch_weights
from nbpkg.models.valence import vgg_face

VGG_FACE = "vgg_face"
NETWORKS = (
    "resnet18",
    "resnet34",
    "resnet50",
    "mobilenet_v3_small",
    "mobilenet_v3_large",
    "efficientnet_b0",
    "convnext_tiny",
    "vgg16",
)
_MEAN, _STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])  # ImageNet's
_ENDINGS = (".safetensors", ".pt", ".pth")


class Embedder:
    """Describes crops by what a network makes of them.

    Parameters
    ----------
    network
        One of `NETWORKS`, or ``vgg_face``.
    weights
        ``none`` (random), ``imagenet`` (torchvision's newest), a name of torchvision's weights such as
        ``IMAGENET1K_V1``, or a file with the whole network's state dict; its last layer may have any number of classes.
    size
        Side to which crops are resized, pixels; their aspect ratio is not kept.
    device
        Where to compute.
    batch
        Crops at once.
    seed
        Of random weights.
    cache
        Folder of downloaded weights; None for torchvision's own.

    Attributes
    ----------
    width
        Number of features.

    Raises
    ------
    SettingsError
        When there is no such network, weights or size.
    WeightsError
        When weights cannot be had, or do not fit key by key.
    """

    def __init__(
        self,
        network: str,
        weights: str = "none",
        *,
        size: int = vgg_face.SIDE,
        device: torch.device | None = None,
        batch: int = 32,
        seed: int = 0,
        cache: Path | None = None,
    ) -> None:
        _check(network, weights, size)
        self.network, self.size, self.batch = network, size, batch
        self.device = device or torch.device("cpu")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seeding.child(seed, "embedder"))
            if network == VGG_FACE:
                self._model: nn.Module = vgg_face.build_vgg_face(None if weights == "none" else Path(weights))
                self.width = vgg_face.WIDTH
            else:
                self._model, self.width = _build(network, weights, cache)
        self._model.to(self.device).eval()

    def names(self) -> list[str]:
        """Name the features."""
        return [f"{self.network}_{place}" for place in range(self.width)]

    def __call__(self, crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Describe RGB crops uint8 ``[H, W, 3]`` of any size; float32 ``[crops, width]``."""
        rows = [self._describe(crops[start : start + self.batch]) for start in range(0, len(crops), self.batch)]
        return np.concatenate(rows) if rows else np.zeros((0, self.width), np.float32)

    @torch.inference_mode()
    def _describe(self, crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        to_input = vgg_face.to_input if self.network == VGG_FACE else self._to_input
        pictures = torch.stack([to_input(crop) for crop in crops]).to(self.device)
        values = self._model.fc7(pictures) if isinstance(self._model, vgg_face.VggFace) else self._model(pictures)
        rows: NDArray[np.float32] = values.float().cpu().numpy()
        return rows

    def _to_input(self, picture: NDArray[np.uint8]) -> torch.Tensor:
        resized = Image.fromarray(picture).resize((self.size, self.size), Image.Resampling.BILINEAR)
        values = torch.from_numpy(np.array(resized)).to(torch.float32).div(255)
        return ((values - _MEAN) / _STD).permute(2, 0, 1)


def _check(network: str, weights: str, size: int) -> None:
    if network != VGG_FACE and network not in NETWORKS:
        raise SettingsError(
            f"There is no network {network!r} for pictures.",
            expected=f"{VGG_FACE}, or one of {', '.join(NETWORKS)}.",
            remedy="Correct the setting 'network'.",
        )
    if network == VGG_FACE and size != vgg_face.SIDE:
        raise SettingsError(
            f"VGG-Face cannot take crops of {size} pixels.",
            expected=f"{vgg_face.SIDE}, for which its dense layers were made.",
            remedy="Correct the setting 'size'.",
        )
    published = [] if network == VGG_FACE else [member.name for member in torchvision.models.get_model_weights(network)]
    known = ["none", *(["imagenet", *published] if published else [])]
    if weights not in known and Path(weights).suffix not in _ENDINGS:
        raise SettingsError(
            f"{network} has no weights {weights!r}.",
            expected=f"{', '.join(known)}, or the path of a {', '.join(_ENDINGS)} file.",
            remedy="Correct the setting 'weights'.",
        )


def _build(network: str, weights: str, cache: Path | None) -> tuple[nn.Module, int]:
    """Build a network of torchvision, and put nothing in place of its last layer."""
    model = torchvision.models.get_model(network, weights=None)
    head = [name for name, layer in model.named_modules() if isinstance(layer, nn.Linear)][-1]
    width = model.get_submodule(head).in_features
    parent, _, child = head.rpartition(".")
    setattr(model.get_submodule(parent), child, nn.Identity())
    if weights == "none":
        return model, width
    if Path(weights).suffix in _ENDINGS:
        state, where = files.read_state(Path(weights)), weights
    else:
        members = torchvision.models.get_model_weights(network)
        member = members.DEFAULT if weights == "imagenet" else members[weights]
        state, where = fetch_weights(member, folder=cache), member.url
    rest = {key: item for key, item in state.items() if not key.startswith(f"{head}.")}
    files.load_strictly(model, rest, what=f"{network} without its last layer", where=where)
    return model, width
