"""Crops have the published geometry, and grow about the box's centre."""

from __future__ import annotations

import math

import numpy as np
import pytest
from looking_faces import GOLDEN

from nbpkg.features.looking.cropping import CropRule, cut_crop, cut_edges


def draw_frame(seed: int, height: int, width: int) -> np.ndarray:
    """The golden set's rule of a frame."""
    cells = np.random.default_rng(seed).integers(0, 200, (math.ceil(height / 8), math.ceil(width / 8), 3))
    blocks = np.repeat(np.repeat(cells, 8, axis=0), 8, axis=1)[:height, :width]
    rows, columns = np.mgrid[:height, :width]
    return (blocks + ((2 * rows + columns) % 56)[..., None]).astype(np.uint8)


@pytest.mark.parametrize("case", ["crop", "crop_scale"])
def test_golden_crops(case):
    golden = np.load(GOLDEN / f"{case}_open.npz")
    frame = draw_frame(int(golden["frame_seed"]), *golden["frame_hw"].tolist())
    assert int(frame.sum()) == int(golden["frame_sum"])
    rule = CropRule(scale=float(golden["scale"]))
    edges = cut_edges(golden["boxes"], rule)
    assert np.array_equal(edges, golden["int_xyxy"])
    for own, wanted, (_, most) in zip(edges, golden["crops_every4"], golden["sum_max"], strict=True):
        crop = cut_crop(frame, own, rule)
        assert np.abs(crop[::4, ::4].astype(int) - wanted).max() <= 1
        assert abs(int(crop.max()) - most) <= 1


def test_boxes_grow_about_their_centre_and_stop_at_the_border():
    boxes = np.array([[100.0, 100.0, 140.0, 120.0], [5.0, 5.0, 25.0, 25.0]])
    assert cut_edges(boxes, CropRule(enlarge=0.5)).tolist() == [[90, 95, 150, 125], [0, 0, 30, 30]]


@pytest.mark.parametrize(
    "box", [[200, 10, 260, 40], [10, 10, 10, 40], [30, 10, 10, 40], [np.nan] * 4, [-9, -9, -2, -2]]
)
def test_boxes_without_a_pixel_give_no_crop_or_a_black_one_as_published(box):
    frame = np.full((60, 80, 3), 200, np.uint8)
    edges = cut_edges(np.array([box], float))[0]
    assert cut_crop(frame, edges) is None
    black = cut_crop(frame, edges, CropRule(size=32, black_where_empty=True))
    assert black.shape == (32, 32, 3)
    assert not black.any()
