"""What is wrong with a list as a whole: repeated clips, files that are not there, clips shared by several splits."""

from __future__ import annotations

import os
import string
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from nbpkg.errors import Problem, SettingsError
from nbpkg.runs.files import sha256

TEMPLATE = "img_{:05}.jpg"
LEAKAGE = ["what", "name", "splits", "samples"]


def check_repeats(samples: pd.DataFrame) -> list[Problem]:
    """Report clips that a list names more than once: an error with another label, else a warning.

    Parameters
    ----------
    samples
        Table of samples of one list.
    """
    problems = []
    # whole rows only, so that a list without repeats, the usual case, costs one pass
    again = samples[samples.duplicated(["path", "offset"], keep=False)]
    for (path, _), part in again.groupby(["path", "offset"], sort=False):
        other = len(set(part["labels"])) > 1
        said = f"with labels {', '.join(part['labels'])}" if other else "with the same label"
        problems.append(
            Problem(
                f"{path} is in rows {', '.join(map(str, part['row']))} {said}.",
                expected="Each clip once.",
                remedy="Keep the right row." if other else "Remove rows, unless the list repeats clips on purpose.",
                file=str(part["file"].iloc[0]),
                row=int(part["row"].iloc[1]),
                severity="error" if other else "warning",
            )
        )
    return problems


def check_files(
    samples: pd.DataFrame,
    *,
    template: str = TEMPLATE,
    start_index: int = 1,
    counted: Mapping[str, int] | None = None,
) -> list[Problem]:
    """Look for every clip on disk before anything is learnt from it.

    Parameters
    ----------
    samples
        Table of samples.
    template
        Names of pictures, with one place for their number.
    start_index
        Number of the first picture of a folder.
    counted
        Path of a video to the frames it holds, where known.

    Returns
    -------
    list of Problem
        An error for each clip that is missing or shorter than its list says, a warning for each that is longer.
    """
    before, after = split_template(template)
    folders: dict[str, set[str]] = {}
    reach = (samples["offset"] + samples["frames"]).groupby(samples["path"]).max()
    problems = []
    columns = [samples[name].tolist() for name in ("kind", "path", "offset", "frames", "file", "row")]
    for kind, path, *span, file, row in zip(*columns, strict=True):
        if kind == "skeleton":
            continue
        if kind == "video":
            what, severity = _judge_video(path, span[1], (counted or {}).get(path))
        else:
            if path not in folders:
                folders[path] = _list_names(path, before, after)
            wanted = [template.format(number + start_index) for number in range(span[0], sum(span))]
            what, severity = _judge_folder(path, wanted, folders[path], last=int(reach[path]) == sum(span))
        if what:
            again = ", or extract the pictures again" if kind == "frames" else ""
            problems.append(Problem(what, remedy=f"Correct the list{again}.", file=file, row=row, severity=severity))
    return problems


def _judge_video(path: str, said: int, found: int | None) -> tuple[str, str]:
    """Say what is wrong with a video, and how bad that is."""
    if not Path(path).is_file():
        return f"There is no video {path}.", "error"
    if found is None or said < 0 or found == said:
        return "", ""
    return f"{path} has {found} frames, the list says {said}.", "error" if found < said else "warning"


def _judge_folder(path: str, wanted: list[str], names: set[str], *, last: bool) -> tuple[str, str]:
    """Say what is wrong with a folder of pictures, and how bad that is."""
    if not names:
        return f"There is no folder {path} with such pictures as {wanted[0]}.", "error"
    missing = [name for name in wanted if name not in names]
    if missing:
        return f"{path} lacks {len(missing)} of {len(wanted)} pictures, {missing[0]} among them.", "error"
    unused = sum((len(name), name) > (len(wanted[-1]), wanted[-1]) for name in names)  # also for numbers without zeros
    return (f"{path} holds {unused} more pictures than the list says.", "warning") if last and unused else ("", "")


def split_template(template: str) -> tuple[str, str]:
    """Split the names of pictures into what stands before and after their number.

    Examples
    --------
    >>> split_template("img_{:05}.jpg")
    ('img_', '.jpg')

    Raises
    ------
    SettingsError
        When there is not exactly one place for a number.
    """
    try:
        parts = list(string.Formatter().parse(template))
        valid = sum(name is not None for _, name, _, _ in parts) == 1 and parts[0][1] in ("", "0")
        valid = valid and "/" not in template and template.format(1) != template
    except (ValueError, IndexError, KeyError):
        valid = False
    if not valid:
        raise SettingsError(
            f"{template!r} does not name pictures.",
            where="template",
            expected=f"One place for a number, as in {TEMPLATE}.",
            remedy="Correct it.",
        )
    return parts[0][0], parts[1][0] if len(parts) > 1 else ""


def check_splits(samples: pd.DataFrame, *, hashes: Mapping[str, str] | None = None) -> list[Problem]:
    """Report clips, sessions and families that are in more than one split, all of them errors (see `find_leakage`)."""
    problems = []
    for what, part in find_leakage(samples, hashes=hashes).groupby("what", sort=False):
        shown = ", ".join(part["name"].head(5)) + (", …" if len(part) > 5 else "")
        problems.append(
            Problem(
                f"{len(part)} × the same {what} in several splits ({int(part['samples'].sum())} samples): {shown}.",
                expected="Each in one split.",
                remedy="Divide the data by family.",
                file=", ".join(dict.fromkeys(samples["file"])),
            )
        )
    return problems


def find_leakage(samples: pd.DataFrame, *, hashes: Mapping[str, str] | None = None) -> pd.DataFrame:
    """List clips, sessions and families that are in more than one split, so that a test score would be too good.

    Parameters
    ----------
    samples
        Table of samples; rows without split take no part.
    hashes
        Of `hash_videos`: copies of one file under several names are then found too.

    Returns
    -------
    pandas.DataFrame
        what (``clip``, ``session``, ``family``, ``file content``), name, splits (``test;train``) and samples
        concerned. The copies of a clip that augmentation makes in other data folders count as that clip.
    """
    rows = samples[samples["split"] != ""]
    keys = {name: rows[name] for name in ("clip", "session", "family")}
    if hashes is not None:
        keys["file content"] = rows["path"].map(dict(hashes)).fillna("")
    found = []
    for what, names in keys.items():
        known = rows.assign(name=names)[names != ""]
        shared = known.groupby("name")["split"].nunique()
        for name, part in known[known["name"].isin(shared.index[shared > 1])].groupby("name", sort=True):
            found.append((what, str(name), ";".join(sorted(set(part["split"]))), len(part)))
    return pd.DataFrame(found, columns=LEAKAGE)


def hash_videos(samples: pd.DataFrame) -> dict[str, str]:
    """Hash the bytes of every video of a table, each once; path to SHA-256."""
    paths = samples.loc[samples["kind"] == "video", "path"].unique()
    return {path: sha256(Path(path)) for path in paths}


def _list_names(folder: str, before: str, after: str) -> set[str]:
    """List the pictures of a folder that follow the template; none when it is not there."""
    if not Path(folder).is_dir():
        return set()
    with os.scandir(folder) as entries:
        return {entry.name for entry in entries if entry.name.startswith(before) and entry.name.endswith(after)}
