"""Networks over windows of faces as files: best weights, a card of what they are, and one list."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn

from nbpkg.errors import SettingsError, StageError, WeightsError
from nbpkg.models.looking.build import LookingNetwork, build_face_encoder
from nbpkg.models.looking.loading import begin_encoder
from nbpkg.models.weights import State, load_strictly, read_state
from nbpkg.runs.files import new_file, read_json, sha256
from nbpkg.settings.looking import FaceFeatureSettings, FaceTrainSettings
from nbpkg.training.looking.networks import build_face_network

LIST = "networks.json"
_NAMES = ("system", "phase", "round", "variant", "repeat", "epoch", "epochs", "chosen_by", "weights")


@dataclass(frozen=True)
class FaceCard:
    """What a saved network says of its weights; the name that explanations ask for."""

    sha256: str
    facts: dict[str, Any]


@dataclass(frozen=True)
class TrainedFaceNetwork:
    """A trained network: what it is, which clips it has seen, and its weights.

    Parameters
    ----------
    settings
        Settings that it was trained with, those of its variant.
    system, phase, round, variant, repeat
        Names.
    epoch, epochs, chosen_by
        When the weights were kept, epochs made, and what chose (``inner``).
    weights
        What it began with, in words.
    train, inner
        Clips learnt from and choosing.
    state
        State dict.
    digest
        SHA-256 of its file; empty before it is saved.
    """

    settings: FaceTrainSettings
    system: str
    phase: str
    round: str
    variant: str
    repeat: int
    epoch: float
    epochs: int
    chosen_by: str
    weights: str
    train: tuple[str, ...]
    inner: tuple[str, ...]
    state: State
    digest: str = ""

    @property
    def card(self) -> FaceCard:
        """What explanations need to know of it."""
        return FaceCard(self.digest, {"sessions": [*self.train, *self.inner]})

    def build(self) -> LookingNetwork:
        """Return the network in evaluation mode, on the CPU."""
        plain = self.settings.network.model_copy(update={"weights": "none"})
        network = build_face_network(plain, seed=0).network
        load_strictly(network, self.state, what=f"a network {plain.name}", where=f"round {self.round}")
        return network.eval()


def save_network(trained: TrainedFaceNetwork, folder: Path) -> dict[str, Any]:
    """Write a network and its card.

    Parameters
    ----------
    trained
        What is written.
    folder
        Run folder; weights are ``networks/<round>.safetensors``, the card the JSON file of that name.

    Returns
    -------
    dict
        Its entry of ``networks.json``.

    Raises
    ------
    StageError
        When it cannot be written.
    """
    file = Path("networks", f"{trained.round}.safetensors")
    state = {key: trained.state[key].detach().cpu().clone().contiguous() for key in sorted(trained.state)}
    entry: dict[str, Any] = {name: getattr(trained, name) for name in _NAMES}
    entry |= {"train": list(trained.train), "inner": list(trained.inner)}
    with new_file(folder / file) as temporary:
        save_file(state, temporary)
        entry |= {"file": file.as_posix(), "sha256": sha256(temporary)}
    with new_file((folder / file).with_suffix(".json")) as temporary:
        card = entry | {"settings": trained.settings.model_dump(mode="json")}
        temporary.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    return entry


def load_face_networks(folder: Path) -> list[TrainedFaceNetwork]:
    """Load the networks of a phase.

    Parameters
    ----------
    folder
        Its run folder, with ``networks.json``.

    Raises
    ------
    StageError
        When the phase has no list of networks.
    WeightsError
        When a file is missing, damaged, or another one than was written down.
    """
    if not (folder / LIST).is_file():
        raise StageError(
            "The phase has left no list of networks.",
            where=str(folder / LIST),
            remedy="Run notebooks/05_train.ipynb with this phase first.",
        )
    return [_load(folder, entry) for entry in read_json(folder / LIST)["networks"]]


def build_encoder(settings: FaceFeatureSettings, *, seed: int, start: Path | None = None) -> nn.Module | None:
    """Build the network of faces whose features are computed once; None where it is trained with the rest.

    Parameters
    ----------
    settings
        Of stage 04.
    seed
        Of random weights.
    start
        Run folder of another experiment's final phase, for ``model``.

    Raises
    ------
    SettingsError
        When ``model`` is asked for and there is none.
    WeightsError
        When weights are missing or do not fit.
    """
    if settings.encoder == "none":
        return None
    if settings.encoder == "model":
        if start is None:
            raise SettingsError(
                "bake.encoder is model, but inputs names no model.",
                expected="inputs: {model: <experiment>}, whose final network is taken.",
                remedy="Name it, or set bake.encoder to imagenet or random.",
            )
        return load_face_networks(start)[0].build().get_submodule("base_model")
    encoder = build_face_encoder(settings.network, seed=seed)
    if settings.encoder == "imagenet":
        begin_encoder(encoder, "imagenet")
    return encoder


def _load(folder: Path, entry: dict[str, Any]) -> TrainedFaceNetwork:
    path = folder / str(entry["file"])
    card_path = path.with_suffix(".json")
    if not card_path.is_file():
        raise WeightsError(
            "The network's card is not there.",
            where=str(card_path),
            remedy="Copy the JSON file, too: it says what the weights are.",
        )
    state, found = read_state(path), sha256(path)
    if found != entry["sha256"]:
        raise WeightsError(
            f"The weights are not those that were written down: their SHA-256 begins with {found[:8]}.",
            where=str(path),
            expected=f"The file whose SHA-256 begins with {str(entry['sha256'])[:8]}.",
            remedy="Copy it again, or train again.",
        )
    card = read_json(card_path)
    facts: dict[str, Any] = {name: card[name] for name in _NAMES}
    facts |= {name: tuple(card[name]) for name in ("train", "inner")}
    settings = FaceTrainSettings.model_validate(card["settings"])
    return TrainedFaceNetwork(settings, **facts, state=state, digest=found)
