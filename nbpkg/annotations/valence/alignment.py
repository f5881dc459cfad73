"""Seconds of each modality against seconds of the annotation: what is missing, too short, too long, or another's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from nbpkg import tables
from nbpkg.annotations.valence.names import shorten
from nbpkg.annotations.valence.recordings import PARTIAL
from nbpkg.errors import Problem

KEY = ["session", "modality"]
ABSENT, SHORT, LONG, NO_LAST = "missing file", "too short", "too long", "no last partial second"
# a whole modality counts as shifted when so large a share of its files, and at least so many, are off by the same
USUAL_SHARE, USUAL_FILES = 0.8, 3
# neighbours in length by chance are common; files further off than this are another session's more likely
FAR = 2


def check_alignment(
    recordings: pd.DataFrame, found: pd.DataFrame, *, names: Sequence[str]
) -> tuple[pd.DataFrame, list[Problem]]:
    """Hold the length of each file of features against the annotation of its session.

    Files are matched by session. Nothing is cut, filled or moved here; `lost` and `padded` say what laying the features
    on the annotation would cost.

    Parameters
    ----------
    recordings
        Table ``recordings``.
    found
        One row per file: session, modality, rows (seconds); and if known missing (rows in which there is nothing) and
        source (file name), as in table ``modalities``.
    names
        Modalities that there should be, in order; rows of others do not count.

    Returns
    -------
    table : pandas.DataFrame
        Table ``alignment``, a row for each session and modality, whether there is a file or not.
    problems : list of Problem
        Errors: sessions with two files of a modality. Warnings: missing files, files without annotation, files shorter
        or longer than the annotation, modalities off by the same in nearly all files, and files that may belong to
        another session.
    """
    own = found[found["modality"].isin(list(names))]
    known = own["session"].isin(recordings["session"])
    repeats = own.duplicated(KEY)
    problems = [*_report_extra(own[~known]), *_report_repeats(own[own.duplicated(KEY, keep=False)])]
    joined = _join(recordings, own[known & ~repeats], names)
    owners: dict[int, list[str]] = {}
    for name in names:
        part = joined[joined["modality"] == name]
        usual = _find_usual(part["off"])
        doubtful = part[part["off"].notna() & ~part["off"].isin([0, usual])]
        owners |= {int(index): likely for index in doubtful.index if (likely := _find_owners(part, int(index), usual))}
        problems += _report_modality(name, part, usual)
        problems += [_report_owner(row, owners[row["index"]]) for row in _records(part) if row["index"] in owners]
    for index, likely in owners.items():
        joined.loc[index, "flags"] = f"{joined['flags'][index]}; may belong to {', '.join(likely[:3])}"
    return tables.check(joined.drop(columns=["off", "recording_flags"]), "alignment"), problems


def _join(recordings: pd.DataFrame, found: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Make a row for each session and modality; off is rows less steps, NaN without a file."""
    sessions = recordings[["session", "steps", "flags"]].rename(columns={"flags": "recording_flags"})
    grid = sessions.merge(pd.DataFrame({"modality": list(names)}), how="cross")
    silent = found.get("missing", 0)
    grid = grid.merge(found[[*KEY, "rows"]].assign(silent=silent), on=KEY, how="left")
    there = grid["rows"].notna()
    grid["off"] = grid["rows"] - grid["steps"]
    rows = grid["rows"].fillna(0).astype("int64")
    grid["rows"], grid["lost"] = rows, (rows - grid["steps"]).clip(lower=0)
    grid["padded"] = (grid["steps"] - rows).clip(lower=0)
    kept = np.minimum(grid["silent"].fillna(0), np.minimum(rows, grid["steps"]))
    grid["missing"] = (grid["padded"] + kept).astype("int64")
    no_last = (grid["off"] == -1) & grid["recording_flags"].str.contains(PARTIAL, regex=False)
    kinds = [~there, no_last, grid["off"] < 0, grid["off"] > 0]
    grid["flags"] = np.select(kinds, [ABSENT, NO_LAST, SHORT, LONG], default="")
    grid.loc[no_last, "off"] = 0.0  # explained: sound has no row for a last second that is not whole
    return grid.drop(columns="silent")


