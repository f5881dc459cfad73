"""Figures of the results, always beside what answering blindly and what another human would have scored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from nbpkg.errors import TableError
from nbpkg.plots import style


def scores(metrics: pd.DataFrame, *, metric: str = "balanced_accuracy") -> Figure:
    """Draw one metric for every task and variable, with interval, chance, human ceiling and n.

    Filled marks score against every rater's label, open ones against the majority label of each clip.

    Parameters
    ----------
    metrics
        Table ``metrics``.
    metric
        Its name in the table.
    """
    table = pick_metric(metrics, metric)
    main = table[table["by"] == "all"].sort_values(["task", "variable"])
    majority = table[table["by"] == "majority"].set_index(["task", "variable"])
    figure, axes = style.panels(1, 1, width=6.6, height=0.5 * len(main) + 0.7)
    axis = axes[0, 0]
    for row, one in enumerate(each_row(main)):
        if one.chance == one.chance:
            ends = [row - 0.38, row + 0.38]
            axis.plot([one.chance] * 2, ends, color=style.CHANCE, lw=2, label="answering without looking")
        _draw_score(axis, one, row - 0.13, is_open=False)
        notes = [f"n = {one.n} labels, {one.n_groups} sessions"]
        notes += [f"undefined: {one.reason}"] if one.value != one.value else []
        if (one.task, one.variable) in majority.index:
            other = majority.loc[(one.task, one.variable)]
            _draw_score(axis, other, row + 0.17, is_open=True)
            notes.append(f"n = {other['n']} clips with a majority")
        text = "\n".join(notes)
        axis.text(1.01, row, text, transform=axis.get_yaxis_transform(), va="center", fontsize=7, color=style.INK)
    axis.set_yticks(range(len(main)), [f"{one.task} · {one.variable}" for one in main.itertuples()])
    axis.set_ylim(len(main) - 0.5, -0.5)
    axis.set_xlim(0, 1.02)
    axis.grid(axis="x", color=style.PALE, lw=0.6)
    axis.set_axisbelow(True)
    axis.set_xlabel(f"{name_metric(main)}; bars: 95 % over sessions")
    style.legend(figure, axis, columns=3)
    return figure


def pick_metric(metrics: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return the rows of one metric.

    Raises
    ------
    TableError
        When there is none.
    """
    table = metrics[metrics["metric"] == metric]
    if table.empty:
        raise TableError(
            f"Table 'metrics' has no {metric!r}.", expected=f"One of {', '.join(sorted(set(metrics['metric'])))}."
        )
    return table


def each_row(table: pd.DataFrame) -> Iterator[Any]:
    """Go through the rows of a table, columns as attributes (pandas declares their values too narrowly)."""
    yield from table.itertuples()


def name_metric(rows: pd.DataFrame) -> str:
    """Return the name of the metric of some rows of table ``metrics``, and which way is better."""
    better = "higher is better" if rows["direction"].iloc[0] == "higher" else "lower is better"
    return f"{str(rows['metric'].iloc[0]).replace('_', ' ')} ({better})"


def legend_of_all(figure: Figure, axes: Sequence[Axes]) -> None:
    """Put one legend of everything that occurs in any panel above them; a panel may lack what another has."""
    named: dict[str, Any] = {}
    for axis in axes:
        handles, labels = axis.get_legend_handles_labels()
        named |= {label: handle for label, handle in zip(labels, handles, strict=True) if label not in named}
    if named:
        figure.legend(named.values(), named.keys(), loc="outside upper center", ncols=3, frameon=False, fontsize=8)


def _draw_score(axis: Axes, one: Any, y: float, *, is_open: bool) -> None:
    """Draw a model's score with interval, and the human ceiling."""
    if one.ceiling == one.ceiling:
        human = "rater against majority of the others" if is_open else "one rater against another"
        fill = "none" if is_open else None
        axis.plot([one.ceiling], [y], "D", ms=5, mew=1.4, color=style.HUMAN, mfc=fill, label=human)
    model = "model, majority labels" if is_open else "model, every rater's labels"
    axis.plot([one.low, one.high], [y, y], color=style.MODEL, lw=1.2 if is_open else 2.2, alpha=0.6)
    fill = "white" if is_open else style.MODEL
    axis.plot([one.value], [y], "o", ms=5 if is_open else 6, mew=1.4, color=style.MODEL, mfc=fill, label=model)


