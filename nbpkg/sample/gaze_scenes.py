"""Who sits where among which things, where each person looks over time, and the pictures of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nbpkg.sample.gaze_people import ASPECT, Head, Look, draw_body, draw_head, draw_look
from nbpkg.sample.gaze_things import GROCERIES, TOYS, Thing, draw_room, draw_support, draw_table, draw_thing

Vector = tuple[float, float, float]
_APART_DEGREES = 27.0  # between any two things as seen from a head, so that the head alone tells which is meant
_TRIES = 400
_OUTSIDE = "outside"
_PARTNER_DEPTH = 0.05


@dataclass(frozen=True)
class Seat:
    """One person's place: look, middle and half width of the head in pixels."""

    look: Look
    x: float
    y: float
    radius: float


@dataclass(frozen=True)
class Stage:
    """One arrangement of people and things.

    Parameters
    ----------
    size
        ``(height, width)`` of the frames, pixels.
    seats
        The people.
    things
        What they may look at.
    room
        Picture of the empty room, uint8 RGB ``[H, W, 3]``.
    table
        Row of the table's far edge, pixels; 0 when things stand on boards and stands.
    """

    size: tuple[int, int]
    seats: tuple[Seat, ...]
    things: tuple[Thing, ...]
    room: np.ndarray
    table: float = 0.0


@dataclass(frozen=True)
class Gaze:
    """Where one person looks in one frame.

    Parameters
    ----------
    target
        Name of the thing, ``person`` for the other person, ``outside``.
    point
        What is looked at, pixels; NaN when it is outside the frame.
    direction
        Where the head points: right, down, towards the camera; length 1.
    """

    target: str
    point: tuple[float, float]
    direction: Vector

    @property
    def inside(self) -> bool:
        """Whether the target is in the frame."""
        return self.target != _OUTSIDE


def plan_stage(
    random: np.random.Generator, size: tuple[int, int], *, looks: Sequence[Look], room: np.ndarray, things: int
) -> Stage:
    """Seat people in a room and put things around them, far enough apart as seen from every head.

    Parameters
    ----------
    random
        Where chance comes from.
    size
        ``(height, width)`` of the frames, pixels.
    looks
        The people.
    room
        Picture of the empty room.
    things
        How many things there are to be.
    """
    height, width = size
    while True:
        seats = _seat_people(random, size, looks)
        names = random.permutation(len(TOYS))[:things]
        placed: list[Thing] = []
        for _ in range(_TRIES):
            half = height * random.uniform(0.06, 0.085)
            spot = (random.uniform(0.08, 0.92) * width, random.uniform(0.1, 0.88) * height)
            new = Thing(TOYS[names[len(placed)]], *spot, half, random.uniform(0.08, 0.28))
            if all(_fits(new, placed, seat, seats, height) for seat in seats):
                placed.append(new)
            if len(placed) == things:
                return Stage(size, seats, tuple(placed), room)


def plan_table(
    random: np.random.Generator, size: tuple[int, int], *, look: Look, room: np.ndarray, things: int
) -> Stage:
    """Seat one person behind a table with things on it."""
    height, width = size
    radius = height * random.uniform(0.095, 0.11)
    seat = Seat(look, random.uniform(0.3, 0.7) * width, random.uniform(0.2, 0.3) * height, radius)
    names = random.permutation(len(GROCERIES))[:things]
    half = height * 0.1
    while True:
        xs = np.sort(random.uniform(0.08, 0.92, size=things)) * width
        ys = random.uniform(0.62, 0.86, size=things) * height
        depths = (ys / height - 0.55) * 0.6
        placed = [
            Thing(GROCERIES[name], float(x), float(y), half, float(depth))
            for name, x, y, depth in zip(names, xs, ys, depths, strict=True)
        ]
        directions = [aim(seat, (thing.x, thing.y), thing.depth, height) for thing in placed]
        if _are_apart(directions, 24.0) and (np.diff(xs) > 2.2 * half).all():
            return Stage(size, (seat,), tuple(placed), room, table=height * 0.56)


