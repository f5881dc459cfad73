"""Answers with the names of their samples, as a table, in files, and of several networks joined.

==============  ======================================================================================
column          meaning
==============  ======================================================================================
sample_id       name of the sample, once in the table
family          whom it shows; families are what intervals resample; empty when unknown
session         recording session; empty when unknown
label           class index
predicted       class with the highest score, the lowest index among equals
score_0, …      score of each class: a probability, or whatever a network or several joined give
==============  ======================================================================================
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from nbpkg.errors import TableError
from nbpkg.metrics.people.ranking import as_scores, pick_classes
from nbpkg.runs.files import new_file

Array = NDArray[np.float64]
TEXTS = ("sample_id", "family", "session")
COLUMNS = (*TEXTS, "label", "predicted")
ENDINGS = (".csv", ".npz")


def tabulate_predictions(samples: pd.DataFrame, scores: ArrayLike) -> pd.DataFrame:
    """Put answers beside the names and labels of their samples.

    Parameters
    ----------
    samples
        sample_id, family, session and label, one row per sample.
    scores
        [samples, classes], row for row those of `samples`.

    Returns
    -------
    pandas.DataFrame
        Table of predictions, see the module's text.

    Raises
    ------
    TableError
        As `check_predictions`, or when there are not as many rows of scores as samples.
    """
    table = as_scores(scores)
    if len(table) != len(samples):
        raise TableError(f"There are {len(table)} rows of scores for {len(samples)} samples.", expected="One for each.")
    columns: dict[str, np.ndarray] = {name: samples[name].astype("str").to_numpy() for name in TEXTS}
    columns |= {"label": samples["label"].to_numpy(np.int64), "predicted": pick_classes(table)}
    columns |= {f"score_{label}": table[:, label] for label in range(table.shape[1])}
    return check_predictions(pd.DataFrame(columns))


def check_predictions(table: pd.DataFrame) -> pd.DataFrame:
    """Refuse a table of predictions that cannot be scored.

    Parameters
    ----------
    table
        Table of predictions.

    Returns
    -------
    pandas.DataFrame
        The same with its columns in order and a fresh index.

    Raises
    ------
    TableError
        When a column is missing, a sample occurs twice or none does, a score is no number, a label is no class, or an
        answer is not the class with the highest score.
    """
    names = list_scores(table)
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing or len(names) < 2 or table.empty:
        what = f"The predictions lack {missing[0]!r}." if missing else "There are no predictions."
        raise TableError(what, expected=f"Columns {', '.join(COLUMNS)}, score_0, score_1, …, and at least one row.")
    typed = table[[*COLUMNS, *names]].reset_index(drop=True)
    typed = typed.astype(dict.fromkeys(TEXTS, "str") | {"label": "int64", "predicted": "int64"})
    typed = typed.astype(dict.fromkeys(names, "float64"))
    ids, scores = typed["sample_id"], typed[names].to_numpy()
    troubles = (
        (ids.duplicated(), "occurs more than once", "Each sample once."),
        (~np.isfinite(scores).all(axis=1), "has a score that is no number", "A finite score for each class."),
        (~typed["label"].between(0, len(names) - 1), "has a label that is no class", f"0 to {len(names) - 1}."),
    )
    for wrong, what, expected in troubles:
        if wrong.any():
            first = ids[np.asarray(wrong)].iloc[0]
            raise TableError(f"Sample {first} {what}, one of {int(wrong.sum())}.", expected=expected)
    other = typed["predicted"].to_numpy() != scores.argmax(axis=1)
    if other.any():
        raise TableError(
            f"The answer to {ids[other].iloc[0]} is not the class with the highest score.",
            expected="Column 'predicted' as it follows from the scores.",
        )
    return typed


def list_scores(table: pd.DataFrame) -> list[str]:
    """Return the columns of scores in the order of the classes: ``score_0`` and all that follow without a gap."""
    count = sum(re.fullmatch(r"score_[0-9]+", str(name)) is not None for name in table.columns)
    return [f"score_{label}" for label in range(count) if f"score_{label}" in table.columns]


def write_predictions(table: pd.DataFrame, path: Path) -> Path:
    """Write predictions, complete or not at all.

    Parameters
    ----------
    table
        Table of predictions.
    path
        Ends in ``.csv`` or ``.npz``; both keep every digit.

    Raises
    ------
    TableError
        As `check_predictions`, or when the ending is another.
    StageError
        When the file cannot be written.
    """
    typed = check_predictions(table)
    _check_ending(path)
    with new_file(path) as temporary:
        if path.suffix == ".csv":
            typed.to_csv(temporary, index=False, lineterminator="\n")
        else:
            parts = {name: typed[name].to_numpy("str") for name in TEXTS}
            parts |= {name: typed[name].to_numpy() for name in ("label", "predicted")}
            with temporary.open("wb") as stream:
                np.savez(stream, allow_pickle=False, scores=typed[list_scores(typed)].to_numpy(), **parts)
    return path


def read_predictions(path: Path) -> pd.DataFrame:
    """Read what `write_predictions` wrote.

    Raises
    ------
    TableError
        When the file is missing or damaged, or as `check_predictions`.
    """
    _check_ending(path)
    try:
        if path.suffix == ".csv":
            table = pd.read_csv(path, dtype="str", keep_default_na=False)  # read as numbers, the last digit can change
        else:
            with np.load(path, allow_pickle=False) as parts:
                table = pd.DataFrame({name: parts[name] for name in COLUMNS})
                table = table.join(pd.DataFrame(parts["scores"]).add_prefix("score_"))
        return check_predictions(table)
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise TableError(
            f"The predictions cannot be read: {error}.", where=str(path), remedy="Make them again."
        ) from None


def fuse_scores(
    scores: Sequence[ArrayLike], *, coefficients: Sequence[float] = (), softmax: bool = False
) -> NDArray[np.float64]:
    """Add up the scores of several networks.

    Parameters
    ----------
    scores
        [samples, classes] of each network, the same samples in the same order.
    coefficients
        What each is multiplied with; empty for 1.
    softmax
        Turn each network's scores into probabilities first.

    Returns
    -------
    numpy.ndarray
        [samples, classes].

    Raises
    ------
    TableError
        When shapes differ, or there are not as many coefficients as networks.

    Source
    ------
    open-mmlab/mmaction2, ``tools/analysis/report_accuracy.py``.

    Examples
    --------
    >>> fuse_scores([[[1.0, 0.0]], [[0.0, 1.0]]], coefficients=(2, 1)).tolist()
    [[2.0, 1.0]]
    """
    tables = [as_scores(one) for one in scores]
    shapes = sorted({table.shape for table in tables})
    weights = list(coefficients) or [1.0] * len(tables)
    if len(shapes) != 1 or len(weights) != len(tables) or not np.isfinite(weights).all():
        said = f"shapes {', '.join(map(str, shapes)) or 'of nothing'} and coefficients {weights}"
        raise TableError(
            f"{len(tables)} networks with {said} do not go together.",
            expected="Scores of the same samples and classes, and one finite coefficient for each network.",
        )
    parts = [_softmax(table) if softmax else table for table in tables]
    return np.asarray(sum(weight * part for weight, part in zip(weights, parts, strict=True)), np.float64)


def fuse_predictions(
    tables: Sequence[pd.DataFrame], *, coefficients: Sequence[float] = (), softmax: bool = False
) -> pd.DataFrame:
    """Join the answers of several networks to the same samples, matched by name whatever their order.

    Parameters
    ----------
    tables
        Tables of predictions.
    coefficients, softmax
        As in `fuse_scores`.

    Returns
    -------
    pandas.DataFrame
        Table of predictions in the order of the first.

    Raises
    ------
    TableError
        When the tables do not hold the same samples with the same labels.
    """
    checked = [check_predictions(table).set_index("sample_id") for table in tables]
    if not checked:
        raise TableError("There are no predictions to join.", expected="At least one table.")
    first = checked[0]
    for other in checked[1:]:
        differing = sorted(set(first.index) ^ set(other.index))
        if not differing:
            differing = sorted(first.index[first["label"] != other["label"].reindex(first.index)])
        if differing:
            raise TableError(
                f"The networks did not answer the same samples: {len(differing)} differ, e.g. {differing[0]}.",
                expected="The same samples with the same labels in every table.",
                remedy="Test all networks on one list.",
            )
    scores = [table.loc[first.index, list_scores(table)].to_numpy() for table in checked]
    fused = fuse_scores(scores, coefficients=coefficients, softmax=softmax)
    return tabulate_predictions(first.reset_index(), fused)


def _softmax(table: Array) -> Array:
    raised = np.exp(table - table.max(axis=1, keepdims=True))
    shares: Array = raised / raised.sum(axis=1, keepdims=True)
    return shares


def _check_ending(path: Path) -> None:
    if path.suffix not in ENDINGS:
        raise TableError(
            f"Predictions are not kept in {path.name}.", where=str(path), expected=f"{', '.join(ENDINGS)}."
        )
