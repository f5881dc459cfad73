"""OpenPose key points to head boxes: who is who over time, short gaps filled, and how OpenPose is to be called."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

from nbpkg.annotations.gaze.lookup import PictureIndex, natural_key, plain_name, split_stem
from nbpkg.annotations.gaze.rows import BOX, finish, report_flags
from nbpkg.annotations.gaze.smoothing import interpolate_gaps
from nbpkg.errors import AnnotationError, Problem

JOINTS = 25
# nose, eyes, ears of BODY_25
FACE = (0, 15, 16, 17, 18)
LEFT, HEIGHT = 0.2, 2 / 3
# a head moves at most so many of its own sizes between two pictures, else it is another person
FARTHEST = 1.5
# pictures after which a person who was not seen is another one when seen again
PATIENCE = 15
OPTIONS = ("--display", "0", "--num_gpu", "1", "--num_gpu_start", "1", "--scale_number", "4", "--scale_gap", "0.25")


def read_people(path: Path, *, file: str = "") -> np.ndarray:
    """Read the body key points of everybody in one picture.

    Returns
    -------
    numpy.ndarray
        [people, 25, 3] x, y (pixels) and confidence; a joint at 0 0 was not found.

    Raises
    ------
    AnnotationError
        When the file is no JSON of OpenPose's BODY_25 model.
    """
    try:
        people = json.loads(path.read_text(encoding="utf-8"))["people"]
        points = [np.array(one["pose_keypoints_2d"], dtype=np.float64) for one in people]
        return np.array([one.reshape(JOINTS, 3) for one in points]).reshape(-1, JOINTS, 3)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AnnotationError(
            f"The file holds no key points ({type(error).__name__}).",
            where=file or path.name,
            expected=f"people, each with pose_keypoints_2d of {JOINTS} x 3 numbers.",
            remedy="Run OpenPose with its BODY_25 model on the picture again.",
        ) from None


def find_head_boxes(
    people: np.ndarray, width: int, height: int, *, least_confidence: float = 0.1
) -> tuple[np.ndarray, np.ndarray]:
    """Make head boxes of key points: as wide as the face joints and 44 % more, 4/3 as high as wide.

    Parameters
    ----------
    people
        [people, 25, 3] x, y, confidence.
    width, height
        Of the picture, pixels.
    least_confidence
        Joints with less are taken as not found.

    Returns
    -------
    boxes : numpy.ndarray
        [people, 4] whole pixels within the picture; NaN for people without a box of some area.
    confidence : numpy.ndarray
        [people] mean over the joints used, 0 without box.

    Source
    ------
    The published rule, asymmetry (20 % to the left, 24 % to the right) and rounding included, so that boxes equal those
    that the collection was annotated with. That rule ignores the confidence and gives one joint a box without area.
    """
    face = people[:, FACE]
    used = (face[..., :2] != 0).any(axis=-1) & (face[..., 2] >= least_confidence)
    boxes = np.full((len(people), 4), np.nan)
    for number in np.flatnonzero(used.any(axis=1)):
        boxes[number] = _surround(face[number, used[number], :2], width, height)
    boxes[~((boxes[:, 2:] - boxes[:, :2]) > 0).all(axis=1)] = np.nan
    counts = np.maximum(used.sum(axis=1), 1)
    confidence = np.where(np.isnan(boxes[:, 0]), 0.0, (face[..., 2] * used).sum(axis=1) / counts)
    return boxes, confidence


def reference_head_box(people: np.ndarray, width: int = 640, height: int = 480) -> list[int] | None:
    """Make the head box as the published program does: first person, confidence ignored, possibly without area.

    Returns
    -------
    list of int or None
        x0 y0 x1 y1; None when no face joint was found.

    Raises
    ------
    AnnotationError
        When there is nobody, for which the published program has no answer.
    """
    if not len(people):
        raise AnnotationError("There is nobody in the picture.", remedy="The published rule needs one; do without it.")
    face = people[0, FACE, :2]
    found = face[(face != 0).any(axis=1)]
    return [int(edge) for edge in _surround(found, width, height)] if len(found) else None


def follow_people(boxes: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Follow each person over the pictures by how near the head boxes are.

    Parameters
    ----------
    boxes
        For each picture [people, 4]; NaN rows are nobody.

    Returns
    -------
    list of numpy.ndarray
        For each person found [pictures]: the row in that picture's boxes, -1 where not seen. The person seen most often
        comes first.
    """
    tracks: list[np.ndarray] = []
    last: list[tuple[int, np.ndarray]] = []
    for time, here in enumerate(boxes):
        rows = np.flatnonzero(~np.isnan(here[:, 0]))
        alive = [number for number, (seen, _) in enumerate(last) if time - seen <= PATIENCE]
        free = set(rows.tolist())
        if alive and len(rows):
            cost = _measure_jumps(np.array([last[number][1] for number in alive]), here[rows])
            for first, second in zip(*linear_sum_assignment(cost), strict=True):
                if cost[first, second] <= FARTHEST * (time - last[alive[first]][0]):
                    tracks[alive[first]][time] = rows[second]
                    last[alive[first]] = (time, here[rows[second]])
                    free.discard(int(rows[second]))
        for row in sorted(free):
            tracks.append(np.full(len(boxes), -1))
            tracks[-1][time] = row
            last.append((time, here[row]))
    return sorted(tracks, key=lambda track: -int((track >= 0).sum()))


