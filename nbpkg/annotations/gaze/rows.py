"""What all readers of gaze annotations share: the columns of table ``gaze``, its flags, and which spoil a row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from nbpkg import tables
from nbpkg.errors import AnnotationError, Problem

Compat = Literal["none", "reference"]
BOX = ["x0", "y0", "x1", "y1"]
GAZE = ["gaze_x", "gaze_y"]
TRACK = ["session", "person", "rater", "segment"]
KEY = ["session", "person", "rater", "frame"]
DEFAULTS: dict[str, str | int | float] = {
    "dataset": "",
    "split": "",
    "participant": "",
    "session": "",
    "person": "p00",
    "rater": "a1",
    "frame": 0,
    "image": "",
    "width": 0,
    "height": 0,
    **dict.fromkeys(BOX, np.nan),
    "box_source": "file",
    **dict.fromkeys(GAZE, np.nan),
    "inside": -1,
    "target": "",
    "segment": 0,
    "valid": 1,
    "flags": "",
}
COLUMNS = list(DEFAULTS)
INTEGERS = ["frame", "width", "height", "inside", "segment", "valid"]


@dataclass(frozen=True)
class Flag:
    """One thing that may be odd about a row.

    Parameters
    ----------
    word
        As written in column ``flags``.
    what, remedy
        For the person who gets the report.
    severity
        Of the problem reported.
    spoils
        Whether such a row may not be learnt from (``valid`` 0).
    """

    word: str
    what: str
    remedy: str = ""
    severity: str = "warning"
    spoils: bool = False


_ROW = "Correct the row; until then it is kept with valid 0."
FLAGS = {
    flag.word: flag
    for flag in (
        Flag("swapped", "the box was inverted; its corners were put in order", severity="repaired"),
        Flag("outside_image", "the box lies partly outside the picture"),
        Flag("off_image", "the box lies wholly outside the picture", _ROW, spoils=True),
        Flag("zero_area", "the box has no area", _ROW, spoils=True),
        Flag("no_box", "there is no head box (None, empty or -1)", "Rows without box have valid 0.", spoils=True),
        Flag("not_finite", "a number is not finite", _ROW, spoils=True),
        Flag("unreadable", "a field is no number, or fields are missing or too many", _ROW, "error", spoils=True),
        Flag("no_gaze", "there is no gaze point (None or empty)", "Rows without it have valid 0.", spoils=True),
        Flag("gaze_to_edge", "one gaze coordinate is negative; it was set to 0", severity="repaired"),
        Flag("gaze_beyond_edge", "the gaze point lies beyond the right or lower edge of the picture"),
        Flag("inout_invalid", "the data set itself marks the row as invalid (in/out -1)", spoils=True),
        Flag("picture_unreadable", "the picture cannot be opened", "Copy it again.", "error", spoils=True),
        Flag("excluded", "the row lies in a range that is to be left out", severity="repaired", spoils=True),
        Flag("unlabelled", "the row has a box but says nothing about gaze", severity="repaired", spoils=True),
        Flag("interpolated", "the box was interpolated between its neighbours", severity="repaired"),
    )
}
SPOILING = frozenset(flag.word for flag in FLAGS.values() if flag.spoils)


def split_flags(text: str) -> list[str]:
    """Split column ``flags`` into words.

    Examples
    --------
    >>> split_flags("swapped;not bending")
    ['swapped', 'not bending']
    """
    return [word.strip() for word in text.split(";") if word.strip()]


def add_flag(table: pd.DataFrame, word: str, where: np.ndarray | pd.Series) -> pd.DataFrame:
    """Return the table with a flag added to some rows, and ``valid`` 0 where the flag spoils them."""
    mask = np.asarray(where, dtype=bool)
    added = {text: ";".join(dict.fromkeys([*split_flags(text), word])) for text in table.loc[mask, "flags"].unique()}
    flags = table["flags"].mask(mask, table["flags"].map(added))
    return mark_valid(table.assign(flags=flags.astype("str")))


def remove_flag(table: pd.DataFrame, word: str, where: np.ndarray | pd.Series) -> pd.DataFrame:
    """Return the table with a flag taken from some rows, which become valid when nothing else spoils them."""
    mask = np.asarray(where, dtype=bool)
    less = {
        text: ";".join(one for one in split_flags(text) if one != word) for text in table.loc[mask, "flags"].unique()
    }
    flags = table["flags"].mask(mask, table["flags"].map(less))
    return mark_valid(table.assign(flags=flags.astype("str")))


def mark_valid(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with ``valid`` 0 exactly where a flag spoils the row."""
    spoilt = {text: bool(SPOILING.intersection(split_flags(text))) for text in table["flags"].unique()}
    return table.assign(valid=1 - table["flags"].map(spoilt).astype("int64"))


def join_flags(masks: Mapping[str, np.ndarray], count: int) -> np.ndarray:
    """Write flags given as one mask per word into one text per row.

    Parameters
    ----------
    masks
        For each word [n] whether the row has it; at most 63 words.
    count
        Number of rows.

    Returns
    -------
    numpy.ndarray
        [n] texts.
    """
    words = list(masks)
    bits = np.zeros(count, dtype=np.int64)
    for place, word in enumerate(words):
        bits |= np.asarray(masks[word], dtype=np.int64) << place
    kinds, which = np.unique(bits, return_inverse=True)
    texts = [";".join(word for place, word in enumerate(words) if kind >> place & 1) for kind in kinds.tolist()]
    return np.array(texts, dtype=object)[which] if count else np.array([], dtype=object)


