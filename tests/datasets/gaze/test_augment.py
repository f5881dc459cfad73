"""Random changes, against the published ones and by what they promise."""

import random

import inputs as golden_inputs
import numpy as np
import pytest
from gaze_dataset_cases import people, read_facts
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from nbpkg.datasets.gaze import augment as au

FACTS = read_facts("gazelle_augment")
OFF = au.Augment(jitter=False, crop=False, flip=False, colour=False)
share = st.floats(0, 1)


COUNT = st.integers(1, 6)


@st.composite
def persons(draw, count=COUNT):
    """Boxes around the picture of 320 x 180, some beyond its border, some targets outside."""
    rows = draw(count)
    numbers = np.array([[draw(st.floats(-0.2, 1.1)), draw(st.floats(-0.2, 1.1))] for _ in range(rows)])
    spans = np.array([[draw(st.floats(0.01, 0.5)), draw(st.floats(0.01, 0.5))] for _ in range(rows)])
    boxes = np.concatenate([numbers, numbers + spans], axis=1) * [320, 180, 320, 180]
    gaze = np.array([[draw(share) * 320, draw(share) * 180] for _ in range(rows)])
    gaze[[draw(st.booleans()) for _ in range(rows)]] = np.nan
    return people(boxes, gaze)


class TestGazelleGolden:
    @pytest.mark.parametrize("place", range(len(FACTS["items"])))
    def test_published_draws_come_back(self, place):
        item, size = FACTS["items"][place], (FACTS["width"], FACTS["height"])
        person = people([FACTS["bbox"]], [FACTS["gaze"]], [item["inout"]], size=size)
        draws, whole = np.random.RandomState(item["seed"]), random.Random(item["seed"])
        drawn = au.draw_gazelle(draws, whole, person, augment=au.Augment(), compat="reference")
        placed = au.change_persons(person, drawn, whole_pixels=True)
        picture = Image.fromarray(golden_inputs.frame(f"gza_open_{place}", *size))
        changed = au.change_picture(picture, drawn)
        assert list(changed.size) == item["size"] == placed.sizes[0].tolist()
        assert placed.boxes[0].tolist() == pytest.approx(item["bbox"], abs=1e-12)
        assert placed.gaze[0].tolist() == [item["gazex"][0], item["gazey"][0]]
        assert int(np.asarray(changed, dtype=np.int64).sum()) == item["pixel_sum"]


class TestWhatHolds:
    @settings(max_examples=80, deadline=None)
    @given(persons(), st.integers(0, 1000))
    def test_inside_targets_stay_inside_and_heads_stay_in_video_crops(self, track, seed):
        drawn = au.draw_video(np.random.default_rng(seed), track, augment=au.Augment(jitter=False), limit=4)
        window = track.take(np.arange(drawn.start, drawn.start + drawn.length))
        placed = au.change_persons(window, drawn.changes)
        inside = window.inside == 1
        assert np.isnan(placed.gaze[~inside]).all()
        fractions = placed.gaze[inside] / placed.sizes[inside]
        assert ((fractions >= -1e-9) & (fractions <= 1 + 1e-9)).all()
        assert (placed.sizes > 0).all()
        spans = placed.boxes[:, 2:] - placed.boxes[:, :2]
        np.testing.assert_allclose(spans, window.boxes[:, 2:] - window.boxes[:, :2], atol=1e-6)

    @settings(max_examples=80, deadline=None)
    @given(persons(), st.integers(0, 1000))
    def test_gazelle_crops_never_fail_and_keep_at_least_a_pixel(self, crowd, seed):
        drawn = au.draw_gazelle(np.random.default_rng(seed), random.Random(seed), crowd, augment=au.Augment())
        placed = au.change_persons(crowd, drawn, whole_pixels=True)
        assert (placed.sizes >= 1).all()
        changed = au.change_picture(Image.new("RGB", (320, 180)), drawn)
        assert list(changed.size) == placed.sizes[0].tolist()
        fractions = placed.gaze[crowd.inside == 1] / placed.sizes[crowd.inside == 1]
        assert ((fractions >= 0) & (fractions <= 1)).all()

    @settings(max_examples=60, deadline=None)
    @given(persons(st.just(1)), st.integers(0, 1000))
    def test_picture_crops_hold_head_and_target(self, person, seed):
        drawn = au.draw_picture(np.random.default_rng(seed), person, augment=au.Augment(jitter=False, flip=False))
        placed = au.change_persons(person, drawn, whole_pixels=True)
        if drawn.crop is not None:
            assert (placed.sizes >= 1).all()
            assert (placed.boxes[:, :2] >= -0.5 - 1e-9).all()
        if person.inside[0] == 1:
            assert ((placed.gaze >= -0.5 - 1e-9) & (placed.gaze <= placed.sizes + 0.5 + 1e-9)).all()

    def test_flipping_twice_and_boxes_follow_pixels(self):
        picture = np.zeros((40, 60, 3), dtype=np.uint8)
        picture[10:20, 5:15] = 255
        changes = au.Changes(crop=au.Crop(2, 3, 50, 30, (60, 40)), flip=True)
        placed = au.change_persons(people([[5, 10, 15, 20]], [[5, 10]], size=(60, 40)), changes)
        changed = np.asarray(au.change_picture(Image.fromarray(picture), changes))
        rows, columns = np.nonzero(changed[..., 0])
        assert placed.boxes[0].tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert placed.gaze[0].tolist() == [47, 7]
        assert placed.sizes[0].tolist() == [50, 30]

    def test_a_crop_of_another_picture_size_is_the_same_part(self):
        changes = au.Changes(crop=au.Crop(10, 10, 40, 20, (80, 60)))
        assert au.change_picture(Image.new("RGB", (160, 120)), changes).size == (80, 40)
        placed = au.change_persons(people([[40, 40, 60, 60]], [[60, 40]], size=(160, 120)), changes)
        assert placed.boxes[0].tolist() == [20, 20, 40, 40]

    def test_a_target_in_the_last_fraction_of_a_pixel_is_cut_off_by_the_reference_only(self):
        person = people([[60, 30, 100, 80]], [[150.5, 100.25]], [True], size=(151, 101))
        found = {}
        for compat in ("none", "reference"):
            ends = []
            for seed in range(40):
                draws, whole = np.random.RandomState(seed), random.Random(seed)
                drawn = au.draw_gazelle(draws, whole, person, augment=au.Augment(flip=False), compat=compat)
                placed = au.change_persons(person, drawn, whole_pixels=True)
                ends.append(bool((placed.gaze <= placed.sizes).all()))
            found[compat] = all(ends)
        assert found == {"none": True, "reference": False}


