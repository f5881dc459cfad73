"""Reader of GazeFollow's extended annotations: photographs, one person per row, in the test part several annotators."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from nbpkg.annotations.gaze.delimited import Lines, read_lines
from nbpkg.annotations.gaze.judge import judge_boxes, parse_numbers, without_doubled
from nbpkg.annotations.gaze.lookup import PictureIndex, plain_name, report_missing
from nbpkg.annotations.gaze.rows import BOX, Compat, finish, join_flags, report_flags
from nbpkg.annotations.gaze.tracks import relative_folder
from nbpkg.errors import Problem

FILES = {"train": "train_annotations_release.txt", "test": "test_annotations_release.txt"}
# VTD names one column less than there are and so loses the last one; both counts are read
WIDTHS = {"train": (16, 17), "test": (15, 16)}
EYES, POINT, EDGES, INOUT = slice(6, 8), slice(8, 10), slice(10, 14), 14
MOST_ANNOTATORS = 20


def read_gazefollow(
    folder: Path,
    *,
    pictures: PictureIndex | None = None,
    files: Mapping[str, str] = FILES,
    dataset: str = "gazefollow",
    compat: Compat = "none",
) -> tuple[pd.DataFrame, list[Problem]]:
    """Read the two annotation files of GazeFollow, with 16 or 17 (test: 15 or 16) columns.

    Parameters
    ----------
    folder
        The data set.
    pictures
        Index of the data folder in which it lies; of `folder` itself when not given.
    files
        Name of the annotation file of each part.
    dataset
        Name of the data set in the table.
    compat
        ``reference`` takes test rows of one picture with equal eye_x for one person, whatever their eye_y, and leaves
        the written coordinates of targets outside the frame in the table.

    Returns
    -------
    table : pandas.DataFrame
        Table ``gaze``; participant and session are the folder of the photographs, each photograph is a segment of its
        own. Persons are numbered in the file's order (test: by eye_x), annotators of one person likewise.
    problems : list of Problem
        Everything noticed; raise on them with `raise_all`.

    Raises
    ------
    AnnotationError
        When the data set is not there.
    """
    index = pictures or PictureIndex(folder)
    base = relative_folder(folder, index.root)
    problems: list[Problem] = []
    parts = []
    for split, name in files.items():
        if not (folder / name).is_file():
            problems.append(Problem(f"The part {split!r} is not there.", remedy="Put the file there.", file=name))
            continue
        lines = read_lines(folder / name, file=name, widths=WIDTHS[split])
        problems += lines.problems
        part, found = _read_part(lines, split, base, index, compat)
        problems += found
        parts.append(part)
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    return finish(table.assign(dataset=dataset)), problems


def _read_part(
    lines: Lines, split: str, base: str, pictures: PictureIndex, compat: Compat
) -> tuple[pd.DataFrame, list[Problem]]:
    """Turn the rows of one file into rows of table ``gaze``."""
    if not lines.fields:
        return pd.DataFrame(), []
    fields = np.array(lines.fields, dtype=object)[:, :15]
    rows = pd.DataFrame({"path": fields[:, 0], "line": lines.numbers, "whole": lines.whole, "file": lines.file})
    rows, found = _locate(rows, base, pictures)
    fields = fields[rows.index]
    sizes = pictures.sizes(rows["image"])
    numbers, masks = parse_numbers(fields[:, 6:15] if split == "train" else fields[:, 6:14], rows["whole"].to_numpy())
    boxes, box_masks = judge_boxes(numbers[:, 4:8], sizes)
    inside = _read_inout(numbers[:, 8]) if split == "train" else np.ones(len(rows), dtype=np.int64)
    points, point_masks = _place_points(numbers[:, 2:4], inside, sizes, compat)
    masks = without_doubled({**masks, **box_masks, **point_masks, "picture_unreadable": (sizes == 0).any(axis=1)})
    masks["inout_invalid"] &= ~masks["unreadable"]
    problems = [*found, *report_flags(masks, rows["file"].to_numpy(), rows["line"].to_numpy())]
    table = rows.assign(
        split=split,
        segment=rows["frame"],
        width=sizes[:, 0],
        height=sizes[:, 1],
        gaze_x=points[:, 0],
        gaze_y=points[:, 1],
        inside=np.where(masks["no_gaze"], -1, inside),
        flags=join_flags(masks, len(rows)),
        **dict(zip(BOX, boxes.T, strict=True)),
    ).reset_index(drop=True)
    return _name_persons(table, numbers[:, 0:2], split, compat, problems)


def _locate(rows: pd.DataFrame, base: str, pictures: PictureIndex) -> tuple[pd.DataFrame, list[Problem]]:
    """Find the pictures; rows without one are left out and counted, paths that leave the data set too."""
    paths = rows["path"].str.replace("\\", "/", regex=False)
    unsafe = paths.str.startswith("/") | paths.str.contains(r"(?:^|/)\.\.(?:/|$)|^[A-Za-z]:|^$", regex=True)
    problems = [
        Problem(
            f"The path {row['path']!r} leaves the data set or is empty; the row was left out.",
            expected="A path below the data set.",
            remedy="Correct it.",
            file=row["file"],
            row=row["line"],
        )
        for row in rows[unsafe].to_dict("records")
    ]
    split = paths.str.rpartition("/")
    folders = {folder: str(PurePosixPath(base, folder)) for folder in split[0].unique()}
    names = {folder: plain_name([one for one in folder.split("/") if one] or ["pictures"]) for folder in folders}
    rows = rows.assign(folder=split[0].map(folders), name=split[2], session=split[0].map(names))[~unsafe]
    rows["participant"] = rows["session"]
    found = pictures.resolve(rows["folder"].tolist(), rows["name"].tolist()).set_index(rows.index)
    rows = pd.concat([rows, found], axis=1)
    problems += report_missing(rows[rows["trouble"] != ""])
    return rows[rows["trouble"] == ""], problems


def _read_inout(marks: np.ndarray) -> np.ndarray:
    """Read the in/out marks; anything but 1 and 0 is -1 (invalid)."""
    return np.where(marks == 1, 1, np.where(marks == 0, 0, -1)).astype(np.int64)


def _place_points(
    points: np.ndarray, inside: np.ndarray, sizes: np.ndarray, compat: Compat
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Turn fractions of the picture into pixels; outside and invalid ones become NaN unless they are to be kept."""
    absent = np.isnan(points).any(axis=1) & (inside == 1)
    beyond = (inside == 1) & ((points < 0) | (points > 1)).any(axis=1)
    pixels = points * sizes
    kept = pixels if compat == "reference" else np.where((inside == 1)[:, None], pixels, np.nan)
    return kept, {"no_gaze": absent, "gaze_beyond_edge": beyond, "inout_invalid": inside == -1}


