"""How much of what moves the answers comes from which modality, over sessions."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg.errors import TableError
from nbpkg.metrics.intervals import bootstrap_counts

COLUMNS = ["system", "modality", "method", "share", "low", "high", "n"]


def summarise_importance(importance: pd.DataFrame, *, seed: int, resamples: int = 2000) -> pd.DataFrame:
    """Say which share of the answers' movement is due to each modality.

    Parameters
    ----------
    importance
        Table ``valence_importance``.
    seed
        The experiment's seed.
    resamples
        Of the bootstrap.

    Returns
    -------
    pandas.DataFrame
        system, modality, method, share (mean over sessions of the session's share, of absolute values; modalities of
        a system and method add up to 1), low and high (95 % percentile bootstrap over sessions; NaN for one session),
        n (sessions). A session in which nothing moves the answer has no shares and is left out.

    Raises
    ------
    TableError
        When the table has no rows.
    """
    if importance.empty:
        raise TableError("No explanation was given.", expected="Rows of the table valence_importance.")
    tables = []
    for (system, method), rows in importance.groupby(["system", "method"], sort=True):
        found = _summarise(rows, seed=seed, resamples=resamples)
        tables.append(found.assign(system=str(system), method=str(method)))
    return pd.concat(tables, ignore_index=True)[COLUMNS]


def _summarise(rows: pd.DataFrame, *, seed: int, resamples: int) -> pd.DataFrame:
    """Summarise one method for one system."""
    moved = rows.assign(value=rows["value"].abs())
    totals = moved.pivot_table(index="session", columns="modality", values="value", aggfunc="sum", fill_value=0.0)
    totals = totals[rows["modality"].unique()]
    totals = totals[totals.sum(axis=1) > 0]
    shares = totals.div(totals.sum(axis=1), axis=0)
    found = []
    for modality in shares.columns:
        counts = np.column_stack([shares[modality], np.ones(len(shares))])
        interval = bootstrap_counts(counts, _divide, seed=seed, resamples=resamples)
        mean = float(_divide(counts.sum(axis=0, keepdims=True))[0])
        found.append(
            {"modality": modality, "share": mean, "low": interval.low, "high": interval.high, "n": len(shares)}
        )
    return pd.DataFrame(found)


def _divide(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return means of sums and counts ``[n, 2]``; NaN where nothing was counted."""
    means = np.full(len(sums), np.nan)
    np.divide(sums[:, 0], sums[:, 1], out=means, where=sums[:, 1] > 0)
    return means