def _find_usual(off: pd.Series) -> int:
    """Find by how many rows nearly all files of a modality are off; 0 when they are not off by the same."""
    known = off.dropna()
    if known.empty:
        return 0
    value, files = known.mode().iloc[0], int((known == known.mode().iloc[0]).sum())
    return int(value) if files >= USUAL_FILES and files >= USUAL_SHARE * len(known) else 0


def _find_owners(part: pd.DataFrame, index: int, usual: int) -> list[str]:
    """Name the sessions that a file would fit which does not fit its own.

    Only sessions whose own file is missing or does not fit either are named, unless the file is far off.
    """
    off = part["off"] - usual
    rows = int(part["rows"].loc[index])
    fits = (part["steps"] + usual == rows) & (part.index != index)
    loose = off.ne(0)  # NaN, a file that is missing, is not 0 either
    return list(part.loc[fits if abs(off.loc[index]) > FAR else fits & loose, "session"])


def _report_modality(name: str, part: pd.DataFrame, usual: int) -> list[Problem]:
    unusual = part["off"].notna() & (part["off"] != usual)
    said = [
        (
            part["off"].isna(),
            "has no file for",
            "Add them; until then the modality is masked there, or the sessions are left out.",
        ),
        (part["flags"] == NO_LAST, "has no row for the last, partial second of", ""),
        (
            unusual & (part["off"] < 0),
            "is shorter than the annotation in",
            "If seconds were left out within a file, all later ones stand too early: make the features again.",
        ),
        (
            unusual & (part["off"] > 0),
            "is longer than the annotation in",
            "Check that file and annotation are of the same video.",
        ),
    ]
    problems = [
        Problem(
            f"{name} {what} {int(mask.sum())} session{'s' if mask.sum() > 1 else ''}: {_name_rows(part[mask])}.",
            remedy=remedy,
            severity="warning",
        )
        for mask, what, remedy in said
        if mask.any()
    ]
    return [*problems, *([_report_usual(name, part["off"].dropna(), usual)] if usual else [])]


def _report_usual(name: str, off: pd.Series, usual: int) -> Problem:
    size = f"{abs(usual)} row{'s' if abs(usual) > 1 else ''} {'less' if usual < 0 else 'more'}"
    return Problem(
        f"{name} has {size} than the annotation in {int((off == usual).sum())} of {len(off)} sessions.",
        expected="One row per second of the annotation.",
        remedy="Find out whether seconds are lacking at the end or the start; nothing was moved.",
        severity="warning",
    )


def _report_owner(row: Mapping[str, object], sessions: list[str]) -> Problem:
    what = f"The {row['modality']} of {row['session']} has {row['rows']} rows, its annotation {row['steps']} seconds"
    return Problem(
        f"{what}; it may belong to {' or '.join(sessions[:3])}.",
        remedy="Compare the file with the video; nothing was moved.",
        severity="warning",
    )


def _records(part: pd.DataFrame) -> list[dict[str, Any]]:
    return part.reset_index().to_dict("records")  # type: ignore[return-value]


def _name_rows(rows: pd.DataFrame) -> str:
    absent = rows["off"].isna().all()
    pairs = zip(rows["session"], rows["rows"], rows["steps"], strict=True)
    return shorten([session if absent else f"{session} ({count} of {steps})" for session, count, steps in pairs])


def _report_extra(extra: pd.DataFrame) -> list[Problem]:
    return [
        Problem(
            f"{name} has {len(part)} file{'s' if len(part) > 1 else ''} without annotation: "
            f"{shorten(sorted(set(part['session'])))}.",
            remedy="They are not used; add the annotations, or remove the files.",
            severity="warning",
        )
        for name, part in extra.groupby("modality", sort=False)
    ]


def _report_repeats(repeats: pd.DataFrame) -> list[Problem]:
    return [
        Problem(
            f"{session} has {len(part)} files of {name}"
            + (f": {shorten(sorted(part['source']))}." if "source" in part else "."),
            expected="One file for each session and modality.",
            remedy="Move those that do not belong elsewhere.",
        )
        for (name, session), part in repeats.groupby(["modality", "session"], sort=False)
    ]
