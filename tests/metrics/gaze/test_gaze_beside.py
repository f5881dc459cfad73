"""A network's scores beside answers that see nothing, beside people and papers, for video and photographs at once."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from nbpkg.metrics.gaze.baselines import score_baseline
from nbpkg.metrics.gaze.beside import CHANCE, list_references, score_blind, score_people, split_kinds, summarise_beside
from nbpkg.metrics.gaze.inout import measure_average_precision, trace_precision

HOW = {"protocol": "vtd", "reading": "index"}


@pytest.fixture(scope="module")
def world(make_gaze):
    video = make_gaze(raters="ab", dataset="videoattention")
    single = make_gaze(raters="abc", dataset="gazefollow", seed=3)
    single["session"] = "photo--" + single["session"]
    train = make_gaze(dataset="videoattention", participants=4, seed=7)
    kinds = split_kinds(pd.concat([video, single]), ["gazefollow"])
    return train, kinds


def test_rows_are_divided_by_what_answers_are_held_against(world):
    _, kinds = world
    assert {truth: set(rows["dataset"]) for truth, rows in kinds.items()} == {
        "box": {"videoattention"},
        "points": {"gazefollow"},
    }
    assert list(split_kinds(kinds["box"], ["gazefollow"])) == ["box"]


def test_metrics_have_chance_and_ceiling_of_the_same_data_set(world):
    train, kinds = world
    blind = score_blind(train, kinds, seed=0, **HOW)
    people = score_people(kinds, protocol="vtd")
    own = blind[blind["predictor"] == "centre of the picture"]
    metrics = summarise_beside(own, blind, people, seed=0, resamples=100)
    assert set(metrics["task"]) == {"videoattention", "gazefollow"}
    row = metrics.query("by == 'all' and task == 'videoattention' and metric == 'distance'").iloc[0]
    prior = blind[(blind["predictor"] == CHANCE) & (blind["dataset"] == "videoattention") & (blind["inside"] == 1)]
    assert row["chance"] == pytest.approx(prior["distance"].mean())
    pair = people[(people["dataset"] == "videoattention") & people["distance"].notna()]
    assert row["ceiling"] == pytest.approx(pair["distance"].mean())
    assert row["ceiling"] < row["value"]
    photo = metrics.query("by == 'all' and task == 'gazefollow'")
    assert {"auc_points", "avg_distance", "min_distance"} <= set(photo["metric"])
    assert "auc_box" not in set(photo["metric"])


def test_a_data_set_without_training_rows_is_answered_by_what_all_know(world):
    train, kinds = world
    blind = score_blind(train, kinds, seed=0, **HOW)
    from nbpkg.metrics.gaze.baselines import density_baseline

    alone = score_baseline(density_baseline(train), kinds["points"], truth="points", **HOW)
    same = blind[(blind["predictor"] == CHANCE) & (blind["dataset"] == "gazefollow")]
    assert same["avg_distance" if "avg_distance" in same else "distance"].to_numpy() == pytest.approx(
        alone["avg_distance" if "avg_distance" in alone else "distance"].to_numpy(), nan_ok=True
    )


def test_references_name_every_blind_answer_and_papers_of_the_same_data_set(world):
    train, kinds = world
    found = list_references(score_blind(train, kinds, seed=0, **HOW), seed=0)
    own = found[found["dataset"] == "videoattention"]
    assert set(own.loc[own["kind"] == "prior", "name"]) >= {"random", "centre of the picture", "head position", CHANCE}
    published = own[(own["kind"] == "published") & (own["name"] == "VTD")].set_index("metric")["value"]
    assert published["distance"] == 0.134
    assert not (found["dataset"] == "objectattention").any()


def test_precision_is_traced_where_there_is_something_to_tell_apart():
    random = np.random.default_rng(0)
    inside = random.integers(0, 2, 200)
    scores = pd.DataFrame({"dataset": "a", "inside": inside, "logit": random.normal(inside, 1.0)})
    only = pd.DataFrame({"dataset": "b", "inside": 1, "logit": random.normal(size=20)})
    curves = trace_precision(pd.concat([scores, only]))
    assert set(curves["name"]) == {"a"}
    assert curves["recall"].is_monotonic_increasing
    assert curves["positive"].iloc[0] == inside.mean()
    wanted = measure_average_precision(inside, scores["logit"]).value
    steps = np.diff(curves["recall"], prepend=0) * curves["precision"]
    assert curves["average_precision"].iloc[0] == pytest.approx(wanted)
    assert steps.sum() == pytest.approx(wanted)
    assert trace_precision(only).empty
