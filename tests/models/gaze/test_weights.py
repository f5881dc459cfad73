"""Weights of gaze networks: containers, strictness with a table, names, and files that are no weights."""

from __future__ import annotations

import os
import pickle
import re
from urllib.error import URLError

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from nbpkg.errors import SettingsError, WeightsError
from nbpkg.models.gaze import weights as module
from nbpkg.models.gaze.gazelle import PUBLISHED, GazeLle, freeze_backbone
from nbpkg.models.gaze.vtd import VtdSpatial, VtdTemporal
from nbpkg.models.gaze.weights import (
    MODELS,
    build_gaze_model,
    collect_state,
    find_model,
    load_gaze_weights,
    spread_resnet,
    write_reference,
)
from nbpkg.models.published import FROM_SPATIAL, WITHOUT_INOUT, load_state, read_state


@pytest.fixture
def state():
    return build_gaze_model("vtd_small", seed=5).state_dict()


def assert_same(one, other):
    assert list(one) == list(other)
    assert all(torch.equal(item, other[key]) for key, item in one.items())


@pytest.mark.parametrize("layout", ["bare", "model", "state_dict", "parallel", "legacy", "counters", "safetensors"])
def test_every_layout_is_read(tmp_path, state, layout):
    path = tmp_path / "weights.pt"
    if layout == "safetensors":
        path = path.with_suffix(".safetensors")
        save_file(state, path)
    elif layout == "legacy":  # as torch wrote in 2020
        torch.save({"model": state}, path, _use_new_zipfile_serialization=False)
    else:
        content = {
            "bare": state,
            "model": {"model": state, "epoch": 3},
            "state_dict": {"state_dict": state, "optimizer": {"lr": 0.1}},
            "parallel": {"model": {f"module.{key}": item for key, item in state.items()}},
            "counters": {key: item for key, item in state.items() if not key.endswith("num_batches_tracked")},
        }[layout]
        torch.save(content, path)
    network = build_gaze_model("vtd_small", seed=9)
    assert not torch.equal(network.attn.weight, state["attn.weight"])
    table = load_gaze_weights(network, path)
    assert_same(network.state_dict(), state)
    assert table[["missing", "unexpected", "mismatched", "left_out"]].to_numpy().sum() == 0
    counters = sum(key.endswith("num_batches_tracked") for key in state)
    assert table["initial"].sum() == (counters if layout == "counters" else 0)
    assert table["loaded"].sum() + table["initial"].sum() == len(state)
    assert set(table["note"]) == {str(path)}
    assert table["module"].is_unique


def test_what_does_not_fit_is_told_module_by_module_and_changes_nothing(tmp_path, state):
    network = build_gaze_model("vtd_small", seed=9)
    before = {key: item.clone() for key, item in network.state_dict().items()}
    del state["attn.weight"], state["attn.bias"]
    state["surprise.weight"] = torch.zeros(1)
    state["conv4.bias"] = torch.zeros(7)
    torch.save(state, tmp_path / "a.pt")
    with pytest.raises(WeightsError) as caught:
        load_gaze_weights(network, tmp_path / "a.pt")
    text = str(caught.value)
    assert "attn: 2 missing, e.g. attn.weight." in text
    assert "surprise: 1 unexpected, e.g. surprise.weight." in text
    assert "conv4: 1 mismatched, e.g. conv4.bias is [7] instead of [1]." in text
    assert "a.pt" in text
    assert_same(network.state_dict(), before)


def test_a_temporal_network_starts_from_a_spatial_file_only_when_told_so(tmp_path, state):
    torch.save({"model": state}, tmp_path / "initial_weights_for_temporal_training.pt")  # the wrong one by that name
    path = tmp_path / "initial_weights_for_temporal_training.pt"
    with pytest.raises(WeightsError, match="convlstm_scene: 8 missing"):
        build_gaze_model("vtd_small_temporal", weights=path)
    network = build_gaze_model("vtd_small_temporal", seed=9)
    table = load_gaze_weights(network, path, allow=FROM_SPATIAL).set_index("module")
    assert table.loc["convlstm_scene", ["loaded", "initial"]].tolist() == [0, 8]
    assert table.loc["layer1_face", "initial"] == 5  # bn_ds
    assert table.loc["deconv1", ["loaded", "initial"]].tolist() == [2, 0]
    assert torch.equal(network.attn.weight, state["attn.weight"])
    norm = network.layer1_face[0].bn_ds
    assert (norm.weight.unique().tolist(), norm.running_mean.unique().tolist()) == ([1.0], [0.0])
    del state["attn.bias"]
    torch.save(state, path)
    with pytest.raises(WeightsError, match=r"attn: 1 missing, e\.g\. attn\.bias"):
        load_gaze_weights(network, path, allow=FROM_SPATIAL)


