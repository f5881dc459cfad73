"""What is known of one clip: its face tracks as annotated, who looks and who talks when."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nbpkg.annotations.looking.strict import Notes, show
from nbpkg.errors import Problem

LONGEST_NAME = 200  # bytes; file systems end at 255, and endings are added


@dataclass(frozen=True)
class Segment:
    """A span in which somebody looks at, or talks to, somebody.

    Parameters
    ----------
    person
        Who, as written; empty where nobody is named.
    start, end
        First and last frame, both inclusive.
    target
        Whom, as written; empty where it is not said.
    at_me
        Whether it is marked as directed at the camera wearer.
    """

    person: str
    start: int
    end: int
    target: str = ""
    at_me: bool = False

    @property
    def who(self) -> str:
        """The person without the apostrophes that some annotations put around ids.

        Examples
        --------
        >>> Segment("'2'", 9, 12).who
        '2'
        """
        return self.person.replace("'", "")


@dataclass(frozen=True)
class TrackBoxes:
    """One face track as annotated.

    Parameters
    ----------
    track, person
        Its id within the clip, and whose face it is; the person may be empty.
    frames
        Frame of each box, ``[n]``, in the order of the annotation.
    boxes
        x, y, width, height of each box, ``[n, 4]``, pixels of the clip.
    named
        Whether each box says whose it is, ``[n]``.
    """

    track: str
    person: str
    frames: NDArray[np.int64]
    boxes: NDArray[np.float64]
    named: NDArray[np.bool_]


@dataclass(frozen=True)
class Clip:
    """One clip as annotated.

    Parameters
    ----------
    session, video
        Its uid, and that of the full video it is cut from.
    split
        Part that the annotation says, e.g. ``train``; empty where it says none.
    tracks
        Face tracks of everybody but the camera wearer.
    looking, talking
        Segments in the order of the annotation; None where the clip has none annotated.
    persons
        Persons beside the camera wearer.
    start_s, end_s
        Where it is cut from the full video, seconds; NaN where that is not known.
    file
        Where it is annotated.
    """

    session: str
    video: str
    split: str
    tracks: tuple[TrackBoxes, ...]
    looking: tuple[Segment, ...] | None
    talking: tuple[Segment, ...] | None
    persons: int
    start_s: float = np.nan
    end_s: float = np.nan
    file: str = ""


def why_no_name(name: str) -> str:
    r"""Say why an id cannot be the name of a file or folder; empty when it can.

    Examples
    --------
    >>> why_no_name("track:1")
    ''
    >>> why_no_name("../x"), why_no_name("a\0"), why_no_name("")
    ('has / or \\ in it', 'has control characters', 'is empty')
    """
    if not name:
        return "is empty"
    if "/" in name or "\\" in name:
        return "has / or \\ in it"
    if not name.isprintable():
        return "has control characters"
    if name.startswith(".") or name.endswith((".", " ")) or name != name.strip():
        return "begins with a dot or blank, or ends with one"
    return "is too long" if len(name.encode("utf-8", "surrogatepass")) > LONGEST_NAME else ""


def check_name(notes: Notes, what: str, name: str, *, place: str = "") -> bool:
    """Note an id that would become a path, and tell whether it can be used.

    Parameters
    ----------
    notes
        Takes the problem.
    what
        What the id is of, e.g. ``Clip uid``.
    name
        The id.
    place
        Where it stands, in words.
    """
    why = why_no_name(name)
    if why:
        notes.note(
            f"{what} {show(name)} {why}.",
            place=place,
            expected="An id that can name a file: no path, no control characters, not empty.",
            remedy="Rename it in the annotation.",
        )
    return not why


def check_repeats(clips: Iterable[Clip]) -> list[Problem]:
    """Report clips that are annotated twice, and tracks whose id is given twice within a clip; all of them errors."""
    problems = []
    seen: dict[str, str] = {}
    for clip in clips:
        if clip.session in seen:
            first = seen[clip.session]
            where = "twice in it" if first == clip.file else f"in {first}, too"
            problems.append(
                Problem(
                    f"Clip {show(clip.session)} is annotated {where}.",
                    expected="Each clip once.",
                    remedy="Remove one of the two.",
                    file=clip.file,
                )
            )
        seen.setdefault(clip.session, clip.file)
        names = [track.track for track in clip.tracks]
        problems += [
            Problem(
                f"Clip {show(clip.session)} has {names.count(name)} tracks {show(name)}.",
                expected="Each track id once within a clip.",
                remedy="Rename all but one, or join them if they are the same person.",
                file=clip.file,
            )
            for name in dict.fromkeys(names)
            if names.count(name) > 1
        ]
    return problems
