"""Look at finished stages from outside: are they there, are they intact, what is old."""

from __future__ import annotations

from pathlib import Path

from nbpkg.runs.files import read_json, sha256
from nbpkg.runs.graph import NODES, split_step, step_folder
from nbpkg.settings.experiment import Experiment


def state_in_words(experiment: Experiment, step: str) -> tuple[str, bool]:
    """Say whether a stage is finished and whether everything in its receipt is still as it was made.

    Returns
    -------
    tuple
        One line for a person, and False only when an artefact is missing or changed.
    """
    folder = step_folder(experiment, step)
    path = folder / "receipt.json"
    stage, phase = split_step(step)
    label = f"{NODES[stage].notebook} {phase}".rstrip()
    if not path.is_file():
        running = sorted(folder.glob("runs/*/receipt.running.json"))
        if not running:
            return f"{label}: not begun.", True
        receipt = read_json(running[-1])
        return f"{label}: {receipt['state']} since {receipt['started']}. {receipt.get('error', '')}".rstrip(), True
    receipt = read_json(path)
    run = folder / str(receipt["run"])
    broken = [
        file
        for file, entry in receipt["outputs"].items()
        if not (run / file).is_file() or sha256(run / file) != entry["sha256"]
    ]
    if broken:
        return f"{label}: {len(broken)} artefacts missing or changed, e.g. {run / broken[0]}; run it again.", False
    return f"{label}: done {receipt['ended']}, {len(receipt['outputs'])} artefacts intact, run {run.name}.", True


def older_runs(experiment: Experiment, step: str) -> list[Path]:
    """Return run folders that the stage's receipt no longer names; nothing deletes them."""
    folder = step_folder(experiment, step)
    path = folder / "receipt.json"
    current = Path(str(read_json(path)["run"])).name if path.is_file() else ""
    return [run for run in sorted(folder.glob("runs/*")) if run.name != current]
