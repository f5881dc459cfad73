"""Labels and answers in the benchmark's files, which have no header and whose ids are text.

==========================  ==============================================================
file                        columns
==========================  ==============================================================
labels (gt.csv)             uid, frame, x1, y1, x2, y2, track, label
answers (pred.csv)          uid, frame, x1, y1, x2, y2, track, label (always 1), score
answers to test pictures    uid, unique_id, track, label (always 1), score
==========================  ==============================================================
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nbpkg.errors import Problem, TableError, raise_all
from nbpkg.runs.files import new_file

BOX = ("x1", "y1", "x2", "y2")
TRUTH = ("uid", "frame", *BOX, "track", "label")
ANSWERS = (*TRUTH, "score")
TEST_ANSWERS = ("uid", "unique_id", "track", "label", "score")
KEYS = {TRUTH: ("uid", "frame", "track"), ANSWERS: ("uid", "frame", "track"), TEST_ANSWERS: TEST_ANSWERS[:3]}
_IDS = ("uid", "unique_id", "track")
_WHOLE = ("frame", "label")


def read_truth(path: Path) -> pd.DataFrame:
    """Read a file of labels.

    Returns
    -------
    pandas.DataFrame
        uid and track (text), frame (whole number), x1, y1, x2, y2 (pixels), label (0 or 1) and row (of the file, from
        1).

    Raises
    ------
    TableError
        Listing every row with too few or too many columns, without an id, or with something that is no number, and
        every label other than 0 and 1.
    """
    table, problems = _read(path, (TRUTH,))
    problems += [
        Problem(f"Label {one.label} is unknown.", "0 or 1.", file=path.name, row=int(one.row))
        for one in _each(table[~table["label"].isin((0, 1))])
    ]
    raise_all(problems, TableError, summary="labels cannot be used")
    return table


def read_answers(path: Path) -> pd.DataFrame:
    """Read a file of answers, to labelled faces or to test pictures; the number of columns tells which.

    Returns
    -------
    pandas.DataFrame
        As `read_truth` with score, or uid, unique_id, track (text), label, score and row. A score that is not there is
        NaN.

    Raises
    ------
    TableError
        As `read_truth`; labels and missing scores are for `match_answers` and the submission to refuse.
    """
    table, problems = _read(path, (ANSWERS, TEST_ANSWERS))
    raise_all(problems, TableError, summary="answers cannot be used")
    return table


def match_answers(
    truth: pd.DataFrame, answers: pd.DataFrame, *, tolerance: float = 1e-9
) -> tuple[pd.DataFrame, list[Problem]]:
    """Put each answer beside the label of the same face: same uid, frame and track.

    Parameters
    ----------
    truth, answers
        From `read_truth` and `read_answers`, in any order.
    tolerance
        How far the sides of the two boxes may lie apart, pixels.

    Returns
    -------
    tuple
        The rows of `truth` in their order with column score; and warnings: of several rows of one face the first
        counts.

    Raises
    ------
    TableError
        Listing faces without answer, answers without face, answers whose label is not 1 or whose score is missing, and
        boxes that differ.
    """
    if "frame" not in answers:
        raise TableError(
            "These answers are to test pictures.",
            expected=f"Columns {', '.join(ANSWERS)}.",
            remedy="Name the file of answers to labelled faces.",
        )
    first, notes = _keep_first(truth, "labels")
    other, more = _keep_first(answers, "answers")
    both = first.merge(
        other, on=list(KEYS[TRUTH]), how="outer", suffixes=("", "_answer"), indicator=True, sort=False
    )  # fmt: skip
    problems = [*_list_unmatched(both), *_check_answers(other)]
    same = both[both["_merge"] == "both"].sort_values("row", kind="stable")
    apart = np.abs(np.stack([(same[side] - same[f"{side}_answer"]).to_numpy(np.float64) for side in BOX], axis=1))
    for one in _each(same[~(apart <= tolerance).all(axis=1)]):
        text = f"The box of {name_face(one)} is another than in row {int(one.row)} of the labels."
        problems.append(Problem(text, "Boxes of the same face.", row=int(one.row_answer)))
    raise_all(problems, TableError, summary="labels and answers do not fit together")
    matched = same[[*TRUTH, "score"]].astype({"label": "int64"}).reset_index(drop=True)
    return matched, [*notes, *more]


def average_answers(tables: Sequence[pd.DataFrame], *, tolerance: float = 1e-9) -> tuple[pd.DataFrame, list[Problem]]:
    """Average the scores of several systems, face by face.

    Parameters
    ----------
    tables
        From `read_answers`, each in its own order; all of labelled faces or all of test pictures.
    tolerance
        As in `match_answers`.

    Returns
    -------
    tuple
        The rows of the first table with the mean score; and warnings about faces that occur twice in a file.

    Raises
    ------
    TableError
        Listing faces that not all tables have, boxes that differ, and scores that are missing.

    Source
    ------
    lemon-prog123/GazePose, ``common/utils.py``, which averages row by row although the rows of a file are shuffled.
    """
    kinds = {tuple(name for name in table.columns if name != "row") for table in tables}
    if len(kinds) != 1:
        what = "Answers to labelled faces and to test pictures are mixed." if tables else "There are no answers."
        raise TableError(what, expected="At least one file, all of one kind.")
    columns = kinds.pop()
    keys = list(KEYS[columns])
    kept = [_keep_first(table, f"file {number}") for number, table in enumerate(tables, start=1)]
    first = kept[0][0]
    problems, scores = [], []
    for number, (table, _) in enumerate(kept, start=1):
        found = [Problem(p.what, p.expected, p.remedy, f"file {number}", row=p.row) for p in _check_answers(table)]
        beside = first[keys].merge(table, on=keys, how="left", indicator=True, sort=False)
        found += [
            Problem(f"{name_face(one)} is in one file only.", "The same faces in each.", file=f"file {number}")
            for part in (beside[beside["_merge"] == "left_only"], table[~_among(table, first, keys)])
            for one in _each(part)
        ]
        sides = [side for side in BOX if side in columns]
        apart = np.abs(beside[sides].to_numpy(np.float64) - first[sides].to_numpy(np.float64)) > tolerance
        for one in _each(beside[apart.any(axis=1)]):
            text = f"The box of {name_face(one)} is another than in the first file."
            found.append(Problem(text, "Boxes of the same face.", file=f"file {number}", row=int(one.row)))
        problems += found
        scores.append(beside["score"].to_numpy(np.float64))
    raise_all(problems, TableError, summary="answers cannot be averaged")
    mean = sum(scores) / len(scores)  # added up in the order of the files, as published
    return first[list(columns)].assign(score=mean), [note for _, notes in kept for note in notes]


def write_truth(table: pd.DataFrame, path: Path) -> Path:
    """Write labels: uid, frame, x1, y1, x2, y2, track and label of each row."""
    return _write(table, path, TRUTH)


def write_answers(table: pd.DataFrame, path: Path) -> Path:
    """Write answers to labelled faces, or to test pictures where there is a ``unique_id``.

    Parameters
    ----------
    table
        Columns of the file without label, which is always 1. Scores are written with as many digits as tell 64-bit
        numbers apart; 32-bit ones are widened first, as published (0.1 becomes 0.10000000149011612).
    path
        Where to.

    Raises
    ------
    TableError
        When a column lacks, or a score is missing or not finite.
    StageError
        When the file cannot be written.
    """
    return _write(table.assign(label=1), path, TEST_ANSWERS if "unique_id" in table else ANSWERS)


def name_face(row: object) -> str:
    """Name a face by its key, ``uid:frame:track``, or ``uid:track:unique_id`` for a test picture."""
    names = ("uid", "frame", "track") if hasattr(row, "frame") else ("uid", "track", "unique_id")
    return ":".join(str(getattr(row, name)) for name in names)


def _read(path: Path, kinds: Sequence[tuple[str, ...]]) -> tuple[pd.DataFrame, list[Problem]]:
    """Read rows of text and turn each column into what it should be."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = [(number, row) for number, row in enumerate(csv.reader(stream), start=1) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TableError(f"The file cannot be read: {error}.", where=str(path), remedy="Check the path.") from None
    widths = {len(kind): kind for kind in kinds}
    columns = widths.get(len(rows[0][1]) if rows else 0, kinds[0])
    expected = " or ".join(f"{len(kind)} columns ({', '.join(kind)})" for kind in kinds)
    problems = [
        Problem(f"There are {len(row)} columns.", f"{expected}, the same in every row.", file=path.name, row=number)
        for number, row in rows
        if len(row) != len(columns)
    ]
    if not rows:
        problems.append(Problem("There is no row.", f"Rows of {expected}.", file=path.name))
    whole = [(number, row) for number, row in rows if len(row) == len(columns)]
    texts = pd.DataFrame([row for _, row in whole], columns=list(columns), dtype="str")
    texts["row"] = [number for number, _ in whole]
    for name in columns:
        texts[name], wrong = _convert(texts, name, path.name)
        problems += wrong
    return texts, problems


