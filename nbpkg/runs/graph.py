"""The steps of an experiment: their phases, folders and notebooks, and what each reads from the ones before.

A *step* is what one run of one notebook makes: a stage (``bake``) or, where a stage runs several times, one phase of it
(``train/final``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nbpkg.errors import SettingsError, StageError
from nbpkg.runs.files import read_json
from nbpkg.runs.nodes import HEATMAP, KINDS, MODEL, NODES, SYSTEM, Node
from nbpkg.settings.base import InputChoice
from nbpkg.settings.experiment import Experiment

__all__ = ["HEATMAP", "KINDS", "MODEL", "NODES", "SYSTEM", "Node"]

# Stages that put `workers` or `threads` to use and so want all cores.
PARALLEL = ("prepare", "bake", "train", "compare")
SHARED = ("train/finetune_search", "train/sweep")  # steps that several notebooks can work on at once
# Steps that train networks, each by a group of processes if wanted.
GROUPED = ("train/finetune_search", "train/sweep", "train/final")


def split_step(step: str) -> tuple[str, str]:
    """Return stage and phase of a step.

    Examples
    --------
    >>> split_step("train/final"), split_step("bake")
    (('train', 'final'), ('bake', ''))
    """
    stage, _, phase = step.partition("/")
    return stage, phase


def phases_of(experiment: Experiment, stage: str) -> list[str]:
    """Return the phases, in order, in which the experiment runs a stage; none for a stage that runs once."""
    wanted = getattr(experiment.stages[stage], "phases", None) if stage in experiment.stages else None
    return [phase for phase in KINDS[experiment.kind][stage].phases if wanted is None or phase in wanted]


def step_of(experiment: Experiment, stage: str) -> str:
    """Return the step that a notebook makes: the phase that ``phase`` names, the last one when it is empty.

    Raises
    ------
    SettingsError
        When the experiment does not run the stage in that phase.
    """
    known = phases_of(experiment, stage)
    if not known:
        return stage
    phase = experiment.header.phase or known[-1]
    if phase not in known:
        raise SettingsError(
            f"phase is {phase!r}.",
            expected=f"One of {', '.join(known)}, or empty for the last.",
            remedy=f"Correct 'phase', or add it to {stage}.phases.",
        )
    return f"{stage}/{phase}"


def reads_of(experiment: Experiment, step: str) -> dict[str, tuple[str, ...]]:
    """Return what a step reads, leaving out phases that the experiment does not run and a model it does not name."""
    stage, phase = split_step(step)
    node = KINDS[experiment.kind][stage]
    reads = {**node.reads, **node.phases.get(phase, {})}
    if MODEL not in experiment.header.inputs:
        reads.pop(MODEL, None)
    reads |= dict.fromkeys(systems_of(experiment), reads.pop(SYSTEM, ())) if SYSTEM in reads else {}
    run = {earlier: split_step(earlier) for earlier in reads}
    return {name: reads[name] for name, (own, part) in run.items() if not part or part in phases_of(experiment, own)}


def systems_of(experiment: Experiment) -> list[str]:
    """Return the names in ``inputs`` of experiments whose answers are evaluated together with this one's."""
    return [name for name in experiment.header.inputs if name.startswith(SYSTEM)]


def settings_of(experiment: Experiment, step: str) -> dict[str, Any]:
    """Return the settings that matter to a step: those of the stage, without the groups of its other phases.

    Those of other stages that it uses though it reads nothing of theirs stand under ``<stage>.<key>``.
    """
    stage, phase = split_step(step)
    node = KINDS[experiment.kind][stage]
    settings = experiment.stages[stage].model_dump(mode="json")
    others = set(node.phases) - {phase} if phase else set()
    own = {name: value for name, value in settings.items() if name not in others and (name != "phases" or not phase)}
    for other, keys in node.also.items():
        found = experiment.stages[other].model_dump(mode="json", include=set(keys))
        own |= {f"{other}.{key}": found[key] for key in keys}
    return own


def step_folder(experiment: Experiment, step: str) -> Path:
    """Return the folder of one of the experiment's own steps."""
    stage, phase = split_step(step)
    return experiment.folder / NODES[stage].folder / phase


def worker_folder(step_or_run: Path, worker: int) -> Path:
    """Return where a worker of a shared step keeps its own notebook, log, tables and receipt; 0 is the step itself."""
    return step_or_run / "workers" / f"{worker:03d}" if worker else step_or_run


def input_folder(experiment: Experiment, step: str) -> Path:
    """Return the folder of the step that is read as `step`: one's own, or another experiment's by ``inputs``."""
    stage, phase = split_step(step)
    choice = experiment.header.inputs.get(stage)
    if choice is None:
        return step_folder(experiment, step)
    chosen = choice if isinstance(choice, InputChoice) else InputChoice(experiment=choice)
    if stage == MODEL:
        stage, phase = "train", "final"
    if stage.startswith(SYSTEM):
        stage = "evaluate"
    return experiment.folder.parent / chosen.experiment / NODES[stage].folder / (chosen.phase or phase)


def own_steps(experiment: Experiment) -> list[str]:
    """Return, in order, the steps that the experiment makes itself."""
    own = [name for name in NODES if name in experiment.stages and name not in experiment.header.inputs]
    return [step for name in own for step in ([f"{name}/{p}" for p in phases_of(experiment, name)] or [name])]


def how_to_run(step: str) -> str:
    """Say which notebook makes a step.

    Examples
    --------
    >>> how_to_run("train/final")
    "notebooks/05_train.ipynb with phase = 'final'"
    """
    stage, phase = split_step("train/final" if step == MODEL else "evaluate" if step.startswith(SYSTEM) else step)
    return f"notebooks/{NODES[stage].notebook}.ipynb{f' with phase = {phase!r}' if phase else ''}"


def current_run(experiment: Experiment, step: str) -> Path:
    """Return the run folder that an earlier step's receipt names.

    Raises
    ------
    StageError
        When that step has not finished.
    """
    folder = input_folder(experiment, step)
    if not (folder / "receipt.json").is_file():
        raise StageError(
            f"{step!r} has not finished.",
            where=str(folder),
            expected="A receipt.json in this folder.",
            remedy=f"Run {how_to_run(step)} first, with the same parameter file.",
        )
    return folder / str(read_json(folder / "receipt.json")["run"])
