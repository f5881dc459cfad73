"""The made-up people: complete, repeatable, readable by the rooms that read such files, and with the planted truth."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest

from nbpkg.annotations.people.clips import read_clips
from nbpkg.annotations.people.skeletons import read_skeletons
from nbpkg.features.people.boxes import read_boxes
from nbpkg.features.people.tokens import read_rows
from nbpkg.sample.joint_engagement import VERSION, make_sample
from nbpkg.sample.people_files import detect
from nbpkg.sample.people_film import draw_pictures, stage_scene
from nbpkg.sample.people_rule import RATERS, ROLES, STEPS, plan_meeting
from nbpkg.sample.record import is_made
from nbpkg.settings.people import PeopleAnnotationSettings

SEED, FAMILIES, WINDOWS = 3, 2, 12


@pytest.fixture(scope="module")
def sample(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "sample"
    make_sample(folder, seed=SEED, families=FAMILIES, windows=WINDOWS)
    return folder


@pytest.fixture(scope="module")
def many():
    return [plan_meeting(number, SEED, windows=400) for number in range(1, 6)]


def hashes(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_same_seed_gives_same_bytes_and_all_are_recorded(sample, tmp_path):
    make_sample(tmp_path / "again", seed=SEED, families=FAMILIES, windows=WINDOWS)
    found = hashes(sample)
    assert hashes(tmp_path / "again") == found
    record = json.loads((sample / "sample.json").read_text())
    assert {file["path"]: file["sha256"] for file in record["files"]} == {
        name: value for name, value in found.items() if name != "sample.json"
    }
    facts = {"version": VERSION, "seed": SEED, "families": FAMILIES, "windows": WINDOWS}
    assert is_made(sample, facts)
    assert not is_made(sample, facts | {"windows": WINDOWS + 1})


def test_clips_get_the_planned_classes_from_two_raters(sample):
    settings = PeopleAnnotationSettings(ratings="ratings.csv", raters=list(RATERS[:2]))
    found = read_clips(sample, settings)
    assert [problem for problem in found.problems if problem.severity == "error"] == []
    truth = pd.read_csv(sample / "truth" / "windows.csv")
    assert len(found.clips) == FAMILIES * WINDOWS
    assert found.clips["recording"].nunique() == found.clips["family"].nunique() == FAMILIES
    wanted = truth["engagement"].map({"low": 0, "medium": 1, "high": 2})
    assert found.clips["label"].tolist() == wanted.tolist()
    third = pd.read_csv(sample / "ratings.csv").pivot_table(index="clip", columns="rater", values="rating")
    assert len(third) == FAMILIES * WINDOWS
    assert third.notna().all(axis=None)


def test_films_are_as_long_as_their_windows(sample):
    for path in sorted(sample.glob("videos/*/*.mp4")):
        with av.open(str(path)) as container:
            assert sum(1 for _ in container.decode(video=0)) == WINDOWS * STEPS


def test_boxes_name_nobody_and_miss_somebody_now_and_then(sample):
    for number in range(1, FAMILIES + 1):
        meeting = plan_meeting(number, SEED, windows=WINDOWS)
        scene = stage_scene(meeting, SEED)
        boxes, problems = read_boxes(sample / "boxes" / f"{meeting.name}.csv")
        assert [problem for problem in problems if problem.severity == "error"] == []
        sure = boxes[boxes["score"] >= 0.5]
        seen = np.isfinite(detect(meeting, scene, SEED))
        assert sure.groupby("frame").size().tolist() == seen.sum(axis=0).tolist()
        assert sure.groupby("frame")["score"].agg(lambda own: own.is_monotonic_decreasing).all()
        first = sure.drop_duplicates("frame")["x0"]
        assert first.diff().abs().gt(20).any()  # somebody else is the surest


def test_skeletons_follow_the_boxes_and_move_only_hands(sample):
    skeletons, samples, problems = read_skeletons(sample / "poses.pkl")
    assert problems == []
    assert len(samples) == FAMILIES
    for number, skeleton in enumerate(skeletons, start=1):
        meeting = plan_meeting(number, SEED, windows=WINDOWS)
        scene = stage_scene(meeting, SEED)
        assert skeleton.clip == meeting.name
        assert not skeleton.roles
        seen = (skeleton.keypoints != 0).any(axis=(2, 3))
        assert seen.sum() == np.isfinite(detect(meeting, scene, SEED)).sum()
        joints, boxes = scene.joints(), scene.boxes()
        assert np.array_equal(joints.astype(np.float16).astype(np.float64), joints)
        inside = (joints >= boxes[:, :, None, :2]) & (joints <= boxes[:, :, None, 2:])
        assert inside.all()
        own = joints - boxes[:, :, None, :2]
        still = np.ptp(own, axis=1).max(axis=-1) == 0
        assert np.flatnonzero(~still.all(axis=0)).tolist() == [9, 10]


def test_roles_are_named_once_by_a_point_inside_the_right_box(sample):
    roles = pd.read_csv(sample / "roles.csv")
    for number in range(1, FAMILIES + 1):
        meeting = plan_meeting(number, SEED, windows=WINDOWS)
        boxes = stage_scene(meeting, SEED).boxes()[:, 0]
        own = roles[roles["path"] == f"{meeting.name}.mp4"]
        assert own["role"].tolist() == list(ROLES)
        for box, point in zip(boxes, own[["x", "y"]].to_numpy(), strict=True):
            assert (point > box[:2]).all()
            assert (point < box[2:]).all()


def test_voices_are_heard_by_each_ones_microphone(sample):
    meeting = plan_meeting(1, SEED, windows=WINDOWS)
    rows, problems = read_rows(sample / "audio" / f"{meeting.name}.csv")
    assert problems == []
    assert rows is not None
    for person, role in enumerate(ROLES):
        own = np.array(rows.roles) == role
        pitch = rows.features[own, rows.names.index("pitch")].reshape(WINDOWS, STEPS, -1).mean(axis=-1)
        assert np.array_equal(np.sign(np.round((pitch - 0.5) / 0.3)), meeting.voices[:, person])


def test_lamps_show_in_the_film_and_hands_do_not():
    meeting = plan_meeting(1, SEED, windows=WINDOWS)
    scene = stage_scene(meeting, SEED)
    pictures = np.stack(list(draw_pictures(scene))).astype(np.float64)
    hands = scene.hands.copy()
    scene.hands[:] = -hands
    assert np.array_equal(np.stack(list(draw_pictures(scene))), pictures)
    boxes = scene.boxes().round().astype(int)
    for person in range(len(ROLES)):
        bright = np.array(
            [pictures[frame, y0:y1, x0:x1].mean() for frame, (x0, y0, x1, y1) in enumerate(boxes[person])]
        )
        lit = scene.lit[person]
        assert bright[lit].min() > bright[~lit].max()


def test_shares_of_classes_are_those_planned(many):
    shares = np.bincount(np.concatenate([one.engagement for one in many]), minlength=3) / 2000
    assert shares == pytest.approx([0.2, 0.495, 0.305], abs=0.04)


def test_single_signs_say_nothing_and_relations_say_all(many):
    voices, arms, lights = (
        np.concatenate([getattr(one, name) for one in many]) for name in ("voices", "arms", "lights")
    )
    invites, good, responds = (
        np.concatenate([getattr(one, name) for one in many]) for name in ("invites", "good", "responds")
    )
    for person in range(len(ROLES)):
        for signs in (voices[invites][:, person], arms[invites][:, person]):
            counts = (signs > 0).sum(axis=1)
            assert abs(np.corrcoef(counts, good[invites])[0, 1]) < 0.1
        assert abs(np.corrcoef(lights[:, person].sum(axis=1), responds)[0, 1]) < 0.08
    same = (voices == arms).sum(axis=2)[invites]
    assert np.isin(same, (STEPS, 0)).all()
    assert ((same == STEPS) == good[invites][:, None]).all()
    for other in (0, 2):
        assert (((lights[:, other] == lights[:, 1]).sum(axis=1) == STEPS) == responds).all()


def test_engagement_keeps_the_last_invitation_in_mind(many):
    for one in many:
        last = False
        for window, level in enumerate(one.engagement):
            last = bool(one.good[window]) if one.invites[window] else last
            assert level == int(last) + int(one.responds[window])
