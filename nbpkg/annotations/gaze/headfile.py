"""Reader of head-box files: ``picture,left,top,right,bottom`` per line, one person per file, no gaze."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from nbpkg.annotations.gaze.delimited import read_lines
from nbpkg.annotations.gaze.judge import judge_boxes, parse_numbers, without_doubled
from nbpkg.annotations.gaze.lookup import PictureIndex, plain_name, report_missing
from nbpkg.annotations.gaze.rows import BOX, drop_repeats, finish, join_flags, report_flags
from nbpkg.errors import Problem

FIELDS = ("frame", *BOX)


def read_head_files(
    files: Sequence[Path], images: str, *, pictures: PictureIndex, dataset: str = "", session: str = ""
) -> tuple[pd.DataFrame, list[Problem]]:
    """Read head boxes of one or several persons in one picture folder.

    Parameters
    ----------
    files
        One file per person; its stem names the person.
    images
        Picture folder, relative to the data folder.
    pictures
        Index of the data folder.
    dataset, session
        Names in the table; the session is named after the picture folder when not given.

    Returns
    -------
    table : pandas.DataFrame
        Table ``gaze`` with boxes and without gaze points: flag ``unlabelled``, inside -1, valid 0.
    problems : list of Problem
        Everything noticed; raise on them with `raise_all`.
    """
    problems: list[Problem] = []
    parts = []
    for path in files:
        lines = read_lines(path, file=path.name, widths=(5,), columns=FIELDS)
        problems += lines.problems
        part = pd.DataFrame(np.array(lines.fields, dtype=object).reshape(-1, 5), columns=["name", *BOX])
        parts.append(part.assign(line=lines.numbers, whole=lines.whole, file=path.name, person=path.stem))
    rows = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["name", *BOX])
    if rows.empty:
        return finish(rows), problems
    rows = pd.concat([rows, pictures.resolve([images] * len(rows), rows["name"].tolist())], axis=1)
    problems += report_missing(rows[rows["trouble"] != ""].assign(folder=images))
    rows = rows[rows["trouble"] == ""].reset_index(drop=True)
    sizes = pictures.sizes(rows["image"])
    numbers, masks = parse_numbers(rows[BOX].to_numpy(dtype=object), rows["whole"].to_numpy(dtype=bool))
    boxes, found = judge_boxes(numbers, sizes)
    masks = without_doubled(
        {**masks, **found, "picture_unreadable": (sizes == 0).any(axis=1), "no_gaze": np.zeros(len(rows), dtype=bool)}
    )
    problems += report_flags(masks, rows["file"].to_numpy(), rows["line"].to_numpy())
    name = session or plain_name([part for part in Path(images).parts if part != "."] or ["pictures"])
    rows = rows.assign(
        dataset=dataset,
        participant=name,
        session=name,
        rater="a1",
        gaze_x=np.nan,
        gaze_y=np.nan,
        width=sizes[:, 0],
        height=sizes[:, 1],
        flags=join_flags({**masks, "unlabelled": np.ones(len(rows), dtype=bool)}, len(rows)),
        **dict(zip(BOX, boxes.T, strict=True)),
    )
    rows, repeats = drop_repeats(rows)
    return finish(rows), [*problems, *repeats]
