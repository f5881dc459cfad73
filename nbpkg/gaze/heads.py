"""Head boxes for new footage, from whatever they were marked or found with, brought to frame and person."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nbpkg.annotations.gaze.delimited import read_lines, to_numbers
from nbpkg.annotations.gaze.openpose import find_head_boxes, follow_people, read_people
from nbpkg.annotations.gaze.rows import finish
from nbpkg.annotations.gaze.smoothing import interpolate_gaps
from nbpkg.annotations.gaze.voc import HEAD, lacking, read_voc
from nbpkg.errors import AnnotationError, Problem, raise_all
from nbpkg.features.boxes import Box
from nbpkg.gaze.footage import Footage
from nbpkg.video.pictures import natural_key

COLUMNS = ["frame", "person", "x0", "y0", "x1", "y1", "box_source"]
BOX = ["x0", "y0", "x1", "y1"]
KEPT = 5  # file names that a message spells out
POSE_ENDING = "_keypoints.json"
Reader = Callable[[Sequence[Path], Footage, int], tuple[pd.DataFrame, list[Problem]]]


@dataclass(frozen=True)
class Heads:
    """Head boxes of footage.

    Parameters
    ----------
    boxes
        One row per frame and person: frame, person, x0, y0, x1, y1 (pixels), box_source.
    problems
        What was noticed and left out.
    """

    boxes: pd.DataFrame
    problems: list[Problem]


def read_heads(paths: Sequence[Path], footage: Footage, *, first: int = 0) -> Heads:
    """Read head boxes in any known form.

    Parameters
    ----------
    paths
        One of: head files (``name,left,top,right,bottom``, one person each, named after the file); a labelImg XML,
        whose heads hold for all frames; a folder of labelImg XML files, one per frame; a folder of OpenPose JSON files;
        a table ``gaze`` (.csv), or the table of an earlier run.
    footage
        What the boxes are for.
    first
        As in `Footage.number_of`.

    Raises
    ------
    AnnotationError
        When nothing can be read, a file is broken, or no box belongs to a frame of the footage.
    """
    if not paths:
        raise AnnotationError("There are no head boxes.", remedy="Name files with '--heads', or give '--detector'.")
    kinds = {_kind(path) for path in paths}
    if len(kinds) > 1 or (len(paths) > 1 and kinds != {"file"}):
        raise AnnotationError(
            f"Head boxes of several kinds ({', '.join(sorted(kinds))}) cannot be mixed.",
            expected="Head files, one per person, or one XML, one folder, or one table.",
        )
    readers: dict[str, Reader] = {
        "file": _read_files, "xml": _read_xml, "folder": _read_folder, "table": _read_table,
    }  # fmt: skip
    boxes, problems = readers[kinds.pop()](paths, footage, first)
    raise_all(problems, AnnotationError, summary="head-box files cannot be used")
    if boxes.empty:
        raise AnnotationError(
            "No head box belongs to a frame of the footage.",
            where=", ".join(str(path) for path in paths[:KEPT]),
            expected=f"Names such as {footage.files[0].name!r}." if footage.files else "Names that hold frame numbers.",
            remedy="Check that boxes and footage belong together; '--first' says what number the first frame has.",
        )
    sound, found = _drop_flat(boxes)
    return Heads(sound.sort_values(["frame", "person"], ignore_index=True)[COLUMNS], [*problems, *found])


def _kind(path: Path) -> str:
    if path.is_dir():
        return "folder"
    if not path.is_file():
        raise AnnotationError(f"There is no {path.name!r}.", where=str(path), remedy="Correct the path.")
    if path.suffix.lower() == ".xml":
        return "xml"
    with path.open(encoding="utf-8-sig", errors="replace") as stream:
        names = {name.strip() for name in stream.readline().split(",")}
    return "table" if {"frame", "person", *BOX} <= names else "file"


def _read_files(paths: Sequence[Path], footage: Footage, first: int) -> tuple[pd.DataFrame, list[Problem]]:
    problems: list[Problem] = []
    parts = []
    for path in paths:
        lines = read_lines(path, file=path.name, widths=(5,), columns=("frame", *BOX))
        problems += lines.problems
        if not lines.fields:
            continue
        fields = np.array(lines.fields, dtype=object)
        numbers, troubles = to_numbers(fields[:, 1:])
        numbers[~np.asarray(lines.whole)] = np.nan
        broken = troubles["unreadable"].any(axis=1) | ~np.asarray(lines.whole)
        problems += [
            Problem("The line is no head box.", "name,left,top,right,bottom", "Correct it.", path.name, row=number)
            for number, wrong in zip(lines.numbers, broken, strict=True)
            if wrong
        ]
        part = pd.DataFrame(numbers, columns=BOX).assign(name=fields[:, 0], person=path.stem, box_source="file")
        parts.append(part)
    rows = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["name", *COLUMNS])
    return _place(rows, footage, first, problems)


def _place(
    rows: pd.DataFrame, footage: Footage, first: int, problems: list[Problem]
) -> tuple[pd.DataFrame, list[Problem]]:
    """Turn names into frame numbers; names without a frame are reported and left out, repeated ones count once."""
    numbers = pd.Series([footage.number_of(str(name), first=first) for name in rows["name"]], dtype="Int64")
    lost = rows.loc[numbers.isna().to_numpy(), "name"].tolist()
    if lost:
        named = ", ".join(map(str, lost[:KEPT])) + (" …" if len(lost) > KEPT else "")
        problems = [*problems, Problem(f"{len(lost)} boxes name no frame of the footage: {named}.", severity="warning")]
    placed = rows[numbers.notna().to_numpy()].assign(frame=numbers.dropna().astype(int).to_numpy())
    once = placed.drop_duplicates(["frame", "person"])
    if len(once) < len(placed):
        again = Problem(f"{len(placed) - len(once)} boxes are given twice; the first counts.", severity="repaired")
        problems = [*problems, again]
    return once, problems


def _drop_flat(boxes: pd.DataFrame) -> tuple[pd.DataFrame, list[Problem]]:
    """Leave out boxes without area or number."""
    values = boxes[BOX].to_numpy(np.float64)
    sound = np.isfinite(values).all(axis=1) & (values[:, 2] > values[:, 0]) & (values[:, 3] > values[:, 1])
    count = int((~sound).sum())
    text = f"{count} boxes are empty, inverted or missing and were left out."
    return boxes[sound], [Problem(text, severity="warning")] if count else []


def _read_xml(paths: Sequence[Path], footage: Footage, first: int) -> tuple[pd.DataFrame, list[Problem]]:  # noqa: ARG001
    """Let the heads of one annotated frame hold for all frames, as for people who stand still."""
    heads = _heads_of(paths[0])
    rows = [
        (frame, f"s{place:02}", *head, "propagated")
        for frame in range(0, footage.frames, footage.step)
        for place, head in enumerate(heads.tolist())
    ]
    return pd.DataFrame(rows, columns=COLUMNS), []


def _heads_of(path: Path) -> np.ndarray:
    voc = read_voc(path)
    heads = voc.named(HEAD)
    if not heads:
        raise lacking(voc, f"object {HEAD!r}")
    return np.array([one.box for one in heads], np.float64)


def _read_folder(paths: Sequence[Path], footage: Footage, first: int) -> tuple[pd.DataFrame, list[Problem]]:
    folder = paths[0]
    files = sorted(folder.iterdir(), key=lambda file: natural_key(file.name))
    marked = [file for file in files if file.suffix.lower() == ".xml"]
    if marked:
        found = [(footage.number_of(file.stem, first=first), file) for file in marked]
        return _link(found, lambda file, _: _heads_of(file), source="manual")
    poses = [file for file in files if file.name.endswith(POSE_ENDING)]
    if not poses:
        raise AnnotationError(
            f"Folder {folder.name!r} holds neither labelImg nor OpenPose files.",
            where=str(folder),
            expected=f"Files that end in .xml or {POSE_ENDING}.",
        )
    found = [(footage.number_of(file.name.removesuffix(POSE_ENDING), first=first), file) for file in poses]

    def read_pose(file: Path, number: int) -> np.ndarray:
        width, height = footage.size_of(number)
        return find_head_boxes(read_people(file), width, height)[0]

    return _link(found, read_pose, source="openpose")


def _link(
    found: Iterable[tuple[int | None, Path]], read: Callable[[Path, int], np.ndarray], *, source: str
) -> tuple[pd.DataFrame, list[Problem]]:
    """Read the boxes of each file and follow the people, who have no names there, from frame to frame."""
    files = list(found)
    lost = [file.name for number, file in files if number is None]
    placed = sorted((number, file) for number, file in files if number is not None)
    boxes = [read(file, number) for number, file in placed]
    rows = [
        (placed[time][0], f"s{person:02}", *boxes[time][row].tolist(), source)
        for person, track in enumerate(follow_people(boxes))
        for time, row in enumerate(track)
        if row >= 0
    ]
    problems = []
    if lost:
        named = ", ".join(lost[:KEPT]) + (" …" if len(lost) > KEPT else "")
        problems.append(Problem(f"{len(lost)} files belong to no frame of the footage: {named}.", severity="warning"))
    return pd.DataFrame(rows, columns=COLUMNS), problems


def _read_table(paths: Sequence[Path], footage: Footage, first: int) -> tuple[pd.DataFrame, list[Problem]]:  # noqa: ARG001
    """Take boxes out of a table ``gaze``; annotators share them, and the first one's count."""
    path = paths[0]
    try:
        table = pd.read_csv(path, dtype={"person": str, "frame": np.int64, **dict.fromkeys(BOX, np.float64)})
    except ValueError as error:  # also what pandas raises for broken lines and bytes
        raise AnnotationError(
            f"Table {path.name!r} cannot be read ({error}).",
            where=str(path),
            expected="CSV with whole numbers of frames and numbers of pixels.",
            remedy="Write it again.",
        ) from None
    sessions = set(table["session"]) if "session" in table.columns else set()
    if len(sessions) > 1:
        raise AnnotationError(
            f"Table {path.name!r} holds {len(sessions)} sessions.",
            where=str(path),
            expected="The rows of one session, that of the footage.",
            remedy="Keep only these.",
        )
    boxes = table.drop_duplicates(["frame", "person"])
    boxes = boxes.assign(box_source=boxes["box_source"] if "box_source" in boxes.columns else "file")
    there = boxes["frame"].between(0, footage.frames - 1)
    beyond = int((~there).sum())
    problems = [Problem(f"{beyond} boxes are of frames beyond the footage.", severity="warning")] if beyond else []
    return boxes.loc[there, COLUMNS], problems


