"""Five points of a face, by MediaPipe where it is installed."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbpkg.errors import StageError

KEPT = (0, 2, 5, 9, 10)  # nose, left eye, right eye, left and right corner of the mouth, of MediaPipe Pose's 33
_LEAST_CONFIDENCE = 0.1


class LandmarkFinder:
    """Finds nose, eyes and corners of the mouth in crops; a context manager.

    Parameters
    ----------
    model
        File ``pose_landmarker_heavy.task``, which newer versions of MediaPipe need; None for versions up to 0.10.21,
        which bring their networks.

    Notes
    -----
    MediaPipe *Pose*, not its face mesh, is asked, as published: single pictures, its largest network, least confidence
    0.1. Nothing is fetched.

    Source: lemon-prog123/GazePose, ``meshp.py``.

    Raises
    ------
    StageError
        When MediaPipe is not installed, or `model` is missing or cannot be read.
    """

    shape = (len(KEPT), 4)

    def __init__(self, model: Path | None = None) -> None:
        self._media = load_mediapipe()
        if hasattr(self._media, "solutions"):
            self._pose = self._media.solutions.pose.Pose(
                static_image_mode=True,
                model_complexity=2,
                enable_segmentation=True,
                min_detection_confidence=_LEAST_CONFIDENCE,
            )
            self._find = self._find_old
        else:
            self._pose = _open_model(model)
            self._find = self._find_new

    def __enter__(self) -> LandmarkFinder:
        return self

    def __exit__(self, *_: object) -> None:
        self._pose.close()

    def __call__(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Find the points in RGB crops uint8 ``[n, S, S, 3]``: x, y, z, visibility, ``[n, 5, 4]``; NaN for none."""
        return np.stack([read_points(self._find(np.ascontiguousarray(crop))) for crop in crops])

    def _find_old(self, crop: NDArray[np.uint8]) -> Sequence[Any] | None:
        found = self._pose.process(crop).pose_landmarks
        return None if found is None else list(found.landmark)

    def _find_new(self, crop: NDArray[np.uint8]) -> Sequence[Any] | None:
        image = self._media.Image(image_format=self._media.ImageFormat.SRGB, data=crop)
        found = self._pose.detect(image).pose_landmarks
        return found[0] if found else None


def read_points(found: Sequence[Any] | None) -> NDArray[np.float32]:
    """Keep five points of the 33 that MediaPipe Pose finds, in the published order.

    Parameters
    ----------
    found
        Points with ``x``, ``y``, ``z``, ``visibility``; None where nobody was found.

    Returns
    -------
    ndarray
        float32 ``[5, 4]``; x and y in crop sides, which may lie outside 0 to 1. NaN where nobody was found.
    """
    if found is None:
        return np.full((len(KEPT), 4), np.nan, np.float32)
    points = [found[number] for number in KEPT]
    return np.array([[point.x, point.y, point.z, point.visibility] for point in points], np.float32)


def load_mediapipe() -> Any:
    """Return MediaPipe.

    Raises
    ------
    StageError
        When it is not installed.
    """
    try:
        return importlib.import_module("mediapipe")
    except ImportError as error:
        raise StageError(
            f"Points of faces cannot be found, since MediaPipe is not there: {error}.",
            expected="The package mediapipe.",
            remedy="Run `pip install mediapipe`, or set 'prepare.landmarks' to file (prior files) or none.",
        ) from None


def _open_model(model: Path | None) -> Any:
    vision = importlib.import_module("mediapipe.tasks.python.vision")
    core = importlib.import_module("mediapipe.tasks.python")
    if model is None or not model.is_file():
        raise StageError(
            "This version of MediaPipe needs a file with its network, which is not there.",
            where=str(model or "no file was named"),
            expected="pose_landmarker_heavy.task, from MediaPipe's page about pose landmarks.",
            remedy="Put the file into the data folder, or set 'prepare.landmarks' to file (prior files) or none.",
        )
    options = vision.PoseLandmarkerOptions(
        base_options=core.BaseOptions(model_asset_path=str(model)),
        min_pose_detection_confidence=_LEAST_CONFIDENCE,
        min_pose_presence_confidence=_LEAST_CONFIDENCE,
    )
    try:
        return vision.PoseLandmarker.create_from_options(options)
    except (RuntimeError, ValueError, OSError) as error:
        raise StageError(
            f"MediaPipe cannot read its network: {error}.",
            where=str(model),
            expected="pose_landmarker_heavy.task, whole.",
            remedy="Fetch the file again.",
        ) from None
