"""Occlusion against the bare network on covered clips that are ready. Target: at least 0.9 of its clips per second.

Both sides run the same network at the same batch size in one process, in turn. The other methods are timed beside it.
Where a GPU is at hand it is used, with more windows; on a CPU the published network runs occlusion alone, which takes a
minute or two.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

from bench.common import median_of_rounds, show
from nbpkg.attention.explain import METHODS, Options
from nbpkg.models.device import to_channels_last
from nbpkg.models.network import build_network

BATCH, ROUNDS = 8, 4


def bare(net: nn.Module, ready: torch.Tensor, batches: int) -> torch.Tensor:
    """Run batches that lie in memory, and bring each batch's answers back, as occlusion does."""
    with torch.inference_mode():
        return torch.cat([net(ready).softmax(1).cpu() for _ in range(batches)])


def alternate(sides: dict[str, Callable[[], object]]) -> dict[str, tuple[float, float]]:
    """Return the median seconds of each side, by wall and in processor time; the order changes from round to round."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for number in range(ROUNDS):
        for name in list(sides)[:: 1 if number % 2 else -1]:
            wall, busy = time.perf_counter(), time.process_time()
            sides[name]()
            seconds[name].append((time.perf_counter() - wall, time.process_time() - busy))
    return {name: tuple(statistics.median(pair[i] for pair in rows) for i in (0, 1)) for name, rows in seconds.items()}


def compare(name: str, *, frames: int, size: int, stride: tuple[int, int, int], device: torch.device) -> list[dict]:
    """Time occlusion and the bare network, and the other methods."""
    net = to_channels_last(build_network(name, "none", seed=0, size=size, frames=frames).to(device))
    clip = torch.randn(3, frames, size, size).to(device)
    counts = [-(-length // step) for length, step in zip((frames, size, size), stride, strict=True)]
    batches = counts[0] * counts[1] * counts[2] // BATCH
    options = Options(occlusion_radius=(1, size // 7, size // 7), occlusion_stride=stride, batch_size=BATCH)
    ready = torch.randn(BATCH, 3, frames, size, size).to(device, memory_format=torch.channels_last_3d)
    bare(net, ready, 1)  # warms up
    times = alternate(
        {
            "bare": lambda: bare(net, ready, batches),
            "ours": lambda: METHODS["occlusion"].run(net, clip, [0, 1], options),
        }
    )
    shape = f"{name}, {frames} frames of {size} px"
    row = {
        "network": shape,
        "method": "occlusion",
        "passes": batches * BATCH,
        "seconds, both classes": f"{times['ours'][0]:.3f}",
        "bare network, clips/s": f"{batches * BATCH / times['bare'][0]:.1f}",
        "ours, clips/s": f"{batches * BATCH / times['ours'][0]:.1f}",
        "ratio": f"{times['bare'][0] / times['ours'][0]:.3f}",
        "ratio of processor time": f"{times['bare'][1] / times['ours'][1]:.3f}",
    }
    if name != "small" and device.type == "cpu":
        return [row]
    others = {
        method: lambda method=method: METHODS[method].run(net, clip, [0, 1], options)
        for method in METHODS
        if method not in ("occlusion", "rollout")
    }
    seconds = median_of_rounds(others, 3)
    return [row, *({"network": shape, "method": m, "seconds, both classes": f"{s:.3f}"} for m, s in seconds.items())]


def main() -> list[dict]:
    """Time the network of the published program, and that of the sample experiment."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    strides = ((1, 16, 16), (2, 4, 4)) if device.type == "cuda" else ((16, 28, 28), (16, 4, 4))
    rows = [
        *compare("mc3_18", frames=16, size=112, stride=strides[0], device=device),
        *compare("small", frames=16, size=48, stride=strides[1], device=device),
    ]
    place = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    show(f"Explaining one clip, batches of {BATCH} ({place}, load {os.getloadavg()[0]:.1f})", rows)
    return rows


if __name__ == "__main__":
    main()
