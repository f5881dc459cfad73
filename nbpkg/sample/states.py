"""The true course of a session: when each game is played and what the child really does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from nbpkg import seeding
from nbpkg.sample.plan import TASKS

STEP_MS = 100
ENGAGED_S, AWAY_S = 9.0, 5.2  # typical stay in an engaged state and out of it


@dataclass(frozen=True)
class Game:
    """When one game is really played, milliseconds."""

    task: str
    start_ms: int
    end_ms: int


@dataclass(frozen=True)
class Course:
    """What happens in one session, sampled every `STEP_MS` milliseconds.

    Parameters
    ----------
    seconds
        Length of the video.
    games
        In playing order.
    task, attending, participating
        Value at each step, shape [steps]; ``""`` for the task between games.
    """

    seconds: float
    games: tuple[Game, ...]
    task: np.ndarray
    attending: np.ndarray
    participating: np.ndarray


def draw_course(seed: int, session: str, *, task_seconds: float = 33.0) -> Course:
    """Draw the course of one session.

    Parameters
    ----------
    seed
        The sample's seed.
    session
        Name of the session, which selects its own random numbers.
    task_seconds
        Typical length of one game; the games differ by up to an eighth.
    """
    random = seeding.generator(seed, "course", session)
    games = _draw_games(random, task_seconds)
    seconds = round(games[-1].end_ms / 1000 + random.uniform(2.0, 4.0), 1)
    steps = round(seconds * 1000 / STEP_MS)
    temper = random.normal(0, 0.16)
    task, attending, participating = (np.full(steps, value, dtype="U9") for value in ("", "no", "no"))
    for game in games:
        first, last = game.start_ms // STEP_MS, game.end_ms // STEP_MS
        part, length = slice(first, last), last - first
        task[part] = game.task
        attending[part] = _draw_attending(random, length, temper)
        participating[part] = _draw_participating(random, attending[part], temper)
    return Course(seconds, games, task, attending, participating)


def state_spans(course: Course, session: str) -> pd.DataFrame:
    """List the true states of a session as spans.

    Returns
    -------
    pandas.DataFrame
        Columns ``session, start_ms, end_ms, task, attending, participating``; a partition of the games.
    """
    columns = pd.DataFrame({"task": course.task, "attending": course.attending, "participating": course.participating})
    changes = np.flatnonzero((columns != columns.shift()).any(axis=1).to_numpy())
    ends = np.append(changes[1:], len(columns))
    spans = columns.iloc[changes].assign(session=session, start_ms=changes * STEP_MS, end_ms=ends * STEP_MS)
    order = ["session", "start_ms", "end_ms", "task", "attending", "participating"]
    return spans.loc[spans["task"] != "", order].reset_index(drop=True)


def _draw_games(random: np.random.Generator, task_seconds: float) -> tuple[Game, ...]:
    """Place the games one after another with short breaks between them."""
    games, now_s = [], random.uniform(3.0, 6.0)
    for task in TASKS:
        length_s = task_seconds * random.uniform(0.88, 1.12)
        start_ms, end_ms = (round(time_s * 1000 / STEP_MS) * STEP_MS for time_s in (now_s, now_s + length_s))
        games.append(Game(task, start_ms, end_ms))
        now_s += length_s + random.uniform(2.5, 5.0)
    return tuple(games)


def _draw_switches(random: np.random.Generator, steps: int, *, share: float) -> np.ndarray:
    """Draw an on-off course that is on for about `share` of the time, shape [steps]."""
    stretch = np.clip(share / 0.63, 0.6, 1.4)
    on, course = bool(random.random() < share), np.zeros(steps, dtype=bool)
    now = 0
    while now < steps:
        typical = ENGAGED_S * stretch if on else AWAY_S / stretch
        length = round(typical * random.lognormal(-0.08, 0.4) * 1000 / STEP_MS)
        course[now : now + length] = on
        now, on = now + max(length, 15), not on
    return course


def _draw_attending(random: np.random.Generator, steps: int, temper: float) -> np.ndarray:
    """Draw ``no``, ``attending`` or ``excited`` for each step; excitement comes in bouts within attention."""
    attends = _draw_switches(random, steps, share=float(np.clip(0.65 + temper, 0.35, 0.9)))
    bouts = _draw_switches(random, steps, share=0.42)
    return np.where(attends, np.where(bouts, "excited", "attending"), "no")


def _draw_participating(random: np.random.Generator, attending: np.ndarray, temper: float) -> np.ndarray:
    """Draw ``no``, ``self`` or ``joint`` for each step; playing together mostly needs attention."""
    plays = _draw_switches(random, len(attending), share=float(np.clip(0.68 + temper, 0.35, 0.9)))
    together = _draw_switches(random, len(attending), share=0.6)
    return np.where(plays, np.where(together & (attending != "no"), "joint", "self"), "no")
