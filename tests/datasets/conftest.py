"""Frame stores whose frames carry their number."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from nbpkg.video.frames import FrameStore, StoreWriter


def numbered(number: int, size: tuple[int, int]) -> np.ndarray:
    """Return a frame whose first two colours are its number, and whose third differs from pixel to pixel."""
    frame = np.empty((*size, 3), dtype=np.uint8)
    frame[..., 0], frame[..., 1] = number % 256, number // 256
    frame[..., 2] = (np.arange(size[0] * size[1]).reshape(size) * 7 + number * 13) % 256
    return frame


def write_store(folder: Path, count: int, *, size: tuple[int, int] = (12, 20), encoding: str = "raw") -> FrameStore:
    folder.mkdir()
    writer = StoreWriter(folder, size, fps=Fraction(25, 8), encoding=encoding)
    for number in range(count):
        writer.add(numbered(number, size))
    writer.finish()
    writer.close()
    return FrameStore(folder)


@pytest.fixture
def make_store(tmp_path):
    """Give the maker of stores: name, number of frames."""
    return lambda name, count, **how: write_store(tmp_path / name, count, **how)


@pytest.fixture
def number():
    """Give the reader of frame numbers, uint8 ``[..., H, W, 3]``."""
    return lambda frames: frames[..., 0, 0, 0].astype(int) + 256 * frames[..., 0, 0, 1].astype(int)
