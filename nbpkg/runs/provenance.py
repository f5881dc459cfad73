"""Which code, packages and machine made a result."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import nbpkg

_PACKAGES = (
    "av",
    "ipykernel",
    "numpy",
    "opencv-python-headless",
    "pandas",
    "papermill",
    "pympi-ling",
    "scikit-learn",
    "snakemake",
    "torch",
    "torchvision",
)
_SLURM = ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_RESTART_COUNT", "CUDA_VISIBLE_DEVICES")


def collect(root: Path) -> dict[str, Any]:
    """Collect code, package and machine facts for a receipt.

    Parameters
    ----------
    root
        Project folder, for the git commit.
    """
    torch = sys.modules.get("torch")
    gpu = torch.cuda.get_device_name() if torch is not None and torch.cuda.is_available() else None
    slurm = {name: os.environ[name] for name in _SLURM if name in os.environ}
    return {
        "nbpkg": nbpkg.__version__,
        "code_sha256": _code_hash(),
        **_git(root),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "gpu": gpu,
        "slurm": slurm,
    }


def _git(root: Path) -> dict[str, Any]:
    """Return commit and a hash of what differs from it; None where the project is no git checkout."""
    try:
        commit = _output(root, "rev-parse", "HEAD").strip()
        changes = _output(root, "diff", "HEAD")
    except (OSError, subprocess.CalledProcessError):
        return {"git_commit": None, "git_changes_sha256": None}
    return {"git_commit": commit, "git_changes_sha256": hashlib.sha256(changes.encode()).hexdigest() if changes else ""}


def _output(root: Path, *arguments: str) -> str:
    result = subprocess.run(
        ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True, timeout=30
    )
    return result.stdout


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _code_hash() -> str:
    """Hash the package's own source, so that a result can be tied to code that was never committed."""
    folder = Path(nbpkg.__file__).parent
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        total.update(path.relative_to(folder).as_posix().encode())
        total.update(path.read_bytes())
    return total.hexdigest()
