"""What every phase of training returns: the same tables, whether one network was trained or a thousand heads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg.training.history import MEASURES, History
from nbpkg.training.rounds import Pair

Arrays = dict[str, NDArray[np.float32]]


class Found(NamedTuple):
    """What a phase found.

    Parameters
    ----------
    trials, settings, history
        These tables; the history of the chosen settings only.
    heads
        From the head search, else empty; see `nbpkg.training.head_search.search_heads`.
    networks
        From the final phase, else empty: for every pair task, variable, file and sha256 of its network.
    """

    trials: pd.DataFrame
    settings: pd.DataFrame
    history: pd.DataFrame
    heads: Arrays
    networks: list[dict[str, str]]


def tabulate_trial(params: Mapping[str, Any], history: History | None, *, where: Mapping[str, Any]) -> dict[str, Any]:
    """Return one row of table ``trials``.

    Parameters
    ----------
    params
        The setting, optimiser included.
    history
        Of the training; None when it diverged.
    where
        task, variable, part, setting, fold and repetition.
    """
    names = [(split, name) for split in ("train", "validation") for name in MEASURES]
    if history is None:
        scores: dict[str, Any] = {f"{split}_{name}": np.nan for split, name in names}
        return {**where, **params, **scores, "best_epoch": 0, "last_validation_f1": np.nan, "failed": True}
    best = {split: history.at(history.best_epoch, split) for split in ("train", "validation")}
    scores = {f"{split}_{name}": best[split][name] for split, name in names}
    last = float(history.splits["validation"].measure("f1")[-1])
    epoch = int(history.best_epoch)
    return {**where, **params, **scores, "best_epoch": epoch, "last_validation_f1": last, "failed": False}


def tabulate_history(pair: Pair, part: str, histories: Mapping[tuple[int, int], History]) -> pd.DataFrame:
    """Return table ``history`` of trainings, keyed by fold and repetition."""
    tables = [
        pd.DataFrame({"epoch": np.arange(course.loss.shape[-1]), "value": course.measure(name)}).assign(
            fold=fold, repetition=repetition, split=split, metric=name
        )
        for (fold, repetition), history in histories.items()
        for split, course in history.splits.items()
        for name in MEASURES
    ]
    columns = ["fold", "repetition", "epoch", "split", "metric", "value"]
    whole = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)
    return whole.assign(task=pair.task, variable=pair.variable, part=part)
