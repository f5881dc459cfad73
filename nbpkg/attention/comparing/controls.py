"""Maps that know nothing of the network: what a method must be nearer to people than, before it says anything."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from nbpkg import seeding
from nbpkg.attention.comparing.resample import prepare_map
from nbpkg.errors import ExplainError

Map = NDArray[np.float32]
CONTROLS = ("uniform", "centre", "motion", "other snippet")
_LUMA = np.array([0.299, 0.587, 0.114])  # how bright red, green and blue look (ITU-R BT.601)


def uniform_map(frames: int, size: int) -> Map:
    """Look everywhere alike, float32 ``[frames, size, size]``."""
    return np.ones((frames, size, size), np.float32)


def centre_map(frames: int, size: int, *, sigma: float) -> Map:
    """Look at the centre: a Gaussian, the same in every frame.

    Parameters
    ----------
    frames, size
        Shape of the map.
    sigma
        Standard deviation, as a share of the side.

    Returns
    -------
    ndarray
        float32 ``[frames, size, size]`` in 0..1, greatest in the centre.

    Examples
    --------
    >>> centre_map(1, 3, sigma=0.4)[0, :, 1].astype(float).round(2).tolist()
    [0.71, 1.0, 0.71]
    """
    place = (np.arange(size) + 0.5) / size - 0.5
    profile = np.exp(-0.5 * (place / sigma) ** 2)
    plane = np.outer(profile, profile) / profile.max() ** 2
    return np.repeat(plane[None].astype(np.float32), frames, axis=0)


def motion_map(frames: ArrayLike, size: int) -> Map:
    """Look where the picture changes.

    Parameters
    ----------
    frames
        uint8 RGB ``[T, H, W, 3]``, the painted frames: of the whole picture or of its central square.
    size
        Common side.

    Returns
    -------
    ndarray
        float32 ``[T, size, size]`` in 0..1: the absolute difference of brightness to the frame before and to the frame
        after, averaged (the first and last frame have one neighbour), treated like a human map (`prepare_map`). 0
        throughout when nothing moves, or for a single frame.

    Raises
    ------
    ExplainError
        When `frames` has another shape.

    Examples
    --------
    >>> film = np.zeros((2, 8, 8, 3), np.uint8)
    >>> film[1, :4, :4] = 255
    >>> motion_map(film, 2)[0].astype(float).round(1).tolist()
    [[1.0, 0.4], [0.4, 0.0]]
    """
    film = np.asarray(frames)
    if film.ndim != 4 or film.shape[-1] != 3 or not len(film):
        raise ExplainError(f"Frames of shape {film.shape} were given.", expected="RGB frames [T, H, W, 3].")
    light = film @ _LUMA
    change = np.abs(np.diff(light, axis=0))
    energy = np.zeros(light.shape)
    energy[1:] += change
    energy[:-1] += change
    energy[1:-1] /= 2
    return prepare_map(energy, size, kind="human", frames=len(film))


def choose_others(snippets: pd.DataFrame, painted: Collection[str], *, seed: int) -> dict[str, str | None]:
    """Choose for each snippet one of another session, whose human map is held in its place.

    Parameters
    ----------
    snippets
        Table ``snippets``.
    painted
        Those that have a human map.
    seed
        The experiment's seed; the choice for one snippet depends on which others are painted, not on their order.

    Returns
    -------
    dict
        Snippet to the chosen one: of the same task and variable when there is one; None when no painted snippet is of
        another session.
    """
    rows = snippets[snippets["snippet_id"].isin(painted)].sort_values("snippet_id")
    result: dict[str, str | None] = {}
    for own in snippets.itertuples():
        others = rows[rows["session"] != own.session]
        alike = others[(others["task"] == own.task) & (others["variable"] == own.variable)]
        found = list((alike if len(alike) else others)["snippet_id"])
        random = seeding.generator(seed, "other snippet", str(own.snippet_id))
        result[str(own.snippet_id)] = str(found[random.integers(len(found))]) if found else None
    return result
