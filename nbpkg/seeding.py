"""One integer seeds everything; every use has its own named child seed."""

from __future__ import annotations

import hashlib
import os
import random
import sys

import numpy as np


def child(seed: int, *names: str | int) -> int:
    """Derive the seed of one named use, so that adding a use changes no other.

    Parameters
    ----------
    seed
        The experiment's seed.
    names
        Path of the use, e.g. ``("fold", 3)``.

    Returns
    -------
    int
        In 0 .. 2**63 - 1, the same on every machine and Python version.

    Examples
    --------
    >>> child(0, "fold", 1) == child(0, "fold", 1), child(0, "fold", 1) == child(0, "fold", 2)
    (True, False)
    """
    text = "/".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """Return a NumPy generator for one named use (see `child`)."""
    return np.random.default_rng(child(seed, *names))


def seed_everything(seed: int, *, threads: int = 0) -> None:
    """Seed Python, NumPy and, if it is loaded, torch; pin torch's threads, also of a torch that is loaded later.

    Parameters
    ----------
    seed
        The experiment's seed.
    threads
        Threads of torch on the CPU, which change the order of sums and so the last digits; 0 leaves them.
    """
    random.seed(child(seed, "python"))
    np.random.seed(child(seed, "numpy") % 2**32)  # noqa: NPY002 - libraries we call may draw from it
    os.environ.setdefault(
        "CUBLAS_WORKSPACE_CONFIG", ":4096:8"
    )  # read by CUDA when it starts, needed for repeatable sums
    if threads:  # read by OpenMP when torch loads it; snakemake and SLURM set it to numbers of their own
        os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(threads)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(child(seed, "torch"))
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # an aid for finding bugs that costs bandwidth
        if threads:
            torch.set_num_threads(threads)
