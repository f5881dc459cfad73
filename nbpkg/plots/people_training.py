"""Figures of trainings over several people: the course of each, the epoch that was kept, and the folds left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nbpkg.plots import style
from nbpkg.plots.evaluation import each_row, legend_of_all
from nbpkg.plots.valence import natural

SPLITS = {"train": (style.BLUE, "training clips"), "inner": (style.GREEN, "inner families, which choose")}
METRICS = {
    "loss": "loss", "macro_f1": "macro F1", "top1_acc": "top-1 accuracy", "accuracy": "accuracy",
    "learning_rate": "learning rate", "grad_norm": "norm of the gradient",
}  # fmt: skip
DRAWN = ("loss", "macro_f1", "top1_acc", "accuracy")


def training_curves(
    history: pd.DataFrame, trials: pd.DataFrame | None = None, *, metrics: Sequence[str] = ()
) -> Figure:
    """Draw loss and scores after every epoch, a row for each system and variant, and the epoch of each that was kept.

    Parameters
    ----------
    history
        Table ``people_history``.
    trials
        Table ``people_trials``, which says which epochs were kept.
    metrics
        Which ones; none for loss, macro F1 and accuracy as far as they are there, else all.
    """
    known = list(dict.fromkeys(history["metric"]))
    shown = [name for name in metrics or DRAWN if name in known] or known
    rows = list(dict.fromkeys(zip(history["system"], history["variant"], strict=True)))
    if not rows or not shown:
        return style.blank("epochs")
    figure, axes = style.panels(
        len(rows), len(shown), width=7.6 / len(shown), height=1.55 if len(rows) > 1 else 2.3, share=False
    )
    for line, (system, variant) in zip(axes, rows, strict=True):
        own = history[(history["system"] == system) & (history["variant"] == variant)]
        rounds = list(dict.fromkeys(own["round"]))
        for axis, metric in zip(line, shown, strict=True):
            for name in rounds:
                part = own[(own["round"] == name) & (own["metric"] == metric)]
                _draw_course(axis, part, _find_kept(trials, system, name), thin=len(rounds) > 2)
        trainings = "1 training" if len(rounds) == 1 else f"{len(rounds)} trainings"
        line[0].set_ylabel(f"{system}\n{variant}\n(n = {trainings})", fontsize=8)
    for metric, column in zip(shown, axes.T, strict=True):
        column[0].set_title(METRICS.get(metric, metric.replace("_", " ")), fontsize=9)
        _scale(column, history.loc[history["metric"] == metric, "value"], metric)
    figure.supxlabel("epoch (passes over the training clips)", fontsize=9, color=style.INK)
    legend_of_all(figure, list(axes.flat))
    return figure


def fold_scores(trials: pd.DataFrame, *, chance: float | None = None) -> Figure:
    """Draw macro F1 of the families left out in each training, variant by variant, with mean and standard deviation.

    Parameters
    ----------
    trials
        Table ``people_trials``; trainings that left nothing out are not drawn, those without result are counted.
    chance
        Macro F1 of always answering the most frequent class.
    """
    own = trials[trials["fold"] >= 0]
    if own.empty:
        return style.blank("folds left out")
    systems = list(dict.fromkeys(own["system"]))
    variants = _order_variants(own["variant"])
    folds = sorted(set(own["fold"]))
    colours = style.fold_colours(folds, [])
    figure, axes = style.panels(1, len(systems), width=max(4.4, 7.4 / len(systems)), height=0.5 * len(variants) + 0.9)
    for axis, system in zip(axes[0], systems, strict=True):
        for row, variant in enumerate(variants):
            part = own[(own["system"] == system) & (own["variant"] == variant)]
            if len(part):
                _draw_variant(axis, part, row, colours)
        if chance is not None:
            axis.axvline(chance, color=style.CHANCE, ls="--", lw=1.4, label="always the most frequent class")
        axis.set_yticks(range(len(variants)), variants, fontsize=8)
        axis.set_ylim(len(variants) - 0.5, -0.5)
        axis.set_xlim(0, 1.02)
        axis.grid(axis="x", color=style.PALE, lw=0.6)
        axis.set_axisbelow(True)
        axis.set_title(system, fontsize=9)
    words = "macro F1 of the families left out (higher is better); right: n trainings"
    figure.supxlabel(words, fontsize=9, color=style.INK)
    legend_of_all(figure, list(axes.flat))
    return figure


def _find_kept(trials: pd.DataFrame | None, system: str, name: str) -> int | None:
    if trials is None:
        return None
    found = trials.loc[(trials["system"] == system) & (trials["round"] == name), "epoch"]
    return int(found.iloc[0]) if len(found) else None


def _draw_course(axis: Axes, part: pd.DataFrame, kept: int | None, *, thin: bool) -> None:
    """Draw one training's course of one metric, and a mark where it was kept."""
    for split, (colour, label) in SPLITS.items():
        line = part[part["split"] == split].sort_values("epoch")
        if not len(line):
            continue
        mark = "o" if len(line) < 6 else ""
        width, alpha = (0.8, 0.7) if thin else (1.5, 1.0)
        axis.plot(line["epoch"], line["value"], color=colour, lw=width, alpha=alpha, marker=mark, ms=3, label=label)
    chosen = part[part["epoch"] == kept]
    at = chosen[chosen["split"] == "inner"] if (part["split"] == "inner").any() else chosen
    if kept is not None and len(at):
        axis.plot(at["epoch"], at["value"], "D", ms=5, mfc="white", mew=1.3, color=style.RED, ls="", zorder=5,
                  label="epoch kept")  # fmt: skip


def _scale(axes: np.ndarray, values: pd.Series, metric: str) -> None:
    """Give the panels of one metric the same scale: scores from 0 to 1, anything else from 0."""
    finite = values[np.isfinite(values)]
    top = 1.08 * float(finite.max()) if len(finite) and finite.max() > 0 else 1.0
    for axis in axes:
        axis.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=1))
        axis.yaxis.set_major_locator(MaxNLocator(nbins=5))
        axis.grid(color=style.PALE, lw=0.6)
        axis.set_axisbelow(True)
        axis.set_ylim(0, top if metric not in METRICS or metric in ("loss", "learning_rate", "grad_norm") else 1.03)


def _draw_variant(axis: Axes, part: pd.DataFrame, row: int, colours: dict[int, str]) -> None:
    values = part["held_out_macro_f1"].to_numpy(np.float64)
    known = values[np.isfinite(values)]
    folds = sorted(colours)
    for one in each_row(part):
        height = row - 0.26 + 0.36 * (folds.index(one.fold) / max(1, len(folds) - 1))
        axis.plot([one.held_out_macro_f1], [height], "o", ms=4, color=colours[one.fold], alpha=0.8,
                  label=f"fold {one.fold} left out")  # fmt: skip
    if len(known):
        mean, spread = known.mean(), known.std(ddof=1) if len(known) > 1 else 0.0
        axis.plot([mean - spread, mean + spread], [row + 0.3] * 2, color=style.INK, lw=1.6)
        axis.plot([mean], [row + 0.3], "D", ms=5, color=style.INK, label="mean ± 1 standard deviation")
    text = f"{len(part)}" + (f", {len(part) - len(known)} without result" if len(known) < len(part) else "")
    axis.text(1.02, row, text, transform=axis.get_yaxis_transform(), va="center", fontsize=7, color=style.INK)


def _order_variants(names: Any) -> list[str]:
    return sorted({str(name) for name in names}, key=lambda name: (name != "full", natural(name)))
