"""What was wanted and could not be had: snippets, painters, snippets painted before; and why, in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import pandas as pd

from nbpkg.attention.choosing.placement import pack_clips
from nbpkg.attention.choosing.regions import SnippetRules, find_regions, judge_spans, share_windows

COLUMNS = ["what", "task", "variable", "label", "snippet_id", "wanted", "found", "reason"]
CELL = ["task", "variable", "label"]
Row = tuple[str, str, str, int, str, int, int, str]


def tabulate(rows: Iterable[Row]) -> pd.DataFrame:
    """Make the table of shortfalls: cells first, then painters, then snippets painted before."""
    order: dict[object, int] = {"cell": 0, "painters": 1, "painted before": 2}
    return pd.DataFrame(sorted(rows, key=lambda row: (order[row[0]], *row)), columns=COLUMNS)


def miss_cells(
    spans: pd.DataFrame,
    regions: pd.DataFrame,
    snippets: pd.DataFrame,
    *,
    may_paint: Mapping[str, Sequence[str]],
    rules: SnippetRules,
    exact: bool,
) -> list[Row]:
    """List the cells with fewer snippets than wanted, and what stands in the way.

    Parameters
    ----------
    spans
        Table ``spans``.
    regions
        What `find_regions` found in all sessions.
    snippets
        What was chosen.
    may_paint
        Who may paint each session.
    rules
        What was wanted.
    exact
        Whether it is proven that there are no more.
    """
    counts = snippets.groupby(CELL).size()
    short = {cell: int(counts.get(cell, 0)) for cell in rules.cells if counts.get(cell, 0) < rules.per_label}
    if not short:
        return []
    fewer = replace(rules, pairs=tuple(sorted({(task, variable) for task, variable, _ in short})))
    judged = judge_spans(spans, may_paint, rules=fewer)
    moments = find_regions(spans, may_paint, rules=replace(fewer, clip_ms=1))
    rows: list[Row] = []
    for (task, variable, label), found in short.items():
        there = _of_cell(regions, task, variable, label)
        if len(there):
            reason = _explain_room(there, found, may_paint, rules)
        else:
            agreed = _of_cell(moments, task, variable, label)
            windows = share_windows(judged[judged["variable"] == variable])
            reason = _explain_none(windows[windows["task"] == task], len(agreed) > 0, rules.clip_ms)
        proof = "" if exact else "; too many starts to look at all, there may be more"
        rows.append(("cell", task, variable, label, "", rules.per_label, found, reason + proof))
    return rows


def miss_painters(
    snippets: pd.DataFrame, queue: pd.DataFrame, raters: Mapping[str, Sequence[str]], *, rules: SnippetRules
) -> list[Row]:
    """List the snippets with fewer painters than wanted.

    Parameters
    ----------
    snippets, queue
        Tables ``snippets`` and ``queue``.
    raters
        Who rated each session.
    rules
        What was wanted.
    """
    counts = queue.groupby("snippet_id").size()
    rows: list[Row] = []
    for row in snippets.to_dict("records"):
        found = int(counts.get(row["snippet_id"], 0))
        if found < rules.painters_per_snippet:
            barred = sorted(set(rules.painters) - set(rules.choose_painters(raters[row["session"]])))
            reason = f"{', '.join(barred)} rated the session" if barred else f"there are {len(rules.painters)} painters"
            names = (row["task"], row["variable"], row["label"], row["snippet_id"])
            rows.append(("painters", *names, rules.painters_per_snippet, found, reason))
    return rows


def miss_existing(existing: pd.DataFrame, reasons: Mapping[str, str]) -> list[Row]:
    """List the snippets painted before that were left out.

    Parameters
    ----------
    existing
        Table ``snippets``: those painted before.
    reasons
        Why, for the names of those left out.
    """
    left_out = existing[existing["snippet_id"].isin(list(reasons))]
    return [
        ("painted before", *(row[name] for name in (*CELL, "snippet_id")), 1, 0, reasons[row["snippet_id"]])
        for row in left_out.to_dict("records")
    ]


def _of_cell(table: pd.DataFrame, task: str, variable: str, label: int) -> pd.DataFrame:
    return table[(table["task"] == task) & (table["variable"] == variable) & (table["label"] == label)]


def _explain_room(there: pd.DataFrame, found: int, may_paint: Mapping[str, Sequence[str]], rules: SnippetRules) -> str:
    """Say why there are too few although clips would do: nobody to paint, too little room, other snippets."""
    barred = sorted(name for name in set(there["session"]) if not may_paint[name])
    open_rows = there[~there["session"].isin(barred)]
    numbers = open_rows.assign(place=pd.factorize(open_rows["session"])[0])
    fit = pack_clips(numbers[["place", "label", "start_ms", "end_ms"]].to_numpy(), clip_ms=rules.clip_ms)
    parts = [f"every painter rated {', '.join(barred)}"] if barred else []
    if 0 < fit < rules.per_label:
        parts.append(f"where the raters agree only {fit} fit side by side")
    if found < min(fit, rules.per_label):
        parts.append("snippets of other cells lie where the raters agree")
    return "; ".join(parts)


def _explain_none(windows: pd.DataFrame, is_agreed: bool, clip_ms: int) -> str:
    """Say why no clip would do."""
    if not len(windows):
        return "none of the sessions has this task"
    if (windows["end_ms"] - windows["start_ms"]).max() < clip_ms:
        return "the raters share less time of this task than a snippet takes, in every session"
    if not is_agreed:
        return "the raters never agree on this label"
    return "the raters agree on this label, but never for most of a snippet"
