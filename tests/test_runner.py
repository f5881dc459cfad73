"""One notebook, headless, through real papermill: exit status, receipt, executed copy, signals, and no kernel left."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from nbpkg.runs.files import read_json, sha256
from nbpkg.settings.experiment import PARAMETERS_CELL, read_file

pytestmark = pytest.mark.slow
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
time.sleep(120)
"""
WORK = """\
import sys
from nbpkg import progress
stage.write_json({"seed": stage.seed, "live": progress.is_live(), "widgets": "ipywidgets" in sys.modules}, "facts")
stage.check("there is a check", True)
"""
FAIL = """\
from nbpkg.errors import AnnotationError
raise AnnotationError("'egg' is no known task.", where="a.eaf, row 3", remedy="Correct it in ELAN.")
"""


def make_project(folder: Path, root: Path, *cells: str) -> Path:
    """A project with one small notebook, named as the first stage's is."""
    code = [new_code_cell(source) for source in (PARAMETERS_CELL, OPEN, *cells)]
    code[0].metadata["tags"] = ["parameters"]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    (folder / "notebooks").mkdir(parents=True)
    nbformat.write(
        new_notebook(cells=[new_markdown_cell("# Tiny"), *code], metadata=kernel),
        folder / "notebooks" / "01_parse_annotations.ipynb",
    )
    values = read_file(root / "params" / "infant_engagement" / "sample.yaml")
    parameters = folder / "params" / "infant_engagement" / "tiny.yaml"
    parameters.parent.mkdir(parents=True)
    parameters.write_text(yaml.safe_dump({**values, "experiment": "tiny", "data": "data"}), encoding="utf-8")
    return folder


