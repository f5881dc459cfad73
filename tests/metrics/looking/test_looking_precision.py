"""Average precision of the benchmark, with ties, weights and classes that do not occur."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import precision_recall_curve

from nbpkg.errors import TableError
from nbpkg.metrics.looking.precision import (
    average_precision,
    format_reference,
    normalise_rows,
    score_answers,
    trace_precision,
    weigh_precision,
)


@pytest.fixture
def answers() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(3)
    labels = (random.random(200) < 0.2).astype(float)
    return labels, np.round(0.4 * random.random(200) + 0.3 * labels, 2)


def by_definition(labels, scores) -> float:
    """The rule, row by row."""
    order = sorted(range(len(labels)), key=lambda row: -scores[row])
    hits, precision, recall = 0, [], []
    for place, row in enumerate(order, start=1):
        hits += labels[row]
        precision.append(hits / place)
        recall.append(hits / sum(labels))
    total, before = 0.0, 0.0
    for place in range(len(order)):
        total += (recall[place] - before) * max(precision[place:])
        before = recall[place]
    return total


def test_average_precision_adds_up_the_envelope_at_every_row(answers):
    labels, scores = answers
    assert len(set(scores)) < len(scores)
    assert average_precision(labels, scores) == pytest.approx(by_definition(labels, scores), abs=1e-12)


def test_ties_stay_in_row_order_or_become_one_threshold(answers):
    labels, scores = answers
    order = np.random.default_rng(0).permutation(len(labels))
    assert average_precision(labels[order], scores[order]) != average_precision(labels, scores)
    grouped = average_precision(labels, scores, ties="grouped")
    assert average_precision(labels[order], scores[order], ties="grouped") == pytest.approx(grouped, abs=1e-15)
    assert grouped == pytest.approx(by_sklearn(labels, scores), abs=1e-12)


def test_scores_that_do_not_tie_are_scored_alike_both_ways():
    random = np.random.default_rng(1)
    labels, scores = random.integers(0, 2, 50), random.random(50)
    assert average_precision(labels, scores) == average_precision(labels, scores, ties="grouped")


@pytest.mark.parametrize("ties", ["stable", "grouped"])
@pytest.mark.parametrize("groups", [200, 7, 1])
def test_weights_count_groups_several_times(answers, ties, groups):
    labels, scores = answers
    owner = np.random.default_rng(7).permutation(np.arange(len(labels)) % groups)
    weights = np.random.default_rng(2).integers(0, 3, (20, groups))
    weights[weights.sum(axis=1) == 0] = 1
    found = weigh_precision(labels, scores, owner, weights=weights.astype(float), ties=ties)
    for value, row in zip(found, weights, strict=True):
        # a sample that counts twice stands twice in a row
        repeated = np.repeat(np.arange(len(labels)), row[owner])
        truth = labels[repeated]
        wanted = by_definition(truth, scores[repeated]) if ties == "stable" else by_sklearn(truth, scores[repeated])
        assert value == pytest.approx(wanted, abs=1e-12)


def by_sklearn(labels, scores) -> float:
    precision, recall, _ = precision_recall_curve(labels, scores)
    return float(-(np.diff(recall) * np.maximum.accumulate(precision)[:-1]).sum())


def test_draws_without_the_class_are_undefined():
    labels, scores = np.array([1.0, 0.0]), np.array([0.3, 0.2])
    found = weigh_precision(labels, scores, np.array([0, 1]), weights=np.array([[0.0, 2.0], [1.0, 1.0]]))
    assert math.isnan(found[0])
    assert found[1] == 1


def test_a_class_that_does_not_occur_is_left_out_with_a_warning():
    found = score_answers([1, 1], [0.9, 0.2])
    assert math.isnan(found.not_looking)
    assert found.mean_precision == found.looking == 1
    assert [(one.severity, one.what) for one in found.problems] == [
        ("warning", "No sample is not looking; its average precision is undefined.")
    ]
    assert "NLAM\tnan\tnan" in format_reference(found)
    assert not score_answers([1, 0], [0.9, 0.2]).problems


def test_a_class_that_does_not_occur_cannot_be_scored_as_published():
    with pytest.raises(TableError, match="No sample is looking"):
        score_answers([0, 0], [0.9, 0.2], compat=True)
    assert math.isnan(score_answers([0], [0.9], compat=True).mean_precision)


def test_the_threshold_moves_accuracy_only():
    labels, scores = [1, 0, 1, 0], [0.5, 0.5, 0.3, 0.2]
    half, low = score_answers(labels, scores), score_answers(labels, scores, threshold=0.3)
    assert half.counts.tolist() == [[1, 1], [1, 1]]
    assert low.counts.tolist() == [[1, 1], [0, 2]]
    assert half.mean_precision == low.mean_precision
    assert normalise_rows(low.counts).tolist() == [[0.5, 0.5], [0, 1]]


def test_the_curve_adds_up_to_average_precision(answers):
    labels, scores = answers
    curve = trace_precision(labels, scores)
    assert (np.diff(curve.recall, prepend=0) * curve.envelope).sum() == pytest.approx(average_precision(labels, scores))
    assert (np.diff(curve.score) <= 0).all()
    assert (curve.envelope >= curve.precision).all()
    assert not len(trace_precision([0, 0], [0.1, 0.2]).recall)


@pytest.mark.parametrize(
    ("labels", "scores", "text"),
    [
        ([1], [0.1, 0.2], "shape"),
        ([1, 2], [0.1, 0.2], "labels cannot be used"),
        ([1, 0], [0.1, float("nan")], "scores cannot be used"),
    ],
)
def test_answers_that_cannot_be_scored(labels, scores, text):
    with pytest.raises(TableError, match=text):
        score_answers(labels, scores)


def test_nothing_to_score():
    with pytest.raises(TableError, match="no answer"):
        score_answers([], [])
