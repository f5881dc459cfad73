"""Open a stage: find its inputs, compute its key, begin its receipt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nbpkg import seeding
from nbpkg.errors import SettingsError, StageError
from nbpkg.runs import files, provenance
from nbpkg.runs.graph import (
    GROUPED,
    SHARED,
    current_run,
    how_to_run,
    reads_of,
    settings_of,
    split_step,
    step_folder,
    step_of,
    worker_folder,
)
from nbpkg.runs.stage import Stage, now
from nbpkg.runs.watch import RUNNING, watch_notebook
from nbpkg.settings.experiment import Experiment


def open_stage(name: str, experiment: Experiment, *, about: str, sources: Sequence[Path] = ()) -> Stage:
    """Open a stage: find its inputs, compute its key, and begin its receipt.

    Parameters
    ----------
    name
        Stage, a key of `NODES`.
    experiment
        The checked experiment.
    about
        What the stage means in this study.
    sources
        Raw files it reads.

    Raises
    ------
    StageError
        When an earlier stage has not finished, or the output folder cannot be written.
    SettingsError
        When this is a worker of a step that is not shared.
    """
    header, launch = experiment.header, experiment.header.launch
    seeding.seed_everything(header.seed, threads=header.threads)
    outputs = experiment.folder.parent.parent
    hashes = files.source_hashes(list(sources), base=experiment.data, cache=outputs / ".hashes.json")
    step = step_of(experiment, name)
    if launch.worker and step not in SHARED:
        raise SettingsError(
            f"launch.worker is {launch.worker}, but {step!r} is not shared by workers.",
            expected=f"A worker of {', '.join(SHARED)}.",
            remedy="Set launch.worker to 0.",
        )
    inputs = {
        earlier: _input_facts(experiment, earlier, names) for earlier, names in reads_of(experiment, step).items()
    }
    identity = {
        "stage": name,
        "phase": split_step(step)[1],
        "settings": settings_of(experiment, step),
        "seed": header.seed,
        "threads": header.threads,
        "inputs": {stage: entry["artefacts"] for stage, entry in inputs.items()},
        "sources": {path: entry["sha256"] for path, entry in hashes.items()},
    }
    if launch.group > 1 and step in GROUPED:  # sums in another order: other last digits
        identity |= {"processes": launch.group}
    key = files.digest(identity)
    run = step_folder(experiment, step) / "runs" / key[:8]
    folder = worker_folder(run, launch.worker)
    receipt: dict[str, Any] = {
        "state": "running",
        "study": header.study,
        "kind": experiment.kind,
        "experiment": header.experiment,
        **identity,
        "key": key,
        "run": folder.relative_to(step_folder(experiment, step)).as_posix(),
        "resumed": folder.is_dir(),
        "started": now(),
        "device": header.device,
        "workers": header.workers,
        "launch": launch.model_dump(exclude={"storage"}),
        "report": header.report.model_dump(),
        "provenance": provenance.collect(experiment.root),
        "inputs": inputs,
        "sources": hashes,
        "outputs": {},
        "checks": [],
        "warnings": [],
    }
    files.write_json(folder / RUNNING, receipt)
    stage = Stage(name, experiment, about, folder, receipt, step=step, shared=run)
    watch_notebook(stage)
    return stage


def _input_facts(experiment: Experiment, step: str, names: Sequence[str]) -> dict[str, Any]:
    """Describe what is read from an earlier step, after checking that it is still what its receipt says."""
    run = current_run(experiment, step)
    receipt = files.read_json(run / "receipt.json")
    if receipt["state"] == "not_applicable":  # its settings may still matter to what reads it
        return _as_input(receipt, {"receipt.json": receipt["key"]})
    artefacts = {}
    for name in names:
        path = run / name
        promised = receipt["outputs"].get(name, {}).get("sha256")
        artefacts[name] = files.sha256(path) if path.is_file() else None
        if promised is None or artefacts[name] != promised:
            raise StageError(
                f"{name} of {step!r} is missing or was changed after it was made.",
                where=str(path),
                expected=f"The file with the hash in {run / 'receipt.json'}.",
                remedy=f"Run {how_to_run(step)} again.",
            )
    return _as_input(receipt, artefacts)


def _as_input(receipt: dict[str, Any], artefacts: Mapping[str, str | None]) -> dict[str, Any]:
    return {**{name: receipt[name] for name in ("experiment", "key", "ended")}, "artefacts": artefacts}
