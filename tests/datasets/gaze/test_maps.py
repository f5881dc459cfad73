"""Head channels and heat maps, against the published ones and by what they promise."""

import numpy as np
import pytest
from gaze_dataset_cases import read_vectors
from hypothesis import given, settings
from hypothesis import strategies as st

from nbpkg.datasets.gaze import maps
from nbpkg.errors import SettingsError, TableError

fraction = st.floats(-0.3, 1.3)


class TestGolden:
    @pytest.mark.parametrize("kind", ["gaussian", "cauchy"])
    def test_published_target_maps_come_back(self, kind):
        golden = read_vectors("heatmap_target")
        found = maps.gaze_map(golden["points"] / 64, kind=kind, compat="reference")
        np.testing.assert_allclose(found, golden[kind], rtol=0, atol=1e-6)

    def test_published_maps_of_several_annotators_come_back(self):
        golden = read_vectors("heatmap_multi")
        found = maps.annotators_map(golden["points"], compat="reference")
        np.testing.assert_allclose(found, golden["maps"], rtol=0, atol=1e-6)

    def test_published_head_channels_come_back(self):
        golden = read_vectors("head_channel")
        boxes, sizes = golden["boxes"][:, :4], golden["boxes"][:, 4:]
        assert maps.head_rectangles(boxes, sizes, compat="reference").tolist() == golden["rect"].tolist()
        found = maps.head_channel(boxes, sizes, compat="reference")
        assert np.array_equal(np.packbits(found.astype(bool).reshape(len(boxes), -1), axis=1), golden["packed"])
        ramp = maps.head_channel(boxes, sizes, coordconv=True, compat="reference")
        np.testing.assert_allclose(ramp[:, ::8, ::8], golden["coordconv_stride8"], rtol=0, atol=1e-6)

    def test_published_gazelle_maps_come_back(self):
        golden = read_vectors("gazelle_heatmap")
        np.testing.assert_allclose(maps.gazelle_map(golden["points"]), golden["maps"], rtol=0, atol=1e-6)


class TestGazeMap:
    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.tuples(fraction, fraction), min_size=1, max_size=5))
    def test_no_map_holds_anything_but_numbers_from_0_to_1(self, points):
        for compat in ("none", "reference"):
            for kind in ("gaussian", "cauchy"):
                found = maps.gaze_map(points, kind=kind, compat=compat)
                assert found.dtype == np.float32
                assert np.isfinite(found).all()
                assert found.min() >= 0
                assert set(np.unique(found.max((1, 2)))) <= {0, 1}
        assert np.isfinite(maps.annotators_map([points], compat="reference")).all()

    @settings(max_examples=60, deadline=None)
    @given(st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True), st.sampled_from([32, 64]))
    def test_ours_has_its_peak_in_the_cell_of_the_point(self, x, y, size):
        row, column = divmod(int(maps.gaze_map([[x, y]], size=size)[0].argmax()), size)
        assert (column, row) == (int(x * size), int(y * size))

    @settings(max_examples=60, deadline=None)
    @given(st.integers(0, 6390), st.integers(0, 6390))
    def test_reference_differs_only_near_the_left_and_upper_border(self, x, y):
        x, y = x / 100, y / 100
        theirs, ours = (maps.gaze_map([[x / 64, y / 64]], compat=compat)[0] for compat in ("reference", "none"))
        row, column = divmod(int(theirs.argmax()), 64)
        shifted = [int(value) + (value < 9 and value != int(value)) for value in (x, y)]
        assert [column, row] == shifted
        if x >= 9 and y >= 9:
            assert np.array_equal(theirs, ours)

    def test_many_points_are_drawn_as_one_by_one(self):
        points = np.random.default_rng(0).uniform(-0.2, 1.2, (40, 2))
        single = np.concatenate([maps.gaze_map(point[None]) for point in points])
        assert np.array_equal(maps.gaze_map(points), single)

    def test_a_missing_point_and_one_far_outside_give_zeros(self):
        points = [[np.nan, np.nan], [0.5, np.nan], [-1, -1], [1.2, 0.5], [0.5, -0.17], [-10.5 / 64, 0.5]]
        for compat in ("none", "reference"):
            assert not maps.gaze_map(points, compat=compat).any()

    def test_a_point_just_outside_gives_a_map_that_reaches_1_at_the_border(self):
        found = maps.gaze_map([[66 / 64, 0.5]])[0]
        assert divmod(int(found.argmax()), 64) == (32, 63)
        assert found.max() == 1

    def test_the_square_has_six_sigma_and_one_cells(self):
        assert (maps.gaze_map([[0.5, 0.5]])[0] > 0).sum() == 19 * 19
        assert (maps.gaze_map([[0.5, 0.5]], size=32, sigma=1.5)[0] > 0).sum() == 9 * 9

    def test_empty_and_misshapen_points(self):
        assert maps.gaze_map(np.empty((0, 2))).shape == (0, 64, 64)
        with pytest.raises(TableError, match=r"shape \[2, 3\]"):
            maps.gaze_map(np.ones((2, 3)))
        with pytest.raises(TableError, match="annotators"):
            maps.annotators_map(np.ones((2, 2)))
        with pytest.raises(SettingsError, match="'flat'"):
            maps.gaze_map([[0.5, 0.5]], kind="flat")


class TestSeveralAnnotators:
    def test_ours_does_not_depend_on_their_order_theirs_does(self):
        points = np.array([[[0.5, 0.5], [0.52, 0.48], [0.9, 0.1], [np.nan, np.nan], [-1, -1]]])
        ours = maps.annotators_map(points)
        np.testing.assert_allclose(maps.annotators_map(points[:, ::-1]), ours, atol=1e-7)
        np.testing.assert_allclose(ours[0], maps.gaze_map(points[0, :3]).mean(0), atol=1e-7)
        theirs = maps.annotators_map(points, compat="reference")
        assert np.abs(maps.annotators_map(points[:, ::-1], compat="reference") - theirs).max() > 0.01

    def test_one_annotator_is_as_the_target_map_and_none_is_zero(self):
        point = np.array([[[0.3, 0.7]]])
        assert np.array_equal(maps.annotators_map(point)[0], maps.gaze_map(point[0])[0])
        assert not maps.annotators_map(np.full((1, 20, 2), np.nan), compat="reference").any()


class TestHeadChannel:
    @settings(max_examples=80, deadline=None)
    @given(*[st.floats(-50, 150)] * 4)
    def test_every_box_with_an_area_in_the_picture_covers_a_cell(self, x0, y0, x1, y1):
        cells = maps.head_rectangles([[x0, y0, x1, y1]], [100, 80], size=28)[0]
        meets = x0 < x1 and y0 < y1 and x0 < 100 and y0 < 80 and x1 > 0 and y1 > 0
        area = (cells[2] - cells[0]) * (cells[3] - cells[1])
        assert (area > 0) == meets
        assert cells.min() >= 0
        assert cells.max() <= 28

    def test_ours_reaches_the_last_row_and_column(self):
        box, size = [[0, 0, 100, 100]], [100, 100]
        assert maps.head_channel(box, size).all()
        theirs = maps.head_channel(box, size, compat="reference")[0]
        assert not theirs[-1].any()
        assert not theirs[:, -1].any()

    @pytest.mark.parametrize("box", [[40, 40, 20, 60], [10, 10, 10, 30], [200, 0, 300, 50], [np.nan] * 4])
    def test_inverted_empty_outside_and_missing_boxes_cover_nothing(self, box):
        for compat in ("none", "reference"):
            assert not maps.head_channel([box], [100, 100], compat=compat).any()
