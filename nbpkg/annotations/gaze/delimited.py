"""Lines of comma-separated annotation files: header found rather than assumed, odd lines counted, never a crash."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from nbpkg.errors import Problem

MISSING = frozenset(("", "none", "null", "na", "n/a", "-"))
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf|infinity)", re.IGNORECASE)
# what a column may be called, without underscores, blanks and capitals
ALIASES = {
    "frame": ("frame", "filename", "file", "image", "name"),
    "x0": ("xmin", "x0", "x1", "left"),
    "y0": ("ymin", "y0", "y1", "top"),
    "x1": ("xmax", "x1", "x2", "right"),
    "y1": ("ymax", "y1", "y2", "bottom"),
    "gaze_x": ("gazex", "gx"),
    "gaze_y": ("gazey", "gy"),
}
KNOWN = frozenset(alias for aliases in ALIASES.values() for alias in aliases)


@dataclass
class Lines:
    """The rows of one file.

    Parameters
    ----------
    file
        Name shown in problems.
    fields
        The fields of each row as text, blanks around them removed, as many as the first `width` columns.
    numbers
        Line of each row in the file, from 1.
    whole
        Whether each row had a right number of fields.
    problems
        What was noticed.
    """

    file: str
    fields: list[list[str]] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    whole: list[bool] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def read_lines(
    path: Path, *, file: str, widths: tuple[int, ...], columns: tuple[str, ...] = (), lost: int = 0
) -> Lines:
    """Read a comma-separated file with or without header, separated by ``,`` or ``, ``.

    Parameters
    ----------
    path
        The file: UTF-8, with or without byte order mark.
    file
        Name shown in problems.
    widths
        Numbers of fields a row may have. Rows are filled up or cut to the largest.
    columns
        Names of the columns; a header with the same names in another order is obeyed.
    lost
        So many lines at the start are not looked at (what published loaders take for a header).

    Returns
    -------
    Lines
        Header lines are left out, wherever they stand (appending twice puts a second one in the middle).
    """
    lines = Lines(file)
    text = _read_text(path, lines)
    width = max(widths)
    order = list(range(width))
    for number, line in enumerate(text.split("\n"), 1):
        if number <= lost or not line.strip():
            continue
        row = line.split(",")
        if (header := _read_header(row)) is not None:
            if lines.fields:
                lines.problems.append(
                    Problem("A second header; the file was appended to.", file=file, row=number, severity="repaired")
                )
            order = _order_columns(header, columns, lines, number) or list(range(width))
            continue
        whole = len(row) in widths
        padded = [one.strip() for one in row[:width]] + [""] * (width - len(row))
        lines.fields.append([padded[place] for place in order] if columns else padded)
        lines.numbers.append(number)
        lines.whole.append(whole)
    if not lines.fields and not lines.problems:
        lines.problems.append(Problem("The file has no rows.", remedy="Annotate it or remove it.", file=file))
    return lines


def to_numbers(texts: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Turn fields into numbers and say which rows have none.

    Parameters
    ----------
    texts
        [n, k] fields as text.

    Returns
    -------
    numbers : numpy.ndarray
        [n, k] float; NaN where there is no finite number.
    troubles : dict
        ``missing`` (None, empty), ``not_finite`` and ``unreadable``, each [n, k] whether the field is so.
    """
    flat = pd.Series(texts.ravel(), dtype="object")
    numbers = pd.to_numeric(flat, errors="coerce").to_numpy(np.float64, copy=True)
    odd = np.flatnonzero(~np.isfinite(numbers))
    words = [str(one).lower() for one in flat.iloc[odd]]
    missing, readable = np.zeros((2, len(flat)), dtype=bool)
    missing[odd] = [word in MISSING for word in words]
    readable[odd] = [NUMBER.fullmatch(word) is not None for word in words]
    unreadable = np.zeros(len(flat), dtype=bool)
    unreadable[odd] = ~missing[odd] & ~readable[odd]
    numbers[odd] = np.nan
    masks = {"missing": missing, "not_finite": readable, "unreadable": unreadable}
    return numbers.reshape(texts.shape), {name: mask.reshape(texts.shape) for name, mask in masks.items()}


def _read_text(path: Path, lines: Lines) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        what, remedy = "The file is not UTF-8 text.", "Save it as UTF-8 (in a spreadsheet: CSV UTF-8)."
    except OSError as error:
        what, remedy = f"The file cannot be read: {error.strerror or error}.", "Check the disk and the permissions."
    lines.problems.append(Problem(what, remedy=remedy, file=lines.file))
    return ""


def _read_header(row: list[str]) -> list[str] | None:
    """Return the names of a header row, or None for a row of data.

    A row is a header when, split at commas and blanks, no word after the first is a number and one is a column's name.
    """
    if len(row) > 1 and any(letter.isdecimal() for letter in row[1]) and not row[1].strip()[:1].isalpha():
        return None  # nearly every row, told at once
    words = [word for one in row for word in one.split()]
    if len(words) < 3 or any(NUMBER.fullmatch(word) for word in words[1:]):
        return None
    named = [word for word in words[1:] if word.lower() not in MISSING]
    return words if any(_simplify(word) in KNOWN for word in named) else None


def _simplify(word: str) -> str:
    return re.sub(r"[^a-z0-9]", "", word.lower())


def _order_columns(header: list[str], columns: tuple[str, ...], lines: Lines, number: int) -> list[int]:
    """Find the places of the columns by a header; empty when it does not name them all."""
    names = [_simplify(word) for word in header]
    for pick in range(4):  # x1 is the left edge beside x2, the right one beside x0
        spelling = {column: ALIASES[column][min(pick, len(ALIASES[column]) - 1)] for column in columns}
        spelling |= {
            c: next((a for a in ALIASES[c] if a in names), "") for c in columns if not c.startswith(("x", "y"))
        }
        if all(alias in names for alias in spelling.values()):
            return [names.index(alias) for alias in spelling.values()]
    lines.problems.append(
        Problem(
            f"The header names {', '.join(header)}.",
            expected=f"frame x_min y_min x_max y_max{' gaze_x gaze_y' if 'gaze_x' in columns else ''}.",
            remedy="Name the columns so, or remove the header; the usual order was taken.",
            file=lines.file,
            row=number,
        )
    )
    return []
