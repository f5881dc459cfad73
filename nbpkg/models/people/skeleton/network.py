"""A network over skeletons as a whole: who is there, data norm, graph convolutions, one answer per clip."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

from nbpkg.errors import WeightsError
from nbpkg.models.people.skeleton.agcn import Agcn
from nbpkg.models.people.skeleton.ctrgcn import CtrGcn
from nbpkg.models.people.skeleton.msg3d import MsG3d
from nbpkg.models.people.skeleton.stgcn import FirstStGcn, StGcn, StGcnPlusPlus

Compat = Literal["none", "reference"]
Backbone = FirstStGcn | StGcn | StGcnPlusPlus | Agcn | CtrGcn | MsG3d
HEAD_STD = 0.01


class Head(nn.Module):
    """Scores of classes from pooled features.

    Parameters
    ----------
    features, classes
        How many.
    as_convolution
        Whether the weights are those of a 1x1 convolution, key ``fc``, else of a linear layer, key ``fc_cls``.
    """

    def __init__(self, features: int, classes: int, *, as_convolution: bool) -> None:
        super().__init__()
        self.name = "fc" if as_convolution else "fc_cls"
        layer = nn.Conv2d(features, classes, 1) if as_convolution else nn.Linear(features, classes)
        nn.init.normal_(layer.weight, std=HEAD_STD)
        torch.nn.init.zeros_(layer.get_parameter("bias"))
        self.add_module(self.name, layer)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return scores ``[N, classes]`` of ``[N, D]``."""
        layer = getattr(self, self.name)
        return F.linear(features, layer.weight.flatten(1), layer.bias)


