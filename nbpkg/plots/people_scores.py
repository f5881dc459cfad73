"""Figures of how well joint engagement is recognised, beside the best constant answer and what annotators reach."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nbpkg.errors import TableError
from nbpkg.plots import style
from nbpkg.plots.comparison import MARKS
from nbpkg.plots.evaluation import each_row, legend_of_all
from nbpkg.plots.people_clips import ink_on, wrap
from nbpkg.plots.valence import natural

TITLES = {
    "macro_f1": "macro F1", "weighted_f1": "weighted F1", "accuracy": "accuracy", "top1_acc": "top-1 accuracy",
    "mean_class_accuracy": "mean class accuracy", "balanced_accuracy": "balanced accuracy", "auc": "AUC, one vs. rest",
    "kappa_quadratic": "kappa, quadratic weights",
}  # fmt: skip
ROLE_WORDS = {"train": "training", "validation": "left out", "test": "test"}
WAYS = {
    "none": "answers (n)", "true": "share of the class", "predicted": "share of the answer", "all": "share of all",
}  # fmt: skip


def scores(metrics: pd.DataFrame, *, names: Sequence[str] = ("macro_f1", "top1_acc")) -> Figure:
    """Draw scores of each system and variant, with interval, the best constant answer, annotators and n.

    Parameters
    ----------
    metrics
        Table ``metrics``, from `nbpkg.metrics.people.summary.summarise_people`.
    names
        Which metrics, a panel each; ``f1_<class>`` for single classes.
    """
    main = metrics[metrics["by"] == "all"]
    lacking = [name for name in names if not (main["metric"] == name).any()]
    if lacking or main.empty:
        raise TableError(f"Table 'metrics' lacks {lacking or 'rows'}.", expected=f"Of {sorted(set(main['metric']))}.")
    rows = _list_rows(main)
    figure, axes = style.panels(1, len(names), width=max(2.4, 7.4 / len(names)), height=0.34 * len(rows) + 0.9,
                                share=False)  # fmt: skip
    for axis, name in zip(axes[0], names, strict=True):
        own = main[main["metric"] == name]
        for one in each_row(own):
            _draw_score(axis, one, rows.index((one.task, one.variable, one.role)))
        _finish_rows(axis, [_name_row(row, rows) for row in rows] if axis is axes[0, 0] else [""] * len(rows))
        if axis is axes[0, -1]:
            _write_sizes(axis, own, rows)
        _limit(axis, own)
        axis.set_title(TITLES.get(name, name.replace("f1_", "F1 of ").replace("_", " ")), fontsize=9)
    text = "higher is better; bars: 95 % interval over families; right: n clips, families"
    figure.supxlabel(text, fontsize=9, color=style.INK)
    legend_of_all(figure, list(axes.flat))
    return figure


def variants(comparison: pd.DataFrame, *, metric: str = "macro_f1", role: str = "validation") -> Figure:
    """Draw variants with the spread of their repetitions, and what each lacks to the full network.

    Parameters
    ----------
    comparison
        From `nbpkg.metrics.people.systems.compare_variants`.
    metric
        ``macro_f1`` or ``accuracy``.
    role
        ``validation`` or ``test``.
    """
    own = comparison[(comparison["metric"] == metric) & (comparison["role"] == role)]
    if own.empty:
        return style.blank("variants to compare")
    rows = list(dict.fromkeys(zip(own["system"], own["variant"], strict=True)))
    figure, axes = style.panels(1, 2, width=3.6, height=0.38 * len(rows) + 0.9, share=False)
    for one in each_row(own):
        _draw_variant(axes[0, 0], one, rows.index((one.system, one.variant)))
        _draw_difference(axes[0, 1], one, rows.index((one.system, one.variant)))
    single = len({system for system, _ in rows}) == 1
    _finish_rows(axes[0, 0], [variant if single else f"{system}, {variant}" for system, variant in rows])
    _finish_rows(axes[0, 1], [""] * len(rows))
    axes[0, 0].set_xlim(0, 1.02)
    axes[0, 1].axvline(0, color=style.CHANCE, lw=1, zorder=0)
    axes[0, 1].xaxis.set_major_locator(MaxNLocator(nbins=5))
    repeats = sorted(set(own["repeats"]))
    count = f"{repeats[0]}" if len(repeats) == 1 else f"{repeats[0]} to {repeats[-1]}"
    count += " repetition" if repeats == [1] else " repetitions"
    name = TITLES.get(metric, metric)
    axes[0, 0].set_title(f"{name} ({ROLE_WORDS[role]}, n = {count})", fontsize=9)
    axes[0, 1].set_title("difference to full, 95 % over families", fontsize=9)
    axes[0, 0].set_xlabel(f"{name} (higher is better)")
    axes[0, 1].set_xlabel(f"difference in {name}; right: n clips, families", fontsize=8.5)
    legend_of_all(figure, list(axes.flat))
    return figure


def systems(comparison: pd.DataFrame, *, metric: str = "macro_f1") -> Figure:
    """Draw paired differences between systems with their intervals, a panel for each role.

    Parameters
    ----------
    comparison
        From `nbpkg.metrics.people.systems.compare_systems`.
    metric
        ``macro_f1`` or ``accuracy``.
    """
    own = comparison[comparison["metric"] == metric]
    if own.empty:
        return style.blank("systems to compare")
    roles = [role for role in ROLE_WORDS if (own["role"] == role).any()]
    pairs = list(dict.fromkeys(zip(own["system"], own["other"], strict=True)))
    figure, axes = style.panels(1, len(roles), width=max(3.2, 6.6 / len(roles)), height=0.36 * len(pairs) + 0.9,
                                share=False)  # fmt: skip
    for axis, role in zip(axes[0], roles, strict=True):
        axis.axvline(0, color=style.CHANCE, ls="--", lw=1, label="no difference")
        for one in each_row(own[own["role"] == role]):
            _draw_difference(axis, one, pairs.index((one.system, one.other)), of_variants=False)
        labels = [f"{one} − {other}" for one, other in pairs] if axis is axes[0, 0] else [""] * len(pairs)
        _finish_rows(axis, labels)
        axis.set_title(ROLE_WORDS[role], fontsize=9)
        axis.xaxis.set_major_locator(MaxNLocator(nbins=4))
    words = f"difference in {TITLES.get(metric, metric)}, 95 % over families; right: n clips, families"
    figure.supxlabel(words, fontsize=9, color=style.INK)
    legend_of_all(figure, list(axes.flat))
    return figure


def confusions(
    counts: pd.DataFrame, *, classes: Sequence[str], system: str = "", variant: str = "full", role: str = "validation"
) -> Figure:
    """Draw the confusion matrix of one system as numbers and as shares of classes, of answers and of all.

    Parameters
    ----------
    counts
        From `nbpkg.metrics.people.summary.count_people`.
    classes
        Names of the classes.
    system, variant, role
        Which one; an empty system is the first, roles as in table ``metrics``.
    """
    chosen = system or next(iter(counts["system"]), "")
    wanted = {"validation": "held_out"}.get(role, role)
    own = counts[(counts["system"] == chosen) & (counts["variant"] == variant) & (counts["role"] == wanted)]
    if own.empty:
        return style.blank(f"answers of {variant} ({ROLE_WORDS.get(role, role)})")
    size = len(classes)
    side = max(1.75, 0.5 * size + 0.4)
    figure, axes = style.panels(1, len(WAYS), width=side, height=side + 0.1)
    colours = colormaps[style.HEAT]
    longest = max(len(word) for name in classes for word in name.split())
    slant: dict[str, Any] = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"} if longest > 7 else {}
    for axis, (way, title) in zip(axes[0], WAYS.items(), strict=True):
        part = own[own["normalise"] == way]
        matrix = np.zeros((size, size))
        matrix[part["label"], part["predicted"]] = part["value"]
        top = matrix.max() if way == "none" else 1.0
        axis.imshow(matrix, cmap=colours, norm=Normalize(0, top or 1.0))
        for (row, column), value in np.ndenumerate(matrix):
            ink = ink_on(colours(value / (top or 1.0))[:3])
            text = f"{value:.0f}" if way == "none" else f"{value:.2f}"
            axis.text(column, row, text, ha="center", va="center", fontsize=8, color=ink)
        axis.set_xticks(range(size), wrap(classes), fontsize=7.5, **slant)
        axis.set_yticks(range(size), wrap(classes), fontsize=7.5)
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
        axis.set_title(title, fontsize=9)
    style.outer_labels(figure, "class answered", "class")
    scale = figure.colorbar(ScalarMappable(Normalize(0, 1), colours), ax=list(axes.flat), shrink=0.8, label="share")
    scale.ax.tick_params(labelsize=8)
    repeats, n = int(own["repeats"].iloc[0]), int(own["n"].iloc[0])
    many = f" in {repeats} repetitions" if repeats > 1 else ""
    figure.suptitle(f"{chosen}, {variant} ({ROLE_WORDS.get(role, role)}, n = {n} answers{many})", fontsize=9)
    return figure


def families(metrics: pd.DataFrame, *, metric: str = "top1_acc", variant: str = "full") -> Figure:
    """Draw the score of every family with its interval, a panel for each system, beside the constant answer.

    Parameters
    ----------
    metrics
        Table ``metrics`` with rows ``by == "participant"``.
    metric
        Its name in the table.
    variant
        Which variant.
    """
    rows = metrics[(metrics["by"] == "participant") & (metrics["metric"] == metric)]
    rows = rows[(rows["variable"] == variant) & rows["role"].isin(["validation", "test"])]
    if rows.empty:
        return style.blank("families scored")
    found = sorted(set(rows["task"]))
    names = sorted(set(rows["name"]), key=natural)
    figure, axes = style.panels(1, len(found), width=max(3.4, 6.6 / len(found)), height=0.27 * len(names) + 0.9)
    for axis, system in zip(axes[0], found, strict=True):
        own = rows[rows["task"] == system]
        for one in each_row(own):
            _draw_score(axis, one, names.index(one.name))
            size = f"{one.n}, {one.n_groups}" + ("" if np.isfinite(one.value) else ": undefined")
            axis.text(1.02, names.index(one.name), size, transform=axis.get_yaxis_transform(), va="center", fontsize=7)
        _finish_rows(axis, names)
        _limit(axis, own)
        axis.set_title(f"{system}, {variant} (n = {own['name'].nunique()} families)", fontsize=9)
    words = f"{TITLES.get(metric, metric)} (higher is better); bars: 95 % interval over a family's recordings"
    style.outer_labels(figure, f"{words};\nright: n clips, recordings", "family")
    legend_of_all(figure, list(axes.flat))
    return figure


def _list_rows(main: pd.DataFrame) -> list[tuple[str, str, str]]:
    """List systems, variants and roles: `full` first, roles of families not seen first."""
    roles = ("validation", "test", "train")
    found = set(zip(main["task"], main["variable"], main["role"], strict=True))
    return sorted(found, key=lambda row: (row[0], row[1] != "full", natural(row[1]), roles.index(row[2])))


def _name_row(row: tuple[str, str, str], rows: Sequence[tuple[str, str, str]]) -> str:
    system, variant, role = row
    several = len({task for task, _, _ in rows}) > 1
    name = f"{system}, {variant}" if several and variant != "full" else (system if several else variant)
    return f"{name} ({ROLE_WORDS[role]})"


def _draw_score(axis: Axes, one: Any, row: int) -> None:
    """Draw a score with interval, the constant answer as a bar, and annotators as a diamond."""
    if np.isfinite(one.chance):
        label = "always the same class"
        axis.plot([one.chance] * 2, [row - 0.36, row + 0.36], color=style.CHANCE, lw=2.2, label=label)
    if np.isfinite(one.ceiling):
        label = "an annotator against the others"
        axis.plot([one.ceiling], [row], "D", ms=7, mfc="none", mew=1.5, color=style.HUMAN, zorder=4, label=label)
    axis.plot([one.low, one.high], [row, row], color=style.MODEL, lw=2.4, alpha=0.5)
    label = f"network, {ROLE_WORDS[one.role]}"
    axis.plot([one.value], [row], MARKS[one.role], ms=6, color=style.MODEL, label=label)


def _limit(axis: Axes, own: pd.DataFrame) -> None:
    """Show all from 0, or from below where a score is negative, to 1."""
    known = own[["value", "low", "chance"]].to_numpy(np.float64)
    least = float(np.nanmin(known)) if np.isfinite(known).any() else 0.0
    axis.set_xlim(least - 0.05 if least < 0 else -0.03, 1.03)


def _write_sizes(axis: Axes, own: pd.DataFrame, rows: Sequence[tuple[str, str, str]]) -> None:
    for one in each_row(own):
        row = rows.index((one.task, one.variable, one.role))
        text = f"{one.n}, 1 ({one.n_groups} rec.)" if "of one family" in one.reason else f"{one.n}, {one.n_groups}"
        text += "" if np.isfinite(one.value) else ": undefined"
        axis.text(1.04, row, text, transform=axis.get_yaxis_transform(), va="center", fontsize=7, color=style.INK)


def _draw_variant(axis: Axes, one: Any, row: int) -> None:
    """Draw the mean over repetitions, one standard deviation, and the lowest and highest repetition."""
    label = "always the most frequent class"
    axis.plot([one.chance] * 2, [row - 0.36, row + 0.36], color=style.CHANCE, lw=2.2, label=label)
    axis.plot([one.lowest, one.highest], [row, row], color=style.SKY, lw=1.2, label="lowest to highest repetition")
    if np.isfinite(one.spread):
        ends = [one.value - one.spread, one.value + one.spread]
        axis.plot(ends, [row, row], color=style.MODEL, lw=4, alpha=0.5, label="± 1 standard deviation")
    axis.plot([one.value], [row], "o", ms=6, color=style.MODEL, label="mean of the repetitions")


def _draw_difference(axis: Axes, one: Any, row: int, *, of_variants: bool = True) -> None:
    """Draw a difference with interval, filled where it says something.

    Variants: it is larger than their repetitions differ; systems: its interval is without 0.
    """
    if not np.isfinite(one.difference):
        text = "the reference" if of_variants and one.variant == "full" else one.reason
        axis.text(0.02, row, text, transform=axis.get_yaxis_transform(), va="center", fontsize=7, color=style.GREY)
        return
    sure = bool(one.beyond) if of_variants else bool(one.low > 0 or one.high < 0)
    words = ("interval without 0", "interval with 0, or none")
    if of_variants:
        words = ("more than repetitions differ", "less than repetitions differ, or unknown")
    colour = style.RED if of_variants else style.MODEL
    axis.plot([one.low, one.high], [row, row], color=colour, lw=2.2, alpha=0.5)
    axis.plot([one.difference], [row], "o", ms=6, color=colour, mfc=colour if sure else "white",
              label=words[0] if sure else words[1])  # fmt: skip
    axis.text(1.02, row, f"{one.n}, {one.n_groups}", transform=axis.get_yaxis_transform(), va="center", fontsize=7)


def _finish_rows(axis: Axes, labels: Sequence[str]) -> None:
    axis.set_yticks(range(len(labels)), labels, fontsize=7.5)
    if not any(labels):
        axis.tick_params(axis="y", length=0)
    axis.set_ylim(len(labels) - 0.5, -0.5)
    axis.grid(axis="x", color=style.PALE, lw=0.6)
    axis.set_axisbelow(True)
