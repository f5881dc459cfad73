"""Choose the snippets that people paint: clips on whose label the raters agree, every kind as often as wanted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from nbpkg import seeding, tables
from nbpkg.attention.choosing import shortfalls
from nbpkg.attention.choosing.dealing import deal_snippets
from nbpkg.attention.choosing.placement import place_clips
from nbpkg.attention.choosing.regions import SnippetRules, find_regions

__all__ = ["SnippetChoice", "SnippetRules", "choose_snippets", "find_regions", "place_snippets"]


class SnippetChoice(NamedTuple):
    """What is to be painted.

    Parameters
    ----------
    snippets, queue
        Tables ``snippets`` (by session and start) and ``queue`` (by painter and position).
    shortfalls
        What was wanted and could not be had: columns ``what`` (``cell``; ``painters`` of a snippet; ``painted before``:
        a painted snippet, or what a painter made of it, that was left out), ``task, variable, label, snippet_id``
        (empty for a cell), ``wanted, found, reason``. No rows when all is there.
    """

    snippets: pd.DataFrame
    queue: pd.DataFrame
    shortfalls: pd.DataFrame


def choose_snippets(
    spans: pd.DataFrame,
    sessions: Iterable[str],
    *,
    rules: SnippetRules,
    seed: int,
    existing: pd.DataFrame | None = None,
    earlier: pd.DataFrame | None = None,
) -> SnippetChoice:
    """Choose what to paint: `per_label` snippets of every task, variable and label, spread over the sessions.

    No two snippets of a session overlap. If the wanted number exists it is found, else the most there is, and
    ``shortfalls`` says what stands in the way (`placement.place_clips` says how, and in which order evenness counts).
    The order of rows, sessions, pairs and painters does not matter.

    Parameters
    ----------
    spans
        Table ``spans``.
    sessions
        Sessions to choose from: those of the test fold.
    rules
        What is wanted.
    seed
        Same seed, same choice.
    existing
        Table ``snippets``: those painted before. They come first, up to the number wanted, where the rules allow them;
        those of other sessions are passed over without a word.
    earlier
        Table ``queue``: who painted or began which of them. They keep them, and come to them first in the old order.

    Raises
    ------
    PaintingError
        When `spans` lacks a session or pair.

    Source
    ------
    infant-engagement: scripts/human_attention/choose_snippets.py, where surplus clips kept their time and starved
    other cells (`reference_snippets`).
    """
    names = sorted(set(sessions))
    regions = find_regions(spans, names, rules=rules)
    raters = {name: sorted(set(spans.loc[spans["session"] == name, "rater"])) for name in names}
    may_paint = {name: rules.choose_painters(raters[name]) for name in names}
    painted = tables.empty("snippets") if existing is None else tables.check(existing, "snippets")
    painted = painted[painted["session"].isin(names)]
    begun = tables.empty("queue") if earlier is None else tables.check(earlier, "queue")

    reasons = _screen(painted, regions, may_paint, rules.clip_ms)
    fits = painted["snippet_id"].isin([name for name, reason in reasons.items() if not reason])
    fitting = painted[fits].sort_values("snippet_id")
    snippets, exact = place_snippets(regions, fitting, rules=rules, may_paint=may_paint, seed=seed)
    for name in set(fitting["snippet_id"]) - set(snippets["snippet_id"]):
        reasons[name] = "it overlaps another painted snippet, or more are painted than wanted"

    begun = begun[begun["snippet_id"].isin(snippets["snippet_id"])]
    barred = _find_barred(snippets, begun, raters, may_paint)
    queue = deal_snippets(
        snippets, may_paint, earlier=begun[~barred], per_snippet=rules.painters_per_snippet, seed=seed
    )
    rows = shortfalls.miss_cells(spans, regions, snippets, may_paint=may_paint, rules=rules, exact=exact)
    rows += shortfalls.miss_painters(snippets, queue, raters, rules=rules)
    rows += shortfalls.miss_existing(painted, {name: reason for name, reason in reasons.items() if reason})
    rows += [
        row
        for snippet_id, painter in begun.loc[barred, ["snippet_id", "painter"]].itertuples(index=False)
        for row in shortfalls.miss_existing(painted, {snippet_id: f"{painter} rated the session"})
    ]
    return SnippetChoice(snippets, queue, shortfalls.tabulate(rows))


def _screen(
    painted: pd.DataFrame, regions: pd.DataFrame, may_paint: Mapping[str, Sequence[str]], clip_ms: int
) -> dict[str, str]:
    """Say for each snippet painted before why it cannot be taken; empty when it can."""
    reasons = {}
    for row in painted.to_dict("records"):
        length = row["end_ms"] - row["start_ms"]
        is_own = (regions[["session", *shortfalls.CELL]] == [row[name] for name in ("session", *shortfalls.CELL)]).all(
            axis=1
        )
        inside = is_own & (regions["start_ms"] <= row["start_ms"]) & (row["start_ms"] < regions["end_ms"])
        if not may_paint[row["session"]]:
            reason = "every painter rated its session"
        elif length != clip_ms:
            reason = f"it is {length} ms long, not {clip_ms}"
        elif not inside.any():
            reason = "the raters do not agree on its label, or its task and variable are not asked for"
        else:
            reason = ""
        reasons[row["snippet_id"]] = reason
    return reasons


def place_snippets(
    regions: pd.DataFrame,
    painted: pd.DataFrame,
    *,
    rules: SnippetRules,
    may_paint: Mapping[str, Sequence[str]],
    seed: int,
) -> tuple[pd.DataFrame, bool]:
    """Place snippets where they may start; `choose_snippets` without the rest.

    Parameters
    ----------
    regions
        What `find_regions` returned.
    painted
        Table ``snippets``: those painted before, each in a region.
    rules
        What is wanted.
    may_paint
        Who may paint each session; one that nobody may paint gets no snippet.
    seed
        Same seed, same snippets.

    Returns
    -------
    snippets : pandas.DataFrame
        Table ``snippets``, by session and start.
    exact : bool
        Whether it is proven that there can be no more.

    Raises
    ------
    PaintingError
        When the solver gives up.
    """
    names, cells = sorted(may_paint), rules.cells
    open_regions = regions[regions["session"].isin([name for name in names if may_paint[name]])]
    placement = place_clips(
        _number(open_regions, names, cells, ["start_ms", "end_ms"]),
        _number(painted, names, cells, ["start_ms"]),
        clip_ms=rules.clip_ms,
        wanted=rules.per_label,
        worth=np.array([min(len(may_paint[name]), rules.painters_per_snippet) for name in names]),
        random=seeding.generator(seed, "snippets"),
    )
    raters = regions.set_index(["session", "task"])["raters"].to_dict()
    rows = []
    for session, cell, start_ms, given in placement.clips.tolist():
        name, (task, variable, label) = names[session], cells[cell]
        new_id = f"{name}_{start_ms}_{task}_{variable}"
        rows.append(
            {
                "snippet_id": new_id if given < 0 else painted["snippet_id"].iloc[given],
                "session": name,
                "task": task,
                "variable": variable,
                "start_ms": start_ms,
                "end_ms": start_ms + rules.clip_ms,
                "label": label,
                "raters": raters[name, task],
                "painted": given >= 0,
            }
        )
    return tables.from_rows(rows, "snippets"), placement.exact


def _number(table: pd.DataFrame, names: list[str], cells: list[tuple[str, str, int]], times: list[str]) -> np.ndarray:
    """Write numbers for sessions and cells, before the columns of times, int64 ``[rows, 2 + times]``."""
    where = {name: place for place, name in enumerate(names)}
    what = {cell: place for place, cell in enumerate(cells)}
    kinds = [what[cell] for cell in zip(table["task"], table["variable"], table["label"], strict=True)]
    columns = [[where[name] for name in table["session"]], kinds, *(table[name].tolist() for name in times)]
    return np.array(columns, dtype=np.int64).T


def _find_barred(
    snippets: pd.DataFrame,
    begun: pd.DataFrame,
    raters: Mapping[str, Sequence[str]],
    may_paint: Mapping[str, Sequence[str]],
) -> pd.Series:
    """Tell for each row of the earlier queue whether the painter may not paint that session, having rated it."""
    session_of = snippets.set_index("snippet_id")["session"].to_dict()
    sessions = [session_of[name] for name in begun["snippet_id"]]
    barred = [
        painter in raters[session] and painter not in may_paint[session]
        for painter, session in zip(begun["painter"], sessions, strict=True)
    ]
    return pd.Series(barred, index=begun.index, dtype=bool)
