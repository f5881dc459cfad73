"""The file in which the workers of a search write down what they do, and the lock that gives each its turn."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from optuna.storages.journal import JournalFileBackend

from nbpkg.errors import StageError
from nbpkg.runs.files import cannot_write


@contextmanager
def hold(path: Path) -> Iterator[None]:
    """Keep all others, in this process and in others, out of the block until it ends.

    The system frees the lock when its holder dies. Optuna's own locks are files that stay behind then, and cost
    the next worker half a minute.

    Raises
    ------
    StageError
        When the folder cannot be written or its file system offers no locks.
    """
    try:
        stream = path.open("ab")
    except OSError as error:
        raise cannot_write(path, error) from None
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX)
        except OSError as error:
            raise StageError(
                f"The file cannot be locked: {error}.",
                where=str(path),
                expected="A file system with locks, as local disks and NFS from version 4 on have.",
                remedy="Set 'outputs' to a folder on another disk.",
            ) from None
        yield


class Journal(JournalFileBackend):
    """Optuna's journal, which also survives a writer killed in the middle of a line.

    Parameters
    ----------
    path
        The file; made when it is not there.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self.path = path
        self.lock = path.with_name(f"{path.name}.lock")
        self.flush_each = True

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write records behind the last complete one, one line each.

        Raises
        ------
        StageError
            When the disk is full or the folder cannot be written.
        """
        text = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        try:
            with hold(self.lock), self.path.open("r+b") as stream:
                stream.seek(_complete(self.path))
                stream.truncate()
                stream.write(text.encode())
                stream.flush()
                if self.flush_each:
                    os.fsync(stream.fileno())
        except OSError as error:
            raise cannot_write(self.path, error) from None

    @contextmanager
    def many(self) -> Iterator[None]:
        """Flush to disk once after the block, not after every record: hundreds at once are then quick."""
        self.flush_each = False
        try:
            yield
        finally:
            self.flush_each = True
            with self.path.open("rb") as stream:
                os.fsync(stream.fileno())


def _complete(path: Path) -> int:
    """Length of the file up to the end of its last complete line, in bytes."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        stream.seek(max(0, size - 1))
        if size == 0 or stream.read(1) == b"\n":
            return size
        stream.seek(0)
        return stream.read().rfind(b"\n") + 1
