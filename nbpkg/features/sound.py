"""The sound track of a recording as one channel of samples that stand where they are heard."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from numpy.typing import NDArray

from nbpkg.errors import MediaError, Problem

SLACK_S = Fraction(1, 100)  # time stamps are rounded; below a frame of the features nothing is moved


@dataclass(frozen=True)
class Sound:
    """One channel of sound.

    Parameters
    ----------
    rate
        Samples per second, as recorded.
    samples
        int16 ``[N]``; the first is heard with the first picture.
    problems
        What was noticed: repairs, each with its time.
    """

    rate: int
    samples: NDArray[np.int16]
    problems: list[Problem]


def read_sound(path: Path) -> Sound:
    """Decode the first sound track, mixed to one channel as ``ffmpeg -ac 1`` does, at its own rate.

    Samples are put where their time stamps say: sound that begins later than the picture is preceded by silence, what
    comes before the picture is cut, and what cannot be decoded becomes silence, so that nothing after it moves.

    Parameters
    ----------
    path
        A video or sound file.

    Returns
    -------
    Sound

    Raises
    ------
    MediaError
        When the file is missing, holds no sound, or its sound cannot be decoded.
    """
    if not path.is_file():
        raise MediaError(f"{path.name!r} is not there.", where=str(path), remedy="Correct the path or add the file.")
    try:
        # Only files: a playlist could otherwise fetch from anywhere. An absolute path, as 'a:b.wav' is an address.
        container = av.open(str(path.resolve()), "r", options={"protocol_whitelist": "file"})
    except (av.FFmpegError, OSError) as error:
        raise _unreadable(path, str(error)) from None
    with container:
        if not container.streams.audio or container.streams.audio[0].codec_context is None:
            raise MediaError(
                f"{path.name!r} holds no sound that can be read.",
                where=str(path),
                expected="A video or sound file with a sound track.",
                remedy="Use the recording with sound, or leave this modality out.",
            )
        return _place(container, container.streams.audio[0], path)


def _place(container: InputContainer, stream: AudioStream, path: Path) -> Sound:
    """Lay decoded pieces one behind the other, with silence where there are none."""
    rate = int(stream.codec_context.sample_rate)
    mixer = av.AudioResampler(format="s16", layout="mono", rate=rate)
    begin, limit, slack = _picture_start(container), _length_limit(container, rate), int(SLACK_S * rate)
    pieces: list[NDArray[np.int16]] = []
    filled, silent, cut = 0, 0, 0
    for frame in _decode(container, stream, path):
        start = _start_of(frame)
        begin = begin if begin is not None else start
        for mixed in mixer.resample(frame):
            piece = np.frombuffer(bytes(mixed.planes[0]), np.int16)[: mixed.samples]
            place = filled if start is None or begin is None else round((start - begin) * rate)
            start = None  # further pieces of the same frame follow it
            if place > limit:
                raise _unreadable(path, "its time stamps jump")
            if place > filled + slack:
                pieces.append(np.zeros(place - filled, np.int16))
                silent += place - filled
                filled = place
            elif place < filled - slack:
                cut += min(len(piece), filled - place)
                piece = piece[filled - place :]
            pieces.append(piece)
            filled += len(piece)
    if not filled:
        raise _unreadable(path, "no sound came out of it")
    return Sound(rate, np.concatenate(pieces), _say_repairs(path.name, rate, silent=silent, cut=cut))


def _decode(container: InputContainer, stream: AudioStream, path: Path) -> Iterator[AudioFrame]:
    try:
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except av.InvalidDataError:
                continue  # the gap shows in the time stamps of what follows, and is told
            yield from frames
    except av.FFmpegError as error:
        raise _unreadable(path, str(error)) from None


def _start_of(frame: AudioFrame) -> Fraction | None:
    return None if frame.pts is None or frame.time_base is None else frame.pts * Fraction(frame.time_base)


def _picture_start(container: InputContainer) -> Fraction | None:
    """Return when the first picture is shown, in the file's own time; None when there is none."""
    cover = av.stream.Disposition.attached_pic
    for stream in container.streams.video:
        if not stream.disposition & cover and stream.time_base is not None:
            return (stream.start_time or 0) * Fraction(stream.time_base)
    return None


def _length_limit(container: InputContainer, rate: int) -> float:
    """Return samples that no file of this length holds: a broken time stamp must not claim all memory."""
    if not container.duration:
        return float("inf") if container.duration is None else 3600.0 * rate
    return float(Fraction(container.duration, av.time_base) + 60) * rate


def _say_repairs(name: str, rate: int, *, silent: int, cut: int) -> list[Problem]:
    texts = {
        "without sound, at the start or where it cannot be decoded, are taken for silence": silent,
        "of sound before the first picture, or that the file holds twice, are left out": cut,
    }
    return [
        Problem(f"{samples / rate:.2f} s {text}.", file=name, severity="repaired")
        for text, samples in texts.items()
        if samples
    ]


def _unreadable(path: Path, reason: str) -> MediaError:
    return MediaError(
        f"The sound of {path.name!r} cannot be read: {reason}.",
        where=str(path),
        expected="A video or sound file such as MP4, MKV or WAV.",
        remedy="Play it; copy the file again if it does not play, convert it if it does.",
    )
