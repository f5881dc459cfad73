"""Table ``gaze`` in the text formats of the published programs, each file whole or not there, never appended to."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from nbpkg.annotations.gaze.rows import BOX, GAZE, KEY
from nbpkg.annotations.gaze.tracks import RATER_MARK
from nbpkg.errors import AnnotationError
from nbpkg.runs.files import new_file

HEADER = "frame x_min y_min x_max y_max gaze_x gaze_y"
COLUMNS = ["file", "rows", "left_out"]


def write_videoattention(table: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Write VideoAttentionTarget's files: no header, names with ending, outside the frame -1 -1.

    Parameters
    ----------
    table
        Table ``gaze``.
    folder
        Receives ``annotations/<split>/<folders of the pictures>/<person>.txt`` (``__<annotator>`` before the dot for
        all annotators but a1; split ``all`` where the table names none).

    Returns
    -------
    pandas.DataFrame
        file, rows written, left_out (rows with ``valid`` 0, which the format cannot express).

    Raises
    ------
    AnnotationError
        When a name cannot be part of a path, or two tracks would share a file.
    StageError
        When a file cannot be written.
    """
    return _write_tracks(table, folder, header="", separator=",", stems=False)


def write_objectattention(table: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Write ObjectAttention's files: header, names without ending, comma and blank between fields.

    Parameters, results and errors are those of `write_videoattention`.
    """
    return _write_tracks(table, folder, header=HEADER + "\n", separator=", ", stems=True)


def write_head_files(table: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Write one head-box file per session and person: ``picture,left,top,right,bottom``, no header.

    Parameters
    ----------
    table
        Table ``gaze``; of several annotators the first one's boxes are written.
    folder
        Receives ``<session>/<person>.txt``.

    Returns
    -------
    pandas.DataFrame
        file, rows written, left_out (rows without box).

    Raises
    ------
    AnnotationError
        When a name cannot be part of a path.
    StageError
        When a file cannot be written.
    """
    rows = []
    once = table.sort_values(KEY, kind="stable").drop_duplicates(["session", "person", "frame"])
    for (session, person), part in once.groupby(["session", "person"], sort=True):
        known = part[part["x0"].notna()]
        names = [PurePosixPath(image).name for image in known["image"]]
        columns = [names, *(_shorten(known[edge]) for edge in BOX)]
        place = PurePosixPath(_check_name(str(session)), f"{_check_name(str(person))}.txt")
        _write_text(folder / place, "".join(f"{','.join(one)}\n" for one in zip(*columns, strict=True)))
        rows.append((str(place), len(known), len(part) - len(known)))
    return pd.DataFrame(rows, columns=COLUMNS)


def _write_tracks(table: pd.DataFrame, folder: Path, *, header: str, separator: str, stems: bool) -> pd.DataFrame:
    """Write one file per part, picture folder, person and annotator."""
    places = {image: PurePosixPath(image).parent for image in table["image"].unique()}
    keyed = table.assign(place=table["image"].map(places).astype("str"))
    rows = []
    written: set[str] = set()
    for (split, place, person, rater), part in keyed.groupby(["split", "place", "person", "rater"], sort=True):
        mark = "" if rater == "a1" else f"{RATER_MARK}{_check_name(str(rater))}"
        name = f"{_check_name(str(person))}{mark}.txt"
        file = PurePosixPath("annotations", str(split) or "all", *_below_images(str(place)), name)
        if str(file) in written:
            raise AnnotationError(
                "Two tracks would share a file.",
                where=str(file),
                expected="Names of persons and annotators that tell tracks apart.",
                remedy=f"Do not use {RATER_MARK!r} in names of persons.",
            )
        written.add(str(file))
        good = part[part["valid"] == 1].sort_values("frame", kind="stable")
        points = np.where((good["inside"] == 1).to_numpy()[:, None], good[GAZE].to_numpy(np.float64), -1.0)
        names = [PurePosixPath(image).stem if stems else PurePosixPath(image).name for image in good["image"]]
        gaze = [[str(float(one)) for one in axis] if stems else _shorten(axis) for axis in points.T]
        columns = [names, *(_shorten(good[edge]) for edge in BOX), *gaze]
        _write_text(folder / file, header + "".join(f"{separator.join(one)}\n" for one in zip(*columns, strict=True)))
        rows.append((str(file), len(good), len(part) - len(good)))
    return pd.DataFrame(rows, columns=COLUMNS)


def _below_images(place: str) -> tuple[str, ...]:
    """Return the folders of a picture below the last folder called images, which is not repeated."""
    parts = PurePosixPath(place).parts
    if ".." in parts or PurePosixPath(place).is_absolute():
        raise AnnotationError("The picture lies outside the data folder.", where=place, remedy="Correct its path.")
    last = max((number for number, part in enumerate(parts) if part == "images"), default=-1)
    return parts[last + 1 :] or ("pictures",)


def _shorten(values: pd.Series | np.ndarray) -> list[str]:
    """Write whole numbers without decimals, others in full."""
    return [str(int(one)) if float(one).is_integer() else repr(float(one)) for one in np.asarray(values).tolist()]


def _check_name(name: str) -> str:
    if not re.fullmatch(r"\w[\w.:-]*", name):
        raise AnnotationError(
            f"{name!r} cannot be part of a file name.",
            expected="Letters, digits and _ - . :.",
            remedy="Rename the person, annotator or session.",
        )
    return name


def _write_text(path: Path, text: str) -> None:
    with new_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
