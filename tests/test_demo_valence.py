"""What `make demo` leaves of the valence study: honest folds, the planted modality and lag, answers above chance."""

from __future__ import annotations

import pandas as pd
import pytest
from demo_outputs import made_by

from nbpkg.runs.files import read_json
from nbpkg.sample.valence_story import HIDDEN_STORY, LAG_SECONDS, PARTS, SUBJECTS, WEIGHTS

pytestmark = [pytest.mark.demo, pytest.mark.usefixtures("demo")]
SAMPLE, ATV = (made_by(f"valence_fusion/{name}") for name in ("sample", "sample_atv"))
BOTH = pytest.mark.parametrize("made", [SAMPLE, ATV], ids=["sample", "sample_atv"])
# the faces of sample_atv show next to nothing of valence, and five test sessions are too few to tell it from chance
BEATING = [(SAMPLE, "held_out", "validation"), (SAMPLE, "test", "test"), (ATV, "held_out", "validation")]
ROLES = pytest.mark.parametrize(("role", "named"), [("held_out", "validation"), ("test", "test")])
TRAINING = sorted(story for story, part in PARTS.items() if part != "Testing")


def extra(made, step: str, name: str) -> pd.DataFrame:
    """A table of a step that has no contract."""
    return pd.read_csv(made[step].run / "tables" / f"{name}.csv")


def name_of(made) -> str:
    return made["evaluate"].experiment.header.experiment


def test_what_was_found_in_the_files_was_said_and_nothing_moved():
    recordings = SAMPLE["parse"].table("recordings")
    assert set(recordings.loc[recordings["hidden"], "story"]) == {HIDDEN_STORY}
    assert (recordings["actor"] != "").all()
    alignment = SAMPLE["bake"].table("alignment")
    assert alignment["lost"].sum() == 0
    faces = alignment.query("modality == 'v_sub'")
    assert 0 < faces["missing"].sum() < 0.5 * faces["steps"].sum()  # missed faces are masked, later ones do not move


def test_no_story_is_in_two_folds_and_the_actors_that_are_shared_are_named():
    folds = SAMPLE["stratify"].table("folds")
    train = folds[folds["role"] == "train"]
    assert (train.groupby("group")["fold"].nunique() == 1).all()
    assert sorted(set(train["group"])) == TRAINING
    leakage = extra(SAMPLE, "stratify", "leakage").set_index(["what", "fold"])
    assert (leakage.loc["story", "n"] == 0).all()
    assert (leakage.loc["actor", "n"] > 0).any()


@BOTH
def test_no_session_kept_for_the_end_taught_a_network(made):
    folds = SAMPLE["stratify"].table("folds")
    kept = set(folds.loc[folds["role"] == "test", "session"])
    for step in (name for name in made if name.startswith("train/")):
        networks = read_json(made[step].run / "networks.json")["networks"]
        assert networks
        for one in networks:
            assert not kept & {*one["train"], *one["inner"], *one["held_out"]}
            assert not set(one["train"]) & {*one["inner"], *one["held_out"]}


@pytest.mark.parametrize(("made", "role", "named"), BEATING, ids=["sample", "sample-test", "sample_atv"])
def test_the_fusion_network_beats_what_hears_nothing_with_its_interval(made, role, named):
    system = name_of(made)
    metrics = made["evaluate"].table("metrics").query("by == 'all' and metric == 'ccc' and role == @named")
    row = metrics.set_index("variable").loc[system]
    scores = made["evaluate"].table("valence_scores").query("system == @system and role == @role")
    blind = scores.groupby("predictor")["ccc"].mean()
    for predictor in ("constant", "shifted"):
        assert row["low"] > blind[predictor]
    assert row["low"] > row["chance"]
    assert row["n_groups"] == len(SUBJECTS)
    beside = extra(made, "evaluate", "beside").query("system == @system and role == @role and metric == 'ccc'")
    beside = beside.set_index("other")
    assert (beside.loc[["constant", "shifted"], "low"] > 0).all()


@ROLES
def test_another_person_is_the_ceiling(role, named):
    row = SAMPLE["evaluate"].table("metrics").query("by == 'all' and metric == 'ccc' and role == @named")
    own = row.set_index("variable").loc["sample"]
    assert own["chance"] < own["value"] < own["ceiling"] < 1


