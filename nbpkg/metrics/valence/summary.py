"""The table of results for valence: means over sessions with interval, chance and human ceiling, and the fold table.

Sessions of one person resemble each other, so people are what is resampled for every interval over several of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg import tables
from nbpkg.errors import TableError
from nbpkg.metrics import intervals
from nbpkg.metrics.valence.scores import HUMAN, NETWORK

Array = NDArray[np.float64]
Row = dict[str, object]
ROLES = {"held_out": "validation", "test": "test", "train": "train"}
PARTS = {"all": "", "participant": "subject", "story": "story", "fold": "fold", "session": "session"}
METRICS = {"ccc": "higher", "pearson": "higher", "mse": "lower"}
CHANCE = ("constant", "shifted")
CROSSVAL = ["Val. Story", "Train CCC", "Val. CCC"]
PAIRED = ["system", "other", "role", "metric", "value", "other_value", "difference", "low", "high", "n", "n_groups"]


def summarise(scores: pd.DataFrame, *, seed: int, resamples: int = 2000, level: float = 0.95) -> pd.DataFrame:
    """Average the scores of sessions for each system and role: over all, and for each person, story, fold, session.

    Metrics: ``ccc``, ``pearson``, ``mse``, unweighted means over sessions as published; over all sessions also
    ``ccc_personalized`` and ``ccc_generalized``, the challenge's means over people's and over stories' means. Where
    sessions have no value they are left out, and counted in ``reason``.

    Parameters
    ----------
    scores
        Table ``valence_scores`` with predictor ``network``, and beside it those of baselines and of other people.
    seed, resamples, level
        Of the bootstrap. People are resampled with all their sessions; where there is one person, the sessions. The
        ``reason`` says which.

    Returns
    -------
    pandas.DataFrame
        Table ``metrics``, one role after the other: task ``valence``, variable the system, ``by`` with ``participant``
        for the person who listens, role ``validation`` for sessions held out. Chance is the better of the baselines
        ``constant`` and ``shifted`` on the same sessions, ceiling that of predictor ``third_party`` as far as it is
        known; n counts sessions, n_groups what is resampled.

    Raises
    ------
    TableError
        When no network's session has a truth.
    """
    known = scores[scores["role"].isin(list(ROLES))]
    if not (known["predictor"] == NETWORK).any():
        raise TableError(
            "No answer of a network can be averaged.",
            where="table 'valence_scores'",
            expected="Rows of predictor 'network' whose truth is not withheld.",
        )
    found = []
    for role in (name for name in ROLES if name in set(known.loc[known["predictor"] == NETWORK, "role"])):
        rows = []
        for system, whole in known[known["role"] == role].groupby("system", sort=True):
            for by, name, part in _split(whole):
                who = {"task": "valence", "variable": system, "by": by, "name": name, "role": ROLES[role]}
                rows += [{**who, **row} for row in _measures(part, by, seed=seed, resamples=resamples, level=level)]
        found.append(tables.from_rows(rows, "metrics"))
    return pd.concat(found, ignore_index=True)


def crossval_table(
    trials: pd.DataFrame,
    *,
    folds: pd.DataFrame | None = None,
    scores: pd.DataFrame | None = None,
    seed: int = 0,
    resamples: int = 2000,
) -> pd.DataFrame:
    """Tabulate a cross-validation as published: a row per fold, mean, standard deviation, and mean less deviation.

    Parameters
    ----------
    trials
        Table ``valence_trials`` of one system; rows of fold -1 are left out.
    folds
        Table ``folds``, which says which story (or person) each fold leaves out; without it folds go by number.
    scores
        Table ``valence_scores``; with it two further rows give the interval of the mean over the network's sessions
        held out, people resampled.
    seed, resamples
        Of the interval.

    Returns
    -------
    pandas.DataFrame
        ``Val. Story`` (text), ``Train CCC``, ``Val. CCC``. Rows ``Mean``, ``Std`` (ddof 0) and ``M-S`` weigh folds
        alike; a fold without a value is left out of them. `crossval_csv` makes the published text of it.

    Raises
    ------
    TableError
        When there is no fold, or there are several systems, or a fold has several trainings.
    """
    own = trials[trials["fold"] >= 0]
    if not len(own) or len(set(own["system"])) > 1 or own["fold"].duplicated().any():
        raise TableError(
            f"{len(own)} trainings of {len(set(own['system']))} systems make no cross-validation.",
            where="table 'valence_trials'",
            expected="One training for each fold of one system.",
        )
    label = _name_folds(own, folds)
    rows = sorted(zip(label, own["train_ccc"], own["held_out_ccc"], strict=True), key=lambda row: _order(row[0]))
    values = np.array([row[1:] for row in rows], np.float64)
    known = [column[~np.isnan(column)] for column in values.T]
    mean = np.array([column.mean() if len(column) else np.nan for column in known])
    std = np.array([column.std() if len(column) else np.nan for column in known])
    rows += [("Mean", *mean), ("Std", *std), ("M-S", *(mean - std))]
    if scores is not None:
        held = scores[(scores["predictor"] == NETWORK) & (scores["role"] == "held_out")]
        held = held[held["system"] == own["system"].iloc[0]]
        interval = _interval(held, held["ccc"].to_numpy(np.float64), seed=seed, resamples=resamples)
        rows += [("95 % low", np.nan, interval.low), ("95 % high", np.nan, interval.high)]
    return pd.DataFrame(rows, columns=CROSSVAL)


def crossval_csv(table: pd.DataFrame) -> str:
    """Write a `crossval_table` as the published program does: commas, CRLF, all digits."""
    lines = [",".join(CROSSVAL)]
    for name, *values in table[CROSSVAL].itertuples(index=False, name=None):
        lines.append(",".join([name, *("" if np.isnan(value) else repr(float(value)) for value in values)]))
    return "".join(f"{line}\r\n" for line in lines)


def compare_systems(scores: pd.DataFrame, *, seed: int, resamples: int = 2000) -> pd.DataFrame:
    """Compare systems pairwise on the sessions that both answered.

    Parameters
    ----------
    scores
        Table ``valence_scores`` of several systems, put together.
    seed, resamples
        Of the intervals; people are resampled, the same ones for both systems.

    Returns
    -------
    pandas.DataFrame
        system, other, role, metric, value and other_value (means), difference (system less other), low and high of
        the difference, n (sessions), n_groups (people), reason.
    """
    network = scores[scores["predictor"] == NETWORK]
    found: list[Row] = []
    for role in ROLES:
        systems = {str(name): rows for name, rows in network[network["role"] == role].groupby("system", sort=True)}
        for one, other in combinations(systems, 2):
            who = {"system": one, "other": other, "role": role}
            found += _pair(systems[one], systems[other], who, seed=seed, resamples=resamples)
    return pd.DataFrame(found, columns=[*PAIRED, "reason"])


def compare_baselines(scores: pd.DataFrame, *, seed: int, resamples: int = 2000) -> pd.DataFrame:
    """Compare every system with each other predictor of its sessions: baselines, and people.

    Returns
    -------
    pandas.DataFrame
        As of `compare_systems`, with the predictor as ``other``.
    """
    found: list[Row] = []
    for (system, role), rows in scores[scores["role"].isin(list(ROLES))].groupby(["system", "role"], sort=True):
        network = rows[rows["predictor"] == NETWORK]
        for name in sorted(set(rows["predictor"]) - {NETWORK}):
            who = {"system": str(system), "other": str(name), "role": str(role)}
            found += _pair(network, rows[rows["predictor"] == name], who, seed=seed, resamples=resamples)
    return pd.DataFrame(found, columns=[*PAIRED, "reason"])


def _split(whole: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Cut the scores of all predictors into named parts in which the network has an answer."""
    for by, column in PARTS.items():
        if not column:
            yield by, "", whole
            continue
        parts = {str(name): rows for name, rows in whole.groupby(column, sort=False)}
        for name in sorted(parts, key=_order):
            if (parts[name]["predictor"] == NETWORK).any():
                yield by, name, parts[name]


