"""Choose and train the linear heads of all tasks and variables, and let them answer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg import tables
from nbpkg.errors import FoldError, TableError
from nbpkg.training.linear import Course, Head, Setting, fit_head, predict

__all__ = [
    "GRID",
    "Head",
    "HeadSearch",
    "Setting",
    "align_features",
    "fit_head",
    "predict",
    "predict_samples",
    "search_heads",
]

GRID = tuple(Setting(weight_decay) for weight_decay in (0.0, 1e-4, 1e-3, 1e-2, 1e-1, 1.0))


class HeadSearch(NamedTuple):
    """Tables ``trials`` and ``history``, and the chosen head of each (task, variable)."""

    trials: pd.DataFrame
    history: pd.DataFrame
    heads: dict[tuple[str, str], Head]


def search_heads(
    features: NDArray[np.float32],
    samples: pd.DataFrame,
    *,
    folds: pd.DataFrame,
    settings: Sequence[Setting] = GRID,
) -> HeadSearch:
    """Choose a setting for each task and variable by leaving out one training fold at a time, then train on all.

    The score is balanced accuracy on the fold left out; folds in which it is undefined (one class only) do not count.
    Of equal settings the one with the larger weight decay is taken.

    Parameters
    ----------
    features
        [samples, D], row by row those of `samples` (see `align_features`).
    samples
        Table ``samples``, of training sessions only.
    folds
        Table ``folds``.
    settings
        The grid.

    Returns
    -------
    HeadSearch
        Tables ``trials`` and ``history`` (train and validation loss, validation balanced accuracy after each step; fold
        ``none`` is the final training) and the heads, keyed by (task, variable).

    Raises
    ------
    FoldError
        When a row is of a test session or of no fold, or when no setting can be scored for some variable.
    TableError
        When features and samples differ in length, or settings repeat.
    """
    number = _training_folds(samples, folds)
    if len(features) != len(samples) or not settings or len(set(settings)) != len(settings):
        raise TableError(
            f"{len(features)} rows of features, {len(samples)} samples and {len(settings)} settings do not fit.",
            expected="One row of features per sample, and at least one setting, none twice.",
            remedy="Use align_features, and look at the grid.",
        )
    trials: list[dict[str, object]] = []
    history: list[dict[str, object]] = []
    heads: dict[tuple[str, str], Head] = {}
    keys = pd.MultiIndex.from_frame(samples[["task", "variable"]])
    for task, variable in sorted(set(keys)):
        rows = np.flatnonzero((samples["task"] == task) & (samples["variable"] == variable))
        problem = _Problem(task, variable, features[rows], samples["label"].to_numpy()[rows], number[rows])
        scores = {setting: _validate(problem, setting, history) for setting in settings}
        chosen = _choose(scores)
        trials += _trials(problem, scores, chosen)
        head, course = fit_head(problem.features, problem.labels, setting=chosen, classes=problem.classes)
        history += _history(problem, "none", chosen, course)
        own = {
            "task": task,
            "variable": variable,
            "sessions": json.dumps(sorted(set(samples["session"].to_numpy()[rows]))),
            "score": repr(float(np.mean(list(scores[chosen].values())))),
        }
        heads[task, variable] = Head(head.arrays, {**head.metadata, **own})
    return HeadSearch(tables.from_rows(trials, "trials"), tables.from_rows(history, "history"), heads)


def predict_samples(
    heads: Mapping[tuple[str, str], Head],
    features: NDArray[np.float32],
    *,
    samples: pd.DataFrame,
    folds: pd.DataFrame,
) -> pd.DataFrame:
    """Answer every sample with the head of its task and variable.

    Parameters
    ----------
    heads
        From `search_heads`.
    features
        [samples, D], row by row those of `samples`.
    samples
        Table ``samples``, e.g. of the test sessions.
    folds
        Table ``folds``, for the column ``fold``.

    Returns
    -------
    pandas.DataFrame
        Table ``predictions``; score is the probability of class 1 (NaN with more than two classes).
    """
    parts = []
    asked = samples.reset_index(drop=True)
    asked["fold"] = asked["session"].map(folds.set_index("session")["fold"])
    for (task, variable), part in asked.groupby(["task", "variable"], sort=True):
        if (task, variable) not in heads:
            raise TableError(
                f"There is no head for {task} {variable}.",
                expected=f"One of {', '.join(' '.join(key) for key in heads)}.",
                remedy="Train it first.",
            )
        probability = predict(heads[str(task), str(variable)], features[part.index.to_numpy()])
        score = probability[:, 1] if probability.shape[1] == 2 else np.full(len(part), np.nan)
        parts.append(part.assign(score=score, predicted=probability.argmax(axis=1)))
    columns = [column.name for column in tables.CONTRACTS["predictions"].columns]
    found = pd.concat(parts).sort_index() if parts else asked.assign(score=0.0, predicted=0)
    return tables.check(found[columns], "predictions")


def align_features(features: NDArray[np.float32], rows: pd.DataFrame, *, samples: pd.DataFrame) -> NDArray[np.float32]:
    """Pick for every sample the features of its clip.

    Parameters
    ----------
    features
        [clips, D].
    rows
        Table ``features``, which says the row of each clip.
    samples
        Table ``samples``.

    Raises
    ------
    TableError
        When a sample's clip has no features.
    """
    row = samples["clip_id"].map(rows.set_index("clip_id")["row"])
    lacking = sorted(set(samples.loc[row.isna(), "clip_id"]))
    if lacking:
        raise TableError(
            f"{len(lacking)} clips have no features: {', '.join(lacking[:5])}.", remedy="Bake the features again."
        )
    picked: NDArray[np.float32] = features[row.to_numpy(np.int64)]
    return picked


class _Problem(NamedTuple):
    task: str
    variable: str
    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    folds: NDArray[np.int64]

    @property
    def classes(self) -> int:
        """Number of classes among the training labels, at least two."""
        return max(2, int(self.labels.max()) + 1)


def _training_folds(samples: pd.DataFrame, folds: pd.DataFrame) -> NDArray[np.int64]:
    """Fold of every sample; refuses samples of test sessions."""
    of_session = folds.set_index("session")
    for kind, sessions in (
        ("the test fold", set(of_session.index[of_session["role"] == "test"])),
        ("no fold", set(samples["session"]) - set(of_session.index)),
    ):
        rows = samples["session"].isin(sessions)
        if rows.any():
            raise FoldError(
                f"{int(rows.sum())} samples of {kind} were handed to training.",
                where=f"sessions {', '.join(sorted(set(samples.loc[rows, 'session']))[:5])}",
                expected="Samples of training sessions only; the test fold is looked at once, at the end.",
                remedy="Select the samples by the role of their session in the table 'folds'.",
            )
    if samples["session"].map(of_session["fold"]).nunique() < 2:
        raise FoldError(
            "All training samples are of one fold.",
            expected="At least two training folds, so that one can be left out.",
            remedy="Ask for three folds or more.",
        )
    return samples["session"].map(of_session["fold"]).to_numpy(np.int64)


def _validate(problem: _Problem, setting: Setting, history: list[dict[str, object]]) -> dict[int, float]:
    """Leave out one fold at a time: fold → score; folds that cannot be scored or trained without are left out."""
    scores = {}
    for fold in sorted(set(problem.folds.tolist())):
        out = problem.folds == fold
        if len(np.unique(problem.labels[out])) < problem.classes or len(np.unique(problem.labels[~out])) < 2:
            continue
        _, course = fit_head(
            problem.features[~out],
            problem.labels[~out],
            setting=setting,
            classes=problem.classes,
            validation=(problem.features[out], problem.labels[out]),
        )
        scores[fold] = course.validation_score[-1]
        history += _history(problem, str(fold), setting, course)
    if not scores:
        raise FoldError(
            f"No training fold of {problem.task} {problem.variable} can be left out for validation.",
            expected="A fold that holds every class while the others hold at least two.",
            remedy="Use fewer folds or more sessions, or leave this task and variable out.",
        )
    return scores


def _choose(scores: Mapping[Setting, dict[int, float]]) -> Setting:
    """Take the best mean score; of equals the strongest weight decay, the simplest head."""
    return max(scores, key=lambda setting: (round(float(np.mean(list(scores[setting].values()))), 12), setting))


def _trials(problem: _Problem, scores: Mapping[Setting, dict[int, float]], chosen: Setting) -> list[dict[str, object]]:
    return [
        {
            "task": problem.task,
            "variable": problem.variable,
            "setting": setting.name,
            "score": float(np.mean(list(by_fold.values()))),
            "low": min(by_fold.values()),
            "high": max(by_fold.values()),
            "folds": len(by_fold),
            "chosen": setting == chosen,
        }
        for setting, by_fold in scores.items()
    ]


def _history(problem: _Problem, fold: str, setting: Setting, course: Course) -> list[dict[str, object]]:
    own = {"task": problem.task, "variable": problem.variable, "fold": fold, "setting": setting.name}
    curves = (
        ("train", "loss", course.train_loss),
        ("validation", "loss", course.validation_loss),
        ("validation", "balanced_accuracy", course.validation_score),
    )
    return [
        {**own, "step": step, "split": split, "metric": metric, "value": value}
        for split, metric, values in curves
        for step, value in enumerate(values)
    ]
