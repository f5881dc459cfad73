"""Integrated gradients: what every pixel adds to a class's score on the way from an empty clip."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from nbpkg.attention.explain.passes import as_array, as_clip, at_rest, finish, run, score
from nbpkg.attention.maps import Map
from nbpkg.errors import ExplainError


def integrated_gradients(
    net: nn.Module, clip: torch.Tensor, *, targets: Sequence[int], steps: int, batch_size: int, baseline: float
) -> dict[int, Map]:
    """Explain classes by gradients added up along the straight line from a baseline to the clip.

    Parameters
    ----------
    net, clip, targets
        As in `nbpkg.attention.explain.gradient.gradient`.
    steps
        Points on the line (Gauss-Legendre).
    batch_size
        Points per pass through the network; it changes memory and speed only.
    baseline
        Value of every pixel of the empty clip, on the network's scale; 0 is the mean colour.

    Returns
    -------
    dict
        Class to map ``[*space]``, signed, summed over channels. With enough steps the sum of all values is the score of
        the clip less that of the empty clip.

    Raises
    ------
    ExplainError
        When steps or batch size are below 1, clip or class do not fit the network, or values are not finite.

    Source
    ------
    Sundararajan et al., ICML 2017, by captum.
    """
    if steps < 1 or batch_size < 1:
        raise ExplainError(
            f"Integrated gradients cannot take {steps} steps in batches of {batch_size}.", expected="At least 1 each."
        )
    from captum.attr import IntegratedGradients  # type: ignore[import-untyped]  # slow to import

    values = {}
    with at_rest(net):
        batch = as_clip(net, clip)[None]
        score(run(net, batch), max(targets, default=0))  # before captum, whose messages say less
        for target in targets:
            method = IntegratedGradients(lambda clips, target=target: score(run(net, clips), target))
            found = method.attribute(
                batch.clone(), baselines=baseline, n_steps=steps, internal_batch_size=min(batch_size, steps)
            )
            values[target] = as_array(found[0].sum(dim=0))
    settings: dict[str, object] = {"steps": steps, "baseline": baseline}
    return finish(net, clip, values, method="integrated_gradients", layer="", settings=settings)
