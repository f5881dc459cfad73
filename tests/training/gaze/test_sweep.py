"""A grid of trainings: every cell on every fold, a failing cell noted, tables, and what the final training takes."""

from __future__ import annotations

import json

import numpy as np
import pytest
from gaze_world import CPU, SETTINGS, make_material, run

from nbpkg import tables
from nbpkg.errors import SettingsError, StageError
from nbpkg.training.gaze.phases import train_gaze_phase
from nbpkg.training.gaze.sweep import list_cells
from nbpkg.training.rounds import Where


@pytest.fixture(autouse=True)
def _one(one_thread):
    pass


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("swept")
    settings = SETTINGS.model_copy(update={"sweep": SETTINGS.sweep.model_copy(update={"learning_rate": [1e-3, 1e30]})})
    return folder, settings, run("sweep", folder, make_material(), settings)


def test_a_cell_that_diverges_is_noted_and_the_grid_goes_on(swept):
    _, _, found = swept
    for name in ("trials", "settings", "history"):
        tables.check(getattr(found, name), f"gaze_{name}")
    assert found.trials[["setting", "fold"]].to_numpy().tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    good, bad = found.settings.to_dict("records")
    assert (good["n"], good["failed"], good["chosen"], good["reason"]) == (2, 0, True, "")
    assert (bad["n"], bad["failed"], bad["chosen"]) == (0, 2, False)
    assert "The loss is" in bad["reason"]
    assert np.isnan(bad["distance"])
    own = found.trials.query("setting == 0")["validation_distance"]
    assert good["distance"] == pytest.approx(own.mean())
    assert good["distance_sd"] == pytest.approx(own.std(ddof=1))


def test_every_epoch_of_every_cell_is_scored(swept):
    _, _, found = swept
    curves = found.history.query("split == 'validation' and metric == 'distance'")
    assert curves.groupby(["setting", "fold"])["epoch"].apply(list).tolist() == [[0, 1], [0, 1]]
    assert {"setting", "parameters", "batch_size", "chunk", "learning_rate", "fold", "value"} <= set(found.history)
    assert json.loads(found.history["parameters"][0]) == {"batch_size": 4, "chunk": 2, "learning_rate": 1e-3}


def test_a_finished_sweep_is_only_read(swept):
    folder, settings, found = swept
    before = sorted((path, path.stat().st_mtime_ns) for path in folder.rglob("trained.json"))
    again = run("sweep", folder, make_material(), settings)
    assert again.trials.equals(found.trials)
    assert again.history.equals(found.history)
    assert sorted((path, path.stat().st_mtime_ns) for path in folder.rglob("trained.json")) == before
    assert not list(folder.rglob("*.ckpt"))
    with pytest.raises(StageError, match="begun with other settings"):
        run("sweep", folder, make_material(), SETTINGS)


def test_two_workers_share_a_sweep(swept, tmp_path):
    _, settings, found = swept
    first = run("sweep", tmp_path, make_material(), settings, search_workers=1, worker=1)
    last = run("sweep", tmp_path, make_material(), settings, search_workers=1)
    assert first.trials.equals(found.trials)
    assert last.settings.equals(found.settings)


def test_the_final_training_takes_the_best_cell(swept, tmp_path):
    _, settings, found = swept
    missing = {"learning_rate": None, "batch_size": None, "epochs": 1}
    own = settings.model_copy(update={"final": settings.final.model_copy(update=missing)})
    with pytest.raises(SettingsError, match="train.final.batch_size, train.final.learning_rate must be given"):
        run("final", tmp_path, make_material(), own)
    where = Where(tmp_path, 0, CPU, 0)
    final = train_gaze_phase("final", make_material(), settings=own, searched=found.settings, where=where)
    assert final.trials[["batch_size", "learning_rate", "chunk"]].to_numpy().tolist() == [[4, 1e-3, 2]]
    assert final.networks[0]["file"] == "networks/gaze/vtd_temporal.safetensors"
    with pytest.raises(SettingsError, match="2 processes to train one gaze network"):
        run("final", tmp_path, make_material(), own, processes=2)
    with pytest.raises(SettingsError, match="train.validation_fold is 9"):
        run("final", tmp_path, make_material(), own.model_copy(update={"validation_fold": 9}))


def test_cells_without_video_have_one_chunk():
    assert len(list_cells(SETTINGS.sweep.model_copy(update={"chunk": [2, 3]}), video=True)) == 4
    cells = list_cells(SETTINGS.sweep.model_copy(update={"chunk": [2, 3]}), video=False)
    assert [cell["chunk"] for cell in cells] == [2, 2]
