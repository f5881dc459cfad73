"""Whole trainings on a tiny world: same bytes, kills, memory, what is never learnt from, divergence, baked features."""

from __future__ import annotations

import dataclasses

import gaze_world
import numpy as np
import pandas as pd
import pytest
import torch
from gaze_world import CPU, SETTINGS, make_material, make_network, results, run
from killing import kill_in_the_middle, watch
from torchvision.ops import StochasticDepth

from nbpkg.baking.shards import shard_path
from nbpkg.errors import DivergedError, FoldError, SettingsError, StageError
from nbpkg.models.published import read_state
from nbpkg.training.gaze import course, memory
from nbpkg.training.gaze.blocks import BlockLesson
from nbpkg.training.gaze.course import GazeTraining, TooLargeError, train_network

HOW = GazeTraining(epochs=2, batch_size=4, learning_rate=1e-3, chunk=2)


@pytest.fixture(autouse=True)
def _one(one_thread):
    pass


def train(folder, material=None, how=HOW, seed=1, fold=1, **lesson):
    material = material or make_material("dry")
    taught = material.lesson(fold, seed=5, chunk=3)
    for name, value in lesson.items():
        setattr(taught, name, value)
    return train_network(material.network, taught, how=how, folder=folder, seed=seed, device=CPU, label="tiny")


def steps(trained) -> np.ndarray:
    return np.array(trained.records.steps)[:, 2]


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("kind", ["temporal", "spatial", "gazelle"])
def test_a_network_learns_and_the_same_seed_gives_the_same_bytes(kind, tmp_path):
    own = SETTINGS.final.model_copy(update={"epochs": 2, "batch_size": 4, "inout_weight": 1.0})
    settings = SETTINGS.model_copy(update={"final": own})
    found = [run("final", tmp_path / name, make_material(kind), settings) for name in "ab"]
    assert results(found[0], tmp_path / "a") == results(found[1], tmp_path / "b")
    losses = found[0].history.query("split == 'train' and metric == 'loss'")["value"].to_numpy()
    assert losses[-1] < losses[0]
    wanted = {"loss", "heat", "inout", "auc", "distance", "average_precision", "frames", "inside"}
    assert set(found[0].history.query("split == 'validation'")["metric"]) == wanted
    assert sorted(set(found[0].history["epoch"])) == [0, 1, 2]
    assert (found[0].costs["peak_mib"] > 50).all()
    state = read_state(tmp_path / "a" / found[0].networks[0]["file"])
    make_network(kind).load_state_dict(state)


def test_tracks_of_unequal_length_go_on_with_their_own_state(tmp_path):
    """Two tracks in one batch answer as each does alone."""
    material = make_material("dry")
    lesson = material.lesson(1, seed=5, chunk=2)
    own = lesson.validation.groupby(["session", "person"]).size()
    assert own.nunique() > 1
    how = dataclasses.replace(HOW, batch_size=8)
    together = lesson.measure(material.network, how)
    alone = lesson.measure(material.network, dataclasses.replace(HOW, batch_size=1))
    assert together == pytest.approx(alone, rel=1e-5)


def test_validation_participants_teach_nothing(tmp_path):
    """With their frames and targets turned to noise, losses and last weights are the same; only the scores are not."""
    clean = train(tmp_path / "clean")
    poisoned = train(tmp_path / "poisoned", make_material("dry", poisoned="p2"))
    assert clean.records.identity["train_rows"] == poisoned.records.identity["train_rows"]
    assert (steps(clean) == steps(poisoned)).all()
    assert same(clean.last, poisoned.last)
    assert clean.records.curve("validation", "distance")[0] != poisoned.records.curve("validation", "distance")[0]
    other = train(tmp_path / "other", make_material("dry", poisoned="p0"))
    assert (steps(clean) != steps(other)).any()


