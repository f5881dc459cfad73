"""Explanations of a trained network, session by session, beside a twin that has learnt nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
import torch

from nbpkg import seeding, tables
from nbpkg.attention.valence.covering import Fill
from nbpkg.attention.valence.explain import integrated_gradients, lag_profile, occlude
from nbpkg.datasets.valence.recording import Recording
from nbpkg.errors import ExplainError
from nbpkg.progress import track
from nbpkg.training.valence.networks import Trained

TABLE = "valence_importance"


def explain_recordings(
    trained: Trained,
    recordings: Mapping[str, Recording],
    *,
    system: str,
    window: int,
    stride: int,
    fill: Fill,
    steps: int,
) -> pd.DataFrame:
    """Ask a network which second of which modality moved its answers, by occlusion and by integrated gradients.

    Parameters
    ----------
    trained
        The network and how its inputs are prepared.
    recordings
        Sessions to explain, by name; none that it has learnt from.
    system
        What the rows are called.
    window, stride, fill
        As for `nbpkg.attention.valence.explain.occlude`, seconds.
    steps
        Of integrated gradients.

    Returns
    -------
    pandas.DataFrame
        Table ``valence_importance``.

    Raises
    ------
    ExplainError
        When a session taught the network.
    """
    seen = sorted(set(recordings) & {*trained.train, *trained.inner})
    if seen:
        raise ExplainError(
            f"The network has learnt from {seen[0]}, which it is to explain.",
            expected="Sessions kept for the end, or left out of this training.",
            remedy="Explain sessions of the test fold.",
        )
    found = []
    for name, recording in track(list(recordings.items()), f"explain {system}", unit="session"):
        asked = _ask(trained, recording)
        covered = occlude(**asked, window_steps=window, stride=stride, fill=fill)
        added = integrated_gradients(**asked, steps=steps).importance
        for method, rows in (("occlusion", covered), ("integrated_gradients", added)):
            found.append(rows.assign(system=system, session=name, method=method))
    return tables.check(pd.concat(found), TABLE) if found else tables.empty(TABLE)


def profile_lags(
    trained: Trained, recordings: Mapping[str, Recording], *, lags: Sequence[int], fill: Fill, stride: int = 1
) -> pd.DataFrame:
    """Find how many seconds after something was perceived the answer moves, session by session.

    Parameters
    ----------
    trained, recordings
        As for `explain_recordings`.
    lags, fill, stride
        As for `nbpkg.attention.valence.explain.lag_profile`.

    Returns
    -------
    pandas.DataFrame
        session, modality, lag (seconds), change (mean absolute change of the answer).
    """
    sessions = track(list(recordings.items()), "lags", unit="session", total=len(recordings))
    found = [
        lag_profile(**_ask(trained, one), lags=lags, fill=fill, stride=stride).assign(session=name)
        for name, one in sessions
    ]
    return pd.concat(found, ignore_index=True)[["session", "modality", "lag", "change"]]


def random_twin(trained: Trained, *, seed: int) -> Trained:
    """Return the same network with weights drawn anew: what its explanations show is owed to the data alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeding.child(seed, "random twin"))
        network = trained.shape.build()
    return replace(trained, network=network.eval())


def _ask(trained: Trained, recording: Recording) -> dict[str, Any]:
    inputs = trained.preparation.apply(recording)
    present = {name: recording.present[name] for name in inputs}
    return {"network": trained.network, "inputs": inputs, "present": present}
