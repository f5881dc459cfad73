"""The same Snakefile on a real SLURM: a job array searches, one worker is killed, one training cancelled."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from cluster_project import (
    DATA_STEPS,
    FINAL,
    SEARCH,
    TRAIN_STEPS,
    children,
    environment,
    frozen,
    kernel_of,
    processes,
    squeue,
    states_of,
    stop,
)
from patience import PATIENCE_S, wait_until

from nbpkg.runs.files import read_json

PROFILE = "profiles/slurm"
pytestmark = [pytest.mark.demo, pytest.mark.slow, pytest.mark.slurm]


@pytest.fixture(scope="module")
def cluster(project, slurm):
    """The experiment on SLURM, from the raw files on, with a worker killed and the training cancelled midway.

    Beside it the same runs here, one notebook after the other, without SLURM, on the finished data of the sample.
    """
    project.write_experiment("alone", own_data=False)
    project.write_experiment("cluster", own_data=True)
    options = {"alone": ("-c1", "--rerun-triggers", "mtime", "input", "params"), "cluster": ("--profile", PROFILE)}
    runs = {
        name: project.snakemake(name, *more, log=project.folder / f"{name}.snakemake") for name, more in options.items()
    }
    try:
        with project.explaining():
            kill_a_worker(project, runs["cluster"])
            cancel_the_training(project, runs["cluster"])
            for name, run in runs.items():
                assert run.wait(timeout=PATIENCE_S) == 0, f"snakemake of {name!r} failed"
    finally:
        for run in runs.values():
            stop(run)
    return project


def kill_a_worker(project, run) -> None:
    """Kill notebook and kernel of worker 2 while it tries a setting."""

    def trying() -> int | None:
        trainings = list(project.step("cluster", SEARCH).glob("runs/*/trainings/**/last.ckpt"))
        found = processes("nbpkg run", "launch.worker 2")
        return max(found) if trainings and found else None

    runner = wait_until(trying, "worker 2 tries a setting", running=run)
    for pid in [runner, *children(runner)]:
        os.kill(pid, signal.SIGKILL)


def cancel_the_training(project, run) -> None:
    """Cancel the job of the final training after its first epoch, as an administrator might."""
    with frozen(training_kernel(project, "cluster", run)):  # which SLURM lets go on when it cancels
        (job,) = [one for one in squeue() if "05_train_final" in one["comment"] and "RUNNING" in states_of(one)]
        subprocess.run(["scancel", str(job["job_id"])], check=True, timeout=PATIENCE_S)


def training_kernel(project, name: str, run=None) -> int:
    """Wait for the first epoch of the final training of an experiment; return its kernel."""

    def begun() -> int | None:
        epochs = list(project.step(name, FINAL).glob("runs/*/trainings/*/*/network/last.ckpt"))
        return kernel_of(f"{name}.yaml") if epochs else None

    return wait_until(begun, f"the training of {name!r} has an epoch behind it", running=run, pause=0.01)


@pytest.mark.parametrize("step", DATA_STEPS)
def test_stages_from_raw_files_give_the_bytes_of_the_demo(cluster, step):
    assert cluster.artefacts("cluster", step) == cluster.artefacts("sample", step)


@pytest.mark.parametrize("step", TRAIN_STEPS)
def test_training_gives_the_bytes_of_the_local_run(cluster, step):
    assert cluster.artefacts("cluster", step) == cluster.artefacts("alone", step)


def test_what_was_cancelled_went_on_where_it_was(cluster):
    assert cluster.receipt("cluster", FINAL)["resumed"]
    log = (cluster.step("cluster", FINAL) / "log.txt").read_text()
    assert "Interrupted by SIGTERM; run it again to resume." in log
    said = (cluster.folder / "cluster.snakemake").read_text()
    assert len(re.findall(r"Trying to restart job", said)) >= 2, "the killed worker or the training was not tried again"


def test_the_search_was_a_job_array_of_three_workers(cluster):
    receipts = [read_json(path) for path in sorted(cluster.step("cluster", SEARCH).glob("workers/*/receipt.json"))]
    assert [one["launch"]["worker"] for one in receipts] == [1, 2, 3]
    arrays = {
        re.match(r"(\d+)_\d+", path.stem).group(1)
        for path in logs_of(cluster, "rule_05_train_finetune_search_worker", "*_*.log")
    }
    assert len(arrays) == 1
    tasks = [one["provenance"]["slurm"].get("SLURM_ARRAY_TASK_ID") for one in receipts]
    assert len(set(tasks) - {None}) >= 2, tasks


def test_jobs_have_the_gpu_that_the_site_file_asks_for(cluster):
    assert cluster.receipt("cluster", FINAL)["provenance"]["slurm"]["CUDA_VISIBLE_DEVICES"] in ("0", "1")
    assert "CUDA_VISIBLE_DEVICES" not in cluster.receipt("cluster", "06_evaluate")["provenance"]["slurm"]


def logs_of(project, rule: str, pattern: str) -> list[Path]:
    return list((project.folder / "outputs" / "slurm" / rule).glob(pattern))


def submit(project, name: str, *options: str, **changes: object) -> str:
    """Submit the final training with the sbatch script, without Snakemake; return the job's number."""
    file = project.write_experiment(name, own_data=False, changes={"train.phases": ["final"], **changes})
    command = ["sbatch", "--parsable", "--cpus-per-task=1", "--mem=4G", "--gres=gpu:1"]
    command += ["profiles/slurm/notebook.sbatch", "notebooks/05_train.ipynb", str(file), *options]
    where = {"cwd": project.folder, "env": environment(PYTHON=sys.executable)}
    done = subprocess.run(command, **where, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def minutes_of(job: str) -> int:
    """Whole minutes that a job has run."""
    done = subprocess.run(["squeue", "--noheader", "--format=%M", f"--jobs={job}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *hours, minutes, _ = map(int, done.stdout.strip().split(":"))
    return minutes + 60 * sum(hours)


def log_of(project, job: str) -> str:
    path = project.folder / f"slurm-notebook-{job}.log"
    return path.read_text() if path.is_file() else ""


def wait_for_receipt(project, name: str, job: str) -> str:
    """Wait until a training that was submitted has ended well; return its log."""

    def ended() -> bool:
        log = log_of(project, job)
        assert "Traceback" not in log
        return (project.step(name, FINAL) / "receipt.json").is_file()

    wait_until(ended, f"the training of {name!r} ends well")
    return wait_until(lambda: not processes("nbpkg run", f"{name}.yaml") and log_of(project, job), "its job ends")


def test_a_run_that_hits_its_time_limit_queues_itself_again_and_finishes(cluster):
    """Once it has trained for an epoch its limit is made so short that SLURM warns it, within half a minute."""
    with cluster.explaining():
        job = submit(cluster, "limited", **{"train.final.finetune.epochs": 12})

        def limit(minutes: int) -> None:
            subprocess.run(["scontrol", "update", f"JobId={job}", f"TimeLimit={minutes}"], check=True, timeout=600)

        with frozen(training_kernel(cluster, "limited")) as is_told:
            limit(minutes_of(job) + 2)
            wait_until(is_told, "SLURM has warned it")
            limit(60)
        wait_until(lambda: "queued again" in log_of(cluster, job), "it queues itself again")
        said = wait_for_receipt(cluster, "limited", job)
    assert said.count(f"job {job} on") == 2, said
    assert said.count("the time limit is near; queued again") == 1, said
    assert "Interrupted by SIGUSR1; run it again to resume." in said
    receipt = cluster.receipt("limited", FINAL)
    assert receipt["resumed"]
    assert receipt["provenance"]["slurm"]["SLURM_RESTART_COUNT"] == "1"


def losses(project, name: str) -> pd.DataFrame:
    """Losses of the network in the final training, by split and epoch."""
    table = pd.read_csv(project.step(name, FINAL) / project.receipt(name, FINAL)["run"] / "history.csv")
    table = table[(table["part"] == "network") & (table["metric"] == "loss")]
    return table.set_index(["split", "epoch"])["value"]


def test_two_processes_in_a_job_train_as_one_does_here(cluster):
    """The same losses to 1e-4 from one process here and from two inside a SLURM job."""
    with cluster.explaining():
        wait_for_receipt(cluster, "job", submit(cluster, "job", "-p", "launch.processes", "2"))
    assert cluster.receipt("job", FINAL)["launch"]["processes"] == 2
    expected = losses(cluster, "alone")
    assert len(expected) > 6
    pd.testing.assert_series_equal(losses(cluster, "job"), expected, rtol=0, atol=1e-4)
