"""The table of results, the tables behind its figures, the machine as a rater, and scores by covariate."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics as sk

from nbpkg import tables
from nbpkg.annotations import coefficients
from nbpkg.annotations.agreement import count_pairs, measure_agreement
from nbpkg.annotations.reference_agreement import reference_tables
from nbpkg.annotations.scheme import AnnotationScheme
from nbpkg.errors import TableError
from nbpkg.metrics import classification, covariates, curves, evaluation, intervals, machine

GOLDEN = Path(__file__).parents[1] / "golden" / "infant_engagement"
ROLES = {0: "train", 1: "validation", 2: "test"}
BINARY = ["balanced_accuracy", "accuracy", "f1", "recall", "specificity", "precision"]
NAMES = {*BINARY, "auc", "average_precision", "brier", "calibration_error"}


def make_samples(sessions: int = 9, clips: int = 6, *, raters: str = "ab", seed: int = 0) -> pd.DataFrame:
    """Random labels; session s<i> goes to fold i % 3, of which fold 2 is the test fold."""
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


def make_predictions(samples: pd.DataFrame, *, seed: int = 1) -> pd.DataFrame:
    """One random answer per clip, the same for all raters."""
    clips = samples.groupby(["task", "variable", "session", "start_ms"]).ngroup()
    score = np.random.default_rng(seed).random(clips.max() + 1).round(1)[clips]
    fold = samples["session"].str[1:].astype(int) % 3
    table = samples.drop(columns=["group", "clip_id"])
    table = table.assign(fold=fold, role=fold.map(ROLES), score=score, predicted=(score > 0.5).astype(int))
    return tables.check(table, "predictions")


def state(rows: list[tuple]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Samples and predictions written out: (session, clip, rater, label, score), all of the test fold."""
    table = pd.DataFrame(rows, columns=["session", "clip", "rater", "label", "score"])
    name = table["session"] + "-" + table["clip"].astype(str)
    table = table.assign(
        sample_id=name + "-" + table["rater"], clip_id=name, group=table["session"], task="eggs", variable="attending",
        start_ms=table["clip"] * 1000, end_ms=table["clip"] * 1000 + 1000,
        fold=2, role="test", predicted=(table["score"] > 0.5).astype(int),
    )  # fmt: skip
    names = {name: [column.name for column in tables.CONTRACTS[name].columns] for name in ("samples", "predictions")}
    return tuple(tables.check(table[columns], name) for name, columns in names.items())


def score(predictions: pd.DataFrame, samples: pd.DataFrame, *, by: str = "all", name: str = "") -> pd.DataFrame:
    """The table of results of one part, by metric."""
    table = evaluation.score_predictions(predictions, samples, seed=0, resamples=60)
    return table[(table["by"] == by) & (table["name"] == name)].set_index("metric")


def test_of(predictions: pd.DataFrame) -> pd.DataFrame:
    return predictions[predictions["role"] == "test"]


test_of.__test__ = False


# metrics of probabilities


LABELS_AND_SCORES = st.integers(2, 40).flatmap(
    lambda n: st.tuples(
        hnp.arrays(np.int64, n, elements=st.integers(0, 1)),
        hnp.arrays(np.float64, n, elements=st.sampled_from([0.0, 0.1, 0.35, 0.5, 0.9, 1.0])),
    )
)


@given(LABELS_AND_SCORES, st.integers(1, 4))
@settings(max_examples=80, deadline=None)
def test_average_precision_equals_scikit_learn_however_samples_are_grouped(pair, groups):
    label, score_ = pair
    counts = classification.count_thresholds(label, score_, np.arange(len(label)) % groups)
    found = float(classification.average_precision(counts.sum(axis=0)))
    if len(set(label)) == 2:
        assert found == pytest.approx(sk.average_precision_score(label, score_))
    else:
        assert np.isnan(found)


