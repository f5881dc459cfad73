"""Writing made-up films as MP4: H.264 with AAC sound, steady or irregular frames, upright or turned by a flag."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np

from nbpkg.errors import MediaError
from nbpkg.sample.sound import SOUND_HZ

_TICKS_HZ = 90_000  # time base of films with irregular frames
_CHUNK = 1024  # samples in one AAC frame
_MATRIX_AT = 44  # bytes from the box name 'tkhd' (version 0) to its matrix


def frame_times(random: np.random.Generator, *, seconds: float, fps: int, variable: bool) -> np.ndarray:
    """Say when the frames of a film are shown, seconds, shape [frames].

    With `variable` the camera is late by up to 0.4 frames now and then and loses a frame in fifty.
    """
    count = round(seconds * fps)
    times_s = np.arange(count) / fps
    if not variable:
        return times_s
    late = random.uniform(0, 0.4, size=count) * (random.random(count) < 0.5) / fps
    kept = random.random(count) >= 0.02
    kept[0], late[0] = True, 0.0
    return (times_s + late)[kept]


def write_film(
    path: Path,
    pictures: Iterator[np.ndarray],
    times_s: np.ndarray,
    *,
    drawn: np.ndarray,
    sound: np.ndarray,
    fps: int,
    turned: bool,
    grain: np.ndarray,
) -> None:
    """Write pictures and sound as MP4, the same bytes for the same input.

    Parameters
    ----------
    path
        File to write.
    pictures
        Drawn pictures in order, shape [height, width, 3], uint8, red green blue.
    times_s
        When each frame is shown, seconds, shape [frames].
    drawn
        Number of the picture that each frame shows, not falling, shape [frames].
    sound
        Mono sound at `sound.SOUND_HZ`.
    fps
        Nominal frames per second.
    turned
        Store the film lying on its side, with the flag that tells players to turn it clockwise by 90 degrees.
    grain
        Camera noise added to the luma, shape [pictures, height, width] as displayed, uint8, used in turn.

    Raises
    ------
    MediaError
        When the frames do not fit the pictures.
    """
    shape = grain.shape[:0:-1] if turned else grain.shape[1:]
    if turned:
        grain = np.stack([cv2.rotate(noise, cv2.ROTATE_90_COUNTERCLOCKWISE) for noise in grain])
    variable = bool(np.ptp(np.diff(times_s)) > 1e-6) if len(times_s) > 2 else False
    base = Fraction(1, _TICKS_HZ if variable else fps)
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
        film, voice = _add_streams(container, fps=fps, base=base, height=shape[0], width=shape[1])
        heard, shown = 0, -1
        frame = av.VideoFrame(shape[1], shape[0], "yuv420p")
        for time_s, wanted in zip(times_s.tolist(), drawn.tolist(), strict=True):
            if wanted > shown:
                picture = _skip_to(pictures, wanted - shown, path)
                shown = wanted
                frame = _to_frame(_to_planes(picture, turned=turned, noise=grain[shown % len(grain)]), shape)
            frame.pts, frame.time_base = round(time_s / base), base
            container.mux(film.encode(frame))
            heard = _write_sound(container, voice, sound, heard, until_s=time_s)
        _write_sound(container, voice, sound, heard, until_s=len(sound) / SOUND_HZ)
        container.mux(voice.encode(None))
        container.mux(film.encode(None))
    if turned:
        _set_turn_flag(path)


def _skip_to(pictures: Iterator[np.ndarray], count: int, path: Path) -> np.ndarray:
    """Take the picture that is `count` further on."""
    picture = next(islice(pictures, count - 1, None), None)
    if picture is None:
        raise MediaError("There are fewer pictures than the frames show.", where=str(path))
    return picture


def _add_streams(
    container: av.container.OutputContainer, *, fps: int, base: Fraction, height: int, width: int
) -> tuple[av.VideoStream, av.AudioStream]:
    film = container.add_stream("libx264", rate=fps)
    film.width, film.height, film.pix_fmt = width, height, "yuv420p"
    film.codec_context.time_base = base
    film.codec_context.flags |= av.codec.context.Flags.bitexact
    # One thread: x264 splits pictures by thread count, so more would change the bytes.
    film.options = {"preset": "ultrafast", "tune": "zerolatency", "qp": "25", "threads": "1", "g": str(2 * fps)}
    voice = container.add_stream("aac", rate=SOUND_HZ, layout="mono")
    voice.bit_rate = 24_000
    voice.codec_context.flags |= av.codec.context.Flags.bitexact
    voice.options = {"aac_coder": "fast"}
    return film, voice


def _to_planes(picture: np.ndarray, *, turned: bool, noise: np.ndarray) -> np.ndarray:
    """Convert a picture to YUV 4:2:0 with noise, shape [height * 3 / 2, width]."""
    if turned:
        picture = cv2.rotate(picture, cv2.ROTATE_90_COUNTERCLOCKWISE)
    planes = cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420)
    height = len(noise)
    cv2.add(planes[:height], noise, dst=planes[:height])
    return planes


def _to_frame(planes: np.ndarray, shape: tuple[int, ...]) -> av.VideoFrame:
    """Copy planes into a frame; quicker than `av.VideoFrame.from_ndarray`."""
    height, width = shape
    frame = av.VideoFrame(width, height, "yuv420p")
    flat, start = planes.reshape(-1), 0
    for plane, (rows, columns) in zip(
        frame.planes, ((height, width), (height // 2, width // 2), (height // 2, width // 2)), strict=True
    ):
        target = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        target[:rows, :columns] = flat[start : start + rows * columns].reshape(rows, columns)
        start += rows * columns
    return frame


def _write_sound(
    container: av.container.OutputContainer, voice: av.AudioStream, sound: np.ndarray, heard: int, *, until_s: float
) -> int:
    """Write the sound from sample `heard` on until a time; return the sample to go on from."""
    while heard < len(sound) and heard / SOUND_HZ < until_s:
        chunk = np.ascontiguousarray(sound[None, heard : heard + _CHUNK], dtype=np.float32)
        frame = av.AudioFrame.from_ndarray(chunk, format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = SOUND_HZ, heard, Fraction(1, SOUND_HZ)
        container.mux(voice.encode(frame))
        heard += _CHUNK
    return heard


def _set_turn_flag(path: Path) -> None:
    """Write a quarter turn into the matrix of the video track's header, which PyAV cannot set."""
    content = bytearray(path.read_bytes())
    found = content.find(b"tkhd", content.find(b"moov"))  # the video track is the first one
    if found < 0 or content[found + 4] != 0:
        raise MediaError("There is no track header to write the rotation into.", where=str(path))
    at = found + _MATRIX_AT
    (height,) = struct.unpack_from(">i", content, at + 40)  # after 9 numbers of the matrix and the width
    one = 1 << 16
    struct.pack_into(">9i", content, at, 0, one, 0, -one, 0, 0, height, 0, 1 << 30)
    path.write_bytes(bytes(content))
