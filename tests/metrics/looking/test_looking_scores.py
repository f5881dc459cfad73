"""The table of results: intervals over videos, chance, ceiling, halves of quality, answers that do not look."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score, f1_score, recall_score

from nbpkg import tables
from nbpkg.errors import TableError
from nbpkg.metrics import intervals
from nbpkg.metrics.looking.baselines import answer_blindly, describe_boxes, fit_box_prior, share_looking
from nbpkg.metrics.looking.curves import count_looking, trace_looking
from nbpkg.metrics.looking.human import answer_for_annotators, measure_ceiling
from nbpkg.metrics.looking.precision import average_precision
from nbpkg.metrics.looking.published import published_looking
from nbpkg.metrics.looking.scores import MEASURES, Plan, as_metrics, summarise_looking

PLAN = Plan(seed=0, split="val", stride=3, resamples=100)


def answer(seed: int = 1, *, videos: int = 5, faces: int = 40) -> pd.DataFrame:
    """Answers that are better than chance, best on sharp crops."""
    random, rows = np.random.default_rng(seed), []
    for video in range(videos):
        for place in range(faces):
            label, quality = int(random.random() < 0.3), float(random.gamma(2, 50))
            score = float(np.clip(0.3 + label * quality / 300 + random.normal(0, 0.15), 0, 1))
            where = f"clip{video}", f"video{video}", f"t:{place % 2}", place // 2 * 3, str(place % 2)
            rows.append(("pose", *where, label, score, quality))
    return pd.DataFrame(rows, columns=list(tables.empty("looking_predictions").columns))


@pytest.fixture
def predictions() -> pd.DataFrame:
    return answer()


def pick(table: pd.DataFrame, measure: str, part: str = "all", name: str = "") -> pd.Series:
    own = table[(table["measure"] == measure) & (table["part"] == part) & (table["name"] == name)]
    assert len(own) == 1
    return own.iloc[0]


def test_scores_have_interval_chance_and_size(predictions):
    found = summarise_looking(predictions, PLAN, by=("all",))
    assert tuple(found["measure"]) == MEASURES
    assert set(found["n"]) == {200}
    assert set(found["n_groups"]) == {5}
    assert set(zip(found["split"], found["stride"], strict=True)) == {("val", 3)}
    label, score = predictions["label"].to_numpy(), predictions["score"].to_numpy()
    both = average_precision(label, score), average_precision(1 - label, 1 - score)
    assert pick(found, "map")["value"] == pytest.approx(np.mean(both))
    assert pick(found, "ap_looking")["value"] == pytest.approx(both[0])
    said = score >= 0.5
    for measure, value in (
        ("accuracy", (said == label).mean()),
        ("recall_looking", recall_score(label, said)),
        ("recall_not_looking", recall_score(label, said, pos_label=0)),
        ("f1_looking", f1_score(label, said)),
        ("kappa", cohen_kappa_score(label, said)),
    ):
        assert pick(found, measure)["value"] == pytest.approx(value)
    share = label.mean()
    assert pick(found, "ap_looking")["chance"] == pytest.approx(share)
    assert pick(found, "map")["chance"] == pytest.approx(0.5)
    assert pick(found, "accuracy")["chance"] == pytest.approx(max(share, 1 - share))
    assert pick(found, "f1_looking")["chance"] == pytest.approx(f1_score(label, np.ones(len(label))))
    assert (found["low"] < found["value"]).all()
    assert (found["high"] > found["value"]).all()
    assert found["ceiling"].isna().all()


def test_intervals_resample_videos(predictions):
    found = summarise_looking(predictions, PLAN, by=("all",))
    label, score = predictions["label"].to_numpy(), predictions["score"].to_numpy()
    video = predictions["group"].str[-1].astype(int).to_numpy()
    values = []
    for row in intervals.draw_weights(5, seed=0, resamples=100).astype(int):
        kept = np.repeat(np.arange(len(label)), row[video])
        values.append(average_precision(label[kept], score[kept]))
    wanted = intervals.percentile_interval(np.array(values), n_groups=5)
    one = pick(found, "ap_looking")
    assert (one["low"], one["high"]) == pytest.approx((wanted.low, wanted.high))


def test_many_answers_are_resampled_in_portions(predictions, monkeypatch):
    whole = summarise_looking(predictions, PLAN)
    monkeypatch.setattr("nbpkg.metrics.looking.precision.NOT_MANY", 1000)
    pd.testing.assert_frame_equal(summarise_looking(predictions, PLAN), whole)


def test_unknown_labels_do_not_count(predictions):
    more = predictions.assign(label=-1, score=np.nan, frame=predictions["frame"] + 1)
    both = pd.concat([predictions, more])
    pd.testing.assert_frame_equal(summarise_looking(both, PLAN), summarise_looking(predictions, PLAN))


def test_labelled_crops_without_score_are_refused(predictions):
    predictions.loc[3, "score"] = np.nan
    with pytest.raises(TableError, match="1 of 200 labelled crops") as caught:
        summarise_looking(predictions, PLAN)
    assert "clip0:3:t:1" in str(caught.value)


def test_halves_of_quality_part_at_the_median(predictions):
    predictions.loc[:9, "quality"] = np.nan
    found = summarise_looking(predictions, PLAN, by=("quality",))
    low, high = (pick(found, "map", f"quality_{half}") for half in ("low", "high"))
    assert (low["n"], high["n"]) == (95, 95)
    assert low["value"] < high["value"]
    assert "10 crops have no quality" in low["reason"]
    fixed = summarise_looking(predictions, Plan(0, "val", 3, resamples=10, quality_cut=50.0), by=("quality",))
    measured = predictions["quality"].dropna()
    assert pick(fixed, "map", "quality_low")["n"] == (measured <= 50).sum()
    assert "quality up to 50" in pick(fixed, "map", "quality_low")["reason"]
    assert summarise_looking(predictions.assign(quality=np.nan), PLAN, by=("quality",)).empty


def test_one_quality_leaves_an_empty_half(predictions):
    found = summarise_looking(predictions.assign(quality=1.0), PLAN, by=("quality",))
    empty = found[found["part"] == "quality_high"]
    assert set(empty["n"]) == {0}
    assert empty["value"].isna().all()
    assert empty["reason"].str.contains("no answers").all()


def test_each_video_has_intervals_over_its_tracks(predictions):
    found = summarise_looking(predictions, PLAN, by=("video",))
    assert found["name"].nunique() == 5
    one = pick(found, "accuracy", "video", "video2")
    assert (one["n"], one["n_groups"]) == (40, 2)
    assert "tracks of one video" in one["reason"]
    single = summarise_looking(predictions[predictions["track"] == "t:0"], PLAN, by=("video",))
    assert single["low"].isna().all()
    assert single["reason"].str.contains("one track, no interval").all()


def test_a_class_that_does_not_occur_has_a_reason(predictions):
    found = summarise_looking(predictions[predictions["label"] == 0], PLAN, by=("all",))
    assert math.isnan(pick(found, "ap_looking")["value"])
    assert "nobody is looking" in pick(found, "ap_looking")["reason"]
    assert pick(found, "map")["value"] == pick(found, "ap_not_looking")["value"] == 1
    assert pick(found, "map")["chance"] == 1


def annotate(predictions: pd.DataFrame, *, flips: int) -> pd.DataFrame:
    """Labels of two annotators, the second of whom says the opposite of the first for some faces."""
    first = predictions[["session", "group", "track", "frame", "person", "label"]].assign(annotator="first")
    second = first.assign(annotator="second")
    second.iloc[:flips, second.columns.get_loc("label")] ^= 1
    return pd.concat([first, second.iloc[:100]], ignore_index=True)


def test_the_ceiling_is_one_annotator_against_another_on_the_same_crops(predictions):
    people = answer_for_annotators(annotate(predictions, flips=10))
    assert sorted(set(people["system"])) == ["first for second", "second for first"]
    found = summarise_looking(predictions, PLAN, people=people)
    assert pick(found, "accuracy")["ceiling"] == pytest.approx(0.9)
    assert "ceiling from 100 of 200 crops" in pick(found, "accuracy")["reason"]
    assert "ceiling" not in pick(found, "map")["reason"]
    assert math.isnan(pick(found, "map")["ceiling"])
    first, second = predictions["label"][:100].to_numpy(), predictions["label"][:100].to_numpy().copy()
    second[:10] ^= 1
    assert pick(found, "kappa")["ceiling"] == pytest.approx(cohen_kappa_score(first, second))
    assert pick(found, "accuracy", "video", "video0")["ceiling"] == pytest.approx(0.75)
    assert pick(found, "accuracy", "video", "video2")["ceiling"] == pytest.approx(1)
    assert math.isnan(pick(found, "accuracy", "video", "video4")["ceiling"])
    assert measure_ceiling(people)["n"] == 100


def test_one_annotator_gives_no_ceiling(predictions):
    one = annotate(predictions, flips=0).query("annotator == 'first'")
    people = answer_for_annotators(one)
    assert people.empty
    assert summarise_looking(predictions, PLAN, by=("all",), people=people)["ceiling"].isna().all()
    with pytest.raises(TableError, match="1 faces twice"):
        answer_for_annotators(pd.concat([one, one.iloc[:1]]))
    with pytest.raises(TableError, match="lack annotator"):
        answer_for_annotators(predictions)


def test_scores_go_into_the_table_of_all_studies(predictions):
    found = as_metrics(summarise_looking(predictions, PLAN))
    assert set(found["by"]) == {"all", "session"}
    assert set(found["role"]) == {"test"}  # also where the validation list is what is reported on
    assert set(found["variable"]) == {"pose"}
    assert found["reason"].str.startswith("stride 3").all()
    both = pd.concat([summarise_looking(predictions, plan) for plan in (PLAN, Plan(0, "val", 13, resamples=10))])
    with pytest.raises(TableError, match="2 strides"):
        as_metrics(both)


def test_curves_are_thinned_but_scored_whole(predictions):
    curves = trace_looking(predictions, PLAN, points=5)
    scores = summarise_looking(predictions, PLAN)
    for (part, kind), own in curves.groupby(["part", "class"]):
        assert len(own) <= 5
        assert own["recall"].is_monotonic_increasing
        assert own["recall"].iloc[-1] == 1
        assert own["average_precision"].iloc[0] == pytest.approx(pick(scores, f"ap_{kind}", part)["value"])
    assert set(curves["part"]) == {"all", "quality_low", "quality_high"}
    whole = trace_looking(predictions, PLAN, by=("all",))
    assert ((whole["class"] == "looking").sum()) == predictions["label"].sum()
    assert trace_looking(predictions[predictions["label"] < 0], PLAN).empty


def test_answers_are_counted_by_label(predictions):
    counts = count_looking(predictions, PLAN, by=("all",))
    assert counts["n"].sum() == 200
    hits = counts[(counts["label"] == 1) & (counts["predicted"] == 1)].iloc[0]
    assert hits["share"] == pytest.approx(recall_score(predictions["label"], predictions["score"] >= 0.5))
    assert counts.groupby("label")["share"].sum().tolist() == pytest.approx([1, 1])


def make_boxes(count: int = 300) -> tuple[pd.DataFrame, np.ndarray]:
    """Faces that look when they are small, and not at all by where they are."""
    random = np.random.default_rng(0)
    side = random.uniform(20, 200, count)
    x0, y0 = random.uniform(0, 1000 - side), random.uniform(0, 800 - side)
    boxes = {"x0": x0, "y0": y0, "x1": x0 + side, "y1": y0 + side, "width": 1000, "height": 800}
    return pd.DataFrame(boxes), (side + random.normal(0, 20, count) < 80).astype(int)


def test_a_prior_of_boxes_learns_the_direction():
    boxes, labels = make_boxes()
    prior = fit_box_prior(boxes, labels)
    assert prior.coefficients[1] < 0
    assert abs(prior.coefficients[2]) < abs(prior.coefficients[1]) / 5
    scores = prior.score(boxes)
    assert ((scores > 0) & (scores < 1)).all()
    assert scores.mean() == pytest.approx(labels.mean(), abs=1e-6)
    assert average_precision(labels, scores) > 0.9 > labels.mean() + 0.3
    other = fit_box_prior(boxes, 1 - labels, features=("size",))
    assert other.coefficients[1] > 0
    assert average_precision(1 - labels, other.score(boxes)) > 0.9


def test_separable_boxes_keep_the_prior_finite():
    boxes, _ = make_boxes()
    labels = (describe_boxes(boxes, ("size",))[:, 0] > 0.1).astype(int)
    assert np.isfinite(fit_box_prior(boxes, labels, features=("size",)).coefficients).all()


def test_the_middle_of_the_picture_is_1_and_its_corners_are_0():
    boxes = pd.DataFrame({"x0": [45, -5], "y0": [20, -5], "x1": [55, 5], "y1": [30, 5], "width": 100, "height": 50})
    assert describe_boxes(boxes, ("centre",))[:, 0].tolist() == pytest.approx([1, 0])


def test_boxes_from_which_nothing_can_be_learnt():
    boxes, labels = make_boxes(10)
    with pytest.raises(TableError, match="one label"):
        fit_box_prior(boxes, np.zeros(10))
    with pytest.raises(TableError, match="lack width"):
        fit_box_prior(boxes.drop(columns="width"), labels)
    with pytest.raises(TableError, match="no area"):
        describe_boxes(boxes.assign(x1=boxes["x0"]))
    with pytest.raises(TableError, match="cannot be used"):
        share_looking(np.array([-1, 1]))


def test_blind_answers_are_scored_on_the_same_faces(predictions):
    blind = answer_blindly(predictions, "class share", share_looking(predictions["label"].to_numpy()))
    both = pd.concat([predictions, blind], ignore_index=True)
    found = summarise_looking(both, Plan(0, "val", 3, ties="grouped", resamples=10), by=("all",))
    own = found[found["system"] == "class share"]
    assert pick(own, "map")["value"] == pytest.approx(pick(own, "map")["chance"])
    assert pick(own, "ap_looking")["value"] == pytest.approx(predictions["label"].mean())
    with pytest.raises(TableError, match="class share, pose"):
        answer_blindly(both, "other", 0.5)


def test_published_results_say_their_split():
    found = published_looking()
    assert set(found["split"]) == {"val", "test", ""}
    best = found[found["model"] == "GazePose, 5 runs"].iloc[0]
    assert (best["map"], best["map_spread"], best["split"]) == (77.02, 0.78, "test")
