"""Labels over recordings: the right answer at the right frame, the same in JSON, whatever the length."""

import json
import weakref
from fractions import Fraction

import av
import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageSequence

from nbpkg.attention.people.label_film import LabelStyle, write_label_film
from nbpkg.errors import MediaError, SettingsError, TableError

CLASSES = ("low", "höher", "high")
ANSWERS = pd.DataFrame(
    {"session": "s", "frame": [3, 6, 8], "seconds": [0.3, 0.6, 0.8], "p_low": [0.7, 0.004, np.nan],
     "p_höher": [0.2, 0.5, np.nan], "p_high": [0.1, 0.496, np.nan]}
)  # fmt: skip


def frames(count=10, size=(121, 161)):
    return (np.full((*size, 3), 180, np.uint8) for _ in range(count))


def read(path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def write(path, answers=ANSWERS, film=None, **how):
    return write_label_film(film or frames(), answers, path, fps=Fraction(10), classes=CLASSES, **how)


def named(**scores) -> list[dict]:
    return [{"label": label, "score": score} for label, score in scores.items()]


def same(first, second) -> bool:
    return bool(np.abs(first.astype(int) - second).mean() < 0.5)


def test_an_answer_holds_from_its_frame_until_the_next(tmp_path):
    film = read(write(tmp_path / "a.mp4")[0])
    assert film.shape == (10, 122, 162, 3)
    changes = [number for number in range(1, 10) if not same(film[number], film[number - 1])]
    assert changes == [3, 6, 8]
    assert same(film[0], film[9])  # before the first answer, and where there is none
    strip = film[3, :60, :80].mean(axis=-1)
    assert strip.min() < 60  # white on dark
    assert strip.max() > 200
    assert np.abs(film[3, 70:, 100:].astype(int) - 180).max() <= 3  # the rest stays as it is


def test_json_says_the_same(tmp_path):
    _, path = write(tmp_path / "a.mp4", style=LabelStyle(most=2, threshold=0.01))
    assert json.loads(path.read_text()) == [
        {"frame": 3, "seconds": 0.3, "shown_from": 3, "labels": named(low=0.7, höher=0.2)},
        {"frame": 6, "seconds": 0.6, "shown_from": 6, "labels": named(höher=0.5, high=0.496)},
        {"frame": 8, "seconds": 0.8, "shown_from": 8, "labels": []},
    ]
    told = json.loads(write(tmp_path / "b.mp4", style=LabelStyle(threshold=0.3))[1].read_text())
    assert [len(one["labels"]) for one in told] == [1, 2, 0]


def test_of_windows_each_frame_shows_the_one_whose_middle_is_nearest(tmp_path):
    windows = ANSWERS.assign(frame=[0, 2, 4], frames=5)  # middles 2, 4 and 6
    film, path = write(tmp_path / "a.mp4", windows)
    assert [one["shown_from"] for one in json.loads(path.read_text())] == [0, 4, 6]
    shown = read(film)
    assert [number for number in range(1, 10) if not same(shown[number], shown[number - 1])] == [4, 6]
    whole = json.loads(write(tmp_path / "b.mp4", windows.iloc[:1])[1].read_text())
    assert whole[0]["shown_from"] == 0


def test_gif_resolution_and_a_single_clip(tmp_path):
    style = LabelStyle(resolution=(-1, 60), algorithm="area")
    path, _ = write(tmp_path / "a.gif", ANSWERS.iloc[:1].assign(frame=0), style=style)
    with Image.open(path) as gif:
        shown = [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(gif)]
    assert len(shown) >= 1
    assert shown[0].shape == (60, 80, 3)


def test_films_of_any_length_hold_few_frames_in_memory(tmp_path):
    made, most = [], []

    def watched():
        for number in range(12):
            frame = np.full((48, 64, 3), 10 * number, np.uint8)
            made.append(weakref.ref(frame))
            most.append(sum(one() is not None for one in made))
            yield frame

    assert len(read(write(tmp_path / "a.mp4", film=watched())[0])) == 12
    assert max(most) <= 3


def test_what_cannot_be_is_refused(tmp_path):
    with pytest.raises(TableError, match="no column 'p_high'"):
        write(tmp_path / "a.mp4", ANSWERS.drop(columns="p_high"))
    with pytest.raises(TableError, match="do not rise"):
        write(tmp_path / "a.mp4", ANSWERS.iloc[::-1])
    with pytest.raises(SettingsError, match=r"a\.avi"):
        write(tmp_path / "a.avi")
    for ending in ("mp4", "gif"):
        with pytest.raises(MediaError):
            write(tmp_path / f"a.{ending}", film=frames(0))
    with pytest.raises(SettingsError, match="cannot be drawn"):
        LabelStyle(most=0)
    mixed = iter([np.zeros((48, 64, 3), np.uint8), np.zeros((48, 60, 3), np.uint8)])
    with pytest.raises(MediaError, match="Frame 1 is"):
        write(tmp_path / "a.mp4", film=mixed)
    assert not list(tmp_path.iterdir())  # nothing half-written
