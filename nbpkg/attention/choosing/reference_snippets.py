"""Choose snippets as the published program does, known defects included (``compat: reference``)."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg.errors import PaintingError

CLIP_MS = 5000
COLUMNS = ["session", "start_ms", "label", "annotator", "task", "variable"]
_Rows = NDArray[np.int64]


def choose_published(
    spans: pd.DataFrame,
    sessions: Sequence[str],
    *,
    tasks: Sequence[str] = ("people", "eggs", "drums"),
    variables: Sequence[str] = ("attending", "participating"),
    trials: int = 10_000,
    expected: int = 1,
) -> pd.DataFrame:
    """Draw snippets from Python's global random numbers until every painter has enough, or gives up.

    Every rater paints: the first session, in random order, that this rater did not rate. A start drawn is taken when
    the two other raters agree and it overlaps none taken before; also those that are not needed keep their time, so
    that a frequent label starves the rarer one.

    Parameters
    ----------
    spans
        Columns session, rater, task, variable, start_ms, end_ms, engaged (0 or 1). Rows may be reversed, as the
        published filling makes them.
    sessions
        The test fold.
    tasks, variables
        In the order in which snippets are drawn.
    trials
        Starts drawn at most for each rater, task and variable.
    expected
        Snippets wanted of each label.

    Returns
    -------
    pandas.DataFrame
        Columns ``session, start_ms, label, annotator`` (who is to paint), ``task, variable``, by session and start;
        times and labels become fractional numbers when a label is missing somewhere.

    Raises
    ------
    PaintingError
        When a rater rated every session, a session has not two other raters, or a task is shorter than a snippet.

    Source
    ------
    infant-engagement: scripts/human_attention/choose_snippets.py.
    """
    rated = spans[spans["session"].isin(list(sessions))]
    judges = {str(name): sorted(set(rows["rater"])) for name, rows in rated.groupby("session")}
    groups = {
        key: rows[["engaged", "start_ms", "end_ms"]].to_numpy(dtype=np.int64)
        for key, rows in rated.groupby(["session", "task", "variable", "rater"])
    }
    painters, names = sorted(set(rated["rater"])), sorted(sessions)
    random.shuffle(painters)
    random.shuffle(names)
    chosen: list[tuple[object, ...]] = []
    is_short = False
    for painter in painters:
        session = _find_unrated(painter, names, judges)
        taken: list[int] = []
        for task in tasks:
            for variable in variables:
                rows = [groups[session, task, variable, judge] for judge in judges[session]]
                found = _draw_starts(rows, taken, trials=trials, expected=expected)
                for label in (1, 0):
                    random.shuffle(found[label])
                    if len(found[label]) < expected:
                        is_short = True  # and none is kept
                        continue
                    chosen += [(session, at, label, painter, task, variable) for at in found[label][:expected]]
    table = pd.DataFrame(chosen, columns=COLUMNS).sort_values(["session", "start_ms"], ignore_index=True)
    # The published program joins a table for each label; an empty one makes the numbers of all of them fractional.
    return table.astype({"start_ms": float, "label": float}) if is_short else table


def _find_unrated(painter: str, sessions: list[str], judges: dict[str, list[str]]) -> str:
    """Return the first session that somebody did not rate."""
    unrated = [session for session in sessions if painter not in judges[session]]
    if not unrated or len(judges[unrated[0]]) != 2:
        raise PaintingError(
            f"{painter} has no session to paint.",
            expected="For each rater a session of the test fold that exactly two others rated.",
            remedy="The published rule cannot do without; set compat: none.",
        )
    return unrated[0]


def _draw_starts(rows: list[_Rows], taken: list[int], *, trials: int, expected: int) -> dict[int, list[int]]:
    """Draw starts for one task and variable: those taken, by label; they are also added to `taken`."""
    low, high = max(int(part[:, 1].min()) for part in rows), min(int(part[:, 2].max()) for part in rows)
    if high - low < CLIP_MS:
        raise PaintingError(
            f"A task lasts {high - low} ms.",
            expected=f"At least {CLIP_MS} ms shared by its raters.",
            remedy="The published rule cannot do with less; set compat: none.",
        )
    found: dict[int, list[int]] = {1: [], 0: []}
    for _ in range(trials):
        start_ms = int(low + random.uniform(0, high - low - CLIP_MS))
        first, second = (_label(part, start_ms) for part in rows)
        if first == second and all(abs(start_ms - other) >= CLIP_MS for other in taken):
            taken.append(start_ms)
            found[first].append(start_ms)
            if min(map(len, found.values())) >= expected:
                break
    return found


def _label(rows: _Rows, start_ms: int) -> int:
    """Return 1 when more than half of the clip is engaged; a reversed row counts negatively."""
    inside = np.clip(rows[:, 1:], start_ms, start_ms + CLIP_MS)
    return int((rows[:, 0] * (inside[:, 1] - inside[:, 0])).sum() > CLIP_MS / 2)
