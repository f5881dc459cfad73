"""Who tells which story to whom, what is said and how, and what the listener feels: the planted truth of the sample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from nbpkg import seeding

FPS = 25
SUBJECTS = ("1", "2", "3", "4", "5")
PARTS = {"2": "Training", "4": "Training", "5": "Training", "1": "Validation", "3": "Testing", "6": "Testing"}
ACTORS = {"1": "ann", "2": "ben", "3": "cleo", "4": "ann", "5": "dan", "6": "ben"}  # story -> who tells it
HIDDEN_STORY = "6"
UNEVEN = ("1", "4")  # subject and story whose film ends amid a second
WEIGHTS = {"text": 0.65, "audio": 0.35}  # what the words and the voice give to the listener's valence
LAG_SECONDS = {"text": 2, "audio": 1}  # how much later the listener shows it
SILENT_AROUSAL = -1.0  # nobody is calmer than who says nothing

PLEASANT = (
    "happy", "lovely", "sunny", "laughed", "friend", "gift", "proud", "warm", "smiling", "party", "won", "delicious",
)  # fmt: skip
UNPLEASANT = (
    "afraid", "lonely", "cried", "broken", "angry", "lost", "pain", "awful", "hurt", "sick", "storm", "failed",
)  # fmt: skip
NEUTRAL = (
    "morning", "street", "walked", "then", "table", "around", "said", "house", "later", "people", "looked", "second",
)  # fmt: skip
TOPICS = {
    "1": ("school", "playground", "neighbour"),
    "2": ("band", "guitar", "stage"),
    "3": ("dog", "leash", "park"),
    "4": ("plane", "airport", "suitcase"),
    "5": ("exam", "paper", "teacher"),
    "6": ("mountain", "river", "backpack"),
}
_FILLERS = ("the", "and", "so", "a")
_OFFSETS = (-0.10, 0.06, 0.0, 0.10, -0.05)  # of the subjects in order
_HOLD_FRAMES = 8  # the hand moves the joystick about three times in a second


@dataclass(frozen=True)
class Utterance:
    """A few words in one breath, from second `start` up to second `stop`; pleasantness -1 .. 1."""

    start: int
    stop: int
    words: tuple[str, ...]
    pleasantness: float


@dataclass(frozen=True)
class Telling:
    """One video: a subject listens to a story.

    Parameters
    ----------
    subject, story
        Their numbers, as text.
    frames
        Length in frames of 1 / `FPS` s.
    utterances
        What the actor says, in order.
    pleasantness
        Of the words said in each second, -1 .. 1, 0 in silence, shape [seconds].
    arousal
        Of the voice in each second, -1 .. 1, `SILENT_AROUSAL` in silence, shape [seconds].
    valence
        What the listener says to have felt in each frame, multiples of 0.1, shape [frames].
    third_party
        What somebody else saw in the listener's face, multiples of 0.1, shape [frames].
    """

    subject: str
    story: str
    frames: int
    utterances: tuple[Utterance, ...]
    pleasantness: NDArray[np.float64]
    arousal: NDArray[np.float64]
    valence: NDArray[np.float64]
    third_party: NDArray[np.float64]

    @property
    def session(self) -> str:
        """Name of the video."""
        return f"Subject_{self.subject}_Story_{self.story}"


def tell(subject: str, story: str, seed: int) -> Telling:
    """Make up one telling of a story, and what its listener feels.

    Valence follows the pleasantness of the words and the arousal of the voice with `WEIGHTS` and `LAG_SECONDS`; a
    small offset of the subject, noise and the steps of a joystick come on top.

    Parameters
    ----------
    subject, story
        One of `SUBJECTS` and one of `PARTS`.
    seed
        The sample's seed.
    """
    random = seeding.generator(seed, "telling", subject, story)
    frames = FPS * int(random.integers(36, 48)) + (13 if (subject, story) == UNEVEN else 0)
    seconds = -(-frames // FPS)
    utterances = _talk(random, seconds, story)
    pleasantness, arousal = np.zeros(seconds), np.full(seconds, SILENT_AROUSAL)
    course = np.clip(0.62 * _wander(random, seconds, keep=0.7), -1, 1)
    for one in utterances:
        pleasantness[one.start : one.stop] = one.pleasantness
        arousal[one.start : one.stop] = course[one.start : one.stop]
    felt = WEIGHTS["text"] * _later(pleasantness, LAG_SECONDS["text"], frames)
    felt += WEIGHTS["audio"] * _later(arousal, LAG_SECONDS["audio"], frames)
    felt = gaussian_filter1d(felt, 8.0, mode="nearest") + _OFFSETS[SUBJECTS.index(subject)]
    seen = 0.75 * np.concatenate([np.full(15, felt[0]), felt[:-15]]) + 0.05  # others see less of it, and later
    return Telling(
        subject,
        story,
        frames,
        utterances,
        pleasantness,
        arousal,
        valence=_move_joystick(felt + _drift(random, frames, 0.05)),
        third_party=_move_joystick(seen + _drift(random, frames, 0.16)),
    )


def _talk(random: np.random.Generator, seconds: int, story: str) -> tuple[Utterance, ...]:
    """Fill the time with utterances of two to four seconds and pauses of one."""
    mood, at = _wander(random, seconds, keep=0.2), int(random.integers(0, 2))
    found: list[Utterance] = []
    while at < seconds - 1:
        length = min(int(random.choice((2, 3, 4), p=(0.35, 0.4, 0.25))), seconds - at)
        count = {1: 2, 2: 4, 3: 6, 4: 8}[length]
        coloured = int(np.clip(np.rint(0.75 * mood[len(found)] * count), -count, count))
        source = PLEASANT if coloured > 0 else UNPLEASANT
        plain = (*NEUTRAL, *TOPICS[story])
        words = [str(word) for word in random.choice(source, abs(coloured))]
        words += [str(word) for word in random.choice(plain, count - abs(coloured))]
        words = [words[place] for place in random.permutation(count)]
        words.insert(int(random.integers(0, count)), str(random.choice(_FILLERS)))
        found.append(Utterance(at, at + length, tuple(words), coloured / count))
        at += length + int(random.random() < 0.2)
    return tuple(found)


def _wander(random: np.random.Generator, count: int, *, keep: float) -> NDArray[np.float64]:
    """Draw a course around 0 with spread 1 that keeps a share of each value in the next, shape [count]."""
    course = random.normal(0, 1, count)
    for place in range(1, count):
        course[place] = keep * course[place - 1] + np.sqrt(1 - keep**2) * course[place]
    return course


def _later(values: NDArray[np.float64], seconds: int, frames: int) -> NDArray[np.float64]:
    """Bring values for each second to frames, `seconds` later; 0 before the first, shape [frames]."""
    return np.concatenate([np.zeros(FPS * seconds), np.repeat(values, FPS)])[:frames]


def _drift(random: np.random.Generator, frames: int, spread: float) -> NDArray[np.float64]:
    """Draw slow noise, shape [frames]."""
    noise = gaussian_filter1d(random.normal(0, 1, frames), 12.0, mode="wrap")
    drift: NDArray[np.float64] = spread * noise / noise.std()
    return drift


def _move_joystick(wanted: NDArray[np.float64]) -> NDArray[np.float64]:
    """Follow a course in steps of 0.1 that the hand makes now and then, and only when they are worth it."""
    held, now = np.empty(len(wanted)), round(float(wanted[0]), 1)
    for frame in range(0, len(wanted), _HOLD_FRAMES):
        if abs(wanted[frame] - now) > 0.07:
            now = float(np.clip(np.rint(wanted[frame] * 10) / 10, -1, 1))
        held[frame : frame + _HOLD_FRAMES] = now
    return held
