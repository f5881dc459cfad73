"""Our own checkpoints: weights as ``<name>.safetensors``, and all that is needed to run them as ``<name>.json``."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveInt, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save

from nbpkg.errors import WeightsError
from nbpkg.models import weights as files
from nbpkg.models.encoders import ENCODERS
from nbpkg.models.network import Net, build_network
from nbpkg.runs.files import new_file, sha256


def _check_rate(text: str) -> str:
    """Check a rate, kept as text because readers of JSON do not agree on numbers such as 30000/1001."""
    try:
        above = Fraction(text) > 0
    except ZeroDivisionError:
        above = False
    if not above:
        raise ValueError("must be a fraction above zero")
    return text


class Preparation(BaseModel):
    """How clips are prepared for the network.

    Parameters
    ----------
    size, frames
        Side (pixels) and length (frames) of a clip.
    mean, std
        Normalisation for pixels on the 0..1 scale.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: PositiveInt
    frames: PositiveInt
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class Card(BaseModel):
    """Everything needed to run a checkpoint and to know where it comes from.

    Parameters
    ----------
    encoder
        One of `nbpkg.models.encoders.ENCODERS`.
    classes
        Names of the classes in order of the scores.
    task, variable
        The pair that the network was trained for.
    clip_ms
        Length of a clip.
    preprocess
        How clips are prepared.
    fps
        Frames per second of the prepared videos, as a fraction in text, e.g. ``25/8``.
    train_size, test_size
        Side of the clips in training and in use, in pixels.
    part
        ``network``, or ``head`` where the file holds the classifier alone.
    training
        Facts about the training, plain data; what is not a number is written as null.
    sha256
        Of the file of weights; filled in when the checkpoint is written.
    format, version
        Of the checkpoint.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["nbpkg checkpoint"] = "nbpkg checkpoint"
    version: Literal[1] = 1
    encoder: str
    classes: tuple[str, str]
    task: str
    variable: str
    clip_ms: PositiveInt
    preprocess: Preparation
    fps: Annotated[str, AfterValidator(_check_rate)]
    train_size: PositiveInt
    test_size: PositiveInt
    part: Literal["network", "head"] = "network"
    training: dict[str, Any] = Field(default_factory=dict)
    sha256: str = ""


def save_checkpoint(path: Path, state: Mapping[str, torch.Tensor], *, card: Card) -> Card:
    """Write weights and card, each complete or not at all, the same bytes for the same content.

    Parameters
    ----------
    path
        ``<folder>/<name>.safetensors``; the card goes beside it as ``<name>.json``.
    state
        State dict of a `Net` or, for the part ``head``, of a `Classifier`; on any device.
    card
        Its `sha256` is filled in.

    Returns
    -------
    Card
        As written.

    Raises
    ------
    StageError
        When the folder cannot be written or the disk is full.
    """
    # Clones, because safetensors refuses tensors that share memory, such as slices of one batched training.
    tensors = {key: state[key].detach().cpu().clone(memory_format=torch.contiguous_format) for key in sorted(state)}
    # Both files are complete before the first is renamed: only a kill in the instant between the renames leaves an old
    # card beside new weights, and reading then says so.
    with new_file(_card_path(path)) as card_file, new_file(path) as weights_file:
        weights_file.write_bytes(save(tensors))
        written = card.model_copy(update={"sha256": sha256(weights_file)})
        card_file.write_text(written.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return written


def read_checkpoint(path: Path) -> tuple[Card, files.State]:
    """Read weights and card written by `save_checkpoint`, and check that both are whole and belong together.

    Parameters
    ----------
    path
        ``<folder>/<name>.safetensors``.

    Returns
    -------
    Card
        What the weights are.
    dict
        Tensors on the CPU, by key.

    Raises
    ------
    WeightsError
        When a file is missing, cut or changed, or the card does not say what it must.
    """
    if not path.is_file():
        raise WeightsError(
            "The checkpoint is not there.",
            where=str(path),
            expected="A file <name>.safetensors with its card <name>.json beside it.",
            remedy="Correct the path, or train the network first.",
        )
    card = _read_card(_card_path(path))
    found = sha256(path)
    if found != card.sha256:
        raise WeightsError(
            f"The weights are cut, changed or not those of the card: their SHA-256 begins with {found[:8]}.",
            where=str(path),
            expected=f"The file whose SHA-256 begins with {card.sha256[:8]}, as {_card_path(path).name} says.",
            remedy="Copy both files again, or train again.",
        )
    try:
        return card, dict(sorted(load(path.read_bytes()).items()))  # safetensors keeps no order
    except (SafetensorError, *files.UNREADABLE) as error:
        raise WeightsError(
            f"The file holds no weights: {error}.",
            where=str(path),
            expected="A file in safetensors format.",
            remedy="Copy both files again, or train again.",
        ) from None


def load_network(path: Path) -> tuple[Net, Card]:
    """Build the network of a checkpoint with its weights.

    Parameters
    ----------
    path
        ``<folder>/<name>.safetensors``.

    Returns
    -------
    Net
        On the CPU, in evaluation mode.
    Card
        How to run it.

    Raises
    ------
    WeightsError
        When the checkpoint cannot be read (see `read_checkpoint`), holds a head only, or does not fit key by key.
    """
    card, state = read_checkpoint(path)
    if card.part != "network":
        raise WeightsError(
            "The checkpoint holds a head without its encoder.",
            where=str(path),
            expected="A checkpoint of a whole network.",
            remedy="Build the network with the head's encoder and put the head in with network.load_head.",
        )
    facts = ENCODERS[card.encoder]
    net = build_network(card.encoder, "none", seed=0, size=facts.size, frames=facts.frames)
    files.load_strictly(net, state, what=f"a network with encoder {card.encoder}", where=str(path))
    return net, card


def _card_path(path: Path) -> Path:
    if path.suffix != ".safetensors":
        raise WeightsError(
            f"A checkpoint's name cannot end in {path.suffix!r}.",
            where=str(path),
            expected="<name>.safetensors.",
            remedy="Correct the path; published files come in through nbpkg.models.pickled.import_published.",
        )
    return path.with_suffix(".json")


def _read_card(path: Path) -> Card:
    if not path.is_file():
        raise WeightsError(
            "The checkpoint's card is not there.",
            where=str(path),
            expected="The JSON file that was written beside the weights.",
            remedy="Copy it, too: it says how the weights are used.",
        )
    try:
        card = Card.model_validate_json(path.read_bytes())
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, item['loc'])) or 'the file'}: {item['msg']}" for item in error.errors()]
        raise WeightsError(
            f"The checkpoint's card cannot be used: {'; '.join(faults[:5])}.",
            where=str(path),
            expected="A card of the format 'nbpkg checkpoint', version 1.",
            remedy="Copy it again, or read it with the version of this package that wrote it.",
        ) from None
    if card.encoder not in ENCODERS:
        raise WeightsError(
            f"The checkpoint was made for an unknown encoder {card.encoder!r}.",
            where=str(path),
            expected=f"One of {', '.join(ENCODERS)}.",
            remedy="Read it with the version of this package that wrote it.",
        )
    return card
