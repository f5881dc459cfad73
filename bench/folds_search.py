"""Fold search: all tries at once against a group-by for each try, as the published program does it.

Same objective and same data (the annotation set of 23 sessions in tests/golden). The loop is timed on fewer tries, and
its time for all of them is extrapolated per try. Run: python bench/folds_search.py
"""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import pandas as pd

from bench.common import show
from nbpkg.folds import search_folds, strata_durations

GOLDEN = Path(__file__).parents[1] / "tests/golden/infant_engagement"
SECOND_EXPERIMENTER = {"fp29", "fp30", "fp31", "fp38", "fp39", "fp40"}
TRIES, LOOP_TRIES, REPEATS = 100_000, 200, 3


def loop_search(spans: pd.DataFrame, tries: int) -> float:
    """Random search that filters and groups the span table in every try; returns the best score."""
    table = spans.assign(
        duration=spans["end_ms"] - spans["start_ms"],
        engaged_ms=(spans["value"] != "no") * (spans["end_ms"] - spans["start_ms"]),
    )
    sums = table.groupby(["task", "variable"])[["engaged_ms", "duration"]].sum()
    whole = sums["engaged_ms"] / sums["duration"]
    sessions = sorted(set(table["session"]))
    marked = [session for session in sessions if session in SECOND_EXPERIMENTER]
    others = [session for session in sessions if session not in SECOND_EXPERIMENTER]
    dice, best = random.Random(0), float("inf")
    for _ in range(tries):
        order = list(range(5))
        dice.shuffle(order)
        dice.shuffle(marked)
        dice.shuffle(others)
        folds = [others[k * len(others) // 5 : (k + 1) * len(others) // 5] for k in range(5)]
        for index, session in enumerate(marked):
            folds[order[index % 5]].append(session)
        score = 0.0
        for fold in folds:
            part = table[table["session"].isin(fold)].groupby(["task", "variable"])[["engaged_ms", "duration"]].sum()
            share = part["engaged_ms"] / part["duration"]
            score += 2 * float((((share - whole) / whole) ** 2).sum())
            score += ((len(fold) - len(sessions) / 5) / (len(sessions) / 5)) ** 2
            score += 100 * (not SECOND_EXPERIMENTER & set(fold))
        best = min(best, score)
    return best


def main() -> list[dict[str, object]]:
    """Time both and print a Markdown table; times are the best of three runs (loop: one run)."""
    spans = pd.read_csv(GOLDEN / "annotations_open_filled.csv").rename(columns={"annotator": "rater"})
    published = json.loads((GOLDEN / "annotations_open_best_split.json").read_text())
    started = time.perf_counter()
    loop_score = loop_search(spans, LOOP_TRIES)
    per_try = (time.perf_counter() - started) / LOOP_TRIES
    seconds, facts = float("inf"), {}
    for _ in range(REPEATS):  # from the span table, so that adding up the durations counts
        started = time.perf_counter()
        durations = strata_durations(spans, "no")
        flags = [session in SECOND_EXPERIMENTER for session in durations.sessions]
        balance = pd.DataFrame({"session": durations.sessions, "second_experimenter": flags})
        facts = search_folds(durations, seed=0, balance=balance, tries=TRIES).facts
        seconds = min(seconds, time.perf_counter() - started)
    rows: list[dict[str, object]] = [
        {
            "search": f"pandas group-by per try ({LOOP_TRIES} tries timed, extrapolated)",
            "seconds": round(per_try * TRIES, 1),
            "times faster": 1,
            "best score": f"{loop_score:.4f} in {LOOP_TRIES} tries",
        },
        {
            "search": "ours, random tries and local improvement",
            "seconds": round(seconds, 2),
            "times faster": round(per_try * TRIES / seconds),
            "best score": f"{facts['score']:.4f} (random tries alone {facts['random_score']:.4f})",
        },
        {
            "search": "published program",
            "seconds": "not run here",
            "times faster": "",
            "best score": f"{published['results']['Final Score']:.4f} in {published['tries']} tries",
        },
    ]
    show(f"Search for folds: {TRIES:,} tries, {len(durations.sessions)} sessions, {len(spans)} spans", rows)
    return rows


if __name__ == "__main__":
    main()
