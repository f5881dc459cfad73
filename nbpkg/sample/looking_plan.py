"""Who is in which film of the made-up camera wearers, where each face is, where it looks and when it is blurred."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from nbpkg import seeding

WIDTH, HEIGHT, FPS = 160, 120, 10
LOOKING_YAW, LOOKING_PITCH = 12.0, 10.0  # degrees; somebody looks at the camera below both
BLURRED = 0.35  # share of frames in which a face is out of focus
PARTS = {
    "v1": "train",
    "v2": "train",
    "v3": "train",
    "v4": "train",
    "v5": "train",
    "v6": "val",
    "v7": "test",
    "v8": "test",
    "v9": "test",
    "v10": "test",
    "v11": "test",
    "v12": "test",
}
ALONE = ("v7", "v8", "v9", "v10", "v11", "v12")  # one clip of each: intervals draw videos, and want several
CHALLENGE = ("x1-a", "x2-a")  # clips of which only crops are given
UNKNOWN = "-1"
_TALL = 1.2  # height of a face's box over its width
_LOOKING = 0.25  # share of frames aimed at
_DRAWS = 40
_SHOWN = 0.7  # share of half a face that the camera keeps in the picture
# Oddities as real files have them, each where it is looked for: by clip, and person where only one is concerned.
WITHOUT_SEGMENTS = "v5-b"
SHORT_FILM = "v4-a"  # two frames fewer than are annotated
WEARER_LAST = "v3-b"
FAR_AWAY, STRANGER = "v2-a", "v4-b"  # a third, small face; a third person whom nobody knows
BEHIND_THE_EDGE = (("v2-b", "1"), ("v6-a", "1"))
UNSORTED = (("v1-a", "1"), ("v6-b", "2"), ("v9-a", "1"))
UNUSABLE = (("v1-b", "2"), ("v3-a", "2"), ("v8-a", "1"))
LONG_GAP = ("v3-a", "1")
_LONG = 18  # frames of the gap that is too long to be filled
_AT_THE_EDGE = 9.0  # pixels from the left to the middle of a face that is partly outside


@dataclass(frozen=True)
class Track:
    """Frames over which a face is followed.

    Parameters
    ----------
    name
        Its id.
    first, stop
        First frame, and the one after the last.
    hidden
        Frames of the gap in which the face is not annotated.
    """

    name: str
    first: int
    stop: int
    hidden: range


@dataclass(frozen=True)
class Person:
    """One person in a clip, an entry for each frame.

    Parameters
    ----------
    name
        Person id of the annotation.
    who
        Number of the looks, the same in all clips of a video.
    x, y, half
        Middle of the face and half its width, pixels.
    yaw, pitch, roll
        Degrees; positive to the picture's left, up, and clockwise, as Hopenet has them.
    blurred
        Whether the face is out of focus.
    tracks
        Its tracks, in order.
    """

    name: str
    who: int
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    half: NDArray[np.float64]
    yaw: NDArray[np.float64]
    pitch: NDArray[np.float64]
    roll: NDArray[np.float64]
    blurred: NDArray[np.bool_]
    tracks: tuple[Track, ...]

    @property
    def looks(self) -> NDArray[np.bool_]:
        """Whether the person looks at the camera wearer, bool ``[frames]``."""
        return _is_looking(self.yaw, self.pitch)

    def boxes(self) -> NDArray[np.float64]:
        """Return where the face is, ``[frames, 4]``: x0, y0, x1, y1 in pixels, not cut at the border."""
        tall = _TALL * self.half
        return np.stack([self.x - self.half, self.y - tall, self.x + self.half, self.y + tall], axis=-1)


@dataclass(frozen=True)
class Clip:
    """One clip.

    Parameters
    ----------
    name, video
        Ids of the clip and of the full video.
    part
        train, val or test; empty for a clip of the challenge.
    frames
        Frames that are annotated.
    people
        Everybody beside the camera wearer.
    camera
        How far the camera has turned, pixels, ``[frames, 2]``.
    light
        Brightness, ``[frames]``.
    talking
        Person, first and last frame, and to whom: the camera wearer ("0") or nobody in particular ("").
    """

    name: str
    video: str
    part: str
    frames: int
    people: tuple[Person, ...]
    camera: NDArray[np.float64]
    light: NDArray[np.float64]
    talking: tuple[tuple[str, int, int, str], ...]

    @property
    def filmed(self) -> int:
        """Frames of the film."""
        return self.frames - 2 if self.name == SHORT_FILM else self.frames


def plan_clips(seed: int, *, frames: int) -> list[Clip]:
    """Plan all labelled clips, those of a video one after the other; names and oddities are the same for every seed.

    Parameters
    ----------
    seed
        The sample's seed.
    frames
        Frames of the longest clip.
    """
    names = [(video, f"{video}-{letter}") for video in PARTS for letter in ("a" if video in ALONE else "ab")]
    lengths = [frames - frames // 5 * (number % 5) // 4 for number in range(len(names))]
    return [plan_clip(name, video, seed, frames=length) for (video, name), length in zip(names, lengths, strict=True)]


def plan_clip(name: str, video: str, seed: int, *, frames: int) -> Clip:
    """Plan one clip."""
    random = seeding.generator(seed, "clip", name)
    camera = np.stack([_sway(random, frames, 6.0), _sway(random, frames, 2.5)], axis=-1)
    people = [_plan_person(name, video, str(number), seed, camera) for number in (1, 2)]
    if name in (FAR_AWAY, STRANGER):
        people.append(_plan_person(name, video, "3" if name == FAR_AWAY else UNKNOWN, seed, camera))
    talking = []
    for person in people[:2]:
        start = int(random.integers(2, frames // 2))
        target = str(random.choice(["0", ""]))
        talking.append((person.name, start, start + int(random.integers(frames // 8, frames // 3)), target))
    light = 1 + _sway(random, frames, 0.03)
    return Clip(name, video, PARTS.get(video, ""), frames, tuple(people), camera, light, tuple(talking))


def _plan_person(clip: str, video: str, name: str, seed: int, camera: NDArray[np.float64]) -> Person:
    random, frames = seeding.generator(seed, "person", clip, name), len(camera)
    never = clip == WITHOUT_SEGMENTS or name == UNKNOWN
    yaw, pitch = _turn(random, frames, never=never)
    x, y, half = _place(random, frames, clip, name)
    shown = 0.0 if (clip, name) in BEHIND_THE_EDGE else _SHOWN
    return Person(
        name=name,
        who=seeding.child(seed, "look", video, name) % 10_000,
        x=np.clip(x - camera[:, 0], shown * half, WIDTH - _SHOWN * half),
        y=y - camera[:, 1],
        half=half,
        yaw=yaw,
        pitch=pitch,
        roll=np.clip(_sway(random, frames, 5.0), -12, 12),
        blurred=_blur(random, _is_looking(yaw, pitch)),
        tracks=_follow(random, frames, clip, name),
    )


def _place(
    random: np.random.Generator, frames: int, clip: str, name: str
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Draw middle and half width of a face over time: two large faces side by side, a third one small and behind."""
    if name not in ("1", "2"):
        half = 7.5 + _sway(random, frames, 0.4)
        return 80 + _sway(random, frames, 3.0), 36 + _sway(random, frames, 1.5), half
    x = (42.0 if name == "1" else 118.0) + _sway(random, frames, 4.0)
    if (clip, name) in BEHIND_THE_EDGE:
        x += (_AT_THE_EDGE - x) * np.clip((np.arange(frames) / frames - 0.5) * 6, 0, 1)
    half = np.clip(random.uniform(16, 26) + _sway(random, frames, 2.0), 14, 30)
    return x, random.uniform(50, 62) + _sway(random, frames, 3.0), half


