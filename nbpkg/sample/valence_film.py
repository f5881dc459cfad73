"""Writing the films of story tellers and listeners as MP4: H.264, AAC, a steady 25 frames per second."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from nbpkg.errors import MediaError
from nbpkg.sample.valence_faces import EVERY, HEIGHT, WIDTH
from nbpkg.sample.valence_story import FPS
from nbpkg.sample.valence_voice import SOUND_HZ

_CHUNK = 1024  # samples in one AAC frame


def write_film(path: Path, pictures: Iterator[NDArray[np.uint8]], *, frames: int, sound: NDArray[np.float32]) -> None:
    """Write pictures and sound as MP4, the same bytes for the same input.

    `nbpkg.sample.media.write_film` does cameras that lose or turn frames, at another rate of the sound.

    Parameters
    ----------
    path
        File to write.
    pictures
        Drawn pictures in order, uint8 RGB ``[HEIGHT, WIDTH, 3]``, each shown in `EVERY` frames.
    frames
        Frames to write.
    sound
        Mono sound at `SOUND_HZ`, -1 .. 1.

    Raises
    ------
    MediaError
        When there are fewer pictures than the frames need.
    """
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
        film, voice = _add_streams(container)
        heard = 0
        for number in range(frames):
            if number % EVERY == 0:
                frame = _next_frame(pictures, path)
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(film.encode(frame))
            heard = _write_sound(container, voice, sound, heard, until=(number + 1) * SOUND_HZ // FPS)
        _write_sound(container, voice, sound, heard, until=len(sound))
        container.mux(voice.encode(None))
        container.mux(film.encode(None))


def _add_streams(container: av.container.OutputContainer) -> tuple[av.VideoStream, av.AudioStream]:
    film = container.add_stream("libx264", rate=FPS)
    film.width, film.height, film.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    film.codec_context.time_base = Fraction(1, FPS)
    film.codec_context.flags |= av.codec.context.Flags.bitexact
    # One thread: x264 splits pictures by thread count, so more would change the bytes.
    film.options = {"preset": "ultrafast", "tune": "zerolatency", "qp": "20", "threads": "1", "g": str(2 * FPS)}
    voice = container.add_stream("aac", rate=SOUND_HZ, layout="mono")
    voice.bit_rate = 48_000
    voice.codec_context.flags |= av.codec.context.Flags.bitexact
    voice.options = {"aac_coder": "fast"}
    return film, voice


def _next_frame(pictures: Iterator[NDArray[np.uint8]], path: Path) -> av.VideoFrame:
    picture = next(pictures, None)
    if picture is None:
        raise MediaError("There are fewer pictures than the frames show.", where=str(path))
    planes = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420), dtype=np.uint8)
    return av.VideoFrame.from_ndarray(planes, format="yuv420p")


def _write_sound(
    container: av.container.OutputContainer,
    voice: av.AudioStream,
    sound: NDArray[np.float32],
    heard: int,
    *,
    until: int,
) -> int:
    """Write the sound from sample `heard` up to about sample `until`; return the sample to go on from."""
    while heard < min(until, len(sound)):
        frame = av.AudioFrame.from_ndarray(sound[None, heard : heard + _CHUNK], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = SOUND_HZ, heard, Fraction(1, SOUND_HZ)
        container.mux(voice.encode(frame))
        heard += _CHUNK
    return heard
