"""Answers in files: with names of clips, and nameless in the order of their list for the published programs."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg.errors import TableError
from nbpkg.metrics.people.passes import ROLES, UNIT, check_people, probability_columns, split_passes
from nbpkg.metrics.people.predictions import write_predictions
from nbpkg.metrics.people.systems import as_scored

WriteScores = Callable[[NDArray[np.float64], Path], Path]


def write_people_files(
    predictions: pd.DataFrame,
    folder: Path,
    *,
    classes: Sequence[str],
    order: Sequence[str] = (),
    legacy: WriteScores | None = None,
) -> list[Path]:
    """Write the answers of each system, variant, role, checkpoint and repetition.

    Parameters
    ----------
    predictions
        Table ``people_predictions``.
    folder
        Where the files go; it is made.
    classes
        Names of the classes in the order of their indices.
    order
        Names of clips in the order of their list; empty for the order of the table. A nameless file has as many rows
        as the table beside it, in the same order.
    legacy
        Writer of the published format, `nbpkg.annotations.people.score_files.write_scores`; None for none.

    Returns
    -------
    list of Path
        ``<system>_<variant>_<role>_<checkpoint>_<repetition>.csv`` with sample_id, family, session, label, predicted
        and score_<class index>, each with a ``.pkl`` of the same rows when `legacy` is given.

    Raises
    ------
    TableError
        As `check_people`, when a clip is not in `order`, or two systems would get the same file name.
    StageError
        When a file cannot be written.
    """
    table = check_people(predictions, classes)
    table = table[table["role"].isin(list(ROLES))]
    if len(order):
        table = _sort(table, order)
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for key, whole in table.groupby([*UNIT, "checkpoint"], sort=True):
        for name, rows in split_passes(whole):
            stem = "_".join(plain_name(str(part)) for part in (*key, name))
            path = folder / f"{stem}.csv"
            if path in written:
                raise TableError(
                    "Two systems would be written to one file.",
                    where=path.name,
                    expected="Names that differ in letters, digits, dots, dashes or underscores.",
                )
            written.append(write_predictions(as_scored(rows, classes), path))
            if legacy is not None:
                scores = rows[probability_columns(classes)].to_numpy(np.float64)
                written.append(legacy(scores, path.with_suffix(".pkl")))
    return written


def plain_name(text: str) -> str:
    """Turn a name into a part of a file name.

    Examples
    --------
    >>> plain_name("cpm t/full")
    'cpm-t-full'
    """
    return re.sub(r"[^\w.-]+", "-", text).strip(".-") or "-"


def _sort(table: pd.DataFrame, order: Sequence[str]) -> pd.DataFrame:
    place = {name: number for number, name in enumerate(order)}
    unknown = sorted(set(table["sample_id"]) - set(place))
    if unknown:
        raise TableError(
            f"{len(unknown)} clips are not in the list, e.g. {unknown[0]}.",
            where="table 'people_predictions'",
            expected="Clips of the list that the networks were trained and tested with.",
        )
    return table.loc[table["sample_id"].map(place).sort_values(kind="stable").index]
