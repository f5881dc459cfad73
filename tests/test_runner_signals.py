"""Signals to the runner, to its kernel and to both, at every stage of a run: what is saved, noted and returned."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_client.manager import start_new_kernel
from patience import PATIENCE_S, wait_until
from tiny_project import (
    CLOSE,
    FILE,
    NOTEBOOK,
    OPEN,
    WAIT,
    WORK,
    code_cells,
    finish,
    has_receipt,
    is_alive,
    kernel_of,
    kernels_of,
    make_project,
    running_receipt,
    saved_errors,
    stage_folder,
    start,
    start_run,
)

from nbpkg.runs.files import read_json
from nbpkg.settings.experiment import PARAMETERS_CELL

pytestmark = pytest.mark.slow
STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
EPOCHS = """\
import os, sys, time
from pathlib import Path
from nbpkg.runs.files import write_json
try:
    for epoch in range(10_000):
        write_json(stage.folder / "last.json", {"epoch": epoch})
        Path("kernel.pid").write_text(str(os.getpid()))
        time.sleep(0.01)
except KeyboardInterrupt:
    print("clean-up begins")
    time.sleep(1)  # in which a second interrupt would strike
    print("clean-up ends")
    raise
"""
WORKERS = """\
import multiprocessing, os, time, torch
from pathlib import Path
class Slow(torch.utils.data.Dataset):
    def __len__(self): return 10_000
    def __getitem__(self, index): time.sleep(0.02); return index
for number, batch in enumerate(torch.utils.data.DataLoader(Slow(), batch_size=4, num_workers=2)):
    if number == 5:
        Path("workers.txt").write_text(" ".join(str(worker.pid) for worker in multiprocessing.active_children()))
        Path("kernel.pid").write_text(str(os.getpid()))
