"""A grid of gaze trainings, each cell on every fold: resumed, shared by workers, a failing cell noted with its reason.

Source: the published sweep of batch size × chunk size trained three epochs and scored one fixed checkpoint nine times;
here every epoch of every cell is scored, on participants left out.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nbpkg import seeding
from nbpkg.errors import DivergedError, NbpkgError, StageError
from nbpkg.progress import say
from nbpkg.runs.files import read_json, write_json
from nbpkg.settings.gaze import GazeLearning, GazeSweepSettings
from nbpkg.training import attempts, checkpointing, sharing
from nbpkg.training.attempts import DIVERGED as FAILED
from nbpkg.training.gaze.course import GazeTraining, TooLargeError, Trained, train_network
from nbpkg.training.gaze.material import GazeMaterial
from nbpkg.training.gaze.records import LOWER, Records, read_result
from nbpkg.training.gaze.tabulate import (
    PARAMETERS,
    Done,
    GazeFound,
    summarise_settings,
    tabulate_costs,
    tabulate_history,
    tabulate_trials,
)
from nbpkg.training.leases import keep_lease
from nbpkg.training.rounds import Where
from nbpkg.training.search import FINISHED, Asked, Search, count_attempts, list_trials, open_search, tell
from nbpkg.training.spaces import Choice, Setting

CHUNK = 3  # time steps in the network at once when validation rows are scored


def list_cells(settings: GazeSweepSettings, *, video: bool) -> list[Setting]:
    """List the cells of the grid, the last parameter changing first; without video there are no chunks to vary."""
    own = {name: list(getattr(settings, name)) for name in PARAMETERS}
    own["chunk"] = own["chunk"] if video else own["chunk"][:1]
    return [dict(zip(own, values, strict=True)) for values in itertools.product(*own.values())]


def sweep_gaze(material: GazeMaterial, *, settings: GazeSweepSettings, where: Where, choose: str) -> GazeFound:
    """Train every cell of the grid on every fold left out, alone or together with other workers.

    Trainings that are finished are kept, one that was killed goes on from its last epoch, and Optuna's journal says
    which cells are done. A cell whose loss stops being finite, that does not fit into memory track by track, or that
    torch gives up on, is noted with what was said, and the grid goes on.

    Parameters
    ----------
    material
        What may be seen.
    settings
        The grid.
    where
        Folder, seed and device; which worker this is, and what it takes.
    choose
        Score of the participants left out that chooses epochs and the cell.

    Returns
    -------
    GazeFound
        Trials, settings, history and costs of all cells; no networks.

    Raises
    ------
    SettingsError
        When the search cannot be shared in this way, or its storage cannot be used.
    StageError
        When others have taken this worker for dead, or it has nothing to summarise; when the storage holds another
        search or cannot be read or written; when a GPU is lost.
    """
    launch, pair = where.launch, material.pair
    sharing.check_launch(launch, sampler="random")
    cells = list_cells(settings, video=material.footage == "video")
    space = {name: Choice(tuple(dict.fromkeys(cell[name] for cell in cells))) for name in PARAMETERS}
    folder, seconds = sharing.lease_folder(where.folder), launch.lease_seconds
    with keep_lease(folder, seconds=seconds, worker=launch.worker, share=launch.share) as lease:
        search = open_search(
            sharing.search_folder(where.folder, pair),
            pair.name,
            cells,
            space=space,
            seed=where.seed,
            lease=lease,
            storage=launch.storage,
        )
        own = _Sweep(material, settings, where, choose, search)
        sharing.share_work({pair: search}, {pair: own.attempt}, launch=launch)
        return own.tabulate()


def train_round(
    material: GazeMaterial, how: GazeTraining, *, fold: int, seed: int, folder: Path, where: Where, label: str
) -> Trained:
    """Train once with one fold left out; -1 for none."""
    lesson = material.lesson(fold, seed=seeding.child(seed, "lesson"), chunk=CHUNK)
    network = copy.deepcopy(material.network)
    return train_network(network, lesson, how=how, folder=folder, seed=seed, device=where.device, label=label)


def describe_training(
    settings: GazeLearning, params: Mapping[str, Any], *, choose: str, patience: int = 0, keep_every: int = 0
) -> GazeTraining:
    """Put the settings of a phase and the parameters of one cell together."""
    return GazeTraining(
        epochs=settings.epochs,
        batch_size=int(params["batch_size"]),
        learning_rate=float(params["learning_rate"]),
        chunk=int(params["chunk"]),
        inout_rate=settings.inout_rate,
        inout_weight=settings.inout_weight,
        schedule=settings.schedule,
        batch_statistics=settings.batch_statistics,
        precision=settings.precision,
        max_steps=settings.max_steps,
        choose=choose,
        window=settings.window,
        warm_up=settings.warm_up,
        patience=patience,
        keep_every=keep_every,
    )


@dataclass(frozen=True)
class _Sweep:
    """The sweep of one network."""

    material: GazeMaterial
    settings: GazeSweepSettings
    where: Where
    choose: str
    search: Search

    def attempt(self, asked: Asked) -> None:
        """Train one cell on every fold and repetition, and tell its score."""
        scores = [self._train(asked, fold, repetition) for fold, repetition in self._rounds()]
        value = float(np.mean(scores))
        tell(self.search, asked, -value if self.choose in LOWER else value)

    def tabulate(self) -> GazeFound:
        """Collect what all trainings of finished cells came to."""
        known, tried = list_trials(self.search), count_attempts(self.search)
        done = []
        for cell in known[known["state"].isin(FINISHED)].to_dict("records"):
            params, setting = {name: cell[name] for name in PARAMETERS}, int(cell["setting"])
            for fold, repetition in self._rounds():
                place = {"setting": setting, "fold": fold, "repetition": repetition}
                *earlier, folder = self._folders(**place, attempt=tried[setting])
                attempts.forget(earlier)
                records, reason = _outcome(folder)
                done.append(Done(params, place, records, reason))
        names = {"task": self.material.pair.task, "variable": self.material.pair.variable}
        trials = tabulate_trials(done, names=names)
        tables = tabulate_history(done, names=names), tabulate_costs(done, names=names)
        return GazeFound(trials, summarise_settings(trials, choose=self.choose), *tables, [])

    def _rounds(self) -> list[tuple[int, int]]:
        return list(itertools.product(self.material.numbers, range(self.settings.repetitions)))

    def _train(self, asked: Asked, fold: int, repetition: int) -> float:
        """Train once, unless an earlier run did; return the score of the epoch kept, NaN when the training failed."""
        *earlier, folder = self._folders(asked.index, fold, repetition, attempt=asked.attempt)
        attempts.take_over(folder, earlier)
        if not (folder / FAILED).is_file() and read_result(folder) is None:
            self._try(asked.params, fold, repetition, folder)
        records, _ = _outcome(folder)
        return np.nan if records is None else records.at(records.best_epoch).get(f"validation_{self.choose}", np.nan)

    def _try(self, params: Mapping[str, Any], fold: int, repetition: int, folder: Path) -> None:
        """Train once; of a training that is over the checkpoints go, the history stays."""
        how = describe_training(self.settings, params, choose=self.choose)
        label = f"batch {how.batch_size} × chunk {how.chunk}, rate {how.learning_rate:g}, fold {fold} left out"
        # The same for all cells, so that they differ by their parameters alone.
        seed = seeding.child(self.where.seed, self.material.pair.name, "sweep", fold, repetition)
        try:
            train_round(self.material, how, fold=fold, seed=seed, folder=folder, where=self.where, label=label)
        except (DivergedError, TooLargeError, RuntimeError) as error:  # belongs to the results
            _check_device(self.where.device, error)
            say(f"{label} failed: {error}")
            words = error.what if isinstance(error, NbpkgError) else next(iter(str(error).splitlines()), repr(error))
            write_json(folder / FAILED, {"error": words})
        checkpointing.discard(folder)

    def _folders(self, setting: int, fold: int, repetition: int, *, attempt: int) -> list[Path]:
        """Return the folders of a training in all attempts, the last one last."""
        base, own = self.where.folder / "trainings" / self.material.pair.path, {"fold": fold, "repetition": repetition}
        return [attempts.name_folder(base, setting, **own, attempt=number) for number in range(attempt + 1)]


def _outcome(folder: Path) -> tuple[Records | None, str]:
    path = folder / FAILED
    return (None, str(read_json(path)["error"])) if path.is_file() else (read_result(folder), "")


def _check_device(device: torch.device, error: Exception) -> None:
    """Stop when a GPU answers no more: all later cells would fail for the fault of this one.

    Raises
    ------
    StageError
        With what was said.
    """
    if device.type != "cuda":
        return
    try:
        torch.cuda.synchronize(device)
    except RuntimeError:
        raise StageError(
            f"The GPU answers no more: {error}",
            where=str(device),
            remedy="Start the notebook again; it goes on with this cell. Should it fail again, leave the cell out.",
        ) from None
