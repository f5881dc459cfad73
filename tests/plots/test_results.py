"""Figures of folds, training and evaluation: what they show, and that every panel says n."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure

from nbpkg import tables
from nbpkg.annotations.agreement import count_pairs, measure_agreement
from nbpkg.annotations.scheme import AnnotationScheme
from nbpkg.errors import TableError
from nbpkg.folds import search_folds, strata_durations
from nbpkg.metrics import curves, evaluation, machine
from nbpkg.metrics.covariates import build_covariates, score_by_covariate
from nbpkg.plots import comparison
from nbpkg.plots import evaluation as results
from nbpkg.plots import folds as folds_figures
from nbpkg.plots.annotations import agreement_matrices

COLUMNS = ["session", "rater", "task", "variable", "value", "start_ms", "end_ms"]


def words(figure: Figure) -> str:
    """All text of a figure, drawn once so that tick labels exist."""
    figure.canvas.draw()
    return " | ".join(text.get_text() for text in figure.findobj(match=pyplot.Text) if text.get_text())


@pytest.fixture(scope="module")
def spans() -> pd.DataFrame:
    random = np.random.default_rng(0)
    rows = []
    for session in range(6):
        for rater in "ab":
            for start, task in ((0, "eggs"), (60_000, "drums")):
                cut = int(random.integers(10_000, 50_000))
                rows.append((f"s{session}", rater, task, "attending", "no", start, start + cut))
                rows.append((f"s{session}", rater, task, "attending", "yes", start + cut, start + 60_000))
    return tables.check(pd.DataFrame(rows, columns=COLUMNS), "spans")


@pytest.fixture(scope="module")
def search(spans):
    return search_folds(strata_durations(spans, "no"), seed=0, folds=3, tries=200, require_unrated_test_session=False)


@pytest.fixture(scope="module")
def samples(spans) -> pd.DataFrame:
    """Clips on one grid for both raters, labelled by what each said at the clip's start."""
    rows = []
    for span in spans.itertuples():
        for start in range(-(-span.start_ms // 5000) * 5000, span.end_ms, 5000):
            clip = f"{span.session}-{start}"
            key = (f"{clip}-{span.rater}", span.session, span.session, span.rater, span.task, span.variable, clip)
            rows.append((*key, start, start + 5000, int(span.value == "yes")))
    columns = [column.name for column in tables.CONTRACTS["samples"].columns]
    return tables.check(pd.DataFrame(rows, columns=columns), "samples")


@pytest.fixture(scope="module")
def predictions(samples) -> pd.DataFrame:
    """Answers better than chance; sessions s0 and s1 train, s2 validates, the others are the test fold."""
    clip = samples.groupby("clip_id")["label"].transform("mean")
    random = np.random.default_rng(0).random(samples["clip_id"].nunique())[pd.factorize(samples["clip_id"])[0]]
    fold = samples["session"].map({"s0": 0, "s1": 0, "s2": 1}).fillna(2).astype(int)
    table = samples.drop(columns=["group", "clip_id"]).assign(fold=fold, score=(0.6 * clip + 0.4 * random).clip(0, 1))
    table = table.assign(role=fold.map({0: "train", 1: "validation", 2: "test"}))
    return tables.check(table.assign(predicted=(table["score"] > 0.5).astype(int)), "predictions")


@pytest.fixture(scope="module")
def metrics(predictions, samples) -> pd.DataFrame:
    return evaluation.score_predictions(predictions, samples, seed=0, resamples=50)


def test_balance_shows_every_stratum_the_whole_and_chance(search):
    text = words(folds_figures.balance(search.balance, search.folds))
    for expected in (
        "eggs attending",
        "drums attending",
        "95 % of random dealings",
        "all folds together",
        "test 2 (n =",
    ):
        assert expected in text
    assert "n = 6 sessions" in text


def test_sizes_show_every_participant_or_bars_when_there_are_too_many(search):
    text = words(folds_figures.sizes(search.folds))
    assert all(f"s{session}" in text for session in range(6))
    assert "n = 2" in text
    many = pd.DataFrame({"session": [f"s{i}" for i in range(90)], "fold": [i % 3 for i in range(90)]})
    many = many.assign(group=many["session"], role=np.where(many["fold"] == 2, "test", "train"))
    figure = folds_figures.sizes(many)
    assert "n = 30" in words(figure)
    assert len(figure.axes[0].patches) == 3


def test_search_trace_shows_both_scores(search):
    text = words(folds_figures.search_trace(search.facts))
    assert f"{search.facts['random_score']:.3f}" in text
    assert f"{search.facts['score']:.3f}" in text
    assert "n = 200" in text


def test_scores_show_n_chance_ceiling_and_the_majority(metrics):
    figure = results.scores(metrics)
    text = words(figure)
    row = metrics.query("by == 'majority' and metric == 'balanced_accuracy' and task == 'eggs'").iloc[0]
    for expected in (
        "answering without looking",
        "one rater against another",
        "rater against majority of the others",
        "model, majority labels",
        "95 % over sessions",
        "72 labels, 3 sessions",
        f"n = {row['n']} clips with a majority",
    ):
        assert expected in text
    marks = [line.get_xdata()[0] for line in figure.axes[0].lines if line.get_marker() == "o"]
    drawn = metrics[metrics["by"].isin(["all", "majority"]) & (metrics["metric"] == "balanced_accuracy")]
    assert sorted(marks) == sorted(drawn["value"])
    brier = words(results.scores(metrics, metric="brier"))
    assert "lower is better" in brier
    assert "one rater against another" not in brier  # people give no probabilities
    with pytest.raises(TableError, match="no 'kappa'"):
        results.scores(metrics, metric="kappa")


def test_scores_say_why_one_is_undefined(predictions, samples):
    one = evaluation.score_predictions(predictions.assign(label=1), samples.assign(label=1), seed=0, resamples=50)
    assert "undefined: a class has no sample" in words(results.scores(one))
    assert "undefined" in words(comparison.score_by_rater(one))


def test_folds_show_their_roles_and_raters_their_own_score(metrics):
    text = words(comparison.score_by_fold(metrics))
    for expected in ("train fold", "validation fold", "test fold", "48, 2", "one rater against another", "fold"):
        assert expected in text
    figure = comparison.score_by_rater(metrics, metric="accuracy")
    text = words(figure)
    for expected in ("model against this rater", "36, 3", "answering without looking", "accuracy (higher is better)"):
        assert expected in text
    drawn = {line.get_xdata()[0] for axis in figure.axes for line in axis.lines if line.get_marker() == "o"}
    assert drawn == set(metrics.query("by == 'rater' and metric == 'accuracy'")["value"])
    with pytest.raises(TableError, match="no 'accuracy' by fold"):
        comparison.score_by_fold(metrics[metrics["by"] == "all"], metric="accuracy")


def test_left_out_shows_rater_and_machine_on_the_same_line(predictions, samples):
    compared = machine.compare_left_out(machine.machine_codes(predictions, samples), seed=0, resamples=50)
    figure = comparison.left_out(compared)
    text = words(figure)
    for expected in ("a left out", "b left out", "mean of these", "nobody left out", "agreement by chance", "36, 3"):
        assert expected in text
    drawn = {line.get_xdata()[0] for axis in figure.axes for line in axis.lines if line.get_marker() in ("o", "D")}
    kept = compared.query("statistic == 'cohen_kappa' and compared != 'difference' and task != 'all'")
    assert drawn == set(kept["value"])
    assert "all · all" in words(comparison.left_out(compared, statistic="raw_agreement", pooled=True))
    with pytest.raises(TableError, match="no 'alpha'"):
        comparison.left_out(compared, statistic="alpha")


def test_covariates_show_every_level_with_n(predictions, samples):
    sessions = pd.DataFrame({"session": [f"s{i}" for i in range(6)], "group": "x", "sibling": [0, 1, 0, 1, 0, 0]})
    scored = score_by_covariate(predictions, build_covariates(samples, sessions), seed=0, resamples=50)
    text = words(comparison.covariates(scored))
    for expected in ("sibling:", "yes", "rater:", "time in task:", "early", "raters agree:", "not a proof", "48, 1"):
        assert expected in text
    assert words(comparison.covariates(scored[scored["task"] == "eggs"])), "a single pair has no rows for all together"
    assert "eggs · attending" in words(comparison.covariates(scored, task="eggs", variable="attending"))
    with pytest.raises(TableError, match="nothing to draw for eggs laughing"):
        comparison.covariates(scored, task="eggs", variable="laughing")


def test_machine_stands_in_the_matrix_of_raters(predictions, samples):
    scheme = AnnotationScheme.model_validate(
        {
            "folder": "", "sessions": [f"s{i}" for i in range(6)], "raters": ["a", "b"], "tasks": ["eggs", "drums"],
            "variables": ["attending"],
            "tiers": {"attending": {"values": ["yes"]}, "task": {"values": ["eggs", "drums"]}},
        }
    )  # fmt: skip
    wide = machine.machine_codes(predictions, samples)
    agreement = measure_agreement(count_pairs(wide, scheme, labels="binary"), resamples=50)
    assert "machine" in words(agreement_matrices(agreement, labels="binary"))


def test_confusions_write_every_count(predictions):
    counts = curves.count_confusions(predictions)
    text = words(results.confusions(counts))
    assert all(str(n) in text for n in counts["n"])
    assert "n = " in text


def test_sessions_of_one_class_are_marked_undefined(predictions):
    label = predictions["label"].where((predictions["session"] != "s4") | (predictions["task"] != "eggs"), 1)
    text = words(results.score_by_session(curves.score_sessions(predictions.assign(label=label))))
    assert "undefined: one class only" in text
    assert "s5" in text
    assert "s0" not in text  # a training session


def test_curves_and_calibration_say_n(predictions):
    n = ((predictions["task"] == "eggs") & (predictions["role"] == "test")).sum()
    for figure in (
        results.roc(curves.trace_roc(predictions)),
        results.precision_recall(curves.trace_precision(predictions)),
        results.calibration(curves.bin_calibration(predictions)),
    ):
        assert f"n = {n}" in words(figure)


def test_timelines_show_raters_tasks_and_the_model(predictions, spans):
    text = words(results.timelines(predictions, spans, session="s1", absent="no"))
    for expected in (
        "a",
        "b",
        "model",
        "eggs",
        "drums",
        "predicted probability",
        "minutes in session s1 (train fold)",
        "clips)",
    ):
        assert expected in text
    with pytest.raises(TableError, match="'s9' has no spans"):
        results.timelines(predictions, spans, session="s9", absent="no")


def test_figures_are_closed_so_that_notebooks_show_them_once(search):
    before = pyplot.get_fignums()
    folds_figures.search_trace(search.facts)
    assert pyplot.get_fignums() == before
