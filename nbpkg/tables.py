"""Contracts of the tables that pass between stages: columns, types, units, keys, allowed values.

Tables are CSV files in UTF-8 with integer milliseconds and with ids as text (``007`` stays ``007``). Every table
that a stage writes or reads goes through `check`, so that a broken one is refused where it is made.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from nbpkg.errors import Problem, TableError

TEXT, INTEGER, NUMBER, FLAG = "text", "integer", "number", "flag"


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Parameters
    ----------
    name, meaning
        The column's name and what it holds, with unit.
    kind
        ``text``, ``integer``, ``number`` (may be NaN: undefined) or ``flag`` (true or false).
    allowed
        The only values there may be; empty for no limit.
    least
        The smallest value there may be.
    """

    name: str
    kind: str
    meaning: str
    allowed: tuple[str, ...] = ()
    least: float | None = None


@dataclass(frozen=True)
class Contract:
    """One table: its columns, its key (unique in the table) and what it is for.

    Parameters
    ----------
    name, purpose
        File name without ending, and one sentence.
    columns
        All columns, in order. With `open_ended` further ones may follow.
    key
        Columns whose values together occur once; empty when rows may repeat.
    before
        Pairs of columns of which the first must be smaller in every row.
    """

    name: str
    purpose: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    before: tuple[tuple[str, str], ...] = ()
    open_ended: bool = False


_SESSION = Column("session", TEXT, "recording session")
_RATER = Column("rater", TEXT, "person who annotated")
_TASK = Column("task", TEXT, "part of the session, e.g. a game")
_VARIABLE = Column("variable", TEXT, "what was rated")
_START = Column("start_ms", INTEGER, "start, milliseconds from the start of the video, inclusive", least=0)
_END = Column("end_ms", INTEGER, "end, milliseconds, exclusive")
_SAMPLE = Column("sample_id", TEXT, "name of the sample")
_LABEL = Column("label", INTEGER, "class index of the label", least=0)
_FOLD = Column("fold", INTEGER, "number of the fold, from 0", least=0)
_SPAN = (("start_ms", "end_ms"),)

