"""Work with a copy of the project whose jobs run on SLURM."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from patience import PATIENCE_S, wait_until

from nbpkg.runs.files import read_json
from nbpkg.settings.experiment import read_file

# Asks SLURM every other second; by itself the executor asks more and more rarely, up to every three minutes.
SNAKEMAKE = """
import sys
import snakemake_executor_plugin_slurm as plugin
from snakemake.cli import main
plugin.Executor.next_seconds_between_status_checks = property(lambda self: 2, lambda self, seconds: None)
main(sys.argv[1:])
"""
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
SEARCH, FINAL = "05_train/finetune_search", "05_train/final"
DATA_STEPS = ("01_parse", "02_prepare", "03_stratify", "04_bake")
TRAIN_STEPS = ("05_train/head_search", SEARCH, FINAL, "06_evaluate")


class Project:
    """A project folder.

    Parameters
    ----------
    folder
        Where it lies.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write_experiment(self, name: str, *, own_data: bool, changes: dict[str, Any] | None = None) -> Path:
        """Write the sample experiment with a small training and without people's attention; return its file.

        Without `own_data` it takes stages 01 to 04 from the finished sample; `changes` are single settings such as
        ``{"train.final.finetune.epochs": 3}``.
        """
        values = read_file(self.folder / "params" / "infant_engagement" / "sample.yaml")
        train = values["train"] | {"pairs": ["drums/attending"]}
        train["head_search"] |= {"settings": 8, "repetitions": 1, "epochs": 10}
        train["finetune_search"] |= {"settings": 8, "epochs": 1, "window": 0, "warm_up": 0, "max_batches": 2}
        # Gentle: by several processes rounding differs, and training makes differences grow.
        train["final"]["finetune"] |= {
            "epochs": 4,
            "max_batches": 6,
            "learning_rate": 1.0e-4,
            "batch_statistics": False,
        }
        values |= {"experiment": name, "train": train, "overrides": changes or {}}
        values["evaluate"] |= {"resamples": 100, "write_eaf": False}
        if not own_data:
            values["inputs"] = dict.fromkeys(("parse", "prepare", "stratify", "bake"), "sample")
        for stage in ("paint", "compare"):
            del values[stage]
        path = self.folder / "params" / "infant_engagement" / f"{name}.yaml"
        path.write_text(yaml.safe_dump(values, sort_keys=False))
        return path

    def snakemake(self, name: str, *options: str, log: Path) -> subprocess.Popen:
        """Start snakemake on an experiment; what it says goes to `log`."""
        command = [sys.executable, "-c", SNAKEMAKE, *options, "--quiet", "rules", "host"]
        command += ["--config", "study=infant_engagement", f"experiment={name}"]
        with log.open("w") as stream:
            return subprocess.Popen(command, cwd=self.folder, env=environment(), stdout=stream, stderr=stream)

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """If the block fails, say what is known of jobs and logs, and leave no job behind."""
        try:
            yield
        except (AssertionError, subprocess.SubprocessError) as error:
            told = self.describe()
            cancel_all()
            raise AssertionError(f"{error}\n{told}") from error

    def describe(self) -> str:
        """What snakemake and SLURM say, and the ends of the logs that were written last."""
        logs = [*self.folder.glob("outputs/slurm/**/*.log"), *self.folder.glob("slurm-*.log")]
        newest = sorted(logs, key=lambda path: path.stat().st_mtime)[-4:]
        queue = subprocess.run(["squeue", "--all"], capture_output=True, text=True, timeout=PATIENCE_S).stdout
        parts = {"squeue": queue} | {
            str(path.relative_to(self.folder)): "\n".join(path.read_text(errors="replace").splitlines()[-60:])
            for path in (*sorted(self.folder.glob("*.snakemake")), *newest)
        }
        return "\n".join(f"---- {name}\n{text}" for name, text in parts.items())

    def step(self, name: str, step: str) -> Path:
        """Folder of a step of an experiment."""
        return self.folder / "outputs" / "infant_engagement" / name / step

    def receipt(self, name: str, step: str) -> dict[str, Any]:
        """Receipt of a finished step."""
        return read_json(self.step(name, step) / "receipt.json")

    def artefacts(self, name: str, step: str) -> dict[str, str]:
        """What a step has promised to have written: file and hash."""
        return {file: entry["sha256"] for file, entry in self.receipt(name, step)["outputs"].items()}


def environment(**more: str) -> dict[str, str]:
    """Environment of a command that belongs to the copy."""
    return {key: value for key, value in os.environ.items() if key != "NBPKG_ROOT"} | more


def stop(run: subprocess.Popen) -> None:
    """End a process, whatever it takes."""
    if run.poll() is None:
        run.terminate()
        try:
            run.wait(timeout=60)
        except subprocess.TimeoutExpired:
            run.kill()
            run.wait()


def cancel_all() -> None:
    """Cancel all jobs, and wait until SLURM has none left."""
    subprocess.run(["scancel", "--user=root"], timeout=PATIENCE_S)
    over = {"CANCELLED", "COMPLETED", "FAILED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY"}
    wait_until(lambda: all(over & {*states_of(job)} for job in squeue()), "all jobs have ended", seconds=240)


def states_of(job: dict[str, Any]) -> list[str]:
    """States of a job: one word in older versions of SLURM, a list in newer ones."""
    return [job["job_state"]] if isinstance(job["job_state"], str) else job["job_state"]


def squeue(*options: str) -> list[dict[str, Any]]:
    """What SLURM knows of the jobs."""
    done = subprocess.run(["squeue", "--json", *options], capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["jobs"]


def processes(*words: str) -> list[int]:
    """Processes whose command line holds all words."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            command = (place / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
        except (FileNotFoundError, ProcessLookupError):  # it has just ended
            continue
        if all(word in command for word in words):
            found.append(int(place.name))
    return found


def children(pid: int) -> list[int]:
    """Processes that a process has started, and theirs."""
    try:
        own = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []
    return own + [each for child in own for each in children(child)]


def kernel_of(*words: str) -> int | None:
    """Kernel of the notebook that runs under a command line with these words."""
    kernels = processes("ipykernel")
    return next((pid for runner in processes("nbpkg run", *words) for pid in children(runner) if pid in kernels), None)


@contextmanager
def frozen(pid: int) -> Iterator[Callable[[], bool]]:
    """Let a process do nothing while the block runs; gives what tells whether a signal is waiting for it.

    What is to meet a process in the middle of its work can then come as late as it likes.
    """

    def is_told() -> bool:
        lines = dict(line.split(":") for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        waiting = int(lines["ShdPnd"], 16) | int(lines["SigPnd"], 16)
        return any(waiting & 1 << (number - 1) for number in STOPS)

    os.kill(pid, signal.SIGSTOP)
    try:
        yield is_told
    finally:
        os.kill(pid, signal.SIGCONT)
