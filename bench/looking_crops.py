"""Crops of a clip with many faces: every frame decoded once, against once for each of its faces. Target: 2 × for five.

Frames come from a frame store of JPEG files, as real recordings are prepared; both sides write the same crops. How long
windows take to list for 10,000 tracks of 500 frames (target: below 10 s) is measured beside it.
"""

from __future__ import annotations

import tempfile
from fractions import Fraction
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from bench.common import clock, median_of_rounds, show
from nbpkg.annotations.looking.faces import FACE_DTYPE
from nbpkg.datasets.looking.windows import list_windows
from nbpkg.features.looking.cropping import CropRule, cut_crop, cut_edges
from nbpkg.features.looking.cutting import FromFrames, PackRecipe, cut_all, encode_crop
from nbpkg.video.frames import FrameStore, StoreWriter

FRAMES, SIZE, FACES = 60, (720, 1280), (1, 5, 10)
RECIPE = PackRecipe(CropRule(), measure=False)


def write_store(folder: Path) -> FrameStore:
    """A room with texture at 720 lines."""
    folder.mkdir()
    chance = np.random.default_rng(0)
    height, width = SIZE
    room = cv2.resize(chance.integers(60, 200, (height // 8, width // 8, 3), dtype=np.uint8), (width, height))
    writer = StoreWriter(folder, SIZE, fps=Fraction(30), encoding="jpeg")
    for number in range(FRAMES):
        writer.add(np.roll(room, number, axis=1))
    writer.finish()
    return FrameStore(folder)


def make_faces(tracks: int, length: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Tracks that all last `length` frames."""
    faces = np.zeros(tracks * length, FACE_DTYPE)
    faces["frame"] = np.arange(tracks * length) % length
    left = 100.0 * (np.arange(tracks * length) // length % 11)
    faces["x0"], faces["y0"], faces["x1"], faces["y1"] = left, 200.0, left + 120, 340.0
    table = {"session": "a", "track": [str(number) for number in range(tracks)], "person": "1", "first": 0}
    offsets = np.arange(tracks) * length
    return pd.DataFrame({**table, "last": length - 1, "offset": offsets, "rows": length}), faces


def cut_face_by_face(store: FrameStore, faces: np.ndarray, target: Path) -> None:
    """Read the frame of every face anew."""
    edges = cut_edges(np.stack([faces[name] for name in ("x0", "y0", "x1", "y1")], axis=-1), RECIPE.rule)
    with target.open("wb") as stream:
        for frame, own in zip(faces["frame"].tolist(), edges, strict=True):
            crop = cut_crop(store.picture(frame), own, RECIPE.rule)
            if crop is not None:
                stream.write(encode_crop(crop, RECIPE.quality))


def measure(folder: Path, store: FrameStore, count: int) -> dict:
    """Cut one clip both ways."""
    tracks, faces = make_faces(count, FRAMES)
    crops, apart = folder / f"crops{count}", folder / f"{count}.jpgs"

    def one_pass() -> None:
        (crops / "a.json").unlink(missing_ok=True)
        cut_all(tracks, faces, {"a": FromFrames(store.path)}, folder=crops, recipe=RECIPE)

    times = median_of_rounds({"once": one_pass, "apart": lambda: cut_face_by_face(store, faces, apart)})
    same = (crops / "a.jpgs").read_bytes() == apart.read_bytes()
    return {
        "faces in a frame": count,
        "one pass, ms/frame": f"{1000 * times['once'] / FRAMES:.1f}",
        "face by face, ms/frame": f"{1000 * times['apart'] / FRAMES:.1f}",
        "times faster": f"{times['apart'] / times['once']:.1f}",
        "same bytes": same,
    }


def main() -> None:
    """Measure and print."""
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = write_store(folder / "store")
        rows = [measure(folder, store, count) for count in FACES]
    show(f"Crops of {FRAMES} frames {SIZE[1]}x{SIZE[0]}, JPEG store", rows)
    tracks, faces = make_faces(10_000, 500)
    crop = np.ones(len(faces), bool)
    times = [(stride, clock(partial(list_windows, tracks, faces, crop=crop, stride=stride))) for stride in (13, 3, 1)]
    rows = [
        {"stride": stride, "windows": -(-500 // stride) * 10_000, "seconds": f"{seconds:.1f}"}
        for stride, seconds in times
    ]
    show("Listing the windows of 10,000 tracks of 500 frames", rows)


if __name__ == "__main__":
    main()
