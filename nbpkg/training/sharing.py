"""Who takes which settings of a search, whom to wait for, and who is trying what at the moment.

Source: MarcFraile/infant-engagement, ``scripts/training/finetune_search`` (``distributed.sh``, ``unify.py``): there
each task of a job array drew a fixed number of settings of its own, and gathering failed when one had not finished.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
from optuna.trial import TrialState

from nbpkg.errors import SettingsError, StageError
from nbpkg.progress import Report, say
from nbpkg.settings.launch import LaunchSettings
from nbpkg.training import leases
from nbpkg.training.rounds import Pair
from nbpkg.training.search import FINISHED, Asked, Search, current_trials, describe_trial, list_trials, next_setting
from nbpkg.training.storage import find_storage

PAUSE = 5.0  # seconds between two looks at what the others do
Try = Callable[[Asked], None]
COLUMNS = {
    "task": "str",
    "variable": "str",
    "setting": "int64",
    "state": "str",
    "value": "float64",
    "worker": "Int64",
    "host": "str",
    "pid": "Int64",
    "silent_s": "float64",
}


def check_launch(launch: LaunchSettings, *, sampler: str) -> None:
    """Refuse to share a search in a way that has no meaning.

    Raises
    ------
    SettingsError
        For fixed parts of a search whose settings are not known beforehand, and for an end of a search by looking on.
    """
    if launch.share == "fixed" and sampler == "tpe":
        raise SettingsError(
            "launch.share is 'fixed', but the sampler is 'tpe'.",
            expected="Settings that are known before the first is tried, as those of a random search.",
            remedy="Set launch.share to 'dynamic', or the sampler to 'random'.",
        )
    if launch.share == "none" and launch.worker == 0:
        raise SettingsError(
            "launch.share is 'none', but launch.worker is 0, which ends the search.",
            expected="A worker from 1 on, which only looks on.",
            remedy="Set launch.worker (and search_workers) to 1 or more to look on, or launch.share to 'dynamic'.",
        )


def search_folder(run: Path, pair: Pair) -> Path:
    """Return the folder of the search of a pair."""
    return run / "search" / pair.path


def lease_folder(run: Path) -> Path:
    """Return the folder of the leases of all workers of a run."""
    return run / "search" / leases.FOLDER


def share_work(searches: Mapping[Pair, Search], tries: Mapping[Pair, Try], *, launch: LaunchSettings) -> None:
    """Try settings until this worker may summarise.

    Worker 0 ends the search: it takes what is left, and waits for what living workers are trying. Another takes what it
    can, and then waits only until every pair has a setting with a score.

    Parameters
    ----------
    searches
        The open search of each pair, with one lease.
    tries
        What trains a setting of the pair and tells its score.
    launch
        Which worker this is, and what it takes.

    Raises
    ------
    StageError
        When a pair has no setting with a score and for the time of a lease nobody was trying any; when others have
        taken this worker for dead.
    """
    lease = next(iter(searches.values())).lease
    for search in searches.values():
        if search.in_order and launch.search_workers == 0:
            wait_until_alone(search)
    said, last_seen = "", time.monotonic()
    while True:
        if launch.share != "none" and any(_try_all(searches[pair], tries[pair], pair, launch) for pair in searches):
            last_seen = time.monotonic()
            continue  # to the other pairs, and to what was given back meanwhile
        left = [pair for pair, search in searches.items() if not _may_summarise(search, launch)]
        if not left:
            return
        busy = {pair: list_running(search) for pair, search in searches.items()}
        if any(busy.values()):
            last_seen = time.monotonic()
        elif launch.worker and time.monotonic() - last_seen > lease.seconds:
            raise _nothing_yet(left)
        text = _whom(busy)
        if text != said:
            say(text)
        said = text
        time.sleep(min(PAUSE, lease.seconds / leases.BEATS))


def wait_until_alone(search: Search) -> None:
    """Wait until no other living worker is trying a setting, so that a search in order goes on in order.

    After a kill on another machine that is when the lease of the killed worker has run out.
    """
    said = False
    while busy := list_running(search):
        if not said:
            say(f"Waiting for {_describe(search.name, busy)}.")
        said = True
        time.sleep(min(PAUSE, search.lease.seconds / leases.BEATS))


def list_running(search: Search) -> list[tuple[int, dict[str, Any]]]:
    """List the settings that other, living workers are trying: number, and how the worker signed."""
    with search.storage.talk():
        running = [(n, one) for n, one in current_trials(search.study).items() if one.state is TrialState.RUNNING]
    signed = [(number, one.user_attrs["owner"]) for number, one in running if "owner" in one.user_attrs]
    seen = leases.look(search.lease.folder, [owner for _, owner in signed])
    me = search.lease.owner
    return [one for one, sign in zip(signed, seen, strict=True) if not sign.dead and one[1] != me]


def list_searches(run: Path, pairs: Sequence[Pair], *, launch: LaunchSettings) -> pd.DataFrame:
    """List who tries what in the searches of a run, beside running workers and without changing anything.

    Parameters
    ----------
    run
        Run folder of the step (``stage.shared``).
    pairs
        Tasks and variables.
    launch
        Where the search is written down.

    Returns
    -------
    pandas.DataFrame
        One row for each setting that is written down, sorted: ``task``, ``variable``, ``setting``, ``state`` as in
        `nbpkg.training.search.list_trials` or ``lost`` (its worker died; it is given out again), ``value`` (NaN unless
        complete), ``worker``, ``host`` and ``pid`` of who took it last, ``silent_s``: seconds since that worker's last
        sign of life, of running settings; NaN for others and infinite without a lease. Empty before the search began.

    Raises
    ------
    SettingsError, StageError
        When the storage cannot be used or read.
    """
    rows = [row for pair in pairs for row in _look_on(run, pair, launch)]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def _look_on(run: Path, pair: Pair, launch: LaunchSettings) -> list[dict[str, Any]]:
    storage = find_storage(search_folder(run, pair), pair.name, url=launch.storage)
    if storage is None:
        return []
    with storage.talk():
        try:
            study = optuna.load_study(study_name=storage.study, storage=storage.optuna)
        except KeyError:  # a worker is about to begin it
            return []
        trials = current_trials(study)
    running = [n for n, trial in trials.items() if trial.state is TrialState.RUNNING and "owner" in trial.user_attrs]
    signs = leases.look(lease_folder(run), [trials[number].user_attrs["owner"] for number in running])
    seen = dict(zip(running, signs, strict=True))
    rows = []
    for number, trial in trials.items():
        owner, sign = trial.user_attrs.get("owner", {}), seen.get(number, leases.Sign(dead=False, silent_s=math.nan))
        row = {"task": pair.task, "variable": pair.variable, "setting": number, **describe_trial(trial)}
        row |= {"state": "lost"} if sign.dead else {}
        who = {"worker": owner.get("worker"), "host": owner.get("host", ""), "pid": owner.get("pid")}
        rows.append({**row, **who, "silent_s": sign.silent_s})
    return rows


def _try_all(search: Search, attempt: Try, pair: Pair, launch: LaunchSettings) -> bool:
    """Try settings until none is left for this worker now; tell whether there was any."""
    asked = next_setting(search, among=_own_settings(search, launch))
    if asked is None:
        return False
    progress = Report(f"fine-tune search, {pair.task} {pair.variable}", total=len(search.settings), unit="setting")
    while asked is not None:
        attempt(asked)
        progress.step()
        asked = next_setting(search, among=_own_settings(search, launch))
    progress.close()
    return True


def _own_settings(search: Search, launch: LaunchSettings) -> set[int] | None:
    """Return the numbers of the settings that this worker may take; None for all.

    Of S settings and n workers each takes ``S // n``, and the first ``S % n`` one more, as in the published array
    search. Worker 0 takes those of workers that are not there.
    """
    if launch.share != "fixed":
        return None
    numbers, count = range(len(search.settings)), launch.search_workers
    if launch.worker:
        return {number for number in numbers if number % count == launch.worker - 1}
    living = {one["worker"] for one in leases.list_living(search.lease.folder) if one["share"] == "fixed"}
    return {number for number in numbers if count == 0 or number % count + 1 not in living}


def _may_summarise(search: Search, launch: LaunchSettings) -> bool:
    states = list_trials(search)["state"]
    finished = states.isin(FINISHED).sum() >= len(search.settings)
    return bool(finished or (launch.worker and (states == "complete").any()))


def _whom(busy: Mapping[Pair, list[tuple[int, dict[str, Any]]]]) -> str:
    parts = [_describe(f"{pair.task} {pair.variable}", running) for pair, running in busy.items() if running]
    return f"Waiting for {', '.join(parts) or 'workers that have settings of their own left, or are about to begin'}."


def _describe(name: str, running: Sequence[tuple[int, dict[str, Any]]]) -> str:
    return ", ".join(f"{name} setting {number} ({who['host']}, process {who['pid']})" for number, who in running)


def _nothing_yet(pairs: Sequence[Pair]) -> StageError:
    names = ", ".join(f"{pair.task} {pair.variable}" for pair in pairs)
    return StageError(
        f"There is nothing to summarise yet: no setting of {names} has a score, and nobody is trying one.",
        expected="At least one setting with a score for every pair, or a worker that is trying one.",
        remedy="Start other workers, or the one that ends the search (launch.worker = 0), and this one again later.",
    )
