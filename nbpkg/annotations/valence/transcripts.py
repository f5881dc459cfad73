"""Transcripts on the frames of the annotation: mean valence of each cue, its change, and the published form."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbpkg.annotations.valence.names import find_session_files, shorten
from nbpkg.annotations.valence.srt import TIME, Compat, Cue, find_frame
from nbpkg.annotations.valence.srt import read_srt as read_srt
from nbpkg.errors import AnnotationError, Problem
from nbpkg.runs.files import new_file

# differences smaller than this are rounding
STILL = 1e-6
FIELDS = ("id", "start_time", "end_time", "start_frame", "end_frame", "text", "scores", "average")


@dataclass(frozen=True)
class ScoredCue:
    """A cue on the frames of the annotation.

    Parameters
    ----------
    cue
        The words.
    start_frame, end_frame
        Frames [start, end), the end cut to the annotation as published: cues behind it end before they start.
    scores
        Valence of these frames, None where a frame has no value; None when the truth is withheld.
    average
        Their mean, or its change since the cue before; None when no frame has a value.
    """

    cue: Cue
    start_frame: int
    end_frame: int
    scores: tuple[float | None, ...] | None = None
    average: float | None = None


def find_transcripts(folder: Path, *, show: str) -> tuple[dict[str, Path], list[Problem]]:
    """Find the transcript of each session, however its name is spelt (``Story_4``, ``story2``).

    Parameters
    ----------
    folder
        Where they lie.
    show
        The folder's name in problems.

    Returns
    -------
    files : dict
        Session to .srt file.
    problems : list of Problem
        Sessions with two files (errors), files that were not read.
    """
    return find_session_files(folder, endings=(".srt",), show=show, loose=True)


def score_cues(
    cues: Sequence[Cue], values: NDArray[np.float64], *, fps: int = 25, hidden: bool = False, compat: Compat = "none"
) -> list[ScoredCue]:
    """Give each cue its frames and their mean valence.

    Parameters
    ----------
    cues
        Cues of one session.
    values
        (frames,) its annotation, NaN where a frame has no value.
    fps
        Annotated frames per second.
    hidden
        Whether the truth is withheld: frames only.
    compat
        ``reference``: frames by floating point.

    Returns
    -------
    list of ScoredCue
        One for each cue. Where no frame has a value the average is None, which nothing may be learnt from.
    """
    scored = []
    for cue in cues:
        start = find_frame(cue.start_ms, fps, compat=compat)
        end = min(find_frame(cue.end_ms, fps, compat=compat), len(values))
        if hidden:
            scored.append(ScoredCue(cue, start, end))
            continue
        part = values[start:end]
        known = part[~np.isnan(part)]
        scores = tuple(None if np.isnan(value) else float(value) for value in part)
        scored.append(ScoredCue(cue, start, end, scores, float(known.mean()) if len(known) else None))
    return scored


def difference_cues(scored: Sequence[ScoredCue]) -> list[ScoredCue]:
    """Put the change since the cue before in place of each average.

    Parameters
    ----------
    scored
        Cues of one session in order.

    Returns
    -------
    list of ScoredCue
        The same cues. The first changes from 0; cues without average stay without and are passed over; changes smaller
        than 1e-6 are 0.
    """
    before, changed = 0.0, []
    for one in scored:
        if one.average is None:
            changed.append(one)
            continue
        change = one.average - before
        changed.append(replace(one, average=change if abs(change) >= STILL else 0.0))
        before = one.average
    return changed


def report_cues(scored: Sequence[ScoredCue], frames: int, *, file: str) -> list[Problem]:
    """Say which cues lie behind the end of the annotation, and which have no frame.

    Parameters
    ----------
    scored
        Cues of one session.
    frames
        Frames of its annotation.
    file
        Name shown in problems.
    """
    beyond = [one.cue.id for one in scored if one.start_frame >= frames]
    none = [one.cue.id for one in scored if one.end_frame <= one.start_frame < frames]
    said = [
        (
            beyond,
            f"Cues begin behind the end of the annotation ({frames} frames)",
            "Is it the transcript of this video?",
        ),
        (none, "Cues are shorter than a frame and have no valence", "They are passed over."),
    ]
    return [
        Problem(f"{what}: {shorten(names)}.", remedy=remedy, file=file, severity="warning")
        for names, what, remedy in said
        if names
    ]


def write_transcript(scored: Sequence[ScoredCue], path: Path) -> Path:
    """Write cues in the published form: a JSON list, indented by 3, null where there is no value."""
    records = [
        dict(
            zip(
                FIELDS,
                (
                    one.cue.id,
                    one.cue.start_time,
                    one.cue.end_time,
                    one.start_frame,
                    one.end_frame,
                    one.cue.text,
                    None if one.scores is None else list(one.scores),
                    one.average,
                ),
                strict=True,
            )
        )
        for one in scored
    ]
    with new_file(path) as temporary:
        temporary.write_text(json.dumps(records, indent=3), encoding="utf-8")
    return path


def read_transcript(path: Path) -> list[ScoredCue]:
    """Read cues in the published form; records of one id are all kept, where published readers keep the last.

    Parameters
    ----------
    path
        JSON list of records with the fields of `FIELDS`; NaN reads as no value.

    Raises
    ------
    AnnotationError
        When the file is no such list, naming the first record that is not as expected.
    """
    expected = f"A JSON list of records with {', '.join(FIELDS)}."
    try:
        records: Any = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        what = f"The transcript cannot be read ({type(error).__name__})."
        raise AnnotationError(what, where=str(path), expected=expected, remedy="Write it again.") from None
    if not isinstance(records, list):
        raise AnnotationError("The transcript is no list.", where=str(path), expected=expected)
    scored = [_read_record(record) for record in records]
    if None in scored:
        where = f"{path}, record {scored.index(None) + 1}"
        raise AnnotationError("A record is not as expected.", where=where, expected=expected, remedy="Write it again.")
    return [one for one in scored if one is not None]


def _read_record(record: object) -> ScoredCue | None:
    if not isinstance(record, dict) or not set(FIELDS) <= set(record):
        return None
    texts = [record[name] for name in ("id", "start_time", "end_time", "text")]
    frames = [record[name] for name in ("start_frame", "end_frame")]
    scores, numbers = record["scores"], [record["average"], *(record["scores"] or [])]
    if not all(isinstance(text, str) for text in texts) or not all(type(frame) is int for frame in frames):
        return None
    if not all(TIME.fullmatch(text) for text in texts[1:3]) or not isinstance(scores, list | None):
        return None
    if not all(value is None or type(value) in (int, float) for value in numbers):
        return None
    known = [None if value is None or np.isnan(value) else float(value) for value in numbers]
    cue = Cue(texts[0], texts[1], texts[2], texts[3])
    return ScoredCue(cue, frames[0], frames[1], None if scores is None else tuple(known[1:]), known[0])
