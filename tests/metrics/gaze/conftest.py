"""What the gaze tests share: a table of frames, small and whole."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from nbpkg import tables


def gaze_table(
    *,
    participants: int = 3,
    frames: int = 12,
    raters: str = "a",
    outside: float = 0.25,
    seed: int = 0,
    **columns: object,
) -> pd.DataFrame:
    """One track of each participant and rater; raters stray by some pixels; the rest in `columns` as given."""
    random = np.random.default_rng(seed)
    rows = []
    for number in range(participants):
        for frame in range(frames):
            place, left, is_out = (
                random.uniform(40, 600, 2) * (1, 0.7),
                random.uniform(0, 500),
                random.random() < outside,
            )
            for rater in raters:
                x, y = (np.nan, np.nan) if is_out else place + random.normal(0, 8, 2) * (len(raters) > 1)
                rows.append((f"p{number}", f"p{number}--one", rater, frame, left, x, y, int(not is_out)))
    names = ["participant", "session", "rater", "frame", "x0", "gaze_x", "gaze_y", "inside"]
    table = pd.DataFrame(rows, columns=names)
    alike = {
        "dataset": "made",
        "split": "test",
        "person": "s00",
        "image": "",
        "width": 640,
        "height": 480,
        "target": "",
    }
    table = table.assign(**alike, y0=50.0, y1=130.0, segment=0, valid=1, flags="", box_source="manual")
    table = table.assign(x1=table["x0"] + 60, **columns).sort_values(["session", "person", "rater", "frame"])
    return tables.check(table, "gaze")


@pytest.fixture(scope="session")
def make_gaze() -> Callable[..., pd.DataFrame]:
    """Make a table ``gaze``."""
    return gaze_table
