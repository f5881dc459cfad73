"""SIGKILL in the middle of the work, on machines of any speed.

Moments are not counted in seconds: what a run took a minute ago says little on a machine that others use, too. The
signs of work are files that appear or change in the run's folder; after so many of them it is killed. A run that ended
before is no kill: the folder is emptied, and the next run begins from nothing.
"""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

from patience import wait_until

KILLS = int(os.environ.get("NBPKG_KILLS", "3"))
POLL_S = 0.005


class Process(Protocol):
    """What is killed: a `subprocess.Popen` or a worker of the nursery."""

    def poll(self) -> int | None:
        """Exit status, or None while it runs."""

    def kill(self) -> None:
        """Send SIGKILL."""

    def wait(self) -> int:
        """Wait for its end; exit status."""


Run = TypeVar("Run", bound=Process)


class Course(NamedTuple):
    """An undisturbed run: its signs of work, seconds before the first of them, and from there to the last."""

    signs: int
    before: float
    seconds: float

    def moment(self, chance: random.Random) -> float:
        """Seconds of about as much work as lies between two signs."""
        return chance.uniform(0.0, 2 * self.seconds / self.signs)


class Signs:
    """Files that appear or change in a folder from now on."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.count = folder, 0
        self.known = self._look()

    def _look(self) -> dict[Path, tuple[int, int]]:
        found = {}
        for place, _, names in os.walk(self.folder):
            for path in (Path(place, name) for name in names):
                with suppress(FileNotFoundError):  # renamed or removed meanwhile
                    state = path.stat()
                    found[path] = (state.st_mtime_ns, state.st_size)
        return found

    def see(self) -> int:
        """Look again; return how many there were until now."""
        now = self._look()
        self.count += sum(self.known.get(path) != state for path, state in now.items())
        self.known = now
        return self.count

    def await_work(self, process: Process, count: int) -> None:
        """Wait until there are so many of them, or until the process has ended."""
        wait_until(lambda: process.poll() is not None or self.see() >= count, "there is work", pause=POLL_S)


def watch(start: Callable[[], Run], folder: Path) -> tuple[Course, Run]:
    """Let a run come to its end undisturbed; return its signs of work and what was started."""
    signs, begin = Signs(folder), time.monotonic()
    process = start()
    wait_until(signs.see, "the first sign of work", running=process, pause=POLL_S)
    first = last = time.monotonic()
    while process.poll() is None:
        before = signs.count
        if signs.see() > before:
            last = time.monotonic()
        time.sleep(POLL_S)
    assert process.wait() == 0
    return Course(signs.see(), first - begin, last - first), process


def kill_in_the_middle(start: Callable[[], Process], folder: Path, *, whole: Course, kills: int = KILLS) -> None:
    """Start a run again and again and kill it at random moments of its work, so many times as wanted.

    Parameters
    ----------
    start
        Starts the run, which goes on with what it finds in the folder.
    folder
        Where signs of work are looked for; emptied when a run ended before its kill.
    whole
        What an undisturbed run does.
    kills
        How many must strike.
    """
    chance, struck = random.Random(kills), 0
    for _ in range(20 + 4 * kills):
        if struck == kills:
            return
        signs = Signs(folder)
        process = start()
        wanted = chance.randint(1, max(1, whole.signs // max(2, kills)))
        signs.await_work(process, wanted)
        time.sleep(whole.moment(chance))
        ended = process.poll()
        assert ended in (None, 0), f"a run failed with {ended} after a kill"
        process.kill()
        if process.wait() != 0:
            struck += 1
        else:
            empty(folder)
    assert struck == kills, f"only {struck} of {kills} kills fell into the work"


def empty(folder: Path) -> None:
    """Remove all that lies in a folder."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
