"""The sound of a session: a quiet room, the beat of the games and the child's voice when it is excited."""

from __future__ import annotations

import numpy as np

from nbpkg import seeding
from nbpkg.sample.rig import Rhythm
from nbpkg.sample.states import STEP_MS, Course

SOUND_HZ = 8_000


def draw_sound(course: Course, rhythm: Rhythm, seed: int, session: str) -> np.ndarray:
    """Synthesise the sound.

    Parameters
    ----------
    course
        What happens in the session.
    rhythm
        The experimenter's beat.
    seed, session
        Choose the random numbers.

    Returns
    -------
    numpy.ndarray
        Mono, shape [samples] at `SOUND_HZ`, float32 in -1 .. 1.
    """
    random = seeding.generator(seed, "sound", session)
    hiss = random.normal(0, 0.004, size=SOUND_HZ * 4).astype(np.float32)
    track = np.resize(hiss, round(course.seconds * SOUND_HZ))
    voices = (_clap(random), _shake(random), _beat())
    turns = np.floor(rhythm.phase / (2 * np.pi))
    for position in np.flatnonzero(np.diff(turns) > 0) + 1:
        game = rhythm.game[position]
        if game >= 0:
            _add(track, voices[game] * np.float32(random.uniform(0.7, 1.0)), rhythm.times_s[position])
    excited = (course.attending == "excited").astype(int)
    for position in np.flatnonzero(np.diff(excited, prepend=0) == 1):
        if random.random() < 0.7:
            _add(track, _coo(random.uniform(380, 520)), position * STEP_MS / 1000 + random.uniform(0.2, 0.8))
    return np.clip(track, -0.95, 0.95)


def _add(track: np.ndarray, sound: np.ndarray, at_s: float) -> None:
    start = round(at_s * SOUND_HZ)
    stop = min(start + len(sound), len(track))
    track[start:stop] += sound[: stop - start]


def _clap(random: np.random.Generator) -> np.ndarray:
    time_s = np.arange(round(0.09 * SOUND_HZ)) / SOUND_HZ
    return (0.45 * random.normal(0, 1, len(time_s)) * np.exp(-time_s * 70)).astype(np.float32)


def _shake(random: np.random.Generator) -> np.ndarray:
    time_s = np.arange(round(0.14 * SOUND_HZ)) / SOUND_HZ
    rattle = np.diff(random.normal(0, 1, len(time_s) + 1))  # differences keep the high, grainy part
    return np.asarray(0.16 * rattle * np.sin(np.pi * time_s / time_s[-1]) ** 2, dtype=np.float32)


def _beat() -> np.ndarray:
    time_s = np.arange(round(0.25 * SOUND_HZ)) / SOUND_HZ
    return (0.5 * np.sin(2 * np.pi * 120 * time_s * np.exp(-time_s)) * np.exp(-time_s * 16)).astype(np.float32)


def _coo(pitch_hz: float) -> np.ndarray:
    time_s = np.arange(round(0.45 * SOUND_HZ)) / SOUND_HZ
    rise = pitch_hz * (time_s + 0.25 * time_s**2)
    shape = np.sin(np.pi * time_s / time_s[-1])
    voice = np.sin(2 * np.pi * rise) + 0.3 * np.sin(4 * np.pi * rise)
    return np.asarray(0.12 * shape * voice, dtype=np.float32)
