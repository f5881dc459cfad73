"""Subtitles (.srt): who says what when, in whole milliseconds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Literal

from nbpkg.annotations.valence import reference_transcripts
from nbpkg.annotations.valence.lines import read_text_lines
from nbpkg.annotations.valence.names import shorten
from nbpkg.errors import AnnotationError, Problem

Compat = Literal["none", "reference"]
TIME = re.compile(r"([0-9]+):([0-5][0-9]):([0-5][0-9])[,.]([0-9]{3})")
# what follows the times, e.g. a position on the screen, is of no use here
TIMES = re.compile(rf"\s*({TIME.pattern})\s*-->\s*({TIME.pattern})(\s.*)?")
LIKE_TIMES = re.compile(r"-->|^\s*[0-9]+:[0-9]+\S*\s*[-–—=>]+\s*[0-9]+:[0-9]+")


@dataclass(frozen=True)
class Cue:
    """Words that are said together.

    Parameters
    ----------
    id
        Number in the file, as text.
    start_time, end_time
        ``HH:MM:SS,mmm`` or with a dot, as in the file.
    text
        The words, on one line.
    """

    id: str
    start_time: str
    end_time: str
    text: str

    @property
    def start_ms(self) -> int:
        """Start, milliseconds from the start of the video."""
        return read_time(self.start_time)

    @property
    def end_ms(self) -> int:
        """End, milliseconds, exclusive."""
        return read_time(self.end_time)


@dataclass(frozen=True)
class _Row:
    """A cue and the line of the file that holds its times."""

    cue: Cue
    line: int


def read_time(text: str) -> int:
    """Read a time of a subtitle file, in milliseconds.

    Raises
    ------
    AnnotationError
        When it is not of the form ``HH:MM:SS,mmm``, with a comma or a dot.

    Examples
    --------
    >>> read_time("00:01:01,960")
    61960
    """
    found = TIME.fullmatch(text.strip())
    if found is None:
        raise AnnotationError(f"{text!r} is no time.", expected="HH:MM:SS,mmm, e.g. 00:01:01,960.")
    hours, minutes, seconds, ms = map(int, found.groups())
    return ((hours * 60 + minutes) * 60 + seconds) * 1000 + ms


def find_frame(ms: int, fps: int, *, compat: Compat = "none") -> int:
    """Find the frame at a time.

    Parameters
    ----------
    ms
        Milliseconds from the start.
    fps
        Frames per second.
    compat
        ``reference``: by floating point, as published, which puts e.g. 1.160 s at 25 frames/s on frame 28.

    Examples
    --------
    >>> find_frame(1160, 25), find_frame(1160, 25, compat="reference")
    (29, 28)
    """
    return reference_transcripts.find_frame(ms, fps) if compat == "reference" else ms * fps // 1000


def read_srt(path: Path, *, file: str = "", compat: Compat = "none") -> tuple[list[Cue], list[Problem]]:
    """Read subtitles (.srt).

    Parameters
    ----------
    path
        The file; byte order mark, line ends and blank lines of any kind, times with comma or dot. Other kinds, such as
        .ass, are not read.
    file
        Name shown in problems; else the file's own.
    compat
        ``reference``: as published. Of several lines only the last is kept, a second blank line repeats the cue, and
        overlapping cues are left as they are.

    Returns
    -------
    cues : list of Cue
        In order of time, lines joined by a blank, cues without words left out, each ending at the latest where the next
        one starts.
    problems : list of Problem
        Errors: lines that should be times and are not, with their number. Warnings: cues out of order, without words or
        of no length, numbers that occur twice.

    Source
    ------
    desmond-ong/cheem-omg-empathy, ``text/utils.py``, read to the rule of its defects.
    """
    show = file or path.name
    if path.suffix.lower() != ".srt":
        remedy = "Export it as SubRip (.srt), e.g. with Aegisub or Subtitle Edit."
        return [], [Problem(f"Files of kind {path.suffix or 'unknown'} are not read.", remedy=remedy, file=show)]
    lines, problems = read_text_lines(path, file=show, keep_mark=compat == "reference")
    if problems:
        return [], problems
    if compat == "reference":
        records = reference_transcripts.read_records(lines)
        return [Cue(name, start, end, text or "") for name, start, end, text in records], []
    rows, problems = _read_rows(lines, show)
    cues, noticed = _arrange(rows, show)
    return cut_overlaps(cues), [*problems, *noticed]


def cut_overlaps(cues: Sequence[Cue]) -> list[Cue]:
    """End each cue at the latest where the next one starts."""
    cut = [
        replace(cue, end_time=later.start_time) if cue.end_ms > later.start_ms else cue for cue, later in pairwise(cues)
    ]
    return [*cut, *cues[-1:]]


def _read_rows(lines: Sequence[str], file: str) -> tuple[list[_Row], list[Problem]]:
    """Cut the lines at those that hold times; the number of a cue stands above them, its words below."""
    marks = [place for place, line in enumerate(lines) if "-->" in line or LIKE_TIMES.search(line)]
    heads = [_find_number(lines, mark) for mark in marks]
    stray = [place for place in range(heads[0] if heads else len(lines)) if lines[place].strip()]
    problems = [_bad_line(lines, place, file) for place in stray[:1]]
    rows: list[_Row] = []
    for mark, head, end in zip(marks, heads, [*heads, len(lines)][1:], strict=True):
        found = TIMES.fullmatch(lines[mark])
        number = lines[head].strip() if head < mark else str(len(rows) + 1)
        times = (found[1], found[6]) if found else ("", "")
        if found is None or read_time(times[1]) < read_time(times[0]):
            problems.append(_bad_line(lines, mark, file))
            continue
        problems += [_bad_line(lines, place, file) for place in _find_lost_cues(lines, mark + 1, end)]
        text = " ".join(line.strip() for line in lines[mark + 1 : end] if line.strip())
        rows.append(_Row(Cue(number, *times, text), mark + 1))
    return rows, problems


def _find_number(lines: Sequence[str], mark: int) -> int:
    """Find the line of a cue's number above its times; the line of the times when it has none."""
    place = mark - 1
    while place > 0 and not lines[place].strip():
        place -= 1
    apart = place < mark - 1 and place > 0 and bool(lines[place - 1].strip())  # then it is the end of other words
    return place if place >= 0 and lines[place].strip().isdecimal() and not apart else mark


