"""The network that answers for the test sessions: trained on all training sessions, or with an eye on some subjects."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nbpkg.errors import SettingsError
from nbpkg.runs.files import read_json
from nbpkg.training.rounds import Where
from nbpkg.training.valence.crossval import train_rounds
from nbpkg.training.valence.material import ValenceMaterial
from nbpkg.training.valence.networks import LIST
from nbpkg.training.valence.one_round import Plan, Start
from nbpkg.training.valence.outcome import ValenceFound, gather
from nbpkg.training.valence.rounds import Round


def train_final(
    material: ValenceMaterial, one: Round, *, plan: Plan, start: Start | None, where: Where
) -> ValenceFound:
    """Train the network on all sessions of its round.

    Parameters
    ----------
    material
        What may be seen.
    one
        Its sessions, see `nbpkg.training.valence.rounds.list_final`.
    plan
        What is trained, and how.
    start
        Where it begins; None for random weights.
    where
        Run folder and device.

    Raises
    ------
    DivergedError, StageError, WeightsError
        As `train_rounds` says.
    """
    starts = {} if start is None else {one.name: start}
    outcomes = train_rounds(material, [one], plan=plan, where=where, starts=starts)
    return gather(outcomes, system=material.system, phase=plan.phase)


def find_epochs(given: int | None, folders: list[Path]) -> int:
    """Return how long to train: the number given, or the median of the epochs that folds kept in an earlier phase.

    Parameters
    ----------
    given
        The setting; None to take it from what was found.
    folders
        Run folders of earlier phases; the first one counts.

    Raises
    ------
    SettingsError
        When there is neither.
    """
    if given is not None:
        return given
    if not folders:
        raise SettingsError(
            "train.final.epochs must be given, because this experiment runs no cross-validation before.",
            expected="A number of epochs, or 'crossval' in train.phases.",
            remedy="State it, or add the phase.",
        )
    kept = [entry["epoch"] for entry in read_json(folders[0] / LIST)["networks"]]
    return max(1, int(np.median(kept)))
