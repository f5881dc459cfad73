"""The network: published names, published numbers, and how its scores are read."""

from __future__ import annotations

import importlib.util
import math

import numpy as np
import pytest
import torch

from nbpkg.errors import WeightsError
from nbpkg.models.network import as_two_class, build_classifier, build_network, decide, load_head, probability

CLIP = {"size": 48, "frames": 8}
NAN = math.nan


def published_table() -> dict[str, tuple[int, ...]]:
    """Keys and shapes as the published state dict has them."""
    table: dict[str, tuple[int, ...]] = {}

    def unit(place: str, outputs: int, inputs: int, kernel: tuple[int, ...]) -> None:
        table[f"{place}.0.weight"] = (outputs, inputs, *kernel)
        table.update({f"{place}.1.{name}": (outputs,) for name in ("weight", "bias", "running_mean", "running_var")})
        table[f"{place}.1.num_batches_tracked"] = ()

    base = "encoder.base_model"
    unit(f"{base}.stem", 64, 3, (3, 7, 7))
    for layer, channels in enumerate((64, 128, 256, 512), start=1):
        kernel, before = ((3, 3, 3) if layer == 1 else (1, 3, 3)), (64 if layer == 1 else channels // 2)
        for block in (0, 1):
            unit(f"{base}.layer{layer}.{block}.conv1", channels, channels if block else before, kernel)
            unit(f"{base}.layer{layer}.{block}.conv2", channels, channels, kernel)
            if layer > 1 and block == 0:
                unit(f"{base}.layer{layer}.0.downsample", channels, before, (1, 1, 1))
    return {**table, "classifier.fc.weight": (2, 512), "classifier.fc.bias": (2,)}


@pytest.fixture(scope="module")
def net():
    return build_network("mc3_18", "none", seed=0, **CLIP)


def test_keys_and_shapes_are_the_published_122(net):
    found = {key: tuple(item.shape) for key, item in net.state_dict().items()}
    assert len(found) == 122
    assert found == published_table()
    assert {key: tuple(item.shape) for key, item in net.classifier.state_dict().items()} == {
        "fc.weight": (2, 512),
        "fc.bias": (2,),
    }


def test_golden_features_and_scores(net, root, golden):
    spec = importlib.util.spec_from_file_location("fill", root / "tests" / "golden" / "fill.py")
    fill = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fill)
    filled = build_network("mc3_18", "none", seed=0, **CLIP)
    filled.load_state_dict(fill.fill_state_dict(filled.state_dict()), strict=True)
    clip = np.random.default_rng(11).standard_normal((1, 3, 8, 48, 48)).astype(np.float32)
    with torch.inference_mode():
        features = filled.encoder(torch.from_numpy(clip)).numpy()
        scores = filled(torch.from_numpy(clip)).numpy()
    with np.load(golden / "heatmaps_open.npz") as expected:
        for name, found in (("features", features), ("logits", scores)):
            assert found.shape == expected[name].shape
            assert np.abs(found - expected[name]).max() <= 1e-4 * np.abs(expected[name]).max(), name


def test_seeds_reach_encoder_and_classifier_separately(net):
    other = build_network("mc3_18", "none", seed=1, **CLIP)
    alone = build_classifier(512, seed=0)
    assert torch.equal(alone.fc.weight, net.classifier.fc.weight)
    assert not torch.equal(other.classifier.fc.weight, net.classifier.fc.weight)
    assert not torch.equal(other.encoder.base_model.stem[0].weight, net.encoder.base_model.stem[0].weight)


@pytest.mark.parametrize(
    ("scores", "answer"),
    [((1, 0), 0), ((0, 1), 1), ((2, 2), 0), ((NAN, 5), 0), ((5, NAN), 1), ((NAN, NAN), 0), ((math.inf, math.inf), 0)],
)
def test_decisions_at_ties_and_at_what_is_no_number(scores, answer):
    assert decide(torch.tensor([scores], dtype=torch.float32)).tolist() == [answer]


def test_probabilities_are_the_softmax_in_single_precision():
    scores = torch.tensor([[0.3, -1.2], [700.0, -700.0], [-700.0, 700.0]])
    expected = [math.exp(-1.2) / (math.exp(-1.2) + math.exp(0.3)), 0, 1]
    assert probability(scores).tolist() == pytest.approx(expected, abs=1e-7)
    assert probability(scores.to(torch.bfloat16)).dtype == torch.float32
    assert probability(scores.double()).dtype == torch.float64
    assert math.isnan(probability(torch.tensor([NAN, 0.0])))


def test_a_single_logit_becomes_class_one():
    weight, bias, features = torch.randn(1, 6), torch.randn(1), torch.randn(50, 6)
    logit = features @ weight[0] + bias
    classifier = build_classifier(6, seed=0)
    load_head(classifier, {"fc.weight": weight, "fc.bias": bias}, where="here")
    scores = classifier(features)
    assert torch.equal(decide(scores), (logit > 0).long())
    torch.testing.assert_close(probability(scores), torch.sigmoid(logit))
    two = torch.randn(2, 6), torch.randn(2)
    assert all(one is same for one, same in zip(as_two_class(*two), two, strict=True))


@pytest.mark.parametrize(("weight", "bias"), [((3, 6), (3,)), ((2, 6), (1,)), ((1, 6), (2,)), ((6,), (1,))])
def test_other_heads_are_refused(weight, bias):
    with pytest.raises(WeightsError, match="shape"):
        as_two_class(torch.zeros(weight), torch.zeros(bias))


def test_heads_are_loaded_strictly():
    classifier = build_classifier(6, seed=0)
    before = classifier.fc.weight.clone()
    good = {"fc.weight": torch.ones(2, 6), "fc.bias": torch.ones(2)}
    cases = [
        ({"fc.weight": good["fc.weight"]}, "1 missing .fc.bias."),
        ({**good, "mean": torch.zeros(6)}, "1 unexpected .mean."),
        ({**good, "fc.weight": torch.ones(2, 5)}, "fc.weight is 2×5 instead of 2×6"),
    ]
    for state, words in cases:
        with pytest.raises(WeightsError, match=words):
            load_head(classifier, state, where="here")
        assert torch.equal(classifier.fc.weight, before)
    load_head(classifier, good, where="here")
    assert torch.equal(classifier.fc.weight, good["fc.weight"])
