"""Learning rates that follow from the epoch or the iteration alone.

Source: the semantics of mmcv 1.7's learning-rate hooks, in which warm-up multiplies the regular rate of the same
moment. Built on `torch.optim.lr_scheduler.LambdaLR`, so that a rate needs no history; where there is no warm-up and no
floor, torch's ``MultiStepLR``, ``StepLR`` and ``CosineAnnealingLR`` give the same.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

import torch
from torch.optim.lr_scheduler import LambdaLR

from nbpkg.errors import Problem, SettingsError, raise_all

Policy = Literal["fixed", "step", "cosine"]
Warmup = Literal["none", "constant", "linear", "exponential"]


@dataclass(frozen=True)
class Schedule:
    """How a learning rate goes through a training.

    Parameters
    ----------
    policy
        ``fixed``; ``step``: times `gamma` at each of `steps`; ``cosine``: along half a cosine down to `floor`.
    by_epoch
        Whether `steps` and the cosine count epochs, and the rate stays within an epoch; otherwise iterations.
    steps
        When the rate falls: a list of moments, or one number for every so many.
    gamma
        By what it is multiplied then.
    floor
        What ``step`` never falls below, and where ``cosine`` ends. None: no floor, or 0.
    warmup
        How the rate begins: multiplied by `warmup_ratio` (``constant``), by what rises from it to 1 evenly
        (``linear``), or by equal factors (``exponential``).
    warmup_length
        How long, in iterations, or in epochs if `warmup_by_epoch`.
    warmup_ratio
        Share of the regular rate at the beginning.
    warmup_by_epoch
        Unit of `warmup_length`.

    Raises
    ------
    SettingsError
        Listing every value that cannot be used, or would be without effect.
    """

    policy: Policy = "fixed"
    by_epoch: bool = True
    steps: tuple[int, ...] | int = ()
    gamma: float = 0.1
    floor: float | None = None
    warmup: Warmup = "none"
    warmup_length: int = 0
    warmup_ratio: float = 0.1
    warmup_by_epoch: bool = False

    def __post_init__(self) -> None:
        problems = [
            Problem(f"{name} is {value!r}.", expected=f"One of {', '.join(known)}.")
            for name, value, known in (
                ("policy", self.policy, get_args(Policy)),
                ("warmup", self.warmup, get_args(Warmup)),
            )
            if value not in known
        ]
        problems += self._check_steps()
        if not 0 < self.gamma < math.inf:
            problems.append(Problem(f"gamma is {self.gamma}.", expected="Above 0."))
        if self.floor is not None and not 0 <= self.floor < math.inf:
            problems.append(Problem(f"floor is {self.floor}.", expected="At least 0."))
        if not 0 < self.warmup_ratio <= 1:
            problems.append(Problem(f"warmup_ratio is {self.warmup_ratio}.", expected="Above 0, at most 1."))
        if self.warmup_length < 0 or (self.warmup == "none") != (self.warmup_length == 0):
            text = f"warmup is {self.warmup!r} and warmup_length {self.warmup_length}."
            problems.append(Problem(text, expected="A length from 1 with a warm-up, and 0 without."))
        raise_all(problems, SettingsError, summary="settings of the learning rate cannot be used.")

    def _check_steps(self) -> list[Problem]:
        """Check that policy ``step`` has steps, and no other has."""
        moments = [self.steps] if isinstance(self.steps, int) else list(self.steps)
        rising = all(before < after for before, after in zip([0, *moments], moments, strict=False))
        if self.policy == "step" and not (moments and rising):
            return [Problem(f"steps are {self.steps}.", expected="Rising whole numbers from 1, or one of them.")]
        if self.policy != "step" and moments:
            return [Problem(f"policy {self.policy} has steps.", expected="None.", remedy="Drop them, or use step.")]
        return []


@dataclass(frozen=True)
class Span:
    """How long a training is.

    Parameters
    ----------
    epochs
        Passes over the data.
    iterations
        Steps of the optimiser in each.
    """

    epochs: int
    iterations: int

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.iterations < 1:
            raise SettingsError(
                f"The training has {self.epochs} epochs of {self.iterations} iterations.",
                expected="At least one of each.",
                remedy="Look at the number of epochs, the training clips and the batch size.",
            )


def rate_at(schedule: Schedule, iteration: int, *, base: float, span: Span) -> float:
    """Work out the learning rate of one iteration.

    Parameters
    ----------
    schedule
        How it goes.
    iteration
        From 0, through all epochs.
    base
        The rate that it goes from.
    span
        How long the training is.

    Returns
    -------
    float
        The rate with which this iteration steps.

    Examples
    --------
    >>> falling = Schedule("step", steps=(2,), warmup="linear", warmup_length=2)
    >>> [round(rate_at(falling, place, base=1.0, span=Span(3, 2)), 3) for place in range(6)]
    [0.1, 0.55, 1.0, 1.0, 0.1, 0.1]
    """
    regular = _find_regular(schedule, iteration, base, span)
    length = schedule.warmup_length * (span.iterations if schedule.warmup_by_epoch else 1)
    if schedule.warmup == "none" or iteration >= length:
        return regular
    if schedule.warmup == "constant":
        return regular * schedule.warmup_ratio
    left = 1 - iteration / length
    if schedule.warmup == "linear":
        return regular * (1 - left * (1 - schedule.warmup_ratio))
    return float(regular * schedule.warmup_ratio**left)


def schedule_optimiser(optimiser: torch.optim.Optimizer, schedule: Schedule, *, span: Span) -> LambdaLR:
    """Let an optimiser follow a schedule, each group of parameters from its own rate.

    Parameters
    ----------
    optimiser
        Its groups' rates are those that the schedule goes from, and above 0.
    schedule
        How they go; a floor is the same for all groups.
    span
        How long the training is.

    Returns
    -------
    torch.optim.lr_scheduler.LambdaLR
        To be stepped after every iteration; the first iteration's rate is set at once.
    """
    bases = [float(group.get("initial_lr", group["lr"])) for group in optimiser.param_groups]
    return LambdaLR(optimiser, [partial(_find_factor, schedule, base, span) for base in bases])


def warm_cosine(span: Span, *, share: float = 0.05) -> Schedule:
    """Return a cosine over iterations down to 0 that warms up for a share of the training.

    Parameters
    ----------
    span
        How long the training is.
    share
        Of its iterations, rounded; where that is none, there is no warm-up.
    """
    length = round(share * span.epochs * span.iterations)
    return Schedule("cosine", by_epoch=False, warmup="linear" if length else "none", warmup_length=length)


def find_unreached(schedule: Schedule, span: Span) -> list[Problem]:
    """Say which parts of a schedule lie behind the end of a training.

    Parameters
    ----------
    schedule
        How the rate is to go.
    span
        How long the training is.

    Returns
    -------
    list of Problem
        An error for a warm-up without end, with which the rate is never reached; ``warning`` for falls behind the end.
        Published settings warmed up for 34 of 25 epochs, or fell in epoch 40 of 25.
    """
    whole = span.epochs * span.iterations
    length = schedule.warmup_length * (span.iterations if schedule.warmup_by_epoch else 1)
    problems = []
    if length >= whole:
        text = f"The warm-up takes {length} of {whole} iterations."
        problems.append(Problem(text, "A warm-up that ends.", "Shorten it."))
    end, unit = (span.epochs, "epochs") if schedule.by_epoch else (whole, "iterations")
    moments = (schedule.steps,) if isinstance(schedule.steps, int) else schedule.steps
    late = [str(moment) for moment in moments if moment >= end]
    if late:
        text = f"The rate is to fall after {', '.join(late)} of {end} {unit}."
        problems.append(Problem(text, "Steps within the training.", "Move them, or train longer.", severity="warning"))
    return problems


def _find_regular(schedule: Schedule, iteration: int, base: float, span: Span) -> float:
    """Return the rate without warm-up."""
    moment = iteration // span.iterations if schedule.by_epoch else iteration
    if schedule.policy == "fixed":
        return base
    if schedule.policy == "step":
        steps = schedule.steps
        falls = moment // steps if isinstance(steps, int) else bisect_right(steps, moment)
        return float(max(base * schedule.gamma**falls, schedule.floor or 0.0))
    whole = span.epochs if schedule.by_epoch else span.epochs * span.iterations
    floor = schedule.floor or 0.0
    return floor + 0.5 * (base - floor) * (1 + math.cos(math.pi * moment / whole))


def _find_factor(schedule: Schedule, base: float, span: Span, iteration: int) -> float:
    return rate_at(schedule, iteration, base=base, span=span) / base
