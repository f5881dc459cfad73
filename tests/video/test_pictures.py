"""Frames of people are shown unrecognisably unless somebody asks; figures say what they count."""

from __future__ import annotations

import io

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from nbpkg.errors import SettingsError
from nbpkg.plots import frames as pictures
from nbpkg.plots import video as figures

NOISE = np.random.default_rng(0).integers(0, 255, (4, 160, 288, 3), dtype=np.uint8)


def media(count: int) -> pd.DataFrame:
    columns = {
        "session": [f"fp{number:02}" for number in range(count)],
        "duration_ms": [600_000 + 1000 * number for number in range(count)],
        "width": 288,
        "height": 160,
        "fps_num": 25,
        "fps_den": 8,
        "source_fps": [25.0 + number for number in range(count)],
        "source_variable_rate": [number % 2 == 1 for number in range(count)],
        "bytes": 400_000_000,
        "source_bytes": 2_000_000_000,
    }
    return pd.DataFrame(columns, index=range(count))


def test_mosaic_keeps_no_more_than_its_blocks():
    veiled = pictures.veil(NOISE)
    assert veiled.shape == NOISE.shape
    for frame in veiled:
        assert len(np.unique(frame.reshape(-1, 3), axis=0)) <= 12 * 7


def test_full_frames_are_a_copy():
    assert not np.shares_memory(pictures.veil(NOISE, privacy="full"), NOISE)
    assert (pictures.veil(NOISE, privacy="full") == NOISE).all()


def test_withheld_frames_hold_nothing():
    assert len(np.unique(pictures.veil(NOISE, privacy="none"))) == 1


def test_unknown_privacy_is_refused():
    with pytest.raises(SettingsError, match=r"'blurred'(.|\n)*pixelated, full, none"):
        pictures.veil(NOISE, privacy="blurred")


def pixels(figure: Figure) -> np.ndarray:
    stream = io.BytesIO()
    figure.savefig(stream, dpi=60)
    stream.seek(0)
    return matplotlib.image.imread(stream)


def test_figures_hold_only_what_may_be_seen():
    default = pictures.show_frames(NOISE, titles=["a", "b", "c", "d"])
    held = [image.get_array() for axis in default.axes for image in axis.get_images()]
    assert len(held) == 4
    assert (np.stack(held) == pictures.veil(NOISE)).all()
    sheet = pictures.contact_sheet(media(4), list(NOISE))
    assert [axis.get_title() for axis in sheet.axes][0] == "fp00\n10:00 min · 288×160 · 3.125 fps"
    assert (sheet.axes[3].get_images()[0].get_array() == pictures.veil(NOISE[3])).all()
    assert pixels(pictures.show_frames(NOISE[:0])).std() >= 0  # no frame is a figure too


@pytest.mark.parametrize("draw", [figures.source_rates, figures.durations, figures.sizes])
@pytest.mark.parametrize("count", [0, 1, 3, 80])
def test_recordings_are_drawn_with_units_and_n(draw, count):
    figure = draw(media(count))
    axis = figure.axes[0]
    assert "[" in axis.get_ylabel()
    assert axis.get_title(loc="right") == f"n = {count} sessions"
    assert pixels(figure).std() > 0
