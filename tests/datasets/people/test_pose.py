"""Skeletons of a clip: pipelines as published, and what ours does with missing joints and people."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import numpy as np
import pytest

from nbpkg import seeding
from nbpkg.datasets.people.images_crops import Part
from nbpkg.datasets.people.pose import (
    PUBLISHED_SCALE,
    Pose,
    PoseScale,
    arrange_persons,
    compact_pose,
    crop_pose,
    flip_pose,
    normalise_pose,
    pick_frames,
    resize_pose,
)
from nbpkg.datasets.people.pose_maps import PoseMaps, draw_maps, prepare_maps
from nbpkg.datasets.people.pose_streams import make_stream, prepare_long, prepare_runs
from nbpkg.datasets.people.sampling import UniformSampleFrames
from nbpkg.errors import MediaError, SettingsError
from nbpkg.models.people.skeleton.graphs import find_skeleton

GOLDEN = Path(__file__).parents[2] / "golden" / "joint_engagement"
SIZE = (360, 640)
COCO = find_skeleton("coco")


def arrays(name: str) -> dict[str, np.ndarray]:
    with np.load(GOLDEN / f"{name}.npz", allow_pickle=False) as file:
        return dict(file)


def annotate(seed: int, persons: int, *, joints: int = 17, dimensions: int = 2) -> Pose:
    """Walking joints by the rule of the golden README."""
    draws = np.random.default_rng(seed)
    base = draws.uniform([128, 72], [512, 288], (persons, 1, joints, 2))
    keypoint = base + np.cumsum(draws.normal(0, 2, (persons, 60, joints, 2)), axis=1)
    keypoint[:, :, 3] = 0
    if persons > 1:
        keypoint[1, :5] = 0
    if dimensions == 3:
        depth = draws.uniform(0, 4, (persons, 60, joints, 1))
        return Pose(np.concatenate([keypoint, depth], axis=3), None, SIZE)
    score = draws.uniform(0.05, 1, (persons, 60, joints))
    return Pose(keypoint.astype(np.float16), score.astype(np.float16), SIZE)


def get_case(name: str):
    return json.loads((GOLDEN / "pose_open.json").read_text())["cases"][name]


def compare(name: str, found: np.ndarray, *, absolute: float) -> None:
    case, expected = get_case(name), arrays("pose_open")[name]
    assert list(found.shape) == case["shape"]
    assert found.dtype == case["dtype"]
    np.testing.assert_allclose(found.sum(dtype=np.float64), case["sum"], rtol=1e-5)
    np.testing.assert_allclose(np.abs(found).max(), case["absmax"], rtol=1e-5)
    parts = re.findall(r"slice\((.*?)\)", case.get("saved_slice", ""))
    steps = [slice(*(None if item == "None" else int(item) for item in part.split(", "))) for part in parts]
    saved = found[tuple(steps)]
    np.testing.assert_allclose(saved, expected, rtol=1e-5, atol=absolute)


def main_pose() -> Pose:
    data = arrays("pose_open")
    return Pose(data["in_keypoint"], data["in_keypoint_score"], SIZE)


LONG = {
    "gcn_nonorm": (lambda: main_pose(), {}),
    "gcn_posenormalize": (lambda: main_pose(), {"scale": PUBLISHED_SCALE}),
    "gcn_posenormalize_640x360": (lambda: main_pose(), {"scale": PoseScale.of_size(SIZE)}),
    "gcn_one_person_padded": (lambda: arrange_persons(annotate(20, 2), [0, -1], count=1), {}),
    "gcn_three_persons_cut": (lambda: annotate(30, 3), {}),
    "gcn_coco_bone": (lambda: annotate(40, 2), {"stream": "bone"}),
    "gcn_ntu25_bone": (lambda: annotate(50, 2, joints=25, dimensions=3), {"stream": "bone", "layout": "ntu-rgb+d"}),
}


@pytest.mark.parametrize("name", list(LONG))
def test_clips_for_stgcn_are_prepared_as_published(name):
    make, settings = LONG[name]
    values, present = prepare_long(make(), compat="reference", **settings)
    compare(name, values.transpose(3, 1, 2, 0), absolute=1e-4)
    assert present.shape == (2, 300)
    assert present[1].any() == (name != "gcn_one_person_padded")
    assert not present[1, :5].any()


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("posec3d_val", {}),
        ("posec3d_test_double", {"runs": 2, "double": True}),
        ("posec3d_limb", {"joints": False, "limbs": True, "length": 8}),
    ],
)
def test_maps_are_painted_as_published(name, settings):
    compare(name, prepare_maps(main_pose(), PoseMaps(compat="reference", **settings)), absolute=1e-4)


def test_training_maps_are_drawn_as_published():
    draws, integers = np.random.RandomState(5), random.Random(5)
    compare("posec3d_train", draw_maps(main_pose(), draws, integers, PoseMaps(compat="reference")), absolute=1e-4)


def test_the_box_stays_in_the_frame_when_asked():
    frames = UniformSampleFrames(8, test=True).choose(60, seeding.generator(0, "unused"))
    pose = compact_pose(pick_frames(main_pose(), frames), beyond=False)
    compare("compact_no_imgpad", pose.keypoint, absolute=1e-2)
    assert list(pose.size) == get_case("compact_no_imgpad")["img_shape"]


@pytest.mark.parametrize(
    ("name", "stream", "runs"), [("test10", "joint", 10), ("bone", "bone", 1), ("jm", "joint_motion", 1)]
)
def test_runs_for_ctrgcn_are_prepared_as_published(name, stream, runs):
    data = arrays("pyskl_pipeline_open")
    pose = Pose(data["in_keypoint"], data["in_keypoint_score"], SIZE)
    sampling = UniformSampleFrames(100, runs, test=True, portion=(1.0, 1.0))
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    values, present = prepare_runs(pose, np.random.default_rng(0), sampling=sampling, streams=[stream])
    after = np.random.get_state()[1]  # noqa: NPY002
    assert (after == before).all()  # the published sampling seeds it anew
    assert values.shape == (runs, 2, 100, 17, 3)
    assert present.shape == (runs, 2, 100)
    np.testing.assert_allclose(values[:2, :, ::9], data[name], rtol=0, atol=1e-5)


def test_streams_follow_their_rules():
    values = np.random.default_rng(0).normal(size=(2, 5, 17, 3)).astype(np.float32)
    bones = make_stream(values, "bone", COCO.parents, scored=True)
    np.testing.assert_allclose(bones[:, :, 9, :2], (values[:, :, 9] - values[:, :, 7])[..., :2])
    np.testing.assert_allclose(bones[:, :, 9, 2], (values[:, :, 9, 2] + values[:, :, 7, 2]) / 2)
    motion = make_stream(values, "bone_motion", COCO.parents, scored=True)
    np.testing.assert_allclose(motion[:, 1, :, :2], (bones[:, 2] - bones[:, 1])[..., :2], atol=1e-6)
    np.testing.assert_allclose(motion[:, 1, :, 2], (bones[:, 2, :, 2] + bones[:, 1, :, 2]) / 2, atol=1e-6)
    assert (motion[:, -1] == 0).all()
    depth = make_stream(values, "joint_motion", COCO.parents, scored=False)
    np.testing.assert_allclose(depth[:, 0], values[:, 1] - values[:, 0])
    both = prepare_runs(annotate(1, 2), np.random.default_rng(0), streams=["joint", "bone"])
    assert both.values.shape == (1, 2, 100, 17, 6)


def test_three_dimensions_go_through_unscaled():
    pose = annotate(50, 2, joints=25, dimensions=3)
    sampling = UniformSampleFrames(60, test=True)
    values = prepare_runs(pose, np.random.default_rng(0), layout="ntu-rgb+d", sampling=sampling).values
    np.testing.assert_array_equal(values[0], pose.keypoint)


def test_missing_joints_stay_zero_and_so_do_bones_that_need_them():
    pose = annotate(10, 2)  # joint 3 is never found, person 1 comes after 5 frames
    for stream in ("joint", "bone"):
        values, present = prepare_long(pose, frames=60, stream=stream, scale=PoseScale.of_size(SIZE))
        assert not present[1, :5].any()
        assert (values[1, :5] == 0).all()
        joints = (values[0, :, :, :2] == 0).all(axis=(0, 2))
        assert np.flatnonzero(joints).tolist() == [3]
        assert (values[0, :, 3] == 0).all()
    published = prepare_long(pose, frames=60, scale=PUBLISHED_SCALE, compat="reference").values
    assert (published[0, :, 3, :2] == -0.5).all()


def test_scale_follows_the_size_of_the_frames():
    corners = np.array([[0, 0, 0], [640, 360, 1], [320, 180, 0.5]], np.float32)
    scaled = normalise_pose(corners, PoseScale.of_size(SIZE))
    np.testing.assert_allclose(scaled, np.array([[-0.5] * 3, [0.5] * 3, [0] * 3]))
    np.testing.assert_allclose(normalise_pose(corners, PUBLISHED_SCALE)[1, :2], [-1 / 6, -1 / 6], atol=1e-6)


def test_joints_that_were_not_found_leave_no_heat():
    pose = annotate(10, 2)
    ours, published = (prepare_maps(pose, PoseMaps(compat=compat)) for compat in ("none", "reference"))
    assert ours[:, 3].max() == 0
    other = [joint for joint in range(17) if joint != 3]
    assert published[:, 3].max() > 0.1
    np.testing.assert_array_equal(ours[:, other, 8:], published[:, other, 8:])
    even = prepare_maps(pose, PoseMaps(use_score=False, side=32))
    assert even[:, 3].max() == 0
    assert even.max() > 0.6


def test_joints_come_before_limbs_and_a_mirrored_pose_gives_mirrored_limbs():
    pose = annotate(11, 1)
    how = {"length": 4, "side": 24, "compat": "reference"}
    joints, limbs = (prepare_maps(pose, PoseMaps(joints=own, limbs=not own, **how)) for own in (True, False))
    both = prepare_maps(pose, PoseMaps(limbs=True, double=True, **how))
    np.testing.assert_array_equal(both[:1], np.concatenate([joints, limbs], axis=1))
    elbow_left, elbow_right = both[1, 7], both[0, 8]
    shifted = elbow_right[..., ::-1][..., :-1]  # x becomes width - x, one pixel beyond the mirror of pixels
    np.testing.assert_allclose(elbow_left[..., 1:], shifted, atol=2e-3)


def test_persons_take_the_place_of_their_role():
    pose = annotate(30, 3)
    placed = arrange_persons(pose, [2, -1, 0], count=4)
    np.testing.assert_array_equal(placed.keypoint[0], pose.keypoint[2])
    np.testing.assert_array_equal(placed.score[2], pose.score[0])
    values, present = prepare_long(placed, persons=4)
    assert present.any(axis=1).tolist() == [True, False, True, False]
    assert (values[1] == 0).all()
    with pytest.raises(MediaError, match="Place 3 is taken"):
        prepare_long(pose)
    with pytest.raises(MediaError, match="Place 3 is taken"):
        prepare_runs(pose, np.random.default_rng(0))
    for places in ([0, 1], [0, 0, 1], [0, 1, 2]):
        with pytest.raises(MediaError, match="cannot take the places"):
            arrange_persons(pose, places, count=2)


def test_geometry_moves_joints_as_it_would_pixels():
    pose = Pose(np.array([[[[10.0, 20.0], [0.0, 0.0], [30.0, 5.0]]]]), np.array([[[0.1, 0.2, 0.3]]]), (40, 100))
    cropped = crop_pose(pose, Part(5, 2, 50, 30))
    assert cropped.size == (30, 50)
    np.testing.assert_allclose(cropped.keypoint[0, 0], [[5, 18], [-5, -2], [25, 3]])
    resized = resize_pose(pose, (50, 80), keep_ratio=False)
    np.testing.assert_allclose(resized.keypoint[0, 0], [[5, 40], [0, 0], [15, 10]])
    flipped = flip_pose(pose, [(0, 2)])
    np.testing.assert_allclose(flipped.keypoint[0, 0], [[70, 5], [0, 0], [90, 20]])
    np.testing.assert_allclose(flipped.score[0, 0], [0.3, 0.2, 0.1])
    tight = compact_pose(pose, ratio=None)
    assert tight.size == (18, 25)  # 20 x 15 widened by a quarter, cut to whole pixels
    assert compact_pose(pose, threshold=16).size == (40, 100)
    empty = Pose(np.full((1, 2, 3, 2), np.nan), None, (40, 100))
    assert compact_pose(empty) is empty
    assert (empty.keypoint == 0).all()


def test_the_same_draws_give_the_same_maps():
    pose, how = annotate(12, 2), PoseMaps(length=4, side=24, train_side=16)
    made = [draw_maps(pose, seeding.generator(seed, "maps"), random.Random(seed), how) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(made[0], made[1])
    assert made[0].shape == (1, 17, 4, 16, 16)
    assert not np.array_equal(made[0], made[2])


def test_what_is_no_skeleton_is_refused():
    with pytest.raises(MediaError, match="no skeletons of a clip"):
        Pose(np.zeros((2, 5, 17)), None, SIZE)
    with pytest.raises(MediaError, match=r"with scores \(2, 4, 17\)"):
        Pose(np.zeros((2, 5, 17, 2)), np.zeros((2, 4, 17)), SIZE)
    with pytest.raises(MediaError, match="no skeletons of a clip"):
        Pose(np.zeros((2, 0, 17, 2)), None, SIZE)
    pose = annotate(13, 1)
    with pytest.raises(MediaError, match="Frames 0 to 60 were chosen"):
        pick_frames(pose, [0, 60])
    with pytest.raises(MediaError, match="17 joints, layout 'ntu-rgb"):
        prepare_long(pose, layout="ntu-rgb+d")
    with pytest.raises(MediaError, match="25 joints in 3 dimensions cannot be painted"):
        prepare_maps(annotate(50, 2, joints=25, dimensions=3), PoseMaps())
    with pytest.raises(SettingsError, match="Nothing can be painted"):
        PoseMaps(joints=False)
    with pytest.raises(SettingsError, match="no stream 'velocity'"):
        prepare_runs(pose, np.random.default_rng(0), streams=["velocity"])