@given(LABELS_AND_SCORES, st.integers(1, 12))
@settings(max_examples=80, deadline=None)
def test_calibration_error_is_the_weighted_distance_in_each_bin(pair, bins):
    label, score_ = pair
    expected = 0.0
    for place in range(bins):
        top = score_ <= 1 if place == bins - 1 else score_ < (place + 1) / bins
        inside = (score_ >= place / bins) & top
        if inside.any():
            expected += inside.mean() * abs(score_[inside].mean() - label[inside].mean())
    sums = classification.count_bins(label, score_, np.zeros(len(label), int), bins=bins)
    assert float(classification.calibration_error(sums.sum(axis=0))) == pytest.approx(expected, abs=1e-12)


@given(hnp.arrays(np.int64, (2, 2), elements=st.integers(0, 9)))
@settings(max_examples=60, deadline=None)
def test_kappa_is_the_same_in_both_rooms_and_in_scikit_learn(matrix):
    found = classification.measure(classification.KAPPA, matrix).value
    assert found == pytest.approx(float(coefficients.cohen_kappa(matrix)), nan_ok=True)
    if np.isfinite(found):
        rows, columns = (np.repeat([0, 0, 1, 1], matrix.ravel()), np.repeat([0, 1, 0, 1], matrix.ravel()))
        assert found == pytest.approx(sk.cohen_kappa_score(rows, columns))


def test_intervals_of_curves_equal_a_bootstrap_over_rows():
    samples = make_samples(18)
    predictions = make_predictions(samples)
    found = score(predictions, samples)
    test = test_of(predictions)
    label, given_ = test["label"].to_numpy(), test["score"].to_numpy()
    for name, statistic in (
        ("average_precision", sk.average_precision_score),
        ("auc", sk.roc_auc_score),
        ("brier", sk.brier_score_loss),
    ):
        slow = intervals.bootstrap_rows(
            test["session"], lambda rows, f=statistic: f(label[rows], given_[rows]), seed=0, resamples=60
        )
        assert found.loc[name, ["low", "high"]].tolist() == pytest.approx([slow.low, slow.high])


# the table of results


def test_every_number_has_n_interval_chance_and_ceiling():
    samples = make_samples()
    predictions = make_predictions(samples)
    table, test = score(predictions, samples), test_of(predictions)
    assert set(table.index) == NAMES
    label, share = test["label"], test["label"].mean()
    assert table.loc["auc", "value"] == pytest.approx(sk.roc_auc_score(label, test["score"]))
    assert table.loc["average_precision", "value"] == pytest.approx(sk.average_precision_score(label, test["score"]))
    assert table.loc["brier", "value"] == pytest.approx(sk.brier_score_loss(label, test["score"]))
    assert set(table.index[table["direction"] == "lower"]) == {"brier", "calibration_error"}
    chance = table["chance"]
    assert chance["accuracy"] == pytest.approx(max(share, 1 - share))
    assert chance["f1"] == pytest.approx(2 * share / (1 + share))
    assert chance["brier"] == pytest.approx(sk.brier_score_loss(label, np.full(len(label), share)))
    assert chance["average_precision"] == pytest.approx(share)
    assert chance["auc"] == 0.5
    assert np.isnan(chance["calibration_error"])
    assert (table["n"] == 36).all()
    assert (table["n_groups"] == 3).all()
    bracketed = table.drop("calibration_error")
    assert (bracketed["low"] <= bracketed["value"]).all()
    assert (bracketed["value"] <= bracketed["high"]).all()
    ceiling = evaluation.human_ceiling(test).set_index("metric")["value"]
    assert table.loc[BINARY, "ceiling"].tolist() == ceiling[BINARY].tolist()
    assert table.loc[sorted(NAMES - set(BINARY)), "ceiling"].isna().all()


def test_only_the_fold_rows_see_other_roles_than_test():
    samples = make_samples()
    predictions = make_predictions(samples)
    table = evaluation.score_predictions(predictions, samples, seed=0, resamples=20)
    assert set(table["by"]) == {"all", "majority", "rater", "session", "fold"}
    assert set(table.loc[table["by"] != "fold", "role"]) == {"test"}
    folds = table[(table["by"] == "fold") & (table["metric"] == "accuracy")]
    assert folds[["name", "role", "n"]].to_numpy().tolist() == [
        ["0", "train", 36], ["1", "validation", 36], ["2", "test", 36]
    ]  # fmt: skip
    assert sorted(table.loc[table["by"] == "session", "name"].unique()) == ["s2", "s5", "s8"]
    # answers elsewhere may be as wrong as they like
    other = predictions["role"] != "test"
    spoilt = predictions.assign(predicted=predictions["predicted"].where(~other, 1 - predictions["label"]))
    again = evaluation.score_predictions(
        spoilt.assign(score=spoilt["score"].where(~other, 0.0)), samples, seed=0, resamples=20
    )
    kept = table["by"] != "fold"
    pd.testing.assert_frame_equal(table[kept], again[kept])


