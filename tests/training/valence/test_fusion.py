"""Decision-level fusion: against the source system, without leakage, and with what does not fit together."""

from __future__ import annotations

import importlib.util
import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nbpkg import tables
from nbpkg.datasets.valence.recording import Recording
from nbpkg.errors import FoldError, SettingsError, TableError
from nbpkg.metrics.valence.files import in_file_order
from nbpkg.metrics.valence.summary import CROSSVAL, crossval_table
from nbpkg.training.valence.fusion.features import (
    FusionData,
    FusionRound,
    FusionSystem,
    name_systems,
    read_features,
    read_system,
    take_answers,
    write_features,
)
from nbpkg.training.valence.fusion.published import (
    concatenate_features,
    cross_validate_as_published,
    fuse_as_published,
)
from nbpkg.training.valence.fusion.rounds import cross_validate_fusion, fuse_final
from nbpkg.training.valence.fusion.svr import SvrSetting, choose_svr, fit_svr, make_grid

GOLDEN = Path(__file__).parents[2] / "golden"
VALENCE = GOLDEN / "valence_fusion"
RATIO = 5
STORIES = ("2", "4", "8", "1")  # the last is the test
ONE = [SvrSetting(cost=1.0)]


def load(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# the source system


@pytest.fixture(scope="module")
def svr_case():
    """Features and annotations of the source system's case: session to (T, 7), to [frames], and the two folders."""
    content = np.load(VALENCE / "svr_open.npz")
    features, originals, parts = {}, {}, {"Training": [], "Validation": []}
    for name in content.files:
        if "/Annotations/" not in name:
            continue
        part, session = name.split("/")[0].removeprefix("file:"), Path(name).stem
        own = [np.load(io.BytesIO(content[f"file:{part}/{folder}/{session}.npy"].tobytes())) for folder in ("fa", "fb")]
        features |= concatenate_features([{session: rows} for rows in own])
        originals[session] = pd.read_csv(io.BytesIO(content[name].tobytes()))["valence"].to_numpy()
        parts[part].append(session)
    return content, features, originals, parts


@pytest.mark.parametrize("name", ["plain", "normalize_without_testset", "normalize_testset"])
def test_regression_as_published(svr_case, name):
    content, features, originals, parts = svr_case
    found = fuse_as_published(
        features,
        originals,
        train=parts["Training"],
        test=parts["Validation"],
        normalise=name != "plain",
        test_stories=["2"] if name == "normalize_testset" else (),
    )
    wanted = {key.removeprefix(f"expect:{name}/"): content[key] for key in content.files if f":{name}/" in key}
    np.testing.assert_array_equal(found.regressor.support_, wanted["support"])
    np.testing.assert_allclose(found.regressor.intercept_, wanted["intercept"], rtol=0, atol=1e-12)
    assert pytest.approx(wanted["gamma"].item()) == 1 / 7
    assert found.test_ccc == pytest.approx(wanted["ccc"].item(), abs=1e-12)
    assert found.train_ccc == pytest.approx(wanted["train_ccc"].item(), abs=1e-12)
    first = next(iter(found.steps.values()))
    np.testing.assert_allclose(first, wanted["per_second_pred_first"], rtol=0, atol=1e-12)
    answered = {key.removeprefix("pred/") for key in wanted if key.startswith("pred/")}
    assert set(found.test) == answered
    for session in answered:
        np.testing.assert_allclose(found.test[session], wanted[f"pred/{session}"], rtol=0, atol=1e-12)


def test_our_regression_is_the_published_one_at_its_setting(svr_case):
    content, features, originals, parts = svr_case
    train = in_file_order(parts["Training"])
    truth = {
        one: np.array([originals[one][place : place + 25].mean() for place in range(0, len(originals[one]), 25)])
        for one in train
    }
    fitted = fit_svr({one: features[one] for one in train}, truth, setting=SvrSetting(), normalise=False)
    first = in_file_order(parts["Validation"])[0]
    wanted = content["expect:plain/per_second_pred_first"]
    np.testing.assert_allclose(fitted.predict(features[first].astype(np.float64)), wanted, rtol=0, atol=1e-12)


@pytest.fixture(scope="module")
def published_rounds():
    """Features that the published networks leave in every fold: system, story left out, session to (T, 128)."""
    import torch

    from nbpkg.models.valence.build import build_network

    made, fill = load(VALENCE / "make_tiny_data.py"), load(GOLDEN / "fill.py")
    videos = {f"Subject_{s}_Story_{t}": made.video("open", s, t, True) for s in (1, 2, 10) for t in (1, 2, 4)}
    widths = {"audio": 990, "text": 300, "v_sub": 4096}
    rounds = {name: {} for name in ("AT", "TV")}
    for name, modalities in (("AT", ("audio", "text")), ("TV", ("text", "v_sub"))):
        network = build_network("combined_lstm", modalities, {one: widths[one] for one in modalities}).eval()
        for story in ("1", "2", "4"):
            for key, tensor in network.state_dict().items():
                tensor.copy_(torch.from_numpy(fill.fill_array(f"s{story}e3:{key}", tuple(tensor.shape))))
            rounds[name][story] = {}
            for session, (_, audio, text, face) in videos.items():
                arrays = {"audio": audio, "text": text, "v_sub": face[:, 0]}
                inputs = {one: torch.from_numpy(arrays[one].astype(np.float32))[None] for one in modalities}
                mask = torch.ones(1, len(text), 1, dtype=torch.bool)
                with torch.no_grad():
                    rounds[name][story][session] = network.embed(inputs, mask)[0].numpy()
    return rounds, {session: valence for session, (valence, *_) in videos.items()}


def test_cross_validated_fusion_as_published(published_rounds):
    rounds, originals = published_rounds
    joined = {story: concatenate_features([rounds[name][story] for name in ("AT", "TV")]) for story in ("1", "2", "4")}
    table, found = cross_validate_as_published(joined, originals)
    wanted = json.loads((VALENCE / "crossval_open.json").read_text())["cv_fusion"]["crossval_csv"]
    assert [CROSSVAL, *table["Val. Story"]] == [wanted[0], *(row[0] for row in wanted[1:])]
    np.testing.assert_allclose(table[CROSSVAL[1:]].to_numpy(), [row[1:] for row in wanted[1:]], rtol=0, atol=2e-6)
    content = np.load(VALENCE / "crossval_open.npz")
    for one in found.values():
        for session, frames in one.test.items():
            np.testing.assert_allclose(frames, content[f"cv_fusion_pred/{session}"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["plain", "normalize", "normalize_testset"])
def test_fusion_program_as_published(published_rounds, name):
    rounds, originals = published_rounds
    features = concatenate_features([rounds["AT"]["1"], rounds["TV"]["1"]])
    train, test = ([one for one in features if one.endswith("_1") == is_test] for is_test in (False, True))
    found = fuse_as_published(
        features,
        originals,
        train=train,
        test=test,
        normalise=name != "plain",
        test_stories=["2"] if name == "normalize_testset" else (),
    )
    content = np.load(VALENCE / "fusion_cli_open.npz")
    wanted = {key: content[key] for key in content.files if key.startswith(f"{name}/")}
    assert {f"{name}/pred_test/{session}" for session in found.test} == set(wanted)
    for session, frames in found.test.items():
        np.testing.assert_allclose(frames, wanted[f"{name}/pred_test/{session}"], rtol=0, atol=1e-5)
    if name == "plain":
        for session, frames in found.train.items():
            np.testing.assert_allclose(frames, content[f"test_saved_model/pred_train/{session}"], rtol=0, atol=1e-5)


# ours


@pytest.fixture(scope="module")
def recordings():
    """Three people, four stories, valence that moves slowly."""
    found = {}
    for subject in ("1", "2", "3"):
        for place, story in enumerate(STORIES):
            random = np.random.default_rng([int(subject), place])
            original = np.round(np.cumsum(random.normal(0, 0.08, 118 + 7 * place)), 2)
            steps = np.array([original[at : at + RATIO].mean() for at in range(0, len(original), RATIO)])
            name = f"Subject_{subject}_Story_{story}"
            found[name] = Recording(name, subject, story, "Training", "", {}, {}, steps, original, False)
    return found


@pytest.fixture(scope="module")
def folds(recordings):
    rows = [
        {"session": one.session, "group": one.story, "fold": STORIES.index(one.story)}
        | {"role": "test" if one.story == "1" else "train"}
        for one in recordings.values()
    ]
    return tables.from_rows(rows, "folds")


def make_system(recordings, folds, *, name: str, seed: int, leak: bool = False) -> FusionSystem:
    """Features of four columns, one of which follows the truth with noise.

    With `leak`, the second column gives away the truth of sessions that the round has learnt from.
    """
    numbers = dict(zip(folds["session"], folds["fold"], strict=True))
    roles = dict(zip(folds["session"], folds["role"], strict=True))
    rounds = []
    for fold in (0, 1, 2, -1):
        features = {}
        for session, one in recordings.items():
            random = np.random.default_rng([seed, *session.encode()])  # the same session looks alike in all rounds
            rows = random.normal(0, 1, (len(one.valence), 4))
            rows[:, 0] = one.valence + 0.3 * rows[:, 0]
            if leak and roles[session] == "train" and numbers[session] != fold:
                rows[:, 1] = 5 * one.valence
            features[session] = rows.astype(np.float32)
        held = tuple(session for session in recordings if numbers[session] == fold)
        rounds.append(FusionRound("final" if fold < 0 else f"fold_{fold}", fold, held, features))
    return FusionSystem(name, tuple(rounds))


@pytest.fixture(scope="module")
def data(recordings, folds):
    systems = [make_system(recordings, folds, name=name, seed=seed) for name, seed in (("at", 1), ("tv", 2))]
    return FusionData(tuple(systems), recordings, folds)


def test_fusion_answers_every_fold_once(data, recordings):
    found = cross_validate_fusion(data, grid=ONE, ratio=RATIO)
    train = {name for name, one in recordings.items() if one.story != "1"}
    assert set(found.predictions["session"]) == train
    assert set(found.predictions["role"]) == {"held_out"}
    assert set(found.predictions["system"]) == {"fusion"}
    one = found.predictions[found.predictions["session"] == "Subject_2_Story_4"]
    assert set(one["round"]) == {"fold_1"}
    np.testing.assert_array_equal(one["truth"], recordings["Subject_2_Story_4"].valence)
    assert (found.trials["held_out_ccc"] > 0.3).all()  # one column of each system follows the truth
    assert crossval_table(found.trials, folds=data.folds)["Val. Story"].tolist()[:3] == ["2", "4", "8"]


def test_leaking_features_are_useless_when_taken_out_of_fold(recordings, folds):
    leaking = FusionData((make_system(recordings, folds, name="at", seed=1, leak=True),), recordings, folds)
    honest, published = (
        cross_validate_fusion(leaking, grid=ONE, ratio=RATIO, source=source).trials
        for source in ("out_of_fold", "in_fold")
    )
    assert published["train_ccc"].mean() > 0.9  # the truth is among the features of the sessions learnt from
    assert published["held_out_ccc"].mean() < honest["held_out_ccc"].mean()
    assert abs(honest["train_ccc"] - honest["held_out_ccc"]).mean() < 0.2


def test_nothing_of_the_fold_left_out_enters_its_regression(data, recordings):
    fold = 1
    before = cross_validate_fusion(data, grid=make_grid((0.1, 1.0)), ratio=RATIO)
    changed = dict(recordings)
    for name, one in recordings.items():
        if one.story == "4":
            changed[name] = Recording(name, "1", "4", "", "", {}, {}, one.valence + 9, one.original + 9, False)
    systems = tuple(
        FusionSystem(
            system.name,
            tuple(
                FusionRound(
                    one.name,
                    one.fold,
                    one.held_out,
                    {name: rows * (100 if name.endswith("_4") else 1) for name, rows in one.features.items()},
                )
                for one in system.rounds
            ),
        )
        for system in data.systems
    )
    after = cross_validate_fusion(FusionData(systems, changed, data.folds), grid=make_grid((0.1, 1.0)), ratio=RATIO)
    one, other = before.fitted[fold], after.fitted[fold]
    assert one.setting == other.setting
    np.testing.assert_array_equal(one.low, other.low)
    np.testing.assert_array_equal(one.support, other.support)
    assert not np.array_equal(before.fitted[0].low, after.fitted[0].low)  # in other folds it is learnt from


def test_setting_is_chosen_by_inner_folds(data, recordings):
    grid = make_grid((0.0001, 1.0))
    found = cross_validate_fusion(data, grid=grid, ratio=RATIO)
    assert {one.setting.cost for one in found.fitted.values()} == {1.0}  # 0.0001 flattens every answer
    assert set(found.trials["chosen_by"]) == {"inner"}
    first = found.search[found.search["round"] == "fold_0"]
    assert set(first["inner"]) == {"1", "2"}
    assert len(first) == 4
    best = first[first["cost"] == 1.0]["ccc"].mean()
    assert found.trials.set_index("round").loc["fold_0", "inner_ccc"] == pytest.approx(best)


def test_equally_good_settings_go_to_the_first(data, recordings):
    features = data.held_out_features(data.sessions())
    grid = [SvrSetting(cost=1.0, tolerance=tolerance) for tolerance in (1e-3, 1e-3)]
    groups = {name: recordings[name].story for name in features}
    chosen = choose_svr(features, recordings, groups=groups, grid=grid, ratio=RATIO)
    assert chosen.setting is grid[0]
    with pytest.raises(FoldError, match="of 1 group"):
        choose_svr(features, recordings, groups=dict.fromkeys(features, "2"), grid=grid, ratio=RATIO)
    with pytest.raises(SettingsError, match="no setting"):
        choose_svr(features, recordings, groups=groups, grid=[], ratio=RATIO)


@pytest.mark.parametrize("source", ["out_of_fold", "in_fold"])
def test_test_sessions_are_answered_once_and_choose_nothing(data, recordings, source):
    name = "Subject_3_Story_1"
    one = recordings[name]
    nothing = np.full_like(one.valence, np.nan)
    hidden = Recording(name, "3", "1", "Testing", "", {}, {}, nothing, np.full_like(one.original, np.nan), True)
    known = FusionData(data.systems, {**recordings, name: hidden}, data.folds)
    found = fuse_final(known, grid=make_grid((0.1, 1.0)), ratio=RATIO, source=source)
    roles = found.predictions.groupby("session")["role"].first().to_dict()
    assert roles == {"Subject_1_Story_1": "test", "Subject_2_Story_1": "test", name: "hidden"}
    assert found.predictions.loc[found.predictions["session"] == name, "truth"].isna().all()
    assert found.trials["held_out_ccc"].isna().all()
    np.testing.assert_array_equal(
        found.predictions["predicted"],
        fuse_final(data, grid=make_grid((0.1, 1.0)), ratio=RATIO, source=source).predictions["predicted"],
    )


def test_seconds_without_truth_are_not_learnt_from(data, recordings):
    features = data.held_out_features(["Subject_1_Story_2", "Subject_1_Story_4"])
    truth = {name: recordings[name].valence.copy() for name in features}
    truth["Subject_1_Story_2"][3:] = np.nan
    fitted = fit_svr(features, truth, setting=ONE[0])
    cut = {name: rows[~np.isnan(truth[name])] for name, rows in features.items()}
    less = fit_svr(cut, {name: own[~np.isnan(own)] for name, own in truth.items()}, setting=ONE[0])
    np.testing.assert_array_equal(fitted.support, less.support)
    with pytest.raises(TableError, match="None of 1 sessions"):
        fit_svr({"a": np.zeros((3, 2))}, {"a": np.full(3, np.nan)}, setting=ONE[0])
    with pytest.raises(TableError, match="3 seconds of features and 2 of truth"):
        fit_svr({"a": np.zeros((3, 2))}, {"a": np.zeros(2)}, setting=ONE[0])


def test_constant_features_do_not_blow_up_on_new_sessions():
    random = np.random.default_rng(0)
    rows = np.c_[random.normal(size=20), np.ones(20)]
    fitted = fit_svr({"a": rows}, {"a": rows[:, 0]}, setting=ONE[0])
    moved = np.c_[rows[:, 0], np.full(20, 1.001)]
    np.testing.assert_allclose(fitted.predict(moved), fitted.predict(rows), atol=1e-3)


def test_answers_in_the_place_of_features(data, recordings, folds):
    crossval = cross_validate_fusion(data, grid=ONE, ratio=RATIO, system="first")
    final = fuse_final(data, grid=ONE, ratio=RATIO, system="first")
    answers = pd.concat([crossval.predictions, final.predictions], ignore_index=True)
    stacked = FusionData((take_answers(answers, folds),), recordings, folds)
    found = cross_validate_fusion(stacked, grid=ONE, ratio=RATIO)
    assert (found.trials["held_out_ccc"] > 0.2).all()
    assert len(fuse_final(stacked, grid=ONE, ratio=RATIO).predictions) == len(final.predictions)
    with pytest.raises(TableError, match="was learnt from"):
        take_answers(answers.assign(role="train"), folds)
    with pytest.raises(TableError, match="no round that left out fold 0"):
        cross_validate_fusion(FusionData((take_answers(final.predictions, folds),), recordings, folds), grid=ONE,
                              ratio=RATIO, source="in_fold")  # fmt: skip


# files and names


def test_features_are_written_whole_and_the_same(tmp_path, data):
    own = data.systems[0].rounds[0].features
    one, other = (write_features(own, tmp_path / name / "at" / "fold_0.npz") for name in ("a", "b"))
    assert one.read_bytes() == other.read_bytes()
    found = read_features(one)
    assert set(found) == set(own)
    for name, rows in own.items():
        np.testing.assert_array_equal(found[name], rows)
        assert found[name].dtype == np.float32
    assert [path.name for path in one.parent.iterdir()] == ["fold_0.npz"]


def test_a_system_is_read_by_its_list_of_networks(tmp_path, data):
    for one in data.systems[0].rounds:
        write_features(one.features, tmp_path / "at" / f"{one.name}.npz")
    networks = {
        "system": "at",
        "networks": [
            {"round": one.name, "fold": one.fold, "held_out": list(one.held_out)} for one in data.systems[0].rounds
        ],
    }
    found = read_system(tmp_path / "at", networks)
    assert found.name == "at"
    assert [(one.name, one.fold, one.held_out) for one in found.rounds] == [
        (one.name, one.fold, one.held_out) for one in data.systems[0].rounds
    ]
    (tmp_path / "at" / "final.npz").unlink()
    with pytest.raises(TableError, match="are not there"):
        read_system(tmp_path / "at", networks)


@pytest.mark.parametrize("rows", [np.zeros(3), np.zeros((0, 2)), np.array([[np.nan, 1.0]])])
def test_features_that_are_no_table_of_numbers_are_refused(tmp_path, rows):
    with pytest.raises(TableError, match="'a'"):
        write_features({"a": rows}, tmp_path / "x.npz")
    assert not list(tmp_path.iterdir())


def test_broken_and_unlike_files_of_features_are_refused(tmp_path):
    with pytest.raises(TableError, match="2 widths: 2, 3"):
        write_features({"a": np.zeros((1, 2)), "b": np.zeros((1, 3))}, tmp_path / "x.npz")
    (tmp_path / "x.npz").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(TableError, match="cannot be read"):
        read_features(tmp_path / "x.npz")


def test_slashes_at_the_end_neither_empty_a_name_nor_delete_anything(tmp_path):
    for name in ("cv_AT", "cv_TV"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "keep.txt").write_text("x")
    found = name_systems([f"{tmp_path}/cv_AT/", f"{tmp_path}/cv_TV//"])
    assert list(found) == ["cv_AT", "cv_TV"]
    assert sorted(path.name for path in tmp_path.rglob("*.txt")) == ["keep.txt", "keep.txt"]


@pytest.mark.parametrize(
    ("folders", "names"),
    [
        (["one/cv", "two/cv/"], None),
        (["/"], None),
        (["one", "two"], ["a"]),
        (["one", "two"], ["a", " a"]),
        (["one"], [""]),
        (["one"], ["../x"]),
        ([], None),
    ],
)
def test_systems_without_names_of_their_own_are_refused(folders, names):
    with pytest.raises(SettingsError, match="systems are called"):
        name_systems(folders, names)


def test_systems_of_one_name_are_refused(data):
    with pytest.raises(TableError, match="'at', 'at'"):
        FusionData((data.systems[0], data.systems[0]), data.recordings, data.folds)
    with pytest.raises(FoldError, match="cannot be called 'at'"):
        cross_validate_fusion(data, grid=ONE, ratio=RATIO, system="at")


def test_every_session_of_another_length_is_named(data):
    recordings = dict(data.recordings)
    for name in ("Subject_1_Story_2", "Subject_3_Story_8"):
        one = recordings[name]
        recordings[name] = Recording(name, one.subject, one.story, "", "", {}, {}, one.valence[1:], one.original, False)
    with pytest.raises(TableError) as caught:
        FusionData(data.systems, recordings, data.folds)
    said = str(caught.value)
    assert "at, fold_0: Subject_1_Story_2 has 24 seconds of features and 23 of truth" in said
    assert "Subject_3_Story_8" in said
    assert said.startswith("16 problems")  # two sessions, two systems of four rounds


@pytest.mark.parametrize("source", ["out_of_fold", "in_fold"])
def test_a_missing_session_is_named(data, source):
    system, name = data.systems[1], "Subject_2_Story_4"
    rounds = tuple(
        FusionRound(one.name, one.fold, one.held_out, {key: rows for key, rows in one.features.items() if key != name})
        for one in system.rounds
    )
    lacking = FusionData((data.systems[0], FusionSystem("tv", rounds)), data.recordings, data.folds)
    with pytest.raises(TableError, match="of system 'tv' has no features of Subject_2_Story_4"):
        cross_validate_fusion(lacking, grid=ONE, ratio=RATIO, source=source)
    unheld = FusionSystem("tv", tuple(one for one in system.rounds if one.fold != 1))
    with pytest.raises(TableError, match="'tv' has no round that left out"):
        cross_validate_fusion(FusionData((unheld,), data.recordings, data.folds), grid=ONE, ratio=RATIO, source=source)


def test_too_little_to_fuse_is_said(data):
    alone = data.folds[data.folds["fold"].isin([0, 3])]
    with pytest.raises(FoldError, match="1 training folds"):
        cross_validate_fusion(FusionData(data.systems, data.recordings, alone), grid=ONE, ratio=RATIO)
    train = data.folds[data.folds["role"] == "train"]
    with pytest.raises(FoldError, match="no test session"):
        fuse_final(FusionData(data.systems, data.recordings, train), grid=ONE, ratio=RATIO)
    lost = {name: one for name, one in data.recordings.items() if name != "Subject_1_Story_2"}
    with pytest.raises(FoldError, match="Subject_1_Story_2"):
        FusionData(data.systems, lost, data.folds)
    with pytest.raises(SettingsError, match="no source of features"):
        cross_validate_fusion(data, grid=ONE, ratio=RATIO, source="any")


@pytest.mark.parametrize("wrong", [{"cost": 0}, {"gamma": -1.0}, {"gamma": "wide"}, {"epsilon": -0.1}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(SettingsError, match="cannot be set"):
        SvrSetting(**wrong)


def test_published_fusion_needs_the_same_sessions():
    with pytest.raises(TableError, match="1 of 2 systems have a"):
        concatenate_features([{"a": np.zeros((2, 1))}, {}])
    with pytest.raises(TableError, match=r"with \[2, 3\] seconds"):
        concatenate_features([{"a": np.zeros((2, 1))}, {"a": np.zeros((3, 1))}])
