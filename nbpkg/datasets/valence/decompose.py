"""Few components that hold most of many features, found without holding all recordings in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from nbpkg import seeding

_SPARE, _PASSES = 10, 8
_NOTHING = 1e-7


def decompose(
    parts: Callable[[], Iterable[NDArray[np.float32]]], width: int, *, components: int, seed: int
) -> NDArray[np.float64]:
    """Return the leading right singular vectors of rows that come in parts.

    Parameters
    ----------
    parts
        Gives the rows, part by part, float32 ``(rows, width)``, in the same order at each call.
    width
        Features of each row.
    components
        How many vectors, at most `width`.
    seed
        Seed of the vectors that the search begins with.

    Returns
    -------
    ndarray
        float64 ``(components, width)``, the greatest first; of each the entry that is farthest from 0 is positive. A
        vector beyond the rank of the rows is 0, so that it adds no noise.

    Source: subspace iteration with spare vectors (Halko, Martinsson and Tropp 2011), as scikit-learn's TruncatedSVD,
    which needs all rows at once.
    """
    start = seeding.generator(seed, "decompose").standard_normal((width, min(components + _SPARE, width)))
    basis = np.linalg.qr(start)[0]
    for _ in range(_PASSES):
        basis = np.linalg.qr(_product(parts(), basis))[0]
    values, turns = np.linalg.eigh(basis.T @ _product(parts(), basis))
    leading = np.argsort(values)[::-1][:components]
    vectors = (basis @ turns[:, leading]).T
    strengths = np.sqrt(np.maximum(values[leading], 0))
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=1)[:, None], axis=1)
    signed: NDArray[np.float64] = vectors * np.sign(largest)
    signed[strengths <= _NOTHING * strengths.max(initial=0)] = 0
    return signed


def _product(parts: Iterable[NDArray[np.float32]], basis: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``rows.T @ rows @ basis``."""
    total = np.zeros_like(basis)
    for rows in parts:
        values = rows.astype(np.float64)
        total += values.T @ (values @ basis)
    return total
