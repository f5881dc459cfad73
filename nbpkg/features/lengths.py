"""How long the files of each modality are, before anything is computed from them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import av
import pandas as pd

from nbpkg.errors import MediaError
from nbpkg.features.kinds import Job, TableHow, WordsHow
from nbpkg.features.tables import read_table

SLACK_S = 0.05  # containers round their length; less than this is no second of its own


def measure_lengths(jobs: Sequence[Job], steps: Mapping[str, int], *, seconds: float = 1.0) -> pd.DataFrame:
    """Count the rows that each file will give.

    Parameters
    ----------
    jobs
        As planned.
    steps
        Rows that each session's annotation asks for. A transcript ends with the last word and not with the session,
        so it counts as short never, as long only where words are said after the annotation's end.
    seconds
        Length of a row.

    Returns
    -------
    pandas.DataFrame
        session, modality, rows.

    Raises
    ------
    MediaError
        When a recording cannot be opened.
    """
    rows = []
    for job in jobs:
        if isinstance(job.how, TableHow):
            count = len(read_table(job.source, time_columns=job.how.time_columns).rows)
        elif isinstance(job.how, WordsHow):
            ends = max((end for _, end, _ in job.how.cues), default=0) / 1000
            count = max(_rows(ends, seconds), steps.get(job.session, 0))
        else:
            count = _rows(_duration(job.source), seconds)
        rows.append([job.session, job.modality, count])
    return pd.DataFrame(rows, columns=["session", "modality", "rows"])


def _rows(length: float, seconds: float) -> int:
    return max(0, math.ceil((length - SLACK_S) / seconds))


def _duration(path: Path) -> float:
    """Return what the container says of its length, seconds."""
    try:
        with av.open(str(path)) as container:
            duration = container.duration
    except (av.FFmpegError, OSError) as error:
        raise MediaError(
            f"The recording cannot be opened: {error}.", where=str(path), remedy="Copy it again from its source."
        ) from None
    if duration is None:
        raise MediaError(
            "The recording does not say how long it is.", where=str(path), remedy="Remux it, e.g. with ffmpeg -c copy."
        )
    return float(duration) / av.time_base
