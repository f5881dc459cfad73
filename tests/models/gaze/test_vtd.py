"""VTD: the published outputs, what differs from them by choice, and what a frozen trunk keeps."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from nbpkg.errors import StageError
from nbpkg.models.gaze.convlstm import ConvLstm
from nbpkg.models.gaze.residual import Block
from nbpkg.models.gaze.vtd import SMALL, VtdSpatial, VtdTemporal, freeze_trunk, parameter_groups

MIB = 2**20


def small_frames(count, *, dtype=torch.float32):
    generator = torch.Generator().manual_seed(3)
    scene, face = (torch.randn(count, 3, 112, 112, generator=generator).to(dtype) for _ in range(2))
    head = torch.zeros(count, 1, 112, 112, dtype=dtype)
    head[:, :, 20:50, 40:70] = 1
    return scene, head, face


def run_in_chunks(network, frames, batch_sizes, chunk):
    """Heat maps and logits of all frames, and the state after each chunk."""
    heats, logits, states, begin, state = [], [], [], 0, None
    for step in range(0, len(batch_sizes), chunk):
        sizes = batch_sizes[step : step + chunk]
        part = slice(begin, begin := begin + sum(sizes))
        heat, logit, state = network(*(item[part] for item in frames), batch_sizes=sizes, state=state)
        heats.append(heat)
        logits.append(logit)
        states.append(state)
    return torch.cat(heats)[:, 0], torch.cat(logits), states


def set_rule(network, *, skip):
    for part in network.modules():
        if hasattr(part, "skip_single"):
            part.skip_single = skip


@pytest.mark.parametrize(
    ("network", "name", "parameters"),
    [(VtdSpatial, "spatial", 61_451_706), (VtdTemporal, "spatiotemporal", 99_277_242)],
)
def test_state_dict_is_the_published_one(case, network, name, parameters):
    with torch.device("meta"):
        built = network()
    entries = [[key, list(item.shape), str(item.dtype)[6:]] for key, item in built.state_dict().items()]
    assert entries == case.json(f"state_dict_{name}")
    assert sum(item.numel() for item in built.parameters()) == parameters


def test_spatial_outputs_are_the_published_ones(case, spatial):
    golden = case.arrays("model_spatial_open")
    seen = {}
    hooks = [
        spatial.get_submodule(name).register_forward_hook(lambda _m, _i, out, name=name: seen.update({name: out}))
        for name in ("layer5_face", "layer5_scene", "attn", "compress_bn2", "compress_bn2_inout", "deconv_bn1")
    ]
    with torch.inference_mode():
        heat, attention, logit = spatial(*case.frames("sp_open", golden["boxes"]))
    for hook in hooks:
        hook.remove()
    for mine, name in ((heat, "heatmap"), (attention, "attmap"), (logit, "inout")):
        np.testing.assert_allclose(mine, golden[name], rtol=0, atol=1e-5)
    for name, out in seen.items():
        facts = [out.mean(), out.std(), out.abs().max()]
        np.testing.assert_allclose(facts, golden[f"feat_{name}_mean_std_absmax"], rtol=1e-5, atol=1e-6)
    for name in ("layer5_face", "layer5_scene"):
        np.testing.assert_allclose(seen[name][:, ::64, ::3, ::3], golden[f"feat_{name}_slice"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("chunk", [2, 3])
def test_temporal_outputs_are_the_published_ones(case, temporal, chunk):
    golden = case.arrays(f"model_spatiotemporal_chunk{chunk}_open")
    frames, sizes = case.frames("st_open", golden["boxes"]), golden["batch_sizes"].tolist()
    with torch.inference_mode():
        heat, logit, states = run_in_chunks(temporal, frames, sizes, chunk)
    np.testing.assert_allclose(heat[:, ::2, ::2], golden["heatmap_stride2"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(heat.sum((1, 2)), golden["heatmap_sum"], rtol=0, atol=1e-2)
    assert heat.flatten(1).argmax(1).tolist() == golden["heatmap_argmax"].tolist()
    np.testing.assert_allclose(logit, golden["inout"], rtol=0, atol=1e-5)
    facts = [[h.sum(), c.sum(), h.abs().mean(), c.abs().mean()] for h, c in states]
    np.testing.assert_allclose(facts, golden["hidden_stats"][:, :4], rtol=0, atol=1e-2)
    hidden, cell = states[-1]
    np.testing.assert_allclose(hidden[:, :, ::64], golden["hidden_last"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(cell[:, :, ::64], golden["cell_last"], rtol=0, atol=1e-5)


def test_by_default_a_frame_alone_is_treated_like_any_other(case, temporal):
    """Whatever the chunks, maps are those of the published program where no call of it held a single frame."""
    golden = case.arrays("model_spatiotemporal_chunk2_open")
    frames, sizes = case.frames("st_open", golden["boxes"]), golden["batch_sizes"].tolist()
    set_rule(temporal, skip=False)
    try:
        with torch.inference_mode():
            heat, logit, _ = run_in_chunks(temporal, frames, sizes, 3)
    finally:
        set_rule(temporal, skip=True)
    np.testing.assert_allclose(heat[:, ::2, ::2], golden["heatmap_stride2"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(logit, golden["inout"], rtol=0, atol=1e-5)


@pytest.mark.parametrize(("rule", "same"), [("always", True), ("reference", False)])
def test_single_frame_rule_is_a_choice(rule, same):
    torch.manual_seed(0)
    network = VtdTemporal(SMALL, single_frame_norm=rule)
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.running_mean, -0.5, 0.5)
    network.eval()
    two = small_frames(2)
    with torch.inference_mode():
        both = network(*two, batch_sizes=[2])[0]
        alone = network(*(item[:1] for item in two), batch_sizes=[1])[0]
    assert torch.allclose(both[:1], alone, atol=1e-4) == same


def test_shortcuts_are_normalised_twice_only_as_the_weights_say():
    torch.manual_seed(0)
    spatial, temporal = VtdSpatial(SMALL), VtdTemporal(SMALL)
    temporal.load_state_dict({**temporal.state_dict(), **spatial.state_dict()})
    frames = small_frames(3)
    with torch.inference_mode():
        plain, same = spatial.eval().trunk(*frames), temporal.eval().trunk(*frames)
        torch.testing.assert_close(plain.encoding, same.encoding, rtol=1e-3, atol=1e-3)
        temporal.layer3_face[0].bn_ds.running_mean += 1  # as in a published file
        assert not torch.allclose(plain.encoding, temporal.trunk(*frames).encoding, atol=1e-3)


@pytest.mark.parametrize(("double", "learns"), [("fixed", False), ("reference", True)])
def test_double_norm_learns_only_as_published(double, learns):
    network = VtdTemporal(SMALL, double_norm=double).train()
    norms = [part.bn_ds for part in network.modules() if isinstance(part, Block)]
    assert len(norms) == 10
    network(*small_frames(2), batch_sizes=[2])[0].mean().backward()
    assert all(norm.training == norm.weight.requires_grad == learns for norm in norms)
    assert any(norm.running_mean.any() for norm in norms) == learns


def kept_bytes(network, frames):
    """Bytes kept for the backward pass, beside the network's own weights."""
    own = {item.untyped_storage().data_ptr() for item in network.state_dict().values()}
    kept = {}

    def keep(item):
        storage = item.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return item

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda item: item):
        heat, logit, state = network(*frames, batch_sizes=[1] * len(frames[0]))
        loss = heat.square().mean() + logit.mean()
    return sum(kept.values()), loss, state


