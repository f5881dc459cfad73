"""From a clip's times to the numbers a network sees: which part of its frames, on which scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from nbpkg.errors import SettingsError, WeightsError
from nbpkg.video.clips import find_frames
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


def read_clip(store: FrameStore, start_ms: int, end_ms: int, *, count: int) -> tuple[NDArray[np.uint8], int]:
    """Read the frames of a clip.

    Parameters
    ----------
    store
        Frames of the session.
    start_ms, end_ms
        The clip ``[start, end)``, milliseconds.
    count
        Frames to take, evenly spread over the clip (see `nbpkg.video.clips.frame_numbers`).

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
