"""What all networks over a window of seven crops have in common: two parts, and priors of the middle crop."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch

WINDOW = 7
CENTRE = 3


class WindowPriors(NamedTuple):
    """What is known of the middle crop beforehand; in the order in which networks take it.

    Parameters
    ----------
    head
        int64 ``[B, 3]``: rows of yaw, pitch and roll; None where the network does not ask.
    landmarks
        int64 ``[B, 5, 2]``: rows of place and confidence of nose, eyes and corners of the mouth; None likewise.
    """

    head: torch.Tensor | None = None
    landmarks: torch.Tensor | None = None


class WindowNetwork(Protocol):
    """A network over windows in two parts, so that windows that overlap share what is said of a crop.

    Attributes
    ----------
    uses_maps
        Whether `decide` looks at maps of the middle crop.
    uses_head, uses_landmarks
        Which priors it looks at; the others may be None.

    Notes
    -----
    A call with clips ``[B, 7, 3, H, W]`` and the priors does both parts.
    """

    uses_maps: bool
    uses_head: bool
    uses_landmarks: bool

    def encode(self, crops: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Encode crops ``[N, 3, H, W]`` as features ``[N, F]`` and maps ``[N, C, h, w]``."""
        ...

    def decide(
        self,
        features: torch.Tensor,
        centre_maps: torch.Tensor | None = None,
        head: torch.Tensor | None = None,
        landmarks: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Score windows of features ``[B, 7, F]`` and maps ``[B, C, h, w]`` of the middle crop as ``[B, 2]``."""
        ...


def decide_clips(
    network: WindowNetwork, clips: torch.Tensor, head: torch.Tensor | None, landmarks: torch.Tensor | None
) -> torch.Tensor:
    """Do both parts of a network over windows.

    Parameters
    ----------
    network
        Which.
    clips
        float32 ``[B, 7, 3, H, W]``.
    head, landmarks
        As in `WindowPriors`.

    Returns
    -------
    torch.Tensor
        Scores ``[B, 2]``: of not looking and of looking.
    """
    features, maps = network.encode(clips.flatten(0, 1))
    batch, length = clips.shape[:2]
    centre_maps = maps.reshape(batch, length, *maps.shape[1:])[:, CENTRE]
    return network.decide(features.reshape(batch, length, -1), centre_maps, head, landmarks)
