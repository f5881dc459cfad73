"""One look for all figures: colours that colour-blind readers can tell apart, and panels by task and variable."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe and Ito (2008)
BLUE, ORANGE, GREEN, RED, PURPLE, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"
INK, GREY, PALE = "#333333", "#8C8C8C", "#E2E2E2"
CYCLE = (BLUE, ORANGE, GREEN, PURPLE, SKY, RED)
MODEL, HUMAN, CHANCE = BLUE, ORANGE, GREY
HEAT = "cividis"


def panels(
    rows: int, columns: int, *, width: float = 3.2, height: float = 2.6, share: bool = True
) -> tuple[Figure, np.ndarray]:
    """Make a figure of `rows` by `columns` panels, `width` by `height` inches each; the axes are [rows, columns]."""
    size = (width * columns + 0.6, height * rows + 0.5)
    figure, axes = pyplot.subplots(
        rows, columns, figsize=size, squeeze=False, sharex=share, sharey=share, layout="constrained"
    )
    pyplot.close(figure)  # a notebook shows what a cell returns; without this it would show it twice
    for axis in axes.flat:
        tidy(axis)
    return figure, axes


def by_task(table: pd.DataFrame, *, width: float, height: float) -> tuple[Figure, list[tuple[str, str, Axes]]]:
    """Make one panel per task (columns) and variable (rows) that occur in `table`, titled."""
    tasks, variables = sorted(set(table["task"])), sorted(set(table["variable"]))
    figure, axes = panels(max(1, len(variables)), max(1, len(tasks)), width=width, height=height)
    found = []
    for row, variable in enumerate(variables):
        for column, task in enumerate(tasks):
            axis = axes[row, column]
            axis.set_title(f"{task} · {variable}", fontsize=9)
            if ((table["task"] == task) & (table["variable"] == variable)).any():
                found.append((task, variable, axis))
            else:
                note(axis, "no data")
    return figure, found


def tidy(axis: Axes) -> None:
    """Leave the two axes that are read and small type."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color(GREY)
    axis.tick_params(colors=INK, labelsize=8, color=GREY)
    axis.title.set_color(INK)
    axis.xaxis.label.set_fontsize(9)
    axis.yaxis.label.set_fontsize(9)


def note(axis: Axes, text: str, *, corner: str = "lower right") -> None:
    """Write a short remark, such as n, into a corner of a panel."""
    vertical, horizontal = corner.split()
    axis.annotate(
        text,
        (0.98 if horizontal == "right" else 0.02, 0.03 if vertical == "lower" else 0.97),
        xycoords="axes fraction",
        ha=horizontal,
        va="bottom" if vertical == "lower" else "top",
        fontsize=8,
        color=INK,
    )


def blank(what: str) -> Figure:
    """Make a small figure that says that there is nothing to draw yet."""
    figure, axes = panels(1, 1, width=5, height=0.7)
    axes[0, 0].set_axis_off()
    axes[0, 0].text(0.5, 0.5, f"no {what} yet", ha="center", va="center", fontsize=10, color=GREY)
    return figure


def outer_labels(figure: Figure, x: str, y: str) -> None:
    """Label the axes of a grid of panels once."""
    figure.supxlabel(x, fontsize=9, color=INK)
    figure.supylabel(y, fontsize=9, color=INK)


def legend(figure: Figure, axis: Axes, *, columns: int = 4) -> None:
    """Put the legend of `axis` above the panels, where it covers nothing; equal labels once."""
    handles, labels = axis.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    if once:
        figure.legend(once.values(), once.keys(), loc="outside upper center", ncols=columns, frameon=False, fontsize=8)


def fold_colours(folds: Sequence[int], test: Sequence[int]) -> dict[int, str]:
    """Colour every fold; test folds in red."""
    train = [fold for fold in folds if fold not in test]
    colours = {fold: CYCLE[index % (len(CYCLE) - 1)] for index, fold in enumerate(train)}
    return {**colours, **dict.fromkeys(test, RED)}
