"""Figures of annotations: who marked what when, how long, and how well raters agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from nbpkg.annotations.scheme import AnnotationScheme
from nbpkg.errors import TableError
from nbpkg.plots import style

# one hue per variable or pair of raters, those that contrast most first
HUES = (style.BLUE, style.RED, style.GREEN, style.PURPLE, style.ORANGE, style.SKY)
NAMES = {
    "raw_agreement": "Raw agreement",
    "cohen_kappa": "Cohen's kappa",
    "weighted_kappa": "Weighted kappa (linear)",
    "krippendorff_alpha": "Krippendorff's alpha",
    "gwet_ac1": "Gwet's AC1",
    "onset_f1": "F1 of onsets",
    "overlap_f1": "F1 of overlapping events",
}


def timelines(spans: pd.DataFrame, session: str, *, scheme: AnnotationScheme) -> Figure:
    """Draw what each rater marked in one session, one lane per variable.

    Parameters
    ----------
    spans
        Table ``spans``.
    session
        The session to draw.
    scheme
        Order of raters, variables and values.
    """
    rows = spans[spans["session"] == session]
    _need_rows(rows, f"session {session!r}")
    raters = [name for name in scheme.raters if (rows["rater"] == name).any()]
    lanes, gap = len(scheme.variables), 1.0
    size = (12, 1.5 + 0.36 * (lanes + gap) * len(raters))
    figure, axes = pyplot.subplots(figsize=size, layout="constrained")
    pyplot.close(figure)  # see style.panels
    colours = {name: _colours(scheme, name) for name in scheme.variables}
    ticks: list[float] = []
    for place, rater in enumerate(raters):
        top = place * (lanes + gap)
        own = rows[rows["rater"] == rater]
        marked = int((own["value"] != scheme.absent).sum())
        title = f"rater {rater}, n = {marked} spans marked"
        axes.text(
            0.002, top - 0.62, title, transform=axes.get_yaxis_transform(), va="center", color=style.INK, fontsize=9
        )
        for lane, variable in enumerate(scheme.variables):
            ticks.append(top + lane)
            _draw_lane(axes, own[own["variable"] == variable], top + lane, colours[variable], absent=scheme.absent)
    _bracket_tasks(axes, rows, scheme)
    axes.set_yticks(ticks, scheme.variables * len(raters))
    axes.set_ylim(len(raters) * (lanes + gap) - gap - 0.4, -2.1)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=10, steps=[1, 1.5, 2, 3, 6, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: _clock(seconds)))
    axes.set_xlabel("Time in the video (min:s)")
    axes.tick_params(axis="y", length=0)
    sns.despine(ax=axes, left=True)
    axes.grid(axis="x", color=style.PALE, zorder=0)
    axes.set_axisbelow(True)
    axes.set_title(
        f"Session {session}: {len(raters)} rater{'s' if len(raters) > 1 else ''}", loc="left", fontweight="bold"
    )
    handles = [
        Patch(color=colour, label=f"{name}: {value}")
        for name in scheme.variables
        for value, colour in colours[name].items()
        if value != scheme.absent
    ]
    handles.append(Patch(color=style.PALE, label=f"{scheme.absent} (not marked)"))
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 5), frameon=False)
    return figure


def agreement_matrices(
    agreement: pd.DataFrame, statistic: str = "cohen_kappa", *, labels: str = "all", anonymise: bool = False
) -> Figure:
    """Draw the agreement of every pair of raters, for all, each task and each variable.

    Parameters
    ----------
    agreement
        Table ``agreement``.
    statistic
        The statistic to draw.
    labels
        ``all`` or ``binary``.
    anonymise
        Whether raters are shown as letters (in order of the table) and the machine as ``network``.
    """
    rows = agreement[(agreement["statistic"] == statistic) & (agreement["labels"] == labels)]
    rows = rows[~rows["rater_1"].isin(["all", "human"])]
    _need_rows(rows, f"statistic {statistic!r} of {labels} labels")
    raters = list(dict.fromkeys([*rows["rater_1"], *rows["rater_2"]]))
    names = _anonymous(raters) if anonymise else {name: name for name in raters}
    tasks, variables = list(dict.fromkeys(rows["task"])), list(dict.fromkeys(rows["variable"]))
    size = len(raters) - 1
    width, height = max(1.25 * size, 2.1), max(0.95 * size, 1.7)
    figure, grid = pyplot.subplots(
        len(variables),
        len(tasks),
        figsize=(width * len(tasks) + 1.6, height * len(variables) + 0.9),
        squeeze=False,
        layout="constrained",
    )
    pyplot.close(figure)  # see style.panels
    colours, scale = _heat(statistic)
    for row, variable in enumerate(variables):
        for column, task in enumerate(tasks):
            axes = grid[row, column]
            cells = rows[(rows["task"] == task) & (rows["variable"] == variable)]
            _draw_matrix(axes, cells, raters, colours=colours, scale=scale)
            axes.set_yticks(range(size), [names[name] for name in raters[1:]] if column == 0 else [])
            axes.set_xticks(range(size), [names[name] for name in raters[:-1]] if row == len(variables) - 1 else [])
            if row == 0:
                axes.set_title("all tasks" if task == "all" else task)
            if column == 0:
                axes.set_ylabel("all variables" if variable == "all" else variable, fontsize="large", labelpad=8)
    mappable = ScalarMappable(norm=scale, cmap=colours)
    bar = figure.colorbar(mappable, ax=grid, shrink=0.6, aspect=28, pad=0.02)
    bar.set_label(NAMES.get(statistic, statistic))
    bar.outline.set_visible(False)  # type: ignore[operator]
    figure.suptitle(
        f"{NAMES.get(statistic, statistic)} between raters, {labels} categories (value, 95 % interval, n in sessions)",
        fontweight="bold",
    )
    return figure


def agreement_bars(
    agreement: pd.DataFrame, statistic: str = "cohen_kappa", *, labels: str = "all", anonymise: bool = False
) -> Figure:
    """Draw the agreement of each pair with its interval, for each task and variable.

    Parameters
    ----------
    agreement
        Table ``agreement``.
    statistic
        The statistic to draw.
    labels
        ``all`` or ``binary``.
    anonymise
        Whether raters are shown as letters and the machine as ``network``.
    """
    rows = agreement[(agreement["statistic"] == statistic) & (agreement["labels"] == labels)]
    rows = rows[(rows["task"] != "all") & (rows["variable"] != "all")]
    means = rows[rows["rater_1"] == "human"]
    rows = rows[~rows["rater_1"].isin(["all", "human"])]
    _need_rows(rows, f"statistic {statistic!r} of {labels} labels")
    raters = list(dict.fromkeys([*rows["rater_1"], *rows["rater_2"]]))
    names = _anonymous(raters) if anonymise else {name: name for name in raters}
    pairs = list(dict.fromkeys(zip(rows["rater_1"], rows["rater_2"], strict=True)))
    tasks, variables = list(dict.fromkeys(rows["task"])), list(dict.fromkeys(rows["variable"]))
    step = 0.7 / max(len(pairs), 1)
    figure, grid = pyplot.subplots(
        1, len(variables), figsize=(5.2 * len(variables) + 0.6, 1.6 + len(tasks) * (0.35 + 0.24 * len(pairs))),
        sharex=True, sharey=True, squeeze=False, layout="constrained",
    )  # fmt: skip
    pyplot.close(figure)  # see style.panels
    low = min(0.0, float(np.nanmin(rows[["value", "low"]].to_numpy())))
    for axes, variable in zip(grid[0], variables, strict=True):
        for place, task in enumerate(tasks):
            here = rows[(rows["task"] == task) & (rows["variable"] == variable)]
            for one in here.to_dict("records"):
                order = pairs.index((one["rater_1"], one["rater_2"]))
                _draw_interval(axes, one, place + (order - (len(pairs) - 1) / 2) * step, HUES[order % len(HUES)])
            mean = means[(means["task"] == task) & (means["variable"] == variable) & (means["rater_2"] == "human")]
            axes.vlines(mean["value"], place - 0.38, place + 0.38, color=style.INK, lw=1.6, zorder=1)
        axes.set(title=variable, xlabel=NAMES.get(statistic, statistic))
        _tidy_bars(axes)
    grid[0, 0].set_xlim(low - 0.02, 1.3)
    grid[0, 0].set_xticks(np.arange(np.ceil(low * 5) / 5, 1.01, 0.2))
    grid[0, 0].set_ylim(len(tasks) - 0.45, -0.55)
    grid[0, 0].set_yticks(range(len(tasks)), tasks)
    handles = [
        Line2D([], [], marker="o", lw=2, color=HUES[order % len(HUES)], label=f"{names[first]} – {names[second]}")
        for order, (first, second) in enumerate(pairs)
    ]
    handles.append(
        Line2D([], [], marker="|", markersize=14, mew=1.6, ls="none", color=style.INK, label="mean of people")
    )
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 5), frameon=False)
    figure.suptitle(
        f"{NAMES.get(statistic, statistic)}, {labels} categories: 95 % intervals; n: points or events in sessions",
        fontweight="bold",
    )
    return figure


def durations(spans: pd.DataFrame, *, scheme: AnnotationScheme) -> Figure:
    """Draw how long the spans of each value are.

    Parameters
    ----------
    spans
        Table ``spans``.
    scheme
        Order of variables and values.
    """
    _need_rows(spans, "the table")
    seconds = spans.assign(seconds=(spans["end_ms"] - spans["start_ms"]) / 1000)
    count = len(scheme.variables)
    most = max(len(scheme.categories(name)) for name in scheme.variables)
    figure, grid = pyplot.subplots(
        1, count, figsize=(5.4 * count, 1.5 + 0.75 * most), sharex=True, squeeze=False, layout="constrained"
    )
    pyplot.close(figure)  # see style.panels
    for axes, variable in zip(grid[0], scheme.variables, strict=True):
        rows = seconds[seconds["variable"] == variable]
        order = scheme.categories(variable)
        colours = _colours(scheme, variable)
        for place, value in enumerate(order):
            lengths = rows.loc[rows["value"] == value, "seconds"].to_numpy()
            offsets = (np.arange(len(lengths)) * 0.618 % 1 - 0.5) * 0.64  # spread without drawing random numbers
            axes.scatter(lengths, place + offsets, s=7, alpha=0.45, color=colours[value], lw=0, zorder=1)
            if len(lengths):
                _draw_box(axes, lengths, place, colours[value])
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_ylim(len(order) - 0.5, -0.5)
        axes.set_yticks(range(len(order)), [f"{value}\nn = {int((rows['value'] == value).sum())}" for value in order])
        axes.set(xlabel="Length of a span (s, logarithmic)", ylabel="", title=variable)
        axes.grid(axis="x", color=style.PALE)
        axes.set_axisbelow(True)
        axes.tick_params(axis="y", length=0)
        sns.despine(ax=axes, left=True)
    sessions, raters = spans["session"].nunique(), spans["rater"].nunique()
    figure.suptitle(
        f"Length of spans: {sessions} sessions, {raters} raters (box: quartiles, line: 5 to 95 %)",
        fontweight="bold",
    )
    return figure


def _need_rows(rows: pd.DataFrame, what: str) -> None:
    if not len(rows):
        raise TableError(f"There is nothing to draw for {what}.", remedy="Choose one that the table holds.")


def _colours(scheme: AnnotationScheme, variable: str) -> dict[str, tuple[float, float, float] | str]:
    """Give each value of a variable a shade of the variable's hue, stronger values darker; unmarked time is grey."""
    _, *values = scheme.categories(variable)
    hue = HUES[scheme.variables.index(variable) % len(HUES)]
    shades = sns.light_palette(hue, n_colors=2 * len(values) + 1)[2::2] if len(values) > 1 else [hue]
    return {scheme.absent: style.PALE, **dict(zip(values, shades, strict=True))}


