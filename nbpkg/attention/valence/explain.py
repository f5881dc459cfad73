"""Which second of which modality moves a network's answer, and how long it takes.

Three questions to one trained network about one recording. Covering asks what happens without a piece; it needs no
gradient and says by how much the answer moves. Integrated gradients share the answer's distance from that to an empty
recording among all seconds; shares add up to it and have a sign. The lag profile covers single seconds and looks when
the answer moves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from nbpkg.attention.explain.passes import at_rest
from nbpkg.attention.valence.covering import Arrays, Asked, Fill, Flags, Span, answer, change_by_covering, prepare
from nbpkg.errors import ExplainError

COLUMNS = ["step", "modality", "value"]


@dataclass(frozen=True)
class Attributed:
    """Integrated gradients, and whether they account for the answer.

    Parameters
    ----------
    importance
        Columns step, modality, value (signed).
    difference
        Mean answer to the recording less that to the baseline.
    accounted
        Sum of all values; with enough steps the same.
    """

    importance: pd.DataFrame
    difference: float
    accounted: float

    @property
    def error(self) -> float:
        """How far values miss the difference, in units of the answer."""
        return abs(self.difference - self.accounted)


def occlude(
    network: nn.Module,
    inputs: Arrays,
    present: Flags | None = None,
    *,
    modalities: Sequence[str] | None = None,
    window_steps: int = 5,
    stride: int = 5,
    fill: Fill = "mean",
    batch_size: int = 16,
) -> pd.DataFrame:
    """Cover each modality block by block and see how much the answer moves.

    Parameters
    ----------
    network
        One of `nbpkg.models.valence`, trained; left as it was.
    inputs
        Modality to features ``[T, D]`` of one recording, prepared as for the network.
    present
        Modality to flags ``[T]``; ``None``: all seconds are there.
    modalities
        Which to cover; ``None``: all that the network and the recording have.
    window_steps, stride
        Length of a block in steps, and steps from one to the next, not more than its length.
    fill
        ``mean``: the mean second of the recording stands in a block's place; ``missing``: the network is told that
        nothing is there.
    batch_size
        Covers per pass; it changes memory and speed only.

    Returns
    -------
    pandas.DataFrame
        step, modality, value: the mean absolute change of the answer over the recording when the block is covered,
        divided by the seconds of the block, and averaged over the blocks that hold the step.

    Raises
    ------
    ExplainError
        When sizes are out of range, or the recording does not fit the network.

    Source
    ------
    Zeiler and Fergus, ECCV 2014, over time instead of space.
    """
    _check_at_least_one({"window_steps": window_steps, "stride": stride, "batch_size": batch_size})
    _check_covered(window_steps, stride)
    names = _choose(network, inputs, modalities)
    asked = prepare(network, inputs, present, modalities=names)
    spans = [(first, min(first + window_steps, asked.steps)) for first in range(0, asked.steps, stride)]
    tables = []
    for name in names:
        changes = change_by_covering(network, asked, modality=name, spans=spans, fill=fill, batch_size=batch_size)
        tables.append(_tabulate(name, _spread(np.abs(changes).mean(axis=1), spans, asked.steps)))
    return pd.concat(tables, ignore_index=True)


def integrated_gradients(
    network: nn.Module,
    inputs: Arrays,
    present: Flags | None = None,
    *,
    modalities: Sequence[str] | None = None,
    steps: int = 32,
    baseline: Literal["mean", "zero"] = "mean",
    batch_size: int = 16,
) -> Attributed:
    """Share the mean answer's distance from that to an empty recording among all seconds of all modalities.

    Parameters
    ----------
    network, inputs, present, modalities
        As for `occlude`; modalities that are not chosen stay as they are.
    steps
        Points on the straight line from the baseline (Gauss-Legendre).
    baseline
        ``mean``: the recording's mean second throughout; ``zero``: 0, which after standardising is the mean of the
        training sessions. Missing seconds get 0.
    batch_size
        Points per pass; it changes memory and speed only.

    Returns
    -------
    Attributed
        Values summed over features, and what they should add up to.

    Raises
    ------
    ExplainError
        As `occlude`.

    Source
    ------
    Sundararajan et al., ICML 2017; of the mean answer over the recording.
    """
    _check_at_least_one({"steps": steps, "batch_size": batch_size})
    names = _choose(network, inputs, modalities)
    asked = prepare(network, inputs, present, modalities=names)
    starts = {name: _start(asked, name, baseline) for name in names}
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    shares, weights = (nodes + 1) / 2, weights / 2
    with at_rest(network):
        sums = {name: torch.zeros_like(item, dtype=torch.float64) for name, item in starts.items()}
        for first in range(0, steps, batch_size):
            chosen = slice(first, first + batch_size)
            for name, slope in _slopes(network, asked, starts, shares[chosen], weights[chosen]).items():
                sums[name] += slope
        ends = [_mean_answer(network, asked, starts, np.array([share])) for share in (0.0, 1.0)]
    found = {name: (sums[name] * (asked.inputs[name] - starts[name])).sum(dim=1).cpu().numpy() for name in names}
    return Attributed(
        pd.concat([_tabulate(name, value) for name, value in found.items()], ignore_index=True),
        float(ends[1] - ends[0]),
        float(sum(value.sum() for value in found.values())),
    )


def lag_profile(
    network: nn.Module,
    inputs: Arrays,
    present: Flags | None = None,
    *,
    modalities: Sequence[str] | None = None,
    lags: Sequence[int] = tuple(range(16)),
    fill: Fill = "mean",
    stride: int = 1,
    batch_size: int = 16,
) -> pd.DataFrame:
    """Cover single seconds and see how many seconds later the answer moves.

    Parameters
    ----------
    network, inputs, present, modalities, fill, batch_size
        As for `occlude`.
    lags
        Seconds from the covered one to the answer; negative ones are answers given before, by networks that look ahead.
    stride
        Covers every so many-th second; more is quicker and noisier.

    Returns
    -------
    pandas.DataFrame
        modality, lag, change: mean absolute change of the answer that many seconds after a covered second, over all
        seconds that are there and have such an answer; NaN where there is none.

    Raises
    ------
    ExplainError
        As `occlude`.
    """
    _check_at_least_one({"stride": stride, "batch_size": batch_size})
    names = _choose(network, inputs, modalities)
    asked = prepare(network, inputs, present, modalities=names)
    rows = []
    for name in names:
        there = np.flatnonzero(asked.present[name].cpu().numpy())[::stride]
        spans = [(int(second), int(second) + 1) for second in there]
        changes = change_by_covering(network, asked, modality=name, spans=spans, fill=fill, batch_size=batch_size)
        for lag in lags:
            later = there + lag
            inside = np.flatnonzero((later >= 0) & (later < asked.steps))
            change = np.abs(changes[inside, later[inside]]).mean() if len(inside) else np.nan
            rows.append({"modality": name, "lag": lag, "change": float(change)})
    return pd.DataFrame(rows, columns=["modality", "lag", "change"])


def _choose(network: nn.Module, inputs: Arrays, modalities: Sequence[str] | None) -> list[str]:
    if modalities is not None:
        return list(modalities)
    return [name for name in network.modalities if name in inputs]  # type: ignore[union-attr]


def _check_at_least_one(sizes: Mapping[str, int]) -> None:
    wrong = [f"{name} = {value}" for name, value in sizes.items() if value < 1]
    if wrong:
        raise ExplainError(f"The network cannot be asked with {', '.join(wrong)}.", expected="At least 1.")


def _check_covered(window_steps: int, stride: int) -> None:
    if stride > window_steps:
        raise ExplainError(
            f"Blocks of {window_steps} steps every {stride} steps leave seconds uncovered.",
            expected="A stride not above the block's length.",
            remedy="Lower the stride.",
        )


def _spread(changes: NDArray[np.float64], spans: Sequence[Span], steps: int) -> NDArray[np.float64]:
    """Give every step its part of each block's change, averaged over the blocks that hold it."""
    value, covers = np.zeros(steps), np.zeros(steps)
    for (first, end), change in zip(spans, changes, strict=True):
        value[first:end] += change / (end - first)
        covers[first:end] += 1
    return value / covers


