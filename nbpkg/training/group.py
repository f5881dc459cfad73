"""One training by several processes: starts them, follows them, ends them, and says in words how they ended.

The process that calls trains nothing itself. It starts torch's launcher, which starts the processes of `ranks`, on one
machine directly and on several through SLURM's ``srun``. The first of them writes the checkpoints. Two pipes connect
them with the caller: on standard output they tell how far they are and why they failed; of standard input they only
wait for the end, which comes when the caller has closed it or has died, on whatever machine they are.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import re
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol

import torch
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from nbpkg import errors
from nbpkg.errors import NbpkgError, SettingsError, StageError
from nbpkg.progress import Report
from nbpkg.runs.files import cannot_write, new_file
from nbpkg.settings.launch import LaunchSettings
from nbpkg.training.peers import Peers
from nbpkg.training.relay import FAILED, MEMORY, Message, replay, understand

SCRATCH = "group"  # in the folder of the training, while it runs
JOB, LOG = "job.pickle", "log.txt"
_ENDING_S = 40.0  # torch's launcher gives its processes 30 seconds to end, SLURM as many
_TAIL = 8  # last lines of the log in a message
# What is left of another group, or of a launcher around this process, must not reach the new one.
_FOREIGN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "MASTER_ADDR", "MASTER_PORT")


class Job(Protocol):
    """A training that can be handed to other processes."""

    @property
    def folder(self) -> Path:
        """Where it keeps its checkpoints."""

    @property
    def device(self) -> torch.device:
        """Where to train; in a group it says only of which type."""

    @property
    def workers(self) -> int:
        """Processes that read what is learnt from."""

    @property
    def launch(self) -> LaunchSettings:
        """How many processes train together."""

    def portable(self) -> Job:
        """Return it with its network on the CPU, a copy."""

    def on(self, device: torch.device, *, workers: int) -> Job:
        """Return it on another device, read by so many processes."""


class Work(NamedTuple):
    """What a process of the group is given.

    Parameters
    ----------
    run
        Function at the top level of a module: trains `job` as one of several peers.
    job
        The training; its device says only of which type it is.
    threads
        Threads of torch on the CPU.
    """

    run: Callable[[Any, Peers], None]
    job: Job
    threads: int


def fit(job: Job, run: Callable[[Any, Peers], None]) -> str:
    """Train by a group of processes, from the last checkpoint in the job's folder to the last epoch.

    Parameters
    ----------
    job
        The training; nothing of it is changed.
    run
        As in `Work`.

    Returns
    -------
    str
        What the allocator of one of the processes said when memory did not suffice; else nothing.

    Raises
    ------
    NbpkgError
        What one of the processes raised, of the same class.
    SettingsError
        For several nodes outside an allocation.
    StageError
        When the job cannot be handed over, or a process dies.
    """
    _check_nodes(job.launch)
    threads = max(1, torch.get_num_threads() // job.launch.processes)
    packed = _pack(Work(run, job, threads))
    digest = hashlib.sha256(packed).hexdigest()
    with _scratch_folder(job.folder) as scratch, _meeting_point(job.launch) as meeting:
        _write_privately(scratch / JOB, packed)
        command = build_command(job.launch, scratch / JOB, digest=digest, meeting=meeting)
        with (scratch / LOG).open("ab") as log:
            code, failures = _run(command, log, _environment(job.launch, threads))
        return "" if code == 0 else _judge(failures, code, scratch / LOG)


# ---- before


def _check_nodes(launch: LaunchSettings) -> None:
    if launch.nodes > 1 and "SLURM_JOB_ID" not in os.environ:
        raise SettingsError(
            f"launch.nodes is {launch.nodes}, but this is no SLURM job.",
            expected="An allocation of that many nodes, within which the training is started.",
            remedy="Submit the notebook to the cluster, or set launch.nodes to 1.",
        )


def _pack(work: Work) -> bytes:
    device = torch.device(work.job.device.type)
    job = work.job.portable().on(device, workers=work.job.workers)  # else it would come out on one GPU everywhere
    try:
        return pickle.dumps(work._replace(job=job))
    except (pickle.PicklingError, AttributeError, TypeError, ValueError) as error:
        raise StageError(
            f"The training cannot be handed to other processes: {error}.",
            expected="A network and clips whose classes and functions stand in a module, at its top level.",
            remedy="Move them out of the notebook into a file, or set launch.processes and launch.nodes to 1.",
        ) from None


@contextmanager
def _scratch_folder(folder: Path) -> Iterator[Path]:
    """Make a private folder in that of the training; of it only the log stays, and only if a message points to it."""
    scratch = folder / SCRATCH
    shutil.rmtree(scratch, ignore_errors=True)  # of a run that was killed
    try:
        folder.mkdir(parents=True, exist_ok=True)
        scratch.mkdir(mode=0o700)
    except OSError as error:
        raise cannot_write(scratch, error) from None
    keep = False
    try:
        yield scratch
    except StageError as error:
        keep = str(scratch / LOG) in error.where
        raise
    finally:
        for path in scratch.iterdir():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)  # what torch's launcher keeps there
            elif not (keep and path.name == LOG):
                path.unlink()
        if not keep:
            scratch.rmdir()


def _write_privately(path: Path, content: bytes) -> None:
    """Write a file that nobody else may read, complete or not at all."""
    with new_file(path) as temporary:
        temporary.touch(mode=0o600)
        temporary.write_bytes(content)


@contextmanager
def _meeting_point(launch: LaunchSettings) -> Iterator[str]:
    """Serve the store in which the launchers of several nodes find each other; on one node there is nothing to find."""
    if launch.nodes == 1:
        yield ""
        return
    # Served from here: only here can a free port be taken without somebody else's taking it first.
    store = TCPStore(socket.gethostname(), 0, is_master=True, wait_for_workers=False)
    yield f"{socket.gethostname()}:{store.port}"


def build_command(launch: LaunchSettings, job: Path, *, digest: str, meeting: str) -> list[str]:
    """Return the command that starts a group.

    Parameters
    ----------
    launch
        How many processes and nodes.
    job
        File with the pickled `Work`.
    digest
        Its SHA-256, so that a process runs nothing else than what it was given.
    meeting
        Host and port of the store for several nodes.
    """
    torchrun = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={launch.processes}"]
    torchrun += [f"--log-dir={job.parent}"]  # else every start leaves a folder in /tmp
    ranks = ["-m", "nbpkg.training.ranks", str(job), digest]
    if launch.nodes == 1:
        return [*torchrun, "--standalone", "--local-addr=localhost", *ranks]
    # The settings of the job may not be in the environment: Snakemake takes most of SLURM's variables away.
    srun = ["srun", f"--jobid={os.environ['SLURM_JOB_ID']}", f"--nodes={launch.nodes}", f"--ntasks={launch.nodes}"]
    srun += ["--ntasks-per-node=1", "--overlap", "--cpu-bind=none", "--kill-on-bad-exit=1"]
    together = [f"--nnodes={launch.nodes}", "--rdzv-backend=c10d", f"--rdzv-endpoint={meeting}"]
    together += [f"--rdzv-id={digest[:16]}", "--rdzv-conf=is_host=false"]
    return [*srun, *torchrun, *together, *ranks]


def _environment(launch: LaunchSettings, threads: int) -> dict[str, str]:
    """Return the environment of the group: modules are found where they are found here."""
    kept = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
    kept["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(path or str(Path.cwd()) for path in sys.path))
    kept["OMP_NUM_THREADS"] = str(threads)
    if launch.nodes == 1 and sys.platform == "linux":
        kept.setdefault("GLOO_SOCKET_IFNAME", "lo")  # what stays on one machine needs no network
    return kept


# ---- while it runs


def _run(command: list[str], log: IO[bytes], environment: dict[str, str]) -> tuple[int, list[Mapping[str, Any]]]:
    """Run a group to its end; return the exit status, and what failed in the order in which it was told."""
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment,
            start_new_session=True,  # an interrupt from the keyboard is for the caller alone
        )
    except OSError as error:
        raise StageError(
            f"{command[0]!r} cannot be started: {error.strerror}.",
            expected="SLURM's 'srun' on every node that trains, also in a container.",
            remedy="Set launch.nodes to 1, or run where srun is installed.",
        ) from None
    failures: list[Mapping[str, Any]] = []
    report: Report | None = None
    try:
        for message in _listen(process, log):
            if FAILED in message:
                failures.append(message[FAILED])
            report = replay(message, report)
        return process.wait(), failures
    finally:
        _end(process)


def _listen(process: subprocess.Popen[bytes], log: IO[bytes]) -> Iterator[Message]:
    """Give the messages of a group until it is over; whatever else it writes goes to the log."""
    rest = b""
    while True:
        over = process.poll() is not None
        data = _receive(process, 0.0 if over else 1.0)
        if data == b"" or (over and data is None):
            return  # the second: the launcher is dead, although its processes live on and keep the pipe open
        *lines, rest = (rest + (data or b"")).split(b"\n")
        for line in lines:
            message = understand(line)
            if message is not None:
                yield message
            elif line:
                log.write(line + b"\n")
                log.flush()


def _receive(process: subprocess.Popen[bytes], seconds: float) -> bytes | None:
    """Return what a group wrote: nothing at its end, None when nothing came in time."""
    stream = process.stdout
    if stream is None:
        return b""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        return os.read(stream.fileno(), 65536) if selector.select(seconds) else None


def _end(process: subprocess.Popen[bytes]) -> None:
    """See to it that no process of a group is left."""
    if process.stdin is not None:
        process.stdin.close()  # what every process of the group waits for
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_ENDING_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    deadline = time.monotonic() + _ENDING_S
    while time.monotonic() < deadline and _receive(process, 1.0) != b"":
        pass  # the pipe ends with the last process
    if process.stdout is not None:
        process.stdout.close()


# ---- after


def _judge(failures: list[Mapping[str, Any]], code: int, log: Path) -> str:
    """Return what the allocator said when memory did not suffice; raise whatever else ended a group.

    What came first counts: one that is gone makes the others fail, too.
    """
    text = log.read_text(encoding="utf-8", errors="replace")
    signals = [-code, *map(int, re.findall(r"exitcode\s*:\s*-(\d+)", text))]  # of the launcher, of its processes
    killed = [number for number in signals if number > 0 and number != signal.SIGTERM]  # which ends those that wait
    first = failures[0] if failures else None
    if first is not None and first["kind"] == MEMORY:
        return str(first["text"])
    if first is not None and hasattr(errors, first["kind"]):
        raise _rebuild(first)
    if signal.SIGKILL in killed:
        raise StageError(
            "A process of the training was killed (SIGKILL), most often because memory ran out.",
            where=f"the log {log}",
            remedy="Ask for more memory or set a smaller batch_size, and run it again: it goes on from the last epoch.",
        )
    died = f"a process died of {signal.Signals(killed[0]).name}" if killed else ""
    what = first["text"] if first else died or _last_words(text) or f"they ended with status {code}"
    place = f"process {first['rank']} of the group, " if first else ""
    raise StageError(
        f"The processes of the training stopped: {what}",
        where=f"{place}the whole log is {log}",
        remedy="Look there for the cause; with launch.processes and launch.nodes at 1 it may be easier to find.",
    )


def _rebuild(failure: Mapping[str, Any]) -> NbpkgError:
    kind: type[NbpkgError] = getattr(errors, failure["kind"])
    return kind(failure["what"], where=failure["where"], expected=failure["expected"], remedy=failure["remedy"])


def _last_words(text: str) -> str:
    """Return the last lines of a log, without what torch's launcher adds."""
    lines = list(dict.fromkeys(line for line in text.splitlines() if line.strip()))  # all say the same
    own = next((place for place, line in enumerate(lines) if "torch/distributed/elastic" in line), len(lines))
    return "\n".join(lines[:own][-_TAIL:])