def read_openpose(
    folder: Path,
    images: str,
    *,
    pictures: PictureIndex,
    people: int = 1,
    longest_gap: int = 10,
    least_confidence: float = 0.1,
) -> tuple[pd.DataFrame, list[Problem]]:
    """Make head boxes for a picture folder from the JSON files of an OpenPose run.

    Parameters
    ----------
    folder
        Folder of the JSON files, ``<stem>_keypoints.json`` or ``<stem>.json`` for each picture.
    images
        Picture folder, relative to the data folder.
    pictures
        Index of the data folder.
    people
        How many people to keep, those seen most often first.
    longest_gap
        Largest number of pictures without box that is interpolated.
    least_confidence
        Joints with less are taken as not found.

    Returns
    -------
    table : pandas.DataFrame
        Table ``gaze``, one row per picture and person, without gaze points (flag ``unlabelled``); pictures without box
        have flag ``no_box``.
    problems : list of Problem
        What was noticed: JSON files without picture and the reverse, unreadable files, pictures without box.
    """
    names = pictures.names(images)
    files, problems = _pair_files(folder, names)
    sizes = pictures.sizes(str(PurePosixPath(images, name)) for name in names)
    boxes = []
    for name, (width, height) in zip(names, sizes.tolist(), strict=True):
        found = np.zeros((0, 4))
        path = files.get(split_stem(name)[0])
        if path is not None:
            try:
                points = read_people(path, file=f"{folder.name}/{path.name}")
                found, _ = find_head_boxes(points, width, height, least_confidence=least_confidence)
            except AnnotationError as error:
                problems.append(Problem(error.what, error.expected, error.remedy, error.where))
        boxes.append(found)
    tracks = follow_people(boxes)[:people] or [np.full(len(names), -1)]
    empty = np.full(4, np.nan)
    parts = []
    for number, track in enumerate(tracks):
        own = np.array([boxes[time][row] if row >= 0 else empty for time, row in enumerate(track)]).reshape(-1, 4)
        parts.append(_as_rows(own, f"p{number:02d}", images, names, sizes))
    table = interpolate_gaps(finish(pd.concat(parts, ignore_index=True)), longest=longest_gap)
    without = table[table["x0"].isna()]
    masks = {"no_box": np.ones(len(without), dtype=bool)}
    return table, [
        *problems,
        *report_flags(masks, np.full(len(without), images, dtype=object), (without["frame"] + 1).to_numpy()),
    ]


