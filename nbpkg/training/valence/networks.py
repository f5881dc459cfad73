"""Networks over sequences as files: weights with the preparation they need, a card beside them, and one list."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from nbpkg.datasets.valence.preparation import Preparation
from nbpkg.errors import StageError, WeightsError
from nbpkg.models.valence.build import NetworkName, SequenceNetwork, build_network
from nbpkg.models.valence.options import NetworkOptions
from nbpkg.models.weights import State, load_strictly, read_state
from nbpkg.runs.files import new_file, read_json, sha256

LIST = "networks.json"
NETWORK, PREPARATION = "network.", "preparation."


@dataclass(frozen=True)
class Shape:
    """What a network is, before it has weights.

    Parameters
    ----------
    name
        Of the network.
    modalities
        In the order in which it takes them.
    widths
        Features of each, as prepared.
    options
        Sizes and shares of dropout.
    """

    name: NetworkName
    modalities: tuple[str, ...]
    widths: Mapping[str, int]
    options: NetworkOptions

    def build(self) -> SequenceNetwork:
        """Build it, at random."""
        return build_network(self.name, self.modalities, widths=self.widths, options=self.options)

    def facts(self) -> dict[str, Any]:
        """Describe it in plain data."""
        options = json.loads(json.dumps(asdict(self.options)))
        return {
            "network": self.name,
            "modalities": list(self.modalities),
            "widths": dict(self.widths),
            "options": options,
        }


@dataclass(frozen=True)
class Trained:
    """A network, how its inputs are prepared, and what it was trained for.

    Parameters
    ----------
    network
        On the CPU, in evaluation mode.
    preparation
        Fitted on exactly its training sessions.
    shape
        What the network is.
    system, phase
        Names.
    round, fold
        The training; the fold left out, -1 for none.
    epoch, chosen_by
        Epoch kept, and what chose it.
    train, inner, held_out
        Sessions learnt from, choosing, and left out.
    subject
        Whose network it is; empty for everybody's.
    """

    network: SequenceNetwork
    preparation: Preparation
    shape: Shape
    system: str
    phase: str
    round: str
    fold: int
    epoch: int
    chosen_by: str
    train: tuple[str, ...]
    inner: tuple[str, ...]
    held_out: tuple[str, ...]
    subject: str = ""

    def with_weights(self, state: State, *, epoch: int, chosen_by: str, where: str) -> Trained:
        """Return the same training at another epoch."""
        network = copy.deepcopy(self.network)
        load_strictly(network, state, what=f"round {self.round}", where=where)
        return replace(self, network=network.eval(), epoch=epoch, chosen_by=chosen_by)

    def of_phase(self, phase: str) -> Trained:
        """Return the same network as what another phase leaves."""
        return replace(self, phase=phase)


def save_trained(trained: Trained, folder: Path) -> dict[str, Any]:
    """Write a network with its preparation, and a card of what it is.

    Parameters
    ----------
    trained
        What is written.
    folder
        Run folder; the file is ``networks/<round>.safetensors``, the card the JSON file of the same name.

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
    tensors = {f"{NETWORK}{key}": value for key, value in trained.network.state_dict().items()}
    tensors |= {f"{PREPARATION}{key}": value for key, value in trained.preparation.tensors().items()}
    whole = {key: tensors[key].detach().cpu().clone().contiguous() for key in sorted(tensors)}
    entry = {
        "round": trained.round,
        "fold": trained.fold,
        "epoch": trained.epoch,
        "file": file.as_posix(),
        "train": list(trained.train),
        "held_out": list(trained.held_out),
        "inner": list(trained.inner),
        "chosen_by": trained.chosen_by,
        "subject": trained.subject,
    }
    with new_file((folder / file).with_suffix(".json")) as card, new_file(folder / file) as weights:
        save_file(whole, weights)
        entry["sha256"] = sha256(weights)
        facts = {**trained.shape.facts(), "preparation": trained.preparation.facts(), "system": trained.system}
        card.write_text(json.dumps({**facts, "phase": trained.phase, **entry}, indent=2) + "\n", encoding="utf-8")
    return entry


def load_valence_networks(folder: Path) -> list[Trained]:
    """Load the networks of a phase.

    Parameters
    ----------
    folder
        Its run folder, with ``networks.json``.

    Returns
    -------
    list of Trained
        In the order of the rounds.

    Raises
    ------
    StageError
        When the phase has no list of networks.
    WeightsError
        When a file is missing, damaged, another one than was written down, or does not fit.
    """
    if not (folder / LIST).is_file():
        raise StageError(
            "The phase has left no list of networks.",
            where=str(folder / LIST),
            remedy="Run notebooks/05_train.ipynb with this phase first.",
        )
    return [load_trained(folder / entry["file"], entry["sha256"]) for entry in read_json(folder / LIST)["networks"]]


def load_trained(path: Path, digest: str | None = None) -> Trained:
    """Load one network that `save_trained` wrote.

    Parameters
    ----------
    path
        ``.safetensors``; the card lies beside it.
    digest
        SHA-256 that the file must have; None takes the card's.

    Raises
    ------
    WeightsError
        As `load_valence_networks` says.
    """
    tensors = read_state(path)
    card_path = path.with_suffix(".json")
    if not card_path.is_file():
        raise WeightsError(
            "The network's card is not there.",
            where=str(card_path),
            remedy="Copy the JSON file, too: it says what the weights are.",
        )
    card = read_json(card_path)
    found = sha256(path)
    if found != (digest or card["sha256"]):
        raise WeightsError(
            f"The weights are not those that were written down: their SHA-256 begins with {found[:8]}.",
            where=str(path),
            expected=f"The file whose SHA-256 begins with {(digest or card['sha256'])[:8]}.",
            remedy="Copy it again, or train again.",
        )
    shape = Shape(card["network"], tuple(card["modalities"]), card["widths"], NetworkOptions(**card["options"]))
    network = shape.build()
    load_strictly(network, _part(tensors, NETWORK), what=f"a network {shape.name}", where=str(path))
    names = ("system", "phase", "round", "fold", "epoch", "chosen_by", "subject")
    facts: dict[str, Any] = {name: card[name] for name in names}
    facts |= {name: tuple(card[name]) for name in ("train", "inner", "held_out")}
    preparation = Preparation.from_tensors(_part(tensors, PREPARATION), card["preparation"])
    return Trained(network.eval(), preparation, shape, **facts)


def write_list(folder: Path, networks: Mapping[str, Any]) -> None:
    """Write ``networks.json`` where no stage does it."""
    with new_file(folder / LIST) as temporary:
        temporary.write_text(json.dumps(networks, indent=2) + "\n", encoding="utf-8")


def _part(tensors: State, prefix: str) -> State:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
