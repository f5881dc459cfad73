"""How often each class occurs, and how often it should be drawn."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg.annotations.people.samples import NO_LABEL, parse_labels
from nbpkg.errors import AnnotationError, SettingsError

FREQUENCIES = ["split", "label", "name", "samples", "share", "families", "sessions"]


def count_classes(samples: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Count samples, families and sessions of each class in each split.

    Parameters
    ----------
    samples
        Table of samples; one of several classes counts for each of them.
    classes
        Names of the classes in the order of their indices.

    Returns
    -------
    pandas.DataFrame
        split, label, name, samples, share (of the samples of the split), families and sessions; also classes that
        do not occur.
    """
    each = samples.assign(each=pd.Series(parse_labels(samples["labels"]), samples.index, "object")).explode("each")
    rows = []
    for split in dict.fromkeys(samples["split"]):
        total = int((samples["split"] == split).sum())
        for label, name in enumerate(classes):
            part = each[(each["split"] == split) & (each["each"] == label)]
            known = [int(part.loc[part[key] != "", key].nunique()) for key in ("family", "session")]
            rows.append((split, label, name, len(part), len(part) / total, *known))
    return pd.DataFrame(rows, columns=FREQUENCIES)


def class_probabilities(labels: Sequence[int], power: float = 1.0) -> dict[int, float]:
    """Return how likely each class should be drawn.

    Parameters
    ----------
    labels
        Class of each sample.
    power
        0 draws all classes that occur equally often, 1 as often as they occur.

    Returns
    -------
    dict
        Class to probability, in the order in which classes first occur; they add up to 1.

    Raises
    ------
    AnnotationError
        When there is no sample, or one has not exactly one class.

    Source
    ------
    open-mmlab/mmaction2, ``sample_by_class``: the frequency of a class to the power, made to add up to 1.

    Examples
    --------
    >>> class_probabilities([0, 2, 1, 1], 0.0)
    {0: 0.3333333333333333, 2: 0.3333333333333333, 1: 0.3333333333333333}
    """
    if not len(labels) or NO_LABEL in labels:
        raise AnnotationError(
            "Classes can only be balanced where every sample has one.",
            expected="At least one sample, each with one label.",
            remedy="Draw samples with several labels evenly.",
        )
    if not math.isfinite(power):
        raise SettingsError(f"The power is {power}.", expected="A number, 0 for even classes.", where="power")
    raised = {int(label): (count / len(labels)) ** power for label, count in Counter(labels).items()}
    whole = sum(raised.values())
    return {label: value / whole for label, value in raised.items()}


def sample_weights(labels: Sequence[int], power: float = 0.0) -> NDArray[np.float64]:
    """Return how likely each sample should be drawn, for any weighted sampler.

    The published program balances classes in distributed training only and ignores the setting elsewhere; weights do it
    everywhere.

    Parameters
    ----------
    labels, power
        As in `class_probabilities`.

    Returns
    -------
    numpy.ndarray
        float64 [samples], adding up to 1: samples of one class share its probability.
    """
    wanted, counts = class_probabilities(labels, power), Counter(labels)
    return np.array([wanted[int(label)] / counts[label] for label in labels])


def epoch_length(labels: Sequence[int], power: float = 0.0) -> int:
    """Return how many draws an epoch needs so that each sample is drawn once on average, also of the rarest class."""
    # rounded, so that the last digit of a quotient makes no further draw
    return math.ceil(round(1 / float(sample_weights(labels, power).min()), 6))
