"""SIGKILL of runner or kernel at any moment: no kernel stays, no receipt lies, and running again succeeds."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from killing import KILLS, Course, Signs, watch
from patience import wait_until
from tiny_project import (
    CLOSE,
    children_of,
    finish,
    has_receipt,
    is_alive,
    make_project,
    running_receipt,
    stage_folder,
    start_run,
)

from nbpkg.runs.files import read_json, sha256

pytestmark = pytest.mark.slow
STEPS = """\
import time
from nbpkg.runs.files import write_json
for step in range(30):
    path = stage.folder / "steps" / f"{step:02d}.json"
    if not path.is_file():
        time.sleep(0.1)
        write_json(path, {"step": step, "square": step**2})
stage.adopt_all("steps")
"""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, root) -> tuple[Course, dict]:
    """Course and receipt of a run that nobody kills."""
    project = make_project(tmp_path_factory.mktemp("undisturbed"), root, STEPS, CLOSE)
    course, process = watch(lambda: start_run(project), stage_folder(project))
    finish(process)
    return course, read_json(stage_folder(project) / "receipt.json")


def wait_for_a_moment(project: Path, process: subprocess.Popen, whole: Course, chance: random.Random) -> None:
    """Wait for any moment of a run: sometimes before there is anything to see, sometimes in the middle of the work."""
    signs, wanted = Signs(stage_folder(project)), chance.randint(0, max(1, whole.signs // max(2, KILLS)))
    if wanted:
        signs.await_work(process, wanted)
        time.sleep(whole.moment(chance))
    else:
        time.sleep(chance.uniform(0.0, whole.before))


def steps_of(project: Path) -> set[str]:
    """Names of the finished steps, each of which must be whole."""
    paths = list(stage_folder(project).glob("runs/*/steps/[0-9]*.json"))
    assert all(read_json(path)["square"] == int(path.stem) ** 2 for path in paths)
    return {path.stem for path in paths}


def check_receipts(project: Path) -> None:
    """A receipt may be there only when everything that it names is."""
    for path in stage_folder(project).rglob("receipt.json"):
        receipt = read_json(path)
        run = stage_folder(project) / receipt["run"]
        assert receipt["state"] == "done"
        assert {name: entry["sha256"] for name, entry in receipt["outputs"].items()} == {
            name: sha256(run / name) for name in receipt["outputs"]
        }


def check_final_run(project: Path, expected: dict) -> None:
    """Running again ends well, with the same artefacts as undisturbed."""
    status, said = finish(start_run(project))
    assert status == 0, said
    receipt = read_json(stage_folder(project) / "receipt.json")
    assert (receipt["key"], receipt["outputs"]) == (expected["key"], expected["outputs"])
    check_receipts(project)
    assert not list(stage_folder(project).rglob("receipt.running.json"))


def forget_receipts(project: Path) -> None:
    """What Snakemake does before and after a job that fails; else a later kill could hide behind an older receipt."""
    for path in stage_folder(project).rglob("receipt.json"):
        path.unlink()


def test_kill_of_the_runner_at_any_moment(tmp_path, root, undisturbed):
    whole, expected = undisturbed
    project = make_project(tmp_path, root, STEPS, CLOSE)
    chance, caught, finished = random.Random(KILLS), 0, set()
    for _ in range(KILLS):
        process = start_run(project, stderr=subprocess.DEVNULL)
        wait_for_a_moment(project, process, whole, chance)
        process.send_signal(signal.SIGSTOP)  # so that it starts no kernel between our look and the kill
        caught += process.poll() is None
        kernels = children_of(process)
        process.kill()
        process.wait()
        wait_until(lambda kernels=kernels: not any(map(is_alive, kernels)), "the kernel has ended by itself")
        assert steps_of(project) >= finished
        finished = steps_of(project)
        check_receipts(project)
        if len(finished) < 30:
            assert not has_receipt(project)
        forget_receipts(project)
    check_final_run(project, expected)
    assert caught, "no run was still going when it was killed: choose earlier moments"


def test_kill_of_the_kernel_at_any_moment(tmp_path, root, undisturbed):
    whole, expected = undisturbed
    project = make_project(tmp_path, root, STEPS, CLOSE)
    chance, caught, finished = random.Random(KILLS), 0, set()
    for _ in range(KILLS):
        process = start_run(project)
        kernels = wait_until(lambda process=process: children_of(process), "there is a kernel")
        wait_for_a_moment(project, process, whole, chance)
        for kernel in kernels:
            if is_alive(kernel):
                os.kill(kernel, signal.SIGKILL)
        status, said = finish(process)
        assert status in (0, 1), said
        assert not any(map(is_alive, kernels))
        assert steps_of(project) >= finished
        finished = steps_of(project)
        check_receipts(project)
        if status == 1:
            caught += 1
            assert "The kernel died, most often because memory ran out (SIGKILL)." in said
            assert "Traceback" not in said
            if list(stage_folder(project).rglob("receipt.running.json")):
                assert running_receipt(project)["state"] == "failed"
        else:
            assert has_receipt(project)
        if len(finished) < 30:
            assert not has_receipt(project)
        forget_receipts(project)
    check_final_run(project, expected)
    assert caught, "no kernel was still running when it was killed: choose earlier moments"
