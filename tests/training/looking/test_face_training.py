"""Trainings over windows of faces: a planted rule is learnt, what was cut off ends with the same bytes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from looking_world import CPU, LENGTH, STILL, settings, train
from looking_world import bake as bake_material

from nbpkg.errors import DivergedError, FoldError, SettingsError, StageError, WeightsError
from nbpkg.models.looking.build import build_face_encoder, build_window_network
from nbpkg.models.looking.options import WindowNetworkOptions
from nbpkg.settings.looking import FaceLearning
from nbpkg.training.looking import loop
from nbpkg.training.looking.learner import FaceLearner, Setting, to_scores, weigh_classes
from nbpkg.training.looking.loop import rate_at
from nbpkg.training.looking.networks import build_face_network
from nbpkg.training.looking.rounds import list_rounds
from nbpkg.training.looking.saved import load_face_networks
from nbpkg.training.rounds import Where

GOLDEN = Path(__file__).parents[2] / "golden" / "looking_at_me"


@pytest.fixture(scope="module")
def trained(tmp_path_factory, material):
    folder = tmp_path_factory.mktemp("final")
    return folder, train(folder, material)


def weights_in(folder: Path, name: str = "final") -> bytes:
    return (folder / "networks" / f"{name}.safetensors").read_bytes()


def find(found, split: str, metric: str, name: str = "final"):
    own = found.history[(found.history["round"] == name) & (found.history["split"] == split)]
    return own[own["metric"] == metric].set_index("epoch")["value"]


# ---- what comes out


def test_a_planted_rule_is_learnt_and_told_in_tables(trained, material):
    folder, found = trained
    trial, losses = found.trials.iloc[0], find(found, "train", "loss")
    assert losses.iloc[-1] < 0.7 * losses.iloc[0]
    assert find(found, "inner", "loss").iloc[-1] < find(found, "inner", "loss").iloc[0]
    assert trial["inner_map"] > 0.9
    assert trial["epoch"] == find(found, "inner", "map").idxmax()
    assert trial["inner_map"] == find(found, "inner", "map").max()
    assert set(found.history["metric"]) == {"loss", "map", "accuracy", "rate"}
    assert trial["n_train"] == 5 * LENGTH - 1  # of six training tracks one has no labels, and one face no crop
    assert trial["n_inner"] == 4 * LENGTH // 2
    assert trial["weights"] == "random weights"
    lines = (folder / "trainings" / "final" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3, 4]
    assert {"loss", "map", "accuracy", "rate", "inner_loss", "inner_map"} <= set(json.loads(lines[0]))


def test_the_same_seed_gives_the_same_bytes_and_another_one_does_not(trained, material, tmp_path):
    train(tmp_path / "again", material)
    assert weights_in(tmp_path / "again") == weights_in(trained[0])
    train(tmp_path / "other", material, seed=1)
    assert weights_in(tmp_path / "other") != weights_in(trained[0])


def test_a_finished_training_is_read_and_not_made_again(trained, material):
    folder, found = trained
    before = (folder / "networks" / "final.safetensors").stat().st_mtime_ns
    again = train(folder, material)
    assert (folder / "networks" / "final.safetensors").stat().st_mtime_ns == before
    assert again.trials.equals(found.trials)
    assert again.history.equals(found.history)
    assert again.networks == found.networks


@pytest.mark.parametrize("step", [3, 15, 37])
def test_a_training_that_was_cut_off_goes_on_to_the_same_bytes(step, trained, material, tmp_path, monkeypatch):
    """Ten steps make an epoch; states are saved after each, and a step of another epoch is cut off each time."""
    monkeypatch.setattr(loop, "SAVE_EVERY_S", 0)
    learn, made = FaceLearner.learn, []

    def learn_and_stop(self, batch):
        made.append(1)
        if len(made) == step:
            raise KeyboardInterrupt
        return learn(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(FaceLearner, "learn", learn_and_stop)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path, material)
    state = tmp_path / "trainings" / "final" / loop.STATE
    assert state.is_file() == (step > 10)
    found = train(tmp_path, material)
    assert weights_in(tmp_path) == weights_in(trained[0])
    assert found.history.equals(trained[1].history)
    assert not state.exists()
    log = Path("trainings", "final", loop.LOG)
    assert (tmp_path / log).read_text() == (trained[0] / log).read_text()


def test_a_folder_of_another_training_is_refused(material, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "SAVE_EVERY_S", 0)
    monkeypatch.setattr(loop._Run, "close", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, material, learning={"epochs": 1})
    with pytest.raises(StageError, match="learning_rate differ"):
        train(tmp_path, material, learning={"epochs": 1, "learning_rate": 0.02})


def test_a_training_whose_loss_is_no_number_says_where(material, tmp_path):
    options = WindowNetworkOptions(encoder="small", hidden=8)
    state = build_window_network("gaze_lstm", options=options, seed=5).state_dict()
    state["last_layer.weight"].copy_(torch.tensor([[3e38], [-3e38]]))
    torch.save(state, material.data / "spoilt.pth")
    with pytest.raises(DivergedError, match="step . of epoch 1 is (nan|inf)"):
        train(tmp_path, material, network={"weights": "spoilt.pth"})


# ---- rate, weights, validations


@pytest.mark.parametrize("first", ["0.0001", "5e-05"])
def test_the_rate_follows_the_published_cosine(first):
    known = json.loads((GOLDEN / "lr_schedule_open.json").read_text())[first]
    how = FaceLearning(learning_rate=float(first), least_rate=5e-6, period=10)
    np.testing.assert_allclose([rate_at(how, epoch) for epoch in range(25)], known, rtol=0, atol=1e-12)
    still = how.model_copy(update={"schedule": "constant"})
    assert {rate_at(still, epoch) for epoch in range(25)} == {float(first)}


def test_rates_of_the_course_are_those_of_the_schedule(trained):
    how = settings().learning
    assert find(trained[1], "train", "rate").tolist() == [rate_at(how, epoch) for epoch in range(4)]


def test_classes_weigh_by_counts_or_as_stated_or_alike(material):
    labels = np.array([0, 0, 0, 0, 1])
    assert weigh_classes(labels, FaceLearning()) == (0.2, 0.8)
    fixed = FaceLearning(class_weights="fixed", weights=[0.25, 0.75])
    assert weigh_classes(labels, fixed) == (0.25, 0.75)
    assert weigh_classes(labels, FaceLearning(class_weights="none")) == (1.0, 1.0)


@pytest.mark.parametrize("weights", [(0.25, 0.75), (1.0, 1.0)])
def test_the_loss_is_the_weighted_cross_entropy(weights, material):
    own = settings(augment=STILL)
    windows = material.list_windows(["clip a"], stride=3, labelled=True)
    built = build_face_network(own.network, seed=0)
    learner = FaceLearner(built.network, Setting.of(material, own, seed=0), weights)
    batch = next(iter(learner.epoch(windows, 6, epoch=1)))
    loss, log_odds = learner.learn(batch)
    logits = torch.stack([torch.zeros(6), torch.from_numpy(log_odds).float()], dim=1)
    wanted = torch.nn.functional.cross_entropy(logits, batch.label, weight=torch.tensor(weights))
    assert loss == pytest.approx(wanted.item(), abs=1e-6)
    assert learner.lose(log_odds, batch.label.numpy()) == pytest.approx(wanted.item(), abs=1e-6)


def test_a_best_moment_inside_an_epoch_is_kept(material, tmp_path):
    found = train(tmp_path, material, learning={"validate_within": 2, "epochs": 3})
    course = find(found, "inner", "map")
    np.testing.assert_allclose(course.index, np.concatenate([np.arange(1, 6) / 5 + e for e in range(3)]))
    trial = found.trials.iloc[0]
    assert trial["epoch"] % 1 > 0  # all is learnt before the end of an epoch
    assert (trial["epoch"], trial["inner_map"]) == (course.idxmax(), course.max())
    network = load_face_networks(tmp_path)[0]
    windows = material.list_windows(["clip d", "clip e"], stride=2, labelled=True)
    learner = FaceLearner(network.build(), Setting.of(material, network.settings, seed=0), (1.0, 1.0))
    kept = loop.score_windows(learner, learner.answer(windows), windows.label)
    assert kept["map"] == trial["inner_map"]


def test_validations_without_gain_end_a_training(material, tmp_path):
    found = train(tmp_path, material, learning={"patience": 2, "epochs": 50})
    trial = found.trials.iloc[0]
    assert trial["epochs"] == trial["epoch"] + 2 < 50


# ---- what is learnt from


def test_the_quality_filter_and_temporal_dropout_are_two_settings(material, tmp_path):
    counts = {}
    for name, window in (
        ("neither", {}),
        ("dropout", {"temporal_dropout": True}),
        ("filter", {"quality_filter": True}),
    ):
        found = train(tmp_path / name, material, learning={"epochs": 1}, window=window)
        counts[name] = tuple(found.trials[["n_train", "n_filtered"]].iloc[0])
    full = 5 * LENGTH - 1
    assert counts == {"neither": (full, 0), "dropout": (full, 0), "filter": (full - LENGTH, LENGTH)}
    assert weights_in(tmp_path / "neither") != weights_in(tmp_path / "dropout")


def test_test_clips_are_refused(material, tmp_path):
    from nbpkg.training.looking.phases import train_face_phase

    with pytest.raises(FoldError, match="must not see these clips: clip f"):
        train_face_phase("final", material, settings=settings(), where=Where(tmp_path, 0, CPU, 0))


def test_no_clip_that_chooses_is_learnt_from(trained, material):
    entry = trained[1].networks["networks"][0]
    assert (entry["train"], entry["inner"]) == (["clip a", "clip b", "clip c"], ["clip d", "clip e"])
    kept = load_face_networks(trained[0])[0]
    assert kept.card.facts["sessions"] == ["clip a", "clip b", "clip c", "clip d", "clip e"]


def test_windows_of_one_kind_teach_nothing(material, tmp_path):
    with pytest.raises(FoldError, match="Of 5 windows to learn from, 0 look"):
        train(tmp_path, material, window={"stride": 10_000})


@pytest.mark.parametrize("name", ["gazepose", "gaze_lstm", "gaze_lstm_lam", "baseline_lstm"])
def test_every_network_learns_also_from_a_batch_of_one_window(name, material, tmp_path):
    found = train(tmp_path, material, network={"name": name}, learning={"epochs": 1, "batch_size": 26})
    assert found.trials["n_train"].iloc[0] % 26 == 1
    assert np.isfinite(found.history["value"]).all()


# ---- variants


def test_variants_differ_from_the_settings_by_what_they_name(material, tmp_path):
    sweep = {"variants": {"full": {}, "alike": {"learning.class_weights": "none"}}, "repeats": 2}
    found = train(tmp_path, material, "sweep", sweep=sweep, learning={"epochs": 1})
    assert found.trials["round"].tolist() == ["full_repeat_0", "full_repeat_1", "alike_repeat_0", "alike_repeat_1"]
    networks = {one.round: one for one in load_face_networks(tmp_path)}
    assert networks["alike_repeat_1"].settings.learning.class_weights == "none"
    assert networks["full_repeat_1"].settings.learning.class_weights == "counts"
    final = train(tmp_path / "final", material, sweep=sweep, learning={"epochs": 1}, variant="alike")
    assert final.trials["variant"].tolist() == ["alike"]
    assert weights_in(tmp_path / "final") == weights_in(tmp_path, "alike_repeat_0")


def test_variants_that_cannot_be_are_named_together():
    wrong = {"wrong": {"network.colour": 1, "sweep.repeats": 2, "window.stride": 5}}
    with pytest.raises(SettingsError) as caught:
        list_rounds("sweep", settings(sweep={"variants": wrong}))
    assert "network.colour" in str(caught.value)
    assert "sweep.repeats" in str(caught.value)
    with pytest.raises(SettingsError, match="learning.epochs"):
        list_rounds("sweep", settings(sweep={"variants": {"wrong": {"learning.epochs": -1}}}))


def test_sizes_that_do_not_fit_are_told_before_anything_is_trained(material, tmp_path):
    sweep = {"variants": {"full": {}, "odd": {"network.name": "gazepose", "network.heads": 3}}}
    with pytest.raises(SettingsError, match="dmodel is 16"):
        train(tmp_path, material, "sweep", sweep=sweep)
    assert not (tmp_path / "trainings").exists()


# ---- what it begins with


def test_a_training_begins_with_another_experiments_network(trained, material, tmp_path):
    found = train(tmp_path, material, start=trained[0], learning={"epochs": 1, "learning_rate": 1e-9, "least_rate": 0})
    words = found.trials["weights"].iloc[0]
    assert words.startswith("network of tiny: ")
    assert "entries loaded" in words
    before, after = (load_face_networks(folder)[0].state for folder in (trained[0], tmp_path))
    assert all(torch.allclose(after[key], before[key], atol=1e-6) for key in before)


def test_a_training_begins_with_a_published_file_and_says_what_was_taken(material, tmp_path):
    options = WindowNetworkOptions(encoder="small", hidden=8)
    gaze = build_window_network("gaze_lstm", options=options, seed=5).state_dict()
    gaze["last_layer.weight"], gaze["last_layer.bias"] = torch.zeros(3, 16), torch.zeros(3)  # angles and spread
    torch.save({"state_dict": {f"module.{key}": item for key, item in gaze.items()}}, material.data / "gaze360.pth.tar")
    found = train(tmp_path, material, network={"weights": "gaze360.pth.tar"}, learning={"epochs": 1})
    count = len(gaze) - 2
    assert found.trials["weights"].iloc[0] == (
        f"gaze360.pth.tar: {count} entries loaded; 2 left initial (last_layer); 2 of the file dropped (last_layer)"
    )


def test_a_whole_published_network_is_scored_without_training(trained, material, tmp_path):
    state = load_face_networks(trained[0])[0].state
    torch.save({"state_dict": state, "epoch": 3, "mAP": 0.5}, material.data / "gaze_lstm.pth")
    only = {"network": {"weights": "gaze_lstm.pth"}, "learning": {"epochs": 0}}
    found = train(tmp_path, material, **only)
    assert found.trials["inner_map"].iloc[0] == pytest.approx(trained[1].trials["inner_map"].iloc[0])
    assert found.trials["epochs"].iloc[0] == 0
    assert set(found.history["split"]) == {"inner"}
    after = load_face_networks(tmp_path)[0].state
    assert all(torch.equal(after[key], state[key]) for key in state)
    again = train(tmp_path, material, **only)
    assert again.networks == found.networks


def test_a_network_that_is_not_trained_is_not_scored(trained, material, tmp_path):
    with pytest.raises(SettingsError, match="not trained"):
        train(tmp_path / "none", material, learning={"epochs": 0})
    state = load_face_networks(trained[0])[0].state
    part = {key: value for key, value in state.items() if not key.startswith("last_layer")}
    torch.save(part, material.data / "headless.pth")
    with pytest.raises(WeightsError):
        train(tmp_path / "part", material, network={"weights": "headless.pth"}, learning={"epochs": 0})


@pytest.mark.parametrize(
    ("weights", "error", "words"),
    [("../away.pth", SettingsError, "outside the data folder"), ("lost.pth", WeightsError, "lost.pth")],
)
def test_weights_that_are_not_there_are_an_error(weights, error, words, material, tmp_path):
    with pytest.raises(error, match=words):
        train(tmp_path, material, network={"weights": weights})


# ---- frozen faces


@pytest.mark.parametrize(("name", "encoder"), [("gaze_lstm", "resnet18"), ("gazepose", "small")])
def test_baked_features_give_the_losses_of_encoding_each_window(name, encoder, material, tmp_path):
    """Maps are kept in half precision; a low rate keeps Adam from making much of little."""
    faces = build_face_encoder(encoder, seed=4)
    before = {key: item.clone() for key, item in faces.state_dict().items()}
    baked = bake_material(material, tmp_path / "baked", faces, maps=name == "gazepose")
    how = {"network": {"name": name, "encoder": encoder}, "augment": STILL}
    how["learning"] = {"freeze": True, "epochs": 3, "learning_rate": 2e-4}
    found = train(tmp_path, baked, **how)
    kept = load_face_networks(tmp_path)[0].state
    assert all(torch.equal(kept[f"base_model.{key}"], item) for key, item in before.items())
    assert "the network of faces is that of 04" in found.trials["weights"].iloc[0]
    each = encode_each(material, settings(**how), before)
    assert find(found, "train", "loss").tolist() == pytest.approx(each, abs=1e-4)
    assert each[-1] < each[0]


def encode_each(material, own, encoder) -> list[float]:
    """Train as phases do, but encode the seven crops of every window; losses of the epochs."""
    from nbpkg import seeding

    seed = seeding.child(0, "looking", 0)
    network = build_face_network(own.network, seed=seed, encoder=encoder).network
    network.base_model.requires_grad_(requires_grad=False)
    windows = material.list_windows(["clip a", "clip b", "clip c"], stride=1, labelled=True)
    weights = torch.tensor(weigh_classes(windows.label, own.learning))
    optimiser = torch.optim.Adam([item for item in network.parameters() if item.requires_grad])
    batches = Setting.of(material, own, seed=seed).batches(windows, training=True)
    means = []
    for epoch in range(own.learning.epochs):
        optimiser.param_groups[0]["lr"] = rate_at(own.learning, epoch)
        losses = []
        for batch in batches.each(batches.shuffle(epoch + 1), batch=own.learning.batch_size, epoch=epoch + 1):
            network.train().base_model.eval()
            logits = network(batch.crops[batch.where], batch.head, batch.points)
            loss = torch.nn.functional.cross_entropy(logits, batch.label, weight=weights)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        means.append(float(np.mean(losses)))
    return means


def test_where_features_are_baked_no_crop_is_encoded(material, tmp_path):
    baked = bake_material(material, tmp_path, build_face_encoder("small", seed=4))
    own = settings(augment=STILL, learning={"freeze": True})
    learner = FaceLearner(build_face_network(own.network, seed=0).network, Setting.of(baked, own, seed=0), (1.0, 1.0))
    seen = []
    learner.network.base_model.register_forward_hook(lambda *_: seen.append(1))
    windows = material.list_windows(["clip a"], stride=1, labelled=True)
    for batch in learner.epoch(windows, 8, epoch=1):
        learner.learn(batch)
    learner.answer(windows)
    assert seen == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"network": {"size": 32}}, "features were baked at 24 pixels"),
        ({"network": {"name": "gazepose"}}, "bake.maps is false"),
        ({"augment": {"mirror": True}}, "their features are baked"),
        ({"network": {"encoder": "resnet18"}}, "do not fit a network of faces"),
    ],
)
def test_features_that_a_network_cannot_use_are_refused(changes, words, material, tmp_path):
    baked = bake_material(material, tmp_path, build_face_encoder("small", seed=4), maps=False)
    how = {"learning": {"freeze": True}, "augment": STILL} | changes
    if "augment" in changes:
        how["augment"] = {**STILL, **changes["augment"]}
    with pytest.raises((SettingsError, WeightsError), match=words):
        train(tmp_path, baked, **how)


# ---- files


def test_a_network_comes_back_as_it_was_and_a_changed_file_is_refused(trained, material, tmp_path):
    folder, found = trained
    one = load_face_networks(folder)[0]
    assert one.digest == found.networks["networks"][0]["sha256"]
    assert one.settings == settings()
    assert sorted(one.build().state_dict()) == sorted(one.state)
    lacking = {key: item for key, item in one.state.items() if key != "last_layer.bias"}
    with pytest.raises(WeightsError, match="do not fit"):
        replace(one, state=lacking).build()
    copy = tmp_path / "networks" / "final.safetensors"
    copy.parent.mkdir()
    data = bytearray(weights_in(folder))
    data[-1] ^= 1
    copy.write_bytes(data)
    (tmp_path / "networks.json").write_text(json.dumps(found.networks))
    with pytest.raises(WeightsError, match="card is not there"):
        load_face_networks(tmp_path)
    copy.with_suffix(".json").write_text((folder / "networks" / "final.json").read_text())
    with pytest.raises(WeightsError, match="not those that were written down"):
        load_face_networks(tmp_path)
    with pytest.raises(StageError, match="no list of networks"):
        load_face_networks(tmp_path / "nowhere")


def test_scores_are_the_softmax_of_both_classes():
    logits = torch.tensor([[0.2, 1.5], [-3.0, 40.0], [9.0, -9.0]], dtype=torch.float64)
    odds = (logits[:, 1] - logits[:, 0]).numpy()
    np.testing.assert_allclose(to_scores(odds), logits.softmax(dim=1)[:, 1], rtol=1e-12)
