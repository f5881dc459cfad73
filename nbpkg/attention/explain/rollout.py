"""Attention roll-out: which tokens the answer of a plain transformer draws on, through all its layers."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from nbpkg.attention.explain.passes import as_array, as_clip, at_rest, finish, run
from nbpkg.attention.maps import Map
from nbpkg.errors import ExplainError


def rollout(net: nn.Module, clip: torch.Tensor, *, targets: Sequence[int]) -> dict[int, Map]:
    """Explain a plain transformer by its attention, multiplied up through its layers.

    Parameters
    ----------
    net
        Attends by `torch.nn.MultiheadAttention` over the same tokens in all layers, as torchvision's ``vit_*`` and
        `torch.nn.TransformerEncoder` do: one token for every place of the clip or of the last layer before that gives
        ``[B, C, *space]``, with or without a class token in front. Gives raw scores ``[B, K]``.
    clip, targets
        As in `nbpkg.attention.explain.gradient.gradient`. Attention knows no classes: all have the same map.

    Returns
    -------
    dict
        Class to map ``[T', H', W']`` (``[H', W']``, ``[T']``), at least 0: the share of each place in the class token;
        without a class token, its mean share in all tokens.

    Raises
    ------
    ExplainError
        When the network is no plain transformer, saying what is missing, or the clip does not fit it.

    Source
    ------
    Abnar and Zuidema, ACL 2020: mean over heads, half of every layer is its shortcut.
    """
    attention, grids = _watch(net, clip)
    tokens = attention[0].shape[-1]
    rolled = torch.eye(tokens, dtype=torch.float64)
    for layer in attention:
        mixed = layer.double().cpu() + torch.eye(tokens, dtype=torch.float64)
        rolled = (mixed / mixed.sum(dim=1, keepdim=True)) @ rolled
    grid, extra = _find_grid(net, tokens, grids)
    shares = rolled[0, 1:] if extra else rolled.mean(dim=0)
    values = as_array(shares.reshape(grid))
    return finish(net, clip, {target: values.copy() for target in targets}, method="rollout", layer="", settings={})


def _watch(net: nn.Module, clip: torch.Tensor) -> tuple[list[torch.Tensor], list[tuple[int, ...]]]:
    """Return the attention [tokens, tokens] of every layer, and the shapes of space found before the first."""
    layers = [module for module in net.modules() if isinstance(module, nn.MultiheadAttention)]
    if not layers:
        raise _not_plain(net, "has no torch.nn.MultiheadAttention")
    attention: list[torch.Tensor] = []
    grids = [tuple(clip.shape[1:])]

    def note(_module: nn.Module, _inputs: object, output: Any) -> None:
        attention.append(output[1])

    def look(_module: nn.Module, _inputs: object, output: object) -> None:
        if not attention and isinstance(output, torch.Tensor) and output.ndim == clip.ndim + 1:
            grids.append(tuple(output.shape[2:]))

    hooks = [module.register_forward_hook(look) for name, module in net.named_modules() if name]
    for module in layers:
        hooks += [module.register_forward_pre_hook(_ask(module), with_kwargs=True), module.register_forward_hook(note)]
    try:
        with at_rest(net), torch.no_grad(), _slow_path():
            run(net, as_clip(net, clip)[None])
    finally:
        for hook in hooks:
            hook.remove()
    return [_mean_heads(net, weights, attention) for weights in attention], grids


def _ask(module: nn.MultiheadAttention) -> Callable[..., tuple[tuple[Any, ...], dict[str, Any]]]:
    """Let a layer return the attention of each of its heads."""
    signature = inspect.signature(module.forward)

    def hook(
        _module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        bound = signature.bind(*inputs, **named)
        bound.arguments |= {"need_weights": True, "average_attn_weights": False}
        return bound.args, bound.kwargs

    return hook


@contextmanager
def _slow_path() -> Iterator[None]:
    """Keep torch from computing whole transformer layers at once, which never calls their attention."""
    was = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(was)


def _mean_heads(net: nn.Module, weights: torch.Tensor, all_layers: list[torch.Tensor]) -> torch.Tensor:
    """Average [1, heads, tokens, tokens] over heads."""
    square = weights.ndim == 4 and weights.shape[0] == 1 and weights.shape[-1] == weights.shape[-2]
    if not square or weights.shape != all_layers[0].shape[:1] + weights.shape[1:2] + all_layers[0].shape[2:]:
        raise _not_plain(
            net, f"attends by {list(weights.shape)} in one layer and {list(all_layers[0].shape)} in its first"
        )
    return weights[0].mean(dim=0)


def _find_grid(net: nn.Module, tokens: int, grids: list[tuple[int, ...]]) -> tuple[tuple[int, ...], int]:
    """Return the shape of space that fits the number of tokens, and whether a class token stands in front."""
    for grid in reversed(grids):
        extra = tokens - math.prod(grid)
        if extra in (0, 1):
            return grid, extra
    shown = ", ".join("×".join(map(str, grid)) for grid in dict.fromkeys(grids))
    raise _not_plain(net, f"has {tokens} tokens, which fit none of the shapes of space before its attention ({shown})")


def _not_plain(net: nn.Module, why: str) -> ExplainError:
    return ExplainError(
        f"{type(net).__name__} {why}: no attention can be rolled out.",
        where=type(net).__name__,
        expected="A plain transformer: torch.nn.MultiheadAttention over the same tokens in all layers, one for each"
        " place, with or without a class token in front.",
        remedy="Leave roll-out out for this network, or use gradcam or occlusion.",
    )
