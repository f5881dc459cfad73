"""From a clip's times to the numbers a network sees: which frames, which part of them, on which scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction

import cv2
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from nbpkg.errors import MediaError, SettingsError, WeightsError
from nbpkg.video.frames import FrameStore


@dataclass(frozen=True)
class Preprocess:
    """What is done to every clip before the network; stored with the model, so that the two cannot part.

    Parameters
    ----------
    size
        Side of the square put into the network, pixels.
    frames
        Frames of every clip.
    mean, std
        Of red, green and blue on the 0..1 scale: ``(x / 255 - mean) / std``. From training folds only, or the
        backbone's own.
    """

    size: int
    frames: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __post_init__(self) -> None:
        fits = self.size >= 1 and self.frames >= 1 and len(self.mean) == len(self.std) == 3
        if not fits or not np.all(np.isfinite([*self.mean, *self.std])) or min(self.std) <= 0:
            raise SettingsError(
                f"{self} cannot be used.",
                expected="Size and frames at least 1, three finite means, three positive standard deviations.",
                remedy="Correct the preprocessing; a colour that never changes has no standard deviation.",
            )

    def to_json(self) -> dict[str, object]:
        """Return a plain dictionary that JSON can hold."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, content: Mapping[str, object]) -> Preprocess:
        """Read what `to_json` gave.

        Raises
        ------
        WeightsError
            When a part is missing, unknown or of the wrong kind.
        """
        try:
            parts = dict(content)
            size, frames = _whole(parts.pop("size")), _whole(parts.pop("frames"))
            result = cls(size, frames, _three(parts.pop("mean")), _three(parts.pop("std")))
            _refuse_rest(parts)
        except (KeyError, TypeError, ValueError, SettingsError) as error:
            raise WeightsError(
                f"The model's preprocessing cannot be read ({error}).",
                expected="size, frames, and three numbers each in mean and std.",
                remedy="Take a model that this package saved.",
            ) from None
        return result


def _refuse_rest(parts: Mapping[str, object]) -> None:
    if parts:
        raise ValueError(f"{', '.join(map(repr, parts))} unknown")


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{value!r} is no whole number")
    return value


def _three(values: object) -> tuple[float, float, float]:
    if not isinstance(values, (list, tuple)) or len(values) != 3:
        raise ValueError(f"{values!r} are not three numbers")
    red, green, blue = map(float, values)
    return red, green, blue


def frame_numbers(start_ms: ArrayLike, end_ms: ArrayLike, *, fps: Fraction, count: int) -> NDArray[np.int64]:
    """Return the frames shown at the middles of `count` equal parts of a clip.

    Frames and label cover the same interval, and all clips have equally many frames: at 25/8 frames/s the frames that
    start inside 5000 ms are 15 or 16. Whole numbers and fractions only: 25/8 frames/s is never 3.12.

    Parameters
    ----------
    start_ms, end_ms
        The clip ``[start, end)``, whole milliseconds; one number, or one for each clip.
    fps
        Exact rate, frames per second.
    count
        Frames of each clip.

    Returns
    -------
    ndarray
        int64 ``[count]``, or ``[clips, count]``: the frame at ``start + (k + 1/2) (end - start) / count``; frame n is
        shown from ``n / fps`` until the next.

    Raises
    ------
    SettingsError
        When a clip has no length or `count` is below 1.

    Examples
    --------
    >>> frame_numbers(0, 5000, fps=Fraction(25, 8), count=5)
    array([ 1,  4,  7, 10, 14])
    """
    starts, ends = np.asarray(start_ms, dtype=np.int64), np.asarray(end_ms, dtype=np.int64)
    if count < 1 or np.any(ends <= starts):
        raise SettingsError(
            f"No {count} frames can be taken from a clip that ends {int(np.min(ends - starts))} ms after its start.",
            expected="At least 1 frame and 1 ms.",
            remedy="Correct the clips' times or the number of frames.",
        )
    middles = 2 * np.arange(count, dtype=np.int64) + 1
    times = starts[..., None] * (2 * count) + middles * (ends - starts)[..., None]  # in 1 / (2 count) ms
    numbers: NDArray[np.int64] = times * fps.numerator // (2000 * count * fps.denominator)
    return numbers


