"""The files that published programs read: boxes of each track, segments of each clip, one file of both annotations."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from nbpkg.annotations.looking.clips import Clip, Segment, TrackBoxes, why_no_name
from nbpkg.annotations.looking.ego4d import write_merged
from nbpkg.errors import AnnotationError
from nbpkg.runs.files import cannot_write

TRACKS, LOOKING, TALKING, MERGED, DOWNLOADS = "json_original", "result_LAM", "result_TTM", "av.json", "download.txt"
COLUMNS = ["what", "files", "entries"]


def write_exports(
    clips: Sequence[Clip], folder: Path, *, annotations: Sequence[Path] = (), downloads: Sequence[str] = ()
) -> pd.DataFrame:
    """Write a folder as the published preparation leaves it, completely or not at all; what was there is replaced.

    Parameters
    ----------
    clips
        What was annotated.
    folder
        Where to. Gets ``json_original/<clip>/<track>.json``, ``result_LAM/<clip>.json``, ``result_TTM/<clip>.json``.
    annotations
        Annotation files to merge into ``av.json``; none for no such file.
    downloads
        Lines of ``download.txt``; none for no such file.

    Returns
    -------
    pandas.DataFrame
        what, files, entries (boxes, segments, videos, lines).

    Raises
    ------
    AnnotationError
        When an id cannot name a file, or an annotation file cannot be merged.
    StageError
        When the folder cannot be written.

    Source
    ------
    EGO4D/social-interactions (branch lam), ``scripts/merge.py``, ``get_json.py``, ``get_lam_result.py`` and
    ``get_ttm_result.py``; these append to files that are there, so that a second run spoils them.
    """
    _refuse_paths(clips)
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)  # of a run that was killed
        for name in (TRACKS, LOOKING, TALKING):
            (partial / name).mkdir(parents=True)
        rows = [_write_tracks(clips, partial / TRACKS)]
        for name, kind in ((LOOKING, "looking"), (TALKING, "talking")):
            rows.append(_write_segments(clips, partial / name, kind=kind))
        if annotations:
            with (partial / MERGED).open("w", encoding="utf-8", newline="\n") as stream:
                rows.append((MERGED, 1, write_merged(annotations, stream)))
                _flush(stream)
        if downloads:
            _write(partial / DOWNLOADS, "".join(f"{line}\n" for line in downloads))
            rows.append((DOWNLOADS, 1, len(downloads)))
        if folder.exists():
            shutil.rmtree(folder)
        partial.replace(folder)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise cannot_write(folder, error) from None
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return pd.DataFrame(rows, columns=COLUMNS)


def track_records(session: str, track: TrackBoxes) -> list[dict[str, Any]]:
    """Write the boxes of a track in the published form, as annotated and in the order of the annotation."""
    lines = zip(track.frames.tolist(), track.named.tolist(), track.boxes.tolist(), strict=True)
    return [
        {
            "clip_uid": session,
            "frameNumber": frame,
            "Person ID": track.person if named else "",
            "x": x,
            "y": y,
            "height": height,
            "width": width,
        }
        for frame, named, (x, y, width, height) in lines
    ]


def looking_records(segments: Sequence[Segment]) -> list[dict[str, Any]]:
    """Write looking segments in the published form; those without a person are left out.

    Examples
    --------
    >>> looking_records([Segment("1", 4, 10), Segment("", 1, 3)])
    [{'label': '1', 'start_frame': 4, 'end_frame': 10}]
    """
    return [{"label": one.person, "start_frame": one.start, "end_frame": one.end} for one in segments if one.person]


def talking_records(segments: Sequence[Segment]) -> list[dict[str, Any]]:
    """Write talking segments in the published form: ids as numbers, ``tags`` for whom, where that is said.

    Examples
    --------
    >>> talking_records([Segment("'2'", 9, 12), Segment("1", 2, 8, target="0")])
    [{'label': 2, 'start_frame': 9, 'end_frame': 12}, {'label': 1, 'tags': 0, 'start_frame': 2, 'end_frame': 8}]
    """
    return [
        {
            "label": _number(one.who),
            **({"tags": _number(one.target.replace("'", ""))} if one.target else {}),
            "start_frame": one.start,
            "end_frame": one.end,
        }
        for one in segments
        if one.person
    ]


def _number(who: str) -> int | str:
    digits = who.removeprefix("-")
    return int(who) if digits.isascii() and digits.isdecimal() else who


def _write_tracks(clips: Sequence[Clip], folder: Path) -> tuple[str, int, int]:
    files = entries = 0
    for clip in clips:
        if clip.tracks:
            (folder / clip.session).mkdir()
        for track in clip.tracks:
            _write(folder / clip.session / f"{track.track}.json", json.dumps(track_records(clip.session, track)))
            files, entries = files + 1, entries + len(track.frames)
    return TRACKS, files, entries


def _write_segments(clips: Sequence[Clip], folder: Path, *, kind: str) -> tuple[str, int, int]:
    """Write a file for each clip that has segments, though all may lack a person."""
    files = entries = 0
    for clip in clips:
        segments = clip.looking if kind == "looking" else clip.talking
        if segments:
            records = looking_records(segments) if kind == "looking" else talking_records(segments)
            _write(folder / f"{clip.session}.json", json.dumps(records))
            files, entries = files + 1, entries + len(records)
    return folder.name, files, entries


def _write(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        stream.write(text)
        _flush(stream)


def _flush(stream: Any) -> None:
    stream.flush()
    os.fsync(stream.fileno())


def _refuse_paths(clips: Sequence[Clip]) -> None:
    names = [("Clip uid", clip.session) for clip in clips]
    names += [("Track id", track.track) for clip in clips for track in clip.tracks]
    for what, name in names:
        if why_no_name(name):
            raise AnnotationError(
                f"{what} {name!r} {why_no_name(name)}.",
                expected="An id that can name a file.",
                remedy="Rename it in the annotation.",
            )