CONTRACTS: dict[str, Contract] = {
    contract.name: contract
    for contract in (
        Contract(
            "annotations",
            "What the annotation files say, after spelling fixes, row for row.",
            (
                _SESSION,
                _RATER,
                Column("tier", TEXT, "tier of the annotation file"),
                Column("value", TEXT, "the rater's label"),
                _START,
                _END,
                Column("file", TEXT, "annotation file"),
                Column("row", INTEGER, "number of the annotation in its tier, from 1", least=1),
            ),
            before=_SPAN,
        ),
        Contract(
            "tasks",
            "When each task takes place according to each rater.",
            (_SESSION, _RATER, _TASK, _START, _END),
            key=("session", "rater", "task"),
            before=_SPAN,
        ),
        Contract(
            "spans",
            "Each task cut into labelled spans without gap or overlap, for each rater and variable.",
            (_SESSION, _RATER, _TASK, _VARIABLE, Column("value", TEXT, "label over the whole span"), _START, _END),
            key=("session", "rater", "task", "variable", "start_ms"),
            before=_SPAN,
        ),
        Contract(
            "problems",
            "Everything noticed while reading the input files.",
            (
                Column("severity", TEXT, "what became of it", allowed=("error", "repaired", "warning")),
                Column("file", TEXT, "file; empty when about no single file"),
                Column("tier", TEXT, "tier or column"),
                Column("row", INTEGER, "number of the annotation or line, from 1; 0 when unknown", least=0),
                Column("start_ms", INTEGER, "time of the annotation, milliseconds; -1 when unknown", least=-1),
                Column("what", TEXT, "what is wrong"),
                Column("expected", TEXT, "what would have been right"),
                Column("remedy", TEXT, "what to do"),
            ),
        ),
        Contract(
            "dropped",
            "What was left out, and why.",
            (
                Column("stage", TEXT, "stage that left it out"),
                Column("key", TEXT, "what was left out"),
                Column("rows", INTEGER, "how many rows that were", least=0),
                Column("reason", TEXT, "why"),
            ),
        ),
        Contract(
            "agreement",
            "Agreement between raters.",
            (
                Column("labels", TEXT, "categories compared: all, or binary"),
                Column("task", TEXT, "task, or 'all'"),
                Column("variable", TEXT, "variable, or 'all'"),
                Column("rater_1", TEXT, "first rater; 'all' for a statistic over all raters"),
                Column("rater_2", TEXT, "second rater; 'all' for a statistic over all raters"),
                Column("statistic", TEXT, "name of the statistic"),
                Column("value", NUMBER, "the statistic; NaN when undefined"),
                Column("low", NUMBER, "lower bound of the 95 % interval, bootstrap over sessions"),
                Column("high", NUMBER, "upper bound of the 95 % interval"),
                Column("n", INTEGER, "time points or events compared", least=0),
                Column("n_sessions", INTEGER, "sessions compared", least=0),
                Column("reason", TEXT, "why the value is undefined; else empty"),
            ),
            key=("labels", "task", "variable", "rater_1", "rater_2", "statistic"),
        ),
        Contract(
            "media",
            "Every prepared video and what became of its source.",
            (
                _SESSION,
                Column("store", TEXT, "folder of the frame store, relative to the run folder"),
                Column("video", TEXT, "prepared MP4 for people to watch, relative to the run folder"),
                Column("source", TEXT, "source file, relative to the data folder"),
                Column("frames", INTEGER, "prepared frames", least=1),
                Column("fps_num", INTEGER, "prepared rate, numerator, frames", least=1),
                Column("fps_den", INTEGER, "prepared rate, denominator, seconds", least=1),
                Column("width", INTEGER, "prepared width, pixels", least=1),
                Column("height", INTEGER, "prepared height, pixels", least=1),
                Column("duration_ms", INTEGER, "length of the source's picture, milliseconds", least=1),
                Column("source_frames", INTEGER, "frames decoded from the source", least=1),
                Column("source_fps", NUMBER, "mean rate of the source, frames per second"),
                Column("source_width", INTEGER, "width of the source as shown, pixels", least=1),
                Column("source_height", INTEGER, "height of the source as shown, pixels", least=1),
                Column("source_codec", TEXT, "codec of the source"),
                Column("source_rotation", INTEGER, "rotation flag of the source, degrees"),
                Column("source_variable_rate", FLAG, "whether the source's frame intervals differ"),
                Column("bytes", INTEGER, "size of the frame store", least=1),
                Column("source_bytes", INTEGER, "size of the source", least=1),
                Column("sha256", TEXT, "hash of the frame store's frames"),
                Column("source_sha256", TEXT, "hash of the source file"),
            ),
            key=("session",),
        ),
        Contract(
            "samples",
            "What a network learns from: one row per clip, rater, task and variable.",
            (
                _SAMPLE,
                _SESSION,
                Column("group", TEXT, "participant; never in two folds"),
                _RATER,
                _TASK,
                _VARIABLE,
                Column("clip_id", TEXT, "name of the clip, shared by its samples"),
                _START,
                _END,
                _LABEL,
            ),
            key=("sample_id",),
            before=_SPAN,
        ),
        Contract(
            "folds",
            "Which fold each session belongs to.",
            (
                _SESSION,
                Column("group", TEXT, "participant; never in two folds"),
                _FOLD,
                Column("role", TEXT, "what the fold is for", allowed=("train", "test")),
            ),
            key=("session",),
        ),
        Contract(
            "balance",
            "Share of positive time per fold and stratum, against the whole and against chance.",
            (
                Column("stratum", TEXT, "what is balanced"),
                _FOLD,
                Column("value", NUMBER, "share in this fold"),
                Column("whole", NUMBER, "share in all folds together"),
                Column("chance_low", NUMBER, "2.5 % quantile over random assignments"),
                Column("chance_high", NUMBER, "97.5 % quantile over random assignments"),
                Column("sessions", INTEGER, "sessions in this fold", least=0),
            ),
            key=("stratum", "fold"),
        ),
        Contract(
            "baselines",
            "What answering without looking would score.",
            (
                Column("source", TEXT, "what is counted", allowed=("durations", "clips")),
                Column("fold", TEXT, "number of the fold, or 'all'"),
                _TASK,
                _VARIABLE,
                Column("positive_probability", NUMBER, "share of positives"),
                Column("accuracy", NUMBER, "accuracy of always answering the more frequent class"),
                Column("f1", NUMBER, "F1 of always answering positive"),
                Column("balanced_accuracy", NUMBER, "balanced accuracy of any constant answer"),
                Column("n", INTEGER, "milliseconds or clips counted", least=0),
            ),
            key=("source", "fold", "task", "variable"),
        ),
        Contract(
            "features",
            "Where the features of each clip lie.",
            (
                Column("clip_id", TEXT, "name of the clip"),
                _SESSION,
                _START,
                _END,
                Column("row", INTEGER, "row in features.npy", least=0),
            ),
            key=("clip_id",),
            before=_SPAN,
        ),
        Contract(
            "history",
            "Course of each training.",
            (
                _TASK,
                _VARIABLE,
                Column("fold", TEXT, "fold left out for validation; 'none' when trained on all"),
                Column("setting", TEXT, "the setting tried"),
                Column("step", INTEGER, "optimiser steps or epochs done", least=0),
                Column("split", TEXT, "data measured", allowed=("train", "validation")),
                Column("metric", TEXT, "what was measured"),
                Column("value", NUMBER, "the measurement"),
            ),
            key=("task", "variable", "fold", "setting", "step", "split", "metric"),
        ),
        Contract(
            "trials",
            "Settings tried and how they did on the folds left out.",
            (
                _TASK,
                _VARIABLE,
                Column("setting", TEXT, "the setting tried"),
                Column("score", NUMBER, "mean validation score over the folds left out"),
                Column("low", NUMBER, "lowest fold"),
                Column("high", NUMBER, "highest fold"),
                Column("folds", INTEGER, "folds left out", least=1),
                Column("chosen", FLAG, "whether this setting was taken"),
            ),
            key=("task", "variable", "setting"),
        ),
        Contract(
            "predictions",
            "What the model answers for each sample of the test fold.",
            (
                _SAMPLE,
                _SESSION,
                _RATER,
                _TASK,
                _VARIABLE,
                _START,
                _END,
                _FOLD,
                _LABEL,
                Column("score", NUMBER, "probability of the positive class"),
                Column("predicted", INTEGER, "class index answered", least=0),
            ),
            key=("sample_id",),
            before=_SPAN,
        ),
        Contract(
            "metrics",
            "The scores, each with interval, size, chance and human ceiling.",
            (
                _TASK,
                _VARIABLE,
                Column("metric", TEXT, "name of the metric"),
                Column("direction", TEXT, "which way is better", allowed=("higher", "lower")),
                Column("value", NUMBER, "the score; NaN when undefined"),
                Column("low", NUMBER, "lower bound of the 95 % interval, bootstrap over sessions"),
                Column("high", NUMBER, "upper bound of the 95 % interval"),
                Column("chance", NUMBER, "score of answering without looking"),
                Column("ceiling", NUMBER, "score of one rater against another; NaN when unknown"),
                Column("n", INTEGER, "samples", least=0),
                Column("n_groups", INTEGER, "sessions", least=0),
                Column("reason", TEXT, "why the value is undefined; else empty"),
            ),
            key=("task", "variable", "metric"),
        ),
    )
}


