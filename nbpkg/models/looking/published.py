"""Checkpoints of the published programs: what they are, by content and shape, never by the file's name."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, cast

import torch

from nbpkg.errors import WeightsError
from nbpkg.models import weights as files
from nbpkg.models.looking.backbone import EncoderName
from nbpkg.models.looking.build import LookingNetwork, WindowNetworkName, make_window_network
from nbpkg.models.looking.options import WindowNetworkOptions
from nbpkg.models.looking.priors import Compat, count_cells, count_confidence_rows, count_head_rows
from nbpkg.models.published import NUMPY_NUMBERS, load_state, read_state

CheckpointKind = Literal["gaze360", "lam", "gaze_lstm", "gazepose", "imagenet"]
OLD_HEAD = "hidden2tag."  # what an early Gaze360 called last_layer
PUBLISHED_HEADS = 8  # weights do not tell
DIGITS = 6  # of the steps that are looked for


@dataclass(frozen=True)
class PublishedWeights:
    """Weights of a published program, and what follows from them.

    Parameters
    ----------
    kind
        ``gaze360``, ``lam``, ``gaze_lstm``, ``gazepose``, or ``imagenet`` for torchvision's ResNet-18.
    state
        Tensors by key; an old name of Gaze360's head is today's.
    options
        Sizes and parts of a network over windows; None for ``gaze360`` and ``imagenet``.
    where
        The file.
    """

    kind: CheckpointKind
    state: files.State
    options: WindowNetworkOptions | None
    where: str

    @property
    def landmark_rows(self) -> Compat:
        """How `quantise_landmarks` has to find rows for these weights: as in the program that wrote them."""
        return "reference" if self.options is not None and self.options.landmarks else "none"


class BuiltFromFile(NamedTuple):
    """A network with published weights, in evaluation mode, and what they are."""

    network: LookingNetwork
    weights: PublishedWeights


def read_published(path: Path) -> PublishedWeights:
    """Read a checkpoint of Gaze360, the challenge (LAM), GazePose or its baseline, or torchvision's ResNet-18.

    Parameters
    ----------
    path
        ``.pth``, ``.pth.tar``, ``.pt`` or ``.safetensors``: a state dict, bare or as entry ``state_dict``, also with
        ``module.`` before every key.

    Returns
    -------
    PublishedWeights
        Priors and grids of GazePose are read from its entries and the sizes of its tables; of steps with as many rows
        the roundest and then the largest counts.

    Raises
    ------
    WeightsError
        When the file is missing, damaged, names anything but tensors, plain data and NumPy's numbers, or is of none of
        these programs.
    """
    state = read_raw(path)
    state = {re.sub(rf"^{re.escape(OLD_HEAD)}", "last_layer.", key): item for key, item in state.items()}
    kind = recognise(state)
    if kind is None:
        raise WeightsError(
            f"The weights are of no known network: their entries begin with {', '.join(list(state)[:3])}.",
            where=str(path),
            expected="A checkpoint of Gaze360, LAM, GazePose or its GazeLSTM, or a ResNet-18 of torchvision.",
            remedy="Choose another checkpoint.",
        )
    options = None if kind in ("gaze360", "imagenet") else _read_options(state, kind, str(path))
    return PublishedWeights(kind, state, options, str(path))


def read_raw(path: Path) -> files.State:
    """Read a state dict, with NumPy's numbers beside it; entries are named as in the file, less ``module.``.

    Parameters
    ----------
    path
        As for `read_published`.

    Raises
    ------
    WeightsError
        When the file is missing, damaged, or names anything else.
    """
    with torch.serialization.safe_globals(list(NUMPY_NUMBERS)):
        return read_state(path)


def recognise(state: Mapping[str, torch.Tensor]) -> CheckpointKind | None:
    """Tell by entries and shapes which network a state dict is of.

    Parameters
    ----------
    state
        Tensors by key.

    Returns
    -------
    str or None
        None when it is none of them.

    Examples
    --------
    >>> recognise({"lstm.bias_hh_l0": torch.zeros(8), "last_layer.weight": torch.zeros(3, 4)})
    'gaze360'
    """
    if "headpos_emeb" in state:
        return "gazepose"
    if "last_layer1.weight" in state and "last_layer2.weight" in state:
        return "lam"
    if "lstm.bias_hh_l0" in state and "last_layer.weight" in state:
        return "gaze360" if len(state["last_layer.weight"]) == 3 else "gaze_lstm"
    if "conv1.weight" in state and "layer4.1.bn2.weight" in state and "fc_yaw.weight" not in state:
        return "imagenet"
    return None


def build_published(path: Path) -> BuiltFromFile:
    """Build the network over windows that a checkpoint is of, with its weights.

    Parameters
    ----------
    path
        As for `read_published`.

    Returns
    -------
    BuiltFromFile
        The network on the CPU, in evaluation mode; its sizes, priors and grids are those of the checkpoint.

    Raises
    ------
    WeightsError
        As `read_published`; when the file is Gaze360's or ImageNet's, which decide nothing about looking; when entries
        do not fit together.
    """
    weights = read_published(path)
    if weights.options is None:
        raise no_decision(weights)
    names: dict[CheckpointKind, WindowNetworkName] = {"lam": "gaze_lstm_lam"}
    name = names.get(weights.kind) or cast("WindowNetworkName", weights.kind)
    with torch.random.fork_rng(devices=[]):
        network = make_window_network(name, weights.options)
    load_state(network, weights.state, where=weights.where)
    return BuiltFromFile(network.eval(), weights)


def no_decision(weights: PublishedWeights) -> WeightsError:
    """Make the error for weights that are a beginning but no trained network."""
    program = "Gaze360, whose head tells angles" if weights.kind == "gaze360" else "a ResNet-18 without such a head"
    return WeightsError(
        f"The weights are of {program}; they do not decide whether somebody looks at the camera.",
        where=weights.where,
        expected="A checkpoint of a trained network over windows.",
        remedy="Train a network that begins with them.",
    )


def _read_options(state: files.State, kind: CheckpointKind, where: str) -> WindowNetworkOptions:
    encoder: EncoderName = "small" if any(key.startswith("base_model.blocks.") for key in state) else "resnet18"
    hidden = _size(state, "lstm.weight_hh_l0", 1, where)
    if kind != "gazepose":
        return WindowNetworkOptions(encoder=encoder, hidden=hidden)
    head, landmarks = "yaw_embed.weight" in state, "joint_embed.weight" in state
    usual = WindowNetworkOptions()
    split, dsplit, csplit = usual.split, usual.dsplit, usual.csplit
    if head:
        split = _find_step(state, "yaw_embed.weight", 90, count_head_rows, where=where)
    if landmarks:
        dsplit = _find_step(state, "joint_embed.weight", 4, lambda step: count_cells(step) ** 2, where=where)
        csplit = _find_step(state, "c_embed.weight", 1, count_confidence_rows, where=where)
    width = _size(state, "headpos_emeb", 1, where)
    if width % PUBLISHED_HEADS:
        raise _unfit(f"headpos_emeb has the width {width}", f"A multiple of {PUBLISHED_HEADS}, the heads.", where)
    return WindowNetworkOptions(
        encoder=encoder,
        hidden=hidden,
        head=head,
        landmarks=landmarks,
        split=split,
        dsplit=dsplit,
        csplit=csplit,
        dmodel=width,
        heads=PUBLISHED_HEADS,
        feedforward=_size(state, "transformer.decoder.layers.0.linear1.weight", 0, where),
        encoder_layers=_count_layers(state, "encoder"),
        decoder_layers=_count_layers(state, "decoder"),
    )


def _find_step(state: files.State, key: str, most: float, count: Callable[[float], int], *, where: str) -> float:
    """Find the step, up to `most`, that has as many rows as a table."""
    rows = _size(state, key, 0, where)
    for digits in range(DIGITS + 1):
        scale = float(10**digits)
        below, above = 1, int(most * scale)  # more rows for smaller steps: halve until the largest with enough is found
        while below < above:
            middle = (below + above + 1) // 2
            below, above = (middle, above) if count(middle / scale) >= rows else (below, middle - 1)
        if below and count(below / scale) == rows:
            return below / scale
    raise _unfit(f"{key} has {rows} rows", "As many as some step gives.", where)


def _count_layers(state: files.State, part: str) -> int:
    return sum(re.fullmatch(rf"transformer\.{part}\.layers\.\d+\.norm1\.weight", key) is not None for key in state)


def _size(state: files.State, key: str, axis: int, where: str) -> int:
    """Return a size of a matrix."""
    shape = tuple(state[key].shape) if key in state else ()
    if len(shape) != 2 or 0 in shape:
        raise _unfit(f"{key} is missing" if key not in state else f"{key} has the shape {shape}", "A matrix.", where)
    return int(shape[axis])


def _unfit(what: str, expected: str, where: str) -> WeightsError:
    return WeightsError(
        f"The weights do not fit together: {what}.",
        where=where,
        expected=expected,
        remedy="Copy the file again, or choose another checkpoint.",
    )
