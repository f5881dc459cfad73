"""Courses of valence as the challenge takes them in: a CSV file per session, header ``valence``, a row per frame."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg.errors import Problem, TableError, raise_all
from nbpkg.metrics.valence.frames import Pad, steps_to_frames
from nbpkg.runs.files import new_file

Array = NDArray[np.float64]
HEADER = "valence"
NAME = re.compile(r"Subject_(\d+)_Story_(\d+)(?:_\w.*)?\.csv", re.DOTALL)


def write_prediction_files(
    predictions: pd.DataFrame, frames: Mapping[str, int], *, folder: Path, ratio: int, pad: Pad = "hold"
) -> list[Path]:
    """Write the answers of one system as files for the challenge's scorer.

    Parameters
    ----------
    predictions
        Table ``valence_predictions`` of one system.
    frames
        Session to the frames of its video.
    folder
        Where ``<session>.csv`` go; it is made. Files of other sessions that lie there stay.
    ratio, pad
        As in `nbpkg.metrics.valence.frames.steps_to_frames`.

    Returns
    -------
    list
        The files, in the order of sessions. Values are written with as many digits as tell 32-bit numbers apart.

    Raises
    ------
    TableError
        When there are several systems, a session without known frames, or a name that is no file name.
    """
    systems = sorted(set(predictions["system"]))
    unknown = sorted(set(predictions["session"]) - set(frames))
    if len(systems) > 1 or unknown:
        raise TableError(
            f"The answers are of several systems: {', '.join(systems)}."
            if len(systems) > 1
            else f"The frames of {len(unknown)} sessions are not known: {', '.join(unknown[:5])}.",
            where="table 'valence_predictions'",
            expected="Answers of one system, to sessions whose frames are known.",
        )
    written = []
    for session, rows in predictions.groupby("session", sort=True):
        steps = rows.sort_values("step")["predicted"].to_numpy(np.float64)
        course = steps_to_frames(steps, frames[str(session)], ratio=ratio, pad=pad)
        written.append(write_course(course, folder / f"{_as_file_name(str(session))}.csv"))
    return written


def write_course(course: Array, path: Path) -> Path:
    """Write one course as the published program does: 32-bit values, shortest text that reads back the same.

    Raises
    ------
    TableError
        When a value is no finite number, for which there would be a blank row.
    """
    if not np.isfinite(course).all():
        raise TableError(
            f"{int((~np.isfinite(course)).sum())} of {len(course)} frames have no finite answer.",
            where=path.name,
            expected="A number for every frame.",
        )
    with new_file(path) as temporary:
        rows = "".join(f"{value!s}\n" for value in course.astype(np.float32))  # a format would turn it to 64 bits
        temporary.write_text(f"{HEADER}\n{rows}", "utf-8")
    return path


def read_course(path: Path) -> tuple[Array, list[Problem]]:
    """Read one file, row for row: a blank row inside is a problem, since to skip it would shift all that follows.

    Parameters
    ----------
    path
        CSV with header ``valence``; line ends may be of any kind.

    Returns
    -------
    tuple
        [frames], NaN where the file says ``nan`` or a row cannot be read; and what is wrong.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        return np.zeros(0), [Problem(f"It cannot be read: {error}.", file=str(path))]
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines or lines[0].strip().strip('"') != HEADER:
        said = lines[0].strip() if lines else ""
        return np.zeros(0), [Problem(f"Its header is {said!r}.", expected=f"Header {HEADER!r}.", file=str(path))]
    if len(lines) == 1:
        return np.zeros(0), [Problem("It has no row.", expected="A row per frame.", file=str(path))]
    read = [_as_number(line) for line in lines[1:]]
    problems = [
        Problem(
            "A row is blank." if not line.strip() else f"{line.strip()!r} is no number.",
            expected="A number in every row, one row per frame.",
            file=str(path),
            row=number,
        )
        for number, (line, value) in enumerate(zip(lines[1:], read, strict=True), start=2)
        if value is None
    ]
    return np.array([float("nan") if value is None else value for value in read]), problems


def read_courses(folder: Path) -> dict[str, Array]:
    """Read all files of a folder, by session ``Subject_<subject>_Story_<story>``; other names are left alone.

    Parameters
    ----------
    folder
        Holds ``Subject_<subject>_Story_<story>.csv``, or the same name followed by ``_`` and more.

    Raises
    ------
    TableError
        Listing every file that cannot be read, and every session with two files.
    """
    if not folder.is_dir():
        raise TableError("The folder is not there.", where=str(folder), remedy="Correct the path.")
    found: dict[str, Array] = {}
    first: dict[str, str] = {}
    problems = []
    for path in sorted(folder.iterdir()):
        named = NAME.fullmatch(path.name)
        if named is None or not path.is_file():
            continue
        session = name_session(*named.groups())
        if session in found:
            problems.append(Problem(f"Session {session} has a second file, {first[session]}.", file=str(path)))
            continue
        found[session], wrong = read_course(path)
        first[session] = path.name
        problems += wrong
    raise_all(problems, TableError, summary="files of valence cannot be used")
    if not found:
        raise TableError(
            "No file of valence was found.", where=str(folder), expected="Subject_<subject>_Story_<story>.csv."
        )
    return found


def name_session(subject: str | int, story: str | int) -> str:
    """Name the session of a subject and story; ``01`` and ``1`` are the same."""
    return f"Subject_{int(subject)}_Story_{int(story)}"


def in_file_order(sessions: Iterable[str]) -> list[str]:
    """Put sessions in the order of their annotation files' names, which is the published one: Subject_10 before 1."""
    return sorted(sessions, key=lambda session: f"{session}.csv")


def _as_number(line: str) -> float | None:
    """Read one row; an empty quoted cell says that there is no value, a blank row that something went wrong."""
    text = line.strip()
    try:
        value = float("nan" if text == '""' else text.strip('"'))
    except ValueError:
        return None
    return None if math.isinf(value) else value


def _as_file_name(session: str) -> str:
    if session in ("", ".", "..") or any(mark in session for mark in "/\\\0"):
        raise TableError(f"Session {session!r} cannot name a file.", expected="A name without slashes.")
    return session
