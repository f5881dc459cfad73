"""Figures of crops show what is known of faces, and nobody's face unless asked."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from nbpkg.features.looking.priors import PRIOR_DTYPE
from nbpkg.plots.looking_crops import crop_sheet, head_axes, missing_figure, sharpness_figure

TRACKS = pd.DataFrame({"session": ["a", "a"], "track": ["1", "2"], "offset": [0, 6], "rows": [6, 2]})


@pytest.fixture
def priors():
    found = np.zeros(8, PRIOR_DTYPE)
    found["crop"] = [True] * 6 + [False] * 2
    for name in ("yaw", "pitch", "roll", "points", "sharpness"):
        found[name] = np.nan
    for name in ("yaw", "pitch", "roll"):
        found[name][:2] = 20
    found["points"][3] = [0.5, 0.5, 0, 0.9]
    found["sharpness"][:5] = [1, 10, 100, 50, 20]
    return found


def read(rows):
    return np.random.default_rng(0).integers(0, 255, (len(rows), 48, 48, 3), dtype=np.uint8)


def test_crops_are_pixelated_and_missing_priors_counted(priors):
    figure = crop_sheet(TRACKS, priors, read=read, columns=4, labels=np.array([1, 0, -1, 0, 1, 0, 0, 0]))
    figure.canvas.draw()
    pictures = [image.get_array() for axis in figure.axes for image in axis.images]
    assert len(pictures) == 4
    assert all(len(np.unique(picture.reshape(-1, 3), axis=0)) <= 36 for picture in pictures)
    said = figure.get_supxlabel()
    assert said == "of 4 crops drawn, 3 have no head pose and 3 no points"
    full = crop_sheet(TRACKS, priors, read=read, columns=4, privacy="full")
    assert len(np.unique(full.axes[0].images[0].get_array().reshape(-1, 3), axis=0)) > 1000


def test_axes_of_heads_point_where_heads_turn():
    assert head_axes(0, 0, 0)[:2] == pytest.approx(np.eye(2), abs=1e-9)
    assert head_axes(90, 0, 0)[2] == pytest.approx([-1, 0], abs=1e-9)
    assert head_axes(0, 90, 0)[2] == pytest.approx([0, -1], abs=1e-9)
    assert head_axes(0, 0, 90)[0] == pytest.approx([0, 1], abs=1e-9)


def test_sharpness_says_how_many_and_which_share_lies_below_the_limit(priors):
    p = np.array([0.1, 0.4, 0.9, 0.8, 0.15, np.nan, np.nan, np.nan])
    figure = sharpness_figure(priors, p)
    texts = [text.get_text() for axis in figure.axes for text in axis.texts]
    assert "n = 5 of 6 crops" in texts
    assert "n = 5\n40% below 0.2" in texts


def test_nothing_to_draw_is_said(priors):
    empty = priors[6:]
    assert crop_sheet(TRACKS.iloc[:0], priors, read=read).axes[0].texts[0].get_text() == "no tracks yet"
    assert sharpness_figure(empty, np.full(2, np.nan)).axes[0].texts[0].get_text() == "no sharpness yet"
    table = pd.DataFrame({"part": ["train"], "prior": ["points"], "crops": [4], "missing": [1]})
    assert [text.get_text() for text in missing_figure(table).axes[0].texts] == ["1 of 4"]
