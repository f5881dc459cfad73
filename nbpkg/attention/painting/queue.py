"""Who has painted what, and what comes next."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from nbpkg.attention.painting.strokes import STATES, Painting
from nbpkg.errors import PaintingError


def queue_states(queue: pd.DataFrame, paintings: Iterable[Painting]) -> pd.DataFrame:
    """Count how far every painter is.

    Parameters
    ----------
    queue
        Table ``queue``.
    paintings
        What was painted (`nbpkg.attention.painting.log.read_paintings`); snippets of the queue without a
        painting are ``todo``, paintings that are not in the queue do not count.

    Returns
    -------
    pandas.DataFrame
        ``painter, snippets, todo, begun, done, skipped, seconds`` (active working time, all snippets) and
        ``seconds_per_snippet`` (mean over those done, NaN before the first), by painter.
    """
    states = _join(queue, paintings)
    counts = pd.crosstab(states["painter"], states["state"]).reindex(columns=list(STATES), fill_value=0)
    result = counts.rename_axis(columns=None)
    result.insert(0, "snippets", counts.sum(axis=1))
    result["seconds"] = states.groupby("painter")["seconds"].sum()
    result["seconds_per_snippet"] = states[states["state"] == "done"].groupby("painter")["seconds"].mean()
    return result.reset_index()


def next_snippet(queue: pd.DataFrame, paintings: Iterable[Painting], painter: str) -> str | None:
    """Return the snippet that a painter should paint next.

    Parameters
    ----------
    queue, paintings
        As in `queue_states`.
    painter
        The painter.

    Returns
    -------
    str or None
        The first in the painter's order that is neither submitted nor skipped; None when there is none left.

    Raises
    ------
    PaintingError
        When the queue holds nothing for that painter.
    """
    mine = _join(queue, paintings).loc[lambda rows: rows["painter"] == painter].sort_values("position")
    if mine.empty:
        raise PaintingError(
            f"There is nothing to paint for {painter!r}.",
            expected=f"One of {', '.join(sorted(queue['painter'].unique()))}.",
            remedy="Choose your name, or add it to 'paint.painters'.",
        )
    left = mine[mine["state"].isin(["todo", "begun"])]
    return None if left.empty else str(left["snippet_id"].iloc[0])


def _join(queue: pd.DataFrame, paintings: Iterable[Painting]) -> pd.DataFrame:
    """Add ``state`` and ``seconds`` to the rows of the queue."""
    found = {(painting.painter, painting.snippet_id): painting for painting in paintings}
    rows = [found.get(key) for key in zip(queue["painter"], queue["snippet_id"], strict=True)]
    return queue.assign(
        state=["todo" if row is None else row.state for row in rows],
        seconds=[0.0 if row is None else row.seconds for row in rows],
    )
