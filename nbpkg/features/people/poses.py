"""Skeletons matched to people: files list them in the detector's order, which changes from frame to frame."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from nbpkg.annotations.people.clips import name_source
from nbpkg.annotations.people.skeletons import Skeleton, SkeletonForm, read_skeletons
from nbpkg.errors import AnnotationError, Problem, StageError, raise_all
from nbpkg.features.people.boxes import COLUMNS, CORNERS, overlaps, stack_boxes
from nbpkg.features.people.tracking import source_frames
from nbpkg.runs.files import write_array

FOLDER = "poses"
JOINTS = 17
_LEAST_OVERLAP = 0.1  # joints end at eyes and ankles, boxes at hair and shoes
_SURE = 0.2  # joints below are guesses and may lie anywhere
_SPARE = 0.1  # of each side of the joints' extent, added to make a box of a person
_MISCOUNTED = 2  # frames by which programs differ about the length of a video


def read_all(path: Path, form: SkeletonForm | None = None) -> dict[str, Skeleton]:
    """Read skeletons of whole recordings by the name of their session.

    Parameters
    ----------
    path
        Pickle of the published programs, an entry for each recording, named by its path without ending.
    form
        See `nbpkg.annotations.people.skeletons.SkeletonForm`.

    Raises
    ------
    AnnotationError
        When the file cannot be read, or listing all that is wrong with entries.
    """
    skeletons, _, problems = read_skeletons(path, form)
    raise_all(problems, AnnotationError, summary="skeletons cannot be used.")
    return {name_source(one.clip): one for one in skeletons}


def match_poses(
    people: pd.DataFrame, path: Path, form: SkeletonForm | None, media: pd.DataFrame
) -> dict[str, NDArray[np.float32]]:
    """Give each followed person a skeleton in each frame, whatever the order of the file.

    In each frame, persons and skeletons are matched so that boxes and extents of joints overlap most in all.

    Parameters
    ----------
    people
        Table ``people``.
    path
        Pickle of skeletons in pixels, an entry for each recording, frames as in the recording (or in the prepared
        video).
    form
        What is taken from it.
    media
        Table ``media``.

    Returns
    -------
    dict
        Session to float32 ``[P, F, 17, 3]``: people by their number, frames of the prepared video; x and y as shares of
        the picture and the score; 0 where nothing was found. `say_missing` tells who has none.

    Raises
    ------
    AnnotationError
        When the file cannot be used, or an entry's frames are neither those of the recording nor of the prepared video.
    """
    known = read_all(path, form)
    problems = []
    found = {}
    for video in media.to_dict("records"):
        session, frames = str(video["session"]), int(video["frames"])
        own = people[people["session"] == session]
        numbers = own.drop_duplicates("person").set_index("person")["who"]
        count = int(own["person"].max()) + 1 if len(own) else 0
        roles = [str(numbers.get(number, "")) for number in range(count)]
        found[session] = np.zeros((count, frames, JOINTS, 3), np.float32)
        if session not in known:
            continue
        shown = _shown(known[session], video)
        if isinstance(shown, Problem):
            problems.append(shown)
            continue
        found[session] = _match(lay_out(known[session], shown, video), stack_boxes(own, roles, frames=frames))
    raise_all(problems, AnnotationError, summary="skeletons do not fit their videos.")
    return found


def say_missing(people: pd.DataFrame, poses: Mapping[str, NDArray[np.float32]]) -> list[Problem]:
    """Warn of everybody who is seen but has no skeleton in any frame."""
    problems = []
    for (session, person, role), rows in people.groupby(["session", "person", "who"], sort=True):
        own = poses.get(str(session))
        if own is None or not (own[int(str(person))][..., 2] > 0).any():
            text = f"{role!r} is seen in {len(rows)} frames, but has no skeleton."
            problems.append(Problem(text, file=str(session), severity="warning"))
    return problems


def _shown(skeleton: Skeleton, video: Mapping[object, object]) -> NDArray[np.int64] | Problem:
    """Return which of the skeleton's frames each prepared frame shows."""
    given, frames, source = skeleton.keypoints.shape[1], int(str(video["frames"])), int(str(video["source_frames"]))
    if abs(given - source) <= _MISCOUNTED:
        fps = int(str(video["fps_num"])) / int(str(video["fps_den"]))
        return source_frames(frames, fps=fps, source_fps=float(str(video["source_fps"]))).clip(max=given - 1)
    if given == frames:
        return np.arange(frames)
    return Problem(
        f"Its skeletons are of {given} frames.",
        expected=f"{source} as in the recording, or {frames} as prepared.",
        remedy="Extract skeletons of the whole recording.",
        file=str(video["session"]),
    )


def lay_out(
    skeleton: Skeleton, shown: Sequence[int] | NDArray[np.int64], video: Mapping[object, object]
) -> NDArray[np.float64]:
    """Return the skeletons of some frames, ``[M, frames, 17, 3]``: x and y as shares of the picture, score.

    Parameters
    ----------
    skeleton
        Of one recording; M people in the order of the file.
    shown
        Which frames of it.
    video
        Row of the table ``media``, for the size of the picture where the skeleton does not say it.
    """
    height, width = (
        skeleton.size if all(skeleton.size) else (int(str(video["source_height"])), int(str(video["source_width"])))
    )
    points = skeleton.keypoints[:, shown, :, :2].astype(np.float64)
    there = (points != 0).any(axis=-1)
    scores = np.ones(there.shape) if skeleton.scores is None else skeleton.scores[:, shown].astype(np.float64)
    scores = np.where(there, scores, 0).clip(0, 1)
    return np.where((scores > 0)[..., None], np.concatenate([points / (width, height), scores[..., None]], axis=-1), 0)


