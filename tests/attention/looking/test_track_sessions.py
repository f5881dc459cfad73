"""Tracks as sessions: names, pictures where crops are missing, spans of annotators, snippets of seven frames."""

from __future__ import annotations

from fractions import Fraction
from functools import partial

import numpy as np
import pytest
from window_world import CORNER, FPS, SIDE, list_segments

from nbpkg.attention.choosing.choice import choose
from nbpkg.attention.comparing.gather import painted_frames, snippet_clip
from nbpkg.attention.looking.tracks import (
    ELSEWHERE,
    LOOKING,
    TrackStore,
    find_nearest,
    name_track,
    track_spans,
    track_stores,
)
from nbpkg.attention.painting.operations import check_name
from nbpkg.attention.painting.strokes import Painting
from nbpkg.errors import MediaError, PaintingError
from nbpkg.settings.attention import PaintSettings

SEVEN = PaintSettings(clip_seconds=float(7 / FPS), frames=7, per_label=3, painters=["p1", "p2"], painters_per_snippet=2)


@pytest.fixture(scope="module")
def stores(world):
    return track_stores(world.crops, world.tracks, faces=world.faces, has_crop=world.priors["crop"], fps=FPS)


@pytest.fixture(scope="module")
def spans(world, stores):
    return track_spans(world.tracks, list_segments(), faces=world.faces, fps=FPS, names=stores)


def is_striped(pictures):
    rows = pictures[:, CORNER, CORNER].mean(axis=(2, 3))
    return np.abs(np.diff(rows, axis=1)).max(axis=1) > 100


def test_names_of_tracks_can_be_files_and_are_never_shared():
    names = [name_track("clip", track) for track in ("1:0", "1_0", "1/0", "..", "a--b", "é", "CON:")]
    names += [name_track("clip--a", "b"), name_track("clip", "a-b")]
    assert len({name.lower() for name in names}) == len(names)
    assert all(check_name(f"{name}_120_face_looking", "snippet") for name in names)


def test_nearest_frame_against_looking_at_all():
    rng = np.random.default_rng(4)
    for _ in range(50):
        frames = np.sort(rng.integers(-5, 30, rng.integers(1, 12)))
        numbers = rng.integers(-9, 40, 20)
        expected = [
            min(range(len(frames)), key=lambda place: (abs(frames[place] - number), frames[place], -place))
            for number in numbers
        ]
        assert find_nearest(frames, numbers).tolist() == expected


def test_every_track_with_a_crop_is_a_store(world, stores):
    assert list(stores) == [name_track("a", "1:0"), name_track("a", "1/1"), name_track("b", "2:0")]
    assert [len(store) for store in stores.values()] == [60, 5, 61]
    assert stores[name_track("b", "2:0")].end_ms == 6100


def test_pictures_are_the_crops_and_missing_ones_the_nearest(world, stores):
    store = stores[name_track("a", "1:0")]
    assert store.frames([0, 19, 20, 21, 22]).shape == (5, SIDE, SIDE, 3)
    assert np.array_equal(store.frames([19, 20, 21, 22]), world.crops.read([19, 19, 22, 22]))
    gap = stores[name_track("b", "2:0")]
    first = int(world.tracks["offset"][2])
    inside = [first + place for place in (24, 24, 24, 24, 25, 25, 25, 25)]  # 29 and 36 are there, 30 to 35 are not
    assert np.array_equal(gap.frames(np.arange(24, 32)), world.crops.read(inside))


def test_frames_outside_a_track_are_refused(stores):
    store = stores[name_track("a", "1/1")]
    for wrong in (-1, 5):
        with pytest.raises(MediaError, match=rf"no frame {wrong}\b"):
            store.frames([0, wrong])
    assert store.frames([]).shape == (0, SIDE, SIDE, 3)


def test_test_crops_of_one_frame_number_show_the_last(world):
    rows = np.array([3, 4, 5])
    store = TrackStore(world.crops, rows, frames=np.array([0, 0, 2]), length=3, fps=FPS, path="track")
    assert store.shown.tolist() == [4, 4, 5]