def test_majority_takes_one_sample_per_clip_and_counts_ties():
    samples, predictions = state(
        [
            ("s1", 0, "a", 1, 0.9), ("s1", 0, "b", 1, 0.9), ("s1", 0, "c", 0, 0.9),  # majority 1, answered 1
            ("s1", 1, "a", 0, 0.8), ("s1", 1, "b", 1, 0.8),  # a tie
            ("s2", 0, "a", 0, 0.7), ("s2", 0, "b", 0, 0.7), ("s2", 0, "c", 0, 0.7),  # majority 0, answered 1
            ("s2", 1, "c", 0, 0.1),  # one rater only
        ]
    )  # fmt: skip
    table = score(predictions, samples, by="majority")
    assert table.loc["accuracy", ["value", "n", "n_groups"]].tolist() == [pytest.approx(2 / 3), 3, 2]
    assert (table["reason"] == "1 clips without a majority left out").all()
    assert table.loc["accuracy", "chance"] == pytest.approx(2 / 3)
    # a against the others: s1-0 tied, s1-1 (b) wrong, s2-0 right; b: tied, wrong, right; c: s1-0 wrong, s2-0 right
    assert table.loc["accuracy", "ceiling"] == pytest.approx(1 / 2)
    assert score(predictions, samples).loc["accuracy", ["value", "n"]].tolist() == [pytest.approx(4 / 9), 9]


def test_ceiling_of_a_rater_is_the_others_against_this_one():
    samples = make_samples(raters="abc")
    predictions = make_predictions(samples)
    labels = test_of(predictions).pivot_table(index=["session", "start_ms"], columns="rater", values="label")
    expected = np.mean([sk.balanced_accuracy_score(labels["b"], labels[other]) for other in "ac"])
    table = score(predictions, samples, by="rater", name="b")
    assert table.loc["balanced_accuracy", "ceiling"] == pytest.approx(expected)
    assert (table["n"] == 18).all()


def test_ceiling_of_a_session_comes_from_this_session():
    samples = make_samples()
    predictions = make_predictions(samples)
    own = predictions[predictions["session"] == "s5"]
    table = score(predictions, samples, by="session", name="s5")
    expected = evaluation.human_ceiling(own).set_index("metric")["value"]
    assert table.loc["accuracy", "ceiling"] == expected["accuracy"]
    assert table[["low", "high"]].isna().all(axis=None)  # one session gives no interval
    assert table.loc["accuracy", "value"] == pytest.approx(sk.accuracy_score(own["label"], own["predicted"]))


def test_human_ceiling_is_one_rater_against_another():
    samples = make_samples(raters="abc")
    labels = samples.pivot_table(index="clip_id", columns="rater", values="label")
    pairs = [(x, y) for x in "abc" for y in "abc" if x != y]
    expected = np.mean([sk.balanced_accuracy_score(labels[x], labels[y]) for x, y in pairs])
    table = evaluation.human_ceiling(samples).set_index("metric")
    assert table.loc["balanced_accuracy", "value"] == pytest.approx(expected)
    assert table.loc["balanced_accuracy", ["n", "pairs"]].tolist() == [54, 6]


def test_human_ceiling_against_the_majority_leaves_ties_out():
    samples = make_samples(raters="abcd")
    labels = samples.pivot_table(index="clip_id", columns="rater", values="label").to_numpy()
    expected = []
    for rater in range(4):
        votes = np.delete(labels, rater, axis=1).sum(axis=1)  # of three others there is no tie
        expected.append(((votes >= 2) == labels[:, rater]).mean())
    table = evaluation.human_ceiling(samples, against="majority").set_index("metric")
    assert table.loc["accuracy", "value"] == pytest.approx(np.mean(expected))
    assert table.loc["accuracy", "pairs"] == 4


