"""From comparisons to results: means over snippets, intervals over sessions, beside chance and the human ceiling."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg.attention.comparing.controls import CONTROLS
from nbpkg.attention.comparing.measures import MEASURES
from nbpkg.metrics import intervals

Array = NDArray[np.float64]
COLUMNS = [
    "task", "variable", "source", "method", "condition", "metric", "level", "direction", "value", "low", "high",
    "chance", "chance_of", "ceiling", "n", "n_groups", "reason",
]  # fmt: skip
SERIES = ["source", "method", "condition", "metric", "level"]
NETWORK, RANDOM, HUMAN = "network", "random network", "human"
AGAINST_RANDOM = "network - random"
OTHER = "other snippet"
BLIND = tuple(name for name in CONTROLS if name != OTHER)  # controls that have seen no paint
RANKED = ("linear_correlation", "histogram_intersection", "earth_mover", "scanpath_saliency", "auc_shuffled")


class Means(NamedTuple):
    """Means over snippets, one for each series of values.

    Parameters
    ----------
    value, low, high
        float64 ``[k]``: mean and interval; NaN where undefined, bounds also with fewer than two sessions.
    n, n_groups
        int64 ``[k]``: snippets and sessions in which the values are defined.
    """

    value: Array
    low: Array
    high: Array
    n: NDArray[np.int64]
    n_groups: NDArray[np.int64]


def summarise_comparisons(
    comparisons: pd.DataFrame, *, seed: int, resamples: int = 2000, level: float = 0.95
) -> pd.DataFrame:
    """Average comparisons over snippets, per task and variable and over all of them.

    Parameters
    ----------
    comparisons
        Table ``comparisons``.
    seed
        The experiment's seed.
    resamples
        Bootstrap resamples of the sessions; all rows of one task and variable see the same ones.
    level
        Coverage of the intervals.

    Returns
    -------
    pandas.DataFrame
        Table ``attention``. Rows of task and variable ``all`` come first. Besides the sources of `comparisons`:

        - condition ``difference``: matching minus opposite, snippet by snippet;
        - source ``network - random``: the network minus the random network with the same method and condition.

        A difference is of the values as they are: where lower is better, a negative one speaks for the map of the own
        class or of the trained network. ``chance`` is the score of the best control (named in ``chance_of``) in the
        same rows of the summary; of a difference it is 0. Being the best of several, it is a little too good.
        ``ceiling`` is the human row's value, unknown for differences. ``n`` counts snippets, ``n_groups`` sessions.
    """
    rows: list[dict[str, object]] = []
    for (task, variable), part in _split(comparisons):
        values = part.set_index(["session", "snippet_id", *SERIES])["value"]
        wide = values.unstack(SERIES, sort=False)  # noqa: PD010 - a pivot table leaves out what is NaN throughout
        wide = pd.concat([wide, *_subtract(wide)], axis=1)
        sessions = wide.index.get_level_values("session")
        means = average_snippets(wide.to_numpy(), sessions, seed=seed, resamples=resamples, level=level)
        rows += [
            {"task": task, "variable": variable, **row}
            for row in _list_rows([tuple(key) for key in wide.columns], means)
        ]
    return pd.DataFrame(rows, columns=COLUMNS)


def average_snippets(
    values: Array, sessions: Sequence[str] | pd.Index, *, seed: int, resamples: int = 2000, level: float = 0.95
) -> Means:
    """Average over snippets, leaving undefined ones out, with intervals by bootstrap over sessions.

    Parameters
    ----------
    values
        ``[snippets, k]``, NaN where undefined.
    sessions
        Session of each snippet.
    seed, resamples, level
        As in `summarise_comparisons`.

    Examples
    --------
    >>> found = average_snippets(np.array([[1.0], [3.0], [np.nan]]), ["a", "b", "c"], seed=0)
    >>> float(found.value[0]), int(found.n[0]), float(found.low[0]), float(found.high[0])
    (2.0, 2, 1.0, 3.0)
    """
    number, names = pd.factorize(np.asarray(sessions))
    known = ~np.isnan(values)
    sums, counts = np.zeros((len(names), values.shape[1])), np.zeros((len(names), values.shape[1]))
    np.add.at(sums, number, np.where(known, values, 0))
    np.add.at(counts, number, known)
    weights = intervals.draw_weights(len(names), seed=seed, resamples=resamples)
    draws = _divide(weights @ sums, weights @ counts)
    groups = (counts > 0).sum(axis=0)
    bounds = [
        intervals.percentile_interval(column, n_groups=int(count), level=level)
        for column, count in zip(draws.T, groups, strict=True)
    ]
    low, high = (np.array([bound[place] for bound in bounds], np.float64) for place in (0, 1))
    mean = _divide(sums.sum(axis=0), counts.sum(axis=0))
    return Means(mean, low, high, known.sum(axis=0), groups)


def rank_methods(
    attention: pd.DataFrame,
    metrics: Sequence[str] = RANKED,
    *,
    level: str = "frame",
    condition: str = "matching",
    task: str = "all",
    variable: str = "all",
) -> pd.DataFrame:
    """Say of each method how far it gets from maps that know nothing to the human ceiling, the best first.

    Parameters
    ----------
    attention
        Table ``attention``.
    metrics, level, condition, task, variable
        Rows to take.

    Returns
    -------
    pandas.DataFrame
        source (``network``, ``random network`` or ``other snippet``), method, one column for each metric: percent of
        the way from the best of `BLIND` (0) to the people (100), NaN where people are not known or not better; and
        ``median`` over the defined ones, by which rows are ordered. What people painted on another snippet is no
        starting point but a row of its own: it carries their habits, which no map of a network can know.
    """
    rows = attention[
        (attention["task"] == task)
        & (attention["variable"] == variable)
        & (attention["level"] == level)
        & attention["condition"].isin([condition, ""])
        & attention["metric"].isin(metrics)
    ]
    rows = rows.assign(good=rows["value"] * rows["direction"].map({"higher": 1.0, "lower": -1.0}).astype(float))
    start = rows[rows["source"].isin(BLIND)].groupby("metric")["good"].max()
    people = rows[rows["source"] == HUMAN].groupby("metric")["good"].max()
    chosen = rows[rows["source"].isin([NETWORK, RANDOM, OTHER])]
    # Without rows a map of text stays text where pandas keeps text in Arrow.
    way, begun = (chosen["metric"].map(known).astype(float) for known in (people - start, start))
    share = 100 * (chosen["good"] - begun) / way.where(way > 0)
    table = chosen[["source", "method", "metric"]].assign(share=share)
    shares = table.set_index(["source", "method", "metric"])["share"]
    wide = shares.unstack("metric").reindex(columns=list(metrics))  # noqa: PD010 - pivot_table drops rows of NaN
    wide.columns.name = None
    ordered = wide.assign(median=wide.median(axis=1)).sort_values("median", ascending=False, kind="stable")
    return ordered.reset_index()


def headline(attention: pd.DataFrame) -> dict[str, float | str]:
    """Return the numbers of the method that correlates best with people, for the index of reports.

    Parameters
    ----------
    attention
        Table ``attention``.
    """
    rows = attention[
        (attention["task"] == "all") & (attention["metric"] == "linear_correlation") & (attention["level"] == "frame")
    ]
    rows = rows[(rows["source"] == NETWORK) & (rows["condition"] == "matching")]
    best = rows.sort_values("value", ascending=False, kind="stable")
    names = {"correlation with people": "value", "chance": "chance", "human ceiling": "ceiling"}
    facts = {name: float(best[column].iloc[0]) for name, column in names.items()}
    return {"most like people": str(best["method"].iloc[0]), **facts}


def _split(comparisons: pd.DataFrame) -> Iterator[tuple[tuple[str, str], pd.DataFrame]]:
    yield ("all", "all"), comparisons
    for (task, variable), part in comparisons.groupby(["task", "variable"], sort=True):
        yield (str(task), str(variable)), part


def _subtract(wide: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Give the differences of pairs of series, snippet by snippet."""
    for first, second, source, condition in (
        (("condition", "matching"), ("condition", "opposite"), None, "difference"),
        (("source", NETWORK), ("source", RANDOM), AGAINST_RANDOM, None),
    ):
        found = {}
        for key in wide.columns:
            parts = dict(zip(SERIES, key, strict=True))
            other = tuple({**parts, second[0]: second[1]}.values())
            if parts[first[0]] == first[1] and other in wide.columns:
                named = {**parts, "source": source or parts["source"], "condition": condition or parts["condition"]}
                found[tuple(named.values())] = wide[key] - wide[other]
        if found:
            yield pd.DataFrame(found, index=wide.index).rename_axis(columns=SERIES)


