"""Labels at a fixed rate over the time that the raters of a task share."""

from __future__ import annotations

import numpy as np
import pandas as pd

from nbpkg.annotations import reference
from nbpkg.annotations.scheme import AnnotationScheme
from nbpkg.annotations.spans import GROUP, sort_rows, task_spans
from nbpkg.errors import TableError


def common_window(tasks: pd.DataFrame) -> pd.DataFrame:
    """Return the time of each task that all its raters share.

    Parameters
    ----------
    tasks
        Table ``tasks``.

    Returns
    -------
    pandas.DataFrame
        Columns session, task, start_ms (latest start), end_ms (earliest end), raters (count); end <= start when the
        raters share no time.
    """
    groups = tasks.groupby(["session", "task"], sort=False)
    return groups.agg(start_ms=("start_ms", "max"), end_ms=("end_ms", "min"), raters=("rater", "nunique")).reset_index()


def unroll(
    spans: pd.DataFrame, scheme: AnnotationScheme, *, annotations: pd.DataFrame | None = None, step_ms: int = 100
) -> pd.DataFrame:
    """Sample every rater's labels at a fixed rate over the time that the raters of a task share.

    Borders are rounded to whole steps, halves to the even step; sample k stands for [k, k + 1) steps.

    Parameters
    ----------
    spans
        Table ``spans``.
    scheme
        Order of sessions, raters, tasks and values.
    annotations
        Table ``annotations``; needed with ``compat: reference`` only, which samples them instead of the spans and
        colours one sample after each end.
    step_ms
        Length of a step, milliseconds.

    Returns
    -------
    pandas.DataFrame
        Columns session, rater, task, step (from the start of the video), and one column of codes per variable: 0 for
        unmarked time, then the place in ``values`` from 1.
    """
    if scheme.compat == "reference":
        if annotations is None:
            raise TableError(
                "compat: reference samples the annotations, not the spans.", remedy="Give the table annotations too."
            )
        return reference.unroll(annotations, task_spans(annotations, scheme), scheme, step_ms=step_ms)
    groups = dict(list(spans.groupby(GROUP, sort=False)))
    tasks = (
        spans.groupby(GROUP[:3], sort=False).agg(start_ms=("start_ms", "min"), end_ms=("end_ms", "max")).reset_index()
    )
    windows = common_window(tasks)
    edges = {
        (session, task): (start, max(start, end))
        for session, task, start, end in zip(
            windows["session"],
            windows["task"],
            round_steps(windows["start_ms"].to_numpy(), step_ms).tolist(),
            round_steps(windows["end_ms"].to_numpy(), step_ms).tolist(),
            strict=True,
        )
    }
    parts = []
    for session, rater, task in sort_rows(tasks, scheme)[GROUP[:3]].itertuples(index=False, name=None):
        low, high = edges[session, task]
        part: dict[str, object] = {"session": session, "rater": rater, "task": task, "step": np.arange(low, high)}
        for variable in scheme.variables:
            code = {value: number for number, value in enumerate(scheme.categories(variable))}
            rows = groups[session, rater, task, variable]
            borders = np.clip(round_steps(rows[["start_ms", "end_ms"]].to_numpy(), step_ms), low, high)
            lengths = borders[:, 1] - borders[:, 0]  # the spans are a partition, so they only need repeating
            part[variable] = np.repeat(rows["value"].map(code).to_numpy(dtype=np.uint8), lengths)
        parts.append(pd.DataFrame(part))
    columns = [*GROUP[:3], "step", *scheme.variables]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def round_steps(times_ms: np.ndarray, step_ms: int) -> np.ndarray:
    """Round times to whole steps, halves to the even one.

    Examples
    --------
    >>> round_steps(np.array([49, 50, 150, 151]), 100)
    array([0, 0, 2, 2])
    """
    steps: np.ndarray = np.rint(times_ms / step_ms).astype(np.int64)
    return steps
