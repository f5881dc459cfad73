"""Who is where in each frame of the prepared videos: boxes followed, named, and laid on the frames of the store."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from nbpkg import tables
from nbpkg.errors import Problem, SettingsError
from nbpkg.features.people.boxes import CORNERS, FACE, read_boxes
from nbpkg.features.people.poses import read_all, skeleton_boxes
from nbpkg.features.people.roles import assign_roles, read_roles
from nbpkg.features.people.tracking import at_frames, follow, source_frames
from nbpkg.progress import Report
from nbpkg.settings.people import PersonSettings

_ACROSS, _DOWN = ["x0", "x1", "face_x0", "face_x1"], ["y0", "y1", "face_y0", "face_y1"]
_COLUMNS = ["session", "frame", "person", "who", *CORNERS, "score", "how", *FACE]


def find_people(
    session: str,
    source_boxes: Path | pd.DataFrame,
    *,
    source_size: tuple[int, int],
    store_fps: float,
    source_fps: float,
    frames: int,
    settings: PersonSettings,
    named: pd.DataFrame | None = None,
) -> tuple[pd.DataFrame, list[Problem]]:
    """Follow the people of one recording.

    Parameters
    ----------
    session
        Its name.
    source_boxes
        File of boxes in each frame, see `nbpkg.features.people.boxes.read_boxes`, or what that returns.
    source_size
        Width and height of the recording's picture, pixels.
    store_fps, source_fps
        Rates of the prepared video and the recording, frames per second.
    frames
        Frames of the prepared video.
    settings
        How people are followed, and which roles there are.
    named
        Who is who: columns frame (of the recording), x, y (pixels of the recording), role.

    Returns
    -------
    pandas.DataFrame
        Rows of the table ``people``.
    list of Problem
        What is wrong or odd.
    """
    boxes, problems = read_boxes(source_boxes) if isinstance(source_boxes, Path) else (source_boxes, [])
    outside = boxes[(boxes["x0"] >= source_size[0]) | (boxes["y0"] >= source_size[1])
                    | (boxes["x1"] <= 0) | (boxes["y1"] <= 0)]  # fmt: skip
    if len(outside):
        text = f"{len(outside)} boxes lie outside of a picture of {source_size[0]} × {source_size[1]} pixels."
        problems.append(Problem(text, remedy="Check that they were made for this video.", file=session))
        boxes = boxes.drop(outside.index)
    tracks = follow(
        boxes,
        least_overlap=settings.least_overlap,
        patience=settings.patience,
        least_score=settings.least_score,
    )
    roles, found = assign_roles(
        tracks, who=settings.who, named=named, order=settings.order, least_frames=settings.patience
    )
    problems += [_at(problem, session) for problem in found]
    shown = source_frames(frames, fps=store_fps, source_fps=source_fps)
    rows = at_frames(roles, shown).assign(session=session)
    for names, side in ((_ACROSS, source_size[0]), (_DOWN, source_size[1])):
        rows[names] = (rows[names] / side).clip(0, 1)
    return rows[_COLUMNS].sort_values(["frame", "person"]).reset_index(drop=True), problems


def _at(problem: Problem, session: str) -> Problem:
    return Problem(problem.what, problem.expected, problem.remedy, file=session, severity=problem.severity)


def follow_people(
    media: pd.DataFrame, settings: PersonSettings, *, data: Path, places: Mapping[str, str]
) -> tuple[pd.DataFrame, list[Problem]]:
    """Follow the people of all recordings.

    Parameters
    ----------
    media
        Table ``media``.
    settings
        Where boxes, skeletons and roles are, and how people are followed.
    data
        Data folder.
    places
        Path of each session's recording without its ending, as boxes and roles name it.

    Returns
    -------
    pandas.DataFrame
        Table ``people``. Boxes come from files of boxes; without them from the extents of skeletons.
    list of Problem
        What is wrong or odd with files, boxes and roles, of all sessions.

    Raises
    ------
    SettingsError
        When there are neither boxes nor skeletons.
    AnnotationError
        When skeletons cannot be read.
    """
    if not settings.boxes and not settings.poses:
        raise SettingsError(
            "Nothing says where people are.",
            expected="Files of boxes in the folder that 'boxes' names, or a pickle of skeletons that 'poses' names.",
            remedy="Run any detector of people over the recordings, and write frame, x0, y0, x1, y1 of each person.",
        )
    skeletons = {} if settings.boxes else read_all(data / settings.poses)
    named, problems = read_roles(data / settings.roles, settings.who) if settings.roles else (None, [])
    if named is not None:
        problems += _find_strangers(named, places)
    parts = []
    report = Report("follow people", total=len(media), unit="session")
    for video in media.to_dict("records"):
        session = str(video["session"])
        source: Path | pd.DataFrame | None
        if settings.boxes:
            source = data / settings.boxes / f"{places[session]}.csv"
        else:
            source = skeleton_boxes(skeletons[session], video) if session in skeletons else None
        if source is None:
            problems.append(Problem("There are no skeletons of it.", file=session))
        else:
            own = None if named is None else named[named["path"] == places[session]]
            rows, found = find_people(session, source, **_facts(video), settings=settings, named=own)
            parts.append(rows)
            problems += found
        report.step(note=session)
    report.close()
    filled = [part for part in parts if len(part)]
    return tables.check(pd.concat(filled), "people") if filled else tables.empty("people"), problems


def _facts(video: Mapping[Any, Any]) -> dict[str, Any]:
    """Return what `find_people` has to know of a row of the table ``media``."""
    return {
        "source_size": (int(video["source_width"]), int(video["source_height"])),
        "store_fps": int(video["fps_num"]) / int(video["fps_den"]),
        "source_fps": float(video["source_fps"]),
        "frames": int(video["frames"]),
    }


def _find_strangers(named: pd.DataFrame, places: Mapping[str, str]) -> list[Problem]:
    """Warn of recordings that nobody knows, for a misspelt path would be passed over."""
    unknown = sorted(set(named["path"]) - set(places.values()))
    return [Problem(f"The file of roles names {path!r}, which is no recording.", remedy="Correct its path.",
                    severity="warning") for path in unknown]  # fmt: skip