def test_in_out_parts_may_differ_only_when_told_so(tmp_path):
    with_inout = GazeLle(768, PUBLISHED, inout=True)
    without = GazeLle(768, PUBLISHED)
    torch.save(with_inout.state_dict(), tmp_path / "with.pt")
    torch.save(without.state_dict(), tmp_path / "without.pt")
    with pytest.raises(WeightsError, match=r"inout_head: 4 missing"):
        load_gaze_weights(with_inout, tmp_path / "without.pt")
    table = load_gaze_weights(with_inout, tmp_path / "without.pt", allow=WITHOUT_INOUT)
    assert table["initial"].sum() == 5
    assert torch.equal(with_inout.linear.weight, without.linear.weight)
    with pytest.raises(WeightsError, match=r"inout_token: 1 unexpected"):
        load_gaze_weights(without, tmp_path / "with.pt")
    assert load_gaze_weights(without, tmp_path / "with.pt", allow=WITHOUT_INOUT)["left_out"].sum() == 5


class Malicious:
    def __reduce__(self):
        return os.system, ("touch executed",)


@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_a_file_that_would_run_something_is_refused(tmp_path, monkeypatch, writer):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.pt"
    if writer == "torch":
        torch.save({"model": Malicious()}, path)
    else:
        path.write_bytes(pickle.dumps({"model": Malicious()}))
    with pytest.raises(WeightsError, match="no plain weights"):
        read_state(path)
    assert not (tmp_path / "executed").exists()


def test_other_files_are_refused_by_name(tmp_path):
    with pytest.raises(WeightsError, match=r"not there.*\n.*absent\.pt"):
        read_state(tmp_path / "absent.pt")
    (tmp_path / "page.pt").write_text("<html>sign in</html>")
    (tmp_path / "page.safetensors").write_text("<html>sign in</html>")
    for name in ("page.pt", "page.safetensors"):
        with pytest.raises(WeightsError, match="no plain weights"):
            read_state(tmp_path / name)
    torch.save({"epoch": 3, "loss": 0.1}, tmp_path / "log.pt")
    with pytest.raises(WeightsError, match="no state dict but entries epoch, loss"):
        read_state(tmp_path / "log.pt")
    torch.save([torch.zeros(1)], tmp_path / "list.pt")
    with pytest.raises(WeightsError, match="no state dict but list"):
        read_state(tmp_path / "list.pt")


def test_weights_that_are_no_numbers_are_refused(state):
    state["conv4.weight"] = state["conv4.weight"] * torch.nan
    with pytest.raises(WeightsError, match=r"1 entries hold values that are no finite numbers \(conv4.weight\)"):
        load_state(build_gaze_model("vtd_small"), state, where="a.pt")


def test_written_checkpoints_are_those_of_the_published_programs(tmp_path):
    temporal = build_gaze_model("vtd_small_temporal", seed=1)
    write_reference(temporal, tmp_path / "epoch_01_weights.pt")
    content = torch.load(tmp_path / "epoch_01_weights.pt", weights_only=True)
    assert list(content) == ["model"]
    assert_same(content["model"], temporal.state_dict())
    again = build_gaze_model("vtd_small_temporal", weights=tmp_path / "epoch_01_weights.pt", seed=2)
    assert_same(again.state_dict(), temporal.state_dict())
    small = build_gaze_model("gazelle_small", seed=1)
    write_reference(small, tmp_path / "epoch_0.pt")
    bare = torch.load(tmp_path / "epoch_0.pt", weights_only=True)
    assert_same(bare, small.state_dict())
    freeze_backbone(small)
    assert not any(key.startswith("backbone.") for key in collect_state(small))


def test_a_frozen_backbone_is_no_part_of_a_checkpoint(tmp_path):
    network = build_gaze_model("gazelle_small", seed=1)
    freeze_backbone(network)
    write_reference(network, tmp_path / "decoder.pt")
    table = load_gaze_weights(network, tmp_path / "decoder.pt")
    assert "backbone" not in set(table["module"])
    assert table["loaded"].sum() == len(collect_state(network))
    with pytest.raises(WeightsError, match="backbone: .* missing"):  # one that learns must come with the file
        build_gaze_model("gazelle_small", weights=tmp_path / "decoder.pt")


def test_same_seed_same_weights():
    for name in ("vtd_small", "vtd_small_temporal", "gazelle_small"):
        torch.manual_seed(1)
        before = torch.get_rng_state()
        one, same, other = (build_gaze_model(name, seed=seed) for seed in (1, 1, 2))
        assert torch.equal(before, torch.get_rng_state())
        assert_same(one.state_dict(), same.state_dict())
        assert not all(torch.equal(item, other.state_dict()[key]) for key, item in one.state_dict().items())
        assert not one.training
        assert all(item.requires_grad or ".bn_ds." in key for key, item in one.named_parameters())


