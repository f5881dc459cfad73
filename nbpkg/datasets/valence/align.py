"""Give every part of a recording the same number of seconds, and say what each lost or lacks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbpkg.annotations.valence.recordings import step_means
from nbpkg.errors import AnnotationError, TableError

Length = Literal["annotation", "shortest"]
Short = Literal["mask", "hold"]
Floats = NDArray[np.float64]


class Aligned(NamedTuple):
    """All parts of one recording, each with one row per step.

    Parameters
    ----------
    features
        Modality to float32 ``(T, D)``; missing rows hold 0.
    present
        Modality to bool ``(T,)``.
    valence
        float64 ``(T,)``, NaN where a second has no value.
    """

    features: dict[str, NDArray[np.float32]]
    present: dict[str, NDArray[np.bool_]]
    valence: Floats


@dataclass(frozen=True)
class Absent:
    """Stands in for the features of a modality that a recording does not have.

    Parameters
    ----------
    width
        Features the modality has in other recordings.
    """

    width: int


def align_recording(
    valence_frames: Floats,
    features: Mapping[str, NDArray[np.floating] | Absent],
    *,
    session: str,
    ratio: float,
    length: Length,
    short: Short,
) -> tuple[Aligned, list[dict[str, Any]]]:
    """Align one recording; all parts, whatever their role, are treated alike.

    Parameters
    ----------
    valence_frames
        One value per frame, NaN where there is none.
    features
        Modality to ``(rows, D)``, row t describing second ``[t, t + 1)``, in the order of the experiment. A row with
        NaN or infinity in it is missing. `Absent` makes a modality that is missing throughout.
    session
        Name of the recording.
    ratio
        Frames per step.
    length
        ``annotation``: as many steps as the annotation asks for; ``shortest``: as many as the shortest part has.
    short
        What is done where a modality ends before: ``mask`` marks the steps as missing, ``hold`` repeats the last row
        that is there.

    Returns
    -------
    Aligned
        Features, masks and valence.
    list of dict
        Rows of the table ``alignment``.

    Raises
    ------
    AnnotationError
        When there is no frame.
    TableError
        When a modality has no row, or none that can be used within the annotation.

    Source: the published program cuts training videos to the shortest part and pads others with 0, so that segments of
    different modalities cover different seconds when a validation video is used for training.
    """
    valence = step_means(np.asarray(valence_frames, np.float64), ratio)
    if not len(valence):
        raise AnnotationError(
            f"The annotation of {session!r} has no frame.",
            expected="One value per frame.",
            remedy="Leave the recording out, or give it as many rows as its video has frames.",
        )
    given = {name: rows for name, rows in features.items() if not isinstance(rows, Absent)}
    for modality, rows in given.items():
        _check_rows(rows, session, modality)
    asked = len(valence)
    steps = min([asked, *map(len, given.values())]) if length == "shortest" else asked
    aligned = Aligned({}, {}, valence[:steps])
    notes = []
    for modality, rows_or_absent in features.items():
        fitted = _fit_rows(rows_or_absent, steps, short)
        aligned.features[modality], aligned.present[modality] = fitted
        notes.append(_describe(rows_or_absent, fitted[1], session=session, modality=modality, asked=asked, short=short))
    return aligned, notes


def _fit_rows(
    rows: NDArray[np.floating] | Absent, steps: int, short: Short
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    width = rows.width if isinstance(rows, Absent) else rows.shape[1]
    fitted, present = np.zeros((steps, width), np.float32), np.zeros(steps, np.bool_)
    if isinstance(rows, Absent):
        return fitted, present
    kept = rows[:steps]
    fitted[: len(kept)] = kept
    present[: len(kept)] = np.isfinite(fitted[: len(kept)]).all(axis=1)
    if short == "hold" and len(kept) < steps:
        last = int(np.flatnonzero(present)[-1]) if present.any() else 0
        fitted[len(kept) :], present[len(kept) :] = fitted[last], present[last]
    fitted[~present] = 0
    return fitted, present


def _describe(
    rows: NDArray[np.floating] | Absent,
    present: NDArray[np.bool_],
    *,
    session: str,
    modality: str,
    asked: int,
    short: Short,
) -> dict[str, Any]:
    """Return a row of the table ``alignment``, or refuse a modality of which nothing is left."""
    steps = len(present)
    count = 0 if isinstance(rows, Absent) else len(rows)
    lost, padded = max(count - steps, 0), max(steps - count, 0)
    flags = []
    if isinstance(rows, Absent):
        flags.append("no features: masked throughout")
    elif not present.any():
        raise _nothing_left(rows[:steps], session, modality)
    else:
        broken = np.isfinite(rows[:steps]).sum(axis=1)
        partly = int(((broken > 0) & (broken < rows.shape[1])).sum())
        flags += [f"{partly} rows with some undefined values: masked"] if partly else []
        flags += [f"longer than the annotation: {count - asked} rows cut"] if count > asked else []
        flags += [f"shorter than the annotation by {asked - count} steps"] if count < asked else []
        flags += [f"last row held for {padded} steps"] if padded and short == "hold" else []
        flags += [f"cut to the shortest part: {asked - steps} steps"] if steps < asked else []
    return {
        "session": session,
        "modality": modality,
        "rows": count,
        "steps": asked,
        "lost": lost,
        "padded": padded,
        "missing": int((~present).sum()),
        "flags": "; ".join(flags),
    }


def _check_rows(rows: NDArray[np.floating], session: str, modality: str) -> None:
    if rows.ndim != 2 or not rows.size:
        raise TableError(
            f"Recording {session!r}: modality {modality!r} has features of shape {rows.shape}.",
            expected="At least one row for a second and one column for a feature.",
            remedy="Extract the features again, or leave the recording out.",
        )


def _nothing_left(rows: NDArray[np.floating], session: str, modality: str) -> TableError:
    bad = np.flatnonzero((~np.isfinite(rows)).all(axis=0))
    columns = (
        f"Undefined in every row: {len(bad)} of {rows.shape[1]} columns, number {bad[0]} first." if len(bad) else ""
    )
    return TableError(
        f"Recording {session!r}: modality {modality!r} has no row that can be used within the annotation.",
        where=columns,
        expected=f"A row without undefined values in one of the first {len(rows)} seconds.",
        remedy="Extract the features again, leave out columns that are never defined, or leave the recording out.",
    )