def _tabulate(modality: str, value: NDArray[np.float64]) -> pd.DataFrame:
    return pd.DataFrame({"step": np.arange(len(value)), "modality": modality, "value": value}, columns=COLUMNS)


def _start(asked: Asked, modality: str, baseline: Literal["mean", "zero"]) -> torch.Tensor:
    if baseline == "mean":
        return asked.rest(modality)
    return torch.zeros_like(asked.inputs[modality])


def _on_the_way(
    asked: Asked, starts: dict[str, torch.Tensor], shares: NDArray[np.float64]
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Return features ``[B, T, D]`` at shares of the way from the baseline, and flags."""
    inputs = {name: item.expand(len(shares), -1, -1) for name, item in asked.inputs.items()}
    for name, start in starts.items():
        share = torch.as_tensor(shares, dtype=start.dtype, device=start.device)[:, None, None]
        inputs[name] = torch.lerp(start.expand_as(inputs[name]), inputs[name], share)
    return inputs, {name: item.expand(len(shares), -1) for name, item in asked.present.items()}


def _slopes(
    network: nn.Module,
    asked: Asked,
    starts: dict[str, torch.Tensor],
    shares: NDArray[np.float64],
    weights: NDArray[np.float64],
) -> dict[str, torch.Tensor]:
    """Return weighted sums ``[T, D]`` of the mean answer's gradients at some points of the line."""
    inputs, present = _on_the_way(asked, starts, shares)
    asked_for = [inputs[name].requires_grad_() for name in starts]
    total = answer(network, inputs, present).mean(dim=1).sum()
    slopes = torch.autograd.grad(total, asked_for, materialize_grads=True)
    scale = torch.as_tensor(weights, device=total.device)[:, None, None]
    return {name: (slope.double() * scale).sum(dim=0) for name, slope in zip(starts, slopes, strict=True)}


def _mean_answer(
    network: nn.Module, asked: Asked, starts: dict[str, torch.Tensor], shares: NDArray[np.float64]
) -> float:
    with torch.no_grad():
        return float(answer(network, *_on_the_way(asked, starts, shares)).double().mean())
