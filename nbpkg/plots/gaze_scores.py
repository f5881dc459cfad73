"""Figures of gaze scores: beside what blind guesses, another human and published models reach, and where errors lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nbpkg.errors import TableError
from nbpkg.plots import style
from nbpkg.plots.evaluation import each_row, legend_of_all

UNITS = {
    "distance": "distance of predicted and true target (fractions of the frame)",
    "angle": "angle at the head between predicted and true target (degrees)",
    "auc": "AUC",
    "score": "probability of a target inside",
}
_KINDS = (
    ("prior", "answering without looking", style.CHANCE, "|"),
    ("human", "one annotator against another", style.HUMAN, "D"),
    ("published", "published, on its own data", style.PURPLE, "s"),
)


def scores(metrics: pd.DataFrame, *, references: pd.DataFrame | None = None, names: Sequence[str] = ()) -> Figure:
    """Draw the scores with their intervals, a panel for each metric, beside what others reach.

    Parameters
    ----------
    metrics
        Table ``metrics``: rows ``by == "all"`` are drawn, with chance, human ceiling and n.
    references
        More values to compare with: ``metric``, ``name``, ``kind`` (``prior``, ``human`` or ``published``) and
        ``value``, e.g. the training density, or the figures of a paper.
    names
        Which metrics, in order; none for all.
    """
    main = metrics[metrics["by"] == "all"]
    wanted = list(names) or list(dict.fromkeys(main["metric"]))
    if main.empty or not set(wanted) <= set(main["metric"]):
        raise TableError(f"Table 'metrics' lacks some of {wanted}.", expected=f"Of {sorted(set(main['metric']))}.")
    others = pd.DataFrame(columns=["metric", "name", "kind", "value"]) if references is None else references
    strange = sorted(set(others["kind"]) - {kind for kind, *_ in _KINDS})
    if strange:
        raise TableError(f"References of kind {strange[0]!r} are unknown.", expected="prior, human or published.")
    most = max(
        len(main[main["metric"] == name]) + len(others[others["metric"] == name].drop_duplicates("name"))
        for name in wanted
    )
    figure, axes = style.panels(1, len(wanted), width=3.6, height=0.3 * most + 1.0, share=False)
    for axis, name in zip(axes[0], wanted, strict=True):
        _draw_metric(axis, main[main["metric"] == name], others[others["metric"] == name])
    figure.supxlabel("bars: 95 % interval (n frames, groups)", fontsize=9, color=style.INK)
    legend_of_all(figure, list(axes.flat))
    return figure


def _draw_metric(axis: Axes, rows: pd.DataFrame, others: pd.DataFrame) -> None:
    labels: list[str] = []
    for one in each_row(rows):
        row = len(labels)
        axis.plot([one.low, one.high], [row, row], color=style.MODEL, lw=2.4, alpha=0.6)
        axis.plot([one.value], [row], "o", ms=6.5, color=style.MODEL, label="this model")
        _mark(axis, "prior", one.chance, row)
        _mark(axis, "human", one.ceiling, row)
        why = "" if one.value == one.value else f"\nundefined: {one.reason}"
        labels.append(f"{one.task} · {one.variable}\n({one.n}, {one.n_groups}){why}")
    for one in each_row(others.drop_duplicates("name")):
        _mark(axis, one.kind, one.value, len(labels))
        labels.append(str(one.name))
    if len(rows) < len(labels):
        axis.axhline(len(rows) - 0.5, color=style.PALE, lw=1)
    axis.set_yticks(range(len(labels)), labels, fontsize=7.5)
    axis.set_ylim(len(labels) - 0.5, -0.6)
    known = [*rows[["value", "low", "high", "chance", "ceiling"]].to_numpy(np.float64).ravel(), *others["value"]]
    finite = [value for value in known if np.isfinite(value)]
    higher = rows["direction"].iloc[0] == "higher"
    low = min([0.5, *(value - 0.03 for value in finite)]) if higher else 0.0
    axis.set_xlim(low, 1.02 if higher else 1.15 * max(finite, default=1.0))
    axis.grid(axis="x", color=style.PALE, lw=0.6)
    axis.set_axisbelow(True)
    axis.set_title(f"{_name(rows['metric'].iloc[0])} ({'higher' if higher else 'lower'} is better)", fontsize=9)


def _mark(axis: Axes, kind: str, value: float, row: int) -> None:
    _, label, colour, mark = next(one for one in _KINDS if one[0] == kind)
    if np.isfinite(value):
        face = "none" if kind == "human" else colour
        size, edge = (12, 2.0) if mark == "|" else (6, 1.5)
        axis.plot([value], [row], mark, ms=size, mew=edge, color=colour, mfc=face, label=label)


def error_distributions(
    errors: Mapping[str, pd.DataFrame], *, measures: Sequence[str] = ("distance", "angle")
) -> Figure:
    """Draw for each answerer the share of frames with at most that error.

    Parameters
    ----------
    errors
        Name of who answered (the model first, then e.g. ``training mean point`` and ``other annotator``) to rows of
        table ``gaze_scores``.
    measures
        Columns to draw, a panel each.
    """
    figure, axes = style.panels(1, len(measures), width=3.9, height=2.7, share=False)
    for axis, measure in zip(axes[0], measures, strict=True):
        for place, (name, rows) in enumerate(errors.items()):
            values = np.sort(rows[measure].dropna().to_numpy(np.float64))
            if not len(values):
                continue
            share = np.arange(1, len(values) + 1) / len(values)
            look: dict[str, Any] = (
                {"ls": "-", "lw": 2} if place == 0 else {"ls": ("--", "-.", ":")[place % 3], "lw": 1.5}
            )
            colour = (style.MODEL, style.GREY, style.HUMAN, style.GREEN, style.PURPLE)[place % 5]
            axis.step(values, share, where="post", color=colour, label=name, **look)
            axis.plot([np.median(values)], [0.5], "o", ms=5, color=colour)
        axis.set_xlabel(UNITS[measure], fontsize=7.5)
        axis.set_ylim(0, 1.01)
        axis.set_xlim(left=0)
        axis.grid(color=style.PALE, lw=0.6)
        counts = "\n".join(f"n = {rows[measure].notna().sum()} ({name})" for name, rows in errors.items())
        style.note(axis, f"{counts}\ndots: medians")
    axes[0, 0].set_ylabel("share of frames with at most this error")
    legend_of_all(figure, list(axes.flat))
    return figure


def inside_precision(curves: pd.DataFrame) -> Figure:
    """Draw precision against recall of 'the target is inside'; the dashed line is the share of such frames.

    Parameters
    ----------
    curves
        ``name`` (a panel each), ``recall`` (ascending), ``precision``, and the same in all rows of a curve:
        ``average_precision``, ``positive`` (share of frames with the target inside) and ``n``.
    """
    if curves.empty:
        return style.blank("frames with targets both inside and outside")
    names = list(dict.fromkeys(curves["name"]))
    figure, axes = style.panels(1, len(names), width=2.7, height=2.5)
    for name, axis in zip(names, axes[0], strict=True):
        own = curves[curves["name"] == name]
        first = own.iloc[0]
        axis.axhline(first["positive"], color=style.CHANCE, ls="--", lw=1, label="always 'inside'")
        reached = own[own["recall"] > 0]
        recall, precision = [0.0, *reached["recall"]], [reached["precision"].iloc[0], *reached["precision"]]
        axis.step(recall, precision, where="pre", color=style.MODEL, lw=1.6, label="model")
        axis.set_xlim(-0.02, 1.02)
        axis.set_ylim(-0.02, 1.04)
        axis.set_title(str(name), fontsize=9)
        style.note(axis, f"average precision {first['average_precision']:.3f}\nn = {first['n']}", corner="lower left")
    style.outer_labels(figure, "recall", "precision")
    legend_of_all(figure, list(axes.flat))
    return figure


def error_by(
    rows: pd.DataFrame, *, by: str = "participant", measure: str = "distance", chance: float = float("nan")
) -> Figure:
    """Draw the errors of every participant or data set: the middle half, the median, and n.

    Parameters
    ----------
    rows
        Table ``gaze_scores``.
    by
        Column that names the groups, e.g. ``participant``, ``dataset`` or ``session``.
    measure
        ``distance``, ``angle`` or ``auc``.
    chance
        What answering without looking scores.
    """
    known = rows.dropna(subset=[measure])
    if known.empty:
        return style.blank("errors")
    names = sorted(set(known[by]))
    figure, axes = style.panels(1, 1, width=5.6, height=0.3 * len(names) + 0.9)
    axis = axes[0, 0]
    if np.isfinite(chance):
        axis.axvline(chance, color=style.CHANCE, ls="--", lw=1, label="answering without looking, on average")
    parts = [known.loc[known[by] == name, measure].to_numpy(np.float64) for name in names]
    axis.boxplot(
        parts, positions=range(len(names)), orientation="horizontal", widths=0.55, whis=(5, 95), showfliers=False,
        patch_artist=True, boxprops={"fc": style.SKY, "ec": style.MODEL}, medianprops={"color": style.INK, "lw": 2},
        whiskerprops={"color": style.MODEL}, capprops={"color": style.MODEL}, manage_ticks=False,
    )  # fmt: skip
    for row, part in enumerate(parts):
        axis.plot([part.mean()], [row], "D", ms=4.5, color=style.INK, mfc="white", label="mean")
        axis.text(1.01, row, f"n = {len(part)}", transform=axis.get_yaxis_transform(), va="center", fontsize=7)
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.5, -0.5)
    if measure == "auc":
        axis.set_xlim(right=1.01)
    else:
        axis.set_xlim(left=0)
    axis.grid(axis="x", color=style.PALE, lw=0.6)
    axis.set_axisbelow(True)
    axis.set_xlabel(f"{UNITS[measure]}\nbox: middle half, line: median, whiskers: 5 to 95 %", fontsize=8)
    axis.set_ylabel(by)
    style.legend(figure, axis)
    return figure


def error_by_head_size(rows: pd.DataFrame, *, measure: str = "distance", bins: int = 8) -> Figure:
    """Draw the error against the size of the head: small heads carry few pixels of the eyes.

    Parameters
    ----------
    rows
        Table ``gaze_scores`` with ``head_size`` beside it: height of the head box, fraction of the frame's height.
    measure
        ``distance`` or ``angle``.
    bins
        Groups of equally many frames whose medians are drawn.
    """
    known = rows.dropna(subset=[measure, "head_size"])
    if known.empty:
        return style.blank("errors")
    figure, axes = style.panels(1, 1, width=5.2, height=2.8)
    axis = axes[0, 0]
    size, error = known["head_size"].to_numpy(np.float64), known[measure].to_numpy(np.float64)
    if len(known) > 3000:
        dots = axis.hexbin(size, error, gridsize=45, cmap=style.HEAT, mincnt=1, bins="log")
        figure.colorbar(dots, ax=axis, label="frames")
    else:
        axis.plot(size, error, ".", ms=3, color=style.SKY, alpha=0.5, label="frame")
    order = np.argsort(size, kind="stable")
    groups = [group for group in np.array_split(order, bins) if len(group)]
    middle = [float(np.median(size[group])) for group in groups]
    axis.plot(
        middle, [float(np.median(error[group])) for group in groups], "o-", ms=5, color=style.RED, mec="white",
        label=f"median of {len(groups)} groups of equal n",
    )  # fmt: skip
    axis.set_xlabel("height of the head box (fraction of the frame's height)")
    axis.set_ylabel(UNITS[measure].split(" (")[0], fontsize=8)
    axis.set_ylim(bottom=0)
    style.note(axis, f"n = {len(known)} frames", corner="upper right")
    style.legend(figure, axis)
    return figure


def _name(metric: str) -> str:
    return metric.replace("_", " ").replace("auc", "AUC")
