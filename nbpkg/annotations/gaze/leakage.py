"""What is in more than one part of the data, so that a score on the test part would be too good."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from nbpkg.errors import Problem
from nbpkg.runs.files import sha256

COLUMNS = ["what", "name", "parts", "rows", "pictures"]


def hash_pictures(root: Path, table: pd.DataFrame) -> dict[str, str]:
    """Hash the bytes of every picture of a table, each once.

    Parameters
    ----------
    root
        Data folder.
    table
        Table ``gaze``.

    Returns
    -------
    dict
        Picture (path relative to the data folder) to SHA-256.
    """
    return {image: sha256(root / image) for image in table["image"].unique()}


def find_leakage(table: pd.DataFrame, *, hashes: Mapping[str, str] | None = None) -> pd.DataFrame:
    """List participants, sessions and pictures that are in more than one part.

    Parameters
    ----------
    table
        Table ``gaze``; rows without part (``split`` empty) take no part.
    hashes
        Of `hash_pictures`: copies of one picture under several names are then found too.

    Returns
    -------
    pandas.DataFrame
        what (participant, session, picture, identical picture), name, parts (``test;train``), rows and pictures
        concerned; empty when nothing leaks.
    """
    rows = table[table["split"] != ""]
    keys = {
        "participant": rows["dataset"] + ": " + rows["participant"],
        "session": rows["dataset"] + ": " + rows["session"],
        "picture": rows["image"],
    }
    if hashes is not None:
        keys["identical picture"] = rows["image"].map(dict(hashes))
    found = [_find_shared(rows, what, names) for what, names in keys.items()]
    return pd.concat(found, ignore_index=True)


def report_leakage(leakage: pd.DataFrame) -> list[Problem]:
    """Say in words what leaks, one problem for each kind.

    A participant in two parts is a warning, as published lists of photographs may have it; a session or a picture in
    two is an error.
    """
    found = []
    for what, part in leakage.groupby("what", sort=False):
        shown = ", ".join(part["name"].head(5)) + (", …" if len(part) > 5 else "")
        found.append(
            Problem(
                f"{len(part)} {what}s are in several parts ({int(part['rows'].sum())} rows): {shown}.",
                expected="Each in one part.",
                remedy="Divide the data by participant.",
                severity="warning" if what == "participant" else "error",
            )
        )
    return found


def _find_shared(rows: pd.DataFrame, what: str, names: pd.Series) -> pd.DataFrame:
    named = rows.assign(name=names)
    parts = named.drop_duplicates(["name", "split"]).groupby("name")["split"].agg(lambda one: ";".join(sorted(one)))
    shared = parts[parts.str.contains(";", regex=False)]
    if what == "identical picture":  # one path in two parts is told as "picture"
        copies = named.groupby("name")["image"].nunique()
        shared = shared[copies.loc[shared.index] > 1]
    own = named[named["name"].isin(shared.index)].groupby("name")
    result = pd.DataFrame({"rows": own.size(), "pictures": own["image"].nunique()})
    shown = own["image"].agg(lambda one: " = ".join(sorted(set(one)))) if what == "identical picture" else None
    result = result.assign(what=what, parts=shared.reindex(result.index), name=result.index if shown is None else shown)
    return result.reset_index(drop=True)[COLUMNS]
