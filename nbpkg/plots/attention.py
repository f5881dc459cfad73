"""Figures that hold networks' attention against people's: every value beside chance, controls and the human ceiling."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from nbpkg.attention.comparing.measures import MEASURES
from nbpkg.attention.comparing.summary import AGAINST_RANDOM, HUMAN, NETWORK, RANDOM, RANKED
from nbpkg.errors import TableError
from nbpkg.plots import style
from nbpkg.plots.evaluation import each_row, legend_of_all
from nbpkg.plots.overlay import name_map

CONTROL = style.INK
_COLUMNS = 3  # panels side by side


def scores(
    attention: pd.DataFrame,
    *,
    metrics: Sequence[str] = RANKED,
    level: str = "frame",
    condition: str = "matching",
    task: str = "all",
    variable: str = "all",
) -> Figure:
    """Draw how alike every method's maps and people's are: a panel for each measure, a row for each method and control.

    Filled marks are the trained network, open ones the same method on a network that has learnt nothing; below the line
    stand maps that know nothing of any network, and people against each other. The dashed line is the best of the
    former, the band the latter.

    Parameters
    ----------
    attention
        Table ``attention``.
    metrics
        Measures, names as in the table; those that the level does not have are left out.
    level
        ``frame`` (each frame on its own, then averaged) or ``clip``.
    condition
        ``matching`` (maps for the class on which the raters agree) or ``opposite``.
    task, variable
        Which of them; ``all`` is all together.
    """
    rows = _pick(attention, task=task, variable=variable, level=level)
    shown = [name for name in metrics if name in set(rows["metric"])]
    methods, others = _name_rows(rows)
    names = methods + others
    figure, axes = make_panels(len(shown), height=0.24 * len(names) + 0.85)
    for metric, axis in zip(shown, axes, strict=False):
        own = rows[(rows["metric"] == metric) & rows["condition"].isin([condition, ""])]
        _draw_scores(axis, own, names)
        axis.axhline(len(methods) - 0.5, color=style.GREY, lw=0.8)
        finish_rows(axis, [title_of(name) for name in names])
        _name_measure(axis, own)
    kinds = {"matching": "the class on which the raters agree", "opposite": "the other class"}
    figure.supxlabel(f"likeness to people's maps; maps for {kinds[condition]}", fontsize=9, color=style.INK)
    legend_of_all(figure, list(axes))
    return figure


def scores_by_pair(
    attention: pd.DataFrame, *, metric: str, level: str = "frame", condition: str = "matching"
) -> Figure:
    """Draw one measure for every task and variable, rows as in `scores`.

    Parameters
    ----------
    attention
        Table ``attention``.
    metric
        The measure.
    level, condition
        As in `scores`.
    """
    rows = attention[(attention["level"] == level) & (attention["metric"] == metric) & (attention["task"] != "all")]
    rows = rows[rows["condition"].isin([condition, ""])]
    if rows.empty:
        raise TableError(f"There is no {metric!r} of {level}s to draw.", expected=f"One of {', '.join(MEASURES)}.")
    methods, others = _name_rows(rows)
    names = methods + others
    pairs = sorted(set(zip(rows["task"], rows["variable"], strict=True)))
    figure, axes = make_panels(len(pairs), height=0.22 * len(names) + 0.75, width=2.8)
    for (task, variable), axis in zip(pairs, axes, strict=True):
        own = rows[(rows["task"] == task) & (rows["variable"] == variable)]
        _draw_scores(axis, own, names)
        axis.axhline(len(methods) - 0.5, color=style.GREY, lw=0.8)
        finish_rows(axis, [title_of(name) for name in names])
        axis.set_title(f"{task} · {variable}\n{_count(own)}", fontsize=9)
    facts = MEASURES[metric]
    figure.supxlabel(f"{facts.title}, {facts.direction} is better", fontsize=9, color=style.INK)
    legend_of_all(figure, list(axes))
    return figure


def differences(
    attention: pd.DataFrame,
    *,
    kind: str,
    metrics: Sequence[str] = RANKED,
    level: str = "frame",
    task: str = "all",
    variable: str = "all",
) -> Figure:
    """Draw differences taken snippet by snippet, with intervals; zero is no difference.

    Parameters
    ----------
    attention
        Table ``attention``.
    kind
        ``condition``: maps for the class on which the raters agree minus maps for the other class; ``random``: the
        trained network minus the one that has learnt nothing.
    metrics, level, task, variable
        As in `scores`.
    """
    rows = _pick(attention, task=task, variable=variable, level=level)
    wanted = {"condition": (NETWORK, "difference"), "random": (AGAINST_RANDOM, "matching")}
    words = {"condition": "own class minus other class", "random": "trained minus random network"}
    if kind not in wanted:
        raise TableError(f"There are no differences {kind!r}.", expected=f"One of {', '.join(wanted)}.")
    source, condition = wanted[kind]
    rows = rows[(rows["source"] == source) & (rows["condition"] == condition)]
    shown = [name for name in metrics if name in set(rows["metric"])]
    methods = list(dict.fromkeys(rows["method"]))
    figure, axes = make_panels(len(shown), height=0.26 * len(methods) + 0.85)
    for metric, axis in zip(shown, axes, strict=False):
        own = rows[rows["metric"] == metric]
        axis.axvline(0, color=style.CHANCE, ls="--", lw=1, label="no difference")
        for one in each_row(own):
            _draw_value(axis, one, methods.index(one.method), colour=style.MODEL, label="mean difference")
        finish_rows(axis, [title_of(name) for name in methods])
        edge = 1.1 * np.nanmax([0.01, *own[["value", "low", "high"]].abs().to_numpy().ravel()])
        axis.set_xlim(-edge, edge)
        _name_measure(axis, own, better=f"{'right' if own['direction'].iloc[0] == 'higher' else 'left'} is better")
    figure.supxlabel(f"difference in likeness to people's maps: {words[kind]}", fontsize=9, color=style.INK)
    legend_of_all(figure, list(axes))
    return figure


def controls(
    attention: pd.DataFrame,
    *,
    metrics: Sequence[str] = RANKED,
    level: str = "frame",
    condition: str = "matching",
    task: str = "all",
    variable: str = "all",
) -> Figure:
    """Write all values and intervals as a table: people, methods, random networks, and maps that know nothing.

    Parameters
    ----------
    attention, metrics, level, condition, task, variable
        As in `scores`.
    """
    rows = _pick(attention, task=task, variable=variable, level=level)
    rows = rows[rows["condition"].isin([condition, ""]) & (rows["source"] != AGAINST_RANDOM)]
    shown = [name for name in metrics if name in set(rows["metric"])]
    order = {HUMAN: 0, NETWORK: 1, RANDOM: 2}
    keys = sorted(dict.fromkeys(zip(rows["source"], rows["method"], strict=True)), key=lambda key: order.get(key[0], 3))
    figure, axes = style.panels(1, 1, width=1.25 * len(shown) + 2.4, height=0.24 * (len(keys) + 2))
    axis = axes[0, 0]
    axis.set_axis_off()
    values = {(one.source, one.method, one.metric): one for one in each_row(rows)}
    for column, metric in enumerate(shown):
        facts = MEASURES[metric]
        text = f"{_wrap(facts.title, 18)}\n({facts.direction} is better)"
        axis.text(column + 0.5, -0.9, text, ha="center", va="bottom", fontsize=8, color=style.INK)
    for row, (source, method) in enumerate(keys):
        colour = {HUMAN: style.HUMAN, NETWORK: style.MODEL, RANDOM: style.MODEL}.get(source, CONTROL)
        name = f"{title_of(method)}, random network" if source == RANDOM else title_of(method or source)
        axis.plot([-0.06], [row], marker="s", ms=6, color=colour, mfc="white" if source == RANDOM else colour)
        axis.text(-0.16, row, name, ha="right", va="center", fontsize=9, color=style.INK)
        if row and order.get(keys[row - 1][0], 3) != order.get(source, 3):
            axis.axhline(row - 0.5, color=style.PALE, lw=1)
        for column, metric in enumerate(shown):
            one = values.get((source, method, metric))
            axis.text(column + 0.5, row, _write(one), ha="center", va="center", fontsize=8, color=style.INK)
    axis.set_xlim(-0.1, len(shown))
    axis.set_ylim(len(keys) - 0.5, -1)
    axis.set_title(f"{_count(rows)}; brackets: 95 % over sessions", fontsize=9, loc="left", pad=38)
    return figure


def ranking(ranked: pd.DataFrame) -> Figure:
    """Draw how far every method gets from maps that know nothing (0 %) to people (100 %), the best first.

    Parameters
    ----------
    ranked
        From `nbpkg.attention.comparing.summary.rank_methods`.
    """
    if ranked.empty:
        raise TableError("There are no methods to rank.")
    metrics = [name for name in ranked.columns if name not in ("source", "method", "median")]
    columns = [*metrics, "median"]
    values = ranked[columns].to_numpy(np.float64)
    figure, axes = style.panels(1, 1, width=0.95 * len(columns) + 2.6, height=0.27 * len(ranked) + 1.0)
    axis, colours, norm = axes[0, 0], colormaps["PuOr_r"], TwoSlopeNorm(0, -100, 100)
    axis.imshow(np.clip(values, -100, 100), cmap=colours, norm=norm, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        text = "–" if np.isnan(value) else f"{value:.0f} %"
        ink = "white" if abs(value) > 70 else style.INK
        axis.text(column, row, text, ha="center", va="center", fontsize=8, color=ink)
    axis.axvline(len(metrics) - 0.5, color="white", lw=3)
    marks = {NETWORK: "", RANDOM: ", random network"}
    names = [f"{title_of(one.method or one.source)}{marks.get(one.source, '')}" for one in each_row(ranked)]
    axis.set_yticks(range(len(ranked)), names)
    axis.set_xticks(range(len(columns)), [*(_wrap(MEASURES[name].title, 14) for name in metrics), "median"], fontsize=7)
    axis.xaxis.tick_top()
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    bar = figure.colorbar(ScalarMappable(norm, colours), ax=axis, shrink=0.8, aspect=16)
    bar.set_ticks([-100, 0, 100], labels=["farther away", "best map that\nknows nothing", "people"])
    bar.ax.tick_params(labelsize=8)
    return figure


def title_of(name: str) -> str:
    """Return the name of a method, a control or the people as it stands in figures."""
    known = {HUMAN: "one painter against another", "other snippet": "people, another session's snippet"}
    return known.get(name, name_map(name))


def _pick(attention: pd.DataFrame, *, task: str, variable: str, level: str) -> pd.DataFrame:
    rows = attention[(attention["task"] == task) & (attention["variable"] == variable) & (attention["level"] == level)]
    if rows.empty:
        pairs = sorted(set(attention["task"] + " · " + attention["variable"] + " · " + attention["level"]))
        raise TableError(f"There is nothing to draw for {task} · {variable} · {level}.", expected=f"One of {pairs}.")
    return rows


def _name_rows(rows: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Return the methods, and below them the controls and people."""
    sources = list(dict.fromkeys(rows["source"]))
    others = [name for name in sources if name not in (NETWORK, RANDOM, HUMAN, AGAINST_RANDOM)]
    methods = dict.fromkeys(rows.loc[rows["source"].isin([NETWORK, RANDOM]), "method"])
    return list(methods), [*others, *(name for name in sources if name == HUMAN)]


