"""Where the outputs of ``make demo`` lie, and its tables."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from nbpkg import tables
from nbpkg.runs.files import read_json
from nbpkg.runs.graph import own_steps, step_folder
from nbpkg.settings.experiment import Experiment, read_file
from nbpkg.studies import protocol

ROOT = Path(__file__).parent.parent
# `make test` makes the demo with further experiments, so that one run is looked at.
LISTED = re.findall(r"^(?:DEMO|MORE) = (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
NAMES = [name for line in LISTED for name in line.split()]
VALUES = read_file(ROOT / "params" / "infant_engagement" / "sample.yaml")
EXPERIMENT = protocol.check_values(VALUES)[1]
STEPS = own_steps(EXPERIMENT)
PAIRS = {tuple(pair.split("/")) for pair in VALUES["train"]["pairs"]}


@dataclass(frozen=True)
class Made:
    """What a step of one of the demo's experiments made."""

    experiment: Experiment
    step: str

    def __str__(self) -> str:
        header = self.experiment.header
        return f"{header.study}-{header.experiment}-{self.step}"

    @property
    def folder(self) -> Path:
        """Folder of the step, with its receipt."""
        return step_folder(self.experiment, self.step)

    @cached_property
    def run(self) -> Path:
        """Run folder that the receipt names."""
        return self.folder / read_json(self.folder / "receipt.json")["run"]

    @property
    def receipt(self) -> dict[str, Any]:
        """Its receipt."""
        return read_json(self.run / "receipt.json")

    def table(self, name: str):
        """Read one of its tables."""
        return tables.read(self.run / f"{name}.csv", name)


def made_by(name: str) -> dict[str, Made]:
    """What an experiment such as ``gaze_target/sample`` made, by step."""
    experiment = protocol.check_values(read_file(ROOT / "params" / f"{name}.yaml"))[1]
    return {step: Made(experiment, step) for step in own_steps(experiment)}


MADE = [made for name in NAMES for made in made_by(name).values()]


def folder_of(demo: Path, step: str) -> Path:
    """Folder of a step, with its receipt."""
    return demo / step_folder(EXPERIMENT, step).relative_to(EXPERIMENT.folder)


def run_of(demo: Path, step: str) -> Path:
    """Run folder that the step's receipt names."""
    folder = folder_of(demo, step)
    return folder / read_json(folder / "receipt.json")["run"]


def table_of(demo: Path, step: str, table: str):
    return tables.read(run_of(demo, step) / f"{table}.csv", table)


def sessions_of(demo: Path, role: str) -> set[str]:
    folds = table_of(demo, "stratify", "folds")
    return set(folds.loc[folds["role"] == role, "session"])