def watch(
    random: np.random.Generator, stage: Stage, seat: Seat, *, frames: int, every: float, outside: float
) -> list[Gaze]:
    """Let one person look at one thing after the other.

    Parameters
    ----------
    random
        Where chance comes from.
    stage, seat
        The arrangement and the person in it.
    frames
        How many frames.
    every
        Frames between changes of target, on average.
    outside
        Share of looks out of the frame.
    """
    looks: list[Gaze] = []
    while len(looks) < frames:
        chosen = _choose(random, stage, seat, outside, last=looks[-1].target if looks else "")
        length = max(3, round(random.normal(every, 0.2 * every)))
        start = looks[-1].direction if looks else chosen.direction
        for step in range(length):
            share = 0.75 if step == 0 else 1.0  # the head arrives within the second frame
            looks.append(Gaze(chosen.target, chosen.point, _between(start, chosen.direction, share)))
    return [Gaze(look.target, look.point, _tremble(random, look.direction)) for look in looks[:frames]]


def gaze_at(stage: Stage, seat: Seat, thing: Thing) -> Gaze:
    """Let a person look at a thing."""
    return Gaze(thing.name, (thing.x, thing.y), aim(seat, (thing.x, thing.y), thing.depth, stage.size[0]))


def sway(random: np.random.Generator, seat: Seat, frames: int) -> np.ndarray:
    """Move a head a little over time; return its middles, pixels, shape ``[frames, 2]``."""
    phase, speed = random.uniform(0, 2 * np.pi, size=2), random.uniform(0.1, 0.3, size=2)
    wave = np.sin(phase + speed * np.arange(frames)[:, None])
    return np.array([seat.x, seat.y]) + 0.22 * seat.radius * wave


def heads_of(stage: Stage, gazes: Sequence[Gaze], middles: Sequence[np.ndarray]) -> list[Head]:
    """Put the heads of one frame together, in order of the seats."""
    rows = zip(stage.seats, gazes, middles, strict=True)
    return [Head(float(xy[0]), float(xy[1]), seat.radius, gaze.direction) for seat, gaze, xy in rows]


def draw_frame(stage: Stage, heads: Sequence[Head], noise: np.ndarray) -> np.ndarray:
    """Draw one frame, uint8 RGB ``[H, W, 3]``.

    Parameters
    ----------
    stage
        The arrangement.
    heads
        Of the seats, in their order.
    noise
        Camera noise to add, ``[H, W]``.
    """
    picture = stage.room.copy()
    for head, seat in zip(heads, stage.seats, strict=True):
        draw_body(picture, head, seat.look)
    if stage.table:
        draw_table(picture, stage.table)
    else:
        for thing in stage.things:
            draw_support(picture, thing)
    for thing in sorted(stage.things, key=lambda thing: thing.y):
        draw_thing(picture, thing)
    for head, seat in zip(heads, stage.seats, strict=True):
        draw_head(picture, head, seat.look)
    noisy: np.ndarray = np.clip(picture + noise[..., None], 0, 255).astype(np.uint8)
    return noisy


def draw_noise(random: np.random.Generator, size: tuple[int, int], count: int = 4) -> np.ndarray:
    """Draw noise of one camera, ``[count, H, W]``."""
    return np.rint(random.normal(0, 1.2, size=(count, *size))).astype(np.int16)


def draw_cast(random: np.random.Generator, size: tuple[int, int], people: int) -> tuple[np.ndarray, list[Look]]:
    """Draw a room and who lives in it, two people never with the same hair and shirt."""
    looks: list[Look] = []
    while len(looks) < people:
        look = draw_look(random)
        if all((look.hair, look.shirt) != (other.hair, other.shirt) for other in looks):
            looks.append(look)
    return draw_room(random, size), looks


