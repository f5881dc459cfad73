"""Checkpoints of mmaction2 and ImageNet's ResNet-50, read without running what they hold.

A checkpoint of mmaction2 holds a state dict, what the optimiser remembers, and notes (``meta``) with numbers of NumPy
among them, which torch's restricted reader refuses. Exactly these types are let in; nothing else that a file
names is run.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

import pandas as pd
import torch
import torchvision
from torch import nn

from nbpkg.errors import Problem, WeightsError, raise_all
from nbpkg.models import weights as files
from nbpkg.models.encoders import fetch_weights
from nbpkg.models.published import NUMPY_NUMBERS, load_state, read_state

HEAD = "cls_head."
COUNTER = "num_batches_tracked"
IMAGENET = ("IMAGENET1K_V1", "IMAGENET1K_V2")
HOST = "download.openmmlab.com/mmaction"


def load_mm_checkpoint(network: nn.Module, path: Path, *, strict: bool = True, skip_head: bool = False) -> pd.DataFrame:
    """Copy a checkpoint of mmaction2 into a network.

    Parameters
    ----------
    network
        With mmaction2's names of entries, ``backbone.*`` and ``cls_head.*``; left as it is when the weights do not fit.
    path
        ``.pth``, ``.pt`` or ``.safetensors``: ``state_dict``, ``meta`` and ``optimizer``, or a bare state dict; also
        with ``module.`` before every key.
    strict
        Whether each entry has to be there and fit. If not, what is missing or has another shape stays as it is in the
        network, what is not known is left out, and the table says which.
    skip_head
        Whether the last layer, which depends on the classes, stays as it is in the network, whatever the file has.

    Returns
    -------
    pandas.DataFrame
        One row per module: ``module``, numbers of entries ``loaded``, ``initial``, ``left_out``, ``missing``,
        ``unexpected``, ``mismatched``, and ``note``: the file and the names of what is not from it.

    Raises
    ------
    WeightsError
        When the file is missing, damaged or names anything but tensors, plain data and NumPy's numbers; when its head
        is for another number of classes; when weights do not fit, module by module; when nothing of the backbone does.

    Notes
    -----
    The published program skips whatever does not fit with a line in its log, and so may train from nothing.
    """
    state = _read(path)
    own, head = network.state_dict(), _head_patterns(network)
    if skip_head:
        left = {key for key in {**own, **state} if _matches(key, head)}
    else:
        left = set()
        if strict:
            _check_head(own, state, head, path)
    if not strict:
        left |= {key for key, item in state.items() if key not in own or own[key].shape != item.shape}
        left |= {key for key in own if key not in state}
    kept = {key: item for key, item in state.items() if key not in left or key not in own}
    if not any(key in own and key not in left and not key.startswith(HEAD) for key in state):
        raise _nothing_fits(state, own, path)
    table = load_state(network, kept, where=str(path), allow=sorted(left))
    return _note(table, str(path), {key for key in left if not key.endswith(COUNTER)})


def load_imagenet(network: nn.Module, weights: str | Path, *, cache: Path | None = None) -> pd.DataFrame:
    """Begin a classifier of clips with the weights of ImageNet's ResNet-50, repeated over time where it needs that.

    Parameters
    ----------
    network
        One whose backbone is a ResNet-50 by its shapes: I3D, SlowOnly, SlowFast (the slow pathway), TSN, TSM, TRN.
    weights
        ``IMAGENET1K_V1`` (what the published training used) or ``IMAGENET1K_V2``, or a file with torchvision's state
        dict of a ResNet-50.
    cache
        Folder of downloaded weights; None for torchvision's own.

    Returns
    -------
    pandas.DataFrame
        As `load_mm_checkpoint` gives it: head, fast pathway and lateral connections are ``initial``.

    Raises
    ------
    WeightsError
        When weights cannot be downloaded or read, or the backbone has other shapes.

    Source: inflation as in Carreira & Zisserman, CVPR 2017.
    """
    if str(weights) in IMAGENET:
        member = torchvision.models.get_model_weights("resnet50")[str(weights)]
        state, where = fetch_weights(member, folder=cache), member.url
    else:
        state, where = _read(Path(weights)), str(weights)
    own = network.state_dict()
    prefix = "backbone.slow_path." if any(key.startswith("backbone.slow_path.") for key in own) else "backbone."
    inflated = inflate_resnet(state, own, prefix=prefix, where=where)
    initial = {key for key in own if not key.startswith(prefix) or "_lateral." in key}
    table = load_state(network, inflated, where=where, allow=sorted(initial))
    return _note(table, where, {key for key in initial if not key.endswith(COUNTER)})


def inflate_resnet(state: files.State, own: files.State, *, prefix: str, where: str) -> files.State:
    """Rename torchvision's entries of a ResNet and bring its convolutions to those over time.

    Parameters
    ----------
    state
        State dict of torchvision's ``resnet50``; its classifier ``fc`` is left out.
    own
        State dict of the network to come.
    prefix
        Before every key of the backbone.
    where
        File of the weights, for messages.

    Returns
    -------
    dict
        Convolutions over T frames are the published ones T times, divided by T, so that a still film gives the
        published maps; channels that come from elsewhere (the slow pathway's) begin at zero.

    Raises
    ------
    WeightsError
        Listing entries that the network does not have, or has with another shape.
    """
    found, problems = {}, []
    for key, item in state.items():
        if key.startswith("fc."):
            continue
        name = prefix + rename_resnet(key)
        shifted = name.removesuffix("weight") + "net.weight"
        name = shifted if name not in own and shifted in own else name
        if name not in own:
            problems.append(Problem(f"{key} would be {name}, which the network does not have."))
            continue
        grown = _grow(item, own[name].shape)
        if grown.shape != own[name].shape:
            problems.append(Problem(f"{key} is {list(item.shape)}, {name} is {list(own[name].shape)}."))
        found[name] = grown
    raise_all(problems, WeightsError, summary=f"the ResNet in {where} does not fit the network.", limit=3)
    return found


def rename_resnet(key: str) -> str:
    """Return mmaction2's name of an entry of torchvision's ResNet.

    Examples
    --------
    >>> rename_resnet("layer1.0.bn2.bias"), rename_resnet("conv1.weight"), rename_resnet("layer2.0.downsample.1.weight")
    ('layer1.0.conv2.bn.bias', 'conv1.conv.weight', 'layer2.0.downsample.bn.weight')
    """
    *place, kind = key.split(".")
    if place[-2:-1] == ["downsample"]:
        place[-1] = {"0": "conv", "1": "bn"}.get(place[-1], place[-1])
    elif place and place[-1].startswith("conv"):
        place.append("conv")
    elif place and place[-1].startswith("bn"):
        place[-1:] = [f"conv{place[-1].removeprefix('bn')}", "bn"]
    return ".".join([*place, kind])


def _grow(item: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """Repeat a convolution over time, and give it channels of zeros where more come in."""
    if item.ndim == 4 and len(shape) == 5:
        item = item.unsqueeze(2).repeat(1, 1, shape[2], 1, 1) / shape[2]
    if item.ndim == 5 and len(shape) == 5 and shape[1] > item.shape[1]:
        more = shape[1] - item.shape[1]
        item = torch.cat([item, item.new_zeros(item.shape[0], more, *item.shape[2:])], dim=1)
    return item


def _read(path: Path) -> files.State:
    if not path.is_file():
        raise WeightsError(
            "The checkpoint is not there.",
            where=str(path),
            expected="A file as mmaction2 or torch.save writes it.",
            remedy=f"Download it from {HOST} (recognition or skeleton) and put it there, or begin with random weights.",
        )
    with torch.serialization.safe_globals(list(NUMPY_NUMBERS)):
        return read_state(path)


def _head_patterns(network: nn.Module) -> tuple[str, ...]:
    """Return patterns of the entries that depend on the number of classes."""
    last: tuple[str, ...] = getattr(getattr(network, "cls_head", None), "last", (f"{HEAD}*",))
    return last


def _matches(key: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(key, pattern) for pattern in patterns)


def _check_head(own: files.State, state: files.State, head: tuple[str, ...], path: Path) -> None:
    """Say what is the matter when only the number of classes differs."""
    for key, item in own.items():
        if key in state and _matches(key, head) and state[key].shape != item.shape:
            raise WeightsError(
                f"The checkpoint's head is for another number of classes: {key} is {list(state[key].shape)} instead of"
                f" {list(item.shape)}.",
                where=str(path),
                expected="A head for the classes of this network.",
                remedy="Set skip_head to begin with a new head, or build the network for the checkpoint's classes.",
            )


def _nothing_fits(state: files.State, own: files.State, path: Path) -> WeightsError:
    return WeightsError(
        f"Nothing of the checkpoint fits the network: its entries begin with {', '.join(list(state)[:3])}.",
        where=str(path),
        expected=f"Entries such as {', '.join(list(own)[:3])}.",
        remedy="Choose the checkpoint of this network.",
    )


def _note(table: pd.DataFrame, where: str, others: set[str]) -> pd.DataFrame:
    """Name in each module's row what is not from the file."""
    notes = []
    for module in table["module"]:
        names = sorted(key for key in others if key.split(".", 1)[0] == module)
        more = f" and {len(names) - 4} more" if len(names) > 4 else ""
        notes.append(f"{where}; not from it: {', '.join(names[:4])}{more}" if names else where)
    return table.assign(note=notes)