def _convert(table: pd.DataFrame, name: str, file: str) -> tuple[pd.Series, list[Problem]]:
    """Turn one column of text into ids, whole numbers or numbers."""
    read: Callable[[str], object] = _as_whole if name in _WHOLE else _as_number
    allowed, kind = "A whole number." if name in _WHOLE else "A number.", "int64" if name in _WHOLE else "float64"
    if name in _IDS:
        read, allowed, kind = _as_id, "An id.", "str"
    values, problems = [], []
    for text, row in zip(table[name], table["row"], strict=True):
        value = float("nan") if name == "score" and text.strip().lower() in ("", "nan") else read(text)
        if value is None:
            problems.append(Problem(f"Column {name!r} holds {text!r}.", allowed, file=file, row=int(row)))
        values.append(_STAND_IN[kind] if value is None else value)
    return pd.Series(values, index=table.index, dtype=kind), problems


_STAND_IN: Mapping[str, object] = {"int64": 0, "float64": 0.0, "str": "?"}


def _each(table: pd.DataFrame) -> Iterator[Any]:
    """Go through rows, columns as attributes (pandas declares their values too narrowly)."""
    yield from table.itertuples()


def _as_id(text: str) -> str | None:
    return text or None


def _as_whole(text: str) -> int | None:
    plain = text.strip()
    return int(plain) if plain.lstrip("-").isdecimal() and plain.isascii() and len(plain) < 18 else None