def report_flags(
    masks: Mapping[str, np.ndarray], files: Sequence[str] | np.ndarray, lines: Sequence[int] | np.ndarray
) -> list[Problem]:
    """Make one problem for each file and flag, which names the first rows and counts them all.

    Parameters
    ----------
    masks
        For each word of `FLAGS` [n] whether the row has it.
    files, lines
        [n] annotation file and line (from 1) of each row.
    """
    found = []
    names, numbers = np.asarray(files, dtype=object), np.asarray(lines)
    for word, mask in masks.items():
        flag, where = FLAGS[word], np.flatnonzero(mask)
        for file, rows in pd.Series(numbers[where]).groupby(names[where], sort=True):
            shown = ", ".join(map(str, rows.head(5))) + (", …" if len(rows) > 5 else "")
            found.append(
                Problem(
                    f"In {len(rows)} row{'s' if len(rows) > 1 else ''} {flag.what} (lines {shown}).",
                    remedy=flag.remedy,
                    file=str(file),
                    row=int(rows.iloc[0]),
                    severity=flag.severity,
                )
            )
    return found


def drop_repeats(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[Problem]]:
    """Keep the first row of each frame of a track; repeats that say the same are repaired, others are errors.

    Parameters
    ----------
    rows
        Key, picture, boxes and gaze points as in table ``gaze``, with file and line of the annotation.
    """
    again = rows.duplicated(KEY, keep="first")
    if not again.any():
        return rows, []
    same = rows.duplicated([*KEY, *BOX, *GAZE], keep="first")
    found = []
    for severity, mask in (("repaired", again & same), ("error", again & ~same)):
        for file, part in rows[mask].groupby("file", sort=True):
            shown = ", ".join(f"{row['image']} (line {row['line']})" for row in part.head(5).to_dict("records"))
            text = (
                "repeat a frame word for word" if severity == "repaired" else "contradict an earlier row of the frame"
            )
            found.append(
                Problem(
                    f"{len(part)} rows {text} and were left out: {shown}{', …' if len(part) > 5 else ''}.",
                    expected="One row per frame, person and annotator.",
                    remedy="" if severity == "repaired" else "Keep the right row of each frame.",
                    file=str(file),
                    row=int(part["line"].iloc[0]),
                    severity=severity,
                )
            )
    return rows[~again], found


def finish(rows: pd.DataFrame) -> pd.DataFrame:
    """Fill in what a reader left open, order columns and rows, and hold the result against its contract.

    Returns
    -------
    pandas.DataFrame
        Table ``gaze``, sorted by session, person, rater and frame; ``valid`` follows from the flags.
    """
    filled = rows.copy()
    for name, value in DEFAULTS.items():
        if name not in filled:
            filled[name] = value
    if filled.empty:
        return tables.empty("gaze")
    typed = mark_valid(filled[COLUMNS]).astype(dict.fromkeys(INTEGERS, "int64"))
    return tables.check(typed.sort_values(KEY, kind="stable"), "gaze")


def combine_gaze(parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Put tables of several data sets into one, so that they can be learnt from together.

    Parameters
    ----------
    parts
        Tables ``gaze`` whose pictures are named relative to the same data folder.

    Returns
    -------
    pandas.DataFrame
        Table ``gaze``. Sessions of one name in several data sets get the name of theirs before it.

    Raises
    ------
    AnnotationError
        When one session of one data set comes in several parts.
    """
    every = [part for part in parts if len(part)]
    if not every:
        return tables.empty("gaze")
    table = pd.concat(every, ignore_index=True)
    owners = table.groupby("session")["dataset"].nunique()
    shared = table["session"].isin(owners[owners > 1].index)
    table["session"] = table["session"].mask(shared, table["dataset"] + "--" + table["session"])
    repeated = table[table.duplicated(KEY)]
    if len(repeated):
        raise AnnotationError(
            f"{len(repeated)} rows occur in several tables.",
            where=f"session {repeated['session'].iloc[0]}, picture {repeated['image'].iloc[0]}",
            expected="Each session once.",
            remedy="Read each data set once, or give it another name.",
        )
    return finish(table)


def check_parts(table: pd.DataFrame, parts: Sequence[str] = ("train", "test")) -> list[Problem]:
    """Report parts of the official list that have no row, or none that may be learnt from.

    Parameters
    ----------
    table
        Table ``gaze``.
    parts
        Parts that must be there.
    """
    found = []
    for part in parts:
        rows = table[table["split"] == part]
        if rows.empty or not rows["valid"].any():
            state = "is empty" if rows.empty else f"has {len(rows)} rows, none of them valid"
            found.append(
                Problem(
                    f"The part {part!r} {state}.",
                    expected="At least one row with valid 1.",
                    remedy="Put annotation files there, or choose another way to divide the data.",
                )
            )
    return found


def report_gaps(table: pd.DataFrame) -> list[Problem]:
    """Say how many tracks skip pictures of their session, in one problem per data set."""
    ordered = table.sort_values([*TRACK, "frame"], kind="stable")
    step = ordered.groupby(TRACK, sort=False)["frame"].diff()
    skipped = ordered[step > 1].assign(step=step[step > 1].astype("int64"))
    found = []
    for dataset, part in skipped.groupby("dataset", sort=True):
        worst = part.iloc[int(part["step"].to_numpy().argmax())]
        tracks = part[TRACK].drop_duplicates()
        found.append(
            Problem(
                f"{dataset}: {len(tracks)} tracks skip {int((part['step'] - 1).sum())} pictures in {len(part)} gaps; "
                f"the longest, {worst['step'] - 1} pictures, ends at {worst['image']}.",
                severity="warning",
            )
        )
    return found
