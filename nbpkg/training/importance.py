"""How much each parameter of a search matters for the score."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import optuna
import pandas as pd
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from nbpkg.errors import SettingsError
from nbpkg.metrics.search import AVERAGE, PAIR
from nbpkg.training.spaces import Constant, Exponential, Mixture, Sampler, Value

METHODS = ("fanova", "ped_anova")
FEWEST = 10
TREES = 16  # a quarter of Optuna's: a second or two for a pair, and shares move by less than 0.02
COLUMNS = [*PAIR, "parameter", "importance", "method", "n", "reason"]


def rank_importance(
    settings: pd.DataFrame, *, space: Mapping[str, Sampler], seed: int, method: str = "fanova"
) -> pd.DataFrame:
    """Say which share of the differences between settings each parameter explains.

    Parameters that were drawn on a logarithmic scale are taken on it; zeros then lie one decade below the lowest value.

    Parameters
    ----------
    settings
        Table ``settings``; failed settings are left out.
    space
        Samplers by name of parameter; constant ones are left out.
    seed
        The experiment's seed (fANOVA grows random trees).
    method
        ``fanova``, or ``ped_anova``: what sets the best tenth apart; no randomness, and fast with thousands.

    Returns
    -------
    pandas.DataFrame
        ``task``, ``variable``, ``parameter``, ``importance`` (0 to 1, adds up to 1 in each pair; NaN with a ``reason``
        when it cannot be told), ``method``, ``n`` settings; the most important parameter first.

    Source
    ------
    Hutter et al. (2014), "An efficient approach for assessing hyperparameter importance"; Watanabe et al. (2023),
    "PED-ANOVA"; both as in Optuna.
    """
    if method not in METHODS:
        raise SettingsError(f"'{method}' is no known measure of importance.", expected=f"One of {', '.join(METHODS)}.")
    rows = []
    for (task, variable), own in settings.groupby(PAIR, sort=True):
        finite = own[np.isfinite(own[AVERAGE].to_numpy(np.float64))].sort_values("setting")
        names = [name for name, sampler in space.items() if not isinstance(sampler, Constant)]
        varied = [name for name in names if len(set(finite[name])) > 1]
        scores = finite[AVERAGE].to_numpy(np.float64)
        reason = "" if varied and len(finite) >= FEWEST else f"fewer than {FEWEST} different settings"
        if not reason and np.ptp(scores) == 0:
            reason = "all settings score the same"
        found = dict.fromkeys(names, math.nan if reason else 0.0)
        if not reason:
            found |= _explain(finite[varied], scores, space, seed, method)
        ranked = sorted(found.items(), key=lambda item: (-item[1] if math.isfinite(item[1]) else 0.0, item[0]))
        rows += [(task, variable, name, value, method, len(finite), reason) for name, value in ranked]
    return pd.DataFrame(rows, columns=COLUMNS)


def _explain(
    values: pd.DataFrame, scores: NDArray[np.float64], space: Mapping[str, Sampler], seed: int, method: str
) -> dict[str, float]:
    columns, distributions = {}, {}
    for name in values:
        columns[str(name)], distributions[str(name)] = _on_scale(list(values[name]), space[str(name)])
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(direction="maximize")
        for row, score in enumerate(scores):
            params = {name: column[row] for name, column in columns.items()}
            study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=float(score)))
        found = optuna.importance.get_param_importances(study, evaluator=_evaluator(method, seed), params=list(columns))
    finally:
        optuna.logging.set_verbosity(level)
    return {name: float(value) for name, value in found.items()}


def _evaluator(method: str, seed: int) -> optuna.importance.BaseImportanceEvaluator:
    if method == "fanova":
        return optuna.importance.FanovaImportanceEvaluator(n_trees=TREES, seed=seed % 2**32)
    return optuna.importance.PedAnovaImportanceEvaluator()


def _on_scale(values: list[Value], sampler: Sampler) -> tuple[list[Value], BaseDistribution]:
    """Put the values of one parameter on the scale it was drawn on, with the range they take there."""
    if any(isinstance(value, bool | np.bool_ | str) for value in values):
        plain = [value if isinstance(value, str) else bool(value) for value in values]
        return list(plain), CategoricalDistribution(sorted(set(plain)))
    numbers = np.array(values, np.float64)
    if _is_logarithmic(sampler) and (numbers > 0).any():
        lowest = numbers[numbers > 0].min() / 10
        numbers = np.log10(np.where(numbers > 0, numbers, lowest))
    return numbers.tolist(), FloatDistribution(float(numbers.min()), float(numbers.max()))


def _is_logarithmic(sampler: Sampler) -> bool:
    parts = sampler.parts if isinstance(sampler, Mixture) else (sampler,)
    return any(isinstance(part, Exponential) for part in parts)