def _draw_box(axes: Axes, lengths: np.ndarray, y: float, colour: tuple[float, float, float] | str) -> None:
    """Draw quartiles as a box and 5 to 95 % as a line."""
    low, first, middle, third, high = np.quantile(lengths, [0.05, 0.25, 0.5, 0.75, 0.95])
    axes.hlines(y, low, high, color=style.INK, lw=1.1, zorder=2)
    axes.barh(y, third - first, 0.42, first, color=colour, edgecolor=style.INK, lw=1.1, zorder=3)
    axes.vlines(middle, y - 0.21, y + 0.21, color=style.INK, lw=2, zorder=4)


def _draw_lane(
    axes: Axes, rows: pd.DataFrame, y: float, colours: dict[str, tuple[float, float, float] | str], *, absent: str
) -> None:
    """Draw the spans of one rater and variable as bars, unmarked time as a thin line."""
    for value, part in rows.groupby("value", sort=False):
        bars = list(zip(part["start_ms"] / 1000, (part["end_ms"] - part["start_ms"]) / 1000, strict=True))
        height = 0.26 if value == absent else 0.78
        colour = colours[str(value)]
        axes.broken_barh(bars, (y - height / 2, height), facecolors=colour, edgecolors="white", linewidth=0.6)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}"


def _bracket_tasks(axes: Axes, rows: pd.DataFrame, scheme: AnnotationScheme) -> None:
    """Draw a bracket with the name of each task above the lanes, over the time that any rater gave it."""
    for task in scheme.tasks:
        part = rows[rows["task"] == task]
        if not len(part):
            continue
        start, end = part["start_ms"].min() / 1000, part["end_ms"].max() / 1000
        axes.plot([start, start, end, end], [-1.05, -1.3, -1.3, -1.05], color=style.INK, lw=1.1, clip_on=False)
        axes.text((start + end) / 2, -1.4, task, ha="center", va="bottom", color=style.INK)


