"""Networks and clips that the processes of a group can import, and a training that is killed."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from nbpkg.errors import StageError
from nbpkg.settings.launch import LaunchSettings
from nbpkg.training.finetune import FineTune, Trained, fine_tune

CPU = torch.device("cpu")
PAIR, TRIO = LaunchSettings(processes=2), LaunchSettings(processes=3)
# Steps of 6, 6, 6 and 4 clips in parts of 3: of each part the first process has two clips, the second one or none.
HOW = FineTune(
    epochs=3,
    batch_size=3,
    accumulate=2,
    learning_rate=0.05,
    lr_decay=0.1,
    weight_decay=0.01,
    class_weights=(4.0, 1.25),
    window=1,
    warm_up=0,
)


def clips(seed: int, count: int = 22) -> TensorDataset:
    x = torch.randn(count, 5, generator=torch.Generator().manual_seed(seed))
    return TensorDataset(x, (x[:, 0] + 0.3 * x[:, 1] > 0).long())


def network(*layers: nn.Module) -> nn.Module:
    """A network of fixed weights."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return nn.Sequential(nn.Linear(5, 8), *layers, nn.Tanh(), nn.Linear(8, 2))


class Partly(nn.Module):
    """A network with parameters that nothing uses, and some that are not trained."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.unused = network(nn.LayerNorm(8)), nn.Parameter(torch.ones(3))
        self.inner[0].requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x)


class Greedy(nn.Module):
    """Asks the allocator of the second process for what no machine has when more than `most` clips come at once."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.inner, self.most = network(), most

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) > self.most and os.environ.get("RANK", "1") == "1":
            torch.empty(2**48)
        return self.inner(x)


@dataclass
class Acting(Dataset):
    """Clips that do something to a process when the process `rank` of a group reads the first of them in an epoch."""

    epoch: int
    rank: int
    act: str
    target: int

    def __len__(self) -> int:
        return 22

    def __getitem__(self, index: int):
        if os.environ.get("RANK") == str(self.rank):
            os.kill(self.target or os.getpid(), signal.Signals[self.act])
            time.sleep(3600)  # whoever is to end the processes must not wait for them
        return clips(self.epoch)[index]


def train(epoch: int, *, at: int, rank: int, act: str, target: int = 0) -> Dataset:
    """Clips of an epoch; in epoch `at` they act."""
    return Acting(epoch, rank, act, target) if epoch == at else clips(epoch)


def spoilt(epoch: int) -> TensorDataset:
    """Clips of which one is not finite in epoch 2; the second process gets it."""
    data = clips(epoch)
    if epoch == 2:
        data.tensors[0][5] = float("inf")
    return data


def run(folder: Path, net: nn.Module | None = None, **changes) -> Trained:
    arguments = {"train": clips, "validation": clips(99, 13), "watch": {"test": clips(98, 5)}, "how": HOW}
    arguments |= {"seed": 1, "device": CPU, "workers": 0, "launch": PAIR, **changes}
    return fine_tune(net or network(nn.Dropout(0.3)), folder=folder, **arguments)


def list_processes(folder: Path) -> list[str]:
    """Command lines of the living processes that were given a job in a folder."""
    found = []
    for record in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(record.read_bytes().replace(b"\0", b" ").decode())
        except (FileNotFoundError, ProcessLookupError):  # ended meanwhile
            continue
    return [line for line in found if str(folder) in line and "/group/job.pickle" in line]


def run_and_kill(folder: str, epoch: int, who: str) -> str:
    """Train; in that epoch the second process of the group or this one, the caller, is killed; what is said of it."""
    import group_cases as cases  # a module that the processes of the group find by this name

    torch.set_num_threads(1)
    target = os.getpid() if who == "caller" else 0
    try:
        cases.run(Path(folder), train=partial(cases.train, at=epoch, rank=1, act="SIGKILL", target=target))
    except StageError as error:
        return str(error)
    return ""
