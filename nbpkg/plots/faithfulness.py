"""Figures of whether maps show what the network uses: what it answers, deletion, insertion, randomisation."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from nbpkg.attention.comparing.summary import NETWORK
from nbpkg.attention.faithfulness_scores import MAP, RANDOM
from nbpkg.errors import TableError
from nbpkg.plots import style
from nbpkg.plots.attention import finish_rows, make_panels, title_of
from nbpkg.plots.evaluation import each_row, legend_of_all
from nbpkg.plots.painting import spread_points

_COLUMNS = 6
TESTS = {
    "deletion": "deletion\n(lower is better)",
    "insertion": "insertion\n(higher is better)",
}


def network_answers(maps: pd.DataFrame, snippets: pd.DataFrame) -> Figure:
    """Draw what the networks answer for the painted snippets: of a wrong answer, maps show the wrong reasons.

    Parameters
    ----------
    maps, snippets
        The tables of the same names; of the maps, those of the trained networks.
    """
    own = maps[(maps["source"] == NETWORK) & (maps["condition"] == "matching")].drop_duplicates("snippet_id")
    own = own.merge(snippets[["snippet_id", "label"]], on="snippet_id", validate="one_to_one")
    if own.empty:
        raise TableError("There are no maps of trained networks to draw.")
    pairs = sorted(dict.fromkeys(zip(own["task"], own["variable"], strict=True)))
    figure, axes = style.panels(1, 1, width=5.6, height=0.5 * len(pairs) + 0.7)
    axis = axes[0, 0]
    axis.axvline(0.5, color=style.CHANCE, ls="--", lw=1, label="undecided")
    for row, (task, variable) in enumerate(pairs):
        part = own[(own["task"] == task) & (own["variable"] == variable)]
        for label, colour, shift, mark in ((1, style.ORANGE, -0.17, "o"), (0, style.SKY, 0.17, "s")):
            at = np.sort(part.loc[part["label"] == label, "probability"].to_numpy(np.float64))
            named = f"raters agree: {'yes' if label else 'no'}"
            axis.plot(
                at,
                row + shift + 0.5 * spread_points(len(at)),
                mark,
                ms=5,
                color=colour,
                mec=style.INK,
                mew=0.4,
                label=named,
            )
        text = f"{int((part['predicted'] == part['label']).sum())} of n = {len(part)} right"
        axis.text(1.02, row, text, transform=axis.get_yaxis_transform(), va="center", fontsize=8, color=style.INK)
    finish_rows(axis, [f"{task} · {variable}" for task, variable in pairs])
    axis.set_xlim(-0.03, 1.03)
    axis.set_xlabel("probability that the network gives to the raters' class (right of the line: right)")
    style.legend(figure, axis)
    return figure


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


def areas(measured: pd.DataFrame, *, task: str = "all", variable: str = "all") -> Figure:
    """Draw the areas under deletion and insertion curves of every method, beside random order, and the gain over it.

    Parameters
    ----------
    measured
        From `nbpkg.attention.faithfulness_scores.measure_areas`.
    task, variable
        Which of them; ``all`` is all together.
    """
    rows = _pick(measured, task, variable)
    methods = list(dict.fromkeys(rows["method"]))
    figure, axes = style.panels(1, 4, width=2.05, height=0.27 * len(methods) + 0.85, share=False)
    for place, test in enumerate(TESTS):
        for side, axis in enumerate(axes[0, 2 * place : 2 * place + 2]):
            own = rows[rows["test"] == test]
            for one in each_row(own):
                row = methods.index(one.method)
                low, high, value = (one.gain_low, one.gain_high, one.gain) if side else (one.low, one.high, one.value)
                if not side:
                    axis.plot([one.random], [row], "|", ms=11, mew=1.8, color=style.CHANCE, label="random order")
                axis.plot([low, high], [row, row], color=style.MODEL, lw=2.2, alpha=0.5)
                axis.plot([value], [row], "o", ms=6, color=style.MODEL, label="order of the map, 95 % over sessions")
            if side:
                axis.axvline(0, color=style.CHANCE, ls="--", lw=1)
            finish_rows(axis, [title_of(name) for name in methods] if place + side == 0 else [""] * len(methods))
            better = "right is better" if side else f"{own['direction'].iloc[0]} is better"
            axis.set_title(
                f"{f'{test}: gain over random' if side else f'{test}: area'}\n{better}\n{_count(own)}", fontsize=8
            )
    figure.supxlabel("area under the curve = mean probability of the raters' class", fontsize=9, color=style.INK)
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
