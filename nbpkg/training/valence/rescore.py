"""Cross-validation at other epochs: one for all folds, or the best of a search, from the checkpoints that it kept.

Source: the published epoch search (multimodal/cv_epochs.py) took the epoch with the best mean of all folds and reported
that mean; began at 0, so that it failed where no mean exceeded it; and read all data again for each epoch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg.errors import FoldError, Problem, StageError, raise_all
from nbpkg.models.weights import read_state
from nbpkg.progress import Report
from nbpkg.training.rounds import Where
from nbpkg.training.valence.loop import checkpoint_path
from nbpkg.training.valence.material import ValenceMaterial
from nbpkg.training.valence.networks import Trained, load_valence_networks, save_trained
from nbpkg.training.valence.one_round import empty_trial
from nbpkg.training.valence.outcome import Outcome, ValenceFound, gather
from nbpkg.training.valence.rounds import Round
from nbpkg.training.valence.scoring import measure, score_sessions

Choose = Literal["others", "all"]


class Chosen(NamedTuple):
    """Epochs that a search takes.

    Parameters
    ----------
    all
        The one with the best mean of all folds.
    others
        For each fold the one with the best mean of the other folds, which alone has not seen the fold.
    """

    all: int
    others: list[int]


def rescore(
    material: ValenceMaterial, crossval: Path, *, epochs: Sequence[int], choose: Choose, where: Where
) -> ValenceFound:
    """Score the checkpoints of a cross-validation, and keep each fold's network of the epoch chosen.

    Parameters
    ----------
    material
        What may be seen; read once.
    crossval
        Run folder of the cross-validation.
    epochs
        Those to score; a single one is taken.
    choose
        Of several, what chooses: ``others`` or ``all``, see `Chosen`. Both choices are in the table of trials.
    where
        Run folder and device.

    Returns
    -------
    ValenceFound
        ``trials``: at the epoch taken; ``optimistic_ccc`` at the epoch of the best mean of all folds, as published.
        ``epochs``: every epoch with a column for each fold.

    Raises
    ------
    StageError
        Naming the checkpoints that are missing.
    FoldError
        When a single fold is to be judged by the others.
    """
    trained = load_valence_networks(crossval)
    _check_checkpoints(crossval, trained, epochs)
    if choose == "others" and len(epochs) > 1 and len(trained) < 2:
        raise FoldError(
            f"An epoch is to be chosen by the other folds, and there is {len(trained)} in all.",
            expected="Two folds or more.",
            remedy="Set train.rescore.choose to 'all', or name one epoch.",
        )
    report = Report("rescore", total=len(trained) * len(epochs), unit="checkpoint")
    scores = np.array(
        [_score(material, one, crossval=crossval, epochs=epochs, where=where, report=report) for one in trained]
    ).T
    report.close()
    chosen = choose_epochs(epochs, scores)
    names = [one.round for one in trained]
    table = tabulate_epochs(epochs, scores, names=names, chosen=chosen.all)
    taken = chosen.others if choose == "others" and len(epochs) > 1 else [chosen.all] * len(trained)
    by = "epoch" if len(epochs) == 1 else {"others": "others", "all": "held_out"}[choose]
    outcomes = []
    for place, (one, epoch) in enumerate(zip(trained, taken, strict=True)):
        own = dict(zip(epochs, scores[:, place].tolist(), strict=True))
        kept = _take(one, crossval, epoch=epoch, chosen_by=by)
        outcomes.append(_finish(material, kept, scores=own, optimistic=own[chosen.all], where=where))
    return gather(outcomes, system=material.system, phase="rescore", epochs=table)


def choose_epochs(epochs: Sequence[int], scores: NDArray[np.float64]) -> Chosen:
    """Choose by the best mean over folds; of equals the first, and what is no number never.

    Parameters
    ----------
    epochs
        Ascending.
    scores
        ``[epochs, folds]``.

    Examples
    --------
    >>> choose_epochs([1, 2], np.array([[0.0, 0.3], [0.2, 0.0]]))
    Chosen(all=1, others=[1, 2])
    """
    count = scores.shape[1]
    rest = [np.delete(scores, fold, axis=1) for fold in range(count)] if count > 1 else [scores] * count
    return Chosen(_best(epochs, scores), [_best(epochs, own) for own in rest])


def tabulate_epochs(
    epochs: Sequence[int], scores: NDArray[np.float64], *, names: Sequence[str], chosen: int
) -> pd.DataFrame:
    """Return table ``valence_epochs``; standard deviations are those of the population, as published."""
    mean, std = scores.mean(axis=1), scores.std(axis=1)
    table = pd.DataFrame({"epoch": list(epochs), "mean": mean, "std": std, "mean_minus_std": mean - std})
    table["folds"] = scores.shape[1]
    table["chosen"] = [int(epoch == chosen) for epoch in epochs]
    return pd.concat([table, pd.DataFrame(scores, columns=list(names))], axis=1)


def _best(epochs: Sequence[int], scores: NDArray[np.float64]) -> int:
    best, value = epochs[0], -math.inf
    for epoch, mean in zip(epochs, scores.mean(axis=1).tolist(), strict=True):
        if mean > value:
            best, value = epoch, mean
    return best


def _check_checkpoints(crossval: Path, trained: Sequence[Trained], epochs: Sequence[int]) -> None:
    missing = [
        Problem("The checkpoint is not there.", file=path.relative_to(crossval).as_posix())
        for one in trained
        for path in (checkpoint_path(crossval / "checkpoints" / one.round, epoch) for epoch in epochs)
        if not path.is_file()
    ]
    raise_all(
        missing,
        StageError,
        summary="train.save_every and train.crossval.epochs must reach every epoch of train.rescore.",
    )


def _score(
    material: ValenceMaterial, one: Trained, *, crossval: Path, epochs: Sequence[int], where: Where, report: Report
) -> list[float]:
    """Score all epochs of a fold on the sessions left out."""
    scored = score_sessions(material.take(one.held_out), one.preparation, ratio=material.ratio)
    found = []
    for epoch in epochs:
        network = _take(one, crossval, epoch=epoch, chosen_by="epoch").network.to(where.device)
        found.append(measure(network, scored, device=where.device)["ccc"])
        report.step()
    return found


def _take(one: Trained, crossval: Path, *, epoch: int, chosen_by: str) -> Trained:
    path = checkpoint_path(crossval / "checkpoints" / one.round, epoch)
    return one.with_weights(read_state(path), epoch=epoch, chosen_by=chosen_by, where=str(path))


def _finish(
    material: ValenceMaterial, kept: Trained, *, scores: Mapping[int, float], optimistic: float, where: Where
) -> Outcome:
    """Save the network taken, and measure it on what it learnt from."""
    network = kept.network.to(where.device)
    parts = {
        f"{split}_ccc": measure(
            network, score_sessions(material.take(names), kept.preparation, ratio=material.ratio), device=where.device
        )["ccc"]
        for split, names in (("train", sorted(set(kept.train))), ("inner", kept.inner))
        if names
    }
    entry = save_trained(kept.of_phase("rescore"), where.folder)
    one = Round(kept.round, kept.fold, kept.train, kept.inner, kept.held_out)
    known = {
        "chosen_by": kept.chosen_by,
        "epoch": kept.epoch,
        "epochs": max(scores),
        "held_out_ccc": scores[kept.epoch],
        "optimistic_ccc": optimistic,
        **parts,
    }
    return Outcome(empty_trial(material, one, known=known), (), entry)
