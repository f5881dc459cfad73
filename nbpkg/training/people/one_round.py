"""One round of training over people: built, trained or gone on with, saved, and scored on the families left out."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from nbpkg import progress, seeding
from nbpkg.errors import FoldError
from nbpkg.models.people.families import family_of
from nbpkg.runs.files import digest, read_json, write_json
from nbpkg.settings.people import PeopleLearning, PeopleTrainSettings
from nbpkg.training.people.clip_learners import build_learner
from nbpkg.training.people.learners import CountedLoss, Learner, Setting
from nbpkg.training.people.loop import SAVE_EVERY_S, STATE, Job, Tick, Trained, check_same, measure, train_network
from nbpkg.training.people.losses import balance_classes
from nbpkg.training.people.material import PeopleFacts, PeopleMaterial
from nbpkg.training.people.networks import Built, build_people_network
from nbpkg.training.people.outcome import Outcome
from nbpkg.training.people.rounds import Round
from nbpkg.training.people.saved import TrainedNetwork, save_network
from nbpkg.training.people.scaling import ScaledRecordings, Scales, fit_scales

RESULT = "trained.json"
NEVER = math.nan


@dataclass(frozen=True)
class Plan:
    """What all rounds of a phase share: its name, settings of the stage, what networks know, the experiment's seed."""

    phase: str
    settings: PeopleTrainSettings
    facts: PeopleFacts
    seed: int


class Place(NamedTuple):
    """Where a round is trained: run folder, device, called after each epoch, least seconds between two states."""

    folder: Path
    device: torch.device
    tick: Tick
    save_every_s: float = SAVE_EVERY_S


def train_round(material: PeopleMaterial, one: Round, *, plan: Plan, place: Place) -> Outcome:
    """Train once, save best and last weights, and score the families left out.

    A round that is finished is only read; one that was cut off goes on from its last state, with the same bytes.

    Parameters
    ----------
    material
        What may be seen.
    one
        The round.
    plan
        What is trained, and how.
    place
        Folder, device, progress.

    Returns
    -------
    Outcome
        Trial, history and entry of ``networks.json``.

    Raises
    ------
    FoldError
        When a class has no training clip and yet counts, or no clip is learnt from.
    DivergedError, StageError, WeightsError
        As building and training say.
    """
    folder, how = place.folder / "trainings" / one.name, choose_learning(plan.settings, one)
    identity = {
        "round": digest([one.name, one.variant, one.repeat, one.fold]),
        "network": digest([plan.settings.network.model_dump(), plan.facts.plain(), plan.settings.scale]),
        "augment": digest(plan.settings.augment.model_dump()),
        "labels": digest([int(label) for label in material.take_labels(material.list_items())]),
    }
    if (folder / RESULT).is_file():
        done = read_json(folder / RESULT)
        check_same(done["identity"], _whole(identity, how), folder / RESULT)
        place.tick(float(how.epochs))
        return Outcome(_number(done["trial"]), [[*row[:3], _back(row[3])] for row in done["history"]], done["network"])
    case = _begin(material, one, plan, place)
    trained = train_network(
        Job(
            learner=case.learner,
            items=case.items,
            inner=material.list_items(one.inner) if one.inner else (),
            how=how,
            seed=case.seed,
            device=place.device,
            folder=folder,
            identity=identity,
            tick=place.tick,
            prior=case.prior,
            labels=material.labels,
            save_every_s=place.save_every_s,
        )
    )
    outcome = _finish(material, case, trained, one=one, plan=plan, place=place)
    trial = {name: _plain(value) for name, value in outcome.trial.items()}
    history = [[*row[:3], _plain(row[3])] for row in outcome.history]
    known = {"trial": trial, "history": history, "network": outcome.network}
    write_json(folder / RESULT, {"identity": _whole(identity, how), **known})
    (folder / STATE).unlink(missing_ok=True)
    return outcome


def choose_learning(settings: PeopleTrainSettings, one: Round) -> PeopleLearning:
    """Return how a round learns: for as long as it says, if it does."""
    if one.epochs is None:
        return settings.learning
    return settings.learning.model_copy(update={"epochs": one.epochs, "select": "last"})


def prepare_learner(
    built: Built,
    material: PeopleMaterial,
    *,
    plan: Plan,
    variant: str,
    seed: int,
    device: torch.device,
    class_weights: tuple[float, ...] | None = None,
    held_out: tuple[str, ...] | None = None,
) -> Learner:
    """Give a network its inputs and its loss.

    Parameters
    ----------
    built
        The network.
    material, plan, variant
        What may be seen, and how.
    seed
        Of order and draws.
    device
        Where to compute.
    class_weights
        Of the loss; None for all alike.
    held_out
        Clips without varied copies; None for a network that only answers.
    """
    how = plan.settings.learning
    loss = CountedLoss(how.loss, class_weights, how.gamma)
    setting = Setting(material, how.batch_size, how.chunk, loss, seed, device)
    return build_learner(
        built.network, setting, train=plan.settings, variant=variant, facts=plan.facts, held_out=held_out
    )


