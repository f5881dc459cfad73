"""The challenge's report: how well a team does for each person, and for each story.

Files are paired by subject and story, not by their place in the folder, and tables name the real subjects and stories:
the published scorer numbers both from 1. A truth that never changes is a dummy that stands for a withheld one; it is
labelled and enters no average.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg.errors import Problem, TableError, raise_all
from nbpkg.metrics.valence.concordance import Edge, ccc, mse, pearson, why_degenerate
from nbpkg.metrics.valence.files import NAME, read_courses

Array = NDArray[np.float64]
COLUMNS = ["session", "subject", "story", "ccc", "pearson", "mse", "frames", "withheld", "reason"]
TRACKS = ("personalized", "generalized")


@dataclass(frozen=True)
class OfficialReport:
    """What the challenge makes of a team's answers.

    Parameters
    ----------
    scores
        A row per session: session, subject, story, ccc, pearson, mse, frames, withheld, reason. By subject, then
        story, as numbers where they are numbers.
    tracks
        track (``all`` sessions, ``personalized`` by subject, ``generalized`` by story), name (the subject or story;
        ``Mean`` and ``Std``, ddof 0, over them), value and n, what is averaged. Withheld sessions enter nothing.
    """

    scores: pd.DataFrame
    tracks: pd.DataFrame

    def value(self, track: str, name: str = "Mean") -> float:
        """Pick one number, e.g. the mean of track ``personalized``."""
        found = self.tracks.loc[(self.tracks["track"] == track) & (self.tracks["name"] == name), "value"]
        if len(found) != 1:
            raise TableError(f"The report has no {name!r} in track {track!r}.")
        return float(found.item())


def report_scores(scores: pd.DataFrame) -> OfficialReport:
    """Report on the sessions of one system.

    Parameters
    ----------
    scores
        subject, story and ccc, a row per session, e.g. table ``valence_scores`` of one system and predictor; rows of
        role ``hidden``, or with flag ``withheld``, enter no average. Subjects and stories may be missing in any
        combination.

    Raises
    ------
    TableError
        When a subject and story occur twice, or no session can be averaged.
    """
    table = scores.assign(subject=scores["subject"].astype(str), story=scores["story"].astype(str))
    if "withheld" not in table:
        table = table.assign(withheld=table["role"] == "hidden" if "role" in table else False)
    twice = table.loc[table.duplicated(["subject", "story"]), ["subject", "story"]]
    if len(twice):
        raise TableError(
            f"Subject {twice['subject'].iloc[0]}, story {twice['story'].iloc[0]} occurs twice.",
            expected="One score per subject and story.",
            remedy="Report on one system and one predictor at a time.",
        )
    order = [(_order(one.subject), _order(one.story)) for one in table.itertuples()]
    table = table.iloc[sorted(range(len(order)), key=order.__getitem__)].reset_index(drop=True)
    return OfficialReport(table, _average_tracks(table[~table["withheld"]]))


def score_courses(truth: Mapping[str, Array], predicted: Mapping[str, Array], *, edge: Edge = "zero") -> OfficialReport:
    """Score answers of a team, session by session, and report.

    Parameters
    ----------
    truth, predicted
        Session, named ``Subject_<subject>_Story_<story>``, to [frames].
    edge
        As in `nbpkg.metrics.valence.concordance.ccc`; ``nan`` is the published scorer's. With ``zero``, a constant
        truth counts as withheld.

    Raises
    ------
    TableError
        Listing every session that is missing on one side, has another number of frames, or another kind of name.
    """
    problems = [*_find_missing(truth, predicted), *_find_unlike(truth, predicted)]
    raise_all(problems, TableError, summary="answers cannot be held against the truth")
    rows = []
    for session, course in truth.items():
        named = NAME.fullmatch(f"{session}.csv")
        subject, story = named.groups() if named else ("", "")  # _find_unlike has refused other names
        answer = predicted[session]
        is_dummy = edge == "zero" and bool((course == course[0]).all())
        value = float("nan") if is_dummy else ccc(course, answer, edge=edge)
        why = "the truth is constant: withheld, a dummy" if is_dummy else why_degenerate(course, answer)
        errors = (pearson(course, answer), float("nan") if is_dummy else mse(course, answer))
        rows.append((session, subject, story, value, *errors, len(course), is_dummy, why))
    return report_scores(pd.DataFrame(rows, columns=COLUMNS))


def score_folders(truth: Path, predicted: Path, *, edge: Edge = "zero") -> OfficialReport:
    """Score a folder of a team's files against the folder of annotations (see `score_courses`).

    Raises
    ------
    TableError
        Listing every file that is missing, cannot be read, or has another number of rows.
    """
    return score_courses(read_courses(truth), read_courses(predicted), edge=edge)


def write_report(report: OfficialReport, *, labels: str = "ids") -> str:
    """Write the report as the published scorer prints it.

    Parameters
    ----------
    report
        From one of the functions above.
    labels
        ``ids``: the real subjects and stories, and dashes where the grid has gaps. ``numbers``: running numbers from 1,
        as published, which calls stories 3 and 6 "Story 1" and "Story 2".

    Returns
    -------
    str
        Table of subjects and stories, then both tracks, two decimals.
    """
    subjects, stories = _ids(report.scores["subject"]), _ids(report.scores["story"])
    if labels not in ("ids", "numbers"):
        raise TableError(f"{labels!r} is no kind of labels.", expected="ids or numbers.")
    named = {
        kind: {one: one if labels == "ids" else str(place) for place, one in enumerate(ids, start=1)}
        for kind, ids in (("Subject", subjects), ("Story", stories))
    }
    rule, end = "-----------------", "---------------"
    lines = ["-----------Final Results-----------", *_grid(report.scores, named)]
    lines += [rule, *_mean_and_std(report, "all", width=9), rule, "", ""]
    lines.append("----------- Personalized Track-----------")
    lines += _lines_of(report, "personalized", "Subject", named["Subject"])
    lines += [rule, *_mean_and_std(report, "personalized", width=9), rule, "", ""]
    lines.append("----------- Generalized Track-----------")
    lines += _lines_of(report, "generalized", "Story", named["Story"])
    lines += [end, *_mean_and_std(report, "generalized", width=7), end, ""]
    return "\n".join(lines)


def _grid(scores: pd.DataFrame, named: Mapping[str, Mapping[str, str]]) -> list[str]:
    value = {(one.subject, one.story): f"{one.ccc:.2f}" for one in scores.itertuples() if not one.withheld}
    width = max(len(label) for label in named["Subject"].values())
    lines = ["Subjects".ljust(8 + width) + " | " + "".join(f"Story {label} | " for label in named["Story"].values())]
    for subject, label in named["Subject"].items():
        cells = [
            value.get((subject, story), "-   ") + "    | " for story in named["Story"]
        ]  # four blanks, as published
        lines.append(f"Subject {label.ljust(width)} | " + "".join(cells))
    return lines


def _average_tracks(scores: pd.DataFrame) -> pd.DataFrame:
    if not len(scores):
        raise TableError(
            "No session can be averaged.",
            expected="Sessions whose truth is known; a constant annotation is a dummy.",
            remedy="Score sessions whose annotation is published.",
        )
    rows = [("all", "Mean", _mean(scores["ccc"]), len(scores)), ("all", "Std", _std(scores["ccc"]), len(scores))]
    for track, column in zip(TRACKS, ("subject", "story"), strict=True):
        parts = {one: scores.loc[scores[column] == one, "ccc"] for one in _ids(scores[column])}
        means = [_mean(part) for part in parts.values()]
        rows += [(track, one, mean, len(parts[one])) for one, mean in zip(parts, means, strict=True)]
        rows += [(track, "Mean", _mean(means), len(means)), (track, "Std", _std(means), len(means))]
    return pd.DataFrame(rows, columns=["track", "name", "value", "n"])


def _mean(values: Sequence[float] | pd.Series) -> float:
    return float(np.mean(np.asarray(values, np.float64)))  # NaN stays: only edge "nan", as published, brings it here


def _std(values: Sequence[float] | pd.Series) -> float:
    return float(np.std(np.asarray(values, np.float64)))


def _ids(column: pd.Series) -> list[str]:
    return sorted(set(column.astype(str)), key=_order)


def _order(name: object) -> tuple[int, int, str]:
    """Put numbers in the order of numbers, and before other names."""
    text = str(name)
    return (0, int(text), text) if text.isdecimal() else (1, 0, text)


def _lines_of(report: OfficialReport, track: str, word: str, named: Mapping[str, str]) -> list[str]:
    known = report.tracks[report.tracks["track"] == track].set_index("name")["value"]
    return [
        f"{word} {label} | {known[one]:.2f}" if one in known else f"{word} {label} | -" for one, label in named.items()
    ]


def _mean_and_std(report: OfficialReport, track: str, *, width: int) -> list[str]:
    return [f"{name.ljust(width)} | {report.value(track, name):.2f}" for name in ("Mean", "Std")]


def _find_missing(truth: Mapping[str, Array], predicted: Mapping[str, Array]) -> list[Problem]:
    lost = [Problem("There is no answer to it.", file=f"{one}.csv") for one in truth if one not in predicted]
    extra = [Problem("There is no truth for this answer.", file=f"{one}.csv") for one in predicted if one not in truth]
    return lost + extra


def _find_unlike(truth: Mapping[str, Array], predicted: Mapping[str, Array]) -> list[Problem]:
    named = [
        Problem(f"{one!r} names no subject and story.", expected="Subject_<subject>_Story_<story>.")
        for one in truth
        if NAME.fullmatch(f"{one}.csv") is None
    ]
    return named + [
        Problem(f"The answer has {len(predicted[one])} frames, the truth {len(truth[one])}.", file=f"{one}.csv")
        for one in truth
        if one in predicted and len(predicted[one]) != len(truth[one])
    ]
