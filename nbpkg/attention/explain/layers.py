"""Layers for the Grad-CAM family: which one is explained, and what it gives, laid out over space."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn
from torchvision.models.swin_transformer import SwinTransformer
from torchvision.models.video.mvit import MViT
from torchvision.models.video.resnet import VideoResNet
from torchvision.models.video.swin_transformer import SwinTransformer3d
from torchvision.models.vision_transformer import VisionTransformer

from nbpkg.attention.explain.passes import as_clip, at_rest, run, score
from nbpkg.errors import ExplainError
from nbpkg.models.small import SmallVideoNet

Arrange = Callable[[torch.Tensor], torch.Tensor]
_SHOWN = 12  # how many layers a message lists


class FramewiseNet(nn.Module):
    """A network for clips of one frame whose inner layers know no time; subclasses give scores ``[B, K]``."""

    @property
    def layer(self) -> str:
        """Dotted path of the layer to explain when none is named; empty for the last one that is laid out."""
        return ""

    def lay_out(self, output: torch.Tensor) -> torch.Tensor:
        """Return the output of a layer ``[B, C, H, W]`` as that of a clip, ``[B, C, 1, H, W]``."""
        return output.unsqueeze(2) if output.ndim == 4 else output


@dataclass(frozen=True)
class Activations:
    """What a layer gave for one clip, and how each class's score depends on it.

    Parameters
    ----------
    layer
        Its dotted path.
    values
        ``[C, *space]``.
    gradients
        Class to gradient of its score, ``[C, *space]``.
    """

    layer: str
    values: torch.Tensor
    gradients: dict[int, torch.Tensor]


def activate(net: nn.Module, clip: torch.Tensor, *, targets: Sequence[int], layer: str) -> Activations:
    """Run a network and keep what one layer gives, with the gradients of class scores.

    Parameters
    ----------
    net, clip, targets
        As in `nbpkg.attention.explain.gradient.gradient`.
    layer
        Dotted path of a layer whose output is laid out over space; empty for `default_layer`. Of a layer that runs
        several times the last output counts.

    Raises
    ------
    ExplainError
        When there is no such layer or its output is not laid out over space, listing those that can be explained.
    """
    path = layer or default_layer(net, clip)
    module = dict(net.named_modules()).get(path)
    if module is None:
        raise _unknown(net, clip, f"The network has no layer {path!r}.")
    kept: list[object] = []
    with at_rest(net), _keep(module, kept):
        batch = as_clip(net, clip)[None].requires_grad_()
        scores = run(net, batch)
        output = kept[-1] if kept else None
        arrange = _arrangement(net, path)
        if not isinstance(output, torch.Tensor) or not _is_spatial(arrange(output), clip):
            raise _unknown(net, clip, f"The output of layer {path!r} is not laid out over space.")
        gradients = {
            target: torch.autograd.grad(score(scores, target).sum(), output, retain_graph=True, materialize_grads=True)[
                0
            ]
            for target in targets
        }
    laid = {target: arrange(found)[0] for target, found in gradients.items()}
    return Activations(path, arrange(output.detach())[0], laid)


def default_layer(net: nn.Module, clip: torch.Tensor) -> str:
    """Choose the layer that is explained when none is named.

    Of torchvision's video ResNets it is the second convolution unit (convolution and batch normalisation, before the
    shortcut is added and before ReLU) of the last block, as published; of the network ``small`` the last block; of
    transformers the normalisation before the last attention (swin: the last one); else the last layer that runs whose
    output is ``[B, C, *space]`` with more than one place.

    Raises
    ------
    ExplainError
        When no output is laid out over space.
    """
    if isinstance(net, FramewiseNet) and net.layer:
        return net.layer
    for path, module in net.named_modules():
        found = _known_layer(module)
        if found:
            return f"{path}.{found}" if path else found
    names = list_layers(net, clip)
    if not names:
        raise ExplainError(
            "No layer of the network gives an output that is laid out over space.",
            where=type(net).__name__,
            expected="A layer that gives [B, C, *space] with as many axes as the clip has.",
            remedy="Use a method of the input: gradient, integrated_gradients, smoothgrad or occlusion.",
        )
    return names[-1]


def list_layers(net: nn.Module, clip: torch.Tensor) -> list[str]:
    """Return the dotted paths of all layers that can be explained, in the order in which they run.

    A container that hands on the output of one of its parts is left out.
    """
    names: list[str] = []
    seen: list[torch.Tensor] = []  # kept alive, so that two outputs at the same place in memory are the same

    def note(name: str) -> Callable[[nn.Module, object, object], None]:
        def look(module: nn.Module, _inputs: object, output: object) -> None:
            if not isinstance(output, torch.Tensor) or not _is_spatial(_arrangement(net, name)(output), clip):
                return
            is_container = next(module.children(), None) is not None
            if is_container and any(output is other for other in seen):
                return
            seen.append(output)
            names.append(name)

        return look

    hooks = [module.register_forward_hook(note(name)) for name, module in net.named_modules() if name]
    try:
        with at_rest(net), torch.no_grad():
            run(net, as_clip(net, clip)[None])
    finally:
        for hook in hooks:
            hook.remove()
    return list(dict.fromkeys(names))


@contextmanager
def _keep(module: nn.Module, kept: list[object]) -> Iterator[None]:
    """Keep a module's output, and hand a copy on, which later layers may change in place."""

    def hook(_module: nn.Module, _inputs: object, output: object) -> object:
        kept.append(output)
        return output.clone() if isinstance(output, torch.Tensor) else output

    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def _known_layer(module: nn.Module) -> str:
    if isinstance(module, VideoResNet):
        last = len(module.layer4) - 1
        return f"layer4.{last}.{'conv3' if hasattr(module.layer4[last], 'conv3') else 'conv2'}"
    if isinstance(module, SmallVideoNet):
        return f"layers.{len(module.layers) - 1}"
    if isinstance(module, SwinTransformer | SwinTransformer3d):
        return "norm"
    if isinstance(module, MViT):
        return f"blocks.{len(module.blocks) - 1}.norm1"
    if isinstance(module, VisionTransformer):
        return f"encoder.layers.encoder_layer_{len(module.encoder.layers) - 1}.ln_1"
    return ""