def _heat(statistic: str) -> tuple[Colormap, Normalize]:
    """Choose an even map: two-sided about 0 where values can be negative, else from 0 to 1."""
    if statistic == "raw_agreement" or statistic.startswith(("onset", "overlap")):
        return sns.light_palette("#0072B2", as_cmap=True), Normalize(0, 1)
    return sns.diverging_palette(35, 250, s=85, l=45, sep=1, as_cmap=True), Normalize(-1, 1)


def _draw_matrix(
    axes: Axes, cells: pd.DataFrame, raters: Sequence[str], *, colours: Colormap, scale: Normalize
) -> None:
    """Draw the lower triangle of one rater × rater matrix, with value, interval and n in every cell."""
    size = len(raters) - 1
    image = np.full((size, size), np.nan)
    for cell in cells.to_dict("records"):
        row, column = raters.index(cell["rater_2"]) - 1, raters.index(cell["rater_1"])
        image[row, column] = cell["value"]
        is_defined = np.isfinite(cell["value"])
        red, green, blue, _ = colours(scale(cell["value"])) if is_defined else (1, 1, 1, 1)
        ink = "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 0.55 else style.INK
        text = f"{cell['value']:.2f}" if is_defined else "–"
        detail = (
            f"[{cell['low']:.2f}, {cell['high']:.2f}]\n"
            if np.isfinite(cell["low"])
            else "\n"
            if is_defined
            else "undefined\n"
        )
        axes.text(column, row - 0.16, text, ha="center", va="center", color=ink, fontsize=12, fontweight="bold")
        axes.text(
            column,
            row + 0.22,
            f"{detail}n = {cell['n']} in {cell['n_sessions']}",
            ha="center",
            va="center",
            color=ink,
            fontsize=7,
            linespacing=1.35,
        )
    axes.imshow(image, cmap=colours, norm=scale, aspect="auto")
    axes.set_xticks(np.arange(size + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(size + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=2)
    axes.tick_params(which="both", length=0)
    sns.despine(ax=axes, left=True, bottom=True)


def _tidy_bars(axes: Axes) -> None:
    """Mark zero, and leave only the axis that is read."""
    axes.axvline(0, color=style.GREY, lw=0.8, zorder=0)
    axes.grid(axis="x", color=style.PALE)
    axes.set_axisbelow(True)
    sns.despine(ax=axes, left=True)
    axes.tick_params(axis="y", length=0)


def _draw_interval(axes: Axes, row: Mapping[str, Any], y: float, colour: str) -> None:
    """Draw one value with its interval, and n at the right edge."""
    if np.isfinite(row["low"]):
        axes.plot([row["low"], row["high"]], [y, y], color=colour, lw=2, solid_capstyle="round", zorder=2)
    axes.plot([row["value"]], [y], marker="o", color=colour, markersize=6, markeredgecolor="white", zorder=3)
    undefined = "" if np.isfinite(row["value"]) else "undefined, "
    axes.text(
        1.3,
        y,
        f"{undefined}n = {row['n']} in {row['n_sessions']}",
        ha="right",
        va="center",
        fontsize=7,
        color=style.GREY,
    )


def _anonymous(raters: Sequence[str]) -> dict[str, str]:
    """Give people letters in order, and the machine the name network.

    Examples
    --------
    >>> _anonymous(["mf", "machine", "ew"])
    {'mf': 'A', 'machine': 'network', 'ew': 'B'}
    """
    people = [name for name in raters if name.lower() not in ("machine", "network")]
    letters = {name: chr(ord("A") + place) if place < 26 else f"R{place + 1}" for place, name in enumerate(people)}
    return {name: letters.get(name, "network") for name in raters}
