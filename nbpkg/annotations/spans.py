"""Interval algebra on half-open integer milliseconds: marks to a partition of each task, and what to ask of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from nbpkg import tables
from nbpkg.annotations import reference
from nbpkg.annotations.scheme import AnnotationScheme
from nbpkg.annotations.sweep import rank_span, sweep
from nbpkg.errors import TableError

GROUP = ["session", "rater", "task", "variable"]
TASK = ["session", "rater", "task", "start_ms", "end_ms"]


def task_spans(annotations: pd.DataFrame, scheme: AnnotationScheme) -> pd.DataFrame:
    """Return when each task takes place.

    Parameters
    ----------
    annotations
        Table ``annotations``.
    scheme
        Names the task tier and gives the order.

    Returns
    -------
    pandas.DataFrame
        Table ``tasks`` in the scheme's order. Without a task tier, the only task lasts from the start of the recording
        to the end of the last mark that any rater of the session made.
    """
    if scheme.task_tier is None:
        ends = annotations.groupby("session")["end_ms"].max()
        whole = annotations[["session", "rater"]].drop_duplicates()
        whole = whole.assign(task=scheme.tasks[0], start_ms=0, end_ms=whole["session"].map(ends))
        return tables.check(sort_rows(whole, scheme)[TASK], "tasks")
    rows = annotations[annotations["tier"] == scheme.task_tier].rename(columns={"value": "task"})
    rows = rows[rows["task"].isin(scheme.tasks)]
    return tables.check(sort_rows(rows, scheme)[TASK], "tasks")


def sort_rows(table: pd.DataFrame, scheme: AnnotationScheme) -> pd.DataFrame:
    """Sort by session, rater, task, variable in the scheme's order, then by time, as far as the columns exist."""
    orders = {
        "session": scheme.sessions,
        "rater": [*scheme.raters, *sorted(set(table.get("rater", [])) - set(scheme.raters))],
        "task": scheme.tasks,
        "variable": scheme.variables,
    }
    keys = {
        column: table[column].map({name: rank for rank, name in enumerate(order)})
        for column, order in orders.items()
        if column in table
    }
    frame = pd.DataFrame({**keys, "start_ms": table["start_ms"], "end_ms": table["end_ms"]}, index=table.index)
    order = np.lexsort([frame[column].to_numpy() for column in reversed(frame.columns)])
    return table.iloc[order].reset_index(drop=True)


def cut_to_tasks(annotations: pd.DataFrame, tasks: pd.DataFrame, scheme: AnnotationScheme) -> pd.DataFrame:
    """Cut the rated annotations at the borders of the tasks of the same session and rater.

    Parameters
    ----------
    annotations
        Table ``annotations``.
    tasks
        Table ``tasks``.
    scheme
        Names the rated tiers and gives the order.

    Returns
    -------
    pandas.DataFrame
        Columns session, rater, task, variable, value, start_ms, end_ms, and marked_ms (start before the cut) and row
        (place in the file). An annotation over two tasks gives two rows; parts without length are left out.
    """
    rated = annotations[annotations["tier"].isin(scheme.variables)].rename(columns={"tier": "variable"})
    legal = {name: set(scheme.categories(name)) for name in scheme.variables}
    is_legal = [value in legal[name] for name, value in zip(rated["variable"], rated["value"], strict=True)]
    rated = rated[np.array(is_legal, dtype=bool)]
    joined = rated.merge(tasks, on=["session", "rater"], suffixes=("", "_task"))
    cut = joined.assign(
        marked_ms=joined["start_ms"],
        start_ms=joined[["start_ms", "start_ms_task"]].max(axis=1),
        end_ms=joined[["end_ms", "end_ms_task"]].min(axis=1),
    )
    cut = cut[cut["start_ms"] < cut["end_ms"]]
    return sort_rows(cut, scheme)[[*GROUP, "value", "start_ms", "end_ms", "marked_ms", "row"]]


