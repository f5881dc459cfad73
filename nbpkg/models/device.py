"""Where networks run, in which arithmetic, and in how many parts when memory is short."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from nbpkg import progress
from nbpkg.errors import SettingsError, StageError

_FULL = ("can't allocate memory", "not enough memory", "out of memory", "Cannot allocate memory", "ALLOC_FAILED")
_TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_device(name: str, *, threads: int = 0) -> torch.device:
    """Turn the setting ``device`` into a torch device, and pin torch's threads.

    Parameters
    ----------
    name
        ``auto`` (the first GPU, else the CPU), ``cpu``, ``cuda`` or ``cuda:N``.
    threads
        Threads on the CPU, also more than it has cores, which the environment cannot ask for; 0 leaves them.

    Raises
    ------
    SettingsError
        When a GPU is asked for that is not there.
    """
    if threads:
        torch.set_num_threads(threads)
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise SettingsError(
            f"device is {name!r}, but this machine shows {torch.cuda.device_count()} GPUs to torch.",
            remedy="Set device to 'auto' or 'cpu', or ask the cluster for a GPU.",
        )
    return device


def count_readers(device: torch.device, workers: int) -> int:
    """Return how many processes should read clips: none beside a network on the CPU, which fills the cores itself."""
    return workers if device.type == "cuda" else 0


def to_channels_last(network: nn.Module) -> nn.Module:
    """Lay the weights of video convolutions out as `torch.channels_last_3d`: several times faster on the CPU."""
    if any(isinstance(layer, nn.Conv3d) for layer in network.modules()):
        network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    return network


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return the context in which a network runs in ``float32``, ``bfloat16`` or ``float16`` (mixed)."""
    return torch.autocast(device.type, dtype=_TYPES[precision], enabled=precision != "float32")


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that memory did not suffice, on a GPU or on the CPU."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(text in str(error) for text in _FULL)


class Parts:
    """Run batches whole, and in ever smaller parts once memory does not suffice.

    Parameters
    ----------
    size
        Clips in the network at once, to begin with.
    """

    def __init__(self, size: int) -> None:
        self.size = size

    def run(self, compute: Callable[[torch.Tensor], NDArray[np.float32]], clips: torch.Tensor) -> NDArray[np.float32]:
        """Return what `compute` gives for all clips ``[B, ...]``, row by row.

        Raises
        ------
        StageError
            When not even a single clip fits into memory.
        """
        while True:
            try:
                return np.concatenate([compute(part) for part in clips.split(self.size)])
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                self._halve(error)

    def _halve(self, error: BaseException) -> None:
        if self.size == 1:
            raise StageError(
                f"Not even a single clip fits into memory: {error}",
                remedy="Use fewer or smaller frames, a smaller network, bfloat16, or a device with more memory.",
            ) from None
        progress.say(
            f"A batch of {self.size} clips does not fit into memory; going on with {self.size // 2} at a time."
        )
        self.size //= 2
