"""Measures of likeness between maps, against the published numbers and by what they promise."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata, spearmanr
from sklearn.metrics import roc_auc_score

from nbpkg.attention.comparing import controls, similarity
from nbpkg.attention.comparing import reference_comparison as published
from nbpkg.attention.comparing.measures import LEVELS, MEASURES, Options, make_target, measure_maps
from nbpkg.errors import ExplainError, SettingsError

OPTIONS = Options(size=8, transport_size=8, top=0.1, tolerance=1, floor=0.01, centre=0.25)
SEEDS = st.integers(0, 10_000)
NEED_SPREAD = {"linear_correlation", "rank_correlation", "scanpath_saliency"}
BEST = {
    "earth_mover": 0, "kullback_leibler": 0, "kullback_leibler_reverse": 0, "jensen_shannon": 0, "auc_judd": 1,
    "linear_correlation": 1, "rank_correlation": 1, "histogram_intersection": 1, "pointing_game": 1,
    "intersection_over_union": 1,
}  # fmt: skip


def draw(seed: int, shape: tuple[int, ...] = (3, 8, 8)) -> np.ndarray:
    """A map without ties that touches 0."""
    values = np.random.default_rng(seed).random(shape)
    return values - values.min()


def measure(human, machine, *, negatives=None, options=OPTIONS):
    return measure_maps(human, machine, options=options, negatives=negatives)


@pytest.fixture(scope="module")
def pairs(golden):
    content = json.loads((golden / "attention_similarity_open.json").read_text())["pairs"]
    with np.load(golden / "attention_similarity_open.npz") as arrays:
        return [(pair, arrays[pair["human"]].astype(float), arrays[pair["machine"]].astype(float)) for pair in content]


class TestGolden:
    def test_published_numbers_come_back(self, pairs):
        seen = 0
        for pair, human, machine in pairs:
            has_ties = any(len(np.unique(values)) < values.size for values in (human, machine))
            for name, function in published.PUBLISHED.items():
                tolerance = 1e-4 if name == "earth_mover" else 2e-5
                expected, by_frame = pair["global"][name], pair["frame"][name]
                if isinstance(expected, dict):
                    with pytest.raises(ExplainError):
                        published.published_scores(human, machine)
                elif not (name == "rank_correlation" and has_ties):  # the published sort leaves ties to chance
                    assert function(human, machine) == pytest.approx(float(expected), abs=tolerance, nan_ok=True)
                    found = published.published_scores(human, machine) if pair["human"] != "h_neg" else None
                    assert found is None or found[f"{name}_frame"] == pytest.approx(
                        float(by_frame), abs=tolerance, nan_ok=True
                    ), (pair["human"], name)
                    seen += 1
        assert seen >= 50

    def test_corrected_correlations_come_back(self, pairs):
        functions = {"linear_correlation": ("", similarity.linear_correlation)}
        functions["rank_correlation"] = ("_average_ranks", similarity.rank_correlation)
        for pair, human, machine in (entry for entry in pairs if "corrected" in entry[0]):
            expected = pair["corrected"]
            frames = [values.reshape(expected["frames"], -1) for values in (human, machine)]
            for name, (kind, function) in functions.items():
                whole = float(function(human.ravel(), machine.ravel()))
                assert whole == pytest.approx(float(expected[f"{name}_global{kind}"]), abs=2e-5, nan_ok=True)
                mean, count = similarity.mean_of_frames(function(*frames))
                assert float(mean) == pytest.approx(
                    float(expected[f"{name}_frame{kind}_nanmean"]), abs=2e-5, nan_ok=True
                )
                assert count == expected["frames_defined"]

    def test_our_intersection_is_the_published_one_where_people_painted(self, pairs):
        for pair, human, machine in (entry for entry in pairs if isinstance(entry[0]["global"]["earth_mover"], float)):
            found = float(similarity.histogram_intersection(human.ravel(), machine.ravel()))
            wanted = pair["global"]["histogram_intersection"]
            assert math.isnan(found) if not human.any() else found == pytest.approx(wanted, abs=2e-5)

    def test_published_ranks_order_equal_values_by_chance(self, golden):
        with np.load(golden / "attention_similarity_open.npz") as arrays:
            values, ranks = arrays["h_ties"].ravel(), arrays["ranks_of_h_ties"].ravel()
        assert (np.diff(values[np.argsort(ranks)]) >= 0).all()
        assert not (similarity.average_ranks(values) == ranks + 1).all()


class TestEveryMeasure:
    @given(SEEDS)
    @settings(max_examples=20, deadline=None)
    def test_a_map_is_most_like_itself(self, seed):
        human, other = draw(seed), draw(seed + 1)
        same, different = measure(human, human), measure(human, other)
        for (name, level), values in same.items():
            if name in BEST:
                np.testing.assert_allclose(values, BEST[name], atol=1e-9, err_msg=name)
            if name != "auc_shuffled":
                better = (
                    values >= different[name, level]
                    if MEASURES[name].direction == "higher"
                    else values <= different[name, level]
                )
                assert better.all(), name

    @given(SEEDS, st.floats(0.01, 100))
    @settings(max_examples=20, deadline=None)
    def test_scale_does_not_matter(self, seed, factor):
        human, machine = draw(seed), draw(seed + 1)
        negatives = draw(seed + 2, (8, 8))
        plain, scaled = (measure(human * f, machine * g, negatives=negatives) for f, g in ((1, 1), (2, factor)))
        for key, values in plain.items():
            np.testing.assert_allclose(scaled[key], values, atol=1e-7, err_msg=str(key))

    @given(SEEDS)
    @settings(max_examples=20, deadline=None)
    def test_values_lie_in_their_range(self, seed):
        human, machine = draw(seed) ** 8, draw(seed + 1) ** 3
        for (name, _), values in measure(human, machine, negatives=draw(seed, (8, 8))).items():
            low, high = MEASURES[name].range
            assert ((values >= low) & (values <= high)).all(), name

    @given(SEEDS)
    @settings(max_examples=20, deadline=None)
    def test_only_distances_ask_where_pixels_lie(self, seed):
        human, machine = draw(seed), draw(seed + 1)
        order = np.random.default_rng(seed).permutation(64)
        mixed = [values.reshape(3, 64)[:, order].reshape(3, 8, 8) for values in (human, machine)]
        plain, changed = measure(human, machine), measure(*mixed)
        for (name, level), values in plain.items():
            if name not in ("earth_mover", "pointing_game", "auc_shuffled"):
                np.testing.assert_allclose(changed[name, level], values, atol=1e-9)

    def test_mirroring_both_changes_nothing(self):
        human, machine, negatives = draw(0), draw(1), draw(2, (8, 8))
        plain = measure(human, machine, negatives=negatives)
        mirrored = measure(human[..., ::-1], machine[..., ::-1], negatives=negatives[..., ::-1])
        for key, values in plain.items():
            np.testing.assert_allclose(mirrored[key], values, atol=1e-9)

    def test_unpainted_frames_are_undefined_and_counted(self):
        human, machine = draw(0), draw(1)
        human[1] = 0
        found = measure(human, machine, negatives=np.ones((8, 8)))
        for name, item in MEASURES.items():
            assert np.isnan(found[name, "frame"]).tolist() == [False, True, False], name
            assert similarity.mean_of_frames(found[name, "frame"])[1] == 2
            assert "clip" not in item.levels or not np.isnan(found[name, "clip"])
        empty = measure(np.zeros((3, 8, 8)), machine, negatives=np.ones((8, 8)))
        assert all(np.isnan(values).all() for values in empty.values())

    @pytest.mark.parametrize("value", [0.0, 0.3])
    def test_constant_machine_maps(self, value):
        human = draw(0)
        found = measure(human, np.full((3, 8, 8), value), negatives=draw(1, (8, 8)))
        uniform = measure(human, controls.uniform_map(3, 8), negatives=draw(1, (8, 8)))
        for (name, level), values in found.items():
            assert np.isnan(values).all() == (name in NEED_SPREAD), name
            np.testing.assert_allclose(values, uniform[name, level], rtol=1e-12)
        assert (found["auc_judd", "frame"] == 0.5).all()
        np.testing.assert_allclose(found["auc_shuffled", "frame"], 0.5)
        np.testing.assert_allclose(found["intersection_over_union", "frame"], 7 / 64)

    def test_all_pairs_at_once_equal_one_pair_at_a_time(self):
        human, machine, negatives = draw(0, (2, 3, 8, 8)), draw(1, (4, 3, 8, 8)), draw(2, (8, 8))
        every = measure(human[:, None], machine, negatives=negatives)
        for (name, level), values in every.items():
            assert values.shape == ((2, 4, 3) if level == "frame" else (2, 4))
            one = measure(human[1], machine[2], negatives=negatives)
            np.testing.assert_allclose(values[1, 2], one[name, level], atol=1e-12)

    def test_the_list_is_complete(self):
        assert set(measure(draw(0), draw(1))) == {(n, level) for n, item in MEASURES.items() for level in item.levels}
        assert all(item.name == name and item.title and item.source for name, item in MEASURES.items())
        assert MEASURES["earth_mover"].levels == ("frame",)
        assert all(item.levels == LEVELS for name, item in MEASURES.items() if name != "earth_mover")


class TestSingleMeasures:
    @given(SEEDS)
    @settings(max_examples=20, deadline=None)
    def test_rank_correlation_with_ties_is_spearmans(self, seed):
        human, machine = np.random.default_rng(seed).integers(0, 4, (2, 30))
        np.testing.assert_array_equal(similarity.average_ranks(human), rankdata(human))
        if np.ptp(human) and np.ptp(machine):
            assert float(similarity.rank_correlation(human, machine)) == pytest.approx(spearmanr(human, machine)[0])

    @given(SEEDS)
    @settings(max_examples=20, deadline=None)
    def test_areas_are_those_of_the_roc_curve(self, seed):
        random = np.random.default_rng(seed)
        machine, fixated = random.integers(0, 5, 40), random.random(40) < 0.3
        weights = random.integers(0, 3, 40)
        if fixated.any() and not fixated.all() and weights.any():
            assert float(similarity.auc_judd(fixated, machine)) == pytest.approx(roc_auc_score(fixated, machine))
            scores = np.concatenate([machine[fixated], np.repeat(machine, weights)])
            truth = np.arange(len(scores)) < fixated.sum()
            found = similarity.auc_shuffled(fixated, machine, negatives=weights)
            assert float(found) == pytest.approx(roc_auc_score(truth, scores))

    def test_shuffled_area_sees_through_a_map_of_the_centre(self):
        random = np.random.default_rng(0)
        place = np.arange(16)
        centres = random.normal(7.5, 2.5, (200, 2))  # people look at the centre, wherever in particular
        human = np.stack([np.exp(-((place[:, None] - y) ** 2 + (place - x) ** 2) / 8) for y, x in centres])
        options = Options(size=16, transport_size=2, top=0.05, tolerance=0, floor=0.01, centre=0.2)
        negatives = make_target(human, "frame", options=options, negatives=None).fixated.sum(axis=0).reshape(16, 16)
        found = measure(human, controls.centre_map(200, 16, sigma=0.2), negatives=negatives, options=options)
        assert found["auc_judd", "frame"].mean() > 0.8
        assert found["auc_shuffled", "frame"].mean() == pytest.approx(0.5, abs=0.02)
        assert measure(human, human, negatives=negatives, options=options)["auc_shuffled", "frame"].mean() > 0.9

    @given(SEEDS, st.floats(1e-6, 0.9))
    @settings(max_examples=20, deadline=None)
    def test_divergences(self, seed, floor):
        human, machine = draw(seed, (40,)) ** 9, draw(seed + 1, (40,)) ** 9
        there = similarity.kullback_leibler(human, machine, floor=floor)
        back = similarity.kullback_leibler(machine, human, floor=floor)
        assert 0 <= there < math.inf
        assert float(back) == float(similarity.kullback_leibler(human, machine, floor=floor, reverse=True))
        one, two = similarity.jensen_shannon(human, machine), similarity.jensen_shannon(machine, human)
        assert float(one) == pytest.approx(float(two))
        assert 0 <= one <= 1

    def test_divergence_equals_the_published_one_as_the_floor_goes(self):
        human, machine = draw(0, (40,)) + 0.1, draw(1, (40,)) + 0.1
        found = float(similarity.kullback_leibler(human, machine, floor=1e-12))
        assert found == pytest.approx(published.published_kullback_leibler(human, machine), abs=1e-9)

    def test_scanpath_saliency_is_the_mean_z_score(self):
        machine, fixated = draw(0, (50,)), np.arange(50) % 7 == 0
        scores = (machine - machine.mean()) / machine.std()
        assert float(similarity.scanpath_saliency(fixated, machine)) == pytest.approx(scores[fixated].mean())

    @pytest.mark.parametrize(("tolerance", "hit"), [(0, 0), (1, 0), (math.sqrt(2), 1), (3, 1)])
    def test_pointing_game_tolerates_a_miss_in_the_same_frame(self, tolerance, hit):
        human, machine = np.zeros((2, 1, 8, 8))
        human[0, 4, 4] = machine[0, 3, 3] = 1
        options = Options(size=8, transport_size=2, top=0.1, tolerance=tolerance, floor=0.01, centre=0.2)
        found = measure(human, machine, options=options)
        assert found["pointing_game", "frame"].tolist() == [hit]
        two = np.concatenate([human, np.zeros((1, 8, 8))]), np.concatenate([np.zeros((1, 8, 8)), human])
        assert measure(*two, options=options)["pointing_game", "clip"] == 0

    @given(SEEDS, st.floats(0.01, 1))
    @settings(max_examples=20, deadline=None)
    def test_top_pixels_are_that_many_without_ties(self, seed, share):
        values = draw(seed, (2, 64))
        assert similarity.top_pixels(values, share).sum(axis=1).max() <= math.ceil(share * 64)
        assert similarity.top_pixels(values, share).sum(axis=1).min() >= math.ceil(share * 64) - 1

    def test_only_painted_pixels_are_fixated(self):
        human = np.zeros((2, 100))
        human[0, :3] = [0.1, 0.2, 0.3]
        assert np.flatnonzero(similarity.fixated_pixels(human, 0.5)).tolist() == [0, 1, 2]


class TestRefused:
    def test_maps_of_another_size_or_length(self):
        for human, machine in ((draw(0, (3, 8, 8)), draw(0, (2, 8, 8))), (draw(0, (3, 9, 9)), draw(0, (3, 9, 9)))):
            with pytest.raises(ExplainError, match="shapes"):
                measure(human, machine)

    @pytest.mark.parametrize("value", [-0.1, math.nan, math.inf])
    def test_values_that_are_no_attention(self, value):
        machine = draw(0)
        machine[1, 2, 3] = value
        with pytest.raises(ExplainError, match="negative or infinite"):
            measure(draw(1), machine)

    @pytest.mark.parametrize(
        "change",
        [
            {"top": 0.0},
            {"top": 1.1},
            {"floor": 0.0},
            {"floor": 1.0},
            {"tolerance": -1},
            {"centre": 0.0},
            {"transport_size": 9},
            {"transport_size": 1},
        ],
    )
    def test_options_out_of_range(self, change):
        with pytest.raises(SettingsError):
            Options(**{**OPTIONS.__dict__, **change})
