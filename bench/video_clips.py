"""Random clips from the frame store against seeking in the MP4. Targets: raw 20 times, JPEG 4 times as fast."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from bench.common import clock, median_of_rounds, show, write_recording
from nbpkg.video.convert import Recipe, convert
from nbpkg.video.frames import FrameStore
from nbpkg.video.probe import probe

LENGTH, CLIPS, MINUTES = 15, 40, int(os.environ.get("NBPKG_BENCH_MINUTES", "4"))
FPS = Fraction(25, 8)
TITLE = f"Random clips of {LENGTH} frames, 288x160, from {MINUTES} minutes at 25/8 frames/s"


def seek_pyav(path: Path, first: int) -> np.ndarray:
    """Seek to the key frame before, decode up to the clip; the file stays open as in any good loader."""
    container = _OPEN.setdefault(path, av.open(str(path)))
    stream = container.streams.video[0]
    tick = 1 / (FPS * stream.time_base)
    container.seek(int(first * tick), stream=stream)
    frames = []
    for frame in container.decode(stream):
        if round(frame.pts / tick) >= first:
            frames.append(frame.to_ndarray(format="rgb24"))
            if len(frames) == LENGTH:
                break
    return np.stack(frames)


_OPEN: dict[Path, av.container.InputContainer] = {}


def all_intra(source: Path, target: Path) -> Path:
    """Encode the same frames so that each is a key frame: what a store without a format of its own could be."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        stream = new.add_stream("libx264", rate=FPS)
        stream.height, stream.width, stream.pix_fmt = old.streams.video[0].height, old.streams.video[0].width, "yuv420p"
        stream.options = {"crf": "18", "preset": "slow", "g": "1"}
        for number, frame in enumerate(old.decode(video=0)):
            frame.pts, frame.time_base, frame.pict_type = number, 1 / FPS, 0
            new.mux(stream.encode(frame))
        new.mux(stream.encode())
    return target


def readers(prepared: Path, intra: Path) -> dict[str, Callable[[int], np.ndarray]]:
    """Open the same video in all libraries that are installed."""
    found: dict[str, Callable[[int], np.ndarray]] = {}
    for label, path in (("MP4", prepared), ("all-intra MP4", intra)):
        found[f"PyAV, {label}"] = lambda first, path=path: seek_pyav(path, first)
        try:
            from torchcodec.decoders import VideoDecoder

            decoder = VideoDecoder(str(path), dimension_order="NHWC")
            found[f"torchcodec, {label}"] = lambda first, d=decoder: d.get_frames_in_range(
                first, first + LENGTH
            ).data.numpy()
        except (ImportError, RuntimeError) as error:
            print(f"torchcodec left out: {str(error).splitlines()[0]}")
        try:
            import decord

            reader = decord.VideoReader(str(path))
            found[f"decord, {label}"] = lambda first, r=reader: r.get_batch(range(first, first + LENGTH)).asnumpy()
        except ImportError as error:
            print(f"decord left out: {error}")
    return found


def main() -> list[dict]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = write_recording(folder / "source.mp4", 60 * MINUTES, size=(360, 640), fps=10)
        stores = {}
        for encoding in ("raw", "jpeg"):
            (folder / encoding).mkdir()
            convert(source, folder / encoding, facts=probe(source), recipe=Recipe(encoding=encoding))
            stores[encoding] = FrameStore(folder / encoding)
        prepared = folder / "raw/video.mp4"
        intra = all_intra(prepared, folder / "intra.mp4")
        take = {
            "frame store, raw": lambda first: stores["raw"].frames(np.arange(first, first + LENGTH)),
            "frame store, JPEG": lambda first: stores["jpeg"].frames(np.arange(first, first + LENGTH)),
            **readers(prepared, intra),
        }
        _check_same(take)
        starts = np.random.default_rng(0).integers(0, len(stores["raw"]) - LENGTH, CLIPS).tolist()
        times = median_of_rounds(
            {what: lambda get=get: [get(first) for first in starts] for what, get in take.items()}, 3
        )
        sizes = {
            "raw": stores["raw"].header.bytes,
            "JPEG": stores["jpeg"].header.bytes,
            "all-intra MP4": intra.stat().st_size,
            " MP4": prepared.stat().st_size,
        }
        rows = _rows(times, sizes)
        clip = stores["raw"].frames(np.arange(LENGTH))
        copy = min(clock(clip.copy) for _ in range(200))
    show(TITLE, rows)
    print(f"\nLimit of raw: copying the {clip.nbytes / 1e6:.1f} MB of a clip in memory takes {copy * 1e3:.2f} ms.")
    return rows


def _rows(times: dict[str, float], sizes: dict[str, int]) -> list[dict]:
    best = min(times[what] for what in times if what.endswith(", MP4"))
    rows = []
    for what, seconds in times.items():
        size = next(size for label, size in sizes.items() if what.endswith(label))
        rows.append(
            {
                "reader": what,
                "ms per clip": round(seconds / CLIPS * 1e3, 2),
                "times as fast as the best MP4 reader": round(best / seconds, 1),
                "MB on disk": round(size / 1e6, 1),
            }
        )
    return rows


def _check_same(take: dict[str, Callable[[int], np.ndarray]]) -> None:
    """Make sure that all sides return the same frames, up to compression."""
    expected = take["frame store, raw"](200).astype(int)
    for what, get in take.items():
        found = get(200)
        error = np.abs(found.astype(int) - expected).mean()
        if found.shape != expected.shape or error > 8:
            raise RuntimeError(f"{what} returns other frames: shape {found.shape}, mean difference {error:.1f}.")


if __name__ == "__main__":
    main()
