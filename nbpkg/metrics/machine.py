"""The machine as one more rater: side by side with people on the same clips, and in the place of each of them.

`machine_codes` makes the table that `nbpkg.annotations.agreement.count_pairs` takes (``labels="binary"``), so that
machine and people go through the same statistics.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg.errors import TableError
from nbpkg.metrics import classification as scores
from nbpkg.metrics import intervals

Array = NDArray[np.float64]
MACHINE, MAJORITY, NOBODY = "machine", "majority", "none"
CLIP = ["task", "variable", "session", "start_ms"]
STATISTICS = {"cohen_kappa": scores.KAPPA, "raw_agreement": scores.ACCURACY}
COLUMNS = [
    "task", "variable", "left_out", "compared", "statistic", "value", "low", "high", "n", "n_groups", "reason"
]  # fmt: skip


def take_majority(labels: Array, *, classes: int = 2) -> Array:
    """Take the label that most raters gave.

    Parameters
    ----------
    labels
        [clips, raters], class indices; NaN where a rater did not rate.
    classes
        Number of classes.

    Returns
    -------
    numpy.ndarray
        [clips]; NaN where nobody rated or two labels were given equally often.

    Examples
    --------
    >>> take_majority(np.array([[1, 1, 0], [1, 0, np.nan]])).tolist()
    [1.0, nan]
    """
    votes = np.stack([(labels == label).sum(axis=1) for label in range(classes)], axis=1)
    most = votes.max(axis=1, keepdims=True)
    is_clear = (most[:, 0] > 0) & ((votes == most).sum(axis=1) == 1)
    return np.where(is_clear, votes.argmax(axis=1), np.nan)


def machine_codes(predictions: pd.DataFrame, samples: pd.DataFrame, *, with_majority: bool = False) -> pd.DataFrame:
    """Put the raters and the machine side by side, one row per clip of the test fold.

    Parameters
    ----------
    predictions
        Table ``predictions``; rows of other roles than test are left out.
    samples
        Table ``samples``: the raters' labels, of the predicted clips also those that were not predicted.
    with_majority
        Add the majority label of the people as column ``majority``. It is no independent rater: for the mean agreement
        between people leave it out.

    Returns
    -------
    pandas.DataFrame
        task, variable, session, start_ms, one column of codes per rater (NaN where not rated), [majority,] machine.

    Raises
    ------
    TableError
        When no row is of the test fold, the machine answers one clip in two ways, or a rater has its name.
    """
    test = pick_test(predictions)
    taken = {MACHINE, MAJORITY} & set(samples["rater"])
    if taken:
        raise TableError(f"A rater is called {taken.pop()!r}.", remedy="Give this rater another name.")
    answers = one_answer(test).set_index(CLIP)["predicted"]
    wide = samples.pivot_table(index=CLIP, columns="rater", values="label").reindex(answers.index)
    wide.columns.name = None
    raters = list(wide.columns[wide.notna().any()])
    wide = wide[raters].astype(float)
    if with_majority:
        classes = max(2, int(samples["label"].max()) + 1)
        wide[MAJORITY] = take_majority(wide[raters].to_numpy(), classes=classes)
    return wide.assign(**{MACHINE: answers.astype(float)}).reset_index()


def pick_test(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the test fold, which alone say how good a model is.

    Raises
    ------
    TableError
        When there is none.
    """
    test = predictions[predictions["role"] == "test"]
    if test.empty:
        raise TableError(
            "Table 'predictions' holds no row with role 'test'.",
            expected="Answers for the clips of the test fold.",
            remedy="Predict the test fold too.",
        )
    return test


