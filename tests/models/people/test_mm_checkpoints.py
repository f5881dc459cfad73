"""Checkpoints of mmaction2 and of ImageNet's ResNet-50: what is let in, what fits, what is said of the rest."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from nbpkg.errors import WeightsError
from nbpkg.models.people.mm_checkpoints import inflate_resnet, load_imagenet, load_mm_checkpoint
from nbpkg.models.people.rgb.build import build_rgb_network
from nbpkg.models.people.rgb.facts import RgbOptions

THIN = RgbOptions(width=8, blocks=(1, 1, 1, 1))


def build(classes: int = 3, *, name: str = "i3d_r50", seed: int = 0, options: RgbOptions = THIN):
    return build_rgb_network(name, classes=classes, seed=seed, options=options)


def write(path: Path, network: nn.Module, *, prefix: str = "", meta: object = None, modern: bool = True) -> Path:
    state = {prefix + key: item for key, item in network.state_dict().items() if not key.endswith("batches_tracked")}
    notes = {"epoch": 3, "config": "model = dict()", "hook_msgs": {"best_ckpt": "a.pth"}} if meta is None else meta
    optimizer = {"state": {0: {"momentum_buffer": torch.zeros(2)}}, "param_groups": [{"lr": np.float64(0.1)}]}
    content = {"meta": notes, "state_dict": state, "optimizer": optimizer}
    torch.save(content, path, _use_new_zipfile_serialization=modern)
    return path


def same(first: nn.Module, second: nn.Module) -> bool:
    pairs = zip(first.state_dict().items(), second.state_dict().values(), strict=True)
    return all(torch.equal(item, other) for (_, item), other in pairs)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_checkpoint_with_notes_is_read_whole(tmp_path, prefix):
    source, network = build(seed=1), build(seed=2)
    meta = {
        "epoch": np.int64(7),
        "hook_msgs": {"best_score": np.float64(0.75), "of": np.float32(1), "better": np.bool_(1)},
    }
    assert not same(source, network)
    table = load_mm_checkpoint(network, write(tmp_path / "a.pth", source, prefix=prefix, meta=meta))
    assert same(source, network)
    assert np.dtype not in torch.serialization.get_safe_globals()
    assert list(table["module"]) == ["backbone", "cls_head"]
    assert not table[["left_out", "missing", "unexpected", "mismatched"]].any(axis=None)
    loaded = [key for key in source.state_dict() if not key.endswith("batches_tracked")]
    assert table["loaded"].sum() == len(loaded)
    assert (table["note"] == str(tmp_path / "a.pth")).all()


def test_the_old_name_of_numpys_numbers_is_known(tmp_path):
    source, network = build(seed=1), build(seed=2)
    path = write(tmp_path / "old.pth", source, meta={"best": np.float64(0.5)}, modern=False)
    content = path.read_bytes()
    assert b"cnumpy._core.multiarray\n" in content
    path.write_bytes(content.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"))
    load_mm_checkpoint(network, path)
    assert same(source, network)


def test_a_bare_state_dict_will_do(tmp_path):
    source, network = build(seed=1), build(seed=2)
    save_file(source.state_dict(), tmp_path / "a.safetensors")
    load_mm_checkpoint(network, tmp_path / "a.safetensors")
    assert same(source, network)


class Touch:
    """Unpickling it would leave a mark."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("kind", ["code", "array", "object number", "cut", "whole network", "no state"])
def test_files_that_hold_more_or_less_are_refused_and_not_run(tmp_path, kind):
    source, network, path = build(seed=1), build(seed=2), tmp_path / "a.pth"
    kept = build(seed=2)
    mark = tmp_path / "mark"
    notes = {"code": Touch(mark), "array": np.zeros(3), "object number": np.dtype("O")}
    write(path, source, meta={"epoch": notes.get(kind, 1)})
    if kind == "cut":
        path.write_bytes(path.read_bytes()[:-5000])
    elif kind == "whole network":
        torch.save(source, path)
    elif kind == "no state":
        torch.save({"meta": {"epoch": 1}}, path)
    with pytest.raises(WeightsError, match=r"no plain weights, or is cut|holds no state dict"):
        load_mm_checkpoint(network, path)
    assert not mark.exists()
    assert same(network, kept)
    if kind == "code":
        pickle.loads(pickle.dumps(notes["code"]))
        assert mark.exists()


def test_a_missing_file_says_where_to_get_it(tmp_path):
    with pytest.raises(WeightsError, match=r"is not there.*\n.*gone.pth(.*\n)*.*or begin with random weights"):
        load_mm_checkpoint(build(), tmp_path / "gone.pth")


