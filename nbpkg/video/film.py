"""Short films to look at: H.264 in MP4 that every browser plays, or GIF where nothing else is shown."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from numpy.typing import NDArray
from PIL import Image

from nbpkg.errors import MediaError
from nbpkg.runs.files import new_file

Frames = NDArray[np.uint8]
# x264's macroblock tree is not repeatable, even with one thread: 2 to 3 of 100 encodings of the same frames came out
# otherwise, none of 545 without it.
SAME_BYTES = {"x264-params": "mbtree=0"}
_BITEXACT, _BT601_TAG = 1 << 23, 6
_PALETTE_PIXELS = 1 << 20  # pixels of a film from which the colours of a GIF are chosen


def write_film(frames: Frames, path: Path, *, fps: Fraction, repeat: int = 1, least_height: int = 0) -> Path:
    """Write frames as a silent film, complete or not at all; the same frames give the same bytes.

    Frames are written as they are: frames of people go through `nbpkg.plots.frames.veil` first.

    Parameters
    ----------
    frames
        RGB, uint8 ``[T, H, W, 3]``.
    path
        The ``.mp4`` to write.
    fps
        Exact rate, frames per second.
    repeat
        How often the film is shown from beginning to end: a clip of five seconds is over before one has looked.
    least_height
        Smaller frames are enlarged by a whole number, without smoothing, to at least this height in pixels.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    MediaError
        When there are no such frames, or rate or repeats are not positive.
    StageError
        When the file cannot be written.

    Notes
    -----
    H.264 with 4:2:0 colours, which browsers play; an odd last row or column is shown twice, as sizes must be even.
    """
    _check(frames, fps, repeat)
    shown = _even(_enlarge(frames, least_height))
    reformatter = VideoReformatter()
    options = {"movflags": "+faststart", "fflags": "+bitexact"}
    with new_file(path) as temporary, av.open(str(temporary), "w", format="mp4", options=options) as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.height, stream.width = shown.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "18", "preset": "medium", **SAME_BYTES}
        context = stream.codec_context
        context.thread_count = 1
        context.time_base = 1 / fps
        context.flags |= _BITEXACT
        context.colorspace, context.color_range = _BT601_TAG, int(ColorRange.MPEG)
        for number in range(repeat * len(shown)):
            frame = reformatter.reformat(
                VideoFrame.from_ndarray(shown[number % len(shown)], format="rgb24"),
                format="yuv420p",
                dst_colorspace=int(Colorspace.ITU601),
                dst_color_range=int(ColorRange.MPEG),
                threads=1,
            )
            frame.pts, frame.time_base = number, 1 / fps
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_gif(frames: Frames, path: Path, *, fps: Fraction, least_height: int = 0) -> Path:
    """Write frames as a GIF that plays for ever, complete or not at all.

    Parameters
    ----------
    frames
        RGB, uint8 ``[T, H, W, 3]``.
    path
        The ``.gif`` to write.
    fps
        Frames per second, at most 50; GIF counts in hundredths of a second, so that single frames may last 10 ms more
        or less while the whole keeps its length.
    least_height
        As in `write_film`.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    MediaError
        When there are no such frames, or the rate is not positive or above 50.
    StageError
        When the file cannot be written.

    Notes
    -----
    All frames share 256 colours, so that what stands still does not flicker.
    """
    _check(frames, fps, 1)
    if fps > 50:
        raise MediaError(f"A GIF cannot show {fps} frames per second.", expected="At most 50.", remedy="Write an MP4.")
    shown = _enlarge(frames, least_height)
    step = max(1, shown[..., 0].size // _PALETTE_PIXELS)
    sample = shown.reshape(-1, 3)[::step]
    palette = Image.fromarray(sample[None]).quantize(256, method=Image.Quantize.MEDIANCUT)
    pictures = [Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE) for frame in shown]
    ends = [round(100 * (number + 1) / fps) for number in range(len(shown))]
    lengths = [10 * (end - start) for start, end in zip([0, *ends], ends, strict=False)]
    with new_file(path) as temporary:
        pictures[0].save(temporary, format="GIF", save_all=True, append_images=pictures[1:], duration=lengths, loop=0)
    return path


def _check(frames: Frames, fps: Fraction, repeat: int) -> None:
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or not frames.size:
        raise MediaError(
            f"Frames {frames.dtype} {list(frames.shape)} cannot be written as a film.",
            expected="At least one RGB frame, uint8 [T, H, W, 3].",
        )
    if fps <= 0 or repeat < 1:
        raise MediaError(
            f"A film cannot be shown {repeat} times at {fps} frames per second.",
            expected="A rate above 0, and at least once.",
        )


def _enlarge(frames: Frames, least_height: int) -> Frames:
    """Enlarge by the smallest whole number that reaches a height."""
    factor = max(1, -(-least_height // frames.shape[1]))
    return frames if factor == 1 else frames.repeat(factor, axis=1).repeat(factor, axis=2)


def _even(frames: Frames) -> Frames:
    """Show an odd last row and column twice."""
    height, width = frames.shape[1:3]
    return np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
