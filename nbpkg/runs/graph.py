"""The stages, their folders and notebooks, and what each reads from the ones before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nbpkg.errors import StageError
from nbpkg.runs.files import read_json
from nbpkg.settings.base import InputChoice
from nbpkg.settings.experiment import Experiment


@dataclass(frozen=True)
class Node:
    """One stage of the pipeline.

    Parameters
    ----------
    name, folder, notebook
        Name in parameter files; folder below the experiment's outputs; notebook without ending.
    reads
        Artefacts read from earlier stages: stage, then file names in its run folder. Only these enter the key, so
        that a stage is not made anew because something it does not read has changed.
    """

    name: str
    folder: str
    notebook: str
    reads: Mapping[str, tuple[str, ...]]


NODES: dict[str, Node] = {
    node.name: node
    for node in (
        Node("parse", "01_parse", "01_parse_annotations", {}),
        Node("prepare", "02_prepare", "02_prepare_videos", {}),
        Node(
            "stratify",
            "03_stratify",
            "03_stratify",
            {"parse": ("spans.csv", "tasks.csv"), "prepare": ("media.csv",)},
        ),
        Node("bake", "04_bake", "04_bake", {"prepare": ("media.csv",), "stratify": ("samples.csv",)}),
        Node(
            "train",
            "05_train",
            "05_train",
            {"stratify": ("samples.csv", "folds.csv"), "bake": ("features.csv", "features.npy")},
        ),
        Node(
            "evaluate",
            "06_evaluate",
            "06_evaluate",
            {
                "parse": ("spans.csv",),
                "prepare": ("media.csv",),
                "stratify": ("samples.csv", "folds.csv"),
                "bake": ("features.csv", "features.npy"),
                "train": ("heads.safetensors",),
            },
        ),
    )
}

PARALLEL = ("prepare", "bake")  # stages that put `workers` or `threads` to use and so want the cores for themselves


def stage_folder(experiment: Experiment, name: str) -> Path:
    """Return the folder of one of the experiment's own stages."""
    folder = experiment.folder / NODES[name].folder
    return folder / experiment.header.phase if experiment.header.phase else folder


def input_folder(experiment: Experiment, name: str) -> Path:
    """Return the folder of the stage that is read as `name`: one's own, or another experiment's by ``inputs``."""
    choice = experiment.header.inputs.get(name)
    if choice is None:
        return experiment.folder / NODES[name].folder
    chosen = choice if isinstance(choice, InputChoice) else InputChoice(experiment=choice)
    return experiment.folder.parent / chosen.experiment / NODES[name].folder / chosen.phase


def own_stages(experiment: Experiment) -> list[str]:
    """Return, in order, the stages that the experiment makes itself."""
    return [name for name in NODES if name in experiment.stages and name not in experiment.header.inputs]


def current_run(experiment: Experiment, stage: str) -> Path:
    """Return the run folder that an earlier stage's receipt names.

    Raises
    ------
    StageError
        When that stage has not finished.
    """
    folder = input_folder(experiment, stage)
    if not (folder / "receipt.json").is_file():
        raise StageError(
            f"Stage {stage!r} has not finished.",
            where=str(folder),
            expected="A receipt.json in this folder.",
            remedy=f"Run notebooks/{NODES[stage].notebook}.ipynb first, with the same parameter file.",
        )
    return folder / str(read_json(folder / "receipt.json")["run"])
