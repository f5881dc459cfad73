"""Annotations of valence: one CSV per listener and story, one row per frame, in a folder for each part."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg import tables
from nbpkg.annotations.valence.lines import read_text_lines
from nbpkg.annotations.valence.names import SHOWN, find_key, find_session_files, shorten
from nbpkg.annotations.valence.recordings import count_step_frames
from nbpkg.errors import Problem

HEADER = "valence"
Compat = Literal["none", "reference"]
SELF, THIRD_PARTY = "self", "third_party"
MISSING = frozenset(("", "nan", "na", "n/a", "null", "none"))
DIGITS = "0123456789+-.eE"


@dataclass
class _Column:
    """Values of one file, and the lines at which something is odd."""

    valence: list[float] = field(default_factory=list)
    blank: list[int] = field(default_factory=list)
    crowded: list[int] = field(default_factory=list)
    text: list[tuple[int, str]] = field(default_factory=list)
    outside: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class _How:
    """How files are read."""

    fps: int
    compat: Compat


@dataclass(frozen=True)
class _Found:
    """Annotation of one session by one rater."""

    session: str
    part: str
    rater: str
    file: str
    valence: NDArray[np.float64]


def read_valence(
    root: Path,
    *,
    parts: Mapping[str, str],
    annotations: str = "Annotations",
    fps: int = 25,
    step_seconds: float = 1.0,
    third_party: str = "",
    hidden: Sequence[str] = (),
    compat: Compat = "none",
) -> tuple[pd.DataFrame, list[Problem]]:
    """Read who said how pleasant each frame was, in all parts.

    Files are matched by subject and story. Nothing is repaired in silence: a blank row is a frame without value, where
    the published program drops it and so moves all later frames.

    Parameters
    ----------
    root
        Data folder.
    parts
        Part to its folder, relative to `root`, e.g. ``{"Training": "Training"}``; the order is kept.
    annotations
        Folder of the listeners' own annotations in each part.
    fps
        Annotated frames per second.
    step_seconds
        Step of the features, seconds; it must be a whole number of frames.
    third_party
        Folder, beside `annotations`, of another person's annotations with the same file names; empty for none.
    hidden
        Parts whose annotations are dummies of the right length.
    compat
        ``reference``: drop blank rows as published, so that all later frames move.

    Returns
    -------
    table : pandas.DataFrame
        Table ``valence``: parts in the order given, sessions in the order in which file names sort as text, then rater
        (``self``, ``third_party``) and frame. Dummy values are as in the files.
    problems : list of Problem
        Everything noticed; raise on them with `raise_all`.

    Raises
    ------
    SettingsError
        When a step is no whole number of frames.

    Source
    ------
    OMG-Empathy corpus and its readers in desmond-ong/cheem-omg-empathy, which pair files by their place.
    """
    ratio = count_step_frames(fps, step_seconds)
    how = _How(fps, compat)
    found: list[_Found] = []
    problems: list[Problem] = []
    for part, folder in parts.items():
        own, noticed = _read_folder(root, f"{folder}/{annotations}", part=part, rater=SELF, how=how)
        problems += noticed
        problems += _check_dummies(own, part) if part in hidden else _check_short(own, ratio)
        found += own
    problems += _report_two_parts(found)
    if third_party:
        others, noticed = _read_third_party(root, parts, third_party=third_party, how=how)
        problems += [*noticed, *_compare_raters(found, others)]
        known = {one.session for one in found}
        found += [one for one in others if one.session in known]
    return _tabulate(found), problems


def read_annotation(
    path: Path, *, file: str, fps: int = 25, compat: Compat = "none"
) -> tuple[NDArray[np.float64], list[Problem]]:
    """Read the values of one file, one per frame.

    Parameters
    ----------
    path
        CSV with the single column ``valence``, any line ends.
    file
        Name shown in problems.
    fps
        Frames per second, for times in problems.
    compat
        See `read_valence`.

    Returns
    -------
    values : numpy.ndarray
        (frames,) -1 to 1; NaN where a row is blank or says ``nan``. Blank rows at the end are no frames.
    problems : list of Problem
        Header, rows and values that are not as expected, with the first lines of each kind.
    """
    lines, problems = read_text_lines(path, file=file)
    start = next((place for place, line in enumerate(lines) if line.strip()), 0)
    if problems or (wrong := _check_header(lines[start], file, start + 1)):
        return np.empty(0), problems or wrong
    end = next(place for place in range(len(lines), 0, -1) if lines[place - 1].strip())
    if end < len(lines):
        what = f"{len(lines) - end} blank rows at the end were left out."
        problems.append(Problem(what, file=file, row=end + 1, severity="repaired"))
    column = _read_column(lines[start + 1 : end], start + 2)
    if not column.valence:
        return np.empty(0), [Problem("There is a header and no row.", remedy="Export the file again.", file=file)]
    values = np.array(column.valence)
    problems += _report_column(column, file, first=start + 2, fps=fps, compat=compat)
    return (np.delete(values, np.array(column.blank, int) - start - 2) if compat == "reference" else values), problems


def _check_header(line: str, file: str, row: int) -> list[Problem]:
    names = [name.strip().strip("\"'").strip() for name in line.split(",")]
    if names == [HEADER]:
        return []
    if all(_to_number(name) is not None for name in names):
        what = f"There is no header: the first row is {line.strip()!r}."
    elif HEADER in names:
        what = f"There are {len(names)} columns: {', '.join(map(repr, names))}."
    else:
        what = f"The columns are {', '.join(map(repr, names))}." if len(names) > 1 else f"The column is {names[0]!r}."
    remedy = f"Give the file one column and the header {HEADER}."
    return [Problem(what, expected=f"The single column '{HEADER}'.", remedy=remedy, file=file, row=row)]


def _read_column(lines: Sequence[str], first: int) -> _Column:
    """Turn rows into values; `first` is the number of the first line in the file."""
    column = _Column()
    for number, line in enumerate(lines, first):
        cell = line.strip()
        value = _to_number(cell)
        if value is None:
            value = np.nan
            plain = cell.strip("\"'").strip()
            if not cell:
                column.blank.append(number)
            elif "," in cell:
                column.crowded.append(number)
            elif (inner := _to_number(plain)) is not None:
                value = inner
            elif plain.lower() not in MISSING:
                column.text.append((number, plain))
        if abs(value) > 1:
            column.outside.append(number)
        column.valence.append(value)
    return column


def _to_number(cell: str) -> float | None:
    """Read a plain decimal number; None for anything else, infinity and words such as nan among it."""
    if not cell or cell.strip(DIGITS):
        return None
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _report_column(column: _Column, file: str, *, first: int, fps: int, compat: Compat) -> list[Problem]:
    """Make one problem for each kind of odd row."""
    kept = "The frame is kept without a value, so that no later frame moves."
    kept = "The row is dropped as published, and all later frames move." if compat == "reference" else kept
    shown = [f"{number} ({text[:20]!r})" for number, text in column.text[: SHOWN + 1]]
    kinds = [
        (column.blank, shorten(column.blank), "blank", kept, "", "warning"),
        (
            column.crowded,
            shorten(column.crowded),
            "of several cells",
            "One number with a decimal point.",
            "Correct them.",
            "error",
        ),
        (
            [number for number, _ in column.text],
            shorten(shown),
            "text",
            "One number, or nan.",
            "Correct them, or leave the cells empty in quotation marks.",
            "error",
        ),
        (column.outside, shorten(column.outside), "outside -1 to 1", "", "Check the scale of the file.", "warning"),
    ]
    return [
        Problem(
            f"{len(rows)} row{'s are' if len(rows) > 1 else ' is'} {what}: {text}.",
            expected=expected,
            remedy=remedy,
            file=file,
            row=rows[0],
            start_ms=(rows[0] - first) * 1000 // fps,
            severity=severity,
        )
        for rows, text, what, expected, remedy, severity in kinds
        if rows
    ]


def _read_folder(root: Path, folder: str, *, part: str, rater: str, how: _How) -> tuple[list[_Found], list[Problem]]:
    show = Path(folder).as_posix()
    if not (root / folder).is_dir():
        what = f"Part {part!r} has no folder {show}."
        remedy = "Put the annotations there, or take the part out of parse.parts."
        return [], [Problem(what, expected="A folder with one CSV per session.", remedy=remedy, file=show)]
    files, problems = find_session_files(root / folder, endings=(".csv",), show=show)
    if not files:
        what = f"Part {part!r} has no annotation file."
        problems.append(Problem(what, expected="Subject_<number>_Story_<number>.csv.", file=show))
    found = []
    for session, path in files.items():
        name = f"{show}/{path.name}"
        values, noticed = read_annotation(path, file=name, fps=how.fps, compat=how.compat)
        problems += noticed
        found += [_Found(session, part, rater, name, values)] if len(values) else []
    return found, problems


def _read_third_party(
    root: Path, parts: Mapping[str, str], *, third_party: str, how: _How
) -> tuple[list[_Found], list[Problem]]:
    """Read another person's annotations of the parts that have some."""
    there = {part: f"{folder}/{third_party}" for part, folder in parts.items()}
    there = {part: folder for part, folder in there.items() if (root / folder).is_dir()}
    if not there:
        what = f"No part has a folder {Path(third_party).as_posix()}."
        return [], [Problem(what, remedy="Correct parse.third_party, or leave it empty.")]
    read = [_read_folder(root, folder, part=part, rater=THIRD_PARTY, how=how) for part, folder in there.items()]
    found = [one for part, _ in read for one in part]
    problems = [one for _, noticed in read for one in noticed]
    return found, [*problems, *_report_two_parts(found)]