def fill_tasks(
    annotations: pd.DataFrame, tasks: pd.DataFrame, scheme: AnnotationScheme
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Cut every task into labelled spans without gap or overlap, for each rater and variable.

    Where annotations overlap, ``scheme.overlaps`` says which one counts (``error``: overlaps are refused here too);
    unmarked time gets ``scheme.absent``. Neighbours of equal value stay apart, so that onsets are kept.

    Parameters
    ----------
    annotations, tasks
        Tables ``annotations`` and ``tasks``.
    scheme
        Order, values and rule for overlaps. ``compat: reference`` fills as the published program does, where an
        annotation inside an earlier one comes out reversed: that table breaks the contract ``spans``.

    Returns
    -------
    spans : pandas.DataFrame
        Table ``spans`` in the scheme's order.
    dropped : pandas.DataFrame
        Table ``dropped``: annotations, or parts of them, that are in no span.

    Raises
    ------
    TableError
        When annotations overlap and the rule is ``error``, or a task would not be filled exactly once.

    Source
    ------
    infant-engagement: scripts/data_processing/processed_elan_to_annotation_format.py; we resolve overlaps by rule.
    """
    cut = cut_to_tasks(annotations, tasks, scheme)
    dropped = _list_dropped(annotations, tasks, scheme)
    if scheme.compat == "reference":
        return sort_rows(reference.fill(cut, tasks, scheme), scheme), dropped
    groups = dict(list(cut.groupby(GROUP, sort=False)))
    pieces: list[tuple[object, ...]] = []
    overruled = 0
    for session, rater, task, start_ms, end_ms in tasks[TASK].itertuples(index=False, name=None):
        for variable in scheme.variables:
            key = (session, rater, task, variable)
            rows = groups.get(key, cut.iloc[:0])
            filled = _fill_one(rows, start_ms, end_ms, variable=variable, scheme=scheme)
            overruled += len(rows) - len({index for _, _, _, index in filled if index >= 0})
            pieces += [(*key, value, start, end) for start, end, value, _ in filled]
    spans = pd.DataFrame(pieces, columns=[*GROUP, "value", "start_ms", "end_ms"]) if pieces else tables.empty("spans")
    spans = tables.check(sort_rows(spans, scheme), "spans")
    check_partition(spans, tasks, scheme.variables)
    if overruled:
        entry = {
            "stage": "parse",
            "key": "overlaps",
            "rows": overruled,
            "reason": "covered wholly by other annotations",
        }
        dropped = tables.check(pd.concat([dropped, pd.DataFrame([entry])]), "dropped")
    return spans, dropped


def check_partition(spans: pd.DataFrame, tasks: pd.DataFrame, variables: Sequence[str]) -> None:
    """Check that the spans of each session, rater, task and variable fill the task exactly once.

    Parameters
    ----------
    spans, tasks
        Tables ``spans`` and ``tasks``.
    variables
        What was rated.

    Raises
    ------
    TableError
        Naming the first task that is not filled.
    """
    wanted = tasks.merge(pd.DataFrame({"variable": list(variables)}), how="cross")
    ordered = spans.sort_values([*GROUP, "start_ms"], kind="stable")
    same = (ordered[GROUP] == ordered[GROUP].shift()).all(axis=1)
    is_broken = (ordered["end_ms"] <= ordered["start_ms"]) | (same & (ordered["start_ms"] != ordered["end_ms"].shift()))
    ends = ordered.groupby(GROUP, sort=False).agg(first_ms=("start_ms", "min"), last_ms=("end_ms", "max")).reset_index()
    merged = wanted.merge(ends, on=GROUP, how="outer")
    unfit = merged[(merged["start_ms"] != merged["first_ms"]) | (merged["end_ms"] != merged["last_ms"])]
    for rows, what in ((ordered[is_broken], "have a gap, an overlap or no length"), (unfit, "do not fill the task")):
        if len(rows):
            raise TableError(
                f"The spans of {len(rows[GROUP].drop_duplicates())} tasks {what}.",
                where=", ".join(map(str, rows.iloc[0][GROUP])),
                expected="Spans that follow one another from the start of the task to its end.",
                remedy="Make the spans again with fill_tasks.",
            )


def label_at(spans: pd.DataFrame, times_ms: Iterable[int]) -> pd.DataFrame:
    """Return the label of every rater, task and variable at given times.

    Parameters
    ----------
    spans
        Table ``spans``.
    times_ms
        Times, milliseconds.

    Returns
    -------
    pandas.DataFrame
        Columns session, rater, task, variable, time_ms, value; times outside the task have no row.
    """
    times = np.asarray(list(times_ms), dtype=np.int64)
    parts = []
    for key, rows in spans.groupby(GROUP, sort=False):
        starts, ends = rows["start_ms"].to_numpy(), rows["end_ms"].to_numpy()
        index = np.searchsorted(starts, times, side="right") - 1
        inside = (index >= 0) & (times < ends[np.maximum(index, 0)])
        values = rows["value"].to_numpy()[index[inside]]
        parts.append(pd.DataFrame(dict(zip(GROUP, key, strict=True)) | {"time_ms": times[inside], "value": values}))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*GROUP, "time_ms", "value"])


def durations(spans: pd.DataFrame) -> pd.DataFrame:
    """Return how long and how often each value occurs.

    Parameters
    ----------
    spans
        Table ``spans``.

    Returns
    -------
    pandas.DataFrame
        Columns session, rater, task, variable, value, total_ms, spans (count) and share (of the task's time, 0..1).
    """
    sized = spans.assign(total_ms=spans["end_ms"] - spans["start_ms"])
    table = sized.groupby([*GROUP, "value"], sort=False).agg(total_ms=("total_ms", "sum"), spans=("total_ms", "size"))
    whole = table.groupby(GROUP, sort=False)["total_ms"].transform("sum")
    return table.assign(share=table["total_ms"] / whole).reset_index()


def overlap_ms(spans: pd.DataFrame, windows: np.ndarray, *, values: Iterable[str]) -> np.ndarray:
    """Return how many milliseconds of each window carry one of some values.

    Parameters
    ----------
    spans
        Disjoint spans of one session, rater, task and variable: columns value, start_ms, end_ms.
    windows
        Integers of shape [windows, 2]: start and end of each window, milliseconds.
    values
        The values that count, e.g. all but the one of unmarked time.

    Returns
    -------
    numpy.ndarray
        int64 of shape [windows]. A clip is positive when this is more than half its length.

    Examples
    --------
    >>> spans = pd.DataFrame({"value": ["no", "self"], "start_ms": [0, 4], "end_ms": [4, 9]})
    >>> overlap_ms(spans, np.array([[0, 5], [3, 20]]), values=["self"])
    array([1, 5])
    """
    chosen = spans[spans["value"].isin(list(values))].sort_values("start_ms")
    starts, ends = chosen["start_ms"].to_numpy(dtype=np.int64), chosen["end_ms"].to_numpy(dtype=np.int64)
    if len(starts) and (np.any(starts[1:] < ends[:-1]) or np.any(ends <= starts)):
        raise TableError(
            "The spans overlap or have no length.",
            expected="Disjoint spans of one session, rater, task and variable.",
            remedy="Choose one group of the table spans.",
        )
    before = np.concatenate([[0], np.cumsum(ends - starts)])

    def covered(times: np.ndarray) -> np.ndarray:  # positive time up to each instant
        index = np.searchsorted(starts, times, side="right")
        last = np.maximum(index - 1, 0)
        within = np.minimum(times, ends[last]) - starts[last] if len(starts) else np.zeros_like(times)
        return np.where(index > 0, before[last] + within, 0)

    edges = np.asarray(windows, dtype=np.int64).reshape(-1, 2)
    result: np.ndarray = covered(edges[:, 1]) - covered(edges[:, 0])
    return result


def _fill_one(
    rows: pd.DataFrame, start_ms: int, end_ms: int, *, variable: str, scheme: AnnotationScheme
) -> list[tuple[int, int, str, int]]:
    """Fill one task: (start, end, value, number of the row it came from; -1 for unmarked time)."""
    starts, ends = rows["start_ms"].tolist(), rows["end_ms"].tolist()
    values, marked, places = rows["value"].tolist(), rows["marked_ms"].tolist(), rows["row"].tolist()
    if scheme.overlaps == "error" and any(later < end for later, end in zip(starts[1:], ends, strict=False)):
        raise TableError(
            f"Annotations of {variable!r} overlap.",
            where=", ".join(map(str, rows.iloc[0][GROUP[:3]])),
            remedy="Correct the annotation file, or choose which one counts (overlaps).",
        )
    priorities = [
        rank_span(begin, value, place, scheme=scheme, variable=variable)
        for begin, value, place in zip(marked, values, places, strict=True)
    ]
    filled: list[tuple[int, int, str, int]] = []
    now = start_ms
    for start, end, index in sweep(list(zip(starts, ends, strict=True)), priorities):
        if start > now:
            filled.append((now, start, scheme.absent, -1))
        filled.append((start, end, values[index], index))
        now = end
    if now < end_ms:
        filled.append((now, end_ms, scheme.absent, -1))
    return filled


def _list_dropped(annotations: pd.DataFrame, tasks: pd.DataFrame, scheme: AnnotationScheme) -> pd.DataFrame:
    """Count the annotations, and parts of them, that are in no task."""
    others = annotations[~annotations["tier"].isin([*scheme.variables, scheme.task_tier])]
    counts = [
        (f"tier {tier}", int(count), "the tier is not rated") for tier, count in others["tier"].value_counts().items()
    ]
    for variable in scheme.variables:
        rated = annotations[annotations["tier"] == variable].reset_index(drop=True)
        legal = rated["value"].isin(scheme.categories(variable))
        joined = rated.reset_index().merge(tasks, on=["session", "rater"], suffixes=("", "_task"))
        inside = joined[["end_ms", "end_ms_task"]].min(axis=1) - joined[["start_ms", "start_ms_task"]].max(axis=1)
        covered = inside.clip(lower=0).groupby(joined["index"]).sum().reindex(rated.index, fill_value=0)
        length = rated["end_ms"] - rated["start_ms"]
        partly = legal & (covered > 0) & (covered < length)
        counts += [
            (f"variable {variable}", int((~legal).sum()), "the value is unknown"),
            (f"variable {variable}", int((legal & (covered <= 0)).sum()), "outside every task, or without length"),
            (
                f"variable {variable}",
                int(partly.sum()),
                f"part outside a task cut off ({int((length - covered)[partly].sum())} ms in all)",
            ),
        ]
    rows = ({"stage": "parse", "key": key, "rows": count, "reason": why} for key, count, why in counts if count)
    return tables.from_rows(rows, "dropped")
