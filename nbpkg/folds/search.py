"""Search for the best dealing: the published random search in large batches, then local improvement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg import seeding, tables
from nbpkg.errors import FoldError
from nbpkg.folds.objective import Durations, Objective, build_objective

BATCH_CELLS = 1 << 20  # numbers in the largest array of one batch, 8 MB
STARTS = 32  # dealings of the random search that are improved
CHANCE_TRIES = 20_000  # dealings that the range of chance is taken from
TOLERANCE = 1e-12  # an improvement smaller than this is rounding


class FoldSearch(NamedTuple):
    """What a search gives: tables ``folds`` and ``balance``, and the facts of the search for the receipt."""

    folds: pd.DataFrame
    balance: pd.DataFrame
    facts: dict[str, object]


def search_folds(
    durations: Durations,
    groups: Mapping[str, str] | None = None,
    *,
    seed: int,
    balance: pd.DataFrame | None = None,
    folds: int = 5,
    tries: int = 100_000,
    test_fold: Literal["last", "any"] = "last",
    require_unrated_test_session: bool = True,
) -> FoldSearch:
    """Deal sessions into folds whose shares of positive time and sizes are alike.

    Draws `tries` dealings as the published program does, then improves the best few by moving and swapping groups until
    nothing helps. The result is therefore never worse than the random search. Groups stay whole in both steps.

    Parameters
    ----------
    durations
        From `strata_durations`, for the sessions that have a video (see `drop_sessions_without_video`).
    groups
        Session → participant; by default every session is its own group.
    seed
        The experiment's seed.
    balance
        Column ``session`` and any number of columns to spread evenly: true counts in flag columns (e.g. whether a
        second experimenter led the session), every value in text columns.
    folds
        Number of folds; the last one is the test fold.
    tries
        Random dealings.
    test_fold
        ``last``: the last fold as drawn, as published. ``any``: whichever fold meets the condition on raters is
        renumbered to be the last, which is allowed because the objective treats all folds alike.
    require_unrated_test_session
        Whether the test fold must hold, for every rater, a session this rater did not rate; painting attention on
        unfamiliar sessions needs it.

    Returns
    -------
    FoldSearch
        Tables ``folds`` and ``balance``, and facts: score, random_score (best of the random search under the same
        condition), random_score_unconditional, seed, tries, folds, test_fold, local_starts, local_steps,
        excluded_strata, warnings, trace (pairs of try, from 1, and best score so far).

    Raises
    ------
    FoldError
        When the request cannot be met, with what to change.

    Source
    ------
    MarcFraile/infant-engagement, ``stratify_samples.py``, same objective and way of dealing; the random numbers differ,
    because the published order depends on Python's string hashing. The local step, groups, several balance columns and
    the condition on raters are ours.
    """
    objective = build_objective(durations, folds, groups=groups, balance=balance)
    if tries < 1:
        raise FoldError(f"{tries} tries were asked for.", expected="At least 1.", remedy="Correct the setting.")
    if require_unrated_test_session:
        _check_raters(objective)
    condition = _Condition(test_fold, require_unrated_test_session)
    draw = _draw(objective, tries=tries, seed=seed, condition=condition)
    if not draw.best:
        raise FoldError(
            f"In none of {tries} tries did the test fold hold, for every rater, a session this rater did not rate.",
            expected="A test fold with sessions that each rater has not seen.",
            remedy='Use more tries or test_fold="any", or switch require_unrated_test_session off.',
        )
    improved = [_improve(objective, dealt, condition=condition) for _, dealt in draw.best]
    winner = min(range(len(improved)), key=lambda index: improved[index][0])
    value, dealt, steps = improved[winner]
    facts: dict[str, object] = {
        "score": value,
        "random_score": draw.best[0][0],
        "random_score_unconditional": draw.unconditional,
        "seed": seed,
        "tries": tries,
        "folds": folds,
        "test_fold": test_fold,
        "local_starts": len(improved),
        "local_steps": steps,
        "excluded_strata": [f"{task} {variable}" for task, variable in objective.excluded],
        "warnings": _warnings(objective, dealt),
        "trace": draw.trace,
    }
    return FoldSearch(_folds_table(objective, dealt), _balance_table(objective, dealt, draw), facts)


def check_folds(folds: pd.DataFrame) -> pd.DataFrame:
    """Hold a ``folds`` table against its contract and make sure that no participant is in two folds.

    Raises
    ------
    FoldError
        Naming the participants in two folds, or when there is no training or no test fold.
    """
    table = tables.check(folds, "folds")
    spread = table.groupby("group")["fold"].nunique()
    split = list(spread.index[spread > 1])
    if split:
        raise FoldError(
            f"{len(split)} participants are in two folds: {', '.join(split[:5])}.",
            expected="All sessions of a participant in one fold.",
            remedy="Search the folds again, or correct the table by hand.",
        )
    both = set(table.loc[table["role"] == "test", "fold"]) & set(table.loc[table["role"] == "train", "fold"])
    if both or set(table["role"]) != {"train", "test"}:
        raise FoldError(
            f"Fold {min(both)} is both for training and for test." if both else "All folds have the same role.",
            expected="Some folds for training, others for test.",
            remedy="Search the folds again, or correct the column 'role'.",
        )
    return table


@dataclass(frozen=True)
class _Condition:
    test_fold: str
    unrated: bool


@dataclass
class _Draw:
    """State of the random search."""

    best: list[tuple[float, NDArray[np.int64]]] = field(default_factory=list)
    trace: list[list[float]] = field(default_factory=list)
    unconditional: float = np.inf
    chance: list[NDArray[np.float64]] = field(default_factory=list)


def _draw(objective: Objective, *, tries: int, seed: int, condition: _Condition) -> _Draw:
    """Draw and score dealings in batches; keep the best few and the range of chance."""
    random = seeding.generator(seed, "folds")
    draw = _Draw()
    size = max(1, BATCH_CELLS // (objective.folds * max(objective.columns.shape)))
    for first in range(0, tries, size):
        dealt = _deal(objective, min(size, tries - first), random)
        tally = objective.tally(dealt)
        scores = objective.fold_score(tally).sum(axis=1)
        draw.unconditional = min(draw.unconditional, float(scores.min()))
        if first < CHANCE_TRIES:
            draw.chance.append(_values(objective, tally))
        if condition.unrated:
            fits = np.all(objective.unrated(tally) > 0, axis=2)
            scores[~(np.any(fits, axis=1) if condition.test_fold == "any" else fits[:, -1])] = np.inf
        lowest = draw.best[0][0] if draw.best else np.inf
        before = np.minimum.accumulate(np.concatenate([[lowest], scores[:-1]]))
        draw.trace += [[first + int(i) + 1, float(scores[i])] for i in np.flatnonzero(scores < before)]
        for index in np.argsort(scores, kind="stable")[:STARTS]:
            if np.isfinite(scores[index]):
                kept = dealt[index]
                if condition.unrated and condition.test_fold == "any":
                    kept = _with_test_last(kept, fits[index])
                draw.best.append((float(scores[index]), kept))
        draw.best = sorted(draw.best, key=lambda pair: pair[0])[:STARTS]
    return draw


def _with_test_last(dealt: NDArray[np.int64], fits: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Exchange the numbers of the last fold and the last one that meets the condition."""
    order = np.arange(len(fits))
    chosen = np.flatnonzero(fits)[-1]
    order[chosen], order[-1] = order[-1], order[chosen]
    return order[dealt]