def _turn(random: np.random.Generator, frames: int, *, never: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Draw yaw and pitch over time, of several courses the one that looks most nearly as often as aimed."""
    courses = [_draw_course(random, frames, never=never) for _ in range(_DRAWS)]
    aim = 0.0 if never else _LOOKING
    misses = [abs(float(_is_looking(*course).mean()) - aim) for course in courses]
    return courses[int(np.argmin(misses))]


def _draw_course(
    random: np.random.Generator, frames: int, *, never: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    aims: list[tuple[float, float]] = []
    side = float(random.choice([-1.0, 1.0]))
    while len(aims) < frames:
        if not never and random.random() < 0.4:
            aim, hold = (random.normal(0, 3.0), random.normal(0, 2.5)), int(random.integers(6, 12))
        elif not never and random.random() < 0.3:  # up or down only
            aim, hold = (random.uniform(-10, 10), random.choice([-1, 1]) * random.uniform(15, 20)), 8
        else:
            side = -side if not never and random.random() < 0.5 else side
            aim, hold = (side * random.uniform(24, 60), random.uniform(-12, 12)), int(random.integers(6, 14))
        aims += [aim] * hold
    course = gaussian_filter1d(np.array(aims[:frames], dtype=np.float64), 0.8, axis=0, mode="nearest")
    course += random.normal(0, 0.6, course.shape)
    return np.clip(course[:, 0], -60, 60), np.clip(course[:, 1], -20, 20)


def _is_looking(yaw: NDArray[np.float64], pitch: NDArray[np.float64]) -> NDArray[np.bool_]:
    looking: NDArray[np.bool_] = (np.abs(yaw) < LOOKING_YAW) & (np.abs(pitch) < LOOKING_PITCH)
    return looking


def _blur(random: np.random.Generator, looks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Draw stretches out of focus that say nothing about looking: as many of the frames that look as of the others."""
    course = gaussian_filter1d(random.normal(size=(5 * _DRAWS, len(looks))), 3.0, axis=1)
    blurred = course > np.quantile(course, 1 - BLURRED, axis=1, keepdims=True)
    misses = np.zeros(len(blurred))
    for own in (looks, ~looks):
        if own.any():
            misses += np.abs(blurred[:, own].mean(axis=1) - BLURRED)
    chosen: NDArray[np.bool_] = blurred[int(np.argmin(misses))]
    return chosen


def _follow(random: np.random.Generator, frames: int, clip: str, name: str) -> tuple[Track, ...]:
    """Part a clip into one or two tracks, each with a gap; ids hold a colon, but for those that name folders."""
    link = "_" if clip in CHALLENGE else ":"
    begin, halves = int(random.integers(0, 3)), bool(random.random() < 0.5) and (clip, name) != LONG_GAP
    middle = int(random.integers(frames * 2 // 5, frames * 3 // 5))
    parts = [(begin, middle), (middle + 2, frames)] if halves else [(begin, frames)]
    tracks = []
    for number, (first, stop) in enumerate(parts):
        length = _LONG if (clip, name) == LONG_GAP else int(random.integers(3, 9))
        start = int(random.integers(first + 3, max(stop - length - 3, first + 4)))
        tracks.append(Track(f"{name}{link}{number}", first, stop, range(start, min(start + length, stop - 1))))
    return tuple(tracks)


def _sway(random: np.random.Generator, count: int, spread: float) -> NDArray[np.float64]:
    """Draw a slow movement, shape [count]."""
    course: NDArray[np.float64] = gaussian_filter1d(random.normal(0, 1, count), 9.0, mode="wrap")
    course -= course.mean()  # of a short course the mean would be many spreads
    return course * (spread / max(float(course.std()), 1e-6))
