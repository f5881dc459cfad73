"""Networks that the published program pickled, read without running anything the file holds.

A pickle is a small program that names classes and functions to call. Ours may name only what a network of the
published program is made of, and gets empty stand-ins for all of it; weights are then collected from these.

Source: MarcFraile/infant-engagement, ``net.pt`` and ``best_net.pt``; file format of ``torch.save`` since torch 1.6.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from nbpkg.errors import WeightsError
from nbpkg.models import weights as files
from nbpkg.models.encoders import find_encoder
from nbpkg.models.network import Net, build_network, with_two_classes

_CLASSES = {
    "local.network_models": ("Net", "Encoder", "Classifier"),
    "torchvision.models.video.resnet": (
        "VideoResNet",
        "BasicStem",
        "BasicBlock",
        "Conv3DSimple",
        "Conv3DNoTemporal",
    ),
    "torch.nn.modules.activation": ("ReLU",),
    "torch.nn.modules.batchnorm": ("BatchNorm3d",),
    "torch.nn.modules.container": ("Sequential",),
    "torch.nn.modules.conv": ("Conv3d",),
    "torch.nn.modules.linear": ("Linear", "Identity"),
    "torch.nn.modules.pooling": ("AdaptiveAvgPool3d",),
}
_TYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
}


class _Holder:
    """Stands for any module: keeps what the file says about it and does nothing."""

    def __init__(self) -> None:
        self.content: dict[str, Any] = {}

    def __new__(cls) -> _Holder:
        holder = super().__new__(cls)
        holder.content = {}
        return holder

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, dict):
            raise pickle.UnpicklingError("a module's content is no mapping")
        self.content = state


@dataclass(frozen=True)
class _Storage:
    """Numbers of one or more tensors, as they lie in the file."""

    values: torch.Tensor


def import_published(path: Path, *, encoder: str = "mc3_18") -> files.State:
    """Read weights of the published program, whatever it saved them as.

    Parameters
    ----------
    path
        ``net.pt`` or ``best_net.pt``: a pickled network or head, or a state dict of either (also ``.safetensors``).
    encoder
        Encoder of the network.

    Returns
    -------
    dict
        State dict of `nbpkg.models.network.Net`, or of a `Classifier` alone (``fc.weight``, ``fc.bias``); a head of
        one logit has been made one of two classes.

    Raises
    ------
    WeightsError
        When the file is missing, damaged, names anything that is not part of such a network, or does not fit it.
    """
    state = import_pickled(path) if _begins_as_zip(path) else files.read_state(path)
    facts = find_encoder(encoder)
    whole = any(key.startswith(("encoder.", "classifier.")) for key in state)
    state = with_two_classes(state, prefix="classifier." if whole else "")
    with torch.device("meta"):  # names and shapes only
        net: Net = build_network(encoder, "none", seed=0, size=facts.size, frames=facts.frames)
    module = net if whole else net.classifier
    expected = {key: tuple(item.shape) for key, item in module.state_dict().items()}
    differences = files.compare_keys(expected, state)
    if differences:
        raise WeightsError(
            f"The weights fit no {'network' if whole else 'head'} with encoder {encoder}: {'; '.join(differences)}.",
            where=str(path),
            expected=f"{len(expected)} entries, beginning with {next(iter(expected))}.",
            remedy="Name the encoder the weights were made for.",
        )
    return {key: state[key] for key in expected}


def holds_network(path: Path) -> bool:
    """Tell whether a file holds a pickled object of the published program; nothing of it is run."""
    if not (path.is_file() and zipfile.is_zipfile(path)):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            programs = [name for name in archive.namelist() if name.endswith("/data.pkl")]
            return any(b"local.network_models" in archive.open(name).read(2**16) for name in programs)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError):  # the reader of plain weights says why
        return False


def import_pickled(path: Path) -> files.State:
    """Read the state dict of a network that was saved as a pickled object, without running it.

    Parameters
    ----------
    path
        File written by ``torch.save(network, path)`` or ``torch.save(network.state_dict(), path)``.

    Returns
    -------
    dict
        Tensors on the CPU, by key, in the network's own order.

    Raises
    ------
    WeightsError
        When the file is missing or damaged, or names a class or function that no such network needs: it is named
        and not run.
    """
    if not path.is_file():
        raise WeightsError(
            "The pickled network is not there.",
            where=str(path),
            expected="A file written by torch.save.",
            remedy="Correct the path.",
        )
    try:
        with zipfile.ZipFile(path) as archive:
            root = _Reader(_Archive(archive), path).load()
        return _collect(root)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RecursionError, *files.UNREADABLE) as error:
        raise WeightsError(
            f"The file is cut, or no network saved by torch: {error}.",
            where=str(path),
            expected="A file written by torch.save (torch 1.6 or newer).",
            remedy="Copy the file again.",
        ) from None


def _begins_as_zip(path: Path) -> bool:
    """Tell torch's present format from safetensors and from its format before 1.6."""
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.read(4) == b"PK\x03\x04"


