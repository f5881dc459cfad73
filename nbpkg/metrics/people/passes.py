"""Answers to the same clips in one or several repetitions, in arrays, and what of them every resample needs.

Each repetition is scored on its own and the scores are averaged: the mean of the repetitions' probabilities would be
another system, which nobody trained. Families are what is resampled, the same ones for all repetitions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg.errors import TableError
from nbpkg.metrics import intervals
from nbpkg.metrics.classification import area_under_curve, pair_wins
from nbpkg.metrics.people.ranking import top_k_hits

Array = NDArray[np.float64]
ROLES = {"held_out": "validation", "test": "test", "train": "train"}  # inner clips chose the epoch: they prove nothing
UNIT = ("system", "variant", "role")


@dataclass(frozen=True)
class Pass:
    """What one repetition answered.

    Parameters
    ----------
    truth, predicted
        [n], class indices.
    scores
        [n, classes], probabilities.
    group
        [n], number of the group that is resampled, from 0.
    """

    truth: NDArray[np.int64]
    predicted: NDArray[np.int64]
    scores: Array
    group: NDArray[np.int64]


@dataclass(frozen=True)
class Passes:
    """All repetitions of one system, variant and role.

    Parameters
    ----------
    each
        The repetitions.
    groups
        How many groups are resampled; 0 when it is unknown whom a clip shows.
    of
        What the groups are, in words: ``families``, or ``recordings`` of a single family.
    clips
        Different clips in all repetitions together.
    """

    each: tuple[Pass, ...]
    groups: int
    of: str
    clips: int

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return int(self.each[0].scores.shape[1])

    def count(self) -> Array:
        """Return the confusion matrix of each group in each repetition, [passes, groups, classes, classes]."""
        size, groups = self.classes, max(self.groups, 1)
        found = []
        for one in self.each:
            cells = (one.group * size + one.truth) * size + one.predicted
            counts = np.bincount(cells, minlength=groups * size * size)
            found.append(counts.reshape(groups, size, size).astype(np.float64))
        return np.stack(found)

    def count_hits(self, k: int) -> Array:
        """Return clips whose class is among the best k, and all clips, of each group: [passes, groups, 2]."""
        groups = max(self.groups, 1)
        found = []
        for one in self.each:
            hits = top_k_hits(one.scores, one.truth, k)
            pair = [np.bincount(one.group, part, minlength=groups) for part in (hits, np.ones(len(hits)))]
            found.append(np.stack(pair, axis=-1))
        return np.stack(found)

    def areas(self) -> tuple[Array, list[int]]:
        """Return the area under the ROC curve of each class against the rest, [passes, classes], and classes lacking.

        A class lacks when it has no clip, or all of them, in some repetition.
        """
        table = np.array(
            [
                [area_under_curve(one.truth == label, one.scores[:, label]).value for label in range(self.classes)]
                for one in self.each
            ]
        )
        return table, [int(label) for label in np.flatnonzero(np.isnan(table).any(axis=0))]

    def draw_areas(self, labels: Sequence[int], weights: Array) -> Array:
        """Return the mean area over classes in every resample and repetition, [resamples, passes]."""
        drawn = [[_draw_area(one, label, weights) for label in labels] for one in self.each]
        return np.stack([np.mean(per_class, axis=0) for per_class in drawn], axis=-1)

    def weights(self, *, seed: int, resamples: int) -> Array | None:
        """Draw how often each group occurs in each resample, [resamples, groups]; None where one group is all."""
        return intervals.draw_weights(self.groups, seed=seed, resamples=resamples) if self.groups > 1 else None


def check_people(predictions: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Refuse answers that cannot be scored.

    Parameters
    ----------
    predictions
        Table ``people_predictions``.
    classes
        Names of the classes in the order of their indices.

    Returns
    -------
    pandas.DataFrame
        The same with a fresh index.

    Raises
    ------
    TableError
        When a column of probabilities is missing or holds no number, a truth is no class, or an answer is not the class
        with the highest probability.
    """
    names = probability_columns(classes)
    missing = [name for name in names if name not in predictions.columns]
    if missing or not len(classes):
        raise TableError(
            f"The answers lack {missing[0]!r}." if missing else "No class is named.",
            where="table 'people_predictions'",
            expected=f"Columns {', '.join(names)}.",
            remedy="Name the classes that the networks were trained with.",
        )
    table = predictions.reset_index(drop=True)
    scores = table[names].to_numpy(np.float64)
    troubles = (
        (~np.isfinite(scores).all(axis=1), "has a probability that is no number"),
        (~table["truth"].between(0, len(names) - 1).to_numpy(), f"has a class beyond {len(names) - 1}"),
        (_differ(scores, table["predicted"].to_numpy()), "is not answered with the class of the highest probability"),
    )
    for wrong, what in troubles:
        if wrong.any():
            first = table.loc[wrong, "sample_id"].iloc[0]
            raise TableError(
                f"Clip {first} {what}, one of {int(wrong.sum())}.",
                where="table 'people_predictions'",
                remedy="Let the networks answer again.",
            )
    return table


