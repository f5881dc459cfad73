"""One round of valence training: preparation fitted on its own sessions, training, the network kept, its scores."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch

from nbpkg import seeding
from nbpkg.datasets.valence.preparation import Preparation, Scale, fit_preparation
from nbpkg.datasets.valence.recording import Recording
from nbpkg.datasets.valence.segments import Stack, stack_recordings
from nbpkg.models.valence.build import NetworkName, SequenceNetwork
from nbpkg.models.valence.options import NetworkOptions
from nbpkg.models.weights import State, load_strictly
from nbpkg.runs.files import digest, read_json, write_json
from nbpkg.training.valence.loop import STATE, Course, Job, SequenceTraining, Tick, check_same, fit
from nbpkg.training.valence.material import ValenceMaterial
from nbpkg.training.valence.networks import Shape, Trained, save_trained
from nbpkg.training.valence.outcome import Outcome
from nbpkg.training.valence.rounds import Round
from nbpkg.training.valence.scoring import Scored, measure, score_sessions

RESULT = "trained.json"
NEVER = math.nan


class Start(NamedTuple):
    """Where training begins, if not at random.

    Parameters
    ----------
    state
        Weights.
    preparation
        What they were trained with, which is kept; None fits one on the round's own sessions.
    name
        Where they come from, for messages and the identity of the training.
    """

    state: State
    preparation: Preparation | None
    name: str


@dataclass(frozen=True)
class Plan:
    """What all rounds of a phase share.

    Parameters
    ----------
    phase
        Its name.
    network, options
        What is trained.
    how
        Settings of the training.
    scale, reduce
        How features are prepared, see `fit_preparation`.
    split
        Segments of a session.
    seed
        The experiment's.
    checkpoints
        Whether the network of every ``how.save_every``-th epoch is kept.
    """

    phase: str
    network: NetworkName
    options: NetworkOptions
    how: SequenceTraining
    scale: Scale
    reduce: Mapping[str, int]
    split: int
    seed: int
    checkpoints: bool = False


class Place(NamedTuple):
    """Where a round is trained: run folder, device, and called after each epoch."""

    folder: Path
    device: torch.device
    tick: Tick


def train_round(
    material: ValenceMaterial, one: Round, *, plan: Plan, place: Place, start: Start | None = None
) -> Outcome:
    """Train once, save the network kept, and measure it.

    A round that is finished is only read; one that was cut off goes on from its last state, with the same bytes.

    Parameters
    ----------
    material
        What may be seen.
    one
        The sessions of the round.
    plan
        What is trained, and how.
    start
        Where it begins; None for random weights, the same for all rounds.
    place
        Folder, device, progress.

    Returns
    -------
    Outcome
        Trial, history and entry of ``networks.json``.

    Raises
    ------
    DivergedError, StageError, WeightsError
        As `nbpkg.training.valence.loop.fit` and `nbpkg.models.weights.load_strictly` say.
    """
    if one.reason:
        return Outcome(empty_trial(material, one))
    result = place.folder / "trainings" / one.name / RESULT
    train = material.take(one.train)
    case = _Case(material, one, plan, place, _prepare(train, plan, material.modalities, start=start))
    segments = stack_recordings(train, case.preparation, parts=plan.split)
    identity = _identify(case, segments, start=start)
    if result.is_file():
        done = read_json(result)
        check_same(done["identity"], identity, result)
        place.tick(float(plan.how.epochs))
        history = [[*row[:3], NEVER if row[3] is None else row[3]] for row in done["history"]]
        return Outcome(_number(done["trial"]), history, done["network"])
    begun = time.monotonic()
    outcome = _train(case, segments, identity=identity, start=start)
    history = [[*row[:3], _plain(row[3])] for row in outcome.history]
    trial = {name: _plain(value) for name, value in outcome.trial.items()}
    write_json(result, {"identity": identity, "trial": trial, "history": history, "network": outcome.network})
    (result.parent / STATE).unlink()
    steps = int(segments.lengths.sum()) * plan.how.epochs
    return replace(outcome, seconds=time.monotonic() - begun, steps=steps)


@dataclass(frozen=True)
class _Case:
    """One round, ready to be trained."""

    material: ValenceMaterial
    one: Round
    plan: Plan
    place: Place
    preparation: Preparation

    @property
    def shape(self) -> Shape:
        return Shape(self.plan.network, self.material.modalities, self.preparation.widths, self.plan.options)

    def score(self, sessions: Sequence[str]) -> Scored:
        own, size = self.material.take(sessions), self.plan.how.batch_size
        return score_sessions(own, self.preparation, ratio=self.material.ratio, at_once=size)


def empty_trial(
    material: ValenceMaterial, one: Round, *, known: Mapping[str, Any] = MappingProxyType({})
) -> dict[str, Any]:
    """Return a row of table ``valence_trials`` in which nothing is known but what is given."""
    row = {
        "system": material.system,
        "round": one.name,
        "fold": one.fold,
        "chosen_by": "last",
        "epoch": 0,
        "epochs": 0,
        **dict.fromkeys(("train_ccc", "inner_ccc", "held_out_ccc", "optimistic_ccc"), NEVER),
        "n_train": len(set(one.train)),
        "n_held_out": len(one.held_out),
        "reason": one.reason,
    }
    return row | dict(known)


def _train(case: _Case, segments: Stack, *, identity: Mapping[str, Any], start: Start | None) -> Outcome:
    one, plan, place = case.one, case.plan, case.place
    scored = {split: case.score(names) for split, names in (("inner", one.inner), ("held_out", one.held_out)) if names}
    network = _build(case.shape, plan, start)
    job = Job(
        network=network,
        segments=segments,
        scored=scored,
        how=plan.how,
        seed=seeding.child(plan.seed, "valence", plan.phase, one.name),
        device=place.device,
        folder=place.folder / "trainings" / one.name,
        checkpoints=place.folder / "checkpoints" / one.name if plan.checkpoints else None,
        identity=identity,
        tick=place.tick,
    )
    fitted = fit(job)
    network.load_state_dict(fitted.best)
    learnt = {"train": case.score(sorted(set(one.train))), **scored}
    values = {f"{split}_ccc": measure(network, own, device=place.device)["ccc"] for split, own in learnt.items()}
    return _finish(case, network.cpu(), course=fitted.course, values=values)


def _finish(case: _Case, network: SequenceNetwork, *, course: Course, values: Mapping[str, float]) -> Outcome:
    """Save the network kept, and say in a row what it came to."""
    one, chosen_by, reason = case.one, case.plan.how.select, ""
    if chosen_by in ("inner", "held_out") and not math.isfinite(course.best_value):
        chosen_by, reason = "last", "no epoch had a score to choose by; the last was kept"
    trained = Trained(
        network=network.eval(),
        preparation=case.preparation,
        shape=case.shape,
        system=case.material.system,
        phase=case.plan.phase,
        round=one.name,
        fold=one.fold,
        epoch=course.best_epoch,
        chosen_by=chosen_by,
        train=one.train,
        inner=one.inner,
        held_out=one.held_out,
        subject=one.subject,
    )
    entry = save_trained(trained, case.place.folder)
    known = {
        "chosen_by": chosen_by,
        "epoch": course.best_epoch,
        "epochs": course.epoch,
        **values,
        "optimistic_ccc": course.best_of("held_out"),
        "reason": reason,
    }
    return Outcome(empty_trial(case.material, one, known=known), course.history, entry)


def _prepare(train: Sequence[Recording], plan: Plan, modalities: Sequence[str], *, start: Start | None) -> Preparation:
    if start is not None and start.preparation is not None:
        return start.preparation
    return fit_preparation(train, modalities, scale=plan.scale, reduce=plan.reduce, seed=plan.seed)


def _build(shape: Shape, plan: Plan, start: Start | None) -> SequenceNetwork:
    with torch.random.fork_rng(devices=[]):
        # The same for all rounds, which then differ by their sessions alone.
        torch.manual_seed(seeding.child(plan.seed, "valence", "network"))
        network = shape.build()
    if start is not None:
        load_strictly(network, start.state, what=f"a network {shape.name}", where=start.name)
    return network


def _identify(case: _Case, segments: Stack, *, start: Start | None) -> dict[str, Any]:
    """Say what makes a training what it is, in plain data; arrays by their hashes."""
    named = asdict(case.plan)
    options = digest(named.pop("options"))
    facts = {**named, "how": digest(named["how"]), "options": options, "round": digest(asdict(case.one))}
    weights = "" if start is None else _hash([tensor.numpy() for tensor in start.state.values()])
    arrays = [*segments.inputs.values(), segments.valence, segments.starts, segments.lengths]
    facts |= {"data": _hash([values.numpy() for values in arrays]), "start": weights}
    facts["preparation"] = digest(case.preparation.facts())
    return {key: dict(value) if isinstance(value, Mapping) else value for key, value in facts.items()}


def _hash(arrays: Sequence[np.ndarray[Any, Any]]) -> str:
    found = hashlib.sha256()
    for values in arrays:
        found.update(np.ascontiguousarray(values).data)
    return found.hexdigest()


def _plain(value: Any) -> Any:
    """Return what JSON can hold: null for what is no number."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _number(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: NEVER if value is None else value for name, value in row.items()}
