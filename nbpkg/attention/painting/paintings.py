"""All paintings of a study: reading them along the queue, the tables they give, and the strokes that are compared."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from nbpkg import tables
from nbpkg.attention.painting.lines import find_painting, painting_key
from nbpkg.attention.painting.operations import check_name, check_opening
from nbpkg.attention.painting.strokes import Painting, Stroke
from nbpkg.errors import PaintingError, Problem, raise_all
from nbpkg.runs.files import new_file

_STORED = (
    *("snippet_id", "painter", "session", "task", "variable", "start_ms", "end_ms", "frame_ms", "width", "height"),
    *("state", "seconds", "last", "edits", "answers", "strokes"),
)


def read_paintings(folder: Path, queue: pd.DataFrame) -> tuple[list[Painting], list[Painting]]:
    """Read the paintings of a queue, and those that are there without being in it.

    Parameters
    ----------
    folder
        Holds a folder for each painter; need not be there yet.
    queue
        Table ``queue``.

    Returns
    -------
    tuple of list of Painting
        One for each row of the queue, in its order (``todo`` where there is no file); and, in order of painter and
        snippet, those of snippets that are not in the queue: they are kept, and used for nothing.

    Raises
    ------
    PaintingError
        Listing every file that is damaged or misnamed.
    """
    wanted = list(zip(queue["painter"], queue["snippet_id"], strict=True))
    for painter, snippet_id in wanted:
        check_name(painter, "painter")
        check_name(snippet_id, "snippet")
    found: dict[tuple[str, str], Painting] = {}
    problems = []
    for path in sorted(folder.glob("[!.]*/[!.]*.jsonl")):
        try:
            painting = find_painting(path)
            if painting is not None:
                found[painting_key(path)] = painting
        except PaintingError as error:
            where = error.where.removeprefix(f"{folder}/")
            problems.append(Problem(error.what, expected=error.expected, remedy=error.remedy, file=where))
    raise_all(problems, PaintingError, summary="paintings cannot be read")
    rows = [found.get(key) or Painting(snippet_id=key[1], painter=key[0]) for key in wanted]
    return rows, [painting for key, painting in found.items() if key not in set(wanted)]


def tabulate(paintings: Iterable[Painting]) -> dict[str, pd.DataFrame]:
    """Put paintings into tables.

    Returns
    -------
    dict
        ``paintings``: ``snippet_id, painter, state, frames, painted_frames`` (with at least one visible brush stroke),
        ``strokes`` (visible ones), ``seconds, reason``. ``answers``: ``snippet_id, painter, question, value``, also of
        paintings that are not submitted.
    """
    rows, answers = [], []
    for painting in paintings:
        key = {"snippet_id": painting.snippet_id, "painter": painting.painter}
        painted = {stroke.frame for stroke in painting.strokes if stroke.tool == "brush"}
        facts = {"frames": len(painting.frame_ms), "painted_frames": len(painted), "strokes": len(painting.strokes)}
        rows.append(key | {"state": painting.state, **facts, "seconds": painting.seconds, "reason": painting.reason})
        answers += [key | {"question": question, "value": value} for question, value in painting.answers.items()]
    return {"paintings": tables.from_rows(rows, "paintings"), "answers": tables.from_rows(answers, "answers")}


def write_strokes(paintings: Iterable[Painting], path: Path) -> Path:
    """Write what was submitted, complete or not at all: one JSON object per line and painting of state ``done``.

    Each line holds ``snippet_id, painter, session, task, variable, start_ms, end_ms, frame_ms, width, height, state,
    seconds, last, edits, answers`` and ``strokes``, a list of ``frame, tool, radius, strength, points``.
    """
    with new_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as stream:
        for painting in paintings:
            if painting.state == "done":
                content = {name: getattr(painting, name) for name in _STORED}
                content["strokes"] = [stroke.to_json() for stroke in painting.strokes]
                stream.write(json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n")
    return path


def read_strokes(path: Path) -> list[Painting]:
    """Read what `write_strokes` wrote; nothing can be undone in these paintings.

    Raises
    ------
    PaintingError
        Naming the line that is damaged.
    """
    if not path.is_file():
        raise PaintingError("The strokes are not there.", where=str(path), remedy="Run the stage that writes them.")
    result = []
    *lines, rest = path.read_bytes().split(b"\n")
    for number, line in enumerate([*lines, rest] if rest else lines, start=1):
        try:
            result.append(_painting(json.loads(line)))
        except (ValueError, TypeError, KeyError, PaintingError) as error:
            what = error.what if isinstance(error, PaintingError) else str(error)
            raise PaintingError(
                f"Line {number} of the strokes is damaged: {what}",
                where=f"{path}, line {number}",
                remedy="Run the stage that writes them again.",
            ) from None
    return result


def _painting(content: dict[str, Any]) -> Painting:
    if set(content) != set(_STORED) or content["state"] != "done":
        raise ValueError(f"it does not hold exactly {', '.join(_STORED)}")
    check_opening({name: content[name] for name in _STORED[:10]})
    strokes = tuple(map(Stroke.from_json, content["strokes"]))
    return Painting(**content | {"strokes": strokes, "frame_ms": tuple(content["frame_ms"])})
