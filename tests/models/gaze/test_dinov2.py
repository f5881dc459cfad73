"""DINOv2 through timm with the published positions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nbpkg.errors import SettingsError, StageError, WeightsError
from nbpkg.models.gaze.dinov2 import DinoV2, SmallBackbone, build_dinov2, resize_positions


def assert_published(case, backbone, name, size):
    golden = case.arrays(f"dinov2_{name}_{size[0]}x{size[1]}_open")
    image = case.normal(f"dino_{name}_open_{size[0]}x{size[1]}", (1, 3, *size))
    with torch.inference_mode():
        tokens = backbone.encode(image)
        positions = backbone.positions(size[0] // 14, size[1] // 14)
    np.testing.assert_allclose(tokens[:, ::32, ::4, ::4], golden["tokens_slice"], rtol=0, atol=1e-4)
    np.testing.assert_allclose(tokens[0].mean((1, 2)), golden["tokens_mean"], rtol=0, atol=1e-4)
    np.testing.assert_allclose(tokens[0].std((1, 2)), golden["tokens_std"], rtol=0, atol=1e-4)
    np.testing.assert_allclose(positions[0, ::17, ::48], golden["pos_embed_slice"], rtol=0, atol=1e-6)


def test_vits14_gives_the_published_tokens_of_a_picture_that_is_not_square(case):
    shapes = {key: torch.empty(shape) for key, shape in case.json("state_dict_dinov2")["vits14"]}
    weights = case.fill.fill_state_dict(shapes)
    assert "mask_token" in weights
    assert_published(case, build_dinov2("vits14", weights), "vits14", (112, 168))
    with pytest.raises(WeightsError, match="1 unexpected"):
        build_dinov2("vits14", {**weights, "register_tokens": torch.zeros(1)})


@pytest.mark.parametrize("size", [112, 448])
def test_vitb14_gives_the_published_tokens(case, vitb14, size):
    assert_published(case, vitb14, "vitb14", (size, size))


def test_vitb14_has_the_published_entries(case, vitb14):
    entries = {key: list(item.shape) for key, item in vitb14.net.state_dict().items()}
    published = dict(case.json("state_dict_dinov2")["vitb14"])
    assert published.pop("mask_token") == [1, 768]
    assert entries == published


def test_vitl14_has_the_published_size():
    with torch.device("meta"):
        backbone = DinoV2("vitl14")
    assert (backbone.features, len(backbone.net.blocks), backbone.net.blocks[0].attn.num_heads) == (1024, 24, 16)
    assert {backbone.net.norm.eps, backbone.net.blocks[3].norm2.eps} == {1e-6}


def test_positions_of_the_published_grid_are_left_as_they_are():
    positions = torch.randn(1, 1370, 8)
    assert resize_positions(positions, 37, 37) is positions
    assert resize_positions(positions, 16, 24).shape == (1, 1 + 16 * 24, 8)


def test_what_cannot_be_is_refused():
    with pytest.raises(SettingsError, match="no DINOv2 'vitx14'"):
        build_dinov2("vitx14")
    with pytest.raises(StageError, match="100 × 112 pixels cannot be cut"):
        SmallBackbone().encode(torch.zeros(1, 3, 112, 100))


@pytest.mark.parametrize("backbone", [SmallBackbone()])
def test_small_backbones_give_a_token_for_each_patch(backbone):
    tokens = backbone.eval().encode(torch.randn(2, 3, 112, 112))
    assert tokens.shape == (2, backbone.features, 8, 8)
    tokens.mean().backward()
    assert all(item.grad is not None for item in backbone.parameters())
