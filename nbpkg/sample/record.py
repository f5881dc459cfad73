"""A sample folder that is complete or not there, and never in the way of other people's files."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from nbpkg.errors import StageError

RECORD = "sample.json"


def is_made(folder: Path, facts: Mapping[str, int], *, strokes: str = "") -> bool:
    """Tell whether a folder holds the complete sample with these facts, every file in its recorded size.

    Files below the folder `strokes` do not count: people paint on there.
    """
    record = read_record(folder)
    if {name: record.get(name) for name in facts} != dict(facts):
        return False
    places = [
        (folder / file["path"], file["bytes"]) for file in record["files"] if not _is_below(file["path"], strokes)
    ]
    return all(path.is_file() and path.stat().st_size == size for path, size in places)


@contextmanager
def new_sample(folder: Path, facts: Mapping[str, int], *, strokes: str = "") -> Iterator[Path]:
    """Give a temporary folder to fill; when the block ends well its files go to `folder`, the record last.

    Files of an earlier sample that the new one does not have are removed; all others are left alone.

    Parameters
    ----------
    folder
        Where the sample is to be.
    facts
        What it is made from, e.g. version and seed.
    strokes
        Folder in the sample in which people go on painting: files there are never overwritten, and removed only as
        they were made.

    Raises
    ------
    StageError
        When files that no earlier sample wrote are where the new ones belong.
    """
    temporary = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        _write_record(temporary, facts)
        _refuse_foreign(folder, temporary, strokes)
        _move_into_place(temporary, folder, strokes)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def read_record(folder: Path) -> dict[str, Any]:
    """Read what a sample says about itself; empty when there is none."""
    path = folder / RECORD
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return record


def _write_record(folder: Path, facts: Mapping[str, int]) -> None:
    files = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        place = path.relative_to(folder).as_posix()
        files.append({"path": place, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()})
    with (folder / RECORD).open("w", encoding="utf-8", newline="\n") as stream:
        json.dump({**facts, "files": files}, stream, indent=1)
        stream.flush()
        os.fsync(stream.fileno())


def _is_below(name: str, folder: str) -> bool:
    return bool(folder) and name.startswith(f"{folder}/")


def _is_changed(path: Path, sha256: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() != sha256


def _refuse_foreign(folder: Path, temporary: Path, strokes: str) -> None:
    known = {file["path"] for file in read_record(folder).get("files", [])} | {RECORD}
    names = sorted(path.relative_to(temporary).as_posix() for path in temporary.rglob("*") if path.is_file())
    foreign = [
        name for name in names if name not in known and not _is_below(name, strokes) and (folder / name).exists()
    ]
    if foreign:
        raise StageError(
            f"{len(foreign)} files in the way of the sample were not made by it, e.g. {foreign[0]}.",
            where=str(folder),
            expected="An empty folder, or one with an earlier sample.",
            remedy="Choose another data folder, or move these files away.",
        )


def _move_into_place(temporary: Path, folder: Path, strokes: str) -> None:
    if not folder.exists():
        temporary.rename(folder)
        return
    earlier = [
        file["path"]
        for file in read_record(folder).get("files", [])
        if not (_is_below(file["path"], strokes) and _is_changed(folder / file["path"], file["sha256"]))
    ]
    (folder / RECORD).unlink(missing_ok=True)  # first, so that a half-replaced sample never looks complete
    for name in earlier:
        if ".." not in PurePosixPath(name).parts and not PurePosixPath(name).is_absolute():
            (folder / name).unlink(missing_ok=True)
    new = sorted(path.relative_to(temporary).as_posix() for path in temporary.rglob("*") if path.is_file())
    for name in sorted(new, key=lambda name: name == RECORD):
        if _is_below(name, strokes) and (folder / name).exists():
            continue
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (temporary / name).replace(folder / name)
