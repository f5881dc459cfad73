"""One video in one pass: choose frames by their time stamps, scale only those, write frame store and MP4."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TypeVar

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from nbpkg.errors import MediaError, SettingsError
from nbpkg.video.files import sync_and_close
from nbpkg.video.film import SAME_BYTES
from nbpkg.video.frames import JPEG, RAW, StoreHeader, StoreWriter
from nbpkg.video.probe import MediaFacts, open_video

Item = TypeVar("Item")
VIDEO = "video.mp4"
# Bicubic, FFmpeg's own default, widens its kernel when it shrinks: on a zone plate 1280x720 -> 288x160 half the
# aliasing of area averaging (8.8 against 19.9 grey levels) at sharper detail. The other flags make all machines agree.
_SCALING = int(
    Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.BITEXACT | Interpolation.FULL_CHR_H_INT
)
_UNSPECIFIED, _BITEXACT, _BT601_TAG = 2, 1 << 23, 6


@dataclass(frozen=True)
class Recipe:
    """What a prepared video is to be.

    Parameters
    ----------
    height
        Pixels, even.
    fps
        Exact rate, frames per second.
    width_multiple
        The width is the multiple of this that is nearest to the height times the picture's aspect ratio, ties up.
    square_pixels
        Let the pixel aspect ratio of the source count; without, pixels are taken for square as the reference does.
    upright
        Turn the picture as the source's rotation flag asks.
    crf, preset, threads
        Quality, effort and number of threads of x264. The number of threads changes the bytes.
    encoding, jpeg_quality
        Frame store: ``raw`` pixels, or one ``jpeg`` per frame of this quality (1 to 100).
    write_video
        Write an MP4 for people to watch.

    Raises
    ------
    SettingsError
        When a value cannot be used.
    """

    height: int = 160
    fps: Fraction = Fraction(25, 8)
    width_multiple: int = 16
    square_pixels: bool = True
    upright: bool = True
    crf: int = 18
    preset: str = "slow"
    threads: int = 1
    encoding: str = RAW
    jpeg_quality: int = 90
    write_video: bool = True

    def __post_init__(self) -> None:
        even = self.height % 2 == 0 and self.width_multiple % 2 == 0
        faults = {
            "height": self.height < 2 or (self.write_video and not even),
            "width_multiple": self.width_multiple < 1 or (self.write_video and not even),
            "fps": not isinstance(self.fps, Fraction) or self.fps <= 0,
            "crf": not 0 <= self.crf <= 51,
            "threads": self.threads < 1,
            "encoding": self.encoding not in (RAW, JPEG),
            "jpeg_quality": not 1 <= self.jpeg_quality <= 100,
        }
        wrong = [f"{name} = {getattr(self, name)!r}" for name, is_wrong in faults.items() if is_wrong]
        if wrong:
            raise SettingsError(
                f"Videos cannot be prepared with {', '.join(wrong)}.",
                expected="Positive sizes (even where an MP4 is written), an exact fraction as rate, crf 0 to 51, "
                "at least one thread, encoding raw or jpeg, JPEG quality 1 to 100.",
                remedy="Correct the values in the parameter file.",
            )


@dataclass
class Converted:
    """What came of one video: the store's header, frames decoded, and what was amiss in words."""

    store: StoreHeader
    decoded: int = 0
    amiss: list[str] = field(default_factory=list)


def target_size(facts: MediaFacts, recipe: Recipe) -> tuple[int, int]:
    """Return height and width of the prepared frames, pixels.

    Examples
    --------
    >>> from dataclasses import replace
    >>> facts = MediaFacts("mp4", "h264", Fraction(25), 1, "packets", 720, 576, Fraction(1), 0,
    ...                    Fraction(0), Fraction(0), Fraction(1), False, False, 1, "")
    >>> target_size(facts, Recipe()), target_size(replace(facts, pixel_aspect=Fraction(64, 45)), Recipe())
    ((160, 208), (160, 288))
    """
    width, height = (facts.width, facts.height)
    if facts.rotation % 180 and not recipe.upright:
        width, height = height, width
    aspect = Fraction(width, height)
    if recipe.square_pixels:
        aspect *= 1 / facts.pixel_aspect if facts.rotation % 180 and recipe.upright else facts.pixel_aspect
    multiples = int(recipe.height * aspect / recipe.width_multiple + Fraction(1, 2))
    return recipe.height, max(1, multiples) * recipe.width_multiple


