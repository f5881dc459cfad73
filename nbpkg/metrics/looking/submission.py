"""The file that the challenge's server takes: one answer for each test picture, ids as text."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nbpkg.errors import Problem, TableError, raise_all
from nbpkg.metrics.looking.files import TEST_ANSWERS
from nbpkg.runs.files import new_file

VERSION, CHALLENGE = "1.0", "ego4d_looking_at_me"
FIELDS = {"video_id": "uid", "unique_id": "unique_id", "track_id": "track"}
_MOST = 50  # pictures named one by one


def make_submission(answers: pd.DataFrame) -> dict[str, Any]:
    """Turn answers to test pictures into the content of the submission file, in their order.

    Parameters
    ----------
    answers
        uid, unique_id, track and score, from `nbpkg.metrics.looking.files.read_answers`.

    Returns
    -------
    dict
        version, challenge and results: video_id, unique_id, track_id (text), label (1) and score of each.

    Raises
    ------
    TableError
        When the answers are not to test pictures, or as `check_submission`.

    Source
    ------
    lemon-prog123/GazePose, ``csv_to_json.py``, which turns ids that look like numbers into numbers.
    """
    missing = [name for name in TEST_ANSWERS if name != "label" and name not in answers.columns]
    if missing:
        raise TableError(
            f"The answers lack {', '.join(missing)}.",
            expected="Answers to test pictures: uid, unique_id, track, label and score.",
        )
    ids = [answers[name].astype("str").tolist() for name in FIELDS.values()]
    scores = answers["score"].to_numpy(np.float64).tolist()
    results = [
        {**dict(zip(FIELDS, each, strict=True)), "label": 1, "score": score}
        for *each, score in zip(*ids, scores, strict=True)
    ]
    content = {"version": VERSION, "challenge": CHALLENGE, "results": results}
    raise_all(find_problems(content), TableError, summary="answers cannot be submitted")
    return content


def write_submission(content: dict[str, Any], path: Path) -> Path:
    """Write a submission on one line, as the published program does."""
    with new_file(path) as temporary:
        temporary.write_text(json.dumps(content), encoding="utf-8")
    return path


def check_submission(path: Path, images: Iterable[tuple[str, str, str]] | None = None) -> int:
    """Hold a submission file against what the server needs.

    Parameters
    ----------
    path
        JSON.
    images
        uid, track and unique id of each test picture; None where they are not known.

    Returns
    -------
    int
        How many answers it holds.

    Raises
    ------
    TableError
        Listing whatever `find_problems` finds, or when the file is no JSON.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise TableError(f"The submission cannot be read: {error}.", where=str(path), remedy="Make it again.") from None
    raise_all(find_problems(content, images), TableError, summary=f"{path.name} cannot be submitted")
    return len(content["results"])


def list_pictures(folder: Path) -> list[tuple[str, str, str]]:
    """List uid, track and unique id of the test pictures in ``<uid>/<track>/<frame>_<unique id>.<ending>``.

    The unique id is what stands between the first ``_`` and the last dot.

    Raises
    ------
    TableError
        Listing names that are of another form, or when there is no picture.
    """
    paths = sorted(path for path in folder.glob("*/*/*") if path.is_file())
    problems = [
        Problem("The name is of another form.", "<frame>_<unique id>.jpg.", file=path.relative_to(folder).as_posix())
        for path in paths
        if not path.stem.partition("_")[2]
    ]
    if not paths:
        problems.append(
            Problem("There is no test picture.", "<uid>/<track>/<frame>_<unique id>.jpg.", file=str(folder))
        )
    raise_all(problems, TableError, summary="test pictures cannot be used")
    return [(path.parent.parent.name, path.parent.name, path.stem.partition("_")[2]) for path in paths]


def find_problems(content: Any, images: Iterable[tuple[str, str, str]] | None = None) -> list[Problem]:
    """List what is wrong with the content of a submission.

    Parameters
    ----------
    content
        As from `make_submission`.
    images
        uid, track and unique id of each test picture, each wanted exactly once; None where they are not known.

    Returns
    -------
    list of Problem
        Wrong heads and fields, ids that are no text, scores that are no probabilities, pictures that are answered
        twice, not at all, or that do not exist.

    Examples
    --------
    >>> one = {"video_id": "u", "unique_id": 12, "track_id": "t", "label": 1, "score": 0.5}
    >>> content = {"version": "1.0", "challenge": "ego4d_looking_at_me", "results": [one]}
    >>> [problem.what for problem in find_problems(content)]
    ["Field 'unique_id' is 12."]
    """
    if not isinstance(content, dict) or not isinstance(content.get("results"), list):
        return [Problem("There is no list of results.", "An object with version, challenge and results.")]
    problems = [
        Problem(f"Field {name!r} is {content.get(name)!r}.", f"{wanted!r}.")
        for name, wanted in (("version", VERSION), ("challenge", CHALLENGE))
        if content.get(name) != wanted
    ]
    extra = sorted(set(content) - {"version", "challenge", "results"})
    problems += [Problem(f"Field {name!r} is unknown.", "version, challenge and results.") for name in extra]
    for number, one in enumerate(content["results"], start=1):
        problems += _check_result(one, number)
    if not problems:
        problems += _count(content["results"], images)
    return problems


def _check_result(one: Any, number: int) -> list[Problem]:
    """List what is wrong with one answer."""
    names = (*FIELDS, "label", "score")
    if not isinstance(one, dict) or set(one) != set(names):
        return [Problem("An answer has other fields.", f"{', '.join(names)}.", row=number)]
    problems = [
        Problem(f"Field {name!r} is {one[name]!r}.", "An id as text.", row=number)
        for name in FIELDS
        if not isinstance(one[name], str) or not one[name]
    ]
    if one["label"] != 1 or isinstance(one["label"], bool):
        problems.append(Problem(f"Field 'label' is {one['label']!r}.", "1.", row=number))
    score = one["score"]
    number_like = isinstance(score, int | float) and not isinstance(score, bool)
    if not number_like or not math.isfinite(score) or not 0 <= score <= 1:
        problems.append(Problem(f"Field 'score' is {score!r}.", "A number from 0 to 1.", row=number))
    return problems


def _count(results: list[dict[str, Any]], images: Iterable[tuple[str, str, str]] | None) -> list[Problem]:
    """List pictures that are not answered exactly once."""
    counts = Counter((one["video_id"], one["track_id"], one["unique_id"]) for one in results)
    found = [(name, f"is answered {count} times", "Each picture once.") for name, count in counts.items() if count > 1]
    if images is not None:
        wanted = dict.fromkeys(images)
        found += [(name, "is not answered", "Every test picture, stride 1.") for name in wanted if name not in counts]
        found += [(name, "is no test picture", "Test pictures only.") for name in counts if name not in wanted]
    problems = [Problem(f"{':'.join(name)} {what}.", expected) for name, what, expected in found[:_MOST]]
    if len(found) > _MOST:
        problems.append(Problem(f"So it is with {len(found) - _MOST} more pictures.", "Each test picture once."))
    return problems
