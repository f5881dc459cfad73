"""Figures of the folds: are they alike, how large are they, and how were they found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import PercentFormatter

from nbpkg.plots import style

MOST_GROUPS = 60  # a taller matrix is no longer read


def balance(balance: pd.DataFrame, folds: pd.DataFrame) -> Figure:
    """Draw each fold's share of every stratum as a dot, with the whole as a tick and the range of chance as a band.

    Parameters
    ----------
    balance, folds
        The tables of the same names.
    """
    strata = list(dict.fromkeys(balance["stratum"]))
    test = sorted(set(folds.loc[folds["role"] == "test", "fold"]))
    numbers = sorted(set(balance["fold"]))
    colours = style.fold_colours(numbers, test)
    figure, axes = style.panels(1, 1, width=6.8, height=0.34 * len(strata) + 0.5)
    axis = axes[0, 0]
    for row, stratum in enumerate(strata):
        part = balance[balance["stratum"] == stratum].sort_values("fold")
        first = part.iloc[0]
        axis.barh(
            row,
            first["chance_high"] - first["chance_low"],
            left=first["chance_low"],
            height=0.62,
            color=style.PALE,
            label="95 % of random dealings",
        )
        axis.plot([first["whole"]] * 2, [row - 0.36, row + 0.36], color=style.INK, lw=1.4, label="all folds together")
        spread = [row + 0.36 * (index / max(1, len(part) - 1) - 0.5) for index in range(len(part))]
        for height, fold in zip(spread, part.itertuples(), strict=True):
            kind = "test" if fold.fold in test else "fold"
            axis.plot(
                [fold.value],
                [height],
                "D" if fold.fold in test else "o",
                ms=4.5,
                color=colours[fold.fold],
                label=f"{kind} {fold.fold} (n = {fold.sessions})",
            )
    axis.set_yticks(range(len(strata)), strata)
    axis.set_ylim(len(strata) - 0.5, -0.5)
    axis.set_xlim(0, 1)
    axis.xaxis.set_major_formatter(PercentFormatter(1))
    axis.set_xlabel(f"share of positive time, or of sessions (n = {len(folds)} sessions)")
    style.legend(figure, axis)
    return figure


def sizes(folds: pd.DataFrame) -> Figure:
    """Draw which participant is in which fold, with the number of sessions; bars when there are too many to read.

    Parameters
    ----------
    folds
        Table ``folds``.
    """
    numbers = sorted(set(folds["fold"]))
    role = dict(zip(folds["fold"], folds["role"], strict=True))
    counts = folds.groupby(["group", "fold"]).size().reset_index(name="sessions")
    groups = list(counts.sort_values(["fold", "group"])["group"])
    colour = {"train": style.BLUE, "test": style.RED}
    many = len(groups) > MOST_GROUPS
    figure, axes = style.panels(1, 1, width=0.9 * len(numbers) + 1.4, height=3 if many else 0.19 * len(groups) + 0.9)
    axis = axes[0, 0]
    if many:
        totals = folds.groupby("fold").size()
        axis.bar(numbers, totals, color=[colour[role[fold]] for fold in numbers])
        axis.set_ylabel("sessions")
    else:
        for group, fold, sessions in counts.to_numpy():
            row = groups.index(group)
            axis.barh(row, 0.9, left=fold - 0.45, height=0.8, color=colour[role[fold]])
            axis.text(fold, row, str(sessions), ha="center", va="center", color="white", fontsize=7)
        axis.set_yticks(range(len(groups)), groups, fontsize=7)
        axis.set_ylim(len(groups) - 0.4, -0.6)
        axis.set_ylabel("participant (number: sessions)")
    labels = [f"{fold}\nn = {int((folds['fold'] == fold).sum())}" for fold in numbers]
    axis.set_xticks(numbers, labels)
    axis.set_xlim(min(numbers) - 0.55, max(numbers) + 0.55)
    axis.set_xlabel("fold (n sessions)")
    handles = [Patch(color=colour[kind], label=kind) for kind in ("train", "test")]
    figure.legend(handles=handles, loc="outside upper center", ncols=2, frameon=False, fontsize=8)
    return figure


def search_trace(facts: Mapping[str, object]) -> Figure:
    """Draw the best score so far against the number of tries, and what local improvement made of it.

    Parameters
    ----------
    facts
        Facts of `nbpkg.folds.search_folds`.
    """
    trace = cast("list[list[float]]", facts["trace"])
    tries, score = cast("int", facts["tries"]), cast("float", facts["score"])
    figure, axes = style.panels(1, 1, width=5, height=2.8)
    axis = axes[0, 0]
    steps = [*trace, [tries, trace[-1][1]]]
    axis.step(
        [at for at, _ in steps], [best for _, best in steps], where="post", color=style.BLUE, label="random search"
    )
    axis.plot([tries], [score], "D", ms=6, color=style.RED, label="after local improvement")
    axis.annotate(
        f"{trace[-1][1]:.3f}", (tries, trace[-1][1]), (0, 5), textcoords="offset points", ha="right", fontsize=8
    )
    axis.annotate(f"{score:.3f}", (tries, score), (-8, -2), textcoords="offset points", ha="right", fontsize=8)
    axis.set_xscale("log")
    axis.set_ylim(bottom=0)
    axis.set_xlabel(f"try (n = {tries:,})")
    axis.set_ylabel("best score so far (0: all folds alike)")
    style.legend(figure, axis)
    return figure
