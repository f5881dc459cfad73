"""Boxes of people and their faces in each frame, from the files that detectors leave."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg.errors import Problem

CORNERS = ["x0", "y0", "x1", "y1"]
FACE = ["face_x0", "face_y0", "face_x1", "face_y1"]
COLUMNS = ["frame", *CORNERS, "score", *FACE]
_NEEDED = ["frame", *CORNERS]


def read_boxes(path: Path) -> tuple[pd.DataFrame, list[Problem]]:
    """Read where people are in the frames of one recording.

    Parameters
    ----------
    path
        CSV with columns frame (of the recording, from 0), x0, y0, x1, y1 (pixels of the recording) and, if known, score
        (confidence) and face_x0, face_y0, face_x1, face_y1 (pixels); a row for each person and frame, in any order.
        Other columns are not looked at.

    Returns
    -------
    pandas.DataFrame
        These columns in the order of the file; score and face are NaN where they are not told. No row where there are
        errors.
    list of Problem
        All that is wrong; ``warning`` for faces without area, and where nobody is there at all.
    """
    none = pd.DataFrame(columns=COLUMNS, dtype=np.float64).astype({"frame": np.int64})
    table, problems = _read_table(path)
    if problems:
        return none, problems
    numbers = table.reindex(columns=COLUMNS).apply(pd.to_numeric, errors="coerce").astype(np.float64)
    problems = [
        Problem(text, remedy="Correct the row.", file=path.name, row=int(row) + 2)
        for text, rows in _find_faults(table, numbers).items()
        for row in np.flatnonzero(rows)
    ]
    if problems:
        return none, problems
    flat = numbers[FACE].notna().any(axis=1) & ~_has_area(numbers, FACE)
    numbers.loc[flat, FACE] = np.nan
    if flat.any():
        text = f"{int(flat.sum())} faces have no area or no four corners, and are left out."
        problems.append(Problem(text, file=path.name, severity="warning"))
    if numbers.empty:
        problems.append(Problem("There is no box in it.", file=path.name, severity="warning"))
    return numbers.astype({"frame": np.int64}), problems


def _read_table(path: Path) -> tuple[pd.DataFrame, list[Problem]]:
    if not path.is_file():
        expected = "A CSV for each recording, named as it is named."
        remedy = "Add the file, or correct the setting 'boxes'."
        return pd.DataFrame(), [Problem("There are no boxes of people.", expected, remedy, file=str(path))]
    try:
        table = pd.read_csv(path, skipinitialspace=True)
    except (ValueError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        return pd.DataFrame(), [Problem(f"It is no CSV: {error}.", file=path.name)]
    lacking = [name for name in _NEEDED if name not in table]
    if lacking:
        text = f"Columns {', '.join(lacking)} are missing."
        return table, [Problem(text, expected=f"Columns {', '.join(_NEEDED)}.", file=path.name)]
    return table, []


def _find_faults(table: pd.DataFrame, numbers: pd.DataFrame) -> dict[str, NDArray[np.bool_]]:
    """Return which rows are wrong, by what is wrong with them."""
    optional = [name for name in (*FACE, "score") if name in table]
    finite = np.isfinite(numbers[_NEEDED].to_numpy()).all(axis=1)
    given = table[optional].notna().to_numpy() & ~np.isfinite(numbers[optional].to_numpy())
    frame = numbers["frame"].to_numpy()
    return {
        "The frame or a corner is no number.": ~finite,
        "The score or a corner of the face is no number.": finite & given.any(axis=1),
        "The frame is no whole number from 0.": finite & ((frame < 0) | (np.nan_to_num(frame) % 1 != 0)),
        "The box has no area.": finite & ~_has_area(numbers, CORNERS).to_numpy(),
    }


def _has_area(numbers: pd.DataFrame, names: Sequence[str]) -> pd.Series:
    return (numbers[names[2]] > numbers[names[0]]) & (numbers[names[3]] > numbers[names[1]])


def overlaps(first: NDArray[np.floating], second: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the common area of boxes over the area of both, for each of one list with each of the other.

    Parameters
    ----------
    first, second
        Boxes ``[..., N, 4]`` and ``[..., M, 4]``: x0, y0, x1, y1, of any unit; NaN where there is none.

    Returns
    -------
    ndarray
        Shares ``[..., N, M]``; 0 where there is no box.

    Examples
    --------
    >>> overlaps(np.array([[0.0, 0, 2, 2]]), np.array([[1.0, 0, 3, 2], [5, 5, 6, 6]])).round(3).tolist()
    [[0.333, 0.0]]
    """
    one, two = first[..., :, None, :].astype(np.float64), second[..., None, :, :].astype(np.float64)
    sides = np.minimum(one[..., 2:], two[..., 2:]) - np.maximum(one[..., :2], two[..., :2])
    common = sides.clip(min=0).prod(axis=-1)
    both = sum((box[..., 2:] - box[..., :2]).prod(axis=-1) for box in (one, two)) - common
    shares: NDArray[np.float64] = np.divide(common, both, out=np.zeros_like(common), where=both > 0)
    return np.nan_to_num(shares)


def stack_boxes(people: pd.DataFrame, roles: Sequence[str], *, frames: int) -> NDArray[np.float64]:
    """Lay the boxes of one session out by person and frame.

    Parameters
    ----------
    people
        Rows of the table ``people`` of one session.
    roles
        Whose boxes, in this order.
    frames
        Frames of the prepared video.

    Returns
    -------
    ndarray
        ``[people, frames, 4]``, shares of the picture; NaN where somebody is not seen.
    """
    boxes = np.full((len(roles), frames, 4), np.nan)
    for place, role in enumerate(roles):
        own = people[(people["who"] == role) & (people["frame"] < frames)]
        boxes[place, own["frame"].to_numpy(np.int64)] = own[CORNERS].to_numpy(np.float64)
    return boxes
