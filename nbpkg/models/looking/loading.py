"""What a network over windows begins with, and how a trained one comes back; told entry by entry.

A training begins with the crops' network and the LSTM of any checkpoint that has them; an evaluation takes whole
checkpoints of its own network only. Which is which follows from content and shapes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import torch
import torchvision
from torch import nn

from nbpkg.errors import Problem, WeightsError, raise_all
from nbpkg.models import weights as files
from nbpkg.models.encoders import fetch_weights
from nbpkg.models.looking.backbone import FaceEncoder, SmallFaceEncoder
from nbpkg.models.looking.published import CheckpointKind, PublishedWeights, no_decision, read_published, recognise
from nbpkg.models.published import COUNTER, load_state

COLUMNS = ("key", "status", "reason")
IMAGENET = "IMAGENET1K_V1"
IMAGENET_NAMES = ("imagenet", IMAGENET)
TRUNK = ("base_model.", "lstm.")
HEAD = ("last_layer.", "last_layer1.", "last_layer2.")


def begin_from(network: nn.Module, weights: str | Path, *, cache: Path | None = None) -> pd.DataFrame:
    """Begin a training with published weights, as far as they are for this network.

    Parameters
    ----------
    network
        Over windows, or Gaze360; left as it is when the weights do not fit.
    weights
        ``imagenet`` (torchvision's ResNet-18, ``IMAGENET1K_V1``), or a file: a checkpoint of Gaze360, LAM, GazePose or
        its baseline, or torchvision's ResNet-18.
    cache
        Folder of downloaded weights; None for torchvision's own.

    Returns
    -------
    pandas.DataFrame
        One row per entry: ``key``; ``status``: ``loaded``, ``initial`` (of the network, not loaded) or ``dropped`` (of
        the file, not used); ``reason``. A head of another network is never loaded, nor a table of another grid.

    Raises
    ------
    WeightsError
        When the file is missing, damaged or of no known network; when the network of crops or the LSTM has other
        shapes, which would be a training from nothing.
    """
    found = _fetch(weights, cache)
    own = network.state_dict()
    state = _place(found)
    reasons = {key: reason for key in state if (reason := _refuse(key, state, own, found.kind))}
    kept = {key: item for key, item in state.items() if key not in reasons}
    _check_trunk(own, state, found)
    initial = [key for key in own if key not in kept]
    load_state(network, kept, where=found.where, allow=initial)
    rows = [(key, "loaded", "") for key in own if key in kept]
    rows += [(key, "initial", reasons.get(key, "the file has no such entry")) for key in initial]
    rows += [(key, "dropped", reason) for key, reason in reasons.items()]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def begin_encoder(
    encoder: FaceEncoder | SmallFaceEncoder, weights: str | Path, *, cache: Path | None = None
) -> pd.DataFrame:
    """Give a network of crops alone the weights that it has in a checkpoint; parameters as for `begin_from`.

    Raises
    ------
    WeightsError
        As `begin_from`.
    """
    return begin_from(nn.ModuleDict({"base_model": encoder}), weights, cache=cache)


def load_whole(network: nn.Module, path: Path) -> pd.DataFrame:
    """Load a trained network for evaluation: every entry, or an error.

    Parameters
    ----------
    network
        Over windows, or Gaze360; left as it is when the weights do not fit.
    path
        As for `nbpkg.models.looking.published.read_published`.

    Returns
    -------
    pandas.DataFrame
        As `begin_from` gives it; all is ``loaded``, except counters of batches in files of old programs.

    Raises
    ------
    WeightsError
        When the file is missing, damaged, of another network, or does not fit entry by entry.
    """
    found = read_published(path)
    own = network.state_dict()
    kind = recognise(own)
    if found.kind != kind:
        if found.options is None:
            raise no_decision(found)
        raise WeightsError(
            f"The checkpoint is of {found.kind}, the network is {kind}.",
            where=found.where,
            expected=f"A checkpoint of {kind}.",
            remedy="Choose the network that the checkpoint was made with, or begin a training with it.",
        )
    load_state(network, found.state, where=found.where)
    rows = [
        (key, "loaded", "") if key in found.state else (key, "initial", "the file has no such entry") for key in own
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def describe_loading(table: pd.DataFrame) -> str:
    """Say in a sentence what a table of `begin_from` or `load_whole` holds.

    Examples
    --------
    >>> rows = [("lstm.bias", "loaded", ""), ("last_layer.bias", "initial", ""), ("last_layer.bias", "dropped", "")]
    >>> describe_loading(pd.DataFrame(rows, columns=["key", "status", "reason"]))
    '1 entry loaded; 1 left initial (last_layer); 1 of the file dropped (last_layer)'
    """
    keys = {status: list(table.loc[table["status"] == status, "key"]) for status in ("loaded", "initial", "dropped")}
    parts = [f"{len(keys['loaded'])} {'entry' if len(keys['loaded']) == 1 else 'entries'} loaded"]
    if keys["initial"]:
        parts.append(f"{len(keys['initial'])} left initial ({_modules(keys['initial'])})")
    if keys["dropped"]:
        parts.append(f"{len(keys['dropped'])} of the file dropped ({_modules(keys['dropped'])})")
    return "; ".join(parts)


def _fetch(weights: str | Path, cache: Path | None) -> PublishedWeights:
    if str(weights) not in IMAGENET_NAMES:
        return read_published(Path(weights))
    member = torchvision.models.get_model_weights("resnet18")[IMAGENET]
    return PublishedWeights("imagenet", fetch_weights(member, folder=cache), None, member.url)


def _place(found: PublishedWeights) -> files.State:
    """Give entries the names that they have in a network over windows."""
    if found.kind != "imagenet":
        return found.state
    return {key if key.startswith("fc.") else f"base_model.{key}": item for key, item in found.state.items()}


def _refuse(key: str, state: Mapping[str, torch.Tensor], own: Mapping[str, torch.Tensor], kind: CheckpointKind) -> str:
    """Say why an entry of a file is not used; nothing if it is."""
    if key.startswith(HEAD) and recognise(own) != kind:
        return "the head of another network"
    if key not in own:
        return "the network has no such entry"
    if state[key].shape != own[key].shape:
        return f"of the shape {list(state[key].shape)}, in the network {list(own[key].shape)}"
    return ""


def _check_trunk(own: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor], found: PublishedWeights) -> None:
    """Check that the network of crops and the LSTM come from the file as a whole."""
    new = ("base_model.fc1.", "base_model.fc2.", "lstm.") if found.kind == "imagenet" else ()
    problems = []
    for key, item in own.items():
        if not key.startswith(TRUNK) or key.startswith(new) or key.endswith(COUNTER):
            continue
        if key not in state:
            problems.append(Problem(f"{key} is missing."))
        elif state[key].shape != item.shape:
            problems.append(Problem(f"{key} is {list(state[key].shape)} instead of {list(item.shape)}."))
    raise_all(problems, WeightsError, summary=f"the weights in {found.where} are for other sizes.", limit=3)


def _modules(keys: list[str]) -> str:
    return ", ".join(dict.fromkeys(key.split(".", 1)[0] for key in keys))