def _report_two_parts(found: list[_Found]) -> list[Problem]:
    """Report sessions that are in two parts; the later ones are dropped from `found`."""
    first: dict[str, _Found] = {}
    problems = []
    for one in list(found):
        if first.setdefault(one.session, one) is one:
            continue
        problems.append(
            Problem(
                f"{one.session} is also in part {first[one.session].part!r}: {first[one.session].file}.",
                expected="Each subject and story in one part.",
                remedy="Move the file out of the part where it does not belong.",
                file=one.file,
            )
        )
    found[:] = list(first.values())
    return problems


def _check_dummies(found: Sequence[_Found], part: str) -> list[Problem]:
    varied = [one.session for one in found if len(np.unique(one.valence[~np.isnan(one.valence)])) > 1]
    if not varied:
        return []
    what = f"Part {part!r} is named hidden, but annotations are not constant ({len(varied)}): {shorten(varied)}."
    remedy = "They will not be used; take the part out of parse.hidden if they are real."
    return [Problem(what, remedy=remedy, severity="warning")]


def _check_short(found: Sequence[_Found], ratio: int) -> list[Problem]:
    return [
        Problem(f"The annotation has {len(one.valence)} frames, less than one step.", file=one.file, severity="warning")
        for one in found
        if len(one.valence) < ratio
    ]


