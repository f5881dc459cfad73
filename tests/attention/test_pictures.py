"""The pictures painted on are those of the frame store, only larger: same instants, same way up."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pandas as pd
import pytest

from nbpkg.attention.painting.pictures import read_pictures
from nbpkg.errors import MediaError
from nbpkg.video.convert import Recipe, convert
from nbpkg.video.frames import FrameStore
from nbpkg.video.probe import probe

SIZE = (72, 128)  # height and width


def draw(number: int, *, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A picture that differs from its neighbours everywhere, and between its corners."""
    height, width = size
    y, x = np.mgrid[:height, :width]
    wave = 110 + 90 * np.sin(x / 17 + 0.9 * number) * np.cos(y / 11 - 0.4 * number)
    picture = np.repeat(wave[..., None], 3, axis=2)
    picture[: height // 4, : width // 4] = (250, 20, 20)  # which way up
    return picture.astype(np.uint8)


def write_video(path: Path, count: int, *, codec="libx264", options=None, times_ms=None, fps=25, start_ms=0) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        stream.options = options or {}
        tick = Fraction(1, 1000) if times_ms else Fraction(1, fps)
        stream.codec_context.time_base = tick
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(draw(number))
            frame.pts = times_ms[number] if times_ms else number + start_ms * fps // 1000
            frame.time_base = tick
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def make_store(source: Path, folder: Path, recipe: Recipe) -> FrameStore:
    folder.mkdir()
    convert(source, folder, facts=probe(source), recipe=recipe)
    return FrameStore(folder)


GAPS = np.random.default_rng(0).choice([20, 30, 60, 80, 180], 300)
OPEN = {"preset": "veryfast", "bf": "3", "g": "40", "x264-params": "open-gop=1:keyint=40:b-pyramid=normal"}
VIDEOS = {
    "closed groups": ("a.mp4", {"options": {"preset": "veryfast", "g": "50"}}),
    "open groups with pictures before the key frame": ("a.mkv", {"options": OPEN}),
    "one key frame only": ("a.mp4", {"options": {"preset": "veryfast", "g": "9999", "keyint_min": "9999"}}),
    "every frame a key frame": ("a.mp4", {"options": {"preset": "veryfast", "g": "1"}}),
    "variable rate": ("a.mkv", {"options": OPEN, "times_ms": np.cumsum(GAPS).tolist()}),
    "begins late": ("a.ts", {"options": {"preset": "veryfast", "g": "25"}, "start_ms": 2000}),
    "old codec in an old container": ("a.avi", {"codec": "mpeg4", "options": {"g": "60"}}),
}


@pytest.mark.parametrize("kind", VIDEOS)
def test_every_instant_is_the_stores(kind, tmp_path):
    name, how = VIDEOS[kind]
    source = write_video(tmp_path / name, 300, **how)
    # A store of the source's size holds what convert chose, pixel by pixel.
    store = make_store(source, tmp_path / "store", Recipe(height=SIZE[0], width_multiple=2, write_video=False))
    chance, last = np.random.default_rng(1), len(store) - 1
    choices = [np.arange(len(store)), [0], [last], [last, last]]
    choices += [np.sort(chance.choice(len(store), 4, replace=False)) for _ in range(6)]
    choices += [np.arange(first, first + 5) for first in chance.integers(0, last - 4, 6)]
    for numbers in choices:
        clip = read_pictures(source, store, numbers=numbers)
        assert clip.at_source
        assert np.array_equal(clip.frames, store.frames(numbers))
        assert clip.frame_ms == tuple(int(number * 320) for number in numbers)


@pytest.mark.parametrize("session", ["s01", "s05", "s09", "s13", "s17"])  # 25, 30, 50 frames/s, variable rate, rotated
def test_sample_pictures_shrink_to_the_prepared_frames(demo, root, session):
    run = next((demo / "02_prepare" / "runs").iterdir())
    media = pd.read_csv(run / "media.csv").set_index("session").loc[session]
    store = FrameStore(run / media["store"])
    source = root / "data" / "infant_engagement" / "sample" / media["source"]
    start = len(store) // 2
    numbers = np.arange(start, start + 12)
    assert np.array_equal(read_pictures(source, store, numbers=numbers, longest=176).frames, store.frames(numbers))
    clip = read_pictures(source, store, numbers=numbers)
    assert (clip.width, clip.height) == (320, 175)  # the source's size, in the proportions of the store
    assert clip.fps == Fraction(25, 8)
    small = np.stack([cv2.resize(frame, (176, 96), interpolation=cv2.INTER_AREA) for frame in clip.frames])
    distance = np.abs(small[:, None].astype(float) - store.frames(numbers)[None]).mean(axis=(2, 3, 4))
    assert (np.diag(distance) < 3).all()
    moved = np.abs(np.diff(store.frames(numbers).astype(float), axis=0)).mean(axis=(1, 2, 3)) > 0.5
    assert (distance.argmin(axis=1) == np.arange(12))[1:][moved].all()


def test_rotation_flag_counts_as_in_the_store(tmp_path):
    source = write_video(tmp_path / "plain.mp4", 100, options={"preset": "veryfast"})
    turned = tmp_path / "turned.mp4"
    with av.open(str(source)) as old, av.open(str(turned), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)
    content = bytearray(turned.read_bytes())
    place = content.rindex(b"tkhd") + 4 + 40  # the matrix of the track's header: a quarter turn
    matrix = [0, 65536, 0, -65536, 0, 0, SIZE[0] << 16, 0, 1 << 30]
    content[place : place + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in matrix)
    turned.write_bytes(content)
    assert probe(turned).rotation in (90, 270)
    for upright in (True, False):
        recipe = Recipe(height=64, width_multiple=2, write_video=False, upright=upright)
        store = make_store(turned, tmp_path / f"store{upright}", recipe)
        clip = read_pictures(turned, store, numbers=[3, 9], upright=upright)
        assert (clip.height > clip.width) == upright
        small = cv2.resize(clip.frames[1], store.shape[2:0:-1], interpolation=cv2.INTER_AREA).astype(float)
        assert np.abs(small - store.frames([9])[0]).mean() < 4


def test_large_sources_are_reduced_and_small_ones_not_enlarged(tmp_path):
    source = write_video(tmp_path / "a.mp4", 30, options={"preset": "veryfast"})
    store = make_store(source, tmp_path / "store", Recipe(height=32, write_video=False))
    assert read_pictures(source, store, numbers=[1], longest=100).frames.shape == (1, 50, 100, 3)
    assert read_pictures(source, store, numbers=[1]).frames.shape == (1, 64, 128, 3)  # proportions of 64 x 32


@pytest.mark.parametrize("source", [None, Path("not") / "there.mp4"])
def test_without_a_source_the_store_is_shown(source, tmp_path):
    video = write_video(tmp_path / "a.mp4", 60, options={"preset": "veryfast"})
    store = make_store(video, tmp_path / "store", Recipe(height=32, write_video=False))
    clip = read_pictures(source, store, numbers=[0, 2, 2])
    assert not clip.at_source
    assert np.array_equal(clip.frames, store.frames([0, 2, 2]))
    assert clip.frame_ms == (0, 640, 640)


@pytest.mark.parametrize("numbers", [[], [-1], [0, 99], [3, 1]])
def test_frames_that_are_not_there_are_refused(numbers, tmp_path):
    video = write_video(tmp_path / "a.mp4", 60, options={"preset": "veryfast"})
    store = make_store(video, tmp_path / "store", Recipe(height=32, write_video=False))
    with pytest.raises(MediaError, match="cannot be shown"):
        read_pictures(video, store, numbers=numbers)


def test_a_source_that_is_another_video_is_named(tmp_path):
    long = write_video(tmp_path / "long.mp4", 120, options={"preset": "veryfast"})
    store = make_store(long, tmp_path / "store", Recipe(height=32, write_video=False))
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    with pytest.raises(MediaError, match="text file"):
        read_pictures(text, store, numbers=[1])
