"""What gaze-target networks are trained to lower; defined also when nobody looks inside the frame.

Source: attention-target-detection (Chong et al., 2020), ``train_on_videoatttarget.py``; gazelle (Ryan et al., 2025),
``scripts/train_vat.py``. There a batch without any target inside the frame divides 0 by 0, and the next step turns the
weights into NaN for good; here its heat-map term is 0.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F

from nbpkg.errors import DivergedError

HEAT_SCALE = 10_000.0
INOUT_WEIGHT = 100.0  # of the published main model; 0 for the published benchmark, which learns the heat map alone


class Whole(NamedTuple):
    """What a step's losses are means over, also when they are worked out part by part.

    Parameters
    ----------
    frames
        Frames of the step, times persons, of which it is known whether the target is inside.
    inside
        How many of them have their target inside the frame.
    """

    frames: int
    inside: int


class Loss(NamedTuple):
    """The losses of a step, or the share of one of its parts: shares add up to the whole.

    Parameters
    ----------
    heat
        Heat-map term; 0 when no target is inside.
    inout
        Cross entropy of inside or outside, before it is weighted; nats.
    total
        What is lowered.
    """

    heat: torch.Tensor
    inout: torch.Tensor
    total: torch.Tensor


def count_whole(inside: torch.Tensor) -> Whole:
    """Count the frames of a step ``[N]`` (1 inside, 0 outside, -1 unknown) and those with their target inside."""
    return Whole(int((inside >= 0).sum()), int((inside > 0.5).sum()))


def vtd_loss(
    heat: torch.Tensor,
    logit: torch.Tensor,
    maps: torch.Tensor,
    inside: torch.Tensor,
    *,
    whole: Whole,
    inout_weight: float = INOUT_WEIGHT,
) -> Loss:
    """Work out the losses of VTD: squared error of the map inside the frame, cross entropy of inside or outside.

    Parameters
    ----------
    heat
        The network's maps, ``[N, 64, 64]`` or ``[N, 1, 64, 64]``.
    logit
        Its scores of inside, ``[N]`` or ``[N, 1]``.
    maps
        Target maps ``[N, 64, 64]``, peak 1.
    inside
        1 where the target is inside the frame, 0 outside, -1 unknown (not learnt from); ``[N]``.
    whole
        Of the step that these frames are a part of.
    inout_weight
        Weight of the cross entropy in the total; 100 as published, 0 for the heat map alone.

    Returns
    -------
    Loss
        ``heat``: the mean over a map of 10,000 times the squared error, averaged over the frames inside.
    """
    errors = HEAT_SCALE * (heat.reshape(maps.shape).to(maps.dtype) - maps).square().mean(dim=(-2, -1))
    return _combine(errors, _cross_entropy(logit.reshape(inside.shape), inside), inside, whole, inout_weight)


def gazelle_loss(
    heat: torch.Tensor,
    score: torch.Tensor | None,
    maps: torch.Tensor,
    inside: torch.Tensor,
    *,
    whole: Whole,
    inout_weight: float = 1.0,
) -> Loss:
    """Work out the losses of Gaze-LLE: cross entropy of the map inside the frame, and of inside or outside.

    Parameters
    ----------
    heat
        The network's maps, probabilities ``[N, 64, 64]``.
    score
        Its probabilities of inside ``[N]``; None for a network that does not judge it.
    maps, inside, whole
        As in `vtd_loss`.
    inout_weight
        Weight of the cross entropy of inside or outside in the total.
    """
    own = heat.reshape(maps.shape).to(maps.dtype)
    errors = _map_entropy(own, maps).mean(dim=(-2, -1))
    judged = (
        torch.zeros_like(errors)
        if score is None
        else _map_entropy(score.to(inside.dtype).reshape(inside.shape), inside.clamp(min=0))
    )
    return _combine(errors, judged, inside, whole, inout_weight)


def check_finite(loss: float, *, epoch: int, step: int, kept: Path) -> None:
    """Stop a training before it steps on a loss that is no number.

    Parameters
    ----------
    loss
        The total of the step.
    epoch, step
        Which one, both from 1.
    kept
        The last good checkpoint.

    Raises
    ------
    DivergedError
        When the loss is not finite.
    """
    if math.isfinite(loss):
        return
    raise DivergedError(
        f"The loss is {loss} in epoch {epoch}, training step {step}.",
        where=f"the last good checkpoint is {kept}" if kept.is_file() else "before the first checkpoint",
        expected="Finite numbers; a step in which nobody looks inside the frame has a finite loss, too.",
        remedy="Lower learning_rate, or look for frames or weights that are not finite.",
    )


def _cross_entropy(logit: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    return F.binary_cross_entropy_with_logits(logit.to(inside.dtype), inside.clamp(min=0), reduction="none")


def _map_entropy(chance: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Cross entropy of probabilities; NaN stays NaN, at which torch would end the process on a GPU."""
    with torch.autocast(chance.device.type, enabled=False):  # torch refuses it in mixed precision
        safe = torch.nan_to_num(chance, nan=0.5).clamp(0, 1)
        value = F.binary_cross_entropy(safe, wanted, reduction="none")
    return torch.where(chance.isnan(), torch.nan, value)


def _combine(
    errors: torch.Tensor, judged: torch.Tensor, inside: torch.Tensor, whole: Whole, inout_weight: float
) -> Loss:
    """Average over the whole step; multiplied by 0, a NaN of a frame outside is still seen before it is stepped on."""
    heat = (errors * (inside > 0.5)).sum() / max(whole.inside, 1)
    inout = (judged * (inside >= 0)).sum() / max(whole.frames, 1)
    return Loss(heat, inout, heat + inout_weight * inout if inout_weight else heat)
