"""Figures of crops of faces: some of them with what is known of them, and how sharp they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from nbpkg.plots import style
from nbpkg.plots.frames import veil, veil_crops

_AXES = (style.RED, style.GREEN, style.BLUE)
_AXIS_NAMES = ("to the face's side", "down", "forward")
_ARROW = 0.35  # length of an axis of the head, crop sides
_SEEN = 0.5  # visibility from which a point is drawn filled

Read = Callable[[Sequence[int]], NDArray[np.uint8]]


def crop_sheet(
    tracks: pd.DataFrame,
    priors: NDArray[np.void],
    *,
    read: Read,
    columns: int = 8,
    privacy: str = "pixelated",
    labels: NDArray[np.integer] | None = None,
) -> Figure:
    """Draw crops of some tracks, a row for each, with the axes of the head and five points where they are known.

    Parameters
    ----------
    tracks
        Rows of table ``tracks`` to draw.
    priors
        Of all faces (artefact ``priors``).
    read
        Reads crops by row of ``faces.npy``, uint8 ``[n, S, S, 3]``.
    columns
        Crops of a track, spread over it.
    privacy
        See `nbpkg.plots.frames.veil`.
    labels
        Of all faces, 1 looking, 0 not, -1 unknown; a frame around the crop says which. None draws none.

    Returns
    -------
    Figure
        Below, how many of the crops drawn have no head pose and no points.
    """
    if not len(tracks):
        return style.blank("tracks")
    figure, axes = style.panels(len(tracks), columns, width=1.15, height=1.45, share=False)
    for axis in axes.flat:
        axis.set_axis_off()
        axis.set_box_aspect(1)
    drawn: list[int] = []
    for row_axes, own in zip(axes, tracks.to_dict("records"), strict=True):
        rows = int(own["offset"]) + np.flatnonzero(priors["crop"][int(own["offset"]) :][: int(own["rows"])])
        title = f"{own['session']} · {own['track']}\n{len(rows)} of {own['rows']} faces have a crop"
        head = row_axes[0].text(
            0, 1.06, title, transform=row_axes[0].transAxes, fontsize=7, color=style.INK, va="bottom"
        )
        head.set_in_layout(False)  # it may reach over its neighbours, which must not move for it
        row_axes[0].set_title(" \n ", fontsize=7)  # keeps its place free
        if not len(rows):
            continue
        chosen = rows[np.unique(np.linspace(0, len(rows) - 1, columns).round().astype(int))]
        drawn.extend(chosen.tolist())
        for axis, row, crop in zip(row_axes, chosen.tolist(), read(chosen.tolist()), strict=False):
            _draw_crop(axis, veil(crop, privacy=veil_crops(privacy)), priors[row])
            if labels is not None and labels[row] >= 0:
                _frame(axis, looking=bool(labels[row] == 1))
    _explain(figure, priors[drawn], labels=labels is not None)
    return figure


def sharpness_figure(priors: NDArray[np.void], p: NDArray[np.floating], *, margin: float = 0.2) -> Figure:
    """Draw how sharp crops are, and the share that is expected to be less sharp.

    Parameters
    ----------
    priors
        Of all faces.
    p
        That share for each face, ``[faces]``; NaN where nothing is known.
    margin
        Below it a face is left out of windows when temporal dropout is on and nothing is trained.
    """
    known = priors["crop"] & np.isfinite(priors["sharpness"])
    if not known.any():
        return style.blank("sharpness")
    figure, (pair,) = style.panels(1, 2, width=3.6, height=2.6, share=False)
    sharpness = np.maximum(priors["sharpness"][known], 1e-2)
    edges = np.geomspace(sharpness.min(), sharpness.max() * 1.001, 40)
    pair[0].hist(sharpness, bins=edges, color=style.SKY)
    pair[0].set_xscale("log")
    pair[0].set_xlabel("sharpness (variance of the Laplacian, grey levels²)")
    pair[0].set_ylabel("crops")
    _draw_share(pair[0], priors["sharpness"], p)
    style.note(pair[0], f"n = {int(known.sum())} of {int(priors['crop'].sum())} crops", corner="upper left")
    rated = p[np.isfinite(p)]
    pair[1].hist(rated, bins=np.linspace(0, 1, 41), color=style.SKY)
    pair[1].axvline(margin, color=style.RED, linewidth=1)
    pair[1].set_xlabel("p, share expected to be less sharp")
    pair[1].set_ylabel("crops")
    below = float((rated < margin).mean()) if len(rated) else 0.0
    style.note(pair[1], f"n = {len(rated)}\n{below:.0%} below {margin:g}", corner="upper right")
    return figure


def missing_figure(missing: pd.DataFrame) -> Figure:
    """Draw the share of crops of which nothing is known, for each part and prior.

    Parameters
    ----------
    missing
        Columns ``part``, ``prior``, ``crops``, ``missing``.
    """
    if not len(missing):
        return style.blank("priors")
    figure, ((axis,),) = style.panels(1, 1, width=4.6, height=0.8 + 0.28 * len(missing))
    place = np.arange(len(missing))[::-1]
    share = missing["missing"].to_numpy() / np.maximum(missing["crops"].to_numpy(), 1)
    axis.barh(place, 100 * share, color=style.ORANGE, height=0.7)
    names = missing["part"].astype(str) + " · " + missing["prior"].astype(str)
    axis.set_yticks(place, names.tolist())
    axis.set_xlim(0, 128)  # room for the counts
    axis.set_xticks([0, 25, 50, 75, 100])
    axis.set_xlabel("crops of which it is not known, %")
    for height, own in zip(place.tolist(), missing.to_dict("records"), strict=True):
        end = 100 * float(own["missing"]) / max(1, int(own["crops"]))
        axis.text(end + 1, height, f"{own['missing']} of {own['crops']}", va="center", fontsize=7, color=style.INK)
    return figure


def head_axes(yaw: float, pitch: float, roll: float) -> NDArray[np.float64]:
    """Return where the three axes of a head point in the picture.

    Parameters
    ----------
    yaw, pitch, roll
        Degrees, as Hopenet gives them.

    Returns
    -------
    ndarray
        ``[3, 2]``: x (right) and y (down) of the axis to the face's side, of the one down, and of the one forward, each
        of length 1 in space.

    Source: Ruiz et al., 2018, their way of drawing.

    Examples
    --------
    >>> (head_axes(0, 0, 0) + 0.0).round(6).tolist()
    [[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]
    """
    y, x, z = np.radians([-yaw, pitch, roll])
    return np.array(
        [
            [np.cos(y) * np.cos(z), np.cos(x) * np.sin(z) + np.cos(z) * np.sin(x) * np.sin(y)],
            [-np.cos(y) * np.sin(z), np.cos(x) * np.cos(z) - np.sin(x) * np.sin(y) * np.sin(z)],
            [np.sin(y), -np.cos(y) * np.sin(x)],
        ]
    )


def _draw_crop(axis: Axes, crop: NDArray[np.uint8], prior: np.void) -> None:
    side = crop.shape[0]
    axis.imshow(crop, interpolation="antialiased", extent=(0, side, side, 0))
    axis.set_xlim(0, side)
    axis.set_ylim(side, 0)
    if np.isfinite(prior["yaw"]):
        ends = head_axes(float(prior["yaw"]), float(prior["pitch"]), float(prior["roll"])) * _ARROW * side
        for colour, (x, y) in zip(_AXES, ends, strict=True):
            axis.plot([side / 2, side / 2 + x], [side / 2, side / 2 + y], color="white", linewidth=2.6)
            axis.plot([side / 2, side / 2 + x], [side / 2, side / 2 + y], color=colour, linewidth=1.5)
    points = cast(NDArray[np.floating], prior["points"])
    for x, y, _, visibility in points[np.isfinite(points[:, 0])]:
        face = style.ORANGE if visibility >= _SEEN else "none"
        axis.plot(x * side, y * side, "o", markersize=3.2, color=style.ORANGE, markerfacecolor=face)


def _frame(axis: Axes, *, looking: bool) -> None:
    side = max(axis.get_xlim())
    colour = style.ORANGE if looking else style.GREY
    axis.plot([0, side, side, 0, 0], [0, 0, side, side, 0], color=colour, linewidth=3.5 if looking else 1.5)


def _explain(figure: Figure, drawn: NDArray[np.void], *, labels: bool) -> None:
    handles: list[Line2D] = []
    names: list[str] = []
    if len(drawn) and np.isfinite(drawn["yaw"]).any():
        handles.extend(Line2D([], [], color=colour, linewidth=1.5) for colour in _AXES)
        names.extend(f"head: {name}" for name in _AXIS_NAMES)
    if len(drawn) and np.isfinite(drawn["points"][:, 0, 0]).any():
        for face, name in ((style.ORANGE, "point"), ("none", f"point, visibility below {_SEEN}")):
            handles.append(
                Line2D([], [], color=style.ORANGE, marker="o", markersize=4, markerfacecolor=face, linestyle="")
            )
            names.append(name)
    if labels:
        handles.extend([Line2D([], [], color=style.ORANGE, linewidth=3.5), Line2D([], [], color=style.GREY)])
        names.extend(["looking", "not looking"])
    if handles:
        figure.legend(handles, names, loc="outside upper center", ncols=4, frameon=False, fontsize=8)
    poses, points = (int(np.isnan(values).sum()) for values in (drawn["yaw"], drawn["points"][:, 0, 0]))
    text = f"of {len(drawn)} crops drawn, {poses} have no head pose and {points} no points"
    figure.supxlabel(text, fontsize=8, color=style.INK)


def _draw_share(axis: Axes, sharpness: NDArray[np.floating], p: NDArray[np.floating]) -> None:
    both = np.isfinite(sharpness) & np.isfinite(p)
    if not both.any():
        return
    order = np.argsort(sharpness[both])
    other = axis.twinx()
    other.plot(np.maximum(sharpness[both][order], 1e-2), p[both][order], ".", markersize=1.5, color=style.BLUE)
    other.set_ylim(0, 1)
    other.set_ylabel("p", color=style.BLUE)
    other.tick_params(colors=style.BLUE, labelsize=8)
    other.spines[["top"]].set_visible(False)
