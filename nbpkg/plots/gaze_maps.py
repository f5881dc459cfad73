"""Figures of single predictions: maps over frames beside what people marked, and one track over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import ArrayLike, NDArray

from nbpkg.errors import TableError
from nbpkg.plots import style
from nbpkg.plots.evaluation import each_row
from nbpkg.plots.gaze import BOX, TRUTH
from nbpkg.plots.gaze_overlay import HALO, draw_arrow, draw_box, lay_heat, veil_people
from nbpkg.plots.overlay import HEAT

Frames = Sequence[NDArray[np.uint8]]
MODEL = style.SKY  # lighter than style.MODEL: it lies on dark frames


def examples(
    rows: pd.DataFrame,
    frames: Frames,
    maps: ArrayLike,
    *,
    marked: pd.DataFrame | None = None,
    strongest: float = 1.0,
    privacy: str = "pixelated",
) -> Figure:
    """Draw frames beside the maps predicted for them, with head box, predicted peak and what annotators marked.

    Parameters
    ----------
    rows
        Rows of table ``gaze_scores`` with the head boxes (``x0`` … ``y1``, pixels) beside them.
    frames
        The RGB frame of each row, uint8 ``[H, W, 3]``.
    maps
        Predicted maps ``[N, h, w]``.
    marked
        Rows of table ``gaze`` of these frames, all annotators; None to draw no truth.
    strongest
        Value of the maps drawn as the strongest heat.
    privacy
        As in `nbpkg.plots.gaze_overlay.veil_people`.
    """
    if not len(rows):
        return style.blank("predictions")
    tallest = max(frame.shape[0] / frame.shape[1] for frame in frames)
    wide = min(len(rows), 4)
    figure, axes = style.panels(2 * -(-len(rows) // wide), wide, width=2.5, height=2.5 * tallest + 0.22, share=False)
    for axis in axes.flat:
        axis.set_axis_off()
    parts = zip(each_row(rows), frames, np.asarray(maps, np.float32), strict=True)
    for number, (one, frame, heat) in enumerate(parts):
        row, column = 2 * (number // wide), number % wide
        points = _marked(marked, one)
        _draw_pair((axes[row, column], axes[row + 1, column]), one, frame, heat=np.clip(heat / strongest, 0, 1),
                   points=points, privacy=privacy)  # fmt: skip
        axes[row, column].set_title(_say(one, len(points)), fontsize=7.5, color=style.INK)
    _explain(figure, len(rows), truth=marked is not None)
    bar = figure.colorbar(ScalarMappable(Normalize(0, strongest), HEAT), ax=axes, shrink=0.5, aspect=25, pad=0.02)
    bar.set_label("predicted map", fontsize=8)
    return figure


def _draw_pair(
    axes: tuple[Axes, Axes], one: Any, frame: NDArray[np.uint8], *, heat: ArrayLike, points: list[Any], privacy: str
) -> None:
    box = [getattr(one, name) for name in BOX]
    shown = veil_people(frame, [box], privacy=privacy)
    axes[0].imshow(shown, interpolation="antialiased")
    axes[1].imshow(lay_heat(shown, heat), interpolation="antialiased")
    looks_in = not one.score < 0.5
    for axis in axes:
        draw_box(axis, box, colour=MODEL)
        axis.set_xlim(-0.5, frame.shape[1] - 0.5)
        axis.set_ylim(frame.shape[0] - 0.5, -0.5)
        for point in points:
            axis.plot(*point, "D", ms=5, mew=1.5, mfc="none", mec=TRUTH, path_effects=HALO)
    if looks_in:
        draw_arrow(axes[0], box, _peak(one, frame), colour=MODEL)


def best_and_worst(
    rows: pd.DataFrame,
    frames: Frames,
    *,
    marked: pd.DataFrame | None = None,
    measure: str = "distance",
    privacy: str = "pixelated",
) -> Figure:
    """Draw the frames with the smallest errors above those with the largest.

    Parameters
    ----------
    rows, frames, marked, privacy
        As in `examples`; with a column ``place``, ``best`` or ``worst``.
    measure
        Column written below each frame.
    """
    kinds = [kind for kind in ("best", "worst") if (rows["place"] == kind).any()] if len(rows) else []
    if not kinds:
        return style.blank("predictions")
    wide = max(int((rows["place"] == kind).sum()) for kind in kinds)
    tallest = max(frame.shape[0] / frame.shape[1] for frame in frames)
    figure, axes = style.panels(len(kinds), wide, width=2.2, height=2.2 * tallest + 0.5, share=False)
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
        axis.spines[:].set_visible(False)
    seen = dict.fromkeys(kinds, 0)
    for one, frame in zip(each_row(rows), frames, strict=True):
        axis = axes[kinds.index(one.place), seen[one.place]]
        seen[one.place] += 1
        box = [getattr(one, name) for name in BOX]
        axis.imshow(veil_people(frame, [box], privacy=privacy), interpolation="antialiased")
        draw_box(axis, box, colour=MODEL)
        draw_arrow(axis, box, _peak(one, frame), colour=MODEL)
        for point in _marked(marked, one):
            axis.plot(*point, "D", ms=5, mew=1.5, mfc="none", mec=TRUTH, path_effects=HALO)
        axis.set_xlim(-0.5, frame.shape[1] - 0.5)
        axis.set_ylim(frame.shape[0] - 0.5, -0.5)
        axis.set_title(f"{one.session} · {one.person}\nframe {one.frame}", fontsize=7.5)
        axis.set_xlabel(f"{measure} {getattr(one, measure):.3f}", fontsize=8)
    for row, kind in enumerate(kinds):
        axes[row, 0].set_ylabel(f"{kind} (n = {seen[kind]})", fontsize=9)
    _explain(figure, len(rows), truth=marked is not None)
    return figure


def inside_over_time(rows: pd.DataFrame, marked: pd.DataFrame, *, threshold: float = 0.5) -> Figure:
    """Draw the probability that the target is inside along one track, above what each annotator marked.

    Parameters
    ----------
    rows
        One row per frame of one person: ``session``, ``person``, ``frame``, ``score``.
    marked
        Rows of table ``gaze`` of that person.
    threshold
        From this probability on the target counts as inside.
    """
    if rows[["session", "person"]].drop_duplicates().shape[0] > 1:
        raise TableError("A track over time is of one person of one session.", remedy="Choose its rows first.")
    if rows.empty:
        return style.blank("frames of the track")
    raters = sorted(set(marked["rater"]))
    own = rows.sort_values("frame")
    figure, axes = style.panels(2, 1, width=9, height=1.3, share=False)
    upper, lower = axes[:, 0]
    frame, score = own["frame"].to_numpy(np.float64), own["score"].to_numpy(np.float64)
    cuts = np.flatnonzero(np.diff(frame) > 1) + 1  # a gap is not drawn as if it had been looked at
    upper.plot(np.insert(frame, cuts, np.nan), np.insert(score, cuts, np.nan), color=style.MODEL, lw=1.4)
    upper.axhline(threshold, color=style.GREY, ls="--", lw=1)
    upper.text(1.005, threshold, "threshold", transform=upper.get_yaxis_transform(), va="center", fontsize=7)
    upper.set_ylim(-0.03, 1.03)
    upper.set_ylabel("probability\nof inside", fontsize=8)
    first = own.iloc[0]
    upper.set_title(f"{first['session']} · {first['person']} (n = {len(own)} frames)", fontsize=9, loc="left")
    for row, rater in enumerate(raters):
        part = marked[marked["rater"] == rater]
        for state, colour in ((1, style.HUMAN), (0, style.INK), (-1, style.PALE)):
            at = part.loc[part["inside"] == state, "frame"].to_numpy(np.float64)
            lower.broken_barh([(value - 0.5, 1.0) for value in at], (row - 0.36, 0.72), color=colour, lw=0)
    lower.set_yticks(range(len(raters)), raters)
    lower.set_ylim(len(raters) - 0.5, -0.5)
    lower.set_xlabel("frame")
    lower.set_ylabel("annotator", fontsize=8)
    lower.sharex(upper)
    upper.set_xlim(frame.min() - 0.5, frame.max() + 0.5)
    marks = [Line2D([], [], color=style.MODEL, label="model"), Patch(color=style.HUMAN, label="marked inside"),
             Patch(color=style.INK, label="marked outside")]  # fmt: skip
    figure.legend(handles=marks, loc="outside upper right", ncols=3, frameon=False, fontsize=8)
    return figure


def _marked(marked: pd.DataFrame | None, one: Any) -> list[tuple[float, float]]:
    """Return the points that annotators gave for the frame and person of a row."""
    if marked is None:
        return []
    same = (marked["session"] == one.session) & (marked["person"] == one.person) & (marked["frame"] == one.frame)
    own = marked[same & (marked["inside"] == 1)]
    return [
        (float(x), float(y)) for x, y in zip(own["gaze_x"], own["gaze_y"], strict=True) if np.isfinite([x, y]).all()
    ]


def _peak(one: Any, frame: NDArray[np.uint8]) -> tuple[float, float]:
    """Return the predicted point, a fraction in the table, in pixels of the frame."""
    return one.peak_x * frame.shape[1], one.peak_y * frame.shape[0]


def _say(one: Any, marks: int) -> str:
    facts = [f"{name} {value:.2f}" for name, value in (("d", one.distance), ("AUC", one.auc)) if value == value]
    facts += [] if one.score != one.score else [f"inside {one.score:.2f}"]
    facts += [f"{marks} mark{'s' * (marks != 1)}"] if marks else []
    return f"{one.session} · {one.person} · frame {one.frame}\n{', '.join(facts)}"


def _explain(figure: Figure, count: int, *, truth: bool) -> None:
    marks: list[Any] = [Line2D([], [], color=MODEL, lw=1.6, label=f"head box and predicted gaze (n = {count})")]
    if truth:
        marks.append(Line2D([], [], ls="", marker="D", mfc="none", mec=TRUTH, mew=1.5, label="marked by an annotator"))
    figure.legend(handles=marks, loc="outside upper center", ncols=2, frameon=False, fontsize=8)
