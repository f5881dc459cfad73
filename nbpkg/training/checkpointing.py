"""What a training leaves in its folder: ``last.ckpt``, ``best.ckpt`` and, when it is over, ``trained.json``."""

from __future__ import annotations

import io
import json
import pickle
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nbpkg.errors import StageError
from nbpkg.runs.files import new_file, read_json, write_json
from nbpkg.training.history import Course, History

LAST, BEST, RESULT = "last.ckpt", "best.ckpt", "trained.json"
FACTS = "nbpkg"  # entry of a checkpoint that holds the state
PREFIX = "network."
State = dict[str, torch.Tensor]
_REMEDY = "Delete the folder to train again, or use another one."


@dataclass
class Progress:
    """What is known after some epochs, in plain numbers.

    Parameters
    ----------
    identity
        What makes the training what it is: its settings, seed and the hash of its starting weights.
    part
        Most clips in the network at once.
    best_epoch
        Epoch of ``best.ckpt``.
    loss, confusion
        By split: a value and a 2 × 2 list for each epoch from 0 on.
    """

    identity: dict[str, Any]
    part: int
    best_epoch: int = 0
    loss: dict[str, list[float]] = field(default_factory=dict)
    confusion: dict[str, list[list[list[int]]]] = field(default_factory=dict)

    @property
    def epoch(self) -> int:
        """The last epoch that is complete; -1 when not even the start was measured."""
        return len(self.loss["train"]) - 1 if "train" in self.loss else -1

    def history(self) -> History:
        """Return the courses of all splits."""
        names = {name: (np.array(self.loss[name]), np.array(self.confusion[name], np.float64)) for name in self.loss}
        return History({name: Course(*arrays) for name, arrays in names.items()}, self.best_epoch)

    def to_text(self) -> str:
        """Write as JSON."""
        return json.dumps(asdict(self))


def save(checkpoint: dict[str, Any], path: Path) -> None:
    """Write a checkpoint, complete or not at all.

    Raises
    ------
    StageError
        When the folder cannot be written or the disk is full.
    """
    memory = io.BytesIO()
    torch.save(checkpoint, memory)  # straight to a full disk it fails without saying why
    with new_file(path) as temporary, temporary.open("wb") as stream:
        stream.write(memory.getbuffer())


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint without running anything that the file holds.

    Raises
    ------
    StageError
        When the file is damaged or no checkpoint of ours.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, KeyError, ValueError) as error:
        reason = next(iter(str(error).splitlines()), "it is empty")
        raise StageError(f"The checkpoint cannot be read: {reason}", where=str(path), remedy=_REMEDY) from None
    if not isinstance(checkpoint, dict) or not {FACTS, "state_dict"} <= set(checkpoint):
        raise StageError("The file is no checkpoint of a fine-tuning.", where=str(path), remedy=_REMEDY)
    return checkpoint


def load_weights(path: Path) -> State:
    """Read the network's state dict, on the CPU, from a checkpoint.

    Raises
    ------
    StageError
        As `load` does.
    """
    entries = load(path)["state_dict"]
    return {key.removeprefix(PREFIX): value for key, value in entries.items()}


def read_progress(folder: Path, identity: dict[str, Any]) -> Progress | None:
    """Read how far the training in a folder has come; None when it has not begun.

    Raises
    ------
    StageError
        When the folder holds another training, or a damaged checkpoint.
    """
    path = folder / LAST
    return _same(json.loads(load(path)[FACTS]), identity, path) if path.is_file() else None


def read_result(folder: Path, identity: dict[str, Any]) -> Progress | None:
    """Read the result of the finished training in a folder; None when it is not finished.

    Raises
    ------
    StageError
        When the folder holds another training.
    """
    path = folder / RESULT
    return _same(read_json(path), identity, path) if path.is_file() else None


def read_history(folder: Path) -> History | None:
    """Read the history of the finished training in a folder, whichever it is; None when there is none."""
    path = folder / RESULT
    return Progress(**read_json(path)).history() if path.is_file() else None


def discard(folder: Path) -> None:
    """Delete the checkpoints of a training of which only the history is wanted."""
    for name in (LAST, BEST):
        (folder / name).unlink(missing_ok=True)


def write_result(folder: Path, progress: Progress) -> None:
    """Mark the training as finished."""
    write_json(folder / RESULT, asdict(progress))


def _same(facts: dict[str, Any], identity: dict[str, Any], path: Path) -> Progress:
    """Return the facts as progress after checking that they are of this very training."""
    there, here = facts["identity"], json.loads(json.dumps(identity))
    names = [name for name in sorted({*there, *here}) if there.get(name) != here.get(name)]
    if names:
        listed = ", ".join(f"{name} {there.get(name)!r} there and {here.get(name)!r} here" for name in names)
        raise StageError(f"The folder holds another training: {listed}.", where=str(path), remedy=_REMEDY)
    return Progress(**facts)
