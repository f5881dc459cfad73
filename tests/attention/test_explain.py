"""Explanation methods: the published vectors, exact properties, and networks left as they were found."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from nbpkg import seeding
from nbpkg.attention import maps
from nbpkg.attention.explain import METHODS, Options, explain, randomise
from nbpkg.attention.explain.layers import default_layer, list_layers
from nbpkg.attention.explain.occlusion import list_blocks
from nbpkg.attention.explain.passes import input_gradients, run
from nbpkg.attention.explain.reference_occlusion import occlude_frames
from nbpkg.errors import ExplainError
from nbpkg.models.encoders import ENCODERS
from nbpkg.models.network import build_network
from nbpkg.settings.attention import CompareSettings, ExplainSettings

SMALL_BLOCKS = Options(occlusion_radius=(1, 2, 2), occlusion_stride=(2, 3, 3), batch_size=5, steps=8, samples=3)
CONVOLUTIONAL = [name for name in METHODS if name not in ("rollout", "heatmap")]
KINDS = {"sequence": (4, 9), "picture": (3, 10, 8), "video": (3, 4, 8, 10)}


def build(kind: str, classes: int = 2, *, inplace: bool = True) -> nn.Module:
    """A small network with a nonlinear head, so that gradients differ from place to place."""
    axes = {"sequence": 1, "picture": 2, "video": 3}[kind]
    convolution = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[axes - 1]
    norm = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)[axes - 1]
    pool = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)[axes - 1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(axes)
        return nn.Sequential(
            convolution(KINDS[kind][0], 6, 3, padding=1),
            norm(6),
            nn.ReLU(inplace=inplace),
            convolution(6, 5, 3, padding=1),
            nn.ReLU(inplace=inplace),
            pool(1),
            nn.Flatten(),
            nn.Linear(5, classes),
        )


def draw(kind: str, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(seeding.generator(seed, kind).standard_normal(KINDS[kind]).astype(np.float32))


def state_of(net: nn.Module) -> list:
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    modules = [(m.training, "forward" in m.__dict__, *(len(getattr(m, name)) for name in hooks)) for m in net.modules()]
    return [modules, [(p.requires_grad, p.grad) for p in net.parameters()]]


# ---- every method on every kind of input


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", CONVOLUTIONAL)
def test_methods_explain_sequences_pictures_and_videos(kind, method):
    net, clip = build(kind), draw(kind)
    net.train()
    net[0].weight.requires_grad_(False)
    before, weights = state_of(net), {k: v.clone() for k, v in net.state_dict().items()}
    if method == "occlusion":
        options = replace(SMALL_BLOCKS, occlusion_radius=(1,), occlusion_stride=(2,)) if kind == "sequence" else None
    else:
        options = None
    found = explain(net, clip, method=method, targets=[0, 1], options=options or SMALL_BLOCKS)
    assert state_of(net) == before
    assert all(torch.equal(value, weights[key]) for key, value in net.state_dict().items())
    for target, one in found.items():
        assert (one.target, one.method, one.signed) == (target, method, METHODS[method].signed)
        assert one.values.dtype == np.float32
        assert one.values.ndim == clip.ndim - 1
        assert one.signed or one.values.min() >= 0
        assert (one.layer == "4") == (METHODS[method].kind == "layer" or method == "guided_gradcam")
        if METHODS[method].kind == "pixel":
            assert one.values.shape == clip.shape[1:]
    again = explain(net, clip, method=method, targets=[1], options=options or SMALL_BLOCKS)
    np.testing.assert_array_equal(again[1].values, found[1].values)


@pytest.mark.parametrize("method", CONVOLUTIONAL)
def test_batch_size_and_inplace_activations_change_nothing(method):
    clip = draw("video")
    several = explain(build("video"), clip, method=method, targets=[0, 1], options=SMALL_BLOCKS)
    single = explain(
        build("video", inplace=False), clip, method=method, targets=[0, 1], options=replace(SMALL_BLOCKS, batch_size=1)
    )
    for target in (0, 1):
        np.testing.assert_allclose(several[target].values, single[target].values, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", CONVOLUTIONAL)
def test_a_single_logit_speaks_for_class_1_and_against_class_0(method):
    net, clip = build("picture", classes=1), draw("picture")
    two = build("picture", classes=1)
    two[-1] = nn.Linear(5, 2)
    with torch.no_grad():
        two[-1].weight.copy_(torch.cat([-net[-1].weight, net[-1].weight]))
        two[-1].bias.copy_(torch.cat([-net[-1].bias, net[-1].bias]))
    found = explain(net, clip, method=method, targets=[0, 1], options=SMALL_BLOCKS)
    wanted = explain(two, clip, method=method, targets=[0, 1], options=SMALL_BLOCKS)
    for target in (0, 1):
        if method == "occlusion":  # softmax of (-z, z) is the sigmoid of 2 z
            np.testing.assert_allclose(found[0].values + found[1].values, 1, atol=1e-6)
        else:
            np.testing.assert_allclose(found[target].values, wanted[target].values, rtol=1e-4, atol=1e-6)


class Failing(nn.Module):
    """Stops the forward pass after the first layer has run `passes` times."""

    def __init__(self, passes: int) -> None:
        super().__init__()
        self.body, self.left = build("picture"), passes

    def forward(self, clips):
        scores = self.body(clips)
        self.left -= 1
        if self.left < 0:
            raise RuntimeError("the wire broke")
        return scores


@pytest.mark.parametrize("passes", [0, 1, 2])
@pytest.mark.parametrize("method", list(METHODS))
def test_networks_are_restored_when_they_fail(method, passes):
    net = Failing(passes).train()
    net.body[1].eval()
    net.body[0].weight.requires_grad_(False)
    net.body[-1].weight.grad = torch.ones_like(net.body[-1].weight)
    gradient = net.body[-1].weight.grad
    before = state_of(net)
    mode = torch.is_grad_enabled()
    with contextlib.suppress(RuntimeError, ExplainError):
        explain(net, draw("picture"), method=method, targets=[0, 1], options=SMALL_BLOCKS)
    after = state_of(net)
    assert net.body[-1].weight.grad is gradient
    assert after[0] == before[0]
    assert [flag for flag, _ in after[1]] == [flag for flag, _ in before[1]]
    assert torch.is_grad_enabled() == mode


# ---- single methods


def test_integrated_gradients_add_up_to_the_difference_of_scores():
    net, clip = build("video"), draw("video")
    found = explain(net, clip, method="integrated_gradients", targets=[0, 1], options=Options(steps=200, batch_size=64))
    with torch.no_grad():
        both = net.eval()(torch.stack([clip, torch.zeros_like(clip)]))
    for target in (0, 1):
        assert found[target].values.sum() == pytest.approx(float(both[0, target] - both[1, target]), abs=2e-3)


def test_gradient_times_input_adds_up_to_the_score_without_biases():
    net, clip = build("picture"), draw("picture")
    for module in net:
        if isinstance(getattr(module, "bias", None), nn.Parameter):
            nn.init.zeros_(module.bias)
    found = explain(net, clip, method="gradient_input", targets=[1], options=Options())[1]
    with torch.no_grad():
        assert found.values.sum() == pytest.approx(float(net.eval()(clip[None])[0, 1]), abs=1e-5)


def test_hirescam_adds_up_to_the_score_and_gradcam_agrees_under_a_mean():
    net, clip = build("video"), draw("video")
    found = explain(net, clip, method="hirescam", targets=[1], options=Options())[1]
    with torch.no_grad():
        score = float(net.eval()(clip[None])[0, 1] - net[7].bias[1])
    assert found.values.sum() == pytest.approx(score, abs=1e-5)
    for weights in ("frame", "channel"):  # with a mean over all places both weights are the gradient itself
        cam = explain(net, clip, method="gradcam", targets=[1], options=Options(gradcam_weights=weights))[1]
        np.testing.assert_allclose(cam.values, np.maximum(found.values, 0), atol=1e-6)
    with pytest.raises(ExplainError, match="no weights 'whole'"):
        explain(net, clip, method="gradcam", targets=[1], options=Options(gradcam_weights="whole"))


def by_hand(net: nn.Module, clip: torch.Tensor, layer: int, target: int) -> tuple[torch.Tensor, torch.Tensor]:
    net = net.eval()
    values = net[: layer + 1](clip[None]).detach().requires_grad_()
    (slope,) = torch.autograd.grad(net[layer + 1 :](values.clone())[0, target], values)
    return values.detach()[0], slope[0]


def test_the_gradcam_family_follows_its_formulas():
    net, clip = build("video"), draw("video")
    for layer in (2, 3, 4):  # before and behind an activation in place
        values, slope = by_hand(net, clip, layer, 1)
        wanted = {
            "gradcam": (slope.mean(dim=(2, 3), keepdim=True) * values).sum(0).relu(),
            "hirescam": (slope * values).sum(0),
            "layercam": (slope.relu() * values).sum(0).relu(),
        }
        square, cube = slope**2, slope**3
        below = 2 * square + values.sum((1, 2, 3), keepdim=True) * cube
        share = torch.where(slope != 0, square / torch.where(slope != 0, below, 1), 0)
        weights = (share * slope.relu()).sum((1, 2, 3), keepdim=True)
        wanted["gradcam_plus_plus"] = (weights * values).sum(0).relu()
        for method, map_ in wanted.items():
            found = METHODS[method].run(net, clip, [1], Options(layer=str(layer)))[1]
            assert found.layer == str(layer)
            np.testing.assert_allclose(found.values, map_.numpy(), rtol=1e-3, atol=1e-6)


def test_guided_backprop_passes_what_is_positive_twice():
    net, clip = build("picture", inplace=False), draw("picture")
    hooks = [
        module.register_full_backward_hook(lambda m, given, got: (given[0].clamp(min=0),))
        for module in net
        if isinstance(module, nn.ReLU)
    ]
    wanted = maps.saliency(input_gradients(net, clip, targets=[1])[1].numpy())
    for hook in hooks:
        hook.remove()
    found = explain(net, clip, method="guided_backprop", targets=[1], options=Options())[1]
    np.testing.assert_allclose(found.values, wanted, atol=1e-7)
    with pytest.raises(ExplainError, match="no ReLU module"):
        explain(
            nn.Sequential(nn.Flatten(), nn.Linear(240, 2)),
            clip,
            method="guided_backprop",
            targets=[1],
            options=Options(),
        )


@pytest.mark.parametrize("kind", KINDS)
def test_occlusion_is_that_of_a_plain_loop(kind):
    net, clip = build(kind, classes=3), draw(kind)
    axes = clip.ndim - 1
    options = Options(occlusion_radius=(1, 2, 3)[:axes], occlusion_stride=(2, 3, 4)[:axes], occlusion_fill=0.5)
    found = explain(net, clip, method="occlusion", targets=[0, 2], options=options)
    places = [range(0, size, step) for size, step in zip(clip.shape[1:], options.occlusion_stride, strict=True)]
    for target in (0, 2):
        assert found[target].values.shape == tuple(map(len, places))
    with torch.no_grad():
        for index in np.ndindex(*map(len, places)):
            covered = clip.clone()
            block = [
                slice(
                    max(0, places[a][i] - options.occlusion_radius[a]), places[a][i] + options.occlusion_radius[a] + 1
                )
                for a, i in enumerate(index)
            ]
            covered[(slice(None), *block)] = 0.5
            wanted = 1 - net.eval()(covered[None]).softmax(1)[0]
            for target in (0, 2):
                assert found[target].values[index] == pytest.approx(float(wanted[target]), abs=1e-6)


@pytest.mark.parametrize("centred", [False, True])
def test_blocks_cover_every_place(centred):
    for shape, stride in (((5, 7), (3, 2)), ((9, 4), (4, 9)), ((48, 160), (6, 16))):
        covered = np.zeros(shape, int)
        blocks = list_blocks(shape, radius=[step // 2 + 1 for step in stride], stride=stride, centred=centred)
        for block in blocks:
            covered[block] += 1
        assert covered.min() >= 1 or not centred
        assert len(blocks) == -(-shape[0] // stride[0]) * -(-shape[1] // stride[1])


class Spot(nn.Module):
    """Class 1 is as probable as the brightness of one pixel."""

    def __init__(self, row: int, column: int) -> None:
        super().__init__()
        self.row, self.column = row, column

    def forward(self, pictures):
        return pictures[:, 0, self.row, self.column, None]


def test_centred_occlusion_lies_over_what_matters_and_the_published_beside_it():
    picture, errors = torch.full((1, 48, 48), 5.0), {True: [], False: []}
    for place in range(16, 32):  # all phases of the grid, away from the borders
        for centred, found in errors.items():
            options = Options(occlusion_radius=(8, 8), occlusion_stride=(8, 8), occlusion_centred=centred)
            values = explain(Spot(place, place), picture, method="occlusion", targets=[1], options=options)[1].values
            large = maps.normalise(maps.enlarge(values, (48, 48), "trilinear"), "clip").astype(float)
            found.append((large.sum(axis=1) * np.arange(48)).sum() / large.sum() - place)
    assert abs(np.mean(errors[True])) < 0.6
    assert np.mean(errors[False]) == pytest.approx(3.5, abs=0.6)  # half a stride


def test_smoothgrad_without_noise_is_the_gradient_and_depends_on_its_seed():
    net, clip = build("video"), draw("video")
    plain = explain(net, clip, method="gradient", targets=[1], options=Options())[1]
    still = explain(net, clip, method="smoothgrad", targets=[1], options=Options(noise=0.0, samples=4))[1]
    np.testing.assert_allclose(still.values, plain.values, rtol=1e-5)
    one, other = (
        explain(net, clip, method="smoothgrad", targets=[1], options=Options(noise=0.2, seed=seed))[1]
        for seed in (1, 2)
    )
    assert not np.array_equal(one.values, other.values)


def test_occlusion_of_single_frames_is_the_published_one():
    net, clip = build("video"), draw("video")
    found = occlude_frames(net, clip, target=1, size=(3, 4), step=(2, 3))
    assert found.shape == (4, (8 - 3) // 2, (10 - 4) // 3)
    frame = clip[:, 2].clone()
    frame[:, 2:6, 3:8] = 0  # a window of 3 x 4 is really 4 x 5
    with torch.no_grad():
        assert found[2, 1, 1] == pytest.approx(1 - float(net.eval()(frame[None, :, None])[0, 1]), abs=1e-6)
    with pytest.raises(ExplainError, match="No window"):
        occlude_frames(net, clip, target=1, size=(8, 4), step=(2, 3))


# ---- layers


@pytest.mark.parametrize(
    ("encoder", "layer"),
    [
        ("mc3_18", "layer4.1.conv2"),
        ("r2plus1d_18", "layer4.1.conv2"),
        ("s3d", "features.15.branch3.1.2"),
        ("small", "layers.3"),
        ("swin3d_t", "norm"),
    ],
)
def test_default_layers_of_video_networks(encoder, layer):
    size = 64 if encoder == "s3d" else 48
    net = build_network(encoder, "none", seed=0, size=size, frames=8)
    clip = torch.from_numpy(seeding.generator(0, "x").standard_normal((3, 8, size, size)).astype(np.float32))
    if encoder == "s3d":
        assert default_layer(net, clip).startswith("encoder.base_model.features.15")
    else:
        assert default_layer(net, clip) == f"encoder.base_model.{layer}"
    cam = METHODS["hirescam"].run(net, clip, [0], Options())[0]
    assert cam.values.ndim == 3
    assert cam.values.shape[1] == cam.values.shape[2] > 1


def test_unknown_layers_are_answered_with_those_there_are():
    net, clip = build("video"), draw("video")
    assert list_layers(net, clip) == ["0", "1", "2", "3", "4"]
    with pytest.raises(ExplainError, match=r"no layer 'seven'[\s\S]*One of 0, 1"):
        explain(net, clip, method="gradcam", targets=[1], options=Options(layer="seven"))
    with pytest.raises(ExplainError, match="layer '7' is not laid out over space"):
        explain(net, clip, method="gradcam", targets=[1], options=Options(layer="7"))
    flat = nn.Sequential(nn.Flatten(), nn.Linear(240, 2))
    with pytest.raises(ExplainError, match="No layer of the network"):
        explain(flat, draw("picture"), method="gradcam", targets=[1], options=Options())


# ---- what cannot be explained


@pytest.mark.parametrize("method", CONVOLUTIONAL)
def test_weights_that_are_no_numbers_are_an_error_naming_the_layer(method):
    net, clip = build("video"), draw("video")
    with torch.no_grad():
        net[3].weight[0] = float("nan")
    with pytest.raises(ExplainError, match=r"no finite numbers[\s\S]*layer '3'"):
        explain(net, clip, method=method, targets=[0, 1], options=SMALL_BLOCKS)


@pytest.mark.parametrize(("method", "layer"), [("gradcam", "layer '4', "), ("gradient", ""), ("occlusion", "")])
def test_constant_maps_are_an_error_naming_method_and_layer(method, layer):
    net, clip = build("video"), draw("video")
    nn.init.zeros_(net[7].weight)
    with pytest.raises(ExplainError, match=rf"no place matters[\s\S]*{method}, {layer}class 1"):
        explain(net, clip, method=method, targets=[1], options=SMALL_BLOCKS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "lime"}, "no explanation method 'lime'"),
        ({"targets": [2]}, "no class 2"),
        ({"targets": [-1]}, "no class -1"),
        ({"clip": torch.zeros(1, 3, 4, 8, 10)}, "cannot be explained"),
        ({"clip": torch.zeros(3, 4, 8, 10, dtype=torch.uint8)}, "cannot be explained"),
        ({"clip": torch.full((3, 4, 8, 10), float("nan"))}, "not finite"),
        ({"net": nn.Conv3d(3, 2, 1)}, "The network gives"),
        ({"method": "occlusion", "options": Options(occlusion_stride=(0, 1, 1))}, "cannot be covered"),
        ({"method": "occlusion", "options": Options(occlusion_radius=(1, 1), occlusion_stride=(1, 1))}, "cannot be"),
        ({"method": "smoothgrad", "options": Options(samples=0)}, "cannot take 0 copies"),
        ({"method": "integrated_gradients", "options": Options(steps=0)}, "cannot take 0 steps"),
        ({"method": "rollout"}, "no torch.nn.MultiheadAttention"),
    ],
)
def test_wrong_input_is_one_clear_error(change, message):
    case = {"net": build("video"), "clip": draw("video"), "method": "gradient", "targets": [1], "options": Options()}
    case |= change
    with pytest.raises(ExplainError, match=message):
        explain(case.pop("net"), case.pop("clip"), **case)


# ---- random twins and settings


@pytest.mark.parametrize("encoder", ["small", "mc3_18", "swin3d_t"])
def test_random_twins_are_drawn_anew_and_leave_the_network_alone(encoder):
    net = build_network(encoder, "none", seed=0, size=48, frames=4)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.running_mean += 1
            module.running_var *= 3
    before = {key: value.clone() for key, value in net.state_dict().items()}
    stream = torch.get_rng_state()
    twin, again, other = (randomise(net, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), stream)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in twin.state_dict().items())
    weights = [key for key, value in net.named_parameters() if value.ndim >= 2]
    for key in weights:
        assert not torch.equal(twin.state_dict()[key], before[key]), key
        assert not torch.equal(twin.state_dict()[key], other.state_dict()[key]), key
    for module in twin.modules():
        if isinstance(module, nn.BatchNorm3d):
            assert float(module.running_mean.abs().max()) == 0
            assert float((module.running_var - 1).abs().max()) == 0


def test_settings_and_methods_know_the_same():
    assert set(METHODS) == set(maps.METHOD_FACTS)
    assert set(CompareSettings().explain.methods) <= set(METHODS)
    defaults, settings = Options(), ExplainSettings()
    assert settings.occlusion.radius == list(defaults.occlusion_radius)
    assert settings.occlusion.stride == list(defaults.occlusion_stride)
    for name in ("layer", "gradcam_weights", "steps", "samples", "noise", "batch_size"):
        assert getattr(settings, name) == getattr(defaults, name)
    assert "small" in ENCODERS
    assert run(build("picture").eval(), draw("picture")[None]).shape == (1, 2)


class _Pointing(torch.nn.Module):
    """Answers by a map, the green of a clip."""

    def answer(self, clips):
        return clips[:, 1]

    def forward(self, clips):
        return self.answer(clips).flatten(1).amax(dim=1, keepdim=True)


def test_a_network_that_answers_by_a_map_explains_itself_by_it():
    clip = torch.rand(3, 2, 4, 5)
    found = explain(_Pointing(), clip, method="heatmap", targets=[1], options=Options())[1]
    assert found.values == pytest.approx(clip[1].numpy())
    with pytest.raises(ExplainError, match="answers by no heat map"):
        explain(build("picture"), draw("picture"), method="heatmap", targets=[1], options=Options())
