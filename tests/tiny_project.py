"""A project with one small notebook, and what the tests of the runner do with it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from patience import PATIENCE_S, wait_until

from nbpkg.runs.files import read_json
from nbpkg.settings.experiment import PARAMETERS_CELL, read_file

NOTEBOOK, FILE = "notebooks/01_parse_annotations.ipynb", "params/infant_engagement/tiny.yaml"
OPEN = """\
from nbpkg import runs
from nbpkg.settings.experiment import read_cell
from nbpkg.studies import protocol
_, checked = protocol.check_values(read_cell(globals()))
stage = runs.open_stage("parse", checked, about="a stage that does next to nothing")
"""
WAIT = """\
import os, time
from pathlib import Path
Path("kernel.pid").write_text(str(os.getpid()))
time.sleep(3600)
"""
WORK = """\
import sys
from nbpkg import progress
stage.write_json({"seed": stage.seed, "live": progress.is_live(), "widgets": "ipywidgets" in sys.modules}, "facts")
stage.check("there is a check", True)
"""
CLOSE = "stage.close({'n': 1})"


def make_project(folder: Path, root: Path, *cells: str, before: str = "", kernel: str = "python3") -> Path:
    """A project with one small notebook, named as the first stage's is; `before` runs ahead of the opening cell."""
    code = [new_code_cell(source) for source in (PARAMETERS_CELL, *([before] if before else []), OPEN, *cells)]
    code[0].metadata["tags"] = ["parameters"]
    spec = {"kernelspec": {"name": kernel, "display_name": "Python 3", "language": "python"}}
    (folder / "notebooks").mkdir(parents=True)
    nbformat.write(new_notebook(cells=[new_markdown_cell("# Tiny"), *code], metadata=spec), folder / NOTEBOOK)
    values = read_file(root / "params" / "infant_engagement" / "sample.yaml")
    (folder / FILE).parent.mkdir(parents=True)
    (folder / FILE).write_text(yaml.safe_dump({**values, "experiment": "tiny", "data": "data"}), encoding="utf-8")
    return folder


def start(folder: Path, *arguments: str, stderr: int = subprocess.STDOUT, **variables: str) -> subprocess.Popen:
    """Start Python in a project, as outside of any notebook or job."""
    unwanted = ("NBPKG_ROOT", "NBPKG_LIVE", "JPY_SESSION_NAME", "SLURM_JOB_ID")
    environment = {name: value for name, value in os.environ.items() if name not in unwanted}
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=folder,
        env={**environment, **variables},
        stdout=subprocess.PIPE if stderr == subprocess.STDOUT else subprocess.DEVNULL,
        stderr=stderr,
        text=True,
    )


def start_run(folder: Path, *more: str, stderr: int = subprocess.STDOUT, **variables: str) -> subprocess.Popen:
    """Start a run as if from a notebook: its kernel must not take itself for one that somebody watches."""
    variables = {"JPY_SESSION_NAME": "a notebook in JupyterLab", **variables}
    return start(folder, "-m", "nbpkg", "run", NOTEBOOK, "-f", FILE, *more, stderr=stderr, **variables)


def finish(process: subprocess.Popen) -> tuple[int, str]:
    """Wait for the end of a process; return exit status and what it said."""
    try:
        said, _ = process.communicate(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.terminate()
        raise
    return process.returncode, said


def kernel_of(project: Path) -> int:
    """Wait until the slow cell runs, and return its kernel's process id."""
    path = project / "kernel.pid"
    return int(wait_until(lambda: path.is_file() and path.read_text(), "the slow cell begins"))


def stage_folder(project: Path) -> Path:
    """Folder of the stage."""
    return project / "outputs" / "infant_engagement" / "tiny" / "01_parse"


def running_receipt(project: Path) -> dict[str, Any]:
    """What a stage that has not closed says of itself."""
    (path,) = stage_folder(project).glob("runs/*/receipt.running.json")
    return read_json(path)


def has_receipt(project: Path) -> bool:
    """Whether any receipt says that the stage is done."""
    return any(stage_folder(project).rglob("receipt.json"))


def code_cells(project: Path) -> list[Any]:
    """Code cells of the saved notebook."""
    notebook = nbformat.read(stage_folder(project) / "executed.ipynb", as_version=4)
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def saved_errors(project: Path) -> list[str]:
    """Names of the errors that the saved notebook shows."""
    outputs = [output for cell in code_cells(project) for output in cell.outputs]
    return [output.ename for output in outputs if output.output_type == "error"]


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and is only listed does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def children_of(process: subprocess.Popen) -> list[int]:
    """Child processes of a run: its kernel, if it has one."""
    try:
        return [int(child) for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):  # it has just ended
        return []


def kernels_of(process: subprocess.Popen) -> list[int]:
    """Kernels that a run has started and not ended yet."""
    found = []
    for child in children_of(process):
        try:
            command = Path(f"/proc/{child}/cmdline").read_text()
        except OSError:  # it has just ended
            continue
        found += [child] if "ipykernel" in command else []
    return found
