"""A valence project small enough for tests, and its notebooks run cell by cell in this process.

Two listeners, stories as in the sample, but instead of films there are tables that somebody else made: the voice's
arousal among noise as NumPy files, noise in the place of faces as CSV. Words come from the transcripts. Statements that
only draw are left out; they run in ``make demo``.
"""

from __future__ import annotations

import ast
import copy
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pandas as pd

from nbpkg import seeding, tables
from nbpkg.runs import NODES
from nbpkg.runs.cells import belongs
from nbpkg.runs.files import read_json
from nbpkg.runs.graph import step_folder
from nbpkg.sample.valence_files import write_table, write_transcript, write_valence
from nbpkg.sample.valence_story import ACTORS, HIDDEN_STORY, PARTS, tell
from nbpkg.settings.experiment import PARAMETERS_CELL
from nbpkg.studies import protocol

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
SUBJECTS, TRAINING = ("1", "2"), ("1", "2", "4", "5")
BASE: dict[str, Any] = {
    "study": "valence_fusion",
    "experiment": "base",
    "data": "data",
    "device": "cpu",
    "workers": 0,
    "threads": 1,
    "parse": {"third_party": "ThirdParty", "actors": "actors.csv"},
    "prepare": {
        "modalities": {
            "audio": {"kind": "table", "folder": "Sound"},
            "text": {"kind": "words", "folder": "Transcripts", "width": 24},
            "v_sub": {"kind": "table", "folder": "Looks"},
        }
    },
    "train": {
        "phases": ["crossval", "rescore", "final", "personal"],
        "modalities": ["audio", "text"],
        "network": {"embed": 6, "hidden": 6},
        "batch_size": 8,
        "split": 2,
        "learning_rate": 0.01,
        "save_every": 2,
        "crossval": {"epochs": 4},
        "rescore": {"first": 2, "last": 4, "step": 2},
        "final": {"epochs": 2},
        "personal": {"epochs": 1},
    },
    "evaluate": {"resamples": 100, "fusion": {"c": [0.1, 1.0]}},
    "compare": {"window": 6, "stride": 6, "steps": 2, "lags": 1, "resamples": 100},
}


def make_data(folder: Path) -> Path:
    """Write the raw data."""
    for story, part in PARTS.items():
        for subject in SUBJECTS:
            _write_session(folder / part, subject, story)
    actors = pd.DataFrame({"story": sorted(ACTORS), "actor": [ACTORS[story] for story in sorted(ACTORS)]})
    write_table(folder / "actors.csv", actors)
    return folder


def _write_session(part: Path, subject: str, story: str) -> None:
    telling, hidden = tell(subject, story, 0), story == HIDDEN_STORY
    name, random = telling.session, seeding.generator(0, "noise", subject, story)
    write_valence(part / "Annotations" / f"{name}.csv", telling.valence * (not hidden))
    if not hidden:
        write_valence(part / "ThirdParty" / f"{name}.csv", telling.third_party)
    write_transcript(part / "Transcripts" / f"{name}.srt", telling)
    sound = random.normal(0, 0.3, (len(telling.arousal), 3))
    sound[:, 0] = telling.arousal
    (part / "Sound").mkdir(parents=True, exist_ok=True)
    np.save(part / "Sound" / f"{name}.npy", sound.astype(np.float32))
    looks = pd.DataFrame(random.normal(0, 1, (len(telling.arousal), 2)), columns=["smile", "frown"])
    write_table(part / "Looks" / f"{name}.csv", looks)


def change(values: Mapping[str, Any], **overrides: Any) -> dict[str, Any]:
    """The values with others in single places, ``train__final__epochs=3``; the same as ``overrides`` of a file."""
    dotted = {name.replace("__", "."): value for name, value in overrides.items() if "__" in name}
    plain = {name: value for name, value in overrides.items() if "__" not in name}
    return {**copy.deepcopy(dict(values)), **plain, "overrides": {**values.get("overrides", {}), **dotted}}


def run(stage: str, values: Mapping[str, Any], *, phase: str = "") -> dict[str, Any]:
    """Run a notebook's cells of this kind in this process; return what they leave."""
    names: dict[str, Any] = {}
    exec(PARAMETERS_CELL, names)  # noqa: S102 - the project's own cell
    names |= {**copy.deepcopy(dict(values)), "phase": phase}
    notebook = nbformat.read(NOTEBOOKS / f"{NODES[stage].notebook}.ipynb", as_version=4)
    working = [cell for cell in notebook.cells if "parameters" not in cell.metadata.get("tags", [])]
    for source in (cell.source for cell in working if cell.cell_type == "code"):
        if belongs(source, "sequence"):
            code = compile(_without_figures(source), f"{NODES[stage].notebook}: {source[:40]!r}", "exec")
            exec(code, names)  # noqa: S102 - likewise
    return names


def _without_figures(source: str) -> ast.Module:
    """Leave out the statements that only draw."""
    tree = ast.parse(source)
    drawn = re.compile(r"\b(stage\.figure|pick|display)\(")
    tree.body = [one for one in tree.body if not (isinstance(one, ast.Expr) and drawn.search(ast.unparse(one)))]
    return tree


def run_all(values: Mapping[str, Any], *steps: str) -> None:
    """Run some steps (``train/final``), or by default 01 to 04."""
    for step in steps or ("parse", "prepare", "stratify", "bake"):
        stage, _, phase = step.partition("/")
        run(stage, values, phase=phase)


def folder_of(values: Mapping[str, Any], step: str) -> Path:
    """Run folder of a finished step."""
    _, experiment = protocol.check_values(values)
    place = step_folder(experiment, step)
    return place / read_json(place / "receipt.json")["run"]


def table_of(values: Mapping[str, Any], step: str, name: str) -> pd.DataFrame:
    """A table of a finished step."""
    return tables.read(folder_of(values, step) / f"{name}.csv", name)


def fingerprint(folder: Path) -> dict[str, str]:
    """Hash of every file below a folder."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
