"""The log of a painting: one line per operation, on disk before it is acknowledged.

A painting lies in ``<folder>/<painter>/<snippet_id>.jsonl`` and only ever grows. Whoever paints numbers the
operations; one that comes again because its acknowledgement was lost is acknowledged again. A line without its end is
what a crash left of a write: it was never acknowledged, so it is left out when reading and cut off before writing on.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from nbpkg.attention.painting.lines import (
    Turn,
    cannot_write,
    flush_folder,
    is_same_file,
    read_operations,
    read_painting,
    replay_file,
)
from nbpkg.attention.painting.operations import Operation, check_name, check_opening, check_operation
from nbpkg.attention.painting.paintings import read_paintings, read_strokes, tabulate, write_strokes
from nbpkg.attention.painting.strokes import Painting, Replay
from nbpkg.errors import PaintingError

__all__ = [
    "Acknowledged",
    "PaintingLog",
    "Refused",
    "painting_path",
    "read_painting",
    "read_paintings",
    "read_strokes",
    "tabulate",
    "write_strokes",
]

_SAME_SHAPE = 0.02  # of width / height: sizes of one video prepared twice differ by the rounding of a side


@dataclass(frozen=True)
class Acknowledged:
    """An operation that is on disk.

    Parameters
    ----------
    n
        Its number.
    state
        State of the painting after all its operations: ``todo``, ``begun``, ``done`` or ``skipped``.
    """

    n: int
    state: str


@dataclass(frozen=True)
class Refused:
    """An operation that was not taken; nothing was written.

    Parameters
    ----------
    n
        Its number, -1 when it has none.
    why
        The reason, for the painter.
    last
        Number of the last operation on disk; the next one has to follow it.
    """

    n: int
    why: str
    last: int


def painting_path(folder: Path, painter: str, snippet_id: str) -> Path:
    """Return where a painting lies.

    Raises
    ------
    PaintingError
        When a name could lead out of the folder (see `check_name`).
    """
    return folder / check_name(painter, "painter") / f"{check_name(snippet_id, 'snippet')}.jsonl"


class PaintingLog:
    """One painting, open for painting: operations go to disk one by one.

    Made by `PaintingLog.open`. Safe to use from several threads. Opening the same painting again in this process, as a
    notebook cell that is run again does, gives the same object.
    """

    _opened: dict[Path, PaintingLog] = {}  # noqa: RUF012 - meant to be shared: one object per file and process
    _registry = threading.RLock()

    def __init__(self, path: Path, questions: Mapping[str, Sequence[str]]) -> None:
        """Take an empty log; use `PaintingLog.open`."""
        self.path, self.questions = path, questions
        self._operations: list[dict[str, Any]] = []
        self._state: Replay | None = None
        self._guard = threading.RLock()
        self._users = 0
        self._size = 0
        self._half_written = False
        self._stream: IO[bytes] | None = None
        self._turn: Turn | None = None

    @classmethod
    def open(cls, path: Path, header: Operation, questions: Mapping[str, Sequence[str]]) -> PaintingLog:
        """Open a painting to go on with it, or begin it.

        Parameters
        ----------
        path
            As `painting_path` gives it; the folder is made.
        header
            What is painted, as in the open line; ``op``, ``n`` and ``version`` may be left out.
        questions
            Each question with the answers there are. All must be answered before a painting can be submitted.

        Raises
        ------
        PaintingError
            When the file is damaged or of another snippet or other frames, another process has it open, or it cannot
            be written.
        """
        opening = check_opening(header)
        if path != painting_path(path.parent.parent, opening["painter"], opening["snippet_id"]):
            raise PaintingError(
                "The file's name does not fit what is painted.",
                where=str(path),
                expected=f"{opening['painter']}/{opening['snippet_id']}.jsonl.",
                remedy="Take the path that painting_path gives.",
            )
        with cls._registry:
            place = path.resolve()
            log = cls._opened.get(place)
            if log is not None and not log._in_place():  # somebody took the file away to begin anew
                log._shut()
                log = None
            if log is None:
                log = cls(path, dict(questions))
                log._begin(opening)
                cls._opened[place] = log
            else:
                _refuse_other(log.header, opening, path)
                log.questions = dict(questions)
            log._users += 1
            return log

    def close(self) -> None:
        """Let others paint on; everything is on disk already."""
        with self._registry, self._guard:
            self._users = max(0, self._users - 1)
            if self._users == 0:
                self._shut()

    def _shut(self) -> None:
        with self._guard:
            if self._stream is None or self._turn is None:
                return
            self._opened.pop(self.path.resolve(), None)
            self._stream.close()
            self._stream = None
            self._turn.give_back()

    def __enter__(self) -> PaintingLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def header(self) -> dict[str, Any]:
        """The open line."""
        return dict(self._current.opening)

    @property
    def operations(self) -> list[dict[str, Any]]:
        """All operations on disk but the open line, in order."""
        with self._guard:
            return list(self._operations)

    @property
    def painting(self) -> Painting:
        """What the operations add up to."""
        return self._current.painting()

    @property
    def _current(self) -> Replay:
        if self._state is None:
            raise PaintingError("The painting was never opened.", where=str(self.path), remedy="Use PaintingLog.open.")
        return self._state

    def append(self, operation: object) -> Acknowledged | Refused:
        """Take one operation and put it on disk.

        Parameters
        ----------
        operation
            As the browser sends it (`nbpkg.attention.painting.operations`).

        Returns
        -------
        Acknowledged or Refused
            An equal operation that is there already is acknowledged again. Refused are a malformed one, one of which
            another with its number is there, one that leaves a gap, undoing or redoing nothing, an answer there is not,
            and submitting before every question is answered.

        Raises
        ------
        PaintingError
            When it cannot be written, the file was changed by another program, or the log is closed.
        """
        with self._guard:
            state = self._current
            number = operation.get("n", -1) if isinstance(operation, Mapping) else -1
            try:
                checked = check_operation(operation)
                if 0 < checked["n"] <= state.last:
                    return self._again(checked, state)
                after = state.apply(checked)
                self._refuse_answers(checked, state)
            except PaintingError as error:
                why = " ".join(part for part in (error.what, error.expected, error.remedy) if part)
                return Refused(number if isinstance(number, int) else -1, why, state.last)
            self._write(checked)
            self._operations.append(checked)
            self._state = after
            return Acknowledged(after.last, after.state)

    def _again(self, operation: Operation, state: Replay) -> Acknowledged | Refused:
        number = operation["n"]
        if operation == self._operations[number - 1]:
            return Acknowledged(number, state.state)
        why = f"Another operation {number} was saved before; the painting is open somewhere else. Open it again."
        return Refused(number, why, state.last)

    def _refuse_answers(self, operation: Operation, state: Replay) -> None:
        if operation["op"] == "answer":
            answers = self.questions.get(operation["question"])
            if answers is None or operation["value"] not in answers:
                raise PaintingError(
                    f"{operation['value']!r} is no answer to {operation['question']!r}.",
                    expected="; ".join(f"{name}: {', '.join(values)}" for name, values in self.questions.items()),
                )
        missing = [name for name, values in self.questions.items() if state.answers.get(name) not in values]
        if operation["op"] == "submit" and missing:
            raise PaintingError(f"Not answered yet: {', '.join(missing)}.", remedy="Answer, then submit.")

    def _begin(self, opening: dict[str, Any]) -> None:
        """Take the turn, read what is there, cut off what a crash left, and write the open line of a new file."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._turn = Turn(self.path)
            try:
                self._stream = open(self.path, "a+b", buffering=0)  # noqa: PTH123, SIM115 - stays open until close
                found, self._size = read_operations(self.path)
                self._half_written = True
                self._state = Replay(opening)
                if found:
                    _refuse_other(found[0], opening, self.path)
                    self._state = replay_file(found, self.path)
                    self._operations = found[1:]
                    self._cut()
                else:
                    self._write(opening)
                    for folder in self.path.parents[:2]:  # of the file, and of the painter's folder, which may be new
                        flush_folder(folder)
            except BaseException:
                if self._stream is not None:
                    self._stream.close()
                self._turn.give_back()
                raise
        except OSError as error:
            cannot_write(self.path, error)

    def _write(self, line: Operation) -> None:
        """Put one line behind the last complete one and wait until the disk has it."""
        text = (json.dumps(line, ensure_ascii=False, separators=(",", ":"), allow_nan=False) + "\n").encode()
        if self._stream is None:
            raise PaintingError("The painting is closed.", where=str(self.path), remedy="Open the snippet again.")
        try:
            self._refuse_changed()
            self._cut()
            self._half_written = True
            rest = memoryview(text)
            while rest:  # without a buffer, a write may take only a part
                rest = rest[self._stream.write(rest) :]
            os.fsync(self._stream.fileno())
        except OSError as error:
            cannot_write(self.path, error)
        self._half_written = False
        self._size += len(text)

    def _cut(self) -> None:
        """Take away what is left of a write that did not end."""
        if self._half_written and self._stream is not None:
            self._stream.truncate(self._size)
            os.fsync(self._stream.fileno())
            self._half_written = False

    def _in_place(self) -> bool:
        """Whether the open file is still the one under its name, and nobody else wrote to it."""
        if self._stream is None or not is_same_file(self._stream, self.path):
            return False
        return self._half_written or os.fstat(self._stream.fileno()).st_size == self._size

    def _refuse_changed(self) -> None:
        """Do not write into a file that was removed, replaced or written by somebody else."""
        if not self._in_place():
            raise PaintingError(
                "The file of this painting was moved, replaced or changed by another program.",
                where=str(self.path),
                expected="Only this package's painter writes there. What was painted last is still in the browser.",
                remedy="Put the file back if it was moved, then open the snippet again.",
            )


def _refuse_other(held: Operation, wanted: Operation, path: Path) -> None:
    """Refuse to paint on what was begun on other pictures; another resolution of the same ones is fine."""
    names = ("session", "task", "variable", "start_ms", "end_ms", "frame_ms")
    different = [name for name in names if held[name] != wanted[name]]
    shapes = [content["width"] / content["height"] for content in (held, wanted)]
    if abs(shapes[0] / shapes[1] - 1) > _SAME_SHAPE:
        different.append("width / height")
    if different:
        raise PaintingError(
            f"The painting that is there was made on other pictures: {', '.join(different)} differ.",
            where=str(path),
            expected="The snippet, its frames and the video as they were when it was begun.",
            remedy="Set the video's rate, 'paint.frames' and the snippets back, or move the file away and paint again.",
        )