def plan_openpose(
    folder: Path, places: Sequence[str], *, program: str = "openpose.bin", draw: bool = False
) -> pd.DataFrame:
    """Write the command line of an OpenPose run for each picture folder that has no complete JSON yet.

    Parameters
    ----------
    folder
        The data set.
    places
        Picture folders relative to it.
    program
        The OpenPose program.
    draw
        Have it write pictures with the skeletons too.

    Returns
    -------
    pandas.DataFrame
        folder, json (folder of the JSON files), pictures, found (JSON files there), state (``done``, ``to run``) and
        command (list of text; empty when done). Nothing is run.
    """
    rows = []
    for place in places:
        names = PictureIndex(folder).names(place)
        target = f"{place}_openpose_json"
        found = len(_pair_files(folder / target, names)[0]) if (folder / target).is_dir() else 0
        done = bool(names) and found == len(names)
        writes = ["--write_images", str(folder / f"{place}_openpose_images")] if draw else ["--render_pose", "0"]
        command = [program, "--image_dir", str(folder / place), *OPTIONS, "--write_json", str(folder / target), *writes]
        state = "done" if done else "to run"
        rows.append((place, target, len(names), found, state, [] if done else command))
    return pd.DataFrame(rows, columns=["folder", "json", "pictures", "found", "state", "command"])


def stem_of_json(name: str) -> str:
    """Return the stem of the picture that a JSON file is about.

    Examples
    --------
    >>> stem_of_json("00000012_keypoints.json")
    '00000012'
    """
    return name.removesuffix(".json").removesuffix("_keypoints")


def _surround(points: np.ndarray, width: int, height: int) -> np.ndarray:
    """Put the published box around [n, 2] face joints."""
    x0, x1 = points[:, 0].min(), points[:, 0].max()
    x0 -= LEFT * (x1 - x0)
    x1 += LEFT * (x1 - x0)  # with the new x0, hence 24 % of the joints' width
    half = HEIGHT * (x1 - x0)
    centre = np.clip(points[:, 1].mean(), 0, height - 1)
    box = np.array([x0, centre - half, x1, centre + half])
    return np.asarray(np.floor(np.clip(box, 0, [width, height, width, height])))


def _measure_jumps(before: np.ndarray, now: np.ndarray) -> np.ndarray:
    """Measure the distance of box centres in box sizes, [before, now]."""
    centres = [(boxes[:, :2] + boxes[:, 2:]) / 2 for boxes in (before, now)]
    size = np.sqrt(np.prod(before[:, 2:] - before[:, :2], axis=1))
    return np.asarray(np.linalg.norm(centres[0][:, None] - centres[1][None], axis=-1) / size[:, None])


def _pair_files(folder: Path, names: Sequence[str]) -> tuple[dict[str, Path], list[Problem]]:
    """Pair JSON files and pictures by stem."""
    paths = sorted(folder.glob("*.json"), key=lambda path: natural_key(path.name)) if folder.is_dir() else []
    files = {stem_of_json(path.name): path for path in paths}
    stems = {split_stem(name)[0] for name in names}
    problems = []
    for what, alone in (
        ("JSON files have no picture", sorted(files.keys() - stems)),
        ("pictures have no JSON file", sorted(stems - files.keys())),
    ):
        if alone:
            shown = ", ".join(alone[:5]) + (", …" if len(alone) > 5 else "")
            problems.append(Problem(f"{len(alone)} {what}: {shown}.", file=folder.name, severity="warning"))
    return {stem: path for stem, path in files.items() if stem in stems}, problems


def _as_rows(boxes: np.ndarray, person: str, images: str, names: Sequence[str], sizes: np.ndarray) -> pd.DataFrame:
    parts = [part for part in PurePosixPath(images).parts if part != "."] or ["pictures"]
    return pd.DataFrame(
        {
            "session": plain_name(parts),
            "participant": parts[0],
            "person": person,
            "frame": np.arange(len(names)),
            "image": [str(PurePosixPath(images, name)) for name in names],
            "width": sizes[:, 0],
            "height": sizes[:, 1],
            "box_source": "openpose",
            "flags": np.where(np.isnan(boxes[:, 0]), "no_box;unlabelled", "unlabelled"),
            **dict(zip(BOX, boxes.T, strict=True)),
        }
    )
