"""One notebook, headless, through real papermill: exit status, receipt, executed copy, log, retry."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import nbformat
import pytest
from tiny_project import (
    CLOSE,
    FILE,
    NOTEBOOK,
    WORK,
    code_cells,
    finish,
    has_receipt,
    make_project,
    running_receipt,
    saved_errors,
    stage_folder,
    start,
    start_run,
)

from nbpkg.runs.files import read_json, sha256

pytestmark = pytest.mark.slow
FAIL = """\
from nbpkg.errors import AnnotationError
raise AnnotationError("'egg' is no known task.", where="a.eaf, row 3", remedy="Correct it in ELAN.")
"""
LOOP = """\
import sys, time
from pathlib import Path
print("to standard output")
print("halfway", file=sys.stderr)
while not Path("go").exists():
    time.sleep(0.05)
for _ in progress.track(range(3000), "count", unit="step"):
    time.sleep(0.002)
"""
CLASHING_KERNEL = """\
import json, os, socket, sys
from pathlib import Path
from ipykernel.kernelapp import launch_new_instance
count = Path("kernel.starts")
count.write_text(count.read_text() + "x" if count.exists() else "x")
if len(count.read_text()) <= int(sys.argv.pop(1)):
    connection = json.loads(Path(sys.argv[sys.argv.index("-f") + 1]).read_text())
    taken = socket.create_server(("127.0.0.1", connection["shell_port"]))
launch_new_instance()
"""


def test_success_leaves_receipt_executed_notebook_and_report(tmp_path, root):
    project = make_project(tmp_path, root, WORK, CLOSE)
    status, said = finish(start_run(project, "-p", "seed", "7"))
    assert status == 0, said
    receipt = read_json(stage_folder(project) / "receipt.json")
    run = stage_folder(project) / receipt["run"]
    assert (receipt["state"], receipt["seed"]) == ("done", 7)
    assert read_json(run / "facts.json") == {"seed": 7, "live": False, "widgets": False}
    assert not (run / "receipt.running.json").exists()
    assert (run / "executed.ipynb").read_bytes() == (stage_folder(project) / "executed.ipynb").read_bytes()
    assert saved_errors(project) == []
    assert "widgets" not in nbformat.read(run / "executed.ipynb", as_version=4).metadata
    assert "<title>Tiny</title>" in (run / "report.html").read_text(encoding="utf-8")


def test_failures_end_with_one_and_say_why(tmp_path, root):
    """Side by side: an error of ours, a stage that is never closed, and cells left out that papermill overlooks."""
    failing = make_project(tmp_path / "failing", root, FAIL, CLOSE)
    open_ended = make_project(tmp_path / "open_ended", root, WORK)
    cut_short = make_project(tmp_path / "cut_short", root, CLOSE, "import sys; sys.exit(0)", "# Look\nprint(1)", "2")
    processes = [start_run(project) for project in (failing, open_ended, cut_short)]
    (failed, why), (unclosed, said), (cut, left_out) = map(finish, processes)

    assert failed == 1
    assert "AnnotationError: 'egg' is no known task.\n  Where: a.eaf, row 3\n  Do this: Correct it in ELAN." in why
    assert "Traceback" not in why
    receipt = running_receipt(failing)
    assert receipt["state"] == "failed"
    assert receipt["error"].startswith("AnnotationError: 'egg' is no known task.")
    assert not has_receipt(failing)
    assert saved_errors(failing) == ["AnnotationError"]

    assert unclosed == 1
    assert "The notebook ended without a receipt: its last cells did not close the stage." in said
    assert "Traceback" not in said
    receipt = running_receipt(open_ended)
    assert receipt["state"] == "failed"
    assert receipt["error"].startswith("The notebook ended without a receipt")
    assert saved_errors(open_ended) == []

    assert cut == 1
    assert "Code cell 6 of 7 was the first that was not executed: # Look" in left_out  # one cell holds the parameters


def test_what_cells_say_reaches_the_log_at_once_and_progress_fills_no_page(tmp_path, root):
    project = make_project(tmp_path, root, WORK, LOOP, CLOSE)
    process = start_run(project)
    said = ""
    for line in process.stdout:
        said += line
        if line == "halfway\n":  # the cell is still running: it waits for this file
            (project / "go").touch()
    assert process.wait() == 0, said
    lines = said.splitlines()
    assert (lines.count("to standard output"), lines.count("halfway")) == (1, 1)
    counts = [line for line in lines if line.startswith("count: ")]
    assert counts[-1].startswith("count: 3000 steps in ")
    assert len(counts) <= 11
    saved = [output for cell in code_cells(project) for output in cell.outputs if output.output_type == "stream"]
    assert "".join(output.text for output in saved if output.name == "stdout") == "to standard output\n"
    assert "".join(output.text for output in saved if output.name == "stderr").splitlines() == ["halfway", *counts]


def test_a_port_that_was_just_taken_costs_one_more_try(tmp_path, root):
    """Two kernels of our own: one finds its port taken at the first start, the other at every start."""
    script = tmp_path / "kernel.py"
    script.write_text(CLASHING_KERNEL, encoding="utf-8")
    projects = [tmp_path / "once", tmp_path / "always"]
    for project, clashes in zip(projects, ("1", "9"), strict=True):
        make_project(project, root, WORK, CLOSE, kernel="clashing")
        place = project / "jupyter" / "kernels" / "clashing" / "kernel.json"
        place.parent.mkdir(parents=True)
        argv = [sys.executable, str(script), clashes, "-f", "{connection_file}"]
        place.write_text(json.dumps({"argv": argv, "display_name": "Clashing", "language": "python"}))
    processes = [start_run(project, JUPYTER_PATH=str(project / "jupyter")) for project in projects]
    (well, once), (badly, always) = map(finish, processes)

    assert well == 0, once
    assert once.count("trying once more") == 1
    assert "Address already in use" in once
    assert (projects[0] / "kernel.starts").read_text() == "xx"
    assert has_receipt(projects[0])

    assert badly == 1
    assert always.count("trying once more") == 1
    assert "The notebook's kernel could not start" in always
    assert (projects[1] / "kernel.starts").read_text() == "xx"
    assert not stage_folder(projects[1]).joinpath("runs").exists()


def test_an_unknown_parameter_or_kernel_is_refused(tmp_path, root):
    """Side by side: papermill alone is given a misspelt parameter; a notebook wants a kernel that is not there."""
    misspelt = make_project(tmp_path / "misspelt", root, WORK, CLOSE)
    papermill = start(misspelt, "-m", "papermill", NOTEBOOK, "out.ipynb", "-f", FILE, "-p", "sede", "3")
    strange = start_run(make_project(tmp_path / "strange", root, WORK, CLOSE, kernel="fortran"))

    status, said = finish(papermill)
    assert status != 0
    assert "sede is no known key. Did you mean 'seed'?" in re.sub(r"\x1b\[[0-9;]*m", "", said)
    assert not stage_folder(misspelt).exists()

    status, said = finish(strange)
    assert status == 1
    assert "The notebook wants the kernel 'fortran', which is not installed." in said
    assert "Traceback" not in said


@pytest.mark.demo
def test_papermill_alone_runs_a_real_notebook(tmp_path, root, demo):
    for name in ("notebooks", "params"):
        shutil.copytree(root / name, tmp_path / name)
    (tmp_path / "data").symlink_to(root / "data")
    file = "params/infant_engagement/sample.yaml"
    status, said = finish(start(tmp_path, "-m", "papermill", NOTEBOOK, "out.ipynb", "-f", file))
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
