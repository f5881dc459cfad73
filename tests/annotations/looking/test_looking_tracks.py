"""Cleaning, filling and labelling of face tracks."""

import numpy as np
import pytest

from nbpkg.annotations.looking.tracks import clean_track, label_faces


def test_records_are_sorted_and_those_without_size_or_of_frame_0_dropped():
    frames = np.array([5, 3, 4, 0, 6, 7])
    sides = np.array([[5, 0, 1, 1], [3, 0, 1, 1], [4, 0, 0, 1], [0, 0, 1, 1], [6, 0, 1, -1], [7, 0, 1, 1.0]])
    track = clean_track(frames, sides, max_gap=0)
    assert track.frames.tolist() == [3, 5, 7]
    assert track.boxes[:, 0].tolist() == [3, 5, 7]
    assert track.seen.all()
    assert (track.dropped, track.repeated) == (3, 0)
    nobody = clean_track(frames, sides, named=np.array([False, True, True, True, True, True]), max_gap=0)
    assert nobody.frames.tolist() == [3, 7]


def test_box_over_the_border_is_cut_and_the_published_one_moved():
    sides = np.array([[-10.0, -4, 30, 40]])
    assert clean_track(np.array([1]), sides).boxes.tolist() == [[0, 0, 20, 36]]
    assert clean_track(np.array([1]), sides, compat=True).boxes.tolist() == [[0, 0, 30, 40]]
    outside = clean_track(np.array([1]), np.array([[-30.0, 5, 30, 40]]))
    assert len(outside.frames) == 0
    assert outside.boxes.shape == (0, 4)
    assert outside.dropped == 1
    assert len(clean_track(np.array([1]), np.array([[-30.0, 5, 30, 40]]), compat=True).frames) == 1


@pytest.mark.parametrize(("max_gap", "frames"), [(0, [1, 4, 8]), (1, [1, 4, 8]), (2, [1, 2, 3, 4, 8]),
                                                  (3, list(range(1, 9))), (None, list(range(1, 9)))])  # fmt: skip
def test_only_short_gaps_are_filled(max_gap, frames):
    sides = np.array([[0.0, 0, 10, 10], [3, 6, 10, 16], [7, 10, 14, 16]])
    track = clean_track(np.array([1, 4, 8]), sides, max_gap=max_gap)
    assert track.frames.tolist() == frames
    assert track.frames[track.seen].tolist() == [1, 4, 8]
    if 2 in frames:
        assert track.boxes[1].tolist() == pytest.approx([1, 2, 11, 14])
    every = clean_track(np.array([1, 4, 8]), sides, max_gap=max_gap, compat=True)
    assert every.frames.tolist() == list(range(1, 9))


def test_of_repeated_frames_the_first_counts_and_gaps_beside_them_are_filled():
    frames, sides = np.array([10, 10, 11, 12, 14]), np.array([[x, 0, 10, 10.0] for x in (1, 2, 3, 4, 6)])
    track = clean_track(frames, sides)
    assert track.frames.tolist() == [10, 11, 12, 13, 14]
    assert track.boxes[:, 0].tolist() == [1, 3, 4, 5, 6]
    assert track.repeated == 1
    hidden = clean_track(frames, sides, compat=True)
    assert hidden.frames.tolist() == frames.tolist()
    assert hidden.boxes[:, 0].tolist() == [1, 2, 3, 4, 6]
    plain = clean_track(np.array([10, 10, 11, 12, 13]), sides, compat=True)
    assert plain.frames.tolist() == [10, 10, 11, 12, 13]


def test_published_filling_beside_repeated_frames_takes_the_last():
    frames, sides = np.array([10, 12, 12, 16]), np.array([[x, 0, 10, 10.0] for x in (1, 2, 6, 10)])
    track = clean_track(frames, sides, compat=True)
    assert track.frames.tolist() == list(range(10, 17))
    # what the published interpolation does: each coordinate on its own, numpy's rule for equal abscissae
    assert track.boxes[:, 0] == pytest.approx(np.interp(np.arange(10, 17), frames, sides[:, 0]))
    assert track.seen.tolist() == [True, False, True, False, False, False, True]


def test_filling_is_that_of_numpy_on_random_tracks():
    random = np.random.default_rng(0)
    for _ in range(20):
        frames = np.sort(random.choice(np.arange(1, 80), 30, replace=False))
        sides = random.uniform(1, 50, (30, 4))
        track = clean_track(frames, sides, max_gap=None)
        corners = np.hstack([sides[:, :2], sides[:, :2] + sides[:, 2:]])
        grid = np.arange(frames[0], frames[-1] + 1)
        assert track.frames.tolist() == grid.tolist()
        for side in range(4):
            assert track.boxes[:, side] == pytest.approx(np.interp(grid, frames, corners[:, side]), abs=1e-12)
        some = clean_track(frames, sides, max_gap=2)
        before = np.searchsorted(frames, grid, side="right") - 1
        after = np.minimum(before + 1, len(frames) - 1)
        short = (frames[after] - frames[before] <= 3) | np.isin(grid, frames)
        assert some.frames.tolist() == grid[short].tolist()


def test_labels_hold_both_ends_and_ignore_what_is_outside():
    frames = np.array([2, 3, 4, 7, 8, 8])
    spans = np.array([[3, 4], [4, 7], [100, 200], [-5, 1], [8, 3]])
    assert label_faces(frames, spans).tolist() == [0, 1, 1, 1, 0, 0]
    assert label_faces(frames, np.array([[8, 8]])).tolist() == [0, 0, 0, 0, 1, 1]
    assert label_faces(np.zeros(0, np.int64), spans).tolist() == []


def test_labels_are_those_of_the_set_of_frames():
    random = np.random.default_rng(1)
    for _ in range(20):
        frames = np.unique(random.integers(1, 100, 40))
        spans = np.sort(random.integers(-5, 110, (6, 2)), axis=1)
        positive = {frame for first, last in spans for frame in range(first, last + 1)}
        assert label_faces(frames, spans).tolist() == [int(frame in positive) for frame in frames]
