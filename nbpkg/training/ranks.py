"""One process of a training by several, as `group` starts it: ``python -m nbpkg.training.ranks JOB SHA256``."""

from __future__ import annotations

import hashlib
import os
import pickle
import sys
import threading
import traceback
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
import torch.distributed as dist

from nbpkg import errors
from nbpkg.errors import NbpkgError, SettingsError, StageError
from nbpkg.models.device import is_out_of_memory
from nbpkg.progress import Report
from nbpkg.training.group import Job, Work
from nbpkg.training.peers import Peers
from nbpkg.training.relay import FAILED, MEMORY, Relay, send

_WAITING = timedelta(hours=1)  # for another process, which may read clips from a slow disk meanwhile


def main() -> None:
    """Take part in a training to its end."""
    sys.excepthook = _fail
    threading.Thread(target=_end_with_caller, daemon=True).start()
    work = _read(Path(sys.argv[1]), sys.argv[2])
    torch.set_num_threads(work.threads)
    job = work.job
    device = _choose_device(job)
    dist.init_process_group("gloo" if device.type == "cpu" else "nccl", timeout=_WAITING)
    readers = -(-job.workers // job.launch.processes)
    peers = Peers(dist.get_rank(), dist.get_world_size(), Report if dist.get_rank() else Relay)
    work.run(job.on(device, workers=readers), peers)
    dist.barrier()
    dist.destroy_process_group()


def _read(path: Path, digest: str) -> Work:
    packed = path.read_bytes()
    if hashlib.sha256(packed).hexdigest() != digest:
        raise StageError(
            "The job of the training is not the one that was written.",
            where=str(path),
            remedy="See who else writes there, and run the stage again.",
        )
    try:
        work: Work = pickle.loads(packed)  # noqa: S301 - the very bytes that the caller wrote
    except (AttributeError, ImportError) as error:
        raise StageError(
            f"The training cannot be handed to other processes: {error}.",
            expected="A network and clips whose classes and functions stand in a module, at its top level.",
            remedy="Move them out of the notebook into a file, or set launch.processes and launch.nodes to 1.",
        ) from None
    return work


def _choose_device(job: Job) -> torch.device:
    """Return this process's own GPU, or the CPU."""
    if job.device.type == "cpu":
        return job.device
    place = int(os.environ["LOCAL_RANK"])
    number = job.launch.gpus[place] if job.launch.gpus else place
    if number >= torch.cuda.device_count():
        raise SettingsError(
            f"Process {place} of this node is to have GPU {number}, but torch sees {torch.cuda.device_count()} GPUs.",
            expected="A GPU for each process: launch.processes and launch.gpus count those of one node.",
            remedy="Ask the cluster for more GPUs, or set launch.processes lower or device to 'cpu'.",
        )
    torch.cuda.set_device(number)
    return torch.device("cuda", number)


def _end_with_caller() -> None:
    """End this process when the one that started the group has died or wants it to end."""
    while os.read(0, 1024):
        pass
    os._exit(1)


def _fail(_kind: type[BaseException], error: BaseException, _trace: TracebackType | None) -> None:
    """Tell the caller what went wrong and end at once: an ordinary end could wait for others that wait for this one."""
    send({FAILED: {"rank": int(os.environ["RANK"]), **_describe(error)}})
    traceback.print_exception(error, file=sys.__stderr__)  # torch puts something else into sys.stderr at such a moment
    os._exit(1)


def _describe(error: BaseException) -> dict[str, Any]:
    first = str(error).splitlines()[0] if str(error) else type(error).__name__
    if isinstance(error, NbpkgError):
        known = next(kind.__name__ for kind in type(error).__mro__ if hasattr(errors, kind.__name__))
        return {"kind": known, **{name: getattr(error, name) for name in ("what", "where", "expected", "remedy")}}
    if isinstance(error, (RuntimeError, MemoryError)) and is_out_of_memory(error):
        return {"kind": MEMORY, "text": first}
    return {"kind": "other", "text": f"{type(error).__name__}: {first}"}


if __name__ == "__main__":
    main()
