"""The published comparison of maps, defects included: for telling what our numbers differ by, and for nothing else.

Of the nine published numbers, the earth mover's distances here are the exact ones: the published solver stops early.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nbpkg.attention.comparing import resample
from nbpkg.attention.comparing.transport import earth_mover
from nbpkg.errors import ExplainError

Array = NDArray[np.float64]
EPSILON = 2.220446049250313e-16


def published_scores(human: ArrayLike, machine: ArrayLike) -> dict[str, float]:
    """Compute the nine published numbers of one pair of maps.

    Parameters
    ----------
    human, machine
        ``[T, H, W]`` or ``[H, W]``, same shape; for the earth mover's distance and Kullback-Leibler at least 0.

    Returns
    -------
    dict
        ``<measure>_global`` over the whole volume (not for ``earth_mover``) and ``<measure>_frame``, the plain mean
        over frames, which one unpainted frame makes NaN.

    Raises
    ------
    ExplainError
        When the shapes differ or a value is negative.
    """
    h, m = np.asarray(human, np.float64), np.asarray(machine, np.float64)
    if h.shape != m.shape:
        raise ExplainError(f"Maps of shapes {h.shape} and {m.shape} are to be compared.", expected="One shape.")
    frames = list(zip(*(x[None] if x.ndim == 2 else x for x in (h, m)), strict=True))
    result: dict[str, float] = {}
    for name, function in PUBLISHED.items():
        if name != "earth_mover":
            result[f"{name}_global"] = function(h, m)
        result[f"{name}_frame"] = float(np.mean([function(*pair) for pair in frames]))
    return result


def published_linear_correlation(human: Array, machine: Array) -> float:
    """Correlate; NaN for a constant map."""
    h, m = human - human.mean(), machine - machine.mean()
    if np.ptp(human) == 0 or np.ptp(machine) == 0:
        return float("nan")
    return float((h * m).mean() / (np.sqrt((h**2).mean()) * np.sqrt((m**2).mean())))


def published_rank_correlation(human: Array, machine: Array) -> float:
    """Correlate positions in sorted order: equal values get different ranks, in the order of the pixels.

    The published sort leaves their order to chance, so that with ties its numbers cannot be had again.
    """
    ranks = (values.ravel().argsort(kind="stable").argsort(kind="stable").astype(float) for values in (human, machine))
    return published_linear_correlation(*ranks)


def published_earth_mover(human: Array, machine: Array) -> float:
    """Solve the transport exactly; a map that is 0 throughout is uniform."""
    return earth_mover(human + EPSILON, machine + EPSILON)


def published_histogram_intersection(human: Array, machine: Array) -> float:
    """Add up the smaller shares of two maps shifted to a minimum of 0."""
    shares = (_shares(values - values.min()) for values in (human, machine))
    return float(np.minimum(*shares).sum())


def published_kullback_leibler(human: Array, machine: Array) -> float:
    """Diverge with a floor of one rounding step, so that zeros of the machine's map decide."""
    h, m = _shares(human), _shares(machine)
    return float((h * np.log(EPSILON + h / (EPSILON + m))).sum())


PUBLISHED = {
    "linear_correlation": published_linear_correlation,
    "rank_correlation": published_rank_correlation,
    "earth_mover": published_earth_mover,
    "histogram_intersection": published_histogram_intersection,
    "kullback_leibler": published_kullback_leibler,
}


def published_map(values: ArrayLike, size: int, *, kind: Literal["human", "fine", "coarse"]) -> Array:
    """Bring a map to the common size as published (at side 160 to 32: standard deviation 5, every 5th pixel).

    Parameters
    ----------
    values
        ``[T, H, W]``.
    size
        Common side; for ``human`` and ``fine`` maps the side must be a multiple of it.
    kind
        ``human``: cut to the central square, then as ``fine``. ``fine``: blurred, every n-th pixel from pixel 0.
        ``coarse``: resized by antialiased cubic interpolation. All: smallest to greatest value of the clip to 0..1.

    Raises
    ------
    ExplainError
        When the side is no multiple of `size`.
    """
    array = np.asarray(values, np.float64)
    array = resample.central_square(array) if kind == "human" else array
    if kind == "coarse":
        return published_remap(resample.resize(array, (size, size), how="cubic", antialias=True))
    stride, rest = divmod(array.shape[-1], size)
    if rest:
        raise ExplainError(
            f"Every {array.shape[-1] / size:.2f}th pixel cannot be taken.",
            expected=f"A side that is a multiple of {size}.",
            remedy="Use prepare_map, which takes any side.",
        )
    return published_remap(resample.gaussian_down(array, float(stride), stride=stride))


def published_remap(values: ArrayLike, target: tuple[float, float] = (0.0, 1.0)) -> Array:
    """Scale values to `target`; a constant becomes NaN.

    Examples
    --------
    >>> published_remap([2.0, 2.0]).tolist()
    [nan, nan]
    """
    scaled = resample.remap(values, target)
    return np.full(np.shape(values), np.nan) if scaled is None else scaled


def published_fourier_down(values: ArrayLike, size: int) -> Array:
    """Keep the lowest frequencies of ``[..., H, W]``; intensities come out multiplied by ``H W / size^2``.

    Raises
    ------
    ExplainError
        For an odd size.
    """
    if size % 2:
        raise ExplainError(
            f"Size {size} is odd.", expected="An even size.", remedy="Use fourier_resize, which does any size."
        )
    half = size // 2
    spectrum = np.fft.rfft2(np.asarray(values, np.float64))[..., : half + 1]
    kept = np.concatenate([spectrum[..., :half, :], spectrum[..., -half:, :]], axis=-2)
    return np.fft.irfft2(kept, s=(size, size))


def _shares(values: Array) -> Array:
    if values.min() < 0:
        raise ExplainError(
            "A map holds negative values.", expected="Values of at least 0.", remedy="Scale the map to 0..1 first."
        )
    raised = values + EPSILON
    shares: Array = raised / raised.sum()
    return shares
