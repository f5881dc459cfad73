"""How sharp crops are, how usual that is, and which windows hold no usable face."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from nbpkg.errors import StageError

QUALITY_DTYPE = np.dtype([("p", "<f4"), ("filter", "<f4")])
_LAPLACIAN = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]], np.float64)
_SHIFT = 2.0  # standard deviations below the mean at which a crop counts as unusable


def measure_sharpness(crop: NDArray[np.uint8]) -> float:
    """Measure how sharp a crop is: the variance of its Laplacian over all pixels and colours.

    Parameters
    ----------
    crop
        uint8 ``[H, W, 3]``, the colours in any order.

    Source: lemon-prog123/GazePose, ``vartool.py``.

    Examples
    --------
    >>> measure_sharpness(np.full((8, 8, 3), 90, np.uint8))
    0.0
    """
    # The kernel is given: OpenCV's own Laplacian of size 3 has other numbers in its corners.
    edges = cv2.filter2D(crop, cv2.CV_64F, _LAPLACIAN, borderType=cv2.BORDER_REFLECT_101)
    return float(np.var(edges))


@dataclass(frozen=True)
class SharpnessScale:
    """What sharpness is held against.

    Parameters
    ----------
    mean, std
        Of the sharpness of some crops; std with n - 1.
    log_mean, log_std
        The same of its logarithm, which is far less skewed.
    count
        Crops.
    """

    mean: float
    std: float
    log_mean: float
    log_std: float
    count: int


def fit_sharpness(sharpness: NDArray[np.float64]) -> SharpnessScale:
    """Describe how sharp crops usually are.

    Parameters
    ----------
    sharpness
        ``[n]``; NaN where there is no crop.

    Raises
    ------
    StageError
        When there are fewer than two crops, or all are equally sharp.
    """
    known = sharpness[np.isfinite(sharpness)]
    if len(known) < 2 or np.ptp(known) == 0:
        raise StageError(
            f"How sharp faces usually are cannot be told from {len(known)} crops of {len(set(known))} degrees.",
            expected="Two crops or more that are not equally sharp.",
            remedy="Check that crops of the clips that teach were cut and measured.",
        )
    logs = _to_log(known)
    mean, std, log_mean, log_std = known.mean(), known.std(ddof=1), logs.mean(), logs.std(ddof=1)
    return SharpnessScale(float(mean), float(std), float(log_mean), float(log_std), len(known))


def rate_sharpness(sharpness: NDArray[np.float64], scale: SharpnessScale) -> NDArray[np.float64]:
    """Tell which share of faces is expected to be less sharp, as if sharpness followed a normal curve.

    Parameters
    ----------
    sharpness
        ``[n]``; NaN where there is no crop.
    scale
        What it is held against.

    Returns
    -------
    ndarray
        ``[n]``, 0 to 1; NaN as in `sharpness`.
    """
    rated: NDArray[np.float64] = ndtr((sharpness - scale.mean) / scale.std)
    return rated


def score_faces(sharpness: NDArray[np.float64], scale: SharpnessScale) -> NDArray[np.float64]:
    """Score faces so that 0 and below means unusable: standard deviations of log sharpness above the mean, plus 2.

    Parameters
    ----------
    sharpness
        ``[n]``; NaN where there is no crop.
    scale
        What it is held against.

    Notes
    -----
    The scores of the published filter are known, but not how they came about; this stands in for them.
    """
    return (_to_log(sharpness) - scale.log_mean) / scale.log_std + _SHIFT


def score_windows(scores: NDArray[np.float64], slots: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the scores of the faces of each window.

    Parameters
    ----------
    scores
        Of all faces, ``[faces]``; NaN where none is known.
    slots
        Rows of the faces of each window, ``[n, 7]``; -1 where there is none.

    Returns
    -------
    ndarray
        ``[n, 7]``; NaN where there is no face or nothing is known of it.
    """
    found: NDArray[np.float64] = np.append(scores, np.nan)[slots]  # -1 takes the NaN at the end
    return found


def best_of_windows(scores: NDArray[np.float64], slots: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the best score of each window ``[n]`` (see `score_windows`); NaN where none of its faces has one."""
    values = score_windows(scores, slots)
    best = np.where(np.isfinite(values), values, -np.inf).max(axis=1, initial=-np.inf)
    return np.where(np.isfinite(best), best, np.nan)


def rate_quality(
    sharpness: NDArray[np.float64],
    slots: NDArray[np.int64],
    *,
    parts: Mapping[str, NDArray[np.bool_]],
    teaching: str | None,
) -> tuple[NDArray[np.void], dict[str, SharpnessScale]]:
    """Rate every face and the window around it.

    Parameters
    ----------
    sharpness
        Of all faces, ``[faces]``; NaN where there is no crop.
    slots
        Rows of the faces around each face, ``[faces, 7]``, -1 where there is none (`list_windows` with stride 1 gives
        those of the faces with a crop; others may be -1 throughout).
    parts
        Which faces are in each part, e.g. train, val, test; ``[faces]`` each.
    teaching
        Part that all faces are held against; None holds each part against itself, as published, which tells a network
        something about clips that it is tested on.

    Returns
    -------
    ndarray
        `QUALITY_DTYPE` ``[faces]``, NaN where there is no crop.
    dict
        What each part was held against.

    Raises
    ------
    StageError
        When sharpness cannot be described (see `fit_sharpness`).
    """
    quality = np.full(len(sharpness), np.nan, QUALITY_DTYPE)
    scores = np.full(len(sharpness), np.nan)
    scales: dict[str, SharpnessScale] = {}
    for part, inside in parts.items():
        if not np.isfinite(sharpness[inside]).any():
            continue
        scales[part] = fit_sharpness(sharpness[inside if teaching is None else parts[teaching]])
        quality["p"][inside] = rate_sharpness(sharpness[inside], scales[part])
        scores[inside] = score_faces(sharpness[inside], scales[part])
    quality["filter"] = best_of_windows(scores, slots)
    return quality, scales


def is_usable(filter_scores: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Tell which windows hold a usable face: a score above 0, or none at all, of which nothing is known.

    Examples
    --------
    >>> is_usable(np.array([0.3, 0.0, -1.0, np.nan])).tolist()
    [True, False, False, True]
    """
    return np.asarray(~(filter_scores <= 0))


def _to_log(sharpness: NDArray[np.float64]) -> NDArray[np.float64]:
    # A crop of one colour has sharpness 0; one grey level in one pixel of a 224 px crop gives about 1e-4.
    return np.log(np.maximum(sharpness, 1e-6))
