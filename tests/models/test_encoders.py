"""Encoders: what they take and give, and where their weights come from."""

from __future__ import annotations

import hashlib
import socket
import urllib.request

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn
from torchvision.models import Weights, WeightsEnum

from nbpkg.errors import SettingsError, WeightsError
from nbpkg.models.encoders import ENCODERS, Encoder, build_encoder, check_clip, fetch_weights
from nbpkg.models.network import build_network

PUBLISHED = [name for name, facts in ENCODERS.items() if facts.weights]
SHAPES = {"s3d": (16, 224), "mvit_v2_s": (16, 224)}  # others: a tiny clip
CLIP = {"size": 32, "frames": 4}


def published_network(name: str) -> nn.Module:
    torch.manual_seed(1)
    network = torchvision.models.get_model(name, weights=None).eval()
    with torch.no_grad():
        # Wake what starts at zero or one, so that a lost entry shows.
        for item in network.state_dict().values():
            if item.is_floating_point() and item.ndim == 1:
                item.add_(0.1 * torch.rand_like(item))
    return network


def classifier_of(network: nn.Module, head: str) -> nn.Module:
    found = getattr(network, head)
    return found[-1] if isinstance(found, nn.Sequential) else found


@pytest.mark.parametrize("name", PUBLISHED)
def test_features_of_a_published_file_lead_to_the_published_scores(name, tmp_path):
    frames, size = SHAPES.get(name, (5, 24))
    network = published_network(name)
    save_file(network.state_dict(), tmp_path / "all.safetensors")
    encoder = build_encoder(name, tmp_path / "all.safetensors", seed=0, size=size, frames=frames)
    clip = torch.randn(1, 3, frames, size, size)
    with torch.no_grad():
        features, scores = encoder(clip), network(clip)
    assert features.shape == (1, ENCODERS[name].features) == (1, encoder.features)
    last = classifier_of(network, ENCODERS[name].head)
    with torch.no_grad():
        found = features @ last.weight.flatten(1).T + last.bias
    torch.testing.assert_close(found, scores, rtol=1e-4, atol=1e-4 * float(scores.abs().max()))
    assert isinstance(getattr(encoder.base_model, ENCODERS[name].head), nn.Identity)
    assert not encoder.training


def test_the_small_network_is_an_encoder_like_the_others(tmp_path):
    facts = ENCODERS["small"]
    encoder = build_encoder("small", "none", seed=0, size=facts.size, frames=facts.frames)
    clip = torch.randn(2, 3, facts.min_frames, facts.min_size, facts.min_size)
    with torch.no_grad():
        features = encoder(clip)
    assert features.shape == (2, facts.features) == (2, encoder.features) == (2, encoder.base_model.features)
    save_file(encoder.state_dict(), tmp_path / "small.safetensors")
    again = build_encoder("small", tmp_path / "small.safetensors", seed=1, size=facts.size, frames=facts.frames)
    with torch.no_grad():
        assert torch.equal(again(clip), features)
    with pytest.raises(SettingsError, match="none, or the path"):
        build_encoder("small", "KINETICS400_V1", seed=0, size=facts.size, frames=facts.frames)


def test_constants_are_torchvisions():
    mc3 = ENCODERS["mc3_18"]
    assert (mc3.mean, mc3.std) == ((0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989))
    assert (mc3.size, mc3.frames, mc3.weights) == (112, 16, ("KINETICS400_V1",))
    assert (ENCODERS["mvit_v2_s"].mean, ENCODERS["mvit_v2_s"].std) == ((0.45,) * 3, (0.225,) * 3)
    assert ENCODERS["small"].mean is None
    assert set(ENCODERS) == {"mc3_18", "r3d_18", "r2plus1d_18", "s3d", "mvit_v2_s", "swin3d_t", "small"}


