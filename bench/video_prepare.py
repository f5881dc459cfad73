"""Preparing one 720p video against the ffmpeg command line that makes the same MP4. Target: 1.1 times its time."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import av

from bench.common import median_of_rounds, show, write_recording
from nbpkg.video.convert import Recipe, convert
from nbpkg.video.probe import probe

SECONDS, ROUNDS = int(os.environ.get("NBPKG_BENCH_SECONDS", "60")), 3
TITLE = "Preparing a video: 1280x720 to 288x160 at 25/8 frames/s, H.264 crf 18 slow"


def ours(source: Path, out: Path, recipe: Recipe) -> None:
    """Check, hash, convert, flush to disk: all that `prepare_sessions` does for one video."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    convert(source, out, facts=probe(source), recipe=recipe)


def theirs(source: Path, out: Path) -> None:
    command = ["ffmpeg", "-y", "-v", "error", "-i", str(source), "-an", "-vf", "scale=288:160,fps=25/8"]
    subprocess.run([*command, "-preset", "slow", "-crf", "18", str(out)], check=True)


def decode_only(source: Path) -> None:
    with av.open(str(source)) as container:
        container.streams.video[0].thread_type = "AUTO"
        for _ in container.decode(video=0):
            pass


def main() -> list[dict]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = write_recording(folder / "source.mp4", SECONDS)
        sides = {
            "nbpkg: raw frame store and MP4": lambda: ours(source, folder / "raw", Recipe()),
            "nbpkg: JPEG frame store and MP4": lambda: ours(source, folder / "jpeg", Recipe(encoding="jpeg")),
            "decoding alone (PyAV), the limit": lambda: decode_only(source),
        }
        if shutil.which("ffmpeg"):
            sides = {"ffmpeg: MP4 alone": lambda: theirs(source, folder / "theirs.mp4"), **sides}
        else:
            print("No ffmpeg on this machine: our side alone.", file=sys.stderr)
        times = median_of_rounds(sides, ROUNDS)
        base = times.get("ffmpeg: MP4 alone")
        rows = [
            {
                "what": what,
                "seconds": round(seconds, 2),
                "x real time": round(SECONDS / seconds, 1),
                "of ffmpeg's time": round(seconds / base, 2) if base else "",
            }
            for what, seconds in times.items()
        ]
        size = source.stat().st_size * 8 / SECONDS / 1e6
    show(f"{TITLE} ({SECONDS} s, {size:.1f} Mbit/s, median of {ROUNDS})", rows)
    return rows


if __name__ == "__main__":
    main()
