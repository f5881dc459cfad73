"""Networks that read the features of seven crops with an LSTM and decide at the middle one."""

from __future__ import annotations

import math

import torch
from torch import nn

from nbpkg.models.looking.backbone import FaceEncoder, SmallFaceEncoder
from nbpkg.models.looking.window import CENTRE, decide_clips

HIDDEN = 256


class LamLstm(nn.Module):
    """The challenge's networks: an LSTM in both directions, and two linear layers without anything between them.

    Parameters
    ----------
    base_model
        Network of a crop.
    hidden
        Width of the LSTM's state in each direction.

    Notes
    -----
    ``BaselineLSTM`` and ``GazeLSTM`` of the challenge are this network; they differ in the weights they begin with.

    Source: Grauman et al., CVPR 2022 (Ego4D, social benchmark); EGO4D/social-interactions, branch ``lam``.
    """

    uses_maps = uses_head = uses_landmarks = False

    def __init__(self, base_model: FaceEncoder | SmallFaceEncoder, *, hidden: int = HIDDEN) -> None:
        super().__init__()
        self.base_model = base_model
        self.lstm = make_lstm(base_model.features, hidden)
        self.last_layer1 = nn.Linear(2 * hidden, hidden // 2)
        self.last_layer2 = nn.Linear(hidden // 2, 2)

    def encode(self, crops: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Encode crops ``[N, 3, H, W]`` as features ``[N, F]`` and maps ``[N, C, h, w]``."""
        encoded: tuple[torch.Tensor, torch.Tensor] = self.base_model(crops)
        return encoded

    def decide(
        self,
        features: torch.Tensor,
        centre_maps: torch.Tensor | None = None,  # noqa: ARG002 - as in all networks over windows
        head: torch.Tensor | None = None,  # noqa: ARG002 - as in all networks over windows
        landmarks: torch.Tensor | None = None,  # noqa: ARG002 - as in all networks over windows
    ) -> torch.Tensor:
        """Score windows of features ``[B, 7, F]`` as ``[B, 2]``; maps and priors are not looked at."""
        scores: torch.Tensor = self.last_layer2(self.last_layer1(read_middle(self.lstm, features)))
        return scores

    def forward(
        self, clips: torch.Tensor, head: torch.Tensor | None = None, landmarks: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Score clips ``[B, 7, 3, H, W]`` as ``[B, 2]``."""
        return decide_clips(self, clips, head, landmarks)


class GazeLstm(nn.Module):
    """GazePose's baseline: an LSTM in both directions and one linear layer.

    Parameters
    ----------
    base_model, hidden
        As for `LamLstm`.

    Source: lemon-prog123/GazePose, ``GazeLSTM``.
    """

    uses_maps = uses_head = uses_landmarks = False

    def __init__(self, base_model: FaceEncoder | SmallFaceEncoder, *, hidden: int = HIDDEN) -> None:
        super().__init__()
        self.base_model = base_model
        self.lstm = make_lstm(base_model.features, hidden)
        self.last_layer = nn.Linear(2 * hidden, 2)

    def encode(self, crops: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Encode crops ``[N, 3, H, W]`` as features ``[N, F]`` and maps ``[N, C, h, w]``."""
        encoded: tuple[torch.Tensor, torch.Tensor] = self.base_model(crops)
        return encoded

    def decide(
        self,
        features: torch.Tensor,
        centre_maps: torch.Tensor | None = None,  # noqa: ARG002 - as in all networks over windows
        head: torch.Tensor | None = None,  # noqa: ARG002 - as in all networks over windows
        landmarks: torch.Tensor | None = None,  # noqa: ARG002 - as in all networks over windows
    ) -> torch.Tensor:
        """Score windows of features ``[B, 7, F]`` as ``[B, 2]``; maps and priors are not looked at."""
        scores: torch.Tensor = self.last_layer(read_middle(self.lstm, features))
        return scores

    def forward(
        self, clips: torch.Tensor, head: torch.Tensor | None = None, landmarks: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Score clips ``[B, 7, 3, H, W]`` as ``[B, 2]``."""
        return decide_clips(self, clips, head, landmarks)


class Gaze360Lstm(nn.Module):
    """Gaze360: where the face of the middle crop looks, and how sure that is.

    Parameters
    ----------
    base_model, hidden
        As for `LamLstm`.

    Source: Kellnhofer et al., ICCV 2019; erkil1452/gaze360.
    """

    def __init__(self, base_model: FaceEncoder | SmallFaceEncoder | None = None, *, hidden: int = HIDDEN) -> None:
        super().__init__()
        self.base_model = FaceEncoder() if base_model is None else base_model
        self.lstm = make_lstm(self.base_model.features, hidden)
        self.last_layer = nn.Linear(2 * hidden, 3)

    def encode(self, crops: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Encode crops ``[N, 3, H, W]`` as features ``[N, F]`` and maps ``[N, C, h, w]``."""
        encoded: tuple[torch.Tensor, torch.Tensor] = self.base_model(crops)
        return encoded

    def aim(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Tell the gaze from features of windows.

        Parameters
        ----------
        features
            ``[B, 7, F]``.

        Returns
        -------
        angles
            ``[B, 2]``: azimuth in -π..π and elevation in -π/2..π/2, radians.
        spread
            ``[B, 2]``: half the width of the interval from the 10 % to the 90 % quantile, radians, the same for both.
        """
        out = self.last_layer(read_middle(self.lstm, features))
        angles = torch.stack([math.pi * out[:, 0].tanh(), math.pi / 2 * out[:, 1].tanh()], dim=1)
        return angles, (math.pi * out[:, 2:].sigmoid()).expand(-1, 2)

    def forward(self, clips: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Tell angles and spread (see `aim`) of clips ``[B, 7, 3, H, W]``."""
        features, _ = self.encode(clips.flatten(0, 1))
        return self.aim(features.reshape(*clips.shape[:2], -1))


def angles_to_vectors(angles: torch.Tensor) -> torch.Tensor:
    """Turn directions of gaze into unit vectors.

    Parameters
    ----------
    angles
        ``[..., 2]``: azimuth and elevation, radians.

    Returns
    -------
    torch.Tensor
        ``[..., 3]``: x to the right, y up, z away from the camera's view, of length 1.

    Examples
    --------
    >>> angles_to_vectors(torch.tensor([0.0, 0.0])).tolist()
    [0.0, 0.0, -1.0]
    """
    azimuth, elevation = angles.unbind(-1)
    return torch.stack([elevation.cos() * azimuth.sin(), elevation.sin(), -(elevation.cos() * azimuth.cos())], dim=-1)


def make_lstm(features: int, hidden: int) -> nn.LSTM:
    """Make the LSTM that all networks over windows share: two layers, both directions."""
    return nn.LSTM(features, hidden, num_layers=2, bidirectional=True, batch_first=True)


def read_middle(lstm: nn.LSTM, features: torch.Tensor) -> torch.Tensor:
    """Read windows ``[B, 7, F]`` in both directions; the state ``[B, 2 hidden]`` at the middle crop."""
    states: torch.Tensor = lstm(features)[0]
    return states[:, CENTRE]
