"""Signs of life: a file of each worker that it touches while it works, by which the others see that it is alive.

A process of the same machine that is gone is seen at once. On another machine only the lease tells: who has not touched
it for too long is dead, and whoever finds that out removes it, so that one that was only suspended finds it gone.
Nobody's own clock counts: all times are those that the file system of the folder writes.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from nbpkg.errors import StageError
from nbpkg.runs.files import cannot_write, write_json

FOLDER = "leases"
BEATS = 6  # a lease is touched so often in the time after which it runs out
GONE = (errno.ENOENT, errno.ESTALE)  # the second is what NFS says of a file that another machine has removed


class Sign(NamedTuple):
    """What is known of a worker.

    Parameters
    ----------
    dead
        Its process is gone, its lease is gone, or it has not touched it for too long.
    silent_s
        Seconds since it last touched its lease; infinite when there is none.
    """

    dead: bool
    silent_s: float


class Lease:
    """The lease of this process; made by `keep_lease`.

    Parameters
    ----------
    folder
        Where all workers of a step keep their leases.
    seconds
        It runs out when it was not touched for so long.
    worker
        Which worker this is; 0 ends the search.
    share
        What it takes: ``dynamic``, ``fixed`` or ``none``.
    """

    def __init__(self, folder: Path, seconds: float, worker: int, share: str) -> None:
        self.folder, self.seconds, self.share = folder, seconds, share
        me = sign()
        # No part of any result: two containers may agree in host name, process number and time of birth.
        self.path = folder / f"{me['host']}-{me['pid']}-{secrets.token_hex(4)}.json"
        self.owner = {**me, "worker": worker, "lease": self.path.name}
        self.lost = ""  # why, once it is
        self._renewed, self._ended, self._turn = time.monotonic(), threading.Event(), threading.Lock()
        self._interruptible = threading.current_thread() is threading.main_thread()
        self._thread = threading.Thread(target=self._beat, name="lease", daemon=True)

    def begin(self) -> None:
        """Write the file, and touch it from now on."""
        write_json(self.path, {**self.owner, "share": self.share, "seconds": self.seconds})
        self._thread.start()

    def end(self) -> None:
        """Remove the file and stop touching it; nothing is interrupted from then on."""
        try:
            self._close()
        except KeyboardInterrupt:
            self._close()
            if not self.lost:  # else it came from `_beat`, and `lost` says it all
                raise

    def _close(self) -> None:
        self._ended.set()
        with self._turn:
            pass  # an interruption that had begun is over now
        self._thread.join()
        if not self.lost:
            self.path.unlink(missing_ok=True)

    def renew(self) -> None:
        """Show that this worker is alive.

        Raises
        ------
        StageError
            When others have taken it for dead.
        """
        self._touch()
        if self.lost:
            raise self.expelled()

    def judge(self, owner: dict[str, Any]) -> bool:
        """Tell whether another worker is dead, and remove its lease then; only while the turn of the search is held."""
        dead = look(self.folder, [owner])[0].dead
        if dead:
            (self.folder / _name(owner)).unlink(missing_ok=True)
        return dead

    def expelled(self) -> StageError:
        """Say that this worker may not go on."""
        return StageError(
            f"This worker was taken for dead: {self.lost}, so that its setting was given to another.",
            where=str(self.path),
            expected=f"A sign of life every {self.seconds:g} s (launch.lease_seconds).",
            remedy="Start it again; it goes on with what is left.",
        )

    def _touch(self) -> None:
        try:
            os.utime(self.path)
            self._renewed = time.monotonic()
        except OSError as error:
            if error.errno in GONE:
                self.lost = self.lost or "others removed its lease, as it had shown no sign of life for too long"
            elif time.monotonic() - self._renewed > self.seconds:
                self.lost = self.lost or f"it could not show a sign of life for {self.seconds:g} s ({error.strerror})"

    def _beat(self) -> None:
        while not self.lost and not self._ended.wait(self.seconds / BEATS):
            self._touch()
        with self._turn:
            # A real signal, not `_thread.interrupt_main`, which would not wake a main thread that waits for a process.
            if self.lost and self._interruptible and not self._ended.is_set() and _can_interrupt():
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


@contextmanager
def keep_lease(folder: Path, *, seconds: float, worker: int = 0, share: str = "dynamic") -> Iterator[Lease]:
    """Hold a lease while the block runs; a worker that others take for dead is interrupted and says so.

    Parameters
    ----------
    folder
        Where all workers of a step keep their leases; made when it is not there.
    seconds
        After so long without a sign of life this process counts as dead; it is shown six times as often.
    worker
        Which worker this is; 0 ends the search.
    share
        What it takes: ``dynamic``, ``fixed`` or ``none``.

    Raises
    ------
    StageError
        When the folder cannot be written, and in place of whatever ended the block when the lease was lost.
    """
    lease = Lease(folder, seconds, worker, share)
    lease.begin()
    try:
        yield lease
        lease.end()
    except BaseException as error:
        lease.end()
        if lease.lost and str(error) != str(lease.expelled()):
            raise lease.expelled() from (None if isinstance(error, KeyboardInterrupt) else error)
        raise


def sign() -> dict[str, Any]:
    """Name this process so that others can see whether it lives: ``host``, ``machine``, ``pid``, ``born``."""
    return {"host": socket.gethostname(), "machine": _machine(), "pid": os.getpid(), "born": _born(os.getpid())}


def is_me(owner: dict[str, Any]) -> bool:
    """Tell whether this very process signed."""
    return {name: owner.get(name) for name in ("host", "machine", "pid", "born")} == sign()


def is_gone(owner: dict[str, Any]) -> bool:
    """Tell whether the process that signed is known to be gone; one of another machine never is."""
    if (owner["host"], owner.get("machine")) != (socket.gethostname(), _machine()):
        return False
    try:
        os.kill(owner["pid"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # somebody else's process: it lives
        return bool(owner["born"]) and owner["born"] != _born(owner["pid"])
    return bool(owner["born"] != _born(owner["pid"]))


def look(folder: Path, owners: list[dict[str, Any]]) -> list[Sign]:
    """Look for the signs of life of workers, without changing any.

    Parameters
    ----------
    folder
        Where they keep their leases.
    owners
        As they signed.

    Raises
    ------
    StageError
        When the folder cannot be written, as the time is read from a file that is made in it.
    """
    now = read_clock(folder) if owners and folder.is_dir() else 0.0
    return [_look_at(folder, owner, now) for owner in owners]


def list_living(folder: Path) -> list[dict[str, Any]]:
    """List the leases that have not run out, one's own among them: as signed, with ``worker`` and ``share``."""
    found = [json.loads(text) for path in sorted(folder.glob("*.json")) if (text := _read(path)[0])]
    return [one for one, seen in zip(found, look(folder, found), strict=True) if not seen.dead]