def start(folder: Path, *arguments: str, **variables: str) -> subprocess.Popen:
    unwanted = ("NBPKG_ROOT", "NBPKG_LIVE", "JPY_SESSION_NAME")
    environment = {name: value for name, value in os.environ.items() if name not in unwanted}
    return subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        env={**environment, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def start_run(folder: Path, *more: str) -> subprocess.Popen:
    notebook, file = "notebooks/01_parse_annotations.ipynb", "params/infant_engagement/tiny.yaml"
    # As if started from a notebook: the kernel of the run must not take itself for one that somebody watches.
    return start(folder, "nbpkg", "run", notebook, "-f", file, *more, JPY_SESSION_NAME="a notebook in JupyterLab")


def finish(process: subprocess.Popen) -> tuple[int, str]:
    try:
        said, _ = process.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        process.terminate()
        raise
    return process.returncode, said


def stage_folder(project: Path) -> Path:
    return project / "outputs" / "infant_engagement" / "tiny" / "01_parse"


def running_receipt(project: Path) -> dict:
    (path,) = stage_folder(project).glob("runs/*/receipt.running.json")
    return read_json(path)


def kernel_of(project: Path) -> int:
    """Wait until the slow cell runs, and return its kernel's process id."""
    path = project / "kernel.pid"
    for _ in range(600):
        if path.is_file() and path.read_text():
            return int(path.read_text())
        time.sleep(0.1)
    raise AssertionError("the slow cell never began")


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and is only listed does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def children_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def command_of(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:  # it has just ended
        return ""


def saved_errors(path: Path) -> list[str]:
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    return [output.ename for cell in cells for output in cell.outputs if output.output_type == "error"]


def test_success_leaves_receipt_executed_notebook_and_report(tmp_path, root):
    project = make_project(tmp_path, root, WORK, "stage.close({'n': 1})")
    status, said = finish(start_run(project, "-p", "seed", "7"))
    assert status == 0, said
    receipt = read_json(stage_folder(project) / "receipt.json")
    run = stage_folder(project) / receipt["run"]
    assert (receipt["state"], receipt["seed"]) == ("done", 7)
    assert read_json(run / "facts.json") == {"seed": 7, "live": False, "widgets": False}
    assert not (run / "receipt.running.json").exists()
    assert (run / "executed.ipynb").read_bytes() == (stage_folder(project) / "executed.ipynb").read_bytes()
    assert saved_errors(run / "executed.ipynb") == []
    assert "widgets" not in nbformat.read(run / "executed.ipynb", as_version=4).metadata
    assert "<title>Tiny</title>" in (run / "report.html").read_text(encoding="utf-8")


def test_failures_end_with_one_and_say_why(tmp_path, root):
    """Two runs side by side: an error of ours in a cell, and a notebook that forgets to close its stage."""
    failing = make_project(tmp_path / "failing", root, FAIL, "stage.close()")
    open_ended = make_project(tmp_path / "open_ended", root, WORK)
    processes = [start_run(failing), start_run(open_ended)]
    (failed, why), (unclosed, said) = map(finish, processes)

    assert failed == 1
    assert "AnnotationError: 'egg' is no known task.\n  Where: a.eaf, row 3\n  Do this: Correct it in ELAN." in why
    assert "Traceback" not in why
    receipt = running_receipt(failing)
    assert receipt["state"] == "failed"
    assert receipt["error"].startswith("AnnotationError: 'egg' is no known task.")
    assert not (stage_folder(failing) / "receipt.json").exists()
    assert saved_errors(stage_folder(failing) / "executed.ipynb") == ["AnnotationError"]

    assert unclosed == 1
    assert "The notebook ended without a receipt: its last cells did not close the stage." in said
    assert "Traceback" not in said
    assert running_receipt(open_ended)["state"] == "running"
    assert saved_errors(stage_folder(open_ended) / "executed.ipynb") == []


def test_a_signal_is_passed_on_and_noted_and_leaves_no_kernel(tmp_path, root):
    """SIGTERM, SIGINT and SIGUSR1, three runs side by side, each in the middle of a long cell."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
    projects = [make_project(tmp_path / number.name, root, WAIT, "stage.close()") for number in numbers]
    processes = [start_run(project) for project in projects]
    kernels = [kernel_of(project) for project in projects]
    assert all(map(is_alive, kernels))
    for number, process in zip(numbers, processes, strict=True):
        process.send_signal(number)
    for number, process, project, kernel in zip(numbers, processes, projects, kernels, strict=True):
        status, said = finish(process)
        assert status == 128 + number, said
        assert f"Interrupted by {number.name}; run it again to resume." in said
        assert "Traceback" not in said
        receipt = running_receipt(project)
        assert receipt["state"] == "interrupted"
        assert "KeyboardInterrupt" in receipt["error"]
        assert not (stage_folder(project) / "receipt.json").exists()
        assert saved_errors(stage_folder(project) / "executed.ipynb") == ["KeyboardInterrupt"]
        assert not is_alive(kernel)


def test_a_signal_between_cells_is_not_lost(tmp_path, root):
    """The kernel takes no notice of an interrupt while it is starting; the run must."""
    project = make_project(tmp_path, root, WORK, "stage.close()")
    process = start_run(project)
    kernels: list[int] = []
    while not kernels and process.poll() is None:
        kernels = [int(child) for child in children_of(process.pid) if "ipykernel" in command_of(child)]
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    status, said = finish(process)
    assert status == 128 + signal.SIGTERM, said
    assert "Interrupted by SIGTERM" in said
    assert not (stage_folder(project) / "receipt.json").exists()
    assert kernels
    assert not any(map(is_alive, kernels))


def test_a_killed_kernel_and_an_unknown_parameter(tmp_path, root):
    """Side by side: the kernel is killed, as for want of memory; papermill alone is given a misspelt parameter."""
    killed = make_project(tmp_path / "killed", root, WAIT, "stage.close()")
    misspelt = make_project(tmp_path / "misspelt", root, WORK, "stage.close()")
    notebook, file = "notebooks/01_parse_annotations.ipynb", "params/infant_engagement/tiny.yaml"
    process = start_run(killed)
    papermill = start(misspelt, "papermill", notebook, "out.ipynb", "-f", file, "-p", "sede", "3")
    kernel = kernel_of(killed)
    os.kill(kernel, signal.SIGKILL)
    status, said = finish(process)
    assert status == 1
    assert "The kernel died, most often because memory ran out" in said
    assert "Ask for more memory or fewer workers." in said
    assert "Traceback" not in said
    assert not (stage_folder(killed) / "receipt.json").exists()
    assert (stage_folder(killed) / "executed.ipynb").is_file()

    status, said = finish(papermill)
    assert status != 0
    assert "sede is no known key. Did you mean 'seed'?" in re.sub(r"\x1b\[[0-9;]*m", "", said)
    assert not stage_folder(misspelt).exists()


@pytest.mark.demo
def test_papermill_alone_runs_a_real_notebook(tmp_path, root, demo):
    for name in ("notebooks", "params"):
        shutil.copytree(root / name, tmp_path / name)
    (tmp_path / "data").symlink_to(root / "data")
    file = "params/infant_engagement/sample.yaml"
    status, said = finish(start(tmp_path, "papermill", "notebooks/01_parse_annotations.ipynb", "out.ipynb", "-f", file))
    assert status == 0, said
    place = Path("01_parse")
    receipt = read_json(tmp_path / "outputs" / "infant_engagement" / "sample" / place / "receipt.json")
    assert receipt["state"] == "done"
    made_by_runner = read_json(demo / place / "receipt.json")
    assert receipt["key"] == made_by_runner["key"]
    for name in ("spans.csv", "tasks.csv", "annotations.csv", "agreement.csv", "problems.csv"):
        assert receipt["outputs"][name] == made_by_runner["outputs"][name]
        path = tmp_path / "outputs" / "infant_engagement" / "sample" / place / receipt["run"] / name
        assert sha256(path) == receipt["outputs"][name]["sha256"]
