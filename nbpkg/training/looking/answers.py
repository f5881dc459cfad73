"""Answers of trained networks for faces that they have not seen, as a table; several processes can share the work."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from nbpkg import tables
from nbpkg.datasets.looking.windows import Windows
from nbpkg.errors import FoldError, StageError
from nbpkg.models.device import count_readers
from nbpkg.runs.files import write_array
from nbpkg.settings.launch import LaunchSettings
from nbpkg.training.looking.learner import FaceLearner, Setting, to_scores
from nbpkg.training.looking.material import FaceMaterial
from nbpkg.training.looking.saved import TrainedFaceNetwork
from nbpkg.training.peers import ALONE, Peers
from nbpkg.training.people.loop import hash_state

ANSWERS = "answers.npy"


class AnswerJob(NamedTuple):
    """What is asked of a network; it can be handed to other processes.

    Parameters
    ----------
    learner
        Network, and what it looks at.
    windows
        Of which faces.
    device
        Where to compute.
    folder
        For the answers of a group of processes.
    launch
        How many of them share the work.
    workers
        Processes that read faces.
    """

    learner: FaceLearner
    windows: Windows
    device: torch.device
    folder: Path
    launch: LaunchSettings
    workers: int = 0

    def portable(self) -> AnswerJob:
        """Return it with its network on the CPU, a copy."""
        return self._replace(learner=self.learner.portable())

    def on(self, device: torch.device, *, workers: int) -> AnswerJob:
        """Return it on another device, read by so many processes."""
        return self._replace(device=device, workers=workers)


def answer_faces(
    networks: Sequence[TrainedFaceNetwork],
    material: FaceMaterial,
    *,
    stride: int,
    device: torch.device,
    workers: int = 0,
    launch: LaunchSettings | None = None,
    folder: Path | None = None,
) -> pd.DataFrame:
    """Ask networks about every so manieth face of some clips.

    Parameters
    ----------
    networks
        Trained networks, none of which has seen the clips.
    material
        The clips, e.g. `FaceMaterial.of_folds` of the test.
    stride
        Frames of a track from one answer to the next.
    device
        Where to compute.
    workers
        Threads that read faces ahead, beside a GPU.
    launch
        How many processes share the work; by default this one alone.
    folder
        Where several processes meet; one that all nodes see. None for a temporary one of this machine.

    Returns
    -------
    pandas.DataFrame
        Table ``looking_predictions``, with the box and the row in ``faces.npy`` as further columns; faces without a
        label have -1, faces without a crop no row. Of several faces of a track in one frame the first is answered for.

    Raises
    ------
    FoldError
        When a network has seen one of the clips.
    StageError
        When features were baked with another network of faces, or the processes fail.
    """
    windows = material.list_windows(material.folds["session"].tolist(), stride=stride, labelled=False)
    again = material.describe(windows.row).duplicated(["session", "track", "frame"]).to_numpy()
    windows = windows.pick(np.flatnonzero(~again))
    known = material.describe(windows.row)
    known["group"] = known["session"].map(material.footage.set_index("session")["video"])
    known = known.assign(quality=material.priors["sharpness"][windows.row], row=windows.row)
    parts = []
    for one in networks if len(windows) else ():
        _check_unseen(one, material)
        with tempfile.TemporaryDirectory() as temporary:
            place, alone = folder or Path(temporary), LaunchSettings()
            job = AnswerJob(
                _open(one, material), windows, device, place, launch or alone, count_readers(device, workers)
            )
            parts.append(known.assign(system=one.system, score=to_scores(ask(job))))
    if not parts:
        return tables.empty("looking_predictions")
    return tables.check(pd.concat(parts, ignore_index=True), "looking_predictions")


def ask(job: AnswerJob) -> NDArray[np.float64]:
    """Return the log odds of looking for each window of a job ``[n]``."""
    if job.launch.group == 1:
        job.learner.enter(job.device, ALONE)
        return job.learner.answer(job.windows, workers=job.workers)
    from nbpkg.training import group  # with all that it takes to start processes

    full = group.fit(job, answer_with_peers)
    if full:
        raise StageError(f"Windows do not fit into memory: {full}", remedy="Use fewer processes on each machine.")
    found: NDArray[np.float64] = np.load(job.folder / ANSWERS)
    (job.folder / ANSWERS).unlink()
    return found


def answer_with_peers(job: AnswerJob, peers: Peers) -> None:
    """Answer as one of a group of processes; the first one writes what all found."""
    job.learner.enter(job.device, peers)
    found = job.learner.answer(job.windows, workers=job.workers)
    if peers.rank == 0:
        write_array(job.folder / ANSWERS, found)


def _open(one: TrainedFaceNetwork, material: FaceMaterial) -> FaceLearner:
    """Put a network and what it looks at together."""
    setting, network = Setting.of(material, one.settings, seed=0), one.build()
    if setting.baked is not None and hash_state(setting.baked.encoder) != hash_state(network.base_model.state_dict()):
        raise StageError(
            f"Features were baked with another network of faces than that of round {one.round}.",
            where=str(setting.baked.folder),
            remedy="Run notebooks/05_train.ipynb again with these features.",
        )
    return FaceLearner(network, setting, (1.0, 1.0))


def _check_unseen(one: TrainedFaceNetwork, material: FaceMaterial) -> None:
    seen = sorted({*one.train, *one.inner} & set(material.folds["session"]))
    if seen:
        raise FoldError(
            f"The network of round {one.round} has seen these clips: {', '.join(seen[:5])}.",
            expected="Clips that neither taught nor chose.",
            remedy="Use FaceMaterial.of_folds('test').",
        )
