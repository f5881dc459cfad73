"""One winner for every instant: resolving overlaps on half-open integer milliseconds."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from nbpkg.annotations.marks import Mark
from nbpkg.annotations.scheme import AnnotationScheme


def sweep(spans: Sequence[tuple[int, int]], priorities: Sequence[tuple[int, ...]]) -> list[tuple[int, int, int]]:
    """Cut overlapping spans so that every instant belongs to one of them.

    Parameters
    ----------
    spans
        Pairs [start, end) in milliseconds; those with end <= start cover nothing.
    priorities
        One tuple for each span; where several cover an instant, the greatest wins, and among equals the first span.

    Returns
    -------
    list of (start, end, index)
        Pieces in order of time, disjoint, of positive length, each as long as its span wins without interruption.

    Examples
    --------
    >>> sweep([(0, 10), (4, 6)], [(0,), (4,)])
    [(0, 4, 0), (4, 6, 1), (6, 10, 0)]
    """
    order = sorted((start, end, index) for index, (start, end) in enumerate(spans) if start < end)
    ranks = {
        index: rank for rank, index in enumerate(sorted(range(len(spans)), key=lambda i: priorities[i], reverse=True))
    }
    active: list[tuple[int, int, int]] = []  # (rank, end, index), the winner first
    pieces: list[tuple[int, int, int]] = []
    position = 0
    now = 0
    while position < len(order) or active:
        if not active:
            now = order[position][0]
        while position < len(order) and order[position][0] <= now:
            _, end, index = order[position]
            heapq.heappush(active, (ranks[index], end, index))
            position += 1
        while active and active[0][1] <= now:
            heapq.heappop(active)
        if not active:
            continue
        _, end, winner = active[0]
        until = min(end, order[position][0]) if position < len(order) else end
        if pieces and pieces[-1][2] == winner and pieces[-1][1] == now:
            pieces[-1] = (pieces[-1][0], until, winner)
        else:
            pieces.append((now, until, winner))
        now = until
    return pieces


def rank_span(start_ms: int, value: str, position: int, *, scheme: AnnotationScheme, variable: str) -> tuple[int, ...]:
    """Return the priority of a span under the scheme's rule for overlaps (see `sweep`).

    Parameters
    ----------
    start_ms, value
        Start and label of the span, as marked (not as cut to a task).
    position
        Place of the span in its file; settles ties.
    scheme
        Holds the rule and the order of the values.
    variable
        The rated tier.
    """
    if scheme.overlaps == "earlier_start":
        return (-start_ms, -position)
    if scheme.overlaps == "positive":
        return (scheme.categories(variable).index(value), start_ms, position)
    return (start_ms, position)


def cut_overlaps(marks: Sequence[Mark], scheme: AnnotationScheme) -> list[tuple[Mark, int, int]]:
    """Return what remains of the marks of one rated tier where they overlap, as (mark, start, end)."""
    priorities = [rank_span(mark.start_ms, mark.value, mark.row, scheme=scheme, variable=mark.tier) for mark in marks]
    pieces = sweep([(mark.start_ms, mark.end_ms) for mark in marks], priorities)
    return [(marks[index], start, end) for start, end, index in pieces]
