"""What every study provides, and how a notebook opens a stage of one."""

from __future__ import annotations

import importlib
import os
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import BaseModel

import nbpkg.studies
from nbpkg import runs
from nbpkg.errors import Problem, SettingsError
from nbpkg.runs import cells
from nbpkg.settings import experiment as experiments
from nbpkg.settings.experiment import Experiment

if TYPE_CHECKING:
    import pandas as pd
    import torch


@dataclass(frozen=True)
class StudyCard:
    """The face of a study: what a reader needs to know before the first number.

    Parameters
    ----------
    title, question, unit, target
        What it is about, what it asks, what one sample is, what is predicted.
    citation
        The paper whose system this study rebuilds.
    stages
        For each stage, what it means here, one sentence.
    """

    title: str
    question: str
    unit: str
    target: str
    citation: str
    stages: Mapping[str, str] = field(default_factory=dict)

    def _repr_markdown_(self) -> str:
        """Show the card when it ends a cell."""
        rows = [("Question", self.question), ("Unit", self.unit), ("Target", self.target), ("Source", self.citation)]
        return "\n".join(
            [f"### {self.title}", "", "| | |", "|---|---|", *(f"| {name} | {text} |" for name, text in rows)]
        )


class Study(Protocol):
    """What is peculiar to one study; everything else is in the rooms.

    Ten methods at most; a new one needs two studies that use it. ``kind`` is what is learnt, such as ``clips`` or
    ``heatmap``: a notebook's cells for another kind do nothing (see `nbpkg.runs.cells`).
    """

    card: StudyCard
    kind: str
    settings: Mapping[str, type[BaseModel]]

    def conflicts(self, stages: Mapping[str, BaseModel]) -> list[str]:
        """Return contradictions between stages, in words; a stage with faulty settings is not among them."""

    def why_not(self, stage: str, experiment: Experiment) -> str:
        """Return, in one sentence, why a stage does not apply to this experiment; empty when it does."""

    def sources(self, stage: str, experiment: Experiment) -> list[Path]:
        """Return the raw files that a stage reads."""

    def read_annotations(self, experiment: Experiment) -> tuple[pd.DataFrame, list[Problem]]:
        """Return what people marked, as the table of this kind, and everything noticed while reading."""

    def media_jobs(self, experiment: Experiment) -> list[tuple[str, Path]]:
        """Return (session, source) for each video, folder of pictures or file of one modality to prepare."""

    def sessions(self, experiment: Experiment) -> pd.DataFrame:
        """Return one row per session: session, group (participant), and a flag for each property to balance."""


class PictureStudy(Study, Protocol):
    """A study whose networks see pictures."""

    def encoder(self, experiment: Experiment) -> torch.nn.Module:
        """Return the network that turns what is seen into features: of clips, or of a frame and a head."""


class ClipStudy(PictureStudy, Protocol):
    """A study that learns a class for each clip."""

    def samples(
        self, spans: pd.DataFrame, sessions: pd.DataFrame, experiment: Experiment
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return the tables samples and dropped."""

    def draws(
        self, tasks: pd.DataFrame, spans: pd.DataFrame, experiment: Experiment, *, chunks: int, epoch: int, seed: int
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return the table draws of one epoch, clips to train on drawn at random, and the table dropped."""


def names() -> list[str]:
    """Return the names of all studies."""
    found = (module.name for module in pkgutil.iter_modules(nbpkg.studies.__path__))
    return [name for name in found if name != "protocol"]


def load(name: str) -> Study:
    """Return the study of that name, a module of ``nbpkg/studies``.

    Raises
    ------
    SettingsError
        When there is none.
    """
    if name not in names():
        raise SettingsError(
            f"There is no study {name!r}.", expected=f"One of {', '.join(names())}.", remedy="Correct 'study'."
        )
    module: ModuleType = importlib.import_module(f"nbpkg.studies.{name}")
    study: Study = module.STUDY
    return study


def check_values(values: Mapping[str, Any]) -> tuple[Study, Experiment]:
    """Check all values of an experiment, as read from a file or a cell, and return study and experiment.

    Raises
    ------
    SettingsError
        Listing everything that is wrong.
    """
    study = load(str(values.get("study", "")))
    return study, experiments.resolve(values, study.settings, kind=study.kind, find_conflicts=study.conflicts)


def open_stage(name: str, variables: Mapping[str, Any]) -> tuple[runs.Stage, Study]:
    """Open a stage from a notebook: check the whole experiment, then begin.

    Parameters
    ----------
    name
        The stage.
    variables
        ``globals()`` of the notebook, which hold its parameters.

    Returns
    -------
    tuple
        The open stage and the study.
    """
    if experiments.was_injected(variables):  # papermill started from a live notebook inherits its server's mark
        os.environ.setdefault("NBPKG_LIVE", "0")
    study, experiment = check_values(experiments.read_cell(variables))
    if name not in experiment.stages:
        raise SettingsError(
            f"Experiment {experiment.header.experiment!r} has no settings for {name!r}, so it does not run this stage.",
            expected=f"A section '{name}:' in its parameter file.",
            remedy="Add it; params/<study>/sample.yaml has one and docs/params.md explains every key.",
        )
    stage = runs.open_stage(name, experiment, about=study.card.stages[name], sources=study.sources(name, experiment))
    why_not = study.why_not(name, experiment)
    cells.choose_cells(cells.NONE if why_not else study.kind)
    if why_not:
        stage.pass_by(why_not)
    return stage, study
