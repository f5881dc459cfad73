"""Who the followed people are: one number and one role for each, the same over a whole recording."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg.annotations.people.samples import VIDEO_ENDINGS
from nbpkg.errors import Problem
from nbpkg.features.people.boxes import CORNERS, FACE

OTHER = "other"
NAMED = ["frame", "x", "y", "role"]
Order = Literal["left", "size"]
# Somebody who comes back is about as tall as before; a person twice as tall or half as tall is somebody else.
_TALLER = float(np.log(2))


@dataclass
class _Track:
    """One track: its frames in order and its boxes."""

    number: int
    frames: NDArray[np.int64]
    boxes: NDArray[np.float64]

    @property
    def area(self) -> float:
        sides = self.boxes[:, 2:] - self.boxes[:, :2]
        return float(np.median(sides.prod(axis=1)))

    @property
    def left(self) -> float:
        return float(np.median(self.boxes[:, 0] + self.boxes[:, 2]))

    def has(self, frame: int) -> bool:
        return bool(np.isin(frame, self.frames))


@dataclass
class _Cast:
    """Which tracks each role has so far."""

    tracks: dict[str, list[_Track]] = field(default_factory=dict)

    def add(self, role: str, track: _Track) -> None:
        self.tracks.setdefault(role, []).append(track)

    def is_free(self, role: str, track: _Track) -> bool:
        """Tell whether somebody of this role is in none of the track's frames."""
        return not any(np.intersect1d(own.frames, track.frames).size for own in self.tracks.get(role, ()))

    def distance(self, role: str, track: _Track) -> float:
        """Say how unlike the track is to what the role was nearest in time; infinite for another height."""
        gaps = [(max(own.frames[0] - track.frames[-1], track.frames[0] - own.frames[-1]), place)
                for place, own in enumerate(self.tracks[role])]  # fmt: skip
        near = self.tracks[role][min(gaps)[1]]
        before = near.frames[0] < track.frames[0]
        one, two = (near.boxes[-1], track.boxes[0]) if before else (near.boxes[0], track.boxes[-1])
        heights = one[3] - one[1], two[3] - two[1]
        taller = abs(float(np.log(heights[0] / heights[1])))
        apart = float(np.hypot(*((one[:2] + one[2:] - two[:2] - two[2:]) / 2))) / (sum(heights) / 2)
        return apart + taller if taller <= _TALLER else float("inf")


