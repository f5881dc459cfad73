"""The published pictures of maps over clips: rainbow colours on rescaled frames. For comparison with old films only.

Rainbow colours suggest borders that are not in the map; the project's own figures use an even scale
(`nbpkg.plots.attention`).
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from nbpkg.attention.maps import Values, enlarge, normalise
from nbpkg.errors import ExplainError

QUANTILES = (0.01, 0.999)


def colour_map(values: Values) -> Values:
    """Turn a map into OpenCV's JET colours.

    Parameters
    ----------
    values
        0..1, ``[T, H, W]`` or ``[H, W]``.

    Returns
    -------
    ndarray
        float32 RGB ``[3, T, H, W]`` or ``[3, H, W]``, 0..1.

    Source
    ------
    §20 of the published behaviour: ``256 v``, cut to 0..255 and to whole numbers.
    """
    if values.ndim == 3:
        return np.stack([colour_map(frame) for frame in values], axis=1)
    levels = np.clip(256 * values, 0, 255).astype(np.uint8)
    picture = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_JET), cv2.COLOR_BGR2RGB)
    return np.ascontiguousarray(picture.transpose(2, 0, 1).astype(np.float32) / 255)


def colour_overlay(clip: Values, values: Values, *, mode: str, alpha: bool) -> Values:
    """Lay a map in colours over a clip.

    Parameters
    ----------
    clip
        RGB ``[3, T, H, W]``, 0..1 (see `rescale`).
    values
        ``[T', H', W']``, any scale: the whole map is brought to 0..1.
    mode
        ``trilinear`` or ``nearest``, as in `nbpkg.attention.maps.enlarge`; colours are enlarged, not values, and over
        time, too.
    alpha
        Whether a place is the more covered the higher its value (by its square root); else half everywhere.

    Returns
    -------
    ndarray
        float32 ``[3, T, H, W]``.

    Raises
    ------
    ExplainError
        When the map is constant, where the published program divides by zero.
    """
    unit = normalise(values, "clip")
    shape = clip.shape[1:]
    colours = np.stack([enlarge(channel, shape, mode) for channel in colour_map(unit)])
    if not alpha:
        return np.asarray((clip + colours) / 2, dtype=np.float32)
    cover = enlarge(np.sqrt(unit), shape, mode)
    return np.asarray((1 - cover) * clip + cover * colours, dtype=np.float32)


def multiply_overlay(clip: Values, values: Values, *, mode: str) -> Values:
    """Darken a clip by a map: ``[3, T, H, W]`` times the enlarged ``[T', H', W']``, whatever their scales."""
    return np.asarray(clip * enlarge(values, clip.shape[1:], mode), dtype=np.float32)


def rescale(clip: Values, quantiles: Sequence[float] = QUANTILES) -> Values:
    """Bring clip or map to 0..1 by two quantiles of all its values, and cut the rest off.

    Raises
    ------
    ExplainError
        When both quantiles are the same, where the published program divides by zero.
    """
    low, high = np.quantile(clip.astype(np.float64), quantiles)
    if not high > low:
        raise ExplainError(
            f"Nearly all values are {low:.6g}, so that they cannot be spread over 0..1.",
            expected=f"Values that differ between the quantiles {quantiles[0]:g} and {quantiles[1]:g}.",
            remedy="Show the map without rescaling.",
        )
    scaled: NDArray[np.float32] = np.clip((clip - low) / (high - low), 0, 1).astype(np.float32)
    return scaled


def normalise_frames(values: Values) -> Values:
    """Bring every frame of a map to 0..1 on its own; a published helper that no script used.

    A frame without differences becomes 0; the published program gives NaN.
    """
    return normalise(values, "frame")
