"""Head boxes that are widened, cut, repaired, and the face inside them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from nbpkg.datasets.gaze import boxes
from nbpkg.errors import TableError

side = st.floats(-200, 400, allow_subnormal=False)


@settings(max_examples=80, deadline=None)
@given(side, side, side, side)
def test_checked_boxes_have_an_area_and_sound_ones_stay(x0, y0, x1, y1):
    checked = boxes.check_boxes([[x0, y0, x1, y1]], [300, 200])
    found = checked.boxes[0]
    assert found[2] - found[0] >= 1 - 1e-9
    assert found[3] - found[1] >= 1 - 1e-9
    words = set(filter(None, checked.flags()[0].split(";")))
    assert ("swapped" in words) == (x0 > x1 or y0 > y1)
    assert ("grown" in words) == (abs(x1 - x0) < 1 or abs(y1 - y0) < 1)
    outside = max(x0, x1) <= 0 or min(x0, x1) >= 300 or max(y0, y1) <= 0 or min(y0, y1) >= 200
    assert ("outside_image" in words) == outside
    if not words & {"swapped", "grown"}:
        assert found.tolist() == [x0, y0, x1, y1]


def test_a_missing_box_is_refused_by_row():
    with pytest.raises(TableError, match=r"1 of 2 persons have no head box[\s\S]*row 1"):
        boxes.check_boxes([[0, 0, 5, 5], [0, np.nan, 5, 5]], [10, 10])


def test_widening_takes_more_on_the_right_and_keeps_inverted_boxes_inverted():
    assert boxes.widen([[100, 50, 200, 70]], 0.1).round(9).tolist() == [[90, 48, 211, 72.2]]
    assert boxes.widen([[200, 50, 100, 70]], 0.1).round(9).tolist() == [[190, 48, 109, 72.2]]
    assert boxes.widen([[1, 2, 3, 4]], 0).tolist() == [[1, 2, 3, 4]]


class TestFace:
    picture = Image.fromarray(np.random.default_rng(0).integers(1, 255, (40, 60, 3), dtype=np.uint8))

    def test_it_is_the_crop_at_truncated_pixels_black_outside(self):
        found = np.asarray(boxes.cut_face(self.picture, [-3.9, -2.1, 4.9, 5.9], size=8))
        expected = self.picture.crop((-3, -2, 4, 5)).resize((8, 8), Image.Resampling.BILINEAR)
        assert np.array_equal(found, np.asarray(expected))
        assert not found[0, 0].any()

    def test_rounded_as_in_the_demonstration(self):
        assert boxes.face_rectangle([10.5, 11.5, 20.6, 20.4], rounded=True) == (10, 12, 21, 20)
        assert boxes.face_rectangle([10.5, 11.5, 20.6, 20.4]) == (10, 11, 20, 20)

    def test_a_box_without_area_gives_a_pixel_or_as_published_black(self):
        ours = np.asarray(boxes.cut_face(self.picture, [10.2, 10.2, 10.9, 10.9], size=4))
        assert (ours == np.asarray(self.picture)[10, 10]).all()
        for empty in ([10.2, 10.2, 10.9, 10.9], [30, 10, 20, 20]):
            assert not np.asarray(boxes.cut_face(self.picture, empty, size=4, compat="reference")).any()

    def test_wholly_outside_is_black(self):
        assert not np.asarray(boxes.cut_face(self.picture, [100, 10, 120, 20], size=4)).any()
