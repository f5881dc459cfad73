"""Where a face looks, drawn on its picture: an arrow for the direction, a ring for how sure that is.

Directions are those of Gaze360. Azimuth 0 and elevation 0 look into the camera; azimuth above 0 looks to the right of
the picture, whatever is right for the person; elevation above 0 looks up; beyond a right angle of azimuth a face looks
away from the camera.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from nbpkg.datasets.looking.batches import WindowBatches
from nbpkg.errors import ExplainError, SettingsError
from nbpkg.models.looking.loading import load_whole
from nbpkg.models.looking.lstm_heads import Gaze360Lstm
from nbpkg.training.looking.material import FaceMaterial

Picture = NDArray[np.uint8]
SIDE = 224  # pixels of a crop as Gaze360 was trained on
REACH = 0.45  # length of an arrow at a right angle to the line of sight, sides of a crop
_COLOUR, _CASING = (240, 228, 66), (0, 0, 0)  # yellow within black: told from any ground and from the boxes
_STEPS = 48
_FINE = 4  # fractional bits of the coordinates that OpenCV draws with
_BATCH = 32


class Gaze(NamedTuple):
    """Where faces look.

    Parameters
    ----------
    rows
        Of the faces in ``faces.npy``, ``[n]``.
    angles
        Azimuth and elevation, radians, ``[n, 2]``.
    spread
        Half the width of the interval from the 10 % to the 90 % quantile of both, radians, ``[n]``.
    """

    rows: NDArray[np.int64]
    angles: NDArray[np.float64]
    spread: NDArray[np.float64]


def project_gaze(angles: ArrayLike) -> NDArray[np.float64]:
    """Return how far the unit vector of a direction goes to the right and down in the picture.

    Parameters
    ----------
    angles
        Azimuth and elevation, radians, ``[..., 2]``.

    Returns
    -------
    ndarray
        ``[..., 2]``: x = cos(elevation) sin(azimuth) to the right, and -sin(elevation), as rows of a picture count
        down. Its length is the sine of the angle to the line of sight: 0 into the camera or away from it.

    Examples
    --------
    >>> project_gaze([[0, 0], [np.pi / 2, 0], [0, np.pi / 6]]).round(2).tolist()
    [[0.0, -0.0], [1.0, -0.0], [0.0, -0.5]]
    """
    azimuth, elevation = np.moveaxis(np.asarray(angles, np.float64), -1, 0)
    return np.stack([np.cos(elevation) * np.sin(azimuth), -np.sin(elevation)], axis=-1)


def render_arrow(crop: Picture, azimuth: float, elevation: float, *, spread: float = 0.0) -> Picture:
    """Draw on the crop of a face where it looks.

    Parameters
    ----------
    crop
        uint8 RGB ``[H, W, 3]``, e.g. 224 × 224; left as it is. Crops of people go through `nbpkg.plots.frames.veil`
        first.
    azimuth, elevation
        Radians, as `nbpkg.models.looking.lstm_heads.Gaze360Lstm` gives them.
    spread
        As in `Gaze`; 0 draws no ring.

    Returns
    -------
    ndarray
        A copy with an arrow from its middle, `REACH` of the longer side long for a look across; a look into the camera
        is the dot alone. Thin arrows point away from the camera. The ring surrounds the directions within the spread.

    Raises
    ------
    ExplainError
        When the crop is no picture, or an angle no number.

    Source
    ------
    EGO4D/social-interactions, branch ``lam``, ``common/render.py``, which draws a red arrow in three dimensions.
    """
    if crop.dtype != np.uint8 or crop.ndim != 3 or crop.shape[2] != 3 or not crop.size:
        raise ExplainError(
            f"No arrow can be drawn on {crop.dtype} {list(crop.shape)}.", expected="A picture, uint8 RGB [H, W, 3]."
        )
    out = np.ascontiguousarray(crop).copy()
    height, width = crop.shape[:2]
    draw_arrow(out, (width / 2, height / 2), REACH * max(height, width), (azimuth, elevation), spread=spread)
    return out


def draw_arrow(
    picture: Picture, start: tuple[float, float], reach: float, angles: tuple[float, float], *, spread: float
) -> None:
    """Draw an arrow into a picture.

    Parameters
    ----------
    picture
        uint8 RGB ``[H, W, 3]``, changed in place.
    start
        x and y from which it comes, pixels.
    reach
        Its length when it is at a right angle to the line of sight, pixels.
    angles
        Azimuth and elevation, radians.
    spread
        As in `Gaze`; 0 draws no ring.

    Raises
    ------
    ExplainError
        When an angle is no number.
    """
    if not np.isfinite([*angles, spread]).all() or spread < 0:
        raise ExplainError(
            f"The angles {angles[0]}, {angles[1]} with spread {spread} cannot be drawn.",
            expected="Radians, finite numbers, and a spread from 0.",
        )
    begin = np.asarray(start, np.float64)
    tip = begin + reach * project_gaze(angles)
    away = math.cos(angles[0]) < 0
    line = max(1, round(reach / (60 if away else 30)))
    lines = [np.stack([begin, tip]), *_head(begin, tip, 0.22 * reach)]
    ring = _ring(begin, reach, angles, min(spread, math.pi / 2)) if spread > 0 else None
    for colour, more in ((_CASING, 2), (_COLOUR, 0)):
        if ring is not None:
            cv2.polylines(picture, [_fix(ring)], True, colour, max(1, line // 2) + more, cv2.LINE_AA, _FINE)
        cv2.polylines(picture, [_fix(one) for one in lines], False, colour, line + more, cv2.LINE_AA, _FINE)
        centre = _fix(begin).tolist()
        cv2.circle(picture, centre, round((1.2 * line + more / 2) * (1 << _FINE)), colour, -1, cv2.LINE_AA, _FINE)


def open_gaze(file: str, data: Path, *, device: torch.device) -> Gaze360Lstm:
    """Load a network of gaze from the data folder.

    Parameters
    ----------
    file
        Checkpoint of Gaze360, relative to the data folder.
    data
        Data folder.
    device
        Where to compute.

    Raises
    ------
    SettingsError
        When the file lies elsewhere.
    WeightsError
        When it is missing, damaged, or of another network.
    """
    path = data / file
    if not path.resolve().is_relative_to(data.resolve()):
        raise SettingsError(
            f"evaluate.arrow {file!r} lies outside the data folder.",
            expected=f"A checkpoint of Gaze360 below {data}.",
            remedy="Copy it there, and name it relative to the data folder.",
        )
    network = Gaze360Lstm()
    load_whole(network, path)
    return network.to(device).eval()


@torch.no_grad()
def aim_faces(
    network: Gaze360Lstm, material: FaceMaterial, session: str, *, device: torch.device, side: int = SIDE
) -> Gaze:
    """Tell where each face of a clip that has a crop looks, from the seven faces around it.

    Parameters
    ----------
    network
        In evaluation mode, on `device`.
    material
        Of the clip and others.
    session
        The clip.
    device
        Where to compute.
    side
        Of a crop as the network sees it, pixels.
    """
    windows = material.list_windows([session], stride=1, labelled=False)
    made = WindowBatches(windows, material.crops, material.priors, size=side)
    angles, spread = np.zeros((len(windows), 2)), np.zeros(len(windows))
    for batch in made.each(np.arange(len(windows)), batch=_BATCH):
        features, _ = network.encode(batch.crops.to(device))
        found, wide = network.aim(features[batch.where.to(device)])
        angles[batch.number], spread[batch.number] = found.double().cpu().numpy(), wide[:, 0].double().cpu().numpy()
    return Gaze(windows.row, angles, spread)


def _head(begin: NDArray[np.float64], tip: NDArray[np.float64], longest: float) -> list[NDArray[np.float64]]:
    """Return both barbs of an arrow's head, at most half as long as the arrow."""
    back = begin - tip
    length = float(np.hypot(*back))
    if length < 1e-9:
        return []
    barb = back / length * min(longest, length / 2)
    turned = [barb @ np.array([[math.cos(a), math.sin(a)], [-math.sin(a), math.cos(a)]]) for a in (0.5, -0.5)]
    return [np.stack([tip, tip + one]) for one in turned]


def _ring(begin: NDArray[np.float64], reach: float, angles: tuple[float, float], spread: float) -> NDArray[np.float64]:
    """Return the outline of all directions within the spread."""
    turn = 2 * np.pi * np.arange(_STEPS) / _STEPS
    around = np.asarray(angles) + spread * np.stack([np.cos(turn), np.sin(turn)], axis=-1)
    outline: NDArray[np.float64] = begin + reach * project_gaze(around)
    return outline


def _fix(points: NDArray[np.float64]) -> NDArray[np.int32]:
    return np.rint(points * (1 << _FINE)).astype(np.int32)
