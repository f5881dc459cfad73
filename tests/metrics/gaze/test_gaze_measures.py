"""Areas, distances and in/out scores of heat maps: the published values, scikit-learn's, and the edges."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import average_precision_score, roc_auc_score

from nbpkg.errors import TableError
from nbpkg.metrics.gaze import auc, distance, inout

GOLDEN = Path(__file__).parents[2] / "golden" / "gaze_target"


def read(name: str):
    return json.loads((GOLDEN / f"{name}.json").read_text())


@pytest.fixture(scope="module")
def video():
    """Maps, targets and published values of the video data sets."""
    items = read("vat_metrics_open")
    maps = np.load(GOLDEN / "vat_metrics_maps_open.npz", allow_pickle=False)["maps"]
    return maps, np.array([item["gaze"] for item in items]), items


@pytest.fixture(scope="module")
def pictures():
    """Maps, points, owners, sizes and published values of GazeFollow."""
    items = read("gazefollow_metrics_open")["items"]
    maps = np.load(GOLDEN / "gazefollow_metrics_maps_open.npz", allow_pickle=False)["maps"]
    points = np.concatenate([item["gaze"] for item in items])
    owner = np.repeat(np.arange(len(items)), [len(item["gaze"]) for item in items])
    return maps, points, owner, [(item["width"], item["height"]) for item in items], items


def draw_hard_maps(count: int, *, seed: int = 0) -> np.ndarray:
    """Maps with negative values, plateaus of zeros of both signs, few levels and a single level."""
    maps = np.random.default_rng(seed).standard_normal((count, 64, 64)).astype(np.float32)
    maps[::4] = np.maximum(maps[::4], 0) * np.where(maps[::4] > -1, 1, -1)
    maps[1::4] = np.round(maps[1::4])
    maps[2:3] = 0.3
    return maps


def test_video_metrics_are_the_published_ones(video):
    maps, gaze, items = video
    for protocol, key in (("vtd", "auc"), ("gazelle", "gazelle_vat_auc")):
        np.testing.assert_allclose(
            auc.auc_box(maps, gaze, protocol=protocol), [item[key] for item in items], rtol=0, atol=1e-9
        )
    assert auc.target_rectangles(gaze).tolist() == [item["gt_rect"] for item in items]
    peaks = distance.find_peaks(maps)
    assert np.stack([peaks.column, peaks.row], axis=1).tolist() == [item["argmax_xy"] for item in items]
    found = distance.measure_distances(distance.read_points(peaks), gaze)
    np.testing.assert_allclose(found, [item["dist"] for item in items], rtol=0, atol=1e-6)


def test_picture_metrics_are_the_published_ones(pictures):
    maps, points, owner, sizes, items = pictures
    for protocol, key, tolerance in (("vtd", "auc", 1e-9), ("gazelle", "gazelle_auc", 1e-6)):
        found = auc.auc_points(maps, points, item=owner, sizes=sizes, protocol=protocol)
        np.testing.assert_allclose(found, [item[key] for item in items], rtol=0, atol=tolerance)
    guess = distance.read_points(distance.find_peaks(maps))
    nearest, to_mean = distance.measure_to_annotators(guess, points, item=owner)
    np.testing.assert_allclose(nearest, [item["min_dist"] for item in items], rtol=0, atol=1e-6)
    np.testing.assert_allclose(to_mean, [item["avg_dist"] for item in items], rtol=0, atol=1e-6)
    summary = read("gazefollow_metrics_open")["summary"]
    assert nearest.mean() == pytest.approx(summary["min_dist"], abs=1e-6)
    assert to_mean.mean() == pytest.approx(summary["avg_dist"], abs=1e-6)


def test_grey_levels_are_enlarged_as_published(pictures):
    maps, _, _, sizes, items = pictures
    for level, size, item in zip(auc.rescale_to_bytes(maps), sizes, items, strict=True):
        assert int(np.asarray(Image.fromarray(level).resize(size, 2), np.int64).sum()) == item["scaled_sum"]


def test_in_out_precision_is_the_published_one_and_says_when_it_means_nothing():
    for case in read("inout_ap_open"):
        published = inout.measure_average_precision(case["label"], case["logit"], compat="reference")
        assert published.value == pytest.approx(case["ap"], abs=1e-12)
        ours = inout.measure_average_precision(case["label"], case["logit"])
        one_class = len(set(case["label"])) == 1
        assert bool(ours.reason) == one_class == np.isnan(ours.value)
        assert one_class or ours.value == published.value


@pytest.mark.parametrize("protocol", ["vtd", "gazelle"])
def test_area_near_the_target_is_that_of_scikit_learn(protocol):
    maps, gaze = draw_hard_maps(24), np.random.default_rng(1).uniform(-0.05, 1.05, (24, 2))
    scored = auc.rescale_to_bytes(maps) if protocol == "vtd" else maps
    for found, score, (x0, y0, x1, y1) in zip(
        auc.auc_box(maps, gaze, protocol=protocol), scored, auc.target_rectangles(gaze, protocol=protocol), strict=True
    ):
        truth = np.zeros((64, 64), int)
        truth[y0:y1, x0:x1] = 1
        assert found == pytest.approx(roc_auc_score(truth.ravel(), score.ravel()), abs=1e-12)


@pytest.mark.parametrize("protocol", ["vtd", "gazelle"])
def test_area_at_the_pictures_size_is_that_of_scikit_learn(protocol):
    random, maps = np.random.default_rng(2), draw_hard_maps(8)
    sizes = random.integers(20, 200, (8, 2))
    owner = np.sort(random.integers(0, 8, 40))
    points = random.uniform(-0.02, 1, (40, 2))
    found = auc.auc_points(maps, points, item=owner, sizes=sizes, protocol=protocol)
    for index in np.unique(owner):
        width, height = sizes[index]
        truth = np.zeros((height, width), int)
        for x, y in points[(owner == index) & (points[:, 0] >= 0)]:
            truth[max(0, min(int(y * height), height - 1)), min(int(x * width), width - 1)] = 1
        if protocol == "vtd":
            level = Image.fromarray(auc.rescale_to_bytes(maps[index : index + 1])[0])
            score = np.asarray(level.resize((width, height), Image.Resampling.BILINEAR))
        else:
            score = auc.enlarge(maps[index], sizes[index])
        assert found[index] == pytest.approx(roc_auc_score(truth.ravel(), score.ravel()), abs=1e-12)


def test_enlarging_is_that_of_torch_and_keeps_equal_neighbours_equal():
    heat = draw_hard_maps(1)[0]
    for width, height in ((640, 480), (50, 40), (100, 300), (64, 64), (7, 1)):
        torch_map = torch.nn.functional.interpolate(
            torch.from_numpy(heat)[None, None], (height, width), mode="bilinear", align_corners=False
        )[0, 0]
        np.testing.assert_allclose(auc.enlarge(heat, (width, height)), torch_map.numpy(), rtol=0, atol=2e-6)
        assert len(np.unique(auc.enlarge(np.full((64, 64), 0.3, np.float32), (width, height)))) == 1


@pytest.mark.parametrize("protocol", ["vtd", "gazelle"])
def test_areas_that_do_not_exist_are_undefined_and_constant_maps_say_nothing(protocol):
    maps = draw_hard_maps(4)
    maps[3, 0, 0] = np.nan
    gaze = [[0.5, 0.5], [-0.5, 0.5], [0.2, 0.2], [0.5, 0.5]]
    found = auc.auc_box(maps, gaze, protocol=protocol)
    assert np.isnan(found).tolist() == [False, True, False, True]
    assert found[2] == 0.5
    points = auc.auc_points(
        maps, [[0.1, 0.1], [-1, -1], [0.5, 0.5]], item=[0, 1, 2], sizes=[[9, 9]] * 4, protocol=protocol
    )
    assert np.isnan(points).tolist() == [False, True, False, True]
    assert points[2] == 0.5
    assert np.isnan(auc.auc_points(maps[:1], [[0.5, 0.5]], item=[0], sizes=[[1, 1]], protocol=protocol))[0]
    assert auc.auc_box(maps[:0], np.zeros((0, 2)), protocol=protocol).shape == (0,)
    assert np.isnan(auc.auc_box(maps[:1], [[np.nan, np.nan]], protocol=protocol))[0]


def test_maps_of_another_shape_and_points_of_another_number_are_refused():
    with pytest.raises(TableError, match=r"shape \(64, 64\)"):
        auc.auc_box(np.zeros((64, 64)), [[0.5, 0.5]])
    with pytest.raises(TableError, match="2 were expected, 1 points"):
        auc.auc_box(np.zeros((2, 64, 64)), [[0.5, 0.5]])


def test_the_protocols_differ_only_near_the_right_and_lower_edge():
    """A map of 256 levels, so that grey levels change nothing."""
    maps = np.random.default_rng(3).integers(0, 256, (2, 64, 64)).astype(np.float32)
    maps[:, 0, :2] = 0, 255
    far, near = (
        auc.auc_box(maps, [[at, 0.5]] * 2) - auc.auc_box(maps, [[at, 0.5]] * 2, protocol="gazelle") for at in (0.5, 0.9)
    )
    assert not far.any()
    assert near.all()


def test_a_peak_is_read_at_the_corner_of_its_cell_or_in_its_centre():
    maps = np.zeros((2, 64, 64))
    maps[0, 10, 20] = maps[0, 10, 21] = maps[0, 9, 63] = 1
    peaks = distance.find_peaks(maps)
    assert (peaks.column.tolist(), peaks.row.tolist(), peaks.value.tolist()) == ([63, 0], [9, 0], [1, 0])
    assert (distance.read_points(peaks, reading="centre") - distance.read_points(peaks)).tolist() == [[1 / 128] * 2] * 2


def test_angles_are_measured_in_the_picture():
    found = distance.measure_angles(
        [[10.0, 0.0], [0.0, 5.0], [-1.0, 0.0], [0.0, 0.0], [3.0, 3.0]],
        [[10.0, 10.0], [0.0, 9.0], [1.0, 0.0], [1.0, 0.0], [np.nan, 0.0]],
        head=np.zeros((5, 2)),
    )
    np.testing.assert_allclose(found, [45, 0, 180, np.nan, np.nan], atol=1e-12)


def test_average_precision_is_that_of_scikit_learn_also_resampled():
    random = np.random.default_rng(4)
    truth, answer, group = random.integers(0, 2, 200), random.normal(0, 1, 200).round(1), random.integers(0, 6, 200)
    answer[:5] = np.inf, np.inf, -np.inf, -np.inf, np.inf
    assert inout.measure_average_precision(truth, answer).value == pytest.approx(
        average_precision_score(truth, np.clip(answer, -99, 99)), abs=1e-12
    )
    weights = random.multinomial(6, [1 / 6] * 6, size=20).astype(float)
    found = inout.resample_average_precision(truth, answer, group=group, weights=weights)
    expected = [
        average_precision_score(truth, np.clip(answer, -99, 99), sample_weight=weight[group]) for weight in weights
    ]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_in_out_scores_need_every_answer():
    assert inout.measure_average_precision([1, 0], [0.5, np.nan]).reason == "1 of 2 frames have no in/out answer"
    assert inout.measure_average_precision([], []).reason
    assert inout.measure_balanced_accuracy([1, 1, 0], [0.9, 0.2, 0.1]).value == 0.75
    assert np.isnan(inout.measure_balanced_accuracy([1, 1], [0.9, 0.2]).value)
