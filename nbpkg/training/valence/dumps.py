"""Late-fusion features of every network of a system, on disk for whoever fuses it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from nbpkg.datasets.valence.recording import Recording
from nbpkg.runs.files import check_hashes, read_json, sha256
from nbpkg.training.valence.answers import answer_recordings
from nbpkg.training.valence.fusion.features import FusionSystem, read_system, write_features
from nbpkg.training.valence.networks import Trained

FOLDER, LIST = "features", "valence_features"


def dump_features(
    trained: Sequence[Trained], recordings: Mapping[str, Recording], folder: Path, *, system: str, device: torch.device
) -> dict[str, Any]:
    """Write what each network holds of every session, ``features/<round>.npz``.

    Parameters
    ----------
    trained
        Networks of one system, each round once.
    recordings
        All sessions, whatever each network has learnt from: who fuses them chooses.
    folder
        Run folder of stage 06.
    system
        Name of the system.
    device
        Where to compute.

    Returns
    -------
    dict
        Content of ``valence_features.json``: system, rounds with the sessions that each left out, and hashes.
    """
    rounds, hashes = [], {}
    for one in trained:
        held = answer_recordings(one, list(recordings.values()), device=device, embed=True)
        path = write_features(held, folder / FOLDER / f"{one.round}.npz")
        hashes[path.relative_to(folder).as_posix()] = sha256(path)
        rounds.append({"round": one.round, "fold": one.fold, "held_out": list(one.held_out), "epoch": one.epoch})
    return {"system": system, "networks": rounds, "files": hashes}


def read_dump(folder: Path) -> FusionSystem:
    """Read a system's features, its own or another experiment's.

    Parameters
    ----------
    folder
        Run folder of stage 06 that wrote them.

    Raises
    ------
    StageError
        When a file is missing or was changed.
    """
    listed = read_json(folder / f"{LIST}.json")
    remedy = "Run notebooks/06_evaluate.ipynb of that experiment again."
    check_hashes(folder, listed["files"], what=f"files of features of system {listed['system']!r}", remedy=remedy)
    return read_system(folder / FOLDER, listed)
