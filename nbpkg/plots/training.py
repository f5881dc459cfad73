"""Figures of a training: which setting was chosen and why, and how the loss went down."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from nbpkg.plots import style


def validation_curve(trials: pd.DataFrame, *, chance: float = 0.5) -> Figure:
    """Draw the validation score of every setting, with the range over the folds left out and the choice marked.

    Parameters
    ----------
    trials
        Table ``trials`` of `nbpkg.training.heads.search_heads`, settings named ``weight_decay=… class_weights=…``.
    chance
        Score of answering without looking.
    """
    settings = trials["setting"].str.extract(r"^weight_decay=(?P<decay>\S+) class_weights=(?P<weights>\S+)$")
    table = trials.join(settings)
    decays = sorted(set(table["decay"]), key=float)
    figure, found = style.by_task(table, width=2.6, height=2.1)
    for task, variable, axis in found:
        own = table[(table["task"] == task) & (table["variable"] == variable)]
        axis.axhline(chance, color=style.CHANCE, ls="--", lw=1, label="chance")
        for colour, (weights, part) in zip(style.CYCLE, own.groupby("weights"), strict=False):
            at = [decays.index(decay) for decay in part["decay"]]
            curve = part.assign(at=at).sort_values("at")
            name = "mean and range over folds left out" + (", classes weighted" if weights == "yes" else "")
            axis.fill_between(curve["at"], curve["low"], curve["high"], color=colour, alpha=0.18, lw=0)
            axis.plot(curve["at"], curve["score"], "o-", ms=3.5, color=colour, label=name)
            chosen = curve[curve["chosen"]]
            axis.plot(chosen["at"], chosen["score"], "D", ms=7, mfc="none", mew=1.6, color=style.RED, label="chosen")
        axis.set_xticks(range(len(decays)), decays, rotation=40, ha="right")
        fewest, most = own["folds"].min(), own["folds"].max()
        count = f"{fewest}" if fewest == most else f"{fewest}–{most}"
        axis.set_title(f"{task} · {variable} (n = {count} folds)", fontsize=9)
    style.outer_labels(figure, "weight decay", "validation balanced accuracy")
    if found:
        style.legend(figure, found[0][2])
    return figure


def learning_curves(history: pd.DataFrame, trials: pd.DataFrame) -> Figure:
    """Draw the loss of the chosen setting after each step: one line per fold left out, and the final training.

    Parameters
    ----------
    history, trials
        The tables of the same names.
    """
    chosen = trials.loc[trials["chosen"], ["task", "variable", "setting"]]
    losses = history[history["metric"] == "loss"].merge(chosen, on=["task", "variable", "setting"])
    figure, found = style.by_task(losses, width=2.6, height=2.1)
    names = {"train": "train, one fold left out", "validation": "fold left out"}
    colours = {"train": style.BLUE, "validation": style.ORANGE}
    for task, variable, axis in found:
        own = losses[(losses["task"] == task) & (losses["variable"] == variable)]
        for (fold, split), curve in own.sort_values("step").groupby(["fold", "split"]):
            final = fold == "none"
            axis.plot(
                curve["step"],
                curve["value"],
                color=style.INK if final else colours[str(split)],
                lw=1.8 if final else 0.9,
                label="train, all training folds" if final else names[str(split)],
            )
        count = own.loc[own["fold"] != "none", "fold"].nunique()
        axis.set_title(f"{task} · {variable} (n = {count} folds)", fontsize=9)
    style.outer_labels(figure, "step", "cross entropy")
    if found:
        style.legend(figure, found[0][2])
    return figure
