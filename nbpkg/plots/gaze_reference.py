"""The published pictures of where somebody looks, pixel for pixel: for comparison with older figures only."""

from __future__ import annotations

import cv2
import numpy as np
from matplotlib import colormaps
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from nbpkg.metrics.gaze.auc import rescale_to_bytes

Frame = NDArray[np.uint8]
_GREEN = (0, 255, 0)
_JET_SHARE = 0.2


def modulate(heat: ArrayLike, logit: float, *, size: tuple[int, int]) -> NDArray[np.float32]:
    """Make the map that the published demo draws: stretched to 0..255, enlarged, less what speaks for outside.

    Parameters
    ----------
    heat
        The network's map ``[64, 64]``.
    logit
        Its answer to whether the target is inside, positive for inside.
    size
        Width and height of the frame, pixels.

    Returns
    -------
    ndarray
        float32 ``[height, width]``, in -255..255.

    Notes
    -----
    Because every map is stretched, each frame has a pixel of 255 less the modulation even where nothing was found.
    """
    large = Image.fromarray(rescale_to_bytes(np.asarray(heat, np.float32)[None] * 255)[0]).resize(
        size, Image.Resampling.BILINEAR
    )
    return np.asarray(np.asarray(large, np.float32) - np.float32(outside_level(logit)), np.float32)


def outside_level(logit: float) -> float:
    """Return what the demo calls modulation: 0 (surely inside) to 255 (surely outside).

    Examples
    --------
    >>> round(outside_level(0.7), 3)
    84.612
    """
    return 255 * (1 - 1 / (1 + float(np.exp(-np.float64(logit)))))


def picture_heat(frame: Frame, modulated: NDArray[np.float32], box: tuple[float, float, float, float]) -> Frame:
    """Draw the demo's heat map mode: jet at a fifth of its strength over the frame, a green head box."""
    jet = colormaps["jet"](np.clip(modulated / 255, 0, 1))[..., :3] * 255
    mixed = np.rint((1 - _JET_SHARE) * frame + _JET_SHARE * jet).astype(np.uint8)
    return _rectangle(mixed, box, 2)


def picture_arrow(
    frame: Frame,
    cell: tuple[int, int],
    *,
    logit: float,
    box: tuple[float, float, float, float],
    threshold: float = 100,
) -> Frame:
    """Draw the demo's arrow mode: a green disc at the peak and a line to the head, if the target is inside.

    Parameters
    ----------
    frame
        RGB ``[H, W, 3]``, uint8.
    cell
        Column and row of the peak in the map of 64 by 64.
    logit
        As in `modulate`.
    box
        Head box, pixels.
    threshold
        Drawn when `outside_level` is below it, 0..255.
    """
    shown = _rectangle(frame.copy(), box, 2)
    if outside_level(logit) >= threshold:
        return shown
    height, width = frame.shape[:2]
    point = (round(cell[0] / 64 * width), round(cell[1] / 64 * height))
    centre = (round((box[0] + box[2]) / 2), round((box[1] + box[3]) / 2))
    cv2.circle(shown, point, max(1, round(height / 50)), _GREEN, -1)
    cv2.line(shown, point, centre, _GREEN, 2)
    return shown


def picture_gazelle(frame: Frame, heat: ArrayLike, box: tuple[float, float, float, float] | None = None) -> Frame:
    """Draw Gaze-LLE's own overlay: jet at half strength over the whole frame, the head box three pixels wide.

    Parameters
    ----------
    frame
        RGB ``[H, W, 3]``, uint8.
    heat
        ``[64, 64]`` in 0..1; not stretched.
    box
        Head box, pixels; None for none.
    """
    height, width = frame.shape[:2]
    grey = Image.fromarray((np.clip(np.asarray(heat, np.float32), 0, 1) * 255).astype(np.uint8))
    large = np.asarray(grey.resize((width, height), Image.Resampling.BILINEAR))
    jet = Image.fromarray((colormaps["jet"](large / 255)[..., :3] * 255).astype(np.uint8)).convert("RGBA")
    jet.putalpha(128)
    mixed = np.asarray(Image.alpha_composite(Image.fromarray(frame).convert("RGBA"), jet).convert("RGB"))
    return mixed.copy() if box is None else _rectangle(mixed.copy(), box, 3)


def _rectangle(frame: Frame, box: tuple[float, float, float, float], width: int) -> Frame:
    x0, y0, x1, y1 = (round(value) for value in box)
    cv2.rectangle(frame, (x0, y0), (x1, y1), _GREEN, width)
    return frame
