"""Sound as 988 numbers per second: published figures, windows of their own, and sound that stands where it is heard."""

from __future__ import annotations

import subprocess
import sys
import wave
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from nbpkg.errors import MediaError, SettingsError, StageError
from nbpkg.features.audio import Emobase, centre_frames, cut_windows, emobase_seconds
from nbpkg.features.sound import read_sound

GOLDEN = Path(__file__).parents[1] / "golden" / "valence_fusion"
RATE = 16000
pytest.importorskip("opensmile", reason="the extra 'audio' is not installed")


def write_wav(path: Path, samples: np.ndarray, rate: int = RATE) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())
    return path


def write_film(path: Path, *, seconds: float, late_s: float, channels: int = 1) -> Path:
    """A film whose sound begins `late_s` after (or before) its picture, as uncompressed samples."""
    with av.open(str(path), "w") as container:
        pictures = container.add_stream("mpeg4", rate=25)
        pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
        sound = container.add_stream("pcm_s16le", rate=RATE, layout="mono" if channels == 1 else "stereo")
        first = max(0, round(-late_s * 25))
        for number in range(round(seconds * 25)):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 90, np.uint8))
            frame.pts, frame.time_base = number + first, Fraction(1, 25)
            container.mux(pictures.encode(frame))
        container.mux(pictures.encode())
        samples = tone(seconds)
        for start in range(0, len(samples), 1600):
            part = np.repeat(samples[start : start + 1600], channels)[None]
            frame = av.AudioFrame.from_ndarray(part, format="s16", layout="mono" if channels == 1 else "stereo")
            frame.sample_rate, frame.time_base = RATE, Fraction(1, RATE)
            frame.pts = start + max(0, round(late_s * RATE))
            container.mux(sound.encode(frame))
        container.mux(sound.encode())
    return path


def tone(seconds: float) -> np.ndarray:
    return (8000 * np.sin(np.arange(round(seconds * RATE)) / 9)).astype(np.int16) + np.int16(1)


@pytest.fixture(scope="module")
def golden(tmp_path_factory) -> tuple[Path, np.ndarray, list[str]]:
    folder = tmp_path_factory.mktemp("sound")
    sys.path.insert(0, str(GOLDEN))
    from make_audio import CASES, signal

    seed, rate, seconds = CASES["open"]
    with np.load(GOLDEN / "audio_open.npz", allow_pickle=False) as file:
        return (
            write_wav(folder / "open.wav", signal(seed, rate, seconds), rate),
            file["features"],
            list(file["columns"]),
        )


def test_golden_features_with_time_columns(golden):
    path, features, columns = golden
    found = emobase_seconds(path, time_columns=True, partial="drop")
    assert found.names == columns
    assert found.rows.shape == (3, 990)
    assert found.rows.dtype == np.float32
    np.testing.assert_allclose(found.rows, features, rtol=5e-7, atol=1e-12)


def test_time_is_left_out_unless_asked_for(golden):
    path, features, columns = golden
    found = emobase_seconds(path, partial="drop")
    assert found.names == columns[2:]
    np.testing.assert_allclose(found.rows, features[:, 2:], rtol=5e-7, atol=1e-12)


def test_each_window_is_as_if_by_a_process_of_its_own():
    noise = np.random.default_rng(0)
    loud, quiet = (noise.standard_normal((2, RATE)) * [[6000], [3]]).astype(np.int16)
    windows = [loud, np.zeros(RATE, np.int16), tone(1), quiet, loud, tone(0.6)]
    with Emobase(RATE) as describe:
        together = [describe(window)[1] for window in windows]
    for window, found in zip(windows, together, strict=True):
        with Emobase(RATE) as describe:
            np.testing.assert_array_equal(found, describe(window)[1])


