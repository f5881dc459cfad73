"""The phases of training over face tracks behind one call: variants side by side, and the network for the test."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from nbpkg import seeding, tables
from nbpkg.datasets.looking.windows import Windows
from nbpkg.errors import FoldError, StageError
from nbpkg.features.looking.quality import is_usable
from nbpkg.models.device import count_readers
from nbpkg.runs.files import digest, read_json, write_json
from nbpkg.settings.looking import FaceTrainSettings
from nbpkg.training.looking.learner import FaceLearner, Setting, weigh_classes
from nbpkg.training.looking.loop import STATE, Job, Trained, hash_windows, read_trained, train_windows
from nbpkg.training.looking.material import FaceMaterial
from nbpkg.training.looking.networks import BuiltFaceNetwork, build_face_network, read_options
from nbpkg.training.looking.rounds import Phase, Round, list_rounds
from nbpkg.training.looking.saved import TrainedFaceNetwork, save_network
from nbpkg.training.peers import Peers
from nbpkg.training.rounds import Where

RESULT = "trained.json"


class FacesFound(NamedTuple):
    """What a phase found.

    Parameters
    ----------
    trials
        Table ``looking_trials``: one row per training.
    history
        Table ``looking_history``.
    networks
        What ``networks.json`` says: system, phase and a list of networks.
    """

    trials: pd.DataFrame
    history: pd.DataFrame
    networks: dict[str, Any]


class _Case(NamedTuple):
    """The windows of a training."""

    train: Windows
    inner: Windows
    filtered: int
    teaching: tuple[str, ...]
    choosing: tuple[str, ...]


def train_face_phase(
    phase: Phase, material: FaceMaterial, *, settings: FaceTrainSettings, where: Where, start: Path | None = None
) -> FacesFound:
    """Run one phase; what is finished is kept, what was cut off goes on with the same bytes.

    Parameters
    ----------
    phase
        ``sweep`` or ``final``.
    material
        What may be seen: training clips only, see `FaceMaterial.of_folds`.
    settings
        All settings of the stage.
    where
        Run folder (networks, states and logs go there), seed, device, processes.
    start
        Run folder of another experiment's network, with whose weights training begins; None for none.

    Returns
    -------
    FacesFound
        Tables, and the content of ``networks.json``.

    Raises
    ------
    SettingsError
        When a variant cannot be built.
    FoldError
        When there is a test clip, or windows of one kind only to learn from or to choose by.
    DivergedError, StageError, WeightsError
        As building and training say.
    """
    strange = sorted(material.folds.loc[material.folds["role"] != "train", "session"])
    if strange:
        raise FoldError(
            f"Training must not see these clips: {', '.join(strange[:5])}.",
            expected="Clips with the role 'train' only; test clips are looked at once, in notebook 06.",
            remedy="Use FaceMaterial.of_folds('train').",
        )
    trials, history, networks, rounds = [], [], [], list_rounds(phase, settings)
    for one in rounds:
        read_options(one.settings.network)  # sizes that cannot be come to light before hours of training
    for one in rounds:
        trial, rows, entry = _train_round(material, one, phase=phase, where=where, start=start)
        trials.append(trial)
        history += [[one.name, *row] for row in rows]
        networks.append(entry)
    columns = ["round", "epoch", "split", "metric", "value"]
    return FacesFound(
        tables.from_rows(trials, "looking_trials"),
        tables.check(pd.DataFrame(history, columns=columns), "looking_history"),
        {"system": material.system, "phase": phase, "networks": networks},
    )


def _train_round(
    material: FaceMaterial, one: Round, *, phase: Phase, where: Where, start: Path | None
) -> tuple[dict[str, Any], list[list[Any]], dict[str, Any]]:
    """Train once, or read what was trained; return its row, its history and its entry of ``networks.json``."""
    folder, case = where.folder / "trainings" / one.name, _choose_windows(material, one)
    seed = seeding.child(where.seed, "looking", one.repeat)
    frozen = material.baked.encoder if material.baked is not None and one.settings.learning.freeze else None
    built = build_face_network(
        one.settings.network,
        seed=seed,
        data=material.data,
        start=start,
        encoder=frozen,
        whole=not one.settings.learning.epochs,
    )
    job = _prepare(material, one, case, built, where=where, folder=folder, seed=seed)
    windows = [hash_windows(case.train), hash_windows(case.inner)]
    identity = digest([dict(job.identity), job.how.model_dump(mode="json"), seed, *windows])
    path = folder / RESULT
    known = read_json(path) if path.is_file() else {}
    if known.get("identity") == identity:
        return known["trial"], known["history"], known["network"]
    trained = _run(job)
    trial, entry = _finish(material, one, case, built, trained, phase=phase, folder=where.folder)
    rows = trained.course.history
    write_json(path, {"identity": identity, "trial": trial, "history": rows, "network": entry})
    (folder / STATE).unlink(missing_ok=True)
    return trial, rows, entry


def _choose_windows(material: FaceMaterial, one: Round) -> _Case:
    """Return what is learnt from and what chooses."""
    window, choosing = one.settings.window, tuple(material.choosing)
    teaching = tuple(str(name) for name in material.folds["session"] if name not in choosing)
    usable = is_usable(material.quality["filter"]) if window.quality_filter else None
    kept = material.list_windows(teaching, stride=window.stride, labelled=True, keep=usable)
    inner = material.list_windows(choosing, stride=window.inner_stride, labelled=True)
    for part, what in ((kept, "to learn from"), (inner, "that choose")):
        looking = int((part.label == 1).sum())
        if looking in (0, len(part)):
            raise FoldError(
                f"Of {len(part)} windows {what}, {looking} look at the camera wearer.",
                expected="Faces with crops that look and some that do not.",
                remedy="Look at the tables crops (02) and folds (03), or lower train.window.stride and inner_stride.",
            )
    return _Case(kept, inner, len(kept.filtered), teaching, choosing)


def _prepare(
    material: FaceMaterial,
    one: Round,
    case: _Case,
    built: BuiltFaceNetwork,
    *,
    where: Where,
    folder: Path,
    seed: int,
) -> Job:
    settings = one.settings
    weights = weigh_classes(case.train.label, settings.learning)
    learner = FaceLearner(built.network, Setting.of(material, settings, seed=seed), weights)
    identity = {
        "network": settings.network.model_dump(mode="json"),
        "window": settings.window.model_dump(mode="json"),
        "augment": settings.augment.model_dump(mode="json"),
        "begins": built.weights,
    }
    return Job(
        learner=learner,
        train=case.train,
        inner=case.inner,
        how=settings.learning,
        seed=seed,
        device=where.device,
        folder=folder,
        identity=identity,
        label=one.name,
        launch=where.launch,
        workers=count_readers(where.device, where.workers),
    )


def _run(job: Job) -> Trained:
    """Train in this process, or by a group of processes."""
    if job.launch.group == 1:
        return train_windows(job)
    from nbpkg.training import group  # with all that it takes to start processes

    full = group.fit(job, train_with_peers)
    if full:
        raise StageError(
            f"A batch of {job.how.batch_size} windows does not fit into memory: {full}",
            remedy="Set a smaller batch_size, or share each batch among more processes.",
        )
    return read_trained(job)


def train_with_peers(job: Job, peers: Peers) -> None:
    """Train as one of a group of processes; the first one leaves the state."""
    train_windows(job, peers)


def _finish(
    material: FaceMaterial,
    one: Round,
    case: _Case,
    built: BuiltFaceNetwork,
    trained: Trained,
    *,
    phase: Phase,
    folder: Path,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Save the network, and say in a row what it came to."""
    course = trained.course
    network = TrainedFaceNetwork(
        settings=one.settings,
        system=material.system,
        phase=phase,
        round=one.name,
        variant=one.variant,
        repeat=one.repeat,
        epoch=course.best_epoch,
        epochs=course.epoch,
        chosen_by="inner",
        weights=built.weights,
        train=case.teaching,
        inner=case.choosing,
        state=trained.best,
    )
    entry = save_network(network, folder)
    weights = sum(weight.numel() for weight in built.network.parameters() if weight.requires_grad)
    trial = {
        **{name: entry[name] for name in ("system", "round", "variant", "repeat", "epoch", "epochs", "weights")},
        "inner_map": course.best_map,
        "train_map": course.train_map,
        "n_train": len(case.train),
        "n_looking": int((case.train.label == 1).sum()),
        "n_filtered": case.filtered,
        "n_inner": len(case.inner),
        "parameters": weights,
        "seconds": round(course.seconds, 3),
    }
    return trial, entry
