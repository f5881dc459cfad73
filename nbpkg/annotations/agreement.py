"""Agreement between raters at a fixed rate, with intervals over sessions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

import numpy as np
import pandas as pd

from nbpkg import seeding, tables
from nbpkg.annotations import coefficients
from nbpkg.annotations.scheme import AnnotationScheme
from nbpkg.errors import TableError

MACHINE = "machine"
KEYS = ["task", "variable", "session", "step"]
Labels = Literal["all", "binary"]
SAME = "all raters compared gave one and the same value throughout"


@dataclass(frozen=True)
class Counts:
    """How often each pair of raters gave each pair of values, for every task, variable and session.

    Parameters
    ----------
    labels
        ``all`` or ``binary`` categories.
    raters, tasks, variables, sessions
        Names along the axes; `pairs` of raters are in the order of `raters`.
    pairs
        Pairs of raters.
    categories
        Values of each variable, unmarked time first.
    tables
        int64 of shape [pairs, tasks, variables, sessions, k, k].
    coincidences
        float64 of shape [tasks, variables, sessions, k, k], over all raters but the machine
        (see `coefficients.krippendorff_alpha`).
    """

    labels: str
    raters: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]
    tasks: tuple[str, ...]
    variables: tuple[str, ...]
    sessions: tuple[str, ...]
    categories: tuple[tuple[str, ...], ...]
    tables: np.ndarray
    coincidences: np.ndarray


def widen(codes: pd.DataFrame, scheme: AnnotationScheme) -> pd.DataFrame:
    """Put the raters side by side.

    Parameters
    ----------
    codes
        Result of `nbpkg.annotations.sampling.unroll`.
    scheme
        Order of the raters; raters unknown to it (e.g. ``machine``) come last.

    Returns
    -------
    pandas.DataFrame
        Columns task, variable, session, step and one column of codes per rater (NaN where a rater did not rate).
    """
    long = codes.melt(["session", "rater", "task", "step"], scheme.variables, var_name="variable", value_name="code")
    wide = long.pivot_table(index=KEYS, columns="rater", values="code").reset_index()
    wide.columns.name = None
    found = [name for name in wide.columns if name not in KEYS]
    return wide[[*KEYS, *(name for name in scheme.raters if name in found), *sorted(set(found) - set(scheme.raters))]]


def count_pairs(wide: pd.DataFrame, scheme: AnnotationScheme, *, labels: Labels = "all") -> Counts:
    """Count how often raters agree, session by session.

    Parameters
    ----------
    wide
        Result of `widen`, or any table with columns task, variable, session and one column of codes per rater; a
        rater named ``machine`` is counted like the others.
    scheme
        Tasks, variables and values. ``compat: reference`` counts the two lowest categories only and so leaves out
        every time point where either rater chose a higher one.
    labels
        ``all`` categories, or ``binary``: anything marked against nothing.
    """
    raters = [name for name in wide.columns if name not in (*KEYS, "start_ms")]
    if len(raters) < 2:
        raise TableError("Agreement needs two raters.", expected="One column per rater.", where=f"found {raters}")
    values = wide[raters].to_numpy(dtype=float)
    full = max(len(scheme.categories(name)) for name in scheme.variables)
    if np.nanmax(values, initial=0) >= full or np.nanmin(values, initial=0) < 0:
        raise TableError("A code has no category.", expected=f"Codes 0 to {full - 1}, empty where nobody rated.")
    if labels == "binary":
        values = np.where(np.isnan(values), np.nan, values > 0)
    size = 2 if labels == "binary" or scheme.compat == "reference" else full
    names = {"task": list(scheme.tasks), "variable": list(scheme.variables), "session": list(scheme.sessions)}
    for key, known in names.items():
        unknown = sorted(set(wide[key]) - set(known))
        if unknown:
            raise TableError(f"The {key} {unknown[0]!r} is unknown.", expected=f"One of {', '.join(known)}.")
    names["session"] = [name for name in names["session"] if (wide["session"] == name).any()]
    shape = tuple(len(known) for known in names.values())
    places = [wide[key].map({name: place for place, name in enumerate(known)}) for key, known in names.items()]
    cell = np.ravel_multi_index(tuple(place.to_numpy() for place in places), shape) if len(wide) else np.zeros(0, int)

    def count(first: int, second: int, weights: np.ndarray | None = None) -> np.ndarray:
        one, two = values[:, first], values[:, second]
        kept = (one < size) & (two < size)  # NaN is not
        index = (cell[kept] * size + one[kept].astype(int)) * size + two[kept].astype(int)
        given = None if weights is None else weights[kept]
        return np.bincount(index, given, minlength=int(np.prod(shape)) * size * size).reshape(*shape, size, size)

    pairs = list(combinations(range(len(raters)), 2))
    tables_ = np.stack([count(*pair) for pair in pairs]).astype(np.int64)
    people = [place for place, name in enumerate(raters) if name != MACHINE]
    weights = 1 / np.maximum((values[:, people] < size).sum(axis=1) - 1, 1)
    single = np.zeros((*shape, size, size)) + sum(count(*pair, weights) for pair in combinations(people, 2))
    binary = [(scheme.absent, "marked")] * len(scheme.variables)
    ordered = [tuple(scheme.categories(name)[:size]) for name in scheme.variables]
    return Counts(
        labels,
        tuple(raters),
        tuple((raters[first], raters[second]) for first, second in pairs),
        tuple(names["task"]),
        tuple(names["variable"]),
        tuple(names["session"]),
        tuple(binary if labels == "binary" else ordered),
        tables_,
        single + np.swapaxes(single, -1, -2),
    )


def measure_agreement(counts: Counts, *, seed: int = 0, resamples: int = 1000) -> pd.DataFrame:
    """Compute all statistics of agreement for all pairs and groupings, with intervals over sessions.

    Time points of one session depend on each other, so whole sessions are drawn for the intervals.

    Parameters
    ----------
    counts
        Result of `count_pairs`.
    seed
        Seed of the bootstrap.
    resamples
        Number of bootstrap samples.

    Returns
    -------
    pandas.DataFrame
        Table ``agreement``: raw_agreement, cohen_kappa, weighted_kappa (linear), krippendorff_alpha (nominal) and
        gwet_ac1 of every pair, for all, each task, each variable and each (task, variable). Rows human × human and
        human × machine hold the plain means over such pairs, and all × all Krippendorff's alpha of all people.

    Source
    ------
    infant-engagement: local/reliability.py for the groupings and means; we keep all categories, n and reasons.
    """
    drawn = coefficients.resample(len(counts.sessions), resamples, seeding.generator(seed, "agreement"))
    rows: list[dict[str, object]] = []
    for task, variable in list_groups(counts):
        chosen = select_group(counts, task, variable)
        group = {"labels": counts.labels, "task": task, "variable": variable}
        sizes = {
            len(counts.categories[place]) for place, name in enumerate(counts.variables) if variable in ("all", name)
        }
        for statistic, compute in coefficients.PAIR_STATISTICS.items():
            mixed = statistic == "weighted_kappa" and len(sizes) > 1
            found = [_measure(table, compute, drawn) for table in chosen.tables]
            for pair, one in zip(counts.pairs, found, strict=True):
                kept = (
                    replace(one, value=np.nan, low=np.nan, high=np.nan, reason="scales differ in length")
                    if mixed
                    else one
                )
                rows.append(
                    {**group, "rater_1": pair[0], "rater_2": pair[1], "statistic": statistic, **kept.as_columns()}
                )
            for kind in ("human", MACHINE):
                members = [
                    one for pair, one in zip(counts.pairs, found, strict=True) if (MACHINE in pair) == (kind == MACHINE)
                ]
                if members and not mixed:
                    mean = _average(members)
                    rows.append(
                        {**group, "rater_1": "human", "rater_2": kind, "statistic": statistic, **mean.as_columns()}
                    )
        alpha = _measure(chosen.coincidences, coefficients.krippendorff_alpha, drawn)
        columns = {**alpha.as_columns(), "n": round(alpha.n)}
        rows.append({**group, "rater_1": "all", "rater_2": "all", "statistic": "krippendorff_alpha", **columns})
    return tables.from_rows(rows, "agreement")


def tabulate_pairs(counts: Counts) -> pd.DataFrame:
    """Write the tables of counts out.

    Parameters
    ----------
    counts
        Result of `count_pairs`.

    Returns
    -------
    pandas.DataFrame
        Columns labels, task, variable, session, rater_1, rater_2, value_1, value_2, count (time points), for all
        pairs with common time.
    """
    parts = []
    for place, variable in enumerate(counts.variables):
        values = counts.categories[place]
        size = len(values)
        table = counts.tables[:, :, place, :, :size, :size]
        index = pd.MultiIndex.from_product(
            [range(len(counts.pairs)), counts.tasks, counts.sessions, values, values],
            names=["pair", "task", "session", "value_1", "value_2"],
        )
        part = pd.DataFrame({"count": table.reshape(-1)}, index=index).reset_index()
        part = part[part.groupby(["pair", "task", "session"])["count"].transform("sum") > 0]
        part["rater_1"] = [counts.pairs[pair][0] for pair in part["pair"]]
        part["rater_2"] = [counts.pairs[pair][1] for pair in part["pair"]]
        parts.append(part.assign(labels=counts.labels, variable=variable))
    columns = ["labels", "task", "variable", "session", "rater_1", "rater_2", "value_1", "value_2", "count"]
    return pd.concat(parts, ignore_index=True)[columns]


def list_groups(counts: Counts) -> list[tuple[str, str]]:
    """Return (task, variable) of all groupings: all, each task, each variable, each of both."""
    tasks: Sequence[str] = ("all", *counts.tasks)
    variables: Sequence[str] = ("all", *counts.variables)
    return [(task, variable) for variable in variables for task in tasks]


@dataclass(frozen=True)
class Chosen:
    """Counts of one grouping: `tables` [pairs, sessions, k, k] and `coincidences` [sessions, k, k]."""

    tables: np.ndarray
    coincidences: np.ndarray


def select_group(counts: Counts, task: str, variable: str) -> Chosen:
    """Add up the counts over the tasks and variables of one grouping (``all`` for all of them)."""
    tasks = list(range(len(counts.tasks))) if task == "all" else [counts.tasks.index(task)]
    variables = list(range(len(counts.variables))) if variable == "all" else [counts.variables.index(variable)]
    return Chosen(
        counts.tables[:, tasks][:, :, variables].sum((1, 2)), counts.coincidences[tasks][:, variables].sum((0, 1))
    )


@dataclass(frozen=True)
class _Measured:
    value: float
    low: float
    high: float
    n: float
    sessions: frozenset[int]
    reason: str
    draws: np.ndarray

    def as_columns(self) -> dict[str, object]:
        return {
            "value": self.value,
            "low": self.low,
            "high": self.high,
            "n": self.n,
            "n_sessions": len(self.sessions),
            "reason": self.reason,
        }


def _measure(tables_: np.ndarray, compute: Callable[[np.ndarray], np.ndarray], drawn: np.ndarray) -> _Measured:
    """Compute one statistic of per-session tables [sessions, k, k], with its bootstrap."""
    sessions, size, _ = tables_.shape
    total = tables_.sum(axis=0)
    rated = frozenset(np.flatnonzero(tables_.sum((1, 2))).tolist())
    value = float(compute(total))
    draws = compute((drawn @ tables_.reshape(sessions, -1)).reshape(-1, size, size))
    low, high = coefficients.interval(draws) if len(rated) > 1 and np.isfinite(value) else (np.nan, np.nan)
    reason = "" if np.isfinite(value) else "the raters share no time" if not rated else SAME
    return _Measured(value, low, high, total.sum(), rated, reason, draws)


def _average(members: list[_Measured]) -> _Measured:
    """Take the plain mean over pairs of raters, leaving undefined ones out."""
    values = np.array([member.value for member in members])
    draws = np.stack([member.draws for member in members])
    defined = np.isfinite(draws)
    means = np.where(defined.any(0), np.where(defined, draws, 0).sum(0) / np.maximum(defined.sum(0), 1), np.nan)
    sessions = frozenset().union(*(member.sessions for member in members))
    n = sum(member.n for member in members)
    if not np.isfinite(values).any():
        return _Measured(np.nan, np.nan, np.nan, n, sessions, "undefined for every pair", means)
    low, high = coefficients.interval(means) if len(sessions) > 1 else (np.nan, np.nan)
    return _Measured(float(np.nanmean(values)), low, high, n, sessions, "", means)
