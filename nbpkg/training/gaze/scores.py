"""How a network does on the validation participants after an epoch, added up frame by frame; no map is kept."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from nbpkg.metrics.gaze.auc import Protocol, auc_box
from nbpkg.metrics.gaze.distance import find_peaks, measure_distances, read_points
from nbpkg.metrics.gaze.inout import measure_average_precision
from nbpkg.training.gaze.losses import Loss

METRICS = ("loss", "heat", "inout", "auc", "distance", "average_precision", "frames", "inside")


@dataclass
class EpochScores:
    """Scores of one pass over validation frames; about 40 bytes a frame.

    Parameters
    ----------
    protocol
        Which published definition the AUC follows, see `nbpkg.metrics.gaze.auc`.
    """

    protocol: Protocol = "vtd"
    _auc: list[NDArray[np.float64]] = field(default_factory=list)
    _distance: list[NDArray[np.float64]] = field(default_factory=list)
    _answer: list[NDArray[np.float64]] = field(default_factory=list)
    _truth: list[NDArray[np.int64]] = field(default_factory=list)
    _sums: list[tuple[float, float]] = field(default_factory=list)

    def add(
        self, heat: torch.Tensor, answer: torch.Tensor | None, *, inside: torch.Tensor, gaze: torch.Tensor, loss: Loss
    ) -> None:
        """Score some frames.

        Parameters
        ----------
        heat
            The network's maps, ``[N, 64, 64]`` or ``[N, 1, 64, 64]``.
        answer
            Its logits or probabilities of inside ``[N]``; None when it does not judge.
        inside
            ``[N]``, 1 inside, 0 outside, -1 unknown.
        gaze
            Gaze points, fractions, ``[N, 2]``.
        loss
            *Sums* over these frames, as of a step of one frame that is inside.
        """
        known = inside.cpu().numpy() >= 0
        looks = inside.cpu().numpy() > 0.5
        maps = heat.detach().float().cpu().numpy().reshape(len(looks), *heat.shape[-2:])[looks]
        points = gaze.cpu().numpy()[looks]
        if looks.any():
            self._auc.append(auc_box(maps, points, protocol=self.protocol))
            self._distance.append(measure_distances(read_points(find_peaks(maps), cells=maps.shape[-1]), points))
        self._truth.append(looks[known].astype(np.int64))
        if answer is not None:
            self._answer.append(answer.detach().float().cpu().numpy().reshape(-1)[known].astype(np.float64))
        self._sums.append((float(loss.heat), float(loss.inout)))

    def summarise(self, *, inout_weight: float) -> dict[str, float]:
        """Return `METRICS`: means over frames inside, precision over all; NaN where undefined, nothing without frames.

        ``auc`` is `nbpkg.metrics.gaze.auc.auc_box`, for pictures with one annotator as well.

        Parameters
        ----------
        inout_weight
            Weight of inside or outside in the loss.
        """
        if not self._truth:
            return {}
        truth, answer = np.concatenate(self._truth), np.concatenate(self._answer or [np.empty(0)])
        inside = int(truth.sum())
        heat = math.fsum(one for one, _ in self._sums) / max(inside, 1)
        inout = math.fsum(two for _, two in self._sums) / max(len(truth), 1)
        precision = measure_average_precision(truth, answer).value if len(answer) == len(truth) else math.nan
        values = (
            heat + inout_weight * inout,
            heat,
            inout,
            _mean(self._auc),
            _mean(self._distance),
            precision,
            float(len(truth)),
            float(inside),
        )
        return dict(zip(METRICS, values, strict=True))


def _mean(parts: list[NDArray[np.float64]]) -> float:
    """Average what is defined; NaN when nothing is."""
    values = np.concatenate([np.empty(0), *parts])
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else math.nan
