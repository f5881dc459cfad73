"""What each annotation is like: how long, how much it moves, and whether it says anything at all."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg import tables
from nbpkg.annotations.valence.lines import read_text_lines
from nbpkg.annotations.valence.names import shorten
from nbpkg.errors import AnnotationError, Problem, SettingsError, raise_all

# part of the published list whose annotation was withheld during the challenge, and is constant where it still is
WITHHELD = "Testing"
CONSTANT, PARTIAL, MISSING, NOTHING = "constant", "partial last second", "missing values", "no value at all"


def count_step_frames(fps: float, step_seconds: float) -> int:
    """Count the frames of a step.

    Parameters
    ----------
    fps
        Frames per second.
    step_seconds
        Length of a step, seconds.

    Raises
    ------
    SettingsError
        When it is no whole number: groups of 12 and 13 frames in turn would drift against features of equal length.

    Examples
    --------
    >>> count_step_frames(25, 1.0)
    25
    """
    return whole_ratio(Fraction(str(fps)) * Fraction(str(step_seconds)))


def step_means(values: NDArray[np.float64], ratio: float) -> NDArray[np.float64]:
    """Average the frames of each step.

    Parameters
    ----------
    values
        (frames,) one value per frame, NaN where there is none.
    ratio
        Frames of a step, a whole number.

    Returns
    -------
    numpy.ndarray
        (ceil(frames / ratio),) means over the frames that have a value, NaN where none has; a partial last step counts.

    Raises
    ------
    SettingsError
        When `ratio` is no whole number.

    Source
    ------
    desmond-ong/cheem-omg-empathy, ``multimodal/datasets.py``.

    Examples
    --------
    >>> step_means(np.array([0.0, 1.0, np.nan, 3.0, 4.0]), 2).tolist()
    [0.5, 3.0, 4.0]
    """
    frames = whole_ratio(ratio)
    padded = np.full(-(-len(values) // frames) * frames, np.nan)
    padded[: len(values)] = values
    groups = padded.reshape(-1, frames)
    known = ~np.isnan(groups)
    sums, counts = np.where(known, groups, 0.0).sum(axis=1), known.sum(axis=1)
    means: NDArray[np.float64] = np.divide(sums, counts, out=np.full(len(groups), np.nan), where=counts > 0)
    return means


def describe_recordings(
    valence: pd.DataFrame, *, ratio: float, hidden: Sequence[str] = (), actors: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Describe the listener's own annotation of each session.

    Parameters
    ----------
    valence
        Table ``valence``; rows of other raters do not count.
    ratio
        Frames of a step, a whole number.
    hidden
        Parts whose annotations are dummies.
    actors
        Story to the actor who tells it; stories left out are unknown.

    Returns
    -------
    pandas.DataFrame
        Table ``recordings``, sessions in their order in `valence`. Hidden is a session of a part named in `hidden`, and
        one of the part ``Testing`` whose annotation is constant.

    Raises
    ------
    SettingsError
        When `ratio` is no whole number.
    """
    frames = whole_ratio(ratio)
    own = valence[valence["rater"] == "self"]
    known = dict(actors or {})
    rows = []
    for session, part in own.groupby("session", sort=False):
        first = part.iloc[0]
        values = part.sort_values("frame")["value"].to_numpy(np.float64)
        flags = _find_flags(values, frames)
        withheld = first["part"] == WITHHELD and bool({CONSTANT, NOTHING}.intersection(flags))
        rows.append(
            {
                "session": session,
                **{name: first[name] for name in ("subject", "story", "part")},
                "actor": known.get(first["story"], ""),
                "steps": -(-len(values) // frames),
                **_measure(values),
                "hidden": bool(withheld or first["part"] in hidden),
                "flags": "; ".join(flags),
            }
        )
    return tables.from_rows(rows, "recordings")


def report_recordings(recordings: pd.DataFrame) -> list[Problem]:
    """Say in words which annotations nothing can be learnt from, and which hold no truth.

    Parameters
    ----------
    recordings
        Table ``recordings``.

    Returns
    -------
    list of Problem
        Warnings: annotations that are constant or empty, one for each kind, and what is hidden.
    """
    flags = recordings["flags"].str.split("; ")
    own = ~recordings["hidden"]
    constant = recordings.loc[own & flags.map(lambda words: CONSTANT in words), "session"].tolist()
    nothing = recordings.loc[own & flags.map(lambda words: NOTHING in words), "session"].tolist()
    hidden = recordings.loc[recordings["hidden"], "session"].tolist()
    said = [
        (
            constant,
            "The annotation of {} never changes: {}.",
            "Concordance with it is zero whatever is answered. If it is a dummy, name its part in parse.hidden.",
        ),
        (nothing, "The annotation of {} has no value at all: {}.", "If it is withheld, name its part in parse.hidden."),
        (hidden, "The truth of {} is withheld: {}.", "They are answered, not learnt from and not scored."),
    ]
    return [
        Problem(what.format(_sessions(names), shorten(names)), remedy=remedy, severity="warning")
        for names, what, remedy in said
        if names
    ]


def hash_annotations(valence: pd.DataFrame) -> dict[str, str]:
    """Hash the listener's own annotation of each session, so that copies under another name are found.

    Parameters
    ----------
    valence
        Table ``valence``.

    Returns
    -------
    dict
        Session to SHA-256 of its values.
    """
    own = valence[valence["rater"] == "self"].sort_values("frame", kind="stable")
    return {
        str(session): hashlib.sha256((values.to_numpy("<f8") + 0.0).tobytes()).hexdigest()  # -0.0 is 0.0
        for session, values in own.groupby("session", sort=False)["value"]
    }


def read_actors(path: Path) -> dict[str, str]:
    """Read who tells which story.

    Parameters
    ----------
    path
        CSV with columns story, actor.

    Returns
    -------
    dict
        Story, as in table ``recordings``, to actor.

    Raises
    ------
    AnnotationError
        Listing rows that lack a story or an actor, and stories with two actors.
    """
    lines, problems = read_text_lines(path, file=path.name)
    raise_all(problems, AnnotationError, summary="the list of actors cannot be used.")
    rows = [[cell.strip() for cell in row] for row in csv.reader(lines)]
    if sorted(rows[0]) != ["actor", "story"]:
        raise AnnotationError(
            f"The columns are {', '.join(map(repr, rows[0]))}.",
            where=str(path),
            expected="Columns story and actor.",
            remedy="Correct the first line.",
        )
    actors: dict[str, str] = {}
    for number, row in enumerate(rows[1:], 2):
        if not any(row):
            continue
        pair = dict(zip(rows[0], row, strict=False))
        story, actor = pair.get("story", ""), pair.get("actor", "")
        story = str(int(story)) if story.isdecimal() else story
        if len(row) != len(rows[0]) or not story or not actor:
            what = "The row does not hold one story and one actor."
        elif actors.setdefault(story, actor) != actor:
            what = f"Story {story} has two actors, {actors[story]} and {actor}."
        else:
            continue
        problems.append(Problem(what, remedy="Correct the row.", file=path.name, row=number))
    raise_all(problems, AnnotationError, summary="the list of actors cannot be used.")
    return actors


def whole_ratio(ratio: float | Fraction) -> int:
    """Return the frames of a step as an integer; groups of changing size would drift against the features.

    Raises
    ------
    SettingsError
        When it is no whole number, or below 1.
    """
    ratio = Fraction(ratio)
    if ratio.denominator != 1 or ratio < 1:
        raise SettingsError(
            f"A step has {float(ratio):g} frames.",
            expected="A whole number of frames, at least one.",
            remedy="Correct parse.fps or parse.step_seconds, so that their product is whole.",
        )
    return int(ratio)


def _find_flags(values: NDArray[np.float64], frames: int) -> list[str]:
    known = values[~np.isnan(values)]
    odd = {
        NOTHING: not len(known),
        CONSTANT: len(known) > 0 and bool((known == known[0]).all()),
        MISSING: 0 < len(known) < len(values),
        PARTIAL: len(values) % frames != 0,
    }
    return [word for word, holds in odd.items() if holds]


def _measure(values: NDArray[np.float64]) -> dict[str, float]:
    known = values[~np.isnan(values)]
    before, after = values[:-1], values[1:]
    pairs = ~np.isnan(before) & ~np.isnan(after)
    return {
        "frames": len(values),
        "missing": len(values) - len(known),
        "least": float(known.min()) if len(known) else np.nan,
        "greatest": float(known.max()) if len(known) else np.nan,
        "mean": float(known.mean()) if len(known) else np.nan,
        "std": float(known.std()) if len(known) else np.nan,
        "changes": float((before[pairs] != after[pairs]).mean()) if pairs.any() else np.nan,
    }


def _sessions(names: Sequence[str]) -> str:
    return f"{len(names)} session{'s' if len(names) > 1 else ''}"
