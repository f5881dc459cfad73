"""Figures of folds of sessions by listener and story, and of how unlike their features are."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator

from nbpkg.plots import style
from nbpkg.plots.evaluation import each_row, legend_of_all
from nbpkg.plots.valence import natural

QUANTITIES = {
    "outside": "values beyond the\nother folds' range\n(share)",
    "shift": "distance from\nthe other folds\n(standard deviations)",
    "constant": "features that do not\nvary in other folds\n(share)",
}


def fold_grid(recordings: pd.DataFrame, folds: pd.DataFrame) -> Figure:
    """Draw listeners against stories, each session in the colour of its fold; test and hidden ones are marked.

    Parameters
    ----------
    recordings, folds
        The tables of the same names. Sessions of no fold stay pale.
    """
    if recordings.empty:
        return style.blank("recordings")
    subjects, stories = (sorted(set(recordings[name]), key=natural) for name in ("subject", "story"))
    dealt = folds.set_index("session")
    test = sorted(set(folds.loc[folds["role"] == "test", "fold"]))
    numbers = sorted(set(folds["fold"]))
    colours = style.fold_colours(numbers, test)
    figure, axes = style.panels(1, 1, width=0.85 * len(stories) + 1.2, height=0.42 * len(subjects) + 1.1)
    axis = axes[0, 0]
    for one in each_row(recordings):
        x, y = stories.index(one.story), subjects.index(one.subject)
        is_dealt = one.session in dealt.index
        fold = int(dealt.loc[one.session, "fold"]) if is_dealt else -1
        is_test = is_dealt and fold in test
        fill = colours[fold] if is_dealt else style.PALE
        axis.add_patch(
            Rectangle((x - 0.47, y - 0.45), 0.94, 0.9, fc=fill, ec="white", hatch="///" if is_test else "", lw=0)
        )
        text = ("test" if is_test else f"fold {fold}") if is_dealt else "unused"
        text += "\nhidden" if one.hidden else ""
        axis.text(x, y, text, ha="center", va="center", fontsize=7.5, color=_ink(fill),
                  bbox={"fc": fill, "lw": 0, "pad": 1.0} if is_test else None)  # fmt: skip
    actors = recordings.drop_duplicates("story").set_index("story")["actor"]
    labels = [f"{story}\n{actors[story]}" if actors[story] else story for story in stories]
    axis.set_xticks(range(len(stories)), labels)
    axis.set_yticks(range(len(subjects)), subjects)
    axis.set_xlim(-0.5, len(stories) - 0.5)
    axis.set_ylim(len(subjects) - 0.5, -0.5)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    axis.set_xlabel("story, and who tells it" if (actors != "").any() else "story")
    axis.set_ylabel("listener")
    axis.set_title(f"n = {len(recordings)} sessions", fontsize=9)
    handles = [Patch(fc=colours[fold], hatch="///" if fold in test else "", ec="white", label=_name(fold, folds, test))
               for fold in numbers]  # fmt: skip
    figure.legend(handles=handles, loc="outside upper center", ncols=3, frameon=False, fontsize=8)
    return figure


def _name(fold: int, folds: pd.DataFrame, test: list[int]) -> str:
    own = folds[folds["fold"] == fold]
    groups = sorted(set(own["group"]), key=natural)
    return f"{'test' if fold in test else f'fold {fold}'}: {', '.join(groups)} (n = {len(own)})"


def _ink(fill: str) -> str:
    """Choose white or dark letters for a background."""
    red, green, blue = to_rgb(fill)
    return "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 0.55 else style.INK


def ranges(feature_ranges: pd.DataFrame) -> Figure:
    """Draw how far the features of each fold lie from those of the other folds; a column for each modality.

    Parameters
    ----------
    feature_ranges
        From `nbpkg.baking.valence.feature_ranges`: columns ``fold``, ``modality``, ``quantity`` (a row of panels each)
        and ``value``; a fold without a value gets a cross at 0.
    """
    if feature_ranges.empty:
        return style.blank("features of folds")
    quantities = list(dict.fromkeys(feature_ranges["quantity"]))
    names = list(dict.fromkeys(feature_ranges["modality"]))
    folds = sorted(set(feature_ranges["fold"]))
    colours = style.fold_colours(folds, [])
    figure, axes = style.panels(len(quantities), len(names), width=max(1.7, 7.0 / len(names)), height=1.6, share=False)
    for row, quantity in enumerate(quantities):
        whole = feature_ranges[feature_ranges["quantity"] == quantity]
        finite = whole["value"][np.isfinite(whole["value"])]
        top = 1.15 * float(finite.max()) if len(finite) and finite.max() > 0 else 1.0
        for column, name in enumerate(names):
            axis = axes[row, column]
            for one in each_row(whole[whole["modality"] == name]):
                if np.isfinite(one.value):
                    axis.plot([one.fold] * 2, [0, one.value], color=colours[one.fold], lw=1.2, alpha=0.7)
                    axis.plot([one.fold], [one.value], "o", ms=5, color=colours[one.fold])
                else:
                    axis.plot([one.fold], [0], "x", ms=5, color=style.RED, label="undefined", clip_on=False)
            axis.set_ylim(0, top)
            axis.set_xlim(min(folds) - 0.5, max(folds) + 0.5)
            axis.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
            axis.grid(axis="y", color=style.PALE, lw=0.6)
            if row == 0:
                axis.set_title(f"{name} (n = {len(folds)} folds)", fontsize=9)
        axes[row, 0].set_ylabel(QUANTITIES.get(str(quantity), str(quantity).replace("_", " ")), fontsize=7)
    figure.supxlabel("fold", fontsize=9, color=style.INK)
    legend_of_all(figure, list(axes.flat))
    return figure
