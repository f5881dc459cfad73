"""Annotators' points as paint, and networks asked where they look when they say where a person looks."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import torch

from nbpkg.annotations.gaze.rows import finish
from nbpkg.attention.comparing.gather import paint_maps
from nbpkg.attention.explain import METHODS, Options, explain
from nbpkg.attention.gaze.looking import SquareStore, look_at_frames
from nbpkg.attention.gaze.points import SIDE, choose_frames, paint_points
from nbpkg.attention.painting.paintings import read_strokes, write_strokes
from nbpkg.errors import AnnotationError
from nbpkg.models.gaze.dinov2 import SmallBackbone
from nbpkg.models.gaze.gazelle import GazeLle, GazelleSize
from nbpkg.models.gaze.vtd import VtdSize, VtdSpatial, VtdTemporal
from nbpkg.training.gaze.answers import GazeCard, TrainedGaze

TINY = VtdSize(
    size=56,
    stem=4,
    planes=(4, 4, 4, 4, 4),
    blocks=(1, 1, 1, 1, 1),
    strides=(1, 2, 1, 1, 1),
    compress=(8, 8),
    inout=4,
    decoder=(8, 8, 4),
)
TINY_GAZELLE = GazelleSize(size=56, width=16, blocks=1, heads=2)
OPTIONS = Options(occlusion_radius=(0, 8, 8), occlusion_stride=(1, 16, 16), batch_size=4)


class Grey:
    """A store of noise."""

    fps = Fraction(10)

    def __len__(self) -> int:
        return 30

    def frames(self, indices):
        chance = np.random.default_rng(0)
        return np.stack([chance.integers(0, 255, (48, 64, 3), dtype=np.uint8) for _ in indices])


STORES = {"s": Grey(), "t": Grey()}


def gaze(**changes) -> pd.DataFrame:
    rows = [
        {"session": session, "participant": session, "person": "p", "rater": rater, "frame": frame, "inside": 1}
        | {"width": 64, "height": 48, "x0": 5, "y0": 5, "x1": 15, "y1": 17, "gaze_x": 32.0, "gaze_y": 12.0}
        | {"dataset": "d", "image": f"{session}/{frame}.png", "box_source": "manual"}
        for session in "st"
        for rater in "ab"
        for frame in range(20)
    ]
    return finish(pd.DataFrame(rows).assign(**changes))


def chosen(table: pd.DataFrame, per_person: int = 4) -> pd.DataFrame:
    return choose_frames(table, ["s"], stores=STORES, per_person=per_person, seed=0)


def test_frames_are_of_the_sessions_asked_for_and_spread_out():
    snippets = chosen(gaze())
    assert set(snippets["session"]) == {"s"}
    assert np.diff(snippets["start_ms"]).tolist() == [500, 500, 500]
    assert (snippets["raters"] == 2).all()


def test_a_frame_on_which_one_annotator_says_outside_is_not_chosen():
    table = gaze()
    outside = (table["rater"] == "b") & (table["frame"] != 7)
    table.loc[outside, ["inside", "gaze_x", "gaze_y"]] = [0, np.nan, np.nan]
    assert chosen(table)["start_ms"].tolist() == [700]
    with pytest.raises(AnnotationError, match="No test frame has a target"):
        chosen(table.assign(inside=0))


def test_a_point_is_paint_where_it_lies_in_the_squeezed_frame(tmp_path):
    snippets = chosen(gaze(), per_person=1)
    paintings = paint_points(gaze(), snippets, radius=0.11)
    assert [painting.painter for painting in paintings] == ["a", "b"]
    ((_, own),) = paint_maps(paintings, size=16).items()
    row, column = np.unravel_index(own["a"][0].argmax(), own["a"][0].shape)
    assert (column + 0.5) / own["a"].shape[2] == pytest.approx(0.5, abs=0.02)
    assert (row + 0.5) / own["a"].shape[1] == pytest.approx(0.25, abs=0.02)
    assert read_strokes(write_strokes(paintings, tmp_path / "strokes.jsonl")) == paintings


def test_stores_are_squeezed_to_squares():
    assert SquareStore(Grey()).frames([0, 3]).shape == (2, SIDE, SIDE, 3)


@pytest.mark.parametrize("kind", [VtdSpatial, VtdTemporal, GazeLle])
def test_networks_explain_the_place_they_name(kind):
    torch.manual_seed(0)
    if kind is GazeLle:
        backbone = SmallBackbone()
        network = GazeLle(backbone.features, TINY_GAZELLE, backbone=backbone, inout=True)
    else:
        network = kind(TINY)
    snippets = chosen(gaze(), per_person=1)
    look = look_at_frames(gaze(), snippets, stores=STORES, device=torch.device("cpu"))
    net, clip = look(snippets.iloc[0].to_dict(), TrainedGaze(network.eval(), GazeCard({}, "0" * 64)))
    assert clip.shape == (3, 1, 56, 56)
    with torch.no_grad():
        heat, score = net.answer(clip[None])[0, 0], net(clip[None])[0, 0]
    peak = np.unravel_index(int(heat.argmax()), heat.shape)
    near = heat[max(0, peak[0] - 3) : peak[0] + 4, max(0, peak[1] - 3) : peak[1] + 4].sum()
    assert float(score.sigmoid()) == pytest.approx(float(near / heat.sum()), abs=1e-3)
    for method in ("heatmap", "gradient", "gradcam", "occlusion"):
        found = METHODS[method].run(net, clip, [1], OPTIONS)[1]
        assert found.layer == (net.layer if method == "gradcam" else "")
        values = found.values
        assert values.shape[0] == 1
        assert values.ndim == 3
    shown = explain(net, clip, method="heatmap", targets=[1], options=OPTIONS)[1].values
    assert shown[0] == pytest.approx(heat.numpy())
