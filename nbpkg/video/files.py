"""Bytes on disk: hashing them and making sure that they are there."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import IO


def hash_file(path: Path, *, skip: int = 0) -> str:
    """Return the SHA-256 of a file's bytes, leaving out the first `skip`."""
    with path.open("rb") as stream:
        stream.seek(skip)
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sync_and_close(stream: IO) -> None:
    """Close a file after its bytes have reached the disk."""
    stream.flush()
    os.fsync(stream.fileno())
    stream.close()


def sync_folder(folder: Path) -> None:
    """Make new and renamed entries of a folder last; a system without folder handles needs nothing."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
