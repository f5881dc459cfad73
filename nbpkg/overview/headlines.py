"""The headline of an experiment: the one measure a reader asks for first, with all that makes it honest."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

ROLES = ("test", "validation")  # the first one that was scored is the headline


@dataclass(frozen=True)
class Choice:
    """Which rows of which table of notebook 06 are the headline of a kind of study.

    Parameters
    ----------
    measures
        Names of the measure in the table, and what a reader calls it; a row of any of them counts.
    samples, groups
        What ``n`` and ``n_groups`` count.
    table
        File without ending.
    label
        Columns that tell rows of one experiment apart.
    system
        Column that names the experiment whose answers are scored; empty where 06 scores only its own.
    prefer
        Value of a column to keep where it occurs, such as the network without parts taken out.
    """

    measures: Mapping[str, str]
    samples: str
    groups: str
    table: str = "metrics"
    label: tuple[str, ...] = ()
    system: str = ""
    prefer: Mapping[str, str] = field(default_factory=dict)


CHOICES: dict[str, Choice] = {
    "clips": Choice(
        {"balanced_accuracy": "balanced accuracy"}, "ratings of clips", "sessions", label=("task", "variable")
    ),
    "heatmap": Choice(
        {"distance": "distance to the target", "avg_distance": "distance to the targets"},
        "targets",
        "participants",
        label=("task",),
    ),
    "sequence": Choice({"ccc": "concordance correlation"}, "sessions", "people", system="variable"),
    "people": Choice({"macro_f1": "macro F1"}, "clips", "families", system="task", prefer={"variable": "full"}),
    "tracks": Choice({"map": "mean average precision"}, "labelled faces", "videos", system="variable"),
}


@dataclass(frozen=True)
class Headline:
    """One score as a reader wants it.

    Parameters
    ----------
    measure, label, role
        What was measured, of what where there are several, and on which sessions: ``test`` or ``validation``.
    value, low, high
        The score and its 95 % interval.
    chance, ceiling
        Score of answering without looking, and of a person in the network's place; NaN when unknown.
    n, n_groups, samples, groups
        How many of what.
    direction
        ``higher`` or ``lower``: which way is better.
    """

    measure: str
    label: str
    role: str
    value: float
    low: float
    high: float
    chance: float
    ceiling: float
    n: int
    n_groups: int
    samples: str
    groups: str
    direction: str

    @property
    def marks(self) -> dict[str, float]:
        """Places of the numbers on a line from 0 to 1, in percent; wider where a number lies outside."""
        numbers = {name: getattr(self, name) for name in ("low", "high", "value", "chance", "ceiling")}
        known = {name: value for name, value in numbers.items() if math.isfinite(value)}
        least, most = min(0.0, *known.values()), max(1.0, *known.values())
        return {name: round(100 * (value - least) / (most - least), 2) for name, value in known.items()}


def read_headlines(receipt: Mapping[str, Any], run: Path) -> list[Headline]:
    """Return the headline of a finished 06, a row for each thing it scored.

    Parameters
    ----------
    receipt
        Receipt of stage ``evaluate``.
    run
        Its run folder.

    Returns
    -------
    list of Headline
        Empty for a kind without a choice, or where its table was not written.
    """
    import pandas as pd  # the runner, which needs no table, imports this room with the reports

    choice = CHOICES.get(receipt.get("kind", "clips"))  # the first kind, before receipts named it
    path = run / f"{choice.table}.csv" if choice else run
    if choice is None or not path.is_file():
        return []
    rows = pd.read_csv(path)
    return [_as_headline(row, choice) for row in select_rows(rows, choice, receipt["experiment"]).to_dict("records")]


def select_rows(rows: pd.DataFrame, choice: Choice, experiment: str) -> pd.DataFrame:
    """Return the rows of the headline: this experiment's own, over everything, of the first role that was scored."""
    chosen = rows[rows["metric"].isin(list(choice.measures)) & rows["value"].notna()]
    if "by" in chosen:
        chosen = chosen[chosen["by"] == "all"]
    wanted = {**({choice.system: experiment} if choice.system else {}), **choice.prefer}
    for column, value in wanted.items():
        if (chosen[column] == value).any() or column == choice.system:
            chosen = chosen[chosen[column] == value]
    role = next((name for name in ROLES if (chosen["role"] == name).any()), "")
    return chosen[chosen["role"] == role]


def _as_headline(row: Mapping[Any, Any], choice: Choice) -> Headline:
    numbers = {name: float(row[name]) for name in ("value", "low", "high", "chance", "ceiling")}
    return Headline(
        measure=choice.measures[row["metric"]],
        label=", ".join(str(row[name]) for name in choice.label),
        role=row["role"],
        n=int(row["n"]),
        n_groups=int(row["n_groups"]),
        samples=choice.samples,
        groups=choice.groups,
        direction=row["direction"],
        **numbers,
    )