"""
BETWEEN = """\
import os, signal
def tell(_): os.kill({whom}, signal.SIGTERM)
get_ipython().events.register("post_run_cell", tell)
"""
# As in a long computation in C: the signal reaches another thread, and the main one comes to no Python code.
DEAF = """\
import ctypes, os, signal
from pathlib import Path
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
Path("kernel.pid").write_text(str(os.getpid()))
ctypes.CDLL(None).sleep(3600)
"""
IMPATIENT = """\
import sys
from nbpkg import __main__, runner
runner.GRACE_SECONDS = 3
sys.exit(__main__.main(sys.argv[1:]))
"""


CHILD = """\
import subprocess
from pathlib import Path
Path("child.pid").write_text(str(subprocess.Popen(["sleep", "3600"]).pid))
"""


def check_interrupted(project: Path, number: int, kernel: int) -> None:
    """What must hold after any stop: noted with its signal, no receipt, no kernel."""
    receipt = running_receipt(project)
    assert (receipt["state"], receipt["signal"]) == ("interrupted", signal.Signals(number).name)
    assert not has_receipt(project)
    assert not is_alive(kernel)


def test_a_signal_to_the_runner_ends_the_cell_and_is_noted(tmp_path, root):
    """SIGTERM, SIGINT and SIGUSR1, three runs side by side, each in the middle of a long cell; SIGINT comes twice."""
    projects = [make_project(tmp_path / number.name, root, EPOCHS, CLOSE) for number in STOPS]
    inside = {"SLURM_JOB_ID": "7"}
    processes = [start_run(project, **(inside if n == 2 else {})) for n, project in enumerate(projects)]
    kernels = [kernel_of(project) for project in projects]
    assert all(map(is_alive, kernels))
    for number, process in zip(STOPS, processes, strict=True):
        process.send_signal(number)
    time.sleep(0.5)
    processes[1].send_signal(signal.SIGINT)
    for number, process, project, kernel in zip(STOPS, processes, projects, kernels, strict=True):
        status, said = finish(process)
        assert status == 128 + number, said
        greeting, *lines = said.splitlines()
        assert " begins on " in greeting
        assert lines[:3] == [
            "clean-up begins",
            "clean-up ends",
            f"Interrupted by {number.name}; run it again to resume.",
        ]
        assert len(lines) == (3 if number == signal.SIGUSR1 else 4), said  # inside a job nothing more than needed
        check_interrupted(project, number, kernel)
        assert "KeyboardInterrupt" in running_receipt(project)["error"]
        assert saved_errors(project) == ["KeyboardInterrupt"]
        assert [cell.metadata.papermill.status for cell in code_cells(project)[-2:]] == ["failed", "pending"]
        (checkpoint,) = stage_folder(project).glob("runs/*/last.json")
        assert read_json(checkpoint)["epoch"] >= 0


def test_a_signal_to_every_process_interrupts_once(tmp_path, root):
    """As ``scancel``, the time limit and ``--signal=USR1`` do it, to whichever of runner and kernel it comes first."""
    numbers = (signal.SIGTERM, signal.SIGUSR1)
    projects = [make_project(tmp_path / number.name, root, EPOCHS, CLOSE) for number in numbers]
    processes = [start_run(project) for project in projects]
    kernels = [kernel_of(project) for project in projects]
    for pid in (kernels[0], processes[0].pid, kernels[0]):
        os.kill(pid, numbers[0])
    for pid in (processes[1].pid, kernels[1]):
        os.kill(pid, numbers[1])
    for number, process, project, kernel in zip(numbers, processes, projects, kernels, strict=True):
        status, said = finish(process)
        assert status == 128 + number, said
        assert "Traceback" not in said
        check_interrupted(project, number, kernel)
        printed = [output.text for output in code_cells(project)[-2].outputs if output.output_type == "stream"]
        assert "".join(printed) == "clean-up begins\nclean-up ends\n"
        assert saved_errors(project) == ["KeyboardInterrupt"]


def test_workers_that_are_told_first_do_not_make_it_a_failure(tmp_path, root):
    """The kernel then hears of a terminated data loader first, or in the middle of saying why its cell ended."""
    numbers = (signal.SIGTERM, signal.SIGUSR1)
    projects = [make_project(tmp_path / number.name, root, WORKERS, CLOSE) for number in numbers]
    processes = [start_run(project) for project in projects]
    kernels = [kernel_of(project) for project in projects]
    workers = [[int(pid) for pid in (project / "workers.txt").read_text().split()] for project in projects]
    for pid in (*workers[0], processes[0].pid, kernels[0]):
        os.kill(pid, numbers[0])
    for pid in (kernels[1], *workers[1], processes[1].pid):
        os.kill(pid, numbers[1])
    for number, process, project, kernel in zip(numbers, processes, projects, kernels, strict=True):
        status, said = finish(process)
        assert status == 128 + number, said
        assert "Traceback" not in said
        check_interrupted(project, number, kernel)
    assert saved_errors(projects[1]) == ["KeyboardInterrupt"]
    assert [len(pids) for pids in workers] == [2, 2]
    assert not any(is_alive(pid) for pids in workers for pid in pids)


def test_a_signal_to_the_kernel_alone_is_told_by_the_exit_status(tmp_path, root):
    """In the middle of a cell; and before the stage is open, when the kernel has no handler yet."""
    numbers = (signal.SIGTERM, signal.SIGUSR1, signal.SIGTERM)
    projects = [make_project(tmp_path / str(n), root, EPOCHS, CLOSE) for n in range(2)]
    projects.append(make_project(tmp_path / "early", root, CLOSE, before=WAIT))
    processes = [start_run(project) for project in projects]
    kernels = [kernel_of(project) for project in projects]
    for number, kernel in zip(numbers, kernels, strict=True):
        os.kill(kernel, number)
    for number, process, project, kernel in zip(numbers, processes, projects, kernels, strict=True):
        status, said = finish(process)
        assert status == 128 + number, said
        assert f"Interrupted by {number.name}; run it again to resume." in said
        assert "Traceback" not in said
        assert not is_alive(kernel)
        if project is not projects[2]:
            check_interrupted(project, number, kernel)
            assert saved_errors(project) == ["KeyboardInterrupt"]
    assert not (stage_folder(projects[2]) / "runs").exists()
    assert code_cells(projects[2])[-1].execution_count is None


def test_a_signal_while_the_kernel_starts_leaves_nothing(tmp_path, root):
    """To the runner before it has a kernel, to the runner just after, and to the kernel."""
    projects = [make_project(tmp_path / name, root, WORK, CLOSE) for name in ("before", "after", "kernel")]
    processes = [start_run(project) for project in projects]
    wait_until(lambda: stage_folder(projects[0]).is_dir(), "the runner makes the stage's folder")
    processes[0].send_signal(signal.SIGINT)
    kernels = []
    for process in processes[1:]:
        (kernel,) = wait_until(lambda process=process: kernels_of(process), "there is a kernel")
        kernels.append(kernel)
    processes[1].send_signal(signal.SIGTERM)
    os.kill(kernels[1], signal.SIGTERM)
    for process, number in zip(processes, (signal.SIGINT, signal.SIGTERM, signal.SIGTERM), strict=True):
        status, said = finish(process)
        assert status == 128 + number, said
        assert "Traceback" not in said
    assert not any(has_receipt(project) for project in projects)
    assert not any(map(is_alive, kernels))


def test_a_signal_between_cells_is_not_lost(tmp_path, root):
    """The kernel takes no notice of an interrupt while it is idle; the run must."""
    cells = [BETWEEN.format(whom=whom) for whom in ("os.getpid()", "os.getppid()")]
    projects = [make_project(tmp_path / str(n), root, cell, WAIT, CLOSE) for n, cell in enumerate(cells)]
    for process, project in [(start_run(project), project) for project in projects]:
        status, said = finish(process)
        assert status == 128 + signal.SIGTERM, said
        assert "Interrupted by SIGTERM" in said
        assert "Traceback" not in said
        receipt = running_receipt(project)
        assert (receipt["state"], receipt["signal"]) == ("interrupted", "SIGTERM")
        assert not has_receipt(project)
    assert running_receipt(projects[0])["error"] == "SIGTERM between two cells"
    assert not (projects[0] / "kernel.pid").exists()


def test_a_cell_that_takes_no_notice_is_ended_after_a_time(tmp_path, root):
    project = make_project(tmp_path, root, DEAF, CLOSE)
    process = start(project, "-c", IMPATIENT, "run", NOTEBOOK, "-f", FILE)
    kernel = kernel_of(project)
    process.send_signal(signal.SIGTERM)
    status, said = finish(process)
    assert status == 128 + signal.SIGTERM, said
    check_interrupted(project, signal.SIGTERM, kernel)
    assert running_receipt(project)["error"].startswith("The kernel was ended by SIGKILL after 3 s")
    assert saved_errors(project) == []
    assert [cell.metadata.papermill.status for cell in code_cells(project)[-2:]] == ["failed", "pending"]


def test_a_log_whose_reader_has_gone_spoils_nothing(tmp_path, root):
    """``scancel`` ends the ``tee`` behind the pipe as well: one run is stopped then, one goes on to its end."""
    projects = [
        make_project(tmp_path / "stopped", root, EPOCHS, CLOSE),
        make_project(tmp_path / "on", root, WORK, CLOSE),
    ]
    processes = []
    for project in projects:
        reader, writer = os.pipe()
        processes.append(start_run(project, "--log", "log.txt", stderr=writer))
        os.close(writer)
        os.close(reader)
    kernel = kernel_of(projects[0])
    processes[0].send_signal(signal.SIGTERM)
    assert processes[0].wait(timeout=PATIENCE_S) == 128 + signal.SIGTERM
    check_interrupted(projects[0], signal.SIGTERM, kernel)
    assert saved_errors(projects[0]) == ["KeyboardInterrupt"]
    log = (projects[0] / "log.txt").read_text(encoding="utf-8")
    assert log.count("clean-up begins\nclean-up ends\nInterrupted by SIGTERM; run it again to resume.\n") == 1
    assert processes[1].wait(timeout=PATIENCE_S) == 0
    assert has_receipt(projects[1])


def test_a_killed_kernel_is_noted_as_failed_with_the_reason(tmp_path, root):
    """As for want of memory; `nbpkg check` must not say for ever that the stage is running."""
    project = make_project(tmp_path, root, CHILD, WAIT, CLOSE)
    process = start_run(project)
    os.kill(kernel_of(project), signal.SIGKILL)
    status, said = finish(process)
    assert status == 1
    assert "The kernel died, most often because memory ran out (SIGKILL)." in said
    assert "Ask for more memory or fewer workers." in said
    assert "Code cell 6 of 6 was the first that was not executed: stage.close({'n': 1})" in said
    assert "Traceback" not in said
    assert not has_receipt(project)
    receipt = running_receipt(project)
    assert receipt["state"] == "failed"
    assert receipt["error"].startswith("The kernel died, most often because memory ran out")
    child = int((project / "child.pid").read_text())
    wait_until(lambda: not is_alive(child), "what the kernel had started has ended")
    assert [cell.metadata.papermill.status for cell in code_cells(project)[-2:]] == ["failed", "pending"]
    checked = subprocess.run(
        [sys.executable, "-m", "nbpkg", "check", "-f", FILE], cwd=project, capture_output=True, text=True, check=True
    )
    assert "01_parse_annotations: failed since" in checked.stderr


def test_plain_papermill_is_stopped_through_its_kernel(tmp_path, root):
    """Without the runner a kernel that is told ends its cell as well; papermill saves the notebook and returns 1."""
    project = make_project(tmp_path, root, EPOCHS, CLOSE)
    process = start(project, "-m", "papermill", NOTEBOOK, "out.ipynb", "-f", FILE, NBPKG_LIVE="0")
    kernel = kernel_of(project)
    os.kill(kernel, signal.SIGTERM)
    status, _ = finish(process)
    assert status == 1
    check_interrupted(project, signal.SIGTERM, kernel)
    notebook = nbformat.read(project / "out.ipynb", as_version=4)
    assert "KeyboardInterrupt" in str(notebook.cells[-2].outputs)


def test_a_person_may_interrupt_again_and_again_and_go_on(tmp_path, root, monkeypatch):
    """In JupyterLab an interrupt ends one cell, not the session; the note of it is gone once the stage closes."""
    project = make_project(tmp_path, root)
    monkeypatch.setenv("NBPKG_LIVE", "1")
    manager, client = start_new_kernel(kernel_name="python3", cwd=project)

    def run(code: str, interrupt: Callable[[], Any] | None = None) -> str:
        (project / "kernel.pid").unlink(missing_ok=True)
        request = client.execute(code, stop_on_error=False)
        if interrupt is not None:
            kernel_of(project)
            interrupt()
        reply = client.get_shell_msg(timeout=PATIENCE_S)
        while reply["parent_header"]["msg_id"] != request:  # of a question asked while the kernel started
            reply = client.get_shell_msg(timeout=PATIENCE_S)
        return reply["content"].get("ename", reply["content"]["status"])

    try:
        for code in (PARAMETERS_CELL, 'experiment = "tiny"', OPEN):
            assert run(code) == "ok"
        for interrupt in (manager.interrupt_kernel, manager.interrupt_kernel, manager.provisioner.process.terminate):
            assert run(WAIT, interrupt) == "KeyboardInterrupt"
            assert running_receipt(project)["state"] == "interrupted"
        assert run(WORK + CLOSE) == "ok"
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    receipt = read_json(stage_folder(project) / "receipt.json")
    assert receipt["state"] == "done"
    assert "error" not in receipt
