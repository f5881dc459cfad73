"""Whose answer counts where, how systems are fused and averaged, and a fusion that was saved and is asked again."""

from __future__ import annotations

import pickle
from dataclasses import replace

import joblib
import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file
from sklearn.svm import SVR
from valence_world import CPU, SETTINGS, make_recordings, run

from nbpkg import tables
from nbpkg.baking.baked_recordings import keep_baked
from nbpkg.errors import SettingsError, StageError, TableError, WeightsError
from nbpkg.runs.files import write_json
from nbpkg.settings.valence import FusionSettings
from nbpkg.training.valence.answers import predict_recordings
from nbpkg.training.valence.dumps import dump_features, read_dump
from nbpkg.training.valence.evaluation import fuse_systems, load_phases, read_originals
from nbpkg.training.valence.fusion.saved import read_svr, write_fitted, write_svr
from nbpkg.training.valence.fusion.svr import SvrSetting, fit_svr

ONE = FusionSettings(c=[1.0])


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Networks of all phases, and what they answered and hold."""
    folder = tmp_path_factory.mktemp("world")
    for phase in SETTINGS.phases:
        run(phase, folder)
    return load_phases({f"train/{phase}": folder / phase for phase in SETTINGS.phases})


@pytest.fixture(scope="module")
def recordings():
    return make_recordings()


@pytest.fixture(scope="module")
def folds(recordings):
    stories = [one.story for one in recordings.values()]
    roles = ["test" if one.hidden else "train" for one in recordings.values()]
    table = {"session": list(recordings), "group": stories, "fold": [int(one) - 1 for one in stories], "role": roles}
    return pd.DataFrame(table)


@pytest.fixture(scope="module")
def system(world, recordings, tmp_path_factory):
    """Dump and answers of the world's system."""
    folder = tmp_path_factory.mktemp("dump")
    dumped = dump_features(world.everybody, recordings, folder, system="at", device=CPU)

    write_json(folder / "valence_features.json", dumped)
    return read_dump(folder), answer(world, recordings)


def answer(phases, recordings, name="at") -> pd.DataFrame:
    parts = [predict_recordings(own, recordings, system=one, device=CPU) for one, own in phases.systems(name).items()]
    return pd.concat(parts)


def named(system, name):
    """The same system under another name, a little different."""
    held, answers = system
    other = answers.assign(
        system=answers["system"].str.replace("at", name), predicted=answers["predicted"] * 0.9 + 0.01
    )
    return replace(held, name=name), other


def fuse(systems, recordings, folds, settings=ONE, **more):
    dumps, answers = zip(*systems, strict=True)
    return fuse_systems(dumps, answers, recordings, folds, settings=settings, ratio=25, **more)


# whose answer counts


def test_the_epochs_scored_last_answer_and_listeners_have_a_system_of_their_own(world):
    assert [one.phase for one in world.everybody] == ["rescore"] * 4 + ["final"]
    systems = world.systems("at")
    assert set(systems) == {"at", "at_personal"}
    assert {one.subject for one in systems["at_personal"]} == {"", "1", "2", "10"}


def test_a_listener_without_a_network_is_answered_by_everybodys(world, recordings):
    phases = {name: list(own) for name, own in world.items()}
    phases["personal"] = [one for one in phases["personal"] if one.subject != "2"]
    answers = answer(type(world)(phases), recordings).query("system == 'at_personal'")
    by = answers.groupby("subject")["round"].agg(lambda names: any("subject" in name for name in names))
    assert by.to_dict() == {"1": True, "10": True, "2": False}
    assert set(answers["session"]) == set(recordings)


def test_no_network_at_all_is_said(tmp_path):
    (tmp_path / "networks.json").write_text('{"networks": []}')
    with pytest.raises(StageError, match="No phase of training left a network"):
        load_phases({"train/final": tmp_path})


