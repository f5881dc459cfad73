"""Coefficients of agreement from tables of counts, for many tables at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def raw_agreement(counts: np.ndarray) -> np.ndarray:
    """Return the share of time points on which two raters agree.

    Parameters
    ----------
    counts
        Shape [..., k, k]: how often the first rater said i and the second j.

    Returns
    -------
    numpy.ndarray
        Shape [...]; NaN where nothing was counted.
    """
    return _divide(np.trace(counts, axis1=-2, axis2=-1), counts.sum((-2, -1)))


def cohen_kappa(counts: np.ndarray) -> np.ndarray:
    """Return Cohen's kappa: agreement beyond that of independent raters with the same habits.

    Parameters
    ----------
    counts
        Shape [..., k, k].

    Returns
    -------
    numpy.ndarray
        Shape [...]; NaN where both raters gave one and the same value throughout.

    Source
    ------
    Cohen (1960), A coefficient of agreement for nominal scales.

    Examples
    --------
    >>> round(float(cohen_kappa(np.array([[20, 5], [10, 15]]))), 3)
    0.4
    """
    total = counts.sum((-2, -1))
    observed = raw_agreement(counts)
    products = (counts.sum(-1).astype(float) * counts.sum(-2)).sum(-1)
    expected = _divide(products, total.astype(float) ** 2)
    return _divide(observed - expected, 1 - expected)


def weighted_kappa(counts: np.ndarray) -> np.ndarray:
    """Return Cohen's kappa with linear weights: confusing neighbours in the order counts less.

    Parameters
    ----------
    counts
        Shape [..., k, k], categories from weakest to strongest.

    Returns
    -------
    numpy.ndarray
        Shape [...]; NaN where chance could not disagree. For two categories the same as `cohen_kappa`.

    Source
    ------
    Cohen (1968), Weighted kappa.
    """
    steps = np.arange(counts.shape[-1])
    distance = np.abs(steps[:, None] - steps[None, :])
    expected = counts.sum(-1).astype(float)[..., :, None] * counts.sum(-2)[..., None, :]
    expected = expected / np.maximum(counts.sum((-2, -1)), 1)[..., None, None]
    return 1 - _divide((counts * distance).sum((-2, -1)), (expected * distance).sum((-2, -1)))


def gwet_ac1(counts: np.ndarray) -> np.ndarray:
    """Return Gwet's AC1, which stays meaningful when one category is rare.

    Parameters
    ----------
    counts
        Shape [..., k, k].

    Returns
    -------
    numpy.ndarray
        Shape [...]; NaN where nothing was counted.

    Source
    ------
    Gwet (2008), Computing inter-rater reliability and its variance in the presence of high agreement.
    """
    total = counts.sum((-2, -1))
    shares = _divide(counts.sum(-1) + counts.sum(-2), 2 * total[..., None])
    chance = (shares * (1 - shares)).sum(-1) / (counts.shape[-1] - 1)
    return _divide(raw_agreement(counts) - chance, 1 - chance)


def krippendorff_alpha(coincidences: np.ndarray) -> np.ndarray:
    """Return Krippendorff's alpha for nominal categories, any number of raters, missing ones allowed.

    Parameters
    ----------
    coincidences
        Shape [..., k, k]: for every time point with m >= 2 raters, each ordered pair of different raters adds
        1 / (m - 1). For two raters that is ``counts + counts.T``.

    Returns
    -------
    numpy.ndarray
        Shape [...]; NaN where all values are the same.

    Source
    ------
    Krippendorff (2011), Computing Krippendorff's alpha-reliability.
    """
    totals = coincidences.sum(-1)
    n = totals.sum(-1)
    observed = n - np.trace(coincidences, axis1=-2, axis2=-1)
    expected = _divide(n**2 - (totals.astype(float) ** 2).sum(-1), n - 1)
    return 1 - _divide(observed, expected)


def alpha_of_pair(counts: np.ndarray) -> np.ndarray:
    """Return Krippendorff's alpha of two raters from their table of counts (see `krippendorff_alpha`)."""
    return krippendorff_alpha(counts + np.swapaxes(counts, -1, -2))


PAIR_STATISTICS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "raw_agreement": raw_agreement,
    "cohen_kappa": cohen_kappa,
    "weighted_kappa": weighted_kappa,
    "krippendorff_alpha": alpha_of_pair,
    "gwet_ac1": gwet_ac1,
}


def resample(sessions: int, resamples: int, generator: np.random.Generator) -> np.ndarray:
    """Draw bootstrap samples of sessions.

    Parameters
    ----------
    sessions
        How many sessions there are.
    resamples
        How many samples to draw.
    generator
        Source of randomness.

    Returns
    -------
    numpy.ndarray
        int64 of shape [resamples, sessions]: how often each session is in each sample.
    """
    drawn: np.ndarray = generator.multinomial(sessions, np.full(sessions, 1 / sessions), size=resamples)
    return drawn


def interval(values: np.ndarray) -> tuple[float, float]:
    """Return the 95 % percentile interval of bootstrap values; NaN when more than half of them are undefined."""
    defined = values[np.isfinite(values)]
    if len(defined) * 2 <= len(values):
        return float("nan"), float("nan")
    low, high = np.percentile(defined, [2.5, 97.5])
    return float(low), float(high)


def _divide(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """Divide, with NaN where the divisor is zero."""
    top, bottom = np.broadcast_arrays(np.asarray(top, dtype=float), np.asarray(bottom, dtype=float))
    result: np.ndarray = np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom != 0)
    return result
