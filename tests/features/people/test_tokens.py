"""Skeletons go to who they are of, and tokens hold what lies in their part of a window."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from people_scene import (
    FRAMES,
    SIZE,
    SOURCE_FPS,
    WHO,
    make_boxes,
    make_media,
    true_box,
    true_joints,
    write_skeletons,
    write_store,
)

from nbpkg.errors import AnnotationError, MediaError, StageError, WeightsError
from nbpkg.features.people.crops import SmallPictures, build_describer, crop_tokens, pick_frames
from nbpkg.features.people.following import find_people
from nbpkg.features.people.poses import PoseFolder, match_poses, read_poses, save_poses, say_missing
from nbpkg.features.people.tokens import (
    FeatureRows,
    Window,
    find_cast,
    join_windows,
    no_tokens,
    pose_tokens,
    read_rows,
    row_tokens,
    window_frames,
)
from nbpkg.features.people.tracking import source_frames
from nbpkg.settings.people import PersonModality, PersonSettings
from nbpkg.video.stores import open_store

STORED = 75
SHOWN = source_frames(STORED, fps=12.5, source_fps=SOURCE_FPS)


@pytest.fixture(scope="module")
def people():
    settings = PersonSettings(boxes="boxes")
    facts = {"source_size": SIZE, "store_fps": 12.5, "source_fps": SOURCE_FPS, "frames": STORED}
    return find_people("fam01--s1", make_boxes(), **facts, settings=settings)[0]


@pytest.fixture(scope="module")
def poses(people, tmp_path_factory):
    path = write_skeletons(tmp_path_factory.mktemp("poses") / "poses.pkl")
    return match_poses(people, path, None, make_media())


def test_skeletons_stay_with_their_person(people, poses):
    found = poses["fam01--s1"]
    assert found.shape == (2, STORED, 17, 3)
    assert found.dtype == np.float32
    for person, role in enumerate(WHO):
        seen = set(people.loc[people["who"] == role, "frame"])
        for frame in range(STORED):
            if frame not in seen or true_box(role, int(SHOWN[frame])) is None:
                assert not found[person, frame].any()
                continue
            truth = true_joints(role, int(SHOWN[frame])) / SIZE
            assert np.abs(found[person, frame, :, :2] - truth).max() < 2e-3  # half precision in the file
    assert say_missing(people, poses) == []


def test_skeletons_of_other_videos_are_refused_or_told(people, tmp_path):
    path = write_skeletons(tmp_path / "poses.pkl", frames=100)
    with pytest.raises(AnnotationError, match="100 frames"):
        match_poses(people, path, None, make_media())
    none = match_poses(people, write_skeletons(tmp_path / "other.pkl", name="fam02/s1"), None, make_media())
    assert not none["fam01--s1"].any()
    assert len(say_missing(people, none)) == 2
    prepared = match_poses(people, write_skeletons(tmp_path / "few.pkl", frames=STORED), None, make_media())
    assert prepared["fam01--s1"].shape == (2, STORED, 17, 3)


def test_skeletons_are_kept(poses, tmp_path):
    save_poses(tmp_path, poses)
    assert np.array_equal(read_poses(tmp_path, "fam01--s1"), poses["fam01--s1"])
    assert list(PoseFolder(tmp_path)) == ["fam01--s1"]
    assert len(PoseFolder(tmp_path / "none")) == 0
    (tmp_path / "poses/fam01--s1.npy").write_bytes(b"cut")
    with pytest.raises(StageError, match="cannot be read"):
        read_poses(tmp_path, "fam01--s1")


def _clips(*spans):
    rows = [{"sample_id": f"c{place}", "session": "fam01--s1", "first": first, "frames": frames}
            for place, (first, frames) in enumerate(spans)]  # fmt: skip
    return pd.DataFrame(rows)


def test_windows_lie_behind_each_other():
    found = window_frames(_clips((0, 50), (50, 50), (100, -1)), make_media())
    assert [(one.first, one.stop) for one in found.values()] == [(0, 25), (25, 50), (50, 75)]
    assert [one.seconds for one in found.values()] == [2, 2, 2]
    assert found["c1"].count_tokens("8") == 16
    counts = np.bincount(found["c1"].place_frames("8"), minlength=16)
    assert counts.sum() == 25
    assert counts.min() == 1
    assert counts.max() == 2
    with pytest.raises(MediaError, match="2 problems"):
        window_frames(_clips((FRAMES, 10), (0, 0)), make_media())


def test_few_frames_leave_tokens_empty():
    window = Window("c0", "s", 0, 4, 0.0, 1.0, 4.0)
    boxes = np.tile([0.1, 0.1, 0.5, 0.9], (1, 4, 1))
    assert (pick_frames(window, boxes, rate="8")[0] >= 0).tolist() == [True, False] * 4


def test_pose_tokens_are_relative_to_the_box():
    boxes = np.full((2, 4, 4), np.nan)
    boxes[0] = [0.2, 0.2, 0.6, 1.0]
    poses = np.zeros((2, 4, 17, 3), np.float32)
    poses[:, :, 0] = [0.4, 0.6, 0.5]  # the middle of the box
    poses[0, 1, 3] = [0.6, 0.2, 1.0]  # its right upper corner, in one frame
    found = pose_tokens(Window("c", "s", 0, 4, 0.0, 1.0, 4.0), poses, boxes, rate="2")
    assert found.tokens.shape == (2, 2, 51)
    assert found.valid.tolist() == [[True, True], [False, False]]
    assert np.allclose(found.tokens[0, 0, :3], [0, 0, 0.5], atol=1e-6)
    assert np.allclose(found.tokens[0, 0, 9:12], [1, -1, 1], atol=1e-6)
    assert not found.tokens[0, 1, 9:12].any()
    assert not found.tokens[1].any()


def test_rows_are_averaged_on_the_clock_of_tokens(tmp_path):
    path = tmp_path / "s1.csv"
    path.write_text(
        "time,role,a,b\n1.0,child,1,5\n1.2,child,3,5\n1.5,child,7,5\n1.6,child,,5\n0.9,child,9,9\n2.0,child,9,9\n"
    )
    rows, problems = read_rows(path)
    assert rows.names == ("a", "b")
    assert [problem.severity for problem in problems] == ["warning"]
    found = row_tokens(Window("c", "s", 25, 50, 1.0, 1.0, 25.0), rows, WHO, rate="4")
    assert found.valid.tolist() == [[False] * 4, [True, False, True, False]]
    assert found.tokens[1].tolist() == [[2, 5], [0, 0], [7, 5], [0, 0]]
    path.write_text("when,role\n1,child\n")
    assert read_rows(path)[1][0].severity == "error"
    assert read_rows(tmp_path / "no.csv")[1][0].severity == "warning"


def test_shorter_windows_are_padded():
    rows = FeatureRows(("a",), np.array([0.1, 0.6]), ("child", "child"), np.ones((2, 1)))
    long, short = (Window("c", "s", 0, 5, 0.0, seconds, 5.0) for seconds in (1.0, 0.5))
    joined = join_windows([row_tokens(one, rows, WHO, rate="2") for one in (long, short)])
    assert joined.tokens.shape == (2, 2, 2, 1)
    assert joined.valid[:, 1].tolist() == [[True, True], [True, False]]
    assert not no_tokens(long, 2, 3, rate="2").valid.any()


def test_crops_show_the_person(people, tmp_path):
    store = open_store(write_store(tmp_path / "s", frames=STORED, shown=SHOWN))
    windows = list(window_frames(_clips((0, 50), (25, 50), (60, 40)), make_media()).values())
    cast = find_cast(people, {"fam01--s1": STORED}, WHO)
    several = [
        crop_tokens(windows, cast, {"fam01--s1": store}, describe=SmallPictures(32), rate="4", threads=threads)
        for threads in (1, 3)
    ]
    assert all(np.array_equal(one.tokens, two.tokens) for one, two in zip(*several, strict=True))
    first, _, away = several[0]
    assert first.tokens.shape == (2, 8, 96)
    assert first.valid.all()
    red, blue = first.tokens[:, 0, [0, 2]]  # mean red and blue of the first cell
    assert red[0] > 0.7 > red[1]
    assert blue[1] > 0.7 > blue[0]
    assert away.valid[0].all()
    assert not away.valid[1].any()


def test_somebody_who_is_nowhere_has_a_place(people):
    cast = find_cast(people, {"fam01--s1": STORED, "gone": 3}, ["robot", *WHO])
    assert cast.roles == ("robot", *WHO)
    assert cast.persons["fam01--s1"].tolist() == [-1, 0, 1]
    assert np.isnan(cast.boxes["fam01--s1"][0]).all()
    assert np.isnan(cast.boxes["gone"]).all()


def test_networks_for_crops(tmp_path):
    modality = PersonModality(kind="crops", network="resnet18", size=32)
    pictures = [np.full((40, 20, 3), 90, np.uint8), np.zeros((5, 5, 3), np.uint8)]
    once, twice = (build_describer(modality, data=tmp_path)(pictures) for _ in range(2))
    assert once.shape == (2, 512)
    assert np.array_equal(once, twice)
    with pytest.raises(WeightsError, match="no weights"):
        build_describer(PersonModality(kind="crops", network="resnet18", weights="a.pt"), data=tmp_path)
