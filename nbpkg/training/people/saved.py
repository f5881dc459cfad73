"""Networks over people as files: best and last weights, a card of what they are, and one list."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from safetensors.torch import save_file
from torch import nn

from nbpkg.errors import StageError, WeightsError
from nbpkg.models.weights import State, load_strictly, read_state
from nbpkg.runs.files import new_file, read_json, sha256
from nbpkg.settings.people import PeopleTrainSettings
from nbpkg.training.people.material import PeopleFacts, PeopleMaterial
from nbpkg.training.people.networks import build_people_network
from nbpkg.training.people.scaling import ScaledRecordings, Scales

LIST = "networks.json"
Checkpoint = Literal["best", "last"]
_NAMES = ("system", "phase", "round", "variant", "repeat", "fold", "epoch", "epochs", "chosen_by", "weights")


@dataclass(frozen=True)
class TrainedNetwork:
    """A trained network: what it is, whom it has seen, and its weights at two epochs.

    Parameters
    ----------
    settings
        Settings of the stage that it was trained with.
    facts
        Classes, widths and places that it was built for.
    system, phase, round
        Names.
    variant, repeat, fold
        What was trained; the fold left out, -1 for none.
    epoch, epochs, chosen_by
        Epoch of the best weights, epochs made, and what chose (``inner`` or ``last``).
    weights
        What it began with, in words.
    prior
        Share of each class among the training clips.
    scales
        Mean and spread of the tokens that it learnt from, by modality; empty where they stay as they are.
    train, inner, held_out
        Sessions learnt from, choosing, and left out.
    best, last
        State dicts.
    """

    settings: PeopleTrainSettings
    facts: PeopleFacts
    system: str
    phase: str
    round: str
    variant: str
    repeat: int
    fold: int
    epoch: int
    epochs: int
    chosen_by: str
    weights: str
    prior: tuple[float, ...]
    train: tuple[str, ...]
    inner: tuple[str, ...]
    held_out: tuple[str, ...]
    best: State
    last: State
    scales: Scales = field(default_factory=dict)

    def see(self, material: PeopleMaterial) -> PeopleMaterial:
        """Return the material on the scale that the network has learnt on."""
        if not self.scales:
            return material
        return replace(material, recordings=ScaledRecordings(material.recordings, self.scales))

    def build(self, checkpoint: Checkpoint = "best") -> nn.Module:
        """Return the network in evaluation mode, on the CPU."""
        plain = self.settings.network.model_copy(update={"weights": "none"})
        network = build_people_network(plain, variant=self.variant, facts=self.facts, seed=0).network
        state = self.best if checkpoint == "best" else self.last
        load_strictly(network, state, what=f"a network {plain.name}", where=f"round {self.round}")
        return network.eval()

    def entry(self) -> dict[str, Any]:
        """Return what ``networks.json`` says of it, but for its files."""
        known = {name: getattr(self, name) for name in _NAMES}
        return known | {name: list(getattr(self, name)) for name in ("train", "inner", "held_out")}


def save_network(trained: TrainedNetwork, folder: Path) -> dict[str, Any]:
    """Write a network, and a card of what it is.

    Parameters
    ----------
    trained
        What is written.
    folder
        Run folder; weights are ``networks/<round>.safetensors`` and ``networks/<round>_last.safetensors``, the card the
        JSON file of the first one's name.

    Returns
    -------
    dict
        Its entry of ``networks.json``.

    Raises
    ------
    StageError
        When it cannot be written.
    """
    entry = trained.entry()
    for name, state, key in (("", trained.best, ""), ("_last", trained.last, "last_")):
        file = Path("networks", f"{trained.round}{name}.safetensors")
        with new_file(folder / file) as temporary:
            save_file({key: state[key].detach().cpu().clone().contiguous() for key in sorted(state)}, temporary)
            entry |= {f"{key}file": file.as_posix(), f"{key}sha256": sha256(temporary)}
    card = entry | {
        "settings": trained.settings.model_dump(mode="json"),
        "facts": trained.facts.plain(),
        "prior": list(trained.prior),
        "scales": {name: [list(values) for values in both] for name, both in trained.scales.items()},
    }
    with new_file((folder / str(entry["file"])).with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    return entry


def load_people_networks(folder: Path) -> list[TrainedNetwork]:
    """Load the networks of a phase.

    Parameters
    ----------
    folder
        Its run folder, with ``networks.json``.

    Returns
    -------
    list of TrainedNetwork
        In the order of the rounds.

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
    return [load_network(folder, entry) for entry in read_json(folder / LIST)["networks"]]


def load_network(folder: Path, entry: Mapping[str, Any]) -> TrainedNetwork:
    """Load one network of the list (see `load_people_networks`)."""
    path = (folder / str(entry["file"])).with_suffix(".json")
    if not path.is_file():
        raise WeightsError(
            "The network's card is not there.",
            where=str(path),
            remedy="Copy the JSON file, too: it says what the weights are.",
        )
    card = read_json(path)
    best, last = (_read(folder / str(entry[f"{key}file"]), str(entry[f"{key}sha256"])) for key in ("", "last_"))
    facts: dict[str, Any] = {name: card[name] for name in _NAMES}
    facts |= {name: tuple(card[name]) for name in ("prior", "train", "inner", "held_out")}
    settings = PeopleTrainSettings.model_validate(card["settings"])
    scales = {name: (tuple(mean), tuple(spread)) for name, (mean, spread) in card["scales"].items()}
    return TrainedNetwork(settings, PeopleFacts.from_plain(card["facts"]), **facts, best=best, last=last, scales=scales)


def _read(path: Path, digest: str) -> State:
    state = read_state(path)
    found = sha256(path)
    if found != digest:
        raise WeightsError(
            f"The weights are not those that were written down: their SHA-256 begins with {found[:8]}.",
            where=str(path),
            expected=f"The file whose SHA-256 begins with {digest[:8]}.",
            remedy="Copy it again, or train again.",
        )
    return state
