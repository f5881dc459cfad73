"""Figures of gaze annotations: where targets and heads lie, how much there is of whom, who looks inside when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

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

from nbpkg.errors import TableError
from nbpkg.plots import style
from nbpkg.plots.evaluation import each_row
from nbpkg.plots.gaze_overlay import draw_arrow, draw_box, lay_heat, veil_people

BOX = ["x0", "y0", "x1", "y1"]
POINT = ["gaze_x", "gaze_y"]
TRUTH = style.ORANGE  # what a person marked, as style.HUMAN
LOOKS = {1: ("target inside the frame", style.BLUE), 0: ("outside", style.ORANGE), -1: ("unknown", style.PALE)}


def location_density(densities: Mapping[str, ArrayLike], *, sizes: Mapping[str, int]) -> Figure:
    """Draw how often each pixel lies in the box of the object looked at, all panels on one scale.

    Parameters
    ----------
    densities
        Name (e.g. ``boxes``, ``circles``) to shares of frames ``[height, width]``, 0..1.
    sizes
        Name to number of frames.
    """
    if not densities:
        return style.blank("target locations")
    arrays = {name: np.asarray(values, np.float64) for name, values in densities.items()}
    columns = min(3, len(arrays))
    tallest = max(array.shape[0] / array.shape[1] for array in arrays.values())
    figure, axes = style.panels(-(-len(arrays) // columns), columns, width=3.0, height=3.0 * tallest + 0.4, share=False)
    norm = Normalize(0, max(float(array.max()) for array in arrays.values()) or 1)
    for axis in axes.flat[len(arrays) :]:
        axis.set_axis_off()
    for axis, (name, array) in zip(axes.flat, arrays.items(), strict=False):
        axis.imshow(array, cmap=style.HEAT, norm=norm)
        axis.set_title(f"{name} (n = {sizes[name]} frames)", fontsize=9)
    style.outer_labels(figure, "x in the frame (pixels)", "y (pixels)")
    bar = figure.colorbar(ScalarMappable(norm, style.HEAT), ax=figure.axes, shrink=0.8)
    bar.set_label("share of frames with the target here", fontsize=8)
    bar.ax.tick_params(labelsize=8)
    return figure


def collection(counts: pd.DataFrame, *, rows: str, columns: str, value: str = "frames") -> Figure:
    """Draw a table of how many frames there are, the more the lighter, with sums; flagged cells have a mark.

    Parameters
    ----------
    counts
        One row per cell: the columns named by `rows`, `columns` and `value`, and ``flags`` (text, empty for none) if
        any cell is flagged.
    rows, columns
        What stands at the left and what above, e.g. ``participant`` and ``session``.
    value
        What is counted.
    """
    if counts.empty:
        return style.blank(value)
    down, across = (list(dict.fromkeys(counts[name].astype(str))) for name in (rows, columns))
    table = np.full((len(down), len(across)), np.nan)
    marks = np.full(table.shape, "", dtype=object)
    for one in counts.to_dict("records"):
        place = down.index(str(one[rows])), across.index(str(one[columns]))
        table[place] = one[value]
        marks[place] = "*" if one.get("flags") else ""
    figure, axes = style.panels(1, 1, width=0.62 * len(across) + 2.0, height=0.34 * len(down) + 1.2)
    axis = axes[0, 0]
    norm = Normalize(0, float(np.nanmax(table)))
    axis.imshow(table, cmap=style.HEAT, norm=norm, aspect="auto")
    for row, column in np.ndindex(*table.shape):
        number = table[row, column]
        text = "–" if np.isnan(number) else f"{number:.0f}{marks[row, column]}"
        ink = style.GREY if np.isnan(number) else "black" if norm(number) > 0.55 else "white"
        axis.text(column, row, text, ha="center", va="center", fontsize=8, color=ink)
    total = int(np.nansum(table))
    axis.set_xticks(range(len(across)), _broken(across, np.nansum(table, axis=0)), fontsize=8)
    axis.set_yticks(range(len(down)), [f"{name} ({n:.0f})" for name, n in _sums(down, np.nansum(table, axis=1))])
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    axis.set_xlabel(f"{columns} (sum below)")
    axis.set_ylabel(f"{rows} (sum)")
    flagged = "; * flagged in the collection" if (marks != "").any() else ""
    axis.set_title(f"n = {total} {value}{flagged}", fontsize=9, loc="left")
    return figure


def _sums(names: Sequence[str], sums: NDArray[np.float64]) -> list[tuple[str, float]]:
    return list(zip(names, sums.tolist(), strict=True))


def _broken(names: Sequence[str], sums: NDArray[np.float64]) -> list[str]:
    return [f"{name}\n({n:.0f})" for name, n in _sums(names, sums)]


def directions(offsets: pd.DataFrame) -> Figure:
    """Draw in which direction and how far from the head people look, a colour for each data set.

    Parameters
    ----------
    offsets
        ``dataset`` of each row of table ``gaze``, and beside it ``direction`` and ``distance_share`` from
        `nbpkg.annotations.gaze.collection.measure_geometry`; rows without target inside (NaN) are left out.
    """
    offsets = offsets.dropna(subset=["direction", "distance_share"])
    if offsets.empty:
        return style.blank("gaze directions")
    figure, axes = style.panels(1, 2, width=3.6, height=2.9, share=False)
    axes[0, 0].remove()
    rose = figure.add_subplot(1, 2, 1, projection="polar")
    edges, bins = np.linspace(-np.pi, np.pi, 25), np.linspace(0, 1.05 * float(offsets["distance_share"].max()), 41)
    names = list(dict.fromkeys(offsets["dataset"]))
    for place, name in enumerate(names):
        own = offsets[offsets["dataset"] == name]
        colour, label = style.CYCLE[place % len(style.CYCLE)], f"{name} (n = {len(own)})"
        angles = np.deg2rad((own["direction"].to_numpy(np.float64) + 180) % 360 - 180)
        share = np.histogram(angles, edges)[0] / len(own)
        rose.stairs(share, edges, color=colour, lw=1.6, fill=len(names) == 1, alpha=0.9)
        axes[0, 1].hist(
            own["distance_share"], bins, histtype="step", color=colour, lw=1.6, label=label,
            weights=np.full(len(own), 1 / len(own)), fill=len(names) == 1,
        )  # fmt: skip
    rose.set_title("direction of the target, seen from the head", fontsize=9, color=style.INK)
    rose.tick_params(labelsize=8, colors=style.INK)
    rose.set_xticks(np.deg2rad([0, 90, 180, 270]), ["right", "up", "left", "down"])
    rose.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    rose.yaxis.set_major_locator(MaxNLocator(nbins=3))
    axes[0, 1].set_xlabel("distance of head and target (share of the frame's diagonal)")
    axes[0, 1].set_ylabel("share of frames")
    axes[0, 1].set_title("distance", fontsize=9)
    style.legend(figure, axes[0, 1])
    return figure


def head_positions(gaze: pd.DataFrame) -> Figure:
    """Draw where head boxes lie: how often each part of the frame holds the middle of one, and the average box.

    Parameters
    ----------
    gaze
        Table ``gaze``; a panel for each data set, in fractions of the frame.
    """
    known = gaze[np.isfinite(gaze[BOX]).all(axis=1)]
    if known.empty:
        return style.blank("head boxes")
    names = list(dict.fromkeys(known["dataset"]))
    figure, axes = style.panels(1, len(names), width=3.2, height=2.7)
    for name, axis in zip(names, axes[0], strict=True):
        own = known[known["dataset"] == name]
        x0, x1 = own["x0"] / own["width"], own["x1"] / own["width"]
        y0, y1 = own["y0"] / own["height"], own["y1"] / own["height"]
        counts, _, _ = np.histogram2d((y0 + y1) / 2, (x0 + x1) / 2, bins=(24, 32), range=((0, 1), (0, 1)))
        image = axis.imshow(counts / len(own), extent=(0, 1, 1, 0), cmap=style.HEAT, vmin=0, aspect="auto")
        middle = [float(edge.mean()) for edge in (x0, y0, x1, y1)]
        axis.add_patch(
            Rectangle((middle[0], middle[1]), middle[2] - middle[0], middle[3] - middle[1],
                      fill=False, ec="white", lw=1.6, label="average head box")
        )  # fmt: skip
        missing = int((gaze["dataset"] == name).sum()) - len(own)
        axis.set_title(f"{name} (n = {len(own)}, {missing} without a box)", fontsize=9)
        bar = figure.colorbar(image, ax=axis, shrink=0.8, format=lambda value, _: f"{100 * value:.3g} %")
        bar.ax.tick_params(labelsize=8)
    style.outer_labels(
        figure, "x (fraction of the width); colour: share of boxes with their middle here", "y (fraction of the height)"
    )
    handle = Patch(fc=style.PALE, ec=style.INK, label="white outline: average head box")
    figure.legend(handles=[handle], loc="outside upper center", frameon=False, fontsize=8)
    return figure


def inside_timelines(gaze: pd.DataFrame, session: str) -> Figure:
    """Draw for every person of one session when the target lies inside the frame, annotators above each other.

    Parameters
    ----------
    gaze
        Table ``gaze``.
    session
        The session to draw; white is where the person has no row.
    """
    own = gaze[gaze["session"] == session]
    if own.empty:
        raise TableError(f"Session {session!r} has no gaze.", expected=f"One of {sorted(set(gaze['session']))[:5]}.")
    lanes = list(own[["person", "rater"]].drop_duplicates().sort_values(["person", "rater"]).itertuples(index=False))
    figure, axes = style.panels(1, 1, width=9, height=0.32 * len(lanes) + 0.9)
    axis = axes[0, 0]
    for row, (person, rater) in enumerate(lanes):
        part = own[(own["person"] == person) & (own["rater"] == rater)].sort_values("frame")
        for start, length, state in _runs(part):
            axis.broken_barh([(start - 0.5, length)], (row - 0.38, 0.76), color=LOOKS[state][1], lw=0)
        if row and lanes[row - 1][0] != person:
            axis.axhline(row - 0.5, color=style.GREY, lw=0.6)
        note = f"n = {len(part)}, {int((part['inside'] == 1).sum())} inside"
        axis.text(1.01, row, note, transform=axis.get_yaxis_transform(), va="center", fontsize=7, color=style.INK)
    axis.set_yticks(range(len(lanes)), [f"{person} · {rater}" for person, rater in lanes])
    axis.set_ylim(len(lanes) - 0.5, -0.5)
    axis.set_xlim(own["frame"].min() - 0.5, own["frame"].max() + 0.5)
    axis.set_xlabel(f"frame of session {session} (right: n frames)")
    axis.set_ylabel("person · annotator")
    shown = [
        Patch(color=colour, label=label) for state, (label, colour) in LOOKS.items() if state in set(own["inside"])
    ]
    figure.legend(handles=shown, loc="outside upper center", ncols=3, frameon=False, fontsize=8)
    return figure


def _runs(rows: pd.DataFrame) -> list[tuple[int, int, int]]:
    """Return start, length and state of each run of frames, in order, that have rows and one state."""
    frame, state = rows["frame"].to_numpy(np.int64), rows["inside"].to_numpy(np.int64)
    new = np.flatnonzero((np.diff(frame) != 1) | (np.diff(state) != 0)) + 1
    starts = [0, *new.tolist()]
    ends = [*new.tolist(), len(frame)]
    return [(int(frame[a]), int(frame[b - 1] - frame[a] + 1), int(state[a])) for a, b in zip(starts, ends, strict=True)]


def contact_sheet(
    rows: pd.DataFrame, frames: Sequence[NDArray[np.uint8]], *, privacy: str = "pixelated", columns: int = 4
) -> Figure:
    """Draw frames with the head box and an arrow to where the person looks.

    Parameters
    ----------
    rows
        Rows of table ``gaze`` to draw.
    frames
        The RGB frame of each row, uint8 ``[H, W, 3]``, of any sizes.
    privacy
        As in `nbpkg.plots.gaze_overlay.veil_people`.
    columns
        Frames in a row, at most.
    """
    if not len(rows):
        return style.blank("frames with gaze")
    columns = min(columns, len(rows))
    tallest = max(frame.shape[0] / frame.shape[1] for frame in frames)
    figure, axes = style.panels(-(-len(rows) // columns), columns, width=2.4, height=2.4 * tallest + 0.45, share=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, one, frame in zip(axes.flat, each_row(rows), frames, strict=False):
        show_gaze(axis, frame, one, privacy=privacy)
        looks = one.target or {1: "inside", 0: "outside", -1: "unknown"}[int(one.inside)]
        axis.set_title(f"{one.session} · {one.person}\nframe {one.frame} · {looks}", fontsize=8, color=style.INK)
    handle = Patch(fc="none", ec=TRUTH, label=f"head box and gaze as annotated (n = {len(rows)} frames)")
    figure.legend(handles=[handle], loc="outside upper center", frameon=False, fontsize=8)
    return figure


def show_gaze(axis: Axes, frame: NDArray[np.uint8], row: Any, *, privacy: str) -> None:
    """Draw one frame with head box and gaze of one row of table ``gaze`` (columns as attributes)."""
    box = [getattr(row, name) for name in BOX]
    axis.imshow(veil_people(frame, [box], privacy=privacy), interpolation="antialiased")
    draw_box(axis, box, colour=TRUTH)
    if row.inside == 1:
        draw_arrow(axis, box, (row.gaze_x, row.gaze_y), colour=TRUTH)
    axis.set_xlim(-0.5, frame.shape[1] - 0.5)
    axis.set_ylim(frame.shape[0] - 0.5, -0.5)


def augmented(
    pictures: NDArray[np.uint8],
    heads: ArrayLike,
    maps: ArrayLike,
    *,
    titles: Sequence[str] = (),
    privacy: str = "pixelated",
) -> Figure:
    """Draw what a network is given after augmentation: the scene with the head box, and the map it is to answer.

    Parameters
    ----------
    pictures
        Scenes, RGB uint8 ``[N, S, S, 3]``, no longer normalised.
    heads
        Head channels ``[N, S, S]``, above 0 in the box.
    maps
        Target maps ``[N, 64, 64]``, 0..1.
    titles
        One for each, e.g. what was done to it.
    privacy
        As in `nbpkg.plots.gaze_overlay.veil_people`.
    """
    boxes = [_bounds(np.asarray(head)) for head in np.asarray(heads)]
    figure, axes = style.panels(2, max(1, len(pictures)), width=1.9, height=1.95, share=False)
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
        axis.spines[:].set_visible(False)
    for column, (picture, box, target) in enumerate(zip(pictures, boxes, np.asarray(maps), strict=True)):
        shown = veil_people(picture, [box], privacy=privacy)
        axes[0, column].imshow(shown)
        axes[1, column].imshow(lay_heat(shown, target))
        for axis in axes[:, column]:
            draw_box(axis, box, colour=TRUTH)
        if titles:
            axes[0, column].set_title(titles[column], fontsize=8)
        if not target.any():
            axes[1, column].text(0.5, 0.06, "empty: target outside", transform=axes[1, column].transAxes, ha="center",
                                 fontsize=8, color="white")  # fmt: skip
    axes[0, 0].set_ylabel("scene and head box", fontsize=8)
    axes[1, 0].set_ylabel("map to be learnt", fontsize=8)
    colours = colormaps["inferno"]
    handle = Patch(fc=colours(0.7), label=f"target map (n = {len(pictures)} samples)")
    figure.legend(handles=[handle], loc="outside upper center", frameon=False, fontsize=8)
    return figure


def _bounds(head: NDArray[Any]) -> tuple[float, float, float, float]:
    """Return the box around all cells above 0; NaN for none."""
    rows, columns = np.flatnonzero((head > 0).any(axis=1)), np.flatnonzero((head > 0).any(axis=0))
    if not len(rows):
        return (np.nan,) * 4
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)