def probability_columns(classes: Sequence[str]) -> list[str]:
    """Return the names of the columns with probabilities."""
    return [f"p_{name}" for name in classes]


def split_passes(rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Cut the answers of one system, variant, role and checkpoint into repetitions in which every clip occurs once.

    Where several networks of a repetition answered for the same clip (networks of several folds for test clips), each
    network is one of its own.

    Parameters
    ----------
    rows
        Of table ``people_predictions``.

    Returns
    -------
    list of tuple
        Name (number of the repetition, or name of the training) and rows.
    """
    found = []
    for repeat, own in rows.groupby("repeat", sort=True):
        if own["sample_id"].duplicated().any():
            found += [(str(name), part) for name, part in own.groupby("round", sort=True)]
        else:
            found.append((str(repeat), own))
    return found


def gather(rows: pd.DataFrame, classes: Sequence[str]) -> Passes:
    """Put the answers of one system, variant, role and checkpoint, or a part of them, into arrays.

    Parameters
    ----------
    rows
        Of `check_people`.
    classes
        Names of the classes.

    Returns
    -------
    Passes
        Groups are families; where there is one only, its recordings.
    """
    known = bool((rows["family"] != "").all())
    column = "family" if len(set(rows["family"])) > 1 else "recording"
    names = sorted(set(rows[column]))
    number = {name: place for place, name in enumerate(names)} if known else dict.fromkeys(names, 0)
    each = tuple(
        Pass(
            part["truth"].to_numpy(np.int64),
            part["predicted"].to_numpy(np.int64),
            part[probability_columns(classes)].to_numpy(np.float64),
            part[column].map(number).to_numpy(np.int64),
        )
        for _, part in split_passes(rows)
    )
    of = "families" if column == "family" else "recordings of one family"
    return Passes(each, len(names) if known else 0, of if known else "", int(rows["sample_id"].nunique()))


def _draw_area(one: Pass, label: int, weights: Array) -> Array:
    """Return the area under the ROC curve of a class in every resample; NaN where a side has no clip."""
    own, size = one.truth == label, weights.shape[1]
    part = pair_wins(own.astype(np.int64), one.scores[:, label], one.group)
    wins = np.zeros((size, size))
    wins[: len(part), : len(part)] = part  # groups that this repetition lacks have no pairs
    sides = [weights @ np.bincount(one.group[side], minlength=size) for side in (own, ~own)]
    won = np.einsum("rg,gh,rh->r", weights, wins, weights, optimize=True)
    pairs = sides[0] * sides[1]
    areas = np.full(len(pairs), np.nan)
    np.divide(won, pairs, out=areas, where=pairs > 0)
    return areas


def _differ(scores: Array, predicted: NDArray) -> NDArray[np.bool_]:
    """Tell which answers are not the class with the highest probability; NaN is found before."""
    if not len(scores):
        return np.zeros(0, np.bool_)
    return np.asarray(scores.argmax(axis=1) != predicted, np.bool_)