def test_human_ceiling_is_unknown_with_one_rater():
    for against in ("raters", "majority"):
        row = evaluation.human_ceiling(make_samples(raters="a"), against=against).iloc[0]
        assert np.isnan(row["value"])
        assert row["reason"] == "no clip has two raters"


def test_human_ceiling_refuses_a_clip_labelled_twice():
    samples = make_samples()
    doubled = pd.concat([samples, samples.iloc[:1].assign(sample_id="again")])
    with pytest.raises(TableError, match="'a' labels the clip at 0 ms of session 's0' twice for eggs attending"):
        evaluation.human_ceiling(doubled)


def test_a_class_absent_from_the_test_fold_is_nan_with_a_reason():
    samples = make_samples()
    in_test = samples["session"].str[1:].astype(int) % 3 == 2
    samples["label"] = samples["label"].where(~in_test, 1)
    predictions = make_predictions(samples)
    table = score(predictions, samples)
    undefined = ["balanced_accuracy", "specificity", "auc", "average_precision"]
    assert table.loc[undefined, ["value", "low", "high"]].isna().all(axis=None)
    assert table.loc["balanced_accuracy", "reason"] == "a class has no sample"
    assert table.loc["specificity", "reason"] == "no negative samples"
    assert table.loc["auc", "reason"] == table.loc["average_precision", "reason"] == "no negative samples"
    assert np.isfinite(table.loc["accuracy", "value"])
    elsewhere = score(predictions, samples, by="fold", name="0")
    assert np.isfinite(elsewhere.loc["balanced_accuracy", "value"])


def test_a_pair_without_test_clips_has_no_number_but_a_reason():
    samples = make_samples()
    other = samples[samples["session"].isin(["s0", "s1"])].assign(task="drums")
    other["sample_id"] = other["sample_id"] + "-drums"
    both = tables.check(pd.concat([samples, other]), "samples")
    table = evaluation.score_predictions(make_predictions(both), both, seed=0, resamples=20)
    drums = table[(table["task"] == "drums") & (table["by"] == "all")].set_index("metric")
    assert drums["value"].isna().all()
    assert (drums["n"] == 0).all()
    assert (drums["reason"] != "").all()
    assert drums.loc["accuracy", "reason"] == "no samples"


def test_missing_scores_leave_only_the_metrics_of_answers():
    samples = make_samples()
    predictions = make_predictions(samples)
    predictions.loc[test_of(predictions).index[0], "score"] = np.nan
    table = score(predictions, samples)
    for name in ("auc", "average_precision", "brier", "calibration_error"):
        assert np.isnan(table.loc[name, "value"])
        assert table.loc[name, "reason"] == "1 samples have no score"
    assert table.loc[BINARY, "value"].notna().all()


def test_three_classes_leave_binary_metrics_out():
    samples = make_samples()
    samples["label"] = np.arange(len(samples)) // 2 % 3  # raters agree
    predictions = make_predictions(samples).assign(score=np.nan)
    table, test = score(predictions, samples), test_of(predictions)
    assert list(table.index) == ["balanced_accuracy", "accuracy", "f1"]
    assert table.loc["balanced_accuracy", "chance"] == pytest.approx(1 / 3)
    expected = sk.f1_score(test["label"], test["predicted"], average="macro")
    assert table.loc["f1", "value"] == pytest.approx(expected)
    assert table.loc["accuracy", "ceiling"] == 1.0


def test_evaluate_refuses_what_it_cannot_score():
    samples = make_samples()
    predictions = make_predictions(samples)
    with pytest.raises(TableError, match="2 predictions belong to no sample: 0-0-a, 0-0-b"):
        evaluation.score_predictions(predictions, samples.iloc[2:], seed=0)
    with pytest.raises(TableError, match="108 predictions carry another label"):
        evaluation.score_predictions(predictions.assign(label=1 - predictions["label"]), samples, seed=0)
    with pytest.raises(TableError, match="no row with role 'test'"):
        evaluation.score_predictions(predictions[predictions["role"] != "test"], samples, seed=0)
    two = predictions.assign(predicted=(predictions["rater"] == "a").astype(int))
    with pytest.raises(TableError, match="answers 18 clips in two ways"):
        evaluation.score_predictions(two, samples, seed=0)
    mixed = predictions.assign(role=predictions["role"].where(predictions["session"] != "s0", "validation"))
    with pytest.raises(TableError, match="Fold 0 has the roles train and validation"):
        evaluation.score_predictions(mixed, samples, seed=0)


