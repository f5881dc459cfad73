"""The table of results for several people: every score beside the best constant answer and what annotators reach.

Scores are those of the confusion matrix, the area under the ROC curve and the best k classes. All are the mean over the
repetitions of a system; intervals resample families, with the repetitions averaged inside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg import tables
from nbpkg.errors import TableError
from nbpkg.metrics import intervals
from nbpkg.metrics.classification import accuracy
from nbpkg.metrics.people import confusion as scores
from nbpkg.metrics.people.passes import ROLES, UNIT, Array, Passes, check_people, gather, split_passes

Row = dict[str, object]
Classify = Callable[[NDArray[np.float64]], NDArray[np.int64]]
PARTS = {"all": "", "fold": "fold", "participant": "family", "session": "session"}
SCORES: dict[str, tuple[Callable[[Array], Array], str]] = {
    "mean_class_accuracy": (scores.mean_class_accuracy, "no clips"),
    "balanced_accuracy": (scores.balanced_accuracy, "no clips"),
    "macro_f1": (scores.macro_f1, "no clips"),
    "weighted_f1": (scores.weighted_f1, "no clips"),
    "kappa_quadratic": (scores.quadratic_kappa, "labels and answers are one and the same class"),
}
NORMALISE: tuple[scores.Normalise, ...] = ("none", "true", "predicted", "all")
CONFUSIONS = ["system", "variant", "role", "normalise", "label", "predicted", "value", "n", "repeats"]
RATED = ["clip", "rater", "label", "answer"]


@dataclass(frozen=True)
class _Plan:
    """What is computed for every part."""

    classes: tuple[str, ...]
    topk: tuple[int, ...]
    seed: int
    resamples: int
    rated: pd.DataFrame | None


def summarise_people(
    predictions: pd.DataFrame,
    *,
    classes: Sequence[str],
    seed: int,
    topk: Sequence[int] = (1,),
    resamples: int = 2000,
    rated: pd.DataFrame | None = None,
    folds: pd.DataFrame | None = None,
    checkpoint: str = "best",
) -> pd.DataFrame:
    """Score every system and variant on the whole, and for each fold, family and session.

    Parameters
    ----------
    predictions
        Table ``people_predictions``, of one system or of several.
    classes
        Names of the classes in the order of their indices.
    seed, resamples
        Of the bootstrap. Families are resampled; where a part holds one family, its recordings. The ``reason`` says
        which.
    topk
        For which k to report the share of clips whose class is among the best k.
    rated
        From `rate_ceiling`; None when nobody rated the clips.
    folds
        Table ``folds``; without it there are no rows by fold.
    checkpoint
        ``best`` or ``last``: whose answers are scored.

    Returns
    -------
    pandas.DataFrame
        Table ``metrics``: task the system, variable the variant, ``by`` with ``participant`` for a family, role
        ``validation`` for families held out. Metrics: top<k>_acc, mean_class_accuracy (as published),
        balanced_accuracy, macro_f1, weighted_f1, kappa_quadratic, auc (mean over the classes, each against the rest)
        and f1_<class>. Chance is what always answering the most frequent class of all clips of the role gets; for
        f1_<class> what always answering that class gets. Ceiling is an annotator against the class made of the others.

    Raises
    ------
    TableError
        As `check_people`, or when nothing is held out or tested.
    """
    table = _pick(predictions, classes, checkpoint, folds)
    plan = _Plan(tuple(classes), tuple(topk), seed, resamples, rated)
    rows: list[Row] = []
    for (system, variant, role), whole in table.groupby(list(UNIT), sort=True):
        order = _rank_by_frequency(whole, len(classes))
        for by, name, part in _split(whole):
            facts = {"task": system, "variable": variant, "by": by, "name": name, "role": ROLES[str(role)]}
            rows += [{**facts, **row} for row in _measure(part, plan, order)]
    return tables.from_rows(rows, "metrics")


def rate_ceiling(ratings: pd.DataFrame, classify: Classify, *, raters: Sequence[str] = ()) -> pd.DataFrame:
    """Let every annotator answer for the class that the others' mean rating makes.

    Parameters
    ----------
    ratings
        clip (named as the clips of the predictions), rater, rating.
    classify
        Ratings [n] to class indices [n], e.g. `nbpkg.annotations.people.ratings.classify` with its cuts.
    raters
        Annotators that count; empty for all.

    Returns
    -------
    pandas.DataFrame
        clip, rater, label (class made of the others) and answer (class of the annotator's own rating); clips that only
        one annotator rated are left out.
    """
    own = ratings[ratings["rater"].isin(list(raters))] if len(raters) else ratings
    wide = own.pivot_table(index="clip", columns="rater", values="rating").astype("float64")
    parts = []
    for rater in wide.columns:
        others = wide.drop(columns=rater).mean(axis=1)
        both = wide[rater].notna() & others.notna()
        if both.any():
            label, answer = classify(others[both].to_numpy()), classify(wide.loc[both, rater].to_numpy())
            clips = wide.index[both].astype("str")
            parts.append(pd.DataFrame({"clip": clips, "rater": str(rater), "label": label, "answer": answer}))
    return pd.concat(parts, ignore_index=True)[RATED] if parts else pd.DataFrame(columns=RATED)


def count_people(predictions: pd.DataFrame, *, classes: Sequence[str], checkpoint: str = "best") -> pd.DataFrame:
    """Count clips by class and answer in the four ways of putting shares, for figures.

    Parameters
    ----------
    predictions, classes, checkpoint
        As in `summarise_people`.

    Returns
    -------
    pandas.DataFrame
        system, variant, role, normalise (none, true, predicted, all), label, predicted, value (a share, or for none
        the number of answers), n (answers; all repetitions together) and repeats; all classes, whether they occur or
        not.
    """
    table = check_people(predictions, classes)
    table = table[(table["checkpoint"] == checkpoint) & table["role"].isin(list(ROLES))]
    rows = []
    for (system, variant, role), whole in table.groupby(list(UNIT), sort=True):
        repeats = len(split_passes(whole))
        for way in NORMALISE:
            found, occurring = scores.count_confusion(whole["truth"].to_numpy(), whole["predicted"].to_numpy(), way)
            matrix = np.zeros((len(classes), len(classes)))
            matrix[np.ix_(occurring, occurring)] = found
            for (label, answer), value in np.ndenumerate(matrix):
                rows.append((system, variant, role, way, label, answer, value, len(whole), repeats))
    return pd.DataFrame(rows, columns=CONFUSIONS)


def _pick(
    predictions: pd.DataFrame, classes: Sequence[str], checkpoint: str, folds: pd.DataFrame | None
) -> pd.DataFrame:
    """Take the answers that are scored, with their folds."""
    table = check_people(predictions, classes)
    table = table[(table["checkpoint"] == checkpoint) & table["role"].isin(list(ROLES))]
    if table.empty:
        raise TableError(
            f"There are no answers of checkpoint {checkpoint!r} that can be scored.",
            where="table 'people_predictions'",
            expected=f"Rows whose role is one of {', '.join(ROLES)}.",
        )
    if folds is not None:
        table = table.assign(fold=table["session"].map(dict(zip(folds["session"], folds["fold"], strict=True))))
    return table


def _rank_by_frequency(whole: pd.DataFrame, classes: int) -> NDArray[np.int64]:
    """Order the classes of different clips by how often they occur, the most frequent first."""
    truth = whole.drop_duplicates("sample_id")["truth"].to_numpy(np.int64)
    return np.argsort(-np.bincount(truth, minlength=classes), kind="stable").astype(np.int64)


def _split(whole: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Cut answers into named parts."""
    for by, column in PARTS.items():
        if not column:
            yield by, "", whole
        elif column in whole.columns:
            kept = whole[whole[column].notna() & (whole[column].astype("str") != "")]
            parts = kept.astype({"fold": "int64"}) if column == "fold" else kept
            for name, part in parts.groupby(column, sort=True):
                yield by, str(name), part


@dataclass(frozen=True)
class _Found:
    """One score: of each repetition, and of each in every resample."""

    metric: str
    each: Array  # [passes]
    drawn: Array | None  # [resamples, passes]
    chance: float
    ceiling: float = float("nan")
    reason: str = ""


def _measure(part: pd.DataFrame, plan: _Plan, order: NDArray[np.int64]) -> Iterator[Row]:
    """Compute all scores of a part; `order` ranks the classes of the whole by frequency."""
    passes = gather(part, plan.classes)
    weights = passes.weights(seed=plan.seed, resamples=plan.resamples)
    raters, rated = _count_raters(part, plan)
    about = [_say_passes(passes), _say_groups(passes)]
    if 0 < rated < passes.clips:
        about.append(f"ceiling from {rated} of {passes.clips} clips")
    found = [
        *_top(passes, plan, order, weights=weights, raters=raters),
        *_of_confusions(passes, plan, order, weights=weights, raters=raters),
        _area(passes, plan, weights),
    ]
    for one in found:
        interval = intervals.Interval(np.nan, np.nan, passes.groups, 1.0)
        if one.drawn is not None:
            interval = intervals.percentile_interval(one.drawn.mean(axis=1), n_groups=passes.groups)
        known = one.each[~np.isnan(one.each)]
        lacking = "" if len(known) in (0, len(one.each)) else f"undefined in {len(one.each) - len(known)} repetitions"
        yield {
            "metric": one.metric,
            "direction": "higher",
            "value": float(known.mean()) if len(known) else np.nan,
            "low": interval.low,
            "high": interval.high,
            "chance": one.chance,
            "ceiling": one.ceiling,
            "n": passes.clips,
            "n_groups": passes.groups,
            "reason": "; ".join(text for text in (one.reason, lacking, *about) if text),
        }


def _of_confusions(
    passes: Passes, plan: _Plan, order: NDArray[np.int64], *, weights: Array | None, raters: Array
) -> Iterator[_Found]:
    """Compute the scores that follow from confusion matrices."""
    counts = passes.count()
    whole = counts.sum(axis=1)
    drawn = None if weights is None else np.tensordot(weights, counts, axes=(1, 1))
    constant = scores.answer_majority(whole.sum(axis=0), int(order[0]))
    for name, (score, undefined) in SCORES.items():
        each = score(whole)
        chance = 0.0 if name == "kappa_quadratic" else float(score(constant))
        reason = undefined if np.isnan(each).all() else ""
        draws = None if drawn is None else score(drawn)
        yield _Found(name, each, draws, chance, average_known(score(raters)), reason)
    f1, people = scores.class_f1(whole), scores.class_f1(raters)
    draws_f1 = None if drawn is None else scores.class_f1(drawn)
    for label, name in enumerate(plan.classes):
        always = scores.class_f1(scores.answer_majority(whole.sum(axis=0), label))[label]
        draws = None if draws_f1 is None else draws_f1[..., label]
        reason = "neither class nor answer" if np.isnan(f1[:, label]).all() else ""
        yield _Found(f"f1_{name}", f1[:, label], draws, float(always), average_known(people[:, label]), reason)


def _top(
    passes: Passes, plan: _Plan, order: NDArray[np.int64], *, weights: Array | None, raters: Array
) -> Iterator[_Found]:
    """Compute the shares of clips whose class is among the best k."""
    labels = np.concatenate([one.truth for one in passes.each])
    for k in plan.topk:
        counts = passes.count_hits(k)
        sums = counts.sum(axis=1)
        drawn = None if weights is None else np.tensordot(weights, counts, axes=(1, 1))
        draws = None if drawn is None else drawn[..., 0] / np.where(drawn[..., 1] > 0, drawn[..., 1], np.nan)
        chance = float(np.isin(labels, order[:k]).mean())
        size = passes.classes
        reason = f"always 1: {k} of {size} classes" if k >= size else ""
        ceiling = average_known(accuracy(raters)) if k == 1 else float("nan")  # people name one class
        yield _Found(f"top{k}_acc", sums[:, 0] / sums[:, 1], draws, chance, ceiling, reason)


def _area(passes: Passes, plan: _Plan, weights: Array | None) -> _Found:
    """Average the areas under the ROC curves of the classes that have clips and are not all there is."""
    table, lacking = passes.areas()
    known = [label for label in range(passes.classes) if label not in lacking]
    if not known:
        return _Found("auc", np.full(len(passes.each), np.nan), None, 0.5, reason="only one class occurs")
    # a draw that lacks a class would be another measure, so it is left out
    drawn = None if weights is None else passes.draw_areas(known, weights)
    without = ", ".join(plan.classes[label] for label in lacking)
    return _Found("auc", table[:, known].mean(axis=1), drawn, 0.5, reason=f"without class {without}" if without else "")


def _count_raters(part: pd.DataFrame, plan: _Plan) -> tuple[Array, int]:
    """Count each annotator's answers to the clips of a part, [raters, classes, classes], and these clips."""
    size = len(plan.classes)
    if plan.rated is None:
        return np.full((1, size, size), np.nan), 0
    own = plan.rated[plan.rated["clip"].isin(part["sample_id"])]
    found = [
        np.bincount(rows["label"] * size + rows["answer"], minlength=size * size).reshape(size, size)
        for _, rows in own.groupby("rater", sort=True)
    ]
    if not found:
        return np.full((1, size, size), np.nan), 0
    return np.stack(found).astype(np.float64), int(own["clip"].nunique())


def average_known(values: Array) -> float:
    """Return the mean of what is defined; NaN when nothing is."""
    known = np.asarray(values, np.float64)
    known = known[~np.isnan(known)]
    return float(known.mean()) if len(known) else float("nan")


def _say_passes(passes: Passes) -> str:
    return f"mean of {len(passes.each)} repetitions" if len(passes.each) > 1 else ""


def _say_groups(passes: Passes) -> str:
    if not passes.groups:
        return "families are unknown, so that there is no interval"
    if passes.groups < 2:
        return "one recording of one family, no interval"
    return "" if passes.of == "families" else f"interval over {passes.groups} {passes.of}"
