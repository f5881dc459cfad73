"""Grad-CAM of clips: the published maps and colours, one class for all views, nothing changed on the way."""

from functools import lru_cache

import numpy as np
import pytest
import torch
from torchvision.models.video.swin_transformer import SwinTransformer3d

from nbpkg.attention.people.film import overlay, to_pictures
from nbpkg.attention.people.gradcam import LAYER, ViewMaps, explain_views
from nbpkg.errors import ExplainError
from nbpkg.models.people.rgb.build import build_rgb_network
from nbpkg.models.people.rgb.facts import RgbOptions
from nbpkg.models.people.rgb.networks import ClipNetwork, LinearHead
from nbpkg.models.people.rgb.timesformer import TimeSformer

CASES = [f"case{number}" for number in range(10)]


@lru_cache(maxsize=1)  # cases of one network follow one another
def network_of(golden, name: str) -> torch.nn.Module:
    return golden.filled(build_rgb_network(name, classes=3))


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(5))


@lru_cache(maxsize=1)
def small() -> torch.nn.Module:
    """A small network that has learnt nothing, but whose scores differ from view to view."""
    options = RgbOptions(blocks=(1, 1, 1, 2), width=8)
    network = build_rgb_network("slowonly_r50_4x16", classes=3, seed=1, options=options).eval()
    head = network.cls_head.fc_cls
    with torch.no_grad():
        head.weight.copy_(10 * noise(*head.weight.shape))
        head.bias.sub_(network(noise(5, 3, 4, 64, 64)).mean(dim=0))
    return network


def normalised(case: dict) -> torch.Tensor:
    shape = case["input_shape"]
    values = torch.from_numpy(np.random.default_rng(case["seed"]).integers(0, 256, shape).astype(np.float32))
    of_channel = (1, 1, 3, 1, 1) if len(shape) == 5 else (1, 1, 3, 1, 1, 1)
    return (values - torch.tensor(case["norm"]["mean"]).reshape(of_channel)) / torch.tensor(
        case["norm"]["std"]
    ).reshape(of_channel)


@pytest.mark.parametrize("name", CASES)
def test_maps_scores_and_colours_are_the_published_ones(golden_people, name):
    number = CASES.index(name)
    case, expected = golden_people.json("gradcam_open")[number], golden_people.arrays("gradcam_open")
    network, clips = network_of(golden_people, case["model"]), normalised(case)
    segments = clips.ndim == 5
    found, scores, blended = [], [], []
    for clip, label in zip(clips, case["labels"], strict=True):
        views = clip[None] if segments else clip
        maps = explain_views(
            network,
            views,
            layer=case["target_layer"],
            average="score" if case["model"] == "tsn_r50" else "prob",  # it has no averaging: one view, raw scores
            target=label if case["use_labels"] else None,
        )
        pictures = to_pictures(views, case["norm"]["mean"], case["norm"]["std"], segments=segments)
        found.append(maps.scaled("view"))
        scores.append(maps.scores)
        blended.append(overlay(pictures, found[-1]).blended.reshape(*found[-1].shape, 3))
    maps, colours = np.concatenate(found), np.concatenate(blended).astype(int)
    a, b, c, d = case["map_stride"]
    np.testing.assert_allclose(scores, case["preds"], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(maps[::a, ::b, ::c, ::d], expected[f"{name}_map"], rtol=0, atol=2e-3)
    assert maps.mean() == pytest.approx(case["map_mean"], abs=1e-3)
    assert np.abs(colours[0:1, 0:1, ::2, ::2] - expected[f"{name}_u8"]).max() <= 2
    assert colours.mean() == pytest.approx(case["u8_mean"], abs=0.1)


def test_network_and_views_are_left_as_they_were():
    network, views = small(), noise(2, 3, 4, 64, 64)
    before, weights = views.clone(), {name: value.clone() for name, value in network.state_dict().items()}
    first = explain_views(network, views)
    pictures = to_pictures(views, [0.0] * 3, [50.0] * 3)
    overlay(pictures, first.scaled())
    again = explain_views(network, views)
    assert torch.equal(views, before)
    assert not views.requires_grad
    assert all(torch.equal(value, weights[name]) for name, value in network.state_dict().items())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in network.parameters())
    assert (first.values == again.values).all()


def test_all_views_have_one_class_and_one_scale():
    network, views = small(), noise(5, 3, 4, 64, 64)
    found = explain_views(network, views)
    with torch.no_grad():
        rows = network(views).softmax(dim=1)
    assert found.target == int(rows.mean(dim=0).argmax())
    assert len(set(rows.argmax(dim=1).tolist())) > 1  # some views alone would have another class
    one_scale, own_scales = found.scaled("clip"), found.scaled("view")
    assert one_scale.max() == 1
    assert sum(view.max() == 1 for view in one_scale) == 1
    assert sum(view.max() == 1 for view in own_scales) == sum(view.max() > 0 for view in found.values) > 1
    np.testing.assert_allclose(
        one_scale * np.ptp(found.values), found.values - found.values.min(), rtol=1e-4, atol=1e-9
    )


