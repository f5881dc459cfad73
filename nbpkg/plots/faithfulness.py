"""Figures of whether maps show what the network uses: what it answers, deletion, insertion, randomisation."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from nbpkg.attention.faithfulness_scores import MAP, RANDOM
from nbpkg.errors import TableError
from nbpkg.plots import style
from nbpkg.plots.attention import make_panels, title_of
from nbpkg.plots.evaluation import legend_of_all

_COLUMNS = 6
TESTS = {
    "deletion": "deletion\n(lower is better)",
    "insertion": "insertion\n(higher is better)",
}


def curves(means: pd.DataFrame, *, task: str = "all", variable: str = "all") -> Figure:
    """Draw what becomes of the answer when places go, or come, in the order of each method's map and at random.

    Parameters
    ----------
    means
        From `nbpkg.attention.faithfulness_scores.average_curves`.
    task, variable
        Which of them; ``all`` is all together.
    """
    rows = _pick(means, task, variable)
    rows = rows[rows["test"].isin(list(TESTS))]
    methods = list(dict.fromkeys(rows["method"]))
    columns = min(_COLUMNS, max(1, len(methods)))
    figure, axes = style.panels(2 * -(-len(methods) // columns), columns, width=1.75, height=1.6)
    for axis in axes.flat:
        axis.set_visible(False)
    for line, (test, words) in enumerate(TESTS.items()):
        for place, method in enumerate(methods):
            axis = axes[2 * (place // columns) + line, place % columns]
            axis.set_visible(True)
            own = rows[(rows["method"] == method) & (rows["test"] == test)]
            for note, colour, dashes, name in (
                (RANDOM, style.CHANCE, "--", "random order"),
                (MAP, style.MODEL, "-", "order of the map"),
            ):
                part = own[own["note"] == note].sort_values("step")
                axis.fill_between(part["step"], part["low"], part["high"], color=colour, alpha=0.18, lw=0)
                axis.plot(
                    part["step"], part["value"], color=colour, ls=dashes, lw=1.6, label=f"{name}, 95 % over sessions"
                )
            if line == 0:
                axis.set_title(title_of(method), fontsize=9)
            style.note(axis, _count(own), corner="lower left" if test == "deletion" else "lower right")
            axis.set_xlim(0, 1)
            axis.set_ylim(0, 1)
            axis.set_xticks([0, 0.5, 1])
            axis.xaxis.set_major_formatter(PercentFormatter(1))
            axis.grid(color=style.PALE, lw=0.6)
            axis.set_axisbelow(True)
        for axis in axes[line::2, 0]:
            axis.set_ylabel(words, fontsize=8)
    style.outer_labels(figure, "share of the pixels removed, or put in", "probability of the raters' class")
    legend_of_all(figure, list(axes.flat))
    return figure


def randomisation(means: pd.DataFrame, *, task: str = "all", variable: str = "all") -> Figure:
    """Draw how maps change as more and more of the network is made random, from its end to its beginning.

    A map that stays as it was shows the picture, not what was learnt.

    Parameters
    ----------
    means
        From `nbpkg.attention.faithfulness_scores.average_curves`.
    task, variable
        Which of them; ``all`` is all together.
    """
    rows = _pick(means, task, variable)
    rows = rows[rows["test"] == "randomisation"]
    if rows.empty:
        raise TableError("The randomisation test was not made.", remedy="Ask for it in the settings of the comparison.")
    methods = list(dict.fromkeys(rows["method"]))
    figure, axes = make_panels(len(methods), height=2.0, columns=4, width=2.2)
    stages = rows.drop_duplicates("step").sort_values("step")
    names = [str(note) or "trained" for note in stages["note"]]
    for method, axis in zip(methods, axes, strict=True):
        own = rows[rows["method"] == method].sort_values("step")
        at = [stages["step"].tolist().index(step) for step in own["step"]]
        axis.axhline(0, color=style.CHANCE, ls="--", lw=1, label="no likeness")
        axis.fill_between(at, own["low"], own["high"], color=style.MODEL, alpha=0.18, lw=0)
        axis.plot(at, own["value"], "o-", ms=4, color=style.MODEL, lw=1.4, label="map, 95 % over sessions")
        missing = [place for place, value in zip(at, own["value"], strict=True) if value != value]
        if missing:
            axis.plot(
                missing, [0] * len(missing), "x", ms=5, color=style.RED, label="undefined: all values are the same"
            )
        axis.set_xticks(range(len(names)), names, rotation=50, ha="right", rotation_mode="anchor", fontsize=7)
        axis.set_ylim(-1.05 if own["low"].min() < -0.5 else -0.55, 1.05)
        axis.set_title(f"{title_of(method)}\n{_count(own)}", fontsize=9)
        axis.grid(axis="y", color=style.PALE, lw=0.6)
        axis.set_axisbelow(True)
    style.outer_labels(
        figure,
        "made random up to this block of layers (lower is better)",
        "rank correlation with the trained network's map",
    )
    legend_of_all(figure, list(axes))
    return figure


def _pick(rows: pd.DataFrame, task: str, variable: str) -> pd.DataFrame:
    """Take one pair, or all together: the only pair where there is but one."""
    pairs = rows[["task", "variable"]].drop_duplicates()
    if len(pairs) == 1 and (task, variable) == ("all", "all"):
        task, variable = pairs.iloc[0]
    own = rows[(rows["task"] == task) & (rows["variable"] == variable)]
    if own.empty:
        raise TableError(
            f"There is nothing to draw for {task} · {variable}.", expected=f"One of {sorted(set(rows['task']))}."
        )
    return own


def _count(own: pd.DataFrame) -> str:
    """Say of how many snippets and sessions defined values are."""
    own = own[own["n"] > 0]
    if own.empty:
        return "n = 0"
    low, high = int(own["n"].min()), int(own["n"].max())
    return f"n = {low if low == high else f'{low}–{high}'}, {int(own['n_groups'].max())} sessions"
