"""The exact earth mover's distance."""

from __future__ import annotations

import json
import subprocess
import sys

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbpkg.attention.comparing import reference_comparison as published
from nbpkg.attention.comparing import transport
from nbpkg.errors import ExplainError

SEEDS = st.integers(0, 10_000)


def draw(seed: int, shape: tuple[int, ...] = (5, 6), empty: float = 0.0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.random(shape) * (random.random(shape) >= empty) + (empty == 1)


def opencv(human: np.ndarray, machine: np.ndarray) -> float:
    signatures = []
    for values in (human + published.EPSILON, machine + published.EPSILON):
        place = np.argwhere(np.ones(values.shape))
        signatures.append(np.column_stack([values.ravel() / values.sum(), place]).astype(np.float32))
    return cv2.EMD(*signatures, cv2.DIST_L2)[0]


def test_golden_pairs(golden):
    pairs = json.loads((golden / "attention_similarity_open.json").read_text())["pairs"]
    seen = 0
    with np.load(golden / "attention_similarity_open.npz") as arrays:
        for pair in pairs:
            human, machine = arrays[pair["human"]].astype(float), arrays[pair["machine"]].astype(float)
            expected = pair["global"]["earth_mover"]
            if isinstance(expected, dict):
                with pytest.raises(ExplainError):
                    transport.earth_mover(human, machine)
                continue
            found = published.published_earth_mover(human, machine)
            assert found == pytest.approx(expected, abs=1e-4)
            if human.any() and machine.any():
                assert transport.earth_mover(human, machine) == pytest.approx(found, abs=1e-9)
            seen += 1
    assert seen >= 12


@pytest.mark.parametrize("seed", range(6))
def test_never_above_opencv(seed):
    human, machine = draw(seed, (12, 12), 0.3), draw(seed + 100, (12, 12), 0.3)
    assert transport.earth_mover(human, machine) <= opencv(human, machine) * (1 + 1e-5)


def test_leaving_shared_attention_in_place_is_exact():
    import ot

    human, machine = draw(1, (10, 10)), draw(2, (10, 10))
    whole = ot.emd2(
        human.ravel() / human.sum(), machine.ravel() / machine.sum(), np.array(transport.pixel_distances((10, 10)))
    )
    assert transport.earth_mover(human, machine) == pytest.approx(float(whole), abs=1e-12)


@given(SEEDS, st.sampled_from([0.0, 0.5, 0.9]))
@settings(max_examples=25, deadline=None)
def test_it_is_a_distance(seed, empty):
    one, two, three = (draw(3 * seed + place, empty=empty) + 1e-9 for place in range(3))
    first, second, direct = (transport.earth_mover(*pair) for pair in ((one, two), (two, three), (one, three)))
    assert first == pytest.approx(transport.earth_mover(two, one), abs=1e-9)
    assert direct <= first + second + 1e-9
    assert transport.earth_mover(one, 7 * one) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("step", [(0, 3), (4, 0), (3, 4)])
def test_moving_a_map_costs_how_far_it_moves(step):
    map_ = np.zeros((12, 12))
    map_[2:5, 3:6] = draw(0, (3, 3))
    assert transport.earth_mover(map_, np.roll(map_, step, axis=(0, 1))) == pytest.approx(np.hypot(*step))


class TestFrames:
    def test_full_size_equals_one_pair_at_a_time(self):
        human, machine = draw(0, (2, 1, 3, 6, 6)), draw(1, (4, 3, 6, 6))
        found = transport.earth_mover_frames(human, machine, size=6)
        assert found.shape == (2, 4, 3)
        assert found[1, 2, 0] == pytest.approx(transport.earth_mover(human[1, 0, 0], machine[2, 0]))

    @pytest.mark.parametrize("size", [32, 16, 8])
    def test_reduced_sizes_keep_the_unit(self, size):
        place = np.arange(32)
        human, machine = (
            np.exp(-((place[:, None] - 16) ** 2 + (place - column) ** 2) / 18)[None] for column in (9.0, 21.0)
        )
        assert transport.earth_mover_frames(human, machine, size=size)[0] == pytest.approx(12, abs=0.2)

    def test_unpainted_frames_are_undefined_and_empty_machine_frames_uniform(self):
        human, machine = draw(0, (3, 6, 6)), draw(1, (3, 6, 6))
        human[1], machine[2] = 0, 0
        found = transport.earth_mover_frames(human, machine, size=6)
        assert np.isnan(found).tolist() == [False, True, False]
        assert found[2] == pytest.approx(transport.earth_mover(human[2], np.ones((6, 6))))
        assert np.isnan(transport.earth_mover(human[1], machine[1]))


class TestRefused:
    @pytest.mark.parametrize(
        ("human", "machine"), [([[1.0]], [[1.0, 2.0]]), ([[-1.0, 2.0]], [[1.0, 1.0]]), ([[np.nan, 1]], [[1.0, 1.0]])]
    )
    def test_unfit_maps(self, human, machine):
        with pytest.raises(ExplainError):
            transport.earth_mover(human, machine)

    @pytest.mark.filterwarnings("ignore:numItermax")
    def test_stopping_early_is_an_error(self, monkeypatch):
        monkeypatch.setattr(transport, "MAX_ITERATIONS", 3)
        with pytest.raises(ExplainError, match="was not found"):
            transport.earth_mover(draw(0, (12, 12)), draw(1, (12, 12)))


def test_neither_import_nor_use_loads_torch():
    code = """
import os, sys
import nbpkg.attention.comparing.comparison, nbpkg.attention.comparing.summary, nbpkg.attention.comparing.agreement
from nbpkg.attention.comparing import transport
assert "torch" not in sys.modules and "ot" not in sys.modules
assert transport.earth_mover([[1.0, 0.0]], [[0.0, 1.0]]) == 1
assert "torch" not in sys.modules and "ot" in sys.modules
assert "POT_BACKEND_DISABLE_PYTORCH" not in os.environ
"""
    subprocess.run([sys.executable, "-c", code], check=True)