def test_a_head_for_other_classes_is_refused_unless_skipped_by_name(tmp_path):
    source, network, kept = build(400, seed=1), build(seed=2), build(seed=2)
    path = write(tmp_path / "k400.pth", source)
    with pytest.raises(WeightsError, match=r"another number of classes: cls_head.fc_cls.weight is \[400, 256\]"):
        load_mm_checkpoint(network, path)
    assert same(network, kept)
    for how in ({"skip_head": True}, {"strict": False}):
        network = build(seed=2)
        table = load_mm_checkpoint(network, path, **how).set_index("module")
        assert same(network.backbone, source.backbone)
        assert same(network.cls_head, kept.cls_head)
        check_head_is_initial(table)


def check_head_is_initial(table) -> None:
    assert table.loc["cls_head", "initial"] == 2
    assert table.loc["cls_head", "loaded"] == 0
    assert table.loc["cls_head", "note"].endswith("not from it: cls_head.fc_cls.bias, cls_head.fc_cls.weight")


@pytest.mark.parametrize(
    ("name", "options", "kept"),
    [
        ("x3d_m", THIN, {"cls_head.fc2.weight", "cls_head.fc2.bias"}),
        (
            "trn_r50",
            RgbOptions(width=8, blocks=(1, 1, 1, 1), segments=3),
            {f"cls_head.consensus.fc_fusion_scales.{n}.3.{kind}" for n in (0, 1) for kind in ("weight", "bias")},
        ),
    ],
)
def test_only_what_depends_on_the_classes_is_skipped(tmp_path, name, options, kept):
    source, network = (build(n, name=name, seed=n, options=options) for n in (5, 3))
    before = {key: item.clone() for key, item in network.state_dict().items()}
    load_mm_checkpoint(network, write(tmp_path / "a.pth", source), skip_head=True)
    wanted = source.state_dict()
    for key, item in network.state_dict().items():
        assert torch.equal(item, before[key] if key in kept else wanted[key]), key


def test_a_head_is_skipped_also_where_it_would_fit(tmp_path):
    source, network, kept = build(seed=1), build(seed=2), build(seed=2)
    load_mm_checkpoint(network, write(tmp_path / "a.pth", source), skip_head=True)
    assert same(network.cls_head, kept.cls_head)
    assert same(network.backbone, source.backbone)


def test_what_does_not_fit_is_named_or_left_with_a_word(tmp_path):
    """A wide layer for clips of another size, which the published program drops with one line in its log."""
    source, network, kept = (
        build_rgb_network("c3d", classes=3, seed=seed, options=RgbOptions(width=1, size=size))
        for seed, size in ((1, 112), (2, 64), (2, 64))
    )
    path = write(tmp_path / "c3d.pth", source)
    with pytest.raises(WeightsError, match=r"1 mismatched, e.g. backbone.fc6.weight is \[64, 128\]"):
        load_mm_checkpoint(network, path)
    assert same(network, kept)
    table = load_mm_checkpoint(network, path, strict=False).set_index("module")
    assert torch.equal(network.backbone.fc6.weight, kept.backbone.fc6.weight)
    assert torch.equal(network.backbone.fc7.weight, source.backbone.fc7.weight)
    assert table.loc["backbone", "initial"] == 1
    assert table.loc["backbone", "note"].endswith("not from it: backbone.fc6.weight")


def test_entries_too_few_or_too_many_are_an_error_unless_asked_for(tmp_path):
    source, network = build(seed=1), build(seed=2)
    state = source.state_dict()
    removed = state.pop("backbone.layer1.0.conv2.conv.weight")
    torch.save({"state_dict": {**state, "backbone.extra": removed}}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=r"1 missing, e.g. backbone.layer1.0.conv2(.*\n)*.*1 unexpected.*extra"):
        load_mm_checkpoint(network, tmp_path / "a.pth")
    table = load_mm_checkpoint(network, tmp_path / "a.pth", strict=False).set_index("module")
    assert table.loc["backbone", ["initial", "left_out"]].tolist() == [1, 1]
    assert "backbone.extra, backbone.layer1.0.conv2.conv.weight" in table.loc["backbone", "note"]


def test_another_networks_checkpoint_is_refused_however_lenient(tmp_path):
    path = write(tmp_path / "a.pth", build(name="x3d_m"))
    renamed = {f"encoder.{key}": item for key, item in build().state_dict().items()}
    torch.save(renamed, tmp_path / "b.pth")
    with pytest.raises(WeightsError, match="do not fit the network"):
        load_mm_checkpoint(build(), path)
    with pytest.raises(WeightsError, match="Nothing of the checkpoint fits"):
        load_mm_checkpoint(build(), tmp_path / "b.pth", strict=False)


