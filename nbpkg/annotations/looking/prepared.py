"""Annotations as the published programs prepare them: a file for each track, a file of segments for each clip."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from nbpkg.annotations.looking.clips import Clip, Segment, TrackBoxes, check_name
from nbpkg.annotations.looking.ego4d import make_track
from nbpkg.annotations.looking.strict import Notes, show
from nbpkg.errors import Problem

ENDING = ".json"


def read_prepared(tracks: Path, segments: Path) -> tuple[list[Clip], list[Problem]]:
    """Read ``json_original/<clip>/<track>.json`` and ``result_LAM/<clip>.json``.

    These files do not say from which full video a clip is cut, so each clip counts as a video of its own.

    Parameters
    ----------
    tracks
        Folder of track files.
    segments
        Folder of files of looking segments. A clip without a file has none annotated.

    Returns
    -------
    clips : list of Clip
        In order of their names, as are the tracks of each.
    problems : list of Problem
        Everything noticed.
    """
    notes = Notes(tracks.name)
    if not tracks.is_dir():
        notes.note(f"There is no folder {tracks}.", expected="Folders of clips with a file for each track.",
                   remedy="Correct parse.tracks, or use parse.form: ego4d.")  # fmt: skip
        return [], notes.problems
    folders = sorted(path for path in tracks.iterdir() if path.is_dir() and not path.name.startswith("."))
    names = [path.name for path in folders]
    looking, problems = read_segment_files(segments, names)
    clips = []
    for folder in folders:
        check_name(notes, "Clip", folder.name)
        found, noted = _read_folder(folder)
        problems += noted
        persons = len({track.person for track in found if track.person})
        clips.append(Clip(folder.name, folder.name, "", found, looking.get(folder.name), None, persons,
                          file=folder.name))  # fmt: skip
    if clips:
        notes.note(
            "Nothing says which clips are cut from the same video, so each counts as a video of its own.",
            remedy="Use parse.form: ego4d where its annotation files are at hand.",
            severity="warning",
        )
    return clips, [*notes.problems, *problems]


def read_segment_files(folder: Path, sessions: Iterable[str]) -> tuple[dict[str, tuple[Segment, ...]], list[Problem]]:
    """Read looking segments of clips, ``<clip>.json`` each: a list of label (the person), start_frame and end_frame.

    Parameters
    ----------
    folder
        Where they are.
    sessions
        Clips that there are; files of others are named in a warning.

    Returns
    -------
    segments : dict
        Clip to its segments, for clips with a file.
    problems : list of Problem
        Everything noticed.
    """
    notes = Notes(folder.name)
    if not folder.is_dir():
        notes.note(f"There is no folder {folder}.", expected="A file of looking segments for each clip.",
                   remedy="Correct parse.segments or parse.second.")  # fmt: skip
        return {}, notes.problems
    known = set(sessions)
    files = sorted(path for path in folder.iterdir() if path.suffix == ENDING and not path.name.startswith("."))
    unknown = [path.stem for path in files if path.stem not in known]
    if unknown:
        notes.note(f"{len(unknown)} files are of clips without tracks: {', '.join(map(show, unknown[:5]))}.",
                   remedy="Remove them, or add the tracks.", severity="warning")  # fmt: skip
    found, problems = {}, notes.problems
    for path in files:
        if path.stem in known:
            own = Notes(f"{folder.name}/{path.name}")
            found[path.stem] = _read_segments(path, own)
            problems += own.problems
    return found, problems


def _read_segments(path: Path, notes: Notes) -> tuple[Segment, ...]:
    entries = notes.load(path)
    if not isinstance(entries, list):
        if not notes.problems:
            notes.note(f"It holds {show(entries)}.", expected="A list of segments.")
        return ()
    return tuple(
        Segment(
            person=notes.take(one, "label", "an id", place=place, missing=""),
            start=notes.take(one, "start_frame", "a whole number", place=place),
            end=notes.take(one, "end_frame", "a whole number", place=place),
        )
        for place, one in notes.objects(entries, "segment", place="")
    )


def _read_folder(folder: Path) -> tuple[tuple[TrackBoxes, ...], list[Problem]]:
    tracks, problems = [], []
    files = [path for path in folder.iterdir() if path.suffix == ENDING and not path.name.startswith(".")]
    for path in sorted(files, key=lambda path: path.stem):
        notes = Notes(f"{folder.name}/{path.name}")
        tracks.append(_read_track(path, notes))
        problems += notes.problems
    return tuple(tracks), problems


def _read_track(path: Path, notes: Notes) -> TrackBoxes:
    records = notes.load(path)
    check_name(notes, "Track", path.stem)
    if not isinstance(records, list):
        if not notes.problems:
            notes.note(f"It holds {show(records)}.", expected="A list of boxes.")
        records = []
    owners = [
        notes.take(one, "Person ID", "an id", place=place) for place, one in notes.objects(records, "box", place="")
    ]
    persons = list(dict.fromkeys(owner for owner in owners if owner))
    if len(persons) > 1:
        notes.note(f"Its boxes are of {len(persons)} persons: {', '.join(map(show, persons[:5]))}.",
                   expected="One person in a track.", remedy="Make a file for each.")  # fmt: skip
    clips = {one.get("clip_uid") for one in records if isinstance(one, dict) and isinstance(one.get("clip_uid"), str)}
    if clips - {path.parent.name}:
        notes.note(f"Its boxes are of clip {', '.join(sorted(map(show, clips)))}.",
                   expected=f"Clip {show(path.parent.name)}, as the folder says.", remedy="Move it.")  # fmt: skip
    place = f"Track {show(path.stem)}"
    frames = notes.frames(records, "frameNumber", place=place)
    sides = [notes.numbers(records, key, place=place) for key in ("x", "y", "width", "height")]
    named = np.array([bool(owner) for owner in owners], np.bool_)
    if len(named) != len(frames):
        frames = frames[:0]
    return make_track(path.stem, persons[0] if persons else "", frames, sides, named=named)
