"""The frame store: any frame at once, the same interval as the labels, and no silent damage."""

from __future__ import annotations

import json
import pickle
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbpkg.errors import MediaError
from nbpkg.video.frames import FrameStore, StoreWriter, interval

FPS = Fraction(25, 8)


def write_store(folder, encoding="raw", count=40):
    folder.mkdir()
    writer = StoreWriter(folder, (32, 48), fps=FPS, encoding=encoding, jpeg_quality=95)
    ramp = np.linspace(0, 100, 48, dtype=np.uint8)
    frames = np.stack([np.broadcast_to((ramp + 3 * k)[None, :, None], (32, 48, 3)) for k in range(count)])
    frames = frames + np.array([0, 15, 30], dtype=np.uint8)
    for frame in frames:
        writer.add(frame)
    writer.finish()
    return frames


@pytest.fixture(params=["raw", "jpeg"])
def store(request, tmp_path):
    frames = write_store(tmp_path / "s", request.param)
    return FrameStore(tmp_path / "s"), frames


def test_any_order_repeats_and_none(store):
    opened, frames = store
    for wanted in ([7], [3, 4, 5, 6], [39, 0, 7, 7], [5, 7, 9], []):
        read = opened.frames(wanted)
        assert read.shape == (len(wanted), 32, 48, 3)
        assert read.dtype == np.uint8
        tolerance = 0 if opened.header.encoding == "raw" else 6
        assert np.abs(read.astype(int) - frames[wanted or slice(0, 0)]).max(initial=0) <= tolerance
    taken = opened.frames([0, 1])
    taken[:] = 0  # an own copy: the store stays
    assert opened.frames([1]).max() > 0


def test_facts_and_other_processes(store):
    opened, frames = store
    assert (len(opened), opened.shape, opened.fps, opened.end_ms) == (40, frames.shape, FPS, 12_800)
    assert opened.times_ms[:3].tolist() == [0, 320, 640]
    assert "40 frames 48x32, 25/8 fps" in repr(opened)
    again = pickle.loads(pickle.dumps(opened))
    assert (again.frames([3]) == opened.frames([3])).all()
    opened.verify()


def test_clip_covers_the_interval(store):
    opened, _ = store
    assert (opened.clip(320, 960) == opened.frames([1, 2])).all()
    assert (opened.clip(321, 961) == opened.frames([2, 3])).all()
    assert opened.clip(0, 12_800).shape[0] == 40
    assert opened.clip(0, 13_100).shape[0] == 40  # the rest of a duration that was rounded down
    assert opened.clip(0, 5000).shape[0] == 16
    assert opened.clip(0, 5000, count=15).shape[0] == 15


@pytest.mark.parametrize(
    ("start", "end", "count"), [(-1, 500, None), (500, 500, None), (321, 600, None), (0, 13_500, None), (0, 640, 3)]
)
def test_clip_that_is_not_there(start, end, count, store):
    with pytest.raises(MediaError, match=rf"Clip {start} to {end} ms(.|\n)*inside 0 to 12800 ms"):
        store[0].clip(start, end, count=count)


@pytest.mark.parametrize("number", [-1, 40])
def test_frame_that_is_not_there(number, store):
    with pytest.raises(MediaError, match=rf"Frame {number} does not exist(.|\n)*0 to 39"):
        store[0].frames([3, number])


@given(
    cuts=st.lists(st.integers(0, 10**7), min_size=2, max_size=8, unique=True).map(sorted),
    fps=st.fractions(Fraction(1, 10), 120, max_denominator=1001),
)
def test_touching_intervals_share_no_frame_and_lose_none(cuts, fps):
    spans = [interval(a, b, fps) for a, b in zip(cuts, cuts[1:], strict=False)]
    for (_, end), (start, _) in zip(spans, spans[1:], strict=False):
        assert end == start
    for (first, last), (a, b) in zip(spans, zip(cuts, cuts[1:], strict=False), strict=True):
        assert first == last or a <= first * 1000 / fps <= (last - 1) * 1000 / fps < b
        assert (first - 1) * 1000 / fps < a
        assert last * 1000 / fps >= b


def break_file(file, how):
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2] if how == "cut" else b"" if how == "emptied" else data)
    if how == "missing":
        file.unlink()


@pytest.mark.parametrize("how", ["cut", "emptied", "missing"])
@pytest.mark.parametrize(
    ("encoding", "name"),
    [
        ("raw", "frames.npy"),
        ("raw", "store.json"),
        ("jpeg", "frames.jpegs"),
        ("jpeg", "offsets.npy"),
        ("jpeg", "store.json"),
    ],
)
def test_every_broken_file_is_named(encoding, name, how, tmp_path):
    write_store(tmp_path / "s", encoding)
    break_file(tmp_path / "s" / name, how)
    with pytest.raises(MediaError, match=rf"'{name}'(.|\n)*Delete the session's folder"):
        FrameStore(tmp_path / "s")


@pytest.mark.parametrize(
    "change",
    [{"shape": [41, 32, 48, 3]}, {"encoding": "png"}, {"fps": [25, 0]}, {"fps": "x"}, {"version": 2}, {"bytes": 9}],
)
def test_header_that_lies(change, tmp_path):
    write_store(tmp_path / "s")
    file = tmp_path / "s/store.json"
    file.write_text(json.dumps({**json.loads(file.read_text(encoding="utf-8")), **change}), encoding="utf-8")
    with pytest.raises(MediaError, match="Frame store"):
        FrameStore(tmp_path / "s")


@pytest.mark.parametrize(("encoding", "name"), [("raw", "frames.npy"), ("jpeg", "frames.jpegs")])
def test_verify_finds_one_changed_bit(encoding, name, tmp_path):
    write_store(tmp_path / "s", encoding)
    data = bytearray((tmp_path / "s" / name).read_bytes())
    data[-9] ^= 1
    (tmp_path / "s" / name).write_bytes(data)
    opened = FrameStore(tmp_path / "s")
    with pytest.raises(MediaError, match="has hash"):
        opened.verify()


def test_damaged_jpeg_is_named(tmp_path):
    write_store(tmp_path / "s", "jpeg")
    offsets = np.load(tmp_path / "s/offsets.npy")
    data = bytearray((tmp_path / "s/frames.jpegs").read_bytes())
    data[offsets[5] : offsets[6]] = bytes(offsets[6] - offsets[5])
    (tmp_path / "s/frames.jpegs").write_bytes(data)
    opened = FrameStore(tmp_path / "s")
    assert opened.frames([4]).shape[0] == 1
    with pytest.raises(MediaError, match="damaged frame 5"):
        opened.frames([4, 5])
