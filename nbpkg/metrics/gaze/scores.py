"""The table of results for gaze: every score with interval, size, chance and human ceiling, and what papers report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg import tables
from nbpkg.errors import TableError
from nbpkg.metrics import classification, intervals
from nbpkg.metrics.gaze.inout import (
    count_answers,
    measure_average_precision,
    resample_average_precision,
    why_no_precision,
)
from nbpkg.metrics.gaze.stream import KEY, PICTURE

Array = NDArray[np.float64]
Part = Literal["all", "participant", "session", "rater", "track"]
TRACK = ["session", "person", "rater", "segment"]
MEANS = {  # metric: column of gaze_scores, by what counts as right
    "box": {"auc_box": "auc", "distance": "distance", "angle": "angle"},
    "points": {"auc_points": "auc", "min_distance": "min_distance", "avg_distance": "distance", "angle": "angle"},
}
AREAS = ("auc_box", "auc_points")


class _Found(NamedTuple):
    """One score with its resampled values."""

    metric: str
    value: float
    draws: Array
    n: int
    reason: str = ""


def summarise_scores(
    scores: pd.DataFrame,
    *,
    seed: int,
    role: str = "test",
    by: Sequence[Part] = ("all", "participant", "session"),
    chance: pd.DataFrame | None = None,
    ceiling: pd.DataFrame | None = None,
    resamples: int = 2000,
    level: float = 0.95,
) -> pd.DataFrame:
    """Summarise the scores of frames per data set, over all frames and for each participant, session, rater or track.

    Metrics, means over the frames whose target is inside, as published: with truth ``box`` ``auc_box``, ``distance``
    and ``angle``; with truth ``points`` ``auc_points``, ``min_distance``, ``avg_distance`` (to the annotators' mean
    point) and ``angle``. Under Gaze-LLE's protocol the areas are called ``auc_box_gazelle`` and ``auc_points_gazelle``.
    For all frames together also the mean over tracks and over participants (``auc_box_track_mean``,
    ``auc_box_participant_mean``, …), in which long tracks count no more than short ones. Over all frames, inside or
    not: ``average_precision`` and ``balanced_accuracy`` of the in/out answers, undefined when all targets are inside.

    Parameters
    ----------
    scores
        Table ``gaze_scores`` of one predictor.
    seed
        The experiment's seed.
    role
        What the frames were for the model: train, validation or test.
    by
        What to score.
    chance
        Table ``gaze_scores`` of a baseline on the same frames (`nbpkg.metrics.gaze.baselines`).
    ceiling
        Table ``gaze_scores`` of annotators against each other (`score_annotators`); usually fewer frames.
    resamples, level
        Bootstrap resamples and coverage of the intervals. Participants are resampled; where there is one, its tracks.

    Returns
    -------
    pandas.DataFrame
        Table ``metrics``: task is the data set, variable ``gaze``; n counts what is averaged (frames, tracks or
        participants) and n_groups what is resampled; reason says why a value is undefined and what was left out.

    Raises
    ------
    TableError
        When `scores` holds several predictors or protocols, or `chance` lacks frames.
    """
    _check_one_kind(scores)
    rows = []
    for dataset, whole in scores.groupby("dataset", sort=True):
        frames = pd.MultiIndex.from_frame(whole[PICTURE])
        people = None if ceiling is None else ceiling[(ceiling["dataset"] == dataset) & _are_among(ceiling, frames)]
        blind = None if chance is None else _take_same(chance[chance["dataset"] == dataset], whole)
        for kind in by:
            for name, part in _split(whole, kind):
                who = {"task": dataset, "variable": "gaze", "by": kind, "name": name, "role": role}
                aside = {
                    column: {} if table is None else _values(dict(_split(table, kind)).get(name, table.iloc[:0]))
                    for column, table in (("chance", blind), ("ceiling", people))
                }
                for found in _measures(part, kind, seed=seed, resamples=resamples):
                    beside = {column: values.get(found.metric, np.nan) for column, values in aside.items()}
                    rows.append({**who, **_as_row(found, _count_groups(part), level), **beside})
    return tables.from_rows(rows, "metrics")


def summarise_epochs(
    epochs: Mapping[int, pd.DataFrame],
    *,
    seed: int,
    role: str,
    chance: pd.DataFrame | None = None,
    ceiling: pd.DataFrame | None = None,
    resamples: int = 2000,
) -> pd.DataFrame:
    """Summarise the scores after each epoch of one training, over all frames.

    Choosing the best epoch on test frames gives an upper bound, not a result: choose on validation frames.

    Parameters
    ----------
    epochs
        Epoch to table ``gaze_scores`` of the same frames.
    seed, role, chance, ceiling, resamples
        As in `summarise_scores`.

    Returns
    -------
    pandas.DataFrame
        epoch, then the columns of table ``metrics``; sorted by epoch.
    """
    found = [
        summarise_scores(
            scores, seed=seed, role=role, by=("all",), chance=chance, ceiling=ceiling, resamples=resamples
        ).assign(epoch=epoch)
        for epoch, scores in sorted(epochs.items())
    ]
    names = ["epoch", *(column.name for column in tables.CONTRACTS["metrics"].columns)]
    return pd.concat(found, ignore_index=True)[names] if found else pd.DataFrame(columns=names)


def _check_one_kind(scores: pd.DataFrame) -> None:
    for column in ("predictor", "truth", "protocol", "reading"):
        kinds = sorted(set(scores[column])) if column in scores else []
        if len(kinds) != 1:
            raise TableError(
                f"The scores hold {len(kinds)} kinds of {column}: {', '.join(map(str, kinds)) or 'none'}.",
                where="table 'gaze_scores'",
                expected="Scores of one predictor under one protocol.",
                remedy="Summarise each by itself, and give baselines and annotators as chance and ceiling.",
            )


def _take_same(chance: pd.DataFrame, whole: pd.DataFrame) -> pd.DataFrame:
    """Pick from the scores of a baseline the frames that the model was scored on."""
    wanted, known = pd.MultiIndex.from_frame(whole[KEY]), pd.MultiIndex.from_frame(chance[KEY])
    missing = wanted[~wanted.isin(known)]
    if len(missing):
        raise TableError(
            f"The baseline lacks {len(missing)} of {len(wanted)} frames.",
            where=", ".join(f"{name} {value!r}" for name, value in zip(KEY, missing[0], strict=True)),
            expected="The frames that the model was scored on, with the same truth.",
            remedy="Score the baseline on the same rows of table 'gaze'.",
        )
    return chance[known.isin(wanted)]


def _are_among(table: pd.DataFrame, frames: pd.MultiIndex) -> NDArray[np.bool_]:
    among: NDArray[np.bool_] = pd.MultiIndex.from_frame(table[PICTURE]).isin(frames)
    return among


def _split(whole: pd.DataFrame, kind: Part) -> Iterator[tuple[str, pd.DataFrame]]:
    """Cut the scores into named parts."""
    if kind == "all":
        yield "", whole
        return
    if kind == "track":
        for keys, rows in whole.groupby(TRACK, sort=True):
            yield "/".join(map(str, keys)), rows
        return
    for key, rows in whole.groupby(kind, sort=True):
        yield str(key), rows


def _owners(part: pd.DataFrame) -> NDArray[np.int64]:
    """Give each frame the number of what is resampled: its participant, or its track where there is one participant."""
    people = pd.factorize(part["participant"], sort=True)[0]
    single = part.groupby(TRACK, sort=True).ngroup()
    return np.asarray(people if people.max(initial=0) > 0 else single, np.int64)


def _count_groups(part: pd.DataFrame) -> int:
    return int(_owners(part).max(initial=-1)) + 1


def _values(part: pd.DataFrame) -> dict[str, float]:
    """Compute the scores of a baseline or of people, by metric."""
    return {found.metric: found.value for found in _measures(part, "all", seed=0, resamples=0)} if len(part) else {}


def _measures(part: pd.DataFrame, kind: Part, *, seed: int, resamples: int) -> Iterator[_Found]:
    """Compute all metrics of one part."""
    owner = _owners(part)
    groups = int(owner.max(initial=-1)) + 1
    weights = intervals.draw_weights(groups, seed=seed, resamples=resamples if groups > 1 else 0)
    truth, protocol = str(part["truth"].iloc[0]), str(part["protocol"].iloc[0])
    track = part.groupby(TRACK, sort=False).ngroup().to_numpy(np.int64)
    participant = part.groupby("participant", sort=False).ngroup().to_numpy(np.int64)
    units = {"": None, "_track_mean": track, "_participant_mean": participant} if kind == "all" else {"": None}
    is_inside = (part["inside"] == 1).to_numpy()
    for metric, column in MEANS[truth].items():
        values = np.where(is_inside, part[column].to_numpy(np.float64), np.nan)
        reason = _say_left_out(values, part, is_inside)
        name = metric + ("_gazelle" if metric in AREAS and protocol == "gazelle" else "")
        for suffix, unit in units.items():
            yield _average(name + suffix, values, owner=owner, unit=unit, weights=weights, reason=reason)
    yield from _in_out(part, owner, weights)


def _average(
    metric: str, values: Array, *, owner: NDArray, unit: NDArray | None, weights: Array, reason: str
) -> _Found:
    """Average values over frames, or over the means of units such as tracks, with the same for all resamples."""
    known = np.isfinite(values)
    value, group = values[known], owner[known]
    if unit is not None and len(value):
        _, first, place = np.unique(unit[known], return_index=True, return_inverse=True)
        value, group = np.bincount(place, value) / np.bincount(place), group[first]
    groups = weights.shape[1]
    sums, counts = np.bincount(group, value, minlength=groups), np.bincount(group, minlength=groups)
    total = weights @ counts
    draws = np.divide(weights @ sums, total, out=np.full(len(weights), np.nan), where=total > 0)
    return _Found(metric, float(value.mean()) if len(value) else float("nan"), draws, len(value), reason)


def _say_left_out(values: Array, part: pd.DataFrame, is_inside: NDArray[np.bool_]) -> str:
    """Say how many inside frames have no value, and why."""
    inside = int(is_inside.sum())
    lacking = is_inside & ~np.isfinite(values)
    if not inside:
        return "no frame with a target inside"
    if not lacking.any():
        return ""
    causes = part["reason"].to_numpy()[lacking]
    kinds, times = np.unique(causes[causes != ""].astype(str), return_counts=True)
    named = [f"{count} × {kind}" for kind, count in zip(kinds, times, strict=True)]
    rest = int(lacking.sum() - times.sum())
    named += [f"{rest} × no head box, or a point on its centre"] if rest else []
    return f"{lacking.sum()} of {inside} frames left out: {'; '.join(named)}"


def _in_out(part: pd.DataFrame, owner: NDArray, weights: Array) -> Iterator[_Found]:
    """Score the in/out answers over all frames of which it is known."""
    known = (part["inside"] >= 0).to_numpy()
    inside, group = part["inside"].to_numpy(np.int64)[known], owner[known]
    # a column beyond the contract comes back from a file as text where a value is missing
    answer = pd.to_numeric(part["logit"], errors="coerce").to_numpy(np.float64)[known]
    probability = part["score"].to_numpy(np.float64)[known]
    reason = why_no_precision(inside, answer)
    if reason:
        nothing = np.full(len(weights), np.nan)
        for metric in ("average_precision", "balanced_accuracy"):
            yield _Found(metric, float("nan"), nothing, int(known.sum()), f"n/a: {reason}")
        return
    drawn = resample_average_precision(inside, answer, group=group, weights=weights) if len(weights) else np.zeros(0)
    yield _Found("average_precision", measure_average_precision(inside, answer).value, drawn, len(inside))
    counts = count_answers(inside, probability, groups=weights.shape[1], group=group)
    value = float(classification.balanced_accuracy(counts.sum(axis=0)))
    drawn = classification.balanced_accuracy(np.tensordot(weights, counts, axes=1))
    yield _Found("balanced_accuracy", value, drawn, len(inside))


def _as_row(found: _Found, groups: int, level: float) -> dict[str, object]:
    """Write one score as columns of table ``metrics``."""
    interval = intervals.percentile_interval(found.draws, n_groups=groups, level=level)
    undefined = np.isnan(found.value)  # an interval around nothing would only mislead
    low, high = (np.nan, np.nan) if undefined else (interval.low, interval.high)
    is_lower = "distance" in found.metric or found.metric.startswith("angle")
    own = {"metric": found.metric, "direction": "lower" if is_lower else "higher", "value": found.value}
    return {**own, "low": low, "high": high, "n": found.n, "n_groups": groups, "reason": found.reason}
