"""Table of samples: one row per labelled clip, whatever list, folder or table it came from.

====================  ==============================================================================================
column                meaning
====================  ==============================================================================================
sample_id             name of the sample, unique in its split: the clip, ``@<offset>`` where it begins later, ``#2``
                      for its second row
clip                  path relative to the data folder, without the ending of a video: the same for all copies of a clip
family, session       whom and when it shows, from the path; empty when the path does not say
path                  data folder and path, as the published programs join them
kind                  ``video`` (a file), ``frames`` (a folder of pictures) or ``skeleton``
offset, frames        frames skipped at the beginning, and frames of the clip; frames is -1 where the list does not say
label                 class index; -1 where there are several
labels                all class indices, blanks between
split                 part of the official list, e.g. ``train``; empty when there is none
file, row             where it was written, and in which line
====================  ==============================================================================================
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg.annotations.gaze.lookup import plain_name
from nbpkg.errors import AnnotationError, Problem, SettingsError

Kind = Literal["video", "frames", "skeleton"]
NUMBERS = ("offset", "frames", "label", "row")
COLUMNS = (
    "sample_id",
    "clip",
    "family",
    "session",
    "path",
    "kind",
    "offset",
    "frames",
    "label",
    "labels",
    "split",
    "file",
    "row",
)
NAMES = r"(?P<family>[^/]+)/(?:(?P<session>[^/]+)/)?"
NO_NAMES = r"(?P<family>(?!))"  # matches nothing: family and session are known from elsewhere
VIDEO_ENDINGS = (".mp4", ".avi", ".webm", ".mov", ".mkv", ".m4v", ".mpg", ".mpeg")
NO_LABEL = -1


@dataclass(frozen=True)
class Sample:
    """One row before it is placed in a data folder.

    Parameters
    ----------
    token
        Path as written, relative to the data folder or absolute.
    kind
        Video file, folder of pictures, or skeleton.
    labels
        Class indices.
    offset, frames
        As in the table.
    row
        Line of the list, from 1.
    family, session
        Where known from elsewhere than the path.
    """

    token: str
    kind: Kind
    labels: tuple[int, ...]
    offset: int = 0
    frames: int = -1
    row: int = 0
    family: str = ""
    session: str = ""


@dataclass(frozen=True)
class Source:
    """What all rows of one list share.

    Parameters
    ----------
    file
        Name of the list, for messages and column ``file``.
    prefix
        Data folder that paths are relative to; None leaves them as written.
    split
        Part of the official list.
    names
        Regular expression with the groups ``family`` and, if there is one, ``session``, matched at the beginning of
        the relative path.
    """

    file: str
    prefix: str | Path | None = None
    split: str = ""
    names: str = NAMES
    pattern: re.Pattern[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        try:
            pattern = re.compile(self.names)
        except re.error as error:
            raise SettingsError(f"{self.names!r} is no regular expression: {error}.", where="names") from None
        if "family" not in pattern.groupindex:
            raise SettingsError(
                f"{self.names!r} names no family.", where="names", expected="A group (?P<family>…).", remedy="Add it."
            )
        object.__setattr__(self, "pattern", pattern)


def tabulate(samples: Sequence[Sample], source: Source) -> pd.DataFrame:
    """Place samples in their data folder and name them.

    Parameters
    ----------
    samples
        Rows of one list, in its order.
    source
        What they share.

    Returns
    -------
    pandas.DataFrame
        Table of samples, see the module's text.

    Source
    ------
    open-mmlab/mmaction2, ``datasets/base.py``: paths are joined to the data folder; an absolute path wins, and a data
    folder that is there is replaced by its real path.
    """
    prefix = resolve_prefix(source.prefix)
    seen: dict[str, int] = {}
    rows = []
    for sample in samples:
        # a relative token is below the data folder whatever it begins with
        relative = name_inside(sample.token, prefix if Path(sample.token).is_absolute() else None)
        family, session = _whose(relative, sample, source)
        clip = _without_ending(relative, sample.kind)
        name = clip if sample.offset == 0 else f"{clip}@{sample.offset}"
        seen[name] = seen.get(name, 0) + 1
        rows.append(
            {
                "sample_id": name if seen[name] == 1 else f"{name}#{seen[name]}",
                "clip": clip,
                "family": family,
                "session": session,
                "path": sample.token if prefix is None else os.path.join(prefix, sample.token),  # noqa: PTH118 - as published
                "kind": sample.kind,
                "offset": sample.offset,
                "frames": sample.frames,
                "label": sample.labels[0] if len(sample.labels) == 1 else NO_LABEL,
                "labels": " ".join(map(str, sample.labels)),
                "split": source.split,
                "file": source.file,
                "row": sample.row,
            }
        )
    return with_types(pd.DataFrame(rows, columns=list(COLUMNS)))


def with_types(table: pd.DataFrame) -> pd.DataFrame:
    """Give numbers and texts of a table of samples their types, and a fresh index."""
    kinds = {name: "int64" if name in NUMBERS else "str" for name in COLUMNS}
    return table.reset_index(drop=True).astype(kinds)


def join_samples(parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Put tables of samples below each other; none gives a table without rows."""
    every = [part for part in parts if len(part)]
    return with_types(pd.concat(every) if every else pd.DataFrame(columns=list(COLUMNS)))