def check(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Hold a table against its contract and return it in the contract's column order and types.

    Parameters
    ----------
    table
        The table.
    name
        Name of the contract, a key of `CONTRACTS`.

    Returns
    -------
    pandas.DataFrame
        The same rows, columns ordered and typed, with a fresh index.

    Raises
    ------
    TableError
        Listing missing and unknown columns, or the failing values with their row numbers.
    """
    contract = CONTRACTS[name]
    names = [column.name for column in contract.columns]
    missing = [column for column in names if column not in table.columns]
    unknown = [] if contract.open_ended else [column for column in table.columns if column not in names]
    if missing or unknown:
        raise TableError(
            f"Table {name!r} lacks {_names(missing)}." if missing else f"Table {name!r} has unknown {_names(unknown)}.",
            expected=f"Columns {', '.join(names)}; found {', '.join(map(str, table.columns))}.",
            remedy="Run the stage that makes it again, or correct its columns.",
        )
    ordered = table[[*names, *(column for column in table.columns if column not in names)]]
    typed = _with_types(ordered.reset_index(drop=True), contract)
    _check_values(typed, contract)
    return typed


def read(path: Path, name: str) -> pd.DataFrame:
    """Read a CSV table and check it against its contract (see `check`)."""
    if not path.is_file():
        raise TableError(f"Table {name!r} is not there.", where=str(path), remedy="Run the stage that makes it.")
    kinds = {column.name: "str" for column in CONTRACTS[name].columns if column.kind == TEXT}
    undefined = {column.name: ["", "nan"] for column in CONTRACTS[name].columns if column.kind == NUMBER}
    table = pd.read_csv(path, dtype=kinds, keep_default_na=False, na_values=undefined)  # type: ignore[call-overload]
    return check(table, name)


def write(table: pd.DataFrame, path: Path, name: str) -> Path:
    """Check a table and write it as CSV, complete or not at all."""
    typed = check(table, name)
    temporary = path.with_name(f".{path.name}.partial")
    with temporary.open("w", encoding="utf-8", newline="") as stream:
        typed.to_csv(stream, index=False, lineterminator="\n", quoting=csv.QUOTE_MINIMAL)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)
    return path


def empty(name: str) -> pd.DataFrame:
    """Return a table of a contract with no rows."""
    return check(pd.DataFrame(columns=[column.name for column in CONTRACTS[name].columns]), name)


def from_rows(rows: Iterable[Mapping[str, object]], name: str) -> pd.DataFrame:
    """Build and check a table from records; no record gives an empty table."""
    records = list(rows)
    return check(pd.DataFrame(records), name) if records else empty(name)


def from_problems(problems: Iterable[Problem]) -> pd.DataFrame:
    """Turn what was noticed while reading into the table ``problems``."""
    return from_rows((asdict(problem) for problem in problems), "problems")


def describe() -> str:
    """Write all contracts as Markdown (the source of ``docs/tables.md``)."""
    parts = ["# Tables between stages\n\nGenerated by `python -m nbpkg docs`; the source is `nbpkg/tables.py`.\n"]
    for contract in CONTRACTS.values():
        key = f" Key: {', '.join(f'`{name}`' for name in contract.key)}." if contract.key else ""
        parts.append(f"## {contract.name}\n\n{contract.purpose}{key}\n\n| column | type | meaning |\n|---|---|---|")
        for column in contract.columns:
            allowed = f" ({', '.join(column.allowed)})" if column.allowed else ""
            parts.append(f"| `{column.name}` | {column.kind} | {column.meaning}{allowed} |")
        parts.append("")
    return "\n".join(parts)


def _with_types(table: pd.DataFrame, contract: Contract) -> pd.DataFrame:
    types = {TEXT: "str", INTEGER: "int64", NUMBER: "float64", FLAG: "bool"}
    wanted = {column.name: types[column.kind] for column in contract.columns}
    for name, kind in wanted.items():
        values = table[name]
        broken = values.isna() if kind != "float64" else pd.Series(False, index=values.index)
        if kind == "int64" and not pd.api.types.is_integer_dtype(values):
            broken |= pd.to_numeric(values, errors="coerce").mod(1) != 0
        elif kind == "float64" and not pd.api.types.is_numeric_dtype(values):
            broken |= pd.to_numeric(values, errors="coerce").isna() & values.notna()
        elif kind == "bool":
            broken |= ~values.isin([True, False, "True", "False"])
        if broken.any():
            _refuse(contract, name, table[broken], f"is no {kind}")
        if kind == "bool" and values.dtype != "bool":
            table = table.assign(**{name: values.isin([True, "True"])})
    return table.astype(wanted)


def _check_values(table: pd.DataFrame, contract: Contract) -> None:
    """Let pandera look at every row, and name the first failing ones."""
    import pandera.pandas as pa  # half a second, only when a table is checked

    columns: dict[str, pa.Column] = {}
    for column in contract.columns:
        checks = [pa.Check.isin(column.allowed)] if column.allowed else []
        if column.least is not None:
            checks.append(pa.Check.ge(column.least))
        columns[column.name] = pa.Column(checks=checks, nullable=column.kind == NUMBER)
    pairs = [
        pa.Check(lambda rows, a=first, b=second: rows[a] < rows[b], name=f"{first} < {second}")
        for first, second in contract.before
    ]
    schema = pa.DataFrameSchema(columns, checks=pairs, unique=list(contract.key) or None)
    try:
        schema.validate(table, lazy=True)
    except pa.errors.SchemaErrors as error:
        cases = error.failure_cases
        rows = sorted({int(index) for index in cases["index"].dropna()})
        text = "; ".join(
            sorted({_in_words(str(case.column), str(case.check), contract) for case in cases.itertuples()})
        )
        raise TableError(
            f"Table {contract.name!r} breaks its contract in {len(rows)} rows: {text}.",
            where=f"rows {', '.join(map(str, rows[:5]))}\n{table.iloc[rows[:5]].to_string()}",
            remedy="Correct these rows at their source; docs/tables.md says what each column holds.",
        ) from None


def _in_words(column: str, check_name: str, contract: Contract) -> str:
    if check_name == "multiple_fields_uniqueness":
        return f"the key {', '.join(contract.key)} repeats"
    if " < " in check_name:
        return f"not {check_name}"
    return f"column {column!r} is not {check_name.replace('_', ' ')}"


def _refuse(contract: Contract, name: str, rows: pd.DataFrame, why: str) -> None:
    shown = ", ".join(f"row {index}: {value!r}" for index, value in rows[name].head(5).items())
    raise TableError(
        f"Table {contract.name!r}: column {name!r} {why} in {len(rows)} rows.",
        where=shown,
        remedy="Correct these values at their source; docs/tables.md says what the column holds.",
    )


def _names(columns: list[str]) -> str:
    return f"column{'s' if len(columns) > 1 else ''} {', '.join(map(repr, map(str, columns)))}"
