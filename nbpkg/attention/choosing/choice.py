"""What is to be painted, from settings, annotations and what people have painted before."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from nbpkg import seeding, tables
from nbpkg.attention.choosing import shortfalls
from nbpkg.attention.choosing.reference_snippets import choose_published
from nbpkg.attention.choosing.regions import SnippetRules, find_regions
from nbpkg.attention.choosing.snippets import choose_snippets
from nbpkg.attention.painting.paintings import read_paintings
from nbpkg.attention.painting.strokes import Painting
from nbpkg.settings.attention import PaintSettings


class Choice(NamedTuple):
    """What is to be painted, and from what it was chosen.

    Parameters
    ----------
    snippets, queue
        The tables of the same names.
    shortfalls
        See `nbpkg.attention.choosing.snippets.SnippetChoice`.
    regions
        Possible starts, see `nbpkg.attention.choosing.regions.find_regions`.
    """

    snippets: pd.DataFrame
    queue: pd.DataFrame
    shortfalls: pd.DataFrame
    regions: pd.DataFrame


def choose(
    spans: pd.DataFrame, sessions: Sequence[str], *, settings: PaintSettings, absent: str, folder: Path, seed: int
) -> Choice:
    """Choose snippets, first those that were painted before.

    Parameters
    ----------
    spans
        Table ``spans``.
    sessions
        Sessions to choose from: those of the test fold.
    settings
        What is wanted.
    absent
        Value of unmarked time.
    folder
        Where paintings lie.
    seed
        The experiment's seed.

    Raises
    ------
    PaintingError
        When the settings or the paintings cannot be used, or, with ``compat: reference``, when the published rule does
        not apply to these raters.
    """
    found = sorted(set(zip(spans["task"], spans["variable"], strict=True)))
    pairs = [(task, variable) for task, _, variable in (pair.partition("/") for pair in settings.pairs)] or found
    rules = SnippetRules(
        absent=absent,
        pairs=tuple(pairs),
        clip_ms=round(settings.clip_seconds * 1000),
        per_label=settings.per_label,
        painters=tuple(settings.painters or sorted(set(spans["rater"]))),
        painters_per_snippet=settings.painters_per_snippet,
        painter_may_have_rated=settings.painter_may_have_rated,
    )
    regions = find_regions(spans, sessions, rules=rules)
    if settings.compat == "reference":
        return _choose_as_published(spans, sessions, rules=rules, regions=regions, seed=seed)
    _, painted = read_paintings(folder, tables.empty("queue"))
    begun = [painting for painting in painted if painting.painter in rules.painters and painting.state != "todo"]
    existing, earlier = list_painted(begun, regions, seed=seed)
    chosen = choose_snippets(spans, sessions, rules=rules, seed=seed, existing=existing, earlier=earlier)
    return Choice(*chosen, regions)


def list_painted(
    paintings: Sequence[Painting], regions: pd.DataFrame, *, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Put paintings into the tables from which snippets are chosen again.

    Parameters
    ----------
    paintings
        What was painted before, of any session.
    regions
        Possible starts, which tell the raters' label.
    seed
        Of each painter's order, which no other painting changes.

    Returns
    -------
    snippets, queue
        Tables of these names. A snippet on which the raters do not agree now has label 0 and is chosen by nobody.
    """
    rows: dict[str, dict[str, object]] = {}
    places: dict[str, list[str]] = {}
    for painting in sorted(paintings, key=lambda one: seeding.child(seed, one.painter, one.snippet_id)):
        own = regions[
            (regions["session"] == painting.session)
            & (regions["task"] == painting.task)
            & (regions["variable"] == painting.variable)
            & (regions["start_ms"] <= painting.start_ms)
            & (painting.start_ms < regions["end_ms"])
        ]
        names = ("snippet_id", "session", "task", "variable", "start_ms", "end_ms")
        label = int(own["label"].iloc[0]) if len(own) else 0
        facts = {name: getattr(painting, name) for name in names}
        rows[painting.snippet_id] = {**facts, "label": label, "raters": 1, "painted": True}
        places.setdefault(painting.painter, []).append(painting.snippet_id)
    turns = [
        {"snippet_id": name, "painter": painter, "position": place}
        for painter, names in places.items()
        for place, name in enumerate(names)
    ]
    return tables.from_rows(rows.values(), "snippets"), tables.from_rows(turns, "queue")


def _choose_as_published(
    spans: pd.DataFrame, sessions: Sequence[str], *, rules: SnippetRules, regions: pd.DataFrame, seed: int
) -> Choice:
    """Draw by the published rule: each rater paints a session of the others, one snippet for each cell."""
    tasks, variables = (list(dict.fromkeys(names)) for names in zip(*rules.pairs, strict=True))
    random.seed(seeding.child(seed, "published snippets"))
    drawn = choose_published(
        spans.assign(engaged=(spans["value"] != rules.absent).astype(int)),
        sessions,
        tasks=tasks,
        variables=variables,
        expected=rules.per_label,
    ).astype({"start_ms": "int64", "label": "int64"})
    drawn = drawn.assign(end_ms=drawn["start_ms"] + rules.clip_ms, raters=2, painted=False)
    drawn["snippet_id"] = [
        f"{row.session}_{row.start_ms}_{row.task}_{row.variable}" for row in drawn.itertuples(index=False)
    ]
    queue = drawn.rename(columns={"annotator": "painter"})[["snippet_id", "painter"]]
    queue = queue.assign(position=queue.groupby("painter").cumcount())
    snippets = drawn[[column.name for column in tables.CONTRACTS["snippets"].columns]]
    snippets = tables.check(snippets.drop_duplicates("snippet_id"), "snippets")
    counts = snippets.groupby(["task", "variable", "label"]).size()
    wanted = rules.per_label * len(rules.painters)
    why = "the published rule gave up: frequent labels keep the time of surplus snippets"
    found = {cell: int(counts.get(cell, 0)) for cell in rules.cells}
    missed = [("cell", *cell, "", wanted, count, why) for cell, count in found.items() if count < wanted]
    return Choice(snippets, tables.check(queue, "queue"), shortfalls.tabulate(missed), regions)