class TestSwitches:
    track = people([[40, 30, 90, 100]] * 6, [[200, 120]] * 6)

    def drawn(self, augment, seed):
        return au.draw_video(np.random.default_rng(seed), self.track, augment=augment, limit=3)

    def test_everything_off_changes_nothing_but_the_window(self):
        for seed in range(20):
            assert self.drawn(OFF, seed).changes == au.UNCHANGED
            on = self.drawn(au.Augment(), seed)
            assert self.drawn(OFF, seed)[:2] == on[:2]

    @pytest.mark.parametrize("name", ["jitter", "crop", "flip", "colour"])
    def test_one_switched_off_leaves_the_others_as_they_were(self, name):
        different = 0
        for seed in range(30):
            on, off = (self.drawn(augment, seed).changes for augment in (au.Augment(), au.Augment(**{name: False})))
            for other in {"jitter", "crop", "flip", "colour"} - {name}:
                assert getattr(on, other) == getattr(off, other)
            different += getattr(on, name) != getattr(off, name)
        assert different > 5

    def test_each_change_happens_to_half_the_tracks(self):
        drawn = [self.drawn(au.Augment(), seed).changes for seed in range(400)]
        for name in ("jitter", "flip", "colour", "crop"):
            assert abs(np.mean([bool(getattr(one, name)) for one in drawn]) - 0.5) < 0.1
        assert max(one.jitter for one in drawn) <= 0.05


class TestAgainstTheReference:
    def test_the_last_window_is_drawn_by_ours_only(self):
        track = people([[40, 30, 90, 100]] * 5)
        starts = {}
        for compat in ("none", "reference"):
            makers = (np.random.RandomState(seed) for seed in range(80))
            starts[compat] = {au.draw_video(one, track, augment=None, limit=3, compat=compat).start for one in makers}
        assert starts == {"none": {0, 1, 2}, "reference": {0, 1}}

    def test_outside_frames_pin_the_corner_of_the_reference_only(self):
        track = people([[40, 30, 90, 100]] * 4, [[200, 120], [np.nan] * 2, [210, 120], [np.nan] * 2])
        corners = {}
        for compat in ("none", "reference"):
            makers = (np.random.RandomState(seed) for seed in range(40))
            drawn = [au.draw_video(one, track, augment=au.Augment(), compat=compat).changes.crop for one in makers]
            corners[compat] = {(crop.left, crop.top) for crop in drawn if crop is not None}
        assert corners["reference"] == {(-1.0, -1.0)}
        assert len(corners["none"]) > 10
        assert all(0 <= left <= 40 and 0 <= top <= 30 for left, top in corners["none"])

    def test_a_window_without_inside_frame_is_cropped_around_the_heads(self):
        track = people([[40, 30, 90, 100]] * 4)
        for compat in ("none", "reference"):
            for seed in range(10):
                crop = au.draw_video(
                    np.random.RandomState(seed), track, augment=au.Augment(), compat=compat
                ).changes.crop
                assert crop is None or (0 <= crop.left <= 40 and crop.left + crop.width >= 90)

    def test_a_missing_point_blows_up_the_canvas_of_the_reference_only(self):
        person = people([[40, 30, 90, 100]], [[-320, -180]], [0])
        lefts = {}
        for compat in ("none", "reference"):
            makers = (np.random.RandomState(seed) for seed in range(20))
            crops = [au.draw_picture(one, person, augment=au.Augment(), compat=compat).crop for one in makers]
            lefts[compat] = [crop.left for crop in crops if crop is not None]
        assert set(lefts["reference"]) == {-320}
        assert min(lefts["none"]) >= 0
