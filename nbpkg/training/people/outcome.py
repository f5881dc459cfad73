"""What a phase of training over people found, as tables, and how its networks are listed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pandas as pd

from nbpkg import tables

TRIALS, HISTORY = "people_trials", "people_history"
_NAMES = ("system", "round", "variant", "repeat", "fold")


class PeopleFound(NamedTuple):
    """What a phase found.

    Parameters
    ----------
    trials
        Table ``people_trials``: one row per training.
    history
        Table ``people_history``: every loss and score of every epoch.
    networks
        What ``networks.json`` says: system, phase and a list of networks.
    """

    trials: pd.DataFrame
    history: pd.DataFrame
    networks: dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """One round that is over.

    Parameters
    ----------
    trial
        Its row of table ``people_trials``.
    history
        Rows epoch, split, metric, value.
    network
        Its entry of ``networks.json``.
    """

    trial: Mapping[str, Any]
    history: Sequence[Sequence[Any]]
    network: Mapping[str, Any]


def gather(outcomes: Sequence[Outcome], *, system: str, phase: str) -> PeopleFound:
    """Put the rounds of a phase together, in their order."""
    trials = pd.DataFrame([dict(one.trial) for one in outcomes])
    rows = [[*(one.trial[name] for name in _NAMES), *row] for one in outcomes for row in one.history]
    history = pd.DataFrame(rows, columns=[*_NAMES, "epoch", "split", "metric", "value"])
    networks = [dict(one.network) for one in outcomes]
    return PeopleFound(
        tables.check(trials, TRIALS) if outcomes else tables.empty(TRIALS),
        tables.check(history, HISTORY) if rows else tables.empty(HISTORY),
        {"system": system, "phase": phase, "networks": networks},
    )
