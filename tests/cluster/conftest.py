"""A real SLURM of one node, and a copy of the project whose jobs it runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
import yaml
from cluster_project import Project

SYSTEM = Path("/etc/slurm/slurm.conf")


@pytest.fixture(scope="session")
def slurm():
    """Start SLURM on loopback; its commands find it, also inside jobs, from which Snakemake takes SLURM_CONF."""
    missing = [name for name in ("slurmctld", "slurmd", "sbatch", "munged") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"SLURM is not installed: no {', '.join(missing)}")
    if os.getuid() != 0:
        pytest.skip("a SLURM of one's own can be started by root only")
    if SYSTEM.exists() and not SYSTEM.is_symlink():
        pytest.skip(f"this machine has a SLURM of its own: {SYSTEM}")
    folder = Path(tempfile.mkdtemp(prefix="slurm"))
    folder.chmod(0o755)  # munge wants its socket within reach of all
    script = Path(__file__).with_name("slurm_up.sh")
    started = subprocess.run(["bash", script, folder, "start"], capture_output=True, text=True, timeout=900)
    if started.returncode:
        subprocess.run(
            ["bash", script, folder, "stop"], timeout=300
        )  # what did start must not be in the next one's way
        pytest.fail(f"SLURM did not come up: {started.stdout}{started.stderr}")
    SYSTEM.parent.mkdir(exist_ok=True)
    SYSTEM.unlink(missing_ok=True)
    SYSTEM.symlink_to(folder / "slurm.conf")
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    yield folder
    subprocess.run(["scancel", "--user=root"], timeout=300)
    subprocess.run(["bash", script, folder, "stop"], timeout=300)
    SYSTEM.unlink()
    del os.environ["SLURM_CONF"]
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def project(root, demo, tmp_path_factory) -> Project:
    """Copy the project, with the finished sample experiment of `make demo` to compare with and to build on."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("notebooks", "params", "profiles"):
        shutil.copytree(root / name, folder / name)
    shutil.copy2(root / "Snakefile", folder)
    for name in ("data", "outputs"):
        (folder / name / "infant_engagement").mkdir(parents=True)
        source = root / name / "infant_engagement" / "sample"
        (folder / name / "infant_engagement" / "sample").symlink_to(source)
    profile = folder / "profiles" / "slurm"
    settings = yaml.safe_load((profile / "config.yaml").read_text())
    settings["latency-wait"] = 20  # one machine needs little patience with a shared file system
    (profile / "config.yaml").write_text(yaml.safe_dump(settings))
    needs = {"cores": 1, "memory_gb": 3, "hours": 0.5}
    jobs = {"default": needs} | {
        rule: {**needs, "gpus": 1} for rule in ("05_train_finetune_search_worker", "05_train_final")
    }
    site = {"site": {"options": "--signal=TERM@20", "jobs": jobs}, "launch": {"search_workers": 3}}
    (profile / "site.yaml").write_text(yaml.safe_dump(site))
    return Project(folder)
