"""What makes one dealing of sessions better than another: durations per stratum and the published objective."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg import tables
from nbpkg.errors import FoldError

MISSING = 100.0  # published weight of a fold without a session of the second experimenter
SHARE_WEIGHT = 2.0  # published weight of the shares of positive time, against one for the fold sizes


@dataclass(frozen=True)
class Durations:
    """Rated time of every session, in milliseconds, over all its raters together.

    Parameters
    ----------
    sessions
        Names, sorted.
    strata
        Pairs (task, variable), sorted.
    positive_ms, total_ms
        [sessions, strata], time rated positive and time rated at all.
    raters
        Names, sorted.
    rated
        [sessions, raters], whether this rater rated this session.
    """

    sessions: tuple[str, ...]
    strata: tuple[tuple[str, str], ...]
    positive_ms: NDArray[np.int64]
    total_ms: NDArray[np.int64]
    raters: tuple[str, ...]
    rated: NDArray[np.bool_]


def strata_durations(spans: pd.DataFrame, absent: str) -> Durations:
    """Add up positive and total rated time per session and (task, variable).

    Sessions with three raters count one and a half times as much as those with two, as published.

    Parameters
    ----------
    spans
        Table ``spans``.
    absent
        Value that means the behaviour is not there; every other value is positive.

    Raises
    ------
    FoldError
        When there is no span.

    Examples
    --------
    >>> rows = [("s1", "ew", "eggs", "attending", "no", 0, 250), ("s1", "ew", "eggs", "attending", "yes", 250, 1000)]
    >>> spans = pd.DataFrame(rows, columns=["session", "rater", "task", "variable", "value", "start_ms", "end_ms"])
    >>> durations = strata_durations(spans, "no")
    >>> durations.positive_ms.tolist(), durations.total_ms.tolist()
    ([[750]], [[1000]])
    """
    if spans.empty:
        raise FoldError("There are no annotation spans to balance.", remedy="Look at the tables of the stage before.")
    length = (spans["end_ms"] - spans["start_ms"]).to_numpy(np.int64)
    session, sessions = pd.factorize(spans["session"], sort=True)
    stratum, strata = pd.factorize(pd.MultiIndex.from_frame(spans[["task", "variable"]]), sort=True)
    rater, raters = pd.factorize(spans["rater"], sort=True)
    total = np.zeros((len(sessions), len(strata)), np.int64)
    positive = np.zeros_like(total)
    np.add.at(total, (session, stratum), length)
    np.add.at(positive, (session, stratum), np.where(spans["value"] != absent, length, 0))
    rated = np.zeros((len(sessions), len(raters)), bool)
    rated[session, rater] = True
    return Durations(
        sessions=tuple(map(str, sessions)),
        strata=tuple((str(task), str(variable)) for task, variable in strata),
        positive_ms=positive,
        total_ms=total,
        raters=tuple(map(str, raters)),
        rated=rated,
    )


def drop_sessions_without_video(
    spans: pd.DataFrame, with_video: Collection[str], *, stage: str = "folds"
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Keep the spans of sessions that have a video, and say what was left out.

    Called before anything is added up, so that every share refers to the sessions that are used.

    Parameters
    ----------
    spans
        Table ``spans``.
    with_video
        Sessions that have a prepared video.
    stage
        Name written into the column ``stage``.

    Returns
    -------
    tuple of pandas.DataFrame
        The kept spans, and table ``dropped``: sessions annotated without video, and videos without annotation.
    """
    counts = spans["session"].value_counts()
    rows = [
        {"stage": stage, "key": name, "rows": int(counts[name]), "reason": "annotated, but there is no video"}
        for name in sorted(set(counts.index) - set(with_video))
    ]
    rows += [
        {"stage": stage, "key": name, "rows": 0, "reason": "there is a video, but no annotation"}
        for name in sorted(set(with_video) - set(counts.index))
    ]
    kept = spans[spans["session"].isin(list(with_video))].reset_index(drop=True)
    return kept, tables.from_rows(rows, "dropped")


