"""Figures of trainings on valence: the course of each, which epoch was kept and why, and what honesty costs."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nbpkg.plots import style
from nbpkg.plots.evaluation import each_row, legend_of_all
from nbpkg.plots.valence import natural

SPLITS = {
    "train": (style.BLUE, "training sessions"),
    "inner": (style.GREEN, "inner fold, which chooses"),
    "held_out": (style.ORANGE, "sessions left out"),
}
METRICS = {"loss": "loss", "ccc": "CCC", "pearson": "Pearson's r"}
EPOCH_COLUMNS = ("epoch", "mean", "std", "mean_minus_std", "folds", "chosen")
_MOST_ROWS = 6  # more trainings share one row of panels
CHOSEN_BY = {
    "inner": "by an inner fold", "epoch": "a number of epochs", "others": "by the other folds",
    "held_out": "by the fold itself (optimistic)", "last": "the last epoch",
}  # fmt: skip


def epoch_curves(history: pd.DataFrame, kept: pd.DataFrame | None = None) -> Figure:
    """Draw loss and scores after every epoch, a row for each training, and the epoch that was kept.

    Parameters
    ----------
    history
        Table ``valence_history``, of one system or of several.
    kept
        Rows of table ``valence_trials``: ``system``, ``round`` and ``epoch``.
    """
    rounds = history[["system", "round"]].drop_duplicates().reset_index(drop=True)
    metrics = [metric for metric in METRICS if (history["metric"] == metric).any()]
    if rounds.empty or not metrics:
        return style.blank("epochs")
    together = len(rounds) > _MOST_ROWS
    count = 1 if together else len(rounds)
    figure, axes = style.panels(count, len(metrics), width=7.4 / len(metrics), height=2.2 if together else 1.5,
                                share=False)  # fmt: skip
    pairs = [(str(one.system), str(one.round)) for one in each_row(rounds)]
    for number, (system, name) in enumerate(pairs):
        own = history[(history["system"] == system) & (history["round"] == name)]
        row = axes[0 if together else number]
        _mark_kept(row, kept, system, name, thin=together)
        for axis, metric in zip(row, metrics, strict=True):
            _draw_curves(axis, own[own["metric"] == metric], thin=together)
        if not together:
            row[0].set_ylabel(f"{name}\n(n = {own['epoch'].nunique()} epochs)", fontsize=8)
    if together:
        axes[0, 0].set_ylabel(f"n = {len(pairs)} trainings", fontsize=8)
    for metric, column in zip(metrics, axes.T, strict=True):
        column[0].set_title(METRICS[metric], fontsize=9)
        _scale(column, history.loc[history["metric"] == metric, "value"], metric)
    figure.supxlabel("epoch", fontsize=9, color=style.INK)
    legend_of_all(figure, list(axes.flat))
    return figure


def _draw_curves(axis: Axes, rows: pd.DataFrame, *, thin: bool) -> None:
    for split, (colour, label) in SPLITS.items():
        line = rows[rows["split"] == split].sort_values("epoch")
        if len(line):
            mark = "o" if len(line) < 6 else ""
            width = 0.8 if thin else 1.5
            axis.plot(line["epoch"], line["value"], color=colour, lw=width, marker=mark, ms=3.5, label=label)


def _mark_kept(axes: np.ndarray, kept: pd.DataFrame | None, system: str, name: str, *, thin: bool) -> None:
    if kept is None:
        return
    for epoch in kept.loc[(kept["system"] == system) & (kept["round"] == name), "epoch"]:
        for axis in axes:
            axis.axvline(epoch, color=style.RED, lw=0.6 if thin else 1.2, ls="--", label="epoch kept")


def _scale(axes: np.ndarray, values: pd.Series, metric: str) -> None:
    """Give the panels of one metric the same scale: losses from 0, correlations with the line of chance."""
    finite = values[np.isfinite(values)]
    for axis in axes:
        axis.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=1))
        axis.grid(color=style.PALE, lw=0.6)
        axis.set_axisbelow(True)
        if metric == "loss":
            axis.set_ylim(0, 1.1 * float(finite.max()) if len(finite) and finite.max() > 0 else 1.0)
        else:
            axis.axhline(0, color=style.CHANCE, ls="--", lw=1, label="chance: a constant answer")
            axis.set_ylim(min(-0.1, float(finite.min()) - 0.03 if len(finite) else 0), 1.02)


def epoch_search(epochs: pd.DataFrame) -> Figure:
    """Draw the mean over folds with one standard deviation at every epoch, each fold, and the epoch that was taken.

    Parameters
    ----------
    epochs
        Table ``valence_epochs`` with a further column for each fold.
    """
    if epochs.empty:
        return style.blank("epochs searched")
    table = epochs.sort_values("epoch")
    figure, axes = style.panels(1, 1, width=6.4, height=3.0)
    axis = axes[0, 0]
    folds = [name for name in table.columns if name not in EPOCH_COLUMNS]
    mark = "o" if len(table) < 30 else ""
    for name in folds:
        axis.plot(table["epoch"], table[name], color=style.GREY, lw=0.8, alpha=0.8, label="one fold")
    low, high = table["mean"] - table["std"], table["mean"] + table["std"]
    axis.fill_between(table["epoch"], low, high, color=style.MODEL, alpha=0.16, lw=0, label="± 1 standard deviation")
    axis.plot(table["epoch"], table["mean"], color=style.MODEL, lw=2, marker=mark, ms=4, label="mean over folds")
    axis.plot(
        table["epoch"], table["mean_minus_std"], color=style.MODEL, lw=1, ls=":", label="mean − standard deviation"
    )
    for one in each_row(table[table["chosen"].astype(bool)]):
        label = f"epoch taken: {one.epoch} (mean {one.mean:.2f})"
        axis.plot([one.epoch], [one.mean], "D", ms=8, mfc="none", mew=1.8, color=style.RED, label=label)
    axis.axhline(0, color=style.CHANCE, ls="--", lw=1, label="chance: a constant answer")
    axis.set_xlabel("epoch")
    axis.set_ylabel("CCC of the sessions left out")
    axis.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    axis.grid(color=style.PALE, lw=0.6)
    axis.set_axisbelow(True)
    count = f"n = {int(table['folds'].max())} folds, {len(table)} epochs"
    axis.set_title(f"{count}; the best mean of many epochs is optimistic", fontsize=9)
    style.legend(figure, axis, columns=3)
    return figure


def fold_scores(trials: pd.DataFrame) -> Figure:
    """Draw the honest score of every fold beside the best over all epochs, with mean and mean less deviation.

    Parameters
    ----------
    trials
        Table ``valence_trials``; trainings that left nothing out are not drawn.
    """
    own = trials[trials["fold"] >= 0]
    if own.empty:
        return style.blank("folds left out")
    systems = list(dict.fromkeys(own["system"]))
    most = int(own.groupby("system").size().max()) + 2
    figure, axes = style.panels(1, len(systems), width=max(4.0, 7.2 / len(systems)), height=0.36 * most + 0.9,
                                share=False)  # fmt: skip
    known = own[["held_out_ccc", "optimistic_ccc", "train_ccc"]].to_numpy(np.float64)
    low = min(-0.1, float(np.nanmin(known)) - 0.05) if np.isfinite(known).any() else -0.1
    for axis, system in zip(axes[0], systems, strict=True):
        axis.set_xlim(low, 1.02)
        rows = own[own["system"] == system]
        _draw_folds(axis, rows)
        text = " and ".join(CHOSEN_BY.get(name, name) for name in sorted(set(rows["chosen_by"])))
        axis.set_title(f"{system} (n = {len(rows)} folds)\nepoch kept: {text}", fontsize=9)
    figure.supxlabel("CCC (higher is better); right: n sessions left out", fontsize=9, color=style.INK)
    legend_of_all(figure, list(axes.flat))
    return figure


def _draw_folds(axis: Axes, rows: pd.DataFrame) -> None:
    ordered = sorted(each_row(rows), key=lambda one: (one.fold, natural(one.round)))
    axis.axvline(0, color=style.CHANCE, ls="--", lw=1, label="chance: a constant answer")
    labels = []
    for place, one in enumerate(ordered):
        axis.plot([one.train_ccc], [place], "|", ms=9, mew=1.6, color=style.SKY, label="training sessions")
        _draw_pair(axis, one.held_out_ccc, one.optimistic_ccc, place)
        labels.append(f"{one.round}, epoch {one.epoch}")
        why = f"{one.n_held_out}" if np.isfinite(one.held_out_ccc) else f"{one.n_held_out}: {one.reason or 'undefined'}"
        axis.text(1.02, place, why, transform=axis.get_yaxis_transform(), va="center", fontsize=7, color=style.INK)
    honest, best = (np.array([getattr(one, name) for one in ordered], np.float64)
                    for name in ("held_out_ccc", "optimistic_ccc"))  # fmt: skip
    for place, (label, less) in enumerate((("Mean", 0.0), ("Mean − Std", 1.0)), start=len(labels)):
        _draw_pair(axis, _summarise(honest, less), _summarise(best, less), place)
        labels.append(label)
    axis.axhline(len(ordered) - 0.5, color=style.PALE, lw=1)
    axis.set_yticks(range(len(labels)), labels, fontsize=7.5)
    axis.set_ylim(len(labels) - 0.5, -0.5)
    axis.grid(axis="x", color=style.PALE, lw=0.6)
    axis.set_axisbelow(True)


def _summarise(values: np.ndarray, less: float) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean() - less * known.std()) if len(known) else np.nan


def _draw_pair(axis: Axes, honest: float, best: float, place: int) -> None:
    axis.plot([honest, best], [place, place], color=style.PALE, lw=4, zorder=0)
    axis.plot([best], [place], "o", ms=6.5, mfc="white", mew=1.4, color=style.RED,
              label="best epoch on the fold itself (optimistic)")  # fmt: skip
    axis.plot([honest], [place], "o", ms=6, color=style.MODEL, label="epoch kept")
