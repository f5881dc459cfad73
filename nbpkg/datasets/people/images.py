"""Frames to the pixels a network takes, as mmaction2 0.24 does it: uint8 until they are normalised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from nbpkg.datasets.people.images_crops import Draws, Frames, Size
from nbpkg.errors import MediaError, SettingsError

Floats = NDArray[np.float32]
ALGORITHMS: Mapping[str, int] = {
    "nearest": cv2.INTER_NEAREST,
    "bilinear": cv2.INTER_LINEAR,
    "bicubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
    "lanczos": cv2.INTER_LANCZOS4,
}


def fit_size(size: Size, scale: tuple[int, int], *, keep_ratio: bool = True) -> Size:
    """Return height and width after resizing.

    Parameters
    ----------
    size
        ``(height, width)``, pixels.
    scale
        With `keep_ratio` two numbers in any order: the largest size whose long side is at most the larger and whose
        short side is at most the smaller one; one may be -1, then the short side becomes the other. Without, width and
        height, **width first**.
    keep_ratio
        Whether width and height are changed alike.

    Returns
    -------
    tuple of int
        ``(height, width)``, pixels.

    Raises
    ------
    SettingsError
        When the scale is not of this kind.

    Examples
    --------
    >>> fit_size((36, 64), (-1, 32)), fit_size((36, 64), (50, 30)), fit_size((36, 64), (16, 21), keep_ratio=False)
    ((32, 57), (28, 50), (21, 16))
    """
    given = sorted(scale)
    if given[1] < 1 or (given[0] < 1 and not (given[0] == -1 and keep_ratio)):
        raise SettingsError(
            f"Frames cannot be resized to {scale[0]} x {scale[1]}.",
            expected="Two numbers above 0; with kept ratio one of them may be -1.",
            remedy="Correct the parameter file.",
        )
    if not keep_ratio:
        return scale[1], scale[0]
    short, long = min(size), max(size)
    factor = given[1] / short if given[0] == -1 else min(given[1] / long, given[0] / short)
    return max(1, int(size[0] * factor + 0.5)), max(1, int(size[1] * factor + 0.5))


def resize(frames: Frames, size: Size, *, algorithm: str = "bilinear") -> Frames:
    """Resize frames one by one.

    Parameters
    ----------
    frames
        uint8 ``[N, H, W, 3]``.
    size
        ``(height, width)`` wanted, e.g. from `fit_size`.
    algorithm
        One of `ALGORITHMS`; none smooths before it shrinks but ``area``.

    Returns
    -------
    ndarray
        uint8 ``[N, height, width, 3]``.

    Raises
    ------
    SettingsError
        When there is no such algorithm.
    """
    if algorithm not in ALGORITHMS:
        raise SettingsError(f"Frames cannot be resized by {algorithm!r}.", expected=f"One of {', '.join(ALGORITHMS)}.")
    if frames.shape[1:3] == tuple(size):
        return frames
    out = np.empty((len(frames), *size, 3), dtype=np.uint8)
    for number, frame in enumerate(frames):
        out[number] = cv2.resize(frame, (size[1], size[0]), interpolation=ALGORITHMS[algorithm])
    return out


def draw_flip(draws: Draws, share: float) -> bool:
    """Draw whether a clip is mirrored: one draw below `share`, the share of clips that are."""
    return bool(draws.random() < share)


def flip(frames: Frames) -> Frames:
    """Exchange left and right of frames ``[N, H, W, 3]``."""
    return np.ascontiguousarray(frames[:, :, ::-1])


def flip_label(label: int, pairs: Mapping[int, int], *, classes: int) -> int:
    """Return the class of a mirrored clip.

    Parameters
    ----------
    label
        Class.
    pairs
        Classes that become others when mirrored; all others stay.
    classes
        How many classes there are.

    Raises
    ------
    SettingsError
        When a pair names a class that does not exist. The published TRN setting, made for other classes, turns class 2
        into class 4 of 3, and training breaks off inside the loss.
    """
    wrong = sorted({number for pair in pairs.items() for number in pair if not 0 <= number < classes})
    if wrong:
        raise SettingsError(
            f"Mirrored clips would change from or to class {', '.join(map(str, wrong))}.",
            expected=f"Classes 0 to {classes - 1}.",
            remedy="Correct the pairs of classes that change when a clip is mirrored, or leave them out.",
        )
    return pairs.get(label, label)


def normalise(frames: Frames, mean: Sequence[float], std: Sequence[float], *, to_bgr: bool = False) -> Floats:
    """Subtract a mean from each channel and divide by a spread.

    Parameters
    ----------
    frames
        uint8 RGB ``[N, H, W, 3]``; not changed.
    mean, std
        For each channel, grey levels.
    to_bgr
        Exchange red and blue first, so that `mean` and `std` are in the order blue, green, red.

    Returns
    -------
    ndarray
        float32 ``[N, H, W, 3]``.
    """
    values = frames[..., ::-1] if to_bgr else frames
    centred = values.astype(np.float32) - np.asarray(mean, dtype=np.float32)
    return centred * (1 / np.asarray(std, dtype=np.float64)).astype(np.float32)


def shape_clips(frames: NDArray, length: int) -> NDArray:
    """Lay frames out as a 3-D network takes them.

    Parameters
    ----------
    frames
        ``[crops * runs * length, H, W, 3]``, crop by crop.
    length
        Frames of a run.

    Returns
    -------
    ndarray
        ``[crops * runs, 3, length, H, W]``.

    Raises
    ------
    MediaError
        When the frames are no whole number of runs.
    """
    if length < 1 or len(frames) % length:
        raise MediaError(f"{len(frames)} frames are no whole number of runs of {length}.")
    clips = frames.reshape(-1, length, *frames.shape[1:])
    return np.ascontiguousarray(clips.transpose(0, 4, 1, 2, 3))


def shape_pictures(frames: NDArray) -> NDArray:
    """Lay frames ``[N, H, W, 3]`` out as a 2-D network takes them, ``[N, 3, H, W]``."""
    return np.ascontiguousarray(frames.transpose(0, 3, 1, 2))
