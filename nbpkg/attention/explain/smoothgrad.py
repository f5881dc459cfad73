"""SmoothGrad: the gradient averaged over noisy copies of the clip."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import nn

from nbpkg import seeding
from nbpkg.attention.explain.passes import as_array, as_clip, at_rest, finish, run, score
from nbpkg.attention.maps import Map, saliency
from nbpkg.errors import ExplainError


def smoothgrad(
    net: nn.Module,
    clip: torch.Tensor,
    *,
    targets: Sequence[int],
    samples: int,
    noise: float,
    seed: int,
    batch_size: int,
) -> dict[int, Map]:
    """Explain classes by the mean gradient of their scores over noisy copies of the clip.

    Parameters
    ----------
    net, clip, targets
        As in `nbpkg.attention.explain.gradient.gradient`.
    samples
        Noisy copies, the same for all classes.
    noise
        Standard deviation of the noise, share of the clip's range (largest less smallest value).
    seed
        Seed of the noise; a copy's noise depends on the seed and its number alone.
    batch_size
        Copies per pass through the network; it changes memory and speed only.

    Returns
    -------
    dict
        Class to map ``[*space]``: the largest absolute mean over channels, at least 0.

    Raises
    ------
    ExplainError
        When samples or batch size are below 1, clip or class do not fit the network, or values are not finite.

    Source
    ------
    Smilkov et al., arXiv 1706.03825.
    """
    if samples < 1 or batch_size < 1 or not noise >= 0:
        raise ExplainError(
            f"SmoothGrad cannot take {samples} copies with noise {noise} in batches of {batch_size}.",
            expected="At least one copy and one per batch, and noise of at least 0.",
        )
    with at_rest(net):
        pixels = as_clip(net, clip)
        spread = noise * float(pixels.max() - pixels.min())
        sums = {target: torch.zeros_like(pixels) for target in targets}
        for start in range(0, samples, batch_size):
            copies = pixels + spread * torch.stack(list(_draw(pixels, seed, start, min(start + batch_size, samples))))
            scores = run(net, copies.requires_grad_())
            for target in targets:
                (slopes,) = torch.autograd.grad(
                    score(scores, target).sum(), copies, retain_graph=True, materialize_grads=True
                )
                sums[target] += slopes.sum(dim=0)
    values = {target: saliency(as_array(total / samples)) for target, total in sums.items()}
    settings: dict[str, object] = {"samples": samples, "noise": noise, "seed": seed}
    return finish(net, clip, values, method="smoothgrad", layer="", settings=settings)


def _draw(clip: torch.Tensor, seed: int, start: int, end: int) -> Iterator[torch.Tensor]:
    for number in range(start, end):
        drawn = seeding.generator(seed, "smoothgrad", number).standard_normal(tuple(clip.shape), dtype=np.float32)
        yield torch.from_numpy(drawn).to(clip)
