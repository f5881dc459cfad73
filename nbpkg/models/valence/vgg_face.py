"""VGG-Face: the network whose second last layer describes a face by 4096 numbers.

Source: Parkhi, Vedaldi & Zisserman, Deep face recognition, BMVC 2015, with the keys under which cheem-omg-empathy
loads it and the scaling of pictures that it uses. That is not the scaling the network was trained with (BGR from 0 to
255 minus 93.59, 104.76 and 129.19), but the published features were made with it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from nbpkg.models import weights as files

SIDE, WIDTH, PEOPLE = 224, 4096, 2622
MEAN, STD = 0.4856586910840433, 0.14210993338737993  # one for all three channels
_BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
# torchvision's vgg16 has the same layers under other names
_LIKE_VGG16 = {"32.1": "classifier.0", "35.1": "classifier.3", "38.1": "classifier.6"}


class VggFace(nn.Sequential):
    """VGG-16 with pooling that rounds up, for 2622 people.

    Takes float32 ``[B, 3, 224, 224]`` as `to_input` makes them; gives logits ``[B, 2622]``.
    """

    def __init__(self) -> None:
        layers: list[nn.Module] = []
        before = 3
        for block in _BLOCKS:
            for width in block:
                layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU(inplace=True)]
                before = width
            layers.append(nn.MaxPool2d(2, 2, ceil_mode=True))
        layers.append(nn.Flatten())
        for entering in (before * 7 * 7, WIDTH):
            layers += [_linear(entering, WIDTH), nn.ReLU(inplace=True), nn.Dropout(0.5)]
        super().__init__(*layers, _linear(WIDTH, PEOPLE))

    def fc7(self, pictures: torch.Tensor) -> torch.Tensor:
        """Return what describes the faces, ``[B, 4096]``, none below 0: all layers but the last."""
        values = pictures
        for layer in list(self)[:-1]:
            values = layer(values)
        return values


def _linear(entering: int, leaving: int) -> nn.Sequential:
    return nn.Sequential(nn.Identity(), nn.Linear(entering, leaving))  # the published keys end in .1


def build_vgg_face(weights: Path | None = None) -> VggFace:
    """Build the network, in evaluation mode.

    Parameters
    ----------
    weights
        File with its state dict, under the published keys or those of torchvision's vgg16; None for random weights,
        which torch's seed decides.

    Raises
    ------
    WeightsError
        When the file cannot be read or does not fit key by key.
    """
    if weights is None:
        return VggFace().eval()
    with torch.device("meta"):  # 580 MB that the file brings anyway
        network = VggFace()
    state = rename_vgg16(files.read_state(weights))
    files.load_strictly(network.to_empty(device="cpu"), state, what="VGG-Face", where=str(weights))
    return network.eval()


def rename_vgg16(state: files.State) -> files.State:
    """Return a state dict of torchvision's vgg16 under the published keys; any other as it is."""
    if not any(key.startswith("features.") for key in state):
        return state
    back = {theirs: ours for ours, theirs in _LIKE_VGG16.items()}
    renamed = {}
    for key, item in state.items():
        layer, _, part = key.rpartition(".")
        renamed[f"{back.get(layer, layer.removeprefix('features.'))}.{part}"] = item
    return renamed


def to_input(picture: NDArray[np.uint8]) -> torch.Tensor:
    """Make a picture of a face the network's input, as published.

    Parameters
    ----------
    picture
        RGB uint8 ``[H, W, 3]``, any size; its aspect ratio is not kept.

    Returns
    -------
    torch.Tensor
        float32 ``[3, 224, 224]``.
    """
    resized = Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    values = torch.from_numpy(np.array(resized)).permute(2, 0, 1).to(torch.float32).div(255)
    return (values - MEAN) / STD
