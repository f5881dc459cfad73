"""Who comes when, who rates what and which camera films it: the facts of the made-up infant-engagement laboratory."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import pandas as pd

from nbpkg import seeding
from nbpkg.errors import StageError

TASKS = ("people", "eggs", "drums")
VARIABLES = ("participating", "attending")
RATERS = ("r1", "r2", "r3")
FIRST_DAY = date(2024, 1, 8)
RATING_DAYS = 7 * 7  # all files are dated before 2024-03-01

# Each batch of sessions is rated by two raters; the third one has not seen it and can later paint attention on it.
BATCHES = (("r1", "r3"), ("r1", "r2"), ("r2", "r3"))
CAMERAS = ((30, "constant"), (50, "constant"), (25, "variable"), (25, "rotated"))
NOTES = (
    "",
    "",
    "",
    "older brother heard in the background",
    "child had a cold",
    "parent left the room during the second game",
    "lamp replaced before the session",
)


@dataclass(frozen=True)
class Visit:
    """One session as planned; see `plan` for the fields."""

    session: str
    child: str
    experimenter: str
    note: str
    raters: tuple[str, ...]
    first_day: date
    fps: int
    video: str


def plan(seed: int, sessions: int = 20) -> pd.DataFrame:
    """Plan the sessions of the sample, as a table.

    Assignments, experimenters, children and cameras follow from the position alone, so that one parameter file fits
    the sample of every seed; dates and notes are drawn.

    Parameters
    ----------
    seed
        The sample's seed.
    sessions
        How many sessions to plan, 3 or more. A fifth are pilots seen by all raters, the rest comes in three batches
        that two raters share. From 4 sessions on each kind of video occurs.

    Returns
    -------
    pandas.DataFrame
        One row for each session: ``session, child, experimenter, note`` (written to ``sessions.csv``), ``raters``
        (names separated by spaces), ``date`` (first rating, yyyymmdd), ``fps`` (frames per second) and ``video``
        (``constant``, ``variable`` or ``rotated``).

    Raises
    ------
    StageError
        When there are too few sessions for three raters.

    Examples
    --------
    >>> table = plan(0, 5)
    >>> table["raters"].tolist()
    ['r1 r2 r3', 'r1 r3', 'r1 r3', 'r1 r2', 'r2 r3']
    >>> table["experimenter"].tolist()
    ['e1', 'e1', 'e2', 'e1', 'e1']
    """
    rows = []
    for visit in plan_visits(seed, sessions):
        cells = {name: getattr(visit, name) for name in ("session", "child", "experimenter", "note")}
        cells |= {"raters": " ".join(visit.raters), "date": f"{visit.first_day:%Y%m%d}"}
        rows.append({**cells, "fps": visit.fps, "video": visit.video})
    return pd.DataFrame(rows)


def plan_visits(seed: int, sessions: int) -> list[Visit]:
    """Plan the sessions of the sample, see `plan`."""
    if sessions < 3:
        raise StageError(
            f"A sample of {sessions} sessions is too small.",
            expected="3 sessions or more, so that each rater has one that this rater did not rate.",
            remedy="Ask for more sessions.",
        )
    random = seeding.generator(seed, "plan")
    raters = _raters(sessions)
    cameras = {(number + 1) * sessions // 5: camera for number, camera in enumerate(CAMERAS)}
    first_visit, second_visit = _shared_child(sessions)
    visits = []
    for index in range(sessions):
        child = first_visit if index == second_visit else index
        note = str(random.choice(NOTES)) if index != second_visit else f"second visit of c{child + 1:02}"
        fps, video = cameras.get(index, (25, "constant"))
        visits.append(
            Visit(
                session=f"s{index + 1:02}",
                child=f"c{child + 1:02}",
                experimenter="e2" if index % 3 == 2 else "e1",
                note=note,
                raters=raters[index],
                first_day=FIRST_DAY + timedelta(days=int(RATING_DAYS * index / sessions + random.integers(0, 3))),
                fps=fps,
                video=video,
            )
        )
    return visits


def assignments(table: pd.DataFrame) -> dict[str, list[str]]:
    """List the sessions of each rater, as the parameter file wants them.

    Parameters
    ----------
    table
        What `plan` returned.

    Examples
    --------
    >>> assignments(plan(0, 3))
    {'r1': ['s01', 's02'], 'r2': ['s02', 's03'], 'r3': ['s01', 's03']}
    """
    seen_by = table["raters"].str.split()
    return {
        rater: [session for session, raters in zip(table["session"], seen_by, strict=True) if rater in raters]
        for rater in RATERS
    }


def _raters(sessions: int) -> list[tuple[str, ...]]:
    pilots = sessions // 5
    rest = sessions - pilots
    sizes = [rest // 3 + (number < rest % 3) for number in range(3)]
    dealt: list[tuple[str, ...]] = [RATERS] * pilots
    for batch, size in zip(BATCHES, sizes, strict=True):
        dealt += [batch] * size
    return dealt


def _shared_child(sessions: int) -> tuple[int, int]:
    """Positions of the two visits of the child that comes twice, in different batches where there are enough."""
    return sessions * 7 // 20, sessions * 13 // 20
