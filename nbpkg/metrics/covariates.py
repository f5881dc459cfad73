"""Where a model does better and worse: scores by properties of session, rater and clip, and its worst clips.

With a handful of test sessions these tables describe, they do not prove: a property of two sessions is also everything
else about these two children, and of many levels some look odd by chance.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from nbpkg.errors import TableError
from nbpkg.metrics import classification as scores
from nbpkg.metrics import intervals
from nbpkg.metrics.machine import CLIP, pick_test

PAIR = ["task", "variable"]
THIRDS = ("early", "middle", "late")
COLUMNS = [
    "task", "variable", "covariate", "level", "metric", "value", "low", "high", "chance", "n", "n_groups", "reason"
]  # fmt: skip


def build_covariates(samples: pd.DataFrame, sessions: pd.DataFrame) -> pd.DataFrame:
    """Say for every sample what it may be easy or hard for.

    Parameters
    ----------
    samples
        Table ``samples``.
    sessions
        One row per session: session, group, and properties; those that are 0 or 1 everywhere are taken.

    Returns
    -------
    pandas.DataFrame
        sample_id; one column per property (yes, no), left out when all sessions of `samples` agree; rater; ``time in
        task`` (early, middle, late: thirds of the clip starts of session and task); ``raters agree`` (yes, no; empty
        when only one rater saw the clip). Where raters disagree no answer suits all of them: with two raters every
        answer is right half of the time.

    Raises
    ------
    TableError
        When a session of `samples` is not among `sessions`.
    """
    unknown = sorted(set(samples["session"]) - set(sessions["session"]))
    if unknown:
        raise TableError(
            f"Session {unknown[0]!r} is not in the table of sessions.", remedy="Take both from the same experiment."
        )
    found = samples[["sample_id"]].copy()
    facts = sessions.set_index("session").loc[samples["session"]].drop(columns="group", errors="ignore")
    for name in facts.columns:
        if sessions[name].isin([0, 1]).all() and len(set(facts[name])) > 1:
            found[name] = np.where(facts[name].to_numpy() == 1, "yes", "no")
    found["rater"] = samples["rater"]
    starts = samples.groupby(["session", "task"])["start_ms"]
    first, last = starts.transform("min"), starts.transform("max")
    third = (samples["start_ms"] - first) * 3 // (last - first + 1)
    found["time in task"] = third.map(dict(enumerate(THIRDS)))
    clips = samples.groupby([*CLIP, "end_ms"])["label"]
    said = np.where(clips.transform("nunique") == 1, "yes", "no")
    found["raters agree"] = pd.Series(said, index=samples.index, dtype=object).where(clips.transform("size") > 1)
    return found.reset_index(drop=True)


def score_by_covariate(
    predictions: pd.DataFrame, covariates: pd.DataFrame, *, seed: int, resamples: int = 2000, level: float = 0.95
) -> pd.DataFrame:
    """Score the test fold separately for every level of every covariate.

    Parameters
    ----------
    predictions
        Table ``predictions``; rows of other roles than test are left out.
    covariates
        A key and one column per covariate. The key is ``sample_id``; or ``session``, together with ``start_ms`` for
        one row per clip. Rows without a value (NaN, None) are left out.
    seed, resamples, level
        As in `nbpkg.metrics.intervals.bootstrap_counts`.

    Returns
    -------
    pandas.DataFrame
        task, variable, covariate, level, metric (balanced_accuracy, accuracy), value, low, high (bootstrap over
        sessions), chance (of the labels scored), n (samples), n_groups (sessions) and reason (why the value or its
        interval is undefined). Task and variable ``all`` hold all of them together. A covariate of which the test fold
        has one level only is left out: there is nothing to compare.

    Raises
    ------
    TableError
        When there is no key, or it repeats.
    """
    test = pick_test(predictions)
    key = ["sample_id"] if "sample_id" in covariates else [c for c in ("session", "start_ms") if c in covariates]
    if not key or covariates.duplicated(key).any():
        raise TableError(
            f"The covariates' key {' and '.join(key)} repeats." if key else "The covariates have no key.",
            expected="One row per sample_id, or per session (and start_ms).",
        )
    names = [name for name in covariates.columns if name not in key]
    joined = test[key].merge(covariates, on=key, how="left")[names].set_axis(test.index)
    pairs = [(str(task), str(variable), part) for (task, variable), part in test.groupby(PAIR, sort=True)]
    rows = []
    for task, variable, part in [("all", "all", test)] * (len(pairs) > 1) + pairs:
        for name in names:
            values = joined.loc[part.index, name]
            levels = _order(values)
            for value in levels if len(levels) > 1 else ():
                here = part[values == value]
                own = {"task": task, "variable": variable, "covariate": name, "level": str(value)}
                found = _score(here, seed=seed, resamples=resamples, level=level)
                rows += [{**own, **one} for one in found]
    return pd.DataFrame(rows, columns=COLUMNS)


def worst_clips(predictions: pd.DataFrame, count: int) -> pd.DataFrame:
    """Find the clips of the test fold that the model is most sure about and wrong, per task and variable.

    Parameters
    ----------
    predictions
        Table ``predictions``.
    count
        Clips per task and variable.

    Returns
    -------
    pandas.DataFrame
        task, variable, rank (from 1), session, start_ms, end_ms, score, predicted, positive (share of raters who gave
        label 1), wrong (share of raters contradicted), off (distance of score and label, mean over the raters; without
        scores as `wrong`) and raters (how many). A clip may be right: compare `wrong`.
    """
    test = pick_test(predictions)
    is_wrong = (test["predicted"] != test["label"]).astype(float)
    off = (test["score"] - test["label"]).abs().fillna(is_wrong)
    rows = test.assign(positive=(test["label"] == 1).astype(float), wrong=is_wrong, off=off)
    means = dict.fromkeys(("score", "positive", "wrong", "off"), "mean")
    clips = rows.groupby([*CLIP, "end_ms"]).agg({**means, "predicted": "first", "rater": "nunique"}).reset_index()
    ordered = clips.sort_values([*PAIR, "off", "session", "start_ms"], ascending=[True, True, False, True, True])
    ordered["rank"] = ordered.groupby(PAIR).cumcount() + 1
    columns = [
        *PAIR,
        "rank",
        "session",
        "start_ms",
        "end_ms",
        "score",
        "predicted",
        "positive",
        "wrong",
        "off",
        "raters",
    ]
    return ordered[ordered["rank"] <= count].rename(columns={"rater": "raters"})[columns].reset_index(drop=True)


def _order(values: pd.Series) -> list[str]:
    """List the levels of a covariate in an order to read them in."""
    known = set(values.dropna())
    if known <= set(THIRDS):
        return [name for name in THIRDS if name in known]
    return sorted(known, key=lambda value: (value == "no", str(value)))  # yes before no


def _score(part: pd.DataFrame, *, seed: int, resamples: int, level: float) -> Iterator[dict[str, object]]:
    """Score one level of one covariate."""
    label, answer = part["label"].to_numpy(), part["predicted"].to_numpy()
    session, names = pd.factorize(part["session"], sort=True)
    classes = max(2, int(max(label.max(), answer.max())) + 1)
    cell = (session * classes + label) * classes + answer
    table = np.bincount(cell, minlength=len(names) * classes**2).reshape(-1, classes, classes).astype(np.float64)
    whole = table.sum(axis=0)
    weights = intervals.draw_weights(len(names), seed=seed, resamples=resamples if len(names) > 1 else 0)
    drawn = np.tensordot(weights, table, axes=1)
    for metric in (scores.BALANCED_ACCURACY, scores.ACCURACY):
        value, reason = scores.measure(metric, whole)
        found = intervals.percentile_interval(metric.compute(drawn), n_groups=len(names), level=level)
        low, high = (np.nan, np.nan) if np.isnan(value) else (found.low, found.high)
        chance = metric.chance(whole.sum(axis=1) / whole.sum())
        lonely = "one session: no interval" if len(names) < 2 and not reason else ""
        own = {"metric": metric.name, "value": value, "low": low, "high": high, "chance": chance}
        yield {**own, "n": len(part), "n_groups": len(names), "reason": reason or lonely}