def test_a_frozen_trunk_keeps_no_activations(case):
    network = VtdTemporal().eval()
    frames = case.frames("freeze", np.array([[60, 20, 120, 90]]))
    free, _, _ = kept_bytes(network, frames)
    freeze_trunk(network)
    frozen, _, _ = kept_bytes(network, frames)
    assert free / MIB > 150
    assert frozen / MIB < 3.4


def test_only_what_published_video_training_learns_gets_gradients():
    network = VtdTemporal(SMALL)
    freeze_trunk(network)
    _, loss, _ = kept_bytes(network.train(), small_frames(3))
    loss.backward()
    learnt = {name.split(".")[0] for name, item in network.named_parameters() if item.grad is not None}
    assert learnt == {"convlstm_scene", "deconv1", "deconv2", "deconv3", "conv4", "fc_inout"}


def test_a_frozen_trunk_stays_in_evaluation_mode_and_as_it_is():
    network = VtdTemporal(SMALL).eval()
    before = {key: item.clone() for key, item in network.state_dict().items()}
    with torch.no_grad():
        wanted = network.trunk(*small_frames(2))
    freeze_trunk(network)
    network.train()
    trunk = network.trunk(*small_frames(2))
    assert network.training
    assert network.deconv1.training
    assert not network.layer1_face.training
    assert not network.deconv_bn1.training
    assert not trunk.encoding.requires_grad
    assert all(torch.equal(mine, other) for mine, other in zip(trunk, wanted, strict=True))
    network.decode(trunk.encoding)
    assert all(torch.equal(item, before[key]) for key, item in network.state_dict().items())


