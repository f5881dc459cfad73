"""Files that are complete or not there, and their hashes."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from nbpkg.errors import StageError


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to; when the block ends well it becomes `path`, flushed to disk.

    Raises
    ------
    StageError
        When the folder cannot be written or the disk is full; nothing half-written stays.
    """
    temporary = path.with_name(f".{path.stem}.partial{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        _discard(temporary)
        raise cannot_write(path, error) from None
    except BaseException:
        _discard(temporary)
        raise


def _discard(temporary: Path) -> None:
    with suppress(FileNotFoundError, NotADirectoryError):  # a file may lie where the folder should be
        temporary.unlink()


def cannot_write(path: Path, error: OSError) -> StageError:
    """Say in words why a file cannot be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StageError("The disk is full.", where=str(path), remedy="Free some space and run the stage again.")
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return StageError(
            "The output folder cannot be written.",
            where=str(path.parent),
            remedy="Give yourself write permission there, or set 'outputs' to another folder.",
        )
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return StageError(
            "A file lies where a folder is needed.",
            where=str(path.parent),
            expected="A folder, or nothing.",
            remedy="Move that file away and run the stage again.",
        )
    return StageError(f"The file cannot be written: {error}.", where=str(path), remedy="Check the disk and the path.")


def write_json(path: Path, value: Any) -> Path:
    """Write JSON, complete or not at all, keys in the order given."""
    with new_file(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def write_array(path: Path, array: np.ndarray) -> Path:
    """Write an array as ``.npy``, complete or not at all.

    The bytes go through the file object: NumPy's own writer does not say why it failed when the disk is full.
    """
    ordered = np.ascontiguousarray(array)
    with new_file(path) as temporary, temporary.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, np.lib.format.header_data_from_array_1_0(ordered))
        stream.write(ordered.data)
    return path


def read_json(path: Path) -> Any:
    """Read JSON."""
    return json.loads(path.read_text(encoding="utf-8"))


def sha256(path: Path) -> str:
    """Hash a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest(value: Any) -> str:
    """Hash plain data, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def source_hashes(paths: list[Path], *, base: Path, cache: Path) -> dict[str, dict[str, Any]]:
    """Hash raw files, remembering the hashes of files whose size and time have not changed.

    Parameters
    ----------
    paths
        The files.
    base
        Folder to which the names in the result are relative.
    cache
        Where the hashes are remembered.

    Returns
    -------
    dict
        ``{name: {"sha256": text, "bytes": int}}`` in order of name.
    """
    known: dict[str, list[Any]] = read_json(cache) if cache.is_file() else {}
    result = {}
    fresh = {}
    for path in sorted(paths):
        facts = path.stat()
        place = str(path.resolve())
        stamp = [facts.st_size, facts.st_mtime_ns]
        remembered = known.get(place)
        value = remembered[2] if remembered and remembered[:2] == stamp else sha256(path)
        fresh[place] = [*stamp, value]
        name = path.relative_to(base).as_posix() if path.is_relative_to(base) else path.name
        result[name] = {"sha256": value, "bytes": facts.st_size}
    if any(known.get(place) != entry for place, entry in fresh.items()):
        write_json(cache, {**known, **fresh})
    return result


def hash_below(base: Path, folder: str) -> dict[str, str]:
    """Return the hash of every file below a folder of `base`, by its path in `base`; none when it is not there."""
    paths = sorted(path for path in (base / folder).rglob("*") if path.is_file())
    return {path.relative_to(base).as_posix(): sha256(path) for path in paths}


def check_hashes(folder: Path, known: Mapping[str, str], *, what: str, remedy: str) -> None:
    """Hold files against the hashes that were noted when they were made.

    Parameters
    ----------
    folder
        What the names are relative to.
    known
        Name to SHA-256.
    what, remedy
        What the files are, and what to do, for the message.

    Raises
    ------
    StageError
        Naming the first that is missing or was changed.
    """
    bad = [name for name, value in known.items() if not (folder / name).is_file() or sha256(folder / name) != value]
    if bad:
        raise StageError(
            f"{len(bad)} of {len(known)} {what} are missing or were changed, {Path(bad[0]).name} among them.",
            where=str(folder / bad[0]),
            expected="The file as it was made.",
            remedy=remedy,
        )
