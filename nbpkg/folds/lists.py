"""Folds by an official list or by participants: no label is balanced, sizes are, and no participant is in two folds."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupKFold

from nbpkg import seeding, tables
from nbpkg.errors import FoldError
from nbpkg.folds.search import check_folds


def deal_participants(
    sessions: pd.DataFrame, *, folds: int, scheme: Literal["official", "participants"], test: list[str], seed: int
) -> pd.DataFrame:
    """Deal participants into folds of about equally many frames; the last fold is the test fold.

    Parameters
    ----------
    sessions
        One row per session: session, group (participant), split (``train``, ``test`` or empty) and frames.
    folds
        Number of folds, the test fold among them.
    scheme
        ``official``: the test fold holds the sessions of the official test part; ``participants``: all are dealt.
    test
        Participants of the test fold, whatever the scheme; empty for those of the scheme.
    seed
        Which of several fair dealings.

    Returns
    -------
    pandas.DataFrame
        Table ``folds``, sorted by session.

    Raises
    ------
    FoldError
        When a participant is in both official parts, a part is empty, a name is unknown, or there are fewer
        participants than folds.
    """
    unknown = sorted(set(test) - set(sessions["group"]))
    if unknown:
        raise FoldError(
            f"stratify.test names {', '.join(unknown)}.",
            expected=f"Participants such as {', '.join(sorted(set(sessions['group']))[:5])}.",
            remedy="Correct stratify.test.",
        )
    if test:
        chosen = sessions["group"].isin(test)
    elif scheme == "official":
        chosen = _official(sessions)
    else:
        dealt = _deal(sessions, folds, seed)
        return check_folds(_tabulate(sessions, dealt, folds))
    dealt = np.full(len(sessions), folds - 1)
    dealt[~chosen.to_numpy()] = _deal(sessions[~chosen], folds - 1, seed)
    return check_folds(_tabulate(sessions, dealt, folds))


def _official(sessions: pd.DataFrame) -> pd.Series:
    """Mark the sessions of the official test part."""
    parts = sessions.groupby("group")["split"].nunique()
    both = sorted(parts.index[parts > 1])
    if both:
        raise FoldError(
            f"{len(both)} participants are in more than one part of the official list: {', '.join(both[:5])}.",
            expected="Each participant in one part.",
            remedy="Use stratify.scheme: participants, or name the participants of the test fold in stratify.test.",
        )
    chosen = sessions["split"] == "test"
    if chosen.all() or not chosen.any():
        raise FoldError(
            f"The official list has {int(chosen.sum())} test sessions of {len(sessions)}.",
            expected="Some sessions to train on, others to test.",
            remedy="Use stratify.scheme: participants, or correct the split of the sources.",
        )
    return chosen


def _deal(sessions: pd.DataFrame, folds: int, seed: int) -> np.ndarray:
    """Deal groups into folds, the largest first into the fold with the fewest frames."""
    groups = sessions["group"].nunique()
    if folds < 1 or groups < folds:
        raise FoldError(
            f"{groups} participants cannot be dealt into {folds} folds.",
            expected="At most as many folds as participants.",
            remedy="Lower stratify.folds, or add participants.",
        )
    if folds == 1:
        return np.zeros(len(sessions), np.int64)
    rows = sessions.loc[sessions.index.repeat(sessions["frames"].clip(lower=1))]
    order = np.random.default_rng(seed).permutation(sorted(set(sessions["group"])))  # ties between equal groups
    names = {group: place for place, group in enumerate(order)}
    of_group: dict[str, int] = {}
    for number, (_, held) in enumerate(GroupKFold(folds).split(rows, groups=rows["group"].map(names))):
        of_group |= dict.fromkeys(rows["group"].iloc[held].unique(), number)
    return sessions["group"].map(of_group).to_numpy()


def _tabulate(sessions: pd.DataFrame, dealt: np.ndarray, folds: int) -> pd.DataFrame:
    table = sessions[["session", "group"]].assign(fold=dealt, role=np.where(dealt == folds - 1, "test", "train"))
    return table.sort_values("session", kind="stable").reset_index(drop=True)


def compare_folds(rows: pd.DataFrame, folds: pd.DataFrame, *, seed: int, tries: int = 1000) -> pd.DataFrame:
    """Hold the folds against the whole and against what dealing participants at random would give.

    Parameters
    ----------
    rows
        One row per frame and person: session, and a column of 0 and 1 for each share to compare.
    folds
        Table ``folds``.
    seed
        Of the random dealings.
    tries
        Random dealings: the participants trade places, so that folds keep their numbers of participants.

    Returns
    -------
    pandas.DataFrame
        Table ``balance``.
    """
    names = [name for name in rows.columns if name != "session"]
    joined = rows.merge(folds[["session", "group", "fold"]], on="session")
    sums = joined.groupby("group")[names].sum().assign(rows=joined.groupby("group").size())
    own = folds.drop_duplicates("group").set_index("group")["fold"].reindex(sums.index).to_numpy()
    random = seeding.generator(seed, "folds by chance")
    values, count = sums.to_numpy(np.float64), int(own.max()) + 1
    chance = np.stack([_shares(values, random.permutation(own), count) for _ in range(tries)])
    low, high = np.nanpercentile(chance, [2.5, 97.5], axis=0)
    found, whole = _shares(values, own, count), values.sum(axis=0)
    sessions = folds.groupby("fold")["session"].nunique()
    table = [
        {
            "stratum": name,
            "fold": fold,
            "value": found[fold, place],
            "whole": whole[place] / whole[-1],
            "chance_low": low[fold, place],
            "chance_high": high[fold, place],
            "sessions": int(sessions.get(fold, 0)),
        }
        for place, name in enumerate(names)
        for fold in range(count)
    ]
    return tables.from_rows(table, "balance")


def _shares(sums: np.ndarray, fold: np.ndarray, count: int) -> np.ndarray:
    """Share of each column in the rows of each fold, ``[folds, columns]``."""
    totals = np.zeros((count, sums.shape[1]))
    np.add.at(totals, fold, sums)
    with np.errstate(invalid="ignore"):
        shares: np.ndarray = totals[:, :-1] / totals[:, -1:]
    return shares
