"""Decision-level fusion, cross-validated, and applied to test sessions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg import tables
from nbpkg.errors import FoldError, SettingsError
from nbpkg.metrics.valence.frames import Pad
from nbpkg.training.valence.fusion.features import FINAL, FusionData, Source, tabulate_answers
from nbpkg.training.valence.fusion.svr import FittedSvr, SvrSetting, choose_svr, fit_svr, mean_concordance

Array = NDArray[np.float64]


class FusionFound(NamedTuple):
    """What fusion found.

    Parameters
    ----------
    predictions
        Table ``valence_predictions``.
    trials
        Table ``valence_trials``; epochs are 0, there are none.
    search
        Every setting in every inner fold, as `Chosen`.
    fitted
        Fold to regression; -1 is the one for test sessions.
    """

    predictions: pd.DataFrame
    trials: pd.DataFrame
    search: pd.DataFrame
    fitted: dict[int, FittedSvr]


def cross_validate_fusion(
    data: FusionData,
    *,
    grid: Sequence[SvrSetting],
    ratio: int,
    source: Source = "out_of_fold",
    normalise: bool = True,
    pad: Pad = "hold",
    system: str = "fusion",
) -> FusionFound:
    """Fuse systems for every training fold in turn: fitted on the other folds, answering the fold left out.

    Parameters
    ----------
    data
        Systems, truth and folds.
    grid
        Settings, chosen among by leaving out one of the fitted folds after the other.
    ratio, pad
        Frames of a step, and how frames behind the last are filled; used for scores only.
    source
        ``out_of_fold``: a training session's features come from the round that left it out. ``in_fold``: all from the
        round that left out the fold answered, which has learnt from the training sessions: as published; their
        features look better than those of the fold that is answered.
    normalise
        As in `fit_svr`; fitted on the training sessions of each fold.
    system
        What the fusion is called.

    Returns
    -------
    FusionFound
        Answers to all training sessions, role ``held_out``, rounds ``fold_<k>``.

    Raises
    ------
    FoldError
        When there are fewer than two training folds, or the fusion is called like a system.
    TableError
        When a round or features are missing.
    """
    _check_name(data, system)
    folds = sorted({int(fold) for fold in data.folds.loc[data.folds["role"] == "train", "fold"]})
    if len(folds) < 2:
        raise FoldError(f"There are {len(folds)} training folds.", expected="Two or more.")
    parts, trials, searches, fitted = [], [], [], {}
    for fold in folds:
        asked = data.sessions(fold=fold)
        learnt = [session for session in data.sessions() if session not in set(asked)]
        own = _source_features(data, learnt, source=source, fold=fold)
        other = data.held_out_features(asked) if source == "out_of_fold" else data.round_features(asked, fold=fold)
        name = f"fold_{fold}"
        trained = _fuse(data, own, other, grid=grid, ratio=ratio, normalise=normalise, pad=pad, name=name)
        fitted[fold] = trained.fitted
        searches.append(trained.search)
        parts.append(tabulate_answers(trained.answers, data.recordings, system=system, name=name, role="held_out"))
        trials.append({"system": system, "round": name, "fold": fold, **trained.trial, "n_held_out": len(asked)})
    search = pd.concat(searches, ignore_index=True)
    return FusionFound(
        tables.check(pd.concat(parts, ignore_index=True), "valence_predictions"),
        tables.from_rows(trials, "valence_trials"),
        search,
        fitted,
    )


def fuse_final(
    data: FusionData,
    *,
    grid: Sequence[SvrSetting],
    ratio: int,
    source: Source = "out_of_fold",
    normalise: bool = True,
    pad: Pad = "hold",
    system: str = "fusion",
) -> FusionFound:
    """Fuse systems for the test sessions: fitted on all training sessions, answering by the final networks' features.

    Parameters
    ----------
    data, grid, ratio, normalise, pad, system
        As in `cross_validate_fusion`.
    source
        ``out_of_fold``: training sessions as the rounds saw them that left them out. ``in_fold``: as the final networks
        see them, which have learnt from them; as published.

    Returns
    -------
    FusionFound
        Answers to the test sessions, role ``test``, or ``hidden`` where the truth is withheld; round ``final``.

    Raises
    ------
    FoldError
        When there is no test session, or the fusion is called like a system.
    TableError
        When a round or features are missing.
    """
    _check_name(data, system)
    asked = data.sessions(role="test")
    if not asked:
        raise FoldError("There is no test session to answer.", expected="Sessions of role 'test' in table 'folds'.")
    own = _source_features(data, data.sessions(), source=source, fold=FINAL)
    other = data.round_features(asked, fold=FINAL)
    trained = _fuse(data, own, other, grid=grid, ratio=ratio, normalise=normalise, pad=pad, name="final")
    part = tabulate_answers(trained.answers, data.recordings, system=system, name="final", role="test")
    # what the test sessions' truth is like belongs to the scores of stage 06, not to a choice made here
    trial = {
        "system": system,
        "round": "final",
        "fold": FINAL,
        **trained.trial,
        "held_out_ccc": np.nan,
        "n_held_out": 0,
    }
    return FusionFound(
        part,
        tables.from_rows([trial], "valence_trials"),
        trained.search,
        {FINAL: trained.fitted},
    )


class _Trained(NamedTuple):
    fitted: FittedSvr
    answers: dict[str, Array]
    search: pd.DataFrame
    trial: dict[str, object]


def _fuse(
    data: FusionData,
    learnt: Mapping[str, Array],
    asked: Mapping[str, Array],
    *,
    grid: Sequence[SvrSetting],
    ratio: int,
    normalise: bool,
    pad: Pad,
    name: str,
) -> _Trained:
    """Choose, fit and answer once."""
    usable = {session: rows for session, rows in learnt.items() if not data.recordings[session].hidden}
    truth = {session: data.recordings[session].valence for session in usable}
    groups = _inner_groups(data.folds, list(usable))
    chosen = choose_svr(
        usable, data.recordings, groups=groups, grid=grid, ratio=ratio, normalise=normalise, pad=pad, name=name
    )
    fitted = fit_svr(usable, truth, setting=chosen.setting, normalise=normalise)
    answers = {session: fitted.predict(rows) for session, rows in asked.items()}
    own = {session: fitted.predict(rows) for session, rows in usable.items()}
    inner = chosen.search.groupby(["cost", "gamma", "epsilon"], sort=False)["ccc"].mean()
    trial: dict[str, object] = {
        "chosen_by": "inner" if len(grid) > 1 else "epoch",
        "epoch": 0,
        "epochs": 0,
        "train_ccc": mean_concordance(own, data.recordings, ratio=ratio, pad=pad),
        "inner_ccc": float(inner.max()) if len(inner) else np.nan,
        "held_out_ccc": mean_concordance(answers, data.recordings, ratio=ratio, pad=pad),
        "optimistic_ccc": np.nan,
        "n_train": len(usable),
        "reason": "",
    }
    return _Trained(fitted, answers, chosen.search, trial)


def _source_features(data: FusionData, sessions: Sequence[str], *, source: Source, fold: int) -> dict[str, Array]:
    if source == "out_of_fold":
        return data.held_out_features(sessions)
    if source == "in_fold":
        return data.round_features(sessions, fold=fold)
    raise SettingsError(f"{source!r} is no source of features.", expected="out_of_fold or in_fold.")


def _inner_groups(folds: pd.DataFrame, sessions: Sequence[str]) -> dict[str, str]:
    """Give what is left out together inside the training sessions: their folds, or in a single fold their groups."""
    own = folds.set_index("session").loc[list(sessions)]
    column = "fold" if len(set(own["fold"])) > 1 else "group"
    return {str(session): str(value) for session, value in own[column].items()}


def _check_name(data: FusionData, system: str) -> None:
    if system in {one.name for one in data.systems}:
        raise FoldError(f"The fusion cannot be called {system!r}, as a system is.", remedy="Give it a name of its own.")