def test_withheld_sessions_have_no_original_and_several_others_are_refused(recordings):
    rows = [
        {"session": name, "subject": one.subject, "story": one.story, "part": one.part, "rater": rater, "frame": frame,
         "value": 0.5}
        for name, one in recordings.items() for rater in ("self", "third_party") for frame in (1, 0)
    ]  # fmt: skip
    valence = pd.DataFrame(rows)
    known, other = read_originals(valence, recordings)
    assert set(known) == set(other) == {name for name, one in recordings.items() if not one.hidden}
    second = valence[valence["rater"] == "third_party"].assign(rater="fourth_party")
    with pytest.raises(TableError, match="2 other people annotated: fourth_party, third_party"):
        read_originals(pd.concat([valence, second]), recordings)


# fusion


def test_answers_are_fused_fold_by_fold_and_for_the_test(system, recordings, folds):
    found = fuse([system], recordings, folds)
    assert found.trials["round"].tolist() == ["fold_0", "fold_1", "fold_2", "fold_3", "final"]
    assert set(found.predictions["system"]) == {"fusion"}
    assert set(found.predictions["session"]) == set(recordings)
    assert set(found.predictions.loc[found.predictions["story"] == "5", "role"]) == {"hidden"}
    for fold, fitted in found.fitted.items():
        assert not set(fitted.sessions) & set(folds.loc[(folds["fold"] == fold) | (folds["role"] == "test"), "session"])


def test_two_systems_are_averaged_whichever_tables_hold_their_listeners_networks(system, recordings, folds):
    found = fuse([system, named(system, "av")], recordings, folds).predictions
    averaged = found[found["system"] == "average"].set_index(["session", "step"])["predicted"]
    own = system[1].query("system == 'at'").set_index(["session", "step"])["predicted"]
    np.testing.assert_allclose(averaged, (own * 1.9 + 0.01)[averaged.index] / 2, rtol=1e-6)
    assert set(averaged.index.get_level_values("session")) == set(recordings)


def test_a_system_may_be_called_like_listeners_networks(system, recordings, folds):
    held, answers = system
    alone = held, answers.query("system == 'at'").assign(system="my_personal")
    assert len(fuse([(replace(held, name="my_personal"), alone[1])], recordings, folds).trials) == 5


def test_without_networks_of_the_folds_nothing_is_fused_unless_it_is_asked_for(world, recordings, folds, tmp_path):

    final = type(world)({"final": list(world["final"])})
    write_json(
        tmp_path / "valence_features.json",
        dump_features(final.everybody, recordings, tmp_path, system="at", device=CPU),
    )
    own = read_dump(tmp_path), answer(final, recordings)
    for source in ("answers", "out_of_fold"):
        found = fuse([own], recordings, folds, FusionSettings(c=[1.0], source=source))
        assert found.predictions.empty
        assert found.trials.empty
    found = fuse([own], recordings, folds, FusionSettings(c=[1.0], source="in_fold"))
    assert found.trials["round"].tolist() == ["final"]
    assert set(found.predictions["story"]) == {"5"}


@pytest.mark.parametrize("mixed", [False, True])
def test_two_systems_of_one_name_are_refused(system, recordings, folds, mixed):
    held, answers = system
    tables_of = [pd.concat([answers, answers])] if mixed else [answers, answers]
    with pytest.raises(SettingsError, match="Two systems are called 'at'"):
        fuse_systems([held, held], tables_of, recordings, folds, settings=ONE, ratio=25)


# a saved fusion


def test_a_saved_fusion_answers_as_before(system, recordings, folds, tmp_path):
    found = fuse([system], recordings, folds)
    paths = write_fitted(found.fitted, tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in paths] == [
        "fusion/final.safetensors", *(f"fusion/fold_{fold}.safetensors" for fold in range(4))
    ]  # fmt: skip
    for fold, name in ((-1, "final"), (2, "fold_2")):
        settings = FusionSettings(saved=f"fusion/{name}.safetensors")
        again = fuse([system], recordings, folds, settings, data=tmp_path)
        assert again.trials["round"].tolist() == ["saved"]
        asked = folds[folds["role"] == "test"] if fold < 0 else folds[folds["fold"] == fold]
        one, other = (
            table[table["session"].isin(asked["session"])].set_index(["session", "step"])["predicted"].sort_index()
            for table in (found.predictions, again.predictions)
        )
        np.testing.assert_array_equal(one, other)
        roles = again.predictions.drop_duplicates("session").set_index("session")["role"]
        assert set(roles[list(found.fitted[fold].sessions)]) == {"train"}
        assert "train" not in set(roles[asked["session"]])


