"""How much painters agree, one against another."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from nbpkg.attention.comparing.comparison import count_fixations_elsewhere, prepare_humans
from nbpkg.attention.comparing.measures import MEASURES, Options, measure_maps
from nbpkg.attention.comparing.similarity import mean_of_frames
from nbpkg.attention.comparing.summary import average_snippets

COLUMNS = ["painter", "other", "metric", "value", "low", "high", "n"]


def painter_agreement(
    maps: Mapping[str, Mapping[str, ArrayLike]],
    sessions: Mapping[str, str],
    *,
    options: Options,
    seed: int,
    resamples: int = 2000,
    level: float = 0.95,
) -> pd.DataFrame:
    """Compare every painter with every other on the snippets that both painted.

    Parameters
    ----------
    maps
        Snippet to each painter's map ``[T, H, W]`` of the whole picture, at least 0; maps of 0 throughout are left out.
    sessions
        Snippet to its session.
    options
        See `nbpkg.attention.comparing.measures.Options`.
    seed, resamples, level
        As in `nbpkg.attention.comparing.summary.summarise_comparisons`.

    Returns
    -------
    pandas.DataFrame
        painter (in the machine's place), other (the reference), metric (every measure, of frames), value (mean over
        snippets), low, high (bootstrap over sessions; NaN with fewer than two) and n (snippets in which it is defined).
        Some measures depend on which of the two is the reference, so every pair comes both ways.

    Raises
    ------
    ExplainError
        When the maps of one snippet do not fit each other.
    """
    people = {name: found for name in maps if (found := prepare_humans(maps[name], options.size))}
    elsewhere = count_fixations_elsewhere(people, options)
    painters = sorted({painter for found in people.values() for painter in found})
    series = [(one, two, name) for one in painters for two in painters if one != two for name in MEASURES]
    place = {key: number for number, key in enumerate(series)}
    values = np.full((len(people), len(series)), np.nan)
    for row, (snippet, found) in enumerate(people.items()):
        stack = np.stack(list(found.values()))
        every = measure_maps(stack[:, None], stack, options=options, negatives=elsewhere[snippet])
        for name in MEASURES:
            means, _ = mean_of_frames(every[name, "frame"])
            for (reference, candidate), value in np.ndenumerate(means):
                if reference != candidate:
                    values[row, place[list(found)[candidate], list(found)[reference], name]] = value
    found_means = average_snippets(
        values, [sessions[name] for name in people], seed=seed, resamples=resamples, level=level
    )
    table = pd.DataFrame(series, columns=COLUMNS[:3])
    return table.assign(value=found_means.value, low=found_means.low, high=found_means.high, n=found_means.n)