def _name_persons(
    table: pd.DataFrame, eyes: np.ndarray, split: str, compat: Compat, problems: list[Problem]
) -> tuple[pd.DataFrame, list[Problem]]:
    """Give numbers to the persons of each photograph, and in the test part to the annotators of each person."""
    if split == "train":
        number = table.groupby("image", sort=False).cumcount()
        same = table.duplicated(["image", *BOX, "gaze_x", "gaze_y", "inside"])
        if same.any():
            where = table[same].iloc[0]
            text = f"{int(same.sum())} rows repeat an earlier one word for word; they count as further persons."
            problems.append(Problem(text, file=where["file"], row=int(where["line"]), severity="warning"))
        return table.assign(person=_write_number(number), rater="a1"), problems
    keys = table.assign(eye_x=eyes[:, 0], eye_y=0.0 if compat == "reference" else eyes[:, 1])
    by = ["eye_x", "eye_y"]
    persons = keys[["image", *by]].drop_duplicates().sort_values(["image", *by])
    persons["number"] = persons.groupby("image").cumcount()
    number = keys.merge(persons, on=["image", *by], how="left")["number"]
    rater = keys.groupby(["image", *by], sort=False, dropna=False).cumcount() + 1
    many = rater > MOST_ANNOTATORS
    if many.any():
        where = table[many].iloc[0]
        text = f"{int(many.sum())} rows are a person's annotator number {MOST_ANNOTATORS + 1} or later."
        expected = f"Up to {MOST_ANNOTATORS} annotators."
        problems.append(
            Problem(text, expected, "See whether two persons share their eyes.", where["file"], row=int(where["line"]))
        )
    return table.assign(person=_write_number(number), rater="a" + rater.astype(str)), problems


def _write_number(number: pd.Series) -> pd.Series:
    return "p" + number.astype(str).str.zfill(2)
