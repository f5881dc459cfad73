"""Watch the notebook of an open stage: note how a cell ended, and end the running cell once when told to stop."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nbpkg.runs import files
from nbpkg.runs.stage import Stage, ended

RUNNING = "receipt.running.json"
STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)  # what schedulers and people send to end a run
_CALLBACKS: dict[str, Callable[[Any], None]] = {}  # those of the stage opened last; a notebook may run twice


def note_end(path: Path, receipt: dict[str, Any], *, state: str, error: str, number: int = 0) -> None:
    """Write into a running receipt how its stage ended without closing.

    Parameters
    ----------
    path
        The ``receipt.running.json``.
    receipt
        What it holds.
    state
        ``interrupted`` or ``failed``.
    error
        Why, in words.
    number
        The signal that asked to stop; 0 when none did.
    """
    asked = {"signal": signal.Signals(number).name} if number else {}
    files.write_json(path, {**receipt, "state": state, "error": error, **asked, **ended(receipt)})


def watch_notebook(stage: Stage) -> None:
    """In a notebook, note a failing or interrupted cell in the running receipt, and let signals end the cell.

    Headless, SIGTERM, SIGINT and SIGUSR1 raise KeyboardInterrupt in the running cell, once however many arrive. Where
    a person may be watching, SIGINT stays as the kernel has it and SIGTERM does the same.

    Parameters
    ----------
    stage
        The open stage.
    """
    try:
        from IPython.core.getipython import get_ipython
    except ImportError:
        return
    shell = get_ipython()
    if shell is None:
        return
    for event, callback in _CALLBACKS.items():
        shell.events.unregister(event, callback)
    watch = _Watch(stage)
    _CALLBACKS.clear()
    _CALLBACKS["post_run_cell"] = watch.end_cell
    if threading.current_thread() is threading.main_thread():
        if os.environ.get("NBPKG_LIVE") == "0":
            _CALLBACKS["pre_run_cell"] = watch.begin_cell
            watch.listen()
        else:
            signal.signal(signal.SIGTERM, _interrupt)
    for event, callback in _CALLBACKS.items():
        shell.events.register(event, callback)


class _Watch:
    """What happens to the cells of one open stage, and which signal asked it to stop."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.path = stage, stage.folder / RUNNING
        self.process = os.getpid()
        self.doing, self.number = "cell", 0
        self.interrupt: Callable[[int, Any], Any] = signal.default_int_handler

    def listen(self) -> None:
        """Take the signals; that of Ctrl-C anew for every cell, since ipykernel sets its own before each."""
        current = signal.getsignal(signal.SIGINT)
        self.interrupt = current if callable(current) else signal.default_int_handler
        for number in STOPS:
            signal.signal(number, self.stop)

    def stop(self, number: int, frame: Any) -> None:
        """End the running cell as the kernel does it; a second signal must not disturb what the first one began."""
        if os.getpid() != self.process:  # a forked worker has our handlers and none of our duties
            _die(number)
        if self.number:
            return
        self.number = number
        signal.signal(signal.SIGCHLD, _pass_over)  # workers end too; torch would raise that into whatever comes now
        if self.doing == "cell":
            self.interrupt(signal.SIGINT, frame)
        elif self.doing == "nothing" and self.path.is_file() and files.read_json(self.path)["state"] == "running":
            self._note(f"{signal.Signals(number).name} between two cells")

    def begin_cell(self, _: Any) -> None:
        """Begin no cell once told to stop; a callback cannot refuse it but by ending the kernel."""
        self.listen()
        self.doing = "cell"
        if self.number:
            _die(self.number)

    def end_cell(self, result: Any) -> None:
        """Note an error, or a wish to stop that the cell did not heed."""
        self.doing = "note"
        error = result.error_before_exec or result.error_in_exec
        if error is None and self.number == signal.SIGINT:  # the cell caught it and means to go on
            self.number = 0
        told = None if error is not None or self.number else 0
        while told != self.number:  # a signal may arrive while the note is being written
            told = self.number
            text = f"{signal.Signals(told).name} during a cell" if error is None else f"{type(error).__name__}: {error}"
            self._note(text, is_interrupt=isinstance(error, KeyboardInterrupt))
        self.doing = "nothing"

    def _note(self, error: str, *, is_interrupt: bool = False) -> None:
        if self.path.is_file():
            state = "interrupted" if is_interrupt or self.number else "failed"
            with _uninterrupted():
                note_end(self.path, self.stage.receipt, state=state, error=error, number=self.number)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let no impatient second Ctrl-C spoil what the block writes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, _pass_over)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _die(number: int) -> None:
    """End this process as if it had no handler."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _pass_over(_number: int, _frame: object) -> None:
    """Do nothing; unlike SIG_IGN this holds for a signal that has come already, and is no heritage of new processes."""


def _interrupt(_number: int, _frame: object) -> None:
    os.kill(os.getpid(), signal.SIGINT)
