"""Recordings on disk: one ``.npz`` file each, whose arrays are read from where they lie, without a copy."""

from __future__ import annotations

import io
import json
import math
import mmap
import os
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbpkg.datasets.valence.recording import Recording
from nbpkg.errors import StageError
from nbpkg.runs.files import new_file

_ALIGNED = 64
_FACTS, _FEATURES, _PRESENT = "facts", "features/", "present/"
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # of a member of an archive: what it is, lengths of name and of extra field


def write_recording(path: Path, recording: Recording, *, notes: Mapping[str, Any]) -> Path:
    """Write a recording, complete or not at all; the same recording gives the same bytes.

    Parameters
    ----------
    path
        Where, ``<session>.npz``.
    recording
        What is written.
    notes
        Further facts, fit for JSON; `read_notes` returns them.

    Returns
    -------
    Path
        `path`. NumPy reads the file, too (``allow_pickle=False``).
    """
    facts = {name: getattr(recording, name) for name in ("session", "subject", "story", "part", "actor", "hidden")}
    text = json.dumps({**facts, "modalities": list(recording.modalities), "notes": notes}, ensure_ascii=False)
    arrays = {_FACTS: np.array(text), "valence": recording.valence, "original": recording.original}
    for modality, rows in recording.features.items():
        arrays[_FEATURES + modality] = rows
        arrays[_PRESENT + modality] = recording.present[modality]
    with new_file(path) as temporary, temporary.open("wb") as stream, zipfile.ZipFile(stream, "w") as archive:
        for name, array in arrays.items():
            _add(archive, f"{name}.npy", array, start=stream.tell())
    return path


def _add(archive: zipfile.ZipFile, name: str, array: NDArray[Any], *, start: int) -> None:
    """Add an array so that its bytes begin at a multiple of 64, as memory-mapped numbers should."""
    content = io.BytesIO()
    ordered = np.ascontiguousarray(array) if array.ndim else array
    np.lib.format.write_array(content, ordered, version=(1, 0), allow_pickle=False)
    member = zipfile.ZipInfo(name)  # dated 1980, so that bytes do not depend on the day
    member.extra = _fill(-(start + _LOCAL_HEADER.size + len(name.encode()) + 4) % _ALIGNED)
    archive.writestr(member, content.getvalue())


def _fill(count: int) -> bytes:
    """Return an extra field of ``4 + count`` bytes that means nothing."""
    return struct.pack("<HH", 0xFFFF, count) + bytes(count)


def read_recording(path: Path) -> Recording:
    """Read a recording; features stay on disk until they are used.

    Raises
    ------
    StageError
        When the file is missing, cut or not what `write_recording` writes.
    """
    arrays, facts = _open(path)
    modalities = facts["modalities"]
    return Recording(
        **{name: facts[name] for name in ("session", "subject", "story", "part", "actor", "hidden")},
        features={modality: arrays[_FEATURES + modality] for modality in modalities},
        present={modality: np.array(arrays[_PRESENT + modality]) for modality in modalities},
        valence=np.array(arrays["valence"]),
        original=np.array(arrays["original"]),
    )


def read_notes(path: Path) -> dict[str, Any]:
    """Return the further facts that were stored with a recording (see `read_recording` for what it raises)."""
    notes: dict[str, Any] = _open(path)[1]["notes"]
    return notes


def is_recording(path: Path) -> bool:
    """Tell whether an earlier run completed this file; one that was cut or overwritten is made again."""
    if not path.is_file():
        return False
    try:
        _open(path)
    except StageError:
        return False
    return True


def _open(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
        with path.open("rb") as stream:
            content = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)  # one for all arrays: each costs a handle
        arrays = {member.filename.removesuffix(".npy"): _view(content, member) for member in members}
        return arrays, json.loads(str(arrays[_FACTS]))
    except FileNotFoundError:
        raise StageError(
            "A baked recording is not there.", where=str(path), remedy="Run notebooks/04_bake.ipynb again."
        ) from None
    except (zipfile.BadZipFile, struct.error, ValueError, KeyError, OSError) as error:
        raise StageError(
            f"A baked recording cannot be read: {error}.",
            where=str(path),
            expected="A file that notebooks/04_bake.ipynb wrote.",
            remedy="Delete the file and run notebooks/04_bake.ipynb again; it makes only what is missing.",
        ) from None


def _view(content: mmap.mmap, member: zipfile.ZipInfo) -> NDArray[Any]:
    """Return one array of the archive where it lies in the file."""
    if member.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{member.filename} is compressed")
    content.seek(member.header_offset)
    mark, name, extra = _LOCAL_HEADER.unpack(content.read(_LOCAL_HEADER.size))
    if mark != b"PK\x03\x04":
        raise ValueError(f"{member.filename} is not where the table of contents says")
    content.seek(name + extra, os.SEEK_CUR)
    if np.lib.format.read_magic(content) != (1, 0):
        raise ValueError(f"{member.filename} is of another version")
    shape, _, kind = np.lib.format.read_array_header_1_0(content)
    if kind.hasobject:
        raise ValueError(f"{member.filename} holds Python objects")
    return np.frombuffer(content, kind, count=math.prod(shape), offset=content.tell()).reshape(shape)
