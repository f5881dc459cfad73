"""Sound of clips as files of one channel, 16,000 samples per second."""

from __future__ import annotations

import json
import wave
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from nbpkg.errors import Problem
from nbpkg.features.sound import read_sound
from nbpkg.progress import Report
from nbpkg.runs.files import new_file, write_json
from nbpkg.video import workers as pools
from nbpkg.video.probe import probe

RATE = 16_000
_BLOCK = 1 << 16  # samples resampled at once


def write_audio(video: Path, path: Path, *, rate: int = RATE) -> list[Problem]:
    """Write the sound of a video as a WAV file: 16 bits, one channel, beginning with the first picture.

    Parameters
    ----------
    video
        A video file.
    path
        Where the sound goes; complete or not there.
    rate
        Samples per second.

    Returns
    -------
    list of Problem
        Repairs; a warning, and no file, when the video has no sound.

    Raises
    ------
    MediaError
        When the video cannot be read.
    """
    if not probe(video, header_only=True).has_sound:
        return [Problem("It has no sound, so there is no sound file of it.", file=video.name, severity="warning")]
    sound = read_sound(video)
    with new_file(path) as temporary, wave.open(str(temporary), "wb") as stream:
        stream.setnchannels(1)
        stream.setsampwidth(2)
        stream.setframerate(rate)
        for piece in _resample(sound.samples, sound.rate, rate):
            stream.writeframes(piece.astype("<i2").tobytes())
    return sound.problems


def write_all_audio(videos: Mapping[str, Path], folder: Path, *, workers: int = 1) -> list[Problem]:
    """Write ``<session>.wav`` for every session that has none there, and beside it what was noticed.

    Parameters
    ----------
    videos
        Video of each session.
    folder
        Where sounds go; made if needed.
    workers
        Videos at once, each in a process of its own; 1 works in this one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    report = Report("sound", total=len(videos), unit="clip")
    found: dict[str, list[Problem]] = {}
    jobs = {session: partial(_write_one, video, folder / f"{session}.wav") for session, video in videos.items()}
    for session, problems in _run(jobs, workers):
        found[session] = problems
        report.step()
    report.close()
    return [problem for session in videos for problem in found[session]]


def _run(
    jobs: Mapping[str, Callable[[Callable[[float], None]], list[Problem]]], workers: int
) -> Iterator[tuple[str, list[Problem]]]:
    if workers <= 1 or len(jobs) <= 1:
        for session, job in jobs.items():
            yield session, job(lambda _: None)
        return
    with pools.start(min(workers, len(jobs))) as pool:
        for session, job in jobs.items():
            pool.submit(session, job)
        yield from pool.results(lambda _: None)


def _write_one(video: Path, path: Path, tick: Callable[[float], None]) -> list[Problem]:
    """Write one file and, after it, what was noticed, so that a second run tells the same."""
    notes = path.with_name(f"{path.name}.json")
    if not notes.is_file():
        write_json(notes, [asdict(problem) for problem in write_audio(video, path)])
    tick(1)
    return [Problem(**problem) for problem in json.loads(notes.read_text(encoding="utf-8"))]


def _resample(samples: NDArray[np.int16], rate: int, target: int) -> Iterator[NDArray[np.int16]]:
    """Bring sound to another rate as FFmpeg does by default."""
    resampler = av.AudioResampler(format="s16", layout="mono", rate=target)
    starts = range(0, len(samples), _BLOCK)
    for start in [*starts, None]:
        if start is None:
            frame = None  # what the filter still holds
        else:
            frame = av.AudioFrame.from_ndarray(samples[None, start : start + _BLOCK], format="s16", layout="mono")
            frame.rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
        for mixed in resampler.resample(frame):
            yield np.frombuffer(bytes(mixed.planes[0]), np.int16)[: mixed.samples]