def test_evaluate_is_the_same_every_time():
    samples = make_samples()
    predictions = make_predictions(samples)
    shuffled = predictions.sample(frac=1, random_state=0).reset_index(drop=True)
    first, second = (evaluation.score_predictions(p, samples, seed=3, resamples=50) for p in (predictions, shuffled))
    pd.testing.assert_frame_equal(first, second)


# tables behind the figures


def test_curves_enclose_the_areas_they_state():
    predictions = make_predictions(make_samples())
    roc = curves.trace_roc(predictions)
    area = np.trapezoid(roc["true_positive_rate"], roc["false_positive_rate"])
    assert area == pytest.approx(roc["auc"].iloc[0])
    assert roc[["false_positive_rate", "true_positive_rate"]].iloc[[0, -1]].to_numpy().tolist() == [[0, 0], [1, 1]]
    curve = curves.trace_precision(predictions)
    steps = np.diff(curve["recall"], prepend=0)
    assert (steps * curve["precision"]).sum() == pytest.approx(curve["average_precision"].iloc[0])
    assert curve["precision"].iloc[-1] == pytest.approx(curve["positive"].iloc[0])
    for trace in (curves.trace_roc, curves.trace_precision):
        assert trace(predictions.assign(label=1)).empty


def test_tables_of_figures_hold_the_test_fold_and_nothing_else():
    predictions = make_predictions(make_samples())
    for table in (curves.count_confusions, curves.score_sessions, curves.bin_calibration):
        assert table(predictions)["n"].sum() == len(test_of(predictions))
        pd.testing.assert_frame_equal(table(predictions), table(test_of(predictions)))
    by_session = curves.score_sessions(predictions.assign(label=1))
    assert by_session["balanced_accuracy"].isna().all()


def test_bins_of_the_figure_are_those_of_the_calibration_error():
    samples = make_samples()
    predictions = make_predictions(samples)
    bins = curves.bin_calibration(predictions)
    error = ((bins["score"] - bins["positive"]).abs() * bins["n"]).sum() / bins["n"].sum()
    assert error == pytest.approx(bins["calibration_error"].iloc[0])
    assert error == pytest.approx(score(predictions, samples).loc["calibration_error", "value"])
    assert ((bins["low"] <= bins["score"] + 1e-12) & (bins["score"] <= bins["high"])).all()
    assert len(bins) <= classification.BINS


# the machine as one more rater


@given(
    hnp.arrays(np.float64, st.tuples(st.integers(1, 6), st.integers(1, 4)), elements=st.sampled_from([0, 1, np.nan]))
)
@settings(max_examples=80, deadline=None)
def test_majority_is_what_more_than_half_said(labels):
    for row, found in zip(labels, machine.take_majority(labels), strict=True):
        given_ = row[~np.isnan(row)]
        ones = int(given_.sum())
        expected = np.nan if 2 * ones == len(given_) else float(2 * ones > len(given_))
        assert found == expected or (np.isnan(found) and np.isnan(expected))


def published() -> tuple[pd.DataFrame, AnnotationScheme]:
    with (
        zipfile.ZipFile(GOLDEN / "reliability_machine_open.zip") as files,
        files.open(next(name for name in files.namelist() if name.endswith("labels.csv"))) as stream,
    ):
        labels = pd.read_csv(stream)
    raters = ["ew", "mf", "myz"]
    scheme = AnnotationScheme.model_validate(
        {
            "folder": "", "sessions": sorted(set(labels["session"])), "raters": raters,
            "tasks": ["people", "eggs", "drums"], "variables": ["participating", "attending"],
            "tiers": {"participating": {"values": ["self"]}, "attending": {"values": ["attending"]},
                      "task": {"values": ["people", "eggs", "drums"]}},
        }
    )  # fmt: skip
    return labels, scheme


