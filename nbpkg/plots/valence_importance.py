"""Figures of what an answer on valence rests on: which second of which modality, and how long before."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from nbpkg.errors import TableError
from nbpkg.plots import style
from nbpkg.plots.evaluation import each_row, legend_of_all
from nbpkg.plots.valence import draw_stairs, draw_valence_axis

METHODS = {"occlusion": "occlusion", "integrated_gradients": "integrated gradients"}


def importance_over_time(
    importance: pd.DataFrame,
    session: str,
    predictions: pd.DataFrame,
    *,
    method: str = "",
    step_seconds: float = 1.0,
) -> Figure:
    """Draw how strongly every second of each modality moves the answer, below truth and answer.

    Parameters
    ----------
    importance
        Table ``valence_importance``, of one system. The size of the values is drawn, not their sign.
    session
        Which session.
    predictions
        Table ``valence_predictions`` of the same system.
    method
        ``occlusion`` or ``integrated_gradients``; empty for the first there is.
    step_seconds
        Seconds of a step.
    """
    own = importance[importance["session"] == session]
    chosen = method or next(iter(own["method"]), "")
    own = own[own["method"] == chosen]
    if own.empty:
        raise TableError(
            f"There is no importance of session {session!r}.", expected=f"One of {sorted(set(importance['session']))}."
        )
    names = list(dict.fromkeys(own["modality"]))
    grid = own.pivot_table(index="modality", columns="step", values="value").reindex(names).abs()
    last = int(own["step"].max()) + 1
    grid = grid.reindex(columns=range(last))
    figure, axes = style.panels(2, 1, width=7.4, height=0.34 * len(names) + 1.0, share=False)
    above, below = axes[:, 0]
    line = predictions[predictions["session"] == session].sort_values("step")
    middle = (line["step"] + 0.5) * step_seconds
    if line["truth"].notna().any():
        draw_stairs(above, line["step"], line["truth"], step_seconds=step_seconds)
    above.plot(middle, line["predicted"], color=style.MODEL, lw=1.6, marker=".", ms=4, label="network")
    draw_valence_axis(above)
    above.set_title(f"{session} (n = {last} s)", fontsize=9)
    highest = float(np.nanmax(grid.to_numpy(np.float64), initial=0.0)) or 1.0
    heat = below.imshow(grid, cmap=colormaps[style.HEAT], norm=Normalize(0, highest), aspect="auto",
                        interpolation="nearest", extent=(0, last * step_seconds, len(names) - 0.5, -0.5))  # fmt: skip
    below.set_yticks(range(len(names)), names)
    below.set_xlabel("time of what is perceived (seconds)")
    for axis in (above, below):
        axis.set_xlim(0, last * step_seconds)
    figure.colorbar(heat, ax=below, label=f"{METHODS.get(chosen, chosen)}:\nsize of the change", pad=0.01)
    legend_of_all(figure, [above])
    return figure


def importance_shares(summary: pd.DataFrame) -> Figure:
    """Draw how much of what moves the answers comes from each modality, with its interval.

    Parameters
    ----------
    summary
        From `nbpkg.attention.valence.importance.summarise_importance`; a panel for each system and method.
    """
    if summary.empty:
        return style.blank("shares of modalities")
    pairs = list(summary.groupby(["system", "method"], sort=False))
    names = list(dict.fromkeys(summary["modality"]))
    figure, axes = style.panels(1, len(pairs), width=max(3.0, 6.4 / len(pairs)), height=0.36 * len(names) + 0.8)
    for axis, ((system, method), own) in zip(axes[0], pairs, strict=True):
        for one in each_row(own):
            row = names.index(one.modality)
            axis.barh(row, one.share, height=0.62, color=style.CYCLE[row % len(style.CYCLE)])
            axis.plot([one.low, one.high], [row, row], color=style.INK, lw=1.6)
            words = f"{one.share:.0%}" if np.isfinite(one.share) else "undefined"
            axis.text(1.01, row, words, transform=axis.get_yaxis_transform(), va="center", fontsize=8)
        axis.axvline(1 / len(own), color=style.CHANCE, ls="--", lw=1, label="all modalities alike")
        axis.set_yticks(range(len(names)), names)
        axis.set_ylim(len(names) - 0.5, -0.5)
        axis.set_xlim(0, 1)
        axis.xaxis.set_major_formatter(PercentFormatter(1))
        axis.set_title(
            f"{system}: {METHODS.get(str(method), method)}\n(n = {int(own['n'].max())} sessions)", fontsize=9
        )
    figure.supxlabel("share of what moves the answer; lines: 95 % over sessions", fontsize=9, color=style.INK)
    legend_of_all(figure, list(axes.flat))
    return figure


def lag_profile(
    profile: pd.DataFrame, *, planted: Mapping[str, float] | None = None, step_seconds: float = 1.0
) -> Figure:
    """Draw how much the answer moves how many seconds after a covered second, a panel for each modality.

    Parameters
    ----------
    profile
        ``modality``, ``lag`` (steps) and ``change``, from `nbpkg.attention.valence.explain.lag_profile`; with a column
        ``session`` each session is a thin line and the mean over them a thick one.
    planted
        Modality to the lag in seconds that made-up data have.
    step_seconds
        Seconds of a step.
    """
    if profile.empty:
        return style.blank("lags")
    names = list(dict.fromkeys(profile["modality"]))
    known = planted or {}
    figure, axes = style.panels(1, len(names), width=max(1.9, 7.2 / len(names)), height=2.2)
    for axis, name in zip(axes[0], names, strict=True):
        own = profile[profile["modality"] == name].sort_values("lag", kind="stable")
        if name in known:
            axis.axvline(known[name], color=style.RED, lw=1.2, ls=":", label="planted lag")
        parts = [rows for _, rows in own.groupby("session")] if "session" in own.columns else []
        for rows in parts:
            axis.plot(
                rows["lag"] * step_seconds, rows["change"], color=style.GREY, lw=0.7, alpha=0.7, label="a session"
            )
        mean = own.groupby("lag")["change"].mean()
        label = "mean over sessions" if parts else "change"
        axis.plot(mean.index * step_seconds, mean, "o-", ms=4, color=style.MODEL, lw=1.8, label=label)
        count = f"{len(parts)} sessions" if parts else "1 session"
        axis.set_title(f"{name}\nn = {count}", fontsize=9)
        axis.grid(color=style.PALE, lw=0.6)
        axis.set_axisbelow(True)
    highest = float(np.nanmax(profile["change"].to_numpy(np.float64), initial=0.0)) or 1.0
    axes[0, 0].set_ylim(0, 1.08 * highest)
    axes[0, 0].xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    words = "the answer comes so many seconds after what is covered"
    style.outer_labels(figure, words, "mean absolute change\nof the answer (valence)")
    legend_of_all(figure, list(axes.flat))
    return figure
