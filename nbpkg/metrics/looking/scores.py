"""The table of results for looking at the camera wearer: every score with interval, size, chance and human ceiling.

Crops of one full video resemble each other, so videos are what intervals resample; inside one video its tracks are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg import tables
from nbpkg.errors import TableError
from nbpkg.metrics import intervals
from nbpkg.metrics.looking.human import FROM_COUNTS, measure_ceiling
from nbpkg.metrics.looking.precision import CLASSES, Array, Ties, average_precision, check_answers, weigh_precision

Part = Literal["all", "quality", "video"]
PARTS = {"all": "all", "video": "session"}
MEASURES = ("map", "ap_looking", "ap_not_looking", *FROM_COUNTS)
_KEY = ["session", "track", "frame"]


@dataclass(frozen=True)
class Plan:
    """How answers are scored.

    Parameters
    ----------
    seed
        The experiment's seed, of the bootstrap.
    split, stride
        Which list the answers are to and every how many frames: both belong to every number.
    threshold
        From which score on the answer is "looking".
    ties
        As in `nbpkg.metrics.looking.precision.average_precision`.
    resamples, level
        Of the bootstrap.
    quality_cut
        Quality up to which a crop belongs to the low half; None for the median of the crops that are scored.
    """

    seed: int
    split: str
    stride: int
    threshold: float = 0.5
    ties: Ties = "stable"
    resamples: int = 2000
    level: float = 0.95
    quality_cut: float | None = None


class _Found(NamedTuple):
    """One measure with its resampled values."""

    measure: str
    value: float
    draws: Array
    chance: float
    reason: str = ""


def summarise_looking(
    predictions: pd.DataFrame,
    plan: Plan,
    *,
    by: Sequence[Part] = ("all", "quality", "video"),
    people: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Score each system on all its answers, on the less and the more sharp half, and on each video.

    Parameters
    ----------
    predictions
        Table ``looking_predictions``; rows with label -1 do not count.
    plan
        How.
    by
        What to score.
    people
        From `nbpkg.metrics.looking.human.answer_for_annotators`; None when one annotator is all there is.

    Returns
    -------
    pandas.DataFrame
        Table ``looking_scores``. Measures: map, ap_looking, ap_not_looking (average precision of either class),
        accuracy, balanced_accuracy, recall_looking, recall_not_looking, f1_looking and kappa. Chance: of average
        precision the share of the class and their mean; of accuracy always the more frequent class; of recall a coin;
        of F1 always "looking". The ceiling is that of the very crops on which annotators can be compared.

    Raises
    ------
    TableError
        When the table breaks its contract, or a labelled crop has no score.
    """
    table = pick_labelled(predictions)
    rows: list[dict[str, object]] = []
    for system, whole in table.groupby("system", sort=False):
        for part, name, own, note in split_parts(whole, by, plan):
            facts = {"system": system, "split": plan.split, "stride": plan.stride, "part": part, "name": name}
            ceiling = {} if people is None else measure_ceiling(people, own)
            rows += [{**facts, **row} for row in _measure(own, plan, ceiling, note)]
    return tables.from_rows(rows, "looking_scores")