# ImageNet


@pytest.fixture(scope="module")
def resnet():
    torch.manual_seed(0)
    network = torchvision.models.resnet50(weights=None).eval()
    with torch.no_grad():
        for key, item in network.state_dict().items():
            if ".bn" in key and item.is_floating_point():
                item.add_(0.1 * torch.rand_like(item))
    return network


def test_pictures_networks_frame_by_frame_is_torchvisions(resnet, tmp_path):
    torch.save(resnet.state_dict(), tmp_path / "resnet50.pth")
    network = build_rgb_network("tsn_r50", classes=3)
    table = load_imagenet(network, tmp_path / "resnet50.pth").set_index("module")
    assert table.loc["cls_head", "loaded"] == 0
    assert table.loc["backbone", ["initial", "missing"]].tolist() == [0, 0]
    frames = torch.randn(2, 3, 64, 64)
    body = nn.Sequential(*list(resnet.children())[:-1], nn.Flatten())
    with torch.no_grad():
        torch.testing.assert_close(network.frame_features(frames[None])[0], body(frames), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["i3d_r50", "slowonly_r50_4x16", "slowfast_r50_4x16", "tsm_r50", "trn_r50"])
def test_convolutions_are_repeated_over_time_and_divided_by_it(resnet, name):
    with torch.device("meta"):
        own = build_rgb_network(name, classes=3).state_dict()
    prefix = "backbone.slow_path." if "slowfast" in name else "backbone."
    state = resnet.state_dict()
    found = inflate_resnet(state, own, prefix=prefix, where="resnet50")
    backbone = {key for key in own if key.startswith(prefix) and "_lateral" not in key}
    assert set(found) == backbone
    assert all(found[key].shape == own[key].shape for key in found)
    key = f"{prefix}layer3.0.conv1.conv{'.net' if name == 'tsm_r50' else ''}.weight"
    flat = state["layer3.0.conv1.weight"]
    if found[key].ndim == 5:
        assert found[key].shape[2] == 3
        assert torch.equal(found[key][:, : flat.shape[1], 0], found[key][:, : flat.shape[1], 2])
        torch.testing.assert_close(found[key][:, : flat.shape[1]].sum(dim=2), flat)
        assert not found[key][:, flat.shape[1] :].any()
        assert found[key].shape[1] == (640 if "slowfast" in name else 512)
    else:
        assert torch.equal(found[key], flat)
    assert torch.equal(found[f"{prefix}layer2.0.downsample.bn.bias"], state["layer2.0.downsample.1.bias"])
    assert torch.equal(found[f"{prefix}conv1.bn.running_mean"], state["bn1.running_mean"])


def test_a_backbone_of_another_shape_is_refused(resnet, tmp_path):
    torch.save(resnet.state_dict(), tmp_path / "resnet50.pth")
    for network in (build(name="slowonly_r50_4x16"), build(name="ircsn_r50")):
        with pytest.raises(WeightsError, match="does not fit the network"):
            load_imagenet(network, tmp_path / "resnet50.pth")


def test_slowfast_begins_with_its_slow_pathway(tmp_path):
    torch.manual_seed(0)
    thin = torchvision.models.ResNet(torchvision.models.resnet.Bottleneck, [1, 1, 1, 1], width_per_group=64)
    torch.save(thin.state_dict(), tmp_path / "thin.pth")
    network = build(name="slowfast_r50_4x16", options=RgbOptions(blocks=(1, 1, 1, 1)))
    fast = {key: item.clone() for key, item in network.backbone.fast_path.state_dict().items()}
    table = load_imagenet(network, tmp_path / "thin.pth").set_index("module")
    assert all(torch.equal(item, fast[key]) for key, item in network.backbone.fast_path.state_dict().items())
    first = network.backbone.slow_path.layer1[0].conv1.conv.weight
    assert torch.equal(first[:, :64, 0, 0, 0], thin.layer1[0].conv1.weight[:, :, 0, 0])
    assert not first[:, 64:].any()
    assert network.backbone.slow_path.conv1_lateral.conv.weight.any()
    assert "backbone.fast_path" in table.loc["backbone", "note"]


def test_a_damaged_download_is_told(tmp_path):
    (tmp_path / "resnet50-0676ba61.pth").write_bytes(b"half of it")
    with pytest.raises(WeightsError, match="cut or not the published ones"):
        load_imagenet(build(name="tsn_r50"), "IMAGENET1K_V1", cache=tmp_path)