def test_decoder_norms_can_go_on_learning():
    network = VtdTemporal(SMALL)
    freeze_trunk(network, decoder_norms=False)
    assert network.train().deconv_bn1.training
    assert network.deconv_bn1.weight.requires_grad


def test_parameter_groups_are_the_published_ones():
    with torch.device("meta"):
        network = VtdTemporal()
        spatial = VtdSpatial()
    freeze_trunk(network)
    groups = parameter_groups(network, 5e-5)
    assert [group["lr"] for group in groups] == pytest.approx([5e-5, 25e-5])
    assert [sum(item.numel() for item in group["params"]) for group in groups] == [39_233_923, 50]
    (whole,) = parameter_groups(spatial, 2.5e-4)
    assert (sum(item.numel() for item in whole["params"]), whole["lr"]) == (61_451_706, 2.5e-4)


def test_initial_weights_have_the_published_spread():
    torch.manual_seed(0)
    network = VtdTemporal(SMALL)
    stem = network.conv1_scene.weight
    assert stem.std().item() == pytest.approx(math.sqrt(2 / (49 * 8)), rel=0.1)
    transposed = network.deconv2.weight
    assert transposed.std().item() == pytest.approx(math.sqrt(2 / (9 * 16)), rel=0.1)
    memory = network.convlstm_scene.weight_ih_l0
    assert memory.abs().max().item() == pytest.approx(1 / math.sqrt(32), rel=0.01)


def test_tracks_that_end_in_a_chunk_are_as_if_alone():
    torch.manual_seed(0)
    memory = ConvLstm(4).eval()
    tracks = [torch.randn(length, 4, 7, 7) for length in (5, 3, 1)]
    sizes = [3, 2, 2, 1, 1]
    packed = torch.stack([tracks[row][step] for step, size in enumerate(sizes) for row in range(size)])
    with torch.inference_mode():
        outputs, (hidden, cell) = memory(packed, sizes)
        first, state = memory(packed[:5], sizes[:2])
        second, carried = memory(packed[5:], sizes[2:], state)
        for row, track in enumerate(tracks):
            alone, (its_hidden, its_cell) = memory(track, [1] * len(track))
            places = [sum(sizes[:step]) + row for step in range(len(track))]
            torch.testing.assert_close(outputs[places], alone)
            torch.testing.assert_close(hidden[:, row], its_hidden[:, 0])
            torch.testing.assert_close(cell[:, row], its_cell[:, 0])
    torch.testing.assert_close(torch.cat([first, second]), outputs)
    assert state[0].shape[1] == 3
    torch.testing.assert_close(carried[0], hidden[:, :2])


def test_state_brings_no_gradient_and_dropout_only_learns():
    torch.manual_seed(0)
    memory = ConvLstm(4, dropout=0.5)
    frames = torch.randn(2, 4, 7, 7, requires_grad=True)
    _, state = memory(frames, [2])
    memory(torch.randn(2, 4, 7, 7), [2], state)[0].sum().backward()
    assert frames.grad is None
    assert not torch.equal(memory(frames, [2])[0], memory(frames, [2])[0])
    memory.eval()
    assert torch.equal(memory(frames, [2])[0], memory(frames, [2])[0])


@pytest.mark.parametrize("sizes", [[1, 2], [2], [], [3, 0], [2, 2]])
def test_frames_packed_otherwise_are_refused(sizes):
    with pytest.raises(StageError, match="3 frames are not packed as the batch sizes"):
        ConvLstm(4)(torch.randn(3, 4, 7, 7), sizes)


def test_a_state_of_fewer_tracks_is_refused():
    memory = ConvLstm(4)
    _, state = memory(torch.randn(1, 4, 7, 7), [1])
    with pytest.raises(StageError, match="state holds 1 tracks, but the chunk begins with 2"):
        memory(torch.randn(2, 4, 7, 7), [2], state)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_small_networks_run_in_other_arithmetic(dtype):
    frames = small_frames(2, dtype=dtype)
    heat, attention, logit = VtdSpatial(SMALL).to(dtype).eval()(*frames)
    assert (heat.shape, attention.shape, logit.shape) == ((2, 1, 64, 64), (2, 1, 7, 7), (2, 1))
    network = VtdTemporal(SMALL).to(dtype).eval()
    heat, logit, state = network(*frames, batch_sizes=[1, 1])
    assert (heat.dtype, logit.dtype, state[0].dtype) == (dtype, dtype, dtype)
    assert heat.isfinite().all()
    assert sum(item.numel() for item in network.parameters()) < 1_000_000
