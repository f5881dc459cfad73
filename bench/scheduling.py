"""What running a notebook as a job costs beside the work of its cells: bare papermill, our runner, the graph, SLURM.

The same notebook (01 on the sample data, made by ``make demo``) several ways. Overhead: seconds from the command to
its end, less the seconds that the executed notebook says its cells took. SLURM is a one-node cluster on loopback that
the bench starts as root; without it these rows are left out.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat

from bench.common import clock, show

ROOT = Path(__file__).parent.parent
NOTEBOOK, FILE = "notebooks/01_parse_annotations.ipynb", "params/infant_engagement/sample.yaml"
ROUNDS = 3


def main() -> list[dict]:
    with tempfile.TemporaryDirectory(prefix="bench") as name:
        project = _copy(Path(name))
        executed = project / "outputs" / "infant_engagement" / "sample" / "01_parse" / "executed.ipynb"
        graph = [sys.executable, "-m", "snakemake", "--quiet", "all", "--forcerun", "01_parse"]
        graph += ["--config", "study=infant_engagement", "experiment=sample", "--until", "01_parse"]
        ways = {
            "papermill": ([sys.executable, "-m", "papermill", NOTEBOOK, str(executed), "-f", FILE], {}),
            "python -m nbpkg run": ([sys.executable, "-m", "nbpkg", "run", NOTEBOOK, "-f", FILE], {}),
            "snakemake -c1": ([*graph, "-c1"], {}),
        }
        executed.parent.mkdir(parents=True)
        stop = _start_slurm(project / "slurm", ways, graph)
        try:
            rows = [_measure(way, command, extra, project, executed) for way, (command, extra) in ways.items()]
        finally:
            stop()
    show(f"Overhead of a notebook as a job (median of {ROUNDS})", rows)
    return rows


def _copy(project: Path) -> Path:
    for name in ("notebooks", "params", "profiles"):
        shutil.copytree(ROOT / name, project / name)
    shutil.copy2(ROOT / "Snakefile", project)
    (project / "data").symlink_to(ROOT / "data")
    return project


def _start_slurm(folder: Path, ways: dict, graph: list[str]) -> object:
    """Start SLURM if that can be done, and add the ways that use it; return what stops it."""
    system = Path("/etc/slurm/slurm.conf")
    script = ROOT / "tests" / "cluster" / "slurm_up.sh"
    if os.getuid() != 0 or shutil.which("slurmctld") is None or system.exists():
        return lambda: None
    subprocess.run(["bash", script, folder, "start"], check=True, capture_output=True)
    system.parent.mkdir(exist_ok=True)
    system.symlink_to(folder / "slurm.conf")
    extra = {"SLURM_CONF": str(folder / "slurm.conf")}
    run = f"{sys.executable} -m nbpkg run {NOTEBOOK} -f {FILE}"
    ways["sbatch, our runner"] = (["sbatch", "--wait", "--mem=3G", "--wrap", run], extra)
    profile = ["--profile", "profiles/slurm", "--slurm-init-seconds-before-status-checks", "5"]
    ways["snakemake --profile profiles/slurm"] = ([*graph, *profile], extra)

    def stop() -> None:
        subprocess.run(["bash", script, folder, "stop"], check=True)
        system.unlink()

    return stop


def _measure(way: str, command: list[str], extra: dict[str, str], project: Path, executed: Path) -> dict:
    overheads, cells = [], []
    for _ in range(ROUNDS):

        def work() -> None:
            done = subprocess.run(command, cwd=project, env={**os.environ, **extra}, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr

        seconds = clock(work)
        cells.append(sum(_duration(cell) for cell in nbformat.read(executed, as_version=4).cells))
        overheads.append(seconds - cells[-1])
    overhead, inside = statistics.median(overheads), statistics.median(cells)
    return {"way": way, "overhead, s": round(overhead, 1), "cells, s": round(inside, 1)}


def _duration(cell: dict) -> float:
    return cell.metadata.get("papermill", {}).get("duration") or 0.0


if __name__ == "__main__":
    main()
