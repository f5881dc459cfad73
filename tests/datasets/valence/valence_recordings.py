"""Small recordings for tests."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from nbpkg.datasets.valence.recording import Recording

WIDTHS = {"audio": 3, "text": 4}


def make_recording(
    session: str = "Subject_1_Story_2",
    *,
    steps: int = 5,
    features: Mapping[str, np.ndarray] | None = None,
    missing: Mapping[str, list[int]] | None = None,
    valence: np.ndarray | None = None,
    hidden: bool = False,
) -> Recording:
    """Return a recording of random features; `missing` says which steps of a modality are masked."""
    _, subject, _, story = session.split("_")
    draws = np.random.default_rng([int(subject), int(story)])
    made = features or {name: draws.standard_normal((steps, width)) for name, width in WIDTHS.items()}
    steps = len(next(iter(made.values())))
    present = {name: np.ones(steps, bool) for name in made}
    for name, places in (missing or {}).items():
        present[name][places] = False
    rows = {name: np.where(present[name][:, None], values, 0).astype(np.float32) for name, values in made.items()}
    truth = draws.uniform(-1, 1, steps) if valence is None else np.asarray(valence, float)
    return Recording(
        session=session,
        subject=subject,
        story=story,
        part="Training",
        actor="",
        features=rows,
        present=present,
        valence=truth,
        original=np.repeat(truth, 25),
        hidden=hidden,
    )
