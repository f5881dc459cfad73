"""Grad-CAM films against a bare forward and backward pass of the same views. Target: at least 0.8 of its throughput.

Both sides run the same network over the same views, which lie in memory, as many at a time; the bare side asks for the
gradients of all weights, as the published program does. Our side makes maps of all views, lays them over the pictures
and writes the three films. ``--short`` leaves out the network of the published size.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import nn

from bench.common import median_of_rounds, show
from nbpkg.attention.people.film import overlay, to_pictures, write_map_films
from nbpkg.attention.people.gradcam import explain_views
from nbpkg.models.people.rgb.build import build_rgb_network
from nbpkg.models.people.rgb.facts import IMAGENET, RgbOptions
from nbpkg.models.people.rgb.views import average_views

AT_ONCE = 2
THIN = RgbOptions(width=16, blocks=(1, 1, 1, 1))
CASES = (
    ("i3d_r50", THIN, "backbone/layer4/0/relu", 4, 16, 112),
    ("r2plus1d_r34", THIN, "backbone/layer4/0/relu", 4, 8, 112),
    ("i3d_r50", None, "backbone/layer4/2/relu", 2, 32, 224),
)


def bare(network: nn.Module, views: torch.Tensor) -> None:
    """Forward and backward, a few views at a time."""
    for part in views.split(AT_ONCE):
        network.zero_grad(set_to_none=True)
        average_views(network(part), len(part), "prob").max(dim=1).values.sum().backward()


def film(network: nn.Module, views: torch.Tensor, layer: str, folder: Path) -> None:
    """Maps of all views, and their films."""
    found = explain_views(network, views, layer=layer, at_once=AT_ONCE)
    write_map_films(overlay(to_pictures(views, *IMAGENET), found.scaled()), folder / "clip.mp4")


def make_views(count: int, frames: int, size: int) -> torch.Tensor:
    """Pictures of a slow wave with noise, as different from frame to frame as a camera's."""
    chance = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size] / size
    waves = [np.sin(9 * x + 7 * y + number / 4) for number in range(count * frames)]
    levels = 120 + 60 * np.stack(waves) + chance.normal(0, 4, (count * frames, size, size))
    colours = np.stack([levels, 0.9 * levels, 0.8 * levels], axis=1)
    mean, std = (np.array(values)[:, None, None] for values in IMAGENET)
    views = torch.from_numpy((colours - mean) / std).float()
    return views.unflatten(0, (count, frames)).transpose(1, 2).contiguous()


def compare(case: tuple, folder: Path) -> dict:
    """Time both sides, and our parts."""
    name, options, layer, count, frames, size = case
    network = build_rgb_network(name, classes=3, options=options)
    views = make_views(count, frames, size)
    sides = {
        "bare": lambda: bare(network, views),
        "maps": lambda: explain_views(network, views, layer=layer, at_once=AT_ONCE),
        "film": lambda: film(network, views, layer, folder),
    }
    for work in sides.values():
        work()
    times = median_of_rounds(sides, 3)
    return {
        "network": f"{name}{', thin' if options else ''}",
        "views": f"{count} of {frames} frames, {size} px",
        "bare, views/s": f"{count / times['bare']:.2f}",
        "maps alone, views/s": f"{count / times['maps']:.2f}",
        "maps and films, views/s": f"{count / times['film']:.2f}",
        "ratio": f"{times['bare'] / times['film']:.2f}",
    }


def main() -> None:
    """Compare all cases and print."""
    torch.set_num_threads(2)
    with tempfile.TemporaryDirectory() as folder:
        rows = [compare(case, Path(folder)) for case in CASES if "--short" not in sys.argv or case[1]]
    show(f"Grad-CAM films, {AT_ONCE} views at once, CPU", rows)


if __name__ == "__main__":
    main()
