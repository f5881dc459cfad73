"""Steps of a training: which parameter learns how fast, by a rate that follows from the iteration alone."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from nbpkg.errors import DivergedError
from nbpkg.settings.people import PeopleLearning
from nbpkg.training.people.schedules import Schedule, Span, rate_at

EMBEDDINGS = ("cls_token", "pos_embed", "time_embed", "role_embed", "mod_embed", "mem_init", "class_token")
_NORMS = (_BatchNorm, nn.LayerNorm, nn.GroupNorm)
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


class Stepper:
    """An optimiser with its schedule and limit of gradients.

    Parameters
    ----------
    network
        What learns, on its device.
    how
        Settings.
    span
        How long the training is, in batches.

    Raises
    ------
    SettingsError
        When the schedule cannot be used.
    """

    def __init__(self, network: nn.Module, how: PeopleLearning, *, span: Span) -> None:
        self.how, self.span = how, span
        self.schedule = plan_rate(how, span)
        self.optimiser = _build(group_parameters(network, how), how)
        self.weights = [weight for group in self.optimiser.param_groups for weight in group["params"]]
        self.rate = how.learning_rate
        self.norms: list[float] = []

    def enter(self, iteration: int) -> None:
        """Set the rates of one iteration, from 0 through all epochs."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate_at(self.schedule, iteration, base=float(group["initial_lr"]), span=self.span)
        self.rate = rate_at(self.schedule, iteration, base=self.how.learning_rate, span=self.span)

    def step(self) -> None:
        """Limit the gradients that are there, step, and clear them.

        Raises
        ------
        DivergedError
            Before a step along gradients that are no numbers.
        """
        limit = self.how.clip_norm or math.inf
        norm = float(nn.utils.clip_grad_norm_(self.weights, limit))
        if not math.isfinite(norm):
            raise DivergedError(
                f"The norm of the gradients is {norm}.",
                expected="A finite number.",
                remedy="Use a lower learning rate, or look for inputs that are not finite.",
            )
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.norms.append(norm)


def plan_rate(how: PeopleLearning, span: Span) -> Schedule:
    """Put the settings of the learning rate together; a step's moments count epochs, all else iterations."""
    length = round(how.warm_up * span.epochs * span.iterations)
    warm: dict[str, Any] = {"warmup": "linear", "warmup_length": length} if length else {}
    if how.schedule == "step":
        return Schedule("step", steps=tuple(how.steps), **warm)
    return Schedule("cosine" if how.schedule == "cosine" else "fixed", by_epoch=False, **warm)


def group_parameters(network: nn.Module, how: PeopleLearning) -> list[dict[str, Any]]:
    """Deal what learns into groups, each with its rate and decay.

    Parameters
    ----------
    network
        Whose parameters learn unless they are frozen.
    how
        ``groups``: ``all`` alike; ``tsm``: biases at twice the rate and without decay, norms without decay;
        ``no_embedding_decay``: learnt tokens and places without decay.

    Returns
    -------
    list of dict
        Groups as `torch.optim` takes them; empty ones are left out.

    Source
    ------
    mmaction2's constructor for TSM. Its setting for TimeSformer asks for no decay of ``.pos_embed`` and the like, which
    matches no name, so that these did decay; here they do not.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, weight, module in _list_weights(network):
        times, decay = 1.0, how.weight_decay
        if how.groups == "tsm":
            times, decay = _rate_as_tsm(name, module, decay)
        elif how.groups == "no_embedding_decay" and set(name.split(".")) & set(EMBEDDINGS):
            decay = 0.0
        groups.setdefault((times * how.learning_rate, decay), []).append(weight)
    return [
        {"params": weights, "lr": rate, "initial_lr": rate, "weight_decay": decay}
        for (rate, decay), weights in groups.items()
    ]


def _rate_as_tsm(name: str, module: nn.Module, decay: float) -> tuple[float, float]:
    if isinstance(module, _NORMS):
        return 1.0, 0.0
    if isinstance(module, (*_CONVOLUTIONS, nn.Linear)) and name.endswith("bias"):
        return 2.0, 0.0
    return 1.0, decay


def _list_weights(network: nn.Module) -> Iterator[tuple[str, nn.Parameter, nn.Module]]:
    """Give the name of each parameter that learns, the parameter, and whose it is; shared ones once."""
    seen: set[int] = set()
    for place, module in network.named_modules():
        for name, weight in module.named_parameters(recurse=False):
            if weight.requires_grad and id(weight) not in seen:
                seen.add(id(weight))
                yield f"{place}.{name}".lstrip("."), weight, module


def _build(groups: list[dict[str, Any]], how: PeopleLearning) -> torch.optim.Optimizer:
    if how.optimiser == "sgd":
        nesterov = how.nesterov and how.momentum > 0
        return torch.optim.SGD(groups, lr=how.learning_rate, momentum=how.momentum, nesterov=nesterov)
    kind = torch.optim.AdamW if how.optimiser == "adamw" else torch.optim.Adam
    return kind(groups, lr=how.learning_rate)
