"""Heads found by a face detector while footage is read, and followed by overlap from frame to frame."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nbpkg.features.boxes import Box, FaceDetector
from nbpkg.features.people import tracking

LEAST_OVERLAP, PATIENCE = 0.2, 15
SCORE = 0.7
# A face detector marks chin to eyebrows; annotators of gaze data mark the whole head.
ABOVE, ASIDE, BELOW = 0.35, 0.2, 0.05


class Follower:
    """Gives each box of a frame the person it belongs to.

    Parameters
    ----------
    least_overlap
        Smallest share of the union that two boxes of one person have in common.
    patience
        Frames without a box after which a person is given up, and a box at the same place is somebody new.
    """

    def __init__(self, least_overlap: float = LEAST_OVERLAP, *, patience: int = PATIENCE) -> None:
        self._tracks = tracking.Follower(least_overlap, patience=patience)

    def name(self, frame: int, boxes: Sequence[Box]) -> list[str]:
        """Return the person of each box; frames are to come in order."""
        found = self._tracks.number(frame, np.array(boxes, np.float64).reshape(-1, 4))
        return [f"s{track:02}" for track in found]


class FaceFinder:
    """Finds heads with OpenCV's YuNet face detector, and follows them.

    Parameters
    ----------
    model
        YuNet's ONNX file. OpenCV does not bring it along, and its older cascades are gone since OpenCV 5.
    score
        Least confidence, 0..1.

    Raises
    ------
    WeightsError
        When the file is missing or no such detector.
    """

    def __init__(self, model: Path, *, score: float = SCORE) -> None:
        self.detector = FaceDetector(model, score=score)
        self.follower = Follower()

    def find(self, number: int, picture: NDArray[np.uint8]) -> list[tuple[str, Box, str]]:
        """Return person, head box and source of every face in one RGB frame; frames are to come in order."""
        height, width = picture.shape[:2]
        boxes = [grow_face(face, (width, height)) for face in self.detector(number, picture)]
        return [(name, box, "detected") for name, box in zip(self.follower.name(number, boxes), boxes, strict=True)]


def grow_face(face: Box, size: tuple[int, int]) -> Box:
    """Make the box of a face one of a head, inside a frame of this width and height."""
    wide, high = face[2] - face[0], face[3] - face[1]
    x0, x1 = max(0.0, face[0] - ASIDE * wide), min(float(size[0]), face[2] + ASIDE * wide)
    y0, y1 = max(0.0, face[1] - ABOVE * high), min(float(size[1]), face[3] + BELOW * high)
    return x0, y0, x1, y1
