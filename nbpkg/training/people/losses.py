"""What networks over people are trained to lower, and what a head reports beside it.

Source: mmaction2 0.24.1, ``models/losses`` and ``models/heads/base.py``; the focal loss as in Multipar-T (Lin et al.,
ICCV 2017). There, class weights were never used although a twelfth of the clips had the rarest label.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch.nn import functional as F

from nbpkg.errors import SettingsError

LossName = Literal["cross_entropy", "focal"]
NO_LABEL = -1


def cross_entropy(
    scores: torch.Tensor, labels: torch.Tensor, *, class_weights: torch.Tensor | None = None, weight: float = 1.0
) -> torch.Tensor:
    """Work out the softmax cross entropy.

    Parameters
    ----------
    scores
        Logits ``[N, C]``.
    labels
        Classes ``[N]``, or shares of classes ``[N, C]`` (soft labels).
    class_weights
        ``[C]``; the mean is then weighted, and of soft labels divided by the sum of weight times share.
    weight
        Of the whole loss.

    Returns
    -------
    torch.Tensor
        A number, nats.
    """
    if labels.shape != scores.shape:
        return weight * F.cross_entropy(scores, labels, weight=class_weights)
    chances = F.log_softmax(scores, dim=1)
    if class_weights is None:
        return -weight * (labels * chances).sum(dim=1).mean()
    shares = labels * class_weights
    return -weight * (shares * chances).sum() / shares.sum()


def binary_cross_entropy(
    scores: torch.Tensor, labels: torch.Tensor, *, class_weights: torch.Tensor | None = None, weight: float = 1.0
) -> torch.Tensor:
    """Work out the cross entropy of each class by itself, for clips with several labels.

    Parameters
    ----------
    scores
        Logits ``[N, C]``.
    labels
        ``[N, C]``, 1 where a class applies.
    class_weights
        ``[C]``; the mean is still over all of N times C.
    weight
        Of the whole loss.

    Returns
    -------
    torch.Tensor
        A number, nats.
    """
    return weight * F.binary_cross_entropy_with_logits(scores, labels, weight=class_weights)


def smooth_labels(labels: torch.Tensor, share: float) -> torch.Tensor:
    """Give a share of each label ``[N, C]`` to all C classes alike."""
    return (1 - share) * labels + share / labels.shape[1]


def focal_loss(
    scores: torch.Tensor,
    labels: torch.Tensor,
    *,
    gamma: float,
    class_weights: torch.Tensor | None = None,
    ignore: int = -100,
) -> torch.Tensor:
    """Work out the focal loss: cross entropy of which that of clips already known counts less.

    Parameters
    ----------
    scores
        Logits ``[N, C]``.
    labels
        Classes ``[N]``.
    gamma
        0 is cross entropy; the published values are 2 and 10.
    class_weights
        ``[C]``, of each clip's loss; the mean is over clips, not over weights.
    ignore
        Label of clips that do not count.

    Returns
    -------
    torch.Tensor
        A number; 0 when no clip counts.
    """
    counted = labels != ignore
    each = _focal(scores[counted], labels[counted], gamma, class_weights)
    return each.sum() / counted.sum().clamp(min=1)


def head_loss(
    scores: torch.Tensor,
    labels: torch.Tensor,
    *,
    ranks: Sequence[int] = (1, 3),
    several: bool = False,
    smoothing: float = 0.0,
    binary: bool = False,
    class_weights: torch.Tensor | None = None,
    weight: float = 1.0,
) -> dict[str, torch.Tensor]:
    """Work out what a classifier's head reports of a batch.

    Parameters
    ----------
    scores
        Logits ``[N, C]``.
    labels
        Classes ``[N]``, soft labels, or several labels ``[N, C]``.
    ranks
        For which k the share of clips with their label among the k highest scores is told, where each has one.
    several
        Whether clips have several labels.
    smoothing
        Share of several labels that all classes get.
    binary
        Whether each class is judged by itself, see `binary_cross_entropy`.
    class_weights, weight
        As for the loss.

    Returns
    -------
    dict
        ``top{k}_acc`` and ``loss_cls``; see `add_up_losses`.
    """
    found = {}
    if not several and labels.shape != scores.shape:
        order = scores.detach().argsort(dim=1, stable=True)  # among equal scores the higher class ranks higher
        for rank in ranks:
            found[f"top{rank}_acc"] = (order[:, -rank:] == labels[:, None]).any(dim=1).double().mean()
    if several and smoothing:
        labels = smooth_labels(labels, smoothing)
    measure = binary_cross_entropy if binary else cross_entropy
    return {**found, "loss_cls": measure(scores, labels, class_weights=class_weights, weight=weight)}


def add_up_losses(entries: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Add up the entries of a head whose name contains ``loss``.

    Parameters
    ----------
    entries
        As from `head_loss`, of any number of heads.

    Raises
    ------
    SettingsError
        When none is a loss.
    """
    losses = [value for name, value in entries.items() if "loss" in name]
    if not losses:
        raise SettingsError(
            f"None of {', '.join(entries) or 'no entries'} is a loss.",
            expected="At least one entry whose name contains loss.",
            remedy="Name the loss so.",
        )
    return torch.stack(losses).sum()