def test_spans_say_what_each_annotator_marked(spans, world):
    own = spans[spans["session"] == name_track("a", "1:0")]
    found = {
        rater: list(rows[["value", "start_ms", "end_ms"]].itertuples(index=False, name=None))
        for rater, rows in own.groupby("rater")
    }
    assert found["first"] == [
        (ELSEWHERE, 0, 1000),
        (LOOKING, 1000, 3000),
        (ELSEWHERE, 3000, 4500),
        (LOOKING, 4500, 6000),
    ]
    assert found["second"][1] == (LOOKING, 1200, 3200)


def test_spans_count_from_the_first_face_and_agree_with_labels(spans, world):
    for track in world.tracks.to_dict("records"):
        own = world.faces[track["offset"] : track["offset"] + track["rows"]]
        name = name_track(track["session"], track["track"])
        rows = spans[(spans["session"] == name) & (spans["rater"] == "first")]
        if own["label"][0] < 0:
            assert rows.empty
            continue
        times = (own["frame"] - track["first"]) * 100 + 50
        looks = [(rows["value"][(rows["start_ms"] <= now) & (now < rows["end_ms"])] == LOOKING).item() for now in times]
        assert looks == (own["label"] == 1).tolist()


def test_an_annotator_who_never_saw_a_clip_says_nothing_of_it(spans):
    raters = spans.groupby("session")["rater"].agg(lambda names: sorted(set(names))).to_dict()
    assert raters[name_track("a", "1/1")] == ["first", "second"]  # marked nobody in this track, but in this clip
    assert raters[name_track("b", "2:0")] == ["first"]


def test_nothing_to_paint_is_said(world):
    with pytest.raises(PaintingError, match="No track"):
        track_spans(world.tracks, list_segments(), faces=world.faces, fps=FPS, names=[])
    unknown = world.faces.copy()
    unknown["label"] = -1
    with pytest.raises(PaintingError, match="No track"):
        track_spans(world.tracks, list_segments(), faces=unknown, fps=FPS, names=[name_track("a", "1:0")])


def test_times_at_a_rate_that_is_no_whole_number(world):
    rate = Fraction(30000, 1001)
    spans = track_spans(world.tracks, list_segments(), faces=world.faces, fps=rate, names=[name_track("a", "1:0")])
    own = spans[spans["rater"] == "first"]
    assert own["end_ms"].tolist() == [334, 1001, 1502, 2002]
    assert own["start_ms"].tolist() == [0, *own["end_ms"].tolist()[:-1]]


def test_snippets_are_seven_frames_on_which_both_annotators_agree(spans, stores, world, tmp_path):
    sessions = sorted(set(spans["session"]))
    choice = choose(spans, sessions, settings=SEVEN, absent=ELSEWHERE, folder=tmp_path, seed=0)
    snippets = choice.snippets
    assert snippets.groupby("label").size().tolist() == [3, 3]
    assert name_track("a", "1/1") not in set(snippets["session"])  # shorter than seven frames
    assert set(snippets["end_ms"] - snippets["start_ms"]) == {700}
    assert len(choice.queue) == 6 * 2
    for row in snippets.to_dict("records"):
        clip = snippet_clip(snippets, stores, row["snippet_id"], sources={}, frames=7, longest=960)
        assert clip.frames.shape == (7, SIDE, SIDE, 3)
        assert not clip.at_source
        assert np.diff(np.asarray(clip.frame_ms)).tolist() == [100] * 6
        assert (is_striped(clip.frames).mean() > 0.5) == bool(row["label"])
        painting = Painting(row["snippet_id"], "p1", session=row["session"], frame_ms=clip.frame_ms)
        again = partial(painted_frames, stores, {row["snippet_id"]: painting})
        assert np.array_equal(again(row["snippet_id"]), clip.frames)
