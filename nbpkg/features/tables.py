"""Features made elsewhere: CSV and NumPy files with one row per second, read and looked over."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg.errors import MediaError, Problem, raise_all
from nbpkg.features.audio import TIME_COLUMNS
from nbpkg.features.rows import Features, missing_rows, spell

_REMEDY = "Make the file again, or leave this session out."


def read_table(path: Path, *, time_columns: bool = False) -> Features:
    """Read features of one session that were made elsewhere.

    Parameters
    ----------
    path
        A name with ``.csv`` anywhere in it is text with a header, numbers between commas (a space behind them is the
        published form); any other is ``.npy`` of ``[T, ...]``, of which all but the first axis become columns.
    time_columns
        Keep columns that only tell the time: frameIndex, frameTime, and a nameless column that counts the rows.

    Returns
    -------
    Features
        Rows that are NaN or infinite in part have become missing, and are told.

    Raises
    ------
    MediaError
        When the file is missing or holds no such table, with every cell that is no number.
    """
    if not path.is_file():
        raise MediaError(f"There is no file {path.name!r}.", where=str(path), remedy="Correct the folder's path.")
    values, names, problems = (_read_csv if ".csv" in path.name else _read_npy)(path)
    raise_all(problems, MediaError, summary="features cannot be read.")
    clocks = [] if time_columns else _clocks(values, names)
    if clocks:
        names_there = [names[place] or "without a name" for place in clocks]
        problems.append(_note(path, f"Columns that only tell the time are left out: {spell(names_there)}.", "repaired"))
        values = np.delete(values, clocks, axis=1)
        names = [name for place, name in enumerate(names) if place not in clocks]
    if not values.size:
        raise MediaError(
            f"{path.name!r} holds {values.shape[0]} rows of {values.shape[1]} features.",
            where=str(path),
            expected="At least one of each.",
            remedy=_REMEDY,
        )
    rows, found = clean_rows(values, names, file=path.name)
    raise_all(found, MediaError, summary="features cannot be used.")
    return Features(rows, [name or f"column_{place + 1}" for place, name in enumerate(names)], problems + found)


def clean_rows(
    values: NDArray[np.floating], names: list[str], *, file: str
) -> tuple[NDArray[np.float32], list[Problem]]:
    """Make rows missing that are NaN or infinite in part, and say which rows and columns are odd.

    Parameters
    ----------
    values
        ``[T, D]``.
    names
        Of the columns.
    file
        Name for the problems.

    Returns
    -------
    ndarray
        float32 ``[T, D]``.
    list of Problem
        ``repaired`` for rows made missing; ``warning`` for columns that are constant; ``error`` for columns without
        any number in a file that has others.
    """
    with np.errstate(over="ignore"):  # what is too large for float32 becomes infinite, and is told
        rows = np.array(values, dtype=np.float32)
    problems = []
    empty = np.asarray(np.isnan(rows).all(axis=0))
    if empty.any() and not empty.all():
        problems.append(_note_columns(file, "hold no number at all", names, empty, "error"))
    infinite = np.asarray(np.isinf(rows).any(axis=0))
    if infinite.any():
        problems.append(_note_columns(file, "hold infinite values", names, infinite, "warning"))
    broken = ~np.isfinite(rows).all(axis=1) & ~np.isnan(rows).all(axis=1)
    if broken.any():
        seconds = spell(np.flatnonzero(broken).tolist())
        text = f"Rows that are incomplete are taken for missing: {seconds} (counted from 0)."
        problems.append(Problem(text, remedy="Check how they were made.", file=file, severity="repaired"))
        rows[broken] = np.nan
    seen = rows[~missing_rows(rows)]
    if len(seen) > 1 and (constant := (seen == seen[0]).all(axis=0)).any():
        problems.append(_note_columns(file, "are constant", names, constant, "warning"))
    if not len(seen):
        text = "Nothing is perceived in any second."
        problems.append(Problem(text, remedy="Check how the features were made.", file=file, severity="warning"))
    return rows, problems


def check_widths(widths: Mapping[str, int], *, modality: str) -> list[Problem]:
    """Name the files whose number of features is not that of most.

    Parameters
    ----------
    widths
        Number of columns by file.
    modality
        Name for the message.
    """
    if len(set(widths.values())) < 2:
        return []
    usual, count = Counter(widths.values()).most_common(1)[0]
    expected = f"{usual} features, as in {count} of {len(widths)} files of {modality}."
    return [
        Problem(f"{file!r} has {width} features.", expected=expected, remedy="Make all in the same way.", file=file)
        for file, width in widths.items()
        if width != usual
    ]


def _read_csv(path: Path) -> tuple[NDArray[np.floating], list[str], list[Problem]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise _no_table(path, f"it is no text in UTF-8 ({error.reason})") from None
    try:
        header = [name.strip() for name in next(csv.reader(StringIO(text)), [])]
        if not header:
            raise _no_table(path, "it is empty")
        # A blank row is a second without features; dropping it would move all that follow.
        body = pd.read_csv(
            StringIO(text.rstrip()), header=None, skiprows=1, skip_blank_lines=False, skipinitialspace=True,
            names=range(len(header)), index_col=False,
        )  # fmt: skip
    except (pd.errors.ParserError, pd.errors.EmptyDataError, csv.Error) as error:
        raise _no_table(path, str(error).strip()) from None
    problems = _headless(path, header)
    for place in range(len(header)):
        if not pd.api.types.is_numeric_dtype(body[place]) or body[place].dtype == bool:
            numbers = pd.to_numeric(body[place].astype("str").where(body[place].notna()), errors="coerce")
            wrong = np.flatnonzero((numbers.isna() & body[place].notna()).to_numpy())
            problems.extend(_no_number(path, int(row), header[place], body[place].iloc[row]) for row in wrong)
            body[place] = numbers
    return body.to_numpy(dtype=np.float64), header, problems


def _no_number(path: Path, row: int, name: str, cell: object) -> Problem:
    text = f"{str(cell)[:40]!r} in column {name!r} is no number."
    return Problem(text, remedy="Correct it, or leave the cell empty.", file=path.name, row=row + 2)


def _headless(path: Path, header: list[str]) -> list[Problem]:
    """Notice a first row of numbers: without names the first second would be taken for them."""
    try:
        numbers = [float(name) for name in header]
    except ValueError:
        return []
    if numbers == list(range(len(numbers))):  # how pandas names columns without names
        return []
    text = "The first line holds numbers instead of the columns' names."
    return [Problem(text, expected="A header.", remedy="Put one above the numbers.", file=path.name, row=1)]


def _read_npy(path: Path) -> tuple[NDArray[np.floating], list[str], list[Problem]]:
    try:
        values = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise _no_table(path, str(error).split(". ")[0]) from None
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiub" or values.ndim == 0:
        kind = f"{values.dtype} of {values.ndim} axes" if isinstance(values, np.ndarray) else "several arrays"
        raise _no_table(path, f"it holds {kind}")
    width = int(np.prod(values.shape[1:], dtype=np.int64))
    return values.reshape(len(values), width), [""] * width, []


def _clocks(values: NDArray[np.floating], names: list[str]) -> list[int]:
    """Find columns that only tell the time; pandas writes its row numbers as a first column without a name."""
    places = [place for place, name in enumerate(names) if name in TIME_COLUMNS]
    first_is_nameless = len(names) > 1 and not names[0] and all(names[1:])
    if first_is_nameless and np.array_equal(values[:, 0], np.arange(len(values))):
        places.insert(0, 0)
    return places


def _no_table(path: Path, reason: str) -> MediaError:
    return MediaError(
        f"{path.name!r} is no table of features: {reason}.",
        where=str(path),
        expected="CSV with a header, or numbers written by numpy.save; one row per second.",
        remedy=_REMEDY,
    )


def _note(path: Path, text: str, severity: str) -> Problem:
    return Problem(text, file=path.name, severity=severity)


def _note_columns(file: str, what: str, names: list[str], which: NDArray[np.bool_], severity: str) -> Problem:
    columns = [names[place] or str(place + 1) for place in np.flatnonzero(which)]
    text = f"Columns {what}: {spell(columns)}."
    return Problem(text, remedy="Check how the features were made.", file=file, severity=severity)