def as_tables(labels: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The published side-by-side labels as our samples and predictions."""
    long = labels.melt(["task", "variable", "session", "start_ms", "machine"], var_name="rater", value_name="label")
    long = long.dropna(subset=["label"]).astype({"label": int})
    clip = long["session"] + "_" + long["start_ms"].astype(str)
    name = clip + "_" + long["rater"] + "_" + long["variable"]
    long = long.assign(
        sample_id=name, clip_id=clip, group=long["session"], end_ms=long["start_ms"] + 5000, fold=0, role="test",
        score=long["machine"].astype(float), predicted=long["machine"],
    )  # fmt: skip
    kinds = ("samples", "predictions")
    return tuple(tables.check(long[[c.name for c in tables.CONTRACTS[kind].columns]], kind) for kind in kinds)


def test_published_tables_with_the_machine_come_out_of_predictions():
    labels, scheme = published()
    samples, predictions = as_tables(labels)
    wide = machine.machine_codes(predictions, samples)
    assert list(wide.columns) == ["task", "variable", "session", "start_ms", "ew", "mf", "myz", "machine"]
    key = machine.CLIP
    expected = (
        labels.sort_values(key).reset_index(drop=True).astype(dict.fromkeys(["ew", "mf", "myz", "machine"], float))
    )
    pd.testing.assert_frame_equal(wide.sort_values(key).reset_index(drop=True), expected[wide.columns])
    mine = reference_tables(count_pairs(wide, scheme, labels="binary"))
    with zipfile.ZipFile(GOLDEN / "reliability_machine_open.zip") as files:
        names = [name for name in files.namelist() if "reliability" in Path(name).name]
        assert len(names) == 8
        for name in names:
            with files.open(name) as stream:
                golden = pd.read_csv(stream)
            table = mine[Path(name).name].rename(columns={"": "Unnamed: 0"})
            pd.testing.assert_frame_equal(table, golden, rtol=0, atol=1e-12, check_dtype=False)


def test_left_out_by_hand():
    rows = [
        # clip, a, b, c, machine
        ("s1", 0, 1, 1, 1, 1), ("s1", 1, 1, 0, 0, 0), ("s1", 2, 0, 0, 1, 1),
        ("s2", 0, 0, 0, 0, 1), ("s2", 1, 1, 1, 0, 1), ("s2", 2, np.nan, 1, 1, 0),
    ]  # fmt: skip
    wide = pd.DataFrame(rows, columns=["session", "start_ms", "a", "b", "c", "machine"])
    wide = wide.assign(task="eggs", variable="attending")[[*machine.CLIP, "a", "b", "c", "machine"]]
    table = machine.compare_left_out(wide, seed=0, resamples=50)
    value = table.set_index(["statistic", "left_out", "compared"])["value"]
    n = table.set_index(["statistic", "left_out", "compared"])["n"]
    # a left out: b and c agree on s1-0, s1-1, s2-0, s2-2; a rated the first three: 1 1 0 against 1 0 0
    assert n["raw_agreement", "a", "human"] == n["raw_agreement", "a", "machine"] == 3
    assert value["raw_agreement", "a", "human"] == pytest.approx(2 / 3)
    assert value["raw_agreement", "a", "machine"] == pytest.approx(2 / 3)  # 1 0 1 against 1 0 0
    # b left out: a and c agree on s1-0 (1), s2-0 (0); c alone on s2-2 (1)
    assert value["raw_agreement", "b", "human"] == 1.0
    assert value["raw_agreement", "b", "machine"] == pytest.approx(1 / 3)
    assert value["raw_agreement", "b", "difference"] == pytest.approx(-2 / 3)
    # c left out: a and b agree on s1-0 (1), s1-2 (0), s2-0 (0), s2-1 (1); b alone on s2-2 (1)
    assert value["raw_agreement", "c", "human"] == pytest.approx(3 / 5)
    assert value["raw_agreement", "c", "machine"] == pytest.approx(2 / 5)
    assert value["raw_agreement", "all", "human"] == pytest.approx((2 / 3 + 1 + 3 / 5) / 3)
    # nobody left out: majorities 1 0 0 0 1 1 against 1 0 1 1 1 0
    assert value["raw_agreement", "none", "machine"] == pytest.approx(3 / 6)
    kappa = sk.cohen_kappa_score([1, 0, 0, 1, 1], [1, 1, 0, 0, 1])
    assert value["cohen_kappa", "c", "human"] == pytest.approx(kappa)
    assert ("raw_agreement", "none", "human") not in value.index


def test_a_machine_that_copies_a_rater_is_as_good_as_this_rater():
    samples = make_samples(raters="abc")
    predictions = make_predictions(samples)
    wide = machine.machine_codes(predictions, samples)
    table = machine.compare_left_out(wide.assign(machine=wide["b"]), seed=0, resamples=80)
    same = table[(table["left_out"] == "b") & (table["compared"] == "difference")]
    assert (same[["value", "low", "high"]].abs() < 1e-12).all(axis=None)
    assert (table.loc[table["left_out"] == "a", "n_groups"] == 3).all()


def test_left_out_says_why_it_is_undefined():
    samples = make_samples(raters="abc").assign(label=1)
    wide = machine.machine_codes(make_predictions(samples), samples)
    table = machine.compare_left_out(wide.assign(machine=1.0), seed=0, resamples=20)
    kappa = table[table["statistic"] == "cohen_kappa"]
    assert kappa[["value", "low", "high"]].isna().all(axis=None)
    assert kappa["reason"].str.contains("one and the same value|every rater").all()
    assert (
        table.loc[(table["statistic"] == "raw_agreement") & (table["compared"] != "difference"), "value"] == 1
    ).all()
    alone = machine.compare_left_out(wide.drop(columns=["b", "c"]), seed=0, resamples=20)
    assert set(alone["left_out"]) == {"none"}


def test_the_majority_can_stand_as_a_rater_and_changes_no_other():
    labels, scheme = published()
    samples, predictions = as_tables(labels)
    wide = machine.machine_codes(predictions, samples, with_majority=True)
    assert list(wide.columns[-2:]) == ["majority", "machine"]
    votes = wide[["ew", "mf", "myz"]]
    share = votes.mean(axis=1)
    assert wide["majority"].isna().equals(share == 0.5)
    assert (wide["majority"].dropna() == (share > 0.5)[share != 0.5]).all()
    index = ["task", "variable", "rater_1", "rater_2", "statistic"]
    found = [
        measure_agreement(count_pairs(table, scheme, labels="binary"), resamples=20).set_index(index)["value"]
        for table in (wide, wide.drop(columns="majority"))
    ]
    people = [key for key in found[1].index if "human" not in key[2:4] and "all" not in key[2:4]]
    pd.testing.assert_series_equal(found[0][people], found[1][people])
    assert ("all", "all", "majority", "machine", "cohen_kappa") in found[0].index


def test_machine_codes_refuse_names_that_are_taken():
    samples = make_samples()
    taken = samples.assign(rater=samples["rater"].replace("a", "machine"))
    with pytest.raises(TableError, match="A rater is called 'machine'"):
        machine.machine_codes(make_predictions(samples), taken)


# covariates and worst clips


def test_covariates_by_hand():
    samples = make_samples(3, 7)
    samples["label"] = [1, 1, *([0, 1] * ((len(samples) - 2) // 2))]
    samples = samples[samples["sample_id"] != "2-6-b"]
    sessions = pd.DataFrame(
        {"session": ["s0", "s1", "s2", "s9"], "group": "x", "sibling": [1, 0, 0, 1], "moon": [0, 0, 0, 1], "age": 9}
    )
    found = covariates.build_covariates(samples, sessions).set_index("sample_id")
    assert list(found.columns) == ["sibling", "rater", "time in task", "raters agree"]  # moon: the same everywhere
    assert found.loc["0-3-a", "sibling"] == "yes"
    assert found.loc["1-3-a", "sibling"] == "no"
    thirds = [found.loc[f"0-{clip}-a", "time in task"] for clip in range(7)]
    assert thirds == ["early"] * 3 + ["middle"] * 2 + ["late"] * 2
    assert found.loc["0-0-a", "raters agree"] == "yes"
    assert found.loc["0-1-b", "raters agree"] == "no"
    assert found.loc["2-6-a", "raters agree"] is None or pd.isna(found.loc["2-6-a", "raters agree"])
    with pytest.raises(TableError, match="'s2' is not in the table of sessions"):
        covariates.build_covariates(samples, sessions.iloc[:2])


@pytest.mark.parametrize("key", [["sample_id"], ["session", "start_ms"], ["session"]])
def test_scores_by_covariate_are_those_of_the_rows(key):
    samples = make_samples(9)
    predictions = make_predictions(samples)
    table = samples[key].drop_duplicates().reset_index(drop=True)
    table["kind"] = np.where(np.arange(len(table)) % 4 < 2, "x", "y")
    found = covariates.score_by_covariate(predictions, table, seed=0, resamples=50)
    test = test_of(predictions).merge(table, on=key)
    assert found["level"].unique().tolist() == ["x", "y"]
    for level, part in test.groupby("kind"):
        rows = found[found["level"] == level].set_index("metric")
        assert rows.loc["accuracy", "value"] == pytest.approx((part["label"] == part["predicted"]).mean())
        expected = sk.balanced_accuracy_score(part["label"], part["predicted"])
        assert rows.loc["balanced_accuracy", "value"] == pytest.approx(expected)
        assert rows.loc["accuracy", ["n", "n_groups"]].tolist() == [len(part), part["session"].nunique()]
    assert covariates.score_by_covariate(predictions, table.assign(kind="x"), seed=0).empty


def test_one_session_has_no_interval_and_says_so():
    predictions = make_predictions(make_samples(9))
    table = pd.DataFrame({"session": ["s2", "s5", "s8"], "kind": ["x", "y", "y"]})
    found = covariates.score_by_covariate(predictions, table, seed=0, resamples=50).set_index(["level", "metric"])
    assert np.isnan(found.loc[("x", "accuracy"), "low"])
    assert found.loc[("x", "accuracy"), "reason"] == "one session: no interval"
    assert np.isfinite(found.loc[("y", "accuracy"), "low"])
    with pytest.raises(TableError, match="key session repeats"):
        covariates.score_by_covariate(predictions, pd.concat([table, table]), seed=0)
    with pytest.raises(TableError, match="no key"):
        covariates.score_by_covariate(predictions, table[["kind"]], seed=0)


def test_disputed_clips_of_two_raters_are_right_half_of_the_time():
    samples = make_samples(9)
    predictions = make_predictions(samples)
    sessions = pd.DataFrame({"session": sorted(set(samples["session"])), "group": "x"})
    found = covariates.score_by_covariate(predictions, covariates.build_covariates(samples, sessions), seed=0)
    disputed = found[
        (found["covariate"] == "raters agree") & (found["level"] == "no") & (found["metric"] == "accuracy")
    ]
    assert disputed["value"].tolist() == [0.5]


def test_worst_clips_by_hand():
    _, predictions = state(
        [
            ("s1", 0, "a", 0, 0.9), ("s1", 0, "b", 1, 0.9),  # mean distance 0.5
            ("s1", 1, "a", 1, 0.2), ("s1", 1, "b", 1, 0.2),  # 0.8
            ("s2", 0, "a", 1, 0.7),  # 0.3
        ]
    )  # fmt: skip
    found = covariates.worst_clips(predictions, 2)
    assert found[["session", "start_ms", "rank", "raters"]].to_numpy().tolist() == [["s1", 1000, 1, 2], ["s1", 0, 2, 2]]
    assert found["off"].tolist() == pytest.approx([0.8, 0.5])
    assert found["wrong"].tolist() == [1.0, 0.5]
    assert found["positive"].tolist() == [1.0, 0.5]
    assert len(covariates.worst_clips(predictions, 99)) == 3
    both = pd.concat([predictions, predictions.assign(task="drums", role="train")])
    assert set(covariates.worst_clips(both, 5)["task"]) == {"eggs"}
