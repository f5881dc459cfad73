"""The voice of a story teller: sung-like vowels whose pitch and loudness carry the arousal, with pauses."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nbpkg import seeding
from nbpkg.sample.valence_story import ACTORS, FPS, Telling

SOUND_HZ = 16_000
PITCH_HZ = {"ann": 205.0, "ben": 118.0, "cleo": 186.0, "dan": 134.0}
_FORMANTS_HZ = ((730, 1090), (530, 1840), (270, 2290), (570, 840), (300, 870))  # of a, e, i, o, u
_SYLLABLES = 4  # in a second
_TABLE = 2048  # samples of one period


def speak(telling: Telling, seed: int) -> NDArray[np.float32]:
    """Synthesise what the actor says.

    A step of 1 in arousal raises the pitch by a third of an octave and the loudness by 6 dB.

    Parameters
    ----------
    telling
        The story as told.
    seed
        The sample's seed.

    Returns
    -------
    numpy.ndarray
        Mono, shape [samples] at `SOUND_HZ`, float32 in -1 .. 1.
    """
    random = seeding.generator(seed, "voice", telling.session)
    samples = telling.frames * SOUND_HZ // FPS
    count = len(telling.arousal) * _SYLLABLES
    arousal = np.repeat(telling.arousal, _SYLLABLES)
    base_hz = PITCH_HZ[ACTORS[telling.story]]
    pitch = base_hz * 2 ** (arousal / 3 + random.normal(0, 0.05, count))
    loudness = 0.16 * 10 ** (0.3 * arousal + random.normal(0, 0.03, count)) * _voiced(telling)
    each = SOUND_HZ // _SYLLABLES
    swell = np.sin(np.pi * (np.arange(each) + 0.5) / each).astype(np.float32) ** 0.6
    phase = np.cumsum(np.repeat(pitch * (_TABLE / SOUND_HZ), each))  # samples of the table passed so far
    place = phase.astype(np.int64) % _TABLE
    place += np.repeat(random.integers(len(_FORMANTS_HZ), size=count) * _TABLE, each)
    sound = _vowels(base_hz).ravel()[place]
    sound *= (loudness[:, None].astype(np.float32) * swell).ravel()
    breath = random.normal(0, 0.002, SOUND_HZ).astype(np.float32)
    return np.clip(sound[:samples] + np.resize(breath, samples), -0.95, 0.95)


def _voiced(telling: Telling) -> NDArray[np.float64]:
    """Tell which syllables are spoken, 1 or 0, shape [syllables]."""
    voiced = np.zeros(len(telling.arousal) * _SYLLABLES)
    for one in telling.utterances:
        voiced[one.start * _SYLLABLES : one.stop * _SYLLABLES] = 1
    return voiced


def _vowels(pitch_hz: float) -> NDArray[np.float32]:
    """One period of each vowel: harmonics, strongest near the two formants, shape [vowels, samples]."""
    turn = 2 * np.pi * np.arange(_TABLE) / _TABLE
    order = np.arange(1, 15)
    heard = order[:, None] * pitch_hz
    tables = []
    for formants in _FORMANTS_HZ:
        near = np.exp(-(((heard - np.array(formants)) / (0.25 * np.array(formants) + 60)) ** 2))
        strength = (0.12 + near @ np.array([1.0, 0.5])) / order**0.5
        period = strength @ np.sin(order[:, None] * turn)
        tables.append(period / np.sqrt((period**2).mean()))
    return np.array(tables, dtype=np.float32)
