"""Files of lines that survive a crash: reading the complete ones, one writer at a time, and errors in words."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import unicodedata
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import IO, Any, NoReturn

from nbpkg.attention.painting.operations import Operation, check_opening, check_operation
from nbpkg.attention.painting.strokes import Painting, Replay
from nbpkg.errors import PaintingError

_IN_BROWSER = "What was painted last is still in the browser and is sent again."


def read_operations(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Read the complete lines of a painting's log, each checked for its form.

    Returns
    -------
    tuple
        The open line and the operations after it, and the length of the complete lines in bytes. A last line without
        its end, which a crash leaves, is left out; a file with no complete line gives an empty list.

    Raises
    ------
    PaintingError
        Naming the file and the line that is damaged.
    """
    content = path.read_bytes()
    complete = content.rfind(b"\n") + 1
    operations: list[dict[str, Any]] = []
    for number, line in enumerate(content[:complete].split(b"\n")[:-1], start=1):
        try:
            parsed = json.loads(line.decode("utf-8"), parse_constant=_refuse_constant)
            operations.append(check_operation(parsed) if operations else check_opening(_dictionary(parsed)))
        except PaintingError as error:
            raise _damaged(path, number, error) from None
        except (ValueError, RecursionError) as error:
            raise _damaged(path, number, PaintingError(f"It is no JSON ({error}).")) from None
    return operations, complete


def replay_file(operations: Sequence[Operation], path: Path) -> Replay:
    """Add up what `read_operations` gave.

    Raises
    ------
    PaintingError
        Naming the file and the line of the operation that cannot follow the ones before it.
    """
    state = Replay(operations[0])
    for number, operation in enumerate(operations[1:], start=2):
        try:
            state = state.apply(operation)
        except PaintingError as error:
            raise _damaged(path, number, error) from None
    return state


def find_painting(path: Path) -> Painting | None:
    """Read one painting; None when the file holds no complete line, so that nothing was painted yet.

    Raises
    ------
    PaintingError
        When the file is not there, is damaged (naming the line), or is of another painter or snippet than it is named.
    """
    try:
        operations, _ = read_operations(path)
    except OSError as error:
        raise PaintingError(f"The painting cannot be read: {error.strerror}.", where=str(path)) from None
    if not operations:
        return None
    named = painting_key(path)
    if (operations[0]["painter"], operations[0]["snippet_id"]) != named:
        raise PaintingError(
            f"The file holds snippet {operations[0]['snippet_id']!r} painted by {operations[0]['painter']!r}.",
            where=str(path),
            expected=f"Snippet {named[1]!r} painted by {named[0]!r}, as folder and file are named.",
            remedy="Give file and folder their names back.",
        )
    return replay_file(operations, path).painting()


def read_painting(path: Path) -> Painting:
    """Read one painting.

    Raises
    ------
    PaintingError
        As `find_painting`, and when the file holds no complete line.
    """
    painting = find_painting(path)
    if painting is None:
        raise PaintingError(
            "The file holds no complete line.",
            where=str(path),
            expected="The open line that the painter writes first.",
            remedy="Open the snippet in the painter, or delete the file: nothing was painted.",
        )
    return painting


def painting_key(path: Path) -> tuple[str, str]:
    """Return painter and snippet as folder and file are named (macOS may spell ``ü`` as two characters)."""
    return unicodedata.normalize("NFC", path.parent.name), unicodedata.normalize("NFC", path.stem)


class Turn:
    """The right to write to a file, which one process has at a time; the system takes it back when the process dies.

    Parameters
    ----------
    path
        The file. Beside it lies, as long as it is held, a hidden file ``.<name>.lock`` that names the holder.

    Raises
    ------
    PaintingError
        When another process holds it, or the file system offers no locks.
    OSError
        When the lock cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(f".{path.name}.lock")
        self.stream = self._take(path)
        os.ftruncate(self.stream.fileno(), 0)
        now = f"{datetime.now():%Y-%m-%d %H:%M}"  # the clock of the person who reads it
        os.write(self.stream.fileno(), f"process {os.getpid()} on {socket.gethostname()} since {now}".encode())

    def _take(self, path: Path) -> IO[bytes]:
        while True:
            stream = open(self.path, "a+b", buffering=0)  # noqa: PTH123, SIM115 - open as long as the turn lasts
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                stream.seek(0)
                holder = stream.read(300).decode("utf-8", "replace") or "another process"
                stream.close()
                raise PaintingError(
                    f"This painting is open elsewhere: {holder}.",
                    where=str(path),
                    expected="One notebook at a time, so that no stroke is lost.",
                    remedy="Shut down the other notebook's kernel, then open the snippet again.",
                ) from None
            except OSError as error:
                stream.close()
                raise PaintingError(
                    f"The file cannot be locked: {error.strerror}.",
                    where=str(path),
                    expected="A file system with locks, as local disks and NFS from version 4 on have.",
                    remedy="Set 'data' to a folder on another disk.",
                ) from None
            if is_same_file(stream, self.path):
                return stream
            stream.close()  # its former holder removed it between our two calls

    def give_back(self) -> None:
        """Let another process write."""
        try:
            if is_same_file(self.stream, self.path):
                self.path.unlink(missing_ok=True)
        finally:
            self.stream.close()


def is_same_file(stream: IO[bytes], path: Path) -> bool:
    """Whether an open file is still the one under its name: it may have been removed or replaced."""
    if not path.is_file():
        return False
    mine, there = os.fstat(stream.fileno()), path.stat()
    return (there.st_ino, there.st_dev) == (mine.st_ino, mine.st_dev)


def flush_folder(folder: Path) -> None:
    """Wait until the disk has the names in a folder: a flushed file is lost when its name is not flushed too."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def cannot_write(path: Path, error: OSError) -> NoReturn:
    """Say in words why a painting cannot be written."""
    where = str(path)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        raise PaintingError("The disk is full.", where=where, expected=_IN_BROWSER, remedy="Free some space.") from None
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        remedy = "Give yourself write permission there."
        raise PaintingError(
            "The painting cannot be written.", where=where, expected=_IN_BROWSER, remedy=remedy
        ) from None
    what = f"The painting cannot be written: {error.strerror}."
    raise PaintingError(what, where=where, expected=_IN_BROWSER, remedy="Check the disk and the path.") from None


def _damaged(path: Path, number: int, error: PaintingError) -> PaintingError:
    return PaintingError(
        f"Line {number} of a painting is damaged: {error.what}",
        where=f"{path}, line {number}",
        expected=error.expected,
        remedy="Take the file from your backup, or move it away and paint the snippet again.",
    )


def _dictionary(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise PaintingError("It holds no JSON object.")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise PaintingError(f"{name} is no number.")
