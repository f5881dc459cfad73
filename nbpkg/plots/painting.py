"""Figures of painting: what could be painted, what was chosen, how far painters are, what and where they painted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from nbpkg.attention.comparing.measures import MEASURES
from nbpkg.plots import style
from nbpkg.plots.evaluation import each_row, legend_of_all
from nbpkg.plots.overlay import show_maps

LABELS = {1: style.ORANGE, 0: style.SKY}
STATES = {"done": style.BLUE, "begun": style.SKY, "skipped": style.PURPLE, "todo": style.PALE}
WORDS = {1: "yes", 0: "no"}


def regions(regions: pd.DataFrame, snippets: pd.DataFrame) -> Figure:
    """Draw where snippets could be chosen in every session, and those that were.

    Parameters
    ----------
    regions
        From `nbpkg.attention.choosing.regions.find_regions`: columns session, task, variable, label, start_ms (first
        possible start of a snippet of that label), end_ms (one after the last).
    snippets
        Table ``snippets``.
    """
    sessions, variables = sorted(set(regions["session"])), sorted(set(regions["variable"]))
    if regions.empty:
        return style.blank("regions")
    figure, axes = style.panels(len(sessions), 1, width=9, height=0.3 * len(variables) + 0.75, share=False)
    for session, axis in zip(sessions, axes[:, 0], strict=True):
        own = regions[regions["session"] == session]
        chosen = snippets[snippets["session"] == session]
        _bracket_tasks(axis, pd.concat([own, chosen]))
        for row, variable in enumerate(variables):
            for label, colour in LABELS.items():
                part = own[(own["variable"] == variable) & (own["label"] == label)]
                axis.broken_barh(_bars(part), (row - 0.16, 0.32), color=colour, alpha=0.55, lw=0)
                part = chosen[(chosen["variable"] == variable) & (chosen["label"] == label)]
                axis.broken_barh(_bars(part), (row - 0.34, 0.68), fc=colour, ec=style.INK, lw=1)
        axis.set_yticks(range(len(variables)), variables)
        axis.set_ylim(len(variables) - 0.4, -1.15)
        axis.set_title(f"session {session} (n = {len(chosen)} snippets)", loc="left", fontsize=9)
    axes[-1, 0].set_xlabel("minutes in the video")
    handles = []
    for label, colour in LABELS.items():
        handles.append(Patch(fc=colour, alpha=0.55, label=f"a snippet may start: all raters say {WORDS[label]}"))
        handles.append(Patch(fc=colour, ec=style.INK, label=f"chosen: {WORDS[label]}"))
    figure.legend(handles=handles, loc="outside upper center", ncols=4, frameon=False, fontsize=8)
    return figure


def progress(paintings: pd.DataFrame) -> Figure:
    """Draw how far every painter is through their snippets.

    Parameters
    ----------
    paintings
        Table ``paintings``.
    """
    if paintings.empty:
        return style.blank("paintings")
    painters = sorted(set(paintings["painter"]))
    figure, axes = style.panels(1, 1, width=6.2, height=0.36 * len(painters) + 0.7)
    axis = axes[0, 0]
    for row, painter in enumerate(painters):
        own, start = paintings[paintings["painter"] == painter], 0
        for state, colour in STATES.items():
            count = int((own["state"] == state).sum())
            axis.barh(row, count, left=start, height=0.62, color=colour, label={"todo": "to do"}.get(state, state))
            if count:
                ink = style.INK if state in ("todo", "begun") else "white"
                axis.text(start + count / 2, row, str(count), ha="center", va="center", fontsize=8, color=ink)
            start += count
        text = f"n = {len(own)}, {own['seconds'].sum() / 60:.1f} min of work"
        axis.text(1.01, row, text, transform=axis.get_yaxis_transform(), va="center", fontsize=8, color=style.INK)
    axis.set_yticks(range(len(painters)), painters)
    axis.set_ylim(len(painters) - 0.5, -0.5)
    axis.set_xlim(0, paintings.groupby("painter").size().max())
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    axis.set_xlabel("snippets")
    style.legend(figure, axis)
    return figure


def effort(paintings: pd.DataFrame) -> Figure:
    """Draw how much of their finished snippets painters painted, with how many strokes and in what time.

    Parameters
    ----------
    paintings
        Table ``paintings``; what is not done is left out.
    """
    done = paintings[paintings["state"] == "done"]
    if done.empty:
        return style.blank("finished paintings")
    painters = sorted(set(done["painter"]))
    drawn = {
        "frames with paint [%]": 100 * done["painted_frames"] / done["frames"],
        "strokes": done["strokes"],
        "working time [min]": done["seconds"] / 60,
    }
    figure, axes = style.panels(1, len(drawn), width=2.7, height=0.36 * len(painters) + 0.7, share=False)
    for place, ((name, values), axis) in enumerate(zip(drawn.items(), axes[0], strict=True)):
        for row, painter in enumerate(painters):
            own = values[done["painter"] == painter].sort_values().to_numpy(np.float64)
            axis.plot(own, row + spread_points(len(own)), "o", ms=4, color=style.HUMAN, alpha=0.7, label="snippet")
            axis.plot([np.median(own)] * 2, [row - 0.3, row + 0.3], color=style.INK, lw=1.6, label="median")
        counts = [f"{painter} (n = {int((done['painter'] == painter).sum())})" for painter in painters]
        axis.set_yticks(range(len(painters)), counts if place == 0 else [""] * len(painters))
        axis.set_ylim(len(painters) - 0.5, -0.5)
        axis.set_xlim(left=0, right=101 if "%" in name else None)
        axis.set_xlabel(name)
        axis.grid(axis="x", color=style.PALE, lw=0.6)
        axis.set_axisbelow(True)
    style.legend(figure, axes[0, 0])
    return figure


def painted_snippet(
    snippet: Mapping[str, object],
    frames: NDArray[np.uint8],
    maps: Mapping[str, ArrayLike],
    answers: pd.DataFrame,
    *,
    privacy: str,
    moments: int = 6,
) -> Figure:
    """Show what every painter painted of one snippet, and answered, at a few moments.

    Parameters
    ----------
    snippet
        A row of table ``snippets``.
    frames
        The painted frames, RGB, uint8 ``[T, H, W, 3]``.
    maps
        Painter to map ``[T, h, w]`` of the same part of the picture.
    answers
        Table ``answers``.
    privacy
        See `nbpkg.plots.frames.veil`.
    moments
        Frames shown.
    """
    start, end = (float(str(snippet[name])) / 1000 for name in ("start_ms", "end_ms"))
    titles = [f"{start + (number + 0.5) / len(frames) * (end - start):.1f} s" for number in range(len(frames))]
    own = answers[answers["snippet_id"] == snippet["snippet_id"]]
    said = {str(painter): ", ".join(part["value"]) for painter, part in own.groupby("painter")}
    figure = show_maps(frames, maps, privacy=privacy, titles=titles, notes=said, moments=moments)
    label = WORDS[int(str(snippet["label"]))]
    figure.suptitle(
        f"{snippet['session']} · {snippet['task']} · {snippet['variable']}, raters agree: {label}\n"
        f"n = {len(maps)} painters, below each name what they answered",
        fontsize=9,
        color=style.INK,
    )
    return figure


def painted_places(means: Mapping[str, ArrayLike], counts: Mapping[str, int]) -> Figure:
    """Draw where people painted, on average over snippets, painters and time; all panels on one scale.

    Parameters
    ----------
    means
        Name of a kind of snippet to the mean map ``[h, w]``, 0 to 1.
    counts
        The same names to the number of paintings averaged.
    """
    shown = {name: np.asarray(values, np.float64) for name, values in means.items()}
    if not shown:
        return style.blank("paintings")
    columns = min(4, len(shown))
    height, width = next(iter(shown.values())).shape
    tall = 2.1 * height / width + 0.35
    figure, axes = style.panels(-(-len(shown) // columns), columns, width=2.1, height=tall, share=False)
    norm = Normalize(0, max(float(values.max()) for values in shown.values()) or 1)
    for axis in axes.flat:
        axis.set_axis_off()
    for (name, values), axis in zip(shown.items(), axes.flat, strict=False):
        axis.imshow(values, cmap=style.HEAT, norm=norm, interpolation="antialiased")
        axis.set_title(f"{name}\nn = {counts[name]} paintings", fontsize=8)
    bar = figure.colorbar(ScalarMappable(norm, colormaps[style.HEAT]), ax=axes, shrink=0.7, aspect=14)
    bar.set_label("mean paint\n(0: none, 1: full)", fontsize=8)
    bar.ax.tick_params(labelsize=8)
    return figure


def answers(answers: pd.DataFrame, snippets: pd.DataFrame, *, absent: str) -> Figure:
    """Draw what painters answered beside the raters' consensus: share in colour, number of snippets in writing.

    Framed cells are answers that agree with the raters.

    Parameters
    ----------
    answers, snippets
        The tables of the same names. Of each snippet, only the question about the variable for which it was chosen
        counts: the raters' consensus on the others is not known.
    absent
        Answer that means the behaviour is not there.
    """
    joined = answers.merge(snippets[["snippet_id", "variable", "label"]], on="snippet_id", validate="many_to_one")
    joined = joined[joined["question"] == joined["variable"]]
    if joined.empty:
        return style.blank("answers to the question for which a snippet was chosen")
    questions, painters = sorted(set(joined["question"])), sorted(set(joined["painter"]))
    figure, axes = style.panels(1, len(questions), width=3.1, height=0.6 * len(painters) + 0.9, share=False)
    for place, (question, axis) in enumerate(zip(questions, axes[0], strict=True)):
        own = joined[joined["question"] == question]
        values = sorted(set(own["value"]), key=lambda value: (value != absent, value))
        rows = [(painter, label) for painter in painters for label in (0, 1)]
        counts = own.groupby(["painter", "label", "value"]).size().to_dict()
        matrix = np.array([[counts.get((*row, value), 0) for value in values] for row in rows], np.float64)
        agrees = np.array([[(value == absent) == (label == 0) for value in values] for _, label in rows])
        _draw_counts(axis, matrix, agrees)
        names = [f"{painter} · raters: {WORDS[label]}" for painter, label in rows]
        axis.set_yticks(range(len(rows)), names if place == 0 else [""] * len(rows))
        axis.set_xticks(range(len(values)), values)
        axis.set_title(f"{question}: {int(matrix[agrees].sum())} of n = {len(own)} agree", fontsize=9)
    style.outer_labels(figure, "painter's answer (framed: as the raters)", "")
    bar = ScalarMappable(Normalize(0, 1), colormaps[style.HEAT])
    figure.colorbar(bar, ax=axes, shrink=0.8).set_label("share of the row's snippets", fontsize=8)
    return figure


def painter_agreement(agreement: pd.DataFrame, *, metrics: Sequence[str]) -> Figure:
    """Draw how alike the maps of every two painters are, one panel per measure.

    Parameters
    ----------
    agreement
        From `nbpkg.attention.comparing.agreement.painter_agreement`.
    metrics
        Measures to draw, names as in the table.
    """
    pairs = list(dict.fromkeys(zip(agreement["painter"], agreement["other"], strict=True)))
    if agreement.empty:
        return style.blank("pairs of painters")
    figure, axes = style.panels(1, len(metrics), width=2.6, height=0.26 * len(pairs) + 0.9, share=False)
    for place, (metric, axis) in enumerate(zip(metrics, axes[0], strict=True)):
        for one in each_row(agreement[agreement["metric"] == metric]):
            row = pairs.index((one.painter, one.other))
            axis.plot([one.low, one.high], [row, row], color=style.HUMAN, lw=2, alpha=0.6, label="95 % over sessions")
            axis.plot([one.value], [row], "D", ms=5, color=style.HUMAN, label="mean over snippets")
            text = f"n = {one.n}" if one.value == one.value else f"n = {one.n}: undefined"
            axis.text(1.02, row, text, transform=axis.get_yaxis_transform(), va="center", fontsize=7, color=style.INK)
        axis.set_yticks(
            range(len(pairs)), [f"{one} – {two}" for one, two in pairs] if place == 0 else [""] * len(pairs)
        )
        axis.set_ylim(len(pairs) - 0.5, -0.5)
        axis.set_title(f"{MEASURES[metric].title}\n{MEASURES[metric].direction} is more alike", fontsize=8)
        axis.grid(axis="x", color=style.PALE, lw=0.6)
        axis.set_axisbelow(True)
    style.outer_labels(figure, "likeness of two painters' maps of the same snippets (frames)", "painter – reference")
    legend_of_all(figure, list(axes[0]))
    return figure


def _bars(rows: pd.DataFrame) -> list[tuple[float, float]]:
    """Give starts and lengths in minutes."""
    return [
        (start / 60_000, (end - start) / 60_000) for start, end in zip(rows["start_ms"], rows["end_ms"], strict=True)
    ]


def _bracket_tasks(axis: Axes, rows: pd.DataFrame) -> None:
    """Shade the time of every task and write its name above."""
    for task, part in rows.groupby("task"):
        start, end = part["start_ms"].min() / 60_000, part["end_ms"].max() / 60_000
        axis.axvspan(start, end, color=style.PALE, alpha=0.45, lw=0)
        axis.annotate(str(task), ((start + end) / 2, -0.8), ha="center", va="center", fontsize=8, color=style.INK)


def _draw_counts(axis: Axes, matrix: NDArray[np.float64], framed: NDArray[np.bool_]) -> None:
    """Draw counts, in colours the share of their row."""
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axis.imshow(shares, cmap=style.HEAT, vmin=0, vmax=1, aspect="auto")
    for (row, column), count in np.ndenumerate(matrix):
        ink = "black" if shares[row, column] > 0.6 else "white"
        axis.text(column, row, f"{count:.0f}", ha="center", va="center", color=ink, fontsize=9)
        if framed[row, column]:
            box = Rectangle((column - 0.47, row - 0.45), 0.94, 0.9, fill=False, ec=style.RED, lw=1.8)
            axis.add_patch(box)
    for row in range(2, len(matrix), 2):
        axis.axhline(row - 0.5, color="white", lw=3)
    axis.tick_params(length=0)


def spread_points(count: int) -> NDArray[np.float64]:
    """Give `count` points within ± 0.18, evenly in an order without pattern, so that equal values do not hide."""
    return np.asarray(((np.arange(count) * 0.618034) % 1 - 0.5) * 0.36, np.float64)