def _arrangement(net: nn.Module, path: str) -> Arrange:
    """Return how the output of a layer becomes [B, C, *space]."""
    parts = path.split(".")
    for length in range(len(parts)):
        owner = net.get_submodule(".".join(parts[:length]))
        inner = ".".join(parts[length:])
        if isinstance(owner, FramewiseNet):
            return owner.lay_out
        if isinstance(owner, SwinTransformer | SwinTransformer3d):
            is_convolution = isinstance(owner.get_submodule(inner), nn.Conv2d | nn.Conv3d)
            return (lambda x: x) if is_convolution else (lambda x: x.movedim(-1, 1))
        if isinstance(owner, VisionTransformer):
            side = owner.image_size // owner.patch_size
            return _from_tokens((side, side))
        if isinstance(owner, MViT):
            return _from_tokens(_mvit_grid(owner, inner))
    return lambda x: x


def _from_tokens(grid: Sequence[int]) -> Arrange:
    """Lay tokens [B, 1 + places, C] out over space; outputs of another shape are left as they are."""
    places = math.prod(grid)

    def arrange(tokens: torch.Tensor) -> torch.Tensor:
        if tokens.ndim != 3 or tokens.shape[1] != places + 1:
            return tokens
        laid: torch.Tensor = tokens[:, 1:].transpose(1, 2).unflatten(2, tuple(grid))
        return laid

    return arrange


def _mvit_grid(net: MViT, inner: str) -> tuple[int, ...]:
    """Return frames, rows and columns of the tokens that enter the block in which a layer lies."""
    grid = (net.pos_encoding.temporal_size, *net.pos_encoding.spatial_size)
    parts = inner.split(".")
    blocks = int(parts[1]) if parts[0] == "blocks" and len(parts) > 1 else len(net.blocks)
    for block in list(net.blocks)[:blocks]:
        if block.attn.pool_q is not None:
            strides = block.attn.pool_q.pool.stride
            grid = tuple(math.ceil(size / stride) for size, stride in zip(grid, strides, strict=True))
    return grid


def _is_spatial(output: torch.Tensor, clip: torch.Tensor) -> bool:
    """Tell whether an output is [1, C, *space] with the clip's axes and more than one place."""
    places = output.shape[2:] if clip.ndim == 2 else output.shape[-2:]
    return output.ndim == clip.ndim + 1 and output.shape[0] == 1 and math.prod(places) > 1


def _unknown(net: nn.Module, clip: torch.Tensor, what: str) -> ExplainError:
    names = list_layers(net, clip)
    shown = ", ".join(names[-_SHOWN:])
    more = f" and {len(names) - _SHOWN} before them" if len(names) > _SHOWN else ""
    return ExplainError(
        what,
        where=type(net).__name__,
        expected=f"One of {shown}{more}." if names else "A layer that gives [B, C, *space].",
        remedy="Name one of these, or leave the layer empty.",
    )
