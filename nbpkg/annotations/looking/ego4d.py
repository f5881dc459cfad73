"""Annotations of the Ego4D audio-visual benchmark: ``av_train.json``, ``av_val.json``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from nbpkg.annotations.looking.clips import Clip, Segment, TrackBoxes, check_name, check_repeats
from nbpkg.annotations.looking.strict import Notes, show
from nbpkg.errors import AnnotationError, Problem, raise_all

CUTS = (("video_start_sec", "video_end_sec"), ("parent_start_sec", "parent_end_sec"))
SPLITS = ("train", "val", "test")


def read_ego4d(paths: Sequence[Path], *, compat: bool = False) -> tuple[list[Clip], list[Problem]]:
    """Read annotation files one after the other, in the order given.

    Parameters
    ----------
    paths
        The files, e.g. ``av_train.json`` and ``av_val.json``.
    compat
        Take the first person of each clip for the camera wearer, as published, whatever the persons' flags say.

    Returns
    -------
    clips : list of Clip
        In the order of the files. Ids that cannot name a file, and values of another kind than the format says, are
        among the problems; their clips, tracks and boxes are incomplete.
    problems : list of Problem
        Everything noticed; errors among them mean that the clips must not be used.

    Source
    ------
    EGO4D/social-interactions (branch lam), ``scripts/merge.py`` and ``scripts/get_json.py``, which depend on the order
    in which the file system lists the files, and on the camera wearer being the first person.
    """
    clips: list[Clip] = []
    problems: list[Problem] = []
    for path in paths:
        notes = Notes(path.name)
        clips += _read_file(notes.load(path), notes, compat=compat)
        problems += notes.problems
    return clips, [*problems, *check_repeats(clips)]


def write_merged(paths: Sequence[Path], target: TextIO) -> int:
    """Write one annotation file with the videos of all, in order; everything else is that of the first.

    Parameters
    ----------
    paths
        Annotation files.
    target
        Open text file.

    Returns
    -------
    int
        Videos written.

    Raises
    ------
    AnnotationError
        When a file is no annotation file.
    """
    count = 0
    facts: dict[str, Any] = {}
    for number, path in enumerate(paths):
        notes = Notes(path.name)
        content = notes.load(path)
        raise_all(notes.problems, AnnotationError, summary="annotation files cannot be merged")
        if not isinstance(content, dict) or not isinstance(content.get("videos"), list):
            raise AnnotationError(
                "The file has no list of videos.", where=str(path), remedy="Name annotation files in parse.annotations."
            )
        videos = content.pop("videos")
        if number == 0:
            facts = content
            target.write("{" + "".join(f"{json.dumps(key)}: {json.dumps(facts[key])}, " for key in facts))
            target.write('"videos": [')
        for video in videos:
            target.write((", " if count else "") + json.dumps(video))
            count += 1
    target.write("]}\n" if paths else "")
    return count


def _read_file(content: Any, notes: Notes, *, compat: bool) -> list[Clip]:
    if not isinstance(content, dict):
        if not notes.problems:
            notes.note(f"It holds {show(content)}.", expected="An object with a list 'videos'.")
        return []
    clips: list[Clip] = []
    for place, video in notes.objects(notes.take(content, "videos", "a list", place=""), "video", place=""):
        uid = notes.take(video, "video_uid", "a text", place=place)
        check_name(notes, "Video uid", uid, place=place)
        split = notes.take(video, "split", "a text", place=place, missing="")
        if split and split not in SPLITS:
            notes.note(f"Video {show(uid)} is of split {show(split)}, which is taken for none.", severity="warning")
        known = split if split in SPLITS else ""
        entries = notes.take(video, "clips", "a list", place=place)
        clips += [
            _read_clip(clip, notes, video=uid, split=known, place=where, compat=compat)
            for where, clip in notes.objects(entries, "clip", place=place)
        ]
    return clips


def _read_clip(entry: dict[str, Any], notes: Notes, *, video: str, split: str, place: str, compat: bool) -> Clip:
    uid = notes.take(entry, "clip_uid", "a text", place=place)
    check_name(notes, "Clip uid", uid, place=place)
    place = f"Clip {show(uid)}"
    persons = notes.objects(notes.take(entry, "persons", "a list", place=place, missing=()), "person", place=place)
    others = _leave_out_wearer(persons, notes, place=place, compat=compat)
    tracks = [track for where, person in others for track in _read_tracks(person, notes, clip=place, place=where)]
    start_s, end_s = _read_cut(entry, notes, place=place)
    return Clip(
        session=uid,
        video=video,
        split=split,
        tracks=tuple(tracks),
        looking=_read_segments(entry, "social_segments_looking", notes, place=place),
        talking=_read_segments(entry, "social_segments_talking", notes, place=place),
        persons=len(others),
        start_s=start_s,
        end_s=end_s,
        file=notes.file,
    )


def _leave_out_wearer(
    persons: list[tuple[str, dict[str, Any]]], notes: Notes, *, place: str, compat: bool
) -> list[tuple[str, dict[str, Any]]]:
    """Return everybody but the camera wearer, and warn where flag and position disagree."""
    if compat:
        return persons[1:]
    flags = [notes.take(person, "camera_wearer", "true or false", place=where, missing=None)
             for where, person in persons]  # fmt: skip
    if persons and all(flag is None for flag in flags):
        notes.note("Nobody is marked as camera wearer or not; the first person is taken for it.",
                   place=place, severity="warning")  # fmt: skip
        return persons[1:]
    wearers = [number for number, flag in enumerate(flags) if flag]
    if persons and wearers != [0]:
        said = ", ".join(str(number + 1) for number in wearers)
        notes.note(
            f"The camera wearer is person {said} of the list." if wearers else "No person is the camera wearer.",
            place=place,
            expected="The first person, as published programs take for granted.",
            remedy="Correct camera_wearer if it is wrong; it decides whose faces are left out.",
            severity="warning",
        )
    return [person for person, flag in zip(persons, flags, strict=True) if not flag]


def _read_tracks(person: dict[str, Any], notes: Notes, *, clip: str, place: str) -> list[TrackBoxes]:
    who = notes.take(person, "person_id", "an id", place=place)
    paths = notes.take(person, "tracking_paths", "a list", place=place, missing=())
    found = []
    for where, entry in notes.objects(paths, "track", place=place):
        name = notes.take(entry, "track_id", "an id", place=where)
        check_name(notes, "Track id", name, place=where)
        where = f"{clip}, track {show(name)}"
        records = notes.take(entry, "track", "a list", place=where)
        frames = notes.frames(records, "frame", place=where)
        sides = [notes.numbers(records, key, place=where) for key in ("x", "y", "width", "height")]
        found.append(make_track(name, who, frames, sides, named=np.full(len(frames), bool(who))))
    return found


def make_track(
    track: str, person: str, frames: np.ndarray, sides: Sequence[np.ndarray], *, named: np.ndarray
) -> TrackBoxes:
    """Put frames and sides (x, y, width, height) together; none where something is wrong with one of them."""
    if any(len(side) != len(frames) for side in sides):
        nothing = np.zeros(0, np.int64)
        return TrackBoxes(track, person, nothing, np.zeros((0, 4)), np.zeros(0, np.bool_))
    return TrackBoxes(track, person, frames, np.stack(sides, axis=1), named)


def _read_segments(entry: dict[str, Any], key: str, notes: Notes, *, place: str) -> tuple[Segment, ...] | None:
    segments = notes.take(entry, key, "a list", place=place, missing=None)
    if segments is None:
        return None
    return tuple(
        Segment(
            person=notes.take(one, "person", "an id", place=where, missing=""),
            start=notes.take(one, "start_frame", "a whole number", place=where),
            end=notes.take(one, "end_frame", "a whole number", place=where),
            target=notes.take(one, "target", "an id", place=where, missing=""),
            at_me=notes.take(one, "is_at_me", "true or false", place=where, missing=False),
        )
        for where, one in notes.objects(segments, f"{key.rpartition('_')[2]} segment", place=place)
    )


def _read_cut(entry: dict[str, Any], notes: Notes, *, place: str) -> tuple[float, float]:
    """Return begin and end in the full video by either pair of cut points; NaN where there is none."""
    for names in CUTS:
        if any(entry.get(name) is not None for name in names):
            start, end = (float(notes.take(entry, name, "a number", place=place)) for name in names)
            if start >= end or start < 0:
                notes.note(f"It is cut from {start} s to {end} s.", place=place, expected="An end behind the begin.",
                           remedy="Correct its cut points.", severity="warning")  # fmt: skip
            return start, end
    return np.nan, np.nan
