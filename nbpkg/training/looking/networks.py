"""Networks over windows of faces from settings, with what they begin with."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from nbpkg.errors import SettingsError
from nbpkg.models.looking.build import LookingNetwork, build_window_network
from nbpkg.models.looking.loading import begin_from, describe_loading, load_whole
from nbpkg.models.looking.options import WindowNetworkOptions
from nbpkg.models.weights import State, load_strictly
from nbpkg.runs.files import read_json
from nbpkg.settings.looking import FaceNetworkSettings


class BuiltFaceNetwork(NamedTuple):
    """A network, in training mode on the CPU, and one sentence about the weights that it begins with."""

    network: LookingNetwork
    weights: str


def build_face_network(
    settings: FaceNetworkSettings,
    *,
    seed: int,
    data: Path | None = None,
    start: Path | None = None,
    encoder: State | None = None,
    whole: bool = False,
) -> BuiltFaceNetwork:
    """Build a network.

    Parameters
    ----------
    settings
        Which, how large, and what it begins with.
    seed
        Of random weights; torch's own generator stays as it is.
    data
        Data folder, in which a file of weights is named.
    start
        Run folder of another experiment's final phase, with whose weights this one begins.
    encoder
        Weights of the network of faces whose features were baked.
    whole
        Whether every weight must come from the file or the other experiment, because nothing will be trained.

    Raises
    ------
    SettingsError
        When there is no such network or size, the file lies elsewhere, or an untrained network is to be scored.
    WeightsError
        When weights are missing or do not fit.
    """
    network = build_window_network(settings.name, options=read_options(settings), seed=seed)
    if start is not None:
        entry = read_json(start / "networks.json")["networks"][0]
        path = start / str(entry["file"])
        weights = f"network of {entry['system']}: {_load(network, path, whole=whole)}"
    elif whole and settings.weights in ("none", "imagenet"):
        raise SettingsError(
            f"train.learning.epochs is 0 and train.network.weights {settings.weights!r}: that network is not trained.",
            expected="A file of a trained network, or inputs: {model: <experiment>}.",
            remedy="Name the file, or train for some epochs.",
        )
    elif settings.weights != "none":
        chosen = settings.weights if settings.weights == "imagenet" else _find_file(settings.weights, data)
        weights = f"{settings.weights}: {_load(network, chosen, whole=whole)}"
    else:
        weights = "random weights"
    if encoder is not None:
        load_strictly(network.base_model, encoder, what="a network of faces", where="encoder.safetensors of 04")
        weights += "; the network of faces is that of 04"
    return BuiltFaceNetwork(network.train(), weights)


def _load(network: LookingNetwork, weights: str | Path, *, whole: bool) -> str:
    """Load weights, all or as many as fit, and say which."""
    return describe_loading(load_whole(network, Path(weights)) if whole else begin_from(network, weights))


def read_options(settings: FaceNetworkSettings) -> WindowNetworkOptions:
    """Return the sizes and parts that settings ask for."""
    return WindowNetworkOptions(
        encoder=settings.encoder,
        hidden=settings.hidden,
        head=settings.head,
        landmarks=settings.landmarks,
        split=settings.split,
        dsplit=settings.dsplit,
        csplit=settings.csplit,
        dmodel=settings.width,
        heads=settings.heads,
        feedforward=settings.feedforward,
        encoder_layers=settings.encoder_layers,
        decoder_layers=settings.decoder_layers,
        dropout=settings.dropout,
        train_tables=settings.compat == "none",
    )


def _find_file(weights: str, data: Path | None) -> Path:
    path = (data or Path()) / weights
    if data is None or not path.resolve().is_relative_to(data.resolve()):
        raise SettingsError(
            f"train.network.weights {weights!r} lies outside the data folder.",
            expected=f"imagenet, or a file below {data}.",
            remedy="Copy it there, and name it relative to the data folder.",
        )
    return path