def _as_number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _keep_first(table: pd.DataFrame, what: str) -> tuple[pd.DataFrame, list[Problem]]:
    """Keep the first row of each face."""
    columns = tuple(name for name in table.columns if name != "row")
    again = table.duplicated(list(KEYS[columns])).to_numpy(np.bool_)
    notes = [
        Problem(
            f"{name_face(one)} occurs again; its first row counts.", file=what, row=int(one.row), severity="warning"
        )
        for one in _each(table[again])
    ]
    return table[~again].reset_index(drop=True), notes


def _list_unmatched(both: pd.DataFrame) -> list[Problem]:
    """Name what only one of the two files has."""
    found = []
    for side, row, text in (("left_only", "row", "has no answer"), ("right_only", "row_answer", "has no label")):
        for one in _each(both[both["_merge"] == side]):
            place = int(getattr(one, row))
            expected = "One answer for each labelled face."
            found.append(Problem(f"{name_face(one)} {text}.", expected, row=place))
    return found


def _check_answers(answers: pd.DataFrame) -> list[Problem]:
    """Name answers whose label is not 1 or whose score is missing."""
    found = []
    for wrong, text, expected in (
        (answers["label"] != 1, "has a label other than 1", "1, what the score is about."),
        (answers["score"].isna(), "has no score", "A probability of looking."),
    ):
        found += [
            Problem(f"The answer to {name_face(one)} {text}.", expected, row=int(one.row))
            for one in _each(answers[wrong])
        ]
    return found


def _among(table: pd.DataFrame, other: pd.DataFrame, keys: list[str]) -> np.ndarray:
    return np.asarray(pd.MultiIndex.from_frame(table[keys]).isin(pd.MultiIndex.from_frame(other[keys])))


def _write(table: pd.DataFrame, path: Path, columns: tuple[str, ...]) -> Path:
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise TableError(f"The table lacks {', '.join(missing)}.", where=path.name, expected=", ".join(columns))
    if "score" in columns and not np.isfinite(table["score"].to_numpy(np.float64)).all():
        bad = int((~np.isfinite(table["score"].to_numpy(np.float64))).sum())
        raise TableError(f"{bad} answers have no finite score.", where=path.name, expected="A number in every row.")
    values = [table[name].tolist() for name in columns]
    with new_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows(zip(*values, strict=True))
    return path
