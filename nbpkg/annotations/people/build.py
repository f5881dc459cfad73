"""Lists made from whatever a laboratory has: folders named after classes, or a table of paths and labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import pandas as pd

from nbpkg import seeding
from nbpkg.annotations.gaze.lookup import natural_key
from nbpkg.annotations.people.checks import TEMPLATE, check_repeats, split_template
from nbpkg.annotations.people.lists import whole_number
from nbpkg.annotations.people.samples import (
    NAMES,
    NO_NAMES,
    VIDEO_ENDINGS,
    Sample,
    Source,
    check_labels,
    join_samples,
    tabulate,
    with_types,
)
from nbpkg.errors import Problem


@dataclass(frozen=True)
class Labelled:
    """What is labelled, and with which classes.

    Parameters
    ----------
    classes
        Names of the classes in the order of their indices, e.g. ``("Low", "Medium", "High")``.
    kind
        ``video``: files; ``frames``: folders of pictures.
    template
        Names of the pictures of a folder.
    names
        How family and session are read off a path, see `nbpkg.annotations.people.samples.Source`.
    """

    classes: tuple[str, ...]
    kind: Literal["video", "frames"] = "video"
    template: str = TEMPLATE
    names: str = NAMES


@dataclass(frozen=True)
class Headings:
    """Which column of a table says what; an empty name stands for a column that is not there.

    Parameters
    ----------
    path
        Path of the clip relative to the data folder; the ending of a video may be left out.
    label
        Name or index of the class.
    family, session, split
        Family, session and part of the official list.
    offset, frames
        First frame of the clip and how many frames it has, where several clips lie in one video.
    """

    path: str = "path"
    label: str = "label"
    family: str = ""
    session: str = ""
    split: str = ""
    offset: str = ""
    frames: str = ""


def list_folders(root: Path, labelled: Labelled, *, level: int = 0) -> tuple[pd.DataFrame, list[Problem]]:
    """List clips that lie in folders named after their class.

    Parameters
    ----------
    root
        Data folder.
    labelled
        Classes, and what a clip is.
    level
        Which part of the path below `root` names the class: 0 for ``High/fam07/000123.mp4``, 1 for
        ``fam07/High/000123.mp4``. Family and session are read off the path without that part.

    Returns
    -------
    samples : pandas.DataFrame
        Table of samples in natural order of their paths.
    problems : list of Problem
        Clips whose folder is no class, classes without a clip (a warning), or no clip at all.

    Source
    ------
    open-mmlab/mmaction2, ``tools/data/build_file_list.py``, which knows published benchmarks only.
    """
    source = Source(str(root), root, names=labelled.names)
    samples, problems = [], []
    for row, (place, frames) in enumerate(_find_clips(root, labelled), start=1):
        parts = PurePosixPath(place).parts
        name = parts[level] if 0 <= level < len(parts) - 1 else ""
        if name not in labelled.classes:
            what = f"{place} lies in no folder of a class." if not name else f"Folder {name!r} of {place} is no class."
            problems.append(Problem(what, expected=f"{', '.join(labelled.classes)}.", file=str(root)))
            continue
        found = source.pattern.match("/".join([*parts[:level], *parts[level + 1 :]]))
        said = found.groupdict(default="") if found else {}
        family, session = (str(said.get(key, "")) for key in ("family", "session"))
        label = (labelled.classes.index(name),)
        samples.append(Sample(place, labelled.kind, label, frames=frames, row=row, family=family, session=session))
    table = tabulate(samples, Source(str(root), root, names=NO_NAMES))
    return table, [*problems, *_check_classes(table, labelled, str(root))]


def list_table(
    table: pd.DataFrame, root: Path, labelled: Labelled, *, headings: Headings | None = None, file: str = "table"
) -> tuple[pd.DataFrame, list[Problem]]:
    """List the clips that a table of paths and labels names.

    Parameters
    ----------
    table
        One row per clip, as read from a CSV file.
    root
        Data folder that the paths are relative to.
    labelled
        Classes, and what a clip is.
    headings
        Which column says what.
    file
        Name of the table, for messages; its first row counts as line 2.

    Returns
    -------
    samples : pandas.DataFrame
        Table of samples, in the order of `table`.
    problems : list of Problem
        Columns that are missing, rows without a known class, clips that are not there, and clips that repeat.
    """
    heads = headings or Headings()
    wanted = [name for name in astuple(heads) if name]
    missing = [name for name in wanted if name not in table.columns]
    if missing:
        expected = f"Columns {', '.join(wanted)}; found {', '.join(map(str, table.columns))}."
        return join_samples([]), [Problem(f"There is no column {missing[0]!r}.", expected=expected, file=file)]
    texts = table[wanted].astype("object").fillna("").astype("str")
    parts: dict[str, list[Sample]] = {}
    problems: list[Problem] = []
    for row, said in enumerate(texts.to_dict("records"), start=2):
        found = _read_row({str(key): str(value).strip() for key, value in said.items()}, heads, root, labelled, row)
        if isinstance(found, str):
            problems.append(Problem(found, remedy="Correct the table.", file=file, row=row))
        else:
            parts.setdefault(str(said[heads.split]).strip() if heads.split else "", []).append(found)
    made = []
    for split, samples in parts.items():
        good, wrong = check_labels(samples, file=file, classes=len(labelled.classes))
        made.append(tabulate(good, Source(file, root, split, labelled.names)))
        problems += [*wrong, *check_repeats(made[-1])]
    listed = with_types(join_samples(made).sort_values("row", kind="stable"))
    return listed, [*problems, *_check_classes(listed, labelled, file)]


def shuffle_samples(samples: pd.DataFrame, *, seed: int) -> pd.DataFrame:
    """Put samples in a random order, the same for the same seed, as the published list builder can."""
    return with_types(samples.iloc[seeding.generator(seed, "list order").permutation(len(samples))])


def _read_row(said: dict[str, str], heads: Headings, root: Path, labelled: Labelled, row: int) -> Sample | str:
    """Read one row, or say what is wrong with it."""
    place, text = said[heads.path], said[heads.label]
    if not place:
        return "There is no path."
    index = labelled.classes.index(text) if text in labelled.classes else whole_number(text.removesuffix(".0"))
    if index is None:
        return f"{text!r} of {place} is none of the classes {', '.join(labelled.classes)}."
    frames = -1
    if labelled.kind == "frames":
        frames = _count_pictures(root / place, labelled.template)
        if not frames:
            return f"There is no folder {place} with such pictures as {labelled.template.format(1)}."
    else:
        found = _complete(root, place)
        if len(found) != 1:
            return (
                f"There are {len(found)} videos {place}: {', '.join(found)}."
                if found
                else f"There is no video {place}."
            )
        place = found[0]
    family, session = (said[name] if name else "" for name in (heads.family, heads.session))
    own = {name: whole_number(said[name].removesuffix(".0")) for name in (heads.offset, heads.frames) if name}
    wrong = next((name for name, value in own.items() if value is None or value < (name == heads.frames)), None)
    if wrong:
        return f"{said[wrong]!r} in column {wrong!r} of {place} is no number of frames."
    first, frames = own.get(heads.offset) or 0, own.get(heads.frames) or frames
    return Sample(place, labelled.kind, (index,), first, frames, row=row, family=family, session=session)


def _complete(root: Path, place: str) -> list[str]:
    """Return the videos that a path means, whose ending may be left out."""
    if (root / place).is_file():
        return [place]
    return [place + ending for ending in VIDEO_ENDINGS if (root / f"{place}{ending}").is_file()]


def _find_clips(root: Path, labelled: Labelled) -> list[tuple[str, int]]:
    """Find videos, or folders of pictures and their number of pictures, in natural order."""
    every = [path for path in root.rglob("*") if not any(part.startswith(".") for part in path.relative_to(root).parts)]
    if labelled.kind == "video":
        found = [(path, -1) for path in every if path.suffix.lower() in VIDEO_ENDINGS and path.is_file()]
    else:
        counts = [(path, _count_pictures(path, labelled.template)) for path in every if path.is_dir()]
        found = [(path, frames) for path, frames in counts if frames]
    places = [(path.relative_to(root).as_posix(), frames) for path, frames in found]
    return sorted(places, key=lambda one: natural_key(one[0]))


def _count_pictures(folder: Path, template: str) -> int:
    before, after = split_template(template)
    if not folder.is_dir():
        return 0
    return sum(path.name.startswith(before) and path.name.endswith(after) for path in folder.iterdir())


def _check_classes(table: pd.DataFrame, labelled: Labelled, file: str) -> list[Problem]:
    """Report that nothing was found, or which classes have no clip."""
    if table.empty:
        what = "No clip was found." if labelled.kind == "video" else "No folder of pictures was found."
        return [Problem(what, expected=f"{_what(labelled)} below the data folder.", file=file)]
    counts = table["label"].value_counts()
    lacking: Sequence[str] = [name for index, name in enumerate(labelled.classes) if index not in counts.index]
    if not lacking:
        return []
    return [Problem(f"No clip is of class {' or '.join(lacking)}.", file=file, severity="warning")]


def _what(labelled: Labelled) -> str:
    return (
        f"Files ending in {', '.join(VIDEO_ENDINGS)}" if labelled.kind == "video" else f"Pictures {labelled.template}"
    )
