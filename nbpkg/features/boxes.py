"""Where faces are in each frame of a video: from files, from a fixed region, or from a face detector."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg.errors import AnnotationError, MediaError, Problem, SettingsError, WeightsError, raise_all
from nbpkg.video.pictures import natural_key

Box = tuple[float, float, float, float]
Missed = Literal["missing", "interpolate"]  # what becomes of seconds without a face
Finder = Callable[[int, NDArray[np.uint8]], list[Box]]
SPLIT = 1080  # column of the corpus' pictures at which the actor's half ends and the listener's begins
LISTENER, ACTOR = "listener", "actor"
_SIDES = {"listener": LISTENER, "subject": LISTENER, "actor": ACTOR, "speaker": ACTOR}
_COLUMNS = ["frame", "side", "x0", "y0", "x1", "y1"]
_SCORE = 0.7


@dataclass(frozen=True)
class FaceBoxes:
    """Boxes of faces from a file, as a finder: called with a frame's number it gives the boxes of one side.

    Parameters
    ----------
    by_frame
        Boxes (x0, y0, x1, y1 in pixels) by number of the frame, from 0.
    """

    by_frame: Mapping[int, list[Box]]

    def __call__(self, number: int, _: NDArray[np.uint8]) -> list[Box]:
        """Return the boxes of a frame."""
        return self.by_frame.get(number, [])


def read_boxes(path: Path, *, session: str, side: str, split: int = SPLIT) -> tuple[FaceBoxes, list[Problem]]:
    """Read where the faces of one side of one session are.

    Parameters
    ----------
    path
        CSV with columns session (may be left out), frame (from 0), side (``listener`` or ``subject``, ``actor`` or
        ``speaker``), x0, y0, x1, y1 (pixels); or a folder with one JSON per frame as published, named by the frame's
        number from 1: a list with ``face_boundary`` = top, right, bottom, left.
    session
        Whose rows of the CSV count.
    side
        ``listener`` or ``actor``.
    split
        Of the published form, faces that end right of this column are the listener's.

    Returns
    -------
    FaceBoxes
    list of Problem
        ``warning`` where boxes were left out.

    Raises
    ------
    AnnotationError
        When there are no such files, or what they hold is no boxes, with all faults.
    """
    if not path.exists():
        raise AnnotationError(
            f"There are no face boxes {path.name!r}.",
            where=str(path),
            expected="A CSV, or a folder with one JSON per frame.",
            remedy="Correct the setting 'boxes', or set a region or a detector instead.",
        )
    if path.is_dir():
        found, problems = _read_published(path, side, split)
    else:
        found, problems = _read_csv(path, session, side)
    raise_all(problems, AnnotationError, summary="face boxes cannot be read.")
    kept = {number: [box for box in boxes if box[2] > box[0] and box[3] > box[1]] for number, boxes in found.items()}
    empty = sum(map(len, found.values())) - sum(map(len, kept.values()))
    if empty:
        problems.append(Problem(f"{empty} boxes without area are left out.", file=path.name, severity="warning"))
    return FaceBoxes(kept), problems


def _read_csv(path: Path, session: str, side: str) -> tuple[dict[int, list[Box]], list[Problem]]:
    try:
        table = pd.read_csv(path, dtype={"session": "str", "side": "str"}, skipinitialspace=True)
    except (ValueError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        return {}, [Problem(f"It is no CSV: {error}.", file=path.name)]
    lacking = [name for name in _COLUMNS if name not in table]
    if lacking:
        text = f"Columns {', '.join(lacking)} are missing."
        return {}, [Problem(text, expected=f"Columns {', '.join(_COLUMNS)}.", file=path.name)]
    problems = []
    numbers = table[["frame", "x0", "y0", "x1", "y1"]].apply(pd.to_numeric, errors="coerce")
    sides = table["side"].str.strip().str.lower().map(_SIDES)
    whole = np.isfinite(numbers).all(axis=1) & (numbers["frame"] >= 0) & (numbers["frame"] % 1 == 0)
    for row in np.flatnonzero(~whole | sides.isna()):
        text = "The row has no whole frame number, no side that is known, or a corner that is no number."
        problems.append(Problem(text, remedy="Correct the row.", file=path.name, row=int(row) + 2))
    wanted = sides == side
    if "session" in table:
        wanted &= table["session"] == session
    found: dict[int, list[Box]] = {}
    for frame, *box in numbers[wanted & whole].itertuples(index=False):
        found.setdefault(int(frame), []).append((box[0], box[1], box[2], box[3]))
    return found, problems


def _read_published(folder: Path, side: str, split: int) -> tuple[dict[int, list[Box]], list[Problem]]:
    found: dict[int, list[Box]] = {}
    problems = []
    files = sorted(folder.glob("*.json"), key=lambda file: natural_key(file.name))
    if not files:
        problems.append(Problem("The folder holds no JSON.", expected="One for each frame.", file=folder.name))
    for file in files:
        try:
            number = int(file.stem) - 1
            corners = [[float(value) for value in face["face_boundary"]] for face in json.loads(file.read_bytes())]
            boxes = [(left, top, right, bottom) for top, right, bottom, left in corners]
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            text = f"It does not list faces of a frame: {type(error).__name__} {error}."
            expected = "A number from 1 as name; faces with face_boundary = top, right, bottom, left."
            problems.append(Problem(text, expected=expected, file=f"{folder.name}/{file.name}"))
            continue
        found[number] = [box for box in boxes if (box[2] > split) == (side == LISTENER)]
    return found, problems


@dataclass(frozen=True)
class Region:
    """One fixed box as a finder: somebody who does not move, or a whole half of the picture.

    Parameters
    ----------
    box
        x0, y0, x1, y1, pixels.
    """

    box: Box

    def __call__(self, _: int, __: NDArray[np.uint8]) -> list[Box]:
        """Return the region."""
        return [self.box]


def half_of(side: str, size: tuple[int, int], *, split: int = SPLIT) -> Box:
    """Return the half of a picture of the corpus, ``size`` = width and height, in which one side sits.

    Raises
    ------
    SettingsError
        When the picture ends before the listener's half begins.
    """
    width, height = size
    if width <= split:
        raise SettingsError(
            f"The picture has {width} columns, so that it is not the corpus' picture of two halves.",
            expected=f"The actor left of column {split}, the listener from there on.",
            remedy="Set 'region' to where the person is: x0, y0, x1, y1 in pixels.",
        )
    return (split, 0, width, height) if side == LISTENER else (0, 0, split, height)


@dataclass
class FaceDetector:
    """OpenCV's YuNet face detector as a finder, looking only at a region.

    Parameters
    ----------
    model
        YuNet's ONNX file, which OpenCV does not bring along.
    region
        x0, y0, x1, y1 of the part of the picture that is searched, pixels; None for all of it.
    score
        Least confidence, 0..1.

    Raises
    ------
    WeightsError
        When the file is missing or no such detector.
    """

    model: Path
    region: Box | None = None
    score: float = _SCORE
    _detector: cv2.FaceDetectorYN = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.model.is_file():
            raise WeightsError(
                f"There is no face detector {self.model.name!r}.",
                where=str(self.model),
                expected="A YuNet file such as face_detection_yunet_2023mar.onnx of the OpenCV model zoo.",
                remedy="Download it once and give its path, or mark the boxes yourself and give them instead.",
            )
        try:
            self._detector = cv2.FaceDetectorYN.create(str(self.model), "", (320, 320), self.score)
        except cv2.error as error:
            raise WeightsError(
                f"{self.model.name!r} is no face detector that OpenCV can load ({_last_line(error)}).",
                where=str(self.model),
                expected="A whole YuNet ONNX file.",
                remedy="Download it again.",
            ) from None

    def __call__(self, _: int, picture: NDArray[np.uint8]) -> list[Box]:
        """Return the boxes of all faces in the region of an RGB frame."""
        part, (left, top) = (picture, (0, 0)) if self.region is None else crop(picture, self.region)
        self._detector.setInputSize((part.shape[1], part.shape[0]))
        _, faces = self._detector.detect(cv2.cvtColor(part, cv2.COLOR_RGB2BGR))
        found = [] if faces is None else faces[:, :4].astype(np.float64).tolist()
        return [(left + x, top + y, left + x + wide, top + y + high) for x, y, wide, high in found]


def crop(picture: NDArray[np.uint8], box: Box) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Cut a box out of a picture, as far as it lies inside, and return its left upper corner too.

    Raises
    ------
    MediaError
        When it lies outside.
    """
    height, width = picture.shape[:2]
    x0, y0 = max(0, int(np.floor(box[0]))), max(0, int(np.floor(box[1])))
    x1, y1 = min(width, int(np.ceil(box[2]))), min(height, int(np.ceil(box[3])))
    if x1 <= x0 or y1 <= y0:
        raise MediaError(
            f"The box {tuple(round(value) for value in box)} lies outside of a picture of {width} × {height} pixels.",
            expected="x0, y0, x1, y1 in pixels of the video.",
            remedy="Check that boxes or region were made for this video.",
        )
    return picture[y0:y1, x0:x1], (x0, y0)


def largest(boxes: list[Box]) -> Box:
    """Return the box of the largest area, the first of equals.

    Examples
    --------
    >>> largest([(0, 0, 2, 2), (5, 5, 9, 9), (1, 1, 5, 5)])
    (5, 5, 9, 9)
    """
    return max(boxes, key=lambda box: (box[2] - box[0]) * (box[3] - box[1]))


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1]