def test_what_training_must_not_see_is_refused():
    material = make_material()
    table, folds = gaze_world.make_table(), gaze_world.make_folds()
    with pytest.raises(FoldError, match="p4_0"):
        dataclasses.replace(material, table=table)
    with pytest.raises(FoldError, match="p4_0"):
        dataclasses.replace(material, folds=folds)
    moved = material.folds.assign(fold=[0, 1, *material.folds["fold"][2:]])
    with pytest.raises(FoldError, match="in several folds: p0"):
        dataclasses.replace(material, folds=moved)
    with pytest.raises(FoldError, match="to choose by"):
        material.lesson(7, seed=0, chunk=3)


@pytest.mark.parametrize("kind", ["temporal", "gazelle"])
def test_a_batch_that_does_not_fit_is_halved_and_said(kind, tmp_path, monkeypatch, capsys):
    material = make_material("dry" if kind == "temporal" else kind)
    for part in material.network.modules():
        if isinstance(part, torch.nn.Dropout | StochasticDepth):
            part.p = 0.0
    whole = train(tmp_path / "whole", material)
    kept = type(material.lesson(1, seed=5, chunk=3)).learn

    def short(self, network, batch, state, *, how, part, backward):
        if part > 1:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")
        return kept(self, network, batch, state, how=how, part=part, backward=backward)

    monkeypatch.setattr(type(material.lesson(1, seed=5, chunk=3)), "learn", short)
    halved = train(tmp_path / "halved", material)
    said = capsys.readouterr().err
    assert "does not fit into memory; going on with 2 at a time, gradients of 2 accumulated, from the start" in said
    assert "going on with 1 at a time, gradients of 4 accumulated" in said
    assert halved.records.part == 1
    assert steps(halved) == pytest.approx(steps(whole), rel=1e-4)


def test_not_even_one_track_fits(tmp_path, monkeypatch):
    def never(self, network, batch, state, *, how, part, backward):
        if network.training and backward.__name__ == "backward":
            raise MemoryError("9 bytes")
        return kept(self, network, batch, state, how=how, part=part, backward=backward)

    kept = BlockLesson.learn
    monkeypatch.setattr(BlockLesson, "learn", never)
    with pytest.raises(TooLargeError, match="Not even a single track fits into memory"):
        train(tmp_path)


def test_what_is_known_not_to_fit_is_halved_before_it_is_tried(tmp_path, monkeypatch, capsys):
    with_everything = make_material("dry")
    lesson = with_everything.lesson(1, seed=5, chunk=3)
    lesson.prepare(with_everything.network)
    job = course.Job(with_everything.network, lesson, HOW, tmp_path, 0, CPU, "tiny")
    whole, part = course.rehearse(job, part=4), course.rehearse(job, part=1)
    assert part.total < whole.total
    assert (whole.frames, part.frames) == (8, 2)
    monkeypatch.setattr(course, "read_free", lambda _: (part.total + whole.total) / 2)
    assert train(tmp_path / "run").records.part < 4
    assert "does not fit into memory" in capsys.readouterr().err
    assert memory.read_free(CPU) > 0


def test_a_training_that_diverges_stops_before_the_step(tmp_path):
    material = make_material("dry")
    before = material.network.state_dict()["conv4.weight"].clone()
    how = dataclasses.replace(HOW, learning_rate=1e30)
    with pytest.raises(DivergedError, match="The loss is (nan|inf) in epoch 1, training step 2"):
        train(tmp_path, material, how)
    assert torch.equal(material.network.state_dict()["conv4.weight"], before)
    assert (tmp_path / "last.ckpt").is_file()


def test_baked_features_give_the_same_training_without_a_frame(tmp_path):
    for kind in ("dry", "gazelle"):
        fresh, baked = make_material(kind), make_material(kind, baked=tmp_path / f"{kind} bake")
        asked = {session: store.asked for session, store in baked.stores.items()}
        one, two = train(tmp_path / f"{kind} fresh", fresh), train(tmp_path / f"{kind} baked", baked)
        assert steps(two) == pytest.approx(steps(one), rel=1e-4)
        assert one.records.curve("validation", "distance") == pytest.approx(two.records.curve("validation", "distance"))
        assert asked == {session: store.asked for session, store in baked.stores.items()}


