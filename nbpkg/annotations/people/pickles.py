"""Pickles of plain data, read without running anything they name.

A pickle is a small program that names functions to call. Ours may name only what NumPy's arrays, numbers and texts are
pickled with, and gets stand-ins of our own for all of it; anything else is named in the error and not run.

Source: the pickle protocols 0 to 5 of Python's ``pickle`` and NumPy's ``ndarray.__reduce_ex__`` (1.x and 2.x).
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from nbpkg.errors import AnnotationError

_PLAIN_TYPE = re.compile(r"[?]|b1|[iuf][1248]|[US][0-9]{1,6}")
_DAMAGE = (
    pickle.UnpicklingError,
    AttributeError,
    EOFError,
    IndexError,
    KeyError,
    MemoryError,
    OverflowError,
    RecursionError,
    TypeError,
    ValueError,
)


def read_plain_pickle(path: Path) -> Any:
    """Read a pickle of NumPy arrays and numbers, dictionaries, lists, texts and numbers.

    Parameters
    ----------
    path
        The file, of any protocol.

    Returns
    -------
    object
        Its content: arrays as read-only `numpy.ndarray`, NumPy's numbers and texts as plain ones, tuples as tuples.

    Raises
    ------
    AnnotationError
        When the file is missing, cut or no pickle, or names anything else; that is not run.
    """
    try:
        program = path.read_bytes()
    except OSError as error:
        raise AnnotationError(
            f"The file cannot be read: {error.strerror or error}.", where=str(path), remedy="Correct the path."
        ) from None
    try:
        _check_memo(program)
        return _Plain().make(_Reader(program, path).load())
    except _DAMAGE as error:
        raise AnnotationError(
            f"The file is cut, or no pickle of plain data: {error}.",
            where=str(path),
            expected="Arrays, dictionaries, lists, texts and numbers, pickled by Python.",
            remedy="Copy the file again, or write it anew from plain data.",
        ) from None


class _Call:
    """Stands for a function that a pickle may call; nothing can be set on it."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[..., object]) -> None:
        self._make = make

    def __call__(self, *arguments: object) -> object:
        return self._make(*arguments)

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("it wants to change a function")


class _Type:
    """Stands for the type of an array's numbers."""

    def __init__(self, name: object) -> None:
        if not isinstance(name, str) or not _PLAIN_TYPE.fullmatch(name):
            raise ValueError(f"its arrays hold {name!r}, not numbers")
        self.dtype = np.dtype(name)

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) < 2 or state[1] not in ("<", ">", "|", "="):
            raise ValueError("the type of an array is incomplete")
        self.dtype = self.dtype if state[1] == "|" else self.dtype.newbyteorder(state[1])


class _Array:
    """Stands for an array until its content is known."""

    def __init__(self) -> None:
        self.values: np.ndarray | None = None

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise ValueError("an array is incomplete")
        _, shape, kind, by_column, content = state
        self.values = _fill(content, kind, shape, "F" if by_column else "C")


class _Reader(pickle.Unpickler):
    """Unpickler that knows what NumPy's arrays are pickled with, and nothing else."""

    def __init__(self, program: bytes, path: Path) -> None:
        super().__init__(io.BytesIO(program), encoding="latin1")  # Python 2 wrote the bytes of arrays as text
        self.path = path
        self.left = len(program)
        self.calls = {
            **{
                (f"numpy.{core}.multiarray", name): make
                for core in ("core", "_core")
                for name, make in (("_reconstruct", _begin_array), ("scalar", _make_number))
            },
            **{(f"numpy.{core}.numeric", "_frombuffer"): _make_array for core in ("core", "_core")},
            ("numpy", "dtype"): _make_type,
            ("numpy", "ndarray"): _refuse_call,  # only ever an argument
            ("_codecs", "encode"): self.encode,
            ("__builtin__", "bytes"): _no_bytes,
            ("builtins", "bytes"): _no_bytes,
        }

    def find_class(self, module: str, name: str) -> Any:
        """Give a stand-in for a name on the list; refuse any other."""
        if (module, name) in self.calls:
            return _Call(self.calls[module, name])
        raise AnnotationError(
            f"The file wants to use '{module}.{name}', which plain data does not need; nothing of it was run.",
            where=str(self.path),
            expected="NumPy arrays and numbers, dictionaries, lists, texts and numbers.",
            remedy="Do not open this file with other programs unless you know who made it; ask for plain data.",
        )

    def encode(self, text: object, encoding: object) -> bytes:
        """Give the bytes that protocols before 3 write as text, at most as many as the file has."""
        if not isinstance(text, str) or encoding != "latin1":
            raise ValueError("it holds bytes in an unknown form")
        self.left -= len(text)
        if self.left < 0:
            raise ValueError("it holds more bytes than the file")
        return text.encode("latin1")