def make_panels(
    count: int, *, height: float, columns: int = _COLUMNS, width: float = 2.5
) -> tuple[Figure, NDArray[np.object_]]:
    """Make `count` panels in rows of `columns`; unused places stay empty."""
    columns = max(1, min(columns, count))
    figure, axes = style.panels(max(1, -(-count // columns)), columns, width=width, height=height, share=False)
    for axis in axes.flat[count:]:
        axis.set_axis_off()
    for place, axis in enumerate(axes.flat):
        if place % columns:
            axis.tick_params(labelleft=False)
    return figure, np.array(list(axes.flat[:count]), dtype=object)


def _draw_scores(axis: Axes, own: pd.DataFrame, names: list[str]) -> None:
    """Draw all rows of one measure: methods with their random twins, controls, people."""
    people, first = own[own["source"] == HUMAN], own.iloc[0]
    if len(people) and np.isfinite(people["low"].iloc[0]):
        axis.axvspan(people["low"].iloc[0], people["high"].iloc[0], color=style.HUMAN, alpha=0.16, lw=0)
    if first["ceiling"] == first["ceiling"]:
        axis.axvline(first["ceiling"], color=style.HUMAN, lw=1, label="people against each other, 95 % over sessions")
    if first["chance"] == first["chance"]:
        axis.axvline(first["chance"], color=style.CHANCE, lw=1.2, ls="--", label="chance: the best control")
    for one in each_row(own[own["source"] != AGAINST_RANDOM]):
        row = names.index(one.method if one.source in (NETWORK, RANDOM) else one.source)
        if one.source == RANDOM:
            at = row + 0.22
            axis.plot([one.value], [at], "o", ms=5, mew=1.3, mfc="white", color=style.MODEL, label="random network")
        elif one.source == NETWORK:
            _draw_value(axis, one, row, colour=style.MODEL, label="trained network, 95 % over sessions")
        elif one.source == HUMAN:
            _draw_value(axis, one, row, colour=style.HUMAN, label="", mark="D")
        else:
            best = one.source == one.chance_of
            label = "control (dark: the best)" if best else ""
            _draw_value(axis, one, row, colour=CONTROL if best else style.GREY, label=label, mark="s")


def _draw_value(axis: Axes, one: Any, row: float, *, colour: str, label: str, mark: str = "o") -> None:
    """Draw a value with its interval, or say that there is none."""
    if one.value != one.value:
        place = axis.get_yaxis_transform()
        axis.text(0.03, row, "undefined", transform=place, va="center", fontsize=7, color=style.GREY)
        return
    axis.plot([one.low, one.high], [row, row], color=colour, lw=2.2, alpha=0.5)
    axis.plot([one.value], [row], mark, ms=6 if mark == "o" else 5, color=colour, label=label or None)


def finish_rows(axis: Axes, names: Sequence[str]) -> None:
    """Name rows from the top down."""
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.grid(axis="x", color=style.PALE, lw=0.6)
    axis.set_axisbelow(True)


def _name_measure(axis: Axes, own: pd.DataFrame, *, better: str = "") -> None:
    facts = MEASURES[str(own["metric"].iloc[0])]
    axis.set_title(f"{_wrap(facts.title, 34)}\n{better or f'{facts.direction} is better'}\n{_count(own)}", fontsize=8)


def _count(own: pd.DataFrame) -> str:
    """Say of how many snippets and sessions defined values are, as a range where they differ."""
    own = own[own["value"].notna()]
    if own.empty:
        return "n = 0: undefined"
    texts = []
    for column, noun in (("n", "snippets"), ("n_groups", "sessions")):
        low, high = int(own[column].min()), int(own[column].max())
        texts.append(f"{low if low == high else f'{low}–{high}'} {noun}")
    return f"n = {', '.join(texts)}"


def _write(one: Any) -> str:
    if one is None or one.value != one.value:
        return "–"
    interval = f" [{one.low:.2f}, {one.high:.2f}]" if one.low == one.low else ""
    return f"{one.value:.2f}{interval}"


def _wrap(text: str, width: int) -> str:
    return "\n".join(textwrap.wrap(text, width))