@pytest.mark.parametrize("name", [name for name in PUBLISHED if name != "mvit_v2_s"])
def test_smallest_clips_are_the_smallest(name):
    facts = ENCODERS[name]
    encoder = Encoder(name).eval()
    smallest = torch.zeros(1, 3, facts.min_frames, facts.min_size, facts.min_size)
    with torch.inference_mode():
        assert torch.isfinite(encoder(smallest)).all()
        for shorter in (smallest[:, :, 1:], smallest[..., 1:, 1:]):
            if shorter.numel():
                with pytest.raises(RuntimeError):
                    encoder(shorter)


@pytest.mark.parametrize(
    ("name", "size", "frames", "words"),
    [
        ("mvit_v2_s", 224, 15, "exactly 16 frames of 224 × 224 pixels"),
        ("mvit_v2_s", 112, 16, "exactly 16 frames of 224 × 224 pixels"),
        ("s3d", 16, 16, "at least 5 frames of at least 17 × 17 pixels"),
        ("s3d", 112, 4, "at least 5 frames of at least 17 × 17 pixels"),
        ("mc3_18", 0, 16, "at least 1 frames"),
    ],
)
def test_clips_that_do_not_fit_are_refused_saying_what_does(name, size, frames, words):
    with pytest.raises(SettingsError, match=words) as caught:
        build_encoder(name, "none", seed=0, size=size, frames=frames)
    assert f"{frames} frames of {size} × {size}" in caught.value.what


def test_unknown_encoder_and_unknown_weights_list_the_known_ones():
    with pytest.raises(SettingsError, match="mc3_18, r3d_18"):
        check_clip("mc3", size=112, frames=16)
    with pytest.raises(SettingsError, match="none, KINETICS400_V1, or the path"):
        build_encoder("mc3_18", "KINETICS_V1", seed=0, **CLIP)
    with pytest.raises(SettingsError, match="KINETICS400_IMAGENET22K_V1"):
        build_encoder("r3d_18", "KINETICS400_IMAGENET22K_V1", seed=0, **CLIP)