def fill_gaps(boxes: pd.DataFrame, *, longest: int, step: int = 1) -> pd.DataFrame:
    """Fill in boxes of people who are missing for a few frames only, between their neighbours.

    Parameters
    ----------
    boxes
        As in `Heads`.
    longest
        Largest number of missing frames that is bridged.
    step
        Every how many frames one is taken.

    Returns
    -------
    pandas.DataFrame
        More rows, of which ``box_source`` is ``interpolated``.
    """
    parts = []
    for person, own in boxes.groupby("person"):
        frames = np.union1d(np.arange(own["frame"].min(), own["frame"].max() + 1, step), own["frame"])
        parts.append(own.set_index("frame").reindex(frames).rename_axis("frame").reset_index().assign(person=person))
    whole = pd.concat(parts, ignore_index=True)
    whole["box_source"] = whole["box_source"].fillna("interpolated")
    filled = interpolate_gaps(finish(whole), longest=longest)
    return filled.loc[filled["x0"].notna(), COLUMNS].sort_values(["frame", "person"], ignore_index=True)


def group_heads(boxes: pd.DataFrame) -> Mapping[int, list[tuple[str, Box, str]]]:
    """Sort head boxes by frame: person, box and source of each."""
    grouped: dict[int, list[tuple[str, Box, str]]] = {}
    rows: Any = boxes[COLUMNS].itertuples(index=False, name=None)
    for frame, person, x0, y0, x1, y1, source in rows:
        grouped.setdefault(int(frame), []).append((str(person), (x0, y0, x1, y1), str(source)))
    return grouped
