"""What a cluster is like: the one small file that a lab edits, to what each job asks of SLURM."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from nbpkg.errors import SettingsError, raise_all
from nbpkg.settings.base import Settings
from nbpkg.settings.experiment import validated


class Needs(Settings):
    """What a job asks for."""

    cores: int = Field(2, ge=1, le=1024, description="processor cores")
    memory_gb: float = Field(8, gt=0, description="main memory, GB")
    hours: float = Field(4, gt=0, description="time limit, hours; a stage that is cut off goes on where it was")
    gpus: int = Field(0, ge=0, le=64, description="GPUs on each node")
    nodes: int = Field(1, ge=1, le=256, description="nodes; more than one only with launch.nodes")


class SiteSettings(Settings):
    """A cluster."""

    partition: str = Field("", description="partition of jobs without GPU, as sinfo lists them; empty = the default")
    gpu_partition: str = Field("", description="partition of jobs with GPUs; empty = the same")
    account: str = Field("", description="account that is charged; empty = your default")
    gpu: str = Field("gpu", pattern=r"^gpu(:[A-Za-z0-9_.-]+)?$", description="gpu, or with its type such as gpu:a100")
    options: str = Field("", description="further options of sbatch, e.g. --requeue or --mail-type=FAIL")
    image: str = Field("", description="container image that jobs run in, with --sdm apptainer; empty = this .venv")
    jobs: dict[str, Needs] = Field(
        default_factory=dict, description="what a job needs, by the name of its rule; 'default' for all others"
    )

    def resources(self, rule: str) -> dict[str, Any]:
        """Return what a rule asks of Snakemake's SLURM executor.

        Parameters
        ----------
        rule
            Its name, e.g. ``05_train_final``.

        Returns
        -------
        dict
            Resources by Snakemake's names: mem_mb, runtime (minutes), gres and so on.
        """
        needs = self.jobs.get(rule) or self.jobs.get("default") or Needs()
        asked: dict[str, Any] = {
            "mem_mb": round(1000 * needs.memory_gb),
            "runtime": max(1, round(60 * needs.hours)),
            "cpus_per_task": needs.cores,
            "slurm_partition": (self.gpu_partition if needs.gpus else "") or self.partition,
            "slurm_account": self.account,
            "slurm_extra": self.options,
            "gres": f"{self.gpu}:{needs.gpus}" if needs.gpus else "",
            "nodes": needs.nodes if needs.nodes > 1 else 0,
        }
        return {name: value for name, value in asked.items() if value}


def read_site(values: object) -> SiteSettings | None:
    """Check the section ``site`` of a site file; None when there is none, as on a laptop.

    Raises
    ------
    SettingsError
        Listing everything that cannot be used.
    """
    if values is None:
        return None
    problems: list[Any] = []
    site = validated(SiteSettings, values if isinstance(values, Mapping) else {}, "site", problems)
    raise_all(problems, SettingsError, summary="the site file cannot be used")
    return site if isinstance(site, SiteSettings) else None
