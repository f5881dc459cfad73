"""Published metrics as they are, and the table of results: constant answers, families, class by class."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score, f1_score, roc_auc_score

from nbpkg.errors import TableError
from nbpkg.metrics.people.confusion import (
    answer_majority,
    balanced_accuracy,
    count_confusion,
    macro_f1,
    mean_class_accuracy,
    quadratic_kappa,
    rank_classes,
    weighted_f1,
)
from nbpkg.metrics.people.evaluate import evaluate
from nbpkg.metrics.people.predictions import (
    fuse_predictions,
    fuse_scores,
    read_predictions,
    tabulate_predictions,
    write_predictions,
)
from nbpkg.metrics.people.published import PUBLISHED_MAJORITY, VARIANTS, published_results
from nbpkg.metrics.people.ranking import (
    mean_average_precision,
    mmit_mean_average_precision,
    pick_classes,
    top_k_accuracy,
)
from nbpkg.metrics.people.scores import Resampling, score_classes, score_many_labels, score_predictions

GOLDEN = Path(__file__).parents[2] / "golden" / "joint_engagement"
METRICS = json.loads((GOLDEN / "metrics_open.json").read_text())
EVALUATE = json.loads((GOLDEN / "annotations_open.json").read_text())["evaluate"]
SINGLE = {case["name"]: case for case in METRICS["single_label"]}
FEW = Resampling(seed=0, resamples=200)
NEAR = 1e-12


@pytest.fixture
def answers() -> pd.DataFrame:
    """Answers to three unequal classes of five families, better than chance."""
    random = np.random.default_rng(5)
    labels = random.choice(3, 120, p=[0.1, 0.5, 0.4])
    scores = random.dirichlet(np.ones(3), 120) + 0.4 * np.eye(3)[labels]
    return tabulate_predictions(name_samples(labels), scores)


def name_samples(labels) -> pd.DataFrame:
    place = np.arange(len(labels))
    family = [f"fam{one % 5}" for one in place]
    return pd.DataFrame({"sample_id": [f"c{one}" for one in place], "family": family, "session": "", "label": labels})


@pytest.mark.parametrize("name", [name for name in SINGLE if name != "empty"])
def test_published_metrics_of_one_label(name):
    case = SINGLE[name]
    scores, labels = np.array(case["scores"], np.float64), case["labels"]
    predicted = pick_classes(scores)
    matrix, classes = count_confusion(labels, predicted)
    assert predicted.tolist() == case["argmax"]
    assert classes.tolist() == case["label_set"]
    assert top_k_accuracy(scores, labels, case["topk"]) == pytest.approx(case["top_k_accuracy"], abs=NEAR)
    assert float(mean_class_accuracy(matrix)) == pytest.approx(case["mean_class_accuracy"], abs=NEAR)
    for ours, theirs in (("none", "None"), ("true", "true"), ("predicted", "pred"), ("all", "all")):
        np.testing.assert_allclose(count_confusion(labels, predicted, ours)[0], case[f"confusion_{theirs}"], atol=NEAR)
    for best, key in ((True, "top_k_classes_accurate"), (False, "top_k_classes_inaccurate")):
        ranked = rank_classes(matrix, classes, best=best)[: len(case[key])]
        assert [one.share for one in ranked] == pytest.approx([share for _, share in case[key]], abs=NEAR)
        # among equals the published order depends on the processor, so only which they are is held
        assert sorted(one.place for one in ranked) == sorted(place for place, _ in case[key])
        assert all(classes[one.place] == one.label for one in ranked)


def test_no_sample_is_an_error_everywhere():
    for call in (lambda: top_k_accuracy([], []), lambda: evaluate([], []), lambda: count_confusion([], [])):
        with pytest.raises(TableError, match="at least one"):
            call()


@pytest.mark.parametrize("place", range(len(METRICS["multi_label"])))
def test_published_metrics_of_many_labels(place):
    case = METRICS["multi_label"][place]
    ours = (mean_average_precision, mmit_mean_average_precision)
    for measure, theirs in zip(ours, ("mAP", "mmit_mAP"), strict=True):
        found = measure(case["scores"], case["labels"])
        assert found.value == pytest.approx(float(case[theirs]), abs=NEAR, nan_ok=True)
        assert bool(found.reason) == math.isnan(found.value)


@pytest.mark.parametrize("case", EVALUATE["cases"], ids=lambda case: json.dumps(case["kwargs"])[:40])
def test_published_dictionary_of_metrics(case):
    asked = dict(case["kwargs"])
    if "topk" in asked:  # given beside the metric, as a tuple; JSON has none
        asked["topk"] = tuple(asked["topk"])
    for options in asked.pop("metric_options", {}).values():
        asked |= options
    if "error" in case["result"]:
        with pytest.raises(TableError, match="topk is a list" if "topk" in asked else "no metric 'f1'"):
            evaluate(EVALUATE["scores"], EVALUATE["labels"], **asked)
    else:
        assert evaluate(EVALUATE["scores"], EVALUATE["labels"], **asked) == pytest.approx(case["result"], abs=NEAR)


def test_dictionary_of_metrics_refuses_another_number_of_results():
    with pytest.raises(TableError, match="8 rows of scores and 9 labels"):
        evaluate(EVALUATE["scores"][:-1], EVALUATE["labels"])


def test_dictionary_of_metrics_takes_several_labels():
    case = METRICS["multi_label"][0]
    labels = [np.flatnonzero(row).tolist() for row in case["labels"]]
    names = ("mean_average_precision", "mmit_mean_average_precision")
    found = evaluate(case["scores"], labels, metrics=names)
    assert [found[name] for name in names] == pytest.approx([case["mAP"], case["mmit_mAP"]])
    with pytest.raises(TableError, match="several labels"):
        evaluate(case["scores"], labels)


def test_scores_of_the_confusion_matrix_are_those_of_scikit_learn(answers):
    truth, said = answers["label"], answers["predicted"]
    matrix, _ = count_confusion(truth, said)
    assert float(macro_f1(matrix)) == pytest.approx(f1_score(truth, said, average="macro"))
    assert float(weighted_f1(matrix)) == pytest.approx(f1_score(truth, said, average="weighted"))
    assert float(quadratic_kappa(matrix)) == pytest.approx(cohen_kappa_score(truth, said, weights="quadratic"))


def test_a_class_that_is_only_answered_counts_in_the_published_mean_alone():
    matrix, _ = count_confusion([0, 0, 1, 1], [0, 0, 1, 2])
    assert float(mean_class_accuracy(matrix)) == pytest.approx((1 + 0.5 + 0) / 3)
    assert float(balanced_accuracy(matrix)) == pytest.approx((1 + 0.5) / 2)


def test_results_stand_beside_a_constant_answer(answers):
    table = score_predictions(answers, FEW, topk=(1, 2, 3)).set_index("metric")
    shares = answers["label"].value_counts(normalize=True)
    assert table.loc["accuracy", "majority"] == pytest.approx(shares.max())
    assert table.loc["balanced_accuracy", "majority"] == pytest.approx(1 / 3)
    assert table.loc["macro_f1", "majority"] == pytest.approx(2 * shares.max() / (1 + shares.max()) / 3)
    assert table.loc["quadratic_kappa", "majority"] == pytest.approx(0)
    assert table.loc["top2_accuracy", "majority"] == pytest.approx(shares.nlargest(2).sum())
    assert table.loc["top3_accuracy", "reason"] == "always 1: 3 of 3 classes"
    assert (table["value"] > table["majority"]).drop("top3_accuracy").all()
    rare = score_predictions(answers, FEW, majority=0).set_index("metric")
    assert rare.loc["accuracy", "majority"] == pytest.approx(shares[0])
    assert float(balanced_accuracy(answer_majority(np.array([[1.0, 1, 0], [0, 2, 0], [0, 0, 3]])))) == pytest.approx(
        1 / 3
    )


def test_intervals_are_over_families(answers):
    table = score_predictions(answers, FEW).set_index("metric")
    inside = table[["low", "value", "high"]].to_numpy()
    assert (np.diff(inside, axis=1) >= 0).all()
    assert set(table["families"]) == {5}
    # with each clip five times over nothing more is known about families
    again = pd.concat([answers.assign(sample_id=answers["sample_id"] + f"_{copy}") for copy in range(5)])
    pd.testing.assert_frame_equal(
        score_predictions(again, FEW).set_index("metric").drop(columns="n"), table.drop(columns="n")
    )
    unknown = score_predictions(answers.assign(family=""), FEW).set_index("metric")
    assert unknown[["low", "high"]].isna().all(axis=None)
    assert unknown["reason"].str.contains("families are unknown").all()
    np.testing.assert_allclose(unknown["value"], table["value"])


def test_classes_are_scored_against_the_rest(answers):
    table = score_classes(answers, FEW, classes=("Low", "Medium", "High")).set_index("name")
    each = f1_score(answers["label"], answers["predicted"], average=None)
    np.testing.assert_allclose(table["f1"], each)
    scores = answers[["score_0", "score_1", "score_2"]].to_numpy()
    areas = [roc_auc_score(answers["label"] == label, scores[:, label]) for label in range(3)]
    np.testing.assert_allclose(table["auc"], areas)
    whole = score_predictions(answers, FEW).set_index("metric")
    assert whole.loc["macro_auc", "value"] == pytest.approx(np.mean(areas))
    assert ((table["f1_low"] <= table["f1"]) & (table["f1"] <= table["f1_high"])).all()
    assert table["n"].sum() == table["answers"].sum() == len(answers)


def test_a_class_without_samples_is_undefined_and_says_so():
    labels = [0, 1] * 10
    table = tabulate_predictions(name_samples(labels), np.eye(3)[labels] * 0.9)
    rows = score_classes(table, FEW, classes=("a", "b", "c")).set_index("name")
    assert math.isnan(rows.loc["c", "recall"])
    assert "no positive samples" in rows.loc["c", "reason"]
    area = score_predictions(table, FEW).set_index("metric").loc["macro_auc"]
    assert area["value"] == 1
    assert "without class 2" in area["reason"]


def test_one_class_alone_has_neither_area_nor_kappa():
    table = tabulate_predictions(name_samples([1] * 6), np.tile([0.1, 0.8], (6, 1)))
    found = score_predictions(table, FEW).set_index("metric")
    assert found.loc[["macro_auc", "quadratic_kappa"], "value"].isna().all()
    assert (found.loc[["macro_auc", "quadratic_kappa"], "reason"] != "").all()
    assert found.loc["accuracy", "value"] == 1


def test_several_labels_have_intervals_and_a_constant_answer():
    random = np.random.default_rng(1)
    labels = (random.random((60, 3)) < [0.2, 0.5, 0.8]).astype(int)
    labels[labels.sum(axis=1) == 0, 2] = 1
    families = [f"f{place % 6}" for place in range(60)]
    scores = labels + random.normal(0, 0.5, labels.shape)
    table = score_many_labels(scores, labels, Resampling(0, 60), families=families).set_index("metric")
    assert (table["low"] <= table["value"]).all()
    assert (table["value"] <= table["high"]).all()
    assert table.loc["mean_average_precision", "majority"] == pytest.approx(labels.mean())
    assert (table["value"] > table["majority"]).all()


@pytest.mark.parametrize("ending", ["csv", "npz"])
def test_predictions_keep_names_and_every_digit(answers, tmp_path, ending):
    odd = answers.assign(sample_id=["007", *answers["sample_id"][1:]], session=["NA", *answers["session"][1:]])
    path = write_predictions(odd, tmp_path / f"p.{ending}")
    pd.testing.assert_frame_equal(read_predictions(path), odd, check_dtype=False)


def test_predictions_that_cannot_be_scored_are_refused(answers, tmp_path):
    wrong = {
        "occurs more than once": answers.assign(sample_id="c0"),
        "no number": answers.assign(score_1=np.nan),
        "no class": answers.assign(label=3),
        "not the class with the highest score": answers.assign(predicted=(answers["predicted"] + 1) % 3),
        "lack 'family'": answers.drop(columns="family"),
        "no predictions": answers[:0],
    }
    for words, table in wrong.items():
        with pytest.raises(TableError, match=words):
            score_predictions(table, FEW)
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04")
    for name in ("cut.npz", "none.csv"):
        with pytest.raises(TableError, match="cannot be read"):
            read_predictions(tmp_path / name)
    with pytest.raises(TableError, match="not kept in"):
        write_predictions(answers, tmp_path / "p.pkl")


def test_pickled_objects_in_our_own_files_are_refused(tmp_path):
    stream = io.BytesIO()
    np.savez(stream, sample_id=np.array([print], object))
    (tmp_path / "p.npz").write_bytes(stream.getvalue())
    with pytest.raises(TableError, match="cannot be read"):
        read_predictions(tmp_path / "p.npz")


def test_score_files_are_added_up_as_published(answers):
    first, second = np.array([[2.0, 0, 0], [0, 1, 0]]), np.array([[0.0, 3, 0], [0, 0, 0.5]])
    np.testing.assert_allclose(fuse_scores([first, second], coefficients=(1, 0.5)), [[2, 1.5, 0], [0, 1, 0.25]])
    even = fuse_scores([first, second], softmax=True)
    np.testing.assert_allclose(even.sum(axis=1), 2)
    assert even[0].argmax() == 1  # the surer network wins
    with pytest.raises(TableError, match="do not go together"):
        fuse_scores([first, second[:1]])
    with pytest.raises(TableError, match="do not go together"):
        fuse_scores([first, second], coefficients=(1,))


def test_answers_are_joined_by_name_whatever_their_order(answers):
    other = answers.sample(frac=1, random_state=1)
    fused = fuse_predictions([answers, other], coefficients=(0.25, 0.75))
    pd.testing.assert_frame_equal(fused, answers)
    with pytest.raises(TableError, match="did not answer the same samples: 1 differ, e.g. c3"):
        fuse_predictions([answers, answers.drop(index=3)])
    relabelled = answers.assign(label=answers["label"].where(answers["sample_id"] != "c7", (answers["label"] + 1) % 3))
    with pytest.raises(TableError, match="e.g. c7"):
        fuse_predictions([answers, relabelled])


def test_published_accuracies_stand_beside_the_constant_answer():
    table = published_results()
    assert len(table) == 1 + 4 * len(VARIANTS) + 4
    assert (table["accuracy"][1:] > PUBLISHED_MAJORITY).all()
