"""Test crops of the challenge: pictures ``<clip>/<track>/<frame>_<unique id>.jpg`` that nobody labelled."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg.annotations.looking.clips import check_name
from nbpkg.annotations.looking.strict import LAST_FRAME, Notes, show
from nbpkg.errors import Problem

COLUMNS = ["session", "track", "frame", "unique_id", "path"]
ENDINGS = (".jpg", ".jpeg", ".png")
REACH = 3  # frames on either side that a window shows


class PictureName(NamedTuple):
    """What the name of a test crop says: the frame as written (with its zeros), and the picture's unique id."""

    frame: str
    unique_id: str


def parse_name(name: str) -> PictureName | None:
    """Take a name apart at its first ``_`` and its last dot; None where it is no such name.

    Examples
    --------
    >>> parse_name("00005_a_b.c.jpg")
    PictureName(frame='00005', unique_id='a_b.c')
    >>> parse_name("a.jpg")
    """
    stem, dot, _ = name.rpartition(".")
    frame, line, unique = stem.partition("_")
    return PictureName(frame, unique) if dot and line and unique and frame.isascii() and frame.isdecimal() else None


def read_challenge(folder: Path) -> tuple[pd.DataFrame, list[Problem]]:
    """List the test crops of a folder.

    Parameters
    ----------
    folder
        Holds ``<clip>/<track>/<frame>_<unique id>.jpg``.

    Returns
    -------
    pictures : pandas.DataFrame
        session, track, frame, unique_id, path (relative to `folder`), in order of clip, track and frame.
    problems : list of Problem
        Names that say no frame and id, and frames or ids given twice in a track, are errors; files that are no
        pictures, and tracks without any, are warnings.

    Source
    ------
    lemon-prog123/GazePose, ``dataset/data_loader.py``, which cuts ids at their second ``_`` and takes files in the
    order of the file system.
    """
    notes = Notes(folder.name)
    if not folder.is_dir():
        notes.note(f"There is no folder {folder}.", expected="A folder for each clip, in it one for each track.",
                   remedy="Correct parse.challenge.")  # fmt: skip
        return pd.DataFrame(columns=COLUMNS), notes.problems
    rows: list[tuple[str, str, int, str, str]] = []
    for clip in _folders(folder):
        check_name(notes, "Clip", clip.name)
        for track in _folders(clip):
            check_name(notes, "Track", track.name, place=clip.name)
            rows += _read_track(track, notes)
    return pd.DataFrame(rows, columns=COLUMNS).astype({"frame": "int64"}), notes.problems


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _read_track(folder: Path, notes: Notes) -> list[tuple[str, str, int, str, str]]:
    clip, place = folder.parent.name, f"{folder.parent.name}/{folder.name}"
    rows = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.suffix.lower() not in ENDINGS:
            notes.note(f"{show(path.name)} is no picture and skipped.", place=place, severity="warning")
            continue
        said = parse_name(path.name)
        if said is None or int(said.frame) > LAST_FRAME:
            notes.note(f"The name {show(path.name)} says no frame and id.", place=place,
                       expected="<frame>_<unique id>.jpg, e.g. 00005_abc.jpg.", remedy="Rename it.")  # fmt: skip
            continue
        rows.append((clip, folder.name, int(said.frame), said.unique_id, f"{place}/{path.name}"))
    if not rows:
        notes.note("There is no test crop.", place=place, severity="warning")
    for what, values in (("Frame", [row[2] for row in rows]), ("Id", [row[3] for row in rows])):
        twice = [
            value for value, count in pd.Series(values, dtype="object").value_counts(sort=False).items() if count > 1
        ]
        if twice:
            notes.note(f"{what} {show(twice[0])} is that of several pictures.", place=place,
                       expected="One picture of each frame, with its own id.", remedy="Remove one.")  # fmt: skip
    return sorted(rows, key=lambda row: row[2])


def window_pictures(pictures: pd.DataFrame, *, compat: bool = False) -> NDArray[np.int64]:
    """Find the pictures of the frames around each picture, in its own track.

    Parameters
    ----------
    pictures
        Of `read_challenge`.
    compat
        As published: the first picture of the track whose file name *contains* the frame in five digits, even inside
        of its id.

    Returns
    -------
    numpy.ndarray
        Rows of `pictures`, ``[n, 7]`` for frames f-3 to f+3, -1 where there is none. The column in the middle is the
        picture itself.
    """
    found = np.full((len(pictures), 2 * REACH + 1), -1, np.int64)
    offsets = np.arange(-REACH, REACH + 1)
    for rows in pictures.groupby(["session", "track"], sort=False).indices.values():
        frames = pictures["frame"].to_numpy(np.int64)[rows]
        wanted = frames[:, None] + offsets
        if compat:
            own = pictures["path"].iloc[rows].str.rpartition("/")[2]
            order = np.argsort(own.to_numpy(str), kind="stable")
            names = [(rows[at], str(own.iloc[at])) for at in order]
            found[rows] = [[_containing(names, int(frame)) for frame in line] for line in wanted]
        else:
            at = np.minimum(np.searchsorted(frames, wanted), len(frames) - 1)
            found[rows] = np.where(frames[at] == wanted, rows[at], -1)
    return found


def _containing(names: list[tuple[int, str]], frame: int) -> int:
    return next((row for row, name in names if f"{frame:05d}" in name), -1)
