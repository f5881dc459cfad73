"""Networks over windows, by name."""

from __future__ import annotations

from typing import Literal, get_args

import torch

from nbpkg import seeding
from nbpkg.errors import SettingsError
from nbpkg.models.looking.backbone import EncoderName, FaceEncoder, SmallFaceEncoder, make_face_encoder
from nbpkg.models.looking.gazepose import GazePose
from nbpkg.models.looking.lstm_heads import GazeLstm, LamLstm
from nbpkg.models.looking.options import WindowNetworkOptions

WindowNetworkName = Literal["gazepose", "gaze_lstm", "gaze_lstm_lam", "baseline_lstm"]
LookingNetwork = GazePose | GazeLstm | LamLstm


def build_window_network(
    name: WindowNetworkName, *, options: WindowNetworkOptions | None = None, seed: int
) -> LookingNetwork:
    """Build a network over windows with random weights.

    Parameters
    ----------
    name
        ``gazepose``, its baseline ``gaze_lstm``, or the challenge's ``baseline_lstm`` and ``gaze_lstm_lam``, which
        differ in what they begin with (see `nbpkg.models.looking.loading.begin_from`).
    options
        Sizes and parts; ``None`` is as published.
    seed
        Of the weights; torch's own generator stays as it is.

    Returns
    -------
    torch.nn.Module
        In training mode, on the CPU.

    Raises
    ------
    SettingsError
        When there is no such network.
    """
    if name not in get_args(WindowNetworkName):
        raise SettingsError(
            f"There is no network over windows {name!r}.",
            expected=f"One of {', '.join(get_args(WindowNetworkName))}.",
            remedy="Correct the setting.",
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeding.child(seed, "network", name))
        return make_window_network(name, options or WindowNetworkOptions())


def make_window_network(name: WindowNetworkName, options: WindowNetworkOptions) -> LookingNetwork:
    """Make a network over windows whose weights follow from torch's seed (see `build_window_network`)."""
    base_model = make_face_encoder(options.encoder)
    if name == "gazepose":
        return GazePose(base_model, options=options)
    if name == "gaze_lstm":
        return GazeLstm(base_model, hidden=options.hidden)
    return LamLstm(base_model, hidden=options.hidden)


def build_face_encoder(name: EncoderName, *, seed: int) -> FaceEncoder | SmallFaceEncoder:
    """Build a network of crops alone with random weights.

    Parameters
    ----------
    name
        ``resnet18`` or ``small``.
    seed
        Of the weights; torch's own generator stays as it is.

    Returns
    -------
    torch.nn.Module
        In training mode, on the CPU.

    Raises
    ------
    SettingsError
        When there is no such network.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeding.child(seed, "encoder", name))
        return make_face_encoder(name)
