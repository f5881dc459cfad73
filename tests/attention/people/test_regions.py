"""How far maps agree with faces, bodies and motion: the stated numbers, and what they must be where it is known."""

import numpy as np
import pandas as pd
import pytest

from nbpkg.attention.people.regions import (
    MEASURES,
    average_frames,
    correlate_cues,
    cross_entropy,
    draw_semantic,
    measure_motion,
    mutual_information,
    score_regions,
)
from nbpkg.errors import ExplainError, TableError

COLUMNS = ["frame", "role", "part", "x0", "y0", "x1", "y1"]


def boxes_of(*rows) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=COLUMNS)


def test_scores_are_those_of_the_golden_file(golden_people):
    maps = golden_people.arrays("region_score_ourchoice_open")
    cam, semantic, flow = (maps[name][None] for name in ("cam", "semantic", "flow"))
    for row in golden_people.json("region_score_ourchoice_open"):
        boxes = boxes_of([0, row["role"], row["part"], *row["box"]])
        found = score_regions(cam, semantic, flow, boxes, alpha=row.get("alpha", 0.5)).iloc[0]
        expected = [np.nan if row[name] is None else row[name] for name in ("mi", "ce")]
        np.testing.assert_allclose([found[name] for name in MEASURES], expected, rtol=0, atol=1e-6, equal_nan=True)
        assert (found["places"] == 0) == (row["mi"] is None)


def test_known_values_of_both_measures():
    values = np.random.default_rng(0).random((40, 50))
    levels = np.floor(values * 20) / 20 + 0.01
    counts = np.bincount((levels * 20).astype(int).ravel(), minlength=20) / levels.size
    assert mutual_information(values, levels) == pytest.approx(-(counts * np.log(counts)).sum())
    assert mutual_information(values, np.full_like(values, 0.3)) == pytest.approx(0)
    assert mutual_information(values, np.random.default_rng(1).random((40, 50))) == pytest.approx(361 / 4000, rel=0.2)
    assert cross_entropy(np.zeros((3, 4)), np.full((3, 4), 0.7)) == pytest.approx(np.log(12))
    assert cross_entropy(values, values) < cross_entropy(values, 1 - values)


def test_regions_are_cut_to_the_frame_and_frames_are_averaged():
    maps = np.random.default_rng(0).random((3, 3, 20, 30))
    boxes = boxes_of(
        [0, "child", "face", -5, -5, 10, 10],
        [1, "child", "face", 0, 0, 10, 10],
        [2, "child", "face", 28, 0, 50, 0],
        [2, "parent", "face", np.nan, 0, 5, 5],
        [2, "all", "all", 0, 0, 30, 20],
    )
    found = score_regions(*maps, boxes)
    assert found["places"].tolist() == [100, 100, 0, 0, 600]
    means = average_frames(found).set_index(["role", "part"])
    assert means["n"].to_dict() == {("all", "all"): 1, ("child", "face"): 2, ("parent", "face"): 0}
    expected = found.loc[:1, "mutual_information"].mean()
    assert means.loc[("child", "face"), "mutual_information"] == pytest.approx(expected)
    assert means.loc[("parent", "face"), list(MEASURES)].isna().all()


def test_maps_and_boxes_that_do_not_fit_are_refused():
    maps = np.random.default_rng(0).random((3, 3, 20, 30))
    box = boxes_of([0, "child", "face", 0, 0, 10, 10])
    with pytest.raises(ExplainError, match="map flow"):
        score_regions(maps[0], maps[1], maps[2] * 2, box)
    with pytest.raises(ExplainError, match="map semantic"):
        score_regions(maps[0], maps[1][:, :5], maps[2], box)
    with pytest.raises(ExplainError, match="no frame 3"):
        score_regions(*maps, box.assign(frame=3))
    with pytest.raises(ExplainError, match="weight 1.5"):
        score_regions(*maps, box, alpha=1.5)
    with pytest.raises(TableError, match="role, x1"):
        score_regions(*maps, box.drop(columns=["role", "x1"]))


def test_semantic_maps_rank_faces_over_heads_over_bodies_and_show_joints():
    parts = np.array([[[0, 3], [1, 2]]], np.uint8).repeat(8, axis=1).repeat(8, axis=2)
    plain = draw_semantic(parts)
    assert plain[0, ::8, ::8].tolist() == [[0, pytest.approx(1 / 3)], [pytest.approx(2 / 3), 1]]
    joints = draw_semantic(parts, [[[3, 2], [np.nan, 0]]], spread=1)
    assert joints[0, 2, 3] == 1
    assert joints[0, 2, 4] == pytest.approx(np.exp(-0.5))
    assert (joints >= plain).all()
    assert joints.max() <= 1


def test_motion_is_found_where_something_moves():
    texture = np.random.default_rng(0).integers(0, 256, (60, 80), dtype=np.uint8)
    frames = np.stack([texture] * 4)
    for number in range(4):
        frames[number, 20:50, 10 + 2 * number : 40 + 2 * number] = texture[20:50, 10:40]
    motion = measure_motion(np.repeat(frames[..., None], 3, axis=3))
    assert motion.shape == (4, 60, 80)
    assert motion.max() == 1
    assert motion[1, 28:42, 20:34].mean() > 5 * motion[1, :, 65:].mean()
    assert (motion[3] == motion[2]).all()
    assert (measure_motion(np.zeros((2, 20, 20, 3), np.uint8)) == 0).all()
    assert (measure_motion(np.zeros((1, 20, 20, 3), np.uint8)) == 0).all()


def test_scores_are_correlated_with_cues_over_units():
    units = [f"c{number}" for number in range(6)]
    scores = pd.DataFrame(
        {
            "unit": units,
            "role": "child",
            "part": "face",
            "mutual_information": [0.1, 0.2, 0.3, 0.4, 0.5, np.nan],
            "cross_entropy": [1.0, 1, 1, 1, 1, 1],
        }
    )
    cues = pd.DataFrame({"unit": units[::-1], "smile": [9.0, 25, 16, 9, 4, 1], "head_angle": [1.0, 1, 1, 1, 1, 1]})
    found = correlate_cues(scores, cues).set_index(["measure", "cue"])
    best = found.loc[("mutual_information", "smile")]
    assert (best["spearman"], best["n"]) == (pytest.approx(1), 5)
    assert best["pearson"] == pytest.approx(np.corrcoef([1, 2, 3, 4, 5], [1, 4, 9, 16, 25])[0, 1])
    assert found.loc[("cross_entropy", "smile"), ["pearson", "spearman"]].isna().all()
    assert found.loc[("mutual_information", "head_angle"), ["pearson", "spearman"]].isna().all()
    with pytest.raises(TableError, match="common key"):
        correlate_cues(scores, pd.concat([cues, cues]))
