"""What a process of a group tells the one that started it: lines on standard output, told from others by their mark."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from nbpkg.progress import Report

Message = Mapping[str, Mapping[str, Any]]
FAILED = "failed"  # message of a process that ends because of an error
MEMORY = "memory"  # kind of that error when memory did not suffice
_MARK = b"\x1enbpkg "


def send(message: Message) -> None:
    """Tell the process that started the group something, in plain data."""
    # In one piece, so that two processes cannot mix theirs, and on a line of its own whatever was written before.
    os.write(1, b"\n" + _MARK + json.dumps(message).encode() + b"\n")


def understand(line: bytes) -> Message | None:
    """Return the message that a line holds; None for a line that is none."""
    return json.loads(line.removeprefix(_MARK)) if line.startswith(_MARK) else None


class Relay:
    """Stands for `nbpkg.progress.Report` in a process of a group: what happens is sent on, see `replay`.

    Parameters
    ----------
    label, total, unit
        As in `nbpkg.progress.Report`.
    """

    def __init__(self, label: str, *, total: int | None, unit: str = "item") -> None:
        send({"begin": {"label": label, "total": total, "unit": unit}})

    def step(self, count: int = 1, *, note: str = "") -> None:
        """Count finished pieces."""
        send({"step": {"count": count, "note": note}})

    def close(self, *, note: str = "") -> None:
        """End the report."""
        send({"close": {"note": note}})


def replay(message: Message, report: Report | None) -> Report | None:
    """Do what a `Relay` sent.

    Parameters
    ----------
    message
        As sent.
    report
        What the message before this one returned; None before the first.

    Returns
    -------
    Report or None
        The report that goes on.
    """
    if "begin" in message:
        return Report(**message["begin"])
    if report is not None and "step" in message:
        report.step(**message["step"])
    elif report is not None and "close" in message:
        report.close(**message["close"])
    return report
