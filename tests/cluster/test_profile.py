"""The profile and the site file: what jobs ask for, and what a lab may get wrong. Needs no SLURM."""

from __future__ import annotations

import os
import stat
import subprocess
import sys

import pytest
import yaml
from cluster_project import environment
from patience import PATIENCE_S

from nbpkg.errors import SettingsError
from nbpkg.runs.graph import KINDS, NODES, SHARED, split_step
from nbpkg.settings.launch import LaunchSettings
from nbpkg.settings.site import read_site

SITE = {"partition": "cpu", "gpu_partition": "a100", "account": "lab7", "gpu": "gpu:a100", "options": "--requeue"}


def rules() -> set[str]:
    """Names of all rules that run a notebook."""
    nodes = [node for kind in KINDS.values() for node in kind.values()]
    steps = {node.folder for node in nodes if not node.phases}
    steps |= {f"{node.folder}_{phase}" for node in nodes for phase in node.phases}
    shared = {f"{NODES[stage].folder}_{phase}_worker" for stage, phase in map(split_step, SHARED)}
    return steps | shared


def test_the_site_file_names_rules_that_exist(root):
    values = yaml.safe_load((root / "profiles" / "slurm" / "site.yaml").read_text())
    site = read_site(values["site"])
    assert set(site.jobs) - {"default"} <= rules()
    LaunchSettings.model_validate(values["launch"])
    arrays = yaml.safe_load((root / "profiles" / "slurm" / "config.yaml").read_text())["slurm-array-jobs"]
    assert set(arrays.split(",")) == {name for name in rules() if name.endswith("_worker")}


def test_a_job_asks_for_what_the_site_file_says():
    site = read_site(
        {**SITE, "jobs": {"05_train_final": {"cores": 8, "memory_gb": 32, "hours": 0.5, "gpus": 2, "nodes": 2}}}
    )
    assert site.resources("05_train_final") == {
        "mem_mb": 32000,
        "runtime": 30,
        "cpus_per_task": 8,
        "slurm_partition": "a100",
        "slurm_account": "lab7",
        "slurm_extra": "--requeue",
        "gres": "gpu:a100:2",
        "nodes": 2,
    }
    plain = site.resources("01_parse")
    assert plain["slurm_partition"] == "cpu"
    assert not {"gres", "nodes"} & set(plain)
    assert read_site({}).resources("01_parse") == {"mem_mb": 8000, "runtime": 240, "cpus_per_task": 2}
    assert read_site(None) is None


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"partitions": "cpu"}, "site.partitions is no known key. Did you mean 'partition'?"),
        ({"jobs": {"04_bake": {"memory": 3}}}, "site.jobs.04_bake.memory is no known key"),
        ({"jobs": {"04_bake": {"cores": 0}}}, "site.jobs.04_bake.cores is 0"),
        ({"gpu": "gpu:a100:1"}, "site.gpu is 'gpu:a100:1'"),
    ],
)
def test_mistakes_in_the_site_file_are_named(values, words):
    with pytest.raises(SettingsError) as caught:
        read_site(values)
    assert words.rstrip("'?").split(". Did")[0] in str(caught.value)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"worker": 3, "search_workers": 2}, "worker is 3, but search_workers is 2"),
        ({"gpus": [0, 0], "processes": 2}, "2 different GPUs"),
        ({"storage": "postgresql://me:secret@host/db"}, "NBPKG_SEARCH_STORAGE"),
        ({"storage": "search.db"}, "must be a database URL"),
    ],
)
def test_mistakes_in_launch_are_named_without_passwords(values, words):
    from nbpkg.settings.experiment import Header, validated

    problems = []
    header = {"study": "infant_engagement", "experiment": "x", "data": "data", "launch": values}
    assert validated(Header, header, "", problems) is None
    (problem,) = problems
    assert words in problem.what
    assert "secret" not in str(problem)


def test_a_worker_of_a_step_that_is_not_shared_is_refused(project):
    command = [sys.executable, "-m", "nbpkg", "run", "notebooks/01_parse_annotations.ipynb"]
    command += ["-f", "params/infant_engagement/sample.yaml", "-p", "outputs", "elsewhere"]
    command += ["-p", "launch.search_workers", "2", "-p", "launch.worker", "2"]
    done = subprocess.run(
        command, cwd=project.folder, env=environment(), capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert done.returncode == 1
    assert "launch.worker is 2, but 'parse' is not shared by workers." in done.stderr


@pytest.mark.demo
def test_more_workers_make_no_earlier_stage_anew(project):
    """Workers and sites are no part of what a stage is made from."""
    file = project.write_experiment("workers", own_data=False)
    command = [sys.executable, "-m", "snakemake", "-n", "-c1", "--quiet", "host"]
    command += ["--config", f"file={file}", "launch={search_workers: 2}"]
    done = subprocess.run(
        command, cwd=project.folder, env=environment(), capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout + done.stderr
    assert "05_train_finetune_search_worker" in said
    assert "search_workers" not in "".join(line for line in said.splitlines() if "params" in line.lower())


@pytest.mark.demo
def test_with_an_image_jobs_run_in_the_container(project, tmp_path):
    """The command line, by a program named apptainer that writes it down and then runs the command here."""
    log, image = tmp_path / "calls", tmp_path / "nbpkg.sif"
    image.write_bytes(b"an image")
    fake = tmp_path / "bin" / "apptainer"
    fake.parent.mkdir()
    lines = ['[ "$1" = --version ] && echo "apptainer version 1.4.5" && exit', f'echo "$@" >> {log}']
    lines += ['while [ $# -gt 0 ] && [ "${1##*/}" != bash ]; do shift; done', 'exec "$@"']
    fake.write_text("\n".join(["#!/bin/bash", *lines, ""]))
    inside = fake.with_name("python")  # what the image would call python
    inside.write_text(f'#!/bin/bash\nexec {sys.executable} "$@"\n')
    for path in (fake, inside):
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    site = tmp_path / "site.yaml"
    site.write_text(yaml.safe_dump({"site": {"image": str(image)}}))
    file = project.write_experiment("contained", own_data=True)
    command = [sys.executable, "-m", "snakemake", "-c1", "--sdm", "apptainer", "--configfile", str(site)]
    command += ["--config", f"file={file}", "--until", "01_parse"]
    path = f"{fake.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command, cwd=project.folder, env=environment(PATH=path), capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    said = log.read_text()
    assert " exec " in f" {said}"
    assert str(image) in said
    assert "exec python -m nbpkg run" in said
    assert project.receipt("contained", "01_parse")["state"] == "done"
