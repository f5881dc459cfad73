"""Scores of sessions, of answers that perceive nothing and of people, and what becomes of them in the results."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nbpkg import tables
from nbpkg.errors import TableError
from nbpkg.metrics.valence.average import average_courses, average_predictions
from nbpkg.metrics.valence.baselines import BASELINES, list_training, score_baselines
from nbpkg.metrics.valence.concordance import ccc, mse
from nbpkg.metrics.valence.published import published_results
from nbpkg.metrics.valence.scores import score_predictions, score_raters
from nbpkg.metrics.valence.summary import (
    compare_baselines,
    compare_systems,
    crossval_csv,
    crossval_table,
    summarise,
)

GOLDEN = Path(__file__).parents[2] / "golden" / "valence_fusion"
CROSSVAL = json.loads((GOLDEN / "crossval_open.json").read_text())
RATIO = 5
STORIES = ("2", "4", "8")
SUBJECTS = ("1", "2", "10")
FOLDS = {f"Subject_{s}_Story_{t}": fold for s in ("1", "2", "10") for fold, t in enumerate(STORIES)}
PEOPLE = {f"Subject_{s}_Story_{t}": (s, t) for s in SUBJECTS for t in STORIES}


def course(session: str, frames: int) -> np.ndarray:
    """A staircase of a level and rhythm of the person's own."""
    subject, story = PEOPLE[session]
    random = np.random.default_rng([int(subject), int(story)])
    return np.round(np.cumsum(random.normal(0, 0.1, frames)) + int(subject) / 10, 1)


@pytest.fixture
def originals():
    return {session: course(session, 40 + 3 * place) for place, session in enumerate(PEOPLE)}


@pytest.fixture
def folds():
    rows = [
        {"session": one, "group": story, "fold": STORIES.index(story), "role": "test" if story == "8" else "train"}
        for one, (_, story) in PEOPLE.items()
    ]
    return tables.from_rows(rows, "folds")


def answer(originals, *, noise: float, system: str = "a", seed: int = 0) -> pd.DataFrame:
    """Answers that stray from the truth of each second; story 8 is the test."""
    parts = []
    for place, (session, truth) in enumerate(originals.items()):
        subject, story = PEOPLE[session]
        steps = np.array([truth[start : start + RATIO].mean() for start in range(0, len(truth), RATIO)])
        random = np.random.default_rng([seed, place])
        who = {"system": system, "round": "r", "role": "test" if story == "8" else "held_out", "session": session}
        predicted = steps + noise * random.normal(size=len(steps))
        same = {**who, "subject": subject, "story": story, "step": np.arange(len(steps))}
        parts.append(pd.DataFrame({**same, "truth": steps, "predicted": predicted}))
    return tables.check(pd.concat(parts, ignore_index=True), "valence_predictions")


def all_scores(originals, folds, **kwargs) -> pd.DataFrame:
    own = score_predictions(answer(originals, **kwargs), originals, folds=FOLDS, ratio=RATIO)
    beside = score_baselines(own, originals, people=PEOPLE, training=list_training(folds))
    others = {one: truth + 0.05 for one, truth in originals.items() if one != "Subject_1_Story_2"}
    return pd.concat([own, beside, score_raters(own, originals, others=others)], ignore_index=True)


def test_each_session_is_scored_frame_by_frame(originals):
    predictions = answer(originals, noise=0.2)
    scores = score_predictions(predictions.sample(frac=1, random_state=1), originals, folds=FOLDS, ratio=RATIO)
    one = scores.set_index("session").loc["Subject_2_Story_4"]
    steps = predictions.loc[predictions["session"] == "Subject_2_Story_4", "predicted"]
    truth = originals["Subject_2_Story_4"]
    assert len(truth) % RATIO  # the last second is in part
    frames = np.repeat(steps, RATIO)[: len(truth)]
    assert one["ccc"] == pytest.approx(ccc(truth, frames))
    assert one["mse"] == pytest.approx(mse(truth, frames))
    assert (one["frames"], one["predictor"], one["reason"]) == (len(truth), "network", "")


