"""Figures that compare: fold with fold, rater with rater, the machine with people, one kind of clip with another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator

from nbpkg.errors import TableError
from nbpkg.plots import style
from nbpkg.plots.evaluation import each_row, legend_of_all, name_metric, pick_metric

ROLES = {"train": style.GREY, "validation": style.SKY, "test": style.RED}
MARKS = {"train": "o", "validation": "s", "test": "D"}
STATISTICS = {"cohen_kappa": "Cohen's kappa", "raw_agreement": "raw agreement"}


def score_by_fold(metrics: pd.DataFrame, *, metric: str = "balanced_accuracy") -> Figure:
    """Draw one metric in every fold, with what the fold was for the model, interval, chance, human ceiling and n.

    Parameters
    ----------
    metrics
        Table ``metrics``.
    metric
        Its name in the table.
    """
    table = _pick_part(metrics, metric, "fold")
    names = sorted(set(table["name"]), key=int)
    figure, found = style.by_task(table, width=2.7, height=0.28 * len(names) + 0.9)
    for task, variable, axis in found:
        own = table[(table["task"] == task) & (table["variable"] == variable)]
        for one in each_row(own):
            row, role = names.index(one.name), str(one.role)
            _draw_references(axis, one, row)
            axis.plot([one.low, one.high], [row, row], color=ROLES[role], lw=2, alpha=0.6)
            axis.plot([one.value], [row], MARKS[role], ms=6, color=ROLES[role], label=f"{role} fold")
            _write_size(axis, one, row)
        _finish_rows(axis, names)
    style.outer_labels(figure, f"{name_metric(table)}; right: n labels, sessions", "fold")
    legend_of_all(figure, [axis for _, _, axis in found])
    return figure


def score_by_rater(metrics: pd.DataFrame, *, metric: str = "balanced_accuracy") -> Figure:
    """Draw one metric on each rater's labels of the test fold, with interval, chance, the other raters and n.

    Parameters
    ----------
    metrics
        Table ``metrics``.
    metric
        Its name in the table.
    """
    table = _pick_part(metrics, metric, "rater")
    names = sorted(set(table["name"]))
    figure, found = style.by_task(table, width=2.7, height=0.32 * len(names) + 0.9)
    for task, variable, axis in found:
        own = table[(table["task"] == task) & (table["variable"] == variable)]
        for one in each_row(own):
            row = names.index(one.name)
            _draw_references(axis, one, row)
            axis.plot([one.low, one.high], [row, row], color=style.MODEL, lw=2, alpha=0.6)
            axis.plot([one.value], [row], "o", ms=6, color=style.MODEL, label="model against this rater")
            _write_size(axis, one, row)
        _finish_rows(axis, names)
    style.outer_labels(figure, f"{name_metric(table)}; right: n labels, sessions", "rater")
    legend_of_all(figure, [axis for _, _, axis in found])
    return figure


def left_out(compared: pd.DataFrame, *, statistic: str = "cohen_kappa", pooled: bool = False) -> Figure:
    """Draw each rater and the machine in the rater's place, both against the majority of the other raters.

    Parameters
    ----------
    compared
        From `nbpkg.metrics.machine.compare_left_out`.
    statistic
        ``cohen_kappa`` or ``raw_agreement``.
    pooled
        All tasks and variables together instead of one panel for each.
    """
    table = compared[(compared["statistic"] == statistic) & ((compared["task"] == "all") == pooled)]
    if table.empty:
        raise TableError(f"There is no {statistic!r} to draw.", expected=f"One of {', '.join(STATISTICS)}.")
    raters = sorted(set(table["left_out"]) - {"all", "none"})
    order = [*raters, *(["all"] if raters else []), "none"]
    words = {**{name: f"{name} left out" for name in raters}, "all": "mean of these", "none": "nobody left out"}
    figure, found = style.by_task(table, width=5.8 if pooled else 2.9, height=0.42 * len(order) + 0.9)
    for task, variable, axis in found:
        own = table[(table["task"] == task) & (table["variable"] == variable)]
        if statistic == "cohen_kappa":
            axis.axvline(0, color=style.CHANCE, lw=1, ls="--", label="agreement by chance")
        for row, name in enumerate(order):
            _draw_pair(axis, own[own["left_out"] == name], row)
        if raters:
            axis.axhline(len(raters) - 0.5, color=style.PALE, lw=1)
        _finish_rows(axis, [words[name] for name in order])
    known = table[table["compared"] != "difference"]
    least = min(0.0, float(known[["value", "low"]].min().min()))
    for _, _, axis in found:
        axis.set_xlim(least - 0.05, 1.05)
        axis.xaxis.set_major_locator(MultipleLocator(0.5))
    style.outer_labels(
        figure, f"{STATISTICS[statistic]} with the majority of the other raters (95 %; right: n clips, sessions)", ""
    )
    legend_of_all(figure, [axis for _, _, axis in found])
    return figure


def covariates(
    scored: pd.DataFrame, *, metric: str = "balanced_accuracy", task: str = "", variable: str = ""
) -> Figure:
    """Draw the score of each level of each covariate, with interval, chance and n.

    Parameters
    ----------
    scored
        From `nbpkg.metrics.covariates.score_by_covariate`.
    metric
        ``balanced_accuracy`` or ``accuracy``.
    task, variable
        Which of them; ``all`` is all together, which is also what the table begins with if it holds several.
    """
    first = scored.iloc[0] if len(scored) else {"task": "all", "variable": "all"}
    task, variable = task or str(first["task"]), variable or str(first["variable"])
    table = scored[(scored["metric"] == metric) & (scored["task"] == task) & (scored["variable"] == variable)]
    if table.empty:
        known = sorted(set(scored["task"] + " " + scored["variable"] + " " + scored["metric"]))
        raise TableError(f"There is nothing to draw for {task} {variable} {metric}.", expected=f"One of {known}.")
    groups = list(table.groupby("covariate", sort=False))
    figure, axes = style.panels(1, 1, width=6.4, height=0.25 * (len(table) + len(groups)) + 0.8)
    axis = axes[0, 0]
    names: list[str] = []
    for name, part in groups:
        axis.text(1.01, len(names), "n labels, sessions" if not names else "", transform=axis.get_yaxis_transform(),
                  va="center", fontsize=7, color=style.GREY)  # fmt: skip
        names.append(f"{name}:")
        for one in each_row(part):
            row = len(names)
            axis.plot(
                [one.chance] * 2, [row - 0.35, row + 0.35], color=style.CHANCE, lw=2, label="answering without looking"
            )
            axis.plot([one.low, one.high], [row, row], color=style.MODEL, lw=2, alpha=0.6, label="95 % over sessions")
            axis.plot([one.value], [row], "o", ms=6, color=style.MODEL, label="model")
            _write_size(axis, one, row)
            names.append(str(one.level))
    _finish_rows(axis, names)
    for tick, name in zip(axis.get_yticklabels(), names, strict=True):
        tick.set_fontweight("bold" if name.endswith(":") else "normal")
    where = "all tasks and variables" if task == variable == "all" else f"{task} · {variable}"
    axis.set_title(where, loc="left", fontsize=9)
    axis.set_xlabel(f"{metric.replace('_', ' ')} (few sessions each: a description, not a proof)")
    style.legend(figure, axis)
    return figure


def _pick_part(metrics: pd.DataFrame, metric: str, by: str) -> pd.DataFrame:
    table = pick_metric(metrics, metric)
    part = table[table["by"] == by]
    if part.empty:
        raise TableError(f"Table 'metrics' holds no {metric!r} by {by}.", remedy="Make it with score_predictions.")
    return part


def _draw_references(axis: Axes, one: Any, row: float) -> None:
    """Draw chance and the human ceiling of one row."""
    axis.plot([one.chance] * 2, [row - 0.32, row + 0.32], color=style.CHANCE, lw=2, label="answering without looking")
    axis.plot(
        [one.ceiling], [row], "D", ms=7, mfc="none", mew=1.4, color=style.HUMAN, label="one rater against another"
    )


def _draw_pair(axis: Axes, rows: pd.DataFrame, row: float) -> None:
    """Draw human and machine of one line, joined, each with its interval."""
    found = {one.compared: one for one in each_row(rows)}
    if len(found) > 1:
        axis.plot([found["human"].value, found["machine"].value], [row, row], color=style.PALE, lw=5, zorder=0)
    kinds = (("human", -0.14, style.HUMAN, "D", "rater left out"), ("machine", 0.14, style.MODEL, "o", "machine"))
    for kind, shift, colour, mark, label in kinds:
        if kind in found:
            one, y = found[kind], row + shift
            axis.plot([one.low, one.high], [y, y], color=colour, lw=1.6, alpha=0.6)
            axis.plot([one.value], [y], mark, ms=5.5, color=colour, label=label)
    if found:
        _write_size(axis, found["machine"], row)


def _write_size(axis: Axes, one: Any, row: float) -> None:
    """Write n at the right edge, or why there is no value."""
    text = f"{one.n}, {one.n_groups}" if one.value == one.value else f"{one.n}, {one.n_groups}: undefined"
    axis.text(1.02, row, text, transform=axis.get_yaxis_transform(), va="center", fontsize=7, color=style.INK)


def _finish_rows(axis: Axes, names: Sequence[str]) -> None:
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.set_xlim(-0.02, 1.02)
    axis.grid(axis="x", color=style.PALE, lw=0.6)
    axis.set_axisbelow(True)
