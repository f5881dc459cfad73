"""What a parent, a child and a robot do in the made-up recordings, step by step, and how it is rated.

Every window has six steps, in each of which a sign is one way or the other. Two relations between rows of signs count:

- *invitation*: in about half of the windows, everybody speaks and moves a hand; the hands go with the voices in all
  steps (a good invitation), or against them in all. In all other windows people are silent and keep still.
- *response*: in every window the child's lamp is on in some steps; those of parent and robot are on with it in all
  steps (a response), or against it in half of them (in plain windows in all): which half, says nothing, so that people
  have to be held against each other step by step.

The joint engagement is high in a window with a response when the *last* invitation was good, low without either, and
medium otherwise. Whether signs are more often on or off, says nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg import seeding

STEPS = 6  # in a window
SHARE = 0.553  # of windows in which a relation holds: a fifth of the windows low, half medium, three tenths high
PLAIN = 0.4  # share of windows in which a sign is nearly always on, or nearly always off: there a relation shows first
HALF = STEPS // 2  # steps in which lamps differ where nobody responds
INVITING = 0.5  # share of windows with an invitation
ROLES = ("parent", "child", "robot")
RATERS = ("ana", "ben", "cleo")  # the class is made of the mean of the first two
_SLIP = 0.12  # share of clips in which the third goes beyond the others' class
_RATINGS = (
    ((1, 1), (1, 2), (2, 1), (2, 2)),
    ((2, 3), (3, 2), (3, 3), (3, 4), (4, 3)),
    ((4, 4), (4, 5), (5, 4), (5, 5)),
)
Signs = NDArray[np.bool_]


@dataclass(frozen=True)
class Meeting:
    """One recording as planned.

    Parameters
    ----------
    family, session
        Its names.
    voices, arms
        Signs of `ROLES`: 1 high, -1 low, 0 silent or still, int8 ``[windows, people, steps]``.
    lights
        Whose lamp is on when, bool ``[windows, people, steps]``.
    invites, good
        In which windows there is an invitation, and whether it was a good one, bool ``[windows]``.
    responds
        In which windows the others respond to the child, bool ``[windows]``.
    """

    family: str
    session: str
    voices: NDArray[np.int8]
    arms: NDArray[np.int8]
    lights: Signs
    invites: Signs
    good: Signs
    responds: Signs

    @property
    def name(self) -> str:
        """Path of the recording without ending."""
        return f"{self.family}/{self.session}"

    @property
    def engagement(self) -> NDArray[np.int64]:
        """Return 0 (low), 1 or 2 (high) for each window."""
        last = np.maximum.accumulate(np.where(self.invites, np.arange(len(self.invites)), 0))
        return self.responds.astype(np.int64) + self.good[last]


def plan_meeting(number: int, seed: int, *, windows: int) -> Meeting:
    """Make up what happens in the recording of a family.

    Parameters
    ----------
    number
        Of the family, from 1.
    seed
        The sample's seed.
    windows
        How many.
    """
    family, session = f"fam{number:02}", "s1"
    random = seeding.generator(seed, "meeting", family, session)
    invites = random.random(windows) < INVITING
    invites[0] = True
    good, responds = (random.random(windows) < SHARE for _ in range(2))
    good &= invites
    said = [_relate(good, random) for _ in ROLES]
    voices, arms = (np.stack([pair[part] for pair in said], axis=1) * 2 - 1 for part in range(2))
    spoken = invites[:, None, None]
    child, others = _relate(responds, random, against=HALF)
    return Meeting(
        family,
        session,
        voices=np.where(spoken, voices, 0).astype(np.int8),
        arms=np.where(spoken, arms, 0).astype(np.int8),
        lights=np.stack([others, child, others], axis=1),
        invites=invites,
        good=good,
        responds=responds,
    )


def _relate(holds: Signs, random: np.random.Generator, *, against: int = STEPS) -> tuple[Signs, Signs]:
    """Draw two rows of signs for each window that go together, or do not in so many steps (in all of plain windows)."""
    windows = len(holds)
    often = np.where(random.random(windows) < PLAIN, random.choice([0.1, 0.9], size=windows), 0.5)
    first = random.random((windows, STEPS)) < often[:, None]
    count = np.where(often == 0.5, against, STEPS)
    flipped = np.argsort(random.random((windows, STEPS)), axis=1) < count[:, None]
    second = np.where(holds[:, None], first, first ^ flipped)
    return first, second


def rate(meeting: Meeting, seed: int) -> pd.DataFrame:
    """Let three annotators rate every window on a scale from 1 to 5.

    Parameters
    ----------
    meeting
        What they see.
    seed
        The sample's seed.

    Returns
    -------
    pandas.DataFrame
        window, rater, rating; the mean of the first two is at most 2 where engagement is low and at least 4 where
        it is high.
    """
    random = seeding.generator(seed, "ratings", meeting.name)
    rows = []
    for window, level in enumerate(meeting.engagement.tolist()):
        first, second = _RATINGS[level][random.integers(len(_RATINGS[level]))]
        third = int(random.choice([first, second]))
        if random.random() < _SLIP:
            third = int(np.clip(third + random.choice([-1, 1]), 1, 5))
        rows += [(window, name, value) for name, value in zip(RATERS, (first, second, third), strict=True)]
    return pd.DataFrame(rows, columns=["window", "rater", "rating"])
