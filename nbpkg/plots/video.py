"""Figures of recordings: rates, lengths and sizes, before and after preparation."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from nbpkg.plots import style

_COLUMN_IN, _LABELS_UP_TO = 0.28, 60


def source_rates(media: pd.DataFrame) -> Figure:
    """Draw the mean rate of every source, and which rate it became; variable-rate sources stand out.

    Parameters
    ----------
    media
        Table ``media``.
    """
    figure, axis = _per_session(media, "source rate [frames/s]")
    if len(media) == 0:
        return figure
    where = np.arange(len(media))
    variable = media["source_variable_rate"].to_numpy()
    rates = media["source_fps"].to_numpy()
    kinds = [("steady", ~variable, "o", style.BLUE), ("variable", variable, "D", style.RED)]
    for label, chosen, marker, colour in kinds:
        if chosen.any():
            text = f"{label} rate (n = {int(chosen.sum())})"
            axis.scatter(where[chosen], rates[chosen], marker=marker, color=colour, s=28, label=text, zorder=3)
    prepared = media["fps_num"].to_numpy() / media["fps_den"].to_numpy()
    axis.plot(where, prepared, "_", color=style.GREY, markersize=9, markeredgewidth=1.5, label="prepared")
    axis.set_ylim(0, max(rates.max(), prepared.max()) * 1.12)
    style.legend(figure, axis)
    return figure


def durations(media: pd.DataFrame) -> Figure:
    """Draw how long every recording is, with the median.

    Parameters
    ----------
    media
        Table ``media``.
    """
    minutes = media["duration_ms"].to_numpy() / 60_000
    in_seconds = minutes.max(initial=0) < 2
    values, unit = (minutes * 60, "s") if in_seconds else (minutes, "min")
    figure, axis = _per_session(media, f"length [{unit}]")
    if len(media) == 0:
        return figure
    axis.bar(np.arange(len(media)), values, color=style.BLUE, width=0.7)
    middle = float(np.median(values))
    axis.axhline(middle, color=style.INK, linewidth=1, linestyle="--", label=f"median {middle:.1f} {unit}")
    axis.set_ylim(0, values.max() * 1.12)
    style.legend(figure, axis)
    return figure


def sizes(media: pd.DataFrame) -> Figure:
    """Draw the size of every source and of its frame store.

    Parameters
    ----------
    media
        Table ``media``.
    """
    figure, axis = _per_session(media, "size on disk [MB]")
    if len(media) == 0:
        return figure
    where = np.arange(len(media))
    before, after = media["source_bytes"].to_numpy() / 1e6, media["bytes"].to_numpy() / 1e6
    axis.vlines(where, np.minimum(before, after), np.maximum(before, after), color=style.PALE, linewidth=3, zorder=1)
    axis.scatter(where, before, color=style.GREY, s=26, label=f"sources, {before.sum():,.0f} MB", zorder=2)
    axis.scatter(
        where, after, color=style.BLUE, s=26, marker="s", label=f"frame stores, {after.sum():,.0f} MB", zorder=3
    )
    axis.set_yscale("log")
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    style.legend(figure, axis)
    return figure


def _per_session(media: pd.DataFrame, label: str) -> tuple[Figure, Axes]:
    """Make one panel with a place on the horizontal axis for every session."""
    width = min(12.0, max(4.0, 1.6 + _COLUMN_IN * len(media)))
    figure, axes = style.panels(1, 1, width=width, height=2.9)
    axis: Axes = axes[0, 0]
    axis.set_ylabel(label)
    axis.set_title(f"n = {len(media)} sessions", fontsize=9, loc="right", color=style.INK)
    axis.set_xlim(-0.6, max(len(media), 1) - 0.4)
    if len(media) == 0:
        style.note(axis, "no videos")
        axis.set_xticks([])
        axis.set_yticks([])
    if 0 < len(media) <= _LABELS_UP_TO:
        slanted = media["session"].str.len().max() > 2
        axis.set_xticks(
            range(len(media)),
            media["session"],
            rotation=60 if slanted else 0,
            ha="right" if slanted else "center",
            rotation_mode="anchor",
        )
    axis.set_xlabel("session")
    return figure, axis
