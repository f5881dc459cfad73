"""Maps over frames: people stay veiled, one scale for a clip, heat where the map is, and the published look."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib import pyplot

from nbpkg.errors import ExplainError, SettingsError
from nbpkg.plots import overlay
from nbpkg.plots.frames import veil


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    """Six frames of 48 x 64 pixels in which every pixel differs from its neighbours."""
    return np.random.default_rng(0).integers(0, 255, (6, 48, 64, 3), np.uint8)


@pytest.fixture(scope="module")
def spot() -> np.ndarray:
    """A map of 6 x 12 x 16 that is 1 in one cell of frame 2 and half as much in frame 4."""
    values = np.zeros((6, 12, 16), np.float32)
    values[2, 6, 10], values[4, 6, 10] = 1.0, 0.5
    return values


def colour(picture: np.ndarray) -> np.ndarray:
    """How far pixels are from grey."""
    return np.ptp(picture.astype(int), axis=-1)


def words(figure) -> str:
    figure.canvas.draw()
    return " | ".join(text.get_text() for text in figure.findobj(match=pyplot.Text) if text.get_text())


def test_heat_lies_where_the_map_is_and_nothing_elsewhere(frames, spot):
    found = overlay.overlay(frames, spot, privacy="full")
    assert (found.shape, found.dtype) == (frames.shape, np.uint8)
    centre = np.s_[24:28, 40:44]
    assert colour(found[2])[centre].min() > 40
    assert colour(found[0]).max() == colour(found[5]).max() == 0
    far = np.ones((48, 64), bool)
    far[18:34, 34:50] = False
    assert colour(found[2])[far].max() == 0
    grey = 0.8 * frames @ np.array([0.299, 0.587, 0.114])
    assert np.abs(found[0, ..., 0] - grey[0]).max() <= 0.51


def test_one_scale_holds_for_the_whole_clip(frames, spot):
    found = overlay.overlay(frames, spot, privacy="none")
    strong, weak = found[2, 26, 42].astype(int), found[4, 26, 42].astype(int)
    assert np.abs(strong - weak).max() > 30
    wide = overlay.overlay(frames, spot, privacy="none", limits=(0, 2))
    assert np.array_equal(wide[2, 26, 42], weak)
    twice = overlay.overlay(frames, 7 * spot, privacy="none")
    assert np.array_equal(found, twice)


@pytest.mark.parametrize(
    ("values", "limits"),
    [
        (np.arange(4.0).reshape(1, 2, 2), (0, 3)),
        (np.array([-3.0, -1, 0, 2]).reshape(1, 2, 2), (0, 2)),
        (np.full((1, 2, 2), 5.0), (5, 5)),
        (np.array([0.5] + [0.0] * 3999).reshape(1, 40, 100), (0, 0.5)),
        (np.array([90.0, *np.linspace(0, 1, 3999)]).reshape(1, 40, 100), (0, 1)),
    ],
    ids=["plain", "signed", "constant", "rare", "outlier"],
)
def test_limits(values, limits):
    assert overlay.find_limits(values) == pytest.approx(limits, abs=0.05)


def test_a_constant_map_shows_nothing_and_a_broken_one_is_refused(frames):
    assert colour(overlay.overlay(frames, np.ones((2, 3, 3)), privacy="full")).max() == 0
    assert colour(overlay.overlay(frames, -np.ones((2, 3, 3)), privacy="full")).max() == 0
    for values in (np.full((1, 2, 2), np.nan), np.zeros((2, 2)), np.zeros((0, 2, 2))):
        with pytest.raises(ExplainError, match="cannot be laid over frames"):
            overlay.overlay(frames, values, privacy="full")
    with pytest.raises(SettingsError, match="cannot be shown"):
        overlay.overlay(frames, np.ones((1, 2, 2)), privacy="open")


@pytest.mark.parametrize("privacy", ["pixelated", "none"])
def test_neither_frames_nor_fine_maps_show_a_face_unless_asked(frames, privacy):
    """Same mosaic, same picture: nothing finer than the mosaic and the coarse map is in what is shown."""
    frames = frames[:, :42, :54]  # 7 x 9 blocks of whole pixels
    averaged = veil(frames, blocks=9)
    edges = np.random.default_rng(1).random((6, 96, 128)).astype(np.float32)
    coarse = edges.reshape(6, 32, 3, -1)[..., :].mean(axis=2)  # another map of equal means over each cell's rows
    shown = overlay.side_by_side(frames, {"map": edges}, privacy=privacy, height=42)
    same = overlay.side_by_side(averaged, {"map": edges}, privacy=privacy, height=42)
    assert np.abs(shown.astype(int) - same).max() <= 2
    low = overlay.overlay(frames, edges, privacy=privacy)
    assert np.abs(low.astype(int) - overlay.overlay(frames, np.repeat(coarse, 3, axis=1), privacy=privacy)).max() <= 2
    assert not np.array_equal(overlay.overlay(frames, edges, privacy="full"), low)


def test_squares_get_no_finer_mosaic_than_whole_pictures(frames):
    square = overlay.side_by_side(frames[:, :, :48], {}, privacy="pixelated", height=48)
    picture = square[0, -48 - 19 : -19]
    assert len(np.unique(picture[:, :, 0][24])) <= 7


def test_films_show_the_recording_every_map_names_times_and_the_scale(frames, spot):
    titles = [f"{number} s" for number in range(6)]
    film = overlay.side_by_side(
        frames, {"people": spot, "Grad-CAM": 2 * spot}, privacy="full", height=96, titles=titles
    )
    assert film.dtype == np.uint8
    assert film.shape[0] == 6
    assert film.shape[2] == 3 * 128 + 2 * 4
    head = (film.shape[1] - 96) // 2
    pictures = film[:, head : head + 96]
    assert colour(pictures[0, :, :128]).max() > 60  # the recording keeps its colours
    assert np.array_equal(pictures[:, :, 132:260], pictures[:, :, 264:])  # scales are each map's own
    assert (film[0, :head] < 120).any()  # names
    assert not np.array_equal(film[0, -head:, :100], film[1, -head:, :100])  # times
    assert np.array_equal(film[0, -head:, 250:], film[1, -head:, 250:])  # the scale stays
    again = overlay.side_by_side(
        frames, {"people": spot, "Grad-CAM": 2 * spot}, privacy="full", height=96, titles=titles
    )
    assert np.array_equal(film, again)


def test_figure_has_a_row_for_every_map_and_a_column_for_every_moment(frames, spot):
    titles = [f"{number} s" for number in range(6)]
    maps = {"people": spot, "guided_backprop": spot}
    figure = overlay.show_maps(
        frames, maps, privacy="pixelated", titles=titles, notes={"people": "n = 2 painters"}, moments=3
    )
    pictures = [axis.get_images()[0].get_array() for axis in figure.axes[:9]]
    assert len(figure.axes) == 10  # and the scale
    assert np.array_equal(pictures[4], pictures[7])
    assert np.array_equal(pictures[4], overlay.overlay(frames, spot, privacy="pixelated")[2])
    text = words(figure)
    for expected in (
        "recording",
        "people\nn = 2 painters",
        "Guided backprop",
        "0 s",
        "2 s",
        "5 s",
        "lowest",
        "highest",
    ):
        assert expected in text
    assert "1 s" not in text
    assert len(overlay.show_maps(frames[:1], maps, privacy="none").axes) == 4