def test_the_planted_modality_is_found_and_a_network_without_training_does_not_find_it():
    shares = extra(SAMPLE, "compare", "shares").query("method == 'occlusion'").set_index(["system", "modality"])
    text = shares.loc[("sample", "text")]
    assert WEIGHTS["text"] > WEIGHTS["audio"]
    assert text["low"] > shares.loc[("sample", "audio"), "high"]
    assert text["low"] > shares.loc[("random twin", "text"), "high"]


def test_integrated_gradients_agree_about_the_modality():
    shares = extra(SAMPLE, "compare", "shares").query("method == 'integrated_gradients'")
    shares = shares.set_index(["system", "modality"])["share"]
    assert shares["sample", "text"] > shares["sample", "audio"]
    assert shares["sample", "text"] > shares["random twin", "text"]


def test_the_planted_lag_is_found():
    lags = extra(SAMPLE, "compare", "lags").groupby(["modality", "lag"])["change"].mean()
    assert lags["text"].idxmax() == LAG_SECONDS["text"]


def test_only_sessions_that_taught_nothing_are_explained():
    (network,) = read_json(SAMPLE["train/final"].run / "networks.json")["networks"]
    explained = set(SAMPLE["compare"].table("valence_importance")["session"])
    assert explained
    assert not explained & {*network["train"], *network["inner"]}


@BOTH
def test_the_hidden_story_is_answered_and_not_scored(made):
    answers = made["evaluate"].table("valence_predictions").query("story == @HIDDEN_STORY")
    assert set(answers["role"]) == {"hidden"}
    assert set(answers["subject"]) == set(SUBJECTS)
    assert answers["predicted"].notna().all()
    assert answers["truth"].isna().all()
    files = sorted((made["evaluate"].run / "predictions" / name_of(made) / "hidden").iterdir())
    assert len(files) == len(SUBJECTS)
    scores = made["evaluate"].table("valence_scores").query("story == @HIDDEN_STORY")
    assert scores[["ccc", "pearson", "mse"]].isna().all(axis=None)


def test_every_fold_chose_its_epoch_without_looking_at_itself():
    trials = SAMPLE["train/crossval"].table("valence_trials")
    assert (trials["chosen_by"] == "inner").all()
    assert (trials["optimistic_ccc"] >= trials["held_out_ccc"] - 1e-9).all()
    rows = (SAMPLE["train/crossval"].run / "tables" / "crossval.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["Val. Story", *TRAINING, "Mean", "Std", "M-S"]


def test_epochs_were_searched_over_all_folds():
    epochs = SAMPLE["train/rescore"].table("valence_epochs")
    settings = SAMPLE["train/rescore"].experiment.stages["train"].rescore
    assert epochs["epoch"].tolist() == list(range(settings.first, settings.last + 1, settings.step))
    assert epochs["chosen"].sum() == 1
    assert (epochs["folds"] == len(TRAINING)).all()


def test_every_listener_has_networks_that_answer_for_them_alone():
    networks = read_json(SAMPLE["train/personal"].run / "networks.json")["networks"]
    assert {one["subject"] for one in networks} == set(SUBJECTS)
    for one in networks:
        assert {name.split("_")[1] for name in one["train"]} == {one["subject"]}
    answers = SAMPLE["evaluate"].table("valence_predictions").query("system == 'sample_personal'")
    assert set(answers["subject"]) == set(SUBJECTS)


def test_systems_are_fused_and_averaged_and_the_fusion_is_kept_as_plain_numbers():
    from nbpkg.training.valence.fusion.saved import read_svr

    folds = SAMPLE["stratify"].table("folds")
    held = set(folds.loc[folds["role"] == "train", "session"])
    scores = ATV["evaluate"].table("valence_scores").query("predictor == 'network' and role == 'held_out'")
    for system in ("fusion", "average", "sample", "sample_atv"):
        assert set(scores.loc[scores["system"] == system, "session"]) == held
    for fold in range(len(TRAINING)):
        fitted = read_svr(ATV["evaluate"].run / "fusion" / f"fold_{fold}.safetensors")
        assert set(fitted.sessions) == set(folds.query("role == 'train' and fold != @fold")["session"])


@BOTH
def test_the_official_report_is_written(made):
    text = (made["evaluate"].run / "official_report.txt").read_text(encoding="utf-8")
    assert "Personalized Track" in text
    assert "Generalized Track" in text
    assert text.index("Personalized") < text.index("Generalized")


def test_reports_hold_the_cells_of_this_kind_only():
    page = (SAMPLE["train/final"].run / "report.html").read_text(encoding="utf-8")
    assert "train_valence_phase" in page
    assert "train_gaze_phase" not in page
