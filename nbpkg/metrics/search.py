"""Tables of a search: what each setting scored, which one is taken, and what fewer settings would have found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from nbpkg.errors import StageError

PAIR = ["task", "variable"]
PARAMETERS = ["learning_rate", "lr_decay", "weight_decay", "class_weights", "optimiser"]
AVERAGE = "average_validation_f1"
SETTINGS_COLUMNS = [*PAIR, "setting", *PARAMETERS, AVERAGE, "low", "high", "n", "failed", "chosen"]


def summarise_trials(trials: pd.DataFrame) -> pd.DataFrame:
    """Average the trainings of every setting, and mark the setting with the highest average of each pair.

    A setting of which one training failed has no average: it would be judged on the easier folds only. It is never
    chosen, as in the published search, where an average that is not a number never wins.

    Parameters
    ----------
    trials
        Table ``trials``: one row per training (setting × fold × repetition).

    Returns
    -------
    pandas.DataFrame
        Table ``settings``, sorted by task, variable and setting: `PARAMETERS`; ``average_validation_f1`` over folds and
        repetitions; ``low`` and ``high`` of its trainings; ``n`` trainings that ended well and ``failed`` others;
        ``chosen``.
    """
    ordered = trials.sort_values([*PAIR, "setting", "fold", "repetition"], kind="stable")
    rows = []
    for (task, variable, setting), own in ordered.groupby([*PAIR, "setting"], sort=True):
        scores = own["validation_f1"].to_numpy(np.float64)
        good = scores[np.isfinite(scores) & ~own["failed"].to_numpy(bool)]
        found = good if len(good) else np.array([np.nan])
        average = float(good.mean()) if len(good) == len(scores) else np.nan
        parameters = [own[name].iloc[0] for name in PARAMETERS]
        spread = [float(found.min()), float(found.max()), len(good), len(scores) - len(good)]
        rows.append([task, variable, setting, *parameters, average, *spread, False])
    table = pd.DataFrame(rows, columns=SETTINGS_COLUMNS)
    for _, own in table.groupby(PAIR):
        if own[AVERAGE].notna().any():
            table.loc[choose(own).name, "chosen"] = True  # type: ignore[index]
    return table


def choose(settings: pd.DataFrame, *, column: str = AVERAGE) -> pd.Series:
    """Take the setting with the highest average; of equals, the one with the lowest number.

    Parameters
    ----------
    settings
        Rows of table ``settings`` of one pair, or of `nbpkg.training.search.list_trials`.
    column
        What is compared.

    Returns
    -------
    pandas.Series
        The row.

    Raises
    ------
    StageError
        When no setting has an average.
    """
    finite = settings[np.isfinite(settings[column].to_numpy(np.float64))].sort_values("setting", kind="stable")
    if finite.empty:
        raise StageError(
            f"None of {len(settings)} settings could be trained.",
            expected="At least one setting of which every training ends with a score.",
            remedy="Look at the losses in table 'history', and search lower learning rates.",
        )
    return cast("pd.Series", finite.loc[finite[column].idxmax()])


def top_settings(settings: pd.DataFrame, count: int = 10) -> pd.DataFrame:
    """List the best distinct settings of every pair, best first.

    Parameters
    ----------
    settings
        Table ``settings``.
    count
        How many of each pair.

    Returns
    -------
    pandas.DataFrame
        The rows of ``settings`` behind a column ``rank`` (from 1); of equal averages the lower setting number first.
    """
    ranked = settings[settings[AVERAGE].notna()].sort_values(
        [*PAIR, AVERAGE, "setting"], ascending=[True, True, False, True], kind="stable"
    )
    distinct = ranked.drop_duplicates([*PAIR, *PARAMETERS])
    rank = distinct.groupby(PAIR).cumcount() + 1
    best = distinct.assign(rank=rank)[rank <= count]
    return best[["rank", *settings.columns]].reset_index(drop=True)


def expected_best(values: ArrayLike, budgets: Sequence[int] | None = None, *, failed: float = 0.0) -> pd.DataFrame:
    """Work out the best score to be expected had only some of the settings been tried.

    Exact for `budget` settings picked at random without replacement from those tried: the best of them is the i-th
    lowest of n with probability C(i-1, budget-1) / C(n, budget). At budget n it is the best score found.

    Parameters
    ----------
    values
        [n] one score per setting; not a number where the training failed.
    budgets
        Numbers of settings, 1 to n; all of them when not given.
    failed
        What a failed setting counts: it costs its share of the budget all the same.

    Returns
    -------
    pandas.DataFrame
        ``budget``, ``expected``, ``deviation`` (standard deviation of the best score), ``low`` and ``high`` (the best
        score lies between them nine times out of ten), ``n``.

    Source
    ------
    The question is that of Dodge et al. (2019), "Show your work"; they draw with replacement, which expects too little.
    The estimator without replacement is that of Tang et al. (2020), "Showing your work doesn't always work".

    Examples
    --------
    >>> expected_best([0.2, 0.4, 0.9])["expected"].round(3).tolist()
    [0.5, 0.733, 0.9]
    """
    scores = np.sort(np.nan_to_num(np.asarray(values, np.float64), nan=failed))
    count = len(scores)
    rows = []
    for budget in range(1, count + 1) if budgets is None else budgets:
        if not 1 <= budget <= count:
            raise StageError(f"{budget} of {count} settings cannot be picked.", expected=f"A budget of 1 to {count}.")
        below = _all_within(count, budget)
        chances = np.diff(below, prepend=0.0)
        mean = float(scores @ chances)
        deviation = float(np.sqrt(max(0.0, float((scores - mean) ** 2 @ chances))))
        low, high = (float(scores[int(np.searchsorted(below, part - 1e-12))]) for part in (0.05, 0.95))
        rows.append((budget, mean, deviation, low, high, count))
    return pd.DataFrame(rows, columns=["budget", "expected", "deviation", "low", "high", "n"])


def _all_within(count: int, budget: int) -> NDArray[np.float64]:
    """Chance that `budget` of `count` all are among the i lowest, C(i, budget) / C(count, budget), for i from 1."""
    lowest = np.arange(1, count + 1, dtype=np.float64)[:, None]
    drawn = np.arange(budget, dtype=np.float64)[None, :]
    return np.asarray(np.prod(np.clip(lowest - drawn, 0, None) / (count - drawn), axis=1), np.float64)


def score_budgets(settings: pd.DataFrame) -> pd.DataFrame:
    """Apply `expected_best` to every pair of table ``settings``; its columns behind ``task`` and ``variable``."""
    parts = [
        expected_best(own.sort_values("setting")[AVERAGE]).assign(task=str(task), variable=str(variable))
        for (task, variable), own in settings.groupby(PAIR, sort=True)
    ]
    columns = [*PAIR, "budget", "expected", "deviation", "low", "high", "n"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def smooth_history(history: pd.DataFrame, *, window: int) -> pd.DataFrame:
    """Add a column ``smoothed``: the mean of each value and up to `window` before it in the same curve.

    Parameters
    ----------
    history
        One row per value: ``epoch``, ``value``, and whatever names the curve (task, variable, fold, …, split, metric).
    window
        Epochs before, as in training.
    """
    curve = [name for name in history.columns if name not in ("epoch", "value", "smoothed")]
    ordered = history.sort_values([*curve, "epoch"], kind="stable").reset_index(drop=True)
    rolled = ordered.groupby(curve, sort=False, dropna=False)["value"].rolling(window + 1, min_periods=1).mean()
    return ordered.assign(smoothed=rolled.to_numpy())
