"""How child and experimenter move: poses over time from the true states, with nuisance movements that mean nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nbpkg import seeding
from nbpkg.sample.plan import TASKS
from nbpkg.sample.states import STEP_MS, Course

RATE = 50  # movements are drawn at this rate and then read at the times of the frames
BEATS_HZ = {"people": 1.15, "eggs": 1.6, "drums": 1.35}
CHILD_SEAT, ADULT_SEAT = np.array([110.0, 103.0]), np.array([245.0, 92.0])  # middle of the shoulders, world units
_LOOKING_AWAY = np.array([(-50.0, 2.0), (-38.0, -14.0), (-30.0, 24.0), (-4.0, 2.0), (20.0, 14.0)])
_LOOKING_AWAY_SHARES = (0.32, 0.18, 0.28, 0.14, 0.08)


@dataclass(frozen=True)
class Pose:
    """One figure over time, at `RATE` or at the frames' times; positions in world units.

    Parameters
    ----------
    chest, head, left, right
        Middle of the shoulders, middle of the head, and the hands at the picture's left and right, shape [times, 2].
    yaw, pitch
        Where the face points, degrees; positive is to the right and down, shape [times].
    tilt
        Roll of the head, degrees.
    mouth
        How far the mouth is open, 0 .. 1.
    smile
        -1 (sad) .. 1 (happy).
    eyes
        How far the eyes are open, 0 .. 1.
    """

    chest: np.ndarray
    head: np.ndarray
    left: np.ndarray
    right: np.ndarray
    yaw: np.ndarray
    pitch: np.ndarray
    tilt: np.ndarray
    mouth: np.ndarray
    smile: np.ndarray
    eyes: np.ndarray

    def at(self, times_s: np.ndarray) -> Pose:
        """Read the pose at other times, seconds."""
        own_s = np.arange(len(self.yaw)) / RATE
        return Pose(**{name: _read(own_s, values, times_s) for name, values in vars(self).items()})


@dataclass(frozen=True)
class Rhythm:
    """The beat of the games at `RATE`: seconds, index of the game (-1 between games) and the phase in radians."""

    times_s: np.ndarray
    game: np.ndarray
    phase: np.ndarray

    def game_at(self, times_s: np.ndarray) -> np.ndarray:
        """Read which game is played at the given times, index or -1, shape [times]."""
        positions = np.searchsorted(self.times_s, times_s, side="right") - 1
        games: np.ndarray = self.game[np.clip(positions, 0, len(self.game) - 1)]
        return games


def draw_rhythm(course: Course, seed: int, session: str) -> Rhythm:
    """Draw the experimenter's beat: one tempo for each game, slightly unsteady."""
    random = seeding.generator(seed, "rhythm", session)
    times_s = np.arange(round(course.seconds * RATE)) / RATE
    names = course.task[_steps(course, times_s)]
    game = np.full(len(times_s), -1)
    tempo = np.zeros(len(times_s))
    for number, task in enumerate(TASKS):
        game[names == task] = number
        tempo[names == task] = BEATS_HZ[task] * random.uniform(0.9, 1.1)
    unsteady = 1 + 0.05 * _wander(random, len(times_s), 2.0)
    return Rhythm(times_s, game, 2 * np.pi * np.cumsum(tempo * unsteady) / RATE)


def move_child(course: Course, rhythm: Rhythm, seed: int, session: str) -> Pose:
    """Move the child as its true states say.

    Attending turns head and eyes to the experimenter or the toys and straightens the back; excitement bounces and
    raises the arms; participating moves hands and toy, in the child's own rhythm (``self``) or the experimenter's
    (``joint``). Otherwise the child leans back, looks elsewhere and fidgets. Each child has its own posture, sways,
    glances away, sucks its hand or slaps the table now and then, whatever its state.
    """
    random = seeding.generator(seed, "child", session)
    count, steps = len(rhythm.times_s), _steps(course, rhythm.times_s)
    attends = _ease((course.attending[steps] != "no").astype(float), 0.8)
    excited = _ease((course.attending[steps] == "excited").astype(float), 0.8)
    plays = _ease((course.participating[steps] != "no").astype(float), 0.6)
    joint = _ease((course.participating[steps] == "joint").astype(float), 0.6)
    plays = plays * (1 - 0.85 * _episodes(random, count, every_s=9.0, length_s=1.0))

    bounce = np.abs(np.sin(np.pi * 1.7 * rhythm.times_s)) * excited
    lean = random.normal(0, 2.5) + 6 * attends - 9 * (1 - attends) + 2.2 * _wander(random, count, 1.5)
    slump = 7 * (1 - attends) - 6 * bounce + 1.2 * _wander(random, count, 2.0)
    chest = CHILD_SEAT + np.stack([lean, slump], axis=1)
    yaw, pitch = _child_gaze(random, attends, count)
    head = chest + np.stack([0.35 * lean + 0.06 * yaw, -33.0 + 0.05 * pitch], axis=1)
    left, right = _child_hands(random, rhythm, chest, head, plays=plays, joint=joint, excited=excited)
    happy = 0.2 + 0.4 * attends + 0.4 * excited + 0.15 * _wander(random, count, 3.0)
    return Pose(
        chest=chest,
        head=head,
        left=left,
        right=right,
        yaw=yaw,
        pitch=pitch,
        tilt=4 * _wander(random, count, 1.2) - 7 * (1 - attends),
        mouth=np.clip(0.95 * excited * (0.7 + 0.3 * bounce) + 0.12 * _wander(random, count, 2.0), 0, 1),
        smile=np.clip(happy, -0.1, 1),
        eyes=_blinks(random, count),
    )


