"""Image operations against the published ones, and the way of maps to the common size."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbpkg.attention.comparing import reference_comparison as published
from nbpkg.attention.comparing import resample
from nbpkg.errors import ExplainError


@pytest.fixture(scope="module")
def vectors(golden):
    with np.load(golden / "image_ops_open.npz") as arrays:
        return {name: arrays[name] for name in arrays}


@pytest.fixture(scope="module")
def facts(golden):
    return json.loads((golden / "image_ops_open.json").read_text())


OPERATIONS = {
    "gauss_down_5_5": lambda v: resample.gaussian_down(v["x40"], 5.0, stride=5),
    "gauss_down_2_0": lambda v: resample.gaussian_down(v["x40"], 0.0, stride=2),
    "gauss_down_3_1.3": lambda v: resample.gaussian_down(v["x40"], 1.3, stride=3),
    "gauss_low_0.1": lambda v: resample.gaussian_blur(v["x40"], 0.1)[:, ::4, ::4],
    "gauss_low_2.0": lambda v: resample.gaussian_blur(v["x40"], 2.0)[:, ::4, ::4],
    "remap_default": lambda v: resample.remap(v["gauss_down_5_5"]),
    "remap_to_0_256": lambda v: resample.remap(v["x40"], (0, 256))[:, ::4, ::4],
    "fourier_low_0.25": lambda v: resample.low_pass(v["x40"], 0.25)[:, ::4, ::4],
    "fourier_low_odd_0.5": lambda v: resample.low_pass(v["odd"], 0.5),
    "fourier_down_8": lambda v: published.published_fourier_down(v["x40"], 8),
}
RESIZED = [
    f"{size}_{how}_aa{aa}"
    for how in ("nearest", "linear", "cubic")
    for size, aa in (("up32", 1), ("up32", 0), ("down6", 1))
]


class TestGolden:
    @pytest.mark.parametrize("name", OPERATIONS)
    def test_published_operations_come_back(self, vectors, name):
        scale = max(1.0, np.abs(vectors[name]).max())  # one result has values up to 256
        np.testing.assert_allclose(OPERATIONS[name](vectors), vectors[name], rtol=0, atol=1e-5 * scale)

    @pytest.mark.parametrize("name", RESIZED)
    def test_published_resizing_comes_back(self, vectors, name):
        size, how, antialias = name.split("_")
        side = int(size.removeprefix("up").removeprefix("down"))
        found = resample.resize(vectors["y10"], (side, side), how=how, antialias=antialias == "aa1")
        np.testing.assert_allclose(found, vectors[name], rtol=0, atol=1e-5)

    def test_kernel_sizes(self, facts):
        assert {s: resample.kernel_side(float(s)) for s in facts["gauss_kernel_sizes"]} == facts["gauss_kernel_sizes"]

    def test_a_constant_is_nan_as_published_and_nothing_here(self, facts):
        assert [str(value) for value in published.published_remap([3.0] * 3)] == json.loads(
            facts["remap_constant"].replace("nan", '"nan"')
        )
        assert resample.remap([3.0] * 3) is None

    def test_published_fourier_reduction_refuses_odd_sizes(self, vectors):
        with pytest.raises(ExplainError, match="odd"):
            published.published_fourier_down(vectors["x40"], 9)
        assert resample.fourier_resize(vectors["x40"], (9, 7)).shape == (2, 9, 7)

    @pytest.mark.parametrize("name", ["human", "backprop", "guided_backprop", "guided_gradcam", "gradcam", "occlusion"])
    def test_published_way_to_the_common_size(self, vectors, name):
        kind = {"human": "human", "gradcam": "coarse", "occlusion": "coarse"}.get(name, "fine")
        full = vectors["human_full" if name == "human" else f"machine_{name}"]
        small = vectors["human_small" if name == "human" else f"small_{name}"]
        np.testing.assert_allclose(published.published_map(full, 8, kind=kind), small, rtol=0, atol=1e-5)

    @pytest.mark.parametrize("name", ["backprop", "guided_backprop", "guided_gradcam", "gradcam", "occlusion"])
    def test_published_scores_of_the_whole_way(self, vectors, facts, name):
        kind = "coarse" if name in ("gradcam", "occlusion") else "fine"
        human = published.published_map(vectors["human_full"], 8, kind="human")
        machine = published.published_map(vectors[f"machine_{name}"], 8, kind=kind)
        found = published.published_scores(human, machine)
        assert found.keys() == facts["scores"][name].keys()
        for number, value in facts["scores"][name].items():
            assert found[number] == pytest.approx(value, abs=1e-4), number


class TestOperations:
    @given(st.integers(1, 40), st.integers(1, 40), st.sampled_from(["nearest", "linear", "cubic"]), st.booleans())
    def test_a_constant_stays_constant_whatever_the_sizes(self, old, new, how, antialias):
        picture = np.full((1, old, old), 0.3)
        np.testing.assert_allclose(resample.resize(picture, (new, new), how=how, antialias=antialias), 0.3, atol=1e-12)
        np.testing.assert_allclose(resample.pool(picture, new), 0.3, atol=1e-12)
        np.testing.assert_allclose(resample.fourier_resize(picture, (new, new)), 0.3, atol=1e-12)
        np.testing.assert_allclose(resample.gaussian_blur(picture, new / 4), 0.3, atol=1e-12)

    def test_our_fourier_resizing_keeps_the_mean_and_comes_back(self):
        picture = resample.low_pass(np.random.default_rng(0).random((12, 12)), 0.5)
        large = resample.fourier_resize(picture, (20, 15))
        assert large.mean() == pytest.approx(picture.mean())
        np.testing.assert_allclose(resample.fourier_resize(large, (12, 12)), picture, atol=1e-12)

    def test_published_fourier_reduction_is_brighter_by_the_share_of_pixels(self, vectors):
        ours, theirs = (
            resample.fourier_resize(vectors["x40"], (8, 8)),
            published.published_fourier_down(vectors["x40"], 8),
        )
        assert theirs.mean() / ours.mean() == pytest.approx(40 * 40 / 64, rel=1e-6)

    def test_pooling_counts_pixels_on_borders_in_parts(self):
        np.testing.assert_allclose(resample.pool(np.diag([3.0, 3.0, 3.0]), 2), [[5 / 3, 1 / 3], [1 / 3, 5 / 3]])

    @pytest.mark.parametrize(("shape", "corner"), [((2, 40, 48), (0, 4)), ((2, 7, 4), (1, 0)), ((5, 5), (0, 0))])
    def test_central_square(self, shape, corner):
        values = np.arange(np.prod(shape)).reshape(shape)
        square = resample.central_square(values)
        assert square.shape[-2] == square.shape[-1] == min(shape[-2:])
        assert square.reshape(-1)[0] == values[..., corner[0], corner[1]].reshape(-1)[0]


class TestPrepareMap:
    @pytest.mark.parametrize("side", [4, 7, 16, 31, 48, 63, 64, 112, 160, 161])
    def test_a_map_of_any_side_stays_where_it_is(self, side):
        place = (np.arange(side) + 0.5) / side
        bump = np.exp(-(((place[:, None] - 0.4) ** 2 + (place - 0.65) ** 2) / 0.03))
        small = resample.prepare_map(np.repeat(bump[None], 3, axis=0), 32, kind="machine", frames=3)
        assert small.dtype == np.float32
        assert (small.min(), small.max()) == (0, 1)
        weights = small[1] / small[1].sum()
        centre = (np.arange(32) + 0.5) / 32
        assert (weights.sum(axis=1) @ centre, weights.sum(axis=0) @ centre) == pytest.approx((0.4, 0.65), abs=0.04)

    def test_published_maps_are_moved_by_two_fifths_of_a_field(self):
        place = np.arange(160)
        bump = np.exp(-(((place[:, None] - 80) ** 2 + (place - 80) ** 2) / 200))[None]
        ours, theirs = (
            resample.prepare_map(bump, 32, kind="machine", frames=1),
            published.published_map(bump, 32, kind="fine"),
        )

        def centre(values):
            return (values[0].sum(axis=0) / values.sum()) @ np.arange(32)

        assert centre(ours) == pytest.approx((80 - 2) / 5, abs=0.01)
        assert centre(theirs) == pytest.approx(80 / 5, abs=0.01)

    @given(st.integers(2, 70), st.floats(1e-3, 1e3))
    def test_scale_does_not_matter_and_doing_it_twice_changes_nothing(self, side, factor):
        values = np.random.default_rng(side).random((2, side, side))
        values -= values.min()
        once = resample.prepare_map(values, 16, kind="machine", frames=4)
        np.testing.assert_allclose(resample.prepare_map(factor * values, 16, kind="machine", frames=4), once, atol=1e-5)
        np.testing.assert_allclose(resample.prepare_map(once, 16, kind="human", frames=4), once, atol=1e-6)

    def test_zeros_of_a_coarse_map_stay_zeros(self):
        coarse = np.zeros((1, 5, 5))
        coarse[0, 2, 2] = 1
        assert resample.prepare_map(coarse, 32, kind="machine", frames=1)[0, 0, 0] == 0
        assert published.published_map(coarse, 32, kind="coarse")[0, 0, 0] > 0

    def test_time_is_stretched_with_each_map_in_the_middle_of_its_share(self):
        values = np.zeros((4, 4, 4))
        values[3, 0, 0], values[0, 1, 1] = 1, 1
        found = resample.prepare_map(values, 4, kind="machine", frames=16)
        assert found.shape == (16, 4, 4)
        np.testing.assert_allclose(found[:, 1, 1], found[::-1, 0, 0], atol=1e-6)
        np.testing.assert_allclose(found[:6, 1, 1], [1, 1, 0.875, 0.625, 0.375, 0.125], atol=1e-6)

    def test_human_maps_are_cut_first(self):
        wide = np.zeros((1, 64, 128))
        wide[:, :, :20] = 1
        wide[:, 30:34, 62:66] = 0.5
        assert resample.prepare_map(wide, 32, kind="human", frames=1).argmax() in {15 * 32 + 15, 15 * 32 + 16}

    @pytest.mark.parametrize("value", [0.0, 0.7, -1.0])
    def test_a_constant_becomes_zero(self, value):
        assert not resample.prepare_map(np.full((2, 80, 80), value), 32, kind="human", frames=2).any()

    def test_negative_values_count_as_zero(self):
        values = np.random.default_rng(0).normal(size=(1, 8, 8))
        found = resample.prepare_map(values, 8, kind="machine", frames=1)
        np.testing.assert_array_equal(found, resample.prepare_map(values.clip(0), 8, kind="machine", frames=1))

    @pytest.mark.parametrize(
        ("shape", "kind", "text"),
        [
            ((8, 8), "human", "shape"),
            ((1, 8, 9), "machine", "9 x 8"),
            ((5, 8, 8), "machine", "5 frames"),
            ((0, 8, 8), "human", "empty"),
        ],
    )
    def test_what_cannot_be_compared_is_refused(self, shape, kind, text):
        with pytest.raises(ExplainError, match=text):
            resample.prepare_map(np.ones(shape), 4, kind=kind, frames=4)

    def test_nan_is_refused(self):
        with pytest.raises(ExplainError, match="not finite"):
            resample.prepare_map(np.full((1, 8, 8), np.nan), 4, kind="human", frames=1)
