"""Figures of gaze trainings: curves by epoch, and the grid of batch sizes and chunk lengths."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from nbpkg.errors import TableError
from nbpkg.plots import style
from nbpkg.plots.evaluation import legend_of_all

SPLITS = {"train": style.BLUE, "validation": style.ORANGE, "test": style.GREEN}
NAMES = {
    "auc": "AUC",
    "distance": "distance (fractions of the frame)",
    "average_precision": "average precision of inside",
    "loss": "loss",
}
LOWER = ("distance", "loss", "angle")  # lower is better


def learning_curves(
    history: pd.DataFrame,
    *,
    metrics: Sequence[str] = ("loss", "auc", "distance"),
    baselines: Mapping[str, float] | None = None,
) -> Figure:
    """Draw each metric after every epoch, a row for each setting, a line for each training.

    Parameters
    ----------
    history
        One row per value: ``setting``, ``parameters`` (text), ``fold``, ``epoch``, ``split``, ``metric``, ``value``;
        and ``repetition`` if a fold was trained on more than once.
    metrics
        Which of ``metric``, a column each.
    baselines
        Metric to what answering without looking scores.
    """
    if history.empty:
        return style.blank("epochs")
    settings = list(history[["setting", "parameters"]].drop_duplicates().itertuples(index=False, name=None))
    figure, axes = style.panels(len(settings), len(metrics), width=2.9, height=1.9, share=False)
    for row, (setting, words) in enumerate(settings):
        own = history[history["setting"] == setting]
        for axis, metric in zip(axes[row], metrics, strict=True):
            part = own[own["metric"] == metric]
            _draw_chance(axis, (baselines or {}).get(metric))
            _draw_lines(axis, part)
            _scale(axis, part["value"], metric)
            if row == 0:
                axis.set_title(NAMES.get(metric, metric), fontsize=9)
        trainings = _count_trainings(own)
        count = f"n = {trainings} training{'s' if trainings > 1 else ''}"
        axes[row, 0].set_ylabel(f"{_say(str(words))}\n{count}", fontsize=7.5)
    style.outer_labels(figure, "epoch", "")
    legend_of_all(figure, list(axes.flat))
    return figure


def sweep_grid(
    history: pd.DataFrame,
    *,
    rows: str = "batch_size",
    columns: str = "chunk",
    split: str = "validation",
    failures: Mapping[tuple[Any, Any], str] | None = None,
    baselines: Mapping[str, float] | None = None,
) -> Figure:
    """Draw AUC and, below it, distance after every epoch for each cell of a grid of settings.

    Parameters
    ----------
    history
        As in `learning_curves`, with one column for each of `rows` and `columns` beside it.
    rows, columns
        The two parameters that were varied.
    split
        Which ``split`` is drawn; one line for each training.
    failures
        Cell (value of `rows`, value of `columns`) to why it has no result; such a cell says so.
    baselines
        As in `learning_curves`.
    """
    failed = dict(failures or {})
    own = history[history["split"] == split]
    down = sorted({*own[rows], *(key[0] for key in failed)})
    across = sorted({*own[columns], *(key[1] for key in failed)})
    if not down or not across:
        return style.blank("cells of the sweep")
    figure, axes = style.panels(2 * len(down), len(across), width=2.5, height=1.25, share=False)
    for row, first in enumerate(down):
        for column, second in enumerate(across):
            pair = axes[2 * row, column], axes[2 * row + 1, column]
            cell = own[(own[rows] == first) & (own[columns] == second)]
            _draw_cell(pair, cell, why=failed.get((first, second), "not run"), baselines=baselines or {})
            pair[0].set_title(f"{rows.replace('_', ' ')} {first} · {columns.replace('_', ' ')} {second}", fontsize=9)
    for metric, offset in (("auc", 0), ("distance", 1)):
        values = own.loc[own["metric"] == metric, "value"]
        for axis in axes[offset::2].flat:
            _scale(axis, values, metric)
        for axis in axes[offset::2, 0]:
            axis.set_ylabel("AUC" if metric == "auc" else "distance", fontsize=8)
    style.outer_labels(figure, f"epoch ({split} part; one line for each training)", "")
    legend_of_all(figure, list(axes.flat))
    return figure


def _draw_cell(axes: tuple[Axes, Axes], cell: pd.DataFrame, *, why: str, baselines: Mapping[str, float]) -> None:
    for metric, axis in zip(("auc", "distance"), axes, strict=True):
        part = cell[cell["metric"] == metric]
        if part.empty:
            words = textwrap.fill(why, 26)
            axis.text(0.5, 0.5, words, transform=axis.transAxes, ha="center", va="center", fontsize=8, color=style.INK)
            axis.set_xticks([])
            continue
        axis.grid(color=style.PALE, lw=0.6)
        _draw_chance(axis, baselines.get(metric))
        _draw_lines(axis, part)
        axis.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=1))
    if not cell.empty:
        style.note(axes[0], f"n = {_count_trainings(cell)}")


def sweep_table(cells: pd.DataFrame, *, rows: str = "batch_size", columns: str = "chunk") -> Figure:
    """Draw the grid as two tables, AUC and distance, the better the lighter.

    Parameters
    ----------
    cells
        One row per cell: the columns named by `rows` and `columns`, ``auc`` and ``distance`` (NaN when the cell
        failed), ``epoch`` (the one chosen), ``n`` (trainings) and ``reason`` (why it failed, else empty); ``auc_sd``
        and ``distance_sd`` over trainings if known.
    rows, columns
        The two parameters that were varied.
    """
    if cells.empty:
        return style.blank("cells of the sweep")
    down, across = sorted(set(cells[rows])), sorted(set(cells[columns]))
    figure, axes = style.panels(1, 2, width=1.15 * len(across) + 1.2, height=0.72 * len(down) + 0.7, share=False)
    for axis, metric in zip(axes[0], ("auc", "distance"), strict=True):
        known = cells[metric].dropna()
        colours = colormaps[style.HEAT].reversed() if metric in LOWER else colormaps[style.HEAT]
        low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
        norm = Normalize(low, high if high > low else low + 1e-3)
        axis.set_xlim(-0.5, len(across) - 0.5)
        axis.set_ylim(len(down) - 0.5, -0.5)
        for one in cells.to_dict("records"):
            _write_cell(
                axis, one, metric, place=(across.index(one[columns]), down.index(one[rows])), look=(colours, norm)
            )
        axis.set_xticks(range(len(across)), [str(value) for value in across])
        axis.set_yticks(range(len(down)), [str(value) for value in down])
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
        axis.set_title(
            f"{NAMES[metric].split(' (')[0]}, {'lower' if metric in LOWER else 'higher'} is better", fontsize=9
        )
    style.outer_labels(figure, f"{columns.replace('_', ' ')} (n: trainings)", rows.replace("_", " "))
    return figure


def _write_cell(
    axis: Axes, one: dict[Any, Any], metric: str, *, place: tuple[int, int], look: tuple[Colormap, Normalize]
) -> None:
    value, spread = float(one[metric]), float(one.get(f"{metric}_sd", np.nan))
    colours, norm = look
    red, green, blue, _ = colours(norm(value)) if np.isfinite(value) else (0.95, 0.95, 0.95, 1)
    x, y = place
    axis.add_patch(Rectangle((x - 0.48, y - 0.48), 0.96, 0.96, fc=(red, green, blue), lw=0))
    if not np.isfinite(value):
        why = "\n".join(textwrap.wrap(str(one["reason"]) or "no result", 14)[:4])
        axis.text(x, y, why, ha="center", va="center", fontsize=7, color=style.INK)
        return
    ink = "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 0.5 else "black"
    number = f"{value:.3f}" + (f" ± {spread:.3f}" if np.isfinite(spread) else "")
    axis.text(x, y - 0.12, number, ha="center", va="center", fontsize=9, color=ink)
    axis.text(x, y + 0.22, f"epoch {one['epoch']}, n = {one['n']}", ha="center", va="center", fontsize=7, color=ink)


def epochs(
    history: pd.DataFrame, *, title: str = "", split: str = "test", baselines: Mapping[str, float] | None = None
) -> Figure:
    """Draw AUC above and distance below for every epoch of one setting, a tick for each epoch.

    Parameters
    ----------
    history
        As in `learning_curves`, of one setting.
    title
        Written above, e.g. the setting.
    split
        Which ``split``.
    baselines
        As in `learning_curves`.
    """
    own = history[history["split"] == split]
    if len(set(history["setting"])) > 1:
        raise TableError(
            "The figure by epoch is of one setting.", expected="Rows of one setting.", remedy="Choose rows first."
        )
    if own.empty:
        return style.blank("epochs")
    last = int(own["epoch"].max())
    figure, axes = style.panels(2, 1, width=max(4.0, 0.36 * last + 1), height=1.9, share=False)
    for axis, metric in zip(axes[:, 0], ("auc", "distance"), strict=True):
        part = own[own["metric"] == metric]
        _draw_chance(axis, (baselines or {}).get(metric))
        _draw_lines(axis, part, marks=True)
        _scale(axis, part["value"], metric)
        axis.grid(color=style.PALE, lw=0.6)
        axis.set_ylabel(NAMES[metric], fontsize=9)
        axis.set_xticks(np.arange(int(own["epoch"].min()), last + 1))
    axes[0, 0].set_title(f"{title}{' · ' if title else ''}n = {_count_trainings(own)} training(s)", fontsize=9)
    axes[1, 0].set_xlabel("epoch")
    legend_of_all(figure, list(axes.flat))
    return figure


def _draw_lines(axis: Axes, rows: pd.DataFrame, *, marks: bool = False) -> None:
    for split, colour in SPLITS.items():
        for _, one in rows[rows["split"] == split].groupby(_places(rows), dropna=False):
            line = one.sort_values("epoch")
            mark = "o" if marks or len(line) < 4 else "."
            axis.plot(line["epoch"], line["value"], color=colour, lw=1.4, marker=mark, ms=4, label=split)


def _places(rows: pd.DataFrame) -> list[str]:
    """Columns that tell the trainings of one setting apart."""
    return [name for name in ("fold", "repetition") if name in rows.columns]


def _count_trainings(rows: pd.DataFrame) -> int:
    return len(rows[_places(rows)].drop_duplicates())


def _draw_chance(axis: Axes, value: float | None) -> None:
    if value is not None and np.isfinite(value):
        axis.axhline(value, color=style.CHANCE, ls="--", lw=1, label="answering without looking")


def _scale(axis: Axes, values: pd.Series, metric: str) -> None:
    """AUC from a half (or from what is lower) to 1, errors from 0; the loss as it comes, from 0."""
    finite = values[np.isfinite(values)]
    if metric not in LOWER:
        axis.set_ylim(min(0.5, float(finite.min()) - 0.02) if len(finite) else 0, 1.01)
    elif len(finite):
        axis.set_ylim(0, 1.15 * float(finite.max()) or 1)
    if axis.get_lines():
        axis.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))


def _say(parameters: str, lines: int = 4) -> str:
    """Write parameters, JSON as in the history or plain text, as a few short lines."""
    try:
        found = json.loads(parameters)
    except json.JSONDecodeError:
        found = parameters
    if isinstance(found, dict):
        found = " · ".join(f"{name.replace('_', ' ')} {value}" for name, value in found.items())
    return "\n".join(textwrap.wrap(str(found), 26)[:lines])
