"""Figures of face tracks: bars end where tracks do, orange where faces look, n in every panel."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex

from nbpkg.annotations.looking.challenge import COLUMNS
from nbpkg.annotations.looking.clips import Clip, Segment, TrackBoxes
from nbpkg.annotations.looking.faces import index_tracks
from nbpkg.annotations.looking.sources import Sources
from nbpkg.plots import looking_tracks, style


def make_track(name, frames, person="1", side=20.0):
    frames = np.array(frames)
    boxes = np.tile([10.0, 10, side, side], (len(frames), 1))
    return TrackBoxes(name, person, frames, boxes, np.ones(len(frames), bool))


@pytest.fixture
def found():
    first = (make_track("a", [30, 31, 32, 35, 36]), make_track("b", range(60, 90), "2", 80.0), make_track("c", [1, 99]))
    looking = (Segment("1", 31, 33), Segment("2", 60, 62), Segment("2", 70, 71))
    clips = (
        Clip("c1", "v", "train", first, looking, None, 2),
        Clip("c2", "v", "train", (make_track("z", range(1, 11)),), None, None, 1),
        Clip("c3", "w", "test", (make_track("z", range(1, 5)),), None, None, 1),
    )
    pictures = pd.DataFrame(columns=COLUMNS).astype({"frame": "int64"})
    return index_tracks(Sources(clips, {clip.session: clip.split for clip in clips}, {}, pictures, []))


def spans(axis, colour, *, pale=False):
    """Begin and end of all bars of a colour, row by row."""
    bars = [one for one in axis.collections if isinstance(one, PolyCollection) and len(one.get_paths())]
    chosen = [
        one for one in bars if to_hex(one.get_facecolor()[0]).upper() == colour and (one.get_alpha() == 0.35) == pale
    ]
    return [[(float(path.vertices[:, 0].min()), float(path.vertices[:, 0].max())) for path in one.get_paths()]
            for one in chosen]  # fmt: skip


def words(figure):
    figure.canvas.draw()
    return " | ".join(text.get_text() for text in figure.findobj(match=pyplot.Text) if text.get_text())


def test_bars_end_where_tracks_do_and_orange_where_faces_look(found):
    figure = looking_tracks.track_timeline(found.tracks, found.faces, "c1", fps=None)
    axis = figure.axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["c · 1", "a · 1", "b · 2"]
    assert spans(axis, style.BLUE) == [[(1, 2), (99, 100)], [(30, 33), (35, 37)], [(60, 90)]]
    assert spans(axis, style.BLUE, pale=True) == [[(33, 35)]]
    assert spans(axis, style.ORANGE) == [[(31, 34)], [(60, 63), (70, 72)]]
    assert "n = 39 faces in 3 tracks" in axis.get_title()
    seconds = looking_tracks.track_timeline(found.tracks, found.faces, "c1", fps=10).axes[0]
    assert spans(seconds, style.BLUE)[2] == [pytest.approx((6.0, 9.0))]


def test_only_the_first_tracks_are_shown_and_that_is_said(found):
    axis = looking_tracks.track_timeline(found.tracks, found.faces, "c1", most=2).axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["c · 1", "a · 1"]
    assert "the first 2 shown" in axis.get_title()
    assert "no face tracks in c9 yet" in words(looking_tracks.track_timeline(found.tracks, found.faces, "c9"))


def test_overview_counts_tracks_faces_and_clips(found):
    figure = looking_tracks.track_overview(found.footage, found.tracks, found.faces, fps=10)
    lengths, sizes, shares = figure.axes
    assert sum(bar.get_height() for bar in lengths.patches) == len(found.tracks) == 5
    assert sum(bar.get_height() for bar in sizes.patches) == len(found.faces) == 53
    assert [lines.get_title() for lines in (lengths, sizes)] == ["median 0.7", "median 80"]
    # the clip whose labels are not known is not among them
    points = sorted(map(tuple, shares.collections[0].get_offsets().tolist()))
    assert points == [(10.0, 0.0), (39.0, pytest.approx(8 / 39))]
    assert shares.get_title() == f"{8 / 49:.1%} of all faces (orange)"
    text = words(figure)
    assert all(part in text for part in ("n = 5", "n = 53", "n = 2 clips", "length of a track (s)", "(px)"))


def test_videos_of_a_fold_are_those_of_its_labelled_clips(found):
    groups, roles = ["v1", "v2", "w"], ["train", "train", "test"]
    folds = pd.DataFrame({"session": ["c1", "c2", "c3"], "group": groups, "fold": [0, 0, 1], "role": roles})
    axis = looking_tracks.fold_shares(found.footage, found.tracks, folds).axes[0]
    assert [label.get_text() for label in axis.get_xticklabels()] == [
        "fold 0 (train)\nn = 2 clips, 2 videos",
        "fold 1 (test)\nn = 0 clips, 0 videos\n+ 1 without labels",
    ]
    found.footage["labelled"] = [True, False, True]
    mixed = folds.assign(fold=0)
    axis = looking_tracks.fold_shares(found.footage, found.tracks, mixed).axes[0]
    (name,) = [label.get_text() for label in axis.get_xticklabels()]
    assert name.endswith("n = 2 clips, 2 videos\n+ 1 without labels")


def test_faces_without_boxes_and_no_tracks_at_all_are_drawn(found):
    for name in ("x0", "y0", "x1", "y1"):
        found.faces[name] = np.nan
    text = words(looking_tracks.track_overview(found.footage, found.tracks, found.faces))
    assert "n = 0" in text
    assert "no face tracks yet" in words(
        looking_tracks.track_overview(found.footage, found.tracks.iloc[:0], found.faces[:0])
    )
