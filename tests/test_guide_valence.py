"""The nine steps of the published user guide, each by the values of a parameter file alone, at tiny size."""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd
import pytest
import torch
from valence_project import BASE, SUBJECTS, TRAINING, change, fingerprint, folder_of, make_data, run, run_all, table_of

from nbpkg.errors import SettingsError, WeightsError
from nbpkg.models.valence.build import build_network
from nbpkg.models.valence.options import NetworkOptions
from nbpkg.runs.files import read_json
from nbpkg.training.valence.networks import load_valence_networks

SHARED = dict.fromkeys(("parse", "prepare", "stratify", "bake"), "base")
THREE = ["audio", "text", "v_sub"]
AT = change(BASE, experiment="at", inputs=SHARED, train__phases=["final"], train__final__leave_out=["1"])
ATV = change(
    AT,
    experiment="atv",
    inputs={**SHARED, "system_at": "at"},
    train__modalities=THREE,
    evaluate__fusion__source="in_fold",
)
CV_AT = change(BASE, experiment="cv_at", inputs=SHARED, train__crossval__select="epoch")
CV_ATV = change(
    CV_AT,
    experiment="cv_atv",
    inputs={**SHARED, "system_at": "cv_at"},
    train__modalities=THREE,
    train__phases=["crossval", "rescore", "final"],
    train__rescore__epoch=2,
    evaluate__fusion__source="out_of_fold",
)
FIXED = change(CV_AT, train__rescore__epoch=4)
FILE = change(
    BASE,
    experiment="resumed",
    inputs=SHARED,
    train__phases=["final", "personal"],
    train__network__weights="init.save",
    train__personal__initial="init.save",
    train__learning_rate=1.0e-9,
    train__weight_decay=0,
)
LEARNT = {f"Subject_{subject}_Story_{story}" for subject in SUBJECTS for story in TRAINING}
NAMES = {role: {f"Subject_{subject}_Story_{story}" for subject in SUBJECTS} for role, story in
         (("held_out", "1"), ("test", "3"), ("hidden", "6"))}  # fmt: skip


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The project, with 01 to 04 made once."""
    folder = tmp_path_factory.mktemp("guide")
    for name in ("notebooks", "params"):
        (folder / name).mkdir()
    make_data(folder / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NBPKG_ROOT", str(folder))
        before = fingerprint(folder / "data")
        run_all(BASE)
        yield folder
        assert {name: fingerprint(folder / "data")[name] for name in before} == before  # nothing is deleted or written


@pytest.fixture(scope="module")
def trained(project):
    """Steps 1 to 3 and 8: AT and ATV trained on all but story 1, answers, features, and their fusion."""
    for values in (AT, ATV):
        run_all(values, "train/final", "evaluate")


@pytest.fixture(scope="module")
def validated(project):
    """Steps 4 to 7 and 9: cross-validation, other epochs, personal networks, and the fusion of two systems."""
    found = {"crossval": run("train", FIXED, phase="crossval"), "fixed": run("train", FIXED, phase="rescore")}
    run_all(CV_AT, "train/rescore", "train/final", "train/personal", "evaluate", "compare")
    run_all(CV_ATV, "train/crossval", "train/rescore", "train/final", "evaluate")
    return found


@pytest.mark.parametrize(("values", "modalities"), [(AT, ["audio", "text"]), (ATV, THREE)])
def test_1_two_systems_are_trained_on_all_but_the_validation_story(trained, values, modalities):
    (network,) = load_valence_networks(folder_of(values, "train/final"))
    assert set(network.train) == {name for name in LEARNT if not name.endswith("_1")}
    assert set(network.held_out) == NAMES["held_out"]
    assert list(network.shape.modalities) == modalities
    assert network.epoch == 2


@pytest.mark.parametrize("values", [AT, ATV])
@pytest.mark.parametrize("role", ["held_out", "test", "hidden"])
def test_2_and_3_validation_and_test_are_answered_each_system_in_its_own_folder(trained, values, role):
    name, recordings = values["experiment"], table_of(BASE, "parse", "recordings").set_index("session")
    place = folder_of(values, "evaluate")
    files = sorted((place / "predictions" / name / role).iterdir())
    assert {path.stem for path in files} == NAMES[role]
    for path in files:
        answered = pd.read_csv(path)
        assert len(answered) == recordings.loc[path.stem, "frames"]
        assert np.isfinite(answered.iloc[:, 0]).all()
    scores = table_of(values, "evaluate", "valence_scores").query("system == @name and predictor == 'network'")
    own = scores[scores["role"] == role]
    assert set(own["session"]) == NAMES[role]
    assert own["ccc"].isna().all() == (role == "hidden")


def test_4_stories_are_left_out_one_after_the_other_and_states_saved(validated):
    folder = folder_of(CV_AT, "train/crossval")
    trials = table_of(CV_AT, "train/crossval", "valence_trials")
    assert trials["fold"].tolist() == [0, 1, 2, 3]
    kept = {f"checkpoints/fold_{fold}/epoch_{epoch}.safetensors" for fold in range(4) for epoch in (2, 4)}
    assert kept <= set(read_json(folder / "checkpoints.json"))
    rows = (folder / "tables" / "crossval.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["Val. Story", "1", "2", "4", "5", "Mean", "Std", "M-S"]


def test_5_folds_are_scored_again_at_one_epoch(validated):
    assert validated["fixed"]["trials"]["epoch"].tolist() == [4] * 4
    assert table_of(CV_ATV, "train/rescore", "valence_trials")["epoch"].tolist() == [2] * 4


def test_6_the_best_epoch_is_searched(validated):
    epochs = table_of(CV_AT, "train/rescore", "valence_epochs")
    assert epochs["epoch"].tolist() == [2, 4]
    assert epochs["chosen"].sum() == 1
    np.testing.assert_allclose(epochs["mean_minus_std"], epochs["mean"] - epochs["std"], atol=1e-9)


def test_7_every_listener_gets_a_network_which_answers_for_test_sessions(validated):
    networks = load_valence_networks(folder_of(CV_AT, "train/personal"))
    assert {one.subject for one in networks} == set(SUBJECTS)
    answers = table_of(CV_AT, "evaluate", "valence_predictions").query("system == 'cv_at_personal'")
    for subject, rows in answers.groupby("subject"):
        assert all(f"subject_{subject}" in name for name in set(rows["round"]))
    assert {"test", "hidden", "held_out"} == set(answers["role"])
    for one in networks:
        assert {name.split("_")[1] for name in one.train} == {one.subject}


def test_8_two_systems_features_are_fused_as_published(trained):
    assert (folder_of(AT, "evaluate") / "features" / "final.npz").is_file()
    answers = table_of(ATV, "evaluate", "valence_predictions")
    assert set(answers["system"]) == {"atv"}
    (trial,) = table_of(ATV, "evaluate", "valence_trials").to_dict("records")
    assert (trial["system"], trial["round"], trial["n_train"]) == ("fusion", "final", len(LEARNT))
    scores = table_of(ATV, "evaluate", "valence_scores").query("predictor == 'network'")
    assert set(scores.query("system == 'fusion'")["role"]) == {"test", "hidden"}
    assert set(scores["system"]) == {"at", "atv", "fusion", "average"}


def test_9_fusion_is_cross_validated_on_features_out_of_fold(validated):
    trials = table_of(CV_ATV, "evaluate", "valence_trials")
    assert trials["round"].tolist() == ["fold_0", "fold_1", "fold_2", "fold_3", "final"]
    scores = table_of(CV_ATV, "evaluate", "valence_scores").query("predictor == 'network'")
    held = scores.query("role == 'held_out'")
    for system in ("cv_at", "cv_atv", "fusion", "average"):
        assert set(held.loc[held["system"] == system, "session"]) == LEARNT
    text = (folder_of(CV_ATV, "evaluate") / "official_report.txt").read_text()
    assert "Personalized" in text
    assert "Generalized" in text


def test_answers_are_explained_where_a_final_network_was_trained(validated):
    importance = table_of(CV_AT, "compare", "valence_importance")
    assert set(importance["session"]) == NAMES["test"] | NAMES["hidden"]
    assert set(importance["modality"]) == {"audio", "text"}


def test_a_trailing_slash_changes_nothing(project):
    values = change(BASE, experiment="slash", data="data/")
    values["parse"] |= {"parts": {name: f"{name}/" for name in ("Training", "Validation", "Testing")}}
    values["parse"] |= {"third_party": "ThirdParty/"}
    for one in values["prepare"]["modalities"].values():
        one["folder"] += "/"
    run_all(values)
    for step, names in {"parse": ("valence", "recordings"), "prepare": ("modalities",), "bake": ("alignment",)}.items():
        for name in names:
            one, other = (table_of(each, step, name) for each in (values, BASE))
            pd.testing.assert_frame_equal(one, other)


@pytest.fixture(scope="module")
def published(project):
    """A file as the published program writes it, in the data folder."""
    torch.manual_seed(3)
    options = NetworkOptions(embed=6, hidden=6)
    network = build_network("combined_lstm", ("audio", "text"), {"audio": 3, "text": 24}, options=options)
    torch.save(copy.deepcopy(network.state_dict()), project / "data" / "init.save")
    return network


def test_training_goes_on_with_a_published_file(published):
    run_all(FILE, "train/final", "train/personal")
    for step, count in (("train/final", 1), ("train/personal", len(SUBJECTS))):
        networks = load_valence_networks(folder_of(FILE, step))
        assert len(networks) == count
        for one in networks:
            for name, values in one.network.state_dict().items():
                torch.testing.assert_close(values, published.state_dict()[name], atol=1e-6, rtol=0)
    receipt = read_json(folder_of(FILE, "train/final") / "receipt.json")
    assert [name for name in receipt["sources"] if name.endswith("init.save")]


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"train__modalities": ["text", "audio"]}, WeightsError, "audio, text in this order, not for text, audio"),
        ({"train__modalities": ["audio"]}, WeightsError, "not for audio"),
        ({"train__network__weights": "../init.save"}, SettingsError, "lies outside the data folder"),
        ({"train__network__weights": "none.save"}, WeightsError, "The checkpoint is not there"),
        ({"train__reduce": {"text": 4}}, WeightsError, "text"),
        ({"train__network__embed": 8}, WeightsError, "embed"),
    ],
)
def test_a_published_file_that_does_not_fit_is_named(published, changes, error, said):
    with pytest.raises(error, match=said):
        run("train", change(FILE, experiment="unfit", **changes), phase="final")
