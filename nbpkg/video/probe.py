"""What a recording is: codec, exact rate, size as shown, length from its time stamps, and why it cannot be used."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from nbpkg.errors import MediaError
from nbpkg.video.files import hash_file

# Formats that are lists of other files (which a stranger's file could point anywhere) or plain text and pictures.
_REFUSED = {"hls", "concat", "concatf", "dash", "image2", "tty", "sdp", "rtsp", "lavfi", "imf", "vapoursynth"}
_CUT_SHORT = (
    "Copy the file again from the camera or server; if the recording itself was cut short, keep what there is with "
    "`ffmpeg -i old.mp4 -c copy new.mp4` and use the new file."
)


@dataclass(frozen=True)
class MediaFacts:
    """What a video file holds, read from its packets and its first picture.

    Parameters
    ----------
    container, codec
        Short names, e.g. ``mov,mp4`` and ``h264``.
    fps
        Mean rate: frames divided by the time from the first frame's start to the last frame's end.
    frames, frames_from
        Number of frames; ``packets`` when every packet was counted, ``estimated`` when only the header was read.
    width, height
        Size in pixels as shown, that is after `rotation`; before `pixel_aspect`.
    pixel_aspect
        Width of a pixel over its height as stored, i.e. before `rotation`.
    rotation
        Turn that the file asks players for, degrees counter-clockwise: 0, 90, 180 or 270.
    start
        Time stamp of the first frame as written in the file, seconds.
    delay
        How much later than the file's own start (0:00 in a player) the first frame comes, seconds.
    duration
        From the file's own start to the end of the last frame, seconds.
    variable_rate
        Whether the intervals between frames differ by more than one tick of the file's clock.
    has_sound
        Whether there is a sound track.
    bytes, sha256
        Size and hash of the file; the hash is empty when only the header was read.
    """

    container: str
    codec: str
    fps: Fraction
    frames: int
    frames_from: str
    width: int
    height: int
    pixel_aspect: Fraction
    rotation: int
    start: Fraction
    delay: Fraction
    duration: Fraction
    variable_rate: bool
    has_sound: bool
    bytes: int
    sha256: str


def probe(path: Path, *, header_only: bool = False) -> MediaFacts:
    """Read what a video file is, or say why it cannot be used.

    All packets are read, none but the first is decoded: a 60-minute video takes about a second from a local disk.

    Parameters
    ----------
    path
        The file.
    header_only
        Trust the header for length and number of frames, and do not hash the file: milliseconds, but only estimates.

    Returns
    -------
    MediaFacts

    Raises
    ------
    MediaError
        When the file is missing, empty, text, cut short, without picture, or in a codec that cannot be read.
    """
    with open_video(path) as (container, stream):
        picture = first_frame(container, stream, path)
        rotation = round(picture.rotation / 90) * 90 % 360
        wide, high = (picture.height, picture.width) if rotation % 180 else (picture.width, picture.height)
        times = _header_times(container, stream) if header_only else _packet_times(container, stream, path)
        return MediaFacts(
            container=",".join(container.format.name.split(",")[:2]),
            codec=stream.codec_context.name,
            fps=times.frames / (times.duration - times.delay),
            frames=times.frames,
            frames_from="estimated" if header_only else "packets",
            width=wide,
            height=high,
            pixel_aspect=Fraction(stream.sample_aspect_ratio or 1),
            rotation=rotation,
            start=times.start,
            delay=times.delay,
            duration=times.duration,
            variable_rate=times.variable,
            has_sound=bool(container.streams.audio),
            bytes=path.stat().st_size,
            sha256="" if header_only else hash_file(path),
        )


@contextmanager
def open_video(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a file and its picture track, turning every failure into a `MediaError` (see `probe`)."""
    if not path.is_file():
        what = "is a folder, not a video" if path.is_dir() else "is not there"
        raise MediaError(f"{path.name!r} {what}.", where=str(path), remedy="Correct the path or add the file.")
    if path.stat().st_size == 0:
        raise MediaError(f"{path.name!r} is empty.", where=str(path), expected="A video.", remedy=_CUT_SHORT)
    try:
        # An absolute path: FFmpeg would take 'a:b.mp4' for an address of protocol 'a'.
        container = av.open(str(path.resolve()), "r")
    except PermissionError:
        raise MediaError(f"{path.name!r} may not be read.", where=str(path), remedy="Ask for access to it.") from None
    except (av.FFmpegError, OSError) as error:
        raise _unreadable(path, error) from None
    with container:
        yield container, _video_stream(container, path)


def first_frame(container: InputContainer, stream: VideoStream, path: Path) -> VideoFrame:
    """Decode the first picture and go back to the start of the file."""
    reason = "no picture came out of it"
    frame: VideoFrame | None = None
    try:
        frame = next(iter(container.decode(stream)), None)
    except (av.FFmpegError, ValueError) as error:
        reason = str(error)
    if frame is None:
        raise MediaError(
            f"No frame of {path.name!r} (codec {stream.codec_context.name}) can be decoded: {reason}.",
            where=str(path),
            expected="A video in a common codec such as H.264.",
            remedy=f"Play it; if it plays, convert it: `ffmpeg -i {path.name!r} -c:v libx264 new.mp4`. {_CUT_SHORT}",
        )
    container.seek(0, backward=True, any_frame=False)
    stream.codec_context.flush_buffers()
    return frame


@dataclass(frozen=True)
class _Times:
    frames: int
    start: Fraction
    delay: Fraction
    duration: Fraction
    variable: bool


