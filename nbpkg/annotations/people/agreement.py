"""Do annotators of clips agree: in order (ICC), and in classes, pair by pair."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import cohen_kappa_score

from nbpkg.annotations.people.ratings import Cut, count_pairs, intraclass_correlation

PAIRS = ["rater_1", "rater_2", "clips", "same_class", "kappa_quadratic"]


@dataclass(frozen=True)
class RaterAgreement:
    """Agreement of annotators.

    Parameters
    ----------
    icc
        ICC(3,1) over clips that all rated; NaN where there is none.
    pairs
        rater_1, rater_2, clips (rated by both), same_class (share) and Cohen's kappa with quadratic weights.
    counts
        Pair to confusion of classes ``[C, C]``, the first one's class in rows.
    """

    icc: float = math.nan
    pairs: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=PAIRS))
    counts: dict[tuple[str, str], NDArray[np.int64]] = field(default_factory=dict)


def describe_raters(ratings: pd.DataFrame | None, *, cuts: Sequence[Cut]) -> RaterAgreement:
    """Return the agreement of annotators; nothing where classes were given or one person rated.

    Parameters
    ----------
    ratings
        Of `nbpkg.annotations.people.ratings.read_ratings`; None where classes were given.
    cuts
        Where classes end.
    """
    if ratings is None or ratings["rater"].nunique() < 2:
        return RaterAgreement()
    counts = count_pairs(ratings, cuts)
    rows = [
        {
            "rater_1": first,
            "rater_2": second,
            "clips": int(table.sum()),
            "same_class": float(np.trace(table) / table.sum()) if table.sum() else math.nan,
            "kappa_quadratic": _kappa(table),
        }
        for (first, second), table in counts.items()
    ]
    return RaterAgreement(intraclass_correlation(ratings), pd.DataFrame(rows, columns=PAIRS), counts)


def _kappa(table: NDArray[np.int64]) -> float:
    """Return quadratic kappa of a confusion; NaN where both gave one and the same class only."""
    first, second = (np.repeat(places.ravel(), table.ravel()) for places in np.indices(table.shape))
    if len(set(first.tolist()) | set(second.tolist())) < 2:
        return math.nan
    return float(cohen_kappa_score(first, second, weights="quadratic"))
