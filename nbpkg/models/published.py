"""Published checkpoints: read without running what they hold, fitted key by key, told module by module."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from nbpkg.errors import Problem, WeightsError, raise_all
from nbpkg.models import weights as files

COLUMNS = ("module", "loaded", "initial", "left_out", "missing", "unexpected", "mismatched", "note")
COUNTED = COLUMNS[1:-1]
FAULTS = ("missing", "unexpected", "mismatched")
WRAPPERS = ("model", "state_dict")
PARALLEL = "module."  # what torch's DataParallel puts before every key
COUNTER = "num_batches_tracked"

# What a temporal network may keep as initial when it starts from a spatial checkpoint.
FROM_SPATIAL = ("convlstm_scene.*", "*.bn_ds.*")
# What may differ between Gaze-LLE with and without in/out.
WITHOUT_INOUT = ("inout_token.*", "inout_head.*")

# NumPy's numbers, as which programs write scores and notes, and what their pickles consist of: with them as safe
# globals, `read_state` reads such files, too. Old files use the name that NumPy had before version 2.
_SCALAR = cast("Callable[..., object]", np.float64(0).__reduce__()[0])
NUMPY_NUMBERS: tuple[Callable[..., object] | tuple[Callable[..., object], str], ...] = (
    np.dtype,
    _SCALAR,
    (_SCALAR, "numpy.core.multiarray.scalar"),
    *(type(np.dtype(kind)) for kind in "?bBhHiIlLqQefd"),
)


def read_state(path: Path) -> files.State:
    """Read a state dict from a checkpoint as any of the published programs writes it.

    Parameters
    ----------
    path
        ``.pt``, ``.pth`` or ``.safetensors``: a state dict, bare or as entry ``model`` or ``state_dict``, also with
        ``module.`` before every key.

    Returns
    -------
    dict
        Tensors on the CPU, by key.

    Raises
    ------
    WeightsError
        When the file is missing or damaged, holds no state dict, or names anything but tensors and plain data: it is
        not run.
    """
    if not path.is_file():
        raise WeightsError(
            "The weights file is not there.",
            where=str(path),
            expected="A checkpoint as .pt, .pth or .safetensors.",
            remedy="Put the file there, or set the weights to 'none' to try the pipeline without.",
        )
    try:
        content = _read(path)
    except (SafetensorError, *files.UNREADABLE) as error:
        raise WeightsError(
            f"The file holds no plain weights, or is cut ({type(error).__name__}).",
            where=str(path),
            expected="Tensors by name, bare or as entry 'model' or 'state_dict', and plain data beside them.",
            remedy="Copy the file again; save a network's state_dict(), not the network.",
        ) from None
    return unwrap_state(content, where=str(path))


def _read(path: Path) -> object:
    if path.suffix == ".safetensors":
        return dict(sorted(load_file(path).items()))
    return torch.load(path, map_location="cpu", weights_only=True)


def unwrap_state(content: object, *, where: str) -> files.State:
    """Take the state dict out of a checkpoint's content.

    Parameters
    ----------
    content
        A state dict, or a mapping with one as entry ``model`` or ``state_dict``.
    where
        The file it comes from, for the message.

    Raises
    ------
    WeightsError
        When there is no state dict.
    """
    inner = content
    for name in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            inner = content[name]
            break
    if not isinstance(inner, dict) or not files.is_state(inner):
        found = f"entries {', '.join(map(str, list(inner)[:3]))}" if isinstance(inner, dict) else type(inner).__name__
        raise WeightsError(
            f"The file holds no state dict but {found}.",
            where=where,
            expected="Tensors by name, bare or as entry 'model' or 'state_dict'.",
            remedy="Save the network's state_dict().",
        )
    if all(key.startswith(PARALLEL) for key in inner):
        return {key.removeprefix(PARALLEL): item for key, item in inner.items()}
    return dict(inner)


def compare_state(
    network: nn.Module, state: Mapping[str, torch.Tensor], *, allow: Sequence[str] = (), note: str = ""
) -> pd.DataFrame:
    """Compare a state dict with a network, module by module.

    Parameters
    ----------
    network
        As built.
    state
        Tensors by key.
    allow
        Patterns of keys, e.g. `FROM_SPATIAL`, that may be missing (and stay initial) or unexpected (and are left out).
    note
        Where the weights come from, repeated in each row.

    Returns
    -------
    pandas.DataFrame
        One row per module: ``module``, numbers of entries ``loaded``, ``initial`` (missing, but allowed to be),
        ``left_out`` (unexpected, but allowed to be), ``missing``, ``unexpected``, ``mismatched``, and ``note``.
    """
    own = network.state_dict()
    kinds = {key: _judge(key, own, state, allow) for key in [*own, *(key for key in state if key not in own)]}
    counts = {_module_of(key): dict.fromkeys(COUNTED, 0) for key in kinds}
    for key, kind in kinds.items():
        counts[_module_of(key)][kind] += 1
    rows = [{"module": module, **numbers, "note": note} for module, numbers in counts.items()]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def load_state(
    network: nn.Module, state: Mapping[str, torch.Tensor], *, where: str, allow: Sequence[str] = ()
) -> pd.DataFrame:
    """Copy a state dict into a network, every entry or none.

    Parameters
    ----------
    network
        Left as it is when the weights do not fit.
    state, allow
        As for `compare_state`.
    where
        The file or name the weights come from.

    Returns
    -------
    pandas.DataFrame
        As `compare_state` gives it.

    Raises
    ------
    WeightsError
        Listing each module in which entries are missing, unexpected, of another shape or no finite numbers.
    """
    own = network.state_dict()
    table = compare_state(network, state, allow=allow, note=where)
    problems = [_describe(key, kind, own, state) for key, kind in _find_faults(own, state, allow)]
    raise_all(_shorten(problems), WeightsError, summary=f"the weights in {where} do not fit the network.")
    taken = {key: state[key] for key in own if key in state}
    broken = [key for key, item in taken.items() if item.is_floating_point() and not item.isfinite().all()]
    if broken:
        raise WeightsError(
            f"{len(broken)} entries hold values that are no finite numbers ({', '.join(broken[:3])}).",
            where=where,
            expected="Finite weights; a training that divided zero by zero leaves others.",
            remedy="Use the checkpoint of an earlier epoch, or train again.",
        )
    network.load_state_dict({**own, **taken}, strict=True)
    return table


def _judge(key: str, own: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor], allow: Sequence[str]) -> str:
    """Sort one key into a column of the table."""
    allowed = any(fnmatchcase(key, pattern) for pattern in allow)
    if key not in own:
        return "left_out" if allowed else "unexpected"
    if key not in state:
        return "initial" if allowed or key.endswith(COUNTER) else "missing"  # files of old programs have no counters
    return "loaded" if own[key].shape == state[key].shape else "mismatched"


def _find_faults(
    own: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor], allow: Sequence[str]
) -> list[tuple[str, str]]:
    keys = [*own, *(key for key in state if key not in own)]
    return [(key, kind) for key in keys if (kind := _judge(key, own, state, allow)) in FAULTS]


def _describe(
    key: str, kind: str, own: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor]
) -> tuple[str, str, str]:
    if kind == "mismatched":
        return _module_of(key), kind, f"{key} is {list(state[key].shape)} instead of {list(own[key].shape)}"
    return _module_of(key), kind, key


def _shorten(faults: Sequence[tuple[str, str, str]]) -> list[Problem]:
    """Make one problem of all faults of a kind in a module, with the first as example."""
    groups: dict[tuple[str, str], list[str]] = {}
    for module, kind, text in faults:
        groups.setdefault((module, kind), []).append(text)
    return [Problem(f"{module}: {len(texts)} {kind}, e.g. {texts[0]}.") for (module, kind), texts in groups.items()]


def _module_of(key: str) -> str:
    return key.split(".", 1)[0]
