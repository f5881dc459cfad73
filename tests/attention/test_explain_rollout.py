"""Attention roll-out of plain transformers, and the Grad-CAM family on networks of tokens."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torchvision
from torch import nn
from torchvision.models.video.mvit import MSBlockConfig

from nbpkg import seeding
from nbpkg.attention.explain import METHODS, Options, explain
from nbpkg.attention.explain.layers import default_layer
from nbpkg.errors import ExplainError


class Plain(nn.Module):
    """A sequence [B, C, T] through transformer layers, with a class token or the mean of all tokens."""

    def __init__(self, *, token: bool, layers: int = 2) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(4, 2, dim_feedforward=8, batch_first=True, dropout=0.1)
        self.encoder = nn.TransformerEncoder(layer, layers)
        self.token = nn.Parameter(torch.randn(1, 1, 4)) if token else None
        self.head = nn.Linear(4, 2)

    def forward(self, clips):
        tokens = clips.transpose(1, 2)
        if self.token is not None:
            tokens = torch.cat([self.token.expand(len(clips), -1, -1), tokens], dim=1)
        tokens = self.encoder(tokens)
        return self.head(tokens[:, 0] if self.token is not None else tokens.mean(dim=1))


def by_hand(net: Plain, clip: torch.Tensor) -> np.ndarray:
    """Attention from the weights themselves, layer after layer."""
    tokens = clip.T[None]
    if net.token is not None:
        tokens = torch.cat([net.token, tokens], dim=1)
    rolled = np.eye(tokens.shape[1])
    for layer in net.encoder.layers:
        query, key, _ = (tokens[0] @ layer.self_attn.in_proj_weight.T + layer.self_attn.in_proj_bias).split(4, dim=1)
        heads = [
            torch.softmax(query[:, part] @ key[:, part].T / np.sqrt(2), dim=1) for part in (slice(0, 2), slice(2, 4))
        ]
        attention = torch.stack(heads).mean(dim=0).detach().numpy()
        rolled = (attention + np.eye(len(attention))) / 2 @ rolled
        tokens = layer(tokens)
    return rolled[0, 1:] if net.token is not None else rolled.mean(axis=0)


@pytest.mark.parametrize("token", [True, False])
def test_rollout_is_that_computed_by_hand(token):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        net = Plain(token=token)
        for parameter in net.parameters():
            nn.init.normal_(parameter)
    clip = torch.from_numpy(seeding.generator(0, "x").standard_normal((4, 6)).astype(np.float32))
    fast = torch.backends.mha.get_fastpath_enabled()
    found = explain(net.train(), clip, method="rollout", targets=[0, 1], options=Options())
    assert net.training
    assert torch.backends.mha.get_fastpath_enabled() == fast
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
    np.testing.assert_allclose(found[1].values, by_hand(net.eval(), clip), atol=1e-6)
    np.testing.assert_array_equal(found[0].values, found[1].values)


def vit(**changes) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = torchvision.models.VisionTransformer(16, 4, 2, 2, 8, 16, num_classes=2, **changes)
        for parameter in net.parameters():
            nn.init.normal_(parameter)
        return net


def test_vision_transformers_have_maps_of_their_patches():
    net = vit()
    picture = torch.from_numpy(seeding.generator(0, "x").standard_normal((3, 16, 16)).astype(np.float32))
    rolled = explain(net, picture, method="rollout", targets=[1], options=Options())[1]
    assert rolled.values.shape == (4, 4)
    assert 0 < rolled.values.sum() < 1  # the rest is the class token's own
    cam = explain(net, picture, method="hirescam", targets=[1], options=Options())[1]
    assert cam.layer == "encoder.layers.encoder_layer_1.ln_1"
    assert cam.values.shape == (4, 4)
    one, other = (explain(net, picture, method="occlusion", targets=[1], options=o)[1] for o in patches())
    assert one.values.shape == other.values.shape == (4, 4)


def patches() -> list[Options]:
    return [Options(occlusion_radius=(2, 2), occlusion_stride=(4, 4), batch_size=size) for size in (3, 16)]


def test_networks_of_other_kinds_are_refused_by_name():
    picture = torch.zeros(3, 16, 16)
    plain = nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(ExplainError, match=r"Sequential has no torch.nn.MultiheadAttention[\s\S]*plain transformer"):
        explain(plain, picture, method="rollout", targets=[1], options=Options())

    class Pooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = (nn.MultiheadAttention(3, 1, batch_first=True) for _ in range(2))

        def forward(self, clips):
            tokens = clips.flatten(2).transpose(1, 2)
            tokens = self.first(tokens, tokens, tokens)[0][:, ::2]
            return self.second(tokens, tokens, tokens, need_weights=False)[0].mean(dim=1)

    with pytest.raises(ExplainError, match="Pooled attends by"):
        explain(Pooled(), picture, method="rollout", targets=[1], options=Options())

    class Odd(Pooled):
        def forward(self, clips):
            tokens = clips.flatten(2).transpose(1, 2)[:, :100]
            return self.first(tokens, tokens, tokens)[0].mean(dim=1)

    with pytest.raises(ExplainError, match="Odd has 100 tokens"):
        explain(Odd(), picture, method="rollout", targets=[1], options=Options())


def test_multiscale_transformers_have_maps_of_their_tokens():
    net = torchvision.models.video.MViT(
        (32, 32),
        4,
        [
            MSBlockConfig(1, 8, 16, [3, 3, 3], [3, 3, 3], [1, 2, 2], [1, 1, 1]),
            MSBlockConfig(2, 16, 16, [3, 3, 3], [3, 3, 3], [1, 1, 1], [1, 2, 2]),
        ],
        residual_pool=False,
        residual_with_cls_embed=False,
        rel_pos_embed=False,
        proj_after_attn=True,
        num_classes=2,
    )
    clip = torch.from_numpy(seeding.generator(0, "x").standard_normal((3, 4, 32, 32)).astype(np.float32))
    assert default_layer(net, clip) == "blocks.1.norm1"
    assert METHODS["gradcam"].run(net, clip, [1], Options())[1].values.shape == (2, 4, 4)
