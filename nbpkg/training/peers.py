"""What the processes that train one network together tell each other; a single process has nobody to tell."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from nbpkg.progress import Report
from nbpkg.training.relay import Relay


class Shared:
    """A network whose gradients all processes share; no part of the module that holds it, so no entry is renamed.

    Parameters
    ----------
    network
        On its device.
    size
        Processes that train together.
    """

    def __init__(self, network: nn.Module, size: int) -> None:
        self.size = size
        self.network = network
        if size > 1:
            # Looking for unused parameters allows networks that have some, and torch then keeps to one division into
            # buckets: it would else make another after the first step, and a resumed training would round otherwise.
            self.network = DistributedDataParallel(network, find_unused_parameters=True)

    def joined(self, *, last: bool) -> AbstractContextManager[None]:
        """Return the context for one part of a step; gradients go round once, with the last one."""
        if isinstance(self.network, DistributedDataParallel) and not last:
            context: AbstractContextManager[None] = self.network.no_sync()
            return context
        return nullcontext()

    def scale(self, loss: torch.Tensor) -> torch.Tensor:
        """Undo the division by the number of processes, so that gradients are added up and not averaged."""
        return loss * self.size if self.size > 1 else loss


@dataclass(frozen=True)
class Peers:
    """The processes of one training, as one of them sees them.

    Parameters
    ----------
    rank
        Which one this is, from 0; only the first one writes files and reports progress.
    size
        How many there are.
    begin
        Begins a progress report.
    """

    rank: int = 0
    size: int = 1
    begin: Callable[..., Report | Relay] = Report

    @property
    def names(self) -> tuple[str, ...]:
        """For seeds: nothing for the first process, which draws what a single one would."""
        return (f"rank {self.rank}",) if self.rank else ()

    def prepare(self, network: nn.Module) -> nn.Module:
        """Let batch normalisation on GPUs see the clips of all processes; no entry is renamed."""
        if self.size == 1 or dist.get_backend() != "nccl":
            return network
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(network)
        return converted

    def share_gradients(self, network: nn.Module) -> Shared:
        """Return the network to train with; all processes begin with the weights of the first one."""
        return Shared(network, self.size)

    def share_buffers(self, network: nn.Module) -> None:
        """Give all processes the running statistics of the first one."""
        if self.size > 1:
            for value in network.buffers():
                dist.broadcast(value, src=0)

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Add up over the processes: whole numbers exactly, others in float64."""
        if self.size == 1:
            return values
        total = values.double() if values.is_floating_point() else values.clone()
        dist.all_reduce(total)
        return total.to(values.dtype)

    def add_up(self, number: float, device: torch.device) -> Any:
        """Add up a number over the processes; a tensor, float64, unless there is one process only.

        Reading it would make the host wait for the device.
        """
        return number if self.size == 1 else self.sum(torch.tensor(number, dtype=torch.float64, device=device))

    def once(self, value: torch.Tensor) -> torch.Tensor:
        """Return in all but the first process zero for a value that all have, before it is added up."""
        return value if self.rank == 0 else torch.zeros_like(value)


ALONE = Peers()
