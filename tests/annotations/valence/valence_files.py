"""Small folders in the published form, made in a folder of the test's own."""

from pathlib import Path

import numpy as np
import pandas as pd

GOLDEN = Path(__file__).parents[2] / "golden" / "valence_fusion"
PARTS = {"Training": "Training", "Validation": "Validation", "Testing": "Testing"}


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def annotate(root: Path, session: str, values, *, part="Training", folder="Annotations") -> Path:
    text = "valence\n" + "".join(f"{value}\n" for value in values)
    return write(root / part / folder / f"{session}.csv", text)


def staircase(frames: int, seed: int = 1) -> list[float]:
    steps = np.random.default_rng(seed).choice([-0.1, 0.0, 0.0, 0.1], frames)
    return [round(float(value), 1) for value in np.clip(np.cumsum(steps), -1, 1)]


def make_tree(root: Path) -> Path:
    """Two listeners, stories 2 and 10 to train on, 1 to validate, 3 withheld; 60 frames, so 2.4 seconds."""
    for subject in (1, 10):
        for story, part in ((2, "Training"), (10, "Training"), (1, "Validation")):
            annotate(root, f"Subject_{subject}_Story_{story}", staircase(60, 100 * subject + story), part=part)
        annotate(root, f"Subject_{subject}_Story_3", [0.0] * 60, part="Testing")
    return root


def unpack(root: Path) -> Path:
    """Write the input files of the published data set as they are."""
    with np.load(GOLDEN / "dataset_open.npz", allow_pickle=False) as golden:
        for name in golden.files:
            if name.startswith("file:"):
                write(root / name.removeprefix("file:"), golden[name].tobytes())
    return root


def texts(problems, severity=None) -> list[str]:
    return [
        f"{problem.where}: {problem.what}" for problem in problems if severity is None or problem.severity == severity
    ]


def snapshot(root: Path) -> dict:
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in root.rglob("*") if path.is_file()}


def describe(sessions: dict[str, int], *, ratio: int = 25, hidden=()) -> pd.DataFrame:
    """Make a table of recordings of given lengths, in frames."""
    from nbpkg.annotations.valence.recordings import describe_recordings

    rows = [
        {"session": name, "subject": name.split("_")[1], "story": name.split("_")[3], "part": "Training"}
        | {"rater": "self", "frame": frame, "value": value}
        for name, frames in sessions.items()
        for frame, value in enumerate(staircase(frames))
    ]
    return describe_recordings(pd.DataFrame(rows), ratio=ratio, hidden=hidden)