def assign_roles(
    tracks: pd.DataFrame,
    *,
    who: Sequence[str],
    named: pd.DataFrame | None = None,
    order: Order = "size",
    least_frames: int = 0,
) -> tuple[pd.DataFrame, list[Problem]]:
    """Say who each track is; tracks of one person at different times get one number and role.

    Named tracks come first. Roles that nobody was named for go to tracks that are there together, largest or leftmost
    first. What is left continues a role that is in none of its frames and was about as tall nearest to it in time;
    otherwise it is somebody else.

    Parameters
    ----------
    tracks
        As `nbpkg.features.people.tracking.follow` returns them.
    who
        Roles in the order of their numbers.
    named
        Columns frame, x, y (in the units of `tracks`) and role: who is at this point. A track of which two roles are
        told is parted halfway between the two points.
    order
        Who is who where nobody says: from ``left``, or largest first (``size``).
    least_frames
        Tracks that continue nobody and are not longer are left out, for false alarms of a detector are short; in a
        short recording, those not longer than half of the longest.

    Returns
    -------
    pandas.DataFrame
        `tracks` with person (place in `who`; others follow) and who (others are ``other1``, …); tracks that were left
        out are gone.
    list of Problem
        ``warning``: points in nobody's box, parted tracks, roles that are nowhere, tracks left out. Errors: a role that
        two people have at once, and roles that are not in `who`.
    """
    parted, said, problems = _name_tracks(tracks, who, named)
    numbers, frames = parted["track"].to_numpy(np.int64), parted["frame"].to_numpy(np.int64)
    boxes = parted[CORNERS].to_numpy(np.float64)
    own = {int(one): _Track(int(one), frames[numbers == one], boxes[numbers == one]) for one in np.unique(numbers)}
    cast = _Cast()
    for number, role in said.items():
        if not cast.is_free(role, own[number]):
            text = f"Two people are {role!r} at once, from frame {own[number].frames[0]} on."
            problems.append(Problem(text, remedy="Correct the file of roles."))
        cast.add(role, own[number])
    rest = [track for number, track in own.items() if number not in said]
    few = min(least_frames, max((len(track.frames) for track in own.values()), default=0) // 2)
    rest = _cast_together(cast, rest, [role for role in who if role not in cast.tracks], order, few=few)
    left_out = _cast_others(cast, rest, who, few)
    if left_out:
        text = f"{left_out} further people who are in at most {few} frames each are left out."
        problems.append(Problem(text, severity="warning"))
    for role in who:
        if role not in cast.tracks:
            text, remedy = f"Nobody is {role!r} in any frame.", "Say in the file of roles who it is, if it is there."
            problems.append(Problem(text, remedy=remedy, severity="warning"))
    others = sorted((role for role in cast.tracks if role not in who), key=lambda role: int(role[len(OTHER) :]))
    persons = {role: place for place, role in enumerate([*who, *others])}
    role_of = {track.number: role for role, found in cast.tracks.items() for track in found}
    kept = parted[parted["track"].isin(list(role_of))].reset_index(drop=True)
    roles = kept["track"].map(role_of).astype("str")
    return kept.assign(person=roles.map(persons).astype(np.int64), who=roles), problems


def _name_tracks(
    tracks: pd.DataFrame, who: Sequence[str], named: pd.DataFrame | None
) -> tuple[pd.DataFrame, dict[int, str], list[Problem]]:
    """Return tracks, parted where need be, the roles that were said of them, and what is odd."""
    problems: list[Problem] = []
    points: dict[int, list[tuple[int, str]]] = {}
    for row in [] if named is None else named[NAMED].to_dict("records"):
        frame, role = int(row["frame"]), str(row["role"])
        if role not in who:
            problems.append(Problem(f"{role!r} at frame {frame} is no role.", expected=f"One of {', '.join(who)}."))
            continue
        track = _track_at(tracks[tracks["frame"] == frame], float(row["x"]), float(row["y"]))
        if track is None:
            text = f"At frame {frame} nobody is at ({row['x']:g}, {row['y']:g}), where {role!r} should be."
            problems.append(Problem(text, remedy="Correct the file of roles.", severity="warning"))
        else:
            points.setdefault(track, []).append((frame, role))
    said: dict[int, str] = {}
    parted, following = tracks, int(tracks["track"].max()) + 1 if len(tracks) else 0
    for track, ordered in ((track, sorted(found)) for track, found in sorted(points.items())):
        said[track] = ordered[0][1]
        current = track
        for (before, role), (frame, new) in pairwise(ordered):
            if new != role and frame == before:
                text = f"At frame {frame} one person is {role!r} and {new!r}."
                problems.append(Problem(text, remedy="Correct the file of roles."))
            elif new != role:
                text = f"Somebody is {role!r} at frame {before} and {new!r} at frame {frame}; parted halfway."
                problems.append(Problem(text, remedy="Look whether two people cross there.", severity="warning"))
                later = (parted["track"] == current) & (parted["frame"] > (before + frame) // 2)
                parted = parted.assign(track=parted["track"].mask(later, following))
                said[following], current, following = new, following, following + 1
    return parted, said, problems


def _track_at(rows: pd.DataFrame, x: float, y: float) -> int | None:
    """Return the track at a point: whose face it is, else whose box is smallest, as of a child on a lap."""

    def inside(names: Sequence[str]) -> NDArray[np.bool_]:
        x0, y0, x1, y1 = rows[list(names)].to_numpy(np.float64).T
        found: NDArray[np.bool_] = (x0 <= x) & (x <= x1) & (y0 <= y) & (y <= y1)
        return found

    candidates = np.flatnonzero(inside(CORNERS))
    if not len(candidates):
        return None
    x0, y0, x1, y1 = rows[CORNERS].to_numpy(np.float64).T
    area, face = (x1 - x0) * (y1 - y0), inside(FACE)
    return int(rows["track"].iloc[min(candidates, key=lambda place: (not face[place], area[place]))])


def _cast_together(cast: _Cast, rest: list[_Track], roles: Sequence[str], order: Order, *, few: int) -> list[_Track]:
    """Give roles that nobody has to tracks that are there at the same time; return the tracks that are left."""
    long = [track for track in rest if len(track.frames) > few]
    if not roles or not long:
        return rest
    placed = [track for own in cast.tracks.values() for track in own]

    def together(frame: int) -> tuple[int, int, list[_Track]]:
        there = sorted((track for track in long if track.has(frame)), key=lambda track: -len(track.frames))
        chosen = there[: len(roles)]
        known = sum(track.has(frame) for track in placed)
        return len(chosen) + known, sum(len(track.frames) for track in chosen), chosen

    starts = sorted({int(track.frames[0]) for track in long})
    chosen = max((together(frame) for frame in starts), key=lambda found: found[:2])[2]
    ordered = sorted(chosen, key=lambda track: track.left if order == "left" else -track.area)
    for role, track in zip(roles, ordered, strict=False):
        cast.add(role, track)
    taken = {track.number for track in ordered}
    return [track for track in rest if track.number not in taken]


def _cast_others(cast: _Cast, rest: Sequence[_Track], who: Sequence[str], few: int) -> int:
    """Join what is left to the role it continues, or make it somebody else; return how many were left out."""
    left_out = count = 0
    for track in sorted(rest, key=lambda track: (-len(track.frames), track.number)):
        free = [role for role in cast.tracks if cast.is_free(role, track)]
        unlike = {role: cast.distance(role, track) for role in free}
        likely = [role for role in free if np.isfinite(unlike[role])]
        best = min(likely, key=lambda role: (role not in who, unlike[role]), default="")
        if best:
            cast.add(best, track)
        elif len(track.frames) > few:
            count += 1
            cast.add(f"{OTHER}{count}", track)
        else:
            left_out += 1
    return left_out


def read_roles(path: Path, who: Sequence[str]) -> tuple[pd.DataFrame, list[Problem]]:
    """Read who is who.

    Parameters
    ----------
    path
        CSV with columns path (of the recording), frame (of the recording, from 0), x, y (pixels of the
        recording) and role.
    who
        Roles there may be.

    Returns
    -------
    pandas.DataFrame
        These columns; no row where there are errors.
    list of Problem
        All that is wrong.
    """
    columns = ["path", *NAMED]
    none = pd.DataFrame({name: pd.Series(dtype="str" if name in ("path", "role") else "float64") for name in columns})
    if not path.is_file():
        remedy = "Add the file, or correct the setting 'roles'."
        return none, [Problem("The file that says who is who is not there.", remedy=remedy, file=str(path))]
    try:
        table = pd.read_csv(path, dtype={"path": "str", "role": "str"}, skipinitialspace=True)
    except (ValueError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        return none, [Problem(f"It is no CSV: {error}.", file=path.name)]
    lacking = [name for name in columns if name not in table]
    if lacking:
        text = f"Columns {', '.join(lacking)} are missing."
        return none, [Problem(text, expected=f"Columns {', '.join(columns)}.", file=path.name)]
    numbers = table[["frame", "x", "y"]].apply(pd.to_numeric, errors="coerce").astype(np.float64)
    whole = np.isfinite(numbers).all(axis=1) & (numbers["frame"] >= 0) & (numbers["frame"] % 1 == 0)
    faults: Mapping[str, pd.Series] = {
        "The frame is no whole number, or x or y is no number.": ~whole,
        "There is no path.": table["path"].isna(),
        f"The role is none of {', '.join(who)}.": ~table["role"].isin(list(who)),
    }
    problems = [Problem(text, remedy="Correct the row.", file=path.name, row=int(row) + 2)
                for text, rows in faults.items() for row in np.flatnonzero(rows)]  # fmt: skip
    if problems:
        return none, problems
    names = table["path"].map(lambda name: name[: -len(Path(name).suffix)] if _is_video(name) else name)
    return table[columns].assign(**numbers, path=names), []


def _is_video(name: str) -> bool:
    return Path(name).suffix.lower() in VIDEO_ENDINGS