def test_maps_do_not_depend_on_how_many_views_are_computed_at_once():
    network, views = small(), noise(5, 3, 4, 64, 64)
    together = explain_views(network, views, at_once=5)
    for at_once in (1, 2):
        apart = explain_views(network, views, at_once=at_once)
        np.testing.assert_allclose(apart.values, together.values, rtol=1e-3, atol=1e-5 * together.values.max())
    single = explain_views(network, views, only=3, at_once=5)
    assert (single.views, single.target, len(single.values)) == ((3,), together.target, 1)
    np.testing.assert_allclose(single.scaled("view")[0], together.scaled("view")[3], atol=1e-4)


def test_a_map_is_the_weighted_sum_of_the_layer():
    network, views = small(), noise(1, 3, 4, 64, 64)
    kept = []
    hook = network.get_submodule("backbone.layer4.1.relu").register_forward_hook(lambda _m, _i, out: kept.append(out))
    probability = network(views).softmax(dim=1)[0, 2]
    hook.remove()
    (slope,) = torch.autograd.grad(probability, kept)
    raw = (slope.mean(dim=(3, 4), keepdim=True) * kept[0]).sum(dim=1, keepdim=True).relu()
    expected = torch.nn.functional.interpolate(raw, (4, 64, 64), mode="trilinear")[0].detach().numpy()
    found = explain_views(network, views, layer=LAYER, target=2).values
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5 * expected.max())


def test_a_map_without_differences_becomes_nothing():
    flat = ViewMaps(np.full((2, 3, 4, 5), 0.7, np.float32), 0, np.zeros(2), (0, 1))
    assert (flat.scaled("clip") == 0).all()
    assert (flat.scaled("view") == 0).all()


@pytest.mark.parametrize("attention", ["joint", "divided"])
def test_tokens_of_a_timesformer_are_laid_out(golden_people, attention):
    backbone = TimeSformer(frames=3, size=64, depth=2, width=24, attention=attention)
    network = golden_people.filled(ClipNetwork(backbone, LinearHead(24, 3, dropout=0.5)))
    layer = "backbone/transformer_layers/layers/" + ("1/norms/0" if attention == "joint" else "0")
    views = noise(2, 3, 3, 64, 64)
    found = explain_views(network, views, layer=layer, target=1)
    assert found.values.shape == (2, 3, 64, 64)
    assert np.ptp(found.values) > 0
    if attention == "joint":
        kept = []
        module = network.get_submodule(layer.replace("/", "."))
        hook = module.register_forward_hook(lambda _m, _i, out: kept.append(out))
        score = network(views).softmax(dim=1)[:, 1].mean()
        hook.remove()
        (slope,) = torch.autograd.grad(score, kept)
        places = [part[:, 1:].reshape(2, 4, 4, 3, 24).permute(0, 4, 3, 1, 2) for part in (kept[0], slope)]
        raw = (places[1].mean(dim=(3, 4), keepdim=True) * places[0]).sum(dim=1, keepdim=True).relu()
        expected = torch.nn.functional.interpolate(raw, (3, 64, 64), mode="trilinear")[:, 0].detach().numpy()
        np.testing.assert_allclose(found.values, expected, rtol=1e-3, atol=1e-5 * expected.max())


def test_torchvisions_transformers_are_laid_out():
    torch.manual_seed(0)
    network = SwinTransformer3d([2, 4, 4], 12, [1, 1], [2, 2], [2, 7, 7], num_classes=3).eval()
    views = noise(2, 3, 4, 64, 64)
    found = explain_views(network, views, layer="norm")
    assert found.values.shape == (2, 4, 64, 64)
    alone = explain_views(network, views, layer="", only=1)
    assert (alone.values[0] == found.values[1]).all()


def test_several_views_of_a_network_over_frames():
    options = RgbOptions(blocks=(1, 1, 1, 1), width=8, segments=2)
    network = build_rgb_network("tsm_r50", classes=3, seed=1, options=options).eval()
    views = noise(2, 2, 3, 64, 64)  # two views of two frames, or one of four, which the network takes for two views
    apart = explain_views(network, views, layer="backbone/layer4/0/relu", target=0)
    joined = explain_views(network, views.reshape(1, 4, 3, 64, 64), layer="backbone/layer4/0/relu", target=0)
    assert apart.values.shape == (2, 2, 64, 64)
    assert joined.values.shape == (1, 4, 64, 64)
    np.testing.assert_allclose(joined.scores, apart.scores, rtol=1e-5)
    seen = joined.values[0].reshape(apart.values.shape)
    np.testing.assert_allclose(seen, apart.values, rtol=1e-3, atol=1e-5 * seen.max())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layer": "backbone/layer9/1/relu"}, "One of .*backbone"),
        ({"layer": "cls_head/fc_cls"}, "not laid out over space"),
        ({"average": "median"}, "no average 'median'"),
        ({"at_once": 0}, "0 at once"),
        ({"target": 3}, "no class 3"),
        ({"only": 2}, "no view 2"),
    ],
)
def test_what_cannot_be_explained_is_said(change, message):
    with pytest.raises(ExplainError, match=message):
        explain_views(small(), noise(2, 3, 4, 64, 64), **change)


def test_views_must_be_views_and_finite():
    with pytest.raises(ExplainError, match="Views of one clip"):
        explain_views(small(), noise(3, 4, 64, 64))
    with pytest.raises(ExplainError, match="not finite"):
        explain_views(small(), noise(1, 3, 4, 64, 64) / 0)
    with pytest.raises(ExplainError, match="no scale"):
        ViewMaps(np.zeros((1, 1, 2, 2), np.float32), 0, np.zeros(2), (0,)).scaled("frame")
