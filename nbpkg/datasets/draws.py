"""Training clips drawn at random: chunk by chunk of each task, one rater for each clip."""

from __future__ import annotations

from typing import cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg import seeding
from nbpkg.errors import SettingsError, TableError

RANDOM = "random"
COLUMNS = ["draw_id", "session", "task", "rater", "epoch", "chunk", "start_ms", "end_ms"]


def draw_clips(
    tasks: pd.DataFrame,
    *,
    clip_ms: int,
    chunks: int,
    seed: int,
    epoch: int,
    rater: str = RANDOM,
    stage: str = "bake",
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Draw one clip from each chunk of each task of each session.

    The task span of the clip's rater is cut into `chunks` equal ranges of starts; the start is uniform in its range, so
    later chunks give later clips and neighbours may overlap. Each (epoch, task, session) has a seed of its own: neither
    order nor presence of other rows changes a draw.

    Parameters
    ----------
    tasks
        Table ``tasks``: each rater's span of each task.
    clip_ms
        Length of a clip, milliseconds.
    chunks
        Clips for each task of each session.
    seed, epoch
        The experiment's seed, and which pass over the data this is.
    rater
        ``random`` (uniform among the session's raters, for each clip anew) or the name of one rater.
    stage
        Name of the stage for the table of what was left out.

    Returns
    -------
    draws : pandas.DataFrame
        Columns draw_id, session, task, rater, epoch, chunk, start_ms, end_ms, sorted by session, task and chunk.
    dropped : pandas.DataFrame
        Table ``dropped``: spans shorter than a clip, from which nothing can be drawn.

    Raises
    ------
    SettingsError
        When a length or number is not positive, or no one of that name rated any task.

    Source
    ------
    infant-engagement: local/datasets/video_dataset.py; we draw whole milliseconds, and leave spans shorter than a clip
    out instead of starting before the task.
    """
    if clip_ms < 1 or chunks < 1:
        raise SettingsError(
            f"{chunks} clips of {clip_ms} ms cannot be drawn.",
            expected="At least one clip of at least 1 ms for each task.",
            remedy="Correct the clip length and the number of chunks in the parameter file.",
        )
    spans = tasks if rater == RANDOM else tasks[tasks["rater"] == rater]
    if len(tasks) and spans.empty:
        raise SettingsError(
            f"{rater!r} rated no task.",
            expected=f"{RANDOM!r}, or one of {', '.join(sorted(set(tasks['rater'])))}.",
            remedy="Correct the rater in the parameter file.",
        )
    long_enough = spans["end_ms"] - spans["start_ms"] >= clip_ms
    parts = [
        _draw_task(
            rows, clip_ms=clip_ms, chunks=chunks, rng=seeding.generator(seed, "draw", epoch, str(task), str(session))
        )
        for (session, task), rows in spans[long_enough].groupby(["session", "task"], sort=True)
    ]
    draws = pd.concat(parts, ignore_index=True) if parts else _no_draws()
    draws = draws.assign(epoch=epoch, end_ms=draws["start_ms"] + clip_ms)
    names = zip(draws["session"], draws["task"], draws["chunk"], strict=True)
    draws["draw_id"] = pd.Series(
        [f"{session}_{task}_{epoch}_{chunk}" for session, task, chunk in names], index=draws.index, dtype="str"
    )
    return draws[COLUMNS], _list_dropped(spans[~long_enough], clip_ms, stage)


def label_draws(draws: pd.DataFrame, spans: pd.DataFrame, *, variable: str, absent: str) -> NDArray[np.int64]:
    """Label each clip by what its own rater marked.

    Parameters
    ----------
    draws
        Columns session, task, rater, start_ms, end_ms, e.g. from `draw_clips`.
    spans
        Table ``spans``.
    variable
        What was rated.
    absent
        The value of unmarked time.

    Returns
    -------
    ndarray
        int64, one for each row: 1 when the rater marked strictly more than half of the clip, else 0.

    Raises
    ------
    TableError
        When a rater did not rate the variable in that session and task, or the spans overlap.
    """
    from nbpkg.annotations.spans import overlap_ms  # brings pandera, which no process that only trains needs

    keys = ["session", "task", "rater"]
    groups = dict(list(spans[spans["variable"] == variable].groupby(keys, sort=False)))
    values = sorted(set(spans["value"]) - {absent})
    windows = draws[["start_ms", "end_ms"]].to_numpy(dtype=np.int64)
    labels = np.zeros(len(draws), dtype=np.int64)
    for key, rows in cast(dict[tuple[str, str, str], NDArray[np.int64]], draws.groupby(keys).indices).items():
        if key not in groups:
            raise TableError(
                f"There is no label for {variable!r}.",
                where=", ".join(key),
                expected="Spans of this session, task and rater.",
                remedy="Draw clips from the table tasks that belongs to these spans.",
            )
        marked = overlap_ms(groups[key], windows[rows], values=values)
        labels[rows] = 2 * marked > windows[rows, 1] - windows[rows, 0]
    return labels


def _draw_task(rows: pd.DataFrame, *, clip_ms: int, chunks: int, rng: np.random.Generator) -> pd.DataFrame:
    rows = rows.sort_values("rater")
    chosen = rng.integers(len(rows), size=chunks)
    number = np.arange(chunks)
    starts, ends = (rows[name].to_numpy(dtype=np.int64)[chosen] for name in ("start_ms", "end_ms"))
    offsets = np.floor((number + rng.random(chunks)) * (ends - starts - clip_ms) / chunks).astype(np.int64)
    return pd.DataFrame(
        {
            "session": rows["session"].to_numpy()[chosen],
            "task": rows["task"].to_numpy()[chosen],
            "rater": rows["rater"].to_numpy()[chosen],
            "chunk": number,
            "start_ms": starts + offsets,
        }
    )


def _no_draws() -> pd.DataFrame:
    kinds = {"session": "str", "task": "str", "rater": "str", "chunk": "int64", "start_ms": "int64"}
    return pd.DataFrame({name: pd.Series([], dtype=kind) for name, kind in kinds.items()})


def _list_dropped(short: pd.DataFrame, clip_ms: int, stage: str) -> pd.DataFrame:
    from nbpkg import tables  # brings pandera

    entries = [
        {
            "stage": stage,
            "key": f"{session}, {task}, {rater}",
            "rows": 1,
            "reason": f"the task's span of {end - start} ms is shorter than a clip of {clip_ms} ms",
        }
        for session, task, rater, start, end in short.sort_values(["session", "task", "rater"])[
            ["session", "task", "rater", "start_ms", "end_ms"]
        ].itertuples(index=False, name=None)
    ]
    return tables.check(pd.DataFrame(entries), "dropped") if entries else tables.empty("dropped")
