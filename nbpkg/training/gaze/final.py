"""The gaze training that is evaluated: one network, its epoch chosen by one fold's participants, saved to be used."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors.torch import save_file

from nbpkg import seeding
from nbpkg.errors import SettingsError
from nbpkg.models.gaze.weights import collect_state
from nbpkg.runs.files import new_file, sha256
from nbpkg.settings.gaze import GazeFinalSettings
from nbpkg.training.gaze.course import Trained
from nbpkg.training.gaze.material import GazeMaterial, GazeNet
from nbpkg.training.gaze.sweep import describe_training, train_round
from nbpkg.training.gaze.tabulate import (
    PARAMETERS,
    Done,
    GazeFound,
    summarise_settings,
    tabulate_costs,
    tabulate_history,
    tabulate_trials,
    take_chosen,
)
from nbpkg.training.rounds import Where


def train_gaze_final(
    material: GazeMaterial,
    *,
    settings: GazeFinalSettings,
    fold: int,
    searched: pd.DataFrame | None,
    where: Where,
    choose: str,
) -> GazeFound:
    """Train the network and save the best epoch's.

    Parameters
    ----------
    material
        What may be seen.
    settings
        The training; what is null is taken from the sweep's best setting.
    fold
        Training fold that chooses the epoch; -1 for the last one.
    searched
        Table ``settings`` of the sweep; None when the experiment has none.
    where
        Folder, seed and device. The network goes to ``networks/gaze/<name>.safetensors``.
    choose
        Score of that fold's participants that chooses the epoch.

    Raises
    ------
    SettingsError
        When a parameter is null and no sweep found one, or there is no such fold.
    DivergedError
        When a loss is no longer a finite number.
    """
    numbers = material.numbers
    if fold != -1 and fold not in numbers:
        raise SettingsError(
            f"train.validation_fold is {fold}.",
            expected=f"A training fold: one of {', '.join(map(str, numbers))}; or -1 for the last of them.",
            remedy="Correct train.validation_fold.",
        )
    chosen = numbers[-1] if fold == -1 else fold
    params = _fill(settings, searched, material.name)
    how = describe_training(settings, params, choose=choose, patience=settings.patience, keep_every=settings.keep_every)
    seed = seeding.child(where.seed, material.pair.name, "final")
    folder = where.folder / "trainings" / material.pair.path / "network"
    label = f"{material.name}, fold {chosen} left out"
    trained = train_round(material, how, fold=chosen, seed=seed, folder=folder, where=where, label=label)
    done = [Done(params, {"setting": 0, "fold": chosen, "repetition": 0}, trained.records)]
    names = {"task": material.pair.task, "variable": material.pair.variable}
    trials = tabulate_trials(done, names=names)
    tables = tabulate_history(done, names=names), tabulate_costs(done, names=names)
    saved = _save(material, trained, params, fold=chosen, where=where)
    return GazeFound(trials, summarise_settings(trials, choose=choose), *tables, [{**names, **saved}])


def load_best(network: GazeNet, trained: Trained) -> GazeNet:
    """Return a copy of the network with the weights of the epoch kept, in evaluation mode."""
    best = copy.deepcopy(network)
    best.load_state_dict(trained.best)
    return best.eval()


def _fill(settings: GazeFinalSettings, searched: pd.DataFrame | None, name: str) -> dict[str, Any]:
    """Fill what is null with the best setting of the sweep."""
    given = {key: getattr(settings, key) for key in PARAMETERS}
    if None not in given.values():
        return given
    if searched is None:
        lacking = ", ".join(f"train.final.{key}" for key, value in given.items() if value is None)
        raise SettingsError(
            f"{lacking} must be given, because this experiment runs no sweep.",
            expected="A number, or 'sweep' in train.phases.",
            remedy="State the values, or add the sweep.",
        )
    best = take_chosen(searched, name)
    return {key: best[key] if value is None else value for key, value in given.items()}


def _save(
    material: GazeMaterial, trained: Trained, params: Mapping[str, Any], *, fold: int, where: Where
) -> dict[str, str]:
    """Write the network, of Gaze-LLE without a frozen backbone, with a card of what it is."""
    path = Path("networks", material.pair.task, f"{material.name}.safetensors")
    records = trained.records
    card = {
        "network": material.name,
        "frozen": material.frozen,
        "footage": material.footage,
        "prepare": {name: getattr(material.prepare, name) for name in material.prepare.__dataclass_fields__},
        "sessions": sorted(material.folds["session"].astype(str)),
        "validation_fold": fold,
        "epoch": records.best_epoch,
        "settings": dict(params),
        "starting_weights": records.identity["starting_weights"],
    }
    state = {key: value.contiguous() for key, value in collect_state(load_best(material.network, trained)).items()}
    with new_file(where.folder / path) as temporary:
        save_file(state, temporary, metadata={"card": json.dumps(card, sort_keys=True)})
    return {"file": path.as_posix(), "sha256": sha256(where.folder / path)}
