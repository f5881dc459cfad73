"""The random twin of a network: what its explanations show without anything learnt."""

from __future__ import annotations

import copy

import torch
from torch import nn

from nbpkg import seeding

_SCALE = 0.02  # spread of parameters that say nothing about how they were first drawn, as in vision transformers


def randomise(net: nn.Module, *, seed: int) -> nn.Module:
    """Return a copy of a network with all weights drawn anew; the network itself is left as it is.

    Every layer is reset as torch resets it, batch normalisation with its statistics. Parameters that belong to no such
    layer, such as a class token, are drawn from a normal distribution with the spread of their present values. Other
    buffers, such as indices of positions, stay.

    Parameters
    ----------
    net
        Any network.
    seed
        Same seed, same weights, whatever those of `net` are (but for the spread named above).

    Returns
    -------
    torch.nn.Module
        On the same device, in the same mode, with the same ``requires_grad``.

    Source
    ------
    Adebayo et al., NeurIPS 2018: a map that looks the same for a random network explains nothing.
    """
    twin = copy.deepcopy(net)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seeding.child(seed, "random network"))
        for name, module in twin.named_modules():
            _draw_anew(module, seed, name)
    return twin


def _draw_anew(module: nn.Module, seed: int, name: str) -> None:
    reset = getattr(module, "reset_parameters", None) or getattr(module, "_reset_parameters", None)
    own = list(module.named_parameters(recurse=False))
    places = [parameter.device for _, parameter in own]
    if callable(reset) and (own or isinstance(module, nn.modules.batchnorm._NormBase)):
        if places:
            module.cpu()  # so that a GPU has the same weights
        reset()
        if places:
            module.to(places[0])
        return
    for key, parameter in own:
        spread = float(parameter.float().std(correction=0))
        drawn = seeding.generator(seed, "random network", name, key).standard_normal(tuple(parameter.shape))
        parameter.copy_(torch.from_numpy((spread or _SCALE) * drawn).to(parameter))