class _Plain:
    """Takes the stand-ins out of what was read, and refuses what holds itself."""

    def __init__(self) -> None:
        self.made: dict[int, Any] = {}
        self.open: set[int] = set()

    def make(self, value: Any) -> Any:
        """Return a value without stand-ins; what occurs twice is made once."""
        if value is None or isinstance(value, (str, bool, int, float)):
            return value
        place = id(value)
        if place in self.open:
            raise ValueError("it holds itself")
        if place not in self.made:
            self.open.add(place)
            self.made[place] = self._make_new(value)
            self.open.remove(place)
        return self.made[place]

    def _make_new(self, value: Any) -> Any:
        if isinstance(value, _Array) and value.values is not None:
            return value.values
        if isinstance(value, np.ndarray):
            return value
        if isinstance(value, (list, tuple)):
            return type(value)(self.make(one) for one in value)
        if isinstance(value, dict):
            wrong = [key for key in value if not isinstance(key, (str, int, float))]
            if wrong:
                raise TypeError(f"a dictionary has a {type(wrong[0]).__name__} as key")
            return {key: self.make(one) for key, one in value.items()}
        raise TypeError(f"it holds a {type(value).__name__.strip('_').lower()}")


def _check_memo(program: bytes) -> None:
    """Refuse cut files, and places in the unpickler's table beyond any need, for which it would claim all memory."""
    for code, place, _ in pickletools.genops(program):
        if code.name in ("PUT", "BINPUT", "LONG_BINPUT") and int(place or 0) > len(program):
            raise ValueError("its pickle uses a table larger than itself")


def _begin_array(*_: object) -> _Array:
    return _Array()


def _make_type(name: object, *_: object) -> _Type:
    return _Type(name)


def _make_number(kind: object, content: object) -> object:
    return _fill(content, kind, (), "C").item()


def _make_array(content: object, kind: object, shape: object, order: object, axes: object = None) -> np.ndarray:
    if order != "K" or axes is None:
        return _fill(content, kind, shape, "F" if order == "F" else "C")
    if not isinstance(axes, tuple):
        raise TypeError("the order of an array's axes is no tuple")
    return _fill(content, kind, shape, "C").transpose(axes)


def _no_bytes(*arguments: object) -> bytes:
    if arguments:
        raise ValueError("it wants to make bytes")
    return b""


def _refuse_call(*_: object) -> None:
    raise ValueError("it wants to make an array without content")


def _fill(content: object, kind: object, shape: object, order: Any) -> np.ndarray:
    """Make an array over bytes of the file; its size must be theirs."""
    if isinstance(content, str):
        content = content.encode("latin1")
    if not isinstance(content, (bytes, bytearray)) or not isinstance(kind, _Type) or not isinstance(shape, tuple):
        raise TypeError("the content of an array is not given as bytes")
    if not all(isinstance(size, int) and size >= 0 for size in shape):
        raise ValueError(f"the shape of an array is {shape}")
    if len(content) != math.prod(shape) * kind.dtype.itemsize:
        raise ValueError(f"an array of shape {shape} has {len(content)} bytes")
    flat = np.frombuffer(bytes(content), kind.dtype) if content else np.zeros(0, kind.dtype)
    shaped: np.ndarray = flat.reshape(shape, order=order)
    return shaped