def balance_classes(counts: Sequence[int]) -> torch.Tensor:
    """Weigh classes so that all count alike: N / (C n_c), by how often each occurs in training.

    Parameters
    ----------
    counts
        Clips of each class.

    Returns
    -------
    torch.Tensor
        float32 ``[C]``; 0 for a class that does not occur, of which nothing can be learnt.

    Raises
    ------
    SettingsError
        When there is no clip.

    Examples
    --------
    >>> balance_classes([1, 3, 0]).tolist()
    [1.3333333730697632, 0.4444444477558136, 0.0]
    """
    total = sum(counts)
    if not counts or min(counts) < 0 or not total:
        raise SettingsError(
            f"Classes occur {list(counts)} times.",
            expected="Counts of clips, at least one of them above 0.",
            remedy="Look at the labels of the training clips.",
        )
    return torch.tensor([total / (len(counts) * count) if count else 0.0 for count in counts])


@dataclass(frozen=True)
class LabelLoss:
    """A loss that can be added up part by part: a sum over labels, and what it is to be divided by.

    Parameters
    ----------
    name
        ``cross_entropy`` or ``focal``.
    class_weights
        One for each class, see `balance_classes`; None for all alike. Cross entropy is divided by the sum of weights of
        the labels, the focal loss by their number.
    gamma
        Of the focal loss.

    Raises
    ------
    SettingsError
        When there is no such loss, or a value is out of range.
    """

    name: LossName = "cross_entropy"
    class_weights: tuple[float, ...] | None = None
    gamma: float = 2.0

    def __post_init__(self) -> None:
        wrong = "" if self.name in get_args(LossName) else f"There is no loss {self.name!r}."
        if not 0 <= self.gamma < float("inf"):
            wrong = f"gamma is {self.gamma}."
        if self.class_weights is not None and not all(0 <= one < float("inf") for one in self.class_weights):
            wrong = f"Class weights are {self.class_weights}."
        if wrong:
            raise SettingsError(
                wrong,
                expected=f"One of {', '.join(get_args(LossName))}; gamma and class weights from 0.",
                remedy="Correct the setting.",
            )

    def add_up(self, scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the sum over labels ``[N]`` of the (weighted) losses of scores ``[N, C]``."""
        weights = self._weights(scores)
        if self.name == "focal":
            return _focal(scores, labels, self.gamma, weights).sum()
        return F.cross_entropy(scores, labels, weight=weights, reduction="sum")

    def measure(self, labels: torch.Tensor) -> float:
        """Return what the sum over all labels ``[N]`` is divided by."""
        if self.name == "focal" or self.class_weights is None:
            return float(labels.numel())
        return float(torch.tensor(self.class_weights, device=labels.device)[labels].sum())

    def _weights(self, scores: torch.Tensor) -> torch.Tensor | None:
        return None if self.class_weights is None else torch.tensor(self.class_weights).to(scores)


def _focal(
    scores: torch.Tensor, labels: torch.Tensor, gamma: float, class_weights: torch.Tensor | None
) -> torch.Tensor:
    """Return the focal loss of each clip; the gradient of a chance of 1 to a power below 1 would be infinite."""
    chances = F.log_softmax(scores, dim=1)
    own = chances.gather(1, labels[:, None])[:, 0]
    missing = -torch.expm1(own)
    if 0 < gamma < 1:
        missing = missing.clamp(min=torch.finfo(missing.dtype).tiny)
    return missing**gamma * F.nll_loss(chances, labels, weight=class_weights, reduction="none")
