"""From one recording to the features of its modalities, whatever their kinds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg.errors import NbpkgError, Problem
from nbpkg.features.audio import emobase_seconds
from nbpkg.features.boxes import FaceDetector, Finder, Region, half_of, read_boxes
from nbpkg.features.kinds import FaceHow, Job, SoundHow, WordsHow
from nbpkg.features.rows import Features, spell
from nbpkg.features.tables import read_table
from nbpkg.features.words import average_utterances, english_stop_words, hash_utterances, seconds_of_cues
from nbpkg.video.probe import MediaFacts, probe

if TYPE_CHECKING:
    from nbpkg.features.embed import Embedder

Vectors = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Machine:
    """Where networks compute.

    Parameters
    ----------
    device
        ``auto``, ``cpu`` or ``cuda``.
    threads
        Of torch on the CPU, in each process; 0 leaves them. They change the last digits.
    batch
        Crops in a network at once.
    seed
        Of random weights.
    """

    device: str = "cpu"
    threads: int = 0
    batch: int = 32
    seed: int = 0


def make_features(
    jobs: Sequence[Job], vectors: Mapping[Job, Vectors], machine: Machine
) -> dict[Job, Features | NbpkgError]:
    """Make features of one source; several jobs are faces of one video, made in one pass.

    Parameters
    ----------
    jobs
        One job, or faces that differ only in whose they are and where.
    vectors
        Word vectors of jobs that need them.
    machine
        Where networks compute.

    Returns
    -------
    dict
        Features of each job, or what was wrong with it.
    """
    if isinstance(jobs[0].how, FaceHow):
        return _make_faces(jobs, jobs[0].how, machine)
    job = jobs[0]
    try:
        return {job: _make_one(job, vectors.get(job, {}))}
    except NbpkgError as error:
        return {job: error}


def _make_one(job: Job, vectors: Vectors) -> Features:
    how = job.how
    if isinstance(how, SoundHow):
        return emobase_seconds(job.source, seconds=how.seconds, time_columns=how.time_columns, partial=how.partial)
    if isinstance(how, WordsHow):
        return _make_words(how, vectors, job.source.name)
    return read_table(job.source, time_columns=getattr(how, "time_columns", False))


def _make_words(how: WordsHow, vectors: Vectors, file: str) -> Features:
    """Lay a session's utterances on seconds, and say how many count."""
    texts = [text for _, _, text in how.cues]
    leave_out = english_stop_words() if how.stop_words else frozenset()
    if how.vectors is not None:
        said = average_utterances(texts, vectors, leave_out=leave_out)
    else:
        said = hash_utterances(texts, width=how.width, leave_out=leave_out)
    step_ms = round(1000 * how.seconds)
    cues = pd.DataFrame(list(how.cues), columns=["start_ms", "end_ms", "text"])
    last_ms = int(cues["end_ms"].max()) if len(cues) else 0
    rows = seconds_of_cues(cues, said, how.rows or max(1, -(-last_ms // step_ms)), fill=how.silence, step_ms=step_ms)
    unknown = np.flatnonzero(np.isnan(said).any(axis=1)).tolist()
    problems = []
    if unknown:
        text = (
            f"{len(unknown)} of {len(texts)} utterances have no known word: {spell([texts[one] for one in unknown])}."
        )
        problems.append(Problem(text, file=file, severity="warning"))
    if how.rows and last_ms > how.rows * step_ms:
        text = f"Utterances reach to {last_ms / 1000:.1f} s, the session to {how.rows * how.seconds:.1f} s."
        problems.append(Problem(text, remedy="Check that both are of one video.", file=file, severity="warning"))
    return Features(rows, [f"word_{place}" for place in range(said.shape[1])], problems)


def _make_faces(jobs: Sequence[Job], how: FaceHow, machine: Machine) -> dict[Job, Features | NbpkgError]:
    """Make all sides of a video in one pass; a side whose boxes cannot be used does not stop the other."""
    made: dict[Job, Features | NbpkgError] = {}
    finders: dict[Job, Finder] = {}
    noticed: dict[Job, list[Problem]] = {}
    try:
        facts = probe(jobs[0].source)
    except NbpkgError as error:
        return dict.fromkeys(jobs, error)
    for job in jobs:
        try:
            finders[job], noticed[job] = _find(job, facts)
        except NbpkgError as error:
            made[job] = error
    for job, result in _look(jobs[0].source, finders, how, facts=facts, machine=machine).items():
        before = noticed[job]
        made[job] = result if isinstance(result, NbpkgError) else result._replace(problems=before + result.problems)
    return made


def _look(
    video: Path, finders: Mapping[Job, Finder], how: FaceHow, *, facts: MediaFacts, machine: Machine
) -> dict[Job, Features | NbpkgError]:
    """Go through a video once for all sides, or once for each where that fails, to tell which side it is."""
    from nbpkg.features.faces import face_seconds  # torch, which other kinds do not need

    names = {str(place): job for place, job in enumerate(finders)}
    if not names:
        return {}
    try:
        found = face_seconds(
            video,
            {name: finders[job] for name, job in names.items()},
            embed=_load_embedder(how.network, how.weights, how.size, machine),
            fps=how.fps,
            seconds=how.seconds,
            every=how.every,
            missed=how.missed,
            facts=facts,
        )
    except NbpkgError as error:
        if len(names) == 1:
            return dict.fromkeys(finders, error)
        alone = [_look(video, {job: find}, how, facts=facts, machine=machine) for job, find in finders.items()]
        return {job: result for one in alone for job, result in one.items()}
    return {names[name]: features for name, features in found.items()}


def _find(job: Job, facts: MediaFacts) -> tuple[Finder, list[Problem]]:
    """Return what gives the boxes of a job's side."""
    how = job.how
    if not isinstance(how, FaceHow):
        raise TypeError(f"{job.modality} is no face.")
    if how.boxes is not None:
        return read_boxes(how.boxes, session=job.session, side=how.side, split=how.split)
    region = how.region or half_of(how.side, (facts.width, facts.height), split=how.split)
    return (FaceDetector(how.detector, region) if how.detector is not None else Region(region)), []


@lru_cache(maxsize=1)  # a process makes all its videos with one network
def _load_embedder(network: str, weights: str | Path, size: int, machine: Machine) -> Embedder:
    from nbpkg.features.embed import Embedder
    from nbpkg.models.device import choose_device

    device = choose_device(machine.device, threads=machine.threads)
    return Embedder(network, str(weights), size=size, device=device, batch=machine.batch, seed=machine.seed)
