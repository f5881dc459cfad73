"""List files of the published programs: one clip and its label per line, as text or as JSON.

Whatever made the published readers fail, and whatever they let pass until training crashed, is named here with file
and line. Source: open-mmlab/mmaction2 0.24.1, ``VideoDataset``, ``RawframeDataset``, ``BaseDataset``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from nbpkg.annotations.people.checks import check_repeats, check_splits
from nbpkg.annotations.people.samples import (
    NAMES,
    Sample,
    Source,
    check_labels,
    join_samples,
    tabulate,
)
from nbpkg.annotations.valence.lines import read_text_lines
from nbpkg.errors import Problem, SettingsError

_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_BETWEEN = re.compile(r"[\s,]*")
_KEYS = {"frames": "frame_dir", "video": "filename"}


@dataclass(frozen=True)
class ListForm:
    """How the lines of a list are written.

    Parameters
    ----------
    kind
        ``video``: ``path label``; ``frames``: ``folder total_frames label``. A JSON list says so itself.
    with_offset
        Folders of pictures are followed by the number of pictures to skip: ``folder offset total_frames label``.
    many_labels
        All that follows is labels, any number of them; needs `classes`.
    classes
        Number of classes; 0 when unknown, then no label is too large.
    names
        How family and session are read off a path, see `nbpkg.annotations.people.samples.Source`.
    """

    kind: Literal["video", "frames"] = "video"
    with_offset: bool = False
    many_labels: bool = False
    classes: int = 0
    names: str = NAMES

    def __post_init__(self) -> None:
        if self.with_offset and self.kind == "video":
            raise SettingsError(
                "Lists of videos have no offset.",
                where="with_offset",
                expected="Kind 'frames'.",
                remedy="Leave it out.",
            )
        if self.many_labels and self.classes < 1:
            raise SettingsError(
                "Several labels per clip need the number of classes.",
                where="classes",
                expected="A whole number from 1.",
                remedy="Say how many classes there are.",
            )

    @property
    def before_labels(self) -> tuple[str, ...]:
        """What stands before the labels of a line."""
        if self.kind == "video":
            return ("path",)
        return ("folder", "offset", "total_frames") if self.with_offset else ("folder", "total_frames")


def read_list(
    path: Path, form: ListForm, *, prefix: str | Path | None = None, split: str = ""
) -> tuple[pd.DataFrame, list[Problem]]:
    """Read one list of clips.

    Parameters
    ----------
    path
        Ends in ``.json``, else it is text.
    form
        How its lines are written.
    prefix
        Data folder that paths are relative to; None leaves them as written.
    split
        What the list is for, e.g. ``train``.

    Returns
    -------
    samples : pandas.DataFrame
        Table of samples (`nbpkg.annotations.people.samples`), without the lines that are wrong.
    problems : list of Problem
        Every line that cannot be used; warnings about repeated clips and about paths outside the data folder.
    """
    source = Source(str(path), prefix, split, form.names)
    lines, problems = read_text_lines(path, file=source.file)
    if problems:
        return join_samples([]), problems
    parse = _parse_json if path.suffix == ".json" else _parse_text
    samples, problems = parse(lines, form, source.file)
    samples, wrong = check_labels(samples, file=source.file, classes=form.classes)
    table = tabulate(samples, source)
    found = [*problems, *wrong, *check_repeats(table), *_check_outside(table, source)]
    return table, sorted(found, key=lambda problem: problem.row)


def read_lists(
    files: Mapping[str, Path], form: ListForm, *, prefix: str | Path | None = None
) -> tuple[pd.DataFrame, list[Problem]]:
    """Read the lists of all splits and check that they share no clip, session or family.

    Parameters
    ----------
    files
        Split to its list, e.g. ``{"train": Path("triadic_train_list.txt")}``.
    form, prefix
        As in `read_list`.

    Returns
    -------
    samples : pandas.DataFrame
        Table of samples, split by split.
    problems : list of Problem
        Those of `read_list` and `nbpkg.annotations.people.checks.check_splits`.
    """
    found = [read_list(path, form, prefix=prefix, split=split) for split, path in files.items()]
    table = join_samples(part for part, _ in found)
    return table, [*(problem for _, part in found for problem in part), *check_splits(table)]


def whole_number(text: str) -> int | None:
    """Return a whole number written in plain digits; None for anything else, such as ``12.5`` or ``1_0``."""
    return int(text) if _WHOLE.fullmatch(text) else None


def _parse_text(lines: list[str], form: ListForm, file: str) -> tuple[list[Sample], list[Problem]]:
    samples, problems = [], []
    for row, line in enumerate(lines, start=1):
        found = _parse_line(line.split(), form, row)
        if isinstance(found, str):
            problems.append(Problem(found, expected=f"{_describe(form)}.", remedy=_REMEDY, file=file, row=row))
        else:
            samples.append(found)
    return samples, problems


_REMEDY = "Correct the line; a path with a blank needs a JSON list."


def _parse_line(tokens: list[str], form: ListForm, row: int) -> Sample | str:
    """Read one line, or say what is wrong with it."""
    if not tokens:
        return "The line is blank."
    lead = form.before_labels
    if len(tokens) <= len(lead):
        return f"The line has {len(tokens)} entries, so that there is no label."
    numbers = [whole_number(token) for token in tokens[1:]]
    names = [*lead[1:], *["label"] * (len(tokens) - len(lead))]
    for token, number, name in zip(tokens[1:], numbers, names, strict=True):
        if number is None:
            return f"{token!r} is no whole number for {name}."
    if not form.many_labels and len(tokens) > len(lead) + 1:
        return f"The line has {len(tokens)} entries."
    whole = [number for number in numbers if number is not None]
    facts = dict(zip(lead[1:], whole, strict=False))
    return _make_sample(tokens[0], form.kind, facts, tuple(whole[len(lead) - 1 :]), row)


def _make_sample(
    token: str, kind: Literal["video", "frames"], facts: Mapping[str, int], labels: tuple[int, ...], row: int
) -> Sample | str:
    offset, frames = facts.get("offset", 0), facts.get("total_frames", -1)
    if "total_frames" in facts and frames < 1:
        return f"The clip has {frames} frames."
    if offset < 0:
        return f"The offset is {offset}."
    return Sample(token, kind, labels, offset, frames, row)


def _describe(form: ListForm) -> str:
    return " ".join(form.before_labels) + (" label label …" if form.many_labels else " label")


def _parse_json(lines: list[str], form: ListForm, file: str) -> tuple[list[Sample], list[Problem]]:
    text = "\n".join(lines)
    try:
        whole = json.loads(text)
    except json.JSONDecodeError as error:
        return [], [Problem(f"This is no JSON: {error.msg}.", remedy="Write it again.", file=file, row=error.lineno)]
    except RecursionError:
        return [], [Problem("Its lists are nested without end.", expected="A list of objects.", file=file)]
    if not isinstance(whole, list) or not whole:
        what = "The list is empty." if whole == [] else f"It holds a {type(whole).__name__}, not a list."
        return [], [Problem(what, expected="A list of objects, one per clip.", file=file)]
    first = whole[0] if isinstance(whole[0], dict) else {}
    kind: Literal["video", "frames"] = "frames" if "frame_dir" in first else "video"
    samples, problems = [], []
    for number, (row, entry) in enumerate(_each_entry(text), start=1):
        found = _parse_entry(entry, kind, form, row)
        if isinstance(found, str):
            expected = f"{{{_KEYS[kind]!r}: path, 'total_frames': number, 'label': [number]}}."
            problems.append(Problem(f"Entry {number}: {found}", expected=expected, file=file, row=row))
        else:
            samples.append(found)
    return samples, problems


def _each_entry(text: str) -> Iterator[tuple[int, Any]]:
    """Give each entry of a JSON list that is known to be one, with the line in which it begins."""
    decoder = json.JSONDecoder()
    place, row, counted = text.index("[") + 1, 1, 0
    while True:
        between = _BETWEEN.match(text, place)
        start = between.end() if between else place
        if text[start] == "]":
            return
        row, counted = row + text.count("\n", counted, start), start
        entry, place = decoder.raw_decode(text, start)
        yield row, entry


def _parse_entry(entry: Any, kind: Literal["video", "frames"], form: ListForm, row: int) -> Sample | str:
    """Read one entry, or say what is wrong with it."""
    if not isinstance(entry, dict):
        return f"it is a {type(entry).__name__}, not an object."
    token, labels = entry.get(_KEYS[kind]), entry.get("label")
    if not isinstance(token, str) or not token:
        return f"its {_KEYS[kind]!r} is {token!r}, no path."
    if not isinstance(labels, list) or not labels or not all(_is_whole(one) for one in labels):
        return f"its label is {labels!r}."
    if len(labels) > 1 and not form.many_labels:
        return f"it has {len(labels)} labels."
    facts = {name: entry[name] for name in ("offset", "total_frames") if name in entry}
    wrong = [name for name, value in facts.items() if not _is_whole(value)]
    if kind == "frames" and "total_frames" not in facts:
        return "it has no 'total_frames'."
    if wrong:
        return f"its {wrong[0]!r} is {facts[wrong[0]]!r}, no whole number."
    return _make_sample(token, kind, facts, tuple(labels), row)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _check_outside(table: pd.DataFrame, source: Source) -> list[Problem]:
    """Warn once of paths that lead out of the data folder."""
    rows = table[table["clip"].str.startswith(("/", "../"))]
    if source.prefix is None or rows.empty:
        return []
    return [
        Problem(
            f"{len(rows)} paths lie outside the data folder, e.g. {rows['path'].iloc[0]}.",
            expected=f"Paths below {source.prefix}.",
            remedy="Write paths relative to the data folder, so that the list can be used elsewhere.",
            file=source.file,
            row=int(rows["row"].iloc[0]),
            severity="warning",
        )
    ]
