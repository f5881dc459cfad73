"""Numbers of an experiment for its methods paragraph: from the receipts of exactly the runs that 06 rests on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbpkg.runs.files import read_json
from nbpkg.runs.graph import MODEL, NODES, SYSTEM, split_step

if TYPE_CHECKING:
    import pandas as pd

Receipt = Mapping[str, Any]


def trace_receipts(receipt: Receipt, study: Path) -> dict[str, tuple[Receipt, Path]]:
    """Return the receipt and run folder of every step that a run rests on, by step, its own among them.

    Parameters
    ----------
    receipt
        Of the run.
    study
        Folder of the study's experiments.

    Returns
    -------
    dict
        Runs are found by their keys, so that a later run of a step with other settings does not speak for an earlier
        one. Steps of other systems are left out, and those whose folders are gone.
    """
    step = "/".join(name for name in (receipt["stage"], receipt["phase"]) if name)
    found = {step: (receipt, _run_folder(study, step, receipt) or study)}
    for name, entry in receipt["inputs"].items():
        if name == MODEL or name.startswith(SYSTEM):
            continue
        folder = _run_folder(study, name, entry)
        if folder is not None:
            found = {**trace_receipts(read_json(folder / "receipt.json"), study), **found}
    return found


def list_facts(traced: Mapping[str, tuple[Receipt, Path]]) -> dict[str, Any]:
    """Return settings and numbers found, by name.

    Parameters
    ----------
    traced
        What `trace_receipts` returned.

    Returns
    -------
    dict
        ``stage.group.key`` is a setting, ``stage:name`` a number that the stage found (of a stage with several
        phases: ``train/final:name``), ``folds:test sessions`` and ``folds:test groups`` are counts of a role's.
        What is not set (null, empty) or not known (NaN) is not there.
    """
    import pandas as pd  # the runner, which needs no table, imports this room with the reports

    facts: dict[str, Any] = {}
    for step, (receipt, run) in traced.items():
        stage, _ = split_step(step)
        facts |= dict(_flatten(stage, receipt["settings"]))
        facts |= {f"{step}:{name}": value for name, value in receipt["metrics"].items()}
        if stage == "stratify" and (run / "folds.csv").is_file():
            facts |= _count_roles(pd.read_csv(run / "folds.csv", dtype=str))
    return {name: value for name, value in facts.items() if _is_known(value)}


def _run_folder(study: Path, step: str, entry: Receipt) -> Path | None:
    """Find a run by its key; a step with phases may have been taken from another phase of that experiment."""
    stage, phase = split_step(step)
    place = study / entry["experiment"] / NODES[stage].folder
    run = f"runs/{entry['key'][:8]}"
    own = place / phase / run
    found = [own, *sorted(place.glob(f"*/{run}"))] if phase else [own]
    return next((folder for folder in found if (folder / "receipt.json").is_file()), None)


def _is_known(value: Any) -> bool:
    return value is not None and value != [] and value != "" and not (isinstance(value, float) and math.isnan(value))


def _flatten(prefix: str, settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        yield f"{prefix}.{key}", value
        if isinstance(value, Mapping):
            yield from _flatten(f"{prefix}.{key}", value)


def _count_roles(folds: pd.DataFrame) -> dict[str, int]:
    counts: dict[str, int] = {}
    for role, own in folds.groupby("role"):
        counts |= {f"folds:{role} sessions": own["session"].nunique(), f"folds:{role} groups": own["group"].nunique()}
    return counts
