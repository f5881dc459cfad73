"""Skeletons: which joints there are, which are neighbours, and the adjacency matrices of graph networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from nbpkg.errors import Problem, SettingsError, raise_all

Partition = Literal["uniform", "distance", "spatial", "tree_spatial", "directed", "binary"]
Distances = Literal["capped", "true"]
Pairs = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Skeleton:
    """Joints of a person by number from 0, and how they hang together.

    Parameters
    ----------
    name
        Name of the layout.
    joints
        How many there are.
    edges
        Neighbours (child, parent) of the graph of ST-GCN and 2s-AGCN.
    tree
        Neighbours (child, parent) of the graph of CTR-GCN, ST-GCN++ and MS-G3D; for COCO it is another one.
    centre
        The joint from which distance is counted.
    parents
        For each joint the one from which its bone starts; a joint that is its own parent has no bone.
    mirror
        Pairs (left, right).
    limbs
        Segments (joint, joint) that are painted as limbs.

    Raises
    ------
    SettingsError
        When a number is no joint of this skeleton, or a joint has no parent.

    Examples
    --------
    >>> line = ((1, 0), (2, 1))
    >>> Skeleton("arm", 3, line, line, 0, (0, 0, 1)).joints
    3
    """

    name: str
    joints: int
    edges: Pairs
    tree: Pairs
    centre: int
    parents: tuple[int, ...]
    mirror: Pairs = ()
    limbs: Pairs = ()

    def __post_init__(self) -> None:
        problems = [
            Problem(f"{field} of skeleton {self.name!r} names joint {joint}.", f"A number below {self.joints}.")
            for field, numbers in (
                ("edges", sum(self.edges, ())),
                ("tree", sum(self.tree, ())),
                ("centre", (self.centre,)),
                ("parents", self.parents),
                ("mirror", sum(self.mirror, ())),
                ("limbs", sum(self.limbs, ())),
            )
            for joint in numbers
            if not 0 <= joint < self.joints
        ]
        if len(self.parents) != self.joints:
            count = f"Skeleton {self.name!r} has {self.joints} joints and {len(self.parents)} parents."
            problems.append(Problem(count, "One parent for each joint."))
        raise_all(problems, SettingsError, summary="a skeleton cannot be used")


def _count_from_one(*pairs: tuple[int, int]) -> Pairs:
    return tuple((child - 1, parent - 1) for child, parent in pairs)


# fmt: off
_COCO = Skeleton(
    "coco", 17,
    edges=_count_from_one(
        (16, 14), (14, 12), (17, 15), (15, 13), (12, 13), (6, 12), (7, 13), (6, 7), (8, 6), (9, 7), (10, 8), (11, 9),
        (2, 3), (2, 1), (3, 1), (4, 2), (5, 3), (4, 6), (5, 7),
    ),
    tree=(
        (15, 13), (13, 11), (16, 14), (14, 12), (11, 5), (12, 6), (9, 7), (7, 5), (10, 8), (8, 6), (5, 0), (6, 0),
        (1, 0), (3, 1), (2, 0), (4, 2),
    ),
    centre=0,
    parents=(0, 0, 0, 1, 2, 0, 0, 5, 6, 7, 8, 0, 0, 11, 12, 13, 14),
    mirror=((1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16)),
    limbs=(
        (0, 1), (0, 2), (1, 3), (2, 4), (0, 5), (5, 7), (7, 9), (0, 6), (6, 8), (8, 10), (5, 11), (11, 13), (13, 15),
        (6, 12), (12, 14), (14, 16), (11, 12),
    ),
)
_NTU_EDGES = _count_from_one(
    (1, 2), (2, 21), (3, 21), (4, 3), (5, 21), (6, 5), (7, 6), (8, 7), (9, 21), (10, 9), (11, 10), (12, 11), (13, 1),
    (14, 13), (15, 14), (16, 15), (17, 1), (18, 17), (19, 18), (20, 19), (22, 23), (23, 8), (24, 25), (25, 12),
)
_NTU = Skeleton(
    "ntu-rgb+d", 25, edges=_NTU_EDGES, tree=_NTU_EDGES, centre=20,
    parents=(1, 20, 20, 2, 20, 4, 5, 6, 20, 8, 9, 10, 0, 12, 13, 14, 0, 16, 17, 18, 20, 22, 7, 24, 11),
    mirror=(
        (4, 8), (5, 9), (6, 10), (7, 11), (21, 23), (22, 24), (12, 16), (13, 17), (14, 18), (15, 19),
    ),
    limbs=_NTU_EDGES,
)
_OPENPOSE_EDGES = (
    (4, 3), (3, 2), (7, 6), (6, 5), (13, 12), (12, 11), (10, 9), (9, 8), (11, 5), (8, 2), (5, 1), (2, 1), (0, 1),
    (15, 0), (14, 0), (17, 15), (16, 14),
)
_OPENPOSE = Skeleton(
    "openpose-18", 18, edges=_OPENPOSE_EDGES, tree=_OPENPOSE_EDGES, centre=1,
    parents=(0, 0, 1, 2, 3, 1, 5, 6, 2, 8, 9, 5, 11, 12, 0, 0, 14, 15),
    mirror=((5, 2), (6, 3), (7, 4), (11, 8), (12, 9), (13, 10), (15, 14), (17, 16)),
    limbs=_OPENPOSE_EDGES,
)
# fmt: on

SKELETONS: Mapping[str, Skeleton] = MappingProxyType({item.name: item for item in (_COCO, _NTU, _OPENPOSE)})


def find_skeleton(layout: str | Skeleton) -> Skeleton:
    """Return a skeleton by its name, or the one given.

    Parameters
    ----------
    layout
        ``coco`` (17 joints), ``ntu-rgb+d`` (25), ``openpose-18``, or a skeleton of one's own.

    Returns
    -------
    Skeleton
        The skeleton.

    Raises
    ------
    SettingsError
        When there is none of this name.
    """
    if isinstance(layout, Skeleton):
        return layout
    if layout not in SKELETONS:
        raise SettingsError(
            f"There is no skeleton {layout!r}.",
            expected=f"One of {', '.join(SKELETONS)}, or a Skeleton.",
            remedy="Correct the layout, or describe your joints as a Skeleton.",
        )
    return SKELETONS[layout]


def stack_adjacency(
    layout: str | Skeleton, partition: Partition, *, distances: Distances = "capped"
) -> NDArray[np.float32]:
    """Make the adjacency matrices of a skeleton; entry ``[j, i]`` leads from joint i to joint j.

    Parameters
    ----------
    layout
        A skeleton or its name.
    partition
        ``uniform``: one matrix, neighbours and the joint itself. ``distance``: itself, neighbours. ``spatial``: itself,
        neighbours that are as far from the centre or farther, nearer neighbours. ``tree_spatial``: the same on the
        skeleton's `tree`. ``directed``: itself, towards the parent, towards the child. ``binary``: neighbours in the
        tree, not normalised.
    distances
        For the spatial partitions: ``capped`` as published, where all joints beyond one step from the centre count as
        equally far, so that nearly everything falls into the middle matrix; ``true`` counts the steps.

    Returns
    -------
    numpy.ndarray
        float32 ``(K, V, V)``; but for ``binary`` every matrix is part of one whose columns sum to 1.

    Raises
    ------
    SettingsError
        When there is no such skeleton, partition or way to count.

    Source
    ------
    ST-GCN (Yan et al. 2018), 2s-AGCN (Shi et al. 2019) as in mmaction2 0.24.1 and PYSKL; `distances` ``true`` is ours.
    """
    _check_choice("partition", partition, get_args(Partition))
    _check_choice("distances", distances, get_args(Distances))
    skeleton = find_skeleton(layout)
    edges = skeleton.edges if partition in ("uniform", "distance", "spatial") else skeleton.tree
    if partition == "directed":
        return _direct(skeleton)
    if partition == "binary":
        return _link(skeleton.joints, edges)[None]
    itself = np.eye(skeleton.joints, dtype=np.float32)
    linked = np.maximum(_link(skeleton.joints, edges), itself)
    normal = normalise_columns(linked)
    if partition == "uniform":
        return normal[None]
    if partition == "distance":
        return np.stack([normal * itself, normal * (1 - itself)])
    steps = _count_steps(linked, skeleton.centre, limit=1 if distances == "capped" else skeleton.joints)
    nearer = (steps[:, None] < steps[None, :]).astype(np.float32)
    others = normal * (1 - itself)
    return np.stack([normal * itself, others * (1 - nearer), others * nearer])


def normalise_columns(matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    """Divide each column by its sum; a column of zeros stays."""
    sums = matrix.sum(axis=-2, keepdims=True)
    shares = np.divide(1.0, sums, out=np.zeros_like(sums), where=sums > 0)
    return np.asarray(matrix * shares, dtype=np.float32)


def _direct(skeleton: Skeleton) -> NDArray[np.float32]:
    inward = np.zeros((skeleton.joints, skeleton.joints), dtype=np.float32)
    for child, parent in skeleton.tree:
        inward[parent, child] = 1
    itself = np.eye(skeleton.joints, dtype=np.float32)
    return np.stack([itself, normalise_columns(inward), normalise_columns(inward.T)])


def _link(joints: int, edges: Pairs) -> NDArray[np.float32]:
    linked = np.zeros((joints, joints), dtype=np.float32)
    for child, parent in edges:
        linked[child, parent] = linked[parent, child] = 1
    return linked


def _count_steps(linked: NDArray[np.float32], start: int, *, limit: int) -> NDArray[np.float64]:
    """Return the steps from a joint along neighbours; infinite beyond the limit."""
    steps = np.full(len(linked), np.inf)
    reached = np.arange(len(linked)) == start
    for step in range(limit + 1):
        steps[reached & np.isinf(steps)] = step
        reached = linked @ reached > 0
    return steps


def _check_choice(what: str, chosen: str, known: Sequence[str]) -> None:
    if chosen not in known:
        raise SettingsError(
            f"There is no {what} {chosen!r}.", expected=f"One of {', '.join(known)}.", remedy="Correct the setting."
        )