def test_what_is_odd_about_a_session_is_said(originals):
    predictions = answer(originals, noise=0.2)
    hidden, gaps, cut, flat, still = list(PEOPLE)[:5]
    originals[gaps][3:7] = np.nan
    originals[still] = np.full(len(originals[still]), 0.5)
    predictions.loc[predictions["session"] == hidden, "role"] = "hidden"
    predictions.loc[predictions["session"] == flat, "predicted"] = 0.25
    steps = len(originals[cut]) // RATIO
    predictions = predictions[(predictions["session"] != cut) | (predictions["step"] < steps - 1)]
    del originals[hidden]
    found = score_predictions(predictions, originals, folds=FOLDS, ratio=RATIO).set_index("session")
    assert found.loc[hidden, ["ccc", "mse"]].isna().all()
    assert found.loc[hidden, "reason"] == "the truth is withheld"
    assert found.loc[gaps, "reason"] == f"4 of {len(originals[gaps])} frames have no truth"
    assert found.loc[gaps, "frames"] == len(originals[gaps]) - 4
    assert np.isfinite(found.loc[gaps, "ccc"])
    assert "frames lie behind the last answer (hold)" in found.loc[cut, "reason"]
    assert found.loc[flat, ["ccc", "reason"]].tolist() == [0.0, "the answer is constant"]
    assert found.loc[still, ["ccc", "reason"]].tolist() == [0.0, "the truth is constant"]


def test_answers_that_cannot_be_scored_are_all_named(originals):
    predictions = answer(originals, noise=0.2)
    lost, gap, double = list(PEOPLE)[:3]
    del originals[lost]
    predictions = predictions[(predictions["session"] != gap) | (predictions["step"] != 2)].reset_index(drop=True)
    predictions.loc[predictions.index[predictions["session"] == double][0], "role"] = "train"
    with pytest.raises(TableError) as caught:
        score_predictions(predictions, originals, folds=FOLDS, ratio=RATIO)
    said = str(caught.value)
    assert "3 problems" in said
    assert f"{lost}, system a: Its annotation was not given" in said
    assert f"{gap}, system a: Its" in said
    assert f"{double}, system a: It has two roles" in said


def test_baselines_by_hand(originals, folds):
    scores = all_scores(originals, folds, noise=0.1)
    session = "Subject_2_Story_4"
    truth, found = originals[session], scores[scores["session"] == session].set_index("predictor")
    training = [one for one, (_, story) in PEOPLE.items() if story == "2"]
    level = np.concatenate([originals[one] for one in training]).mean()
    assert found.loc["constant", "mse"] == pytest.approx(((truth - level) ** 2).mean())
    assert found.loc["constant", "ccc"] == 0
    own = originals["Subject_2_Story_2"].mean()
    assert found.loc["person mean", "mse"] == pytest.approx(((truth - own) ** 2).mean())
    assert np.isnan(found.loc["story mean", "ccc"])
    assert "nobody else hears this story" in found.loc["story mean", "reason"]
    others = [originals[f"Subject_2_Story_{story}"] for story in ("2", "8")]
    fitted = [np.concatenate([one, np.full(99, one[-1])])[: len(truth)] for one in others]
    assert found.loc["shifted", "ccc"] == pytest.approx(np.mean([ccc(truth, one) for one in fitted]))
    assert found.loc["third_party", "mse"] == pytest.approx(0.05**2)
    assert set(scores["predictor"]) == {"network", "third_party", *BASELINES}


def test_a_story_in_training_has_a_mean_course(originals):
    session = "Subject_10_Story_4"
    own = score_predictions(answer(originals, noise=0.1), originals, folds=FOLDS, ratio=RATIO)
    training = {one: ["Subject_1_Story_4", "Subject_2_Story_4", session] for one in PEOPLE}
    found = score_baselines(own, originals, people=PEOPLE, training=training)
    story = found[(found["predictor"] == "story mean") & (found["session"] == session)]
    frames = len(originals[session])
    others = [originals[f"Subject_{one}_Story_4"] for one in ("1", "2")]
    mean = np.mean([np.concatenate([one, np.full(99, one[-1])])[:frames] for one in others], axis=0)
    assert story["ccc"].item() == pytest.approx(ccc(originals[session], mean))


