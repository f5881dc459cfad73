"""Answers of a network over sequences when some seconds of a modality are covered, many covers in one pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from nbpkg.attention.explain.passes import at_rest
from nbpkg.errors import ExplainError

Fill = Literal["mean", "missing"]
Span = tuple[int, int]
Arrays = Mapping[str, NDArray[np.float32]]
Flags = Mapping[str, NDArray[np.bool_]]


@dataclass(frozen=True)
class Asked:
    """One recording as the network sees it.

    Parameters
    ----------
    inputs
        Modality to features ``[T, D]``, where the network is; 0 in missing seconds.
    present
        Modality to flags ``[T]``.
    steps
        T.
    """

    inputs: dict[str, torch.Tensor]
    present: dict[str, torch.Tensor]
    steps: int

    def rest(self, modality: str) -> torch.Tensor:
        """Return a modality that says nothing, ``[T, D]``: its mean second throughout, 0 in missing ones."""
        values, there = self.inputs[modality], self.present[modality]
        if not bool(there.any()):
            return values
        return torch.where(there[:, None], values[there].mean(dim=0, keepdim=True), values)


def prepare(network: nn.Module, inputs: Arrays, present: Flags | None, *, modalities: Sequence[str]) -> Asked:
    """Bring a recording to where a network is.

    Parameters
    ----------
    network
        One of `nbpkg.models.valence`.
    inputs
        Modality to features ``[T, D]``, prepared as for the network.
    present
        Modality to flags ``[T]``; ``None`` or a modality not named: all seconds are there.
    modalities
        Those that will be asked about.

    Raises
    ------
    ExplainError
        When a modality is not among the network's and the recording's, lengths differ, there is no second, or a
        present value is no finite number.
    """
    known = [name for name in network.modalities if name in inputs]  # type: ignore[union-attr]
    strange = [name for name in modalities if name not in known]
    if strange or not known:
        raise ExplainError(
            f"The network cannot be asked about {', '.join(strange) or 'no modality at all'}.",
            expected=f"Of {', '.join(known) or 'its modalities'}.",
            remedy="Correct the list of modalities.",
        )
    lengths = {name: len(inputs[name]) for name in known}
    if len(set(lengths.values())) > 1 or 0 in lengths.values():
        raise ExplainError(f"Modalities have {lengths} seconds.", expected="The same number of each, at least 1.")
    place = next(network.parameters()).device
    flags = {name: np.ones(lengths[name], bool) for name in known} | {
        name: np.asarray(item, bool) for name, item in (present or {}).items() if name in known
    }
    for name in known:
        if not np.isfinite(inputs[name][flags[name]]).all():
            raise ExplainError(f"Features of {name} hold numbers that are not finite.", remedy="Mark them as missing.")
    features = {name: np.where(flags[name][:, None], inputs[name], 0).astype(np.float32) for name in known}
    return Asked(
        {name: torch.as_tensor(item, device=place) for name, item in features.items()},
        {name: torch.as_tensor(item, device=place) for name, item in flags.items()},
        len(inputs[known[0]]),
    )


def answer(network: nn.Module, inputs: Mapping[str, torch.Tensor], present: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Return answers ``[B, T]`` to features ``[B, T, D]`` with flags ``[B, T]``."""
    first = next(iter(inputs.values()))
    mask = torch.ones(*first.shape[:2], 1, dtype=torch.bool, device=first.device)
    answers: torch.Tensor = network(inputs, mask, [first.shape[1]] * len(first), present=present)
    return answers[..., 0]


def change_by_covering(
    network: nn.Module, asked: Asked, *, modality: str, spans: Sequence[Span], fill: Fill, batch_size: int
) -> NDArray[np.float64]:
    """Return by how much each step's answer changes when a span of a modality is covered.

    Parameters
    ----------
    network
        Left as it was.
    asked
        The recording.
    modality
        Which is covered.
    spans
        First second and the one after the last of each cover.
    fill
        ``mean``: the mean second of the recording stands in its place; ``missing``: the network is told that nothing
        is there.
    batch_size
        Covers per pass; it changes memory and speed only.

    Returns
    -------
    ndarray
        ``[spans, T]``, the answer with the cover less the answer without.
    """
    parts = []
    with at_rest(network), torch.no_grad():
        rest = asked.rest(modality)
        whole = answer(network, *_repeat(asked, 1))
        for first in range(0, len(spans), batch_size):
            chosen = spans[first : first + batch_size]
            inputs, present = _repeat(asked, len(chosen))
            covers = _mark(chosen, asked.steps).to(rest.device)
            if fill == "mean":
                inputs[modality] = torch.where(covers[..., None], rest, inputs[modality])
            else:
                present[modality] = present[modality] & ~covers
            parts.append((answer(network, inputs, present) - whole).double().cpu().numpy())
    return np.concatenate(parts) if parts else np.zeros((0, asked.steps))


def _repeat(asked: Asked, count: int) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Lay the recording out as a batch, without copying it."""
    inputs = {name: item.expand(count, -1, -1) for name, item in asked.inputs.items()}
    return inputs, {name: item.expand(count, -1) for name, item in asked.present.items()}


def _mark(spans: Sequence[Span], steps: int) -> torch.Tensor:
    time = torch.arange(steps)[None]
    start, end = torch.tensor(spans).T[..., None]
    covered: torch.Tensor = (time >= start) & (time < end)
    return covered
