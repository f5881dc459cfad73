"""Figures of folds, training and evaluation: what they show, and that every panel says n."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure

from nbpkg import tables
from nbpkg.errors import TableError
from nbpkg.folds import search_folds, strata_durations
from nbpkg.metrics import curves, evaluation
from nbpkg.plots import evaluation as results
from nbpkg.plots import folds as folds_figures
from nbpkg.plots import training
from nbpkg.training import heads

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
    rows = []
    for span in spans.itertuples():
        for start in range(span.start_ms, span.end_ms - 5000, 5000):
            clip = f"{span.session}-{start}"
            key = (f"{clip}-{span.rater}", span.session, span.session, span.rater, span.task, span.variable, clip)
            rows.append((*key, start, start + 5000, int(span.value == "yes")))
    columns = [column.name for column in tables.CONTRACTS["samples"].columns]
    return tables.check(pd.DataFrame(rows, columns=columns).drop_duplicates("sample_id"), "samples")


@pytest.fixture(scope="module")
def predictions(samples) -> pd.DataFrame:
    score = (0.6 * samples["label"] + 0.4 * np.random.default_rng(0).random(len(samples))).clip(0, 1)
    table = samples.drop(columns=["group", "clip_id"])
    return tables.check(table.assign(fold=2, score=score, predicted=(score > 0.5).astype(int)), "predictions")


@pytest.fixture(scope="module")
def trained(samples, search):
    train = samples["session"].isin(search.folds.loc[search.folds["role"] == "train", "session"])
    part = samples[train].reset_index(drop=True)
    features = np.random.default_rng(0).standard_normal((len(part), 3)).astype(np.float32)
    features[:, 0] += part["label"]
    return heads.search_heads(features, part, folds=search.folds, settings=[heads.Setting(0.01), heads.Setting(1.0)])


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


def test_validation_curve_marks_the_choice_and_chance(trained):
    figure = training.validation_curve(trained.trials)
    text = words(figure)
    for expected in (
        "eggs · attending (n = 2 folds)",
        "chosen",
        "chance",
        "weight decay",
        "validation balanced accuracy",
    ):
        assert expected in text
    marked = [line.get_ydata() for line in figure.axes[0].lines if line.get_marker() == "D"]
    chosen = trained.trials[trained.trials["chosen"] & (trained.trials["task"] == "drums")]
    assert marked[0].tolist() == chosen["score"].tolist()


def test_learning_curves_show_folds_left_out_and_the_final_training(trained):
    text = words(training.learning_curves(trained.history, trained.trials))
    for expected in ("train, all training folds", "fold left out", "(n = 2 folds)", "cross entropy", "step"):
        assert expected in text


def test_scores_show_n_chance_and_ceiling(predictions, samples):
    metrics = evaluation.score_predictions(predictions, samples, seed=0, resamples=50)
    text = words(results.scores(metrics))
    for expected in ("answering without looking", "one rater against another", "95 % over sessions", "6 sessions"):
        assert expected in text
    assert "lower is better" in words(results.scores(metrics, metric="brier"))
    with pytest.raises(TableError, match="no 'kappa'"):
        results.scores(metrics, metric="kappa")


def test_scores_say_why_one_is_undefined(predictions, samples):
    metrics = evaluation.score_predictions(predictions.assign(label=1), samples.assign(label=1), seed=0, resamples=50)
    assert "undefined: a class has no sample" in words(results.scores(metrics))


def test_confusions_write_every_count(predictions):
    counts = curves.count_confusions(predictions)
    text = words(results.confusions(counts))
    assert all(str(n) in text for n in counts["n"])
    assert "n = " in text


def test_sessions_of_one_class_are_marked_undefined(predictions):
    table = curves.score_sessions(
        predictions.assign(label=predictions["label"].where(predictions["session"] != "s0", 1))
    )
    text = words(results.score_by_session(table))
    assert "undefined: one class only" in text
    assert "s5" in text


def test_roc_and_calibration_say_n(predictions):
    n = (predictions["task"] == "eggs").sum()
    for figure in (
        results.roc(curves.trace_roc(predictions)),
        results.calibration(curves.bin_calibration(predictions)),
    ):
        assert f"n = {n}" in words(figure)


def test_timelines_show_raters_tasks_and_the_model(predictions, spans):
    text = words(results.timelines(predictions, spans, session="s1", absent="no"))
    for expected in ("a", "b", "model", "eggs", "drums", "predicted probability", "minutes in session s1", "clips)"):
        assert expected in text
    with pytest.raises(TableError, match="'s9' has no spans"):
        results.timelines(predictions, spans, session="s9", absent="no")


def test_figures_are_closed_so_that_notebooks_show_them_once(search):
    before = pyplot.get_fignums()
    folds_figures.search_trace(search.facts)
    assert pyplot.get_fignums() == before
