"""Counts, means, spreads and ranges of features, put together from parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Moments:
    """What some rows show of each feature, in double precision.

    Parameters
    ----------
    rows
        Number of rows.
    mean
        float64 ``(D,)``.
    squares
        Sum of squared deviations from the mean, float64 ``(D,)``.
    least, greatest
        Range, float64 ``(D,)``; infinite without rows.
    """

    rows: int
    mean: NDArray[np.float64]
    squares: NDArray[np.float64]
    least: NDArray[np.float64]
    greatest: NDArray[np.float64]

    @property
    def constant(self) -> NDArray[np.bool_]:
        """Whether all rows hold the same value; sums would say so only up to rounding."""
        same: NDArray[np.bool_] = self.least == self.greatest
        return same

    @property
    def std(self) -> NDArray[np.float64]:
        """Standard deviation (population), exactly 0 where the feature is constant."""
        spread: NDArray[np.float64] = np.sqrt(self.squares / max(self.rows, 1))
        return np.where(self.constant, 0.0, spread)


def measure(rows: NDArray[np.floating]) -> Moments:
    """Return the moments of rows ``(N, D)``."""
    values = rows.astype(np.float64)
    mean = values.sum(axis=0) / max(len(values), 1)
    return Moments(
        len(values),
        mean,
        ((values - mean) ** 2).sum(axis=0),
        values.min(axis=0, initial=np.inf),
        values.max(axis=0, initial=-np.inf),
    )


def merge(parts: Sequence[Moments]) -> Moments:
    """Return the moments of all rows of several parts (at least one).

    Source: Chan, Golub and LeVeque (1983): no difference of large sums is taken.
    """
    rows = sum(part.rows for part in parts)
    mean = sum((part.mean * (part.rows / max(rows, 1)) for part in parts), np.zeros_like(parts[0].mean))
    squares = sum(
        (part.squares + part.rows * (part.mean - mean) ** 2 for part in parts), np.zeros_like(parts[0].squares)
    )
    least = np.min([part.least for part in parts], axis=0)
    return Moments(rows, mean, squares, least, np.max([part.greatest for part in parts], axis=0))
