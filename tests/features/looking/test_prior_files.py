"""Published prior files are read by clip, track and frame, and what does not fit is counted."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from looking_faces import golden_faces, make_tracks, read_golden

from nbpkg.errors import AnnotationError, TableError
from nbpkg.features.looking.prior_files import HEAD, POINTS, P, read_prior_files, write_prior_files
from nbpkg.features.looking.quality import is_usable
from nbpkg.models.looking.priors import normalise_landmarks, quantise_head

FACE = [[0.5, 0.5, 0.0, 0.9], [0.6, 0.4, 0.0, 0.9], [0.4, 0.4, 0.0, 0.9], [0.6, 0.7, 0.0, 0.9], [0.4, 0.7, 0.0, 0.9]]


def write(folder, **files):
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize("part", ["train", "val"])
def test_golden_head_poses_points_and_best_faces(part, tmp_path):
    golden = read_golden("index_gazepose")
    for name, content in golden["priors"].items():
        (tmp_path / name).write_text(json.dumps(content))
    tracks, faces = golden_faces(part)
    found, _ = read_prior_files(tmp_path, tracks, faces, neighbours=True)
    run = golden["runs"][f"{part}_gauss1_stride3"]
    for row, sample in zip(run["keyframes"], run["samples"], strict=True):
        assert quantise_head(found.head_pose[row], 1).tolist() == sample["head_index"]
        assert normalise_landmarks(found.points[row]) == pytest.approx(sample["head2D"], abs=1e-6)


@pytest.mark.parametrize("run", ["gauss0_stride1", "gauss0_stride3"])
def test_golden_priors_of_test_crops(run, tmp_path):
    golden = read_golden("test_loader")
    for name in ("test_p", "test_headpose", "test_mesh"):
        (tmp_path / f"{name}.json").write_text(json.dumps(golden[name]))
    images = golden["runs"]["gauss0_stride1"]["images"]
    challenge = pd.DataFrame(images, columns=["session", "track", "unique_id", "frame"]).astype({"frame": int})
    groups = challenge.groupby(["session", "track"], sort=False)["frame"]
    tracks, faces = make_tracks([(*key, own.tolist()) for key, own in groups])
    found, _ = read_prior_files(tmp_path, tracks, faces, kinds=(HEAD, POINTS, P), challenge=challenge, neighbours=True)
    for row, sample in zip(golden["runs"][run]["keyframes"], golden["runs"][run]["samples"], strict=True):
        assert quantise_head(found.head_pose[row], 1).tolist() == sample["head_index"]
        assert normalise_landmarks(found.points[row]) == pytest.approx(sample["head2D"], abs=1e-6)
    assert found.quality["p"][0] == pytest.approx(golden["test_p"]["uidA"]["0"]["gkgimp"])


def test_tracks_may_hold_colons_and_padded_numbers(tmp_path):
    tracks, faces = make_tracks([("c:1", "t:2:3", [4, 5]), ("c", "1:t", [4])])
    folder = write(tmp_path, train_headpose={"c:1:t:2:3:00005": [1, 2, 3, 0, 0, 0], "c:1:t:4": [7, 8, 9, 1, 0, 0]})
    found, problems = read_prior_files(folder, tracks, faces, kinds=(HEAD,))
    assert found.head_pose.tolist()[1:] == [[1, 2, 3], [7, 8, 9]]
    assert np.isnan(found.head_pose[0]).all()
    assert problems == []


def test_priors_of_other_frames_and_of_another_length_are_counted(tmp_path):
    tracks, faces = make_tracks([("a", "1", [1, 2, 3])])
    write(
        tmp_path,
        train_headpose={
            "a:1:1": [1, 2, 3, 0, 0, 0],
            "a:1:2": [1, 2, 3],
            "a:1:9": [1] * 6,
            "b:1:1": [1] * 6,
            "x": [1] * 6,
        },
        train_mesh={"a": {"1": {"2": FACE, "3": FACE[:4], "1": "none"}, "2": 5}},
        val_p={"a": {"1": {"1": 0.25, "2": None, "77": 0.5}}},
        train_filter_all={"a:1:1": {"max_index": 2, "array": [0, 1, -1]}, "a:1:2": {"max_index": 9, "array": [0]}},
    )
    found, problems = read_prior_files(tmp_path, tracks, faces)
    counts = found.report.set_index("file")[["entries", "wrong", "other", "used"]]
    assert counts.loc["train_headpose.json"].tolist() == [5, 1, 3, 1]
    assert counts.loc["train_mesh.json"].tolist() == [4, 3, 0, 1]
    assert counts.loc["val_p.json"].tolist() == [3, 1, 1, 1]
    assert counts.loc["train_filter_all.json"].tolist() == [2, 1, 0, 1]
    assert {problem.severity for problem in problems} == {"warning"}
    assert any("3 of 5 entries are of faces that are not here" in problem.what for problem in problems)
    assert found.head_pose[0].tolist() == [1, 2, 3]
    assert np.isnan(found.head_pose[1:]).all()
    assert is_usable(found.quality["filter"]).tolist() == [False, True, True]


def test_points_of_neighbours_are_taken_only_when_asked_for_and_in_the_published_order(tmp_path):
    tracks, faces = make_tracks([("a", "1", list(range(10, 20))), ("a", "2", [10, 12])])
    shifted = np.array(FACE) + [[0, 0, 0.5, 0]]
    write(tmp_path, train_mesh={"a": {"1": {"12": FACE, "14": shifted.tolist(), "9": FACE}}})
    alone, _ = read_prior_files(tmp_path, tracks, faces, kinds=(POINTS,))
    assert np.flatnonzero(np.isfinite(alone.points[:, 0, 0])).tolist() == [2, 4]
    found, _ = read_prior_files(tmp_path, tracks, faces, kinds=(POINTS,), neighbours=True)
    # 10 asks 9 (no face, but there are points); 13 asks 12 before 14; 16 asks 14; 17 asks 14; 18, 19 ask nobody
    depth = found.points[:, 0, 2].tolist()
    assert depth[:8] == [0, 0, 0, 0, 0.5, 0.5, 0.5, 0.5]
    assert np.isnan(depth[8:]).all()
    assert found.report["borrowed"].tolist() == [6]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("train_headpose", "{broken", "is no JSON"),
        ("train_headpose", "[1, 2]", "no entries by name"),
        ("train_headpose", '{"a:1:1": [1, 2, 3]}', "None of its entries can be used"),
        ("train_mesh", '{"a": {"1": {"1": [[1, 2, 3]]}}}', "None of its entries can be used"),
        ("train_mesh", '{"a:1:1": [1, 2, 3]}', "None of its entries can be used"),
        ("train_headpose", '{"a:1:1": [1, 2, NaN, 0, 0, 0]}', "None of its entries can be used"),
    ],
)
def test_files_that_cannot_be_used_are_named(name, text, said, tmp_path):
    tracks, faces = make_tracks([("a", "1", [1])])
    (tmp_path / f"{name}.json").write_text(text)
    kind = HEAD if "head" in name else POINTS
    with pytest.raises(AnnotationError, match=rf"(?s){name}\.json.*{said}"):
        read_prior_files(tmp_path, tracks, faces, kinds=(kind,))


def test_all_problems_of_all_files_are_told_at_once(tmp_path):
    tracks, faces = make_tracks([("a", "1", [1])])
    write(tmp_path, train_headpose=[1])
    (tmp_path / "val_mesh.json").write_text("no")
    with pytest.raises(AnnotationError, match=r"3 problems") as caught:
        read_prior_files(tmp_path, tracks, faces, kinds=(HEAD, POINTS, P))
    assert "There is no file of p" in str(caught.value)


def test_test_crops_that_are_not_those_of_the_tracks_are_an_error(tmp_path):
    tracks, faces = make_tracks([("a", "1", [1, 2])])
    challenge = pd.DataFrame({"session": ["a", "a"], "track": ["1", "1"], "frame": [1, 3], "unique_id": ["x", "y"]})
    write(tmp_path, test_p={"a": {"1": {"x": 0.5}}})
    with pytest.raises(TableError, match="1 of 2 test crops"):
        read_prior_files(tmp_path, tracks, faces, kinds=(P,), challenge=challenge)


def test_what_is_written_is_read_again(tmp_path):
    golden = read_golden("index_gazepose")
    for name, content in golden["priors"].items():
        (tmp_path / name).write_text(json.dumps(content))
    tracks, faces = golden_faces("train")
    found, _ = read_prior_files(tmp_path, tracks, faces)
    scores = np.where(np.arange(7) == 4, found.quality["filter"][:, None], np.nan)
    files = write_prior_files(
        tracks,
        faces,
        head_pose=found.head_pose,
        points=found.points,
        quality=found.quality,
        parts=dict.fromkeys(tracks["session"], "train"),
        window_scores=scores,
    )
    assert sorted(files) == ["train_filter_all.json", "train_headpose.json", "train_mesh.json", "train_p.json"]
    original = golden["priors"]["train_headpose.json"]
    assert {key: value[:3] for key, value in files["train_headpose.json"].items()} == {
        key: value[:3] for key, value in original.items() if len(value) == 6
    }
    again = tmp_path / "again"
    again.mkdir()
    for name, content in files.items():
        (again / name).write_text(json.dumps(content))
    second, problems = read_prior_files(again, tracks, faces)
    assert problems == []
    assert np.array_equal(second.head_pose, found.head_pose, equal_nan=True)
    assert np.array_equal(second.points, found.points, equal_nan=True)
    assert np.array_equal(second.quality["p"], found.quality["p"], equal_nan=True)
    positive = found.quality["filter"] > 0
    assert np.array_equal(second.quality["filter"][positive], found.quality["filter"][positive])
    assert (second.quality["filter"][found.quality["filter"] <= 0] <= 0).all()
