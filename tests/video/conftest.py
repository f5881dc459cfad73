"""Real video files, made on the spot: every frame carries its number as black and white bars."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

BITS = 10
RECIPE_MP4 = {"crf": "30", "preset": "veryfast"}


def bars(number: int, size: tuple[int, int]) -> np.ndarray:
    """Draw a number as upright bars, most significant first, over the whole picture."""
    bits = np.array([number >> bit & 1 for bit in reversed(range(BITS))])
    columns = np.minimum(np.arange(size[1]) * BITS // size[1], BITS - 1)
    grey = np.where(bits[columns] == 1, 225, 30).astype(np.uint8)
    return np.broadcast_to(grey[None, :, None], (*size, 3)).copy()


def read_bars(frame: np.ndarray) -> int:
    """Read the number that `bars` drew, at any size."""
    height, width = frame.shape[:2]
    centres = [int((bit + 0.5) * width / BITS) for bit in range(BITS)]
    bits = [frame[height // 4 : 3 * height // 4, centre].mean() > 128 for centre in centres]
    return sum(1 << bit for bit, on in zip(reversed(range(BITS)), bits, strict=True) if on)


def write_video(
    path: Path,
    count: int,
    *,
    fps: Fraction | int = 25,
    size: tuple[int, int] = (120, 160),
    times_ms: Sequence[int] | None = None,
    start_ms: int = 0,
    rotation: int = 0,
    pixel_aspect: Fraction | None = None,
    sound: bool = False,
    codec: str = "libx264",
    draw: Callable[[int, tuple[int, int]], np.ndarray] = bars,
) -> Path:
    """Write a video of numbered frames at a steady rate, or at given times."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        stream.height, stream.width = size
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        if codec == "libx264":
            stream.options = RECIPE_MP4
        tick = Fraction(1, 1000) if times_ms else 1 / Fraction(fps)
        stream.codec_context.time_base = tick
        if pixel_aspect:
            stream.codec_context.sample_aspect_ratio = pixel_aspect
        noise = container.add_stream("aac", rate=16000) if sound else None
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(draw(number, size))
            frame.pts = times_ms[number] + start_ms if times_ms else number + round(start_ms * Fraction(fps) / 1000)
            frame.time_base = tick
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if noise is not None:
            _add_sound(container, noise, seconds=float(count / Fraction(fps)))
    if rotation:
        turn_flag(path, rotation)
    return path


def write_sound(path: Path, seconds: float = 1.0) -> Path:
    with av.open(str(path), "w") as container:
        _add_sound(container, container.add_stream("aac", rate=16000), seconds=seconds)
    return path


def _add_sound(container, stream, *, seconds: float) -> None:
    wave = (np.sin(np.arange(int(16000 * seconds)) / 9) * 0.2).astype(np.float32)
    for first in range(0, len(wave) - 1023, 1024):
        frame = av.AudioFrame.from_ndarray(wave[None, first : first + 1024], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 16000, first, Fraction(1, 16000)
        container.mux(stream.encode(frame))
    container.mux(stream.encode())


def turn_flag(path: Path, clockwise: int) -> None:
    """Write a rotation into the track header of an MP4, as phones do."""
    cos, sin = {90: (0, 1), 180: (-1, 0), 270: (0, -1)}[clockwise]
    data = bytearray(path.read_bytes())
    matrix = data.find(b"tkhd") + 4 + 40
    data[matrix : matrix + 36] = struct.pack(">9i", cos << 16, sin << 16, 0, -sin << 16, cos << 16, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


@pytest.fixture
def video():
    """Give the maker of test videos."""
    return write_video


@pytest.fixture
def sound():
    """Give the maker of sound files."""
    return write_sound


@pytest.fixture
def number():
    """Give the reader of numbered frames."""
    return read_bars
