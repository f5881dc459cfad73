"""Multipar-T: the published encoder, the published model with its leak, and ours without it."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from nbpkg.errors import SettingsError, WeightsError
from nbpkg.models.people.cross_person.multipar import CrossPersonEncoder, MultiparT, tabulate_positions

GOLDEN = Path(__file__).parents[2] / "golden"


@pytest.fixture(scope="module")
def known() -> dict:
    return json.loads((GOLDEN / "joint_engagement" / "crossperson_open.json").read_text())


@pytest.fixture(scope="module")
def arrays() -> dict[str, torch.Tensor]:
    with np.load(GOLDEN / "joint_engagement" / "crossperson_open.npz") as file:
        return {key: torch.from_numpy(item) for key, item in file.items()}


def fill(network: torch.nn.Module, keys: dict[str, list[int]]) -> torch.nn.Module:
    spec = importlib.util.spec_from_file_location("multipar_fill", GOLDEN / "fill.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    state = network.state_dict()
    assert {key: list(item.shape) for key, item in state.items()} == keys
    network.load_state_dict(module.fill_state_dict(state))
    return network.eval()


@pytest.fixture(scope="module")
def model(known) -> MultiparT:
    network = MultiparT(known["input_feats"], known["label_levels"], width=known["behavior_dims"])
    return fill(network, known["multiparty_state_keys"])


@pytest.fixture(scope="module")
def features(known) -> torch.Tensor:
    rng, rows, steps = np.random.default_rng(known["seed"]), known["B"], known["T"]
    for _ in range(2):
        rng.standard_normal((steps, rows, known["behavior_dims"]))  # the encoder's inputs
    count = known["input_feats"]
    parts = [rng.standard_normal((rows, 5, steps, own)) for own in (count // 3, count - count // 3)]
    return torch.from_numpy(np.concatenate(parts, axis=-1).astype(np.float32))


def test_encoder_as_published(known, arrays):
    width = known["behavior_dims"]
    network = fill(CrossPersonEncoder(width), known["enc_state_keys"])
    query, context = arrays["enc_in_q"], arrays["enc_in_kv"]
    assert query[2, 0, 0] == 0  # gets no position
    with torch.no_grad():
        cases = {
            "enc_cross": network(query, context),
            "enc_self": network(query, query),
            "enc_cross_shorter_kv": network(query, context[:8]),
        }
    for name, found in cases.items():
        torch.testing.assert_close(found, arrays[name], rtol=0, atol=1e-4)
    codes = arrays["pos_table"]
    torch.testing.assert_close(tabulate_positions(len(codes), width), codes, rtol=0, atol=1e-6)


def test_encoder_without_context_attends_to_its_own_states(known, arrays):
    network = fill(CrossPersonEncoder(known["behavior_dims"]), known["enc_state_keys"])
    with torch.no_grad():
        found = network(arrays["enc_in_q"])
    assert found.isfinite().all()
    assert not torch.allclose(found, arrays["enc_self"], atol=1e-2)


@pytest.mark.parametrize(("steps", "others"), [(6, 6), (6, 4), (4, 6)])
def test_encoder_sees_no_later_steps(steps, others):
    torch.manual_seed(0)
    network = CrossPersonEncoder(8, heads=2, layers=2).double().eval()
    query, context = torch.randn(steps, 1, 8).double(), torch.randn(others, 1, 8).double()
    changed = context.clone()
    changed[3, 0, :3] += 1
    with torch.no_grad():
        moved = (network(query, changed) - network(query, context)).abs().amax(dim=(1, 2)) > 1e-9
    assert moved.tolist() == [step + abs(steps - others) >= 3 for step in range(steps)]


def test_leak_between_samples_is_there_as_published_and_not_in_ours(model, features, arrays):
    probe = features.clone()
    probe[0, ..., : features.shape[-1] // 3] += 1
    published, with_probe = arrays["multiparty_out"], arrays["multiparty_out_probe"]
    assert ((with_probe - published)[1:].abs().amax(dim=(1, 2)) > 1e-2).all()
    with torch.no_grad():
        try:
            model.compat = "reference"
            torch.testing.assert_close(model(features), published, rtol=0, atol=1e-4)
            torch.testing.assert_close(model(probe), with_probe, rtol=0, atol=1e-4)
        finally:
            model.compat = "none"
        ours, other = model(features), model(probe)
        alone = torch.cat([model(one[None]) for one in features])
    assert torch.equal(ours[1:], other[1:])
    assert (ours[0] - other[0]).abs().max() > 1e-2
    torch.testing.assert_close(ours, alone, rtol=0, atol=1e-5)


def test_published_size():
    with torch.device("meta"):
        network = MultiparT()
    assert network.proj_p5.weight.shape == (100, 2183, 1)
    assert network.trans_p4_mem.weight_hh_l0.shape == (2000, 500)
    assert sum(isinstance(part, CrossPersonEncoder) for part in network.modules()) == 20


def test_two_people_and_features_of_the_right_width():
    torch.manual_seed(0)
    network = MultiparT(10, 3, width=10, people=2, layers=1).train()
    found = network(torch.randn(2, 2, 5, 10))
    assert found.shape == (2, 1, 3)
    found.sum().backward()
    assert network.proj_p1.weight.grad is None  # taken as they are, as published
    assert network.trans_p1.layers[0].fc1.weight.grad.isfinite().all()


def test_what_does_not_fit_is_refused(model):
    with pytest.raises(WeightsError, match=r"\[B, 5, T, 24\]"):
        model(torch.zeros(1, 4, 6, 24))
    with pytest.raises(SettingsError, match="1 people"):
        MultiparT(people=1)
    with pytest.raises(SettingsError, match="2 wide"):
        CrossPersonEncoder(2, heads=1)
    with pytest.raises(SettingsError, match="8 cannot be shared among 5"):
        CrossPersonEncoder(8)
    with pytest.raises(WeightsError, match="the same B"):
        CrossPersonEncoder(8, heads=2, layers=1)(torch.zeros(3, 2, 8), torch.zeros(3, 1, 8))
