"""What is known after some epochs of a gaze training: losses of its steps, scores of its epochs, the epoch to keep."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nbpkg.errors import StageError
from nbpkg.runs.files import new_file, read_json, write_json
from nbpkg.training import checkpointing
from nbpkg.training.checkpointing import FACTS, LAST, RESULT
from nbpkg.training.history import choose_epoch

STEPS = "steps.csv"
STEP_COLUMNS = ("epoch", "step", "loss", "heat", "inout", "learning_rate")
HISTORY_COLUMNS = ("epoch", "split", "metric", "value")
COST_COLUMNS = ("epoch", "seconds", "peak_mib", "part")
LOWER = ("distance", "loss", "heat", "inout")  # metrics of which the lowest is the best


@dataclass
class Records:
    """What is known after some epochs, in plain numbers.

    Parameters
    ----------
    identity
        What makes the training what it is: settings, seed, rows and the hash of its starting weights.
    part
        Most tracks or pictures in the network at once.
    best_epoch
        Epoch of ``best.ckpt``.
    epoch
        The last epoch that is complete; -1 when not even the start was measured.
    history
        Rows of `HISTORY_COLUMNS`; epoch 0 is before training.
    steps
        Rows of `STEP_COLUMNS`.
    costs
        Rows of `COST_COLUMNS`: time and memory, which differ from run to run and are part of no result.
    """

    identity: dict[str, Any]
    part: int
    best_epoch: int = 0
    epoch: int = -1
    history: list[list[Any]] = field(default_factory=list)
    steps: list[list[float]] = field(default_factory=list)
    costs: list[list[float]] = field(default_factory=list)

    def add(self, split: str, scores: dict[str, float], *, epoch: int) -> None:
        """Note the scores of one split after an epoch."""
        self.history += [[epoch, split, name, float(value)] for name, value in scores.items()]

    def curve(self, split: str, metric: str) -> np.ndarray:
        """Return one score by epoch from 0 on, ``[epochs + 1]``; empty when it was not measured."""
        found = {row[0]: row[3] for row in self.history if row[1] == split and row[2] == metric}
        return np.array([found[epoch] for epoch in sorted(found)], np.float64)

    def choose(self, metric: str, *, window: int, warm_up: int) -> int:
        """Pick the epoch to keep by a score of the validation split; the last one when there is none."""
        curve = self.curve("validation", metric)
        if not len(curve):
            return self.epoch
        return int(choose_epoch(-curve if metric in LOWER else curve, window=window, warm_up=warm_up)[0])

    def at(self, epoch: int) -> dict[str, float]:
        """Return all scores of an epoch, as ``split_metric``."""
        return {f"{split}_{name}": value for number, split, name, value in self.history if number == epoch}

    def tabulate_history(self) -> pd.DataFrame:
        """Return the scores of all epochs, columns `HISTORY_COLUMNS`."""
        return pd.DataFrame(self.history, columns=list(HISTORY_COLUMNS))

    def tabulate_costs(self) -> pd.DataFrame:
        """Return time and memory of all epochs, columns `COST_COLUMNS`."""
        return pd.DataFrame(self.costs, columns=list(COST_COLUMNS))

    def to_text(self) -> str:
        """Write as JSON."""
        return json.dumps(asdict(self))


def read_records(folder: Path, identity: dict[str, Any]) -> Records | None:
    """Read how far the training in a folder has come; None when it has not begun.

    Raises
    ------
    StageError
        When the folder holds another training, or a damaged checkpoint.
    """
    path = folder / LAST
    return _same(json.loads(checkpointing.load(path)[FACTS]), identity, path) if path.is_file() else None


def read_result(folder: Path, identity: dict[str, Any] | None = None) -> Records | None:
    """Read the result of the finished training in a folder; None when it is not finished.

    Parameters
    ----------
    folder
        Of the training.
    identity
        What it must be; None for whichever it is.

    Raises
    ------
    StageError
        When the folder holds another training.
    """
    path = folder / RESULT
    if not path.is_file():
        return None
    facts = read_json(path)
    return Records(**facts) if identity is None else _same(facts, identity, path)


def write_result(folder: Path, records: Records) -> None:
    """Mark the training as finished, and write the losses of its steps for people to read."""
    write_steps(folder, records)
    write_json(folder / RESULT, asdict(records))


def write_steps(folder: Path, records: Records) -> None:
    """Write the losses of all steps to ``steps.csv``."""
    with new_file(folder / STEPS) as temporary:
        pd.DataFrame(records.steps, columns=list(STEP_COLUMNS)).to_csv(temporary, index=False)


def _same(facts: dict[str, Any], identity: dict[str, Any], path: Path) -> Records:
    """Return the facts after checking that they are of this very training."""
    there, here = facts["identity"], json.loads(json.dumps(identity))
    names = [name for name in sorted({*there, *here}) if there.get(name) != here.get(name)]
    if names:
        listed = ", ".join(f"{name} {there.get(name)!r} there and {here.get(name)!r} here" for name in names)
        raise StageError(
            f"The folder holds another training: {listed}.",
            where=str(path),
            remedy="Delete the folder to train again, or use another one.",
        )
    return Records(**facts)
