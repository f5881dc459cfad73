"""Films of attention maps: colours over pictures, at one scale, written frame for frame as MP4 or GIF."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from nbpkg.attention.maps import Values
from nbpkg.datasets.people.images import fit_size, resize
from nbpkg.errors import ExplainError, SettingsError
from nbpkg.video.film import write_film, write_gif

Frames = NDArray[np.uint8]
FPS = Fraction(5)  # the published default, whatever its own guide says
_VIRIDIS = np.asarray(mpl.colormaps["viridis"](np.arange(256)), dtype=np.float32)[:, :3] * 255


class Overlay(NamedTuple):
    """What a film of maps is made of, all uint8 RGB ``[N, H, W, 3]`` and at full brightness.

    Parameters
    ----------
    blended
        Colours over pictures.
    pictures
        The pictures alone.
    heat
        The colours alone.
    """

    blended: Frames
    pictures: Frames
    heat: Frames


def to_pictures(
    views: torch.Tensor, mean: ArrayLike, std: ArrayLike, *, segments: bool = False, bgr: bool = False
) -> Frames:
    """Turn normalised views back into pictures.

    Parameters
    ----------
    views
        ``[views, 3, T, H, W]``; not changed.
    mean, std
        By which they were normalised, grey levels, for each channel in the views' own order.
    segments
        Whether the views are ``[views, S, 3, H, W]`` instead.
    bgr
        Whether their channels are blue, green, red.

    Returns
    -------
    ndarray
        uint8 RGB ``[views * T, H, W, 3]``, one view after the other.
    """
    laid = views.detach().cpu().movedim(2 if segments else 1, -1).flatten(0, 1).double().numpy()
    levels = np.rint(laid * np.asarray(std, dtype=np.float64) + np.asarray(mean, dtype=np.float64))
    pictures: Frames = np.clip(levels, 0, 255).astype(np.uint8)
    return np.ascontiguousarray(pictures[..., ::-1]) if bgr else pictures


def overlay(pictures: Frames, maps: Values, *, alpha: float = 0.5) -> Overlay:
    """Lay maps in colours over pictures.

    Parameters
    ----------
    pictures
        uint8 RGB ``[N, H, W, 3]``; pictures of people are made unrecognisable first, by `nbpkg.plots.frames.veil`.
    maps
        float32 ``[N, H, W]`` or ``[views, T, H, W]``, 0..1, e.g. from `ViewMaps.scaled`.
    alpha
        How much the colours cover, 0 to 1.

    Returns
    -------
    Overlay
        Grey levels are cut off, not rounded, as published.

    Raises
    ------
    ExplainError
        When pictures and maps do not belong together, or maps or `alpha` leave 0..1.

    Source
    ------
    mmaction2 0.24.1, viridis in 256 steps. The published custom program writes pictures and colours at half brightness.
    """
    flat = maps.reshape(-1, *maps.shape[-2:])
    inside = bool(np.isfinite(flat).all()) and flat.size and flat.min() >= 0 and flat.max() <= 1
    if pictures.shape != (*flat.shape, 3) or pictures.dtype != np.uint8 or not inside or not 0 <= alpha <= 1:
        raise ExplainError(
            f"Maps {list(maps.shape)} cannot be laid over pictures {pictures.dtype} {list(pictures.shape)} by {alpha}.",
            expected="Maps [N, H, W] within 0..1, pictures uint8 [N, H, W, 3], alpha within 0..1.",
            remedy="Scale the maps, and take the pictures of the same views.",
        )
    heat = np.empty(pictures.shape, dtype=np.uint8)
    blended = np.empty(pictures.shape, dtype=np.uint8)
    for number, one in enumerate(flat):  # one picture at a time: a film in floats does not fit into memory
        colours = _VIRIDIS[np.minimum((one * 256).astype(np.int64), 255)]
        heat[number] = colours
        blended[number] = np.float32(alpha) * colours + np.float32(1 - alpha) * pictures[number]
    return Overlay(blended, pictures, heat)


def fit_resolution(size: tuple[int, int], resolution: tuple[int, int] | None) -> tuple[int, int]:
    """Return the size of a film.

    Parameters
    ----------
    size
        ``(height, width)`` of the frames, pixels.
    resolution
        The largest size wanted, two numbers in any order; one of them -1: the other is the short side; None or twice
        -1: as the frames are.

    Returns
    -------
    tuple of int
        ``(height, width)`` with the frames' proportions.

    Raises
    ------
    SettingsError
        When a number is neither above 0 nor -1.
    """
    return size if resolution is None or resolution == (-1, -1) else fit_size(size, resolution)


def write_map_film(
    frames: Frames,
    path: Path,
    *,
    fps: Fraction = FPS,
    resolution: tuple[int, int] | None = None,
    algorithm: str = "bilinear",
) -> Path:
    """Write a film with exactly these frames.

    Parameters
    ----------
    frames
        uint8 RGB ``[N, H, W, 3]``, e.g. of `overlay`.
    path
        The file: ``.mp4`` or ``.gif``.
    fps
        Frames per second; at most 50 for GIF.
    resolution, algorithm
        As in `fit_resolution`, and how frames are resized: one of `nbpkg.datasets.people.images.ALGORITHMS`.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    SettingsError
        When the name ends otherwise, or resolution or algorithm cannot be.
    MediaError, StageError
        As `nbpkg.video.film.write_film`.

    Source
    ------
    mmaction2 0.24.1, ``demo_gradcam``, whose films may have a frame more or less; it writes MP4 under any other name.
    """
    ending = path.suffix.lower()
    if ending not in (".mp4", ".gif"):
        raise SettingsError(
            f"A film cannot be written as {path.name!r}.",
            where=str(path.parent),
            expected="A name that ends in .mp4 or .gif.",
            remedy="Correct the name.",
        )
    size = fit_resolution((frames.shape[1], frames.shape[2]), resolution)
    shown = resize(frames, size, algorithm=algorithm)
    return write_gif(shown, path, fps=fps) if ending == ".gif" else write_film(shown, path, fps=fps)


def write_map_films(
    found: Overlay,
    path: Path,
    *,
    fps: Fraction = FPS,
    resolution: tuple[int, int] | None = None,
    algorithm: str = "bilinear",
) -> tuple[Path, Path, Path]:
    """Write the film, and beside it one of the pictures and one of the colours alone.

    Parameters
    ----------
    found
        From `overlay`.
    path
        The film, e.g. ``clip.mp4``; the others are ``clip_orig.mp4`` and ``clip_heat.mp4`` in the same folder.
    fps, resolution, algorithm
        As in `write_map_film`.

    Returns
    -------
    tuple of Path
        The three files.

    Raises
    ------
    SettingsError, MediaError, StageError
        As `write_map_film`.

    Source
    ------
    ``demo_gradcam_custom``, which writes the first view only, and cuts names at the first dot of the whole path.
    """
    beside = [path.with_name(f"{path.stem}{ending}{path.suffix}") for ending in ("", "_orig", "_heat")]
    for file, frames in zip(beside, found, strict=True):
        write_map_film(frames, file, fps=fps, resolution=resolution, algorithm=algorithm)
    return beside[0], beside[1], beside[2]


def place_in_time(maps: Values, numbers: NDArray[np.int64], *, total: int) -> Values:
    """Give every frame of the source video its map.

    Parameters
    ----------
    maps
        float32 ``[views, T, H, W]`` at one scale (see `ViewMaps.scaled`).
    numbers
        Frame of the video that each of them belongs to, ``[views, T]``, from 0.
    total
        Frames of the video.

    Returns
    -------
    ndarray
        float32 ``[total, H, W]``: the mean of all maps of a frame; a frame without one has the map of the nearest
        frame that has, of two equally near ones the earlier.

    Raises
    ------
    ExplainError
        When maps and numbers do not agree, or a number lies outside the video.
    """
    if maps.shape[:2] != numbers.shape or not numbers.size or numbers.min() < 0 or numbers.max() >= total:
        raise ExplainError(
            f"Maps {list(maps.shape)} cannot be placed at frames {list(numbers.shape)} of a video of {total}.",
            expected=f"A frame for each map, 0 to {total - 1}.",
            remedy="Take the frames that the views were made of.",
        )
    seen, place = np.unique(numbers.reshape(-1), return_inverse=True)
    means = np.zeros((len(seen), *maps.shape[2:]), dtype=np.float32)
    np.add.at(means, place.reshape(-1), maps.reshape(-1, *maps.shape[2:]))
    means /= np.bincount(place.reshape(-1)).astype(np.float32)[:, None, None]
    frames = np.arange(total)
    after = np.minimum(np.searchsorted(seen, frames), len(seen) - 1)
    before = np.maximum(after - 1, 0)
    nearest = np.where(np.abs(frames - seen[before]) <= np.abs(seen[after] - frames), before, after)
    placed: Values = means[nearest]
    return placed