def test_random_weights_follow_the_seed_and_touch_no_other_draw():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, same, other = (build_encoder("mc3_18", "none", seed=seed, **CLIP).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not torch.equal(one["base_model.stem.0.weight"], other["base_model.stem.0.weight"])


@pytest.fixture(scope="module")
def net():
    return build_network("mc3_18", "none", seed=3, **CLIP)


@pytest.mark.parametrize("layout", ["network", "encoder", "base_model", "torchvision"])
def test_weights_of_every_layout_are_taken(layout, net, tmp_path):
    parts = {"network": net, "encoder": net.encoder, "base_model": net.encoder.base_model}
    state = published_network("mc3_18").state_dict() if layout == "torchvision" else parts[layout].state_dict()
    torch.save(state, tmp_path / "w.pth")
    found = build_encoder("mc3_18", str(tmp_path / "w.pth"), seed=0, **CLIP).base_model.state_dict()
    prefix = {"network": "encoder.base_model.", "encoder": "base_model."}.get(layout, "")
    assert len(found) == 120
    assert all(torch.equal(found[key], state[prefix + key]) for key in found)


def test_weights_that_do_not_fit_name_the_keys(net, tmp_path):
    state = dict(net.encoder.base_model.state_dict())
    for key in [key for key in state if key.startswith("layer4.")]:
        state[key.replace("layer4", "top")] = state.pop(key)
    state["stem.0.weight"] = state["stem.0.weight"][:, :1]
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(WeightsError) as caught:
        build_encoder("mc3_18", tmp_path / "w.pt", seed=0, **CLIP)
    text = str(caught.value)
    assert "30 missing (layer4.0.conv1.0.weight, layer4.0.conv1.1.weight, layer4.0.conv1.1.bias, …)" in text
    assert "30 unexpected (top.0.conv1.0.weight," in text
    assert "1 of another shape (stem.0.weight is 64×1×3×7×7 instead of 64×3×3×7×7)" in text
    assert str(tmp_path / "w.pt") in text


def test_weights_of_another_network_are_refused(net, tmp_path):
    torch.save(net.state_dict(), tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="do not fit r2plus1d_18"):
        build_encoder("r2plus1d_18", tmp_path / "w.pt", seed=0, **CLIP)


def test_files_without_plain_weights_are_refused(net, tmp_path):
    torch.save(net.classifier.state_dict(), tmp_path / "whole.pt")
    save_file(net.classifier.state_dict(), tmp_path / "whole.safetensors")
    for suffix in (".pt", ".safetensors"):
        whole = (tmp_path / f"whole{suffix}").read_bytes()
        for kept in (0, 1, 100, len(whole) // 2, len(whole) - 1):
            (tmp_path / f"cut{suffix}").write_bytes(whole[:kept])
            with pytest.raises(WeightsError, match="is cut"):
                build_encoder("mc3_18", tmp_path / f"cut{suffix}", seed=0, **CLIP)
    (tmp_path / "notes.pth").write_text("no weights")
    torch.save([torch.zeros(1)], tmp_path / "list.pt")
    torch.save(net.classifier, tmp_path / "object.pt")
    for name, words in (("notes.pth", "is cut"), ("list.pt", "no state dict"), ("object.pt", "import_published")):
        with pytest.raises(WeightsError, match=words) as caught:
            build_encoder("mc3_18", tmp_path / name, seed=0, **CLIP)
        assert "weights_only" not in str(caught.value)
    with pytest.raises(WeightsError, match="not there"):
        build_encoder("mc3_18", tmp_path / "missing.pt", seed=0, **CLIP)


def test_weights_that_cannot_be_downloaded_say_which_file_goes_where(tmp_path, monkeypatch):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        closed = listener.getsockname()[1]
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{closed}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(urllib.request, "_opener", None)  # remembers the proxies of its first use
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(WeightsError) as caught:
        build_encoder("mc3_18", "KINETICS400_V1", seed=0, **CLIP)
    assert f"mc3_18-a90a0ba3.pth in the folder {tmp_path / 'hub' / 'checkpoints'}" in caught.value.expected
    assert str(tmp_path / "hub" / "checkpoints" / "mc3_18-a90a0ba3.pth") in caught.value.remedy
    assert "https://download.pytorch.org/models/mc3_18-a90a0ba3.pth" in caught.value.remedy
    with pytest.raises(WeightsError, match="elsewhere"):
        build_encoder("mc3_18", "KINETICS400_V1", seed=0, cache=tmp_path / "elsewhere", **CLIP)


def make_source(folder, start: str | None = None) -> WeightsEnum:
    """Weights under an address that torchvision's own download can reach without a network."""
    folder.mkdir()
    torch.save({"weight": torch.arange(3.0)}, folder / "draft.pth")
    digest = hashlib.sha256((folder / "draft.pth").read_bytes()).hexdigest()
    file = (folder / "draft.pth").rename(folder / f"tiny-{start or digest[:8]}.pth")
    return WeightsEnum("Tiny", {"V1": Weights(url=file.as_uri(), transforms=None, meta={})})["V1"]


def test_weights_are_downloaded_once_and_checked_each_time(tmp_path):
    member = make_source(tmp_path / "server")
    source = next((tmp_path / "server").iterdir())
    assert fetch_weights(member, folder=tmp_path / "cache")["weight"].tolist() == [0, 1, 2]
    source.unlink()
    assert fetch_weights(member, folder=tmp_path / "cache")["weight"].tolist() == [0, 1, 2]
    stored = tmp_path / "cache" / source.name
    stored.write_bytes(stored.read_bytes()[:-1])
    with pytest.raises(WeightsError, match="cut or not the published ones"):
        fetch_weights(member, folder=tmp_path / "cache")


def test_a_download_that_is_not_the_published_file_is_refused_and_not_kept(tmp_path):
    member = make_source(tmp_path / "server", start="00000000")
    with pytest.raises(WeightsError, match="invalid hash"):
        fetch_weights(member, folder=tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())
