"""Where the settings of a search are drawn from: plain samplers, and draws that depend on nothing but the seed.

Source: MarcFraile/infant-engagement, ``local/search`` and the search scripts, which drew all settings from one unseeded
stream; here setting i has its own child seed, so that neither the number of settings nor of workers changes it.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from nbpkg.errors import SettingsError
from nbpkg.seeding import child
from nbpkg.settings.learning import SearchSettings

Value: TypeAlias = float | bool | str
Setting: TypeAlias = dict[str, Value]

FORMS = 'A number, text or true/false; a list to choose from; {"log10": [low, high]} or {"uniform": [low, high]}, '
FORMS += 'both with "zero": p where 0 is wanted with probability p.'


@dataclass(frozen=True)
class Constant:
    """Always the same value, without touching the random numbers."""

    value: Value

    def draw(self, source: random.Random) -> Value:  # noqa: ARG002 - all samplers are called alike
        """Return the value."""
        return self.value


@dataclass(frozen=True)
class Uniform:
    """Evenly between `low` and `high`."""

    low: float
    high: float

    def draw(self, source: random.Random) -> Value:
        """Draw one number."""
        return source.uniform(self.low, self.high)


@dataclass(frozen=True)
class Exponential:
    """`base` to the power of a number drawn evenly between `low` and `high`: even on a logarithmic scale."""

    base: float
    low: float
    high: float

    def draw(self, source: random.Random) -> Value:
        """Draw one number."""
        return float(self.base ** source.uniform(self.low, self.high))


@dataclass(frozen=True)
class Choice:
    """One of `options`, all equally likely."""

    options: tuple[Value, ...]

    def draw(self, source: random.Random) -> Value:
        """Draw one option."""
        return source.choice(self.options)


@dataclass(frozen=True)
class Mixture:
    """One of several samplers, likely as their `weights`, and then a draw from it."""

    parts: tuple[Constant | Uniform | Exponential | Choice, ...]
    weights: tuple[float, ...]

    def draw(self, source: random.Random) -> Value:
        """Draw a part, then a value from it."""
        return source.choices(self.parts, weights=self.weights)[0].draw(source)


Sampler: TypeAlias = Constant | Uniform | Exponential | Choice | Mixture


def _zero_or(low: float, high: float, weights: tuple[float, float]) -> Mixture:
    return Mixture((Constant(0.0), Exponential(10, low, high)), weights)


# The order counts: `reference_draws` draws the parameters of a setting in it.
PUBLISHED_HEAD: dict[str, Sampler] = {
    "learning_rate": Exponential(10, -5, 0),
    "lr_decay": _zero_or(-3, -1, (1, 4)),
    "weight_decay": _zero_or(-4, 1, (1, 4)),
    "class_weights": Choice((True, False)),
}
PUBLISHED_FINETUNE: dict[str, Sampler] = {
    "learning_rate": Exponential(10, -8, -2),
    "lr_decay": _zero_or(-4, 0, (1, 5)),
    "weight_decay": _zero_or(-4, 0, (1, 5)),
    "class_weights": Choice((True, False)),
}


SEARCHED = tuple(PUBLISHED_HEAD)


def draw_settings(space: Mapping[str, Sampler], count: int, *, seed: int, name: str) -> list[Setting]:
    """Draw the settings of a search, each from its own child seed.

    Parameters
    ----------
    space
        Samplers by name of parameter.
    count
        How many settings.
    seed
        The experiment's seed.
    name
        Name of the search; searches of other names draw other settings.

    Returns
    -------
    list of dict
        Setting i is the same whatever `count` is.

    Examples
    --------
    >>> some = draw_settings(PUBLISHED_HEAD, 3, seed=0, name="eggs attending")
    >>> some == draw_settings(PUBLISHED_HEAD, 50, seed=0, name="eggs attending")[:3]
    True
    """
    sources = (random.Random(child(seed, "search", name, index)) for index in range(count))
    return [_draw(space, source) for source in sources]


def reference_draws(space: Mapping[str, Sampler], count: int, seed: int) -> list[Setting]:
    """Draw settings as the published program does: one stream of Python's random numbers, in the order of `space`.

    Parameters
    ----------
    space
        Samplers by name of parameter, in the order in which they are drawn.
    count
        How many settings.
    seed
        Seed of the stream; the published program set none.
    """
    source = random.Random(seed)
    return [_draw(space, source) for _ in range(count)]


def _draw(space: Mapping[str, Sampler], source: random.Random) -> Setting:
    return {name: sampler.draw(source) for name, sampler in space.items()}


def space_of(settings: SearchSettings) -> dict[str, Sampler]:
    """Return the samplers of a search, from the settings of its phase."""
    return space_from_plain({name: getattr(settings, name) for name in SEARCHED})


def space_from_plain(plain: Mapping[str, Any]) -> dict[str, Sampler]:
    """Build the samplers of all parameters of a parameter file (see `from_plain`)."""
    return {name: from_plain(value, name) for name, value in plain.items()}


def from_plain(value: Any, key: str = "setting") -> Sampler:
    """Build a sampler from the form it has in a parameter file.

    Parameters
    ----------
    value
        A number, text or true/false (always that), a list (one of them), ``{"log10": [low, high], "zero": p}`` (10 to
        a power between low and high, but 0 with probability p) or ``{"uniform": [low, high], "zero": p}``.
    key
        Name of the parameter, for the error.

    Raises
    ------
    SettingsError
        Naming the key, when the value has another form.

    Examples
    --------
    >>> from_plain({"log10": [-5, 0]}, "learning_rate")
    Exponential(base=10, low=-5, high=0)
    >>> from_plain([True, False], "class_weights")
    Choice(options=(True, False))
    """
    if isinstance(value, list | tuple):
        if not value:
            raise _refuse(key, value, "The list is empty.")
        return Choice(tuple(_plain_value(key, one) for one in value))
    if isinstance(value, Mapping):
        return _from_range(key, value)
    return Constant(_plain_value(key, value))


def _from_range(key: str, value: Mapping[str, Any]) -> Sampler:
    kind = next((name for name in ("log10", "uniform") if name in value), "")
    if not kind or set(value) - {kind, "zero"}:
        raise _refuse(key, value, "The names in it are not understood.")
    low, high = _range(key, value, value[kind])
    zero = value.get("zero", 0)
    if not _is_number(zero) or not 0 <= zero < 1:
        raise _refuse(key, value, "'zero' is no probability below 1.")
    ranged = Exponential(10, low, high) if kind == "log10" else Uniform(low, high)
    return Mixture((Constant(0.0), ranged), (zero, 1 - zero)) if zero else ranged


def _range(key: str, value: Any, ends: Any) -> Sequence[float]:
    if not isinstance(ends, list | tuple) or len(ends) != 2 or not all(map(_is_number, ends)):
        raise _refuse(key, value, "A range has two numbers.")
    if ends[0] > ends[1]:
        raise _refuse(key, value, "The range ends before it begins.")
    return ends


def _plain_value(key: str, value: Any) -> Value:
    if isinstance(value, str):
        # YAML reads 1e-3, without a point, as text; a search would carry it along as the name of an option.
        if _reads_as_number(value):
            raise _refuse(key, value, "It is text that looks like a number; write it with a point, as 1.0e-3.")
        return value
    if isinstance(value, bool) or _is_number(value):
        return value  # type: ignore[no-any-return]
    raise _refuse(key, value, "It has no form of a setting.")


def _reads_as_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _refuse(key: str, value: Any, why: str) -> SettingsError:
    return SettingsError(
        f"'{key}: {value!r}' cannot be searched.", where=f"setting {key!r}", expected=FORMS, remedy=why
    )
