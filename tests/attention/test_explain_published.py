"""Explanations and overlays against what the published program gives."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch
from torch import nn

from nbpkg.attention import maps, reference_overlay
from nbpkg.attention.explain import Options, explain
from nbpkg.attention.explain.guided_backprop import guided
from nbpkg.attention.explain.passes import as_array, input_gradients
from nbpkg.errors import ExplainError
from nbpkg.models.network import build_network


def far(found: np.ndarray, wanted: np.ndarray) -> float:
    """Largest difference, relative to the largest value wanted."""
    assert found.shape == wanted.shape
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


@pytest.fixture(scope="module")
def published(root, golden):
    spec = importlib.util.spec_from_file_location("fill", root / "tests" / "golden" / "fill.py")
    fill = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fill)
    net = build_network("mc3_18", "none", seed=0, size=48, frames=8)
    net.load_state_dict(fill.fill_state_dict(net.state_dict()), strict=True)
    noise = np.random.default_rng(11).standard_normal((1, 3, 8, 48, 48)).astype(np.float32)
    with np.load(golden / "heatmaps_open.npz") as wanted:
        return net, torch.from_numpy(noise[0]), dict(wanted)


def one_logit(net: nn.Module) -> nn.Module:
    """The same network with logit 1 less logit 0 as its only output."""

    class Difference(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, clips):
            scores = self.net(clips)
            return scores[:, 1:] - scores[:, :1]

    return Difference()


@pytest.mark.parametrize("target", [0, 1])
@pytest.mark.parametrize("name", ["gradient", "guided"])
def test_input_gradients_are_the_published_ones(published, name, target):
    net, clip, wanted = published
    # One ReLU of this network gets -1e-7: in float32 the rounding of the machine decides whether it is open.
    exact = build_network("mc3_18", "none", seed=0, size=48, frames=8).double()
    exact.load_state_dict(net.state_dict())
    if name == "guided":
        with guided(exact):
            raw = as_array(input_gradients(exact, clip, targets=[target])[target])
    else:
        raw = as_array(input_gradients(exact, clip, targets=[target])[target])
    assert far(raw[:, ::2, ::4, ::4], wanted[f"class{target}_{name}_sub"]) < 1e-5
    norms = np.array([np.linalg.norm(raw.astype(float)), np.abs(raw).max(), raw.sum(dtype=float)])
    assert far(norms, wanted[f"class{target}_{name}_norm"]) < 1e-5
    shown = maps.normalise(maps.saliency(raw), "clip")
    assert far(shown, wanted[f"class{target}_{name}_saliency"]) < 1e-5


@pytest.mark.parametrize("target", [0, 1])
def test_gradcam_and_guided_gradcam_are_the_published_ones(published, target):
    net, clip, wanted = published
    cam = explain(net, clip, method="gradcam", targets=[target], options=Options())[target]
    assert cam.layer == "encoder.base_model.layer4.1.conv2"
    assert far(cam.values[None], wanted[f"class{target}_gradcam"]) < 1e-4
    large = maps.enlarge(cam.values, clip.shape[1:], "trilinear")
    assert far(large, wanted[f"class{target}_gradcam_trilinear"]) < 1e-4
    both = explain(net, clip, method="guided_gradcam", targets=[target], options=Options())[target]
    assert far(maps.normalise(both.values, "clip"), wanted[f"class{target}_guided_gradcam_saliency"]) < 1e-4


def test_occlusion_is_the_published_one(published):
    net, clip, wanted = published
    found = explain(net, clip, method="occlusion", targets=[0, 1], options=Options(batch_size=7))
    for target in (0, 1):
        assert far(found[target].values, wanted[f"class{target}_occlusion"]) < 1e-4
    other = Options(occlusion_radius=(2, 8, 4), occlusion_stride=(3, 20, 24))
    found = explain(net, clip, method="occlusion", targets=[1], options=other)
    assert far(found[1].values, wanted["occlusion_r284_s3_20_24_class1"]) < 1e-4


def test_single_logits_are_explained_as_published(published):
    net, clip, wanted = published
    blocks = Options(occlusion_stride=(4, 16, 16))
    covered = explain(one_logit(net), clip, method="occlusion", targets=[0, 1], options=blocks)
    exact = build_network("mc3_18", "none", seed=0, size=48, frames=8).double()
    exact.load_state_dict(net.state_dict())
    slopes = explain(one_logit(exact), clip, method="gradient", targets=[0, 1], options=Options())
    for target in (0, 1):
        assert far(covered[target].values, wanted[f"binary_target{target}_occlusion"]) < 1e-4
        shown = maps.normalise(slopes[target].values, "clip")
        assert far(shown, wanted[f"binary_target{target}_gradient_saliency"]) < 1e-5


def test_overlays_are_the_published_ones(published):
    _, clip, wanted = published
    ramp = np.linspace(0, 1, 64, dtype=np.float32).reshape(1, 8, 8)
    np.testing.assert_array_equal(reference_overlay.colour_map(ramp), wanted["colormap_ramp"])
    cam = wanted["class1_gradcam"][0]
    base, shown = reference_overlay.rescale(clip.numpy()), reference_overlay.rescale(cam)
    laid = reference_overlay.colour_overlay(base, shown, mode="trilinear", alpha=True)
    np.testing.assert_allclose(laid[:, ::3, ::4, ::4], wanted["overlay_gradcam_sub"], atol=1e-5)
    laid = reference_overlay.colour_overlay(base, shown, mode="nearest", alpha=False)
    np.testing.assert_allclose(laid[:, ::3, ::4, ::4], wanted["overlay_gradcam_noalpha_sub"], atol=1e-5)
    np.testing.assert_allclose(reference_overlay.normalise_frames(cam), wanted["normalize_per_frame"], atol=1e-6)
    dark = reference_overlay.multiply_overlay(base, np.zeros((1, 1, 1), np.float32), mode="nearest")
    assert dark.shape == base.shape
    assert not dark.any()
    with pytest.raises(ExplainError, match="Nearly all values are 3"):
        reference_overlay.rescale(np.full((3, 2, 2, 2), 3.0, np.float32))
