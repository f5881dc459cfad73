"""Figures of answers over time: truth and probability of each class, window by window or along a whole recording."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from nbpkg.errors import TableError
from nbpkg.plots import style
from nbpkg.plots.people_clips import class_colours, draw_key

Array = NDArray[np.float64]


def timeline(
    predictions: pd.DataFrame,
    recording: str,
    *,
    classes: Sequence[str],
    seconds: float | None = None,
    variants: Sequence[str] = ("full",),
) -> Figure:
    """Draw the class and the probability of each class in every window of a recording, system below system.

    Parameters
    ----------
    predictions
        Table ``people_predictions``; where a clip was answered several times, the mean probability is drawn.
    recording
        Which one.
    classes
        Names of the classes.
    seconds
        From one window to the next, seconds; None to number the windows.
    variants
        Which variants of each system.
    """
    own = predictions[(predictions["recording"] == recording) & predictions["variant"].isin(list(variants))]
    if own.empty:
        raise TableError(
            f"There are no answers for recording {recording!r}.",
            where="table 'people_predictions'",
            expected="A recording of the predictions, and a variant of it.",
        )
    rows = list(dict.fromkeys(zip(own["system"], own["variant"], strict=True)))
    step = seconds or 1.0
    figure, strip, lower = _layout(len(rows))
    truth = own.drop_duplicates("window").sort_values("window")
    starts = truth["window"].to_numpy(np.float64)
    _draw_strip(strip, starts * step, truth["truth"].to_numpy(np.int64), step, classes)
    for axis, (system, variant) in zip(lower, rows, strict=True):
        part = own[(own["system"] == system) & (own["variant"] == variant)]
        windows, shares = _average(part, classes)
        _draw_areas(axis, windows * step, shares, step, classes)
        label = system if len(variants) == 1 else f"{system}\n{variant}"
        axis.set_ylabel(f"{label}\n(probability)", fontsize=8)
    ends = (float(starts.min()) * step, float(starts.max() + 1) * step)
    _finish(figure, [strip, *lower], ends, "time (seconds)" if seconds else "window", classes)
    role = {"held_out": "left out", "inner": "inner", "test": "test", "train": "training"}[str(truth["role"].iloc[0])]
    strip.set_title(f"{recording} ({role}, n = {len(truth)} windows)", fontsize=9)
    return figure


def slide_timeline(
    answers: pd.DataFrame,
    session: str,
    *,
    classes: Sequence[str],
    labelled: pd.DataFrame | None = None,
) -> Figure:
    """Draw the probability of each class along a whole recording, with the labelled clips above.

    Parameters
    ----------
    answers
        session, frame, seconds (middle of the window) and p_<class>, from `nbpkg.training.people.answers.slide`.
    session
        Which one.
    classes
        Names of the classes.
    labelled
        start_s, end_s (seconds) and label (class index) of labelled clips; None for none.
    """
    own = answers[answers["session"] == session].sort_values("seconds")
    if own.empty:
        raise TableError(f"There are no answers for session {session!r}.", expected="A session of the answers.")
    middles = own["seconds"].to_numpy(np.float64)
    step = float(np.median(np.diff(middles))) if len(middles) > 1 else 1.0
    starts = middles - step / 2
    figure, strip, (axis,) = _layout(1)
    shares = own[[f"p_{name}" for name in classes]].to_numpy(np.float64)
    _draw_areas(axis, starts, shares, step, classes)
    axis.set_ylabel("probability", fontsize=8)
    begin, end = min(0.0, float(starts[0])), float(starts[-1]) + step
    known = labelled is not None and len(labelled) > 0
    if labelled is not None and known:
        lengths = (labelled["end_s"] - labelled["start_s"]).to_numpy(np.float64)
        _draw_strip(
            strip, labelled["start_s"].to_numpy(np.float64), labelled["label"].to_numpy(np.int64), lengths, classes
        )
        end = max(end, float(labelled["end_s"].max()))
    else:
        strip.text(0.5, 0.5, "no labelled clips", transform=strip.transAxes, ha="center", va="center", fontsize=8,
                   color=style.GREY)  # fmt: skip
    _finish(figure, [strip, axis], (begin, end), "time (seconds), each answer at the middle of its window", classes)
    strip.set_title(f"{session} (n = {len(own)} windows, one every {step:.2g} s)", fontsize=9)
    return figure


def _layout(rows: int) -> tuple[Figure, Axes, list[Axes]]:
    """Make a thin strip above `rows` panels with one time axis."""
    figure, axes = style.panels(rows + 1, 1, width=7.2, height=1.0, share=False)
    figure.set_size_inches(7.8, 1.3 + 1.35 * rows)
    axes[0, 0].get_gridspec().set_height_ratios([0.25] + [1.0] * rows)
    return figure, axes[0, 0], list(axes[1:, 0])


def _average(part: pd.DataFrame, classes: Sequence[str]) -> tuple[Array, Array]:
    """Return windows in order and the mean probabilities of all answers to each."""
    table = part.groupby("window", sort=True)[[f"p_{name}" for name in classes]].mean()
    return table.index.to_numpy(np.float64), table.to_numpy(np.float64)


def _draw_strip(
    axis: Axes, starts: Array, labels: NDArray[np.int64], widths: float | Array, classes: Sequence[str]
) -> None:
    colours = list(class_colours(classes).values())
    axis.bar(starts, 1.0, width=widths, align="edge", color=[colours[label] for label in labels], ec="white", lw=0.4)


def _draw_areas(axis: Axes, starts: Array, shares: Array, step: float, classes: Sequence[str]) -> None:
    """Stack the probabilities as bars, so that windows nobody answered stay empty."""
    bottom = np.zeros(len(starts))
    for place, colour in enumerate(class_colours(classes).values()):
        axis.bar(starts, shares[:, place], width=step, bottom=bottom, align="edge", color=colour, lw=0)
        bottom += shares[:, place]
    answered = shares.argmax(axis=1)
    colours = list(class_colours(classes).values())
    axis.bar(starts, 0.07, width=step, bottom=1.05, align="edge", color=[colours[place] for place in answered], lw=0)


def _finish(
    figure: Figure, axes: Sequence[Axes], ends: tuple[float, float], label: str, classes: Sequence[str]
) -> None:
    for axis in axes:
        axis.set_xlim(*ends)
        axis.set_ylim(0, 1)
    strip, lower = axes[0], axes[1:]
    strip.set_yticks([0.5], ["class"])
    strip.tick_params(axis="y", length=0)
    strip.spines[:].set_visible(False)
    strip.set_xticks([])
    for axis in lower:
        axis.set_ylim(0, 1.12)
        axis.set_yticks([0, 0.5, 1, 1.085], ["0", "0.5", "1", "answer"], fontsize=7)
        axis.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=label == "window"))
        if axis is not lower[-1]:
            axis.set_xticklabels([])
    lower[-1].set_xlabel(label)
    draw_key(figure, classes)
