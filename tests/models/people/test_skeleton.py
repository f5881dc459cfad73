"""Networks over skeletons: keys, numbers as published, and people who are not there."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from nbpkg.errors import SettingsError, WeightsError
from nbpkg.models.people.skeleton.build import build_skeleton_network
from nbpkg.models.people.skeleton.network import arrange_published

GOLDEN = Path(__file__).parents[2] / "golden"
# golden case, our name, layout, whether PYSKL made it
CASES = [
    ("ctrgcn", "ctr_gcn", "coco", True),
    ("stgcnpp", "st_gcn_pp", "coco", True),
    ("stgcn_pyskl", "st_gcn", "coco", True),
    ("msg3d", "ms_g3d", "coco", True),
    ("stgcn_coco", "st_gcn_first", "coco", False),
    ("stgcn_ntu", "st_gcn_first", "ntu-rgb+d", False),
    ("agcn_ntu", "agcn", "ntu-rgb+d", False),
]
SMALL = {"ctr_gcn": 16, "st_gcn_pp": 12, "st_gcn": 8, "st_gcn_first": 8, "agcn": 8, "ms_g3d": 6}


def load(name: str):
    return json.loads((GOLDEN / "joint_engagement" / f"{name}.json").read_text())


def fill(network: torch.nn.Module, case: str, *, pyskl: bool) -> None:
    """Weights by key, with the exceptions that the golden README makes for graphs."""
    spec = importlib.util.spec_from_file_location("people_fill", GOLDEN / "fill.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    state, buffers = network.state_dict(), dict(network.named_buffers())
    filled = module.fill_state_dict(state)
    for key, item in filled.items():
        if key.endswith(".A") and key in buffers:
            filled[key] = state[key]
        elif pyskl and key.endswith(".A"):
            filled[key] = state[key] * (1 + 0.1 * torch.tanh(item))
        elif pyskl and key.endswith(".PA"):
            filled[key] = float(case == "stgcn_pyskl") + 0.05 * item
        elif pyskl and key.endswith(".alpha"):
            filled[key] = torch.full_like(item, 0.02)
    network.load_state_dict(filled)
    network.eval()


def build(name: str, *, seed: int = 0, **settings):
    torch.manual_seed(seed)
    blocks = {} if name == "ms_g3d" else {"blocks": (1, 1)}
    network = build_skeleton_network(name, classes=3, width=SMALL[name], **blocks, **settings)
    with torch.no_grad():
        for item in network.parameters():  # what begins at 0 or 1 would hide mistakes
            item.add_(torch.randn_like(item) * 0.1)
    return network


@pytest.mark.parametrize(("case", "name", "layout", "pyskl"), CASES)
def test_keys_and_answers_are_the_published_ones(case, name, layout, pyskl):
    keys = load("pyskl_model_keys" if pyskl else "model_keys")[case]
    golden = load("pyskl_models_open" if pyskl else "models_open")[case]
    network = build_skeleton_network(name, classes=3, layout=layout, compat="reference")
    state = network.state_dict()
    assert {key: list(item.shape) for key, item in state.items() if "num_batches" not in key} == keys
    if pyskl:
        assert sum(item.numel() for item in network.parameters()) == golden["nparams"]
    fill(network, case, pyskl=pyskl)
    seed = golden["seed"] if pyskl else golden["input_seed"]
    drawn = np.random.default_rng(seed).standard_normal(golden["input_shape"]).astype(np.float32)
    keypoints = torch.from_numpy(drawn)
    if pyskl:
        keypoints[:, :, 1, :6] = 0
    else:
        keypoints[:, :, ::7, :, 1] = 0
    with torch.no_grad():
        scores = network(arrange_published(keypoints, "NKMTVC" if pyskl else "NCTVM"))
    relative = 5e-4 if pyskl else 2e-4
    np.testing.assert_allclose(scores, golden["raw_scores"], rtol=relative, atol=1e-6)
    if pyskl:
        shares = scores.softmax(dim=1).unflatten(0, (len(drawn), -1)).mean(dim=1)
        np.testing.assert_allclose(shares, golden["out"], rtol=relative, atol=1e-9)


@pytest.mark.parametrize("name", list(SMALL))
def test_who_is_not_there_does_not_count(name):
    network = build(name).eval()
    torch.manual_seed(1)
    keypoints = torch.randn(3, 2, 11, 17, 3)
    present = torch.ones(3, 2, 11, dtype=torch.bool)
    present[1, 1] = False  # one person
    present[2] = False  # nobody
    present[0, 1, 4:7] = False  # away for a while
    spoiled = torch.where(present[..., None, None], keypoints, torch.nan)
    with torch.no_grad():
        scores, features = network(keypoints, present), network.embed(keypoints, present)
        assert torch.equal(network(spoiled, present), scores)
        torch.testing.assert_close(network(keypoints[1:2, :1]), scores[1:2])
        torch.testing.assert_close(scores[2], network.cls_head.get_submodule(network.cls_head.name).bias)
        assert (features[1, 1] == 0).all()
        assert (features[2] == 0).all()
        assert not torch.allclose(network(keypoints)[0], scores[0])
        guessed = network(torch.where(present[..., None, None], keypoints, 0.0))  # 0 is nobody
        torch.testing.assert_close(guessed, scores)


def test_absent_people_count_as_zeros_in_the_published_way():
    network, reference = build("st_gcn_pp").eval(), build("st_gcn_pp", compat="reference").eval()
    keypoints = torch.randn(1, 1, 8, 17, 3)
    padded = torch.cat([keypoints, torch.zeros_like(keypoints)], dim=1)
    present = torch.tensor([[True, False]])
    with torch.no_grad():
        torch.testing.assert_close(network(padded, present), reference(keypoints))
        assert not torch.allclose(reference(padded, present), reference(keypoints), atol=1e-3)


@pytest.mark.parametrize("name", list(SMALL))
def test_absent_people_leave_no_trace_in_training(name):
    torch.manual_seed(2)
    keypoints = torch.randn(4, 2, 8, 17, 3)
    present = torch.tensor([[True, True], [True, False], [True, True], [True, False]])
    spoiled = torch.where(present[..., None, None, None], keypoints, 1e6)
    states = []
    for values in (keypoints, spoiled):
        network = build(name)
        network(values, present).square().mean().backward()
        assert all(item.grad is None or item.grad.isfinite().all() for item in network.parameters())
        states.append(network.state_dict())
    assert all(torch.equal(item, states[1][key]) for key, item in states[0].items())
    whole = build(name)  # with everybody there, the data norm is the plain one
    whole(keypoints, torch.ones(4, 2, dtype=torch.bool))
    norm = torch.nn.BatchNorm1d(whole.backbone.data_bn.num_features)
    norm(keypoints.permute(0, 1, 3, 4, 2).reshape(-1, norm.num_features, 8))
    torch.testing.assert_close(whole.backbone.data_bn.running_mean, norm.running_mean)
    torch.testing.assert_close(whole.backbone.data_bn.running_var, norm.running_var)
    assert whole.backbone.data_bn.num_batches_tracked == 1


@pytest.mark.parametrize("name", ["ctr_gcn", "st_gcn_pp"])
def test_a_small_network_learns_whose_hand_moves(name):
    torch.manual_seed(3)
    keypoints = torch.randn(12, 1, 8, 17, 3) * 0.3 + 1
    labels = torch.arange(12) % 2
    keypoints[labels == 1, :, :, 9, 0] += torch.linspace(0, 3, 8)
    network = build(name, persons=1)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(12):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(network(keypoints), labels).backward()
        optimiser.step()
    assert (network(keypoints).argmax(dim=1) == labels).float().mean() > 0.9


def test_networks_that_take_any_number_of_people_do():
    network = build("st_gcn_pp").eval()
    keypoints = torch.randn(2, 5, 8, 17, 3)
    with torch.no_grad():
        torch.testing.assert_close(network(keypoints), network(keypoints.flip(1)))
    assert network.embed(keypoints).shape == (2, 5, 24)


def test_what_does_not_fit_is_refused():
    with pytest.raises(SettingsError, match="no network over skeletons 'gcn'"):
        build_skeleton_network("gcn", classes=3)
    with pytest.raises(SettingsError, match="classes 0, width 0"):
        build_skeleton_network("st_gcn", classes=0, width=0)
    with pytest.raises(SettingsError, match="10 channels do not divide into 4"):
        build_skeleton_network("ctr_gcn", classes=3, width=10)
    with pytest.raises(SettingsError, match="fewer than the 6 branches"):
        build_skeleton_network("st_gcn_pp", classes=3, width=4)
    with pytest.raises(SettingsError, match="always has three stages"):
        build_skeleton_network("ms_g3d", classes=3, blocks=(1,))
    with pytest.raises(SettingsError, match="stages of \\[2, 0\\] blocks"):
        build_skeleton_network("agcn", classes=3, blocks=(2, 0))
    network = build("ctr_gcn")
    with pytest.raises(WeightsError, match="at most 2 persons"):
        network(torch.zeros(1, 3, 8, 17, 3))
    with pytest.raises(WeightsError, match="17 joints"):
        network(torch.zeros(1, 2, 8, 25, 3))
    with pytest.raises(WeightsError, match="Who is there"):
        network(torch.zeros(1, 2, 8, 17, 3), torch.ones(1, 3, dtype=torch.bool))
    with pytest.raises(WeightsError, match="do not have the axes NCTVM"):
        arrange_published(torch.zeros(1, 2, 8, 17), "NCTVM")
