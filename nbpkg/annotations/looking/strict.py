"""Reading JSON whose every value must be of the kind that is said, with all that is wrong collected."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nbpkg.annotations.marks import show_name
from nbpkg.errors import Problem

REQUIRED: Final = object()
LAST_FRAME = 10_000_000  # four days of video; what is beyond is damage, and would be filled frame by frame
_KINDS: dict[str, tuple[tuple[type, ...], Any]] = {
    "a text": ((str,), ""),
    "an id": ((str, int), ""),
    "a whole number": ((int,), 0),
    "a number": ((int, float), math.nan),
    "true or false": ((bool,), False),
    "a list": ((list,), ()),
    "an object": ((dict,), {}),
}


def show(value: object) -> str:
    r"""Write a value in quotes, short, without control characters.

    Examples
    --------
    >>> print(show("a" + chr(0)), show([1, 2]))
    'a\x00' [1, 2]
    """
    text = f"'{show_name(value)}'" if isinstance(value, str) else show_name(json.dumps(value, default=str))
    return text if len(text) <= 60 else f"{text[:57]}…" + ("'" if isinstance(value, str) else "")


class Notes:
    """What is wrong with one file, collected while it is read.

    Parameters
    ----------
    file
        Its name, for the messages.
    """

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []

    def note(
        self, what: str, *, place: str = "", expected: str = "", remedy: str = "", severity: str = "error"
    ) -> None:
        """Add one problem; `place` (clip, track, number of the entry) goes before what is wrong."""
        text = f"{place}: {what}" if place else what
        self.problems.append(Problem(text, expected=expected, remedy=remedy, file=self.file, severity=severity))

    def load(self, path: Path) -> Any:
        """Read a JSON file; None, with a problem noted, where that is not possible."""
        try:
            return json.loads(path.read_text(encoding="utf-8-sig"))
        except OSError as error:
            self.note(f"The file cannot be read: {error.strerror or error}.", remedy="Correct the path.")
        except json.JSONDecodeError as error:
            several = error.msg == "Extra data"
            self.note(
                f"{'More follows behind the end of its JSON' if several else 'It is no JSON: ' + error.msg}"
                f" (line {error.lineno}, column {error.colno}).",
                expected="One JSON value.",
                remedy="Make it again: the published program appended when it was run twice."
                if several
                else "Copy it again.",
            )
        except (UnicodeDecodeError, RecursionError) as error:
            self.note(
                f"It is no JSON text: {type(error).__name__}.", expected="JSON in UTF-8.", remedy="Copy it again."
            )
        return None

    def take(self, entry: Mapping[str, Any], key: str, kind: str, *, place: str, missing: Any = REQUIRED) -> Any:
        """Return a value of an object, or note that it is lacking or of another kind.

        Parameters
        ----------
        entry
            The object.
        key
            Which value.
        kind
            A key of `_KINDS`, e.g. ``a whole number``. Ids come back as text.
        place
            Where the object stands, in words.
        missing
            What stands for an absent value or null; without it, those are errors.
        """
        types, neutral = _KINDS[kind]
        value = entry.get(key)
        if value is None and missing is not REQUIRED:
            return missing
        wrong = type(value) not in types or (isinstance(value, float) and not math.isfinite(value))
        if wrong:
            said = f"{key} is {show(value)}" if key in entry else f"there is no {key}"
            self.note(f"{said}.", place=place, expected=f"{kind[:1].upper()}{kind[1:]}.", remedy="Correct the file.")
            return neutral
        return str(value) if kind == "an id" else value

    def objects(self, entries: Sequence[Any], what: str, *, place: str) -> list[tuple[str, dict[str, Any]]]:
        """Return the objects of a list with their places in words, and note what is none."""
        found = []
        for number, entry in enumerate(entries, start=1):
            where = f"{place}, {what} {number}" if place else f"{what[:1].upper()}{what[1:]} {number}"
            if isinstance(entry, dict):
                found.append((where, entry))
            else:
                self.note(f"It is {show(entry)}.", place=where, expected="An object.", remedy="Correct the file.")
        return found

    def frames(self, records: Sequence[Any], key: str, *, place: str) -> NDArray[np.int64]:
        """Return whole numbers of many records as an array, and note the first that is none."""
        values = self._column(records, key, (int,), "A whole number", place)
        bad = next((number for number, value in enumerate(values) if abs(value) > LAST_FRAME), -1)
        if bad >= 0:
            self._note_record(bad, key, values[bad], f"A frame up to {LAST_FRAME}", place)
            return np.zeros(0, np.int64)
        return np.array(values, np.int64)

    def numbers(self, records: Sequence[Any], key: str, *, place: str) -> NDArray[np.float64]:
        """Return finite numbers of many records as an array, and note the first that is none."""
        values = self._column(records, key, (int, float), "A number", place)
        try:
            array = np.array(values, np.float64)
        except OverflowError:
            array = np.array([value if abs(value) < 1e300 else math.inf for value in values], np.float64)
        bad = np.flatnonzero(~np.isfinite(array))
        if len(bad):
            self._note_record(int(bad[0]), key, values[bad[0]], "A finite number", place)
        return array

    def _column(
        self, records: Sequence[Any], key: str, types: tuple[type, ...], expected: str, place: str
    ) -> list[Any]:
        # types are looked at by the set of them: a set of annotations has millions of boxes
        try:
            values = [record[key] for record in records]
        except (KeyError, TypeError, IndexError):
            values = [record.get(key) if isinstance(record, dict) else None for record in records]
        if set(map(type, values)) <= set(types):
            return values
        wrong = [number for number, value in enumerate(values) if type(value) not in types]
        self._note_record(wrong[0], key, values[wrong[0]], expected, place, more=len(wrong) - 1)
        return []

    def _note_record(self, number: int, key: str, value: Any, expected: str, place: str, *, more: int = 0) -> None:
        others = f", and {more} more like it" if more else ""
        self.note(
            f"{key} is {show(value)}{others}.",
            place=f"{place}, box {number + 1}",
            expected=f"{expected}.",
            remedy="Correct the file.",
        )
