"""What 07 and 08 show of crops of faces: six blocks across a face, in figures and in films, unless asked for more."""

from __future__ import annotations

from fractions import Fraction

import av
import cv2
import numpy as np
import pandas as pd
import pytest

from nbpkg import tables
from nbpkg.annotations.looking.faces import FACE_DTYPE
from nbpkg.attention.looking.tracks import track_stores
from nbpkg.attention.painting.strokes import Painting
from nbpkg.features.looking.cropping import CropRule
from nbpkg.features.looking.cutting import FromPictures, PackRecipe, cut_all
from nbpkg.features.looking.packs import CropPacks
from nbpkg.plots import snippets
from nbpkg.plots.frames import FACE_BLOCKS
from nbpkg.plots.overlay import overlay

SIDE, LENGTH, FPS = 60, 7, Fraction(10)
NAME = "a--1_0_face_looking"


@pytest.fixture
def stores(tmp_path):
    tracks = pd.DataFrame({"session": ["a"], "track": "1", "first": 0, "last": LENGTH - 1, "offset": 0, "rows": LENGTH})
    faces = np.zeros(LENGTH, FACE_DTYPE)
    faces["frame"] = np.arange(LENGTH)
    for number in range(LENGTH):
        noise = np.random.default_rng(number).integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / f"{number}.png"), noise)
    pictures = FromPictures(tmp_path, tuple(f"{number}.png" for number in range(LENGTH)))
    cut_all(tracks, faces, {"a": pictures}, folder=tmp_path / "crops", recipe=PackRecipe(CropRule(size=SIDE)))
    packs = CropPacks(tmp_path / "crops", tracks)
    return track_stores(packs, tracks, faces=faces, has_crop=np.ones(LENGTH, bool), fps=FPS)


@pytest.fixture
def shown(stores):
    """Snippets, paintings, maps of people, stores."""
    (session,) = stores
    times = {"start_ms": 0, "end_ms": 700}
    row = {"snippet_id": NAME, "session": session, "task": "face", "variable": "looking", "label": 1, **times}
    painting = Painting(NAME, "p1", session=session, frame_ms=tuple(range(0, 700, 100)), **times)
    people = {NAME: {"p1": np.random.default_rng(9).random((LENGTH, SIDE, SIDE)).astype(np.float32)}}
    return pd.DataFrame([row]), {NAME: painting}, people, stores


def count_colours(picture):
    return len(np.unique(np.asarray(picture).reshape(-1, 3), axis=0))


def first_row(figure):
    """The recording, of the moments drawn."""
    return [axis.get_images()[0].get_array() for axis in figure.axes[:6]]


@pytest.mark.parametrize("privacy", ["pixelated", "full"])
def test_figures_of_crops_have_six_blocks_across_unless_asked_for_more(shown, privacy, tmp_path):
    table, paintings, people, stores = shown
    answers = tables.empty("answers")
    painted = snippets.painted(table, paintings, people, stores, answers, NAME, privacy=privacy)
    compared = snippets.compared(tables.empty("maps"), tmp_path, people, stores, paintings, NAME, privacy=privacy)
    for figure in (painted, compared):
        pictures = first_row(figure)
        assert all(picture.shape[:2] == (SIDE, SIDE) for picture in pictures)
        few = [count_colours(picture) <= FACE_BLOCKS**2 == 36 for picture in pictures]
        assert all(few) if privacy == "pixelated" else not any(few)


def test_films_of_crops_have_six_blocks_across(shown, tmp_path):
    _, paintings, people, stores = shown
    (path,) = snippets.write_films(
        tables.empty("maps"), tmp_path, people, stores, paintings, [NAME], privacy="pixelated"
    )
    with av.open(str(path)) as film:
        frame = next(film.decode(video=0)).to_ndarray(format="rgb24").astype(int)
    side = snippets.FILM_HEIGHT
    top = next(row for row in range(len(frame)) if abs(frame[row, :side] - 255).max() > 100 and row > 15)
    grey = frame[top + 2 : top + side - 2, 2 : side - 2].mean(axis=2)
    for axis in (0, 1):  # beyond the noise of the encoder, the picture changes at five edges only
        steps = np.abs(np.diff(grey, axis=axis)).mean(axis=1 - axis)
        edges = np.flatnonzero(steps > 0.25 * steps.max())
        assert 1 + (np.diff(edges) > 8).sum() <= FACE_BLOCKS - 1


def test_maps_over_crops_are_coarser_too():
    """Maps that differ only within cells of a sixteenth give the same picture."""
    fine = np.random.default_rng(2).random((1, 64, 64)).astype(np.float32)
    means = fine.reshape(1, 16, 4, 16, 4).mean(axis=(2, 4))
    coarse = np.repeat(np.repeat(means, 4, axis=1), 4, axis=2)
    frames = np.full((1, 64, 64, 3), 128, np.uint8)
    shown = [overlay(frames, values, privacy="coarse").astype(int) for values in (fine, coarse)]
    assert np.abs(shown[0] - shown[1]).max() <= 2
    assert np.abs(overlay(frames, fine, privacy="pixelated").astype(int) - shown[0]).max() > 10