class SkeletonNetwork(nn.Module):
    """Any graph network over the skeletons of several people.

    Parameters
    ----------
    backbone
        Features of one person's skeleton.
    head
        Scores from features.
    joints, channels, persons
        What comes in: joints per person, values per joint, and places of persons where the data norm has one for each.
    compat
        ``none``: only people who are there count, in the average, in statistics of batch norm, and frame by frame.
        ``reference``: every place counts, also one filled with zeros.

    Source
    ------
    Keys and layers are those of mmaction2 0.24.1 and PYSKL, whose average is over two places whoever is there.
    """

    def __init__(
        self, backbone: Backbone, head: Head, *, joints: int, channels: int, persons: int, compat: Compat = "none"
    ) -> None:
        super().__init__()
        self.backbone, self.cls_head = backbone, head
        self.joints, self.channels, self.persons, self.compat = joints, channels, persons, compat

    def forward(self, keypoints: torch.Tensor, present: torch.Tensor | None = None) -> torch.Tensor:
        """Return raw scores of classes.

        Parameters
        ----------
        keypoints
            ``[N, M, T, V, C]``: clips, persons, frames, joints, values. Views of one clip are clips of their own; their
            scores are averaged afterwards. `arrange_published` brings other orders into this one.
        present
            Bool ``[N, M]`` or ``[N, M, T]``: who is there, and when. ``None``: whoever has a joint not at (0, 0). What
            stands where nobody is, has no influence.

        Returns
        -------
        torch.Tensor
            ``[N, classes]``. Of a clip in which nobody is there, the head's bias.

        Raises
        ------
        WeightsError
            When the shapes do not fit the network.
        """
        there = self._find_present(keypoints, present)
        features = self._embed(keypoints, there)
        someone = there.any(dim=2)
        count = someone.sum(dim=1, keepdim=True).clamp(min=1)
        scores: torch.Tensor = self.cls_head(features.sum(dim=1) / count)
        return scores

    def embed(self, keypoints: torch.Tensor, present: torch.Tensor | None = None) -> torch.Tensor:
        """Return the features of each person, before persons are averaged.

        Parameters
        ----------
        keypoints, present
            As for `forward`.

        Returns
        -------
        torch.Tensor
            ``[N, M, D]``; 0 for who is not there.
        """
        return self._embed(keypoints, self._find_present(keypoints, present))

    def _embed(self, keypoints: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
        someone = there.any(dim=2)
        pooled = keypoints.new_zeros(*someone.shape, self.backbone.out_channels)
        if not someone.any():
            return pooled
        normal = self._normalise(keypoints.flatten(3), there)[someone]
        values = normal.unflatten(2, (self.joints, self.channels)).permute(0, 3, 1, 2).contiguous()
        features = self.backbone(values).mean(dim=3)
        weights = F.adaptive_max_pool1d(there[someone][:, None].to(features.dtype), features.shape[-1])
        pooled[someone] = ((features * weights).sum(dim=2) / weights.sum(dim=2)).to(pooled.dtype)
        return pooled

    def _normalise(self, values: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
        """Apply the data norm to ``[N, M, T, V * C]`` where somebody is; the rest is 0."""
        normal = torch.zeros_like(values)
        norm, width = self.backbone.data_bn, values.shape[-1]
        if not self.backbone.per_place:
            normal[there] = norm(values[there]).to(normal.dtype)
            return normal
        if self.training and norm.num_batches_tracked is not None:
            norm.num_batches_tracked.add_(1)
        mean, variance = norm.get_buffer("running_mean"), norm.get_buffer("running_var")
        for place in range(values.shape[1]):
            own, part = there[:, place], slice(place * width, (place + 1) * width)
            if own.any():
                scaled = F.batch_norm(
                    values[:, place][own], mean[part], variance[part], norm.weight[part], norm.bias[part], self.training
                )
                normal[:, place][own] = scaled.to(normal.dtype)
        return normal

    def _find_present(self, keypoints: torch.Tensor, present: torch.Tensor | None) -> torch.Tensor:
        """Check what came in and return bool ``[N, M, T]``."""
        shape = tuple(keypoints.shape)
        most = self.persons if self.backbone.per_place else max(shape[1:2], default=0)
        if len(shape) != 5 or shape[3:] != (self.joints, self.channels) or not 1 <= shape[1] <= most:
            limit = f"at most {self.persons}" if self.backbone.per_place else "any number of"
            raise WeightsError(
                f"Keypoints of shape {shape} do not fit the network.",
                expected=f"(clips, {limit} persons, frames, {self.joints} joints, {self.channels} values).",
                remedy="Build the network for this layout, or arrange the keypoints.",
            )
        if present is not None and tuple(present.shape) not in (shape[:2], shape[:3]):
            raise WeightsError(
                f"Who is there, of shape {tuple(present.shape)}, does not fit keypoints of shape {shape}.",
                expected=f"{shape[:2]} or {shape[:3]}.",
                remedy="Say for each person, or for each person and frame.",
            )
        if self.compat == "reference":
            return torch.ones(shape[:3], dtype=torch.bool, device=keypoints.device)
        if present is None:
            return (keypoints[..., :2] != 0).flatten(3).any(dim=3)
        return (present if present.ndim == 3 else present[..., None]).expand(shape[:3]).bool()


def arrange_published(values: torch.Tensor, order: Literal["NCTVM", "NKMTVC"]) -> torch.Tensor:
    """Bring the published orders of axes into ours, ``[N, M, T, V, C]``.

    Parameters
    ----------
    values
        Keypoints.
    order
        ``NCTVM``: clips, values, frames, joints, persons, as mmaction2 has it. ``NKMTVC``: clips, views, persons,
        frames, joints, values, as PYSKL has it; views become clips, all of one clip after each other.

    Returns
    -------
    torch.Tensor
        The same numbers.

    Raises
    ------
    WeightsError
        When the number of axes is another.
    """
    if values.ndim != len(order):
        raise WeightsError(
            f"Keypoints of shape {tuple(values.shape)} do not have the axes {order}.",
            expected=f"{len(order)} axes.",
            remedy="Name the order the keypoints have.",
        )
    return values.permute(0, 4, 2, 3, 1) if order == "NCTVM" else values.flatten(0, 1)
