"""Networks over skeletons, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, get_args

from numpy.typing import NDArray

from nbpkg.errors import SettingsError
from nbpkg.models.people.families import SkeletonName
from nbpkg.models.people.skeleton.agcn import Agcn
from nbpkg.models.people.skeleton.ctrgcn import CtrGcn
from nbpkg.models.people.skeleton.graphs import Distances, Partition, Skeleton, find_skeleton, stack_adjacency
from nbpkg.models.people.skeleton.msg3d import MsG3d
from nbpkg.models.people.skeleton.network import Backbone, Compat, Head, SkeletonNetwork
from nbpkg.models.people.skeleton.stgcn import FirstStGcn, StGcn, StGcnPlusPlus

BLOCKS = (4, 3, 3)


class _Kind(NamedTuple):
    """How a network is built: class, graph, width, and whether its head is a convolution."""

    backbone: Callable[..., Backbone]
    partition: Partition
    width: int = 64
    as_convolution: bool = False


_KINDS: Mapping[str, _Kind] = MappingProxyType(
    {
        "ctr_gcn": _Kind(CtrGcn, "directed"),
        "st_gcn_pp": _Kind(StGcnPlusPlus, "directed"),
        "st_gcn": _Kind(StGcn, "tree_spatial"),
        "st_gcn_first": _Kind(FirstStGcn, "spatial", as_convolution=True),
        "agcn": _Kind(Agcn, "directed", as_convolution=True),
        "ms_g3d": _Kind(MsG3d, "binary", width=96),
    }
)


def build_skeleton_network(
    name: SkeletonName,
    *,
    classes: int,
    layout: str | Skeleton = "coco",
    channels: int = 3,
    persons: int = 2,
    width: int | None = None,
    blocks: Sequence[int] | None = None,
    distances: Distances = "capped",
    compat: Compat = "none",
) -> SkeletonNetwork:
    """Build a network over skeletons with initial weights, which follow from torch's seed.

    It takes keypoints ``[N, M, T, V, C]`` and says who is there (see `SkeletonNetwork.forward`).

    Parameters
    ----------
    name
        ``ctr_gcn``, ``st_gcn_pp`` (ST-GCN++), ``st_gcn`` and ``ms_g3d`` with the keys of PYSKL; ``st_gcn_first`` and
        ``agcn`` (one stream of 2s-AGCN) with those of mmaction2.
    classes
        How many, at least 1.
    layout
        Skeleton or its name.
    channels
        Values per joint: x, y and score, or x, y, z.
    persons
        Places of persons of ``ctr_gcn`` and ``ms_g3d``, whose data norm has one for each: give each role its place. The
        other networks take any number.
    width
        Channels of the first stage; ``None`` is as published, 64 (``ms_g3d`` 96).
    blocks
        Blocks of each stage; ``None`` is as published, 4, 3, 3. Not for ``ms_g3d``, which always has three stages.
    distances
        Of the graph of ``st_gcn`` and ``st_gcn_first``, see `stack_adjacency`; ``capped`` is as published.
    compat
        ``reference``: absent people count as zeros, as published.

    Returns
    -------
    SkeletonNetwork
        In training mode, on the CPU.

    Raises
    ------
    SettingsError
        When there is no such network, or it cannot have this size.
    """
    if name not in _KINDS:
        raise SettingsError(
            f"There is no network over skeletons {name!r}.",
            expected=f"One of {', '.join(get_args(SkeletonName))}.",
            remedy="Correct the setting.",
        )
    kind, skeleton = _KINDS[name], find_skeleton(layout)
    _check_sizes(name, kind, blocks, classes=classes, channels=channels, persons=persons, width=width)
    graph = stack_adjacency(skeleton, kind.partition, distances=distances)
    backbone = _build_backbone(
        kind, graph, channels=channels, width=width or kind.width, blocks=blocks or BLOCKS, persons=persons
    )
    head = Head(backbone.out_channels, classes, as_convolution=kind.as_convolution)
    return SkeletonNetwork(backbone, head, joints=skeleton.joints, channels=channels, persons=persons, compat=compat)


def _build_backbone(
    kind: _Kind, graph: NDArray, *, channels: int, width: int, blocks: Sequence[int], persons: int
) -> Backbone:
    if kind.backbone is MsG3d:
        return MsG3d(graph, channels=channels, width=width, persons=persons)
    if kind.backbone is CtrGcn:
        return CtrGcn(graph, channels=channels, width=width, blocks=blocks, persons=persons)
    return kind.backbone(graph, channels=channels, width=width, blocks=blocks)


def _check_sizes(
    name: str,
    kind: _Kind,
    blocks: Sequence[int] | None,
    *,
    classes: int,
    channels: int,
    persons: int,
    width: int | None,
) -> None:
    sizes = {
        "classes": classes,
        "channels": channels,
        "persons": persons,
        "width": kind.width if width is None else width,
    }
    wrong = [f"{size} {number}" for size, number in sizes.items() if number < 1]
    if wrong:
        raise SettingsError(
            f"A network over skeletons cannot have {', '.join(wrong)}.",
            expected="Whole numbers from 1.",
            remedy="Correct the setting.",
        )
    if blocks is not None and kind.backbone is MsG3d:
        raise SettingsError(
            f"{name} always has three stages, its blocks cannot be chosen.",
            expected="No blocks.",
            remedy="Leave blocks out, or choose another network.",
        )
