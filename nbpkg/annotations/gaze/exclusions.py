"""Ranges of frames that are to be left out, and remarks of the collection sheet, taken into table ``gaze``."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nbpkg.annotations.gaze.rows import add_flag
from nbpkg.errors import AnnotationError, Problem, raise_all

COLUMNS = ["session", "segment", "first_frame", "last_frame", "exclude", "flag"]


def read_exclusions(path: Path) -> pd.DataFrame:
    """Read a table of exclusions and remarks.

    Parameters
    ----------
    path
        CSV in UTF-8 with columns session, segment, first_frame, last_frame, exclude, flag; only session is needed.
        Empty segment: all. Frames count from 0 within the session, or with a segment within that; both ends belong to
        the range; empty: from the start, to the end; negative: from the end (-1 is the last). exclude 1 (as when empty)
        spoils the rows, 0 only adds the remark in ``flag``, e.g. ``not bending``.

    Returns
    -------
    pandas.DataFrame
        These columns (text, numbers as nullable integers) and ``line``, the line of the file.

    Raises
    ------
    AnnotationError
        Listing every cell that is no whole number, every range without session and every contradiction.
    """
    try:
        rows = pd.read_csv(path, dtype="str", keep_default_na=False, encoding="utf-8-sig", skip_blank_lines=False)
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise AnnotationError(
            f"The table of exclusions cannot be read ({type(error).__name__}).",
            where=str(path),
            expected=f"CSV in UTF-8 with columns {', '.join(COLUMNS)}.",
            remedy="Correct the file, or make do without.",
        ) from None
    unknown = [name for name in rows if name not in COLUMNS]
    if "session" not in rows or unknown:
        raise AnnotationError(
            f"Unknown columns {', '.join(map(str, unknown))}." if unknown else "Column 'session' is missing.",
            where=path.name,
            expected=f"Columns {', '.join(COLUMNS)}.",
            remedy="Correct the first line.",
        )
    rows = rows.reindex(columns=COLUMNS, fill_value="")
    rows = pd.DataFrame({name: rows[name].str.strip() for name in COLUMNS})
    rows["line"] = np.arange(2, len(rows) + 2)
    rows = rows[(rows[COLUMNS] != "").any(axis=1)].copy()
    problems = []
    for name in ("segment", "first_frame", "last_frame", "exclude"):
        bad = rows[~rows[name].str.fullmatch(r"-?\d*") | (rows[name] == "-")]
        problems += [_problem(path, row["line"], f"{name} is {row[name]!r}.") for row in bad.to_dict("records")]
        rows[name] = pd.to_numeric(rows[name], errors="coerce").astype("Int64")
    problems += [
        _problem(path, row["line"], "The session is empty.") for row in rows[rows["session"] == ""].to_dict("records")
    ]
    rows["exclude"] = rows["exclude"].fillna(1)
    empty = rows[(rows["exclude"] == 0) & (rows["flag"] == "")]
    problems += [
        _problem(path, row["line"], "The row neither excludes nor remarks.") for row in empty.to_dict("records")
    ]
    raise_all(problems, AnnotationError, summary="the table of exclusions cannot be used.")
    return rows


def apply_exclusions(
    table: pd.DataFrame, exclusions: pd.DataFrame, *, file: str = "exclusions"
) -> tuple[pd.DataFrame, list[Problem]]:
    """Mark rows of excluded ranges with flag ``excluded`` (valid 0), and add remarks as flags.

    Parameters
    ----------
    table
        Table ``gaze``.
    exclusions
        As `read_exclusions` gives it.
    file
        Name shown in problems.

    Returns
    -------
    table : pandas.DataFrame
        The same rows.
    problems : list of Problem
        Ranges that fit no row (an error: a misspelt session would leave in what should go), and how many rows each
        exclusion took.
    """
    problems = []
    for row in exclusions.to_dict("records"):
        own = table["session"] == row["session"]
        if not pd.isna(row["segment"]):
            own &= table["segment"] == row["segment"]
        first, last = _find_range(table.loc[own, "frame"], row)
        mask = own & table["frame"].between(first, last)
        if not mask.any():
            expected = "A session, segment and range of the table."
            text = f"The range of session {row['session']!r} fits no row."
            problems.append(Problem(text, expected, "Correct or remove it.", file, row=row["line"]))
            continue
        if row["exclude"]:
            table = add_flag(table, "excluded", mask)
            text = f"{int(mask.sum())} rows of session {row['session']} (frames {first} to {last}) are left out."
            problems.append(Problem(text, file=file, row=row["line"], severity="repaired"))
        if row["flag"]:
            table = add_flag(table, row["flag"].replace(";", ","), mask)
    return table, problems


def _find_range(frames: pd.Series, row: dict[Hashable, Any]) -> tuple[int, int]:
    """Find first and last frame of a range, both within; without a segment frames count from the session's start."""
    if frames.empty:
        return 0, -1
    start = 0 if pd.isna(row["segment"]) else int(frames.min())
    end = int(frames.max()) + 1
    given = [None if pd.isna(row[name]) else int(row[name]) for name in ("first_frame", "last_frame")]
    first, last = (one if one is None else one + (end if one < 0 else start) for one in given)
    return start if first is None else first, end - 1 if last is None else last


def _problem(path: Path, line: int, what: str) -> Problem:
    expected = "A session, whole numbers or nothing, exclude 1 or 0, and a remark where exclude is 0."
    return Problem(what, expected=expected, remedy="Correct the row.", file=path.name, row=int(line))
