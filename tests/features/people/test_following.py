"""People keep their number and role whatever order detectors list them in, through gaps and when they come back."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from people_scene import (
    AWAY,
    FRAMES,
    SIZE,
    SOURCE_FPS,
    WHO,
    is_missed,
    make_boxes,
    make_media,
    true_box,
    write_skeletons,
)

from nbpkg import tables
from nbpkg.errors import SettingsError
from nbpkg.features.people.boxes import CORNERS, overlaps, read_boxes
from nbpkg.features.people.following import find_people, follow_people
from nbpkg.features.people.roles import assign_roles, read_roles
from nbpkg.features.people.tracking import follow, source_frames
from nbpkg.settings.people import PersonSettings
from nbpkg.video.convert import select_frames

PLACES = {"fam01--s1": "fam01/s1"}


def _follow(boxes, *, patience=15):
    return follow(boxes, least_overlap=0.2, patience=patience, least_score=0.5)


def _is_parent(rows):
    return (rows["x1"] - rows["x0"]).round() == 120


def _check_scene(roles):
    """Hold rows against where parent and child are."""
    for role in WHO:
        own = roles[roles["who"] == role].set_index("frame")
        there = [frame for frame in range(FRAMES) if true_box(role, frame) is not None]
        ends = {there[0], there[-1], AWAY[0] - 1, AWAY[-1] + 1}
        assert set(own.index) >= {frame for frame in there if not is_missed(role, frame)}
        assert set(own.index) <= set(there) | ends
        truth = np.stack([true_box(role, frame) for frame in own.index])
        assert np.abs(own[CORNERS].to_numpy() - truth).max() < 1e-9
        assert set(own.index[own["how"] == "between"]) == {frame for frame in own.index if is_missed(role, frame)}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_roles_hold_while_people_pass_each_other_and_leave(seed):
    tracks = _follow(make_boxes(seed))
    roles, problems = assign_roles(tracks, who=WHO, least_frames=15)
    _check_scene(roles)
    assert set(roles["who"]) == set(WHO)
    assert [problem.what for problem in problems] == [
        "1 further people who are in at most 15 frames each are left out."
    ]
    mirrored, _ = assign_roles(tracks, who=["right", "left"], order="left", least_frames=15)
    assert (mirrored["who"].map({"right": "parent", "left": "child"}).tolist()) == roles["who"].tolist()


def test_what_somebody_said_goes_before_size():
    named = pd.DataFrame(
        [[3, 500.0, 200.0, "parent"], [120, 430.0, 60.0, "child"]], columns=["frame", "x", "y", "role"]
    )
    roles, problems = assign_roles(_follow(make_boxes()), who=WHO, named=named, least_frames=15)
    swapped = roles.assign(who=roles["who"].map({"parent": "child", "child": "parent"}))
    _check_scene(swapped)
    assert (roles["person"] == roles["who"].map({"parent": 0, "child": 1})).all()
    assert all(problem.severity == "warning" for problem in problems)


def test_contradictions_about_who_is_who_are_told():
    tracks = _follow(make_boxes())
    points = [[3, 100.0, 200.0, "parent"], [101, 340.0, 200.0, "child"], [5, 1.0, 1.0, "child"]]
    named = pd.DataFrame(points, columns=["frame", "x", "y", "role"])
    roles, problems = assign_roles(tracks, who=WHO, named=named, least_frames=15)
    texts = " ".join(problem.what for problem in problems)
    assert "parted halfway" in texts
    assert "nobody is at (1, 1)" in texts
    own = roles[_is_parent(roles)]
    assert set(own.loc[own["frame"] <= 52, "who"]) == {"parent"}
    assert "child" in set(own.loc[own["frame"] > 52, "who"])
    both = pd.DataFrame([[3, 100.0, 200.0, "child"], [3, 500.0, 250.0, "child"]], columns=["frame", "x", "y", "role"])
    _, problems = assign_roles(tracks, who=WHO, named=both)
    assert any(problem.severity == "error" and "at once" in problem.what for problem in problems)
    _, problems = assign_roles(tracks, who=["child"], named=named[:1])
    assert [problem.severity for problem in problems if "is no role" in problem.what] == ["error"]


def test_one_person_and_further_people():
    alone = make_boxes()
    alone = alone[_is_parent(alone)]
    roles, problems = assign_roles(_follow(alone), who=WHO)
    assert set(roles["who"]) == {"parent"}
    assert [problem.severity for problem in problems] == ["warning"]
    more, _ = assign_roles(_follow(make_boxes()), who=["parent"], least_frames=15)
    assert set(more["who"]) == {"parent", "other1"}
    assert set(more.loc[more["who"] == "other1", "person"]) == {1}
    none, problems = assign_roles(_follow(alone[:0]), who=WHO)
    assert none.empty
    assert len(problems) == 2


def test_false_alarms_take_no_role():
    roles, problems = assign_roles(_follow(make_boxes()), who=[*WHO, "robot"], least_frames=15)
    _check_scene(roles)
    assert set(roles["who"]) == set(WHO)
    assert any("Nobody is 'robot'" in problem.what for problem in problems)
    boxes = make_boxes()
    brief, _ = assign_roles(_follow(boxes[boxes["frame"] < 4]), who=WHO, least_frames=15)
    assert brief.groupby("who").size().to_dict() == {"parent": 4, "child": 4}


def test_patience_ends_a_track():
    boxes = make_boxes()
    boxes = boxes[_is_parent(boxes) & ~boxes["frame"].between(30, 36)]
    assert _follow(boxes, patience=20)["track"].nunique() == 1
    assert _follow(boxes, patience=8)["track"].nunique() == 1
    hasty = _follow(boxes, patience=7)
    assert hasty["track"].nunique() == 2
    assert not hasty["frame"].between(30, 36).any()


def test_frames_of_the_store_show_the_frames_that_were_prepared():
    for fps in (25 / 2, 25.0, 30.0, 25 / 8):
        chosen = list(select_frames(((number / SOURCE_FPS, number) for number in range(40)), fps=fps, count=10))
        assert source_frames(10, fps=fps, source_fps=SOURCE_FPS).clip(max=39).tolist() == chosen


def test_table_of_people_from_files(tmp_path):
    (tmp_path / "boxes/fam01").mkdir(parents=True)
    make_boxes().to_csv(tmp_path / "boxes/fam01/s1.csv", index=False)
    (tmp_path / "roles.csv").write_text("path,frame,x,y,role\nfam01/s1,3,500,250,child\nfam09/s9,3,1,1,child\n")
    settings = PersonSettings(boxes="boxes", roles="roles.csv")
    people, problems = follow_people(make_media(), settings, data=tmp_path, places=PLACES)
    assert any("fam09/s9" in problem.what for problem in problems)
    assert not any(problem.severity == "error" for problem in problems)
    own = people[people["who"] == "parent"].set_index("frame")
    for frame, shown in enumerate(source_frames(75, fps=12.5, source_fps=SOURCE_FPS)):
        if frame in own.index:
            truth = true_box("parent", int(shown)) / np.tile(SIZE, 2)
            assert np.abs(own.loc[frame, CORNERS].to_numpy(np.float64) - truth).max() < 1e-9
    assert own["face_x0"].notna().all()
    assert len(own) >= 74


def test_people_from_skeletons_alone(tmp_path):
    write_skeletons(tmp_path / "poses.pkl")
    settings = PersonSettings(poses="poses.pkl")
    people, problems = follow_people(make_media(), settings, data=tmp_path, places=PLACES)
    assert set(people["who"]) == set(WHO)
    assert not any(problem.severity == "error" for problem in problems)
    shown = source_frames(75, fps=12.5, source_fps=SOURCE_FPS)
    for role in WHO:
        own = people[people["who"] == role]
        truth = np.stack([true_box(role, int(shown[frame])) for frame in own["frame"]]) / np.tile(SIZE, 2)
        shares = [overlaps(one[None], two[None])[0, 0] for one, two in zip(own[CORNERS].to_numpy(), truth, strict=True)]
        assert min(shares) > 0.7


def test_nothing_says_where_people_are(tmp_path):
    with pytest.raises(SettingsError, match="Nothing says where people are"):
        follow_people(make_media(), PersonSettings(), data=tmp_path, places=PLACES)


def test_faults_of_boxes_are_all_told(tmp_path):
    path = tmp_path / "s1.csv"
    path.write_text("frame,x0,y0,x1,y1,score\n0,1,1,5,5,0.9\n1.5,1,1,5,5,\nx,1,1,5,5,1\n2,5,5,1,6,1\n3,1,1,2,2,high\n")
    boxes, problems = read_boxes(path)
    assert boxes.empty
    assert sorted(problem.row for problem in problems) == [3, 4, 5, 6]
    path.write_text("frame,x0,y0\n")
    assert "x1, y1 are missing" in read_boxes(path)[1][0].what
    assert read_boxes(tmp_path / "no.csv")[1][0].severity == "error"
    path.write_text("frame,x0,y0,x1,y1,face_x0,face_y0,face_x1,face_y1\n0,1,1,5,5,2,2,2,3\n")
    boxes, problems = read_boxes(path)
    assert boxes["face_x0"].isna().all()
    assert boxes["score"].isna().all()
    assert problems[0].severity == "warning"


def test_boxes_of_another_video_are_refused():
    far = make_boxes().assign(x0=5000, x1=5100)
    settings = PersonSettings(boxes="boxes")
    people, problems = find_people(
        "s", far, source_size=SIZE, store_fps=25, source_fps=25, frames=10, settings=settings
    )
    assert people.empty
    assert any(problem.severity == "error" for problem in problems)


def test_faults_of_roles_are_all_told(tmp_path):
    path = tmp_path / "roles.csv"
    path.write_text("path,frame,x,y,role\nfam01/s1,1.5,1,1,child\nfam01/s1,1,1,1,uncle\n")
    rows, problems = read_roles(path, WHO)
    assert rows.empty
    assert [problem.row for problem in problems] == [2, 3]


def test_rows_keep_the_contract():
    settings = PersonSettings(boxes="boxes")
    rows, _ = find_people(
        "s", make_boxes(), source_size=SIZE, store_fps=25, source_fps=25, frames=FRAMES, settings=settings
    )
    assert len(tables.check(rows, "people")) == len(rows) > FRAMES
