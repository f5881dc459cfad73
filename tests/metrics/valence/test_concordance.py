"""Concordance, correlation, error, and the way from seconds to frames, against the source system and by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from nbpkg.errors import TableError
from nbpkg.metrics.valence.concordance import ccc, mse, pearson, why_degenerate
from nbpkg.metrics.valence.frames import steps_to_frames

GOLDEN = Path(__file__).parents[2] / "golden" / "valence_fusion"
CASES = json.loads((GOLDEN / "metrics_open.json").read_text())
EXPANDED = json.loads((GOLDEN / "expand_open.json").read_text())
STEPS = np.array([0.1, 0.7, -0.4])


def agree(found: float, wanted: float | None, tolerance: float) -> bool:
    return math.isnan(found) if wanted is None else abs(found - wanted) <= tolerance


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("kind", "tolerance"), [("float64", 1e-8), ("float32", 5e-7)])
def test_both_published_edges_of_concordance(name, kind, tolerance):
    case = CASES[name]
    if (name, kind) == ("tiny_variance_pred", "float32"):
        tolerance = 1e-7  # ill-conditioned there: rounded to 32 bits most answers are the same
    truth, answer = np.array(case["true"], np.float64), np.array(case["pred"], kind)
    wanted = case["expected"]
    official, correlation = wanted[f"official_ccc_and_rho_pred_{kind}"]["value"]
    assert agree(ccc(truth, answer, edge="training"), wanted[f"eval_ccc_pred_{kind}"]["value"], tolerance)
    assert agree(ccc(truth, answer, edge="nan"), official, tolerance)
    if name != "tiny_variance_pred":
        assert agree(pearson(truth, answer), correlation, tolerance)


@pytest.mark.parametrize("name", CASES)
def test_correlation_and_squared_error(name):
    truth, answer = (np.array(CASES[name][side], np.float64) for side in ("true", "pred"))
    assert agree(pearson(truth, answer), CASES[name]["expected"]["pearsonr"]["value"], 1e-8)
    assert agree(mse(truth, answer), CASES[name]["expected"]["mse"]["value"], 1e-9)


@pytest.mark.parametrize("name", CASES)
def test_by_default_only_what_is_no_number_leaves_concordance_undefined(name):
    truth, answer = (np.array(CASES[name][side], np.float64) for side in ("true", "pred"))
    assert math.isnan(ccc(truth, answer)) == name.startswith("nan_in")
    degenerate = "constant" in name or name in ("both_zero", "dummy_zero_truth", "nan_in_pred", "nan_in_true")
    assert bool(why_degenerate(truth, answer)) == (degenerate or name.startswith("one_point"))


@pytest.mark.parametrize(
    ("truth", "answer", "by_edge"),
    [
        ([0.1] * 9, [0.1] * 9, (0.0, None, None)),  # the variance of nine times 0.1 is not exactly 0
        ([0.1] * 9, [0.3] * 9, (0.0, None, 0.0)),
        ([0.3, 0.2, 0.1], [0.1] * 3, (0.0, None, 0.0)),
        ([0.1], [0.1], (0.0, None, None)),
        ([0.1], [0.2], (0.0, None, 0.0)),
    ],
)
def test_constant_sides_under_each_edge(truth, answer, by_edge):
    for edge, wanted in zip(("zero", "nan", "training"), by_edge, strict=True):
        assert agree(ccc(truth, answer, edge=edge), wanted, 0.0)


def test_degenerate_courses_are_named():
    assert why_degenerate([1.0, 1.0], [2.0, 2.0]) == "the truth and the answer are constant"
    assert why_degenerate([1.0, 2.0], [2.0, math.nan]) == "the answer holds what is no number"
    assert why_degenerate([1.0], [2.0]) == "there is one frame only"
    assert why_degenerate([1.0, 2.0], [2.0, 1.0]) == ""


@pytest.mark.parametrize(("truth", "answer"), [([1.0, 2.0], [1.0]), ([], []), ([[1.0]], [[1.0]])])
@pytest.mark.parametrize("measure", [ccc, pearson, mse, why_degenerate])
def test_courses_of_unlike_length_are_refused(measure, truth, answer):
    with pytest.raises(TableError, match="cannot be held against"):
        measure(truth, answer)


def test_an_unknown_edge_is_refused():
    with pytest.raises(TableError, match="'one'"):
        ccc([1.0, 2.0], [1.0, 2.0], edge="one")


@pytest.mark.parametrize("case", EXPANDED["cases"], ids=lambda case: f"{len(case['pred_per_second'])}s")
def test_steps_to_frames_as_published(case):
    ratio = int(EXPANDED["time_ratio"])
    found = steps_to_frames(case["pred_per_second"], case["n_frames"], ratio=ratio, pad="replay")
    assert found.tolist() == case["frames"]


def test_mean_concordance_of_the_published_evaluation():
    found = [ccc(case["truth"], case["frames"], edge="training") for case in EXPANDED["cases"]]
    assert np.mean(found) == pytest.approx(EXPANDED["mean_ccc"], abs=1e-8)


@pytest.mark.parametrize("frames", [1, 24, 25, 74, 75, 99, 100])
def test_holding_and_replaying_agree_up_to_one_step(frames):
    held, replayed = (steps_to_frames(STEPS, frames, ratio=25, pad=pad) for pad in ("hold", "replay"))
    assert len(held) == frames
    np.testing.assert_array_equal(held, replayed)


def test_beyond_one_step_only_holding_holds():
    held, replayed = (steps_to_frames(STEPS, 110, ratio=25, pad=pad) for pad in ("hold", "replay"))
    assert set(held[75:]) == {-0.4}
    assert replayed[75:].tolist() == [0.7] * 10 + [-0.4] * 25


@pytest.mark.parametrize(
    ("steps", "frames", "ratio", "pad", "said"),
    [
        (STEPS, 151, 25, "replay", "cannot be replayed"),
        (STEPS, 75, 12.5, "hold", "12.5 frames a step"),
        ([], 75, 25, "hold", "cannot fill"),
        (STEPS, 0, 25, "hold", "0 frames"),
        (STEPS, 80, 25, "wrap", "'wrap'"),
    ],
)
def test_what_cannot_be_brought_to_frames_is_refused(steps, frames, ratio, pad, said):
    with pytest.raises(TableError, match=said):
        steps_to_frames(steps, frames, ratio=ratio, pad=pad)
