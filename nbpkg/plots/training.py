"""Figures of a search and of trainings: what settings do to the score, what was chosen, how learning went."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from scipy.stats import gaussian_kde

from nbpkg.errors import TableError
from nbpkg.metrics.search import AVERAGE, PAIR, PARAMETERS
from nbpkg.plots import style

MEASURES = ("loss", "accuracy", "f1", "balanced_accuracy")
TITLES = {"loss": "cross entropy", "f1": "F1"}
SCORE = "validation F1"
SPLITS = {"train": style.BLUE, "validation": style.ORANGE, "test": style.GREEN}
WIDE, NARROW = 4.8, 2.9  # inches of a panel that stands alone, and of one among others


def score_distribution(settings: pd.DataFrame, *, baselines: pd.DataFrame | None = None) -> Figure:
    """Draw how the settings of every pair are spread over the scores, and the one chosen.

    Parameters
    ----------
    settings
        Table ``settings``.
    baselines
        Rows of table ``baselines`` to draw as chance: one or more for each pair.
    """
    pairs = _pairs(settings)
    figure, axes = style.panels(1, 1, width=6.2, height=0.75 * len(pairs) + 0.6)
    axis = axes[0, 0]
    for row, pair in enumerate(pairs):
        own = _own(settings, pair)
        done = own[own[AVERAGE].notna()]
        scores, best = done[AVERAGE].to_numpy(np.float64), done["chosen"].to_numpy(bool)
        for value in _chance(baselines, pair, "f1"):
            axis.plot([value] * 2, [row - 0.4, row + 0.4], color=style.CHANCE, lw=2, label="answering without looking")
        _violin(axis, scores, row)
        at = row + 0.16 + _jitter(len(scores), 0.1)
        axis.plot(scores, at, ".", ms=4, color=style.INK, alpha=0.6, label="setting")
        axis.plot(scores[best], at[best], "D", ms=7, mfc="none", mew=1.6, color=style.RED, label="chosen")
        failed = int(own[AVERAGE].isna().sum())
        text = f"n = {_count(own, 'setting')}" + (f"\n{failed} failed" if failed else "")
        axis.text(1.01, row, text, transform=axis.get_yaxis_transform(), va="center", fontsize=8, color=style.INK)
    axis.set_yticks(range(len(pairs)), [f"{task} · {variable}" for task, variable in pairs])
    axis.set_ylim(len(pairs) - 0.5, -0.5)
    axis.set_xlim(0, 1)
    axis.set_axisbelow(True)
    axis.grid(axis="x", color=style.PALE, lw=0.6)
    axis.set_xlabel(f"{SCORE}, average over folds and repetitions")
    style.legend(figure, axis)
    return figure


def parameter_effects(
    settings: pd.DataFrame,
    pair: tuple[str, str],
    *,
    trials: pd.DataFrame | None = None,
    baselines: pd.DataFrame | None = None,
) -> Figure:
    """Draw each parameter against the score; zeros, which a logarithmic axis hides, stand in a slot at its left.

    Parameters
    ----------
    settings
        Table ``settings``.
    pair
        Task and variable.
    trials
        Table ``trials``, to draw every single training behind the averages.
    baselines
        Rows of table ``baselines`` to draw as chance.
    """
    own = _own(settings, pair)
    if own.empty:
        raise TableError(f"No setting was tried for {' · '.join(pair)}.", expected=f"One of {_pairs(settings)}.")
    varied = [name for name in PARAMETERS if len(set(own[name])) > 1]
    names = varied or list(PARAMETERS)
    figure, axes = style.panels(1, len(names), width=2.5, height=2.5, share=False)
    single = pd.DataFrame(columns=[*PARAMETERS, "validation_f1"]) if trials is None else _own(trials, pair)
    failed = int(own[AVERAGE].isna().sum())
    count = f"n = {_count(own, 'setting')}" + (f" ({failed} failed)" if failed else "")
    for name, axis in zip(names, axes[0], strict=True):
        for value in _chance(baselines, pair, "f1"):
            axis.axhline(value, color=style.CHANCE, ls="--", lw=1, label="answering without looking")
        place = _axis_of(axis, own[name])
        axis.plot(place(single[name]), single["validation_f1"], ".", ms=3, color=style.SKY, alpha=0.5, label="training")
        at, scores, best = place(own[name]), own[AVERAGE].to_numpy(np.float64), own["chosen"].to_numpy(bool)
        axis.plot(at, scores, "o", ms=3, color=style.BLUE, label="setting: average of its trainings")
        axis.plot(at[best], scores[best], "D", ms=7, mfc="none", mew=1.6, color=style.RED, label="chosen")
        axis.set_xlabel(name.replace("_", " "))
        axis.set_ylim(-0.02, 1.02)
        style.note(axis, count)
    axes[0, 0].set_ylabel(f"{SCORE}, {' · '.join(pair)}")
    style.legend(figure, axes[0, 0])
    return figure


class _Scale:
    """Where the values of one parameter stand on its axis."""

    def __init__(self, values: pd.Series) -> None:
        named = values.dtype == bool or not pd.api.types.is_numeric_dtype(values)
        self.options = sorted(set(values)) if named else []
        numbers = np.zeros(0) if named else values.to_numpy(np.float64)
        positive = numbers[numbers > 0]
        self.log = len(positive) > 0 and not (numbers < 0).any() and bool(positive.max() >= 10 * positive.min())
        self.lowest = float(np.log10(positive.min())) if self.log else 0.0
        self.highest = float(np.log10(positive.max())) if self.log else 0.0
        self.zeros = self.log and bool((numbers == 0).any())
        gap = max(0.4, 0.15 * (self.highest - self.lowest))
        self.slot, self.border, self.spread = self.lowest - gap, self.lowest - gap / 2, 0.25 * gap

    def __call__(self, values: pd.Series) -> NDArray[np.float64]:
        """Positions on the axis."""
        if self.options:
            slots = np.array([self.options.index(value) for value in values], np.float64)
            return slots + _jitter(len(slots), 0.16)
        numbers = values.to_numpy(np.float64)
        if not self.log:
            return numbers
        slot = self.slot + _jitter(len(numbers), self.spread)
        return np.where(numbers > 0, np.log10(np.where(numbers > 0, numbers, 1.0)), slot)


def _axis_of(axis: Axes, values: pd.Series) -> _Scale:
    """Prepare a panel: strips for named values, powers of ten with a slot for zero, or a plain axis."""
    scale = _Scale(values)
    if scale.options:
        names = {True: "yes", False: "no"}
        axis.set_xticks(range(len(scale.options)), [str(names.get(value, value)) for value in scale.options])
        axis.set_xlim(-0.6, len(scale.options) - 0.4)
    elif scale.log:
        powers = np.arange(np.ceil(scale.lowest - 0.05), np.floor(scale.highest + 0.05) + 1)
        step = max(1, len(powers) // 5)
        powers = powers[::-1][::step][::-1]
        labels = [f"$10^{{{power:.0f}}}$" for power in powers]
        at = [float(power) for power in powers]
        if scale.zeros:
            at, labels = [scale.slot, *at], ["0", *labels]
            axis.axvline(scale.border, color=style.PALE, lw=1)
        axis.set_xticks(at, labels)
    elif len(set(values)) == 1:
        axis.set_xticks([values.iloc[0]], [f"{values.iloc[0]:.3g}"])
    return scale


def importance(table: pd.DataFrame) -> Figure:
    """Draw how much of the differences between settings each parameter explains.

    Parameters
    ----------
    table
        From `nbpkg.training.importance.rank_importance`.
    """
    names = [name for name in PARAMETERS if name in set(table["parameter"])]
    figure, found = style.by_task(table, width=_width(table), height=0.26 * len(names) + 0.8)
    for task, variable, axis in found:
        own = _own(table, (task, variable)).set_index("parameter").reindex(names)
        axis.barh(range(len(names)), own["importance"].fillna(0), height=0.65, color=style.BLUE)
        for row, value in enumerate(own["importance"]):
            if np.isfinite(value):
                axis.text(value + 0.02, row, f"{value:.2f}", va="center", fontsize=8, color=style.INK)
        axis.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
        axis.set_ylim(len(names) - 0.5, -0.5)
        axis.set_xlim(0, 1.15)
        axis.set_xticks([0, 0.5, 1])
        reasons = sorted(set(own["reason"].dropna()) - {""})
        axis.set_title(f"{task} · {variable} (n = {own['n'].max():.0f})", fontsize=9)
        if reasons:
            axis.text(
                0.5, 0.5, f"unknown:\n{reasons[0]}", transform=axis.transAxes, ha="center", va="center", fontsize=8
            )
    method = " and ".join(sorted(set(table["method"]))).replace("_", "-")
    style.outer_labels(figure, f"share of the differences in {SCORE} ({method}; n: settings)", "")
    return figure


def score_against_budget(table: pd.DataFrame) -> Figure:
    """Draw the best score to be expected had fewer settings been tried: a flat end says that more would not help.

    Parameters
    ----------
    table
        From `nbpkg.metrics.search.score_budgets`.
    """
    figure, found = style.by_task(table, width=_width(table), height=2.1)
    for task, variable, axis in found:
        own = _own(table, (task, variable)).sort_values("budget")
        mark = "o-" if len(own) < 8 else "-"
        axis.fill_between(
            own["budget"], own["low"], own["high"], color=style.BLUE, alpha=0.18, lw=0, label="nine searches out of ten"
        )
        axis.plot(own["budget"], own["expected"], mark, ms=4, color=style.BLUE, label="best setting, on average")
        if own["budget"].max() > 20:
            axis.set_xscale("log")
            axis.xaxis.set_major_formatter("{x:.0f}")
        else:
            axis.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
            axis.set_xlim(0.5, own["budget"].max() + 0.5)
        axis.set_title(f"{task} · {variable} (n = {own['n'].max()})", fontsize=9)
    style.outer_labels(figure, "settings tried (n in all)", f"best {SCORE}")
    if found:
        style.legend(figure, found[0][2])
    return figure


def learning_curves(
    history: pd.DataFrame,
    best: pd.DataFrame | None = None,
    *,
    baselines: pd.DataFrame | None = None,
    measures: Sequence[str] = MEASURES,
) -> Figure:
    """Draw loss and scores after every epoch: a row for each pair, a column for each measure, a line for each training.

    Head and whole network (column ``part``) of a pair have a row each.

    Parameters
    ----------
    history
        Rows to draw, one per value: ``task``, ``variable``, ``fold``, ``repetition``, ``epoch``, ``split``, ``metric``,
        ``value``, and ``smoothed`` if `nbpkg.metrics.search.smooth_history` added it (then drawn before the pale
        original).
    best
        ``task``, ``variable``, ``part`` if the history has it, and ``best_epoch`` of the trainings drawn: rows of
        table ``trials``.
    baselines
        Rows of table ``baselines`` to draw as chance.
    measures
        Which of ``metric``, in order.
    """
    rows = _rows(history)
    figure, axes = style.panels(len(rows), len(measures), width=2.5, height=1.9, share=False)
    for row, (pair, part) in enumerate(rows):
        own = _own(history, pair, part)
        runs = len(own[["fold", "repetition"]].drop_duplicates())
        epochs = [] if best is None else sorted(set(_own(best, pair, part)["best_epoch"].dropna()))
        for measure, axis in zip(measures, axes[row], strict=True):
            for value in _chance(baselines, pair, measure):
                axis.axhline(value, color=style.GREY, ls="--", lw=1, label="answering without looking")
            for epoch in epochs:
                axis.axvline(epoch, color=style.RED, lw=1.2 if runs == 1 else 0.7, alpha=0.8, label="epoch kept")
            _draw_curves(axis, own[own["metric"] == measure], bold=runs == 1)
            _limit(axis, own.loc[own["metric"] == measure, "value"], measure)
        count = f"n = {runs} training{'s' if runs > 1 else ''}"
        axes[row, 0].set_ylabel(f"{pair[0]}\n{pair[1]}\n{f'{part}, ' if part else ''}{count}", fontsize=8)
    for axis, measure in zip(axes[0], measures, strict=True):
        axis.set_title(TITLES.get(measure, measure.replace("_", " ")), fontsize=9)
    style.outer_labels(figure, "epoch (0: before training)", "")
    if rows:
        style.legend(figure, axes[0, -1], columns=6)
    return figure


def _draw_curves(axis: Axes, curves: pd.DataFrame, *, bold: bool) -> None:
    smoothed = "smoothed" in curves.columns
    for split, colour in SPLITS.items():
        own = curves[curves["split"] == split].sort_values("epoch")
        for _, one in own.groupby(["fold", "repetition"], dropna=False):
            width = 1.6 if bold else 0.8
            mark = "." if len(one) < 4 else ""
            if smoothed:
                axis.plot(one["epoch"], one["value"], color=colour, lw=0.7, alpha=0.35)
            shown = one["smoothed" if smoothed else "value"]
            label = f"{split}, smoothed" if smoothed else split
            axis.plot(one["epoch"], shown, color=colour, lw=width, marker=mark, label=label)


def _limit(axis: Axes, values: pd.Series, measure: str) -> None:
    """Scores on the whole scale; losses from 0, or on a logarithmic axis when some went far up."""
    axis.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=1))
    finite = values[np.isfinite(values)]
    if measure != "loss":
        axis.set_ylim(-0.02, 1.02)
    elif len(finite) and finite.min() > 0 and finite.max() > 20 * finite.median():
        axis.set_yscale("log")
    else:
        axis.set_ylim(bottom=0)


def fold_scores(trials: pd.DataFrame, *, measure: str = "f1", baselines: pd.DataFrame | None = None) -> Figure:
    """Draw the score of every training by the fold it was validated on, beside its score on what it was trained on.

    Parameters
    ----------
    trials
        Rows of table ``trials`` to draw, such as those of the chosen settings, of one ``part``.
    measure
        ``loss``, ``accuracy``, ``f1`` or ``balanced_accuracy``.
    baselines
        Rows of table ``baselines`` to draw as chance.
    """
    figure, found = style.by_task(trials, width=_width(trials), height=2.1)
    folds = sorted(set(trials["fold"]), key=lambda fold: (not str(fold).isdigit(), str(fold).zfill(9)))
    for task, variable, axis in found:
        own = _own(trials, (task, variable))
        for value in _chance(baselines, (task, variable), measure):
            axis.axhline(value, color=style.CHANCE, ls="--", lw=1, label="answering without looking")
        for split, shift in (("train", -0.18), ("validation", 0.18)):
            at = np.array([folds.index(fold) for fold in own["fold"]], np.float64) + shift
            scores = own[f"{split}_{measure}"]
            place = at + _jitter(len(at), 0.06)
            axis.plot(place, scores, "o", ms=4, color=SPLITS[split], alpha=0.8, label=split)
        for split, shift in (("train", -0.18), ("validation", 0.18)):
            for fold, scores in own.groupby("fold")[f"{split}_{measure}"]:
                middle = folds.index(fold) + shift
                axis.plot([middle - 0.13, middle + 0.13], [scores.mean()] * 2, color=style.INK, lw=1.4, label="mean")
        axis.set_xticks(range(len(folds)), [str(fold) for fold in folds])
        axis.set_xlim(-0.6, len(folds) - 0.4)
        if measure != "loss":
            axis.set_ylim(-0.02, 1.02)
        axis.set_title(f"{task} · {variable} (n = {len(own)})", fontsize=9)
    style.outer_labels(figure, "validation fold (n: trainings)", TITLES.get(measure, measure.replace("_", " ")))
    if found:
        style.legend(figure, found[0][2])
    return figure


def _pairs(table: pd.DataFrame) -> list[tuple[str, str]]:
    pairs = table[PAIR].drop_duplicates().sort_values(PAIR).itertuples(index=False, name=None)
    return [cast("tuple[str, str]", pair) for pair in pairs]


def _rows(table: pd.DataFrame) -> list[tuple[tuple[str, str], str]]:
    """Pairs, and the parts trained where the table tells them."""
    if "part" not in table.columns:
        return [(pair, "") for pair in _pairs(table)]
    return [(pair, part) for pair in _pairs(table) for part in sorted(set(_own(table, pair)["part"]))]


def _own(table: pd.DataFrame, pair: tuple[str, str], part: str = "") -> pd.DataFrame:
    own = table[(table["task"] == pair[0]) & (table["variable"] == pair[1])]
    return own[own["part"] == part] if part and "part" in own.columns else own


def _width(table: pd.DataFrame) -> float:
    return WIDE if table["task"].nunique() < 2 else NARROW


def _count(rows: pd.DataFrame, noun: str) -> str:
    return f"{len(rows)} {noun}{'s' * (len(rows) != 1)}"


def _chance(baselines: pd.DataFrame | None, pair: tuple[str, str], measure: str) -> list[float]:
    if baselines is None or measure not in baselines.columns:
        return []
    return sorted(set(_own(baselines, pair)[measure].dropna()))


def _violin(axis: Axes, scores: NDArray[np.float64], row: int) -> None:
    """Fill the density of the scores above row `row`; a few or equal ones have none worth showing."""
    if len(scores) < 8 or np.ptp(scores) == 0:
        return
    at = np.linspace(scores.min(), scores.max(), 200)
    density = gaussian_kde(scores)(at)
    axis.fill_between(at, row, row - 0.42 * density / density.max(), color=style.BLUE, alpha=0.3, lw=0)


def _jitter(count: int, width: float) -> NDArray[np.float64]:
    """Spread points within ± `width`, the same at every call: evenly, in an order without pattern."""
    if count < 2:
        return np.zeros(count)
    return np.asarray(((np.arange(count) * 0.618034) % 1 - 0.5) * 2 * width, np.float64)
