"""Scores of several people: repetitions, families, the best constant answer, annotators, variants, fusion, files."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from nbpkg import tables
from nbpkg.annotations.people.ratings import classify
from nbpkg.annotations.people.score_files import read_scores, write_scores
from nbpkg.errors import TableError
from nbpkg.metrics.people.files import write_people_files
from nbpkg.metrics.people.predictions import read_predictions
from nbpkg.metrics.people.summary import count_people, rate_ceiling, summarise_people
from nbpkg.metrics.people.systems import compare_systems, compare_variants, fuse_people

sys.path.insert(0, str(Path(__file__).parents[2] / "plots"))
import people_figures as made  # noqa: E402

CLASSES = made.CLASSES
PROBABILITIES = [f"p_{name}" for name in CLASSES]
score = partial(summarise_people, classes=CLASSES, seed=0, resamples=200)


@pytest.fixture(scope="module")
def predictions() -> pd.DataFrame:
    return made.prediction_table(("full", "no_memory"))


@pytest.fixture(scope="module")
def metrics(predictions) -> pd.DataFrame:
    rated = rate_ceiling(made.rating_table(), classify)
    return score(predictions, topk=(1, 3), rated=rated, folds=made.fold_table())


def pick(metrics, metric, *, variable="full", by="all", name="", role="validation"):
    own = metrics[(metrics["variable"] == variable) & (metrics["by"] == by) & (metrics["name"] == name)]
    (row,) = own[(own["role"] == role) & (own["metric"] == metric)].to_dict("records")
    return row


def held_out(predictions, variant="full"):
    return predictions[(predictions["variant"] == variant) & (predictions["role"] == "held_out")]


def test_each_repetition_is_scored_and_the_scores_are_averaged(predictions, metrics):
    parts = [part for _, part in held_out(predictions).groupby("repeat")]
    f1 = np.mean([f1_score(part["truth"], part["predicted"], average="macro") for part in parts])
    area = np.mean([roc_auc_score(part["truth"], part[PROBABILITIES], multi_class="ovr") for part in parts])
    assert pick(metrics, "macro_f1")["value"] == pytest.approx(f1)
    assert pick(metrics, "auc")["value"] == pytest.approx(area)
    row = pick(metrics, "top1_acc")
    assert row["value"] == pytest.approx(np.mean([(part["truth"] == part["predicted"]).mean() for part in parts]))
    assert row["n"] == parts[0]["sample_id"].nunique()
    assert row["n_groups"] == 9
    assert row["low"] < row["value"] < row["high"]
    assert "mean of 3 repetitions" in row["reason"]
    assert "always 1: 3 of 3 classes" in pick(metrics, "top3_acc")["reason"]


def test_chance_is_the_best_constant_answer_of_the_whole(predictions, metrics):
    truth = held_out(predictions).drop_duplicates("sample_id")["truth"].to_numpy()
    majority = np.bincount(truth).argmax()
    assert pick(metrics, "top1_acc")["chance"] == pytest.approx((truth == majority).mean())
    constant = np.full(len(truth), majority)
    assert pick(metrics, "macro_f1")["chance"] == pytest.approx(f1_score(truth, constant, average="macro"))
    always = f1_score(truth == 2, np.ones(len(truth), bool))
    assert pick(metrics, "f1_high")["chance"] == pytest.approx(always)
    family = held_out(predictions).query("family == 'family_02'").drop_duplicates("sample_id")["truth"]
    row = pick(metrics, "top1_acc", by="participant", name="family_02")
    assert row["chance"] == pytest.approx((family == majority).mean())


def test_intervals_resample_families_and_recordings_of_a_single_family(metrics):
    alone = pick(metrics, "top1_acc", by="participant", name="family_02")
    assert alone["n_groups"] == 2
    assert "interval over 2 recordings of one family" in alone["reason"]
    single = pick(metrics, "top1_acc", by="participant", name="family_03")
    assert np.isnan(single["low"])
    assert "no interval" in single["reason"]
    assert pick(metrics, "macro_f1", by="fold", name="0")["n_groups"] == 3
    assert pick(metrics, "macro_f1", by="session", name="family_02_play1")["n"] == made.WINDOWS
    assert pick(metrics, "macro_f1", role="test")["n_groups"] == 3


def test_intervals_do_not_change_when_clips_are_repeated(predictions):
    """What is sure is decided by families; twice the clips of the same families say nothing new."""
    once = held_out(predictions)
    twice = pd.concat([once, once.assign(sample_id=once["sample_id"] + "'")])
    few, many = (pick(score(table), "macro_f1") for table in (once, twice))
    assert (few["low"], few["high"]) == pytest.approx((many["low"], many["high"]))
    assert many["n"] == 2 * few["n"]


def test_ceiling_is_each_annotator_against_the_class_of_the_others():
    given = {"a": (1, 1, 5), "b": (5, 5, 5), "c": (3, 3, 3), "d": (2,)}
    rows = [(clip, rater, rating) for clip, row in given.items() for rater, rating in zip("xyz", row, strict=False)]
    ratings = pd.DataFrame(rows, columns=["clip", "rater", "rating"])
    rated = rate_ceiling(ratings, classify)
    assert sorted(rated["clip"].unique()) == ["a", "b", "c"]
    a = rated[rated["clip"] == "a"].set_index("rater")
    assert a["label"].to_dict() == {"x": 1, "y": 1, "z": 0}
    assert a["answer"].to_dict() == {"x": 0, "y": 0, "z": 2}
    assert set(rate_ceiling(ratings, classify, raters=["x", "y"])["rater"]) == {"x", "y"}
    assert rate_ceiling(ratings[ratings["rater"] == "x"], classify).empty


def test_ceiling_of_a_part_counts_its_clips_only(predictions, metrics):
    rated = rate_ceiling(made.rating_table(), classify)
    part = predictions[predictions["family"] == "family_02"]
    own = rated[rated["clip"].isin(part["sample_id"])]
    wanted = np.mean([f1_score(rows["label"], rows["answer"], average="macro") for _, rows in own.groupby("rater")])
    assert pick(metrics, "macro_f1", by="participant", name="family_02")["ceiling"] == pytest.approx(wanted)
    alike = np.mean([(rows["label"] == rows["answer"]).mean() for _, rows in own.groupby("rater")])
    assert pick(metrics, "top1_acc", by="participant", name="family_02")["ceiling"] == pytest.approx(alike)
    assert np.isnan([pick(metrics, name)["ceiling"] for name in ("auc", "top3_acc")]).all()
    some = score(held_out(predictions), rated=rated[rated["clip"].str.startswith("family_01")])
    assert "ceiling from 24 of " in pick(some, "macro_f1")["reason"]


def test_several_networks_for_one_clip_are_repetitions_of_their_own(predictions):
    """All networks of a cross-validation answer for the test families."""
    test = predictions[predictions["role"] == "test"]
    other = test.assign(round="other", predicted=0, p_low=1.0, p_medium=0.0, p_high=0.0)
    found = pick(score(pd.concat([test, other])), "top1_acc", role="test")
    each = [(part["truth"] == part["predicted"]).mean() for part in (test, other)]
    assert found["value"] == pytest.approx(np.mean(each))
    assert found["n"] == len(test)


def test_only_one_class_and_unknown_families_are_said(predictions):
    one = held_out(predictions)[lambda rows: rows["truth"] == 1]
    assert "only one class occurs" in pick(score(one), "auc")["reason"]
    two = held_out(predictions)[lambda rows: rows["truth"] > 0]
    assert "without class low" in pick(score(two), "auc")["reason"]
    unknown = pick(score(held_out(predictions).assign(family="")), "macro_f1")
    assert np.isnan(unknown["low"])
    assert "families are unknown" in unknown["reason"]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda table: table.drop(columns="p_high"), "lack 'p_high'"),
        (lambda table: table.assign(p_low=np.nan), "no number"),
        (lambda table: table.assign(truth=3), "class beyond 2"),
        (lambda table: table.assign(predicted=(table["predicted"] + 1) % 3), "highest probability"),
        (lambda table: table.assign(role="inner"), "no answers of checkpoint 'best'"),
    ],
)
def test_answers_that_cannot_be_scored_are_refused(predictions, spoil, said):
    with pytest.raises(TableError, match=said):
        score(spoil(predictions))


def test_confusions_hold_all_classes_in_four_ways(predictions):
    counts = count_people(held_out(predictions).query("truth < 2 and predicted < 2"), classes=CLASSES)
    sums = counts.groupby("normalise")["value"].sum()
    assert sums["none"] == counts["n"].iloc[0]
    assert (sums["all"], sums["true"], sums["predicted"]) == pytest.approx((1, 2, 2))
    assert len(counts) == 4 * 9
    assert counts["repeats"].unique().tolist() == [3]


def test_variants_are_compared_with_full_and_with_the_spread_of_repetitions():
    table = made.prediction_table(("full", "no_cross_person", "without_pose"))
    compared = compare_variants(table, classes=CLASSES, seed=0, resamples=200)
    rows = compared[(compared["metric"] == "macro_f1") & (compared["role"] == "validation")].set_index("variant")
    each = {
        name: [f1_score(part["truth"], part["predicted"], average="macro") for _, part in own.groupby("repeat")]
        for name, own in table[table["role"] == "held_out"].groupby("variant")
    }
    for name, values in each.items():
        assert rows.loc[name, "value"] == pytest.approx(np.mean(values))
        assert rows.loc[name, "spread"] == pytest.approx(np.std(values, ddof=1))
    weak = rows.loc["no_cross_person"]
    assert weak["difference"] == pytest.approx(np.mean(each["no_cross_person"]) - np.mean(each["full"]))
    assert weak["low"] < weak["difference"] < weak["high"] < 0
    assert bool(weak["beyond"])
    assert np.isnan(rows.loc["full", "difference"])
    assert not rows.loc["full", "beyond"]
    single = compare_variants(table[table["repeat"] == 0], classes=CLASSES, seed=0, resamples=200)
    assert not single["beyond"].any()
    assert single["reason"].str.contains("spread is not known").all()


def test_the_same_answers_differ_by_nothing_and_missing_clips_are_counted():
    table = held_out(made.prediction_table(("full",)))
    twin = table.assign(system="twin")[lambda rows: rows["family"] != "family_01"]
    compared = compare_systems(pd.concat([table, twin]), classes=CLASSES, seed=0, resamples=200)
    assert compared[["difference", "low", "high"]].abs().to_numpy().max() == 0
    assert compared["n"].unique().tolist() == [twin["sample_id"].nunique()]
    assert compared["reason"].str.contains("24 clips of one only").all()


def test_fusion_is_the_weighted_mean_of_clips_matched_by_name():
    table = made.prediction_table(("full",), systems=("cpm_t", "slowfast"))
    mixed = table.sample(frac=1, random_state=0)
    fused = fuse_people(mixed, {"cpm_t": 3, "slowfast": 1}, classes=CLASSES)
    assert len(fused) == len(table) / 2
    keys = ["sample_id", "repeat", "role"]
    sides = [table[table["system"] == name].set_index(keys)[PROBABILITIES] for name in ("cpm_t", "slowfast")]
    wanted = (3 * sides[0] + sides[1]) / 4
    found = fused.set_index(keys)[PROBABILITIES]
    np.testing.assert_allclose(found.to_numpy(), wanted.loc[found.index].to_numpy())
    assert set(fused["system"]) == {"fusion"}
    assert tables.check(fused, "people_predictions")["predicted"].tolist() == found.to_numpy().argmax(axis=1).tolist()
    with pytest.raises(TableError, match="no answers of i3d"):
        fuse_people(table, {"cpm_t": 1, "i3d": 1}, classes=CLASSES)
    with pytest.raises(TableError, match="add up to 0"):
        fuse_people(table, {"cpm_t": 1, "slowfast": -1}, classes=CLASSES)
    apart = pd.concat([table, table[table["system"] == "cpm_t"].assign(system="late", repeat=7)])
    with pytest.raises(TableError, match="was answered by all"):
        fuse_people(apart, {"cpm_t": 1, "late": 1}, classes=CLASSES)


def test_files_hold_names_and_the_nameless_file_the_same_rows(tmp_path):
    table = made.prediction_table(("full",), repeats=2)
    order = list(made.clip_table()["sample_id"])[::-1]
    written = write_people_files(table, tmp_path / "files", classes=CLASSES, order=order, legacy=write_scores)
    assert [path.name for path in written if path.suffix == ".csv"] == [
        "cpm_t_full_held_out_best_0.csv",
        "cpm_t_full_held_out_best_1.csv",
        "cpm_t_full_test_best_0.csv",
    ]
    for path in written[::2]:
        named = read_predictions(path)
        places = named["sample_id"].map(order.index)
        assert places.is_monotonic_increasing
        nameless = read_scores(path.with_suffix(".pkl"), named)
        np.testing.assert_array_equal(nameless, named[["score_0", "score_1", "score_2"]].to_numpy(np.float32))
    with pytest.raises(TableError, match="not in the list"):
        write_people_files(table, tmp_path / "other", classes=CLASSES, order=order[1:])
    twins = pd.concat([table.assign(system="a b"), table.assign(system="a/b")])
    with pytest.raises(TableError, match="to one file"):
        write_people_files(twins, tmp_path / "twins", classes=CLASSES)
