"""Earth mover's distance of maps of 32 x 32 pixels: ours (exact) against OpenCV's, as published, on the same pairs.

OpenCV gets every pixel, as in the published program, and, in a column of its own, only the pixels that are not empty.
Run: python -m bench transport
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import cv2
import numpy as np

from bench.common import show
from nbpkg.attention.comparing.transport import earth_mover

SIDE, PAIRS = 32, 3
EPSILON = 2.220446049250313e-16


def blobs(random: np.random.Generator, count: int) -> np.ndarray:
    """Draw Gaussians of 3 pixels at random places."""
    row, column = np.mgrid[:SIDE, :SIDE]
    centres = random.uniform(4, SIDE - 4, (count, 2))
    return sum(np.exp(-((row - y) ** 2 + (column - x) ** 2) / 18) for y, x in centres)


def painted(random: np.random.Generator) -> np.ndarray:
    """Draw what a painter leaves: three strokes on an otherwise empty frame."""
    found = blobs(random, 3)
    return np.where(found > 0.2, found, 0)


KINDS: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "two blobs": lambda random: blobs(random, 2),
    "random": lambda random: random.random((SIDE, SIDE)),
    "painted": painted,
}


def published(human: np.ndarray, machine: np.ndarray, *, is_full: bool) -> float:
    """Solve with OpenCV."""
    signatures = []
    for values in (human, machine):
        shares = values + EPSILON if is_full else values
        place = np.argwhere(shares > 0)
        weights = shares[shares > 0] / shares.sum()
        signatures.append(np.column_stack([weights, place]).astype(np.float32))
    return cv2.EMD(*signatures, cv2.DIST_L2)[0]


SIDES = (partial(published, is_full=True), partial(published, is_full=False), earth_mover)


def main() -> list[dict[str, object]]:
    """Time both on the same pairs, one after the other, and print a Markdown table."""
    earth_mover(np.ones((2, 2)), np.eye(2))  # imports the solver
    rows: list[dict[str, object]] = []
    for kind, draw in KINDS.items():
        seconds, values = np.zeros((PAIRS, 3)), np.zeros((PAIRS, 3))
        for pair in range(PAIRS):
            random = np.random.default_rng(pair)
            human, machine = draw(random), draw(random)
            for side, solve in enumerate(SIDES):
                start = time.perf_counter()
                values[pair, side] = solve(human, machine)
                seconds[pair, side] = time.perf_counter() - start
        mean = seconds.mean(axis=0)
        above = values[:, 0] / values[:, 2] - 1
        rows.append(
            {
                "maps": kind,
                "OpenCV, s": f"{mean[0]:.2f}",
                "OpenCV without empty pixels, s": f"{mean[1]:.2f}",
                "ours, s": f"{mean[2]:.4f}",
                "times faster": round(mean[0] / mean[2]),
                "times faster, without empty pixels": round(mean[1] / mean[2]),
                "OpenCV above ours": f"{above.min():+.2%} to {above.max():+.2%}",
            }
        )
    show(f"Earth mover's distance, {SIDE} x {SIDE} pixels, {PAIRS} pairs each", rows)
    return rows


if __name__ == "__main__":
    main()
