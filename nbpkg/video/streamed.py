"""Films that are too long to be in memory at once, written frame by frame."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nbpkg.errors import MediaError
from nbpkg.runs.files import new_file
from nbpkg.video.convert import Film, Recipe
from nbpkg.video.probe import MediaFacts


def stream_film(frames: Iterable[NDArray[np.uint8]], path: Path, *, fps: Fraction) -> Path:
    """Write frames as a silent film, complete or not at all; the same frames give the same bytes.

    Parameters
    ----------
    frames
        RGB, uint8 ``[H, W, 3]`` each, of one size, in order. Frames of people go through `nbpkg.plots.frames.veil`
        first.
    path
        The ``.mp4`` to write.
    fps
        Exact rate, frames per second.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    MediaError
        When there is no frame, or frames differ in size.
    StageError
        When the file cannot be written.

    Notes
    -----
    As `nbpkg.video.film.write_film`: H.264 with 4:2:0 colours; an odd last row or column is shown twice.
    """
    waiting = iter(frames)
    first = next(waiting, None)
    if first is None:
        raise MediaError("There is no frame to write.", expected="At least one.", where=path.name)
    padding = ((0, first.shape[0] % 2), (0, first.shape[1] % 2), (0, 0))
    size = (first.shape[0] + padding[0][1], first.shape[1] + padding[1][1])
    with new_file(path) as temporary:
        film = Film(temporary, _describe(size, fps), Recipe(height=size[0], fps=fps, preset="medium"), size=size)
        try:
            film.add(np.pad(first, padding, mode="edge"))
            for number, frame in enumerate(waiting, start=1):
                if frame.shape != first.shape:
                    raise MediaError(
                        f"Frame {number} is {list(frame.shape)}, the first {list(first.shape)}.",
                        where=path.name,
                        expected="Frames of one size.",
                    )
                film.add(np.pad(frame, padding, mode="edge"))
            film.finish()
        finally:
            film.close()
    return path


def _describe(size: tuple[int, int], fps: Fraction) -> MediaFacts:
    """Return what the writer of films asks of a source: upright, with square pixels."""
    zero = Fraction(0)
    return MediaFacts(
        container="",
        codec="",
        frames=1,
        frames_from="packets",
        sha256="",
        fps=fps,
        width=size[1],
        height=size[0],
        pixel_aspect=Fraction(1),
        rotation=0,
        start=zero,
        delay=zero,
        duration=1 / fps,
        variable_rate=False,
        has_sound=False,
        bytes=0,
    )
