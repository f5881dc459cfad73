"""What trained networks answer for clips that they have not learnt from, and along whole recordings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Literal

import numpy as np
import pandas as pd
import torch

from nbpkg import tables
from nbpkg.errors import SettingsError, StageError
from nbpkg.models.people.families import family_of, find_name
from nbpkg.models.people.rgb.facts import find_rgb_network
from nbpkg.training.people.clip_batches import FrameReader
from nbpkg.training.people.learners import Learner
from nbpkg.training.people.loop import fill_unseen
from nbpkg.training.people.material import PeopleMaterial
from nbpkg.training.people.networks import Built
from nbpkg.training.people.one_round import Plan, prepare_learner
from nbpkg.training.people.saved import Checkpoint, TrainedNetwork, load_people_networks
from nbpkg.video.stores import Store

__all__ = [
    "TrainedNetwork",
    "answer_items",
    "answer_phases",
    "load_people_networks",
    "predict_people",
    "slide",
    "slide_all",
]
Role = Literal["train", "inner", "held_out", "test"]


def predict_people(
    networks: Sequence[TrainedNetwork],
    material: PeopleMaterial,
    *,
    system: str,
    device: torch.device,
    roles: Sequence[Role] = ("held_out",),
    checkpoints: Sequence[Checkpoint] = ("best",),
) -> pd.DataFrame:
    """Answer for clips by what they were for each network.

    Parameters
    ----------
    networks
        Of one or several phases.
    material
        With the clips that are asked about.
    system
        Name of this way of answering.
    device
        Where to compute.
    roles
        ``held_out``: left out by the network; ``test``: kept for the end, which no network has seen; ``inner``:
        chose its epoch; ``train``: learnt from.
    checkpoints
        Weights that answer.

    Returns
    -------
    pandas.DataFrame
        Table ``people_predictions`` with a column ``p_<class>`` for each class; a clip in which nobody is to be seen
        gets the shares of the training clips.

    Raises
    ------
    StageError
        When classes are not those that a network was trained for, or there is no clip with these roles.
    """
    parts = [
        _predict(one, material, role=role, checkpoint=checkpoint, system=system, device=device)
        for one in networks
        for checkpoint in checkpoints
        for role in roles
    ]
    parts = [part for part in parts if len(part)]
    if not parts:
        raise StageError(
            f"There is no clip to answer for as {' or '.join(roles)}.",
            expected="Networks of the phase crossval for held_out, test sessions for test.",
            remedy="Look at train.phases and at the folds.",
        )
    return tables.check(pd.concat(parts, ignore_index=True), "people_predictions")


def answer_phases(
    networks: Mapping[str, Sequence[TrainedNetwork]], material: PeopleMaterial, *, system: str, device: torch.device
) -> pd.DataFrame:
    """Answer with every network for what it has not seen: families left out, or those kept for the end.

    Parameters
    ----------
    networks
        Of each step, such as ``train/final``; only the final network is asked about the test families.
    material, system, device
        As in `predict_people`.

    Returns
    -------
    pandas.DataFrame
        Table ``people_predictions``, at the epoch that was chosen and at the last.
    """
    both: tuple[Checkpoint, ...] = ("best", "last")
    ask = partial(predict_people, material=material, system=system, device=device, checkpoints=both)
    parts = [ask(own, roles=("test",) if step.endswith("final") else ("held_out",)) for step, own in networks.items()]
    return pd.concat(parts, ignore_index=True)


def answer_items(
    one: TrainedNetwork,
    material: PeopleMaterial,
    items: Sequence[str],
    *,
    device: torch.device,
    checkpoint: Checkpoint = "best",
) -> pd.DataFrame:
    """Ask one network about some clips, whatever it has learnt from.

    Parameters
    ----------
    one
        The network.
    material
        Where clips are found.
    items
        Their names.
    device
        Where to compute.
    checkpoint
        Weights that answer.

    Returns
    -------
    pandas.DataFrame
        Columns ``p_<class>`` in the order of `items`.

    Raises
    ------
    StageError
        When classes are not those that it was trained for.
    """
    if tuple(material.classes) != one.facts.classes:
        raise StageError(
            f"The network of round {one.round} answers {', '.join(one.facts.classes)}.",
            expected=f"The classes {', '.join(material.classes)}.",
            remedy="Train again, or correct parse.classes.",
        )
    own = replace(material, clips=material.clips[material.clips["sample_id"].isin(list(items))])
    answers = _enter(one, own, device, checkpoint).answer(items, views=one.settings.network.views)
    answers = fill_unseen(answers, one.prior)
    return pd.DataFrame(answers.astype(np.float64), columns=[f"p_{name}" for name in one.facts.classes])


def slide(
    one: TrainedNetwork,
    store: Store,
    *,
    session: str,
    step: int,
    device: torch.device,
    checkpoint: Checkpoint = "best",
    at_once: int = 4,
) -> pd.DataFrame:
    """Answer for windows along a whole recording.

    Parameters
    ----------
    one
        A network of clips.
    store
        Frames of the recording.
    session
        Its name.
    step
        Frames from the beginning of one window to that of the next.
    device
        Where to compute.
    checkpoint
        Weights that answer.
    at_once
        Windows in the network at once.

    Returns
    -------
    pandas.DataFrame
        session, frame (first of the window), frames (how many it spans), seconds (its middle) and ``p_<class>``; where
        the recording is shorter than one window, this is the whole of it.

    Raises
    ------
    SettingsError
        When the network is none of clips, or the step no number of frames.
    """
    how = one.settings.network
    if family_of(how.name) != "clips" or step < 1:
        raise SettingsError(
            f"{how.name} cannot answer every {step} frames.",
            expected="A network of clips, and at least 1 frame.",
            remedy="Set evaluate.step to 0, or train a network of clips.",
        )
    spread = find_rgb_network(find_name(how.name)).layout == "segments"
    span = min(how.frames * how.interval, len(store))
    offsets = np.linspace(0, span - 1, how.frames) if spread else np.arange(how.frames) * how.interval % span
    starts = np.arange(0, len(store) - span + 1, step)
    network, reader = one.build(checkpoint).to(device), FrameReader(how, _nothing(one))
    found = []
    for group in np.array_split(starts, range(at_once, len(starts), at_once)):
        views = [reader.look_at(store.frames((start + offsets).astype(np.int64))) for start in group]
        with torch.no_grad():
            found.append(network(torch.cat(views).to(device)).float().softmax(dim=1).cpu().numpy())
    answers = np.concatenate(found).astype(np.float64)
    seconds = (store.times_ms[starts] + store.times_ms[starts + span - 1]) / 2000
    table = pd.DataFrame({"session": session, "frame": starts, "frames": span, "seconds": seconds})
    return pd.concat([table, pd.DataFrame(answers, columns=[f"p_{name}" for name in one.facts.classes])], axis=1)


def _predict(
    one: TrainedNetwork,
    material: PeopleMaterial,
    *,
    role: Role,
    checkpoint: Checkpoint,
    system: str,
    device: torch.device,
) -> pd.DataFrame:
    clips = material.clips[material.clips["session"].isin(_choose(one, material, role))].reset_index(drop=True)
    if clips.empty:
        return clips
    items = [str(name) for name in clips["sample_id"]]
    answers = answer_items(one, material, items, device=device, checkpoint=checkpoint)
    known = clips[["sample_id", "session", "family", "recording", "window"]].assign(
        system=system,
        round=one.round,
        variant=one.variant,
        repeat=one.repeat,
        role=role,
        checkpoint=checkpoint,
        truth=clips["label"].astype(np.int64),
        predicted=answers.to_numpy().argmax(axis=1),
    )
    return pd.concat([known, answers], axis=1)


def _choose(one: TrainedNetwork, material: PeopleMaterial, role: Role) -> set[str]:
    if role != "test":
        return set({"train": one.train, "inner": one.inner, "held_out": one.held_out}[role])
    test = set(map(str, material.folds.loc[material.folds["role"] == "test", "session"]))
    return test - {*one.train, *one.inner, *one.held_out}


def _enter(one: TrainedNetwork, material: PeopleMaterial, device: torch.device, checkpoint: Checkpoint) -> Learner:
    plan = Plan(one.phase, one.settings, one.facts, seed=0)
    built = Built(one.build(checkpoint), one.weights)
    return prepare_learner(built, one.see(material), plan=plan, variant=one.variant, seed=0, device=device)


def _nothing(one: TrainedNetwork) -> PeopleMaterial:
    """Return material without clips, for a reader that is only shown frames."""
    return PeopleMaterial(tables.empty("clips"), tables.empty("folds"), one.facts.classes)


def slide_all(
    networks: Sequence[TrainedNetwork], material: PeopleMaterial, *, step: int, device: torch.device
) -> pd.DataFrame:
    """Answer along every recording that did not teach the network, see `slide`; nothing for a step of 0.

    Parameters
    ----------
    networks
        The final network, or none.
    material
        With the frame stores of the recordings.
    step, device
        As in `slide`.
    """
    if not step or not networks:
        return pd.DataFrame()
    (one,) = networks
    unseen = [name for name in material.stores if name not in {*one.train, *one.inner}]
    unseen = [name for name in unseen if name in set(material.clips["session"])]
    parts = [slide(one, material.stores[name], session=name, step=step, device=device) for name in unseen]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
