"""Strokes of a painter and what they add up to: a painting is replayed from its operations, nothing else is stored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from nbpkg.attention.painting.operations import (
    EDITS,
    OPENING,
    Operation,
    check_opening,
    check_operation,
    check_stroke,
    wrong,
)
from nbpkg.errors import PaintingError

STATES = ("todo", "begun", "done", "skipped")


@dataclass(frozen=True, slots=True)
class Stroke:
    """One stroke of brush or eraser on one frame.

    Parameters
    ----------
    frame
        Number of the painted frame within the snippet, from 0.
    tool
        ``brush`` or ``eraser``.
    radius
        Of the brush, as share of the picture's short side, 0.001 to 1, 4 decimals.
    strength
        Paint laid on by one touch at the brush's centre, 0 to 1, 4 decimals.
    points
        ``(t_ms, x, y)`` or ``(t_ms, x, y, pressure)`` in order; x and y from 0 to 1 across the width and height of the
        whole picture (beyond when the pen left it), pressure from 0 to 1, 5 decimals.
    """

    frame: int
    tool: str
    radius: float
    strength: float
    points: tuple[tuple[float, ...], ...]

    @classmethod
    def from_json(cls, content: Operation) -> Self:
        """Check and round a stroke as the browser sends it or a log holds it; other keys are left alone.

        Raises
        ------
        PaintingError
            Naming the part that is missing or wrong.
        """
        return cls._checked(check_stroke(content))

    @classmethod
    def _checked(cls, content: Operation) -> Self:
        points = tuple(map(tuple, content["points"]))
        return cls(content["frame"], content["tool"], content["radius"], content["strength"], points)

    def to_json(self) -> dict[str, Any]:
        """Return a plain dictionary that JSON can hold."""
        points = [list(point) for point in self.points]
        return {"frame": self.frame, "tool": self.tool, "radius": self.radius, "strength": self.strength} | {
            "points": points
        }


@dataclass(frozen=True)
class Painting:
    """What one painter made of one snippet, as its operations add up to.

    Parameters
    ----------
    snippet_id, painter, session, task, variable
        What was painted and by whom; the last three are empty as long as there is no file.
    start_ms, end_ms
        The snippet, milliseconds from the start of the session's video, half-open.
    frame_ms
        When each painted frame starts, milliseconds from the start of the session's video.
    width, height
        Size of the picture shown, pixels.
    strokes
        The visible strokes, by frame and within a frame in the order in which they lie on each other.
    answers
        Answer to each question answered so far.
    state
        ``todo`` (no file, or nothing in it), ``begun``, ``done`` (submitted, nothing changed since) or ``skipped``.
    seconds
        Active working time.
    reason
        Why it was skipped.
    can_undo, can_redo
        Whether there is something to undo, or to do again.
    last
        Number of the last operation.
    edits
        How many operations changed, took back or did again some paint.
    """

    snippet_id: str
    painter: str
    session: str = ""
    task: str = ""
    variable: str = ""
    start_ms: int = 0
    end_ms: int = 0
    frame_ms: tuple[int, ...] = ()
    width: int = 0
    height: int = 0
    strokes: tuple[Stroke, ...] = ()
    answers: Mapping[str, str] = field(default_factory=dict)
    state: str = "todo"
    seconds: float = 0.0
    reason: str = ""
    can_undo: bool = False
    can_redo: bool = False
    last: int = 0
    edits: int = 0


class _Layer:
    """A stroke on top of others: frames share what lies below, so that undo and copy cost nothing."""

    __slots__ = ("below", "stroke")

    def __init__(self, below: _Layer | None, stroke: Stroke) -> None:
        self.below, self.stroke = below, stroke


class _Edit:
    """A change of one frame on top of earlier ones."""

    __slots__ = ("after", "before", "earlier", "frame")

    def __init__(self, earlier: _Edit | None, frame: int, before: _Layer | None, after: _Layer | None) -> None:
        self.earlier, self.frame, self.before, self.after = earlier, frame, before, after


@dataclass(frozen=True, eq=False, repr=False)
class Replay:
    """State of a painting after some of its operations; `apply` gives the next one and leaves this as it is.

    Parameters
    ----------
    opening
        The open line, as `check_opening` returns it.
    """

    opening: Operation
    layers: Mapping[int, _Layer | None] = field(default_factory=dict)
    done: _Edit | None = None
    undone: _Edit | None = None
    answers: Mapping[str, str] = field(default_factory=dict)
    ended: str = ""
    reason: str = ""
    seconds: float = 0.0
    last: int = 0
    edits: int = 0

    def apply(self, operation: Operation) -> Replay:
        """Return the state after one more operation, which `check_operation` has passed.

        Raises
        ------
        PaintingError
            When its number does not follow, its frame does not exist, or there is nothing to undo or redo.
        """
        kind, number = operation["op"], operation["n"]
        if number != self.last + 1:
            raise PaintingError(f"Operation {number} does not follow operation {self.last}.", expected="No gaps.")
        for name in ("frame", "source"):
            if operation.get(name, 0) >= len(self.opening["frame_ms"]):
                raise wrong(name, operation[name], f"one of the {len(self.opening['frame_ms'])} frames, from 0")
        seconds = max(self.seconds, operation.get("seconds", 0.0))
        base = replace(self, last=number, seconds=seconds, ended="", reason="", edits=self.edits + (kind in EDITS))
        if kind in ("undo", "redo"):
            return base._step(kind)
        if kind in EDITS:
            return base._edit(operation)
        if kind == "answer":
            return replace(base, answers={**self.answers, operation["question"]: operation["value"]})
        if kind == "skip":
            return replace(base, ended="skipped", reason=operation["reason"])
        return replace(base, ended="done")

    def _edit(self, operation: Operation) -> Replay:
        frame = operation["frame"]
        before = after = self.layers.get(frame)
        if operation["op"] == "stroke":
            after = _Layer(before, Stroke._checked(operation))
        else:
            after = self.layers.get(operation["source"]) if operation["op"] == "copy" else None
        layers = {**self.layers, frame: after}
        return replace(self, layers=layers, done=_Edit(self.done, frame, before, after), undone=None)

    def _step(self, kind: str) -> Replay:
        edit = self.done if kind == "undo" else self.undone
        if edit is None:
            raise PaintingError(f"There is nothing to {kind}.", remedy="Open the snippet again.")
        moved = _Edit(self.undone if kind == "undo" else self.done, edit.frame, edit.before, edit.after)
        layers = {**self.layers, edit.frame: edit.before if kind == "undo" else edit.after}
        if kind == "undo":
            return replace(self, layers=layers, done=edit.earlier, undone=moved)
        return replace(self, layers=layers, done=moved, undone=edit.earlier)

    @property
    def state(self) -> str:
        """``todo``, ``begun``, ``done`` or ``skipped``."""
        return self.ended or ("begun" if self.last else "todo")

    def painting(self) -> Painting:
        """Return what the operations add up to."""
        strokes: list[Stroke] = []
        for frame in sorted(self.layers):
            layer, pile = self.layers[frame], list[Stroke]()
            while layer is not None:
                pile.append(layer.stroke if layer.stroke.frame == frame else replace(layer.stroke, frame=frame))
                layer = layer.below
            strokes.extend(reversed(pile))
        facts = {name: self.opening[name] for name in OPENING if name not in ("op", "n", "version", "frame_ms")}
        return Painting(
            **facts,
            frame_ms=tuple(self.opening["frame_ms"]),
            strokes=tuple(strokes),
            answers=dict(self.answers),
            state=self.state,
            seconds=self.seconds,
            reason=self.reason,
            can_undo=self.done is not None,
            can_redo=self.undone is not None,
            last=self.last,
            edits=self.edits,
        )


def replay(operations: Iterable[Operation]) -> Painting:
    """Add up the operations of one painting, the open line first.

    Raises
    ------
    PaintingError
        When an operation is malformed or cannot follow the ones before it.
    """
    lines = iter(operations)
    state = Replay(check_opening(next(lines, {})))
    for line in lines:
        state = state.apply(check_operation(line))
    return state.painting()