def count_frames(duration: Fraction, fps: Fraction) -> int:
    """Return how many frames a video of this length (seconds) gets: rounded to the nearest, half up, at least one."""
    return max(1, int(duration * fps + Fraction(1, 2)))


def select_frames(frames: Iterable[tuple[Fraction, Item]], *, fps: Fraction, count: int) -> Iterator[Item]:
    """Choose for each output frame k the last input frame that starts before ``(k + 1/2) / fps``.

    Frames shown for long are repeated, others left out; the first one also stands for the time before it.

    Parameters
    ----------
    frames
        Start in seconds and the frame, in rising order; read once, one held at a time.
    fps
        Rate of the output.
    count
        Number of output frames.

    Source
    ------
    The reference's ``ffmpeg -vf fps=25/8``, which rounds time stamps to the nearest output frame, and keeps the last.

    Examples
    --------
    >>> source = ((Fraction(number, 10), number) for number in range(13))
    >>> list(select_frames(source, fps=Fraction(25, 8), count=4))
    [1, 4, 7, 11]
    """
    shown: list[Item] = []
    done = 0
    for start, frame in frames:
        while shown and done < count and start >= (2 * done + 1) / (2 * fps):
            yield shown[0]
            done += 1
        shown = [frame]
    while shown and done < count:
        yield shown[0]
        done += 1


def convert(
    source: Path,
    folder: Path,
    *,
    facts: MediaFacts,
    recipe: Recipe,
    decode_threads: int = 0,
    tick: Callable[[float], None] | None = None,
) -> Converted:
    """Write frame store and MP4 of one video into an empty folder, decoding the source once.

    Parameters
    ----------
    source
        The video.
    folder
        Existing folder.
    facts
        What `probe` says about the source.
    recipe
        What to make.
    decode_threads
        Threads of the decoder; 0 leaves it to FFmpeg. They do not change the result.
    tick
        Called with the seconds of video done since the last call.

    Raises
    ------
    MediaError
        When nothing, or less than half of the frames, can be decoded.
    """
    height, width = target_size(facts, recipe)
    count = count_frames(facts.duration, recipe.fps)
    writer = StoreWriter(
        folder, (height, width), fps=recipe.fps, encoding=recipe.encoding, jpeg_quality=recipe.jpeg_quality
    )
    film = Film(folder / VIDEO, facts, recipe, size=(height, width)) if recipe.write_video else None
    try:
        with open_video(source) as (container, stream):
            stream.thread_type = "AUTO"
            stream.codec_context.thread_count = decode_threads
            reader = VideoReader(container, stream, facts)
            shrink = Shrinker(facts, recipe, size=(height, width))
            for frame in select_frames(reader, fps=recipe.fps, count=count):
                pixels = shrink(frame)
                writer.add(pixels)
                if film:
                    film.add(pixels)
                if tick:
                    tick(float(1 / recipe.fps))
        if 2 * reader.decoded < facts.frames:
            raise MediaError(
                f"Only {reader.decoded} of the {facts.frames} frames of {source.name!r} can be decoded.",
                where=str(source),
                expected="An undamaged video.",
                remedy="Copy the file again from the camera or server.",
            )
        if film:
            film.finish()
        return Converted(writer.finish(), reader.decoded, reader.amiss())
    finally:
        writer.close()
        if film:
            film.close()


class VideoReader:
    """Iterates over ``(start in seconds, frame)`` of a stream, counting what was amiss.

    Parameters
    ----------
    container, stream
        An open video.
    facts
        What `nbpkg.video.probe` says of it.
    """

    def __init__(self, container: InputContainer, stream: VideoStream, facts: MediaFacts) -> None:
        self.container, self.stream, self.facts = container, stream, facts
        self.decoded, self.patched, self.backward, self.undated = 0, 0, 0, 0

    def __iter__(self) -> Iterator[tuple[Fraction, VideoFrame]]:
        clock = Fraction(self.stream.time_base or Fraction(1, 1000))
        origin = self.facts.start - self.facts.delay
        latest = Fraction(-1)
        for frame in self._decode():
            self.decoded += 1
            self.patched += frame.is_corrupt
            if frame.pts is None:
                self.undated += 1
                start = (self.decoded - 1) / self.facts.fps + self.facts.delay
            else:
                start = frame.pts * clock - origin
            if start <= latest:
                self.backward += 1
                continue
            latest = start
            yield start, frame

    def _decode(self) -> Iterator[VideoFrame]:
        for packet in self.container.demux(self.stream):
            try:
                frames = packet.decode()
            except av.InvalidDataError:
                continue  # counted below: fewer frames come out than the file has
            yield from frames

    def amiss(self) -> list[str]:
        """Say in words what was repaired."""
        found = {
            "frames could not be decoded, the picture before stays on": max(0, self.facts.frames - self.decoded),
            "frames are damaged, the decoder patched them": self.patched,
            "frames have no later time than the one before and were left out": self.backward,
            "frames have no time stamp, the mean rate was used": self.undated,
        }
        return [f"{number} of {self.facts.frames} {text}." for text, number in found.items() if number]


