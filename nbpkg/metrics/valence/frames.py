"""From one answer per second to one per frame of the annotation."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nbpkg.errors import TableError

Array = NDArray[np.float64]
Pad = Literal["hold", "replay"]


def steps_to_frames(predicted: ArrayLike, frames: int, *, ratio: int, pad: Pad = "hold") -> Array:
    """Repeat each step's answer for its frames, and cut or fill the course to the frames asked for.

    Parameters
    ----------
    predicted
        [steps], answers.
    frames
        Frames of the annotation.
    ratio
        Frames of a step, e.g. 25.
    pad
        How frames behind the last step are filled. ``hold``: with the last answer. ``replay``: with the last frames
        once more, as published; the same for up to one step.

    Returns
    -------
    numpy.ndarray
        [frames].

    Raises
    ------
    TableError
        When there is no step or frame, the ratio is not whole, or more is to be replayed than there is.

    Examples
    --------
    >>> steps_to_frames([1.0, 2.0], 3, ratio=2).tolist(), steps_to_frames([1.0, 2.0], 7, ratio=2, pad="replay").tolist()
    ([1.0, 1.0, 2.0], [1.0, 1.0, 2.0, 2.0, 1.0, 2.0, 2.0])
    """
    steps = np.asarray(predicted, np.float64)
    if steps.ndim != 1 or not len(steps) or frames < 1 or ratio < 1 or ratio != int(ratio):
        raise TableError(
            f"Answers of shape {steps.shape} cannot fill {frames} frames at {ratio} frames a step.",
            expected="A course of at least one step, at least one frame, and a whole number of frames in a step.",
        )
    course = np.repeat(steps, int(ratio))
    lacking = frames - len(course)
    if lacking <= 0:
        return course[:frames]
    if pad == "hold":
        return np.concatenate([course, np.full(lacking, course[-1])])
    if pad != "replay":
        raise TableError(f"{pad!r} is no way to fill frames behind the last step.", expected="hold or replay.")
    if lacking > len(course):
        raise TableError(
            f"{len(course)} frames of answers cannot be replayed to fill {frames}.",
            expected="Answers for at least half of the frames.",
            remedy="Fill with pad 'hold', or look into the alignment why so much of the session is missing.",
        )
    return np.concatenate([course, course[-lacking:]])


def frames_lacking(steps: int, frames: int, *, ratio: int) -> int:
    """Count the frames behind the last step, which no answer was made for."""
    return max(0, frames - steps * ratio)