def _deal(objective: Objective, count: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Deal groups as published: those with a mark in turn over shuffled folds, the rest in near-equal blocks."""
    profile = [tuple(row > 0) for row in objective.marked(objective.columns)]
    dealt = np.empty((count, len(objective.groups)), np.int64)
    for kind in sorted(set(profile)):
        rows = np.array([index for index, own in enumerate(profile) if own == kind])
        if any(kind):
            order = random.permuted(np.tile(np.arange(objective.folds), (count, 1)), axis=1)
            slots = order[:, np.arange(len(rows)) % objective.folds]
        else:
            ends = np.arange(1, objective.folds + 1) * len(rows) // objective.folds
            slots = np.tile(np.searchsorted(ends, np.arange(len(rows)), side="right"), (count, 1))
        dealt[:, rows] = random.permuted(slots, axis=1)
    return dealt


def _improve(
    objective: Objective, start: NDArray[np.int64], *, condition: _Condition
) -> tuple[float, NDArray[np.int64], int]:
    """Take the best move of one group or swap of two until none helps; marks never get less even."""
    dealt, steps = start.copy(), 0
    tally = objective.tally(dealt[None])[0]
    while True:
        gain, first, second, to = _best_step(objective, dealt, tally, condition=condition)
        if gain >= -TOLERANCE:
            return float(objective.fold_score(tally).sum()), dealt, steps
        if second >= 0:
            dealt[second] = dealt[first]
        dealt[first] = to
        tally = objective.tally(dealt[None])[0]
        steps += 1


def _best_step(
    objective: Objective, dealt: NDArray[np.int64], tally: NDArray[np.float64], *, condition: _Condition
) -> tuple[float, int, int, int]:
    """Find the step that lowers the score most: gain, group, group swapped with (-1: a move), fold of the first."""
    own = objective.columns
    cost, uneven = _cost(objective, tally, np.arange(objective.folds), condition)
    without = _cost(objective, tally[dealt] - own, dealt, condition)
    into = _cost(objective, tally[None] + own[:, None], np.arange(objective.folds)[None], condition)
    moved = without[0][:, None] + into[0] - cost[dealt][:, None] - cost[None]
    worse = without[1][:, None] + into[1] - uneven[dealt][:, None] - uneven[None] > 0
    moved[worse | (dealt[:, None] == np.arange(objective.folds))] = np.inf
    group, fold = np.unravel_index(int(np.argmin(moved)), moved.shape)
    best = (float(moved[group, fold]), int(group), -1, int(fold))

    blocks = [  # row g, column h: the fold of group g with h in its place; in blocks, to bound memory
        _cost(objective, (tally[dealt[rows]] - own[rows])[:, None] + own[None], dealt[rows, None], condition)
        for rows in np.array_split(np.arange(len(own)), 1 + own.shape[0] * own.size // BATCH_CELLS)
    ]
    swap_cost, swap_uneven = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    pair = cost[dealt][:, None] + cost[dealt][None]
    swapped = swap_cost + swap_cost.T - pair
    worse = swap_uneven + swap_uneven.T - uneven[dealt][:, None] - uneven[dealt][None] > 0
    swapped[worse | (dealt[:, None] == dealt[None])] = np.inf
    group, other = np.unravel_index(int(np.argmin(swapped)), swapped.shape)
    if swapped[group, other] < best[0]:
        best = (float(swapped[group, other]), int(group), int(other), int(dealt[other]))
    return best


def _cost(
    objective: Objective, tally: NDArray[np.float64], fold: NDArray[np.int64], condition: _Condition
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Score single folds; infinite where empty or, for the test fold, where a rater knows every session."""
    score = objective.fold_score(tally)
    score[objective.sizes(tally) == 0] = np.inf
    if condition.unrated:
        score[(fold == objective.folds - 1) & (objective.unrated(tally) == 0).any(axis=-1)] = np.inf
    return score, (objective.marked(tally) ** 2).sum(axis=-1)


def _values(objective: Objective, tally: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shares that the balance table shows: positive time, sessions with each mark, sessions of all."""
    size = objective.sizes(tally)[..., None]
    marked = np.divide(objective.marked(tally), size, out=np.zeros_like(objective.marked(tally)), where=size > 0)
    all_sessions = objective.sizes(objective.columns.sum(axis=0))
    return np.concatenate([objective.shares(tally), marked, size / all_sessions], axis=-1)


def _folds_table(objective: Objective, dealt: NDArray[np.int64]) -> pd.DataFrame:
    rows = [
        {"session": session, "group": group, "fold": int(fold), "role": "test" if last else "train"}
        for group, members, fold in zip(objective.groups, objective.members, dealt, strict=True)
        for session in members
        for last in [int(fold) == objective.folds - 1]
    ]
    return check_folds(tables.from_rows(sorted(rows, key=lambda row: (row["fold"], row["session"])), "folds"))


def _balance_table(objective: Objective, dealt: NDArray[np.int64], draw: _Draw) -> pd.DataFrame:
    tally = objective.tally(dealt[None])[0]
    values = _values(objective, tally)
    whole = _values(objective, objective.columns.sum(axis=0))
    whole[-1] = 1 / objective.folds
    chance = np.concatenate(draw.chance).reshape(-1, len(whole))  # over all folds: their numbers mean nothing
    low, high = np.nanquantile(chance, [0.025, 0.975], axis=0)
    names = [*(f"{task} {variable}" for task, variable in objective.strata), *objective.marks, "share of all sessions"]
    rows = [
        {
            "stratum": name,
            "fold": fold,
            "value": values[fold, column],
            "whole": whole[column],
            "chance_low": low[column],
            "chance_high": high[column],
            "sessions": int(objective.sizes(tally)[fold]),
        }
        for column, name in enumerate(names)
        for fold in range(objective.folds)
    ]
    return tables.from_rows(rows, "balance")


def _warnings(objective: Objective, dealt: NDArray[np.int64]) -> list[str]:
    """Say what the best dealing still lacks, in sentences."""
    tally = objective.tally(dealt[None])[0]
    shares = objective.shares(tally)
    found = [f"{' '.join(stratum)} has no positive time and was not balanced." for stratum in objective.excluded]
    for column, stratum in enumerate(objective.strata):
        lacking = np.flatnonzero(np.isnan(shares[:, column]))
        if len(lacking):
            found.append(f"{' '.join(stratum)} was not rated in fold {', '.join(map(str, lacking))}.")
        if shares[-1, column] in (0.0, 1.0):
            found.append(f"{' '.join(stratum)} has only one class in the test fold.")
    for column, mark in enumerate(objective.marks):
        lacking = np.flatnonzero(objective.marked(tally)[:, column] == 0)
        if len(lacking):
            found.append(f"{mark} has no session in fold {', '.join(map(str, lacking))}.")
    mean_size = sum(map(len, objective.members)) / objective.folds
    largest = max(range(len(objective.groups)), key=lambda index: len(objective.members[index]))
    size = len(objective.members[largest])
    if size > mean_size:
        found.append(f"{objective.groups[largest]} has {size} sessions, more than the {mean_size:g} of an equal fold.")
    return found


def _check_raters(objective: Objective) -> None:
    """Refuse when some rater has rated every session."""
    unrated = objective.unrated(objective.columns.sum(axis=0))
    tireless = [rater for rater, count in zip(objective.raters, unrated, strict=True) if count == 0]
    if tireless:
        raise FoldError(
            f"Rater {', '.join(tireless)} rated every session.",
            expected="For every rater, a session this rater did not rate, to put into the test fold.",
            remedy="Switch require_unrated_test_session off (attention is then painted on sessions raters know).",
        )
