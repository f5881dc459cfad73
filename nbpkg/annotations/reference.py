"""What the published program does, known defects included (``compat: reference``)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from nbpkg.annotations.scheme import AnnotationScheme


def fill(cut: pd.DataFrame, tasks: pd.DataFrame, scheme: AnnotationScheme) -> pd.DataFrame:
    """Fill tasks row after row: each annotation runs from the end of the one before, even if that lies after its own.

    Parameters
    ----------
    cut
        Result of `nbpkg.annotations.spans.cut_to_tasks`.
    tasks
        Table ``tasks``.
    scheme
        Variables, and the value of unmarked time.

    Returns
    -------
    pandas.DataFrame
        Columns of table ``spans``; rows may be reversed, empty or overlap.

    Source
    ------
    infant-engagement: scripts/data_processing/processed_elan_to_annotation_format.py
    """
    keys = ["session", "rater", "task", "variable"]
    groups = dict(list(cut.groupby(keys, sort=False)))
    pieces: list[tuple[object, ...]] = []
    for session, rater, task, task_start, task_end in tasks.itertuples(index=False, name=None):
        for variable in scheme.variables:
            key = (session, rater, task, variable)
            now = task_start
            rows = groups.get(key, cut.iloc[:0])
            for start, end, value in zip(
                rows["start_ms"].tolist(), rows["end_ms"].tolist(), rows["value"], strict=True
            ):
                if start > now:
                    pieces.append((*key, scheme.absent, now, start))
                    now = start
                pieces.append((*key, value, now, end))
                now = end
            if now < task_end:
                pieces.append((*key, scheme.absent, now, task_end))
    return pd.DataFrame(pieces, columns=[*keys, "value", "start_ms", "end_ms"])


def unroll(annotations: pd.DataFrame, tasks: pd.DataFrame, scheme: AnnotationScheme, *, step_ms: int) -> pd.DataFrame:
    """Sample annotations in file order, later ones over earlier ones, each one sample too long.

    Parameters
    ----------
    annotations, tasks
        Tables ``annotations`` (unfilled) and ``tasks``.
    scheme
        Order of variables and values.
    step_ms
        Length of a step, milliseconds.

    Returns
    -------
    pandas.DataFrame
        As `nbpkg.annotations.sampling.unroll`.

    Source
    ------
    infant-engagement: scripts/data_processing/human_human_reliability.py
    """
    marks = dict(list(annotations.groupby(["session", "rater", "tier"], sort=False)))
    codes = {name: {value: code for code, value in enumerate(scheme.categories(name))} for name in scheme.variables}
    windows = tasks.groupby(["session", "task"]).agg(start=("start_ms", "max"), end=("end_ms", "min"))
    shared = {key: (int(a), int(b)) for key, a, b in zip(windows.index, windows["start"], windows["end"], strict=True)}
    parts = []
    for session, rater, task in tasks[["session", "rater", "task"]].itertuples(index=False, name=None):
        a, b = (int(np.rint(edge / step_ms)) for edge in shared[session, task])
        part: dict[str, object] = {"session": session, "rater": rater, "task": task, "step": np.arange(a, b)}
        for variable in scheme.variables:
            samples = np.zeros(max(b - a, 0), dtype=np.uint8)
            rows = marks.get((session, rater, variable), annotations.iloc[:0])
            starts = np.maximum(np.rint(rows["start_ms"].to_numpy() / step_ms).astype(np.int64), a) - a
            ends = np.minimum(np.rint(rows["end_ms"].to_numpy() / step_ms).astype(np.int64), b) - a
            for start, end, value in zip(starts, ends, rows["value"], strict=True):
                if start < end and value in codes[variable]:
                    samples[start : end + 1] = codes[variable][value]  # the end is counted in
            part[variable] = samples
        parts.append(pd.DataFrame(part))
    return pd.concat(parts, ignore_index=True)