def one_answer(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return one row per clip: the machine sees a clip once, however many raters labelled it.

    Returns
    -------
    pandas.DataFrame
        task, variable, session, start_ms, end_ms, score (mean over the rows of the clip) and predicted.

    Raises
    ------
    TableError
        When the rows of one clip hold different answers.
    """
    clips = predictions.groupby([*CLIP, "end_ms"], sort=True)
    found = clips.agg(score=("score", "mean"), least=("predicted", "min"), predicted=("predicted", "max")).reset_index()
    differing = found[(found["least"] != found["predicted"]) | found.duplicated(CLIP, keep=False)]
    if len(differing):
        first = differing.iloc[0]
        raise TableError(
            f"The model answers {len(differing)} clips in two ways.",
            where=f"e.g. {first['task']} {first['variable']}, session {first['session']}, {first['start_ms']} ms",
            expected="One answer for all raters of a clip.",
            remedy="Predict every clip once.",
        )
    return found.drop(columns="least")


def compare_left_out(wide: pd.DataFrame, *, seed: int, resamples: int = 2000, level: float = 0.95) -> pd.DataFrame:
    """Compare each rater, and the machine in the rater's place, with the majority of the other raters.

    Both are held against the same labels of the same clips, so that their difference answers whether the machine is as
    good as the person left out. Clips on which the others are tied are left out; with two others these are all they
    disagree on, so that both scores look better than on all clips.

    Parameters
    ----------
    wide
        Result of `machine_codes`, with or without column ``majority``.
    seed, resamples, level
        As in `nbpkg.metrics.intervals.bootstrap_counts`; all rows of a group of clips see the same resamples.

    Returns
    -------
    pandas.DataFrame
        task, variable (each pair, and ``all``), left_out (the rater; ``all``: mean over them; ``none``: nobody, the
        machine against the majority of everyone), compared (``human``, ``machine`` or ``difference``, machine minus
        human), statistic (cohen_kappa, raw_agreement), value, low, high (over sessions), n (clips; of a mean all added
        up), n_groups (sessions) and reason (why the value is undefined).
    """
    rows: list[dict[str, object]] = []
    pairs = list(wide.groupby(["task", "variable"], sort=True))
    for (task, variable), part in [(("all", "all"), wide)] * (len(pairs) > 1) + pairs:
        number, names = pd.factorize(part["session"], sort=True)
        weights = intervals.draw_weights(len(names), seed=seed, resamples=resamples)
        compared = list(_confuse(part, number))
        for name, metric in STATISTICS.items():
            own = {"task": task, "variable": variable, "statistic": name}
            replaced: list[dict[str, _Drawn]] = []
            for left_out, tables_ in compared:
                found = {kind: _draw(table, metric, weights) for kind, table in tables_.items()}
                if left_out != NOBODY:
                    found["difference"] = _subtract(found["machine"], found["human"])
                    replaced.append(found)
                rows += [{**own, "left_out": left_out, "compared": k, **one.row(level)} for k, one in found.items()]
            # a rater for whom only one of the two is defined would pull the two means apart
            replaced = [found for found in replaced if not np.isnan(found["difference"].value)] or replaced
            for kind in replaced[0] if replaced else ():
                mean = _average([found[kind] for found in replaced])
                rows.append({**own, "left_out": "all", "compared": kind, **mean.row(level)})
    return pd.DataFrame(rows, columns=COLUMNS)


def _confuse(part: pd.DataFrame, session: NDArray[np.intp]) -> Iterator[tuple[str, dict[str, Array]]]:
    """Give for each rater left out the confusion matrices [sessions, k, k] of rater and machine; at last for nobody."""
    raters = [name for name in part.columns if name not in (*CLIP, MACHINE, MAJORITY)]
    labels, machine = part[raters].to_numpy(float), part[MACHINE].to_numpy(float)
    classes = max(2, int(np.nanmax(np.column_stack([labels, machine]), initial=0)) + 1)
    sessions = int(session.max()) + 1

    def count(truth: Array, answer: Array, kept: NDArray[np.bool_]) -> Array:
        cell = (session[kept] * classes + truth[kept].astype(int)) * classes + answer[kept].astype(int)
        table = np.bincount(cell, minlength=sessions * classes * classes)
        return table.reshape(sessions, classes, classes).astype(np.float64)

    for place, name in enumerate(raters) if len(raters) > 1 else ():
        others = take_majority(np.delete(labels, place, axis=1), classes=classes)
        kept = ~np.isnan(others) & ~np.isnan(labels[:, place]) & ~np.isnan(machine)
        yield name, {"human": count(others, labels[:, place], kept), "machine": count(others, machine, kept)}
    everyone = take_majority(labels, classes=classes)
    yield NOBODY, {"machine": count(everyone, machine, ~np.isnan(everyone) & ~np.isnan(machine))}


@dataclass(frozen=True)
class _Drawn:
    """A value with its resampled values, the clips and sessions behind it, and why it is undefined."""

    value: float
    draws: Array
    n: int
    sessions: NDArray[np.bool_]
    reason: str

    def row(self, level: float) -> dict[str, object]:
        """Return the columns of the result."""
        count = int(self.sessions.sum())
        found = intervals.percentile_interval(self.draws, n_groups=count, level=level)
        low, high = (np.nan, np.nan) if np.isnan(self.value) else (found.low, found.high)
        own = {"value": self.value, "low": low, "high": high, "n": self.n, "n_groups": count}
        return {**own, "reason": self.reason}


def _draw(table: Array, metric: scores.Metric, weights: Array) -> _Drawn:
    value, reason = scores.measure(metric, table.sum(axis=0))
    draws = metric.compute(np.tensordot(weights, table, axes=1))
    return _Drawn(value, draws, int(table.sum()), table.sum(axis=(1, 2)) > 0, reason)


def _subtract(machine: _Drawn, human: _Drawn) -> _Drawn:
    """Machine minus human, resample by resample: both stand before the same clips."""
    value, reason = machine.value - human.value, machine.reason or human.reason
    return _Drawn(value, machine.draws - human.draws, human.n, human.sessions, reason)


def _average(members: list[_Drawn]) -> _Drawn:
    """Take the plain mean over the raters left out, leaving undefined ones out."""
    values, draws = np.array([one.value for one in members]), np.stack([one.draws for one in members])
    known = ~np.isnan(draws)
    means = np.full(draws.shape[1], np.nan)
    np.divide(np.where(known, draws, 0).sum(axis=0), known.sum(axis=0), out=means, where=known.any(axis=0))
    is_known = bool(~np.isnan(values).all())
    reason = "" if is_known else "undefined for every rater"
    sessions = np.any([one.sessions for one in members], axis=0)
    value = float(np.nanmean(values)) if is_known else np.nan
    return _Drawn(value, means, sum(one.n for one in members), sessions, reason)