def confusions(counts: pd.DataFrame) -> Figure:
    """Draw confusion matrices: share of each label in colour, number of samples in writing.

    Parameters
    ----------
    counts
        From `nbpkg.metrics.curves.count_confusions`.
    """
    figure, found = style.by_task(counts, width=2.2, height=2.1)
    colours, norm = colormaps[style.HEAT], Normalize(0, 1)
    for task, variable, axis in found:
        own = counts[(counts["task"] == task) & (counts["variable"] == variable)]
        matrix = own.pivot_table(index="label", columns="predicted", values="share", dropna=False)
        axis.imshow(matrix, cmap=colours, norm=norm)
        for label, predicted, n, share in own[["label", "predicted", "n", "share"]].to_numpy(float):
            ink = "black" if share > 0.6 else "white"
            axis.text(predicted, label, f"{n:.0f}", ha="center", va="center", color=ink, fontsize=9)
        axis.set_xticks(range(len(matrix)))
        axis.set_yticks(range(len(matrix)))
        axis.set_title(f"{task} · {variable}\nn = {own['n'].sum()}", fontsize=9)
    style.outer_labels(figure, "predicted class", "label")
    figure.colorbar(ScalarMappable(norm, colours), ax=figure.axes, label="share of the label's samples", shrink=0.7)
    return figure


def score_by_session(sessions: pd.DataFrame, *, metric: str = "balanced_accuracy", chance: float = 0.5) -> Figure:
    """Draw the score of every session; a cross at chance where it is undefined because a class is missing.

    Parameters
    ----------
    sessions
        From `nbpkg.metrics.curves.score_sessions`.
    metric
        ``balanced_accuracy`` or ``accuracy``.
    chance
        Score of answering without looking.
    """
    names = sorted(set(sessions["session"]))
    figure, found = style.by_task(sessions, width=2.6, height=0.2 * len(names) + 0.9)
    for task, variable, axis in found:
        own = sessions[(sessions["task"] == task) & (sessions["variable"] == variable)]
        axis.axvline(chance, color=style.CHANCE, ls="--", lw=1, label="chance")
        for one in own.itertuples():
            row, value = names.index(one.session), float(getattr(one, metric))
            if value == value:
                axis.plot([value], [row], "o", ms=5, color=style.MODEL, label="model")
            else:
                axis.plot([chance], [row], "x", ms=5, color=style.RED, label="undefined: one class only")
            axis.annotate(f"{one.n}", (1.02, row), xycoords=("axes fraction", "data"), va="center", fontsize=7)
        axis.set_yticks(range(len(names)), names)
        axis.set_ylim(len(names) - 0.5, -0.5)
        axis.set_xlim(-0.02, 1.02)
    style.outer_labels(figure, f"{metric.replace('_', ' ')} (right: n clip labels)", "session")
    legend_of_all(figure, [axis for _, _, axis in found])
    return figure


def roc(curves: pd.DataFrame) -> Figure:
    """Draw ROC curves with their areas.

    Parameters
    ----------
    curves
        From `nbpkg.metrics.curves.trace_roc`.
    """
    figure, found = style.by_task(curves, width=2.3, height=2.2)
    for task, variable, axis in found:
        own = curves[(curves["task"] == task) & (curves["variable"] == variable)]
        axis.plot([0, 1], [0, 1], color=style.CHANCE, ls="--", lw=1, label="answering without looking")
        axis.plot(own["false_positive_rate"], own["true_positive_rate"], color=style.MODEL, lw=1.6, label="model")
        axis.set_aspect("equal")
        style.note(axis, f"area {own['auc'].iloc[0]:.2f}\nn = {own['n'].iloc[0]}")
    style.outer_labels(figure, "false positive rate", "true positive rate")
    legend_of_all(figure, [axis for _, _, axis in found])
    return figure


def precision_recall(curves: pd.DataFrame) -> Figure:
    """Draw precision-recall curves with their average precision; the dashed line is the share of positive labels.

    Parameters
    ----------
    curves
        From `nbpkg.metrics.curves.trace_precision`.
    """
    figure, found = style.by_task(curves, width=2.3, height=2.2)
    for task, variable, axis in found:
        own = curves[(curves["task"] == task) & (curves["variable"] == variable)]
        first = own.iloc[0]
        axis.axhline(first["positive"], color=style.CHANCE, ls="--", lw=1, label="answering without looking")
        reached = own[own["recall"] > 0]  # before the first hit nothing is found, whatever the precision
        recall, precision = [0.0, *reached["recall"]], [reached["precision"].iloc[0], *reached["precision"]]
        axis.step(recall, precision, where="pre", color=style.MODEL, lw=1.6, label="model")
        axis.set_aspect("equal")
        axis.set_xlim(-0.03, 1.03)
        axis.set_ylim(-0.03, 1.03)
        style.note(axis, f"average precision {first['average_precision']:.2f}\nn = {first['n']}")
    style.outer_labels(figure, "recall", "precision")
    legend_of_all(figure, [axis for _, _, axis in found])
    return figure