def _list_rows(keys: list[tuple[str, ...]], means: Means) -> Iterator[dict[str, object]]:
    """Put chance and ceiling beside each mean."""
    value_of = {key: float(value) for key, value in zip(keys, means.value, strict=True)}
    for place, key in enumerate(keys):
        source, _, condition, metric, level = key
        direction = MEASURES[metric].direction
        is_difference = source == AGAINST_RANDOM or condition == "difference"
        chance, chance_of = (0.0, "no difference") if is_difference else _best_control(value_of, metric, level)
        ceiling = np.nan if is_difference else value_of.get((HUMAN, "", "", metric, level), np.nan)
        row = {name: getattr(means, name)[place].item() for name in Means._fields}
        yield {
            **dict(zip(SERIES, key, strict=True)),
            "direction": direction,
            **row,
            "chance": chance,
            "chance_of": chance_of,
            "ceiling": ceiling,
            "reason": _say_why(source, row["n"], row["n_groups"], is_open=np.isnan(ceiling) and not is_difference),
        }


def _best_control(value_of: dict[tuple[str, ...], float], metric: str, level: str) -> tuple[float, str]:
    known = {name: value_of.get((name, "", "", metric, level), np.nan) for name in CONTROLS}
    known = {name: value for name, value in known.items() if not np.isnan(value)}
    if not known:
        return float("nan"), ""
    sign = 1 if MEASURES[metric].direction == "higher" else -1
    best = max(known, key=lambda name: sign * known[name])
    return known[best], best


def _say_why(source: str, n: int, n_groups: int, *, is_open: bool) -> str:
    """Say which number is missing and why; `is_open` when there is no ceiling."""
    if n == 0 and source == HUMAN:
        return "no snippet was painted by two people"
    if n == 0:
        return "defined for no snippet: the map is constant, or nothing to compare with was painted"
    missing = ["no interval: the snippets are of one session"] if n_groups < 2 else []
    missing += ["no ceiling: no snippet was painted by two people"] if is_open else []
    return "; ".join(missing)


def _divide(part: Array, whole: Array) -> Array:
    result: Array = np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
    return result
