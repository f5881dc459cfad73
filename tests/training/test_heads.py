"""Linear heads: solved to the end, chosen on training folds only, the same every time."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score

from nbpkg import tables
from nbpkg.errors import FoldError, SettingsError, TableError
from nbpkg.training import heads, linear

SETTINGS = (heads.Setting(0.001), heads.Setting(0.1), heads.Setting(10.0))


def make_data(*, sessions: int = 10, clips: int = 12, width: int = 8, seed: int = 0, variables=("attending",)):
    """Samples of two raters whose labels follow the features, the features row by row, and five folds."""
    random = np.random.default_rng(seed)
    features, rows = [], []
    direction = {variable: random.standard_normal(width) for variable in variables}
    for session in range(sessions):
        for clip in range(clips):
            point = (random.standard_normal(width) * np.arange(1, width + 1)).astype(np.float32)
            for rater in "ab":
                for variable in variables:
                    drive = (point / np.arange(1, width + 1)) @ direction[variable] + random.standard_normal() * 0.5
                    name = f"s{session}-{clip}"
                    key = (f"{name}-{rater}-{variable}", f"s{session}", f"c{session}", rater, "eggs", variable, name)
                    rows.append((*key, clip * 5000, clip * 5000 + 5000, int(drive > 0.3)))
                    features.append(point)
    columns = [column.name for column in tables.CONTRACTS["samples"].columns]
    samples = tables.check(pd.DataFrame(rows, columns=columns), "samples")
    folds = pd.DataFrame(
        [(f"s{s}", f"c{s}", s % 5, "test" if s % 5 == 4 else "train") for s in range(sessions)],
        columns=["session", "group", "fold", "role"],
    )
    return np.array(features), samples, folds


def split(features, samples, folds, role: str):
    rows = samples["session"].isin(folds.loc[folds["role"] == role, "session"]).to_numpy()
    return features[rows], samples[rows].reset_index(drop=True)


@pytest.fixture(scope="module")
def data():
    return make_data(variables=("attending", "participating"))


@pytest.fixture(scope="module")
def found(data):
    features, samples = split(*data, "train")
    return heads.search_heads(features, samples, folds=data[2], settings=SETTINGS)


# one head


@pytest.mark.parametrize("weight_decay", [0.001, 0.1, 1.0])
def test_head_equals_scikit_learn(weight_decay):
    features, samples, _ = make_data()
    labels = samples["label"].to_numpy()
    head, _ = heads.fit_head(features, labels, setting=heads.Setting(weight_decay))
    assert head.metadata["converged"] == "yes"
    standardised = (features - features.mean(axis=0)) / features.std(axis=0)
    # two opposite rows of weights, each half the difference: the penalty is half the one of a single row
    model = LogisticRegression(C=1 / (len(labels) * weight_decay), tol=1e-10, max_iter=2000).fit(standardised, labels)
    np.testing.assert_allclose(heads.predict(head, features), model.predict_proba(standardised), atol=1e-3)


def test_class_weights_equal_scikit_learn():
    features, samples, _ = make_data()
    labels = (samples["label"] * (np.arange(len(samples)) % 3 == 0)).to_numpy()  # positives are rare
    head, _ = heads.fit_head(features, labels, setting=heads.Setting(0.01, class_weights=True))
    standardised = (features - features.mean(axis=0)) / features.std(axis=0)
    model = LogisticRegression(C=1 / (len(labels) * 0.01), class_weight="balanced", tol=1e-10, max_iter=2000)
    expected = model.fit(standardised, labels).predict_proba(standardised)
    np.testing.assert_allclose(heads.predict(head, features), expected, atol=1e-3)


def test_three_classes_are_told_apart():
    random = np.random.default_rng(0)
    labels = np.arange(90) % 3
    features = (np.eye(3)[labels] * 3 + random.standard_normal((90, 3))).astype(np.float32)
    head, _ = heads.fit_head(features, labels, setting=heads.Setting(0.01), classes=3)
    probability = heads.predict(head, features)
    np.testing.assert_allclose(probability.sum(axis=1), 1)
    assert (probability.argmax(axis=1) == labels).mean() > 0.85


def test_slope_of_the_loss_agrees_with_finite_differences():
    features, samples, _ = make_data(sessions=2, width=3)
    labels = samples["label"].to_numpy()
    head, course = heads.fit_head(features, labels, setting=heads.Setting(0.05))
    assert course.slope < 1e-5

    def loss(weight, bias):
        rows = (features.astype(float) - head.arrays["mean"]) / head.arrays["std"]
        logits = rows @ weight.T + bias
        chances = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return -chances[np.arange(len(labels)), labels].mean() + 0.05 * (weight**2).sum()

    weight, bias = head.arrays["weight"].astype(float), head.arrays["bias"].astype(float)
    best = loss(weight, bias)
    random = np.random.default_rng(0)
    for _ in range(20):
        assert loss(weight + random.normal(0, 0.01, weight.shape), bias + random.normal(0, 0.01, 2)) > best


def test_a_constant_feature_changes_nothing():
    features, samples, _ = make_data()
    constant = np.hstack([features, np.full((len(features), 1), 7, np.float32)])
    first, _ = heads.fit_head(features, samples["label"])
    second, _ = heads.fit_head(constant, samples["label"])
    np.testing.assert_allclose(heads.predict(first, features), heads.predict(second, constant), atol=1e-9)
    assert np.isfinite(second.arrays["weight"]).all()


def test_arrays_are_float32_and_metadata_is_text():
    features, samples, _ = make_data()
    head, _ = heads.fit_head(features, samples["label"])
    assert {array.dtype for array in head.arrays.values()} == {np.dtype("float32")}
    assert all(isinstance(value, str) for value in head.metadata.values())


def test_separable_classes_without_weight_decay_end_and_stay_finite():
    features = np.array([[-1.0], [-0.5], [0.5], [1.0]], np.float32)
    head, course = heads.fit_head(features, [0, 0, 1, 1], setting=heads.Setting(0.0))
    assert np.isfinite(head.arrays["weight"]).all()
    assert len(course.train_loss) <= linear.MAX_STEPS + 1


# the search


def test_chosen_heads_beat_chance_on_the_test_fold(data, found):
    features, samples = split(*data, "test")
    predictions = heads.predict_samples(found.heads, features, samples=samples, folds=data[2])
    assert list(predictions["sample_id"]) == list(samples["sample_id"])
    assert (predictions["fold"] == 4).all()
    for _, part in predictions.groupby("variable"):
        assert balanced_accuracy_score(part["label"], part["predicted"]) > 0.75


def test_trials_hold_every_setting_and_one_choice(found):
    for _, part in found.trials.groupby(["task", "variable"]):
        assert len(part) == 3
        assert part["chosen"].sum() == 1
        assert part.loc[part["chosen"], "score"].item() == part["score"].max()
        assert (part["low"] <= part["score"]).all()
        assert (part["score"] <= part["high"]).all()
        assert (part["folds"] == 4).all()


def test_validation_score_is_that_of_a_model_trained_without_the_fold(data, found):
    features, samples = split(*data, "train")
    fold = samples["session"].map(data[2].set_index("session")["fold"]).to_numpy()
    mine = (samples["variable"] == "attending").to_numpy()
    values = []
    for left_out in range(4):
        inside, outside = mine & (fold != left_out), mine & (fold == left_out)
        head, _ = heads.fit_head(features[inside], samples["label"][inside], setting=SETTINGS[1])
        answers = heads.predict(head, features[outside]).argmax(axis=1)
        values.append(balanced_accuracy_score(samples["label"][outside], answers))
    row = found.trials[(found.trials["variable"] == "attending") & found.trials["setting"].str.contains("=0.1 ")]
    assert row["score"].item() == pytest.approx(np.mean(values))


def test_final_head_is_trained_on_all_training_folds_and_knows_its_sessions(data, found):
    features, samples = split(*data, "train")
    mine = (samples["variable"] == "attending").to_numpy()
    head = found.heads["eggs", "attending"]
    np.testing.assert_allclose(head.arrays["mean"], features[mine].mean(axis=0), rtol=1e-5, atol=1e-6)
    assert json.loads(head.metadata["sessions"]) == sorted(set(samples["session"]))
    assert head.metadata["n_train"] == str(mine.sum())


def test_history_starts_at_blind_guessing_and_goes_down(found):
    finals = found.history[(found.history["fold"] == "none") & (found.history["variable"] == "attending")]
    assert finals["value"].iloc[0] == pytest.approx(np.log(2))
    assert finals["value"].iloc[-1] < finals["value"].iloc[0]
    assert set(found.history["fold"]) == {"0", "1", "2", "3", "none"}


def test_equal_scores_take_the_strongest_weight_decay():
    scores = {heads.Setting(decay): {0: 0.7, 1: 0.8} for decay in (0.0, 1.0, 0.1)}
    assert heads._choose(scores) == heads.Setting(1.0)


def test_search_is_the_same_every_time(data, found):
    features, samples = split(*data, "train")
    again = heads.search_heads(features, samples, folds=data[2], settings=SETTINGS)
    pd.testing.assert_frame_equal(found.trials, again.trials)
    for key, head in found.heads.items():
        assert all(array.tobytes() == again.heads[key].arrays[name].tobytes() for name, array in head.arrays.items())


def test_test_sessions_never_enter(data):
    features, samples, folds = data
    with pytest.raises(FoldError, match="96 samples of the test fold were handed to training") as caught:
        heads.search_heads(features, samples, folds=folds)
    assert "s4" in caught.value.where


def test_sessions_without_a_fold_are_refused(data):
    features, samples = split(*data, "train")
    with pytest.raises(FoldError, match="48 samples of no fold were handed to training"):
        heads.search_heads(features, samples, folds=data[2][data[2]["session"] != "s0"])


def test_one_training_fold_is_refused(data):
    features, samples = split(*data, "train")
    with pytest.raises(FoldError, match="All training samples are of one fold"):
        heads.search_heads(features, samples, folds=data[2].assign(fold=0, role="train"))


def test_folds_of_a_single_class_do_not_count(data):
    features, samples = split(*data, "train")
    changed = samples.assign(label=samples["label"].where(~samples["session"].isin(["s0", "s5"]), 1))
    trials = heads.search_heads(features, changed, folds=data[2], settings=SETTINGS[:1]).trials
    assert (trials["folds"] == 3).all()
    with pytest.raises(FoldError, match="No training fold of eggs attending can be left out"):
        heads.search_heads(features, samples.assign(label=1), folds=data[2])


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (np.zeros((3, 2), np.float32), [0, 1], r"shape \(3, 2\) and labels \(2,\)"),
        (np.zeros((2, 2), np.float32), [1, 1], "All 2 labels are class 1"),
        (np.zeros((2, 2), np.float32), [0, 2], r"Labels hold \[2\]"),
        (np.array([[0, 1], [np.nan, 1]], np.float32), [0, 1], "1 of 2 rows of features are not finite"),
    ],
)
def test_bad_data_is_refused(features, labels, message):
    with pytest.raises(TableError, match=message):
        heads.fit_head(features, labels)


def test_bad_settings_and_foreign_features_are_refused(data, found):
    with pytest.raises(SettingsError, match="Weight decay -1 was asked for"):
        heads.Setting(-1)
    with pytest.raises(TableError, match=r"shape \(2, 3\)"):
        heads.predict(found.heads["eggs", "attending"], np.zeros((2, 3), np.float32))
    features, samples = split(*data, "train")
    with pytest.raises(TableError, match="2 settings do not fit"):
        heads.search_heads(features, samples, folds=data[2], settings=[heads.Setting(1), heads.Setting(1)])
    with pytest.raises(TableError, match="There is no head for drums attending"):
        heads.predict_samples(found.heads, features, samples=samples.assign(task="drums"), folds=data[2])


def test_features_are_aligned_by_clip():
    _, samples, _ = make_data(sessions=1, clips=2)
    rows = pd.DataFrame({"clip_id": ["s0-1", "s0-0"], "row": [0, 1]})
    array = np.array([[10.0], [20.0]], np.float32)
    assert heads.align_features(array, rows, samples=samples).ravel().tolist() == [20, 20, 10, 10]
    with pytest.raises(TableError, match="1 clips have no features: s0-0"):
        heads.align_features(array, rows.iloc[:1], samples=samples)
