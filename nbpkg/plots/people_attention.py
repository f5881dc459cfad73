"""Figures of what moves answers about several people: persons, modalities, windows before; where maps of clips lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from nbpkg.plots import style
from nbpkg.plots.evaluation import each_row, legend_of_all
from nbpkg.plots.frames import show_frames, veil

TWIN = "random twin"  # as nbpkg.attention.people.importance calls it
MAP = "viridis"  # of Grad-CAM films, as published
_TITLES = {"who": "which person (whole)", "modality": "which modality", "lag": "how many windows before"}


class Moments(Protocol):
    """Pictures and maps of a clip, see `nbpkg.attention.people.explain.Moments`."""

    @property
    def pictures(self) -> NDArray[np.uint8]:
        """Return uint8 RGB ``[n, H, W, 3]``, as recorded."""

    @property
    def maps(self) -> NDArray[np.float32]:
        """Return 0..1, ``[n, H, W]``."""

    @property
    def frames(self) -> NDArray[np.int64]:
        """Return the frame of the store of each."""


def importance_shares(summary: pd.DataFrame) -> Figure:
    """Draw how much of what moves the answers comes from each person and each modality, the random twin beside.

    Parameters
    ----------
    summary
        From `nbpkg.attention.people.importance.summarise_importance`; the twin is of no colour.
    """
    kinds = [by for by in ("who", "modality") if (summary["by"] == by).any()]
    if not kinds:
        return style.blank("shares of people and modalities")
    lengths = [summary.loc[summary["by"] == by, by].nunique() for by in kinds]
    figure, axes = style.panels(1, len(kinds), width=3.9, height=0.6 * max(lengths) + 0.8, share=False)
    for axis, by in zip(axes[0], kinds, strict=True):
        _draw_shares(axis, summary[summary["by"] == by], by)
    words = "share of what moves the answer (total variation when covered); lines: 95 % over families"
    figure.supxlabel(words, fontsize=9, color=style.INK)
    legend_of_all(figure, list(axes.flat))
    return figure


def importance_heat(summary: pd.DataFrame) -> Figure:
    """Draw how far covering a modality of a person moves the answer, a panel for each system, all on one scale.

    Parameters
    ----------
    summary
        As for `importance_shares`.
    """
    table = summary[summary["by"] == "who and modality"]
    if table.empty:
        return style.blank("people and modalities")
    systems, people, names = (list(dict.fromkeys(table[column])) for column in ("system", "who", "modality"))
    width = max(2.2, 0.75 * len(names) + 0.9)
    figure, axes = style.panels(1, len(systems), width=width, height=0.5 * len(people) + 0.8)
    scale = Normalize(0, float(np.nanmax(table["value"].to_numpy(np.float64), initial=0.0)) or 1.0)
    for axis, system in zip(axes[0], systems, strict=True):
        own = table[table["system"] == system]
        grid = own.pivot_table(index="who", columns="modality", values="value").reindex(people)[names].to_numpy()
        heat = axis.imshow(grid, cmap=colormaps[style.HEAT], norm=scale, aspect="auto")
        for (row, column), value in np.ndenumerate(grid):
            dark = np.isfinite(value) and scale(value) < 0.6
            words = f"{value:.3f}" if np.isfinite(value) else "never"
            axis.text(column, row, words, ha="center", va="center", fontsize=8, color="white" if dark else style.INK)
        axis.set_xticks(range(len(names)), names)
        axis.set_yticks(range(len(people)), people)
        axis.set_title(f"{system}\n(n = {int(own['n'].max())} recordings)", fontsize=9)
    figure.colorbar(heat, ax=axes[0, -1], label="total variation\nwhen covered")
    return figure


def lag_profile(summary: pd.DataFrame, *, planted: Mapping[str, int] | None = None) -> Figure:
    """Draw how far the answer moves when a person is covered so many windows before, a panel for each system.

    Parameters
    ----------
    summary
        As for `importance_shares`.
    planted
        Person to the windows before that made-up data have.
    """
    table = summary[summary["by"] == "who and lag"]
    if table.empty:
        return style.blank("lags")
    systems, people = (list(dict.fromkeys(table[column])) for column in ("system", "who"))
    colours = {who: style.CYCLE[place % len(style.CYCLE)] for place, who in enumerate(people)}
    figure, axes = style.panels(1, len(systems), width=3.4, height=2.4)
    for axis, system in zip(axes[0], systems, strict=True):
        own = table[table["system"] == system]
        for place, (who, rows) in enumerate(own.groupby("who", sort=False)):
            line = rows.sort_values("lag")
            at = line["lag"] + 0.06 * (place - (len(people) - 1) / 2)
            axis.vlines(at, line["low"], line["high"], color=colours[str(who)], lw=1, alpha=0.7)
            axis.plot(at, line["value"], "o-", ms=4, lw=1.6, color=colours[str(who)], label=str(who))
        for who, lag in (planted or {}).items():
            axis.axvline(lag, color=colours.get(who, style.GREY), lw=1, ls=":", label=f"{who}: planted")
        axis.set_title(f"{system}\n(n = {int(own['n'].max())} recordings)", fontsize=9)
        axis.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        axis.grid(color=style.PALE, lw=0.6)
        axis.set_axisbelow(True)
    axes[0, 0].set_ylim(bottom=0)
    words = "windows from what is covered to the answer; lines: 95 % over families"
    style.outer_labels(figure, words, "total variation\nof the answer")
    legend_of_all(figure, list(axes.flat))
    return figure


def gradcam_sheet(
    found: Sequence[tuple[str, Moments]], *, fps: float, privacy: str = "pixelated", alpha: float = 0.5
) -> Figure:
    """Draw a few moments of each explained clip, colours over pictures, a row for each clip.

    Parameters
    ----------
    found
        Title and moments of each clip, e.g. from `nbpkg.attention.people.explain.read_moments`.
    fps
        Frames of the store per second.
    privacy
        As for `nbpkg.plots.frames.veil`, before colours are laid over.
    alpha
        How much the colours cover.
    """
    if not found:
        return style.blank("maps of clips")
    columns = max(len(moments.maps) for _, moments in found)
    shown, titles = [], []
    for title, moments in found:
        veiled = veil(moments.pictures, privacy=privacy)
        colours = 255 * colormaps[MAP](moments.maps)[..., :3]
        mixed = np.clip(alpha * colours + (1 - alpha) * veiled, 0, 255).astype(np.uint8)
        shown += [*mixed, *[np.full_like(mixed[0], 255)] * (columns - len(mixed))]
        times = [f"{frame / fps:.1f} s" for frame in moments.frames.tolist()]
        titles += [f"{title}\n{times[0]}", *(f"\n{time}" for time in times[1:]), *[""] * (columns - len(mixed))]
    return show_frames(shown, titles=titles, privacy="full", columns=columns)  # veiled above, below the colours


def region_scores(regions: pd.DataFrame) -> Figure:
    """Draw how much of the maps lies on each person's face and body, and how much would by chance.

    Parameters
    ----------
    regions
        Table ``people_regions`` of one system.
    """
    own = regions[regions["region"] != "picture"]
    if own.empty:
        return style.blank("scores of regions")
    parts = list(dict.fromkeys(zip(own["who"], own["region"], strict=True)))
    parts.sort(key=lambda part: part[0] == "all")
    figure, axes = style.panels(1, 2, width=3.6, height=0.42 * len(parts) + 0.6, share=False)
    for row, (who, region) in enumerate(parts):
        rows = own[(own["who"] == who) & (own["region"] == region)]
        _draw_share(axes[0, 0], rows, row)
        _draw_points(axes[0, 1], rows["mutual_information"], row)
    for axis in axes.flat:
        axis.set_ylim(len(parts) - 0.5, -0.5)
        axis.grid(axis="x", color=style.PALE, lw=0.6)
        axis.set_axisbelow(True)
    clips, families = own["sample_id"].nunique(), own["family"].nunique()
    axes[0, 0].set_yticks(range(len(parts)), [_name_region(*part) for part in parts])
    axes[0, 1].set_yticks(range(len(parts)), [""] * len(parts))
    axes[0, 0].set_xlim(0, 1)
    axes[0, 0].xaxis.set_major_formatter(PercentFormatter(1))
    axes[0, 0].set_xlabel("share of the map inside")
    axes[0, 1].set_xlim(left=0)
    axes[0, 1].set_xlabel("mutual information with faces,\nbodies and motion (nats)")
    axes[0, 0].set_title(f"{own['system'].iloc[0]}: n = {clips} clips, families: {families}", fontsize=9)
    axes[0, 1].set_title("compare regions of like size only", fontsize=9)
    legend_of_all(figure, list(axes.flat))
    return figure


def _draw_shares(axis: Axes, table: pd.DataFrame, by: str) -> None:
    """Draw bars by part, one below the other for each system."""
    systems, parts = (list(dict.fromkeys(table[column])) for column in ("system", by))
    systems.sort(key=lambda system: system == TWIN)
    tall = 0.8 / len(systems)
    for one in each_row(table):
        place = systems.index(one.system)
        row = parts.index(getattr(one, by)) + tall * (place - (len(systems) - 1) / 2)
        is_twin = one.system == TWIN
        colour = style.PALE if is_twin else style.CYCLE[place % len(style.CYCLE)]
        axis.barh(row, one.share, height=0.9 * tall, color=colour, label=one.system)
        axis.plot([one.share_low, one.share_high], [row, row], color=style.INK, lw=1.4)
        words = f"{one.share:.0%}" if np.isfinite(one.share) else "undefined"
        axis.text(1.01, row, words, transform=axis.get_yaxis_transform(), va="center", fontsize=8)
    axis.axvline(1 / len(parts), color=style.CHANCE, ls="--", lw=1, label="all alike")
    axis.set_yticks(range(len(parts)), parts)
    axis.set_ylim(len(parts) - 0.5, -0.5)
    axis.set_xlim(0, 1)
    axis.xaxis.set_major_formatter(PercentFormatter(1))
    axis.set_title(f"{_TITLES[by]}\n(n = {int(table['n'].max())} recordings)", fontsize=9)


def _draw_share(axis: Axes, rows: pd.DataFrame, row: int) -> None:
    _draw_points(axis, rows["share"], row)
    blind = rows["area"].mean()
    axis.plot([blind] * 2, [row - 0.32, row + 0.32], color=style.CHANCE, lw=2.2, label="a blind map (area)")
    if not rows["share"].notna().any():
        axis.text(0.5, row, "never there, or no map", ha="center", va="center", fontsize=8, color=style.GREY)


def _draw_points(axis: Axes, values: pd.Series, row: int) -> None:
    """Draw each clip and their mean; dots at the edge of the panel are whole."""
    many = np.full(len(values), row)
    axis.plot([values.mean()], [row], "o", ms=8, color=style.MODEL, label="mean over clips", clip_on=False)
    axis.plot(values, many, "o", ms=4, color=style.SKY, mec="white", mew=0.5, label="a clip", clip_on=False)


def _name_region(who: str, region: str) -> str:
    return "everybody together" if who == "all" else f"{who}: {region}"
