"""Work with a copy of the project whose jobs run on SLURM."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import yaml

from nbpkg.runs.files import read_json
from nbpkg.settings.experiment import read_file

Found = TypeVar("Found")
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
        train["final"]["finetune"] |= {"epochs": 6, "max_batches": 6}
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
        command = [sys.executable, "-m", "snakemake", *options, "--quiet", "rules", "host"]
        command += ["--config", "study=infant_engagement", f"experiment={name}"]
        with log.open("w") as stream:
            return subprocess.Popen(command, cwd=self.folder, env=environment(), stdout=stream, stderr=stream)

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


def wait_for(
    look: Callable[[], Found | None], *, seconds: float = 240, running: subprocess.Popen | None = None
) -> Found:
    """Wait until `look` finds something, and return it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := look():
            return found
        assert running is None or running.poll() is None, "the run ended before"
        time.sleep(0.1)
    raise AssertionError("it never came")


def squeue(*options: str) -> list[dict[str, Any]]:
    """What SLURM knows of the jobs."""
    done = subprocess.run(["squeue", "--json", *options], capture_output=True, text=True, timeout=60, check=True)
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