def _measures(part: pd.DataFrame, by: str, *, seed: int, resamples: int, level: float) -> Iterator[Row]:
    network = part[part["predictor"] == NETWORK]
    for metric, direction in METRICS.items():
        values = network[metric].to_numpy(np.float64)
        interval = _interval(network, values, seed=seed, resamples=resamples, level=level)
        best = np.fmax if direction == "higher" else np.fmin
        chance = best.reduce([_mean_of(part, network, name, metric) for name in CHANCE])
        reasons = [_say_resampled(network), _say_left_out(network, values), _say_ceiling(part, network)]
        yield {
            **_numbers(metric, values, interval),
            "direction": direction,
            "chance": float(chance),
            "ceiling": _mean_of(part, network, HUMAN, metric),
            "reason": "; ".join(text for text in reasons if text),
        }
    if by == "all":
        yield from _tracks(part, network, seed=seed, resamples=resamples, level=level)


def _tracks(part: pd.DataFrame, network: pd.DataFrame, *, seed: int, resamples: int, level: float) -> Iterator[Row]:
    """Give the challenge's two means, over people's and over stories' means, both with people resampled."""
    table = network.pivot_table(index="subject", columns="story", values="ccc", dropna=False).to_numpy(np.float64)
    if np.isnan(table).all():
        return
    groups = len(table)
    weights = intervals.draw_weights(groups, seed=seed, resamples=resamples if groups > 1 else 0)
    sums, counts = np.nan_to_num(table), (~np.isnan(table)).astype(np.float64)
    person = _divide(sums.sum(axis=1), counts.sum(axis=1))
    story = _divide(weights @ sums, weights @ counts)
    has_any = ~np.isnan(person)
    draws = {
        "subject": _divide(weights @ np.nan_to_num(person), weights @ has_any.astype(np.float64)),
        "story": _divide(np.nansum(story, axis=1), (~np.isnan(story)).sum(axis=1)),
    }
    for track, column in (("personalized", "subject"), ("generalized", "story")):
        low, high, *_ = intervals.percentile_interval(draws[column], n_groups=groups, level=level)
        chance = [_track_value(_same_sessions(part, network, name), column) for name in CHANCE]
        yield {
            "metric": f"ccc_{track}",
            "direction": "higher",
            "value": _track_value(network, column),
            "low": low,
            "high": high,
            "chance": float(np.fmax.reduce(chance)),
            "ceiling": _track_value(_same_sessions(part, network, HUMAN), column),
            "n": int(counts.sum()),
            "n_groups": groups,
            "reason": f"mean over the means of {'people' if column == 'subject' else 'stories'}",
        }