def resolve_prefix(prefix: str | Path | None) -> str | None:
    """Return a data folder as text, its real path if it is there."""
    if prefix is None:
        return None
    text = os.fspath(prefix)
    return os.path.realpath(text) if Path(text).is_dir() else text


def name_inside(path: str, prefix: str | None) -> str:
    """Return a path relative to the data folder, ``/`` between parts, or as it is when it lies elsewhere.

    Examples
    --------
    >>> [name_inside(path, "/data/") for path in ("/data/./fam1/a.mp4", "/x/a.mp4")]
    ['fam1/a.mp4', '/x/a.mp4']
    """
    plain, folder = (PurePosixPath(os.path.normpath(one).replace(os.sep, "/")) for one in (path, prefix or ""))
    inside = prefix is not None and plain.is_relative_to(folder)
    return plain.relative_to(folder).as_posix() if inside else plain.as_posix()


def parse_labels(labels: pd.Series) -> list[tuple[int, ...]]:
    """Return the class indices of column ``labels``."""
    return [tuple(int(one) for one in text.split()) for text in labels]


def many_hot(samples: pd.DataFrame, classes: int) -> NDArray[np.float32]:
    """Turn labels into vectors, 1 where a class is named.

    Parameters
    ----------
    samples
        Table of samples.
    classes
        Number of classes.

    Returns
    -------
    numpy.ndarray
        float32 [samples, classes].

    Raises
    ------
    AnnotationError
        When a label is no class.
    """
    vectors = np.zeros((len(samples), classes), np.float32)
    for row, named in enumerate(parse_labels(samples["labels"])):
        wrong = [one for one in named if not 0 <= one < classes]
        if wrong:
            raise AnnotationError(
                f"Label {wrong[0]} is none of {classes} classes.",
                where=f"{samples['file'].iloc[row]}, row {samples['row'].iloc[row]}",
                expected=f"0 to {classes - 1}.",
            )
        vectors[row, list(named)] = 1
    return vectors


def check_labels(samples: Sequence[Sample], *, file: str, classes: int = 0) -> tuple[list[Sample], list[Problem]]:
    """Take out samples whose label is no class, which a published program would meet only in its loss.

    Parameters
    ----------
    samples
        Rows of a list.
    file
        The list.
    classes
        Number of classes; 0 when unknown, then only negative labels are wrong.

    Returns
    -------
    tuple
        The samples that are left, and what is wrong.
    """
    good, problems = [], []
    expected = f"0 to {classes - 1}." if classes else "A class index from 0."
    for sample in samples:
        wrong = [one for one in sample.labels if one < 0 or (classes and one >= classes)]
        if wrong:
            what = f"Label {wrong[0]} of {sample.token} is no class."
            problems.append(Problem(what, expected=expected, file=file, row=sample.row))
            continue
        good.append(sample)
        if len(set(sample.labels)) < len(sample.labels):
            what = f"{sample.token} names a class twice: {' '.join(map(str, sample.labels))}."
            problems.append(Problem(what, expected="Each class once.", file=file, row=sample.row, severity="warning"))
    return good, problems


def _whose(relative: str, sample: Sample, source: Source) -> tuple[str, str]:
    """Read family and session off a path, unless they are known."""
    found = source.pattern.match(relative)
    family = sample.family or ((found["family"] or "") if found else "")
    said = (found["session"] or "") if found and "session" in source.pattern.groupindex else ""
    inside = sample.session or said
    return family, plain_name([part for part in (family, inside) if part]) if family or inside else ""


def _without_ending(relative: str, kind: Kind) -> str:
    ending = PurePosixPath(relative).suffix
    return relative.removesuffix(ending) if kind == "video" and ending.lower() in VIDEO_ENDINGS else relative
