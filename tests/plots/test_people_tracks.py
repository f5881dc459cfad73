"""Figures of followed people show who is seen when, and frames only as privacy allows."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex

from nbpkg.plots import people_tracks, style
from nbpkg.video.frames import StoreWriter
from nbpkg.video.stores import open_store

FACE = ["face_x0", "face_y0", "face_x1", "face_y1"]


@pytest.fixture
def people():
    rows = [["s1", frame, person, who, 0.1 + 0.5 * person, 0.2, 0.3 + 0.5 * person, 0.9, 0.9,
             "between" if frame == 4 else "seen", *[np.nan] * 4]
            for person, who in enumerate(("parent", "child")) for frame in range(10)
            if who == "parent" or frame not in (2, 3)]  # fmt: skip
    columns = ["session", "frame", "person", "who", "x0", "y0", "x1", "y1", "score", "how", *FACE]
    return pd.DataFrame(rows, columns=columns)


def test_bars_end_where_somebody_goes(people):
    figure = people_tracks.people_over_time(people, "s1", fps=2.0)
    axis = figure.axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["parent\n100%", "child\n80%"]
    bars = [one for one in axis.collections if isinstance(one, PolyCollection)]
    spans = [[(path.vertices[:, 0].min(), path.vertices[:, 0].max()) for path in one.get_paths()] for one in bars]
    assert spans == [[(0, 2), (2.5, 5)], [(2, 2.5)], [(0, 1), (2.5, 5)], [(2, 2.5)]]
    assert "n = 10 frames" in axis.get_title()
    assert len(people_tracks.people_over_time(people, "s2").axes[0].texts) == 1


def test_boxes_lie_on_veiled_frames(people, tmp_path):
    writer = StoreWriter(tmp_path, (60, 100), fps=Fraction(2))
    noise = np.random.default_rng(0).integers(0, 256, (10, 60, 100, 3), dtype=np.uint8)
    for frame in noise:
        writer.add(frame)
    writer.finish()
    store = open_store(tmp_path)
    figure = people_tracks.people_frames({"s1": store}, people, session="s1", frames=[2, 4])
    one, two = figure.axes[:2]
    assert [len(axis.patches) for axis in (one, two)] == [1, 2]
    assert [patch.get_linestyle() for patch in two.patches] == ["--", "--"]
    assert np.allclose(two.patches[1].get_bbox().extents, [60, 12, 80, 54])
    assert to_hex(two.patches[1].get_edgecolor()).upper() == style.ORANGE
    assert len(np.unique(one.images[0].get_array().reshape(-1, 3), axis=0)) <= 12 * 8
    shown = people_tracks.people_frames({"s1": store}, people, session="s1", privacy="full", count=3)
    assert np.array_equal(shown.axes[0].images[0].get_array(), noise[2])


def test_each_recording_has_a_dot(people):
    rows = [["a", "pose", 51, 0.5], ["b", "pose", 51, 1.0], ["a", "video", 96, 0.25], ["b", "video", 96, 0.75]]
    table = pd.DataFrame(rows, columns=["recording", "modality", "width", "share_valid"])
    axis = people_tracks.token_shares(table).axes[0]
    assert [one.get_offsets()[:, 0].tolist() for one in axis.collections] == [[0.5, 1.0], [0.25, 0.75]]
    assert "n = 2 recordings" in axis.get_title()
    assert people_tracks.token_shares(table[:0]).axes[0].texts
