"""Faithfulness of maps in numbers: mean curves and the areas under them, with intervals over sessions."""

from __future__ import annotations

import numpy as np
import pandas as pd

from nbpkg.attention.comparing.summary import average_snippets

MAP, RANDOM = "map", "random order"  # what column ``note`` says of deletion and insertion


def average_curves(table: pd.DataFrame, *, seed: int, resamples: int = 2000) -> pd.DataFrame:
    """Average curves over snippets, with intervals over sessions, for every pair and all together.

    Parameters
    ----------
    table
        Table ``faithfulness``.
    seed, resamples
        Of the bootstrap.

    Returns
    -------
    pandas.DataFrame
        Columns task, variable (``all`` for all together), method, test, note, step, value, low, high, n (snippets with
        a value), n_groups (sessions).
    """
    block = table["note"].str.replace(r" \(.*\)$", "", regex=True)
    keys = ["task", "variable", "method", "test", "note", "step"]
    rows = [
        {**dict(zip(keys, names, strict=True)), **_average(part["value"], part["session"], seed, resamples)}
        for names, part in _with_all(table.assign(note=block)).groupby(keys, sort=False)
    ]
    return pd.DataFrame(rows, columns=[*keys, "value", "low", "high", "n", "n_groups"])


def measure_areas(table: pd.DataFrame, *, seed: int, resamples: int = 2000) -> pd.DataFrame:
    """Measure the areas under deletion and insertion curves, beside those of random orders of the same snippets.

    Parameters
    ----------
    table
        Table ``faithfulness``.
    seed, resamples
        Of the bootstrap.

    Returns
    -------
    pandas.DataFrame
        Columns task, variable (``all`` for all together), method, test (deletion, insertion), direction (lower, higher
        is better), value, low, high, random (area in random order), gain (by how much the map is better than random
        order), gain_low, gain_high, n (snippets), n_groups (sessions).
    """
    keys = ["task", "variable", "method", "test"]
    curves = table[table["test"] != "randomisation"].sort_values("step", kind="stable")
    whole = [*keys, "session", "snippet_id"]
    found: dict[tuple[str, ...], dict[str, float]] = {}
    for names, part in curves.groupby([*whole, "note"], sort=False):
        own = tuple(map(str, names))
        found.setdefault(own[:-1], {})[own[-1]] = float(np.trapezoid(part["value"], part["step"]))
    columns = [*whole, MAP, RANDOM]
    wide = pd.DataFrame([(*own, areas[MAP], areas[RANDOM]) for own, areas in found.items()], columns=columns)
    rows = []
    for names, part in _with_all(wide).groupby(keys, sort=False):
        sign = 1 if names[-1] == "insertion" else -1
        gain = _average(sign * (part[MAP] - part[RANDOM]), part["session"], seed, resamples)
        rows.append(
            {
                **dict(zip(keys, names, strict=True)),
                "direction": "higher" if sign > 0 else "lower",
                **_average(part[MAP], part["session"], seed, resamples),
                "random": float(part[RANDOM].mean()),
                "gain": gain["value"],
                "gain_low": gain["low"],
                "gain_high": gain["high"],
            }
        )
    columns = [*keys, "direction", "value", "low", "high", "random", "gain", "gain_low", "gain_high", "n", "n_groups"]
    return pd.DataFrame(rows, columns=columns)


def _with_all(table: pd.DataFrame) -> pd.DataFrame:
    """Put all pairs together before the pairs, where there are several."""
    several = len(table[["task", "variable"]].drop_duplicates()) > 1
    return pd.concat([table.assign(task="all", variable="all"), table]) if several else table


def _average(values: pd.Series, sessions: pd.Series, seed: int, resamples: int) -> dict[str, float]:
    """Average values over snippets, with an interval over sessions."""
    found = average_snippets(values.to_numpy(np.float64)[:, None], list(sessions), seed=seed, resamples=resamples)
    return {name: getattr(found, name)[0].item() for name in found._fields}
