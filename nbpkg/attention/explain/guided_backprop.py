"""Guided backprop: the gradient, of which every ReLU lets through only what speaks for the class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from nbpkg.attention.explain.passes import as_array, finish, input_gradients
from nbpkg.attention.maps import Map, saliency
from nbpkg.errors import ExplainError


def guided_backprop(net: nn.Module, clip: torch.Tensor, *, targets: Sequence[int]) -> dict[int, Map]:
    """Explain classes by guided backpropagation.

    Every `torch.nn.ReLU` of the network, in-place ones included, passes back a gradient only where its input and the
    gradient are above zero. Calls of ``torch.relu`` and ``torch.nn.functional.relu`` that are no modules keep their
    plain gradient, as do other activations.

    Parameters
    ----------
    net, clip, targets
        As in `nbpkg.attention.explain.gradient.gradient`.

    Returns
    -------
    dict
        Class to map ``[*space]``: the largest absolute value over channels, at least 0.

    Raises
    ------
    ExplainError
        When the network has no ReLU module, the clip or the class does not fit it, or values are not finite.

    Source
    ------
    Springenberg et al., ICLR workshop 2015; as published, only modules whose type is exactly ReLU. The published
    program used backward hooks, which fail with in-place ReLU and stayed on the network after an error.
    """
    with guided(net):
        raw = input_gradients(net, clip, targets=targets)
    values = {target: saliency(as_array(found)) for target, found in raw.items()}
    return finish(net, clip, values, method="guided_backprop", layer="", settings={})


@contextmanager
def guided(net: nn.Module) -> Iterator[None]:
    """Let every ReLU module of a network pass guided gradients, and put all back at the end, whatever happens.

    Raises
    ------
    ExplainError
        When there is none.
    """
    found = [module for module in net.modules() if type(module) is nn.ReLU]
    if not found:
        raise ExplainError(
            "The network has no ReLU module, so that guided backprop would be the plain gradient.",
            where=type(net).__name__,
            expected="At least one torch.nn.ReLU.",
            remedy="Use another method; functional ReLUs can be made modules.",
        )
    own = [module.__dict__.get("forward") for module in found]
    try:
        for module in found:
            module.__dict__["forward"] = _GuidedReLU.apply  # torch calls it instead of that of the module's class
        yield
    finally:
        for module, forward in zip(found, own, strict=True):
            if forward is None:
                module.__dict__.pop("forward", None)
            else:
                module.__dict__["forward"] = forward


class _GuidedReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, values: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        result = values.clamp(min=0)
        ctx.save_for_backward(result)
        return result

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        (result,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return torch.where((result > 0) & (gradient > 0), gradient, torch.zeros_like(gradient))
