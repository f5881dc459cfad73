"""Where the outputs of ``make demo`` lie, and its tables."""

from __future__ import annotations

from pathlib import Path

from nbpkg import tables
from nbpkg.runs.files import read_json
from nbpkg.runs.graph import own_steps, step_folder
from nbpkg.settings.experiment import read_file
from nbpkg.studies import protocol

VALUES = read_file(Path(__file__).parent.parent / "params" / "infant_engagement" / "sample.yaml")
EXPERIMENT = protocol.check_values(VALUES)[1]
STEPS = own_steps(EXPERIMENT)
PAIRS = {tuple(pair.split("/")) for pair in VALUES["train"]["pairs"]}


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
