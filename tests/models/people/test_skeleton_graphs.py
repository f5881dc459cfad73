"""Adjacency of skeletons, as published and with true distances."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nbpkg.errors import SettingsError
from nbpkg.models.people.skeleton.graphs import SKELETONS, Skeleton, find_skeleton, stack_adjacency
from nbpkg.models.people.skeleton.msg3d import stack_hops

GOLDEN = Path(__file__).parents[2] / "golden" / "joint_engagement"
OURS = {"agcn": "directed"}


def test_adjacency_is_the_published_one():
    with np.load(GOLDEN / "pose_open.npz", allow_pickle=False) as file:
        graphs = {name: file[name] for name in file.files if name.startswith("graph|")}
    assert len(graphs) >= 6
    for name, expected in graphs.items():
        _, layout, partition = name.split("|")
        stack = stack_adjacency(layout, OURS.get(partition, partition))
        assert stack.dtype == np.float32
        np.testing.assert_array_equal(stack, expected, err_msg=name)


@pytest.mark.parametrize("layout", list(SKELETONS))
@pytest.mark.parametrize("partition", ["spatial", "tree_spatial"])
def test_true_distances_part_towards_from_away(layout, partition):
    capped, true = (stack_adjacency(layout, partition, distances=how) for how in ("capped", "true"))
    np.testing.assert_allclose(capped.sum(axis=0), true.sum(axis=0))
    np.testing.assert_allclose(true.sum(axis=(0, 1)), 1, rtol=1e-6)
    if partition == "tree_spatial":  # in a tree each neighbour is nearer one way and farther the other
        assert ((true[2] > 0) == (true[1] > 0).T).all()
        assert (true[2] > 0).sum() == find_skeleton(layout).joints - 1


def test_nearly_everything_falls_into_one_matrix_as_published():
    assert [(part > 0).sum() for part in stack_adjacency("coco", "spatial")] == [17, 34, 4]
    assert (stack_adjacency("coco", "spatial", distances="true")[2] > 0).sum() == 16


def test_hops_are_exact_and_end_where_the_skeleton_ends():
    line = Skeleton("line", 4, ((1, 0), (2, 1), (3, 2)), ((1, 0), (2, 1), (3, 2)), 0, (0, 0, 1, 2))
    stack = stack_hops(stack_adjacency(line, "binary")[0], 6)
    apart = np.abs(np.subtract.outer(np.arange(4), np.arange(4)))
    for hops, matrix in enumerate(stack):
        assert ((matrix > 0) == ((apart == hops) | (apart == 0))).all()
        np.testing.assert_allclose(matrix.sum(axis=0), 1)


def test_tables_of_joints_agree_with_themselves():
    for skeleton in SKELETONS.values():
        order = dict([*skeleton.mirror, *((right, left) for left, right in skeleton.mirror)])
        swap = [order.get(joint, joint) for joint in range(skeleton.joints)]
        edges = {frozenset(edge) for edge in skeleton.edges}
        assert {frozenset(swap[joint] for joint in edge) for edge in edges} == edges, skeleton.name
        limbs = {frozenset(limb) for limb in skeleton.limbs}
        assert {frozenset(swap[joint] for joint in limb) for limb in limbs} == limbs, skeleton.name
        for joint in range(skeleton.joints):  # every bone leads to a joint that has none
            seen = set()
            while skeleton.parents[joint] != joint:
                assert joint not in seen, skeleton.name
                seen.add(joint)
                joint = skeleton.parents[joint]


def test_what_is_no_skeleton_is_refused():
    with pytest.raises(SettingsError, match="no skeleton 'coco-18'"):
        find_skeleton("coco-18")
    with pytest.raises(SettingsError, match="no partition 'agcn'"):
        stack_adjacency("coco", "agcn")
    with pytest.raises(SettingsError, match="2 problems.*\n.*edges of skeleton 'x' names joint 3.*\n.*1 parents"):
        Skeleton("x", 2, ((3, 0),), (), 0, (0,))
