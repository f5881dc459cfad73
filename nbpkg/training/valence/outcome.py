"""What a phase of valence training found, as tables, and how its networks are listed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pandas as pd

from nbpkg import tables

TRIALS, HISTORY, EPOCHS = "valence_trials", "valence_history", "valence_epochs"
COSTS = ("system", "round", "epochs", "seconds", "steps_per_second")
CCC = ("train_ccc", "inner_ccc", "held_out_ccc", "optimistic_ccc")


class ValenceFound(NamedTuple):
    """What a phase found.

    Parameters
    ----------
    trials
        Table ``valence_trials``: one row per training.
    history
        Table ``valence_history``: every loss and score of every epoch; empty for ``rescore``.
    epochs
        Table ``valence_epochs``: mean and spread over folds of every kept epoch; empty but for ``rescore``.
    networks
        What ``networks.json`` says: system, phase and a list of networks.
    costs
        Seconds and steps per second of each training. They differ from run to run and are part of no result.
    """

    trials: pd.DataFrame
    history: pd.DataFrame
    epochs: pd.DataFrame
    networks: dict[str, Any]
    costs: pd.DataFrame


@dataclass(frozen=True)
class Outcome:
    """One round that is over.

    Parameters
    ----------
    trial
        Its row of table ``valence_trials``.
    history
        Rows of table ``valence_history``: epoch, split, metric, value.
    network
        Its entry of ``networks.json``; None where there is no network.
    seconds, steps
        What it took: time, and seconds of training material that went through the network.
    """

    trial: Mapping[str, Any]
    history: Sequence[Sequence[Any]] = ()
    network: Mapping[str, Any] | None = None
    seconds: float = 0.0
    steps: int = field(default=0)


def gather(outcomes: Sequence[Outcome], *, system: str, phase: str, epochs: pd.DataFrame | None = None) -> ValenceFound:
    """Put the rounds of a phase together.

    Parameters
    ----------
    outcomes
        In the order of the rounds.
    system, phase
        Names.
    epochs
        Table ``valence_epochs``, if the phase makes one.
    """
    trials = pd.DataFrame([dict(one.trial) for one in outcomes])
    rows = [
        {**{name: one.trial[name] for name in ("system", "round", "fold")}, **_name(row)}
        for one in outcomes
        for row in one.history
    ]
    names = ["system", "round", "fold", "epoch", "split", "metric", "value"]
    costs = [
        [system, one.trial["round"], one.trial["epochs"], round(one.seconds, 3), round(one.steps / one.seconds, 1)]
        for one in outcomes
        if one.seconds > 0
    ]
    networks = [dict(one.network) for one in outcomes if one.network is not None]
    return ValenceFound(
        tables.check(trials, TRIALS),
        tables.check(pd.DataFrame(rows, columns=names), HISTORY),
        tables.empty(EPOCHS) if epochs is None else tables.check(epochs, EPOCHS),
        {"system": system, "phase": phase, "networks": networks},
        pd.DataFrame(costs, columns=list(COSTS)),
    )


def _name(row: Sequence[Any]) -> dict[str, Any]:
    return dict(zip(("epoch", "split", "metric", "value"), row, strict=True))