def move_experimenter(rhythm: Rhythm, seed: int, session: str) -> Pose:
    """Move the experimenter, who plays through every game with short rests and watches the child."""
    random = seeding.generator(seed, "experimenter", session)
    count = len(rhythm.times_s)
    plays = _ease((rhythm.game >= 0).astype(float), 0.8) * (
        1 - 0.9 * _episodes(random, count, every_s=11, length_s=1.6)
    )
    nod = np.sin(rhythm.phase) * plays
    sway = np.stack([-4 + 2.5 * _wander(random, count, 2.5), 1.0 * nod], axis=1)
    chest = ADULT_SEAT + sway
    head = chest + np.stack([-5 + 1.5 * _wander(random, count, 1.5), -36 + 1.5 * nod], axis=1)
    rest_left = np.array([207.0, 147.0]) + 1.5 * _wander_2d(random, count, 1.5)
    rest_right = np.array([268.0, 148.0]) + 1.5 * _wander_2d(random, count, 1.5)
    left, right = _beat_hands(rhythm.game, rhythm.phase, np.array([216.0, 116.0]), strength=np.ones(count))
    weight = plays[:, None]
    at_toys = _episodes(random, count, every_s=5, length_s=1.2)
    return Pose(
        chest=chest,
        head=head,
        left=rest_left + (left - rest_left) * weight,
        right=rest_right + (right - rest_right) * weight,
        yaw=-34 + 5 * _wander(random, count, 1.5) + 8 * at_toys,
        pitch=4 + 16 * at_toys,
        tilt=-3 + 2.5 * _wander(random, count, 1.5),
        mouth=np.clip(0.55 * plays * (0.5 + 0.5 * np.sin(2 * rhythm.phase)), 0, 1),
        smile=np.full(count, 0.75),
        eyes=_blinks(random, count),
    )


