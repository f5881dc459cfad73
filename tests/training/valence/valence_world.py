"""A world small enough for tests: three listeners, five stories, valence that follows one feature of the text.

Story 5 is the test part, its truth withheld. Imported by the tests, and by the processes that they kill.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from nbpkg.datasets.valence.recording import Recording
from nbpkg.settings.launch import LaunchSettings
from nbpkg.settings.valence import (
    CrossvalSettings,
    FinalSettings,
    PersonalSettings,
    RescoreSettings,
    SequenceNetworkSettings,
    ValenceTrainSettings,
)
from nbpkg.training.rounds import Where
from nbpkg.training.valence.material import ValenceMaterial
from nbpkg.training.valence.networks import write_list
from nbpkg.training.valence.outcome import ValenceFound
from nbpkg.training.valence.phases import train_valence_phase

CPU = torch.device("cpu")
SUBJECTS, STORIES = ("1", "2", "10"), ("1", "2", "3", "4", "5")
WIDTHS = {"audio": 6, "text": 5}
SETTINGS = ValenceTrainSettings(
    network=SequenceNetworkSettings(embed=8, hidden=8),
    learning_rate=0.01,
    batch_size=8,
    split=3,
    save_every=2,
    crossval=CrossvalSettings(epochs=4),
    rescore=RescoreSettings(first=2, last=4, step=2),
    final=FinalSettings(epochs=3),
    personal=PersonalSettings(epochs=2),
)


def make_recording(subject: str, story: str, *, poisoned: bool = False) -> Recording:
    """A listener and a story; with its second without a value and its seconds without sound."""
    chance = np.random.default_rng([int(subject), int(story)])
    steps = int(chance.integers(14, 22))
    valence = np.clip(np.cumsum(chance.normal(0, 0.3, steps)), -1, 1)
    features = {name: chance.standard_normal((steps, width)).astype(np.float32) for name, width in WIDTHS.items()}
    features["text"][:, 0] = valence + chance.normal(0, 0.1, steps)
    present = {name: np.ones(steps, bool) for name in WIDTHS}
    present["audio"][-2:] = False
    features["audio"][-2:] = 0
    valence[3] = np.nan
    if poisoned:
        features = {name: 1000 + rows for name, rows in features.items()}
        valence = -valence
    original, hidden = np.repeat(valence, 25)[:-7], story == "5"
    if hidden:
        original, valence = original * np.nan, valence * np.nan
    part = "Testing" if hidden else "Training"
    session = f"Subject_{subject}_Story_{story}"
    return Recording(session, subject, story, part, "", features, present, valence, original, hidden)


def make_recordings(poisoned: str = "") -> dict[str, Recording]:
    """All sessions; those of one story may be poisoned."""
    made = [make_recording(one, story, poisoned=story == poisoned) for one in SUBJECTS for story in STORIES]
    return {one.session: one for one in made}


def make_material(*, poisoned: str = "", without: str = "") -> ValenceMaterial:
    """What training may see: stories 1 to 4, each a fold; one session may be missing."""
    recordings = {name: one for name, one in make_recordings(poisoned).items() if not one.hidden and name != without}
    stories = [one.story for one in recordings.values()]
    folds = pd.DataFrame({"session": list(recordings), "group": stories, "fold": [int(one) - 1 for one in stories]})
    return ValenceMaterial(recordings, folds.assign(role="train"), ("audio", "text"), 25, "at")


def run(
    phase: str,
    folder: Path,
    material: ValenceMaterial | None = None,
    settings: ValenceTrainSettings = SETTINGS,
    *,
    workers: int = 0,
) -> ValenceFound:
    """Run a phase in `folder/<phase>`, after those that lie beside it."""
    torch.set_num_threads(1)
    earlier = {path.name: path for path in folder.iterdir() if path.name != phase} if folder.is_dir() else {}
    where = Where(folder / phase, 0, CPU, workers, LaunchSettings())
    found = train_valence_phase(phase, material or make_material(), settings=settings, earlier=earlier, where=where)
    write_list(folder / phase, found.networks)
    return found


def results(found: ValenceFound, folder: Path) -> dict[str, bytes]:
    """Everything that a stage would put into its receipt, as bytes."""
    kept = {name: getattr(found, name).to_csv(index=False).encode() for name in ("trials", "history", "epochs")}
    files = [path for part in ("networks", "checkpoints") for path in sorted((folder / part).rglob("*.*"))]
    return kept | {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def work(folder: Path) -> dict[str, bytes]:
    """Run the cross-validation from nothing but a folder, for a test that kills it."""
    return results(run("crossval", folder), folder / "crossval")
