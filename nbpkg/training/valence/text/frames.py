"""From one answer per utterance to one per frame: what was said last holds, also through pauses.

Source: the published text programs (text/test.py, model_prediction.py). There, values were written behind the end of a
growing list, so that silence at the start and gaps between utterances vanished and all that followed came too early;
``compat="reference"`` does that again, to compare.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbpkg.errors import TableError
from nbpkg.training.valence.text.chunks import Target


class Utterance(NamedTuple):
    """One utterance of a recording.

    Parameters
    ----------
    start, end
        First and last (exclusive) frame.
    valid
        Whether it has a vector, and so an answer.
    """

    start: int
    end: int
    valid: bool = True


def assemble(
    utterances: Sequence[Utterance],
    answers: Sequence[float | Sequence[float]],
    frames: int,
    *,
    target: Target,
    threshold: float = 0.0,
    compat: Literal["none", "reference"] = "none",
) -> NDArray[np.float64]:
    """Spread the answers to utterances over the frames of a recording.

    Parameters
    ----------
    utterances
        In order of the file; one without a vector leaves the value as it is.
    answers
        One for each valid utterance; or several, of overlapping chunks, of which the mean counts.
    frames
        Of the annotation.
    target
        With ``difference`` the value is the sum of all answers so far, with ``value`` the answer itself.
    threshold
        The value stays when an answer, but for the first, would change it by less than this.
    compat
        ``reference``: gaps vanish, and overlapping utterances overwrite, as in the published programs.

    Returns
    -------
    numpy.ndarray
        ``(frames,)``; 0 before the first utterance, and each value holds until the next begins.

    Raises
    ------
    TableError
        When there are not as many answers as valid utterances.

    Examples
    --------
    >>> assemble([Utterance(1, 2), Utterance(4, 5)], [0.5, 0.1], 6, target="difference").round(3).tolist()
    [0.0, 0.5, 0.5, 0.5, 0.6, 0.6]
    """
    if len(answers) != sum(one.valid for one in utterances) or frames < 1:
        raise TableError(
            f"{len(answers)} answers are to be spread over {sum(one.valid for one in utterances)} utterances and "
            f"{frames} frames.",
            expected="One answer for each utterance that has a vector, and at least one frame.",
        )
    values, value, left = [], 0.0, [float(np.mean(own)) for own in answers]
    for one in utterances:
        if one.valid:
            first = len(left) == len(answers)
            asked = left.pop(0) + (value if target == "difference" else 0.0)
            value = asked if first or abs(asked - value) >= threshold else value
        values.append(value)
    return _collapse(utterances, values, frames) if compat == "reference" else _hold(utterances, values, frames)


@dataclass(frozen=True)
class UtteranceFrames:
    """Brings the answers of several recordings to frames, for scores during training.

    Parameters
    ----------
    utterances
        Of each recording.
    frames
        Of each recording.
    target, threshold
        As in `assemble`.
    """

    utterances: tuple[tuple[Utterance, ...], ...]
    frames: tuple[int, ...]
    target: Target
    threshold: float = 0.0

    def __call__(self, number: int, answers: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the frames of one recording, see `assemble`."""
        own, frames = self.utterances[number], self.frames[number]
        return assemble(own, answers.tolist(), frames, target=self.target, threshold=self.threshold)


def _hold(utterances: Sequence[Utterance], values: Sequence[float], frames: int) -> NDArray[np.float64]:
    """Let each value begin with its utterance; of two that begin together the later in the file counts."""
    course = np.zeros(frames)
    order = sorted(range(len(utterances)), key=lambda number: utterances[number].start)
    for number in order:
        course[max(utterances[number].start, 0) :] = values[number]
    return course


def _collapse(utterances: Sequence[Utterance], values: Sequence[float], frames: int) -> NDArray[np.float64]:
    course: list[float] = []
    for one, value in zip(utterances, values, strict=True):
        course[one.start : one.end] = [value] * max(one.end - one.start, 0)
    course += [course[-1] if course else 0.0] * (frames - len(course))
    return np.array(course[:frames])