def _child_gaze(random: np.random.Generator, attends: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Direct the face: to the experimenter or the toys when attending, else to one place after another."""
    bias = random.normal(0, 5, size=2)
    at_toys = _episodes(random, count, every_s=4.0, length_s=2.0)
    glance = _episodes(random, count, every_s=8.0, length_s=0.8)
    on = np.stack([36 - 10 * at_toys, -2 + 26 * at_toys], axis=1)
    off = np.empty((count, 2))
    now = 0
    while now < count:
        length = round(RATE * random.uniform(0.9, 2.6))
        off[now : now + length] = _LOOKING_AWAY[random.choice(len(_LOOKING_AWAY), p=_LOOKING_AWAY_SHARES)]
        now += length
    weight = (attends * (1 - glance))[:, None]
    gaze = on * weight + off * (1 - weight) + bias
    return _ease(gaze[:, 0], 0.4), _ease(gaze[:, 1], 0.4)


def _child_hands(
    random: np.random.Generator,
    rhythm: Rhythm,
    chest: np.ndarray,
    head: np.ndarray,
    *,
    plays: np.ndarray,
    joint: np.ndarray,
    excited: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Move the hands: at rest, playing along, playing alone, up in joy, or in a nuisance movement."""
    count = len(plays)
    own_tempo = 0.68 * (1 + 0.35 * _wander(random, count, 1.5))
    own_phase = np.cumsum(np.gradient(rhythm.phase) * own_tempo) + random.uniform(0, 6)
    strength = random.uniform(0.85, 1.15) * (1 + 0.25 * excited)
    middle = CHILD_SEAT + np.array([9.0, 15.0]) + 0.7 * (chest - CHILD_SEAT)
    with_partner = _beat_hands(rhythm.game, rhythm.phase - 0.5, middle, strength=strength)
    alone = _beat_hands(rhythm.game, own_phase, middle, strength=0.85 * strength)
    slaps = _episodes(random, count, every_s=22.0, length_s=1.4) * (1 - plays)
    sucks = _episodes(random, count, every_s=17.0, length_s=2.5) * (1 - plays)
    cheers = 0.75 * excited * (1 - plays)
    wave = 6 * np.sin(2 * np.pi * 1.7 * rhythm.times_s)
    hands = []
    for side, (rest, up) in enumerate((((74.0, 146.0), (-40.0, -14.0)), ((146.0, 148.0), (40.0, -14.0)))):
        hand = np.array(rest) + 2.0 * _wander_2d(random, count, 0.7) + 0.4 * (chest - CHILD_SEAT)
        hand[:, 1] -= slaps * 22 * np.abs(np.sin(2 * np.pi * 1.3 * rhythm.times_s + side))
        if side == 1:
            hand += (head + np.array([5.0, 17.0]) - hand) * sucks[:, None]
        raised = chest + np.array(up) + np.stack([0 * wave, wave if side else -wave], axis=1)
        hand += (raised - hand) * cheers[:, None]
        playing = alone[side] + (with_partner[side] - alone[side]) * joint[:, None]
        hands.append(hand + (playing - hand) * plays[:, None])
    return hands[0], hands[1]


def _beat_hands(
    game: np.ndarray, phase: np.ndarray, middle: np.ndarray, *, strength: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Move both hands around `middle` as the game wants: clapping puppets, shaking eggs, drumming."""
    sway = np.sin(phase) * strength
    opening = (1 + np.cos(phase)) / 2 * strength
    hits = np.maximum(0, sway), np.maximum(0, -sway)
    shapes = {
        0: ((-9 - 13 * opening, -6 * opening), (9 + 13 * opening, -6 * opening)),
        1: ((-20 + 0 * sway, 13 * sway), (20 + 0 * sway, -13 * sway)),
        2: ((-15 + 0 * sway, 10 - 24 * hits[0]), (15 + 0 * sway, 10 - 24 * hits[1])),
    }
    hands = []
    for side in (0, 1):
        moved = np.zeros((len(game), 2))
        for number, both in shapes.items():
            chosen = game == number
            moved[chosen] = np.stack(both[side], axis=1)[chosen]
        hands.append(moved + middle)
    return hands[0], hands[1]


def _steps(course: Course, times_s: np.ndarray) -> np.ndarray:
    steps: np.ndarray = np.minimum((times_s * 1000 / STEP_MS + 1e-6).astype(int), len(course.task) - 1)
    return steps


def _read(own_s: np.ndarray, values: np.ndarray, times_s: np.ndarray) -> np.ndarray:
    if values.ndim == 1:
        return np.asarray(np.interp(times_s, own_s, values))
    return np.stack([np.interp(times_s, own_s, column) for column in values.T], axis=1)


def _ease(values: np.ndarray, seconds: float) -> np.ndarray:
    """Smooth a course with a Hann window of the given length."""
    width = max(3, round(seconds * RATE)) | 1
    window = np.hanning(width + 2)[1:-1]
    padded = np.pad(values, width // 2, mode="edge")
    return np.asarray(np.convolve(padded, window / window.sum(), mode="valid"))


def _wander(random: np.random.Generator, count: int, seconds: float) -> np.ndarray:
    """Draw a smooth random course of about unit spread that turns every few `seconds`."""
    knots = random.normal(0, 1, size=int(count / RATE / seconds) + 4)
    return _ease(np.interp(np.arange(count) / RATE, np.arange(len(knots)) * seconds, knots), seconds / 2)


def _wander_2d(random: np.random.Generator, count: int, seconds: float) -> np.ndarray:
    return np.stack([_wander(random, count, seconds), _wander(random, count, seconds)], axis=1)


def _episodes(random: np.random.Generator, count: int, *, every_s: float, length_s: float) -> np.ndarray:
    """Draw episodes (1 within, 0 outside, eased) that come about every `every_s` seconds."""
    course = np.zeros(count)
    now = random.exponential(every_s)
    while now * RATE < count:
        length = length_s * random.uniform(0.6, 1.5)
        course[round(now * RATE) : round((now + length) * RATE)] = 1.0
        now += length + random.exponential(every_s)
    return _ease(course, 0.35)


def _blinks(random: np.random.Generator, count: int) -> np.ndarray:
    eyes = np.ones(count)
    now = random.exponential(3.0)
    while now * RATE < count:
        eyes[round(now * RATE) : round((now + 0.16) * RATE)] = 0.12
        now += 0.5 + random.exponential(3.0)
    return eyes
