"""What notebook 06 asks of the networks of all phases: whose answer counts where, and how systems are fused."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg import tables
from nbpkg.datasets.valence.recording import Recording
from nbpkg.errors import SettingsError, StageError, TableError
from nbpkg.metrics.valence.average import average_predictions
from nbpkg.settings.valence import FusionSettings
from nbpkg.training.valence.fusion.features import FINAL, FusionData, FusionSystem, Source, take_answers
from nbpkg.training.valence.fusion.rounds import FusionFound, cross_validate_fusion, fuse_final
from nbpkg.training.valence.fusion.saved import answer_saved, read_svr
from nbpkg.training.valence.fusion.svr import SvrSetting
from nbpkg.training.valence.networks import Trained, load_valence_networks

Array = NDArray[np.float64]
Step = Callable[..., FusionFound]
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
        """Return ways of answering: everybody's networks under the experiment's name, and listeners' own.

        For a listener without a network of their own everybody's go on answering.
        """
        found = {name: self.everybody}
        if self._networks.get("personal"):
            found[f"{name}{PERSONAL}"] = [*self._networks["personal"], *self.everybody]
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
    data: Path | None = None,
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
    data
        Data folder, in which a regression that was saved before is named.

    Returns
    -------
    FusionFound
        Answers of ``fusion`` (and ``average`` with two systems or more); trials of the regression. Both are empty where
        a system lacks the networks: of the folds for sessions held out, the final one for those kept for the end.

    Raises
    ------
    SettingsError
        When two systems have one name, or a saved regression lies outside the data folder.
    FoldError, TableError, WeightsError
        As the fusion and `read_svr` say.
    """
    whole = _whole(answers)
    _refuse_one_name(whole)
    own = folds[folds["session"].isin(list(recordings))]
    steps = _list_steps(systems, whole, own, source=settings.source)
    found = []
    if steps:
        fused = [take_answers(table, own) for table in whole] if settings.source == "answers" else list(systems)
        material = FusionData(tuple(fused), recordings, own)
        if settings.saved:
            fitted = read_svr(_inside(data, settings.saved))
            found = [answer_saved(material, fitted, ratio=ratio, system=FUSION)]
        else:
            found = _fit(material, settings, steps=steps, ratio=ratio)
    parts = [one.predictions for one in found] + ([_average(whole)] if len(whole) > 1 else [])
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


def _list_steps(
    systems: Sequence[FusionSystem], answers: Sequence[pd.DataFrame], own: pd.DataFrame, *, source: str
) -> list[Step]:
    """List what can be done with the networks that there are: fold after fold, and for the sessions kept for the end.

    What networks hold of sessions that they learnt from is fitted to only where that is asked for (``in_fold``).
    """
    train = own[own["role"] == "train"]
    learnt = any((table["role"].eq("train") & table["session"].isin(train["session"])).any() for table in answers)
    folds = set(train["fold"])
    whole = len(folds) > 1 and all(folds <= _folds_of(one) for one in systems)
    final = bool((own["role"] == "test").any()) and all(FINAL in _folds_of(one) for one in systems)
    if source != "in_fold" and (learnt or not whole):
        return []
    return [*([cross_validate_fusion] if whole else []), *([fuse_final] if final else [])]


def _fit(data: FusionData, settings: FusionSettings, *, steps: Sequence[Step], ratio: int) -> list[FusionFound]:
    """Fit the regression, in every step with the same settings."""
    grid = [SvrSetting(cost, settings.gamma or "auto", settings.epsilon, settings.tolerance) for cost in settings.c]
    source: Source = "in_fold" if settings.source == "in_fold" else "out_of_fold"
    return [
        step(data, grid=grid, ratio=ratio, source=source, normalise=settings.normalise, system=FUSION) for step in steps
    ]


def _folds_of(system: FusionSystem) -> set[int]:
    return {one.fold for one in system.rounds}


def _inside(data: Path | None, name: str) -> Path:
    """Return a file of the data folder."""
    if data is None or not (data / name).resolve().is_relative_to(data.resolve()):
        raise SettingsError(
            f"evaluate.fusion.saved is {name!r}, which lies in no data folder.",
            expected="A file inside the data folder.",
            remedy="Copy the regression there.",
        )
    return data / name


def _refuse_one_name(answers: Sequence[pd.DataFrame]) -> None:
    names = [str(table["system"].iloc[0]) for table in answers]
    mixed = {str(table["system"].iloc[0]) for table in answers if table.duplicated(["session", "step"]).any()}
    twice = sorted({name for name in names if names.count(name) > 1} | mixed)
    if twice:
        raise SettingsError(
            f"Two systems are called {', '.join(map(repr, twice))}.",
            expected="Each experiment once, under a name of its own.",
            remedy="Take one of them out of inputs, or rename the experiment (experiment:) and run it again.",
        )


def _average(whole: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Average the systems on the sessions that all answered in the same role."""
    pairs = [set(zip(table["session"], table["role"], strict=True)) for table in whole]
    both = set.intersection(*pairs)
    if not both:
        return tables.empty("valence_predictions")
    kept = [table[[one in both for one in zip(table["session"], table["role"], strict=True)]] for table in whole]
    return average_predictions(kept, system=AVERAGE)


def _whole(answers: Sequence[pd.DataFrame]) -> list[pd.DataFrame]:
    """Return a table for each system, without listeners' own networks: another way of asking the same system.

    The tables of other experiments hold both; so does the name, which an experiment may end with, too.
    """
    parts = [(str(name), rows) for table in answers for name, rows in table.groupby("system", sort=False)]
    names = {name for name, _ in parts}
    return [rows for name, rows in parts if not (name.endswith(PERSONAL) and name.removesuffix(PERSONAL) in names)]
