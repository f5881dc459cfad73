"""What notebook 06 asks of the networks of all phases: whose answer counts where, and how systems are fused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg import tables
from nbpkg.datasets.valence.recording import Recording
from nbpkg.errors import StageError, TableError
from nbpkg.metrics.valence.average import average_predictions
from nbpkg.settings.valence import FusionSettings
from nbpkg.training.valence.fusion import FINAL, FusionData, FusionSystem, Source, take_answers
from nbpkg.training.valence.fusion_rounds import FusionFound, cross_validate_fusion, fuse_final
from nbpkg.training.valence.fusion_svr import SvrSetting
from nbpkg.training.valence.networks import Trained, load_valence_networks

Array = NDArray[np.float64]
FUSION, AVERAGE, PERSONAL = "fusion", "average", "_personal"


class Phases(Mapping[str, Sequence[Trained]]):
    """Networks by phase of training."""

    def __init__(self, networks: Mapping[str, Sequence[Trained]]) -> None:
        self._networks = dict(networks)

    def __getitem__(self, phase: str) -> Sequence[Trained]:
        return self._networks[phase]

    def __iter__(self) -> Iterator[str]:
        return iter(self._networks)

    def __len__(self) -> int:
        return len(self._networks)

    @property
    def everybody(self) -> list[Trained]:
        """Networks that are nobody's own: of the folds, at the epochs scored last, and the final one."""
        folds = self._networks.get("rescore") or self._networks.get("crossval") or ()
        return [*folds, *self._networks.get("final", ())]

    def systems(self, name: str) -> dict[str, list[Trained]]:
        """Return ways of answering: everybody's networks under the experiment's name, and listeners' own."""
        found = {name: self.everybody}
        if self._networks.get("personal"):
            found[f"{name}{PERSONAL}"] = list(self._networks["personal"])
        return {system: own for system, own in found.items() if own}


def load_phases(folders: Mapping[str, Path]) -> Phases:
    """Load the networks of every phase that was run.

    Parameters
    ----------
    folders
        Step (``train/final``) to its run folder.

    Raises
    ------
    StageError
        When no phase left a network.
    """
    found = {step.partition("/")[2]: load_valence_networks(folder) for step, folder in folders.items()}
    if not any(found.values()):
        raise StageError(
            "No phase of training left a network.",
            expected="At least one of crossval, rescore, final or personal with a result.",
            remedy="Look at the trials of notebook 05, and run it again.",
        )
    return Phases(found)


def fuse_systems(
    systems: Sequence[FusionSystem],
    answers: Sequence[pd.DataFrame],
    recordings: Mapping[str, Recording],
    folds: pd.DataFrame,
    *,
    settings: FusionSettings,
    ratio: int,
) -> FusionFound:
    """Fuse what several systems hold by regression, and average what they answer.

    Parameters
    ----------
    systems
        This experiment's and the others', as they were dumped.
    answers
        Tables ``valence_predictions``, one of each system; the mean is taken of sessions that all answered alike.
    recordings
        Truth and length of every session.
    folds
        Table ``folds``.
    settings
        Of the regression.
    ratio
        Frames of a step.

    Returns
    -------
    FusionFound
        Answers of ``fusion`` (and ``average`` with two systems or more); trials of the regression. Both are empty where
        a system lacks the networks: of the folds for sessions held out, the final one for those kept for the end.
    """
    grid = [SvrSetting(cost, settings.gamma or "auto", settings.epsilon, settings.tolerance) for cost in settings.c]
    own = folds[folds["session"].isin(list(recordings))]
    fused = [take_answers(table, own) for table in _whole(answers)] if settings.source == "answers" else list(systems)
    has = [{one.fold for one in system.rounds} for system in systems]
    train = set(own.loc[own["role"] == "train", "fold"])
    found: list[FusionFound] = []
    if len(train) > 1 and all(train <= rounds for rounds in has):
        data = FusionData(tuple(fused), recordings, own)
        source: Source = "in_fold" if settings.source == "in_fold" else "out_of_fold"
        steps = [cross_validate_fusion]
        if (own["role"] == "test").any() and all(FINAL in rounds for rounds in has):
            steps.append(fuse_final)
        for step in steps:
            made = step(data, grid=grid, ratio=ratio, source=source, normalise=settings.normalise, system=FUSION)
            found.append(made)
    parts = [one.predictions for one in found] + ([_average(answers)] if len(systems) > 1 else [])
    return FusionFound(
        tables.check(pd.concat(parts), "valence_predictions") if parts else tables.empty("valence_predictions"),
        tables.check(pd.concat([one.trials for one in found]), "valence_trials")
        if found
        else tables.empty("valence_trials"),
        pd.concat([one.search for one in found]) if found else pd.DataFrame(),
        {fold: fitted for one in found for fold, fitted in one.fitted.items()},
    )


def read_originals(
    valence: pd.DataFrame, recordings: Mapping[str, Recording]
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return, by session, the listener's annotation and another person's, frame by frame; none of withheld sessions.

    Parameters
    ----------
    valence
        Table ``valence``.
    recordings
        Sessions, by name.

    Raises
    ------
    TableError
        When several other people annotated: their mean would hide who is meant.
    """
    known = {name: one.original for name, one in recordings.items() if not one.hidden}
    other = valence[(valence["rater"] != "self") & valence["session"].isin(list(known))]
    raters = sorted(set(other["rater"]))
    if len(raters) > 1:
        raise TableError(
            f"{len(raters)} other people annotated: {', '.join(raters)}.",
            expected="One, beside the listener.",
        )
    frames = other.sort_values(["session", "frame"]).groupby("session")["value"]
    return known, {str(name): course.to_numpy(np.float64) for name, course in frames}


def _average(answers: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Average the systems on the sessions that all answered in the same role."""
    whole = _whole(answers)
    pairs = [set(zip(table["session"], table["role"], strict=True)) for table in whole]
    both = set.intersection(*pairs)
    kept = [table[[one in both for one in zip(table["session"], table["role"], strict=True)]] for table in whole]
    return average_predictions(kept, system=AVERAGE)


def _whole(answers: Sequence[pd.DataFrame]) -> list[pd.DataFrame]:
    """Leave out answers of listeners' own networks: they are another way of asking the same system."""
    return [table for table in answers if not str(table["system"].iloc[0]).endswith(PERSONAL)]
