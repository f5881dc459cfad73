"""Where snippets may start: clips on whose label the raters agree."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from nbpkg.annotations.sampling import common_window
from nbpkg.annotations.spans import overlap_ms
from nbpkg.errors import PaintingError

COLUMNS = ["session", "task", "variable", "label", "raters", "start_ms", "end_ms"]
_PLACE = ["session", "task", "variable"]


@dataclass(frozen=True)
class SnippetRules:
    """What is to be painted, and by whom.

    Parameters
    ----------
    absent
        Value of unmarked time; every other value is positive.
    pairs
        ``(task, variable)``; with the labels 0 and 1 each makes two *cells*.
    clip_ms
        Length of a snippet, milliseconds.
    per_label
        Snippets of each cell, in all sessions together.
    painters
        Who paints.
    painters_per_snippet
        How many of them paint the same snippet; two or more make a human ceiling.
    painter_may_have_rated
        Whether people may paint sessions that they rated. If so, the label is that of the raters who do not paint, or
        where all of them paint the one on which all agree; nobody paints what only they have rated.

    Raises
    ------
    PaintingError
        When a number is below 1, a list is empty or a name stands twice.
    """

    absent: str
    pairs: tuple[tuple[str, str], ...]
    clip_ms: int
    per_label: int
    painters: tuple[str, ...]
    painters_per_snippet: int
    painter_may_have_rated: bool

    def __post_init__(self) -> None:
        doubled = len(set(self.pairs)) < len(self.pairs) or len(set(self.painters)) < len(self.painters)
        least = min(self.clip_ms, self.per_label, self.painters_per_snippet)
        if least < 1 or doubled or not self.pairs or not self.painters:
            raise PaintingError(
                f"No snippets can be chosen by {self}.",
                expected="At least one pair, painter, snippet, painter of each snippet and millisecond; no name twice.",
                remedy="Correct the settings of the stage.",
            )

    @property
    def cells(self) -> list[tuple[str, str, int]]:
        """All ``(task, variable, label)``, sorted."""
        return [(task, variable, label) for task, variable in sorted(self.pairs) for label in (0, 1)]

    def choose_judges(self, raters: Sequence[str]) -> list[str]:
        """Return whose agreement makes the label of a session with these raters."""
        others = [rater for rater in raters if rater not in self.painters]
        return others if self.painter_may_have_rated and others else list(raters)

    def choose_painters(self, raters: Sequence[str]) -> list[str]:
        """Return who may paint a session with these raters."""
        may = self.painter_may_have_rated and len(raters) > 1
        return [painter for painter in self.painters if painter not in raters or may]


def find_regions(spans: pd.DataFrame, sessions: Iterable[str], *, rules: SnippetRules) -> pd.DataFrame:
    """Find where snippets may start: all raters give the whole clip the same label.

    A clip is positive for a rater who marked strictly more than half of it. It lies in the time of the task that these
    raters share. Every whole millisecond is looked at.

    Parameters
    ----------
    spans
        Table ``spans``.
    sessions
        Where to look.
    rules
        Pairs, length of a clip, value of unmarked time; and the painters, where they may paint what they rated.

    Returns
    -------
    pandas.DataFrame
        Columns ``session, task, variable, label`` (0 or 1), ``raters`` (how many agree), ``start_ms`` (first possible
        start) and ``end_ms`` (one after the last possible start); sorted, one row for each unbroken run of starts.

    Raises
    ------
    PaintingError
        When `spans` lacks a session or a pair.

    Source
    ------
    infant-engagement: scripts/human_attention/choose_snippets.py draws starts until one fits; we list all that fit.

    Examples
    --------
    >>> row = {"session": "s1", "task": "play", "variable": "attending"}
    >>> spans = pd.DataFrame(
    ...     [
    ...         row | {"rater": "a", "value": "yes", "start_ms": 0, "end_ms": 60},
    ...         row | {"rater": "a", "value": "no", "start_ms": 60, "end_ms": 100},
    ...         row | {"rater": "b", "value": "no", "start_ms": 5, "end_ms": 95},
    ...     ]
    ... )
    >>> rules = SnippetRules("no", (("play", "attending"),), 10, 1, ("p",), 1, False)
    >>> find_regions(spans, ["s1"], rules=rules)[["label", "raters", "start_ms", "end_ms"]].values.tolist()
    [[0, 2, 55, 86]]
    """
    judged = judge_spans(spans, sessions, rules=rules)
    windows = {
        (session, task): (low, high)
        for session, task, low, high, _ in share_windows(judged).itertuples(index=False, name=None)
    }
    rows: list[tuple[object, ...]] = []
    for place, group in judged.groupby(_PLACE, sort=True):
        session, task, variable = place
        if (task, variable) in rules.pairs:
            raters = [part for _, part in group.groupby("rater")]
            low, high = windows[session, task]
            runs = _agreed_runs(raters, low, high, clip_ms=rules.clip_ms, absent=rules.absent)
            rows += [(*place, label, len(raters), start_ms, end_ms) for label, start_ms, end_ms in runs]
    frame = pd.DataFrame(rows, columns=COLUMNS)
    frame = frame.astype(dict.fromkeys(["label", "raters", "start_ms", "end_ms"], np.int64))
    return frame.sort_values([*_PLACE, "start_ms"], ignore_index=True)


def judge_spans(spans: pd.DataFrame, sessions: Iterable[str], *, rules: SnippetRules) -> pd.DataFrame:
    """Return the spans of the raters whose agreement makes the label, in the given sessions.

    Raises
    ------
    PaintingError
        When `spans` lacks a session or a pair.
    """
    wanted = sorted(set(sessions))
    there = set(zip(spans["task"], spans["variable"], strict=True))
    missing = [name for name in wanted if name not in set(spans["session"])]
    missing += [f"{task}/{variable}" for task, variable in rules.pairs if (task, variable) not in there]
    if missing:
        raise PaintingError(
            f"Nobody rated {', '.join(missing)}.",
            where="table spans",
            expected="Every session and every pair of task and variable in the table.",
            remedy="Correct the pairs to paint, or parse the annotations of these sessions.",
        )
    parts = [spans.iloc[:0]]
    for name in wanted:
        rows = spans[spans["session"] == name]
        parts.append(rows[rows["rater"].isin(rules.choose_judges(sorted(set(rows["rater"]))))])
    return pd.concat(parts)


def share_windows(judged: pd.DataFrame) -> pd.DataFrame:
    """Return the time of each session's tasks that all raters in the table share (see `common_window`)."""
    groups = judged.groupby(["session", "rater", "task"], sort=True)
    return common_window(groups.agg(start_ms=("start_ms", "min"), end_ms=("end_ms", "max")).reset_index())


def _agreed_runs(
    raters: list[pd.DataFrame], low: int, high: int, *, clip_ms: int, absent: str
) -> list[tuple[int, int, int]]:
    """List the runs of starts at which all raters agree: label, first start and one after the last."""
    starts = np.arange(low, high - clip_ms + 1, dtype=np.int64)
    if not len(starts):
        return []
    windows = np.stack([starts, starts + clip_ms], axis=1)
    marked = [overlap_ms(rows, windows, values=set(rows["value"]) - {absent}) for rows in raters]
    labels = 2 * np.stack(marked) > clip_ms
    agreed = np.where((labels == labels[0]).all(axis=0), labels[0].astype(int), -1)
    edges = np.flatnonzero(np.diff(agreed)) + 1
    firsts, stops = np.concatenate([[0], edges]), np.concatenate([edges, [len(starts)]])
    return [
        (int(agreed[first]), low + int(first), low + int(stop))
        for first, stop in zip(firsts, stops, strict=True)
        if agreed[first] >= 0
    ]
