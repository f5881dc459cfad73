"""Figures of labelled clips of several people: classes by family and split, ratings, annotators, folds of families."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from nbpkg.plots import style
from nbpkg.plots.valence import natural

MOST_FAMILIES = 60  # more rows are no longer read
_COLUMNS = 3
_FINEST = 0.1  # means of many annotators that lie closer are put together


def class_colours(classes: Sequence[str]) -> dict[str, str]:
    """Colour the classes from the first to the last in a perceptually even order."""
    places = np.linspace(0.08, 0.95, max(2, len(classes)))
    return {name: to_hex(colormaps[style.HEAT](place)) for name, place in zip(classes, places, strict=False)}


def wrap(classes: Sequence[str]) -> list[str]:
    """Break names of several words into lines, so that they fit below narrow columns."""
    return [fill(name, 9, break_long_words=False) for name in classes]


def ink_on(fill: object) -> str:
    """Choose white or dark letters for a background."""
    red, green, blue = to_rgb(fill)  # type: ignore[arg-type]
    return "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 0.5 else style.INK


def class_shares(clips: pd.DataFrame, folds: pd.DataFrame | None = None, *, classes: Sequence[str]) -> Figure:
    """Draw the share of each class in every family, and in training and test clips together.

    Parameters
    ----------
    clips
        Table ``clips``. With more than 60 families only the splits are drawn.
    folds
        Table ``folds``, which says what is test; without it the parts of the official list (``clips.split``) are.
    classes
        Names of the classes in the order of their indices.
    """
    if clips.empty:
        return style.blank("clips")
    split = _name_splits(clips, folds)
    names = [name for name in dict.fromkeys(["training", "validation", "test", *split]) if (split == name).any()]
    rows = [
        ("all clips", clips),
        *((name, clips[split == name]) for name in names if len(names) > 1 or name != "clips"),
    ]
    groups = len(rows)
    families = sorted(set(clips["family"]) - {""}, key=natural)
    if len(families) <= MOST_FAMILIES:
        rows += [(name, clips[clips["family"] == name]) for name in families]
    figure, axes = style.panels(1, 1, width=6.2, height=0.24 * len(rows) + 0.7)
    axis = axes[0, 0]
    places = [row + 0.5 * (row >= groups) for row in range(len(rows))]
    for place, (_, part) in zip(places, rows, strict=True):
        note = f"n = {len(part)}"
        tested = sorted(set(split[part.index])) if place > groups and len(names) > 1 else []
        _draw_shares(axis, place, part["label"], classes, f"{note}, {' and '.join(tested)}" if tested else note)
    axis.set_yticks(places, [name for name, _ in rows], fontsize=7.5)
    axis.set_ylim(places[-1] + 0.6, -0.6)
    _finish_shares(axis, "clips")
    axis.set_ylabel("family" if len(rows) > groups else "")
    style.legend(figure, axis, columns=len(classes))
    return figure


def fold_shares(clips: pd.DataFrame, folds: pd.DataFrame, *, classes: Sequence[str]) -> Figure:
    """Draw the share of each class in all folds together and in every fold.

    Parameters
    ----------
    clips, folds
        The tables of the same names; sessions of no fold do not count.
    classes
        Names of the classes.
    """
    dealt = _deal(clips, folds)
    if dealt.empty:
        return style.blank("folds")
    numbers = sorted(set(dealt["fold"]))
    rows = [("all folds", dealt), *((_name_fold(fold, dealt), dealt[dealt["fold"] == fold]) for fold in numbers)]
    figure, axes = style.panels(1, 1, width=6.2, height=0.3 * len(rows) + 0.8)
    axis = axes[0, 0]
    places = [row + 0.4 * (row > 0) for row in range(len(rows))]
    for place, (_, part) in zip(places, rows, strict=True):
        note = f"n = {len(part)} clips, {part['family'].nunique()} families"
        _draw_shares(axis, place, part["label"], classes, note)
    axis.set_yticks(places, [name for name, _ in rows], fontsize=8)
    axis.set_ylim(places[-1] + 0.6, -0.6)
    _finish_shares(axis, "clips")
    style.legend(figure, axis, columns=len(classes))
    return figure


def fold_families(clips: pd.DataFrame, folds: pd.DataFrame, *, classes: Sequence[str]) -> Figure:
    """Draw every family, fold by fold, with how many clips of each class it has; colour: share of the family's clips.

    Parameters
    ----------
    clips, folds
        The tables of the same names; sessions of no fold are not drawn.
    classes
        Names of the classes.
    """
    dealt = _deal(clips, folds)
    if dealt.empty:
        return style.blank("folds")
    rows = sorted(set(zip(dealt["fold"], dealt["family"], strict=True)), key=lambda one: (one[0], natural(one[1])))
    counts = np.array(
        [_count(dealt[(dealt["fold"] == fold) & (dealt["family"] == family)], classes) for fold, family in rows]
    )
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure, axes = style.panels(1, 1, width=0.9 * len(classes) + 2.6, height=0.25 * len(rows) + 0.8)
    axis = axes[0, 0]
    axis.imshow(shares, cmap=style.HEAT, norm=Normalize(0, 1), aspect="auto")
    colours = colormaps[style.HEAT]
    many = len(rows) > MOST_FAMILIES
    for (row, column), n in np.ndenumerate(counts):
        if not many:
            ink = ink_on(colours(shares[row, column])[:3])
            axis.text(column, row, str(n), ha="center", va="center", fontsize=7.5, color=ink)
    _bracket_folds(axis, [fold for fold, _ in rows], dealt)
    axis.set_xticks(range(len(classes)), wrap(classes))
    axis.set_yticks([] if many else range(len(rows)), [] if many else [family for _, family in rows], fontsize=7.5)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    axis.set_xlabel(f"class (numbers: clips; n = {counts.sum()})")
    axis.set_ylabel(f"family (n = {len(rows)})")
    label = "share of the family's clips"
    bar = figure.colorbar(ScalarMappable(Normalize(0, 1), colours), ax=axis, label=label, shrink=0.8, pad=0.24)
    bar.ax.tick_params(labelsize=8)
    return figure


def ratings(clips: pd.DataFrame, *, classes: Sequence[str], cuts: Sequence[tuple[float, str]]) -> Figure:
    """Draw how often each mean rating occurs, coloured by its class, with the cuts between classes.

    Parameters
    ----------
    clips
        Table ``clips``; those whose class was given have no rating and are not drawn.
    classes
        Names of the classes.
    cuts
        Rating, and whether a rating of exactly this belongs to the ``lower`` or the ``upper`` class.
    """
    own = clips[clips["rating"].notna()]
    if own.empty:
        return style.blank("ratings")
    values = own["rating"].to_numpy(np.float64)
    gaps = np.diff(np.unique(np.round(values, 6)))
    step = min(0.28, float(gaps.min())) if len(gaps) else 0.28
    places = np.round(values, 6)
    if step < _FINEST:
        step, places = _FINEST, np.round(np.round(values / _FINEST) * _FINEST, 6)
    figure, axes = style.panels(1, 1, width=6.0, height=2.8)
    axis = axes[0, 0]
    bottom = dict.fromkeys(places.tolist(), 0.0)
    for label, (name, colour) in enumerate(class_colours(classes).items()):
        mine = places[own["label"].to_numpy() == label].tolist()
        counts = {place: mine.count(place) for place in sorted(set(mine))}
        below = [bottom[place] for place in counts]
        axis.bar(list(counts), list(counts.values()), width=0.9 * step, bottom=below, color=colour, ec="white", lw=0.4,
                 label=f"{name} (n = {len(mine)})")  # fmt: skip
        bottom |= {place: bottom[place] + n for place, n in counts.items()}
    for place, (at, belongs) in enumerate(cuts):
        axis.axvline(at, color=style.RED, ls="--", lw=1.2)
        text = f"cut: {at:g}\nis {classes[place if belongs == 'lower' else place + 1]}"
        axis.annotate(text, (at, 1.0), (0, 3), xycoords=("data", "axes fraction"), textcoords="offset points",
                      ha="center", va="bottom", fontsize=7.5, color=style.RED)  # fmt: skip
    axis.set_xlabel("mean rating of a clip (scale points)")
    axis.set_ylabel(f"clips (n = {len(own)})")
    axis.yaxis.set_major_locator(MaxNLocator(integer=True))
    style.legend(figure, axis, columns=len(classes))
    return figure


def annotators(counts: Mapping[tuple[str, str], NDArray[np.int64]], *, classes: Sequence[str]) -> Figure:
    """Draw how two annotators classed the same clips: share of the first one's class in colour, clips in writing.

    Parameters
    ----------
    counts
        From `nbpkg.annotations.people.ratings.count_pairs`: the first annotator's class in rows.
    classes
        Names of the classes.
    """
    shown = [(pair, np.asarray(table)) for pair, table in counts.items() if np.sum(table)]
    if not shown:
        return style.blank("clips that two annotators rated")
    columns = min(_COLUMNS, len(shown))
    figure, axes = style.panels(-(-len(shown) // columns), columns, width=2.35, height=2.2, share=False)
    colours, norm = colormaps[style.HEAT], Normalize(0, 1)
    for axis in axes.flat[len(shown) :]:
        axis.set_visible(False)
    for axis, ((first, second), table) in zip(axes.flat, shown, strict=False):
        shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
        axis.imshow(shares, cmap=colours, norm=norm)
        for (row, column), n in np.ndenumerate(table):
            ink = ink_on(colours(shares[row, column])[:3])
            axis.text(column, row, str(n), ha="center", va="center", fontsize=9, color=ink)
        axis.set_xticks(range(len(classes)), wrap(classes))
        axis.set_yticks(range(len(classes)), wrap(classes))
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
        axis.set_xlabel(second)
        axis.set_ylabel(first)
        agreed = np.trace(table) / table.sum()
        axis.set_title(f"n = {table.sum()} clips, {agreed:.0%} alike", fontsize=9)
    label = "share of the row's clips"
    bar = figure.colorbar(ScalarMappable(norm, colours), ax=list(axes.flat), label=label, shrink=0.8)
    bar.ax.tick_params(labelsize=8)
    return figure


def draw_key(figure: Figure, classes: Sequence[str], *, columns: int = 4) -> None:
    """Put the colours of the classes above the panels."""
    handles = [Patch(fc=colour, label=name) for name, colour in class_colours(classes).items()]
    figure.legend(handles=handles, loc="outside upper center", ncols=columns, frameon=False, fontsize=8)


def _draw_shares(axis: Axes, place: float, labels: pd.Series, classes: Sequence[str], note: str) -> None:
    """Draw one bar from 0 to 1, with the number of clips of each class that has room for it."""
    counts, left = np.bincount(labels, minlength=len(classes)), 0.0
    for n, (name, colour) in zip(counts, class_colours(classes).items(), strict=False):
        share = n / max(1, counts.sum())
        axis.barh(place, share, left=left, height=0.8, color=colour, ec="white", lw=0.5, label=name)
        if share > 0.05:
            middle = left + share / 2
            axis.text(middle, place, str(n), ha="center", va="center", fontsize=7, color=ink_on(colour))
        left += share
    axis.text(1.01, place, note, transform=axis.get_yaxis_transform(), va="center", fontsize=7, color=style.INK)


def _finish_shares(axis: Axes, what: str) -> None:
    axis.set_xlim(0, 1)
    axis.xaxis.set_major_formatter(PercentFormatter(1))
    axis.set_xlabel(f"share of {what} (numbers: {what})")
    axis.tick_params(axis="y", length=0)


def _name_splits(clips: pd.DataFrame, folds: pd.DataFrame | None) -> pd.Series:
    """Say for each clip whether it is for training or test, or which part of the official list it is in."""
    if folds is None:
        words = {"train": "training", "val": "validation", "": "clips"}
        return clips["split"].map(lambda name: words.get(str(name), str(name)))
    words = {"train": "training", "test": "test"}
    role = clips["session"].map(dict(zip(folds["session"], folds["role"], strict=True)))
    return role.map(words).fillna("unused")


def _deal(clips: pd.DataFrame, folds: pd.DataFrame) -> pd.DataFrame:
    return clips.merge(folds[["session", "fold", "role"]], on="session", how="inner")


def _count(part: pd.DataFrame, classes: Sequence[str]) -> NDArray[np.int64]:
    return np.bincount(part["label"], minlength=len(classes)).astype(np.int64)


def _name_fold(fold: int, dealt: pd.DataFrame) -> str:
    return f"fold {fold} (test)" if (dealt.loc[dealt["fold"] == fold, "role"] == "test").all() else f"fold {fold}"


def _bracket_folds(axis: Axes, folds: Sequence[int], dealt: pd.DataFrame) -> None:
    """Draw a line between folds, and name each on the right."""
    for fold in sorted(set(folds)):
        rows = [row for row, own in enumerate(folds) if own == fold]
        if rows[0]:
            axis.axhline(rows[0] - 0.5, color="white", lw=4)
        is_test = (dealt.loc[dealt["fold"] == fold, "role"] == "test").all()
        text = f"{'test' if is_test else f'fold {fold}'}\nn = {(dealt['fold'] == fold).sum()}"
        axis.text(1.03, (rows[0] + rows[-1]) / 2, text, transform=axis.get_yaxis_transform(), va="center", fontsize=8,
                  color=style.RED if is_test else style.INK)  # fmt: skip
