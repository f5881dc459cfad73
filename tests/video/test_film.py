"""Films to look at: every frame there, at its time, in sizes and colours that players take, always the same bytes."""

from __future__ import annotations

import json
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from nbpkg.errors import MediaError, StageError
from nbpkg.video.film import write_film, write_gif
from nbpkg.video.probe import probe

RATE = Fraction(25, 8)
COLOURS = [(200, 40, 40), (40, 200, 40), (40, 40, 200), (220, 220, 60), (128, 128, 128)]


def plain_frames(height: int = 24, width: int = 32) -> np.ndarray:
    """One colour for each frame."""
    return np.stack([np.full((height, width, 3), colour, np.uint8) for colour in COLOURS])


def read(path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


@pytest.mark.parametrize(("size", "expected"), [((24, 32), (24, 32)), ((15, 21), (16, 22)), ((1, 2), (2, 2))])
def test_film_holds_every_frame_at_its_time_with_even_sizes(tmp_path, size, expected):
    path = write_film(plain_frames(*size), tmp_path / "new" / "film.mp4", fps=RATE)
    facts = probe(path)
    assert (facts.codec, facts.frames, facts.fps) == ("h264", 5, RATE)
    assert (facts.height, facts.width) == expected
    assert float(facts.duration) == pytest.approx(1.6)
    assert np.abs(read(path).astype(int) - plain_frames(*expected)).max() <= 6
    with av.open(str(path)) as container:
        assert container.streams.video[0].pix_fmt == "yuv420p"
        assert not container.streams.audio
    assert path.read_bytes().find(b"moov") < path.read_bytes().find(b"mdat")  # plays before all has arrived
    assert [entry.name for entry in path.parent.iterdir()] == ["film.mp4"]


def test_same_frames_same_bytes(tmp_path):
    frames = np.random.default_rng(0).integers(0, 255, (6, 30, 40, 3), np.uint8)
    films = [write_film(frames, tmp_path / name, fps=RATE).read_bytes() for name in ("a.mp4", "b.mp4")]
    gifs = [write_gif(frames, tmp_path / name, fps=RATE).read_bytes() for name in ("a.gif", "b.gif")]
    assert films[0] == films[1]
    assert gifs[0] == gifs[1]


def test_repeats_and_whole_numbered_enlargement(tmp_path):
    frames = plain_frames()
    frames[:, 0, 0] = 255
    path = write_film(frames, tmp_path / "film.mp4", fps=Fraction(30000, 1001), repeat=3, least_height=50)
    found = read(path)
    assert found.shape == (15, 72, 96, 3)
    assert np.abs(found[:5].astype(int) - found[10:]).mean() <= 1
    assert found[0, :3, :3].min() > 180
    assert found[0, 4:, 4:, 1].max() < 60
    assert probe(path).fps == Fraction(30000, 1001)


@pytest.mark.parametrize("fps", [RATE, Fraction(30000, 1001), Fraction(50)])
def test_gif_holds_frames_times_and_colours(tmp_path, fps):
    path = write_gif(plain_frames(), tmp_path / "film.gif", fps=fps, least_height=48)
    with Image.open(path) as image:
        found, lengths = [], []
        for number in range(image.n_frames):
            image.seek(number)
            found.append(np.asarray(image.convert("RGB")))
            lengths.append(image.info["duration"])
        assert image.info["loop"] == 0
    assert np.abs(np.stack(found).astype(int) - plain_frames(48, 64)).max() <= 4
    assert sum(lengths) == pytest.approx(5000 / fps, abs=5)


def test_gif_of_one_frame_and_of_many_colours(tmp_path):
    path = write_gif(plain_frames()[:1], tmp_path / "one.gif", fps=RATE)
    with Image.open(path) as image:
        assert image.n_frames == 1
    ramp = np.zeros((2, 64, 64, 3), np.uint8)
    ramp[..., 0], ramp[..., 1] = np.meshgrid(np.arange(0, 256, 4), np.arange(0, 256, 4))
    with Image.open(write_gif(ramp, tmp_path / "ramp.gif", fps=RATE)) as image:
        assert np.abs(np.asarray(image.convert("RGB")).astype(int) - ramp[0]).mean() < 12


@pytest.mark.parametrize("write", [write_film, write_gif])
@pytest.mark.parametrize(
    "frames",
    [np.zeros((0, 8, 8, 3), np.uint8), np.zeros((2, 8, 8), np.uint8), np.zeros((2, 8, 8, 3), np.float32)],
    ids=["none", "grey", "float"],
)
def test_what_are_no_frames_is_refused(tmp_path, write, frames):
    with pytest.raises(MediaError, match="cannot be written as a film"):
        write(frames, tmp_path / "film", fps=RATE)
    assert not list(tmp_path.iterdir())


def test_impossible_rates_are_refused_and_nothing_half_written_stays(tmp_path):
    for rate, repeat in ((Fraction(0), 1), (RATE, 0)):
        with pytest.raises(MediaError, match="cannot be shown"):
            write_film(plain_frames(), tmp_path / "film.mp4", fps=rate, repeat=repeat)
    with pytest.raises(MediaError, match="At most 50"):
        write_gif(plain_frames(), tmp_path / "film.gif", fps=Fraction(60))
    (tmp_path / "file").write_text(json.dumps({}))
    for write in (write_film, write_gif):
        with pytest.raises(StageError):
            write(plain_frames(), tmp_path / "file" / "film.gif", fps=RATE)
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
