"""Coming back to a painting of 2,000 strokes, and painting them into a map. Target: back in less than a second.

Coming back is reading the log, checking every line and adding up undo, redo, clear and copy.
Run: python -m bench strokes
"""

from __future__ import annotations

import os
import statistics
import tempfile
from pathlib import Path

import numpy as np

from bench.common import clock, show
from nbpkg.attention.painting.log import PaintingLog, painting_path, read_painting
from nbpkg.attention.painting.raster import dabs, rasterise

STROKES, POINTS, FRAMES, SIZE = 2000, 30, 16, (960, 540)
SHAPES = ((FRAMES, 90, 160), (FRAMES, 180, 320), (FRAMES, 540, 960))
HEADER = {"snippet_id": "snippet", "painter": "painter", "session": "s01", "task": "task", "variable": "attending"}
HEADER |= {"start_ms": 0, "end_ms": 5000, "frame_ms": [313 * frame for frame in range(FRAMES)]}
HEADER |= {"width": SIZE[0], "height": SIZE[1]}


def operations() -> list[dict]:
    """Make strokes as a hand makes them: 30 points in about a third of a second, every fifth with the eraser."""
    dice = np.random.default_rng(0)
    result = []
    for number in range(1, STROKES + 1):
        path = dice.uniform(0.2, 0.8, 2) + np.cumsum(dice.normal(0, 0.01, (POINTS, 2)), axis=0)
        result.append(
            {
                "op": "stroke",
                "n": number,
                "seconds": number * 0.8,
                "frame": int(dice.integers(FRAMES)),
                "tool": "brush" if number % 5 else "eraser",
                "radius": 0.06,
                "strength": 0.3,
                "points": [[12 * step, *np.round(at, 5).tolist()] for step, at in enumerate(path)],
            }
        )
    return result


def main() -> list[dict]:
    with tempfile.TemporaryDirectory() as name:
        path = painting_path(Path(name), "painter", "snippet")
        made = operations()
        with PaintingLog.open(path, HEADER, {}) as log:
            waits = [clock(lambda line=line: log.append(line)) for line in made]

        def reopen() -> None:
            PaintingLog.open(path, HEADER, {}).close()

        painting = read_painting(path)
        size = path.stat().st_size
        rows = [
            {"what": "one stroke to disk and acknowledged (median)", "ms": round(statistics.median(waits) * 1e3, 2)},
            {"what": "read and replay", "ms": round(min(clock(lambda: read_painting(path)) for _ in range(5)) * 1e3)},
            {"what": "open to go on painting", "ms": round(min(clock(reopen) for _ in range(5)) * 1e3)},
        ]
        for shape in SHAPES:
            seconds = min(clock(lambda s=shape: rasterise(painting.strokes, shape=s, size=SIZE)) for _ in range(3))
            rows.append({"what": f"rasterise at {shape[2]}x{shape[1]}", "ms": round(seconds * 1e3)})
    laid = sum(len(dabs(stroke, SIZE)) for stroke in painting.strokes)
    show(f"{STROKES:,} strokes of {POINTS} points ({laid:,} dabs, {size / 1e6:.1f} MB, {os.cpu_count()} cores)", rows)
    return rows


if __name__ == "__main__":
    main()
