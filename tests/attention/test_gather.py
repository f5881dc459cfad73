"""Bringing together what is compared: pictures of other sizes, snippets that cannot be compared, frames."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from nbpkg import tables
from nbpkg.attention.comparing import gather
from nbpkg.attention.painting.strokes import Painting, Stroke
from nbpkg.errors import PaintingError
from nbpkg.plots import snippets as plots


def painting(painter: str, size: tuple[int, int], *, state: str = "done", snippet: str = "a") -> Painting:
    stroke = Stroke(0, "brush", 0.2, 0.5, ((0, 0.5, 0.5), (10, 0.6, 0.5)))
    facts = {"session": "s1", "task": "eggs", "variable": "smile", "start_ms": 0, "end_ms": 1000}
    frames = {"frame_ms": (0, 500), "width": size[0], "height": size[1]}
    return Painting(snippet_id=snippet, painter=painter, strokes=(stroke,), state=state, **facts, **frames)


@pytest.fixture
def snippets():
    row = {"session": "s1", "task": "eggs", "variable": "smile", "start_ms": 0, "end_ms": 1000, "label": 1}
    rows = [{"snippet_id": name, **row, "raters": 2, "painted": False} for name in ("a", "b")]
    return tables.from_rows(rows, "snippets")


def test_pictures_of_two_sizes_give_maps_of_one_snippet(snippets):
    """The source may be at hand for one painter and not for the other: the pictures then differ by a rounded pixel."""
    maps = gather.paint_maps([painting("p1", (320, 180)), painting("p2", (170, 96))], size=32)
    shapes = {own.shape for own in maps["a"].values()}
    assert len(shapes) == 2
    means, counts = gather.average_places(maps, snippets)
    assert counts == {"eggs · smile · yes": 2}
    assert means["eggs · smile · yes"].max() > 0.1
    own = pd.DataFrame(columns=["snippet_id"])
    shown = plots._all_maps(own, None, maps, "a")
    assert shown["people"].shape == (2, 160, 160)


def test_only_submitted_paintings_count():
    assert gather.paint_maps([painting("p1", (320, 180), state="begun")], size=32) == {}


def test_the_published_brush_paints_another_map():
    ours, theirs = (gather.paint_maps([painting("p1", (320, 180))], size=32, published=one) for one in (False, True))
    assert ours["a"]["p1"].shape == theirs["a"]["p1"].shape
    assert not np.allclose(ours["a"]["p1"], theirs["a"]["p1"])


def test_what_cannot_be_compared_is_left_out_with_the_reason(snippets):
    kept, dropped = gather.select_painted(snippets, {"a": None}, {("eggs", "smile")})
    assert kept["snippet_id"].tolist() == ["a"]
    assert dropped[["key", "reason"]].to_numpy().tolist() == [["b", "nobody has painted it"]]
    with pytest.raises(PaintingError, match="None of the 2 snippets can be compared"):
        gather.select_painted(snippets, {"a": None}, {("drums", "smile")})
