"""Windows of recordings, and the tokens of each person in them: a few frames of pose, picture or sound each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg.errors import MediaError, Problem, raise_all
from nbpkg.features.people.boxes import stack_boxes
from nbpkg.features.people.roles import OTHER

_MORE = 1e-6  # frames; 0.1 + 0.2 seconds are not 0.3 in a computer
_FAR = 3.0  # half sides of the box beyond which a joint is a mistake
JOINTS = 17


class Window(NamedTuple):
    """Where a clip lies in its prepared video.

    Parameters
    ----------
    sample_id, session
        Name of the clip, and the prepared video.
    first, stop
        Frames of the frame store, from the first to before the last.
    start_s, seconds
        Start and length in the recording.
    fps
        Rate of the frame store.
    """

    sample_id: str
    session: str
    first: int
    stop: int
    start_s: float
    seconds: float
    fps: float

    def count_tokens(self, rate: str) -> int:
        """Return how many tokens the window has at a rate (tokens per second, a fraction); at least one."""
        return max(1, int(self.seconds * float(Fraction(rate)) + 0.5))

    def place_frames(self, rate: str) -> NDArray[np.int64]:
        """Return the token that each frame of the window lies in."""
        offsets = np.arange(self.stop - self.first) / self.fps * float(Fraction(rate))
        return np.floor(offsets + _MORE).astype(np.int64).clip(max=self.count_tokens(rate) - 1)


class WindowTokens(NamedTuple):
    """Tokens of one modality in one window.

    Parameters
    ----------
    tokens
        float32 ``[P, L, D]``: people, tokens, features; 0 where there is nothing.
    valid
        bool ``[P, L]``.
    """

    tokens: NDArray[np.float32]
    valid: NDArray[np.bool_]


def window_frames(clips: pd.DataFrame, media: pd.DataFrame) -> dict[str, Window]:
    """Find clips in the prepared videos: frame of the store = whole part of seconds in the source × rate of the store.

    Parameters
    ----------
    clips, media
        The tables of the same names; the first counts frames of the source.

    Returns
    -------
    dict
        Window of each sample, in the order of the table; at least one frame, cut at the end of the video.

    Raises
    ------
    MediaError
        Listing clips of a session that was not prepared, or that begin behind its end.
    """
    known = {str(row["session"]): row for row in media.to_dict("records")}
    found: dict[str, Window] = {}
    problems = []
    for row in clips.to_dict("records"):
        sample, session = str(row["sample_id"]), str(row["session"])
        if session not in known:
            problems.append(Problem(f"Its video {session!r} was not prepared.", file=sample))
            continue
        video = known[session]
        fps, source_fps = int(video["fps_num"]) / int(video["fps_den"]), float(video["source_fps"])
        begin, count = int(row["first"]), int(row["frames"])
        end = int(video["source_frames"]) if count < 0 else begin + count
        first = int(begin / source_fps * fps + _MORE)
        stop = int(video["frames"]) if count < 0 else min(int(end / source_fps * fps + _MORE), int(video["frames"]))
        if first >= int(video["frames"]) or end <= begin:
            text = f"It begins with frame {begin} of its source, which has {int(video['source_frames'])}."
            problems.append(Problem(text, remedy="Correct the list of clips.", file=sample))
            continue
        seconds = (end - begin) / source_fps
        found[sample] = Window(sample, session, first, max(stop, first + 1), begin / source_fps, seconds, fps)
    raise_all(problems, MediaError, summary="clips do not lie in their videos.")
    return found


@dataclass(frozen=True)
class Cast:
    """Who is where in the sessions of one recording.

    Parameters
    ----------
    roles
        Role of each person: those asked for, then others.
    boxes
        Session to boxes ``[P, F, 4]``, shares of the picture; NaN where somebody is not seen.
    persons
        Session to the person's number in the table ``people`` ``[P]``; -1 for somebody who is not there.
    """

    roles: tuple[str, ...]
    boxes: Mapping[str, NDArray[np.float64]]
    persons: Mapping[str, NDArray[np.int64]]


def find_cast(people: pd.DataFrame, sessions: Mapping[str, int], who: Sequence[str]) -> Cast:
    """Gather who is where in some sessions.

    Parameters
    ----------
    people
        Table ``people``.
    sessions
        Prepared frames of each session.
    who
        Roles that always have a place, even where nobody has them.
    """
    own = people[people["session"].isin(list(sessions))]
    others = sorted(set(own["who"]) - set(who), key=lambda role: (len(role), role) if OTHER in role else (99, role))
    roles = (*who, *others)
    boxes, persons = {}, {}
    for session, frames in sessions.items():
        rows = own[own["session"] == session]
        boxes[session] = stack_boxes(rows, roles, frames=frames)
        number = rows.drop_duplicates("who").set_index("who")["person"]
        persons[session] = number.reindex(list(roles)).fillna(-1).to_numpy(np.int64)
    return Cast(roles, boxes, persons)


def pose_tokens(window: Window, poses: NDArray[np.float32], boxes: NDArray[np.float64], *, rate: str) -> WindowTokens:
    """Describe poses: each joint's place in the person's box and its score, the mean over the frames of a token.

    Parameters
    ----------
    window
        Which frames.
    poses
        ``[P, F, 17, 3]``: x and y as shares of the picture, score; 0 where a joint was not found.
    boxes
        ``[P, F, 4]``, shares of the picture; NaN where somebody is not seen.
    rate
        Tokens per second, a fraction.

    Returns
    -------
    WindowTokens
        51 features: x and y from -1 (left and upper side of the box) to 1, and the score, joint by joint; a joint that
        was in no frame of a token is three zeros.
    """
    place, length = window.place_frames(rate), window.count_tokens(rate)
    part, frame = poses[:, window.first : window.stop], boxes[:, window.first : window.stop]
    there = (part[..., 2] > 0) & np.isfinite(frame).all(axis=-1, keepdims=True)
    middle, half = (frame[..., :2] + frame[..., 2:]) / 2, (frame[..., 2:] - frame[..., :2]) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        points = ((part[..., :2] - middle[:, :, None]) / half[:, :, None]).clip(-_FAR, _FAR)
    whole = np.where(there[..., None], np.concatenate([points, part[..., 2:]], axis=-1), 0)
    sums = np.zeros((len(poses), length, JOINTS, 3))
    counts = np.zeros((len(poses), length, JOINTS, 1))
    for person in range(len(poses)):
        np.add.at(sums[person], place, whole[person])
        np.add.at(counts[person], place, there[person, ..., None])
    values = (sums / np.maximum(counts, 1)).reshape(len(poses), length, JOINTS * 3).astype(np.float32)
    return WindowTokens(values, np.asarray(counts.any(axis=(2, 3))))


@dataclass(frozen=True)
class FeatureRows:
    """Features made elsewhere: rows of one recording.

    Parameters
    ----------
    names
        Of the features.
    times
        Seconds from the start of the recording ``[n]``.
    roles
        Whom each row is about.
    features
        float64 ``[n, D]``.
    """

    names: tuple[str, ...]
    times: NDArray[np.float64]
    roles: tuple[str, ...]
    features: NDArray[np.float64]


def read_rows(path: Path) -> tuple[FeatureRows | None, list[Problem]]:
    """Read features made elsewhere.

    Parameters
    ----------
    path
        CSV with columns time (seconds), role and features.

    Returns
    -------
    FeatureRows
        None when there is no such file, or it cannot be used.
    list of Problem
        All that is wrong; ``warning`` for a file that is not there, and rows that are left out for want of a number.
    """
    if not path.is_file():
        return None, [Problem("There are no features.", file=path.name, severity="warning")]
    try:
        table = pd.read_csv(path, dtype={"role": "str"}, skipinitialspace=True)
    except (ValueError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        return None, [Problem(f"It is no CSV: {error}.", file=path.name)]
    names = [name for name in table.columns if name not in ("time", "role")]
    if not {"time", "role"} <= set(table.columns) or not names:
        expected = "Columns time (seconds), role and at least one feature."
        return None, [Problem(f"It has columns {', '.join(table.columns)}.", expected, file=path.name)]
    numbers = table[["time", *names]].apply(pd.to_numeric, errors="coerce").astype(np.float64)
    whole = np.isfinite(numbers).all(axis=1) & table["role"].notna()
    problems = []
    if not whole.all():
        text = f"{int((~whole).sum())} rows lack a role or a number, and are left out."
        problems.append(Problem(text, file=path.name, severity="warning"))
    rows = numbers[whole]
    return FeatureRows(
        tuple(names), rows["time"].to_numpy(), tuple(table.loc[whole, "role"]), rows[names].to_numpy()
    ), problems


def row_tokens(window: Window, rows: FeatureRows, roles: Sequence[str], *, rate: str) -> WindowTokens:
    """Describe people by the mean of the rows that lie in each token.

    Parameters
    ----------
    window
        Which seconds.
    rows
        Features of the recording.
    roles
        Whose tokens, in this order.
    rate
        Tokens per second, a fraction.
    """
    length, width = window.count_tokens(rate), len(rows.names)
    sums, counts = np.zeros((len(roles), length, width)), np.zeros((len(roles), length))
    inside = np.flatnonzero((rows.times >= window.start_s - _MORE) & (rows.times < window.start_s + window.seconds))
    token = np.floor((rows.times[inside] - window.start_s) * float(Fraction(rate)) + _MORE).astype(np.int64)
    person = np.array([roles.index(rows.roles[row]) if rows.roles[row] in roles else -1 for row in inside], np.int64)
    kept = (person >= 0) & (token < length)
    np.add.at(sums, (person[kept], token[kept].clip(min=0)), rows.features[inside[kept]])
    np.add.at(counts, (person[kept], token[kept].clip(min=0)), 1)
    values = (sums / np.maximum(counts, 1)[..., None]).astype(np.float32)
    return WindowTokens(values, counts > 0)


def no_tokens(window: Window, people: int, width: int, *, rate: str) -> WindowTokens:
    """Return tokens of which none is valid."""
    length = window.count_tokens(rate)
    return WindowTokens(np.zeros((people, length, width), np.float32), np.zeros((people, length), np.bool_))


def join_windows(windows: Sequence[WindowTokens]) -> WindowTokens:
    """Lay windows behind each other, ``[K, P, L, D]`` and ``[K, P, L]``; shorter ones are padded with nothing."""
    length = max(one.valid.shape[1] for one in windows)
    values = [np.pad(one.tokens, ((0, 0), (0, length - one.tokens.shape[1]), (0, 0))) for one in windows]
    valid = [np.pad(one.valid, ((0, 0), (0, length - one.valid.shape[1]))) for one in windows]
    return WindowTokens(np.stack(values), np.stack(valid))