@pytest.mark.parametrize("name", ["constant", "person mean", "story mean"])
def test_no_baseline_uses_the_truth_that_it_is_held_against(originals, name):
    session = "Subject_1_Story_4"
    own = score_predictions(answer(originals, noise=0.1), originals, folds=FOLDS, ratio=RATIO)
    training = {one: list(PEOPLE) for one in PEOPLE}  # even where it is listed
    before = score_baselines(own, originals, people=PEOPLE, training=training)
    changed = {**originals, session: originals[session] + 1}
    after = score_baselines(own, changed, people=PEOPLE, training=training)
    pick = [table[(table["predictor"] == name) & (table["session"] == session)].iloc[0] for table in (before, after)]
    truth = originals[session]
    # moved by 1, the truth is as far from the same answer as the answer moved by -1 from the old truth
    shift = pick[1]["mse"] - pick[0]["mse"] - 1
    if name != "story mean":
        learnt = [one for one in PEOPLE if one != session and (name == "constant" or PEOPLE[one][0] == "1")]
        level = np.concatenate([originals[one] for one in learnt]).mean()
        assert shift == pytest.approx(2 * (truth.mean() - level))
    assert pick[1]["pearson"] == pytest.approx(pick[0]["pearson"], nan_ok=True)


def test_baselines_need_to_know_who_tells_what(originals, folds):
    own = score_predictions(answer(originals, noise=0.1), originals, folds=FOLDS, ratio=RATIO)
    some = {one: who for one, who in PEOPLE.items() if one != "Subject_10_Story_8"}
    with pytest.raises(TableError, match="Subject_10_Story_8"):
        score_baselines(own, originals, people=some, training=list_training(folds))


def test_another_person_must_have_annotated_the_same_frames(originals):
    own = score_predictions(answer(originals, noise=0.1), originals, folds=FOLDS, ratio=RATIO)
    with pytest.raises(TableError, match=r"Subject_2_Story_2: The other person annotated 5 frames"):
        score_raters(own, originals, others={"Subject_2_Story_2": np.zeros(5)})


def test_means_come_with_size_chance_ceiling_and_interval(originals, folds):
    scores = all_scores(originals, folds, noise=0.05)
    held = scores[scores["role"] == "held_out"]
    table = summarise(held, seed=0, resamples=200)
    row = table[(table["by"] == "all") & (table["metric"] == "ccc")].iloc[0]
    own = held[held["predictor"] == "network"]
    assert row["value"] == pytest.approx(own["ccc"].mean())
    assert row["low"] < row["value"] < row["high"]
    assert (row["n"], row["n_groups"], row["role"]) == (6, 3, "validation")
    assert row["chance"] == pytest.approx(max(0, held.loc[held["predictor"] == "shifted", "ccc"].mean()))
    assert row["ceiling"] == pytest.approx(held.loc[held["predictor"] == "third_party", "ccc"].mean())
    assert row["reason"] == "interval over 3 people; ceiling from 5 of 6 sessions"
    error = table[(table["by"] == "all") & (table["metric"] == "mse")].iloc[0]
    by_name = held.groupby("predictor")["mse"].mean()
    assert error["chance"] == pytest.approx(min(by_name["constant"], by_name["shifted"]))
    assert table.loc[(table["by"] == "participant") & (table["metric"] == "ccc"), "name"].tolist() == ["1", "2", "10"]
    assert set(table.loc[table["by"] == "fold", "name"]) == {"0", "1"}
    assert set(table.loc[table["by"] == "story", "name"]) == {"2", "4"}
    single = table[(table["by"] == "session") & (table["metric"] == "ccc")]
    assert len(single) == 6
    assert single["low"].isna().all()


def test_tracks_are_means_of_means_where_the_grid_has_gaps(originals, folds):
    scores = all_scores(originals, folds, noise=0.3)
    held = scores[(scores["role"] == "held_out") & (scores["session"] != "Subject_1_Story_2")]
    table = summarise(held, seed=0, resamples=200).set_index(["by", "metric"])
    own = held[held["predictor"] == "network"]
    for track, column in (("personalized", "subject"), ("generalized", "story")):
        row = table.loc[("all", f"ccc_{track}")]
        assert row["value"] == pytest.approx(own.groupby(column)["ccc"].mean().mean())
        assert row["low"] <= row["value"] <= row["high"]
        assert row["n_groups"] == 3
    assert table.loc[("all", "ccc_personalized"), "value"] != table.loc[("all", "ccc"), "value"]


