"""Grad-CAM of clips with several views: one class for the clip, a map for each view, one scale for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torchvision.models.video.mvit import MViT
from torchvision.models.video.swin_transformer import SwinTransformer3d

from nbpkg.attention.explain.gradcam import gradcam
from nbpkg.attention.explain.layers import FramewiseNet
from nbpkg.attention.explain.passes import as_clip, at_rest
from nbpkg.attention.maps import Values, enlarge
from nbpkg.errors import ExplainError
from nbpkg.models.people.rgb.networks import SegmentNetwork
from nbpkg.models.people.rgb.timesformer import TimeSformer
from nbpkg.models.people.rgb.views import Averaging, average_views

LAYER = "backbone/layer4/1/relu"  # the published default
Scale = Literal["clip", "view"]
_INSIDE = "network."  # how parts of the network are named in its wrapping


@dataclass(frozen=True, eq=False)
class ViewMaps:
    """Where a network looks in the views of a clip.

    Parameters
    ----------
    values
        float32 ``[views, T, H, W]``, at the size of the views, at least 0, comparable between views.
    target
        The class explained.
    scores
        Averaged score or probability of each class, float64 ``[classes]``.
    views
        Which views of the clip these are.
    """

    values: Values
    target: int
    scores: NDArray[np.float64]
    views: tuple[int, ...]

    def scaled(self, scale: Scale = "clip") -> Values:
        """Bring the maps to 0..1.

        Parameters
        ----------
        scale
            ``clip``: the smallest value of all views becomes 0, the largest 1. ``view``: the same for each view on its
            own, as published; brightness then says nothing about other views.

        Returns
        -------
        ndarray
            float32 ``[views, T, H, W]``; 0 where all values are the same, as nothing stands out.
        """
        if scale not in ("clip", "view"):
            raise ExplainError(f"Maps have no scale {scale!r}.", expected="'clip' or 'view'.")
        axes = (0, 1, 2, 3) if scale == "clip" else (1, 2, 3)
        low = self.values.min(axis=axes, keepdims=True)
        spread = self.values.max(axis=axes, keepdims=True) - low
        found: Values = (self.values - low) / np.where(spread > 0, spread, np.float32(1))
        return found


def explain_views(
    network: nn.Module,
    views: torch.Tensor,
    *,
    layer: str = LAYER,
    average: Averaging = "prob",
    target: int | None = None,
    only: int | None = None,
    at_once: int = 4,
) -> ViewMaps:
    """Explain a clip by Grad-CAM, a few views at a time.

    The score explained is that of the clip: the class's score averaged over all views. Network and views are left as
    they were.

    Parameters
    ----------
    network
        Gives raw scores ``[N, classes]``: a classifier of `nbpkg.models.people.rgb`, or any module that takes views as
        stated below.
    views
        Normalised views of one clip, ``[views, 3, T, H, W]``; for a `SegmentNetwork` ``[views, S, 3, H, W]``.
    layer
        Path of the layer, its parts divided by ``/`` or ``.``; empty for the last one that is laid out over space. Of
        SlowFast one of the two pathways is chosen by it. Tokens of transformers are laid out, without class token.
    average
        How the views' scores are averaged: ``prob`` or ``score``.
    target
        The class; None for the one with the highest averaged score.
    only
        Explain this view alone; the class still is that of the whole clip. None explains all.
    at_once
        Views in the network at once, which need memory for their gradients; of torchvision's transformers one.

    Returns
    -------
    ViewMaps
        Maps at the size of the views.

    Raises
    ------
    ExplainError
        When views, layer or class do not fit the network.

    Source
    ------
    mmaction2 0.24.1, ``GradCAM``: weight of a channel and time step is the mean gradient over its places. There all
    views are in memory at once with all gradients, the views are changed on the way, and transformers fail.
    """
    chosen = _choose_views(views, only)
    if average not in ("prob", "score") or at_once < 1:
        raise ExplainError(
            f"Views have no average {average!r}, or cannot be computed {at_once} at once.",
            expected="'prob' or 'score', and at least one view.",
        )
    scores = _average_scores(network, views, average, at_once)
    if target is not None and not 0 <= target < len(scores):
        raise ExplainError(f"The network knows no class {target}.", expected=f"0 to {len(scores) - 1}.")
    best = int(scores.argmax()) if target is None else target
    together = 1 if _lays_out_itself(network) else at_once
    maps = []
    for start in range(0, len(chosen), together):
        part = views[list(chosen[start : start + together])]
        found = _explain(network, part, average, best, layer)
        share = np.float32(len(part) / len(views))  # of this part in the average over all views
        maps += [enlarge(share * one, _size(network, part), "trilinear") for one in np.split(found, len(part))]
    return ViewMaps(np.stack(maps), best, scores, chosen)


class _OneView(nn.Module):
    """A network whose parts lay themselves out (see `nbpkg.attention.explain.layers`): one view at a time."""

    def __init__(self, network: nn.Module, average: Averaging) -> None:
        super().__init__()
        self.network, self.average = network, average

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        return average_views(self.network(clips), 1, self.average)


class _JoinedViews(FramewiseNet):
    """A network that takes views as one clip, one behind the other, and gives their averaged scores.

    All views of a call are computed in one batch, as published: where a unit is all but at rest, sums in another order
    can switch its gradient on or off.
    """

    def __init__(self, network: nn.Module, views: int, average: Averaging) -> None:
        super().__init__()
        self.network, self.views, self.average = network, views, average

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        views = clips[0].unflatten(1, (self.views, -1)).transpose(0, 1)
        scores = self.network(views.transpose(1, 2) if isinstance(self.network, SegmentNetwork) else views)
        return average_views(scores, len(scores), self.average)

    def lay_out(self, output: torch.Tensor) -> torch.Tensor:
        """Lay out maps of views or frames, or tokens, as those of one clip, ``[1, C, views * T', H', W']``."""
        if isinstance(self.network, SegmentNetwork):
            return output.transpose(0, 1).unsqueeze(0) if output.ndim == 4 else output
        backbone = getattr(self.network, "backbone", None)
        if isinstance(backbone, TimeSformer):
            frames, rows, columns = backbone.grid
            if output.ndim != 3 or output.shape[1] != 1 + frames * rows * columns:
                return output
            output = output[:, 1:].unflatten(1, (rows, columns, frames)).permute(0, 4, 3, 1, 2)
        return output.transpose(0, 1).flatten(1, 2).unsqueeze(0) if output.ndim == 5 else output


def _lays_out_itself(network: nn.Module) -> bool:
    return any(isinstance(part, SwinTransformer3d | MViT) for part in network.modules())


def _join(network: nn.Module, views: torch.Tensor) -> torch.Tensor:
    """Return views as one clip ``[3, views * T, H, W]``."""
    ordered = views.transpose(1, 2) if isinstance(network, SegmentNetwork) else views
    return ordered.transpose(0, 1).flatten(1, 2)


def _size(network: nn.Module, views: torch.Tensor) -> tuple[int, int, int]:
    """Return frames, height and width of a view."""
    frames = views.shape[1] if isinstance(network, SegmentNetwork) else views.shape[2]
    return frames, views.shape[3], views.shape[4]


def _choose_views(views: torch.Tensor, only: int | None) -> tuple[int, ...]:
    if views.ndim != 5 or not len(views) or not views.is_floating_point():
        raise ExplainError(
            f"A {views.dtype} tensor of shape {list(views.shape)} cannot be explained.",
            expected="Views of one clip, floating-point [views, 3, T, H, W]; of single frames [views, S, 3, H, W].",
            remedy="Take one clip of the batch, and normalise it as the network was trained.",
        )
    if only is not None and not 0 <= only < len(views):
        raise ExplainError(f"The clip has no view {only}.", expected=f"0 to {len(views) - 1}.")
    return tuple(range(len(views))) if only is None else (only,)


def _explain(network: nn.Module, views: torch.Tensor, average: Averaging, target: int, layer: str) -> Values:
    """Return maps of views as coarse as the layer, one behind the other."""
    path = _INSIDE + layer.replace("/", ".") if layer else ""
    scored = _OneView(network, average) if _lays_out_itself(network) else _JoinedViews(network, len(views), average)
    try:
        return gradcam(scored, _join(network, views), targets=[target], layer=path, weights="frame")[target].values
    except ExplainError as error:  # the reader's network has no such wrapping
        what, expected = (text.replace(_INSIDE, "") for text in (error.what, error.expected))
        where = error.where.replace(_INSIDE, "").replace(type(scored).__name__, type(network).__name__)
        raise ExplainError(what, where=where, expected=expected, remedy=error.remedy) from None


def _average_scores(network: nn.Module, views: torch.Tensor, average: Averaging, at_once: int) -> NDArray[np.float64]:
    with at_rest(network), torch.no_grad():
        parts = [network(torch.stack([as_clip(network, view) for view in part])) for part in views.split(at_once)]
    scores = torch.cat(parts).double()
    found: NDArray[np.float64] = average_views(scores, len(scores), average)[0].cpu().numpy()
    return found