class _Case(NamedTuple):
    """A round that is about to be trained."""

    learner: Learner
    items: list[str]
    prior: tuple[float, ...]
    seed: int
    weights: str
    scales: Scales


def _begin(material: PeopleMaterial, one: Round, plan: Plan, place: Place) -> _Case:
    items = material.list_items(one.train)
    if not items:
        raise FoldError(
            f"Round {one.name} has no clip to learn from.",
            expected="Clips in its training folds.",
            remedy="Use fewer folds, or more families.",
        )
    counts = np.bincount(material.take_labels(items), minlength=len(material.classes))
    seed = seeding.child(plan.seed, "people", plan.phase, one.variant, one.repeat, one.fold)
    built = build_people_network(
        plan.settings.network, variant=one.variant, facts=plan.facts, seed=seed, data=material.data
    )
    if plan.settings.network.weights != "none":
        progress.say(f"{one.name}: {built.weights}.")
    weights = tuple(balance_classes(counts.tolist()).tolist()) if plan.settings.learning.class_weights else None
    scales = _fit_scales(material, one, plan)
    learner = prepare_learner(
        built,
        replace(material, recordings=ScaledRecordings(material.recordings, scales)) if scales else material,
        plan=plan,
        variant=one.variant,
        seed=seed,
        device=place.device,
        class_weights=weights,
        held_out=tuple(material.list_items([*one.inner, *one.held_out])),
    )
    prior = tuple((counts / counts.sum()).tolist())
    return _Case(learner, items, prior, seed, built.weights, scales)


def _fit_scales(material: PeopleMaterial, one: Round, plan: Plan) -> Scales:
    """Return the scales of what a network over tokens learns from; none for other networks."""
    over_tokens = family_of(plan.settings.network.name) in ("conversation", "steps")
    if plan.settings.scale == "none" or not over_tokens:
        return {}
    clips = material.clips
    names = clips.loc[clips["session"].isin(one.train), "recording"].unique()
    return fit_scales(material.recordings[str(name)] for name in names)


def _finish(
    material: PeopleMaterial, case: _Case, trained: Trained, *, one: Round, plan: Plan, place: Place
) -> Outcome:
    """Save the network, score it, and say in a row what it came to."""
    course = trained.course
    network = TrainedNetwork(
        settings=plan.settings,
        facts=plan.facts,
        system=material.system,
        phase=plan.phase,
        round=one.name,
        variant=one.variant,
        repeat=one.repeat,
        fold=one.fold,
        epoch=course.best_epoch,
        epochs=course.epoch,
        chosen_by="inner" if one.inner else "last",
        weights=case.weights,
        prior=case.prior,
        train=one.train,
        inner=one.inner,
        held_out=one.held_out,
        best=trained.best,
        last=trained.last,
        scales=case.scales,
    )
    entry = save_network(network, place.folder)
    out = material.list_items(one.held_out) if one.held_out else []
    found = {"macro_f1": NEVER, "top1_acc": NEVER}
    if out:
        case.learner.network.load_state_dict(trained.best)
        answers = case.learner.answer(out, views=plan.settings.network.views)
        found = measure(answers, material.take_labels(out), prior=case.prior)
    weights = sum(weight.numel() for weight in case.learner.network.parameters() if weight.requires_grad)
    trial = {
        **{name: entry[name] for name in ("system", "round", "variant", "repeat", "fold")},
        **{name: entry[name] for name in ("chosen_by", "epoch", "epochs")},
        "inner_macro_f1": course.best_value if one.inner else NEVER,
        "held_out_macro_f1": found["macro_f1"],
        "held_out_accuracy": found["top1_acc"],
        "n_train": len(case.items),
        "n_held_out": len(out),
        "parameters": weights,
        "seconds": round(course.seconds, 3),
        "reason": "",
    }
    return Outcome(trial, course.history, entry)


def _whole(identity: Mapping[str, Any], how: PeopleLearning) -> dict[str, Any]:
    whole: dict[str, Any] = json.loads(json.dumps({**identity, **how.model_dump()}))
    return whole


def _plain(value: Any) -> Any:
    """Return what JSON can hold: null for what is no number."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _back(value: Any) -> Any:
    return NEVER if value is None else value


def _number(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _back(value) for name, value in row.items()}
