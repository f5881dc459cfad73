"""One progress report, fit for a terminal, a live notebook or a log file."""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO, TypeVar, cast

Item = TypeVar("Item")


def is_live() -> bool:
    """Tell whether a person is at a notebook front end.

    A Jupyter server sets ``JPY_SESSION_NAME`` for the kernels it starts; ``NBPKG_LIVE`` (0 or 1) overrides it,
    and the headless runner removes both.
    """
    forced = os.environ.get("NBPKG_LIVE", "")
    return forced == "1" if forced in ("0", "1") else "JPY_SESSION_NAME" in os.environ


def say(text: str) -> None:
    """Write one line for the person watching: under the cell in a notebook, else to standard error."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


@contextmanager
def log_to(path: Path | None) -> Iterator[None]:
    """Within the block, write everything that is said into a file too; nothing changes for None."""
    if path is None:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    screen = sys.stderr
    with path.open("a", encoding="utf-8", buffering=1) as file:
        sys.stderr = cast(TextIO, _Both(screen, file))
        try:
            yield
        finally:
            sys.stderr = screen


class _Both(io.TextIOBase):
    """Writes to two streams."""

    def __init__(self, first: TextIO, second: TextIO) -> None:
        self.streams = first, second

    def write(self, text: str) -> int:
        for stream in self.streams:
            stream.write(text)
        return len(text)

    def flush(self) -> None:
        for stream in self.streams:
            stream.flush()

    def isatty(self) -> bool:
        return self.streams[0].isatty()

    def fileno(self) -> int:
        return self.streams[0].fileno()


def track(items: Iterable[Item], label: str, *, unit: str = "item", total: int | None = None) -> Iterator[Item]:
    """Iterate, reporting count, rate and time left.

    A terminal gets one moving bar, a live notebook one line that changes in place, and a log one line for every
    tenth of the work or every minute, whichever comes later, so that a batch log stays readable.

    Parameters
    ----------
    items
        What to iterate over.
    label
        What is being done, e.g. ``prepare``.
    unit
        What is counted, in the singular.
    total
        How many there will be; taken from `items` if it has a length.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    report = Report(label, total=total, unit=unit)
    for item in items:
        yield item
        report.step()
    report.close()


class Report:
    """Progress of work that is not a simple loop: call `step` after each piece and `close` at the end.

    Parameters
    ----------
    label
        What is being done.
    total
        How many pieces there will be; None when unknown.
    unit
        What is counted, in the singular.
    """

    def __init__(self, label: str, *, total: int | None, unit: str = "item") -> None:
        self.label, self.total, self.unit = label, total, unit
        self.done, self.started = 0, time.monotonic()
        self._shown_at, self._shown_tenth = self.started, 0
        self._display: object | None = None
        self._form = "terminal" if sys.stderr.isatty() else "notebook" if is_live() else "log"

    def step(self, count: int = 1, *, note: str = "") -> None:
        """Count `count` finished pieces and show the state when it is time to; `note` is appended."""
        self.done += count
        now = time.monotonic()
        if self._form == "log":
            tenth = int(10 * self.done / self.total) if self.total else 0
            due = now - self._shown_at >= 60 or (tenth > self._shown_tenth and now - self._shown_at >= 5)
            self._shown_tenth = tenth if due else self._shown_tenth
        else:
            due = now - self._shown_at >= 0.2
        if due:
            self._shown_at = now
            self._show(self._line(note))

    def close(self, *, note: str = "") -> None:
        """Show the final count and duration."""
        seconds = time.monotonic() - self.started
        text = f"{self.label}: {self.done} {self.unit}{'' if self.done == 1 else 's'} in {_clock(seconds)}"
        self._show(f"{text}{'; ' + note if note else ''}", last=True)

    def _line(self, note: str) -> str:
        seconds = max(time.monotonic() - self.started, 1e-9)
        rate = self.done / seconds
        speed = f"{rate:.1f} {self.unit}s/s" if rate >= 1 else f"{1 / max(rate, 1e-9):.1f} s/{self.unit}"
        left = f", {_clock((self.total - self.done) / rate)} left" if self.total and rate else ""
        count = f"{self.done}/{self.total}" if self.total else f"{self.done}"
        return f"{self.label}: {count} {self.unit}s, {speed}{left}{'; ' + note if note else ''}"

    def _show(self, text: str, *, last: bool = False) -> None:
        if self._form == "terminal":
            sys.stderr.write(f"\r\x1b[K{text}" + ("\n" if last else ""))
            sys.stderr.flush()
        elif self._form == "notebook":
            self._show_in_notebook(text)
        else:
            say(text)

    def _show_in_notebook(self, text: str) -> None:
        from IPython.display import display  # only a notebook needs it

        content = {"text/plain": text}
        if self._display is None:
            self._display = display(content, raw=True, display_id=True)
        else:
            self._display.update(content, raw=True)  # type: ignore[attr-defined]


def _clock(seconds: float) -> str:
    """Write a duration as ``4.2 s``, ``3:07`` or ``1:02:03``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