def pick_labelled(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the answers that can be scored, in their order.

    Raises
    ------
    TableError
        When the table breaks its contract, or a labelled crop has no score.
    """
    table = tables.check(predictions, "looking_predictions")
    known = table[table["label"] >= 0].reset_index(drop=True)
    wrong = known[(known["label"] > 1) | ~np.isfinite(known["score"])]
    if len(wrong):
        one = wrong.iloc[0]
        raise TableError(
            f"{len(wrong)} of {len(known)} labelled crops have no finite score, or a label above 1.",
            where=f"system {one['system']!r}, {one['session']}:{one['frame']}:{one['track']}",
            expected="A probability for every crop, and labels -1, 0 or 1.",
        )
    return known


def split_parts(whole: pd.DataFrame, by: Sequence[Part], plan: Plan) -> Iterator[tuple[str, str, pd.DataFrame, str]]:
    """Cut the answers of a system into parts: what part, its name, its rows and a remark on what is not in it."""
    if "all" in by:
        yield "all", "", whole, ""
    if "quality" in by:
        measured = whole[whole["quality"].notna()]
        cut = plan.quality_cut
        if len(measured):
            cut = float(measured["quality"].median()) if cut is None else cut
            lacking = len(whole) - len(measured)
            note = f"{lacking} crops have no quality" if lacking else ""
            low = measured["quality"] <= cut
            yield "quality_low", "", measured[low], _join(f"quality up to {cut:.6g}", note)
            yield "quality_high", "", measured[~low], _join(f"quality above {cut:.6g}", note)
    if "video" in by:
        for name, own in whole.groupby("group", sort=True):
            yield "video", str(name), own, ""


def as_metrics(scores: pd.DataFrame) -> pd.DataFrame:
    """Put scores into the table that all studies share.

    Parameters
    ----------
    scores
        Table ``looking_scores``; halves of quality have no place there and are left out.

    Returns
    -------
    pandas.DataFrame
        Table ``metrics``: task ``looking``, variable the system, ``by`` all or session (a video), role test, whatever
        list the clips are from; the stride stands in ``reason``.

    Raises
    ------
    TableError
        When a system was scored at several strides, which one row cannot tell apart.
    """
    own = scores[scores["part"].isin(list(PARTS))]
    several = own.groupby(["system", "split"])["stride"].nunique()
    if (several > 1).any():
        system, split = several[several > 1].index[0]
        raise TableError(
            f"System {system!r} was scored at {several.max()} strides.",
            where=f"split {split!r}",
            expected="One stride for each system.",
            remedy="Give the table of one stride.",
        )
    rows = own.assign(
        task="looking",
        variable=own["system"],
        by=own["part"].map(PARTS),
        role="test",
        metric=own["measure"],
        reason=[_join(f"stride {one.stride}", str(one.reason)) for one in own.itertuples()],
    )
    return tables.check(rows[[column.name for column in tables.CONTRACTS["metrics"].columns]], "metrics")


def _measure(own: pd.DataFrame, plan: Plan, ceiling: dict[str, float], note: str) -> Iterator[dict[str, object]]:
    """Compute all measures of a part."""
    label, score = check_answers(own["label"], own["score"])
    owner, what = _find_owners(own)
    groups = int(owner.max(initial=-1)) + 1
    weights = intervals.draw_weights(groups, seed=plan.seed, resamples=plan.resamples)
    about = [note, what if groups > 1 else "one track, no interval" if len(own) else "no answers"]
    for one in (*_rank(label, score, owner, weights, plan.ties), *_count(label, score, owner, weights, plan.threshold)):
        interval = intervals.percentile_interval(one.draws, n_groups=groups, level=plan.level)
        some = len(own) and 0 < ceiling.get("n", 0) < len(own)
        partly = f"ceiling from {ceiling['n']:.0f} of {len(own)} crops" if some and one.measure in ceiling else ""
        yield {
            "measure": one.measure,
            "direction": "higher",
            "value": one.value,
            "low": interval.low,
            "high": interval.high,
            "chance": one.chance,
            "ceiling": ceiling.get(one.measure, np.nan),
            "n": len(own),
            "positives": int(label.sum()),
            "n_groups": groups,
            "reason": _join(one.reason, *about, partly),
        }


def _find_owners(own: pd.DataFrame) -> tuple[NDArray[np.int64], str]:
    """Give each answer the number of what is resampled: its video, or its track where there is one video."""
    videos = pd.factorize(own["group"], sort=True)[0]
    if videos.max(initial=0) > 0:
        return np.asarray(videos, np.int64), ""
    tracks = own.groupby(["session", "track"], sort=True).ngroup()
    return np.asarray(tracks, np.int64), "interval over the tracks of one video"


def _rank(label: Array, score: Array, owner: NDArray[np.int64], weights: Array, ties: Ties) -> Iterator[_Found]:
    """Compute average precision of both classes, and their mean."""
    each: dict[str, tuple[float, Array]] = {}
    shares = dict(zip(CLASSES, (float((1 - label).mean()), float(label.mean())) if len(label) else (0, 0), strict=True))
    for name, truth, own in ((CLASSES[1], label, score), (CLASSES[0], 1 - label, 1 - score)):
        value = average_precision(truth, own, ties=ties) if len(own) else float("nan")
        each[name] = value, weigh_precision(truth, own, owner, weights=weights, ties=ties)
    known = [name for name in CLASSES if shares[name] > 0]
    lacking = f"nobody is {' or '.join(name.replace('_', ' ') for name in CLASSES if name not in known)}"
    reason = "" if len(known) == 2 else lacking
    if known:
        mean = float(np.mean([each[name][0] for name in known]))
        # a draw that lacks a class would be another measure, so it is left out
        draws_mean = np.mean([each[name][1] for name in known], axis=0)
        yield _Found("map", mean, draws_mean, float(np.mean([shares[name] for name in known])), reason)
    else:
        yield _Found("map", np.nan, np.full(len(weights), np.nan), np.nan, reason)
    for name in reversed(CLASSES):
        chance = shares[name] if name in known else np.nan
        yield _Found(f"ap_{name}", *each[name], chance, reason if name not in known else "")


def _count(label: Array, score: Array, owner: NDArray[np.int64], weights: Array, threshold: float) -> Iterator[_Found]:
    """Compute what follows from counts of answers by label."""
    cell = owner * 4 + label.astype(np.int64) * 2 + (score >= threshold)
    groups = weights.shape[1]
    counts = np.bincount(cell, minlength=4 * groups).reshape(groups, 2, 2).astype(np.float64)
    whole, drawn = counts.sum(axis=0), np.tensordot(weights, counts, axes=1)
    share = float(label.mean()) if len(label) else float("nan")
    chance = {
        "accuracy": max(share, 1 - share),
        "balanced_accuracy": 0.5,
        "recall_looking": 0.5,
        "recall_not_looking": 0.5,
        "f1_looking": 2 * share / (1 + share),
        "kappa": 0.0,
    }
    for name, compute in FROM_COUNTS.items():
        value = float(compute(whole))
        yield _Found(
            name, value, compute(drawn), chance[name], "undefined with these labels" if np.isnan(value) else ""
        )


def _join(*texts: str) -> str:
    return "; ".join(text for text in texts if text)
