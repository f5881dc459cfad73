"""Averaging the answers of several systems, session by session and step by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg import tables
from nbpkg.errors import Problem, TableError, raise_all

Array = NDArray[np.float64]
WHAT = ["role", "subject", "story"]


def average_courses(systems: Mapping[str, Mapping[str, Array]]) -> dict[str, Array]:
    """Average courses of several systems, by session.

    Parameters
    ----------
    systems
        System to session to its course, [frames] or [steps].

    Returns
    -------
    dict
        Session to the mean course, in the order of the first system.

    Raises
    ------
    TableError
        Listing every session that a system lacks or has in another length.

    Examples
    --------
    >>> average_courses({"a": {"s": np.array([0.0, 1.0])}, "b": {"s": np.array([1.0, 2.0])}})["s"].tolist()
    [0.5, 1.5]
    """
    if not systems:
        raise TableError("There is no system to average.", expected="The answers of one system or more.")
    first = next(iter(systems.values()))
    sessions = list(dict.fromkeys(session for own in systems.values() for session in own))
    problems = []
    for session in sessions:
        lacking = [name for name, own in systems.items() if session not in own]
        lengths = {name: len(own[session]) for name, own in systems.items() if session in own}
        if lacking:
            problems.append(Problem(f"It is not answered by {', '.join(lacking)}.", file=session))
        elif len(set(lengths.values())) > 1:
            said = ", ".join(f"{name} {count}" for name, count in lengths.items())
            problems.append(
                Problem(f"Its answers differ in length: {said}.", expected="Equally long answers.", file=session)
            )
    raise_all(problems, TableError, summary="answers of several systems cannot be averaged")
    return {session: np.mean([own[session] for own in systems.values()], axis=0) for session in first}


def average_predictions(predictions: Sequence[pd.DataFrame], *, system: str = "average") -> pd.DataFrame:
    """Average the answers of several systems to the same sessions.

    Parameters
    ----------
    predictions
        Tables ``valence_predictions``, of one system each, with the same sessions, steps and roles.
    system
        What the average is called.

    Returns
    -------
    pandas.DataFrame
        Table ``valence_predictions``; the round names the systems.

    Raises
    ------
    TableError
        When a table holds several systems, two have the same name, or a session is missing, of another length, or of
        another role, subject, story or truth in one of them; all are listed.
    """
    named = _by_system(predictions)
    if system in named:
        raise TableError(
            f"The average cannot be called {system!r}, as a system is.", remedy="Give it a name of its own."
        )
    parts = {name: _by_session(table) for name, table in named.items()}
    mean = average_courses(
        {
            name: {one: rows["predicted"].to_numpy(np.float64) for one, rows in own.items()}
            for name, own in parts.items()
        }
    )
    first, *others = parts.values()
    raise_all(
        (
            problem
            for own in others
            for session in mean
            for problem in _find_unlike(session, first[session], own[session])
        ),
        TableError,
        summary="answers of several systems are not to the same question",
    )
    made = [first[session].assign(predicted=mean[session]) for session in mean]
    return tables.check(
        pd.concat(made, ignore_index=True).assign(system=system, round=" + ".join(named)), "valence_predictions"
    )


def _by_system(predictions: Sequence[pd.DataFrame]) -> dict[str, pd.DataFrame]:
    named: dict[str, pd.DataFrame] = {}
    for table in predictions:
        systems = sorted(set(table["system"]))
        if len(systems) != 1 or systems[0] in named:
            raise TableError(
                f"Two systems are called {systems[0]!r}."
                if len(systems) == 1
                else f"A table holds {len(systems)} systems: {', '.join(systems) or 'none'}.",
                where="table 'valence_predictions'",
                expected="One system in each table, each with a name of its own.",
                remedy="Give each system once, or rename one.",
            )
        named[systems[0]] = tables.check(table, "valence_predictions")
    return named


def _by_session(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    ordered = table.sort_values(["session", "step"])
    return {str(session): rows.reset_index(drop=True) for session, rows in ordered.groupby("session", sort=True)}


def _find_unlike(session: str, one: pd.DataFrame, other: pd.DataFrame) -> list[Problem]:
    names = f"{one['system'].iloc[0]} and {other['system'].iloc[0]}"
    unlike = [name for name in WHAT if not one[name].equals(other[name])]
    if not np.allclose(one["truth"], other["truth"], rtol=0, atol=1e-6, equal_nan=True):
        unlike.append("truth")
    if not np.array_equal(one["step"], other["step"]):
        unlike.append("step")
    return [
        Problem(f"{names} differ in {', '.join(unlike)}.", expected="The same in all systems.", file=session)
    ] * bool(unlike)