def calibration(bins: pd.DataFrame) -> Figure:
    """Draw how often a probability comes true; on the diagonal the model means what it says, small dots say little.

    Parameters
    ----------
    bins
        From `nbpkg.metrics.curves.bin_calibration`.
    """
    figure, found = style.by_task(bins, width=2.3, height=2.2)
    for task, variable, axis in found:
        own = bins[(bins["task"] == task) & (bins["variable"] == variable)]
        axis.plot([0, 1], [0, 1], color=style.CHANCE, ls="--", lw=1, label="perfectly calibrated")
        size = 5 + 250 * own["n"] / own["n"].sum()
        axis.scatter(own["score"], own["positive"], s=size, color=style.MODEL, lw=0, label="model (area: n in the bin)")
        axis.set_aspect("equal")
        axis.set_xlim(-0.05, 1.05)
        axis.set_ylim(-0.05, 1.05)
        error, n = own["calibration_error"].iloc[0], own["n"].sum()
        axis.set_title(f"{task} · {variable}\nerror {error:.2f}, n = {n} in {len(own)} bins", fontsize=9)
    style.outer_labels(figure, "mean predicted probability (bins of equal width)", "share of positive labels")
    legend_of_all(figure, [axis for _, _, axis in found])
    return figure


def timelines(predictions: pd.DataFrame, spans: pd.DataFrame, session: str, *, absent: str) -> Figure:
    """Draw one session over time: what each rater saw, and below it the probability the model gives to each clip.

    Parameters
    ----------
    predictions, spans
        The tables of the same names.
    session
        The session to draw.
    absent
        Value that means the behaviour is not there.
    """
    answers = predictions[predictions["session"] == session]
    rated = spans[spans["session"] == session]
    if rated.empty:
        raise TableError(f"Session {session!r} has no spans.", expected=f"One of {sorted(set(spans['session']))[:5]}.")
    variables, raters = sorted(set(rated["variable"])), sorted(set(rated["rater"]))
    figure, axes = style.panels(len(variables), 1, width=9, height=0.34 * len(raters) + 1.0)
    colours, norm = colormaps[style.HEAT], Normalize(0, 1)
    for variable, axis in zip(variables, axes[:, 0], strict=True):
        own = rated[rated["variable"] == variable]
        for task, part in own.groupby("task"):
            start, end = part["start_ms"].min() / 60_000, part["end_ms"].max() / 60_000
            axis.axvspan(start, end, color=style.PALE, alpha=0.5, lw=0)
            axis.annotate(str(task), ((start + end) / 2, -0.62), ha="center", va="center", fontsize=8, color=style.INK)
        for row, rater in enumerate(raters):
            seen = own[(own["rater"] == rater) & (own["value"] != absent)]
            bars = [(s / 60_000, (e - s) / 60_000) for s, e in zip(seen["start_ms"], seen["end_ms"], strict=True)]
            axis.broken_barh(bars, (row - 0.36, 0.72), color=style.HUMAN, lw=0)
        clips = answers[answers["variable"] == variable].drop_duplicates(["task", "start_ms", "end_ms"])
        bars = [(c.start_ms / 60_000, (c.end_ms - c.start_ms) / 60_000) for c in clips.itertuples()]
        axis.broken_barh(bars, (len(raters) - 0.36, 0.72), facecolors=colours(norm(clips["score"])), ec="white", lw=0.4)
        axis.set_yticks(range(len(raters) + 1), [*raters, "model"])
        axis.set_ylim(len(raters) + 0.5, -0.95)
        axis.set_title(f"{variable} (n = {len(clips)} clips)", loc="left", fontsize=9)
    roles = " and ".join(sorted(set(answers["role"])))
    named = f"session {session} ({roles} fold)" if roles else f"session {session}"
    axes[-1, 0].set_xlabel(f"minutes in {named}; orange: the rater saw it")
    figure.colorbar(ScalarMappable(norm, colours), ax=figure.axes, label="predicted probability", aspect=12)
    return figure
