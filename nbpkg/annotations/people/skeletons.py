"""Skeletons of several people in a clip: the pickles of the published programs, read safely.

Joints in the order of COCO: nose, left and right eye, ear, shoulder, elbow, wrist, hip, knee, ankle. Coordinates are
pixels; a person or joint that was not found is zeros. The first frame is number 0.

Source: open-mmlab/mmaction2, ``PoseDataset``; kennymckormick/pyskl, the same with ``split`` and ``annotations``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg.annotations.people.pickles import read_plain_pickle
from nbpkg.annotations.people.samples import NAMES, Sample, Source, check_labels, tabulate
from nbpkg.errors import Problem, SettingsError

COCO_JOINTS = 17
BOX_THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)
FACTS = ("persons", "joints", "dimensions", "height", "width", "valid_frames", "empty_frames")


@dataclass(frozen=True)
class Skeleton:
    """The people of one clip.

    Parameters
    ----------
    clip
        Name of the clip, as in column ``clip`` of the table of samples.
    keypoints
        [persons, frames, joints, 2 or 3], pixels; zeros where nothing was found.
    scores
        [persons, frames, joints], how sure the detector was; None for joints in space.
    size
        Height and width of the picture, pixels; 0 when unknown.
    label
        Class index.
    frames_kept
        [n], numbers of frames whose person box is sure enough; None for all.
    tracks, roles
        For each person who it is, the same over the whole clip: number of the track, and e.g. ``parent``. Empty where
        the file does not say: then person 1 of one frame may be person 2 of the next.
    """

    clip: str
    keypoints: NDArray[np.floating]
    scores: NDArray[np.floating] | None
    size: tuple[int, int]
    label: int
    frames_kept: NDArray[np.int64] | None = None
    tracks: tuple[int, ...] = ()
    roles: tuple[str, ...] = ()


@dataclass(frozen=True)
class SkeletonForm:
    """Which skeletons of a pickle are taken, and what they should be like.

    Parameters
    ----------
    split
        Name of the part to take from a file with parts; empty for a file without.
    valid_ratio
        Least share of frames in which somebody was found; None takes all.
    box_threshold
        How sure the person boxes of those frames must be, one of 0.5, 0.6, … 0.9; None counts all that were found.
    joints
        Joints of each person; 0 for any number, the same in all clips.
    classes
        Number of classes; 0 when unknown.
    names
        How family and session are read off a name, see `nbpkg.annotations.people.samples.Source`.
    """

    split: str = ""
    valid_ratio: float | None = None
    box_threshold: float | None = None
    joints: int = COCO_JOINTS
    classes: int = 0
    names: str = NAMES

    def __post_init__(self) -> None:
        if self.box_threshold is not None and self.box_threshold not in BOX_THRESHOLDS:
            raise SettingsError(
                f"Boxes are counted for no threshold of {self.box_threshold}.",
                where="box_threshold",
                expected=f"{', '.join(map(str, BOX_THRESHOLDS))}, or nothing.",
            )
        if self.valid_ratio is not None and not 0 <= self.valid_ratio <= 1:
            raise SettingsError(
                f"A share of {self.valid_ratio} was asked for.", where="valid_ratio", expected="0 to 1."
            )


def read_skeletons(path: Path, form: SkeletonForm | None = None) -> tuple[list[Skeleton], pd.DataFrame, list[Problem]]:
    """Read a skeleton pickle of the published programs.

    Parameters
    ----------
    path
        A pickled list of clips, or a dictionary of ``split`` and ``annotations``.
    form
        Which clips are taken.

    Returns
    -------
    skeletons : list of Skeleton
        The clips taken, in the order of the file; numbers as in the file, read-only.
    samples : pandas.DataFrame
        Table of samples, a row for each skeleton, and persons, joints, dimensions, height, width, valid_frames (frames
        with somebody in them) and empty_frames; row counts the clips of the file from 1.
    problems : list of Problem
        Clips that cannot be used; warnings about clips of which too little was found, and clips without anybody.

    Raises
    ------
    AnnotationError
        When the file is no pickle of plain data (`nbpkg.annotations.people.pickles`).
    """
    how, file = form or SkeletonForm(), str(path)
    entries, problems = _choose(read_plain_pickle(path), how.split, file)
    skeletons: list[tuple[int, Skeleton]] = []
    too_little = []
    for row, entry in entries:
        found = _parse(entry, how)
        share = _share_valid(entry, how) if isinstance(found, Skeleton) else 0.0
        if isinstance(found, str) or isinstance(share, str):
            problems.append(Problem(found if isinstance(found, str) else str(share), file=file, row=row))
        elif share < (how.valid_ratio or 0):
            too_little.append(found.clip)
        else:
            skeletons.append((row, found))
    problems += [*_report_few(too_little, how, file), *_check_names(skeletons, file)]
    kept, samples, wrong = _describe(skeletons, Source(file, split=how.split, names=how.names), how.classes)
    return kept, samples, [*problems, *wrong]


def describe_skeletons(skeletons: Sequence[Skeleton], source: Source) -> pd.DataFrame:
    """Make the table of samples of skeletons, in their order (see `read_skeletons`)."""
    return _describe(list(enumerate(skeletons, start=1)), source, 0)[1]


def _choose(content: Any, split: str, file: str) -> tuple[list[tuple[int, Any]], list[Problem]]:
    """Take the clips of a part, or all of a file without parts."""
    parts, clips = (
        ({}, content) if not isinstance(content, dict) else (content.get("split"), content.get("annotations"))
    )
    if not isinstance(clips, list) or not isinstance(parts, dict) or not clips:
        what = "The file is empty." if clips == [] else "The file holds no list of clips."
        return [], [Problem(what, expected="A list, or 'split' and 'annotations'.", file=file)]
    rows = list(enumerate(clips, start=1))
    if not split and not parts:
        return rows, []
    if split not in parts:
        what = f"The file has no part {split!r}." if split else "The file has parts, none was chosen."
        return [], [Problem(what, expected=f"{', '.join(map(str, parts)) or 'No part'}.", file=file)]
    wanted = _names_of(parts[split])
    chosen = [(row, entry) for row, entry in rows if isinstance(entry, dict) and _name(entry) in wanted]
    missing = sorted(wanted - {_name(entry) for _, entry in chosen})
    problems = [
        Problem(f"{name} is in part {split!r} but has no skeleton.", remedy="Extract it again.", file=file)
        for name in missing
    ]
    return chosen, [*problems, *_check_parts(parts, file)]


def _check_parts(parts: Mapping[str, Any], file: str) -> list[Problem]:
    """Report clips that several parts name."""
    counts = Counter(name for names in parts.values() for name in _names_of(names))
    shared = sorted(str(name) for name, count in counts.items() if count > 1)
    if not shared:
        return []
    what = f"{len(shared)} clips are in several parts, e.g. {shared[0]}."
    return [Problem(what, expected="Each clip in one part.", remedy="Divide the data by family.", file=file)]


def _names_of(part: Any) -> set[str]:
    return {name for name in part if isinstance(name, str)} if isinstance(part, list) else set()


def _name(entry: Mapping[str, Any]) -> str:
    name = entry.get("frame_dir", entry.get("filename"))
    return name if isinstance(name, str) else ""


def _parse(entry: Any, form: SkeletonForm) -> Skeleton | str:
    """Read one clip, or say what is wrong with it."""
    name = _name(entry) if isinstance(entry, dict) else ""
    if not name:
        return "The clip has no name under 'frame_dir'."
    points, scores = entry.get("keypoint"), entry.get("keypoint_score")
    frames, label = entry.get("total_frames"), entry.get("label")
    wrong = _judge_arrays(points, scores, frames, form.joints)
    if wrong:
        return f"{name}: {wrong}."
    if not isinstance(label, int) or isinstance(label, bool):
        return f"{name}: its label is {label!r}, no whole number."
    size = entry.get("img_shape", entry.get("original_shape", (0, 0)))
    if not isinstance(size, (tuple, list)) or len(size) < 2 or not all(isinstance(one, int) for one in size[:2]):
        return f"{name}: the size of its picture is {size!r}."
    tracks, roles = (_each_person(entry.get(key)) for key in ("track_id", "role"))
    if any(named and len(named) != len(points) for named in (tracks, roles)):
        return f"{name}: it has {len(points)} persons, {len(tracks)} tracks and {len(roles)} roles."
    kept = _keep_frames(entry, form)
    if isinstance(kept, str):
        return f"{name}: {kept}."
    return Skeleton(
        name, points, scores, (size[0], size[1]), label, kept, tuple(map(int, tracks)), tuple(map(str, roles))
    )


def _each_person(said: Any) -> tuple[Any, ...]:
    """Return what is said of each person; nothing where it is not said person by person."""
    return (
        tuple(np.asarray(said).tolist()) if isinstance(said, (list, tuple, np.ndarray)) and np.ndim(said) == 1 else ()
    )


def _judge_arrays(points: Any, scores: Any, frames: Any, joints: int) -> str:
    """Say what is wrong with the arrays of a clip; empty when nothing is."""
    if not isinstance(points, np.ndarray) or points.ndim != 4 or points.shape[3] not in (2, 3):
        return "'keypoint' is no array of [persons, frames, joints, 2 or 3]"
    if points.dtype.kind != "f" or not np.isfinite(points).all():
        return "'keypoint' has values that are no finite number"
    if not isinstance(frames, int) or frames < 1 or points.shape[1] != frames:
        return f"'total_frames' is {frames!r}, 'keypoint' has {points.shape[1]} frames"
    if joints and points.shape[2] != joints:
        return f"it has {points.shape[2]} joints, not {joints}"
    if scores is None:
        return "" if points.shape[3] == 3 else "it has no 'keypoint_score'"
    if not isinstance(scores, np.ndarray) or scores.shape != points.shape[:3] or not np.isfinite(scores).all():
        return f"'keypoint_score' is no array of {points.shape[:3]} finite numbers"
    return ""


def _keep_frames(entry: Mapping[str, Any], form: SkeletonForm) -> NDArray[np.int64] | str | None:
    """Return the frames whose person box is sure enough; all above the lowest threshold."""
    if form.valid_ratio is None or form.box_threshold in (None, BOX_THRESHOLDS[0]):
        return None
    sure = np.asarray(entry.get("box_score", ()), np.float64)
    if sure.ndim != 1 or not sure.size:
        return "it has no 'box_score' for each frame"
    return np.flatnonzero(sure >= float(form.box_threshold or 0))


def _share_valid(entry: Mapping[str, Any], form: SkeletonForm) -> float | str:
    """Return the share of frames in which somebody was found, or say why it is unknown."""
    if form.valid_ratio is None:
        return 1.0
    if form.box_threshold is None:
        found = entry.get("valid_frames", _count_found(entry["keypoint"]))
    else:
        by_threshold = entry.get("valid")  # where PYSKL has what the other program spells valid@0.5
        found = entry.get(f"valid@{form.box_threshold}")
        if found is None and isinstance(by_threshold, dict):
            found = by_threshold.get(form.box_threshold)
    if not isinstance(found, int):
        return f"{_name(entry)}: it has no 'valid@{form.box_threshold}', frames with boxes that sure."
    return found / int(entry["total_frames"])


def _count_found(points: NDArray[np.floating]) -> int:
    return int((points != 0).any(axis=(0, 2, 3)).sum())


def _report_few(clips: Sequence[str], form: SkeletonForm, file: str) -> list[Problem]:
    if not clips:
        return []
    what = f"{len(clips)} clips have somebody in less than {form.valid_ratio} of their frames, e.g. {clips[0]}."
    return [Problem(f"{what[:-1]}, and were left out.", file=file, severity="warning")]


def _check_names(skeletons: Iterable[tuple[int, Skeleton]], file: str) -> list[Problem]:
    """Report clips that occur twice, and warn of those without anybody."""
    problems: list[Problem] = []
    seen: dict[str, int] = {}
    nobody = []
    for row, one in skeletons:
        if one.clip in seen:
            what = f"{one.clip} is also clip {seen[one.clip]} of the file."
            problems.append(Problem(what, expected="Each clip once.", file=file, row=row))
        seen[one.clip] = row
        if not _count_found(one.keypoints):
            nobody.append(one.clip)
    if nobody:
        what = f"Nobody was found in {len(nobody)} clips, e.g. {nobody[0]}."
        problems.append(Problem(what, file=file, severity="warning"))
    return problems


def _describe(
    skeletons: Sequence[tuple[int, Skeleton]], source: Source, classes: int
) -> tuple[list[Skeleton], pd.DataFrame, list[Problem]]:
    samples = [
        Sample(one.clip, "skeleton", (one.label,), frames=one.keypoints.shape[1], row=row) for row, one in skeletons
    ]
    good, problems = check_labels(samples, file=source.file, classes=classes)
    rows = {one.row for one in good}
    kept = [one for row, one in skeletons if row in rows]
    facts = [(len(one.keypoints), *one.keypoints.shape[2:], *one.size, _count_found(one.keypoints)) for one in kept]
    table = tabulate(good, source)
    numbers = pd.DataFrame(facts, columns=list(FACTS[:-1]), dtype="int64")
    return kept, table.join(numbers).assign(empty_frames=table["frames"] - numbers["valid_frames"]), problems
