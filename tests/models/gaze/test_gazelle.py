"""Gaze-LLE: the published outputs, head boxes of every kind, and what learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nbpkg.errors import StageError
from nbpkg.models.gaze.dinov2 import SmallBackbone
from nbpkg.models.gaze.gazelle import (
    SMALL,
    GazeLle,
    GazelleSize,
    code_positions,
    decoder_groups,
    draw_heads,
    freeze_backbone,
    read_boxes,
)


def build_small(*, inout=True, **changes):
    torch.manual_seed(0)
    return GazeLle(64, SMALL, backbone=SmallBackbone(), inout=inout, **changes)


@pytest.mark.parametrize("backbone", ["vitb14", "vitl14"])
@pytest.mark.parametrize(("inout", "parameters"), [(False, (2_826_752, 2_892_288)), (True, (2_860_033, 2_925_569))])
def test_state_dict_is_the_published_one(case, backbone, inout, parameters):
    with torch.device("meta"):
        network = GazeLle({"vitb14": 768, "vitl14": 1024}[backbone], inout=inout)
    entries = [[key, list(item.shape)] for key, item in network.state_dict().items()]
    assert entries == case.json("state_dict_gazelle")[f"gazelle_dinov2_{backbone}{'_inout' if inout else ''}"]
    assert sum(item.numel() for item in network.parameters()) == parameters[backbone == "vitl14"]


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("eps", ["1e-05", "1e-06"])
def test_outputs_are_the_published_ones(case, number, eps):
    golden, facts = case.arrays(f"gazelle_head_{number}_open"), case.json(f"gazelle_head_{number}_open")
    size = GazelleSize(size=facts["in_size"][0])
    network = GazeLle(facts["dim"], size, inout=facts["inout"], norm_eps=float(eps)).eval()
    state = case.fill.fill_state_dict(network.state_dict())
    network.load_state_dict({**state, "pos_embed": network.pos_embed.clone()})
    tokens = case.normal(f"gz_open_{number}_feat", (len(facts["boxes"]), facts["dim"], size.grid, size.grid))
    with torch.inference_mode():
        heat, inside = network.decode(tokens, facts["boxes"])
    wanted = golden[f"heatmap_eps{eps}"]
    step = 64 // wanted.shape[-1]
    np.testing.assert_allclose(heat[:, ::step, ::step], wanted, rtol=0, atol=1e-5)
    if facts["inout"]:
        np.testing.assert_allclose(inside, golden[f"inout_eps{eps}"], rtol=0, atol=1e-5)
    else:
        assert inside is None
    boxes = np.concatenate([read_boxes(group) for group in facts["boxes"]])
    for compat in ("none", "reference"):
        assert np.array_equal(draw_heads(boxes, size.grid, compat=compat), golden["head_maps"])
    np.testing.assert_allclose(network.pos_embed[::16, ::4, ::4], golden["pos_embed_slice"], rtol=0, atol=1e-6)
    assert network.pos_embed.double().sum().item() == pytest.approx(golden["pos_embed_sum"].item(), rel=1e-6)


def test_position_code_follows_its_formula():
    code = code_positions(256, 3, 5)
    rate = 10_000 ** (-2 * 7 / 128)
    assert code[14, 2, 4].item() == pytest.approx(np.sin(4 * rate), abs=1e-6)
    assert code[15, 2, 4].item() == pytest.approx(np.cos(4 * rate), abs=1e-6)
    assert code[142, 2, 4].item() == pytest.approx(np.sin(2 * rate), abs=1e-6)
    assert code[143, 2, 4].item() == pytest.approx(np.cos(2 * rate), abs=1e-6)


def test_small_heads_mark_one_cell_unless_as_published():
    boxes = np.array([[0.501, 0.51, 0.505, 0.52], [0.99, 0.99, 1.0, 1.0], [-0.4, 0.2, -0.3, 0.3], [np.nan] * 4])
    ours, published = draw_heads(boxes, 32), draw_heads(boxes, 32, compat="reference")
    assert ours.sum((1, 2)).tolist() == [1, 1, 4, 0]
    assert published.sum((1, 2)).tolist() == [0, 0, 0, 0]
    assert [tuple(np.argwhere(item)[0]) for item in ours[:2]] == [(16, 16), (31, 31)]


def test_edges_of_heads_round_halves_to_even():
    box = np.array([[0.5 / 8, 1.5 / 8, 2.5 / 8, 3.5 / 8]])
    rows, columns = np.nonzero(draw_heads(box, 8)[0])
    assert (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1) == (2, 4, 0, 2)


def test_people_of_a_picture_are_as_if_alone():
    network = build_small().eval()
    images = torch.randn(3, 3, 112, 112)
    box, other = [0.1, 0.2, 0.4, 0.5], [0.6, 0.1, 0.8, 0.3]
    with torch.inference_mode():
        gaze = network(images, [[box, None, other], torch.zeros(0, 4), None])
        alone = network(images[:1], [torch.tensor([other])])
        unknown = network(images[:1], [torch.full((1, 4), torch.nan)])
    assert [len(item) for item in gaze["heatmap"]] == [len(item) for item in gaze["inout"]] == [3, 0, 1]
    torch.testing.assert_close(gaze["heatmap"][0][2], alone["heatmap"][0][0])
    torch.testing.assert_close(gaze["inout"][0][2], alone["inout"][0][0])
    torch.testing.assert_close(gaze["heatmap"][0][1], unknown["heatmap"][0][0])
    assert gaze["heatmap"][0].shape == (3, 64, 64)
    assert gaze["heatmap"][0].min() >= 0
    assert gaze["heatmap"][0].max() <= 1
    assert not torch.allclose(gaze["heatmap"][0][0], gaze["heatmap"][0][2], atol=1e-4)


def test_nobody_at_all_gives_empty_answers():
    network = build_small().eval()
    heat, inside = network.decode(torch.randn(1, 64, 8, 8), [[]])
    assert (heat.shape, inside.shape) == ((0, 64, 64), (0,))


def test_inputs_that_do_not_fit_are_refused():
    network = build_small()
    with pytest.raises(StageError, match="boxes of 1 pictures"):
        network.decode(torch.randn(2, 64, 8, 8), [None])
    with pytest.raises(StageError, match=r"shape \(1, 64, 7, 8\)"):
        network.decode(torch.randn(1, 64, 7, 8), [None])
    with pytest.raises(StageError, match=r"Head boxes have \[3\] numbers"):
        network.decode(torch.randn(1, 64, 8, 8), [[[0.1, 0.2, 0.3]]])
    with pytest.raises(StageError, match="no backbone"):
        GazeLle(64, SMALL).encode(torch.randn(1, 3, 112, 112))


def test_small_network_learns_end_to_end_and_a_frozen_backbone_keeps_nothing():
    network = build_small().train()
    images, boxes = torch.randn(2, 3, 112, 112), [[[0.1, 0.2, 0.4, 0.5]], [None]]
    heat, inside = network.decode(network.encode(images), boxes)
    (heat.mean() + inside.mean()).backward()
    assert all(item.grad is not None for item in network.parameters())
    network.zero_grad(set_to_none=True)
    freeze_backbone(network)
    network.train()
    assert not network.backbone.training
    tokens = network.encode(images)
    assert not tokens.requires_grad
    heat, _ = network.decode(tokens, boxes)
    heat.mean().backward()
    assert all(item.grad is None for item in network.backbone.parameters())
    assert network.linear.weight.grad is not None


def test_branches_are_skipped_in_training_only():
    torch.manual_seed(1)
    network = build_small(drop_path=0.5)
    tokens, boxes = torch.randn(4, 64, 8, 8), [None] * 4
    assert torch.equal(network.eval().decode(tokens, boxes)[0], network.decode(tokens, boxes)[0])
    network.train()
    assert not torch.equal(network.decode(tokens, boxes)[0], network.decode(tokens, boxes)[0])
    still = build_small(drop_path=0.0, dropout=0.0).train()
    assert torch.equal(still.decode(tokens, boxes)[1], still.decode(tokens, boxes)[1])


def test_parameter_groups():
    network = build_small()
    freeze_backbone(network)
    (whole,) = decoder_groups(network, 1e-3)
    others, inout = decoder_groups(network, 1e-5, inout_learning_rate=1e-2)
    assert (others["lr"], inout["lr"], whole["lr"]) == (1e-5, 1e-2, 1e-3)
    assert len(inout["params"]) == 5
    assert len(others["params"]) + 5 == len(whole["params"])
    assert sum(item.numel() for item in network.parameters()) < 1_000_000


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_arithmetic(dtype):
    network = build_small().to(dtype).eval()
    heat, inside = network.decode(network.encode(torch.randn(1, 3, 112, 112, dtype=dtype)), [None])
    assert (heat.dtype, inside.dtype) == (dtype, dtype)
    assert heat.isfinite().all()