def _packet_times(container: InputContainer, stream: VideoStream, path: Path) -> _Times:
    """Collect the presentation times of all frames, and refuse a file that ends before its header says."""
    tick = Fraction(stream.time_base or Fraction(1, 1000))
    stamps, lengths, read, reached = array("q"), array("q"), 0, Fraction(0)
    tracks = [stream, *container.streams.audio]
    try:
        for packet in container.demux(tracks):
            stamp = packet.pts if packet.pts is not None else packet.dts
            if packet.size == 0 or stamp is None:
                continue
            length = packet.duration or 0
            if packet.stream.index == stream.index:
                read += 1
                if packet.is_discard or packet.is_corrupt:
                    continue
                stamps.append(stamp)
                lengths.append(length)
            reached = max(reached, (stamp + length) * Fraction(packet.time_base))
    except av.FFmpegError as error:
        raise _unreadable(path, error) from None
    _refuse_cut(container, stream, path, read=read, reached=reached)
    order = np.argsort(np.asarray(stamps), kind="stable")
    sorted_stamps = np.asarray(stamps)[order]
    intervals = np.diff(sorted_stamps)
    last = int(lengths[int(order[-1])]) or (int(np.median(intervals)) if len(intervals) else 0)
    if last <= 0:
        last = max(1, round(1 / (_rate(stream) * tick)))
    start = int(sorted_stamps[0]) * tick
    end = (int(sorted_stamps[-1]) + last) * tick
    origin = file_start(container, start)
    variable = len(intervals) > 0 and int(intervals.max() - intervals.min()) > 1
    return _Times(len(stamps), start, start - origin, end - origin, variable)


def file_start(container: InputContainer, picture_start: Fraction) -> Fraction:
    """Return the instant that players show as 0:00, in the file's own time.

    It is the earliest start of any track. FFmpeg rounds it to microseconds, so that less than a millisecond before
    the picture counts as none.
    """
    earliest = picture_start if container.start_time is None else Fraction(container.start_time, av.time_base)
    return earliest if picture_start - earliest >= Fraction(1, 1000) else picture_start


def _header_times(container: InputContainer, stream: VideoStream) -> _Times:
    tick = Fraction(stream.time_base or Fraction(1, 1000))
    start = (stream.start_time or 0) * tick
    delay = start - file_start(container, start)
    length = Fraction(container.duration or 0, av.time_base) if not stream.duration else stream.duration * tick
    frames = stream.frames or max(1, round(length * _rate(stream)))
    return _Times(frames, start, delay, delay + (length or frames / _rate(stream)), variable=False)


def _rate(stream: VideoStream) -> Fraction:
    return Fraction(stream.average_rate or stream.guessed_rate or 25)


def _refuse_cut(container: InputContainer, stream: VideoStream, path: Path, *, read: int, reached: Fraction) -> None:
    """Refuse a file that lacks packets its index lists, or ends a second before the length in its header."""
    if read == 0:
        raise MediaError(f"{path.name!r} has a picture track without a frame.", where=str(path), remedy=_CUT_SHORT)
    start = Fraction(container.start_time or 0, av.time_base)
    promised = Fraction(container.duration or 0, av.time_base)
    missing_frames = stream.frames - read
    if missing_frames > 0 or promised - (reached - start) > 1:
        got = f"{read} of {stream.frames} frames" if missing_frames > 0 else f"{float(reached - start):.1f} s"
        raise MediaError(
            f"{path.name!r} ends early: it holds {got}.",
            where=str(path),
            expected=f"The {float(promised):.1f} s that its header promises.",
            remedy=_CUT_SHORT,
        )


def _video_stream(container: InputContainer, path: Path) -> VideoStream:
    """Return the first picture track that is no cover picture."""
    if container.format.name in _REFUSED:
        raise MediaError(
            f"{path.name!r} is a {container.format.name} file, which holds no video itself.",
            where=str(path),
            expected="A video file such as MP4, MOV, MKV, AVI or MPEG.",
            remedy="Use the video file itself.",
        )
    streams = [
        stream for stream in container.streams.video if not stream.disposition & av.stream.Disposition.attached_pic
    ]
    if not streams:
        sound = " but sound" if container.streams.audio else ""
        raise MediaError(
            f"{path.name!r} holds no picture{sound}.",
            where=str(path),
            expected="A file with a video track.",
            remedy="Use the recording with picture, or leave this session out.",
        )
    if streams[0].codec_context is None:
        raise MediaError(
            f"{path.name!r} is in a codec that cannot be read.",
            where=str(path),
            expected="A video in a common codec such as H.264.",
            remedy="Convert it to H.264 with the program that recorded it.",
        )
    return streams[0]


def _unreadable(path: Path, error: Exception) -> MediaError:
    """Say what a file that FFmpeg refuses most likely is."""
    with path.open("rb") as stream:
        head = stream.read(512)
    if head[4:8] in (b"ftyp", b"wide", b"mdat", b"free", b"skip"):
        return MediaError(
            f"{path.name!r} was cut off: its index (moov) is missing or broken.",
            where=str(path),
            expected="A complete MP4 or MOV file.",
            remedy=_CUT_SHORT,
        )
    what = "is a text file, not a video" if _is_text(head) else f"is no video that can be read ({error})"
    return MediaError(
        f"{path.name!r} {what}.",
        where=str(path),
        expected="A video file such as MP4, MOV, MKV, AVI or MPEG.",
        remedy="Put the video there; a file's ending says nothing about what it holds.",
    )


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8", errors="strict")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # the last character may be cut in two
            return False
        text = head[: error.start].decode("utf-8")
    return all(character.isprintable() or character.isspace() for character in text)