def test_undefined_sessions_are_left_out_and_counted(originals, folds):
    scores = all_scores(originals, folds, noise=0.1)
    place = scores.index[(scores["predictor"] == "network") & (scores["session"] == "Subject_1_Story_2")]
    scores.loc[place, ["pearson", "reason"]] = [np.nan, "the answer is constant"]
    held = scores[scores["role"] == "held_out"]
    table = summarise(held, seed=0, resamples=50).set_index(["by", "name", "metric"])
    row = table.loc[("all", "", "pearson")]
    assert row["n"] == 5
    assert "1 of 6 sessions have no value: the answer is constant" in row["reason"]
    alone = table.loc[("session", "Subject_1_Story_2", "pearson")]
    assert np.isnan(alone["value"])
    assert "the answer is constant" in alone["reason"]


def test_roles_are_kept_apart_and_hidden_sessions_stay_out(originals, folds):
    scores = all_scores(originals, folds, noise=0.1)
    hidden = (scores["session"] == "Subject_2_Story_8") & (scores["predictor"] == "network")
    scores.loc[hidden, ["role", "ccc", "pearson", "mse", "frames"]] = ["hidden", np.nan, np.nan, np.nan, 0]
    table = summarise(scores, seed=0, resamples=50)
    whole = table[(table["by"] == "all") & (table["metric"] == "ccc")].set_index("role")
    assert whole["n"].to_dict() == {"validation": 6, "test": 2}
    only = scores[scores["role"] == "hidden"]
    with pytest.raises(TableError, match="No answer of a network"):
        summarise(only, seed=0)


def test_intervals_resample_people_not_sessions():
    # two people, each with four sessions alike: over people the mean can be anything between theirs
    rows = [
        {"predictor": "network", "system": "a", "role": "held_out", "session": f"{person}{number}", "subject": person}
        | {"story": str(number), "fold": 0, "ccc": value, "pearson": value, "mse": value, "frames": 9, "reason": ""}
        for person, value in (("x", 0.0), ("y", 1.0))
        for number in range(4)
    ]
    table = summarise(pd.DataFrame(rows), seed=0, resamples=500)
    row = table[(table["by"] == "all") & (table["metric"] == "ccc")].iloc[0]
    assert (row["low"], row["high"]) == (0.0, 1.0)
    again = summarise(pd.DataFrame(rows), seed=0, resamples=500)
    pd.testing.assert_frame_equal(table, again)


def published_trials() -> pd.DataFrame:
    rows = CROSSVAL["AT"]["best"][1:4]
    table = pd.DataFrame(rows, columns=["round", "train_ccc", "held_out_ccc"]).astype({"train_ccc": float})
    return table.assign(system="AT", fold=[0, 1, 2])


def test_fold_table_as_published():
    folds = pd.DataFrame(
        {"session": list("abc"), "group": ["1", "2", "4"], "fold": [0, 1, 2], "role": "train"},
    )
    table = crossval_table(published_trials().iloc[::-1], folds=folds)
    assert crossval_csv(table) == CROSSVAL["crossval_csv_text_AT_best"]


def test_fold_table_with_our_interval(originals, folds):
    scores = all_scores(originals, folds, noise=0.1)
    held = scores[(scores["predictor"] == "network") & (scores["role"] == "held_out")]
    story = held.groupby("story")["ccc"].mean()
    trials = pd.DataFrame({"system": "a", "fold": [0, 1], "train_ccc": [0.5, np.nan], "held_out_ccc": story.to_numpy()})
    table = crossval_table(trials, folds=folds, scores=scores, seed=0, resamples=200).set_index("Val. Story")
    assert table.index.tolist() == ["2", "4", "Mean", "Std", "M-S", "95 % low", "95 % high"]
    assert table.loc["Mean", "Val. CCC"] == pytest.approx(held["ccc"].mean())
    assert table.loc["95 % low", "Val. CCC"] < table.loc["Mean", "Val. CCC"] < table.loc["95 % high", "Val. CCC"]
    assert table.loc["Mean", "Train CCC"] == 0.5  # a fold without a value poisons nothing
    text = crossval_csv(table.reset_index())
    read = pd.read_csv(io.StringIO(text), index_col=0)
    assert read.loc["Std", "Val. CCC"] == table.loc["Std", "Val. CCC"]
    assert text.splitlines()[-1].startswith("95 % high,,")


