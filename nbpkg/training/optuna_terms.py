"""Samplers in Optuna's terms: a mixture is the part that was taken, and that part's own value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import Trial

from nbpkg.errors import SettingsError
from nbpkg.training.spaces import Choice, Constant, Exponential, Mixture, Sampler, Setting, Uniform, Value


def suggest(trial: Trial, key: str, *, sampler: Sampler) -> Value:
    """Let Optuna's sampler propose a value of one parameter."""
    if isinstance(sampler, Constant):
        return sampler.value
    if isinstance(sampler, Choice):
        return trial.suggest_categorical(key, sampler.options)  # type: ignore[return-value]
    if isinstance(sampler, Mixture):
        part = trial.suggest_categorical(f"{key} part", list(range(len(sampler.parts))))
        return suggest(trial, f"{key} {part}", sampler=sampler.parts[part])
    low, high, log = _limits(sampler)
    return trial.suggest_float(key, low, high, log=log)


def _limits(sampler: Uniform | Exponential) -> tuple[float, float, bool]:
    if isinstance(sampler, Uniform):
        return float(sampler.low), float(sampler.high), False
    return float(sampler.base**sampler.low), float(sampler.base**sampler.high), True


def encode(space: Mapping[str, Sampler], setting: Setting) -> dict[str, tuple[Any, BaseDistribution]]:
    """Write a setting as Optuna's parameters: value and distribution by name.

    Raises
    ------
    SettingsError
        When the setting has other parameters than the space, or lies outside it.
    """
    if set(space) != set(setting):
        raise SettingsError(f"A setting has {sorted(setting)}.", expected=f"Exactly {sorted(space)}, as the space.")
    encoded: dict[str, tuple[Any, BaseDistribution]] = {}
    for key, sampler in space.items():
        part = _place(key, sampler, setting[key])
        if part is None:
            raise SettingsError(f"'{key}: {setting[key]!r}' lies outside the space.", expected=f"From {sampler}.")
        encoded |= part
    return encoded


def _place(key: str, sampler: Sampler, value: Value) -> dict[str, tuple[Any, BaseDistribution]] | None:
    """One parameter in Optuna's terms; None when the sampler cannot have drawn it."""
    if isinstance(sampler, Constant):
        return {} if value == sampler.value else None
    if isinstance(sampler, Choice):
        return {key: (value, CategoricalDistribution(sampler.options))} if value in sampler.options else None
    if isinstance(sampler, Mixture):
        for number, part in enumerate(sampler.parts):
            if (inner := _place(f"{key} {number}", part, value)) is not None:
                choice = (number, CategoricalDistribution(list(range(len(sampler.parts)))))
                return {f"{key} part": choice, **inner}
        return None
    low, high, log = _limits(sampler)
    slack = 1e-9 * abs(high)
    if isinstance(value, bool | str) or not low - slack <= value <= high + slack:
        return None
    return {key: (min(max(float(value), low), high), FloatDistribution(low, high, log=log))}