def find_frames(
    store: FrameStore, start_ms: ArrayLike, end_ms: ArrayLike, *, count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return which frames of a store clips take, and how many of them repeat the last one.

    Parameters
    ----------
    store
        Frames of the session.
    start_ms, end_ms
        Clips ``[start, end)``, milliseconds; one number, or one for each clip.
    count
        Frames of each clip (see `frame_numbers`).

    Returns
    -------
    numbers : ndarray
        int64 ``[count]`` or ``[clips, count]``, all inside the store: what lies beyond the end is the last frame.
    repeated : ndarray
        int64, for each clip how many frames lie beyond the end.

    Raises
    ------
    MediaError
        When a clip starts before 0 or more than half of its frames lie beyond the end.
    """
    numbers = frame_numbers(start_ms, end_ms, fps=store.fps, count=count)
    repeated = np.asarray((numbers >= len(store)).sum(axis=-1))
    starts = np.asarray(start_ms)
    bad = np.flatnonzero((starts < 0) | (2 * repeated > count))
    if bad.size:
        start, end = np.ravel(starts)[bad[0]], np.ravel(end_ms)[bad[0]]
        raise MediaError(
            f"The clip from {start} to {end} ms lies outside the video.",
            where=str(store.path),
            expected=f"At least half of each clip inside 0 to {store.end_ms} ms.",
            remedy="Check that labels and video belong to the same session.",
        )
    return np.minimum(numbers, len(store) - 1), repeated


def read_clip(store: FrameStore, start_ms: int, end_ms: int, *, count: int) -> tuple[NDArray[np.uint8], int]:
    """Read the frames of a clip.

    Parameters
    ----------
    store
        Frames of the session.
    start_ms, end_ms
        The clip ``[start, end)``, milliseconds.
    count
        Frames to take, evenly spread over the clip (see `frame_numbers`).

    Returns
    -------
    frames : ndarray
        uint8 RGB ``[count, H, W, 3]``.
    repeated : int
        How many of them lie beyond the end of the video and repeat its last frame.

    Raises
    ------
    MediaError
        When the clip starts before 0 or more than half of its frames lie beyond the end.
    """
    numbers, repeated = find_frames(store, start_ms, end_ms, count=count)
    return store.frames(numbers), int(repeated)


def crop(frames: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Scale the short side of frames to `size` pixels and take the central square.

    Parameters
    ----------
    frames
        uint8 ``[T, H, W, 3]``.
    size
        Side of the square, pixels.

    Returns
    -------
    ndarray
        uint8 ``[T, size, size, 3]``, a copy.

    Source
    ------
    The published test pipeline takes the central square of frames of its own height; we scale to any height first.

    Examples
    --------
    >>> crop(np.zeros((2, 160, 288, 3), np.uint8), 112).shape
    (2, 112, 112, 3)
    """
    height, width = frames.shape[1:3]
    scale = size / min(height, width)
    new = (max(size, round(width * scale)), max(size, round(height * scale)))
    top, left = (new[1] - size) // 2, (new[0] - size) // 2
    square = np.empty((len(frames), size, size, 3), dtype=np.uint8)
    for target, frame in zip(square, frames, strict=True):
        scaled = frame if new == (width, height) else cv2.resize(frame, new, interpolation=cv2.INTER_AREA)
        target[:] = scaled[top : top + size, left : left + size]
    return square


def normalise(clips: torch.Tensor, preprocess: Preprocess) -> torch.Tensor:
    """Bring pixels to the scale on which the network was trained.

    Parameters
    ----------
    clips
        uint8 ``[..., T, H, W, 3]`` on any device: one clip or a batch.
    preprocess
        Mean and standard deviation of each colour.

    Returns
    -------
    torch.Tensor
        float32 ``[..., 3, T, H, W]``, ``(x / 255 - mean) / std``; colours lie next to each other in memory, as in
        `torch.channels_last_3d`.

    Examples
    --------
    >>> half = Preprocess(size=2, frames=1, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    >>> normalise(torch.full((1, 2, 2, 3), 255, dtype=torch.uint8), half).shape
    torch.Size([3, 1, 2, 2])
    """
    mean, std = (torch.tensor(values, dtype=torch.float64) for values in (preprocess.mean, preprocess.std))
    width = clips.shape[-2]
    # Whole rows at once, colours repeated along them: a last axis of three cannot be vectorised and is 7 times slower.
    scale, shift = (x.float().repeat(width).to(clips.device) for x in (1 / (255 * std), mean / std))
    rows = clips.contiguous().flatten(-2).float()
    scaled: torch.Tensor = rows.mul_(scale).sub_(shift).unflatten(-1, (width, 3)).movedim(-1, -4)
    return scaled
