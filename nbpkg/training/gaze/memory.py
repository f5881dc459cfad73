"""How much memory a training needs: estimated before it begins, measured while it runs.

The published program kept 183 MiB of activations per frame for a trunk that it did not train.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

MIB = 1024**2


class Estimate(NamedTuple):
    """What a training adds to the memory of its process, MiB.

    Parameters
    ----------
    weights
        Weights, gradients and moments of the optimiser.
    activations
        What is kept for the backward pass of one frame.
    pictures
        Input and target of one frame.
    frames
        Frames in the network at once.
    loaded
        Frames that are loaded at once, those in the network included.
    """

    weights: float
    activations: float
    pictures: float
    frames: int
    loaded: int

    @property
    def total(self) -> float:
        """All of it, MiB."""
        return self.weights + self.activations * self.frames + self.pictures * self.loaded

    def __str__(self) -> str:
        return (
            f"{self.total:.0f} MiB (weights and optimiser {self.weights:.0f}, {self.frames} frames at "
            f"{self.activations:.2f} for the backward pass, {self.loaded} loaded at {self.pictures:.2f})"
        )


def estimate_peak(
    network: nn.Module, learn: Callable[[], object], *, frames: int, tried: int, loaded: int, pictures: float
) -> Estimate:
    """Estimate what a training adds to the memory of its process, from a forward pass of few frames.

    Parameters
    ----------
    network
        With everything frozen that will be.
    learn
        Runs the forward pass of `tried` frames, with gradients but without the backward pass.
    frames
        Frames that will be in the network at once.
    tried
        Frames of `learn`.
    loaded
        Frames that will be loaded at once.
    pictures
        Input and target of one frame, MiB.
    """
    learnt = sum(_size(one) for one in network.parameters() if one.requires_grad)
    weights = sum(_size(one) for one in _tensors(network)) + 3 * learnt  # gradient and Adam's two moments
    return Estimate(weights / MIB, count_saved(network, learn) / MIB / tried, pictures, frames, loaded)


def count_saved(network: nn.Module, learn: Callable[[], object]) -> int:
    """Count the bytes that a forward pass keeps for its backward pass, besides the network's own tensors.

    Parameters
    ----------
    network
        Whose weights are not counted, as they are there anyway.
    learn
        Runs the forward pass.
    """
    own = {one.untyped_storage().data_ptr() for one in _tensors(network)}
    kept: dict[int, int] = {}
    alive: list[torch.Tensor] = []  # so that no storage is given out again while we count

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        result = learn()
    del result
    return sum(kept.values())


def read_peak(device: torch.device) -> float:
    """Return the most memory that this process ever held, MiB: resident on the CPU, allocated on a GPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / MIB
    status = Path("/proc/self/status")  # a child's getrusage begins with its parent's peak; the kernel's own does not
    lines = status.read_text().splitlines() if status.is_file() else []
    marks = [int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")]
    if marks:
        return marks[0]
    unit = MIB if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def read_free(device: torch.device) -> float:
    """Return how much more memory a training may take, MiB; infinite where the system does not say.

    On the CPU a process that takes more is killed without a word, so that it has to be known beforehand.
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] / MIB
    return min(_free_of_machine(Path("/proc/meminfo")), _free_of_group(Path("/sys/fs/cgroup")))


def _free_of_machine(path: Path) -> float:
    lines = path.read_text().splitlines() if path.is_file() else []
    found = [int(line.split()[1]) / 1024 for line in lines if line.startswith("MemAvailable")]
    return found[0] if found else float("inf")


def _free_of_group(folder: Path) -> float:
    """Read the limit that a container or a cluster sets (cgroup version 2)."""
    limit, used, facts = (folder / f"memory.{name}" for name in ("max", "current", "stat"))
    if not all(path.is_file() for path in (limit, used, facts)) or limit.read_text().strip() == "max":
        return float("inf")
    cache = [int(line.split()[1]) for line in facts.read_text().splitlines() if line.startswith("inactive_file ")]
    return (int(limit.read_text()) - int(used.read_text()) + sum(cache)) / MIB


def _tensors(network: nn.Module) -> Iterable[Any]:
    return [*network.parameters(), *network.buffers()]


def _size(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()