def test_trainings_that_are_no_cross_validation_are_refused():
    with pytest.raises(TableError, match="make no cross-validation"):
        crossval_table(published_trials().assign(fold=0))
    with pytest.raises(TableError, match="make no cross-validation"):
        crossval_table(published_trials().assign(fold=-1))


def test_systems_are_compared_session_by_session(originals, folds):
    good = all_scores(originals, folds, noise=0.05, system="good")
    poor = all_scores(originals, folds, noise=0.8, system="poor", seed=3)
    poor = poor[(poor["session"] != "Subject_2_Story_2") | (poor["predictor"] != "network")]
    table = compare_systems(pd.concat([good, poor]), seed=0, resamples=200)
    row = table[(table["role"] == "held_out") & (table["metric"] == "ccc")].iloc[0]
    assert (row["system"], row["other"], row["n"], row["n_groups"]) == ("good", "poor", 5, 3)
    assert row["difference"] == pytest.approx(row["value"] - row["other_value"])
    assert 0 < row["low"] <= row["difference"] <= row["high"]
    assert row["reason"] == "1 sessions of one only"
    beside = compare_baselines(good, seed=0, resamples=200).set_index(["role", "other", "metric"])
    assert beside.loc[("held_out", "shifted", "ccc"), "low"] > 0
    assert beside.loc[("test", "story mean", "ccc"), "n"] == 0
    assert np.isnan(beside.loc[("test", "story mean", "ccc"), "difference"])


def test_averaging_as_published():
    fusion, crossval = (np.load(GOLDEN / f"{name}_open.npz") for name in ("fusion_cli", "crossval"))
    sessions = [name.removeprefix("average/") for name in fusion.files if name.startswith("average/")]
    systems = {
        "plain": {one: fusion[f"plain/pred_test/{one}"] for one in sessions},
        "saved": {one: fusion[f"test_saved_model/pred_test/{one}"] for one in sessions},
        "AT": {one: crossval[f"cv_pred_AT/{one}"].astype(np.float64) for one in sessions},
    }
    found = average_courses(systems)
    assert len(found) == 3
    for session in sessions:
        np.testing.assert_allclose(found[session], fusion[f"average/{session}"], rtol=0, atol=1e-6)


def test_averaging_tables(originals):
    one, other = answer(originals, noise=0.1, system="a"), answer(originals, noise=0.1, system="b", seed=5)
    found = average_predictions([one, other.iloc[::-1]], system="both")
    assert set(found["system"]) == {"both"}
    assert set(found["round"]) == {"a + b"}
    keys = ["session", "step"]
    wanted = (one.set_index(keys)["predicted"] + other.set_index(keys)["predicted"]) / 2
    pd.testing.assert_series_equal(found.set_index(keys)["predicted"].loc[wanted.index], wanted)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda table: table.assign(system="a"), "Two systems are called 'a'"),
        (lambda table: table.assign(system="average"), "cannot be called 'average'"),
        (lambda table: table[table["session"] != "Subject_1_Story_2"], "Subject_1_Story_2: It is not answered by b"),
        (lambda table: table[table["step"] < 8], "Subject_1_Story_4: Its answers differ in length: a 9, b 8"),
        (lambda table: table.assign(role="train"), "Subject_1_Story_2: a and b differ in role"),
        (lambda table: table.assign(truth=table["truth"] + 1), "differ in truth"),
    ],
)
def test_answers_that_do_not_belong_together_are_not_averaged(originals, change, said):
    tables_ = [answer(originals, noise=0.1, system="a"), change(answer(originals, noise=0.1, system="b"))]
    with pytest.raises(TableError) as caught:
        average_predictions(tables_)
    assert said in str(caught.value)


def test_one_table_of_two_systems_and_no_table_are_refused(originals):
    both = pd.concat([answer(originals, noise=0.1, system=name) for name in "ab"])
    with pytest.raises(TableError, match="holds 2 systems"):
        average_predictions([both])
    with pytest.raises(TableError, match="no system to average"):
        average_predictions([])


def test_what_others_report_has_a_source_and_no_hearsay():
    found = published_results()
    assert found["source"].str.len().min() > 0
    assert not found["system"].str.contains("Alpha|USTC").any()
    own = found[(found["subject"] != "all") & (found["track"] == "personalized")]
    assert len(own) == 10
    assert own["value"].mean() == pytest.approx(0.091)
    assert set(published_results("validation")["data"]) == {"validation"}
