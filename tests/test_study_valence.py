"""The valence study: contradictions, files of each session, and bad input, stage by stage, with what is said of it."""

from __future__ import annotations

import shutil
import wave

import numpy as np
import pandas as pd
import pytest
from valence_project import BASE, change, fingerprint, folder_of, make_data, run, run_all, table_of

from nbpkg import tables
from nbpkg.errors import AnnotationError, FoldError, MediaError, NbpkgError, SettingsError
from nbpkg.settings.experiment import read_file
from nbpkg.studies import protocol


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Raw data, to be copied."""
    return make_data(tmp_path_factory.mktemp("made") / "data")


@pytest.fixture
def data(made, tmp_path, monkeypatch):
    """A project with its own copy of the data."""
    for name in ("notebooks", "params"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("NBPKG_ROOT", str(tmp_path))
    return shutil.copytree(made, tmp_path / "data")


def checked(values, **changes):
    return protocol.check_values(change(values, **changes))


def problems_of(step: str) -> pd.DataFrame:
    """What a stage noted, finished or not."""
    _, experiment = checked(BASE)
    (path,) = (experiment.folder / {"parse": "01_parse", "prepare": "02_prepare", "bake": "04_bake"}[step]).glob(
        "runs/*/problems.csv"
    )
    return tables.read(path, "problems")


def edit_table(path, change_rows) -> None:
    np.save(path, change_rows(np.load(path)))


# settings


def test_every_parameter_file_is_in_order(root):
    files = sorted((root / "params" / "valence_fusion").glob("*.yaml"))
    assert files
    for path in files:
        assert protocol.check_values(read_file(path))[1].kind == "sequence"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"parse__hidden": ["Testin"]}, "parse.hidden names 'Testin', which is no part in parse.parts"),
        ({"stratify__test_parts": ["Test"]}, "stratify.test_parts names 'Test'"),
        ({"parse__fps": 25, "parse__step_seconds": 0.5}, "a step must be a whole number of frames"),
        ({"train__modalities": ["audio", "txt"]}, "train.modalities names 'txt', which is no modality"),
        ({"train__modalities": ["audio", "audio"]}, "audio stands twice"),
        ({"train__reduce": {"face": 3}}, "train.reduce names 'face'"),
        ({"train__network__name": "text_lstm"}, "takes one modality; there are 2"),
        ({"train__phases": ["rescore", "final"], "train__final__epochs": 2}, "no crossval whose epochs it could score"),
        ({"train__phases": ["final", "personal"], "train__final__epochs": 2}, "personal.initial is 'crossval'"),
        ({"train__phases": ["final"], "train__final__epochs": None}, "has no crossval to find it"),
        ({"train__crossval__epoch": 3}, "train.crossval.select is not 'epoch'"),
        ({"train__rescore__first": 5}, "train.rescore.first is greater than train.rescore.last"),
        ({"train__rescore__last": 6}, "ask for epoch 6, but crossval makes 4 epochs"),
        ({"train__rescore__first": 3}, "ask for epoch 3, but crossval .* saves every 2"),
        ({"train__rescore__epoch": 5}, "train.rescore.epoch ask for epoch 5"),
        ({"train__network__heds": 2}, "Did you mean 'train.network.heads'"),
        ({"train__learning_rate": "1e-5"}, "is the text '1e-5'"),
        ({"evaluate__fusion__c": []}, "at least 1 item"),
        ({"prepare__modalities": {}}, "at least 1 item"),
    ],
)
def test_contradictions_are_named(changes, said):
    with pytest.raises(SettingsError, match=said):
        checked(BASE, **changes)


def test_the_last_epoch_is_saved_whatever_its_number():
    assert checked(BASE, train__crossval__epochs=5, train__rescore__epoch=5)


def test_explaining_applies_where_there_is_a_final_network():
    study, experiment = checked(BASE)
    assert study.why_not("compare", experiment) == ""
    _, without = checked(BASE, train__phases=["crossval"])
    assert study.why_not("compare", without).startswith("Does not apply: train.phases has no final")
    assert study.why_not("evaluate", without) == ""


# files


def test_files_of_each_stage_are_the_ones_that_are_hashed(data):
    changes = {"train__network__weights": "init.save", "evaluate__fusion__saved": "old.safetensors"}
    study, experiment = checked(BASE, **changes)
    for name in ("init.save", "old.safetensors"):
        (data / name).write_bytes(b"weights")
    found = {stage: study.sources(stage, experiment) for stage in ("parse", "prepare", "bake", "train", "evaluate")}
    assert {path.parent.name for path in found["prepare"]} == {"Sound", "Transcripts", "Looks"}
    assert {path.parent.name for path in found["parse"]} == {
        "Annotations", "ThirdParty", "Sound", "Transcripts", "Looks", "data",
    }  # fmt: skip
    assert [path.name for stage in ("bake", "train", "evaluate") for path in found[stage]] == [
        "init.save",
        "old.safetensors",
    ]
    sessions = study.sessions(experiment)
    assert sorted(sessions["session"]) == sorted({name for name, _ in study.media_jobs(experiment)})
    assert dict(zip(sessions["session"], sessions["group"], strict=True))["Subject_2_Story_6"] == "2"


def test_transcripts_are_found_as_the_corpus_names_them(data):
    folder = data / "Training" / "Transcripts"
    (folder / "Subject_1_Story_2.srt").rename(folder / "transcribed_subject_1_story2.srt")
    study, experiment = checked(BASE)
    found = dict(one for one in study.media_jobs(experiment) if one[1].suffix == ".srt")
    assert found["Subject_1_Story_2"].name == "transcribed_subject_1_story2.srt"


def test_one_session_in_two_parts_is_named(data):
    shutil.copy(data / "Training" / "Sound" / "Subject_1_Story_2.npy", data / "Validation" / "Sound")
    study, experiment = checked(BASE)
    with pytest.raises(AnnotationError, match="Subject_1_Story_2 is in two parts: Training/Sound/.* and Validation/"):
        study.media_jobs(experiment)


def test_two_files_of_one_session_are_named(data):
    folder = data / "Training" / "Sound"
    shutil.copy(folder / "Subject_1_Story_2.npy", folder / "Subject_01_Story_2.npy")
    with pytest.raises(AnnotationError, match="Subject_1_Story_2 has two files"):
        run("parse", BASE)


# bad input


@pytest.fixture
def unharmed(data):
    """The data, which must be the same after the test has done what it does to them."""
    marks = {}

    def remember():
        marks.update(fingerprint(data))
        return data

    yield remember
    assert marks
    assert fingerprint(data) == marks  # nothing is ever deleted, moved or written


def test_modalities_of_different_length_are_reported_and_masked_at_the_end(data, unharmed):
    edit_table(data / "Training" / "Sound" / "Subject_1_Story_2.npy", lambda rows: rows[:-10])
    edit_table(data / "Training" / "Sound" / "Subject_2_Story_2.npy", lambda rows: np.vstack([rows, rows[:4]]))
    unharmed()
    run_all(BASE)
    said = " ".join(problems_of("parse")["what"])
    assert "audio is shorter than the annotation in 1 session: Subject_1_Story_2" in said
    assert "audio is longer than the annotation in 1 session: Subject_2_Story_2" in said
    laid = table_of(BASE, "bake", "alignment").set_index(["session", "modality"])
    assert laid.loc[("Subject_1_Story_2", "audio"), ["lost", "padded", "missing"]].tolist() == [0, 10, 10]
    assert laid.loc[("Subject_2_Story_2", "audio"), ["lost", "padded", "missing"]].tolist() == [4, 0, 0]
    assert laid.loc[("Subject_1_Story_2", "v_sub"), "missing"] == 0  # the others have not moved


def test_features_that_are_no_numbers_are_missing_and_said(data, unharmed):
    def spoil(rows):
        rows[3, 1] = np.nan
        rows[5] = np.nan
        return rows

    edit_table(data / "Training" / "Sound" / "Subject_1_Story_2.npy", spoil)
    unharmed()
    run_all(BASE)
    found = problems_of("prepare").query("severity == 'repaired'")
    assert found["what"].tolist() == ["Rows that are incomplete are taken for missing: 3 (counted from 0)."]
    assert found["file"].tolist() == ["Training/Sound/Subject_1_Story_2.npy"]
    laid = table_of(BASE, "bake", "alignment").set_index(["session", "modality"])
    assert laid.loc[("Subject_1_Story_2", "audio"), "missing"] == 2


def test_a_column_without_any_number_is_refused(data, unharmed):
    def spoil(rows):
        rows[:, 1] = np.nan
        return rows

    edit_table(data / "Training" / "Sound" / "Subject_1_Story_2.npy", spoil)
    unharmed()
    with pytest.raises(NbpkgError, match="hold no number at all"):
        run("parse", BASE)


def test_a_missing_file_of_one_modality_is_said_and_masked_or_the_session_left_out(data, unharmed):
    (data / "Training" / "Looks" / "Subject_1_Story_2.csv").unlink()
    unharmed()
    run_all(BASE)
    assert "v_sub has no file for 1 session: Subject_1_Story_2." in problems_of("parse")["what"].tolist()
    assert "There are no features of v_sub. It counts as missing in every second." in set(problems_of("bake")["what"])
    laid = table_of(BASE, "bake", "alignment").set_index(["session", "modality"])
    assert (laid.loc[("Subject_1_Story_2", "v_sub"), ["missing", "steps"]]).nunique() == 1


def test_sessions_that_lack_a_modality_can_be_left_out_to_the_end(data, unharmed):
    (data / "Training" / "Looks" / "Subject_1_Story_2.csv").unlink()
    unharmed()
    values = change(BASE, bake__incomplete="drop", train__phases=["crossval"])
    run_all(values)
    assert "There are no features of v_sub. The session is left out." in set(problems_of("bake")["what"])
    run_all(values, "train/crossval", "evaluate")
    answered = set(table_of(values, "evaluate", "valence_predictions")["session"])
    assert set(table_of(values, "stratify", "folds")["session"]) - answered == {"Subject_1_Story_2"}


def test_an_annotation_longer_or_shorter_than_its_video_is_said(data, unharmed):
    for subject, seconds in (("1", 20), ("2", 90)):
        for path in sorted((data / "Training" / "Sound").glob(f"Subject_{subject}_*")):
            steps = len(np.load(path)) if path.stem != f"Subject_{subject}_Story_4" else seconds
            with wave.open(str(path.with_suffix(".wav")), "wb") as sound:
                sound.setparams((1, 2, 8000, 0, "NONE", ""))
                sound.writeframes(bytes(16000 * steps))
            path.unlink()
    unharmed()
    values = change(BASE, prepare__modalities__audio__kind="sound", parse__parts={"Training": "Training"})
    values["stratify"] = {"test_parts": []}
    run("parse", values)
    said = " ".join(table_of(values, "parse", "problems")["what"])
    assert "audio is shorter than the annotation in 1 session: Subject_1_Story_4 (20 of" in said
    assert "audio is longer than the annotation in 1 session: Subject_2_Story_4 (90 of" in said


def test_a_constant_annotation_is_said_and_its_concordance_is_zero(data, unharmed):
    path = data / "Training" / "Annotations" / "Subject_1_Story_2.csv"
    rows = path.read_text().splitlines()
    path.write_text("\n".join([rows[0], *["0.3"] * (len(rows) - 1)]) + "\n")
    unharmed()
    run_all(BASE)
    said = problems_of("parse")["what"].tolist()
    assert "The annotation of 1 session never changes: Subject_1_Story_2." in said
    values = change(BASE, train__phases=["crossval"])
    run_all(values, "train/crossval", "evaluate")
    scores = table_of(values, "evaluate", "valence_scores").query("predictor == 'network' and system == 'base'")
    scores = scores.set_index("session")
    assert scores.loc["Subject_1_Story_2", "ccc"] == 0
    assert "constant" in scores.loc["Subject_1_Story_2", "reason"]
    assert scores["ccc"].notna().sum() == len(scores) - 2  # the hidden story of two listeners


def test_a_subject_without_test_videos_has_a_network_and_a_reason(data, unharmed):
    for path in sorted(data.glob("Testing/*/Subject_2_*")):
        path.unlink()
    for path in [
        *sorted(data.glob("Training/*/Subject_2_Story_[45].*")),
        *sorted(data.glob("Validation/*/Subject_2_*")),
    ]:
        path.unlink()
    unharmed()
    run_all(BASE)
    run_all(BASE, "train/crossval", "train/rescore", "train/final", "train/personal", "evaluate")
    trials = table_of(BASE, "train/personal", "valence_trials")
    own = trials[trials["round"].str.startswith("subject_2")]
    assert (own["reason"] != "").any()
    assert own.loc[own["reason"] != "", "held_out_ccc"].isna().all()
    answers = table_of(BASE, "evaluate", "valence_predictions").query("system == 'base_personal'")
    assert set(answers.query("subject == '1'")["role"]) == {"held_out", "test", "hidden"}
    assert set(answers["session"]) == set(table_of(BASE, "stratify", "folds")["session"])


def test_a_story_in_two_folds_is_refused(data, unharmed):
    for path in sorted(data.glob("Training/*/Subject_2_Story_2.*")):
        path.rename(data / "Testing" / path.parent.name / path.name)
    unharmed()
    run_all(BASE, "parse", "prepare")
    with pytest.raises(FoldError, match="Story 2 is for training and for the test"):
        run("stratify", BASE)


def test_two_systems_of_one_name_are_refused(data, unharmed):
    unharmed()
    run_all(BASE)
    values = change(BASE, train__phases=["final"])
    run_all(values, "train/final", "evaluate")
    shared = dict.fromkeys(("parse", "prepare", "stratify", "bake"), "base")
    twice = {**shared, "system_a": "base", "system_b": "base"}
    other = change(values, experiment="other", inputs=twice)
    run_all(other, "train/final")
    with pytest.raises(SettingsError, match="Two systems are called 'base'"):
        run("evaluate", other)
    assert not (folder_of(other, "train/final").parents[3] / "06_evaluate" / "receipt.json").exists()


def test_a_part_without_folder_and_files_that_are_no_tables_are_refused(data, unharmed):
    (data / "Training" / "Looks" / "Subject_1_Story_2.csv").write_text("smile\nhappy\n")
    unharmed()
    with pytest.raises(MediaError, match="Subject_1_Story_2"):
        run("parse", BASE)
    with pytest.raises(AnnotationError, match="Part 'More' has no folder More/Annotations"):
        run("parse", change(BASE, parse__parts={"Training": "Training", "More": "More"}, stratify__test_parts=[]))
