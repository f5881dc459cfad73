"""Official lists: which clip is for training, validation or test."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Literal

from nbpkg.annotations.looking.strict import Notes, show
from nbpkg.errors import Problem


def read_lists(
    root: Path, lists: Mapping[Literal["train", "val", "test"], str], *, known: Collection[str]
) -> tuple[dict[str, str], list[Problem]]:
    """Read lists with a clip uid in each line; blanks around it do not count.

    Parameters
    ----------
    root
        Data folder.
    lists
        ``train``, ``val``, ``test`` to the name of the list in `root`.
    known
        Clips that are annotated.

    Returns
    -------
    splits : dict
        Clip to its part, for annotated clips that are in a list.
    problems : list of Problem
        A clip in several lists is an error. Repeated clips and clips that are not annotated, which are left out, and
        empty lines are warnings, as are annotated clips that are in no list.
    """
    splits: dict[str, str] = {}
    problems: list[Problem] = []
    for split, name in lists.items():
        notes = Notes(name)
        clips = _read_list(root / name, notes)
        for clip in dict.fromkeys(clips):
            if clip in splits:
                notes.note(f"Clip {show(clip)} is in list {splits[clip]}, too.", expected="Each clip in one list.",
                           remedy="Remove it from one of them.")  # fmt: skip
            splits.setdefault(clip, split)
        lacking = [clip for clip in dict.fromkeys(clips) if clip not in known]
        _warn(notes, lacking, "of the list are not annotated and left out")
        _warn(notes, [clip for clip in dict.fromkeys(clips) if clips.count(clip) > 1], "are repeated; each counts once")
        problems += notes.problems
    notes = Notes(", ".join(lists.values()))
    _warn(notes, [clip for clip in known if clip not in splits], "are annotated but in no list")
    found = {clip: split for clip, split in splits.items() if clip in known}
    return found, [*problems, *(notes.problems if lists else [])]


def _read_list(path: Path, notes: Notes) -> list[str]:
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
        notes.note(f"The list cannot be read: {why}.", remedy="Correct parse.lists.")
        return []
    empty = lines.count("")
    if empty:
        said = "line is empty" if empty == 1 else "lines are empty"
        notes.note(f"{empty} {said} and skipped.", severity="warning")
    return [line for line in lines if line]


def _warn(notes: Notes, clips: list[str], what: str) -> None:
    if clips:
        shown = ", ".join(map(show, sorted(clips)[:5])) + (", …" if len(clips) > 5 else "")
        notes.note(f"{len(clips)} clips {what}: {shown}.", severity="warning")
