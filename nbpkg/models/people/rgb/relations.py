"""Classifier of relations between frames (TRN): pairs, triples, … of frames in their order."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import cast

import numpy as np
import torch
from torch import nn

from nbpkg.errors import SettingsError
from nbpkg.models.people.rgb.blocks import linear

AT_MOST = 3  # relations of a scale that are looked at
HIDDEN = 256
Relation = tuple[int, ...]


def choose_relations(segments: int, choose: Callable[[int, int], list[int]]) -> list[list[Relation]]:
    """Choose which relations of each scale are looked at.

    Parameters
    ----------
    segments
        Frames of a clip.
    choose
        Gets how many relations there are and how many are wanted; returns the positions of those chosen. Asked for
        each scale from ``segments - 1`` down to 2.

    Returns
    -------
    list of list of tuple of int
        For each scale from `segments` down to 2, the frames of each relation.

    Examples
    --------
    >>> choose_relations(4, choose_evenly)
    [[(0, 1, 2, 3)], [(0, 1, 2), (0, 1, 3), (1, 2, 3)], [(0, 1), (0, 3), (2, 3)]]
    """
    chosen: list[list[Relation]] = [[tuple(range(segments))]]
    for scale in range(segments - 1, 1, -1):
        there = list(combinations(range(segments), scale))
        chosen.append([there[position] for position in choose(len(there), min(AT_MOST, len(there)))])
    return chosen


def choose_evenly(there: int, wanted: int) -> list[int]:
    """Choose positions from the first to the last, evenly spaced."""
    return [int(position) for position in np.linspace(0, there - 1, wanted)]


def choose_at_random(there: int, wanted: int) -> list[int]:
    """Draw positions from torch's generator, which training seeds."""
    return cast("list[int]", torch.randperm(there)[:wanted].tolist())


def as_reference(draws: np.random.RandomState) -> Callable[[int, int], list[int]]:
    """Return the draw of the published program, which makes it for its answers, too.

    Parameters
    ----------
    draws
        NumPy's old generator in the state in which that program would have it.
    """
    return lambda there, wanted: cast("list[int]", draws.choice(there, wanted, replace=False).tolist())


class RelationScales(nn.Module):
    """Sum of what small networks say about relations of 2, 3, … frames.

    Parameters
    ----------
    segments
        Frames of a clip.
    classes
        Number of classes.
    """

    def __init__(self, segments: int, classes: int) -> None:
        super().__init__()
        scales = range(segments, 1, -1)
        self.fc_fusion_scales = nn.ModuleList(_score(scale * HIDDEN, classes) for scale in scales)

    def forward(self, frames: torch.Tensor, relations: list[list[Relation]]) -> torch.Tensor:
        """Score frames ``[B, segments, 256]`` as ``[B, classes]``."""
        said = [
            score(frames[:, list(relation)].flatten(1))
            for score, chosen in zip(self.fc_fusion_scales, relations, strict=True)
            for relation in chosen
        ]
        return torch.stack(said).sum(dim=0)


def _score(inputs: int, classes: int) -> nn.Sequential:
    return nn.Sequential(nn.ReLU(), linear(inputs, HIDDEN, std=0.001), nn.ReLU(), linear(HIDDEN, classes, std=0.001))


class RelationHead(nn.Module):
    """Classifier of TRN.

    Parameters
    ----------
    features
        Features of a frame.
    classes
        Number of classes.
    segments
        Frames of a clip, at least 2.
    dropout
        Of the features.

    Attributes
    ----------
    at_test
        Relations that answers look at. Evenly spaced; the published program draws them anew for each answer, so that
        the same clip gets another one each time (`as_reference` brings its draw back).

    Raises
    ------
    SettingsError
        When there is no relation between so few frames.

    Source: Zhou et al., ECCV 2018; entries named as in mmaction2 0.24.
    """

    last = ("cls_head.consensus.fc_fusion_scales.*.3.*",)

    def __init__(self, features: int, classes: int, *, segments: int, dropout: float) -> None:
        super().__init__()
        if segments < 2:
            raise SettingsError(
                f"Relations between frames need at least 2 segments, not {segments}.", remedy="Set segments, e.g. to 8."
            )
        self.segments = segments
        self.dropout = nn.Dropout(dropout)
        self.fc_cls = linear(features, HIDDEN, std=0.001)
        self.consensus = RelationScales(segments, classes)
        self.at_test = choose_relations(segments, choose_evenly)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Score features of frames ``[B, segments, D]`` as ``[B, classes]``."""
        relations = choose_relations(self.segments, choose_at_random) if self.training else self.at_test
        scores: torch.Tensor = self.consensus(self.fc_cls(self.dropout(features)), relations)
        return scores