class _Archive:
    """The zip file that torch writes: one pickle and one member for each storage."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl") and name.count("/") == 1]
        if len(pickles) != 1:
            raise ValueError("it holds no data.pkl")
        self.archive = archive
        self.folder = pickles[0].removesuffix("data.pkl")
        if f"{self.folder}byteorder" in archive.namelist() and self.read("byteorder") != b"little":
            raise ValueError("its numbers are in another byte order")

    def read(self, name: str) -> bytes:
        """Read a member, checking its check sum; torch stores them as they are, so that none can swell."""
        member = self.archive.getinfo(self.folder + name)
        if member.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"its member {name!r} is compressed")
        return self.archive.read(member)


class _Reader(pickle.Unpickler):
    """Unpickler that knows the parts of the published networks and nothing else."""

    def __init__(self, archive: _Archive, path: Path) -> None:
        program = archive.read("data.pkl")
        _check_memo(program)
        super().__init__(io.BytesIO(program), encoding="utf-8")
        self.archive = archive
        self.path = path
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Give a stand-in for a name on the list; refuse any other."""
        if name in _CLASSES.get(module, ()):
            return _Holder
        if module == "torch" and name in _TYPES:
            return _TYPES[name]
        if (module, name) in _FUNCTIONS:
            return _FUNCTIONS[module, name]
        raise WeightsError(
            f"The file wants to use '{module}.{name}', which is no part of a published network; nothing of it was run.",
            where=str(self.path),
            expected="Classes of local.network_models, torchvision's video resnets and the layers they consist of.",
            remedy="Do not open this file with other programs unless you know who made it; ask for a state dict.",
        )

    def persistent_load(self, pid: Any) -> _Storage:
        """Read the numbers of a storage."""
        kind, dtype, key, _, count = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype):
            raise ValueError("it refers to something that is no storage")
        if key not in self.storages:
            content = bytearray(self.archive.read(f"data/{key}"))
            if len(content) != count * dtype.itemsize:
                raise ValueError(f"its storage {key} is cut")
            self.storages[key] = _Storage(
                torch.frombuffer(content, dtype=dtype) if count else torch.empty(0, dtype=dtype)
            )
        return self.storages[key]


def _check_memo(program: bytes) -> None:
    """Refuse places in the unpickler's table beyond any need, for which it would claim all memory."""
    for code, place, _ in pickletools.genops(program):
        if code.name in ("PUT", "BINPUT", "LONG_BINPUT") and int(place or 0) > len(program):
            raise ValueError("its pickle uses a table larger than itself")


def _rebuild_tensor(
    storage: _Storage, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object
) -> torch.Tensor:
    """Cut a tensor out of its storage; torch refuses what reaches beyond its end."""
    if not isinstance(storage, _Storage) or math.prod(size) > storage.values.numel():
        raise ValueError("one of its tensors is larger than its storage")
    return storage.values.as_strided(size, stride, offset).clone(memory_format=torch.contiguous_format)


def _rebuild_parameter(data: torch.Tensor, *_: object) -> torch.Tensor:
    return data


_FUNCTIONS: dict[tuple[str, str], Callable[..., object]] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("__builtin__", "set"): set,
    ("builtins", "set"): set,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
}


def _collect(root: object) -> files.State:
    """Take the weights out of a network or a state dict."""
    if files.is_state(root):
        return dict(root)  # type: ignore[call-overload, no-any-return]
    if not isinstance(root, _Holder):
        raise TypeError("it holds neither a network nor a state dict")
    state: files.State = {}
    _walk(root, "", state, set())
    if not state:
        raise ValueError("it holds a network without weights")
    return state


def _walk(holder: object, prefix: str, state: files.State, seen: set[int]) -> None:
    """Collect in the order of `torch.nn.Module.state_dict`."""
    if not isinstance(holder, _Holder) or id(holder) in seen:  # parts that hold themselves would never end
        raise TypeError(f"its part {prefix!r} is no module of its own")
    seen.add(id(holder))
    hidden = holder.content.get("_non_persistent_buffers_set", ())
    for kind in ("_parameters", "_buffers"):
        for name, item in dict(holder.content.get(kind, {})).items():
            if item is None or (kind == "_buffers" and name in hidden):
                continue
            if not isinstance(item, torch.Tensor):
                raise TypeError(f"its entry {prefix}{name} is no tensor")
            state[f"{prefix}{name}"] = item
    for name, module in dict(holder.content.get("_modules", {})).items():
        if module is not None:
            _walk(module, f"{prefix}{name}.", state, seen)
