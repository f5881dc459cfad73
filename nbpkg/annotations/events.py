"""Agreement on events: did the raters mark the same things, whatever their exact borders."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from nbpkg import seeding, tables
from nbpkg.annotations import coefficients
from nbpkg.annotations.agreement import Labels
from nbpkg.annotations.sampling import common_window
from nbpkg.annotations.scheme import AnnotationScheme
from nbpkg.annotations.spans import GROUP

CRITERIA = ("onset", "overlap")


def list_events(spans: pd.DataFrame, scheme: AnnotationScheme, *, labels: Labels = "all") -> pd.DataFrame:
    """Join neighbouring spans of equal value to events, within the time that the raters of a task share.

    Parameters
    ----------
    spans
        Table ``spans``.
    scheme
        Says which value is unmarked time.
    labels
        ``all``: an event ends where the value changes; ``binary``: where marking ends.

    Returns
    -------
    pandas.DataFrame
        Columns session, rater, task, variable, value (``marked`` when binary), has_onset, start_ms, end_ms. An event
        that was going on when the shared time began has no onset: cutting would give both raters the same one.
    """
    if not len(spans):
        return spans[[*GROUP, "value", "start_ms", "end_ms"]].assign(has_onset=True)
    tasks = (
        spans.groupby(GROUP[:3], sort=False).agg(start_ms=("start_ms", "min"), end_ms=("end_ms", "max")).reset_index()
    )
    windows = common_window(tasks).rename(columns={"start_ms": "low", "end_ms": "high"})
    rows = spans.sort_values([*GROUP, "start_ms"], kind="stable").merge(windows, on=["session", "task"], how="left")
    value = rows["value"].where(rows["value"] == scheme.absent, "marked") if labels == "binary" else rows["value"]
    rows = rows.assign(
        value=value,
        has_onset=rows["start_ms"] > rows["low"],
        start_ms=rows[["start_ms", "low"]].max(axis=1),
        end_ms=rows[["end_ms", "high"]].min(axis=1),
    )
    rows = rows[(rows["start_ms"] < rows["end_ms"]) & (rows["value"] != scheme.absent)]
    keys = [*GROUP, "value"]
    is_new = (rows[keys] != rows[keys].shift()).any(axis=1) | (rows["start_ms"] != rows["end_ms"].shift())
    first = {key: (key, "first") for key in (*keys, "has_onset")}
    joined = rows.assign(event=is_new.cumsum()).groupby("event", sort=False)
    return joined.agg(**first, start_ms=("start_ms", "min"), end_ms=("end_ms", "max")).reset_index(drop=True)


def match_events(
    first: pd.DataFrame, second: pd.DataFrame, *, criterion: str, tolerance_ms: int
) -> list[tuple[int, int]]:
    """Pair the events of two raters one to one, as many as possible.

    Parameters
    ----------
    first, second
        Events of one session, task and variable: columns value, start_ms, end_ms.
    criterion
        ``onset``: same value, onsets at most `tolerance_ms` apart; ``overlap``: same value, and some time shared or
        the gap between them at most `tolerance_ms`.
    tolerance_ms
        Tolerance in milliseconds.

    Returns
    -------
    list of (int, int)
        Positions in `first` and `second`. No matching has more pairs (Hopcroft and Karp's algorithm).
    """
    start_1, start_2 = first["start_ms"].to_numpy()[:, None], second["start_ms"].to_numpy()[None, :]
    end_1, end_2 = first["end_ms"].to_numpy()[:, None], second["end_ms"].to_numpy()[None, :]
    same = first["value"].to_numpy()[:, None] == second["value"].to_numpy()[None, :]
    if criterion == "onset":
        fits = np.abs(start_1 - start_2) <= tolerance_ms
    else:
        gap = np.maximum(start_1, start_2) - np.minimum(end_1, end_2)
        fits = (gap < 0) | ((gap <= tolerance_ms) if tolerance_ms else np.zeros_like(gap, dtype=bool))
    allowed = (same & fits).astype(np.int8)
    if not allowed.any():
        return []
    partners = maximum_bipartite_matching(csr_array(allowed), perm_type="column")
    return [(row, int(column)) for row, column in enumerate(partners) if column >= 0]


def measure_events(
    spans: pd.DataFrame,
    scheme: AnnotationScheme,
    *,
    labels: Labels = "all",
    tolerance_ms: int = 1000,
    overlap_gap_ms: int = 0,
    seed: int = 0,
    resamples: int = 1000,
) -> pd.DataFrame:
    """Compute precision, recall and F1 of events for every pair of raters, with intervals over sessions.

    Parameters
    ----------
    spans
        Table ``spans``.
    scheme
        Order of raters, tasks and variables.
    labels
        ``all`` values, or ``binary``.
    tolerance_ms
        How far onsets may lie apart, milliseconds.
    overlap_gap_ms
        Gap over which events still count as overlapping, milliseconds.
    seed, resamples
        Seed and number of bootstrap samples.

    Returns
    -------
    pandas.DataFrame
        Table ``agreement`` with statistics onset_recall (share of the first rater's events that the second has too),
        onset_precision (the reverse), onset_f1, and the same for overlap; n counts the events of both.
    """
    events = list_events(spans, scheme, labels=labels)
    found = [*scheme.raters, *sorted(set(spans["rater"]) - set(scheme.raters))]
    raters = [name for name in found if (spans["rater"] == name).any()]
    sessions = [name for name in scheme.sessions if (spans["session"] == name).any()]
    drawn = coefficients.resample(len(sessions), resamples, seeding.generator(seed, "events"))
    rated = {key: set(rows["session"]) for key, rows in spans.groupby(["rater", "task"])}
    tolerances = {"onset": tolerance_ms, "overlap": overlap_gap_ms}
    rows: list[dict[str, object]] = []
    for first, second in combinations(raters, 2):
        shared = np.array(
            [
                [session in rated.get((first, task), set()) & rated.get((second, task), set()) for session in sessions]
                for task in scheme.tasks
            ]
        )
        counts = _count_events(events, (first, second), sessions, scheme=scheme, tolerances=tolerances)
        names = {"labels": labels, "rater_1": first, "rater_2": second}
        rows += _summarise(counts * shared[None, :, None, :, None], shared, drawn, scheme, names)
    return tables.from_rows(rows, "agreement")


def _count_events(
    events: pd.DataFrame,
    pair: tuple[str, str],
    sessions: list[str],
    *,
    scheme: AnnotationScheme,
    tolerances: dict[str, int],
) -> np.ndarray:
    """Count events (matched, first, second) of two raters: int64 [criteria, tasks, variables, sessions, 3]."""
    counts = np.zeros((len(CRITERIA), len(scheme.tasks), len(scheme.variables), len(sessions), 3), dtype=np.int64)
    axes = (scheme.tasks, scheme.variables, sessions)
    places = [{name: place for place, name in enumerate(axis)} for axis in axes]
    for key, rows in events[events["rater"].isin(pair)].groupby(["task", "variable", "session"], sort=False):
        t, v, s = (place[name] for place, name in zip(places, map(str, tuple(key)), strict=True))
        for c, criterion in enumerate(CRITERIA):
            counted = rows[rows["has_onset"].to_numpy(dtype=bool)] if criterion == "onset" else rows
            one, two = (counted[counted["rater"] == rater] for rater in pair)
            matched = match_events(one, two, criterion=criterion, tolerance_ms=tolerances[criterion])
            counts[c, t, v, s] = len(matched), len(one), len(two)
    return counts


def _summarise(
    counts: np.ndarray, shared: np.ndarray, drawn: np.ndarray, scheme: AnnotationScheme, names: dict[str, str]
) -> list[dict[str, object]]:
    """Turn counts [criteria, tasks, variables, sessions, 3] into rows for every grouping."""
    rows: list[dict[str, object]] = []
    for task in ("all", *scheme.tasks):
        tasks = list(range(len(scheme.tasks))) if task == "all" else [scheme.tasks.index(task)]
        for variable in ("all", *scheme.variables):
            variables = list(range(len(scheme.variables))) if variable == "all" else [scheme.variables.index(variable)]
            n_sessions = int(shared[tasks].any(axis=0).sum())
            for place, criterion in enumerate(CRITERIA):
                table = counts[place][tasks][:, variables].sum((0, 1))
                values, draws = _score(table.sum(axis=0)), _score(drawn @ table)
                for statistic, value in values.items():
                    low, high = (
                        coefficients.interval(draws[statistic])
                        if n_sessions > 1 and np.isfinite(value)
                        else (np.nan,) * 2
                    )
                    reason = (
                        ""
                        if np.isfinite(value)
                        else "no events to compare"
                        if n_sessions
                        else "the raters share no time"
                    )
                    rows.append(
                        {
                            **names,
                            "task": task,
                            "variable": variable,
                            "statistic": f"{criterion}_{statistic}",
                            "value": float(value),
                            "low": low,
                            "high": high,
                            "n": int(table[:, 1:].sum()),
                            "n_sessions": n_sessions,
                            "reason": reason,
                        }
                    )
    return rows


def _score(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Compute recall, precision and F1 of counts [..., (matched, first, second)]."""
    matched, first, second = (np.asarray(counts[..., place], dtype=float) for place in range(3))
    with np.errstate(invalid="ignore", divide="ignore"):
        return {"recall": matched / first, "precision": matched / second, "f1": 2 * matched / (first + second)}
