"""Folders of a search's trainings: each attempt at a setting has its own, so that nobody writes where another does.

A worker that was suspended, or cut off from the others, is taken for dead and its setting given to another. Should it
wake up it may write one more checkpoint, before it notices, and must not write it into the other's training. So the
next attempt copies what the one before left, and goes on from there in a folder of its own.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from nbpkg.runs.files import new_file
from nbpkg.training.checkpointing import BEST, LAST, RESULT

DIVERGED = "diverged.json"  # in the folder of a training that has no result
# The last checkpoint first: whatever is written meanwhile, the others are then no older. Checkpoints are deleted only
# when the result is there.
COPIED = (LAST, BEST, RESULT, DIVERGED)


def name_folder(base: Path, setting: int, *, fold: int, repetition: int, attempt: int) -> Path:
    """Return the folder of one training of one attempt; the first attempt's has the plain name.

    Parameters
    ----------
    base
        Folder of all trainings of the search.
    setting, fold, repetition
        Which training.
    attempt
        How many workers before had the setting, and died.
    """
    name = f"setting{setting}_fold{fold}_repetition{repetition}"
    return base / (f"{name}_attempt{attempt}" if attempt else name)


def take_over(folder: Path, earlier: Sequence[Path]) -> None:
    """Begin an attempt with what the newest earlier one left, if any; unless it has begun.

    Parameters
    ----------
    folder
        Of this attempt.
    earlier
        Of those before, oldest first; the one that is copied is removed.

    Raises
    ------
    StageError
        When the disk is full or the folder cannot be written.
    """
    found = [one for one in earlier if one.is_dir()]
    if folder.is_dir() or not found:
        return
    part = folder.with_name(f".{folder.name}.partial")  # complete or not there, as a copy may be cut off, too
    shutil.rmtree(part, ignore_errors=True)
    for name in COPIED:
        _copy(found[-1] / name, part / name)
    if part.is_dir():
        part.rename(folder)
    forget(found)


def forget(folders: Sequence[Path]) -> None:
    """Remove the folders of attempts that count no more, as far as they can be removed: it only saves space."""
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def _copy(source: Path, target: Path) -> None:
    try:
        stream = source.open("rb")
    except FileNotFoundError:  # never written, or deleted by a training that ended just now
        return
    with stream, new_file(target) as temporary, temporary.open("wb") as copy:
        shutil.copyfileobj(stream, copy)