def test_baking_keeps_finished_shards_and_knows_its_network(tmp_path):
    material = make_material(baked=tmp_path)
    shards = sorted({shard_path(tmp_path, name) for name in material.baked.index["shard"]})
    bytes_before = [path.read_bytes() for path in shards]
    times = [path.stat().st_mtime_ns for path in shards]
    shards[1].write_bytes(bytes_before[1][:-50])
    make_material(baked=tmp_path)
    assert [path.read_bytes() for path in shards] == bytes_before
    assert [path.stat().st_mtime_ns == time for path, time in zip(shards, times, strict=True)].count(False) == 1
    rows = material.baked.open(material.table).read(np.array([3, 0]))
    assert [tuple(part.shape) for part in rows] == [(2, 8, 7, 7), (2, 49)]
    torch.nn.init.zeros_(material.network.attn.weight)
    with pytest.raises(StageError, match="made with other weights"):
        dataclasses.replace(material)
    with pytest.raises(SettingsError, match="unchanged frames"):
        dataclasses.replace(make_material(), baked=material.baked, frozen=False)
    with pytest.raises(StageError, match="no baked features"):
        material.baked.open(gaze_world.make_table())


def test_raters_who_see_the_same_head_share_its_features(tmp_path):
    material = make_material()
    table = pd.concat([material.table, material.table.assign(rater="a2")], ignore_index=True)
    index = gaze_world.plan_gaze_features(table, material.stores, pictures=False)
    assert len(index) == len(table)
    assert len(index[["shard", "row"]].drop_duplicates()) == len(material.table)


def test_every_so_manieth_network_is_kept_as_the_published_programs_do(tmp_path):
    trained = train(tmp_path, how=dataclasses.replace(HOW, epochs=3, keep_every=2))
    assert sorted(path.name for path in tmp_path.glob("epoch_*")) == ["epoch_02_weights.pt", "epoch_03_weights.pt"]
    last = torch.load(tmp_path / "epoch_03_weights.pt", weights_only=True)["model"]
    assert same(last, trained.last)
    assert pd.read_csv(tmp_path / "steps.csv").columns.tolist()[:3] == ["epoch", "step", "loss"]


def test_only_what_learns_changes_and_is_written(tmp_path):
    material = make_material("dry")
    trained = train(tmp_path, material)
    start = material.network.state_dict()
    changed = {key for key in start if not torch.equal(start[key], trained.last[key])}
    assert {key.split(".")[0] for key in changed} == {
        *("convlstm_scene", "deconv1", "deconv2", "deconv3", "conv4", "fc_inout")
    }
    written = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
    assert {key.removeprefix("network.").split(".")[0] for key in written} == {key.split(".")[0] for key in changed}


def test_bfloat16_learns_too(tmp_path):
    trained = train(tmp_path, how=dataclasses.replace(HOW, precision="bfloat16"))
    assert np.isfinite(steps(trained)).all()


def test_settings_out_of_range():
    with pytest.raises(SettingsError, match="epochs is -1; chunk is 0; learning_rate is 0"):
        GazeTraining(epochs=-1, batch_size=1, learning_rate=0, chunk=0)


@pytest.mark.parametrize("phase", ["final", "sweep"])
def test_killed_and_run_again_gives_the_same_bytes(phase, nursery, tmp_path):
    """SIGKILL at random moments; what a stage would write is the same as without."""
    whole, work = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, work):
        folder.mkdir()
    course, undisturbed = watch(lambda: nursery.start(gaze_world.work, whole, phase), whole)
    kill_in_the_middle(lambda: nursery.start(gaze_world.work, work, phase), work, whole=course)
    assert nursery.start(gaze_world.work, work, phase).result() == undisturbed.result()