@dataclass(frozen=True)
class Objective:
    """The objective on groups (participants), ready for many dealings at once.

    The score of a dealing is the sum of `fold_score` over its folds, so a move of one group concerns two folds only.

    Parameters
    ----------
    folds
        Number of folds K.
    groups, members
        Names of the groups, sorted, and the sessions of each.
    strata, excluded
        Strata that are balanced, and those without any positive time, for which a relative error has no meaning.
    marks
        Names of what each fold should have a session of.
    raters
        Names of the raters.
    columns
        [groups, 2 * strata + 1 + marks + raters]: positive ms, total ms, sessions, sessions with each mark, sessions
        that each rater did *not* rate. All are integers below 2**53, so sums in any order are exact.
    """

    folds: int
    groups: tuple[str, ...]
    members: tuple[tuple[str, ...], ...]
    strata: tuple[tuple[str, str], ...]
    excluded: tuple[tuple[str, str], ...]
    marks: tuple[str, ...]
    raters: tuple[str, ...]
    columns: NDArray[np.float64]

    @property
    def whole(self) -> NDArray[np.float64]:
        """Share of positive time in all sessions together, [strata]."""
        tally = self.columns.sum(axis=0)
        share: NDArray[np.float64] = self.positive(tally) / self.total(tally)
        return share

    def positive(self, tally: NDArray[np.float64]) -> NDArray[np.float64]:
        """Positive milliseconds, [..., strata]."""
        return tally[..., : len(self.strata)]

    def total(self, tally: NDArray[np.float64]) -> NDArray[np.float64]:
        """Rated milliseconds, [..., strata]."""
        return tally[..., len(self.strata) : 2 * len(self.strata)]

    def sizes(self, tally: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sessions, [...]."""
        size: NDArray[np.float64] = tally[..., 2 * len(self.strata)]
        return size

    def marked(self, tally: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sessions with each mark, [..., marks]."""
        first = 2 * len(self.strata) + 1
        return tally[..., first : first + len(self.marks)]

    def unrated(self, tally: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sessions that each rater did not rate, [..., raters]."""
        return tally[..., 2 * len(self.strata) + 1 + len(self.marks) :]

    def tally(self, assignments: NDArray[np.int64]) -> NDArray[np.float64]:
        """Add up `columns` per fold: fold numbers [tries, groups] become [tries, folds, columns]."""
        member = assignments[:, None, :] == np.arange(self.folds)[None, :, None]
        flat: NDArray[np.float64] = member.reshape(-1, len(self.groups)).astype(np.float64) @ self.columns
        return flat.reshape(len(assignments), self.folds, -1)

    def shares(self, tally: NDArray[np.float64]) -> NDArray[np.float64]:
        """Share of positive time, [..., strata]; NaN where the stratum was not rated."""
        total = self.total(tally)
        share = np.full(total.shape, np.nan)
        np.divide(self.positive(tally), total, out=share, where=total > 0)
        return share

    def fold_score(self, tally: NDArray[np.float64]) -> NDArray[np.float64]:
        """Score of single folds, lower is better: [..., columns] becomes [...].

        A stratum that a fold lacks, at which the published program stops, costs as much as a missing mark.
        """
        whole, mean_size = self.whole, self.columns[:, 2 * len(self.strata)].sum() / self.folds
        error = (self.shares(tally) - whole) / whole
        shares = np.where(np.isnan(error), MISSING / SHARE_WEIGHT, error**2).sum(axis=-1)
        size = ((self.sizes(tally) - mean_size) / mean_size) ** 2
        score: NDArray[np.float64] = SHARE_WEIGHT * shares + size + MISSING * (self.marked(tally) == 0).sum(axis=-1)
        return score


def build_objective(
    durations: Durations,
    folds: int,
    *,
    groups: Mapping[str, str] | None = None,
    balance: pd.DataFrame | None = None,
) -> Objective:
    """Prepare the objective: sum sessions into groups and turn the balance columns into marks."""
    group_of = {session: session for session in durations.sessions} if groups is None else dict(groups)
    homeless = [session for session in durations.sessions if session not in group_of]
    if homeless:
        raise FoldError(
            f"{len(homeless)} sessions belong to no group: {', '.join(homeless[:5])}.",
            expected="Every annotated session in the mapping from session to participant.",
            remedy="Add them to the session table of the study.",
        )
    names = sorted({group_of[session] for session in durations.sessions})
    _check_counts(folds, len(names), len(durations.sessions))
    positive_somewhere = durations.positive_ms.sum(axis=0) > 0
    if not positive_somewhere.any():
        raise FoldError(
            "No (task, variable) has any positive time.",
            expected="Values other than the one that means absent.",
            remedy="Correct the setting that names the absent value, or look at the annotation spans.",
        )
    marks, marked = _marks(durations.sessions, balance)
    row = np.searchsorted(names, [group_of[session] for session in durations.sessions])
    per_session = np.hstack(
        [
            durations.positive_ms[:, positive_somewhere],
            durations.total_ms[:, positive_somewhere],
            np.ones((len(durations.sessions), 1)),
            marked,
            ~durations.rated,
        ]
    ).astype(np.float64)
    columns = np.zeros((len(names), per_session.shape[1]))
    np.add.at(columns, row, per_session)
    members: list[list[str]] = [[] for _ in names]
    for session, index in zip(durations.sessions, row, strict=True):
        members[index].append(session)
    return Objective(
        folds=folds,
        groups=tuple(names),
        members=tuple(map(tuple, members)),
        strata=tuple(s for s, keep in zip(durations.strata, positive_somewhere, strict=True) if keep),
        excluded=tuple(s for s, keep in zip(durations.strata, positive_somewhere, strict=True) if not keep),
        marks=marks,
        raters=durations.raters,
        columns=columns,
    )


def score(
    assignment: Mapping[str, int], durations: Durations, *, folds: int = 5, balance: pd.DataFrame | None = None
) -> float:
    """Score one dealing of sessions into folds; lower is better.

    Sum over folds of: twice the squared relative errors of the share of positive time per (task, variable), the
    squared relative error of the fold's size, and 100 for every mark (flag, or value of a text column) of `balance`
    that the fold has no session of.

    Parameters
    ----------
    assignment
        Session → number of its fold, from 0.
    durations
        From `strata_durations`.
    folds
        Number of folds.
    balance
        Column ``session`` and any further ones; true marks a session in a flag column, every value in others.

    Raises
    ------
    FoldError
        When a session has no fold, or the fold is not in 0 .. folds - 1.

    Source
    ------
    MarcFraile/infant-engagement, ``stratify_samples.py``; equal to 1e-12. There a fold without rated time of a stratum
    and a stratum without positive time stop the program; here the first costs 100 and the second is left out.
    """
    objective = build_objective(durations, folds, balance=balance)
    wrong = [name for name in objective.groups if assignment.get(name, -1) not in range(folds)]
    if wrong:
        raise FoldError(
            f"{len(wrong)} sessions have no fold from 0 to {folds - 1}: {', '.join(wrong[:5])}.",
            remedy="Give every annotated session a fold.",
        )
    dealt = np.array([[assignment[name] for name in objective.groups]], np.int64)
    return float(objective.fold_score(objective.tally(dealt)).sum())


def _check_counts(folds: int, groups: int, sessions: int) -> None:
    if folds < 2:
        raise FoldError(f"{folds} folds were asked for.", expected="At least 2: one to train on, one to test.")
    if folds > groups:
        raise FoldError(
            f"{folds} folds were asked for, but there are only {groups} participants in {sessions} sessions.",
            expected="At most as many folds as participants, because no participant may be in two folds.",
            remedy=f"Ask for {groups} folds or fewer, or add sessions.",
        )


def _marks(sessions: tuple[str, ...], balance: pd.DataFrame | None) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Turn balance columns into one 0/1 column per mark: the flag itself, or each value of a text column."""
    if balance is None:
        return (), np.zeros((len(sessions), 0))
    table = balance.set_index("session")
    repeated = sorted(set(table.index[table.index.duplicated()]))
    absent = [session for session in sessions if session not in table.index]
    if repeated or absent:
        raise FoldError(
            f"The balance table has {len(repeated)} repeated and {len(absent)} missing sessions: "
            f"{', '.join([*repeated, *absent][:5])}.",
            expected="Exactly one row for every annotated session.",
            remedy="Correct the session table of the study.",
        )
    table = table.loc[list(sessions)]
    names: list[str] = []
    columns: list[NDArray[np.float64]] = []
    for column in table.columns:
        values = table[column]
        if values.isna().any():
            raise FoldError(
                f"Balance column {column!r} is empty for {', '.join(map(str, values.index[values.isna()][:5]))}.",
                remedy="Fill in the session table of the study.",
            )
        if pd.api.types.is_bool_dtype(values):
            names.append(str(column))
            columns.append(values.to_numpy(np.float64))
        else:
            for value in sorted(values.unique()):
                names.append(f"{column}={value}")
                columns.append((values == value).to_numpy(np.float64))
    return tuple(names), np.array(columns).reshape(len(names), len(sessions)).T
