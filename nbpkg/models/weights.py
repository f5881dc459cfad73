"""Files of weights: read without running anything they hold, and fitted strictly, key by key."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from nbpkg.errors import WeightsError

State = dict[str, torch.Tensor]

# What torch and pickle raise at damaged or foreign files; each means the same to the user.
UNREADABLE = (
    OSError,
    RuntimeError,
    pickle.UnpicklingError,
    EOFError,
    LookupError,
    AttributeError,
    TypeError,
    ValueError,
    OverflowError,
    AssertionError,
    struct.error,
)


def read_state(path: Path) -> State:
    """Read a plain state dict from a file of weights.

    Parameters
    ----------
    path
        ``.safetensors``, or ``.pt``/``.pth`` as written by ``torch.save(model.state_dict(), path)``.

    Returns
    -------
    dict
        Tensors on the CPU, by key.

    Raises
    ------
    WeightsError
        When the file is missing, damaged, or holds anything but named tensors.
    """
    if not path.is_file():
        raise WeightsError(
            "The weights file is not there.",
            where=str(path),
            expected="A state dict as .safetensors, .pt or .pth.",
            remedy="Put the file there, or set the weights to 'none' to try the pipeline without.",
        )
    try:
        if path.suffix == ".safetensors":
            return dict(sorted(load_file(path).items()))  # the file keeps no order
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, *UNREADABLE) as error:
        raise WeightsError(
            f"The file holds no plain weights, or is cut: {_first_sentence(error)}",
            where=str(path),
            expected="A state dict: tensors by name and nothing else.",
            remedy="Copy the file again; bring a pickled network in through nbpkg.models.pickled.import_published.",
        ) from None
    if not is_state(state):
        raise WeightsError(
            f"The file holds a {type(state).__name__} that is no state dict.",
            where=str(path),
            expected="Tensors by name and nothing else.",
            remedy="Save it with torch.save(model.state_dict(), path).",
        )
    return dict(state)


def is_state(value: object) -> bool:
    """Whether a value is a mapping from names to tensors with at least one entry."""
    return (
        isinstance(value, dict)
        and len(value) > 0
        and all(isinstance(key, str) and isinstance(item, torch.Tensor) for key, item in value.items())
    )


def load_strictly(module: nn.Module, state: Mapping[str, torch.Tensor], *, what: str, where: str) -> None:
    """Copy a state dict into a network of which every key and shape must agree.

    Parameters
    ----------
    module
        The network; left as it is when the weights do not fit.
    state
        Tensors by key.
    what
        Name of the network, for the message, e.g. ``mc3_18``.
    where
        The file from which the weights come, for the message.

    Raises
    ------
    WeightsError
        Naming the first missing, unexpected and mis-shaped keys, with their counts.
    """
    differences = compare_keys({key: tuple(item.shape) for key, item in module.state_dict().items()}, state)
    if differences:
        raise WeightsError(
            f"The weights do not fit {what}: {'; '.join(differences)}.",
            where=where,
            expected=f"The {len(module.state_dict())} entries of {what}'s state dict and no others.",
            remedy="Use weights of this network, or name the network they were made for.",
        )
    module.load_state_dict(state, strict=True)


def compare_keys(
    expected: Mapping[str, tuple[int, ...]], state: Mapping[str, torch.Tensor], *, limit: int = 3
) -> list[str]:
    """Say how a state dict differs from what a network expects.

    Parameters
    ----------
    expected
        Shape of each entry.
    state
        Tensors by key.
    limit
        How many keys of each kind to name; all are counted.

    Returns
    -------
    list of str
        One text for each kind of difference; empty when everything fits.
    """
    missing = [key for key in expected if key not in state]
    extra = [key for key in state if key not in expected]
    shaped = [
        f"{key} is {_spell(state[key].shape)} instead of {_spell(shape)}"
        for key, shape in expected.items()
        if key in state and tuple(state[key].shape) != shape
    ]
    kinds = (("missing", missing), ("unexpected", extra), ("of another shape", shaped))
    return [f"{len(keys)} {name} ({_list(keys, limit)})" for name, keys in kinds if keys]


def _spell(shape: torch.Size | tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "a single number"


def _list(keys: list[str], limit: int) -> str:
    return ", ".join(keys[:limit]) + (", …" if len(keys) > limit else "")


def _first_sentence(error: BaseException) -> str:
    """Torch's messages go on with advice to switch its protection off, which nobody should follow."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0].split('. ')[0].rstrip('.')}." if text else f"{type(error).__name__}."
