"""The published painting tool: its maps bit by bit, and each of its documented defects."""

from __future__ import annotations

import json

import numpy as np
import pytest

from nbpkg.attention.painting.reference_brush import (
    PublishedSnippet,
    published_kernel,
    rasterise_published,
    replay_events,
)
from nbpkg.attention.painting.strokes import Stroke
from nbpkg.errors import PaintingError

SNIPPETS = [PublishedSnippet("ew", "fp1", 1500, 1, "eggs", "attending"), PublishedSnippet("ew", "fp2", 0, 0, "x", "y")]
SIZE = (30, 20)


@pytest.fixture(scope="module")
def painted(golden):
    content = json.loads((golden / "painting_open.json").read_text())
    meta = content["meta"]
    snippets = [PublishedSnippet(*row) for row in meta["order_in_dropdown"]]
    found = replay_events(content["events"], snippets=snippets, size=tuple(meta["video_wh"]), frames=meta["frames"])
    with np.load(golden / "painting_open.npz") as arrays:
        return content, found, dict(arrays)


def test_golden_maps_are_the_same_bit_by_bit(painted):
    content, found, arrays = painted
    assert list(found) == list(content["saves"])
    for tag, saved in found.items():
        assert saved.heat.dtype == content["meta"]["heatmap_dtype"]
        assert saved.heat.tobytes() == arrays[tag].tobytes(), tag


def test_golden_folders_facts_and_brush(painted):
    content, found, _ = painted
    for tag, expected in content["saves"].items():
        saved = found[tag]
        assert saved.folder == expected["folder"]
        assert {**saved.info, "saved": "<timestamp>"} == expected["info.json"]
        assert list(saved.info) == list(expected["info.json"])
        state = (saved.frame, saved.slider, saved.sigma)
        assert state == (expected["frame_idx"], expected["slider_value"], expected["kernel_size"])


def test_golden_kernels(painted):
    content, _, arrays = painted
    meta = content["meta"]
    sizes = {"initial_kernel": meta["initial_kernel_size"]}
    sizes["kernel_after_3_up"] = meta["initial_kernel_size"] * 1.15**3
    sizes["kernel_after_5_down"] = content["saves"]["first"]["kernel_size"]
    for name, sigma in sizes.items():
        np.testing.assert_allclose(published_kernel(sigma), arrays[name], rtol=0, atol=2e-17)
    for sigma, side in meta["kernel_lengths"].items():
        kernel = published_kernel(float(sigma))
        assert kernel.shape == (side, side)
        np.testing.assert_array_equal(kernel, kernel[::-1, ::-1])
        assert kernel.max() == pytest.approx(0.1)
    assert published_kernel(meta["initial_kernel_size"]).max() == meta["initial_kernel_max"]


def test_golden_failures(painted):
    """Where the published tool raised an error of shapes, this says so in words."""
    meta = painted[0]["meta"]
    assert meta["tiny_brush_at_left_edge"] == meta["brush_fully_outside"] == "ValueError"
    tiny = [["wheel", "down"]] * 12 + [["press", "left"], ["move", -0.5, 5]]
    outside = [["press", "left"], ["move", -40, 5]]
    for events in (tiny, outside):
        with pytest.raises(PaintingError, match="published tool fails"):
            replay_events(events, snippets=SNIPPETS, size=SIZE)


def last(*events, tag="end"):
    return replay_events([*events, ("save", tag)], snippets=SNIPPETS, size=SIZE, frames=4)[tag]


def test_only_motion_with_the_left_or_right_button_paints():
    assert not last(("press", "left"), ("release",)).heat.any()
    assert not last(("move", 9, 9)).heat.any()
    assert not last(("press", "middle"), ("move", 9, 9)).heat.any()
    assert not last(("press", "left"), ("move", None, 9), ("move", 9, None)).heat.any()
    assert not last(("press", "right"), ("move", 9, 9)).heat.any()
    assert last(("press", "left"), ("move", 9, 9)).heat.any()
    assert last(("press", "left"), ("press", "middle"), ("move", 9, 9)).heat.any()
    assert last(("press", "left"), ("move", 9, 9), ("press", "right"), ("move", 9, 9)).heat.max() < 1e-8


