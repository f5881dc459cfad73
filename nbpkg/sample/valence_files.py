"""Writing the text files of the valence study: annotations, transcripts and face boxes, as untidy as real ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg.sample.valence_story import Telling, Utterance

_START_MS, _STOP_MS = 120, 60  # a cue begins after and ends before the whole second


def write_valence(path: Path, values: NDArray[np.float64], *, crlf: bool = False) -> None:
    """Write an annotation: header ``valence``, one row for each frame."""
    _write(path, ["valence", *(f"{value:.1f}" for value in (values + 0.0).tolist())], "\r\n" if crlf else "\n")


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as CSV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as stream:
        table.to_csv(stream, index=False, lineterminator="\n")


def write_transcript(path: Path, telling: Telling) -> None:
    """Write what was said as SubRip subtitles.

    Subject 1 has two blank lines between some cues, subject 2 lines that end as on Windows, subject 3 a byte-order
    mark, subject 4 cues of two lines, subject 5 times with a dot and no blank line at the end.
    """
    cues = [_cue(number, one, telling) for number, one in enumerate(telling.utterances, start=1)]
    lines: list[str] = []
    for number, cue in enumerate(cues):
        lines += [*cue, ""]
        if telling.subject == "1" and number % 4 == 2:
            lines.append("")
    if telling.subject == "5":
        lines.pop()
    _write(path, lines, "\r\n" if telling.subject == "2" else "\n", mark=telling.subject == "3")


def _cue(number: int, one: Utterance, telling: Telling) -> list[str]:
    stop_ms = min(one.stop * 1000, telling.frames * 40) - _STOP_MS
    times = f"{_time(one.start * 1000 + _START_MS)} --> {_time(stop_ms)}"
    if telling.subject == "5":
        times = times.replace(",", ".")
    text = " ".join(one.words).capitalize() + "."
    if telling.subject == "4" and len(one.words) > 5:
        middle = len(one.words) // 2
        text = f"{' '.join(one.words[:middle]).capitalize()}\n{' '.join(one.words[middle:])}."
    return [str(number), times, *text.split("\n")]


def _time(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02},{rest:03}"


def _write(path: Path, lines: Sequence[str], end: str, *, mark: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(("\ufeff" if mark else "").encode() + "".join(f"{line}{end}" for line in lines).encode())
