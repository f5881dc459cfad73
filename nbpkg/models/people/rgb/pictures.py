"""torchvision's and timm's networks of pictures as backbones of classifiers over single frames."""

from __future__ import annotations

import timm
import torch
import torchvision
from torch import nn

from nbpkg.errors import SettingsError

CLASSIFIERS = ("fc", "classifier", "head", "heads")


class PictureBackbone(nn.Module):
    """A network of pictures without its classifier.

    Parameters
    ----------
    name
        ``torchvision.<network>`` or ``timm.<network>``, with random weights.

    Raises
    ------
    SettingsError
        When there is no such network, or it has no classifier that can be left out; in use, when it does not pool over
        places and frames are of another size than 224 × 224 pixels.

    Notes
    -----
    Takes frames float32 ``[B, 3, H, W]``; gives ``[B, features]``.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        library, network = name.split(".", 1)
        self.net = _build_timm(network) if library == "timm" else _build_torchvision(network)
        self.name, self.features = name, _count_features(self.net, name)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Map frames to features."""
        features: torch.Tensor = self.net(frames)
        if features.shape[1] != self.features:
            raise SettingsError(
                f"{self.name} gives {features.shape[1]} features of frames of {list(frames.shape[2:])} pixels,"
                f" {self.features} of those it was built for.",
                expected="A network that pools over places, or frames of 224 × 224 pixels.",
                remedy="Set size to 224, or choose another network, e.g. torchvision.resnet50.",
            )
        return features


def _build_timm(name: str) -> nn.Module:
    if not timm.is_model(name):
        raise _no_network("timm", name, timm.list_models(f"*{name[:6]}*")[:5])
    net: nn.Module = timm.create_model(name, pretrained=False, num_classes=0)
    return net


def _build_torchvision(name: str) -> nn.Module:
    there = torchvision.models.list_models(module=torchvision.models)
    if name not in there:
        raise _no_network("torchvision", name, there[:5])
    net: nn.Module = torchvision.models.get_model(name, weights=None)
    for part in CLASSIFIERS:
        if hasattr(net, part):
            setattr(net, part, nn.Identity())
            return net
    raise SettingsError(
        f"torchvision's {name} has no classifier that could be left out.",
        expected=f"A network with one of {', '.join(CLASSIFIERS)}.",
        remedy="Choose another network, e.g. torchvision.resnet50.",
    )


def _count_features(net: nn.Module, name: str) -> int:
    """Let a network without weights look at one picture."""
    training = net.training
    with torch.no_grad():
        found = net.eval()(torch.zeros(1, 3, 224, 224, device=next(net.parameters()).device))
    net.train(training)
    if not isinstance(found, torch.Tensor) or found.ndim != 2:
        raise SettingsError(
            f"{name} gives no features of a picture.",
            expected="One row of numbers for each picture.",
            remedy="Choose another network, e.g. torchvision.resnet50.",
        )
    return int(found.shape[1])


def _no_network(library: str, name: str, examples: list[str]) -> SettingsError:
    return SettingsError(
        f"{library} has no network of pictures {name!r}.",
        expected=f"One of its names, e.g. {', '.join(examples) or 'resnet50'}.",
        remedy="Correct the setting.",
    )