def read_clock(folder: Path) -> float:
    """Return the time by the clock of the file system of a folder, seconds.

    Raises
    ------
    StageError
        When the folder cannot be written.
    """
    try:
        with tempfile.TemporaryFile(dir=folder) as stream:
            os.utime(stream.fileno())
            return os.fstat(stream.fileno()).st_mtime
    except OSError as error:
        raise cannot_write(folder / "clock", error) from None


def _look_at(folder: Path, owner: dict[str, Any], now: float) -> Sign:
    text, touched = _read(folder / _name(owner))
    if not text:
        return Sign(dead=True, silent_s=float("inf"))
    silent_s = max(0.0, now - touched)
    return Sign(dead=is_gone(owner) or silent_s > float(json.loads(text)["seconds"]), silent_s=silent_s)


def _read(path: Path) -> tuple[str, float]:
    """Return what a lease says and when it was last touched; "" when it is gone."""
    try:
        with path.open(encoding="utf-8") as stream:  # NFS asks the server for the time only when a file is opened
            return stream.read(), os.fstat(stream.fileno()).st_mtime
    except OSError as error:
        if error.errno in GONE:
            return "", 0.0
        raise StageError(f"The lease cannot be read: {error}.", where=str(path), remedy="Check the disk.") from None


def _name(owner: dict[str, Any]) -> str:
    """Name of the lease, never a path to elsewhere: what signed may have been written by anybody."""
    return Path(str(owner.get("lease", ""))).name or "none.json"


def _machine() -> str:
    """Tell machines, and containers on one, apart that share a host name; empty where the system does not say."""
    boot, space = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    if not boot.is_file() or not space.exists():
        return ""
    return f"{boot.read_text().strip()} {space.readlink()}"


def _born(pid: int) -> str:
    """Time at which a process began, which tells a reused number; "dead" for one that only waits to be collected."""
    record = Path(f"/proc/{pid}/stat")
    if not record.is_file():
        return ""
    fields = record.read_text().rpartition(")")[2].split()
    return "dead" if fields[0] in "ZX" else fields[19]


def _can_interrupt() -> bool:
    """Tell whether SIGINT raises KeyboardInterrupt here; ignored it does nothing, and by default it would kill."""
    return callable(signal.getsignal(signal.SIGINT))
