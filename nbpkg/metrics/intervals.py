"""Confidence intervals over sessions: clips of one session resemble each other, so sessions are what is resampled."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nbpkg import seeding
from nbpkg.errors import TableError

Array = NDArray[np.float64]


class Interval(NamedTuple):
    """A percentile interval.

    Parameters
    ----------
    low, high
        Bounds; NaN when there are fewer than two groups or the statistic was mostly undefined.
    n_groups
        Groups resampled.
    undefined
        Share of resamples in which the statistic was undefined, which were left out.
    """

    low: float
    high: float
    n_groups: int
    undefined: float


def draw_weights(n_groups: int, *, seed: int, resamples: int = 2000) -> Array:
    """Draw how often each group occurs in each resample, [resamples, groups]."""
    if n_groups < 1:
        return np.zeros((resamples, 0))
    random = seeding.generator(seed, "bootstrap", n_groups)
    return random.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=resamples).astype(np.float64)


def bootstrap_counts(
    counts: ArrayLike,
    statistic: Callable[[Array], Array],
    *,
    seed: int,
    resamples: int = 2000,
    level: float = 0.95,
) -> Interval:
    """Percentile bootstrap of a statistic of summed counts, all resamples at once.

    Parameters
    ----------
    counts
        [groups, ...], what each group adds, e.g. its confusion matrix.
    statistic
        Sums [resamples, ...] to values [resamples]; NaN where undefined.
    seed
        The experiment's seed. Statistics of the same groups see the same resamples.
    resamples
        Number of resamples.
    level
        Coverage asked for.

    Notes
    -----
    With few groups a percentile interval is too narrow and jumpy (of five groups, one resample in ten holds at most
    two), which is why `n_groups` is written beside every interval.
    """
    table = np.asarray(counts, np.float64)
    weights = draw_weights(len(table), seed=seed, resamples=resamples)
    values = statistic(np.tensordot(weights, table, axes=1))
    return percentile_interval(values, n_groups=len(table), level=level)


def bootstrap_area(
    wins: Array,
    positives: ArrayLike,
    *,
    negatives: ArrayLike,
    seed: int,
    resamples: int = 2000,
    level: float = 0.95,
) -> Interval:
    """Percentile bootstrap of the area under the ROC curve from pair counts between groups.

    Parameters
    ----------
    wins
        [groups, groups], from `nbpkg.metrics.classification.pair_wins`.
    positives, negatives
        [groups], samples of each class.
    seed, resamples, level
        As in `bootstrap_counts`.
    """
    weights = draw_weights(len(wins), seed=seed, resamples=resamples)
    pairs = (weights @ np.asarray(positives, np.float64)) * (weights @ np.asarray(negatives, np.float64))
    won = np.einsum("rg,gh,rh->r", weights, wins, weights, optimize=True)
    values = np.full(len(pairs), np.nan)
    np.divide(won, pairs, out=values, where=pairs > 0)
    return percentile_interval(values, n_groups=len(wins), level=level)


def bootstrap_rows(
    groups: ArrayLike,
    statistic: Callable[[NDArray[np.int64]], float],
    *,
    seed: int,
    resamples: int = 1000,
    level: float = 0.95,
) -> Interval:
    """Percentile bootstrap of any statistic of rows, one resample after the other.

    Parameters
    ----------
    groups
        [n], the group of each row.
    statistic
        Row numbers (with repeats) to a value; NaN where undefined.
    seed, resamples, level
        As in `bootstrap_counts`.

    Examples
    --------
    >>> values = np.array([1.0, 1.0, 3.0, 3.0])
    >>> interval = bootstrap_rows(["a", "a", "b", "b"], lambda rows: values[rows].mean(), seed=0)
    >>> interval.low, interval.high, interval.n_groups
    (1.0, 3.0, 2)
    """
    names, number = np.unique(np.asarray(groups), return_inverse=True)
    members = [np.flatnonzero(number == index) for index in range(len(names))]
    weights = draw_weights(len(names), seed=seed, resamples=resamples).astype(np.int64)
    drawn = (np.concatenate([np.tile(members[g], w[g]) for g in np.flatnonzero(w)]) for w in weights if len(names))
    values = np.array([statistic(rows) for rows in drawn])
    return percentile_interval(values, n_groups=len(names), level=level)


def percentile_interval(values: Array, *, n_groups: int, level: float = 0.95) -> Interval:
    """Take the central part of resampled values, leaving undefined ones out when they are the minority."""
    if not 0 < level < 1:
        raise TableError(f"Level {level} was asked for.", expected="A share between 0 and 1, e.g. 0.95.")
    missing = float(np.isnan(values).mean()) if len(values) else 1.0
    if n_groups < 2 or missing > 0.5:
        return Interval(float("nan"), float("nan"), n_groups, missing)
    low, high = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), n_groups, missing)