def _find_lost_cues(lines: Sequence[str], start: int, end: int) -> list[int]:
    """Find lines that should be times: they follow a number that stands alone behind a blank line."""
    return [
        place
        for place in range(start + 2, end)
        if lines[place].strip() and lines[place - 1].strip().isdecimal() and not lines[place - 2].strip()
    ]


def _bad_line(lines: Sequence[str], place: int, file: str) -> Problem:
    found = TIMES.fullmatch(lines[place])
    what = "ends before it starts" if found else "should hold the times of a cue and does not"
    return Problem(
        f"Line {place + 1}, {lines[place].strip()[:60]!r}, {what}.",
        expected="HH:MM:SS,mmm --> HH:MM:SS,mmm below the number of each cue.",
        remedy="Correct the line.",
        file=file,
        row=place + 1,
    )


def _arrange(rows: Sequence[_Row], file: str) -> tuple[list[Cue], list[Problem]]:
    """Leave out empty and doubled cues, give every cue a number of its own, and put them in order of time."""
    empty = [row for row in rows if not row.cue.text]
    kept: dict[Cue, _Row] = {}
    for row in rows:
        if row.cue.text:
            kept.setdefault(row.cue, row)
    doubled = [row for row in rows if row.cue.text and kept[row.cue] is not row]
    used: dict[str, int] = {}
    cues, again = [], []
    for row in kept.values():
        used[row.cue.id] = used.get(row.cue.id, 0) + 1
        times = used[row.cue.id]
        again += [row] if times > 1 else []
        cues.append(replace(row.cue, id=f"{row.cue.id} ({times})") if times > 1 else row.cue)
    late = [row for before, row in pairwise(kept.values()) if row.cue.start_ms < before.cue.start_ms]
    said = [
        (empty, "Cues without words were left out", "warning"),
        (doubled, "Cues that repeat another one word for word were left out", "repaired"),
        (again, "Cues with the number of another one got one of their own", "repaired"),
        (late, "Cues that start before the one above were put in order of time", "repaired"),
    ]
    problems = [
        Problem(
            f"{what} (lines {shorten([row.line for row in some])}).",
            file=file,
            row=some[0].line,
            severity=severity,
        )
        for some, what, severity in said
        if some
    ]
    return sorted(cues, key=lambda cue: cue.start_ms), problems
