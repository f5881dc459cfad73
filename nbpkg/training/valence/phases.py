"""The phases of valence training behind one call: cross-validation, other epochs, the final network, personal ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from nbpkg.errors import SettingsError
from nbpkg.models.valence.options import NetworkOptions
from nbpkg.settings.valence import SequenceNetworkSettings, ValenceTrainSettings
from nbpkg.training.rounds import Where
from nbpkg.training.valence.crossval import train_rounds
from nbpkg.training.valence.final import find_epochs, train_final
from nbpkg.training.valence.loop import SequenceTraining
from nbpkg.training.valence.material import ValenceMaterial
from nbpkg.training.valence.one_round import Plan, Start
from nbpkg.training.valence.outcome import ValenceFound, gather
from nbpkg.training.valence.personal import train_personal
from nbpkg.training.valence.rescore import rescore
from nbpkg.training.valence.rounds import list_crossval, list_final
from nbpkg.training.valence.starts import read_start


def train_valence_phase(
    phase: str,
    material: ValenceMaterial,
    *,
    settings: ValenceTrainSettings,
    earlier: Mapping[str, Path],
    where: Where,
) -> ValenceFound:
    """Run one phase; what is finished is kept, what was cut off goes on with the same bytes.

    Parameters
    ----------
    phase
        ``crossval``, ``rescore``, ``final`` or ``personal``.
    material
        What may be seen.
    settings
        All settings of the stage.
    earlier
        Run folders of the phases that were run before, by name.
    where
        Run folder (networks, checkpoints and states go there), seed, device, processes that train at a time.

    Returns
    -------
    ValenceFound
        Tables, the content of ``networks.json``, and costs.

    Raises
    ------
    SettingsError
        When several processes are to train one network, or a phase lacks what it begins with.
    DivergedError, FoldError, StageError, WeightsError
        As the phases say.
    """
    if where.launch.group > 1:
        raise SettingsError(
            f"launch asks for {where.launch.group} processes to train one network over sequences.",
            expected="launch.processes 1 and launch.nodes 1: such a network is small, and trainings share a machine.",
            remedy="Set both to 1, and let several trainings go side by side (workers).",
        )
    if phase == "rescore":
        return _rescore(material, settings, earlier=earlier, where=where)
    if phase == "personal":
        own = settings.personal
        plan = replace(plan_phase(phase, settings, epochs=own.epochs, seed=where.seed), checkpoints=False)
        return train_personal(
            material, plan=plan, initial=own.initial, augment=own.augment, earlier=earlier, where=where
        )
    start = _read_weights(material, settings)
    if phase == "final":
        folders = [earlier[name] for name in ("rescore", "crossval") if name in earlier]
        plan = plan_phase(phase, settings, epochs=find_epochs(settings.final.epochs, folders), seed=where.seed)
        last, held_out = settings.final, find_stories(material, settings.final.leave_out)
        one = list_final(material.subjects, chosen=last.subjects, augment=last.augment, held_out=held_out)
        return train_final(material, one, plan=plan, start=start, where=where)
    return _cross_validate(material, settings, start=start, where=where)


def find_stories(material: ValenceMaterial, stories: Sequence[str]) -> list[str]:
    """Return the training sessions of some stories.

    Raises
    ------
    SettingsError
        When a story is not among the training sessions.
    """
    told = {name: material.recordings[name].story for name in sorted(material.recordings)}
    strange = sorted(set(stories) - set(told.values()))
    if strange:
        raise SettingsError(
            f"train.final.leave_out names {', '.join(strange)}.",
            expected=f"Stories to learn from: {', '.join(sorted(set(told.values())))}.",
            remedy="Correct train.final.leave_out; stories kept for the end are left out anyhow.",
        )
    return [name for name, story in told.items() if story in set(stories)]


def plan_phase(phase: str, settings: ValenceTrainSettings, *, epochs: int, seed: int) -> Plan:
    """Put together what all rounds of a phase share.

    Parameters
    ----------
    phase
        Its name; in ``crossval`` checkpoints are kept.
    settings
        All settings of the stage.
    epochs
        Of each training.
    seed
        The experiment's.
    """
    crossval = phase == "crossval"
    how = SequenceTraining(
        epochs=epochs,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        eval_every=settings.eval_every,
        save_every=settings.save_every,
        select=settings.crossval.select if crossval else "last",
        epoch=settings.crossval.epoch if crossval else None,
    )
    return Plan(
        phase=phase,
        network=settings.network.name,
        options=describe_network(settings.network),
        how=how,
        scale=settings.scale,
        reduce=settings.reduce,
        split=settings.split,
        seed=seed,
        checkpoints=crossval,
    )


def describe_network(settings: SequenceNetworkSettings) -> NetworkOptions:
    """Turn the settings of a network into its options."""
    return NetworkOptions(
        embed=settings.embed,
        hidden=settings.hidden,
        layers=settings.layers,
        attention_steps=settings.attention_steps,
        dropout=dict(settings.dropout),
        heads=settings.heads,
        window=settings.window,
        modality_dropout=settings.modality_dropout,
    )


def _cross_validate(
    material: ValenceMaterial, settings: ValenceTrainSettings, *, start: Start | None, where: Where
) -> ValenceFound:
    plan = plan_phase("crossval", settings, epochs=settings.crossval.epochs, seed=where.seed)
    rounds = list_crossval(material.folds, select=settings.crossval.select)
    starts = {} if start is None else {one.name: start for one in rounds}
    outcomes = train_rounds(material, rounds, plan=plan, where=where, starts=starts)
    return gather(outcomes, system=material.system, phase="crossval")


def _rescore(
    material: ValenceMaterial, settings: ValenceTrainSettings, *, earlier: Mapping[str, Path], where: Where
) -> ValenceFound:
    if "crossval" not in earlier:
        raise SettingsError(
            "There is no cross-validation to score again.",
            expected="'crossval' before 'rescore' in train.phases.",
            remedy="Correct train.phases.",
        )
    own = settings.rescore
    epochs = [own.epoch] if own.epoch is not None else list(range(own.first, own.last + 1, own.step))
    if not epochs:
        raise SettingsError(
            f"No epoch lies between train.rescore.first {own.first} and last {own.last}.",
            remedy="Correct them.",
        )
    return rescore(material, earlier["crossval"], epochs=epochs, choose=own.choose, where=where)


def _read_weights(material: ValenceMaterial, settings: ValenceTrainSettings) -> Start | None:
    name = settings.network.weights
    return read_start(material, name, setting="train.network.weights") if name else None
