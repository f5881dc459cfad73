"""Trees of one text file per person and picture folder, as VideoAttentionTarget and ObjectAttention have them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from nbpkg.annotations.gaze.delimited import Lines, read_lines
from nbpkg.annotations.gaze.judge import Protocol, judge_boxes, judge_points, parse_numbers, without_doubled
from nbpkg.annotations.gaze.lookup import PictureIndex, natural_key, plain_name, report_missing
from nbpkg.annotations.gaze.rows import BOX, GAZE, drop_repeats, finish, join_flags, report_flags, report_gaps
from nbpkg.errors import AnnotationError, Problem

FIELDS = ("frame", *BOX, *GAZE)
# the annotator's name in a file name, e.g. s00__a2.txt
RATER_MARK = "__"


@dataclass(frozen=True)
class TrackRules:
    """How one kind of tree is read.

    Parameters
    ----------
    dataset
        Name of the data set in the table.
    protocol
        What counts as outside the frame (see `judge_points`).
    keep_outside
        Leave the written coordinates of targets outside the frame in the table instead of NaN.
    cut_at_targets
        Whether a change of the gaze point starts a new segment, as it does where a still object is looked at.
    participants
        Name of the participant for each first folder; the folder's own name for all others.
    lost
        So many lines at the start of each file are not looked at.
    """

    dataset: str
    protocol: Protocol = "gazelle"
    keep_outside: bool = False
    cut_at_targets: bool = False
    participants: Mapping[str, str] = field(default_factory=dict)
    lost: int = 0


@dataclass(frozen=True)
class _Place:
    """What the path of one annotation file says."""

    split: str
    folder: str
    participant: str
    session: str
    person: str
    rater: str


def read_tracks(
    folder: Path, rules: TrackRules, *, splits: Sequence[str], pictures: PictureIndex
) -> tuple[pd.DataFrame, list[Problem]]:
    """Read ``annotations/<split>/<folders>/<person>.txt`` about pictures in ``images/<folders>/``.

    Parameters
    ----------
    folder
        The data set.
    rules
        How its files are read.
    splits
        Parts of the official list.
    pictures
        Index of the data folder, in which `folder` lies.

    Returns
    -------
    table : pandas.DataFrame
        Table ``gaze``. Rows that cannot be used have ``valid`` 0; rows without picture and repeats are left out.
    problems : list of Problem
        What was noticed, each with file and row; every row left out is counted there.

    Raises
    ------
    AnnotationError
        When `folder` is not there or lies outside the data folder.
    """
    base = relative_folder(folder, pictures.root)
    files, problems = _find_files(folder, splits)
    read: list[tuple[_Place, Lines]] = []
    for split, path in files:
        file = path.relative_to(folder).as_posix()
        lines = read_lines(path, file=file, widths=(7,), columns=FIELDS, lost=rules.lost)
        problems += lines.problems
        place = _read_place(path.relative_to(folder / "annotations" / split), base, split, rules)
        if place is not None:
            read.append((place, lines))
            continue
        problems.append(
            Problem(
                f"The file lies in no folder of its own, so its {len(lines.fields)} rows were left out.",
                expected="annotations/<split>/<show>/<clip>/<track>.txt.",
                remedy="Move it to the folder named like its picture folder.",
                file=lines.file,
            )
        )
    rows = _gather(read)
    if rows.empty:
        return finish(rows), problems
    table, found = _judge(rows, pictures, rules)
    return table, [*problems, *found, *report_gaps(table)]


def relative_folder(folder: Path, root: Path) -> str:
    """Return where a data set lies in the data folder, ``.`` when it is that folder.

    Raises
    ------
    AnnotationError
        When it is not there or lies elsewhere.
    """
    if not folder.is_dir():
        raise AnnotationError(
            "The data set is not there.", where=str(folder), remedy="Correct the path or put the data there."
        )
    if not folder.is_relative_to(root):
        raise AnnotationError(
            "The data set lies outside the data folder.",
            where=str(folder),
            expected=f"A folder below {root}.",
            remedy="Move or link it there, so that pictures have one path each.",
        )
    return folder.relative_to(root).as_posix()


def _find_files(folder: Path, splits: Sequence[str]) -> tuple[list[tuple[str, Path]], list[Problem]]:
    """List the annotation files of each part in natural order; a part without any is a problem."""
    files: list[tuple[str, Path]] = []
    problems = []
    for split in splits:
        base = folder / "annotations" / split
        names = [path for path in base.rglob("*") if path.suffix.lower() == ".txt" and not path.name.startswith(".")]
        if not names:
            problems.append(
                Problem(
                    f"The part {split!r} is empty." if base.is_dir() else f"The part {split!r} is not there.",
                    expected="Annotation files (.txt).",
                    remedy="Put them there, or choose another way to divide the data.",
                    file=f"annotations/{split}",
                )
            )
        ordered = sorted(names, key=lambda path: natural_key(path.relative_to(base).as_posix()))
        files += [(split, path) for path in ordered]
    return files, problems


def _read_place(path: Path, base: str, split: str, rules: TrackRules) -> _Place | None:
    """Read session, participant, person and annotator from the path of a file below its part."""
    parts = path.parent.parts
    if not parts:
        return None
    person, _, rater = path.stem.partition(RATER_MARK)
    return _Place(
        split=split,
        folder=str(PurePosixPath(base, "images", *parts)),
        participant=rules.participants.get(parts[0], parts[0]),
        session=plain_name(parts),
        person=person,
        rater=rater or "a1",
    )


def _gather(read: Sequence[tuple[_Place, Lines]]) -> pd.DataFrame:
    """Put the rows of all files into one table, still as text."""
    counts = [len(lines.fields) for _, lines in read]
    fields = np.array([row for _, lines in read for row in lines.fields], dtype=object).reshape(-1, len(FIELDS))
    rows = pd.DataFrame(fields, columns=["name", *FIELDS[1:]])
    for column in ("split", "folder", "participant", "session", "person", "rater"):
        rows[column] = np.repeat(np.array([getattr(place, column) for place, _ in read], dtype=object), counts)
    rows["file"] = np.repeat(np.array([lines.file for _, lines in read], dtype=object), counts)
    rows["line"] = np.array([number for _, lines in read for number in lines.numbers], dtype=np.int64)
    rows["whole"] = np.array([whole for _, lines in read for whole in lines.whole], dtype=bool)
    return rows


def _judge(rows: pd.DataFrame, pictures: PictureIndex, rules: TrackRules) -> tuple[pd.DataFrame, list[Problem]]:
    """Find pictures, turn text into numbers, and flag what is odd."""
    found = pictures.resolve(rows["folder"].tolist(), rows["name"].tolist())
    rows = pd.concat([rows, found], axis=1)
    problems = report_missing(rows[rows["trouble"] != ""])
    rows = rows[rows["trouble"] == ""].reset_index(drop=True)
    sizes = pictures.sizes(rows["image"])
    numbers, masks = parse_numbers(rows[[*BOX, *GAZE]].to_numpy(dtype=object), rows["whole"].to_numpy())
    boxes, box_masks = judge_boxes(numbers[:, :4], sizes)
    points, inside, point_masks = judge_points(
        numbers[:, 4:], sizes, protocol=rules.protocol, keep_outside=rules.keep_outside
    )
    masks = without_doubled({**masks, **box_masks, **point_masks, "picture_unreadable": (sizes == 0).any(axis=1)})
    rows = rows.assign(
        dataset=rules.dataset,
        inside=inside,
        width=sizes[:, 0],
        height=sizes[:, 1],
        flags=join_flags(masks, len(rows)),
        **dict(zip([*BOX, *GAZE], np.concatenate([boxes, points], axis=1).T, strict=True)),
    )
    problems += report_flags(masks, rows["file"].to_numpy(), rows["line"].to_numpy())
    rows, repeats = drop_repeats(rows)
    if rules.cut_at_targets:
        rows = cut_at_targets(rows)
    return finish(rows), [*problems, *repeats]


def cut_at_targets(table: pd.DataFrame) -> pd.DataFrame:
    """Start a new segment wherever the gaze point of a track changes; rows without a point stay in the running one.

    Parameters
    ----------
    table
        Columns session, person, rater, frame, gaze_x, gaze_y.
    """
    by = ["session", "person", "rater"]
    ordered = table.sort_values([*by, "frame"], kind="stable")
    points = ordered.groupby(by, sort=False)[GAZE].ffill()
    before = points.groupby([ordered[name] for name in by], sort=False).shift()
    changed = (points != before).any(axis=1) & before.notna().all(axis=1)
    segment = changed.astype("int64").groupby([ordered[name] for name in by], sort=False).cumsum()
    return table.assign(segment=segment.reindex(table.index))