@pytest.mark.parametrize(("rate", "partial", "rows"), [(8000, "keep", 2), (44100, "keep", 2), (16000, "drop", 1)])
def test_a_last_window_of_half_is_kept_and_told(tmp_path, rate, partial, rows):
    path = write_wav(
        tmp_path / "a.wav",
        tone(1.9)[: round(1.6 * rate)] if rate < RATE else np.resize(tone(1), round(1.6 * rate)),
        rate,
    )
    found = emobase_seconds(path, partial=partial)
    assert found.rows.shape == (rows, 988)
    assert np.isfinite(found.rows).all()
    assert [(problem.file, "60%" in problem.what) for problem in found.problems] == [("a.wav", True)]


def test_less_than_half_a_window_is_left_out():
    windows, problems = cut_windows(np.zeros(140, np.int16), 100, partial="keep", name="a.wav")
    assert [len(window) for window in windows] == [100]
    assert "40% are there; it is left out" in problems[0].what
    windows, problems = cut_windows(np.zeros(200, np.int16), 100, partial="keep", name="a.wav")
    assert [len(window) for window in windows] == [100, 100]
    assert problems == []


def test_two_channels_are_halved_and_do_not_overflow(tmp_path):
    both = np.array([[30000, 30000], [-30000, 30000], [100, 301]] * 4000)
    sound = read_sound(write_wav(tmp_path / "b.wav", both))
    assert sound.rate == RATE
    np.testing.assert_allclose(sound.samples[:3], [30000, 0, 200], atol=1)
    assert len(sound.samples) == 12000


def test_sound_stands_where_it_is_heard(tmp_path):
    together = read_sound(write_film(tmp_path / "a.mkv", seconds=2, late_s=0, channels=2))
    np.testing.assert_array_equal(together.samples, tone(2))
    assert together.problems == []
    late = read_sound(write_film(tmp_path / "late.mkv", seconds=2, late_s=0.4))
    np.testing.assert_array_equal(late.samples, np.concatenate([np.zeros(6400, np.int16), tone(2)]))
    assert "0.40 s without sound" in late.problems[0].what
    early = read_sound(write_film(tmp_path / "early.mkv", seconds=2, late_s=-0.4))
    np.testing.assert_array_equal(early.samples, tone(2)[6400:])
    assert "0.40 s of sound before the first picture" in early.problems[0].what


def test_what_is_no_sound_is_refused(tmp_path):
    (tmp_path / "text.wav").write_text("hello there " * 50)
    with pytest.raises(MediaError, match="cannot be read"):
        read_sound(tmp_path / "text.wav")
    with pytest.raises(MediaError, match="not there"):
        read_sound(tmp_path / "none.wav")
    with av.open(str(tmp_path / "silent.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8))))
        container.mux(stream.encode())
    with pytest.raises(MediaError, match="holds no sound"):
        read_sound(tmp_path / "silent.mp4")
    with pytest.raises(MediaError, match=r"only 0\.20 s"):
        emobase_seconds(write_wav(tmp_path / "short.wav", tone(0.2)))
    with pytest.raises(SettingsError, match=r"windows of 0\.01 s"):
        emobase_seconds(tmp_path / "short.wav", seconds=0.01)


def test_only_framers_are_centred():
    config = b"[a:cFramer]\nframeCenterSpecial = left\n[b:cFunctionals]\nframeCenterSpecial = left\n[c:cFramer]\nx=1\n"
    config += b" frameCenterSpecial=left\n"
    changed = centre_frames(config)
    assert changed.count(b"center") == 2
    assert b"[b:cFunctionals]\nframeCenterSpecial = left" in changed
    with pytest.raises(StageError, match="0 framers"):
        centre_frames(b"[b:cFunctionals]\nframeCenterSpecial = left\n")


def test_without_the_library_the_message_says_what_to_install():
    code = (
        "import sys; sys.modules['opensmile'] = None\n"
        "from nbpkg.features.audio import load_library\n"
        "from nbpkg.errors import StageError\n"
        "try:\n    load_library()\nexcept StageError as error:\n    print(error)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "pip install nbpkg[audio]" in said
