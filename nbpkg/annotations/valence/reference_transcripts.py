"""How the published program reads subtitles, known defects included (``compat: reference``)."""

from __future__ import annotations

from collections.abc import Sequence

Record = tuple[str, str, str, str | None]


def find_frame(ms: int, fps: int) -> int:
    """Find the frame at a time by floating point, which is one too low for some times, e.g. 1.160 s and 2.320 s."""
    return int(ms / 1000 * fps)


def read_records(lines: Sequence[str]) -> list[Record]:
    """Read subtitles line by line: number, times, then words.

    Every line of words replaces the one before, every blank line gives out the cue once more, a cue without words
    has those of the cue before, and a byte order mark stays in the first number.

    Parameters
    ----------
    lines
        Lines of the file.

    Returns
    -------
    list of tuple
        Number, start, end (as written) and words (None before the first words of the file).
    """
    records: list[Record] = []
    number = start = end = ""
    words: str | None = None
    expects, waiting = "number", False
    for line in (one.strip() for one in lines):
        if not line:
            if number:
                records.append((number, start, end, words))
            expects, waiting = "number", False
        elif expects == "number":
            number, expects, waiting = line, "times", True
        elif expects == "times":
            start, _, end = (part.strip() for part in line.partition("-->"))
            expects = "words"
        else:
            words = line
    return [*records, (number, start, end, words)] if waiting else records
