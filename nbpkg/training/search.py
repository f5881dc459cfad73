"""Searches for settings: who tries which, what came out, and going on after a kill.

A search lives in one file, ``search.journal`` (Optuna's journal), or in a database; any number of workers share it. All
settings of a random search are drawn and written down before the first is tried, so that the result depends neither on
the workers nor on their order. Optuna hands the settings out, suggests (TPE), prunes and measures importance.

Source: Akiba et al. (2019), "Optuna"; random search as in MarcFraile/infant-engagement, ``scripts/training``.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
from optuna.trial import FrozenTrial, Trial, TrialState

from nbpkg.errors import SettingsError, StageError
from nbpkg.runs.files import digest
from nbpkg.seeding import child
from nbpkg.training import optuna_terms
from nbpkg.training.journal import hold
from nbpkg.training.leases import Lease, is_me
from nbpkg.training.spaces import Sampler, Setting
from nbpkg.training.storage import Storage, open_storage, turn_file

STARTUP = 10  # as Optuna's TPE: this many settings are taken as drawn before any is suggested
SAMPLERS, PRUNERS = ("random", "tpe"), ("none", "median")
STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}
FINISHED = ("complete", "pruned", "failed")


@dataclass(frozen=True)
class Search:
    """An open search; made by `open_search`.

    Parameters
    ----------
    name
        Its name.
    settings
        As drawn; with TPE those after the first ten only count.
    space
        Samplers by name of parameter.
    sampler
        ``random`` or ``tpe``.
    seed
        The experiment's seed.
    study
        Optuna's study, for its own tools.
    storage
        Where it is written down.
    lease
        Sign of life of this worker.
    """

    name: str
    settings: tuple[Setting, ...]
    space: Mapping[str, Sampler]
    sampler: str
    seed: int
    study: optuna.Study
    storage: Storage
    lease: Lease

    @property
    def drawn(self) -> dict[int, Setting]:
        """Settings that are tried as drawn, by number."""
        return dict(enumerate(self.settings[: STARTUP if self.sampler == "tpe" else None]))

    @property
    def in_order(self) -> bool:
        """Whether what is tried, or stopped early, depends on what was scored before."""
        return self.sampler == "tpe" or not isinstance(self.study.pruner, optuna.pruners.NopPruner)


@dataclass(frozen=True)
class Asked:
    """A setting this process is to try.

    Parameters
    ----------
    trial
        Optuna's trial, to be given to `tell`.
    index
        Number of the setting, from 0.
    attempt
        How many workers before had the setting, and died.
    params
        The setting.
    """

    trial: Trial
    index: int
    attempt: int
    params: Setting


def open_search(
    folder: Path,
    name: str,
    settings: Sequence[Setting],
    *,
    space: Mapping[str, Sampler],
    seed: int,
    lease: Lease,
    sampler: str = "random",
    pruner: str = "none",
    storage: str = "",
) -> Search:
    """Begin a search, or join one that others began; the settings of workers that died are given out again.

    A worker is a process: opening a search twice in one process gives out again what the first opening left unfinished.

    Parameters
    ----------
    folder
        Where the journal is kept; searches of several names share it.
    name
        Name of the search.
    settings
        What to try, from `nbpkg.training.spaces.draw_settings`. With ``tpe`` the first ten are tried as they are; the
        others only count, and are suggested from what is known by then.
    space
        Samplers by name of parameter; every setting lies in it.
    seed
        The experiment's seed (TPE).
    lease
        From `nbpkg.training.leases.keep_lease`; held as long as the search is used.
    sampler
        ``random`` or ``tpe``. TPE with one worker gives the same settings every time; with several it depends on who
        finishes first.
    pruner
        ``none`` or ``median`` (stop a setting whose reports fall below the median of the others' at the same step);
        with several workers it depends on who finishes first.
    storage
        Where it is written down, see `nbpkg.training.storage.open_storage`.

    Raises
    ------
    SettingsError
        When a setting lies outside the space, sampler or pruner are unknown, or the storage cannot be used.
    StageError
        When another search was begun under this name, or the storage cannot be read or written.
    """
    _check_names(sampler, pruner)
    for one in settings:
        optuna_terms.encode(space, one)
    folder.mkdir(parents=True, exist_ok=True)
    plan = digest([list(settings), sampler, pruner, seed, {key: repr(value) for key, value in space.items()}])
    with hold(turn_file(folder)):
        kept = open_storage(folder, name, url=storage)
        with kept.talk():
            study = _load(kept, pruner)
            search = Search(name, tuple(map(dict, settings)), dict(space), sampler, seed, study, kept, lease)
            _check_plan(study, plan, kept)
            with kept.many():
                _give_back(search, own=True)
    return search


def next_setting(search: Search, *, among: Collection[int] | None = None) -> Asked | None:
    """Take the next setting, or the next of those `among`; None when none is left for this worker.

    Raises
    ------
    StageError
        When others have taken this worker for dead.
    """
    taken = ask_all(search, limit=1, among=among)
    return taken[0] if taken else None


def ask_all(search: Search, *, limit: int | None = None, among: Collection[int] | None = None) -> list[Asked]:
    """Take all settings that are left, or the next `limit`, to try them as one batch (see `next_setting`)."""
    asked: list[Asked] = []
    with _turn(search), search.storage.many():
        while limit is None or len(asked) < limit:
            free = _find_free(search, among)
            if not free:
                break
            asked += [_take(search, trial) for trial in free[: None if limit is None else limit - len(asked)]]
    return asked


def tell(search: Search, asked: Asked, value: float, *, pruned: bool = False) -> None:
    """Write down what a setting scored.

    Parameters
    ----------
    search
        The search.
    asked
        The setting, from `next_setting` or `ask_all`.
    value
        Its average; one that is not finite counts as failed.
    pruned
        It was stopped early: its reports stay, but it has no score and cannot win.

    Raises
    ------
    StageError
        When the setting was told before, or given to another worker in the meantime.
    """
    with _turn(search):
        _tell(search, asked, value, pruned=pruned)


def tell_all(search: Search, asked: Sequence[Asked], values: Sequence[float]) -> None:
    """Write down what the settings of a batch scored, in the order of `asked` (see `tell`)."""
    both = list(zip(asked, values, strict=True))
    with _turn(search), search.storage.many():
        for one, value in both:
            _tell(search, one, float(value), pruned=False)


def report(search: Search, asked: Asked, value: float, *, step: int) -> None:
    """Report how a setting is doing at a step (such as: folds finished), for the pruner (see `tell`)."""
    with _turn(search), _refused(search, asked):
        asked.trial.report(float(value), step)


def should_prune(search: Search, asked: Asked) -> bool:
    """Tell whether the pruner would stop this setting now."""
    with search.storage.talk():
        return bool(asked.trial.should_prune())


def list_trials(search: Search) -> pd.DataFrame:
    """List every setting with its score, the same whatever the order and timing of the workers.

    Columns: ``setting`` (number, sorted), one for each parameter of the space, ``value`` (NaN unless complete) and
    ``state``: ``complete``, ``pruned``, ``failed`` (no finite score), ``running``, ``waiting``.
    """
    with search.storage.talk():
        trials = current_trials(search.study)
    rows = [{"setting": index, **one.user_attrs["params"], **describe_trial(one)} for index, one in trials.items()]
    return pd.DataFrame(rows, columns=["setting", *search.space, "value", "state"])


def count_attempts(search: Search) -> dict[int, int]:
    """Return for each setting how many workers died over it."""
    with search.storage.talk():
        return {index: one.user_attrs.get("attempt", 0) for index, one in current_trials(search.study).items()}


def current_trials(study: optuna.Study) -> dict[int, FrozenTrial]:
    """Return the newest trial of each setting, in order of their numbers, without those whose worker died."""
    known = [trial for trial in study.get_trials(deepcopy=False) if "setting" in trial.user_attrs]
    alive = [trial for trial in known if trial.state is not TrialState.FAIL or "undefined" in trial.user_attrs]
    return dict(sorted({trial.user_attrs["setting"]: trial for trial in alive}.items()))


def describe_trial(trial: FrozenTrial) -> dict[str, Any]:
    """Return ``value`` (NaN unless complete) and ``state`` of a trial."""
    value = trial.value if trial.state is TrialState.COMPLETE else None
    return {"value": math.nan if value is None else float(value), "state": STATES[trial.state]}


@contextmanager
def _turn(search: Search) -> Iterator[None]:
    """Keep all others out, as one who is known to be alive: nobody is taken for dead but in the other's turn."""
    with search.storage.turn():
        search.lease.renew()
        yield


def _tell(search: Search, asked: Asked, value: float, *, pruned: bool) -> None:
    """Write a score down; only while the turn is held."""
    state = TrialState.PRUNED if pruned else TrialState.COMPLETE if math.isfinite(value) else TrialState.FAIL
    with _refused(search, asked):
        if state is TrialState.FAIL:
            asked.trial.set_user_attr("undefined", True)  # sets it apart from those whose worker died
        search.study.tell(asked.trial, float(value) if state is TrialState.COMPLETE else None, state=state)


@contextmanager
def _refused(search: Search, asked: Asked) -> Iterator[None]:
    """Say in words that a trial is over."""
    try:
        yield
    except (ValueError, optuna.exceptions.UpdateFinishedTrialError):
        raise StageError(
            f"Setting {asked.index} of search {search.name!r} was told before, or given to another worker.",
            where=search.storage.place,
            expected="One score for each setting, from the worker that asked for it.",
            remedy="Start this worker again; it goes on with what is left.",
        ) from None


def _give_back(search: Search, *, own: bool = False) -> None:
    """Fail the trials of dead workers, then enqueue every setting that has no trial; only while the turn is held.

    A trial without owner was taken by a worker that died before it could sign, as signing belongs to its turn. With
    `own`, what this very process left unfinished counts too: in a notebook, an interrupted cell is run again.
    """
    for trial in search.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        owner = trial.user_attrs.get("owner")
        if owner is None or (own and is_me(owner)) or search.lease.judge(owner):
            search.study.tell(trial.number, state=TrialState.FAIL)
    current = current_trials(search.study)
    facts = [one.user_attrs for one in search.study.get_trials(deepcopy=False) if "setting" in one.user_attrs]
    wanted = search.drawn | {one["setting"]: one["params"] for one in facts}
    for index, params in sorted(wanted.items()):
        if index not in current:
            _enqueue(search, index, params, attempt=sum(one["setting"] == index for one in facts))


def _enqueue(search: Search, index: int, params: Setting, *, attempt: int) -> None:
    encoded = optuna_terms.encode(search.space, params)
    trial = optuna.trial.create_trial(
        state=TrialState.WAITING,
        params={name: value for name, (value, _) in encoded.items()},
        distributions={name: distribution for name, (_, distribution) in encoded.items()},
        user_attrs={"setting": index, "params": params, "attempt": attempt},
    )
    search.study.add_trial(trial)


def _find_free(search: Search, among: Collection[int] | None) -> list[FrozenTrial]:
    """Find waiting settings, or have one suggested; only while the turn is held."""
    free = _waiting(search, among)
    if not free:
        _give_back(search)
        free = _waiting(search, among)
    index = len(current_trials(search.study))
    if free or search.sampler == "random" or index >= len(search.settings):
        return free
    _enqueue(search, index, _suggest(search, index), attempt=0)
    return _waiting(search, None)


def _waiting(search: Search, among: Collection[int] | None) -> list[FrozenTrial]:
    trials = [trial for trial in current_trials(search.study).values() if trial.state is TrialState.WAITING]
    return [trial for trial in trials if among is None or trial.user_attrs["setting"] in among]


def _take(search: Search, waiting: FrozenTrial) -> Asked:
    """Sign a waiting trial; only while the turn is held. `Study.ask` would take the oldest, not this one."""
    store = search.storage.optuna
    study = store.get_study_id_from_name(search.study.study_name)
    number = store.get_trial_id_from_study_id_trial_number(study, waiting.number)
    store.set_trial_state_values(number, state=TrialState.RUNNING)
    trial = Trial(search.study, number)
    trial.set_user_attr("owner", search.lease.owner)
    facts = waiting.user_attrs
    return Asked(trial, facts["setting"], facts.get("attempt", 0), facts["params"])


def _suggest(search: Search, index: int) -> Setting:
    """Let TPE propose a setting from all others in order of their numbers, which a kill does not change."""
    seed = child(search.seed, "tpe", search.name, index) % 2**32
    sampler = optuna.samplers.TPESampler(n_startup_trials=STARTUP, multivariate=False, seed=seed)
    study = optuna.create_study(sampler=sampler, direction="maximize")
    study.add_trials(list(current_trials(search.study).values()))
    trial = study.ask()
    return {key: optuna_terms.suggest(trial, key, sampler=drawn) for key, drawn in search.space.items()}


def _load(storage: Storage, pruner: str) -> optuna.Study:
    return optuna.create_study(
        study_name=storage.study,
        storage=storage.optuna,
        sampler=optuna.samplers.RandomSampler(seed=0),
        pruner=optuna.pruners.MedianPruner() if pruner == "median" else optuna.pruners.NopPruner(),
        direction="maximize",
        load_if_exists=True,
    )


def _check_plan(study: optuna.Study, plan: str, storage: Storage) -> None:
    """Refuse to mix two searches."""
    known = study.user_attrs.get("plan")
    if known is None:
        study.set_user_attr("plan", plan)
    elif known != plan:
        raise StageError(
            f"Search {study.study_name!r} was begun with other settings.",
            where=storage.place,
            expected="The same space, number of settings, sampler, pruner and seed.",
            remedy="Choose another experiment name, or move the journal away to begin again.",
        )


def _check_names(sampler: str, pruner: str) -> None:
    for kind, name, known in (("sampler", sampler, SAMPLERS), ("pruner", pruner, PRUNERS)):
        if name not in known:
            raise SettingsError(f"'{name}' is no known {kind}.", expected=f"One of {', '.join(known)}.")
