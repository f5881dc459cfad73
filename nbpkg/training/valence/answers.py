"""What trained networks answer for recordings: each session is asked of a network that has not learnt from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from nbpkg import tables
from nbpkg.datasets.valence.recording import Recording
from nbpkg.datasets.valence.segments import stack_recordings
from nbpkg.errors import StageError
from nbpkg.training.valence.networks import Trained, load_trained, load_valence_networks
from nbpkg.training.valence.scoring import answer

__all__ = [
    "Asked",
    "Trained",
    "answer_recordings",
    "embed_recordings",
    "list_asked",
    "load_trained",
    "load_valence_networks",
    "predict_recordings",
]
Floats = NDArray[np.float32]


class Asked(NamedTuple):
    """Who is asked about a session.

    Parameters
    ----------
    networks
        One network; or all of a cross-validation, whose mean counts.
    role
        ``held_out``: a network that left it out; ``test`` or ``hidden``: kept for the end; ``train``: it was learnt
        from.
    """

    networks: tuple[Trained, ...]
    role: str

    @property
    def round(self) -> str:
        """Name of the round, or of several."""
        return (
            self.networks[0].round
            if len(self.networks) == 1
            else "mean of " + " ".join(one.round for one in self.networks)
        )


def list_asked(trained: Sequence[Trained], recordings: Mapping[str, Recording]) -> dict[str, Asked]:
    """Choose who is asked about each session.

    A subject's own network goes before everybody's. Then: a network that left the session out and learnt from others;
    for sessions that none has seen, the one trained with nothing left out, else all together; for what is left, a
    network that has learnt from it.

    Parameters
    ----------
    trained
        Networks of one or several phases; of equals the first.
    recordings
        Sessions, by name.

    Raises
    ------
    StageError
        When nobody can be asked about a session.
    """
    asked = {}
    for session, recording in recordings.items():
        own = [one for one in trained if one.subject == recording.subject]
        found = _choose(own or [one for one in trained if not one.subject], recording)
        if found is None:
            raise StageError(
                f"No network can answer for {session}, of subject {recording.subject}.",
                expected="A network for everybody, or this subject's own.",
                remedy="Run the phase 'crossval' or 'final', too.",
            )
        asked[session] = found
    return asked


def predict_recordings(
    trained: Sequence[Trained], recordings: Mapping[str, Recording], *, system: str, device: torch.device
) -> pd.DataFrame:
    """Answer every second of every session.

    Parameters
    ----------
    trained, recordings
        As for `list_asked`.
    system
        Name of this way of answering.
    device
        Where to compute.

    Returns
    -------
    pandas.DataFrame
        Table ``valence_predictions``.

    Raises
    ------
    StageError
        As `list_asked` says.
    """
    asked = list_asked(trained, recordings)
    answers = _ask(asked, recordings, device=device, embed=False)
    parts = []
    for session, recording in recordings.items():
        facts = {"system": system, "round": asked[session].round, "role": asked[session].role, "session": session}
        facts |= {"subject": recording.subject, "story": recording.story}
        truth, predicted = recording.valence, answers[session].astype(np.float64)
        own = pd.DataFrame({"step": np.arange(recording.steps), "truth": truth, "predicted": predicted})
        parts.append(own.assign(**facts))
    name = "valence_predictions"
    return tables.check(pd.concat(parts, ignore_index=True), name) if parts else tables.empty(name)


def embed_recordings(
    trained: Sequence[Trained], recordings: Mapping[str, Recording], *, device: torch.device
) -> dict[str, Floats]:
    """Return the features for late fusion of each session, by a network that left it out where there is one.

    Parameters
    ----------
    trained, recordings, device
        As for `predict_recordings`. Features of different rounds mean different things, so that where all of a
        cross-validation are asked the first one's are given.

    Returns
    -------
    dict
        Session to ``(T, E)``.

    Raises
    ------
    StageError
        As `list_asked` says.
    """
    asked = {name: own._replace(networks=own.networks[:1]) for name, own in list_asked(trained, recordings).items()}
    return _ask(asked, recordings, device=device, embed=True)


def answer_recordings(
    one: Trained, recordings: Sequence[Recording], *, device: torch.device, embed: bool = False
) -> dict[str, Floats]:
    """Ask one network about sessions, whatever it has learnt from.

    Parameters
    ----------
    one
        The network.
    recordings
        The sessions.
    device
        Where to compute.
    embed
        Give features for late fusion ``(T, E)`` instead of answers ``(T,)``.
    """
    if not recordings:
        return {}
    stack = stack_recordings(recordings, one.preparation, parts=1)
    made = answer(one.network.to(device), stack, device=device, embed=embed)
    return {recording.session: values for recording, values in zip(recordings, made, strict=True)}


def _choose(trained: Sequence[Trained], recording: Recording) -> Asked | None:
    session = recording.session
    left_out = [one for one in trained if session in one.held_out]
    if left_out:
        return Asked((left_out[0],), "held_out")
    unseen = [one for one in trained if session not in one.train and session not in one.inner]
    whole = [one for one in unseen if one.fold < 0]
    if unseen and len(unseen) == len(trained):
        return Asked((whole[0],) if whole else tuple(unseen), "hidden" if recording.hidden else "test")
    seen = [one for one in trained if session in one.train or session in one.inner]
    return Asked((next((one for one in seen if one.fold < 0), seen[0]),), "train") if seen else None


def _ask(
    asked: Mapping[str, Asked], recordings: Mapping[str, Recording], *, device: torch.device, embed: bool
) -> dict[str, Floats]:
    """Ask each network once about all its sessions, and average where several are asked."""
    networks = {id(one): one for own in asked.values() for one in own.networks}
    sums: dict[str, NDArray[np.float64]] = {}
    for key, one in networks.items():
        sessions = [name for name, own in asked.items() if key in map(id, own.networks)]
        made = answer_recordings(one, [recordings[name] for name in sessions], device=device, embed=embed)
        for name, values in made.items():
            sums[name] = sums[name] + values if name in sums else values.astype(np.float64)
    return {name: (sums[name] / len(asked[name].networks)).astype(np.float32) for name in recordings}
