"""Faces second by second: one pass over a video, crops of each side, and the mean of what a network makes of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nbpkg.errors import Problem, SettingsError
from nbpkg.features.boxes import Finder, Missed, crop, largest
from nbpkg.features.embed import Embedder
from nbpkg.features.rows import Features, missing_rows, spell
from nbpkg.video.convert import Recipe, Shrinker, VideoReader
from nbpkg.video.probe import MediaFacts, open_video, probe


def face_seconds(
    video: Path,
    finders: Mapping[str, Finder],
    *,
    embed: Embedder,
    fps: int = 25,
    seconds: float = 1.0,
    every: int = 1,
    missed: Missed = "missing",
    facts: MediaFacts | None = None,
) -> dict[str, Features]:
    """Describe the faces of a video, second by second; it is decoded once for all sides.

    Second s is the mean over those of its frames ``[fps * s, fps * (s + 1))`` that have a face. A frame whose face was
    missed moves nothing.

    Parameters
    ----------
    video
        The recording.
    finders
        For each side what gives its face boxes: `FaceBoxes`, `Region` or `FaceDetector`, or any function of the video's
        own frame number (from 0) and the picture (RGB). Of several boxes the largest counts.
    embed
        Describes crops.
    fps
        Rate of the annotation, frames per second; a video of another rate is laid on it by its time stamps.
    seconds
        Length of a row.
    every
        Every how many frames of the video faces are looked at.
    missed
        Seconds without any face are ``missing`` (NaN), or on a line between their neighbours (as the nearest row at
        the ends), which is told.
    facts
        What `probe` says of the video, when that is known.

    Returns
    -------
    dict
        Features by side.

    Raises
    ------
    MediaError
        When the video cannot be read, or a box lies outside of its picture.
    SettingsError
        When a row is no whole number of frames.
    """
    ratio = round(fps * seconds)
    if ratio < 1 or abs(ratio - fps * seconds) > 1e-9 or every < 1:
        raise SettingsError(
            f"Rows of {seconds} s cannot be made of {fps} frames/s, looking at every {every}th.",
            expected="A whole number of frames in a row, and every frame or every second, third, …",
            remedy="Correct the length of a step, or 'every'.",
        )
    known = facts or probe(video)
    frames = max(1, round_half_up((known.duration - known.delay) * fps))
    sides = {name: _Side(finder, embed, -(-frames // ratio)) for name, finder in finders.items()}
    reader = _Frames(video, known, every=every)
    for number, time, picture in reader:
        row = min(round_half_up(time * fps), frames - 1) // ratio
        for side in sides.values():
            side.look(number, row, picture)
    return {name: _finish(side, missed, video.name, reader.amiss) for name, side in sides.items()}


def round_half_up(value: Fraction) -> int:
    """Round an exact number to the nearest integer.

    Examples
    --------
    >>> round_half_up(Fraction(1, 2)), round_half_up(Fraction(74, 25))
    (1, 3)
    """
    return (value + Fraction(1, 2)).__floor__()


def fill_missed(rows: NDArray[np.float32]) -> tuple[NDArray[np.float32], list[int]]:
    """Put a line between their neighbours where rows ``[T, D]`` are missing, the nearest row at the ends.

    Returns
    -------
    ndarray
        Rows without gaps; as they were when all are missing.
    list of int
        Which rows were filled.

    Examples
    --------
    >>> rows, filled = fill_missed(np.array([[np.nan], [2], [np.nan], [4], [np.nan]], dtype=np.float32))
    >>> rows.ravel().tolist(), filled
    ([2.0, 2.0, 3.0, 4.0, 4.0], [0, 2, 4])
    """
    absent = missing_rows(rows)
    if absent.all() or not absent.any():
        return rows, []
    places, there = np.flatnonzero(absent), np.flatnonzero(~absent)
    after = np.searchsorted(there, places).clip(max=len(there) - 1)
    before = (np.searchsorted(there, places) - 1).clip(min=0)
    span = np.maximum(there[after] - there[before], 1)
    share = ((places - there[before]) / span).clip(0, 1)[:, None]
    result = rows.copy()
    result[places] = (1 - share) * rows[there[before]] + share * rows[there[after]]
    return result, places.tolist()


@dataclass
class _Side:
    """Gathers one side's crops until they make a batch, and their sums by row."""

    find: Finder
    embed: Embedder
    length: int
    crowded: int = 0
    waiting: list[tuple[int, NDArray[np.uint8]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.sums = np.zeros((self.length, self.embed.width))
        self.counts = np.zeros(self.length, np.int64)

    def look(self, number: int, row: int, picture: NDArray[np.uint8]) -> None:
        boxes = self.find(number, picture)
        self.crowded += len(boxes) > 1
        if boxes:
            part, _ = crop(picture, largest(boxes))
            self.waiting.append((row, part.copy()))  # not a view that keeps the whole frame
        if len(self.waiting) >= self.embed.batch:
            self.flush()

    def flush(self) -> None:
        if self.waiting:
            rows, crops = zip(*self.waiting, strict=True)
            np.add.at(self.sums, list(rows), self.embed(crops).astype(np.float64))
            np.add.at(self.counts, list(rows), 1)
            self.waiting = []


class _Frames:
    """Iterates over ``(own number, seconds since the first picture, picture)`` of every n-th frame."""

    def __init__(self, video: Path, facts: MediaFacts, *, every: int) -> None:
        self.video, self.facts, self.every = video, facts, every
        self.amiss: list[str] = []

    def __iter__(self) -> Iterator[tuple[int, Fraction, NDArray[np.uint8]]]:
        facts = self.facts
        shrink = Shrinker(facts, Recipe(height=facts.height, fps=facts.fps, write_video=False),
                          size=(facts.height, facts.width))  # fmt: skip
        with open_video(self.video) as (container, stream):
            stream.thread_type = "AUTO"
            reader = VideoReader(container, stream, facts)
            for count, (start, frame) in enumerate(reader):
                time = start - facts.delay
                # By time where the rate is steady, so that a frame that cannot be decoded keeps its number.
                number = count if facts.variable_rate else round_half_up(time * facts.fps)
                if number % self.every == 0:
                    yield number, time, shrink(frame)
            self.amiss = reader.amiss()


def _finish(side: _Side, missed: Missed, name: str, amiss: list[str]) -> Features:
    side.flush()
    seen = side.counts > 0
    rows = np.full(side.sums.shape, np.nan, np.float32)
    rows[seen] = side.sums[seen] / side.counts[seen, None]
    problems = [Problem(text, file=name, severity="repaired") for text in amiss]
    if side.crowded:
        text = f"In {side.crowded} frames there are several faces on one side; the largest was taken."
        problems.append(Problem(text, file=name, severity="repaired"))
    absent = np.flatnonzero(~seen).tolist()
    if absent and missed == "interpolate":
        rows, filled = fill_missed(rows)
        absent = [] if filled else absent
        if filled:
            text = f"Seconds without a face are interpolated: {spell(filled)}."
            problems.append(Problem(text, file=name, severity="repaired"))
    if absent:
        text = f"Seconds without a face are missing: {spell(absent)}."
        problems.append(Problem(text, file=name, severity="warning"))
    return Features(rows, side.embed.names(), problems)
