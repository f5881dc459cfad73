"""Drawing settings: the published draws, draws that depend on nothing but the seed, and forms of a parameter file."""

from __future__ import annotations

import json
import math
import random

import pytest

from nbpkg.errors import SettingsError
from nbpkg.training.spaces import (
    PUBLISHED_FINETUNE,
    PUBLISHED_HEAD,
    Choice,
    Constant,
    Exponential,
    Mixture,
    Uniform,
    draw_settings,
    from_plain,
    reference_draws,
    space_from_plain,
)

NAMES = {
    "LR_INIT": "learning_rate",
    "LR_DECAY": "lr_decay",
    "WEIGHT_DECAY": "weight_decay",
    "USE_CLASS_WEIGHTS": "class_weights",
}


@pytest.fixture(scope="module")
def draws(golden) -> dict:
    return json.loads((golden / "transforms_open.json").read_text())


@pytest.mark.parametrize(
    ("key", "space"), [("head_search_samples", PUBLISHED_HEAD), ("finetune_search_samples", PUBLISHED_FINETUNE)]
)
def test_reference_draws_are_the_published_ones(draws, key, space):
    expected = [{NAMES[name]: value for name, value in one.items()} for one in draws[key]["draws"]]
    assert reference_draws(space, len(expected), draws[key]["python_random_seed"]) == expected


def test_uniform_draws_as_published(draws):
    source = random.Random(5)
    assert [Uniform(2, 3).draw(source) for _ in range(3)] == draws["linear_sampler"]


def test_a_setting_depends_on_seed_name_and_number_only():
    many = draw_settings(PUBLISHED_HEAD, 40, seed=3, name="eggs attending")
    assert draw_settings(PUBLISHED_HEAD, 7, seed=3, name="eggs attending") == many[:7]
    assert draw_settings(PUBLISHED_HEAD, 7, seed=4, name="eggs attending") != many[:7]
    assert draw_settings(PUBLISHED_HEAD, 7, seed=3, name="eggs participating") != many[:7]
    assert len({json.dumps(one) for one in many}) == 40
    random.seed(0)
    state = random.getstate()
    draw_settings(PUBLISHED_HEAD, 1, seed=3, name="x")
    assert random.getstate() == state, "the global random numbers were touched"


def test_draws_follow_their_distributions():
    many = draw_settings(PUBLISHED_HEAD, 4000, seed=0, name="x")
    rates = [math.log10(one["learning_rate"]) for one in many]
    assert -5 <= min(rates) < -4.98
    assert -0.02 < max(rates) <= 0
    assert sum(rates) / 4000 == pytest.approx(-2.5, abs=0.08)
    for name, low, high in (("lr_decay", -3, -1), ("weight_decay", -4, 1)):
        zeros = sum(one[name] == 0 for one in many)
        assert zeros / 4000 == pytest.approx(0.2, abs=0.025)
        assert all(10**low <= one[name] <= 10**high for one in many if one[name])
    assert sum(one["class_weights"] for one in many) / 4000 == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.01, Constant(0.01)),
        (False, Constant(False)),
        ("adam", Constant("adam")),
        (["adam", "lbfgs"], Choice(("adam", "lbfgs"))),
        ({"log10": [-5, 0]}, Exponential(10, -5, 0)),
        ({"uniform": [0.1, 0.2]}, Uniform(0.1, 0.2)),
        ({"log10": [-3, -1], "zero": 0.25}, Mixture((Constant(0.0), Exponential(10, -3, -1)), (0.25, 0.75))),
        ({"uniform": [1, 2], "zero": 0.5}, Mixture((Constant(0.0), Uniform(1, 2)), (0.5, 0.5))),
    ],
)
def test_plain_forms(value, expected):
    assert from_plain(value, "x") == expected


def test_the_published_spaces_in_plain_form_draw_the_same():
    plain = {
        "learning_rate": {"log10": [-5, 0]},
        "lr_decay": {"log10": [-3, -1], "zero": 0.2},
        "weight_decay": {"log10": [-4, 1], "zero": 0.2},
        "class_weights": [True, False],
    }
    settings = draw_settings(space_from_plain(plain), 300, seed=0, name="x")
    assert settings == draw_settings(PUBLISHED_HEAD, 300, seed=0, name="x")


@pytest.mark.parametrize(
    "value",
    [
        [],
        {},
        None,
        float("nan"),
        {"log": [1, 2]},
        {"log10": [1]},
        {"log10": [1, 0]},
        {"log10": ["a", 0]},
        {"log10": [-1, True]},
        {"log10": [-1, 0], "zero": 1},
        {"log10": [-1, 0], "zero": -0.1},
        {"log10": [-1, 0], "uniform": [0, 1]},
        {"log10": [-1, 0], "zeros": 0.1},
        "1e-3",
        [0.1, "1e-3"],
        [[1]],
    ],
)
def test_other_forms_are_refused_by_name(value):
    with pytest.raises(SettingsError, match="weight_decay"):
        space_from_plain({"learning_rate": 0.1, "weight_decay": value})
