"""Tables of gaze trainings: one row per training, one per setting with mean and spread, one per epoch and score."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from nbpkg.errors import StageError
from nbpkg.training.gaze.records import LOWER, Records
from nbpkg.training.gaze.scores import METRICS

PARAMETERS = ("batch_size", "chunk", "learning_rate")
SCORES = ("auc", "distance", "average_precision", "loss")
PLACE = ("setting", "fold", "repetition")
TRIAL_COLUMNS = (
    *("task", "variable", "setting", *PARAMETERS, "fold", "repetition", "epoch", "epochs"),
    *(f"train_{name}" for name in ("loss", "heat", "inout")),
    *(f"validation_{name}" for name in METRICS),
    *(f"last_{name}" for name in SCORES),
    *("failed", "reason"),
)


class GazeFound(NamedTuple):
    """What a phase found.

    Parameters
    ----------
    trials
        One row per training: its setting, the epoch kept, its scores then and at the last epoch; or why it failed.
    settings
        One row per setting: mean and standard deviation of its trainings; ``chosen``.
    history
        Every score of every epoch of every training.
    costs
        Seconds, peak memory (MiB) and tracks or pictures in the network at once, of every epoch. They differ from run
        to run and are part of no result.
    networks
        From the final phase, else empty: task, variable, file and sha256.
    """

    trials: pd.DataFrame
    settings: pd.DataFrame
    history: pd.DataFrame
    costs: pd.DataFrame
    networks: list[dict[str, str]]


class Done(NamedTuple):
    """One training that is over.

    Parameters
    ----------
    params
        Its setting.
    place
        setting, fold and repetition.
    records
        What came out; None when it failed.
    reason
        Why it failed, else empty.
    """

    params: Mapping[str, Any]
    place: Mapping[str, int]
    records: Records | None
    reason: str = ""


def tabulate_trials(done: Sequence[Done], *, names: Mapping[str, str]) -> pd.DataFrame:
    """Return table ``trials``: one row per training, columns `TRIAL_COLUMNS`.

    Parameters
    ----------
    done
        The trainings.
    names
        task and variable.
    """
    rows = []
    for one in done:
        row: dict[str, Any] = {**names, **one.params, **one.place, "failed": one.records is None, "reason": one.reason}
        if one.records is not None:
            known, last = one.records, one.records.at(one.records.epoch)
            row |= {**known.at(known.best_epoch), "epoch": known.best_epoch, "epochs": known.epoch}
            row |= {f"last_{name}": last.get(f"validation_{name}", np.nan) for name in SCORES}
        rows.append(row)
    table = pd.DataFrame(rows, columns=list(TRIAL_COLUMNS))
    whole = ["epoch", "epochs"]
    table[whole] = table[whole].fillna(0).astype(np.int64)
    return table.sort_values(list(PLACE), kind="stable", ignore_index=True)


def tabulate_history(done: Sequence[Done], *, names: Mapping[str, str]) -> pd.DataFrame:
    """Return every score of every epoch.

    Returns
    -------
    pandas.DataFrame
        ``task``, ``variable``, ``setting``, ``parameters`` (JSON), `PARAMETERS`, ``fold``, ``repetition``, ``epoch``,
        ``split``, ``metric``, ``value``.
    """
    return _join(done, names, "history", ["epoch", "split", "metric", "value"])


def tabulate_costs(done: Sequence[Done], *, names: Mapping[str, str]) -> pd.DataFrame:
    """Return time and memory of every epoch, named as in `tabulate_history`."""
    return _join(done, names, "costs", ["epoch", "seconds", "peak_mib", "part"])


def summarise_settings(trials: pd.DataFrame, *, choose: str) -> pd.DataFrame:
    """Average the trainings of every setting, and mark the best one.

    A setting of which one training failed has no average: it would be judged on the easier folds only.

    Parameters
    ----------
    trials
        Table ``trials``.
    choose
        Score by which the best setting is taken; of equals the one with the lowest number.

    Returns
    -------
    pandas.DataFrame
        ``task``, ``variable``, ``setting``, `PARAMETERS`, each of `SCORES` on the participants left out, and its
        standard deviation over trainings as ``<score>_sd`` (NaN for one training), ``epoch`` (median of those kept),
        ``n`` trainings that ended well, ``failed`` others, ``reason`` and ``chosen``.
    """
    rows = []
    for setting, own in trials.groupby("setting", sort=True):
        good = own[~own["failed"].to_numpy(bool)]
        row = {**own.iloc[0][["task", "variable", *PARAMETERS]].to_dict(), "setting": setting}
        for name in SCORES:
            values = good[f"validation_{name}"].to_numpy(np.float64)
            whole = len(good) == len(own) and bool(np.isfinite(values).any())
            row[name] = float(np.nanmean(values)) if whole else np.nan
            spread = np.isfinite(values).sum() > 1 and whole
            row[f"{name}_sd"] = float(np.nanstd(values, ddof=1)) if spread else np.nan
        row |= {"epoch": int(good["epoch"].median()) if len(good) else 0, "n": len(good)}
        row |= {"failed": len(own) - len(good), "reason": next(iter(own.loc[own["failed"], "reason"]), "")}
        rows.append({**row, "chosen": False})
    spreads = [column for name in SCORES for column in (name, f"{name}_sd")]
    ends = ["epoch", "n", "failed", "reason", "chosen"]
    table = pd.DataFrame(rows, columns=["task", "variable", "setting", *PARAMETERS, *spreads, *ends])
    known = table[choose].to_numpy(np.float64).round(9)  # below that two cells that kept the same weights differ
    if np.isfinite(known).any():
        table.loc[int(np.nanargmin(known) if choose in LOWER else np.nanargmax(known)), "chosen"] = True
    return table


def take_chosen(settings: pd.DataFrame, name: str) -> dict[str, Any]:
    """Return the parameters of the setting that a sweep chose.

    Raises
    ------
    StageError
        When none could be trained.
    """
    own = settings[(settings["variable"] == name) & settings["chosen"].astype(bool)]
    if own.empty:
        raise StageError(
            f"None of {len(settings)} settings of {name} could be trained.",
            expected="At least one setting of which every training ends with a score.",
            remedy="Look at column 'reason' of table 'settings'.",
        )
    first = own.iloc[0]
    return {"batch_size": int(first["batch_size"]), "chunk": int(first["chunk"])} | {
        "learning_rate": float(first["learning_rate"])
    }


def _join(done: Sequence[Done], names: Mapping[str, str], kind: str, columns: list[str]) -> pd.DataFrame:
    tables = []
    for one in done:
        if one.records is not None:
            own = one.records.tabulate_history() if kind == "history" else one.records.tabulate_costs()
            words = json.dumps(dict(one.params), sort_keys=True)
            tables.append(own.assign(**names, **one.params, **one.place, parameters=words))
    order = [*names, "setting", "parameters", *PARAMETERS, "fold", "repetition", *columns]
    return pd.concat(tables, ignore_index=True)[order] if tables else pd.DataFrame(columns=order)