def _track_value(rows: pd.DataFrame, column: str) -> float:
    return float(rows.groupby(column)["ccc"].mean().mean())


def _divide(sums: Array, counts: NDArray) -> Array:
    """Divide, with NaN where there is nothing to divide by."""
    quotient = np.full(np.shape(sums), np.nan)
    np.divide(sums, counts, out=quotient, where=counts > 0)
    return quotient


def _numbers(metric: str, values: Array, interval: intervals.Interval) -> Row:
    defined = values[~np.isnan(values)]
    value = float(defined.mean()) if len(defined) else np.nan
    low, high = (interval.low, interval.high) if len(defined) else (np.nan, np.nan)
    return {
        "metric": metric,
        "value": value,
        "low": low,
        "high": high,
        "n": len(defined),
        "n_groups": interval.n_groups,
    }


def _groups(rows: pd.DataFrame) -> NDArray[np.int64]:
    """Give each session the number of what is resampled: its person, or where there is one, itself."""
    column = "subject" if len(set(rows["subject"])) > 1 else "session"
    return np.asarray(pd.factorize(rows[column], sort=True)[0], np.int64)


def _interval(
    rows: pd.DataFrame, values: Array, *, seed: int, resamples: int, level: float = 0.95
) -> intervals.Interval:
    """Resample people with all their sessions, and average what is defined."""
    group = _groups(rows)
    count = int(group.max(initial=-1)) + 1
    known = ~np.isnan(values)
    sums = np.bincount(group[known], values[known], minlength=count)
    sizes = np.bincount(group[known], minlength=count)
    if count < 2:
        return intervals.Interval(np.nan, np.nan, count, 1.0)
    weights = intervals.draw_weights(count, seed=seed, resamples=resamples)
    total = weights @ sizes
    return intervals.percentile_interval(_divide(weights @ sums, total), n_groups=count, level=level)


