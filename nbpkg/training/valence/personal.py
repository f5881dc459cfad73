"""Personal networks: one for each subject, gone on with from a network for all with a fresh optimiser.

Source: the published program (multimodal/personalize.py) began with one fold's network and kept, for each subject, the
epoch with the best score on the one session it then reported. Here a subject's network is gone on with from every fold,
scored on the session that neither it nor its beginning has learnt from, and trained for a number of epochs.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from nbpkg.errors import SettingsError
from nbpkg.training.rounds import Where
from nbpkg.training.valence.crossval import train_rounds
from nbpkg.training.valence.material import ValenceMaterial
from nbpkg.training.valence.networks import load_valence_networks
from nbpkg.training.valence.one_round import Plan, Start
from nbpkg.training.valence.outcome import ValenceFound, gather
from nbpkg.training.valence.rounds import Round, list_personal
from nbpkg.training.valence.starts import read_start, start_from


def train_personal(
    material: ValenceMaterial, *, plan: Plan, initial: str, augment: int, earlier: Mapping[str, Path], where: Where
) -> ValenceFound:
    """Train every subject's network.

    Parameters
    ----------
    material
        What may be seen.
    plan
        What is trained, and how.
    initial
        ``crossval``: each fold's network (rescored, where that was done), the subject's sessions of the fold being
        left out; ``final``: the final network, nothing being left out; else a file in the data folder, likewise.
    augment
        0: the subject's sessions alone; else everybody's, and so many further copies of the subject's.
    earlier
        Run folders of earlier phases, by name.
    where
        Run folder, device, processes.

    Returns
    -------
    ValenceFound
        A subject who has nothing to learn from, or nothing to be scored on in a fold, has a row with the reason.

    Raises
    ------
    SettingsError
        When the phase that it begins with was not run.
    DivergedError, StageError, WeightsError
        As `train_rounds` says.
    """
    begun = open_initial(material, initial, earlier=earlier)
    subjects = material.subjects
    rounds = list_personal(subjects, outer=[one for one, _ in begun], augment=augment)
    by_fold = {one.fold: start for one, start in begun}
    starts = {one.name: by_fold[one.fold] for one in rounds}
    outcomes = train_rounds(material, rounds, plan=plan, where=where, starts=starts)
    return gather(outcomes, system=material.system, phase=plan.phase)


def open_initial(material: ValenceMaterial, initial: str, *, earlier: Mapping[str, Path]) -> list[tuple[Round, Start]]:
    """Return the rounds that personal training begins with, each with its network; parameters as `train_personal`.

    Raises
    ------
    SettingsError
        When the phase was not run.
    """
    if initial not in ("crossval", "final"):
        everybody = Round("initial", -1, tuple(sorted(material.recordings)))
        return [(everybody, read_start(material, initial, setting="train.personal.initial"))]
    names = ("rescore", "crossval") if initial == "crossval" else ("final",)
    folder = next((earlier[name] for name in names if name in earlier), None)
    if folder is None:
        raise SettingsError(
            f"train.personal.initial is {initial!r}, but this experiment has no such phase before it.",
            expected=f"{initial!r} in train.phases before 'personal', or a file of weights.",
            remedy="Add the phase, or name a file.",
        )
    return [
        (
            Round(one.round, one.fold, one.train, one.inner, one.held_out),
            start_from(one, material, where=f"{folder.name}, round {one.round}"),
        )
        for one in load_valence_networks(folder)
    ]