def find_extents(joints: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the box around the joints of each skeleton, ``[..., 4]``, of ``[..., 17, 3]``; NaN where there is none.

    Joints whose score is below 0.2 count only where no other is there.
    """
    score = joints[..., 2]
    sure = score >= _SURE
    kept = np.where(sure.any(axis=-1, keepdims=True), sure, score > 0)
    low = np.where(kept[..., None], joints[..., :2], np.inf).min(axis=-2)
    high = np.where(kept[..., None], joints[..., :2], -np.inf).max(axis=-2)
    extents = np.concatenate([low, high], axis=-1)
    return np.where((high > low).all(axis=-1, keepdims=True), extents, np.nan)


def skeleton_boxes(skeleton: Skeleton, video: Mapping[object, object]) -> pd.DataFrame:
    """Make boxes of people from their skeletons, as `nbpkg.features.people.boxes.read_boxes` reads them from files.

    Parameters
    ----------
    skeleton
        Of one recording, any order of people.
    video
        Row of the table ``media``.

    Returns
    -------
    pandas.DataFrame
        Boxes a tenth larger to each side than the joints' extent, in pixels of the recording; score is the mean of the
        joints'; no faces.
    """
    joints = lay_out(skeleton, np.arange(skeleton.keypoints.shape[1]), video)
    extents = find_extents(joints)
    person, frame = np.nonzero(np.isfinite(extents).all(axis=-1))
    boxes, scores = extents[person, frame], joints[person, frame, :, 2]
    spare = np.tile(boxes[:, 2:] - boxes[:, :2], 2) * _SPARE * (-1, -1, 1, 1)
    sides = np.tile((float(str(video["source_width"])), float(str(video["source_height"]))), 2)
    table = pd.DataFrame((boxes + spare).clip(0, 1) * sides, columns=CORNERS)
    table["frame"], table["score"] = (
        frame.astype(np.int64),
        scores.sum(axis=1) / np.maximum((scores > 0).sum(axis=1), 1),
    )
    return table.reindex(columns=COLUMNS).astype(dict.fromkeys(COLUMNS[1:], np.float64))


def _match(joints: NDArray[np.float64], boxes: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return for each person's box ``[P, F, 4]`` the skeleton of ``[M, F, 17, 3]`` that lies in it."""
    found = np.zeros((*boxes.shape[:2], JOINTS, 3), np.float32)
    shares = overlaps(boxes.transpose(1, 0, 2), find_extents(joints).transpose(1, 0, 2))
    shares[shares < _LEAST_OVERLAP] = 0
    for frame in np.flatnonzero(shares.any(axis=(1, 2))):
        for person, place in zip(*linear_sum_assignment(-shares[frame]), strict=True):
            if shares[frame, person, place] > 0:
                found[person, frame] = joints[place, frame]
    return found


def save_poses(folder: Path, poses: Mapping[str, NDArray[np.float32]]) -> list[Path]:
    """Write ``poses/<session>.npy`` for each session, complete or not at all; return the files."""
    return [write_array(folder / FOLDER / f"{session}.npy", array) for session, array in poses.items()]


def read_poses(folder: Path, session: str) -> NDArray[np.float32]:
    """Open the skeletons of a session, ``[P, F, 17, 3]``; they stay on disk until they are used.

    Parameters
    ----------
    folder
        Run folder that `save_poses` wrote to.
    session
        Its name.

    Raises
    ------
    StageError
        When the file is missing or damaged.
    """
    path = folder / FOLDER / f"{session}.npy"
    try:
        array: NDArray[np.float32] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise StageError(
            f"Skeletons cannot be read: {error}.",
            where=str(path),
            remedy="Run notebooks/02_prepare_videos.ipynb again.",
        ) from None
    if array.dtype != np.float32 or array.ndim != 4 or array.shape[2:] != (JOINTS, 3):
        raise StageError(
            f"Skeletons are {array.dtype} {array.shape}.",
            where=str(path),
            expected=f"float32 [people, frames, {JOINTS}, 3].",
            remedy="Run notebooks/02_prepare_videos.ipynb again.",
        )
    return array


class PoseFolder(Mapping[str, NDArray[np.float32]]):
    """The skeletons of all sessions of a run folder, each opened when asked for.

    Parameters
    ----------
    folder
        Run folder that `save_poses` wrote to; without such files there is no session in it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sessions = tuple(sorted(path.stem for path in (folder / FOLDER).glob("[!.]*.npy")))

    def __getitem__(self, session: str) -> NDArray[np.float32]:
        if session not in self.sessions:
            raise KeyError(session)
        return read_poses(self.folder, session)

    def __iter__(self) -> Iterator[str]:
        return iter(self.sessions)

    def __len__(self) -> int:
        return len(self.sessions)