def _compare_raters(found: Sequence[_Found], others: Sequence[_Found]) -> list[Problem]:
    """Hold another person's annotations against the listeners' own."""
    own = {one.session: one for one in found}
    rated = {one.session for one in others}
    alone = [one.file for one in others if one.session not in own]
    lacking = [session for session in own if session not in rated]
    problems = [
        Problem(
            f"It has {len(one.valence)} frames, the listener's own annotation {len(own[one.session].valence)}.",
            remedy="Frames that only one of them has are compared with nothing.",
            file=one.file,
            severity="warning",
        )
        for one in others
        if one.session in own and len(one.valence) != len(own[one.session].valence)
    ]
    if alone:
        what = f"Another person's annotations without one by the listener were left out ({len(alone)}): "
        problems.append(Problem(f"{what}{shorten(alone)}.", severity="warning"))
    if lacking:
        what = f"Sessions without annotation by another person ({len(lacking)}): {shorten(lacking)}."
        problems.append(Problem(what, severity="warning"))
    return problems


def _tabulate(found: Sequence[_Found]) -> pd.DataFrame:
    """Write table ``valence``: sessions in the order found, both raters of one beside each other."""
    if not found:
        return tables.empty("valence")
    place = {session: number for number, session in enumerate(dict.fromkeys(one.session for one in found))}
    ordered = sorted(found, key=lambda one: place[one.session])  # stable: self comes first
    lengths = [len(one.valence) for one in ordered]
    keys = [find_key(one.session) or ("", "") for one in ordered]
    columns = {
        "session": [one.session for one in ordered],
        "subject": [subject for subject, _ in keys],
        "story": [story for _, story in keys],
        "part": [one.part for one in ordered],
        "rater": [one.rater for one in ordered],
    }
    table = pd.DataFrame({name: np.repeat(np.array(values, object), lengths) for name, values in columns.items()})
    table["frame"] = np.concatenate([np.arange(length) for length in lengths])
    table["value"] = np.concatenate([one.valence for one in ordered])
    return tables.check(table, "valence")
