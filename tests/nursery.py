"""A process that has everything loaded and forks off workers, since to start Python with torch takes seconds.

Run as a script it is that process: each line of its standard input names a function and what it is given.
"""

from __future__ import annotations

import importlib.util
import json
import os
import pickle
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from patience import wait_until


class Worker:
    """A process that calls one function.

    Parameters
    ----------
    pid
        Its number.
    outcome
        File that it writes when the function has returned.
    """

    def __init__(self, pid: int, outcome: Path) -> None:
        self.pid, self.outcome = pid, outcome

    def poll(self) -> int | None:
        """Return 0 when the function has returned, 1 when it raised or was killed, None while it runs."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return int(not self.outcome.is_file())
        return None

    def send_signal(self, number: int) -> None:
        """Send a signal, if it still runs."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Send SIGKILL, if it still runs."""
        self.send_signal(signal.SIGKILL)

    def wait(self) -> int:
        """Wait for its end; return what `poll` says then."""
        wait_until(lambda: self.poll() is not None, "the worker ends", pause=0.005)
        return int(self.poll() or 0)

    def result(self) -> Any:
        """Wait for its end; return what the function returned."""
        assert self.wait() == 0, "the function raised, or the process was killed"
        return pickle.loads(self.outcome.read_bytes())


class Nursery:
    """Starts workers.

    Parameters
    ----------
    folder
        For what is handed over.
    modules
        What is loaded before the first worker.
    """

    def __init__(self, folder: Path, *modules: str) -> None:
        self.folder, self.count = folder, 0
        command = [sys.executable, __file__, *modules]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def start(self, function: Callable[..., Any], *arguments: object) -> Worker:
        """Begin a function of a file's top level with these arguments."""
        self.count += 1
        work, outcome = (self.folder / f"{self.count}.{end}" for end in ("work", "outcome"))
        work.write_bytes(pickle.dumps(arguments))
        file = function.__code__.co_filename
        self.process.stdin.write(json.dumps([file, function.__name__, str(work), str(outcome)]) + "\n")
        self.process.stdin.flush()
        return Worker(int(self.process.stdout.readline()), outcome)

    def close(self) -> None:
        """End it; workers that still run go on."""
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def serve(modules: list[str]) -> None:
    """Fork a worker for each line of standard input."""
    import torch

    for name in modules:
        importlib.import_module(name)
    torch.set_num_threads(1)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # so that the system forgets workers as soon as they have ended
    for line in sys.stdin:
        file, name, work, outcome = json.loads(line)
        function = getattr(load(file), name)
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(2, 1)
            answer(function, Path(work), Path(outcome))
        print(child, flush=True)


def load(file: str) -> Any:
    """Load a Python file once, by its place: files of the same name stand in several folders."""
    name = f"nursery_{file}"
    if name not in sys.modules:
        sys.path.insert(0, str(Path(file).parent))
        spec = importlib.util.spec_from_file_location(name, file)
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


def answer(function: Callable[..., Any], work: Path, outcome: Path) -> None:
    """Call a function and write down what it returns; never return."""
    try:
        result = function(*pickle.loads(work.read_bytes()))
        temporary = outcome.with_suffix(".new")
        temporary.write_bytes(pickle.dumps(result))
        temporary.rename(outcome)
    except BaseException:  # noqa: BLE001 - whatever it was, the worker must not go on as a nursery
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    serve(sys.argv[1:])
