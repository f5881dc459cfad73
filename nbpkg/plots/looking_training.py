"""Figures of trainings over face tracks: the course of each, the moment that was kept, and variants side by side."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nbpkg.plots import style
from nbpkg.plots.evaluation import each_row, legend_of_all

SPLITS = {"train": (style.BLUE, "training windows, varied"), "inner": (style.GREEN, "windows that choose")}
METRICS = {"loss": "loss (weighted cross entropy)", "map": "mAP of looking and not looking"}


def training_curves(history: pd.DataFrame, trials: pd.DataFrame) -> Figure:
    """Draw loss and mAP over the epochs, a row for each variant, and the moment of each training that was kept.

    Parameters
    ----------
    history
        Table ``looking_history``.
    trials
        Table ``looking_trials``, which says whose the trainings are and what was kept.
    """
    variants = list(dict.fromkeys(trials["variant"]))
    if not variants or history.empty:
        return style.blank("epochs")
    figure, axes = style.panels(len(variants), len(METRICS), width=3.8, height=1.55 if len(variants) > 1 else 2.3,
                                share=False)  # fmt: skip
    for line, variant in zip(axes, variants, strict=True):
        own = trials[trials["variant"] == variant]
        for axis, metric in zip(line, METRICS, strict=True):
            for trial in each_row(own):
                part = history[(history["round"] == trial.round) & (history["metric"] == metric)]
                _draw_course(axis, part, float(trial.epoch), thin=len(own) > 2)
        line[0].set_ylabel("\n".join([str(variant), *_count(own)]), fontsize=8)
    for metric, column in zip(METRICS, axes.T, strict=True):
        column[0].set_title(METRICS[metric], fontsize=9)
        _scale(column, history.loc[history["metric"] == metric, "value"], whole=metric == "map")
    figure.supxlabel("epoch (passes over the training windows)", fontsize=9, color=style.INK)
    legend_of_all(figure, list(axes.flat))
    return figure


def variants(trials: pd.DataFrame, *, chance: float | None = None) -> Figure:
    """Draw the mAP of each variant on the clips that choose, repeat by repeat, beside its difference to the first one.

    Differences are of trainings with the same seed; both are on clips that chose the epochs, so they are a little high.

    Parameters
    ----------
    trials
        Table ``looking_trials`` of a sweep.
    chance
        mAP of answering without looking.
    """
    names = list(dict.fromkeys(trials["variant"]))
    if not names:
        return style.blank("variants")
    figure, axes = style.panels(1, 2, width=3.9, height=0.42 * len(names) + 0.9, share=False)
    scores, differences = axes[0]
    first = trials[trials["variant"] == names[0]].set_index("repeat")["inner_map"]
    for row, name in enumerate(names):
        own = trials[trials["variant"] == name].set_index("repeat")["inner_map"]
        _draw_repeats(scores, own.to_numpy(), row)
        if row:
            _draw_repeats(differences, (own - first).dropna().to_numpy(), row)
    if chance is not None:
        scores.axvline(chance, color=style.CHANCE, ls="--", lw=1.4, label="answering without looking")
    differences.axvline(0, color=style.GREY, lw=1)
    counts = [_count(trials[trials["variant"] == name]) for name in names]
    labels = [f"{name}\n({', '.join(count)})" for name, count in zip(names, counts, strict=True)]
    for axis, words in (
        (scores, "mAP, clips that choose (higher is better)"),
        (differences, f"difference to {names[0]}, same seed"),
    ):
        axis.set_yticks(range(len(names)), labels if axis is scores else [""] * len(names), fontsize=8)
        axis.set_ylim(len(names) - 0.5, -0.5)
        axis.set_xlabel(words, fontsize=9)
        axis.xaxis.set_major_locator(MaxNLocator(nbins=5))
        axis.margins(x=0.12)
        axis.grid(axis="x", color=style.PALE, lw=0.6)
        axis.set_axisbelow(True)
    if len(names) == 1:
        style.note(differences, "nothing to compare with")
    legend_of_all(figure, [scores])
    return figure


def _count(own: pd.DataFrame) -> tuple[str, str]:
    """Say how many trainings there are, and how many windows choose."""
    trainings = "1 training" if len(own) == 1 else f"{len(own)} trainings"
    return trainings, f"n = {int(own['n_inner'].max()):,} windows"


def _draw_course(axis: Axes, part: pd.DataFrame, kept: float, *, thin: bool) -> None:
    """Draw one training's course of one metric, and a mark where it was kept."""
    width, alpha = (1.0, 0.8) if thin else (1.5, 1.0)
    for split, (colour, label) in SPLITS.items():
        line = part[part["split"] == split].sort_values("epoch")
        mark = "o" if len(line) < 6 else ""
        axis.plot(line["epoch"], line["value"], color=colour, lw=width, alpha=alpha, marker=mark, ms=3, label=label)
    at = part[(part["split"] == "inner") & np.isclose(part["epoch"], kept)]
    axis.plot(at["epoch"], at["value"], "D", ms=5, mfc="white", mew=1.3, color=style.RED, zorder=5, label="kept")


def _scale(axes: np.ndarray, values: pd.Series, *, whole: bool) -> None:
    """Give the panels of one metric the same scale: scores from 0 to 1, losses from 0."""
    top = 1.03 if whole else 1.08 * float(values.max())
    for axis in axes:
        axis.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=1))
        axis.yaxis.set_major_locator(MaxNLocator(nbins=5))
        axis.grid(color=style.PALE, lw=0.6)
        axis.set_axisbelow(True)
        axis.set_ylim(0, top)


def _draw_repeats(axis: Axes, values: np.ndarray, row: int) -> None:
    """Draw every repeat as a dot, and their mean where there are several."""
    several = len(values) > 1
    heights = np.full(len(values), row - 0.12 if several else row)
    axis.plot(values, heights, "o", ms=5, color=style.BLUE, alpha=0.7, ls="", label="one training")
    if several:
        axis.plot([values.mean()], [row + 0.16], "D", ms=5, color=style.INK, ls="", label="mean")
