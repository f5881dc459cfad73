"""Operations of a painter: what a line of a painting's log may say.

An operation is a plain dictionary: ``stroke``, ``clear``, ``copy``, ``undo``, ``redo``, ``answer``, ``skip`` or
``submit``, numbered ``n`` = 1, 2, …; the first line, ``open`` with ``n`` = 0, says what was painted. Any operation may
carry ``seconds``, the active working time on the snippet so far.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping
from typing import Any

from nbpkg.errors import PaintingError

VERSION = 1
TOOLS = ("brush", "eraser")
RADII = (0.001, 1.0)
FARTHEST = 10.0  # how far outside the picture a pen may be dragged, in widths or heights of the picture
_NAMES = ("snippet_id", "painter", "session", "task", "variable")
OPENING = ("op", "n", "version", *_NAMES, "start_ms", "end_ms", "frame_ms", "width", "height")
_KEYS: dict[str, tuple[str, ...]] = {
    "stroke": ("frame", "tool", "radius", "strength", "points"),
    "clear": ("frame",),
    "copy": ("frame", "source"),
    "undo": (),
    "redo": (),
    "answer": ("question", "value"),
    "skip": ("reason",),
    "submit": (),
}
EDITS = ("stroke", "clear", "copy", "undo", "redo")
Operation = Mapping[str, Any]


def check_name(name: object, what: str) -> str:
    """Refuse a name that could not be that of a file or folder on every system, or would lead out of its folder.

    Parameters
    ----------
    name
        Name of a painter or a snippet.
    what
        What it names, for the error.

    Raises
    ------
    PaintingError
        When it is no text, empty, begins with a dot, has white space at an end, is longer than 150 bytes or holds a
        separator, a control character or another character that some file system refuses.

    Examples
    --------
    >>> check_name("fp13_people_4835", "snippet")
    'fp13_people_4835'
    """
    refused = (
        not isinstance(name, str)
        or not name
        or name != name.strip()
        or name.startswith(".")
        or name.endswith(".")
        or len(name.encode("utf-8", "replace")) > 150
        or any(letter in '/\\:*?"<>|' or unicodedata.category(letter)[0] == "C" for letter in name)
        or name != unicodedata.normalize("NFC", name)
    )
    if refused or not isinstance(name, str):
        raise PaintingError(
            f"{name!r} cannot be the name of a {what}.",
            expected="1 to 150 bytes of letters, digits, '_', '-' and dots or spaces inside; it becomes a file name.",
            remedy=f"Rename the {what}.",
        )
    return name


def check_opening(content: Operation) -> dict[str, Any]:
    """Check what an open line says and return it complete; ``op``, ``n`` and ``version`` may be left out.

    Raises
    ------
    PaintingError
        Naming the part that is missing or wrong.
    """
    full = {"op": "open", "n": 0, "version": VERSION, **content}
    _refuse_unknown(full, OPENING, "open line")
    if full["version"] != VERSION:
        raise wrong("version", full["version"], f"{VERSION}; a newer release of this package wrote the file")
    if full["op"] != "open" or full["n"] != 0:
        raise wrong("op", full["op"], "'open' with n = 0 in the first line")
    for name in _NAMES:
        if not isinstance(_part(full, name), str):
            raise wrong(name, full[name], "text")
    check_name(full["snippet_id"], "snippet")
    check_name(full["painter"], "painter")
    whole(full, "start_ms")
    if whole(full, "end_ms") <= full["start_ms"]:
        raise wrong("end_ms", full["end_ms"], "later than the start")
    frames = _part(full, "frame_ms")
    if not isinstance(frames, (list, tuple)) or not frames or any(type(at) is not int or at < 0 for at in frames):
        raise wrong("frame_ms", frames, "whole milliseconds, at least one")
    if min(whole(full, "width"), whole(full, "height")) < 1:
        raise wrong("width or height", [full["width"], full["height"]], "at least one pixel")
    return {name: list(frames) if name == "frame_ms" else full[name] for name in OPENING}


def check_operation(content: object) -> dict[str, Any]:
    """Check the form of one operation and return it rounded, with its keys in a fixed order.

    Raises
    ------
    PaintingError
        Naming the part that is missing, unknown or wrong.
    """
    if not isinstance(content, Mapping) or not isinstance(content.get("op"), str) or content["op"] not in _KEYS:
        raise wrong("op", content.get("op") if isinstance(content, Mapping) else content, ", ".join(_KEYS))
    kind, keys = content["op"], _KEYS[content["op"]]
    _refuse_unknown(content, ("op", "n", "seconds", *keys), f"operation {kind!r}")
    result: dict[str, Any] = {"op": kind, "n": whole(content, "n")}
    if "seconds" in content:
        result["seconds"] = _number(content, "seconds", 0.0, 1e9, digits=3)
    if kind == "stroke":
        return result | check_stroke(content)
    for key in keys:
        result[key] = whole(content, key) if key in ("frame", "source") else _text(content, key)
    return result


def check_stroke(content: Operation) -> dict[str, Any]:
    """Check and round a stroke: x, y and pressure to 5 decimals, radius and strength to 4, times to milliseconds.

    Raises
    ------
    PaintingError
        Naming the part that is missing or wrong.
    """
    tool, points = _part(content, "tool"), _part(content, "points")
    if tool not in TOOLS:
        raise wrong("tool", tool, "'brush' or 'eraser'")
    if not isinstance(points, (list, tuple)) or not points:
        raise wrong("points", points, "a list of at least one point")
    return {
        "frame": whole(content, "frame"),
        "tool": tool,
        "radius": _number(content, "radius", *RADII, digits=4),
        "strength": _number(content, "strength", 0.0, 1.0, digits=4),
        "points": [_point(point, number) for number, point in enumerate(points)],
    }


def whole(content: Operation, name: str) -> int:
    """Take a whole number of at least 0 from a dictionary."""
    value = _part(content, name)
    if isinstance(value, float) and value.is_integer():  # 3.0 is how some JSON writers say 3
        value = int(value)
    if type(value) is not int or value < 0:
        raise wrong(name, value, "a whole number of at least 0")
    return value


def _text(content: Operation, name: str) -> str:
    value = _part(content, name)
    if not isinstance(value, str):
        raise wrong(name, value, "text")
    return value


def _number(content: Operation, name: str, least: float, most: float, *, digits: int) -> float:
    value = _part(content, name)
    if type(value) not in (int, float) or not least <= round(value, digits) <= most:
        raise wrong(name, value, f"a number from {least:g} to {most:g}")
    return float(round(value, digits))


def _point(point: object, number: int) -> list[float]:
    if isinstance(point, (list, tuple)) and len(point) in (3, 4) and all(type(part) in (int, float) for part in point):
        time, x, y, *pressure = point
        inside = abs(x) <= FARTHEST and abs(y) <= FARTHEST and all(0 <= part <= 1 for part in pressure)
        if inside and math.isfinite(time):
            return [round(time), *(float(round(part, 5)) for part in (x, y, *pressure))]
    expected = f"[t_ms, x, y] or [t_ms, x, y, pressure], x and y within {FARTHEST:g} pictures, pressure from 0 to 1"
    raise wrong(f"points[{number}]", point, expected)


def _part(content: Operation, name: str) -> Any:
    if name not in content:
        raise PaintingError(f"{name!r} is missing.", remedy="Take a file that this package's painter wrote.")
    return content[name]


def _refuse_unknown(content: Operation, known: tuple[str, ...], what: str) -> None:
    unknown = [name for name in content if name not in known]
    if unknown:
        raise PaintingError(f"{unknown[0]!r} is unknown in an {what}.", expected=f"Only {', '.join(known)}.")


def wrong(name: str, value: object, expected: str) -> PaintingError:
    """Say that a part of an operation cannot be used."""
    return PaintingError(
        f"{name} = {repr(value)[:80]} cannot be used.", expected=f"{expected[:1].upper()}{expected[1:]}."
    )
