"""Waiting for what comes sooner or later: patience costs nothing where things are quick, and machines may be slow."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

Found = TypeVar("Found")
PATIENCE_S = 1200.0


class Running(Protocol):
    """A process, of whatever kind."""

    def poll(self) -> int | None:
        """Exit status, or None while it runs."""


def wait_until(
    look: Callable[[], Found | None],
    what: str,
    *,
    running: Running | None = None,
    seconds: float = PATIENCE_S,
    pause: float = 0.05,
) -> Any:
    """Wait until `look` finds something, and return it; `running` must not end before."""
    deadline = time.monotonic() + seconds
    while True:
        ended = running is not None and running.poll() is not None  # asked first: it may end once it has done it
        if found := look():
            return found
        assert not ended, f"the process ended with {running.poll()} before {what}"
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s in vain until {what}"
        time.sleep(pause)
