"""What explanations have in common: scores of classes, input gradients, and networks left as they were found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from nbpkg.attention.maps import METHOD_FACTS, Map, Values, is_constant
from nbpkg.errors import ExplainError


@contextmanager
def at_rest(net: nn.Module) -> Iterator[None]:
    """Run a network in evaluation mode, with gradients of its input only; leave it as it was, whatever happens.

    Mode and ``requires_grad`` of every part are put back; ``.grad`` is never written, as explanations ask for the
    gradients they need by name.
    """
    modes = [(module, module.training) for module in net.modules()]
    flags = [(parameter, parameter.requires_grad) for parameter in net.parameters()]
    recurrent = any(isinstance(module, nn.RNNBase) for module, _ in modes)
    try:
        net.eval()
        for parameter, _ in flags:
            parameter.requires_grad_(False)
        # cuDNN gives no gradients of recurrent layers in evaluation mode.
        with (
            torch.inference_mode(False),
            torch.enable_grad(),
            torch.backends.cudnn.flags(enabled=torch.backends.cudnn.enabled and not recurrent),
        ):
            yield
    finally:
        for module, mode in modes:
            module.training = mode
        for parameter, flag in flags:
            parameter.requires_grad_(flag)


def as_clip(net: nn.Module, clip: torch.Tensor) -> torch.Tensor:
    """Check a clip ``[C, *space]`` and bring it where the network is.

    Raises
    ------
    ExplainError
        When it is no sequence, picture or video without a batch axis, or holds numbers that are not finite.
    """
    if not (2 <= clip.ndim <= 4 and clip.is_floating_point() and clip.numel()):
        raise ExplainError(
            f"A {clip.dtype} tensor of shape {list(clip.shape)} cannot be explained.",
            expected="One clip as floating-point [C, T], [C, H, W] or [C, T, H, W], normalised, without a batch axis.",
            remedy="Take one clip of the batch, and normalise it as the network was trained.",
        )
    if not bool(torch.isfinite(clip).all()):
        raise ExplainError("The clip holds numbers that are not finite.", remedy="Check how it was normalised.")
    place = next(net.parameters(), torch.empty(0))
    return clip.detach().to(device=place.device, dtype=place.dtype if place.is_floating_point() else None)


def run(net: nn.Module, clips: torch.Tensor) -> torch.Tensor:
    """Return raw scores ``[B, K]`` of clips ``[B, C, *space]``.

    Raises
    ------
    ExplainError
        When the network gives anything else.
    """
    scores = net(clips)
    if not isinstance(scores, torch.Tensor) or scores.ndim != 2 or scores.shape[0] != len(clips) or not scores.shape[1]:
        found = list(scores.shape) if isinstance(scores, torch.Tensor) else type(scores).__name__
        raise ExplainError(
            f"The network gives {found} for clips of shape {list(clips.shape)}.",
            where=type(net).__name__,
            expected="One row of raw class scores for each clip, [B, K]; K = 1 for a single logit.",
            remedy="Wrap the network in a module that returns its class scores.",
        )
    return scores


def score(scores: torch.Tensor, target: int) -> torch.Tensor:
    """Return what speaks for a class, ``[B]``: its raw score; of a single logit, ± the logit.

    Raises
    ------
    ExplainError
        When the network knows no such class.
    """
    classes = max(scores.shape[1], 2)
    if not 0 <= target < classes:
        raise ExplainError(
            f"The network knows no class {target}.", expected=f"0 to {classes - 1}.", remedy="Correct the target."
        )
    if scores.shape[1] == 1:
        return scores[:, 0] if target == 1 else -scores[:, 0]
    return scores[:, target]


def probability(scores: torch.Tensor, target: int) -> torch.Tensor:
    """Return the probability of a class, ``[B]``: softmax of the scores, or the sigmoid of a single logit."""
    if scores.shape[1] == 1:
        return score(scores, target).sigmoid()
    score(scores, target)  # refuses unknown classes
    return scores.softmax(dim=1)[:, target]


def input_gradients(net: nn.Module, clip: torch.Tensor, *, targets: Sequence[int]) -> dict[int, torch.Tensor]:
    """Return the gradient of each class's score with respect to the clip, by one pass forward.

    Parameters
    ----------
    net
        Gives ``[B, K]`` for ``[B, C, *space]``.
    clip
        ``[C, *space]``.
    targets
        Classes.

    Returns
    -------
    dict
        Class to gradient ``[C, *space]``.
    """
    with at_rest(net):
        batch = as_clip(net, clip)[None].requires_grad_()
        scores = run(net, batch)
        return {
            target: torch.autograd.grad(score(scores, target).sum(), batch, retain_graph=True, materialize_grads=True)[
                0
            ][0]
            for target in targets
        }


def as_array(values: torch.Tensor) -> Values:
    """Bring a tensor to NumPy, float32."""
    return np.ascontiguousarray(values.detach().float().cpu().numpy())


def finish(
    net: nn.Module,
    clip: torch.Tensor,
    values: dict[int, Values],
    *,
    method: str,
    layer: str,
    settings: dict[str, object],
) -> dict[int, Map]:
    """Make maps of values, refusing what is not finite.

    Parameters
    ----------
    net, clip
        What was explained: run once more to find the layer at fault when there is one.
    values
        Class to ``[*space]``.
    method, layer, settings
        As in `nbpkg.attention.maps.Map`.

    Raises
    ------
    ExplainError
        Naming the first layer whose output is not finite.
    """
    signed = METHOD_FACTS[method].signed
    maps = {target: Map(array, method, layer, target, signed, settings) for target, array in values.items()}
    for explained in maps.values():
        if is_constant(explained.values) or not np.isfinite(explained.values).all():
            fault = find_fault(net, clip)  # some methods turn what is no number into zeros
            if fault:
                raise _no_numbers(f"{explained.where}; the first such output is that of layer {fault!r}")
            if not np.isfinite(explained.values).all():
                raise _no_numbers(f"{explained.where}; all outputs are finite, only a gradient is not")
    return maps


def find_fault(net: nn.Module, clip: torch.Tensor) -> str:
    """Return the first layer, in the order of running, whose output for a clip is not finite; empty when all are."""
    faults: list[str] = []

    def note(name: str) -> object:
        def look(_module: nn.Module, _inputs: object, output: object) -> None:
            if isinstance(output, torch.Tensor) and not bool(torch.isfinite(output).all()):
                faults.append(name)

        return look

    hooks = [module.register_forward_hook(note(name)) for name, module in net.named_modules() if name]  # type: ignore[arg-type]
    try:
        with at_rest(net), torch.no_grad():
            run(net, as_clip(net, clip)[None])
    finally:
        for hook in hooks:
            hook.remove()
    return faults[0] if faults else ""


def _no_numbers(where: str) -> ExplainError:
    return ExplainError(
        "The network computes values that are no finite numbers.",
        where=where,
        expected="Finite numbers everywhere.",
        remedy="Check the network's weights; half precision may overflow where float32 does not.",
    )
