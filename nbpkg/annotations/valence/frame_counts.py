"""Lists of how many frames each video has, and annotations held against them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import pandas as pd

from nbpkg import tables
from nbpkg.annotations.valence.lines import read_text_lines
from nbpkg.annotations.valence.names import find_key, name_session, shorten
from nbpkg.errors import Problem

LINE = re.compile(r"(.+?)\.csv - ([0-9]+) Frames")


def read_frame_counts(path: Path) -> tuple[dict[str, int], list[Problem]]:
    """Read a list such as ``Frames_Count.txt``, with lines ``Subject_3_Story_6.csv - 7000 Frames``.

    Parameters
    ----------
    path
        The list. Of lines in another form the first and third word are taken; blank lines do not count.

    Returns
    -------
    counts : dict
        Session to frames, in the order of the list.
    problems : list of Problem
        Errors: lines that name no session or no number, and sessions with two numbers.

    Source
    ------
    Frame-count list of the OMG-Empathy test part, and its two readers in desmond-ong/cheem-omg-empathy.
    """
    lines, problems = read_text_lines(path, file=path.name)
    counts: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        name, frames = _split_line(line.strip())
        key = find_key(PurePosixPath(name.replace("\\", "/")).name)
        if key is None or not re.fullmatch(r"[0-9]*[1-9][0-9]*", frames):
            what = f"{line.strip()[:60]!r} does not say how many frames which session has."
        elif counts.setdefault(name_session(*key), int(frames)) != int(frames):
            first = counts[name_session(*key)]
            what = f"{name_session(*key)} has {first} frames in an earlier line, {int(frames)} here."
        else:
            continue
        expected = "Lines such as Subject_3_Story_6.csv - 7000 Frames."
        problems.append(Problem(what, expected, "Correct the line.", path.name, row=number))
    return counts, problems


def check_frame_counts(
    recordings: pd.DataFrame, counts: Mapping[str, int], *, source: str, complete: bool = False
) -> list[Problem]:
    """Hold the length of annotations against the length of their videos.

    Parameters
    ----------
    recordings
        Table ``recordings``.
    counts
        Session to frames of its video, from a list or from the videos themselves.
    source
        Where `counts` come from, in problems.
    complete
        Whether `counts` should name every session; else only those of the parts of which it names some.

    Returns
    -------
    list of Problem
        Annotations longer or shorter than their video: an error for dummies, whose length is all that they say, else a
        warning. Warnings: sessions that only one side has.
    """
    problems = []
    listed = recordings[recordings["session"].isin(list(counts))]
    for session, frames, hidden in listed[["session", "frames", "hidden"]].to_numpy(object):
        if off := frames - counts[session]:
            problems.append(_report_length(session, frames, off, hidden=hidden, source=source))
    parts = set(recordings["part"]) if complete else set(listed["part"])
    lacking = recordings[recordings["part"].isin(parts) & ~recordings["session"].isin(list(counts))]
    extra = [session for session in counts if session not in set(recordings["session"])]
    if len(lacking):
        what = f"Annotated sessions that are not named ({len(lacking)}): {shorten(lacking['session'].tolist())}."
        problems.append(Problem(what, file=source, severity="warning"))
    if extra:
        what = f"Sessions without annotation ({len(extra)}): {shorten(extra)}."
        remedy = "To have them answered, give them a dummy annotation of that many rows."
        problems.append(Problem(what, remedy=remedy, file=source, severity="warning"))
    return problems


def make_dummies(counts: Mapping[str, int], *, part: str) -> pd.DataFrame:
    """Make annotations without values for sessions of which only the length is known.

    Parameters
    ----------
    counts
        Session to frames, of `read_frame_counts`.
    part
        Part they are of; name it in ``parse.hidden``.

    Returns
    -------
    pandas.DataFrame
        Table ``valence``.
    """
    rows = []
    for session, frames in counts.items():
        subject, story = find_key(session) or ("", "")
        keys = {"session": session, "subject": subject, "story": story, "part": part, "rater": "self"}
        rows.append(pd.DataFrame({**keys, "frame": range(frames), "value": float("nan")}))
    return tables.check(pd.concat(rows), "valence") if rows else tables.empty("valence")


def _report_length(session: str, frames: int, off: int, *, hidden: bool, source: str) -> Problem:
    size = f"{abs(off)} {'more' if off > 0 else 'less'} than its video ({frames - off})"
    dummy = "Make the dummy again with the right number of rows."
    real = "If rows are lacking at the start or in between, all later ones stand at the wrong time."
    return Problem(
        f"The annotation of {session} has {frames} frames, {size}.",
        expected="One row per frame.",
        remedy=dummy if hidden else real,
        file=source,
        severity="error" if hidden else "warning",
    )


def _split_line(line: str) -> tuple[str, str]:
    """Take name and number out of a line in either of the two published ways."""
    if found := LINE.match(line):
        return found[1], found[2]
    words = line.split()
    return words[0], words[2] if len(words) > 2 else ""


def check_listed(recordings: pd.DataFrame, path: Path) -> list[Problem]:
    """Hold the length of annotations against a list of frame counts on disk (`read_frame_counts`)."""
    counts, problems = read_frame_counts(path)
    return [*problems, *check_frame_counts(recordings, counts, source=path.name)]