class Shrinker:
    """Turns a decoded picture into RGB pixels of the wanted size, upright, in the right colours.

    Parameters
    ----------
    facts
        Of the video.
    recipe
        Whether pictures are turned upright.
    size
        ``(height, width)`` wanted, pixels, after turning.
    """

    def __init__(self, facts: MediaFacts, recipe: Recipe, *, size: tuple[int, int]) -> None:
        self.quarter_turns = facts.rotation // 90 if recipe.upright else 0
        self.size = size[::-1] if self.quarter_turns % 2 else size
        self.reformatter = VideoReformatter()

    def __call__(self, frame: VideoFrame) -> NDArray[np.uint8]:
        """Return the picture, uint8 RGB ``[height, width, 3]``."""
        high_definition = frame.width >= 1280 or frame.height > 576
        untagged = Colorspace.ITU709 if high_definition else Colorspace.ITU601
        small = self.reformatter.reformat(
            frame,
            self.size[1],
            self.size[0],
            "rgb24",
            src_colorspace=int(untagged) if frame.colorspace == _UNSPECIFIED else None,
            interpolation=_SCALING,
            threads=1,
        )
        pixels: NDArray[np.uint8] = small.to_ndarray()  # type: ignore[assignment]
        return np.ascontiguousarray(np.rot90(pixels, self.quarter_turns))


class Film:
    """The silent H.264 MP4 for people to watch; same frames, same bytes.

    Parameters
    ----------
    path
        File to write.
    facts
        Of the source, for the shape in which it is shown.
    recipe
        Rate, quality and effort.
    size
        ``(height, width)`` of the frames, pixels.
    """

    def __init__(self, path: Path, facts: MediaFacts, recipe: Recipe, *, size: tuple[int, int]) -> None:
        self.path, self.number, self.rate = path, 0, recipe.fps
        flags = {"movflags": "+faststart", "fflags": "+bitexact"}
        self.container = av.open(str(path.resolve()), "w", format="mp4", options=flags)
        stream = self.container.add_stream("libx264", rate=recipe.fps)
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": str(recipe.crf), "preset": recipe.preset, **SAME_BYTES}
        context = stream.codec_context
        context.thread_count = recipe.threads
        context.time_base = 1 / recipe.fps
        context.flags |= _BITEXACT
        context.colorspace, context.color_range = _BT601_TAG, int(ColorRange.MPEG)
        context.sample_aspect_ratio = _shown_aspect(facts, recipe) / Fraction(size[1], size[0])
        self.stream, self.reformatter = stream, VideoReformatter()

    def add(self, pixels: NDArray[np.uint8]) -> None:
        """Append one RGB frame ``[H, W, 3]``."""
        frame = self.reformatter.reformat(
            VideoFrame.from_ndarray(pixels, format="rgb24"),
            format="yuv420p",
            dst_colorspace=int(Colorspace.ITU601),
            dst_color_range=int(ColorRange.MPEG),
            interpolation=_SCALING,
            threads=1,
        )
        frame.pts, frame.time_base = self.number, 1 / self.rate
        self.number += 1
        self.container.mux(self.stream.encode(frame))

    def finish(self) -> None:
        """Write what the encoder still holds and flush everything to disk."""
        self.container.mux(self.stream.encode())
        self.container.close()
        with self.path.open("rb") as stream:
            sync_and_close(stream)

    def close(self) -> None:
        """Let go of the file."""
        self.container.close()


def _shown_aspect(facts: MediaFacts, recipe: Recipe) -> Fraction:
    """Return the aspect ratio at which people are to see the picture; the multiple of 16 has changed it a little."""
    if facts.rotation % 180 == 0:
        return Fraction(facts.width, facts.height) * facts.pixel_aspect
    aspect = Fraction(facts.width, facts.height) / facts.pixel_aspect
    return aspect if recipe.upright else 1 / aspect
