"""Files named by listener and story, found by key and never by their place in a folder."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from nbpkg.errors import Problem

NAME = re.compile(r"Subject_([0-9]+)_Story_([0-9]+)")
# transcripts of the corpus: transcribed_subject_1_story_2.srt, also with Story_2 and story2
LOOSE_NAME = re.compile(r"subject[ _-]*([0-9]+)[ _-]*story[ _-]*([0-9]+)", re.IGNORECASE)
SHOWN = 5


def name_session(subject: str, story: str) -> str:
    """Name the session of a listener and a story.

    Examples
    --------
    >>> name_session("10", "4")
    'Subject_10_Story_4'
    """
    return f"Subject_{subject}_Story_{story}"


def find_key(name: str, *, loose: bool = False) -> tuple[str, str] | None:
    """Find listener and story in a file name; None when it does not say.

    Parameters
    ----------
    name
        File name without folder.
    loose
        Take the words wherever they stand and however they are written, as names of transcripts need it.

    Returns
    -------
    tuple of str or None
        Subject and story, without leading zeros.

    Examples
    --------
    >>> find_key("Subject_10_Story_4_acousticFeatures.csv")
    ('10', '4')
    >>> find_key("transcribed_subject_3_story2.srt", loose=True)
    ('3', '2')
    >>> find_key("readme.csv") is None
    True
    """
    found = LOOSE_NAME.search(name) if loose else NAME.match(name)
    return None if found is None else (str(int(found[1])), str(int(found[2])))


def find_session_files(
    folder: Path, *, endings: Sequence[str], show: str, loose: bool = False
) -> tuple[dict[str, Path], list[Problem]]:
    """Find the file of each session in a folder, in the order in which the names sort as text.

    Parameters
    ----------
    folder
        Where they lie; it must be there.
    endings
        Endings of files to take, with the dot and in small letters.
    show
        The folder's name in problems.
    loose
        See `find_key`.

    Returns
    -------
    files : dict
        Session to file. `Subject_10_…` comes before `Subject_1_…`, as in the published program.
    problems : list of Problem
        Sessions with two files (errors; the first is returned), and files that were not read, in one warning.
    """
    files: dict[str, Path] = {}
    problems, ignored = [], []
    for path in sorted(folder.iterdir(), key=lambda one: one.name):
        key = find_key(path.name, loose=loose) if path.is_file() else None
        if key is None or not path.name.lower().endswith(tuple(endings)):
            ignored += [] if path.name.startswith(".") or path.is_dir() else [path.name]
            continue
        session = name_session(*key)
        first = files.setdefault(session, path)
        if first is not path:
            problems.append(
                Problem(
                    f"{session} has two files: {first.name} and {path.name}.",
                    expected="One file for each subject and story.",
                    remedy="Move the one that does not belong elsewhere.",
                    file=show,
                )
            )
    if ignored:
        rule = "…subject…story…" if loose else "Subject_<number>_Story_<number>…"
        problems.append(
            Problem(
                f"{count(ignored, 'file')} not read: {shorten(ignored)}.",
                expected=f"Names such as {rule} that end in {' or '.join(endings)}.",
                file=show,
                severity="warning",
            )
        )
    return files, problems


def count(items: Sequence[object], noun: str) -> str:
    """Say how many, e.g. ``1 file was`` and ``2 files were``.

    Examples
    --------
    >>> count(["a", "b"], "file")
    '2 files were'
    """
    return f"{len(items)} {noun}{'s were' if len(items) != 1 else ' was'}"


def shorten(items: Sequence[object]) -> str:
    """Name the first few of many.

    Examples
    --------
    >>> shorten([1, 2, 3, 4, 5, 6])
    '1, 2, 3, 4, 5, …'
    """
    return ", ".join(map(str, items[:SHOWN])) + (", …" if len(items) > SHOWN else "")
