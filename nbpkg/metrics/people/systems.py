"""Systems and their variants beside each other: what is lost without a part, how far repetitions lie apart, fusion."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd

from nbpkg import tables
from nbpkg.errors import TableError
from nbpkg.metrics import intervals
from nbpkg.metrics.classification import accuracy
from nbpkg.metrics.people import confusion as scores
from nbpkg.metrics.people.passes import ROLES, Array, check_people, gather, probability_columns
from nbpkg.metrics.people.predictions import fuse_predictions, list_scores, tabulate_predictions
from nbpkg.metrics.people.summary import average_known

FULL, FUSION = "full", "fusion"
MEASURES: dict[str, Callable[[Array], Array]] = {"macro_f1": scores.macro_f1, "accuracy": accuracy}
VARIANTS = [
    "system", "variant", "role", "metric", "value", "spread", "lowest", "highest", "chance", "repeats", "difference",
    "low", "high", "beyond", "n", "n_groups", "reason",
]  # fmt: skip
SYSTEMS = [
    "system", "other", "role", "metric", "value", "other_value", "difference", "low", "high", "n", "n_groups", "reason",
]  # fmt: skip
Row = dict[str, object]


class _Pair(NamedTuple):
    """One score of two systems on the clips that both answered."""

    metric: str
    value: float = np.nan
    other_value: float = np.nan
    difference: float = np.nan
    low: float = np.nan
    high: float = np.nan
    n: int = 0
    n_groups: int = 0
    reason: str = ""


def compare_variants(
    predictions: pd.DataFrame, *, classes: Sequence[str], seed: int, resamples: int = 2000, checkpoint: str = "best"
) -> pd.DataFrame:
    """Say for every variant of a system how good it is, how far its repetitions lie apart, and what it lacks to `full`.

    Parameters
    ----------
    predictions
        Table ``people_predictions``, of one system or of several; only families held out or tested are compared.
    classes
        Names of the classes in the order of their indices.
    seed, resamples
        Of the intervals; families are resampled, the same ones for both variants and all repetitions.
    checkpoint
        ``best`` or ``last``.

    Returns
    -------
    pandas.DataFrame
        system, variant, role (as in table ``metrics``), metric (macro_f1, accuracy), value (mean over repetitions),
        spread (standard deviation over repetitions, n - 1), lowest and highest repetition, chance (what always
        answering the most frequent class gets), repeats, difference (variant less full, on the clips that both
        answered), its 95 % interval low to high, beyond (whether the difference is larger than the spread of either of
        the two), n (clips of the difference), n_groups (families) and reason. For ``full`` itself nothing is compared.

    Raises
    ------
    TableError
        As `nbpkg.metrics.people.passes.check_people`.
    """
    table = _pick(predictions, classes, checkpoint)
    rows: list[Row] = []
    for (system, role), own in table.groupby(["system", "role"], sort=True):
        parts = {str(name): part for name, part in own.groupby("variant", sort=True)}
        for name in sorted(parts, key=lambda name: (name != FULL, name)):
            facts = {"system": system, "variant": name, "role": ROLES[str(role)]}
            other = parts.get(FULL) if name != FULL else None
            found = _describe(parts[name], other, classes, seed=seed, resamples=resamples)
            rows += [{**facts, **row} for row in found]
    return pd.DataFrame(rows, columns=VARIANTS).astype({"beyond": "bool"})


def compare_systems(
    predictions: pd.DataFrame,
    *,
    classes: Sequence[str],
    seed: int,
    resamples: int = 2000,
    checkpoint: str = "best",
    variant: str = FULL,
) -> pd.DataFrame:
    """Compare systems pairwise on the clips that both answered.

    Parameters
    ----------
    predictions, classes, seed, resamples, checkpoint
        As in `compare_variants`.
    variant
        Which variant of each system.

    Returns
    -------
    pandas.DataFrame
        system, other, role, metric, value and other_value (means over repetitions), difference (system less other), its
        95 % interval low to high, n (clips), n_groups (families) and reason.
    """
    table = _pick(predictions, classes, checkpoint)
    rows: list[Row] = []
    for role, own in table[table["variant"] == variant].groupby("role", sort=True):
        parts = {str(name): part for name, part in own.groupby("system", sort=True)}
        for one, other in combinations(parts, 2):
            facts = {"system": one, "other": other, "role": ROLES[str(role)]}
            found = _pair(parts[one], parts[other], classes, seed=seed, resamples=resamples)
            rows += [{**facts, **pair._asdict()} for pair in found]
    return pd.DataFrame(rows, columns=SYSTEMS)


def fuse_people(
    predictions: pd.DataFrame,
    weights: Mapping[str, float],
    *,
    classes: Sequence[str],
    softmax: bool = False,
    name: str = FUSION,
) -> pd.DataFrame:
    """Join the answers of several systems by a weighted mean of their probabilities.

    Parameters
    ----------
    predictions
        Table ``people_predictions`` of all systems.
    weights
        System to weight; the sum must be above 0.
    classes
        Names of the classes.
    softmax
        Put the probabilities through a softmax first, as the published tool does with scores.
    name
        Name of the new system.

    Returns
    -------
    pandas.DataFrame
        Table ``people_predictions`` of the new system alone, for clips held out or tested, in every variant, repetition
        and checkpoint that all the systems have; matched by names of clips. The order of probabilities is that of the
        published weighted sum.

    Raises
    ------
    TableError
        When a system is not there, the weights do not add up to more than 0, the systems have nothing in common, or did
        not answer the same clips.
    """
    total = float(sum(weights.values()))
    lacking = sorted(set(weights) - set(predictions["system"]))
    if lacking or not np.isfinite(total) or total <= 0:
        known = ", ".join(sorted(set(predictions["system"])))
        raise TableError(
            f"There are no answers of {', '.join(lacking)}." if lacking else f"The weights add up to {total:g}.",
            where="fusion.weights",
            expected=f"Systems {known}, with weights that add up to more than 0.",
        )
    table = check_people(predictions, classes)
    table = table[table["role"].isin(["held_out", "test"]) & table["system"].isin(list(weights))]
    keys = ["variant", "repeat", "role", "checkpoint"]
    parts = [_fuse(rows, weights, classes, softmax=softmax) for _, rows in table.groupby(keys, sort=True)]
    found = [part for part in parts if part is not None]
    if not found:
        raise TableError(
            f"No variant and repetition was answered by all of {', '.join(weights)}.",
            where="table 'people_predictions'",
            expected="Systems that share a variant, a repetition and a role.",
        )
    return tables.check(pd.concat(found, ignore_index=True).assign(system=name), "people_predictions")


def _pick(predictions: pd.DataFrame, classes: Sequence[str], checkpoint: str) -> pd.DataFrame:
    table = check_people(predictions, classes)
    return table[(table["checkpoint"] == checkpoint) & table["role"].isin(["held_out", "test"])]


def _describe(
    own: pd.DataFrame, full: pd.DataFrame | None, classes: Sequence[str], *, seed: int, resamples: int
) -> Iterator[Row]:
    """Score one variant, and compare it with the full one."""
    whole = gather(own, classes).count().sum(axis=1)
    constant = scores.answer_majority(whole.sum(axis=0))
    pairs: dict[str, _Pair] = {}
    theirs = np.zeros(0)
    if full is not None:
        pairs = {pair.metric: pair for pair in _pair(own, full, classes, seed=seed, resamples=resamples)}
        theirs = gather(full, classes).count().sum(axis=1)
    alone = _Pair("", n=own["sample_id"].nunique(), n_groups=own["family"].nunique())
    for metric, score in MEASURES.items():
        each, pair = score(whole), pairs.get(metric, alone)
        spread = _spread(each)
        widest = float(np.maximum(spread, _spread(score(theirs)))) if len(theirs) else spread  # NaN stays
        unknown = "one repetition: its spread is not known" if np.isnan(widest) else ""
        yield {
            "metric": metric,
            "value": average_known(each),
            "spread": spread,
            "lowest": float(np.nanmin(each)),
            "highest": float(np.nanmax(each)),
            "chance": float(score(constant)),
            "repeats": len(each),
            "difference": pair.difference,
            "low": pair.low,
            "high": pair.high,
            "beyond": bool(abs(pair.difference) > widest),
            "n": pair.n,
            "n_groups": pair.n_groups,
            "reason": "; ".join(text for text in (pair.reason, unknown) if text),
        }


def _spread(each: Array) -> float:
    return float(each.std(ddof=1)) if len(each) > 1 else float("nan")


def _pair(
    one: pd.DataFrame, other: pd.DataFrame, classes: Sequence[str], *, seed: int, resamples: int
) -> Iterator[_Pair]:
    """Score two systems on the clips that both answered, families drawn alike for both."""
    both = sorted(set(one["sample_id"]) & set(other["sample_id"]))
    alone = len(set(one["sample_id"]) ^ set(other["sample_id"]))
    reason = f"{alone} clips of one only" if alone else ""
    if not both:
        yield from (_Pair(name, reason=reason) for name in MEASURES)
        return
    sides = [gather(rows[rows["sample_id"].isin(both)], classes) for rows in (one, other)]
    counts = [side.count() for side in sides]
    weights = sides[0].weights(seed=seed, resamples=resamples)
    drawn = None if weights is None else [np.tensordot(weights, table, axes=(1, 1)) for table in counts]
    for metric, score in MEASURES.items():
        value, other_value = (average_known(score(table.sum(axis=1))) for table in counts)
        interval = intervals.Interval(np.nan, np.nan, sides[0].groups, 1.0)
        if drawn is not None:
            means = [score(table).mean(axis=1) for table in drawn]
            interval = intervals.percentile_interval(means[0] - means[1], n_groups=sides[0].groups)
        span = interval.low, interval.high, len(both), interval.n_groups
        yield _Pair(metric, value, other_value, value - other_value, *span, reason)


def _fuse(
    rows: pd.DataFrame, weights: Mapping[str, float], classes: Sequence[str], *, softmax: bool
) -> pd.DataFrame | None:
    """Join one repetition's answers; None where a system has none."""
    parts = {str(system): own for system, own in rows.groupby("system", sort=False)}
    if set(parts) != set(weights):
        return None
    first = parts[next(iter(weights))]
    joined = fuse_predictions(
        [as_scored(parts[system], classes) for system in weights], coefficients=list(weights.values()), softmax=softmax
    )
    means = joined[list_scores(joined)].to_numpy(np.float64) / sum(weights.values())
    fused = first.reset_index(drop=True).assign(round=f"{first['variant'].iloc[0]}-{first['repeat'].iloc[0]}")
    fused = fused.assign(predicted=means.argmax(axis=1))
    for place, name in enumerate(probability_columns(classes)):
        fused[name] = means[:, place]
    return fused


def as_scored(rows: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Turn rows of table ``people_predictions`` in which a clip occurs once into a table of predictions for files."""
    samples = rows[["sample_id", "family", "session"]].assign(label=rows["truth"])
    return tabulate_predictions(samples, rows[probability_columns(classes)].to_numpy(np.float64))