def test_paint_depends_on_the_number_of_events():
    once = last(("press", "left"), ("move", 9, 9)).heat
    thrice = last(("press", "left"), *[("move", 9, 9)] * 3).heat
    np.testing.assert_allclose(thrice, 3 * once, atol=1e-6)
    assert last(("press", "left"), *[("move", 9, 9)] * 30).heat.max() == 1


def test_choosing_a_snippet_loses_paint_and_keeps_answers_and_slider():
    paint = [("press", "left"), ("move", 9, 9), ("release",)]
    saved = last(("slider", 2), *paint, ("labels", "joint", "no"), ("select_sample", 1))
    assert not saved.heat.any()
    assert (saved.frame, saved.slider) == (0, 2)
    assert saved.info["labels"] == {"participating": "joint", "attending": "no"}
    assert not last(*paint, ("select_sample", 1), ("select_sample", 0)).heat.any()
    assert last(*paint, ("select_sample", 0)).heat.any()  # the drop-down tells only of changes


def test_steps_go_on_from_the_slider_and_wrap():
    assert last(("step_back",)).frame == 3
    assert last(("step_back",), ("step_forward",)).frame == 0
    assert last(("slider", 3), ("select_sample", 1), ("step_forward",)).frame == 0
    assert last(("slider", 2), ("select_sample", 1), ("step_forward",)).frame == 3
    assert last(("slider", 2), ("select_sample", 1), ("slider", 2)).frame == 0


def test_clearing_clears_the_shown_frame_only():
    paint = [("press", "left"), ("move", 9, 9)]
    heat = last(*paint, ("slider", 1), *paint, ("clear_frame",)).heat
    assert heat[0].any()
    assert not heat[1:].any()


@pytest.mark.parametrize("event", [("fly",), ("wheel", "left"), ("move", 1), ("press",)])
def test_an_unknown_event_is_named(event):
    with pytest.raises(PaintingError, match=f"Event 1 '{event[0]}'"):
        replay_events([("release",), event], snippets=SNIPPETS, size=SIZE)


# ---- our strokes with the published brush ---------------------------------------------------------------------------


def test_our_strokes_painted_with_the_published_brush_are_what_its_events_give():
    moves = [(4.0, 5.0), (6.25, 7.5), (20.0, 11.0), (29.5, 19.5)]
    points = tuple((0, (x + 0.5) / 30, (y + 0.5) / 20) for x, y in [(0.0, 0.0), *moves])
    stroke = Stroke(1, "brush", 1 / 25, 0.9, points)
    eraser = Stroke(1, "eraser", 1 / 25, 0.1, points[1:3])
    pens = [("press", "left"), *(("move", *at) for at in moves), ("press", "right"), ("move", *moves[1])]
    expected = last(("slider", 1), *pens).heat
    for size in ((30, 20), (960, 640)):
        np.testing.assert_array_equal(rasterise_published([stroke, eraser], shape=(4, 20, 30), size=size), expected)


def test_clicks_and_points_outside_paint_nothing():
    click = Stroke(0, "brush", 0.1, 1.0, ((0, 0.5, 0.5),))
    leaving = Stroke(0, "brush", 0.1, 1.0, ((0, 0.5, 0.5), (9, 1.01, 0.5), (9, 0.5, -0.01)))
    tiny = Stroke(0, "brush", 0.01, 1.0, ((0, 0.5, 0.5), (9, 0.0, 0.5)))  # where the published tool fails
    for stroke in (click, leaving, tiny):
        assert not rasterise_published([stroke], shape=(1, 20, 30), size=SIZE).any()


def test_pieces_without_a_stroke_and_frames_that_are_not_there():
    assert rasterise_published([], shape=(2, 3, 4), size=SIZE).shape == (2, 3, 4)
    with pytest.raises(PaintingError, match="frame 2"):
        rasterise_published([Stroke(2, "brush", 0.1, 1.0, ((0, 0.5, 0.5),))], shape=(2, 3, 4), size=SIZE)
