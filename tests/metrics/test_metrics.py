"""Metrics, intervals and baselines; the table of results is in test_evaluation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics as sk

from nbpkg import tables
from nbpkg.errors import TableError
from nbpkg.metrics import baselines, classification, intervals

GOLDEN = Path(__file__).parents[1] / "golden/infant_engagement"
CASES = json.loads((GOLDEN / "metrics_open.json").read_text())
LABELS = st.integers(2, 40).flatmap(
    lambda n: st.tuples(
        hnp.arrays(np.int64, n, elements=st.integers(0, 1)), hnp.arrays(np.int64, n, elements=st.integers(0, 1))
    )
)


def make_samples(sessions: int = 4, clips: int = 6, *, raters: str = "ab", seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    rows = [
        (f"{session}-{clip}-{rater}", f"s{session}", f"s{session}", rater, "eggs", "attending", f"{session}-{clip}")
        for session in range(sessions)
        for clip in range(clips)
        for rater in raters
    ]
    table = pd.DataFrame(rows, columns=["sample_id", "session", "group", "rater", "task", "variable", "clip_id"])
    start = table["clip_id"].str.split("-").str[1].astype(int) * 5000
    label = random.integers(0, 2, len(table))
    return tables.check(table.assign(start_ms=start, end_ms=start + 5000, label=label), "samples")


# golden


@pytest.mark.parametrize("case", CASES["cases"].values(), ids=CASES["cases"].keys())
def test_reference_metrics_equal_the_published_program(case):
    matrix = classification.confusion(case["labels"], case["predicted"])
    assert matrix.tolist() == case["confusion_rows_label_cols_predicted"]
    found = classification.reference_metrics(matrix)
    assert found["accuracy"] == pytest.approx(case["accuracy_from_confusion"], abs=1e-6)
    assert found["f1"] == pytest.approx(case["f1"], abs=1e-6)
    assert found["balanced_accuracy"] == pytest.approx(case["balanced_accuracy"], abs=1e-6)
    direct = classification.measure(classification.ACCURACY, matrix).value
    assert direct == pytest.approx(float(case["accuracy_direct"]), abs=1e-6, nan_ok=True)


def test_reference_metrics_of_three_classes():
    case = CASES["confusion_3class"]
    matrix = classification.confusion(case["labels"], case["predicted"], classes=3)
    assert matrix.tolist() == case["confusion"]
    found = classification.reference_metrics(matrix)
    assert found["accuracy"] == pytest.approx(case["accuracy"], abs=1e-6)
    assert found["balanced_accuracy"] == pytest.approx(case["balanced_accuracy"], abs=1e-6)


@pytest.mark.parametrize("window", ["1", "5", "8"])
@pytest.mark.parametrize("quantity", ["loss", "f1"])
def test_smoothing_equals_the_published_program(window, quantity):
    case = CASES["smoothing"]
    found = classification.smooth_history(case[quantity], int(window))
    np.testing.assert_allclose(found, case["windows"][window][quantity], atol=1e-6)


@pytest.mark.parametrize("case", CASES["baselines"], ids=lambda case: str(case["p"]))
def test_baseline_formulas_equal_the_published_ones(case):
    assert baselines.accuracy_baseline(case["p"]) == pytest.approx(case["accuracy"], abs=1e-12)
    assert baselines.f1_baseline(case["p"]) == pytest.approx(case["f1"], abs=1e-12)


def test_metric_baselines_equal_the_published_file():
    spans = pd.read_csv(GOLDEN / "annotations_open_filled.csv").rename(columns={"annotator": "rater"})
    table = baselines.duration_baselines(spans, absent="no")
    found = json.loads(baselines.metric_baselines_json(table, tasks=["people", "eggs", "drums"]))
    expected = json.loads((GOLDEN / "annotations_open_metric_baselines.json").read_text())
    assert list(found) == list(expected)
    for task, variables in expected.items():
        assert list(found[task]) == list(variables)
        for variable, numbers in variables.items():
            assert found[task][variable] == pytest.approx(numbers, abs=1e-12)


# classification


@given(LABELS)
@settings(max_examples=100, deadline=None)
def test_metrics_equal_scikit_learn_where_defined(pair):
    labels, predicted = pair
    matrix = classification.confusion(labels, predicted)
    value = {metric.name: classification.measure(metric, matrix).value for metric in classification.BINARY}
    assert value["accuracy"] == pytest.approx(sk.accuracy_score(labels, predicted))
    if len(set(labels)) == 2:
        assert value["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(labels, predicted))
        assert value["recall"] == pytest.approx(sk.recall_score(labels, predicted))
        assert value["specificity"] == pytest.approx(sk.recall_score(labels, predicted, pos_label=0))
    else:
        assert np.isnan(value["balanced_accuracy"])
    if set(labels) | set(predicted) != {0}:
        assert value["f1"] == pytest.approx(sk.f1_score(labels, predicted, zero_division=0))
    assert np.isnan(value["precision"]) == (1 not in predicted)


@given(LABELS, st.integers(0, 100))
@settings(max_examples=50, deadline=None)
def test_area_under_curve_equals_scikit_learn(pair, seed):
    labels = pair[0]
    scores = np.random.default_rng(seed).integers(0, 5, len(labels)) / 4  # ties
    found = classification.area_under_curve(labels, scores)
    if len(set(labels)) == 2:
        assert found.value == pytest.approx(sk.roc_auc_score(labels, scores))
    else:
        assert np.isnan(found.value)
        assert found.reason in ("no positive samples", "no negative samples")


def test_undefined_is_nan_with_a_reason():
    value = classification.measure(classification.PRECISION, classification.confusion([0, 1], [0, 0]))
    assert np.isnan(value.value)
    assert value.reason == "no positive answers"
    assert classification.area_under_curve([0, 1], [0.5, np.nan]).reason == "1 samples have no score"


def test_every_metric_declares_its_direction():
    assert {metric.direction for metric in classification.BINARY} == {"higher"}
    assert len({metric.name for metric in classification.BINARY}) == len(classification.BINARY)


@pytest.mark.parametrize(
    ("labels", "predicted", "message"),
    [
        ([0, 1], [0], r"shape \(2,\) and answers \(1,\)"),
        ([0, 2], [0, 1], "1 of 2 labels are no class index, e.g. 2"),
        ([0, 1], [0, 0.5], "1 of 2 answers are no class index, e.g. 0.5"),
        ([0, np.nan], [0, 1], "1 of 2 labels are no class index, e.g. nan"),
    ],
)
def test_confusion_refuses_what_is_no_class(labels, predicted, message):
    with pytest.raises(TableError, match=message):
        classification.confusion(labels, predicted)


# intervals


def test_bootstrap_of_counts_equals_bootstrap_of_rows():
    random = np.random.default_rng(0)
    session, label, predicted = random.integers(0, 8, 200), random.integers(0, 2, 200), random.integers(0, 2, 200)
    counts = [classification.confusion(label[session == s], predicted[session == s]) for s in range(8)]
    fast = intervals.bootstrap_counts(counts, classification.balanced_accuracy, seed=5, resamples=300)
    slow = intervals.bootstrap_rows(
        session, lambda rows: sk.balanced_accuracy_score(label[rows], predicted[rows]), seed=5, resamples=300
    )
    assert fast == pytest.approx(slow)


def test_bootstrap_of_the_area_equals_bootstrap_of_rows():
    random = np.random.default_rng(0)
    session, label, score = random.integers(0, 6, 120), random.integers(0, 2, 120), random.integers(0, 9, 120) / 8
    wins = classification.pair_wins(label, score, session)
    by_class = np.array([[((session == s) & (label == c)).sum() for c in (0, 1)] for s in range(6)])
    fast = intervals.bootstrap_area(wins, by_class[:, 1], negatives=by_class[:, 0], seed=5, resamples=200)
    slow = intervals.bootstrap_rows(
        session, lambda rows: sk.roc_auc_score(label[rows], score[rows]), seed=5, resamples=200
    )
    assert fast == pytest.approx(slow)


def test_intervals_cover_the_truth_about_as_often_as_asked():
    random = np.random.default_rng(0)
    hits = 0
    for trial in range(200):
        effect = random.normal(0.7, 0.1, 30).clip(0, 1)  # sessions differ
        right = random.binomial(20, effect)
        counts = np.stack([right, np.full(30, 20)], axis=1)
        found = intervals.bootstrap_counts(counts, lambda sums: sums[:, 0] / sums[:, 1], seed=trial, resamples=400)
        hits += found.low <= 0.7 <= found.high
    assert 0.88 <= hits / 200 <= 0.99


def test_one_session_gives_no_interval():
    found = intervals.bootstrap_counts([[[3, 1], [1, 3]]], classification.accuracy, seed=0)
    assert np.isnan(found.low)
    assert found.n_groups == 1


def test_mostly_undefined_resamples_give_no_interval():
    one_class_each = [[[1, 0], [0, 0]]] * 9 + [[[0, 0], [0, 1]]]  # without the last session class 1 is gone
    found = intervals.bootstrap_counts(one_class_each, classification.balanced_accuracy, seed=0)
    assert 0.3 < found.undefined < 0.4
    assert found.low == 1.0
    nothing = intervals.bootstrap_counts([[[1, 0], [0, 0]]] * 3, classification.balanced_accuracy, seed=0)
    assert np.isnan(nothing.low)
    assert nothing.undefined == 1.0


def test_a_level_outside_zero_to_one_is_refused():
    with pytest.raises(TableError, match=r"Level 95 was asked for"):
        intervals.bootstrap_counts(np.ones((3, 2, 2)), classification.accuracy, seed=0, level=95)


# baselines


def test_the_test_fold_has_its_own_baseline():
    samples = make_samples()
    samples["label"] = (samples["session"] == "s3").astype(int)
    folds = pd.DataFrame({"session": ["s0", "s1", "s2", "s3"], "fold": [0, 0, 1, 2]})
    table = baselines.clip_baselines(samples, folds).set_index("fold")
    assert table.loc["all", "positive_probability"] == 0.25
    assert table.loc["2", "positive_probability"] == 1.0
    assert table.loc["2", "accuracy"] == 1.0
    assert table.loc["all", "balanced_accuracy"] == 0.5
    assert np.isnan(table.loc["2", "balanced_accuracy"])  # one class only
    assert table.loc["0", "n"] == 24


def test_baselines_of_durations_weigh_by_time():
    rows = [("s1", "a", "eggs", "attending", "no", 0, 100), ("s1", "a", "eggs", "attending", "yes", 100, 400)]
    columns = ["session", "rater", "task", "variable", "value", "start_ms", "end_ms"]
    table = baselines.duration_baselines(pd.DataFrame(rows, columns=columns), absent="no")
    assert table[["positive_probability", "accuracy", "n"]].to_numpy().tolist() == [[0.75, 0.75, 400]]


def test_baselines_of_three_classes():
    samples = make_samples()
    samples["label"] = np.arange(len(samples)) % 3
    row = baselines.clip_baselines(samples).iloc[0]
    assert np.isnan(row["positive_probability"])
    assert row["accuracy"] == pytest.approx(1 / 3)
    assert row["balanced_accuracy"] == pytest.approx(1 / 3)
    assert row["f1"] == pytest.approx(sk.f1_score(samples["label"], np.zeros(len(samples)), average="macro"))


def test_published_baseline_file_needs_duration_rows():
    with pytest.raises(TableError, match="no row of source 'durations'"):
        baselines.metric_baselines_json(baselines.clip_baselines(make_samples()), tasks=["eggs"])