def test_the_file_holds_what_scikit_learn_fitted_and_the_same_bytes(tmp_path):
    chance = np.random.default_rng(0)
    features = {name: chance.normal(3, 2, (40, 5)) for name in ("a", "b")}
    truth = {name: np.sin(rows[:, 0]) for name, rows in features.items()}
    for normalise, gamma in ((True, "auto"), (False, "scale"), (True, 0.3)):
        setting = SvrSetting(1.0, gamma)
        fitted = fit_svr(features, truth, setting=setting, normalise=normalise)
        path = write_svr(fitted, tmp_path / "svr.safetensors")
        before = path.read_bytes()
        read = read_svr(path)
        assert (read.setting, read.sessions, read.gamma) == (setting, ("a", "b"), fitted.gamma)
        rows = np.concatenate(list(features.values()))
        low, high = rows.min(axis=0), rows.max(axis=0)
        scaled = (rows - low) / (high - low) * 2 - 1 if normalise else rows
        theirs = SVR(kernel="rbf", C=1.0, gamma=gamma, epsilon=0.1, tol=0.01)
        theirs.fit(scaled, np.concatenate(list(truth.values())))
        np.testing.assert_allclose(read.predict(rows), theirs.predict(scaled), rtol=0, atol=1e-12)
        assert write_svr(read, path).read_bytes() == before
    with pytest.raises(TableError, match="There are 4 features, and the regression was fitted to 5"):
        read.predict(rows[:, :4])


def test_files_that_would_run_what_they_hold_are_refused(tmp_path):
    marker = tmp_path / "it ran"

    class Bad:
        def __reduce__(self):
            return marker.write_text, ("x",)

    for name, write in {
        "svr.joblib": lambda path: joblib.dump(Bad(), path),
        "small.joblib": lambda path: joblib.dump(Bad(), path, compress=3),
        "renamed.safetensors": lambda path: path.write_bytes(pickle.dumps(Bad())),
        "small.safetensors": lambda path: joblib.dump(Bad(), path, compress=("zlib", 9)),
    }.items():
        write(tmp_path / name)
        with pytest.raises(WeightsError, match=r"saved by joblib or pickle.*can run any program"):
            read_svr(tmp_path / name)
    assert not marker.exists()


def test_files_that_are_no_fusion_are_refused(tmp_path):
    path = tmp_path / "svr.safetensors"
    with pytest.raises(WeightsError, match="is not there"):
        read_svr(path)
    path.write_bytes(b"\x10\0\0\0\0\0\0\0not a header at all")
    with pytest.raises(WeightsError, match="cannot be read"):
        read_svr(path)
    save_file({"lstm": np.zeros(3)}, path)
    with pytest.raises(WeightsError, match="holds lstm, which is no fitted regression"):
        read_svr(path)
    fitted = fit_svr({"a": np.arange(12.0)[:, None]}, {"a": np.arange(12.0)}, setting=SvrSetting())
    write_svr(replace(fitted, weights=fitted.weights[:-1]), path)
    with pytest.raises(WeightsError, match="do not fit together"):
        read_svr(path)
    whole = write_svr(fitted, path).read_bytes()
    path.write_bytes(whole[:-9])
    with pytest.raises(WeightsError, match="cannot be read"):
        read_svr(path)


def test_a_saved_fusion_lies_in_the_data_folder(system, recordings, folds, tmp_path):
    for name, data in (("../svr.safetensors", tmp_path), ("svr.safetensors", None)):
        with pytest.raises(SettingsError, match=r"evaluate\.fusion\.saved is .*, which lies in no data folder"):
            fuse([system], recordings, folds, FusionSettings(saved=name), data=data)


def test_sessions_that_were_not_baked_are_in_no_fold(folds, tmp_path):

    kept = folds["session"].tolist()[1:]
    write_json(tmp_path / "recordings.json", {f"recordings/{name}.npz": "0" for name in kept})
    left = keep_baked(folds, tmp_path)
    assert left["session"].tolist() == kept
    tables.check(left, "folds")
