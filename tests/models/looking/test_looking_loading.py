"""Checkpoints: known by content, loaded by stated rules, told entry by entry; the published rules for comparison."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file

from nbpkg.errors import WeightsError
from nbpkg.models.looking.build import build_face_encoder, build_window_network
from nbpkg.models.looking.loading import begin_encoder, begin_from, describe_loading, load_whole
from nbpkg.models.looking.lstm_heads import Gaze360Lstm
from nbpkg.models.looking.options import WindowNetworkOptions
from nbpkg.models.looking.published import build_published, read_published
from nbpkg.models.looking.reference_loading import load_as_published

OPTIONS = WindowNetworkOptions(
    encoder="small", hidden=16, dmodel=64, feedforward=96, encoder_layers=2, decoder_layers=1
)
PUBLISHED = {"encoder": "resnet18", "hidden": 256}
HEAD = ["last_layer.weight", "last_layer.bias"]
WRITTEN_BY = {"lam": "gaze_lstm_lam", "gaze_lstm": "gaze_lstm", "gazepose": "gazepose"}


def build(name, *, seed=1, **changes):
    return build_window_network(name, options=replace(OPTIONS, **changes), seed=seed)


def write(path, network, *, form="published", prefix="", head="last_layer"):
    """Write a checkpoint as the published programs do, or as plain weights."""
    state = {prefix + key.replace("last_layer.", f"{head}."): item for key, item in network.state_dict().items()}
    if path.suffix == ".safetensors":
        save_file(state, path)
    elif form == "bare":
        torch.save(state, path)
    else:
        torch.save({"epoch": 3, "state_dict": state, "mAP": np.float64(0.71)}, path)
    return path


def gaze360(path, *, prefix="module.", head="last_layer"):
    torch.manual_seed(4)
    network = Gaze360Lstm()
    write(path, network, prefix=prefix, head=head)
    return path, network.state_dict()


def keys(table, status):
    return list(table.loc[table["status"] == status, "key"])


def without_counters(names):
    return [name for name in names if not name.endswith("num_batches_tracked")]


def same(network, state):
    own = network.state_dict()
    return own.keys() == state.keys() and all(torch.equal(item, state[key]) for key, item in own.items())


@pytest.mark.parametrize(
    ("name", "file", "head"),
    [
        ("gaze_lstm", "gaze360_model.pth.tar", "last_layer"),
        ("gaze_lstm", "renamed.pth", "hidden2tag"),
        ("gazepose", "renamed.pth", "last_layer"),
    ],
)
def test_gaze360_begins_a_training_whatever_the_file_is_called(case, tmp_path, name, file, head):
    golden = case.json("checkpoint_rules_open")[{"gaze_lstm": "GazeLSTM_train", "gazepose": "GazePose_train"}[name]]
    path, state = gaze360(tmp_path / file, head=head)
    network = build_window_network(name, seed=1)
    initial = {key: item.clone() for key, item in network.state_dict().items()}
    table = begin_from(network, path)
    assert without_counters(keys(table, "loaded")) == golden["loaded"]
    assert sorted(keys(table, "initial")) == sorted(golden["left_at_initialisation"])
    assert keys(table, "dropped") == golden["dropped_from_checkpoint"]
    assert len(keys(table, "loaded")) == 140
    for key, item in network.state_dict().items():
        assert torch.equal(item, state[key] if key in keys(table, "loaded") else initial[key])
    assert describe_loading(table).startswith("140 entries loaded; ")


def test_the_published_rules_follow_the_files_name(case, tmp_path):
    golden = case.json("checkpoint_rules_open")
    path, _ = gaze360(tmp_path / "gaze360_model.pth.tar")
    for name, key in (("gaze_lstm", "GazeLSTM_train"), ("gazepose", "GazePose_train")):
        network = build_window_network(name, seed=1)
        table = load_as_published(network, path, run="train")
        assert without_counters(keys(table, "loaded")) == golden[key]["loaded"]
        assert sorted(keys(table, "initial")) == sorted(golden[key]["left_at_initialisation"])
        assert keys(table, "dropped") == golden[key]["dropped_from_checkpoint"]
    for run in ("val", "eval"):
        assert "last_layer.weight" in golden[f"GazeLSTM {run} with gaze360"]
        with pytest.raises(WeightsError, match=r"last_layer.weight is \[3, 512\] instead of \[2, 512\]"):
            load_as_published(build("gaze_lstm", **PUBLISHED), path, run=run)
    own = write(tmp_path / "best.pth", build("gazepose", seed=2))
    resumed = load_as_published(build("gazepose"), own, run="train")
    assert keys(resumed, "initial") == golden["GazePose resume from its own best.pth: differing keys"]
    assert golden["missing file"] == "no error"
    assert set(load_as_published(build("gaze_lstm"), tmp_path / "gone.pth", run="train")["status"]) == {"initial"}


def test_the_published_rules_stop_and_do_not_stop_where_they_did(tmp_path):
    lam = write(tmp_path / "lam-gaze360-best.pth", build("gaze_lstm_lam", seed=2))
    with pytest.raises(WeightsError, match="to be removed, but is not there"):
        load_as_published(build("gaze_lstm_lam"), lam, run="train")
    table = load_as_published(build("gaze_lstm"), lam, run="val")
    assert keys(table, "initial") == HEAD
    assert keys(table, "dropped") == [f"last_layer{n}.{part}" for n in (1, 2) for part in ("weight", "bias")]
    with pytest.raises(WeightsError, match="last_layer.weight is missing"):
        load_as_published(build("gaze_lstm"), lam, run="eval")
    renamed, _ = gaze360(tmp_path / "renamed.pth")
    with pytest.raises(WeightsError, match="last_layer.weight"):
        load_as_published(build("gaze_lstm", **PUBLISHED), renamed, run="train")
    pose = write(tmp_path / "best.pth", build("gazepose", seed=2))
    with pytest.raises(WeightsError, match=r"head_query is missing(.|\n)*yaw_embed.weight is unexpected"):
        load_as_published(build("gazepose", head=False), pose, run="val")
    assert set(load_as_published(build("gazepose"), pose, run="val")["status"]) == {"loaded"}


@pytest.mark.parametrize("kind", WRITTEN_BY)
@pytest.mark.parametrize(
    ("file", "form", "prefix"),
    [
        ("best.pth", "published", ""),
        ("ddp.pth", "published", "module."),
        ("Pure.pt", "bare", ""),
        ("a.safetensors", "bare", ""),
    ],
)
def test_trained_networks_come_back_whole_in_every_form(tmp_path, kind, file, form, prefix):
    source, network = build(WRITTEN_BY[kind], seed=2), build(WRITTEN_BY[kind])
    path = write(tmp_path / file, source, form=form, prefix=prefix)
    table = load_whole(network, path)
    assert same(network, source.state_dict())
    assert set(table["status"]) == {"loaded"}
    assert list(table["key"]) == list(source.state_dict())
    built = build_published(path)
    assert built.weights.kind == kind
    assert same(built.network, source.state_dict())
    assert not built.network.training


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"head": False},
        {"landmarks": False},
        {"head": False, "landmarks": False},
        {"split": 5.0, "dsplit": 0.5, "csplit": 0.25},
        {"split": 0.7, "dsplit": 0.2, "csplit": 0.2},
        {"split": 90.0, "dsplit": 4.0, "csplit": 1.0},
        {"split": 0.25, "dsplit": 0.05, "csplit": 0.05, "encoder_layers": 0, "decoder_layers": 2, "hidden": 32},
    ],
)
def test_priors_grids_and_sizes_are_read_from_the_weights(tmp_path, changes):
    source = build("gazepose", seed=2, **changes)
    weights = read_published(write(tmp_path / "best.pth", source))
    expected = replace(OPTIONS, **changes)
    assert weights.options == expected
    assert weights.landmark_rows == ("reference" if expected.landmarks else "none")


def test_a_network_goes_on_from_its_own_checkpoint_with_its_head(tmp_path):
    source, network = build("gazepose", seed=2), build("gazepose")
    table = begin_from(network, write(tmp_path / "epoch_2.pth", source))
    assert set(table["status"]) == {"loaded"}
    assert same(network, source.state_dict())


def test_tables_of_another_grid_are_dropped_and_told(tmp_path):
    source, network = build("gazepose", seed=2), build("gazepose", split=5.0, landmarks=False)
    table = begin_from(network, write(tmp_path / "best.pth", source)).set_index("key")
    reasons = table["reason"]
    assert list(reasons["yaw_embed.weight"]) == ["of the shape [91, 64], in the network [19, 64]"] * 2
    assert list(table["status"]["yaw_embed.weight"]) == ["initial", "dropped"]
    assert reasons["joint_embed.weight"] == "the network has no such entry"
    assert reasons["landmark_query"] == "the file has no such entry"
    assert table["status"]["last_layer.weight"] == "loaded"
    assert torch.equal(network.state_dict()["fusion_layer.weight"], source.state_dict()["fusion_layer.weight"])


@pytest.mark.parametrize(("file", "network"), [("gaze_lstm_lam", "gaze_lstm"), ("gazepose", "gaze_lstm_lam")])
def test_other_networks_give_their_trunk_but_not_their_head(tmp_path, file, network):
    source, begun = build(file, seed=2), build(network)
    before = {key: item.clone() for key, item in begun.state_dict().items()}
    table = begin_from(begun, write(tmp_path / "best.pth", source))
    assert keys(table, "loaded") == [key for key in before if key.startswith(("base_model.", "lstm."))]
    heads = [key for key in keys(table, "initial") if key.startswith("last_layer")]
    assert heads == keys(table, "initial")
    assert all(torch.equal(begun.state_dict()[key], before[key]) for key in heads)
    with pytest.raises(WeightsError, match=r"The checkpoint is of (lam|gazepose), the network is (gaze_lstm|lam)"):
        load_whole(begun, tmp_path / "best.pth")


def test_a_head_of_the_same_shape_in_another_network_is_not_taken(tmp_path):
    # GazePose's last layer has as many columns as its LSTM's state, the baseline's twice as many: no shape tells
    # them apart when a file is made for it.
    source, network = build("gaze_lstm", seed=2), build("gazepose")
    state = {**source.state_dict(), "last_layer.weight": torch.full((2, 16), 3.0)}
    torch.save(state, tmp_path / "a.pth")
    table = begin_from(network, tmp_path / "a.pth")
    assert (table.loc[table["key"].isin(HEAD), "status"] != "loaded").all()
    assert not (network.state_dict()["last_layer.weight"] == 3).any()


def test_imagenets_resnet_begins_the_network_of_crops(tmp_path):
    torch.manual_seed(3)
    trunk = torchvision.models.resnet18(weights=None).state_dict()
    torch.save(trunk, tmp_path / "resnet18.pth")
    network, encoder = build("gazepose", encoder="resnet18"), build_face_encoder("resnet18", seed=0)
    table = begin_from(network, tmp_path / "resnet18.pth")
    assert keys(table, "loaded") == [f"base_model.{key}" for key in trunk if not key.startswith("fc.")]
    assert keys(table, "dropped") == ["fc.weight", "fc.bias"]
    assert {"base_model.fc1.weight", "base_model.fc2.bias", "lstm.weight_hh_l0"} <= set(keys(table, "initial"))
    assert torch.equal(network.state_dict()["base_model.layer4.1.bn2.weight"], trunk["layer4.1.bn2.weight"])
    assert keys(begin_encoder(encoder, tmp_path / "resnet18.pth"), "loaded") == keys(table, "loaded")
    assert torch.equal(encoder.conv1.weight, trunk["conv1.weight"])
    with pytest.raises(WeightsError, match="a ResNet-18 without such a head"):
        load_whole(network, tmp_path / "resnet18.pth")


def test_an_encoder_alone_begins_from_a_checkpoint(tmp_path):
    path, state = gaze360(tmp_path / "gaze360.pth")
    encoder = build_face_encoder("resnet18", seed=0)
    table = begin_encoder(encoder, path)
    assert same(encoder, {key[11:]: item for key, item in state.items() if key.startswith("base_model.")})
    assert len(keys(table, "loaded")) == 124


def test_gaze360_is_loaded_whole_for_directions_of_gaze_only(tmp_path):
    path, state = gaze360(tmp_path / "gaze360_model.pth.tar", head="hidden2tag")
    network = Gaze360Lstm()
    load_whole(network, path)
    assert same(network, state)
    for use in (lambda: load_whole(build("gaze_lstm"), path), lambda: build_published(path)):
        with pytest.raises(WeightsError, match="head tells angles(.|\n)*Train a network that begins"):
            use()


@pytest.mark.parametrize("load", [begin_from, load_whole])
def test_a_missing_file_is_an_error(tmp_path, load):
    with pytest.raises(WeightsError, match=r"not there(.|\n)*gone\.pth"):
        load(build("gaze_lstm"), tmp_path / "gone.pth")


@pytest.mark.parametrize("load", [begin_from, load_whole])
@pytest.mark.parametrize("kind", ["cut", "code", "foreign", "nan"])
def test_damaged_and_foreign_files_are_refused_and_change_nothing(tmp_path, load, kind):
    network, path = build("gaze_lstm"), tmp_path / "a.pth"
    before = {key: item.clone() for key, item in network.state_dict().items()}
    source = build("gaze_lstm", seed=2)
    if kind == "nan":
        torch.nn.init.constant_(source.lstm.bias_hh_l1, float("nan"))
    write(path, source)
    if kind == "cut":
        path.write_bytes(path.read_bytes()[:-5000])
    elif kind == "code":
        torch.save(source, path)
    elif kind == "foreign":
        torch.save(torch.nn.Linear(2, 2).state_dict(), path)
    match = {"foreign": "of no known network", "nan": "no finite numbers"}.get(kind, "no plain weights")
    with pytest.raises(WeightsError, match=match):
        load(network, path)
    assert same(network, before)


def test_a_training_that_would_begin_from_nothing_is_refused(tmp_path):
    path, _ = gaze360(tmp_path / "gaze360.pth")
    with pytest.raises(WeightsError, match=r"other sizes(.|\n)*base_model.blocks.0.0.weight is missing"):
        begin_from(build("gaze_lstm", encoder="small"), path)
    with pytest.raises(WeightsError, match=r"other sizes(.|\n)*lstm.weight_ih_l0 is \[1024, 256\] instead of"):
        begin_from(build("gaze_lstm", encoder="resnet18", hidden=32), path)


def test_entries_that_do_not_fit_each_other_are_refused(tmp_path):
    state = build("gazepose", seed=2).state_dict()
    for change, match in (
        ({"yaw_embed.weight": torch.zeros(1, 64)}, "yaw_embed.weight has 1 rows"),
        ({"joint_embed.weight": torch.zeros(40, 32)}, "joint_embed.weight has 40 rows"),
        ({"headpos_emeb": torch.zeros(8, 30)}, "headpos_emeb has the width 30"),
        ({"headpos_emeb": torch.zeros(8)}, "headpos_emeb has the shape"),
        ({"roll_embed.weight": torch.zeros(5, 64)}, "roll_embed.weight is"),
    ):
        torch.save({**state, **change}, tmp_path / "a.pth")
        with pytest.raises(WeightsError, match=match):
            build_published(tmp_path / "a.pth")
    del state["lstm.weight_hh_l0"]
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match="lstm.weight_hh_l0 is missing"):
        read_published(tmp_path / "a.pth")
