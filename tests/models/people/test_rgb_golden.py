"""Classifiers of clips give the published features and scores with the published names of entries."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from nbpkg.models.people.rgb.build import build_rgb_network
from nbpkg.models.people.rgb.facts import RgbOptions, find_rgb_network
from nbpkg.models.people.rgb.relations import as_reference, choose_relations
from nbpkg.models.people.rgb.views import average_views

GOLDEN = Path(__file__).parents[2] / "golden"
FOLDER = GOLDEN / "joint_engagement"
SMALL = RgbOptions(frames=4, size=64, blocks=(3,))
CASES = {
    "i3d_r50": ("i3d_r50", None),
    "slowfast_r50_4x16": ("slowfast_r50_4x16", None),
    "slowonly_r50_4x16": ("slowonly_r50_4x16", None),
    "x3d_m": ("x3d_m", None),
    "ircsn_r50": ("ircsn_r50", None),
    "r2plus1d_r34": ("r2plus1d_r34", None),
    "c3d_15360": ("c3d", RgbOptions(size=(171, 128))),
    "tsn_r50": ("tsn_r50", None),
    "tsm_r50": ("tsm_r50", None),
    "trn_r50": ("trn_r50", None),
    "posec3d_custom": ("posec3d_custom", None),
    "posec3d_custom2": ("posec3d_custom2", None),
    "timesformer_joint_small": ("timesformer_joint", SMALL),
    "timesformer_divided_small": ("timesformer_divided", SMALL),
    "timesformer_joint": ("timesformer_joint", None),
}


@pytest.fixture(scope="module")
def fill():
    spec = importlib.util.spec_from_file_location("people_fill", GOLDEN / "fill.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.fill_state_dict


@pytest.fixture(scope="module")
def keys():
    return json.loads((FOLDER / "model_keys.json").read_text())


@pytest.fixture(scope="module")
def answers():
    return json.loads((FOLDER / "models_open.json").read_text())


def test_every_open_classifier_of_pictures_is_a_case(answers):
    assert {name for name in answers if "gcn" not in name} == set(CASES)


@pytest.mark.parametrize("case", CASES)
def test_golden_scores(case, fill, keys, answers):
    name, options = CASES[case]
    answer = answers[case]
    with torch.device("meta"):
        network = build_rgb_network(name, classes=3, options=options)
    state = network.state_dict()
    found = {key: list(item.shape) for key, item in state.items() if not key.endswith("num_batches_tracked")}
    assert found == keys[case]
    network.load_state_dict(
        fill({key: torch.empty(item.shape, dtype=item.dtype) for key, item in state.items()}), assign=True
    )
    if name == "trn_r50":
        network.cls_head.at_test = choose_relations(8, as_reference(np.random.RandomState(0)))
    clips = np.random.default_rng(answer["input_seed"]).standard_normal(answer["input_shape"]).astype(np.float32)
    facts, seen = find_rgb_network(name), []
    network.cls_head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    views = torch.from_numpy(clips if facts.layout != "segments" else clips[:, None])
    with torch.no_grad():
        scores = network(views.flatten(0, 1))
    wanted = np.array(answer["raw_scores"])
    np.testing.assert_allclose(scores, wanted, rtol=2e-4, atol=2e-4 * np.abs(wanted).max())
    out = average_views(scores, views.shape[1], facts.averaging)
    np.testing.assert_allclose(out, answer["out"], rtol=2e-4, atol=1e-5)
    check_features(seen[0], answer["feat_pooled_first16"], facts.layout, width=answer["feat_shape"][0][1])


def check_features(features: torch.Tensor, wanted: list[list[float]], layout: str, *, width: int) -> None:
    """Of SlowFast the fast pathway's features come first, and the published file tells the slow one's first."""
    first = features[0, 0] if layout == "segments" else features[0]
    pathways = [first[-width:], first] if len(wanted) == 2 else [first]
    for found, expected in zip(pathways, wanted, strict=True):
        np.testing.assert_allclose(found[:16], expected, rtol=2e-4, atol=2e-4 * max(expected))
