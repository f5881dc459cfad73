"""The pictures a person paints on: those the network sees, in the source's resolution where the source is at hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from nbpkg.errors import MediaError
from nbpkg.video.convert import Recipe, Shrinker, VideoReader, select_frames
from nbpkg.video.frames import FrameStore
from nbpkg.video.probe import MediaFacts, file_start, first_frame, open_video, probe

# How many seconds before the first frame a key frame is sought; then the whole file is read.
_STEPS_BACK = (Fraction(0), Fraction(1, 2), Fraction(10))


@dataclass(frozen=True, eq=False)
class Clip:
    """The pictures of one snippet.

    Parameters
    ----------
    frames
        uint8 RGB ``[T, H, W, 3]``, upright.
    frame_ms
        When each of them starts, whole milliseconds from the start of the session's video, rounded down.
    fps
        Exact rate of the frame store they belong to, frames per second.
    at_source
        Whether they come from the source video; else they are the frame store's own.
    """

    frames: NDArray[np.uint8]
    frame_ms: tuple[int, ...]
    fps: Fraction
    at_source: bool

    @property
    def width(self) -> int:
        """Pixels."""
        return int(self.frames.shape[2])

    @property
    def height(self) -> int:
        """Pixels."""
        return int(self.frames.shape[1])


def read_pictures(
    source: Path | None,
    store: FrameStore,
    *,
    numbers: Sequence[int] | NDArray[np.integer],
    longest: int = 960,
    upright: bool = True,
) -> Clip:
    """Read the frames that a network sees, as large as the source has them.

    The source frame is chosen by the rule by which the store was made (`nbpkg.video.convert.select_frames`), so that
    both show the same instant. The picture has the store's proportions, which differ from the source's by the few
    percent of the store's rounded width: what is painted has the same shape whether or not the source is at hand.

    Parameters
    ----------
    source
        The session's video from which the store was made; None, or a file that is not there, takes the store's frames.
    store
        Frames of the session.
    numbers
        Frames of the store, ``[T]``, never falling, as `nbpkg.video.clips.find_frames` gives them.
    longest
        The longer side of the pictures at most, pixels. Pictures are never enlarged.
    upright
        Whether the store was made with the picture turned as the source's rotation flag asks.

    Returns
    -------
    Clip

    Raises
    ------
    MediaError
        When a frame lies outside the store, the numbers fall, or the source is there but cannot be decoded.
    """
    wanted = [int(number) for number in numbers]
    if not wanted or min(wanted) < 0 or max(wanted) >= len(store) or wanted != sorted(wanted):
        raise MediaError(
            f"Frames {wanted} cannot be shown.",
            where=str(store.path),
            expected=f"Rising frame numbers from 0 to {len(store) - 1}.",
            remedy="Check that snippets and videos belong to the same sessions.",
        )
    frame_ms = tuple(number * 1000 * store.fps.denominator // store.fps.numerator for number in wanted)
    if source is None or not source.is_file():
        return Clip(store.frames(wanted), frame_ms, store.fps, at_source=False)
    with open_video(source) as (container, stream):
        stream.thread_type = "AUTO"
        facts = _facts(source, container, stream)
        recipe = Recipe(write_video=False, upright=upright)
        shrink = Shrinker(facts, recipe, size=picture_size(facts, store, longest=longest))
        pictures = {number: shrink(frame) for number, frame in _choose(container, stream, facts, wanted, store.fps)}
    missing = sorted(set(wanted) - set(pictures))
    if missing:
        raise MediaError(
            f"{source.name!r} has no picture for frame {missing[0]} of its frame store.",
            where=str(source),
            expected="The video from which the store was made.",
            remedy="Copy the video again, or run the preparation again if it was replaced.",
        )
    return Clip(np.stack([pictures[number] for number in wanted]), frame_ms, store.fps, at_source=True)


def picture_size(facts: MediaFacts, store: FrameStore, *, longest: int) -> tuple[int, int]:
    """Return height and width of the pictures: the store's proportions, at most the source's size and `longest`."""
    _, height, width, _ = store.shape
    side = min(longest, max(facts.width, facts.height))
    scale = Fraction(side, max(height, width))
    return max(1, int(height * scale + Fraction(1, 2))), max(1, int(width * scale + Fraction(1, 2)))


def _facts(source: Path, container: InputContainer, stream: VideoStream) -> MediaFacts:
    """Return what is known without reading the whole file, with the true start of picture and file."""
    facts, picture = probe(source, header_only=True), first_frame(container, stream, source)
    if picture.pts is None:
        return facts
    start = picture.pts * Fraction(stream.time_base or Fraction(1, 1000))
    return replace(facts, start=start, delay=start - file_start(container, start))


def _choose(
    container: InputContainer, stream: VideoStream, facts: MediaFacts, wanted: Sequence[int], fps: Fraction
) -> Iterator[tuple[int, VideoFrame]]:
    """Give number and source frame of each wanted frame of the store, once, decoding from the key frame before."""
    first, last = wanted[0], wanted[-1]
    shift, numbers = Fraction(first) / fps, set(wanted)
    frames = ((start - shift, frame) for start, frame in _frames_before(container, stream, facts, first, fps))
    for number, frame in enumerate(select_frames(frames, fps=fps, count=last - first + 1), start=first):
        if number in numbers:
            yield number, frame


def _frames_before(
    container: InputContainer, stream: VideoStream, facts: MediaFacts, number: int, fps: Fraction
) -> Iterator[tuple[Fraction, VideoFrame]]:
    """Go through start (seconds) and frame of a video from a key frame that lies before a frame of the store is chosen.

    Where a file cannot be sought in, or its frames have no times, this is the whole file.
    """
    instant = Fraction(2 * number + 1) / (2 * fps)
    clock = Fraction(stream.time_base or Fraction(1, 1000))
    for back in _STEPS_BACK:
        target = instant - back + facts.start - facts.delay
        if instant - back <= facts.delay:
            break
        container.seek(int(target / clock), backward=True, any_frame=False, stream=stream)
        reader = iter(VideoReader(container, stream, facts))
        begun = _first_key(reader)
        if begun is not None and begun[1].pts is not None and begun[0] < instant:
            yield begun
            yield from reader
            return
    container.seek(0, backward=True, any_frame=False)
    yield from VideoReader(container, stream, facts)


def _first_key(reader: Iterator[tuple[Fraction, VideoFrame]]) -> tuple[Fraction, VideoFrame] | None:
    """Skip frames that build on others before the point sought to: they come out damaged or not at all."""
    return next(((start, frame) for start, frame in reader if frame.key_frame), None)
