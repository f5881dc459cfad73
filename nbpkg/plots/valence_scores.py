"""Figures of how well valence is predicted, beside what a constant answer and another person reach."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nbpkg.errors import TableError
from nbpkg.plots import style
from nbpkg.plots.comparison import MARKS
from nbpkg.plots.evaluation import each_row, legend_of_all
from nbpkg.plots.valence import RATERS, draw_stairs, draw_valence_axis, natural

NETWORK, HUMAN, BLIND = "network", "third_party", "constant"
TITLES = {
    "ccc": "CCC", "pearson": "Pearson's r", "mse": "mean squared error",
    "ccc_personalized": "CCC, personalized track", "ccc_generalized": "CCC, generalized track",
}  # fmt: skip
ROLE_WORDS = {"train": "training sessions", "held_out": "left out", "validation": "left out", "test": "test",
              "hidden": "hidden"}  # fmt: skip
_COLUMNS = 3


def scores(metrics: pd.DataFrame, *, names: Sequence[str] = ("ccc",)) -> Figure:
    """Draw the scores of each system on sessions of each role, with interval, chance, human ceiling and n.

    Parameters
    ----------
    metrics
        Table ``metrics``: rows ``by == "all"`` of task ``valence``.
    names
        Which metrics, a panel each.
    """
    main = metrics[metrics["by"] == "all"]
    if main.empty or not set(names) <= set(main["metric"]):
        raise TableError(f"Table 'metrics' lacks some of {list(names)}.", expected=f"Of {sorted(set(main['metric']))}.")
    pairs = [(system, role) for system in dict.fromkeys(main["variable"]) for role in ("validation", "test", "train")
             if ((main["variable"] == system) & (main["role"] == role)).any()]  # fmt: skip
    figure, axes = style.panels(1, len(names), width=4.6, height=0.36 * len(pairs) + 0.9, share=False)
    for axis, name in zip(axes[0], names, strict=True):
        rows = main[main["metric"] == name]
        for one in each_row(rows):
            _draw_score(axis, one, pairs.index((one.variable, one.role)))
        labels = [f"{system}\n{ROLE_WORDS[role]}" for system, role in pairs]
        axis.set_yticks(range(len(pairs)), labels if axis is axes[0, 0] else [""] * len(pairs), fontsize=7.5)
        axis.set_ylim(len(pairs) - 0.5, -0.5)
        higher = rows["direction"].iloc[0] == "higher"
        known = rows[["value", "low", "high", "chance", "ceiling"]].to_numpy(np.float64)
        top = float(np.nanmax(known)) if np.isfinite(known).any() else 1.0
        if higher:
            least = float(np.nanmin(known)) if np.isfinite(known).any() else 0.0
            axis.set_xlim(min(-0.05, least - 0.05), max(1.0, top) + 0.02)
        else:
            axis.set_xlim(0, 1.15 * top)
        axis.grid(axis="x", color=style.PALE, lw=0.6)
        axis.set_axisbelow(True)
        axis.set_title(f"{TITLES.get(name, name)} ({'higher' if higher else 'lower'} is better)", fontsize=9)
    figure.supxlabel("bars: 95 % interval; right: n sessions, listeners", fontsize=9, color=style.INK)
    legend_of_all(figure, list(axes.flat))
    return figure


def _draw_score(axis: Axes, one: Any, row: int) -> None:
    if np.isfinite(one.chance):
        axis.plot([one.chance] * 2, [row - 0.36, row + 0.36], color=style.CHANCE, lw=2, label="perceiving nothing")
    if np.isfinite(one.ceiling):
        axis.plot([one.ceiling], [row], "D", ms=7, mfc="none", mew=1.5, color=style.HUMAN, label="another person")
    axis.plot([one.low, one.high], [row, row], color=style.MODEL, lw=2.4, alpha=0.5)
    axis.plot([one.value], [row], MARKS[one.role], ms=6.5, color=style.MODEL, label=f"network, {ROLE_WORDS[one.role]}")
    text = f"{one.n}, {one.n_groups}" + ("" if np.isfinite(one.value) else ": undefined")
    axis.text(1.01, row, text, transform=axis.get_yaxis_transform(), va="center", fontsize=7, color=style.INK)


def video_grid(scores: pd.DataFrame, *, metric: str = "ccc") -> Figure:
    """Draw the score of every session, listeners against stories, a panel for each system.

    Parameters
    ----------
    scores
        Table ``valence_scores``; rows of predictor ``network`` are drawn. Undefined values stay pale.
    metric
        ``ccc`` or ``pearson``.
    """
    own = scores[scores["predictor"] == NETWORK]
    if own.empty:
        return style.blank("sessions scored")
    systems = list(dict.fromkeys(own["system"]))
    subjects, stories = (sorted(set(own[name]), key=natural) for name in ("subject", "story"))
    least = float(np.nanmin([0.0, own[metric].min()]))
    colours, norm = colormaps[style.HEAT], Normalize(min(-0.2, least), 1)
    figure, axes = style.panels(1, len(systems), width=0.62 * len(stories) + 1.0, height=0.36 * len(subjects) + 1.0)
    for axis, system in zip(axes[0], systems, strict=True):
        rows = own[own["system"] == system]
        grid = np.full((len(subjects), len(stories)), np.nan)
        roles: dict[str, set[str]] = {}
        for one in each_row(rows):
            grid[subjects.index(one.subject), stories.index(one.story)] = getattr(one, metric)
            roles.setdefault(one.story, set()).add(ROLE_WORDS[one.role])
        axis.set_facecolor(style.PALE)
        axis.imshow(np.ma.masked_invalid(grid), cmap=colours, norm=norm, aspect="auto")
        for (row, column), value in np.ndenumerate(grid):
            if np.isfinite(value):
                ink = "black" if norm(value) > 0.6 else "white"
                axis.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=7, color=ink)
        labels = [f"{story}\n{' / '.join(sorted(roles.get(story, {'–'})))}" for story in stories]
        axis.set_xticks(range(len(stories)), labels, fontsize=7)
        axis.set_yticks(range(len(subjects)), subjects)
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
        axis.set_title(f"{system}\nn = {np.isfinite(grid).sum()} sessions", fontsize=9)
    style.outer_labels(figure, "story, and what it was for the network", "listener")
    figure.colorbar(ScalarMappable(norm, colours), ax=figure.axes, label=TITLES[metric], shrink=0.8)
    return figure


def prediction_courses(
    predictions: pd.DataFrame,
    valence: pd.DataFrame | None = None,
    *,
    sessions: Sequence[str] = (),
    scores: pd.DataFrame | None = None,
    fps: float = 25,
    step_seconds: float = 1.0,
) -> Figure:
    """Draw truth and answers of sessions over time, a panel each.

    Parameters
    ----------
    predictions
        Table ``valence_predictions``, of one system or of several.
    valence
        Table ``valence``: the truth as annotated, and other raters; else the truth of each second is drawn.
    sessions
        Which ones, in order; none for the first six.
    scores
        Table ``valence_scores``, to write the concordance into the panels.
    fps
        Annotated frames per second.
    step_seconds
        Seconds of a step.
    """
    names = list(sessions) or sorted(set(predictions["session"]), key=natural)[:6]
    lacking = [name for name in names if name not in set(predictions["session"])]
    if lacking:
        raise TableError(f"There are no answers for session {lacking[0]!r}.", expected="A session of the predictions.")
    if not names:
        return style.blank("answers")
    columns = min(_COLUMNS, len(names))
    lines = -(-len(names) // columns)
    figure, axes = style.panels(
        lines, columns, width=max(2.7, 7.6 / columns), height=1.8 if lines > 1 else 2.4, share=False
    )
    for axis in axes.flat[len(names) :]:
        axis.set_visible(False)
    for axis, name in zip(axes.flat, names, strict=False):
        own = predictions[predictions["session"] == name]
        _draw_truth(axis, own, valence, fps=fps, step_seconds=step_seconds)
        texts = _draw_answers(axis, own, scores, step_seconds=step_seconds)
        draw_valence_axis(axis)
        axis.set_ylabel("")
        role = ROLE_WORDS[str(own["role"].iloc[0])]
        line = f"\n{', '.join(texts)}" if texts else ""
        axis.set_title(f"{name} ({role}, n = {own['step'].nunique()} s){line}", fontsize=8)
    style.outer_labels(figure, "time (seconds)", "valence\n(−1 unpleasant, 1 pleasant)")
    legend_of_all(figure, list(axes.flat))
    return figure


def _draw_truth(
    axis: Axes, own: pd.DataFrame, valence: pd.DataFrame | None, *, fps: float, step_seconds: float
) -> None:
    steps = own.drop_duplicates("step").sort_values("step")
    known = pd.DataFrame() if valence is None else valence[valence["session"] == own["session"].iloc[0]]
    if steps["truth"].notna().any() and known.empty:
        draw_stairs(axis, steps["step"], steps["truth"], step_seconds=step_seconds)
    for rater, rows in known.groupby("rater") if len(known) else ():
        if rater == "self" and not steps["truth"].notna().any():
            continue  # a dummy, not what anybody felt
        colour, words = RATERS.get(str(rater), (style.PURPLE, str(rater)))
        line = rows.sort_values("frame")
        look = (style.INK, 1.6) if rater == "self" else (colour, 0.9)
        axis.step(line["frame"] / fps, line["value"], where="post", color=look[0], lw=look[1], label=words)


def _draw_answers(axis: Axes, own: pd.DataFrame, scores: pd.DataFrame | None, *, step_seconds: float) -> list[str]:
    texts = []
    systems = list(dict.fromkeys(own["system"]))
    for place, system in enumerate(systems):
        line = own[own["system"] == system].sort_values("step")
        colour = (style.MODEL, style.GREEN, style.PURPLE, style.SKY)[place % 4]
        label = "network" if len(systems) == 1 else f"network {system}"
        middle = (line["step"] + 0.5) * step_seconds
        axis.plot(middle, line["predicted"], color=colour, lw=1.5, marker=".", ms=3, label=label)
        if scores is not None:
            found = scores[(scores["predictor"] == NETWORK) & (scores["system"] == system)]
            for value in found.loc[found["session"] == own["session"].iloc[0], "ccc"]:
                score = f"CCC {value:.2f}" if np.isfinite(value) else "no truth"
                texts.append(score if len(systems) == 1 else f"{system} {score}")
    return texts


def systems(comparison: pd.DataFrame, *, metric: str = "ccc") -> Figure:
    """Draw paired differences between systems, or to other predictors, with their intervals.

    Parameters
    ----------
    comparison
        From `nbpkg.metrics.valence.summary.compare_systems` or `compare_baselines`.
    metric
        ``ccc``, ``pearson`` or ``mse``.
    """
    own = comparison[comparison["metric"] == metric]
    if own.empty:
        return style.blank("systems to compare")
    roles = [role for role in ("held_out", "test", "train") if (own["role"] == role).any()]
    pairs = list(dict.fromkeys(zip(own["system"], own["other"], strict=True)))
    figure, axes = style.panels(1, len(roles), width=max(3.2, 6.6 / len(roles)), height=0.36 * len(pairs) + 0.8)
    for axis, role in zip(axes[0], roles, strict=True):
        axis.axvline(0, color=style.CHANCE, ls="--", lw=1, label="no difference")
        for one in each_row(own[own["role"] == role]):
            row = pairs.index((one.system, one.other))
            sure = one.low > 0 or one.high < 0
            axis.plot([one.low, one.high], [row, row], color=style.MODEL, lw=2.2, alpha=0.5)
            axis.plot([one.difference], [row], "o", ms=6, color=style.MODEL, mfc=style.MODEL if sure else "white",
                      label="interval without 0" if sure else "interval with 0")  # fmt: skip
            text = f"{one.n}, {one.n_groups}" + ("" if np.isfinite(one.difference) else f": {one.reason}")
            axis.text(1.02, row, text, transform=axis.get_yaxis_transform(), va="center", fontsize=7, color=style.INK)
        axis.set_title(ROLE_WORDS[role], fontsize=9)
        axis.set_yticks(range(len(pairs)), [f"{one} − {other}" for one, other in pairs], fontsize=7.5)
        axis.set_ylim(len(pairs) - 0.5, -0.5)
        axis.xaxis.set_major_locator(MaxNLocator(nbins=4))
        axis.grid(axis="x", color=style.PALE, lw=0.6)
        axis.set_axisbelow(True)
    better = "lower" if metric == "mse" else "higher"
    words = f"difference in {TITLES.get(metric, metric)} ({better} is better), 95 %; right: n sessions, listeners"
    figure.supxlabel(words, fontsize=9, color=style.INK)
    legend_of_all(figure, list(axes.flat))
    return figure


def by_subject(scores: pd.DataFrame, *, metric: str = "ccc", role: str = "") -> Figure:
    """Draw the score of every session by listener, the mean, another person's mean, and a constant answer.

    Parameters
    ----------
    scores
        Table ``valence_scores``.
    metric
        ``ccc``, ``pearson`` or ``mse``.
    role
        ``train``, ``held_out`` or ``test``; empty for the first of held out, test and train that there is.
    """
    network = scores[scores["predictor"] == NETWORK]
    known = [name for name in ("held_out", "test", "train") if (network["role"] == name).any()]
    chosen = role or next(iter(known), "")
    rows = scores[scores["role"] == chosen].dropna(subset=[metric])
    systems = list(dict.fromkeys(rows.loc[rows["predictor"] == NETWORK, "system"]))
    if not systems:
        return style.blank("sessions scored")
    names = sorted(set(rows["subject"]), key=natural)
    figure, axes = style.panels(1, len(systems), width=max(3.0, 7.0 / len(systems)), height=0.3 * len(names) + 0.9)
    for axis, system in zip(axes[0], systems, strict=True):
        own = rows[rows["system"] == system]
        _draw_blind(axis, own, metric)
        for row, name in enumerate(names):
            _draw_listener(axis, own[own["subject"] == name], row, metric)
        axis.set_yticks(range(len(names)), names)
        axis.set_ylim(len(names) - 0.5, -0.5)
        axis.grid(axis="x", color=style.PALE, lw=0.6)
        axis.set_axisbelow(True)
        axis.set_title(
            f"{system}\n({ROLE_WORDS[chosen]}, n = {(own['predictor'] == NETWORK).sum()} sessions)", fontsize=9
        )
    style.outer_labels(figure, f"{TITLES[metric]} of a session; right: n sessions", "listener")
    legend_of_all(figure, list(axes.flat))
    return figure


def _draw_blind(axis: Axes, own: pd.DataFrame, metric: str) -> None:
    constant = own.loc[own["predictor"] == BLIND, metric]
    if len(constant) or metric == "ccc":
        level = float(constant.mean()) if len(constant) else 0.0
        axis.axvline(level, color=style.CHANCE, ls="--", lw=1, label="a constant answer")


def _draw_listener(axis: Axes, own: pd.DataFrame, row: int, metric: str) -> None:
    values = own.loc[own["predictor"] == NETWORK, metric].to_numpy(np.float64)
    people = own.loc[own["predictor"] == HUMAN, metric]
    axis.plot(values, [row] * len(values), "o", ms=4, color=style.SKY, label="network, a session")
    if len(values):
        axis.plot([values.mean()], [row], "D", ms=6, color=style.MODEL, label="network, mean")
    if len(people):
        axis.plot(
            [people.mean()], [row], "D", ms=7, mfc="none", mew=1.5, color=style.HUMAN, label="another person, mean"
        )
    axis.text(1.01, row, f"{len(values)}", transform=axis.get_yaxis_transform(), va="center", fontsize=7)