def _mean_of(part: pd.DataFrame, network: pd.DataFrame, predictor: str, metric: str) -> float:
    """Average another predictor's scores on the network's sessions; NaN where it has none."""
    return float(_same_sessions(part, network, predictor)[metric].mean())


def _same_sessions(part: pd.DataFrame, network: pd.DataFrame, predictor: str) -> pd.DataFrame:
    return part[(part["predictor"] == predictor) & part["session"].isin(network["session"])]


def _say_resampled(network: pd.DataFrame) -> str:
    if len(network) < 2:
        return "one session, no interval"
    people = len(set(network["subject"]))
    if people > 1:
        return f"interval over {people} people"
    return f"interval over {len(network)} sessions of one person"


def _say_left_out(network: pd.DataFrame, values: Array) -> str:
    lacking = np.isnan(values)
    if not lacking.any():
        return ""
    causes = sorted(set(network.loc[lacking, "reason"]) - {""})
    return f"{int(lacking.sum())} of {len(values)} sessions have no value: {' | '.join(causes)}".rstrip(": ")


def _say_ceiling(part: pd.DataFrame, network: pd.DataFrame) -> str:
    people = _same_sessions(part, network, HUMAN)
    is_part = 0 < len(people) < len(network)
    return f"ceiling from {len(people)} of {len(network)} sessions" if is_part else ""


def _pair(one: pd.DataFrame, other: pd.DataFrame, who: dict[str, str], *, seed: int, resamples: int) -> Iterator[Row]:
    both = one.merge(other[["session", *METRICS]], on="session", suffixes=("", "_other"), how="inner")
    alone = len(one) + len(other) - 2 * len(both)
    for metric in METRICS:
        values = both[[metric, f"{metric}_other"]].to_numpy(np.float64)
        values[np.isnan(values).any(axis=1)] = np.nan  # paired: a session counts for both or for neither
        difference = values[:, 0] - values[:, 1]
        interval = _interval(both, difference, seed=seed, resamples=resamples)
        found = _numbers(metric, difference, interval)
        means = [float(np.nanmean(column)) if found["n"] else np.nan for column in values.T]
        found |= {"difference": found["value"], "value": means[0], "other_value": means[1]}
        lacking = len(both) - int(np.sum(~np.isnan(difference)))
        reasons = [f"{alone} sessions of one only"] * bool(alone) + [f"{lacking} without a value"] * bool(lacking)
        yield {**who, **found, "reason": "; ".join(reasons)}


def _name_folds(trials: pd.DataFrame, folds: pd.DataFrame | None) -> list[str]:
    if folds is None:
        return [str(fold) for fold in trials["fold"]]
    groups = (
        folds[folds["role"] == "train"].groupby("fold")["group"].agg(lambda own: " ".join(sorted(set(own), key=_order)))
    )
    return [str(groups.get(fold, fold)) for fold in trials["fold"]]


def _order(name: str) -> tuple[int, int, str]:
    return (0, int(name), name) if name.isdecimal() else (1, 0, name)