def test_a_resnet_fills_both_branches(monkeypatch):
    torch.manual_seed(0)
    resnet = torchvision.models.resnet50().state_dict()
    monkeypatch.setattr(module, "fetch_weights", lambda _member, *, folder: resnet)
    network = VtdSpatial()
    table = load_gaze_weights(network, "IMAGENET1K_V2").set_index("module")
    assert table.loc["layer4_face", "initial"] == 0
    assert table.loc[["layer5_face", "attn", "deconv1"], "loaded"].sum() == 0
    assert table["loaded"].sum() == 2 * (len(resnet) - 2)
    assert table["note"].unique().tolist() == ["torchvision's resnet50 IMAGENET1K_V2"]
    for branch in ("scene", "face"):
        stem = network.get_parameter(f"conv1_{branch}.weight")
        assert torch.equal(stem[:, :3], resnet["conv1.weight"])
        assert not stem[:, 3:].any()
        assert torch.equal(network.get_submodule(f"layer3_{branch}")[5].conv2.weight, resnet["layer3.5.conv2.weight"])
    assert not any("bn_ds" in key for key in spread_resnet(resnet))
    with pytest.raises(SettingsError, match="IMAGENET1K_V2 are those of a ResNet-50"):
        build_gaze_model("vtd_small", weights="IMAGENET1K_V2")


def test_weights_by_name_are_downloaded_once_and_say_where_they_belong(tmp_path, monkeypatch, state):
    asked = []

    def download(url, path, progress):
        asked.append(url)
        torch.save({"model": state}, path)

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    network = build_gaze_model("vtd_small")
    assert not asked
    for _ in range(2):
        load_gaze_weights(network, "model_gazefollow", cache=tmp_path / "cache")
    assert len(asked) == 1
    assert re.search(r"nloym5bmvv1v7wr/model_gazefollow\.pt", asked[0])

    def fail(url, path, progress):
        raise URLError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    with pytest.raises(WeightsError, match=r"gazelle_dinov2_vitb14_hub\.pt") as caught:
        load_gaze_weights(network, "gazelle_dinov2_vitb14", cache=tmp_path)
    assert str(tmp_path / "gazelle_dinov2_vitb14.pt") in caught.value.remedy


def test_every_published_name_has_an_address():
    names = {name for facts in MODELS.values() for name in facts.weights} - set(module.IMAGENET)
    assert names <= set(module.ADDRESSES)
    assert (
        module.ADDRESSES["initial_weights_for_temporal_training"]
        != (module.ADDRESSES["initial_weights_for_spatial_training"])
    )


def test_a_published_decoder_never_stands_on_a_random_backbone(tmp_path):
    with pytest.raises(WeightsError, match="backbone would stay random") as caught:
        build_gaze_model("gazelle_vitb14", weights=tmp_path / "decoder.pt")
    assert "dinov2_vitb14_pretrain" in caught.value.remedy
    with pytest.raises(WeightsError, match=r"not there.*\n.*dinov2\.pth"):
        build_gaze_model("gazelle_vitb14", backbone_weights=tmp_path / "dinov2.pth")


def test_published_gazelle_is_built_without_its_backbone_for_stored_tokens(tmp_path):
    network = build_gaze_model("gazelle_vitl14_inout", backbone_weights=None, compat="reference", norm_eps=1e-6)
    assert (network.backbone, network.linear.in_channels, network.compat) == (None, 1024, "reference")
    assert network.transformer[0].norm1.eps == 1e-6
    write_reference(network, tmp_path / "decoder.pt")
    same = build_gaze_model("gazelle_vitl14_inout", weights=tmp_path / "decoder.pt", backbone_weights=None, seed=4)
    assert_same(same.state_dict(), network.state_dict())


def test_reference_switches_both_rules():
    ours, published = (build_gaze_model("vtd_small_temporal", compat=compat) for compat in ("none", "reference"))
    assert isinstance(ours, VtdTemporal)
    assert (ours.skip_single, published.skip_single) == (False, True)
    blocks = [network.layer1_face[0] for network in (ours, published)]
    assert [block.skip_single for block in blocks] == [False, True]
    assert [block.bn_ds.weight.requires_grad for block in blocks] == [False, True]


def test_unknown_names_are_refused():
    with pytest.raises(SettingsError, match="no gaze network 'vtd'"):
        find_model("vtd")
    with pytest.raises(SettingsError, match="no weights 'imagenet'"):
        build_gaze_model("vtd_small", weights="imagenet")