def aim(seat: Seat, point: tuple[float, float], depth: float, height: int) -> Vector:
    """Return the direction from a head to a point of the frame, `depth` frame heights nearer to the camera."""
    return _unit((point[0] - seat.x) / height, (point[1] - seat.y) / height, depth)


def _choose(random: np.random.Generator, stage: Stage, seat: Seat, outside: float, *, last: str) -> Gaze:
    """Choose what to look at next: another thing, the other person now and then, or something out of the frame."""
    candidates = [gaze_at(stage, seat, thing) for thing in stage.things]
    others = [other for other in stage.seats if other is not seat]
    faces = [Gaze("person", (o.x, o.y), aim(seat, (o.x, o.y), _PARTNER_DEPTH, stage.size[0])) for o in others]
    if random.random() < outside:
        away = _look_away(random, [gaze.direction for gaze in candidates + faces])
        return Gaze(_OUTSIDE, (np.nan, np.nan), away)
    weights = np.array([0.0 if gaze.target == last else 1.0 for gaze in candidates] + [0.5] * len(faces))
    return (candidates + faces)[int(random.choice(len(weights), p=weights / weights.sum()))]


def _look_away(random: np.random.Generator, taken: Sequence[Vector]) -> Vector:
    """Draw a direction in which nothing stands: past everything, or towards the camera."""
    for _ in range(_TRIES):
        if random.random() < 0.35:
            way = _unit(random.normal(0, 0.18), random.normal(0, 0.18), 1.0)
        else:
            angle = random.uniform(-np.pi, np.pi)
            way = _unit(np.cos(angle), 0.75 * np.sin(angle), random.uniform(0.1, 0.5))
        if _are_apart([way, *taken], 32.0, only_first=True):
            return way
    return 0.0, 0.0, 1.0


def _seat_people(random: np.random.Generator, size: tuple[int, int], looks: Sequence[Look]) -> tuple[Seat, ...]:
    height, width = size
    while True:
        seats = tuple(
            Seat(
                look,
                random.uniform(0.14, 0.86) * width,
                random.uniform(0.26, 0.55) * height,
                height * random.uniform(0.092, 0.11),
            )
            for look in looks
        )
        xs = [seat.x for seat in seats]
        if len(xs) < 2 or abs(xs[0] - xs[1]) > 0.3 * width:
            return seats


def _fits(new: Thing, placed: Sequence[Thing], seat: Seat, seats: Sequence[Seat], height: int) -> bool:
    """Tell whether a thing hides no head and stands apart from all else that this person may look at."""
    gap = np.hypot((new.x - seat.x), (new.y - seat.y) / ASPECT)
    if gap < 1.6 * seat.radius + new.half:
        return False
    others = [aim(seat, (other.x, other.y), _PARTNER_DEPTH, height) for other in seats if other is not seat]
    known = [aim(seat, (thing.x, thing.y), thing.depth, height) for thing in placed]
    return _are_apart([aim(seat, (new.x, new.y), new.depth, height), *known, *others], _APART_DEGREES, only_first=True)


def _are_apart(directions: Sequence[Vector], degrees: float, *, only_first: bool = False) -> bool:
    cosines = np.array(directions) @ np.array(directions).T
    if only_first:
        return bool((cosines[0, 1:] < np.cos(np.radians(degrees))).all())
    return bool((cosines[np.triu_indices(len(cosines), 1)] < np.cos(np.radians(degrees))).all())


def _between(start: Vector, end: Vector, share: float) -> Vector:
    mixed = np.array(start) * (1 - share) + np.array(end) * share
    return _unit(*mixed.tolist()) if np.linalg.norm(mixed) > 1e-3 else end


def _tremble(random: np.random.Generator, direction: Vector) -> Vector:
    shaken = np.array(direction) + random.normal(0, 0.025, size=3)
    return _unit(*shaken.tolist())


def _unit(x: float, y: float, z: float) -> Vector:
    length = float(np.sqrt(x * x + y * y + z * z))
    return float(x) / length, float(y) / length, float(z) / length
