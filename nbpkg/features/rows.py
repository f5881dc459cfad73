"""What every kind of feature comes to: one row per second, the columns' names, and what was noticed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbpkg.errors import Problem

_NAMED = 5  # seconds, columns or sessions that a message spells out


class Features(NamedTuple):
    """Features of one session and modality.

    Parameters
    ----------
    rows
        float32 ``[T, D]``; row t describes seconds ``[t, t + 1)``. A row that is NaN throughout says that there was
        nothing to perceive; no row is NaN in part.
    names
        Of the columns.
    problems
        What was noticed and how it was dealt with; none of severity ``error``.
    """

    rows: NDArray[np.float32]
    names: list[str]
    problems: list[Problem]


def missing_rows(rows: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return which rows ``[T]`` say that nothing was perceived.

    Examples
    --------
    >>> missing_rows(np.array([[1.0, 2.0], [np.nan, np.nan]]))
    array([False,  True])
    """
    absent: NDArray[np.bool_] = np.isnan(rows).all(axis=1)
    return absent


def spell(items: Sequence[object]) -> str:
    """Write a list for a message, cut after some.

    Examples
    --------
    >>> spell([3, 4, 9]), spell(range(9))
    ('3, 4, 9', '0, 1, 2, 3, 4, … (9)')
    """
    text = ", ".join(map(str, items[:_NAMED]))
    return text if len(items) <= _NAMED else f"{text}, … ({len(items)})"
