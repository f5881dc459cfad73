"""How many processes share the work of a stage, and how they find each other; none of it is part of a result."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from nbpkg.settings.base import Settings

FROM_ENVIRONMENT = "environment"


def _without_password(text: str) -> str:
    if text in ("", FROM_ENVIRONMENT):
        return text
    place = urlsplit(text)
    if not place.scheme or "://" not in text:
        raise ValueError("must be a database URL such as 'sqlite:////shared/search.db', 'environment', or empty")
    if place.password:
        raise ValueError(
            "holds a password, which every executed notebook would show; "
            "write 'environment' and put the URL into the variable NBPKG_SEARCH_STORAGE"
        )
    return text


class LaunchSettings(Settings):
    """How many processes share the work; results are the same, but for rounding where several train one network."""

    search_workers: int = Field(
        0, ge=0, le=1000, description="notebooks that share a search before the one that ends it; 0 = it works alone"
    )
    worker: int = Field(0, ge=0, le=1000, description="which of them this is, from 1; 0 = the one that ends the search")
    share: Literal["dynamic", "fixed", "none"] = Field(
        "dynamic",
        description="what a worker takes: the next free setting, its own part as published (fixed), or nothing (none)",
    )
    lease_seconds: int = Field(
        180, ge=5, le=86_400, description="seconds without a sign of life after which a worker counts as dead"
    )
    storage: Annotated[str, AfterValidator(_without_password)] = Field(
        "",
        description="where a search is written down: empty = a journal beside the results; else a database URL, or "
        "environment = the URL in NBPKG_SEARCH_STORAGE",
    )
    processes: int = Field(1, ge=1, le=64, description="processes that train one network together, on each node")
    nodes: int = Field(1, ge=1, le=256, description="nodes that train one network together, through srun")
    gpus: list[Annotated[int, Field(ge=0)]] = Field(
        [], description="GPUs for these processes, by number; [] = the first ones; without a GPU they share the CPU"
    )

    @model_validator(mode="after")
    def _consistent(self) -> LaunchSettings:
        if self.worker > self.search_workers:
            raise ValueError(f"worker is {self.worker}, but search_workers is {self.search_workers}")
        if self.gpus and len(set(self.gpus)) != self.processes:
            raise ValueError(f"gpus must name {self.processes} different GPUs, one for each process")
        return self

    @property
    def group(self) -> int:
        """How many processes train one network together, on all nodes."""
        return self.processes * self.nodes
