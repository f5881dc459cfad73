"""All phases on a tiny world: same bytes, side by side, killed, what is never learnt from, what is reported as what."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import valence_world
from killing import kill_in_the_middle, watch
from nursery import Nursery
from valence_world import CPU, SETTINGS, make_material, make_recordings, results, run

from nbpkg.errors import DivergedError, FoldError, SettingsError, StageError, WeightsError
from nbpkg.training.valence.answers import embed_recordings, list_asked, load_valence_networks, predict_recordings
from nbpkg.training.valence.loop import checkpoint_path


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """All phases, run once."""
    folder = tmp_path_factory.mktemp("valence")
    return folder, {phase: run(phase, folder) for phase in SETTINGS.phases}


def change(**parts):
    """The settings of the world with some of their groups changed."""
    own = {name: getattr(SETTINGS, name).model_copy(update=value) for name, value in parts.items()}
    return SETTINGS.model_copy(update=own)


def test_cross_validation_learns_and_says_what_chose(world):
    folder, found = world
    trials, history = found["crossval"].trials, found["crossval"].history
    assert trials["round"].tolist() == [f"fold_{fold}" for fold in range(4)]
    assert (trials["chosen_by"] == "inner").all()
    assert (trials["n_train"] == 6).all()
    assert (trials["n_held_out"] == 3).all()
    assert (trials["optimistic_ccc"] >= trials["held_out_ccc"] - 1e-9).all()
    losses = history.query("split == 'train'").pivot_table("value", "epoch", "round")
    assert (losses.loc[4] < losses.loc[1]).all()
    for row in trials.itertuples():
        own = history[(history["round"] == row.round) & (history["metric"] == "ccc")].set_index("epoch")
        inner = own.query("split == 'inner'")["value"]
        assert row.epoch == inner.idxmax()  # the held-out fold had no say
        assert row.inner_ccc == pytest.approx(inner.max(), abs=1e-6)
        assert row.held_out_ccc == pytest.approx(own.query("split == 'held_out'")["value"][row.epoch], abs=1e-6)


def test_rounds_partition_the_sessions(world):
    for entry in world[1]["crossval"].networks["networks"]:
        parts = [set(entry[name]) for name in ("train", "inner", "held_out")]
        assert sum(map(len, parts)) == len(set.union(*parts)) == 12
        assert {name.rsplit("_", 1)[1] for name in entry["inner"]} == {str((entry["fold"] + 1) % 4 + 1)}


def test_same_bytes_side_by_side(world, tmp_path):
    again = run("crossval", tmp_path, workers=2)
    assert results(again, tmp_path / "crossval") == results(world[1]["crossval"], world[0] / "crossval")


def test_a_finished_phase_is_only_read(world, tmp_path):
    folder = world[0]
    before = {path: path.stat().st_mtime_ns for path in (folder / "crossval" / "networks").iterdir()}
    again = run("crossval", folder)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert results(again, folder / "crossval") == results(world[1]["crossval"], folder / "crossval")
    with pytest.raises(StageError, match="another training"):
        run("crossval", folder, settings=SETTINGS.model_copy(update={"learning_rate": 0.02}))
    with pytest.raises(StageError, match="another training: data"):
        run("crossval", folder, make_material(poisoned="1"))


@pytest.fixture(scope="module")
def nursery(tmp_path_factory):
    made = Nursery(tmp_path_factory.mktemp("nursery"), "nbpkg.training.valence.phases")
    yield made
    made.close()


def test_killed_at_any_moment_it_ends_with_the_same_bytes(world, nursery, tmp_path):
    whole, worker = watch(lambda: nursery.start(valence_world.work, tmp_path / "whole"), tmp_path)
    expected = worker.result()
    killed = tmp_path / "killed"
    killed.mkdir()
    kill_in_the_middle(lambda: nursery.start(valence_world.work, killed), killed, whole=whole)
    assert nursery.start(valence_world.work, killed).result() == expected
    assert expected == results(world[1]["crossval"], world[0] / "crossval")


def test_the_fold_left_out_teaches_nothing(world, tmp_path):
    """With features and truth of a story turned to nonsense, the network that left it out has the same weights."""
    clean = world[0] / "crossval"
    settings = change(crossval={"select": "epoch", "epoch": 4})
    run("crossval", tmp_path / "clean", settings=settings)
    run("crossval", tmp_path / "bad", make_material(poisoned="2"), settings)
    files = [tmp_path / name / "crossval" / "networks" for name in ("clean", "bad")]
    same = [files[0].joinpath(name).read_bytes() == files[1].joinpath(name).read_bytes() for name in _names(clean)]
    assert same == [False, True, False, False]


def _names(folder):
    return [f"fold_{fold}.safetensors" for fold in range(4)]


@pytest.mark.parametrize("select", ["epoch", "held_out"])
def test_other_ways_to_choose(select, tmp_path):
    trials = run("crossval", tmp_path, settings=change(crossval={"select": select, "epoch": None})).trials
    assert (trials["chosen_by"] == select).all()
    assert (trials["n_train"] == 9).all()
    assert trials["inner_ccc"].isna().all()
    if select == "held_out":
        np.testing.assert_allclose(trials["held_out_ccc"], trials["optimistic_ccc"], atol=1e-6)
    else:
        assert (trials["epoch"] == 4).all()


def test_rescoring_reports_the_honest_choice_beside_the_published(world):
    folder, found = world
    epochs, trials = found["rescore"].epochs, found["rescore"].trials
    rounds = [f"fold_{fold}" for fold in range(4)]
    assert epochs["epoch"].tolist() == [2, 4]
    np.testing.assert_allclose(epochs["mean"], epochs[rounds].mean(axis=1))
    np.testing.assert_allclose(epochs["std"], epochs[rounds].std(axis=1, ddof=0))
    published = epochs.loc[epochs["mean"].idxmax(), "epoch"]
    assert epochs.loc[epochs["chosen"] == 1, "epoch"].tolist() == [published]
    table = epochs.set_index("epoch")
    for row in trials.itertuples():
        others = table[[name for name in rounds if name != row.round]].mean(axis=1)
        assert row.epoch == others.idxmax()
        assert row.chosen_by == "others"
        assert row.held_out_ccc == pytest.approx(table.loc[row.epoch, row.round])
        assert row.optimistic_ccc == pytest.approx(table.loc[published, row.round])
    history = found["crossval"].history.query("split == 'held_out' and metric == 'ccc' and epoch == 2")
    np.testing.assert_allclose(table.loc[2, rounds].to_numpy(float), history["value"], atol=1e-6)


def test_rescoring_at_one_epoch_and_without_its_checkpoint(world):
    folder = world[0]
    trials = run("rescore", folder, settings=change(rescore={"epoch": 4})).trials
    assert trials["epoch"].tolist() == [4] * 4
    assert (trials["chosen_by"] == "epoch").all()
    with pytest.raises(StageError, match=r"checkpoints/fold_0/epoch_3.*\n.*fold_1/epoch_3"):
        run("rescore", folder, settings=change(rescore={"epoch": 3}))
    assert checkpoint_path(folder / "crossval" / "checkpoints" / "fold_0", 2).is_file()


def test_final_takes_its_epochs_from_the_folds(world, tmp_path):
    folder, found = world
    assert found["final"].trials["epochs"].tolist() == [3]
    final = run("final", tmp_path, settings=change(final={"epochs": 2, "subjects": ["10"], "augment": 2}))
    assert final.trials["n_train"].tolist() == [12]
    assert final.networks["networks"][0]["train"][-4:] == [f"Subject_10_Story_{story}" for story in range(1, 5)]
    with pytest.raises(SettingsError, match="no cross-validation before"):
        run("final", tmp_path / "alone", settings=change(final={"epochs": None}))
    with pytest.raises(SettingsError, match="no such subjects to train with: 7"):
        run("final", tmp_path / "seven", settings=change(final={"epochs": 1, "subjects": ["7"]}))


def test_final_leaves_stories_out_and_is_scored_on_them(world, tmp_path):
    found = run("final", tmp_path, settings=change(final={"epochs": 2, "leave_out": ["3"]}))
    row = found.trials.iloc[0]
    assert (row["n_train"], row["n_held_out"]) == (9, 3)
    assert np.isfinite(row["held_out_ccc"])
    asked = list_asked(load_valence_networks(tmp_path / "final"), make_recordings())
    assert {name for name, own in asked.items() if own.role == "held_out"} == {
        f"Subject_{subject}_Story_3" for subject in (1, 2, 10)
    }
    with pytest.raises(SettingsError, match="names 9"):
        run("final", tmp_path / "nine", settings=change(final={"epochs": 2, "leave_out": ["9"]}))


def test_personal_networks_begin_with_a_fold_that_has_not_seen_their_session(world):
    folder, found = world
    personal = load_valence_networks(folder / "personal")
    begun = {one.fold: one for one in load_valence_networks(folder / "rescore")}
    assert len(personal) == 12
    for one in personal:
        assert {name.split("_")[1] for name in (*one.train, *one.held_out)} == {one.subject}
        assert one.held_out == (f"Subject_{one.subject}_Story_{one.fold + 1}",)
        assert len(one.train) == 3
        before = begun[one.fold].preparation
        assert one.preparation.facts() == before.facts()
    assert found["personal"].trials["held_out_ccc"].notna().all()


def test_a_subject_without_a_session_in_a_fold_is_listed(world, tmp_path):
    material = make_material(without="Subject_2_Story_3")
    for phase in ("crossval", "personal"):
        found = run(phase, tmp_path, material)
    row = found.trials.set_index("round").loc["subject_2_fold_2"]
    assert row["reason"] == "the subject has no session among those left out"
    assert np.isnan(row["held_out_ccc"])
    assert len(found.networks["networks"]) == 11


def test_everybody_is_asked_by_a_network_that_has_not_seen_them(world):
    folder, recordings = world[0], make_recordings()
    trained = load_valence_networks(folder / "crossval") + load_valence_networks(folder / "final")
    table = predict_recordings(trained, recordings, system="at", device=CPU)
    roles = table.groupby("session")[["role", "round"]].first()
    assert set(roles.loc[roles.index.str.endswith("_5")].itertuples(index=False, name=None)) == {("hidden", "final")}
    own = roles[~roles.index.str.endswith("_5")]
    assert (own["role"] == "held_out").all()
    assert all(row["round"] == f"fold_{int(name[-1]) - 1}" for name, row in own.iterrows())
    assert table["predicted"].notna().all()
    assert table.loc[table["role"] == "hidden", "truth"].isna().all()
    features = embed_recordings(trained, recordings, device=CPU)
    assert {name: rows.shape for name, rows in features.items()} == {
        name: (one.steps, 8) for name, one in recordings.items()
    }


def test_sessions_kept_for_the_end_are_asked_of_all_folds_without_a_final_network(world):
    recordings = {name: one for name, one in make_recordings().items() if name.endswith("_5")}
    folds = load_valence_networks(world[0] / "crossval")
    together = predict_recordings(folds, recordings, system="at", device=CPU)
    each = [predict_recordings([one], recordings, system="at", device=CPU)["predicted"] for one in folds]
    np.testing.assert_allclose(together["predicted"], np.mean(each, axis=0), atol=1e-6)
    assert set(together["round"]) == {"mean of fold_0 fold_1 fold_2 fold_3"}


def test_trained_sessions_are_called_so_and_strangers_refused(world):
    recordings = make_recordings()
    final = load_valence_networks(world[0] / "final")
    assert list_asked(final, recordings)["Subject_1_Story_1"].role == "train"
    mine = [one for one in load_valence_networks(world[0] / "personal") if one.subject == "1"]
    with pytest.raises(StageError, match="Subject_2_Story_1, of subject 2"):
        list_asked(mine, {"Subject_2_Story_1": recordings["Subject_2_Story_1"]})
    asked = list_asked([*final, *mine], recordings)
    assert asked["Subject_1_Story_2"].networks[0].round == "subject_1_fold_1"
    assert asked["Subject_2_Story_2"].round == "final"


def test_changed_weights_are_refused(world, tmp_path):
    folder = tmp_path / "final"
    run("final", tmp_path)
    path = folder / "networks" / "final.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(WeightsError, match="not those that were written down"):
        load_valence_networks(folder)


def test_what_training_must_not_see_is_refused():
    material = make_material()
    with pytest.raises(FoldError, match="Subject_1_Story_5"):
        dataclasses.replace(material, recordings=make_recordings())
    hidden = make_recordings()["Subject_1_Story_5"]
    shown = dataclasses.replace(material, recordings={**material.recordings, "Subject_1_Story_1": hidden})
    with pytest.raises(FoldError, match="withheld"):
        shown.take(["Subject_1_Story_1"])
    moved = material.folds.assign(fold=[1, *material.folds["fold"][1:]])
    with pytest.raises(FoldError, match="several folds: 1"):
        dataclasses.replace(material, folds=moved)
    with pytest.raises(SettingsError, match="no modality v_sub"):
        dataclasses.replace(material, modalities=("audio", "v_sub")).take(["Subject_1_Story_1"])


def test_a_loss_that_is_no_number_stops_the_training(tmp_path):
    material = make_material()
    loud = material.recordings["Subject_1_Story_1"]
    features = {**loud.features, "text": np.full_like(loud.features["text"], 3e38)}
    recordings = {**material.recordings, loud.session: dataclasses.replace(loud, features=features)}
    settings = SETTINGS.model_copy(update={"scale": "none"})
    with pytest.raises(DivergedError, match="The loss of epoch 1 is nan"):
        run("final", tmp_path, dataclasses.replace(material, recordings=recordings), settings)


def test_training_begins_with_a_file_in_the_data_folder(world, tmp_path):
    material = dataclasses.replace(make_material(), data=world[0])
    network = SETTINGS.network.model_copy(update={"weights": "final/networks/final.safetensors"})
    found = run("final", tmp_path, material, SETTINGS.model_copy(update={"network": network}))
    first = found.history.query("split == 'train' and epoch == 1")["value"].item()
    last = world[1]["final"].history.query("split == 'train' and epoch == 3")["value"].item()
    assert first == pytest.approx(last, rel=0.5)
    outside = network.model_copy(update={"weights": "../x.save"})
    with pytest.raises(SettingsError, match="outside the data folder"):
        run("final", tmp_path / "x", material, SETTINGS.model_copy(update={"network": outside}))
    swapped = dataclasses.replace(material, modalities=("text", "audio"))
    with pytest.raises(WeightsError, match="The network takes audio, text, the experiment text, audio"):
        run("final", tmp_path / "y", swapped, SETTINGS.model_copy(update={"network": network}))
