"""All explanation methods by name, and what they can be set to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import nn

from nbpkg.attention.explain.gradcam import gradcam
from nbpkg.attention.explain.gradcam_plus_plus import gradcam_plus_plus
from nbpkg.attention.explain.gradient import gradient
from nbpkg.attention.explain.gradient_input import gradient_input
from nbpkg.attention.explain.guided_backprop import guided_backprop
from nbpkg.attention.explain.guided_gradcam import guided_gradcam
from nbpkg.attention.explain.heatmap import predicted_map
from nbpkg.attention.explain.hirescam import hirescam
from nbpkg.attention.explain.integrated_gradients import integrated_gradients
from nbpkg.attention.explain.layercam import layercam
from nbpkg.attention.explain.occlusion import occlusion
from nbpkg.attention.explain.rollout import rollout
from nbpkg.attention.explain.smoothgrad import smoothgrad
from nbpkg.attention.maps import METHOD_FACTS, Map, check_map
from nbpkg.errors import ExplainError


@dataclass(frozen=True)
class Options:
    """What explanation methods can be set to; the defaults are the published ones.

    Parameters
    ----------
    layer
        Layer of the Grad-CAM family, a dotted path; empty for `nbpkg.attention.explain.layers.default_layer`.
    batch_size
        Clips per pass through the network, for methods that need many.
    gradcam_weights
        ``frame``, as published, or ``channel`` (see `nbpkg.attention.explain.gradcam.gradcam`).
    occlusion_radius, occlusion_stride, occlusion_fill
        As in `nbpkg.attention.explain.occlusion.occlusion`: frames, rows, columns. Pictures take the last two.
    steps
        Steps of integrated gradients.
    samples, noise
        Noisy copies of SmoothGrad, and the spread of their noise, share of the clip's range.
    seed
        Seed of that noise.
    occlusion_centred
        As in `nbpkg.attention.explain.occlusion.occlusion`.
    """

    layer: str = ""
    batch_size: int = 16
    gradcam_weights: str = "frame"
    occlusion_radius: tuple[int, ...] = (1, 16, 16)
    occlusion_stride: tuple[int, ...] = (1, 16, 16)
    occlusion_fill: float = 0.0
    steps: int = 32
    samples: int = 16
    noise: float = 0.15
    seed: int = 0
    occlusion_centred: bool = False


Run = Callable[[nn.Module, torch.Tensor, Sequence[int], Options], dict[int, Map]]


@dataclass(frozen=True)
class Method:
    """An explanation method.

    Parameters
    ----------
    name, title, kind, signed, source
        As in `nbpkg.attention.maps.MethodFacts`.
    run
        ``run(net, clip, targets, options)`` gives a map for each class; the map may be constant.
    """

    name: str
    title: str
    kind: str
    signed: bool
    source: str
    run: Run


def explain(
    net: nn.Module, clip: torch.Tensor, *, method: str, targets: Sequence[int], options: Options
) -> dict[int, Map]:
    """Explain classes of one clip by one method.

    The network's mode, hooks, ``requires_grad`` flags and gradients are as before afterwards, also after an error.

    Parameters
    ----------
    net
        Gives raw scores ``[B, K]`` for ``[B, C, *space]``: K classes or, for K = 1, the logit of class 1.
    clip
        Normalised, float: a video ``[C, T, H, W]``, a picture ``[C, H, W]`` or a sequence ``[C, T]``.
    method
        One of `METHODS`.
    targets
        Classes, e.g. ``[0, 1]``; methods share what they can between them.
    options
        Settings.

    Returns
    -------
    dict
        Class to map, on the method's own scale and as coarse as the method gives it.

    Raises
    ------
    ExplainError
        When there is no such method, it does not suit the network or the clip, or a map is not finite or the same
        everywhere; the message names the layer.

    Examples
    --------
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(48, 2))
    >>> found = explain(net, torch.rand(1, 6, 8), method="gradient_input", targets=[0, 1], options=Options())
    >>> found[1].values.shape, found[1].where
    ((6, 8), 'gradient_input, class 1')
    """
    maps = find_method(method).run(net, clip, targets, options)
    return {target: check_map(found) for target, found in maps.items()}


def find_method(name: str) -> Method:
    """Look up a method.

    Raises
    ------
    ExplainError
        Saying which there are.
    """
    if name not in METHODS:
        raise ExplainError(
            f"There is no explanation method {name!r}.",
            expected=f"One of {', '.join(METHODS)}.",
            remedy="Correct the name.",
        )
    return METHODS[name]


def _occlusion(net: nn.Module, clip: torch.Tensor, targets: Sequence[int], options: Options) -> dict[int, Map]:
    axes = clip.ndim - 1
    return occlusion(
        net,
        clip,
        targets=targets,
        radius=options.occlusion_radius[-axes:],
        stride=options.occlusion_stride[-axes:],
        fill=options.occlusion_fill,
        centred=options.occlusion_centred,
        batch_size=options.batch_size,
    )


def _integrated_gradients(net: nn.Module, clip: torch.Tensor, targets: Sequence[int], o: Options) -> dict[int, Map]:
    return integrated_gradients(
        net, clip, targets=targets, steps=o.steps, batch_size=o.batch_size, baseline=o.occlusion_fill
    )


def _smoothgrad(net: nn.Module, clip: torch.Tensor, targets: Sequence[int], o: Options) -> dict[int, Map]:
    return smoothgrad(
        net, clip, targets=targets, samples=o.samples, noise=o.noise, seed=o.seed, batch_size=o.batch_size
    )


_RUN: dict[str, Run] = {
    "gradient": lambda net, clip, targets, _: gradient(net, clip, targets=targets),
    "gradient_input": lambda net, clip, targets, _: gradient_input(net, clip, targets=targets),
    "guided_backprop": lambda net, clip, targets, _: guided_backprop(net, clip, targets=targets),
    "gradcam": lambda net, clip, targets, o: gradcam(
        net, clip, targets=targets, layer=o.layer, weights=o.gradcam_weights
    ),
    "guided_gradcam": lambda net, clip, targets, o: guided_gradcam(
        net, clip, targets=targets, layer=o.layer, weights=o.gradcam_weights
    ),
    "gradcam_plus_plus": lambda net, clip, targets, o: gradcam_plus_plus(net, clip, targets=targets, layer=o.layer),
    "hirescam": lambda net, clip, targets, o: hirescam(net, clip, targets=targets, layer=o.layer),
    "layercam": lambda net, clip, targets, o: layercam(net, clip, targets=targets, layer=o.layer),
    "occlusion": _occlusion,
    "integrated_gradients": _integrated_gradients,
    "smoothgrad": _smoothgrad,
    "rollout": lambda net, clip, targets, _: rollout(net, clip, targets=targets),
    "heatmap": lambda net, clip, targets, _: predicted_map(net, clip, targets=targets),
}

METHODS: Mapping[str, Method] = MappingProxyType(
    {
        facts.name: Method(facts.name, facts.title, facts.kind, facts.signed, facts.source, _RUN[facts.name])
        for facts in METHOD_FACTS.values()
    }
)
