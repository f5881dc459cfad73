"""Searches for settings: who tries which, what came out, and going on after a kill.

A search lives in one file, ``search.journal`` (Optuna's journal), that any number of workers share. All settings of a
random search are drawn and written down before the first is tried, so that the result depends neither on the workers
nor on their order. Optuna hands the settings out, suggests (TPE), prunes and measures importance.

Source: Akiba et al. (2019), "Optuna"; random search as in MarcFraile/infant-engagement, ``scripts/training``.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import optuna
import pandas as pd
from optuna.trial import FrozenTrial, Trial, TrialState

from nbpkg.errors import SettingsError, StageError
from nbpkg.runs.files import digest
from nbpkg.seeding import child
from nbpkg.training import journal, optuna_terms
from nbpkg.training.spaces import Sampler, Setting

FILE = "search.journal"
STARTUP = 10  # as Optuna's TPE: this many settings are taken as drawn before any is suggested
SAMPLERS, PRUNERS = ("random", "tpe"), ("none", "median")
STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}


@dataclass(frozen=True)
class Search:
    """An open search; made by `open_search`.

    Parameters
    ----------
    name
        Its name in the journal.
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
    file
        The journal.
    """

    name: str
    settings: tuple[Setting, ...]
    space: Mapping[str, Sampler]
    sampler: str
    seed: int
    study: optuna.Study
    file: journal.Journal

    @property
    def drawn(self) -> dict[int, Setting]:
        """Settings that are tried as drawn, by number."""
        return dict(enumerate(self.settings[: STARTUP if self.sampler == "tpe" else None]))

    @property
    def lock(self) -> Path:
        """File that is held while settings are handed out."""
        return self.file.path.with_name(f"{self.file.path.name}.turn")


@dataclass(frozen=True)
class Asked:
    """A setting this process is to try.

    Parameters
    ----------
    trial
        Optuna's trial, to be given to `tell`.
    index
        Number of the setting, from 0.
    params
        The setting.
    """

    trial: Trial
    index: int
    params: Setting


def open_search(
    folder: Path,
    name: str,
    settings: Sequence[Setting],
    *,
    space: Mapping[str, Sampler],
    seed: int,
    sampler: str = "random",
    pruner: str = "none",
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
    sampler
        ``random`` or ``tpe``. TPE with one worker gives the same settings every time; with several it depends on who
        finishes first.
    pruner
        ``none`` or ``median`` (stop a setting whose reports fall below the median of the others' at the same step);
        with several workers it depends on who finishes first.

    Raises
    ------
    SettingsError
        When a setting lies outside the space, or sampler or pruner are unknown.
    StageError
        When the journal holds another search under this name, or cannot be read or written.
    """
    _check_names(sampler, pruner)
    for setting in settings:
        optuna_terms.encode(space, setting)
    folder.mkdir(parents=True, exist_ok=True)
    plan = [list(settings), sampler, pruner, seed, {key: repr(value) for key, value in space.items()}]
    with _quiet(), journal.hold(folder / f"{FILE}.turn"):
        file = journal.Journal(folder / FILE)
        study = _load(file, name, pruner)
        search = Search(name, tuple(map(dict, settings)), dict(space), sampler, seed, study, file)
        known = study.user_attrs.get("plan")
        if known is None:
            study.set_user_attr("plan", digest(plan))
        elif known != digest(plan):
            raise StageError(
                f"Search {name!r} was begun with other settings.",
                where=str(folder / FILE),
                expected="The same space, number of settings, sampler, pruner and seed.",
                remedy="Choose another experiment name, or move the journal away to begin again.",
            )
        with file.many():
            _give_back(search, own=True)
    return search


def next_setting(search: Search) -> Asked | None:
    """Take the next setting; None when none is left for this worker."""
    with _quiet(), journal.hold(search.lock):
        return _ask(search)


def ask_all(search: Search, *, limit: int | None = None) -> list[Asked]:
    """Take all settings that are left, or the next `limit`, to try them as one batch."""
    asked: list[Asked] = []
    with _quiet(), journal.hold(search.lock), search.file.many():
        while (limit is None or len(asked) < limit) and (one := _ask(search)) is not None:
            asked.append(one)
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
    state = TrialState.PRUNED if pruned else TrialState.COMPLETE if math.isfinite(value) else TrialState.FAIL
    try:
        if state is TrialState.FAIL:
            asked.trial.set_user_attr("undefined", True)  # sets it apart from those whose worker died
        search.study.tell(asked.trial, float(value) if state is TrialState.COMPLETE else None, state=state)
    except (ValueError, optuna.exceptions.UpdateFinishedTrialError):
        raise StageError(
            f"Setting {asked.index} of search {search.name!r} was told before, or given to another worker.",
            where=str(search.file.path),
            expected="One score for each setting, from the worker that asked for it.",
            remedy="Start this worker again; it goes on with what is left.",
        ) from None


def tell_all(search: Search, asked: Sequence[Asked], values: Sequence[float]) -> None:
    """Write down what the settings of a batch scored, in the order of `asked` (see `tell`)."""
    both = list(zip(asked, values, strict=True))
    with search.file.many():
        for one, value in both:
            tell(search, one, float(value))


def report(asked: Asked, value: float, *, step: int) -> None:
    """Report how a setting is doing at a step (such as: folds finished), for the pruner."""
    asked.trial.report(float(value), step)


def should_prune(asked: Asked) -> bool:
    """Tell whether the pruner would stop this setting now."""
    return bool(asked.trial.should_prune())


def release_settings(search: Search, *, host: str) -> int:
    """Give the settings of another host's workers out again, for a host whose job was killed.

    A dead worker on the same host is noticed by itself; across hosts nobody can see it.

    Parameters
    ----------
    search
        The search.
    host
        Name of the host, as `list_workers` writes it.

    Returns
    -------
    int
        How many settings.
    """
    with _quiet(), journal.hold(search.lock):
        owned = [trial for trial in _trials(search) if trial.state is TrialState.RUNNING]
        lost = [trial for trial in owned if trial.user_attrs.get("owner", {}).get("host") == host]
        for trial in lost:
            search.study.tell(trial.number, state=TrialState.FAIL)
        _give_back(search)
    return len(lost)


def list_workers(search: Search) -> pd.DataFrame:
    """List who is trying what: ``setting``, ``host``, ``pid``."""
    running = [trial for trial in _trials(search) if trial.state is TrialState.RUNNING]
    owned = [trial.user_attrs for trial in running if "owner" in trial.user_attrs]
    rows = [(one["setting"], one["owner"]["host"], one["owner"]["pid"]) for one in owned]
    return pd.DataFrame(rows, columns=["setting", "host", "pid"])


def list_trials(search: Search) -> pd.DataFrame:
    """List every setting with its score, the same whatever the order and timing of the workers.

    Returns
    -------
    pandas.DataFrame
        ``setting`` (number, sorted), a column for each parameter of the space, ``value`` (NaN unless complete) and
        ``state``: ``complete``, ``pruned``, ``failed`` (no finite score), ``running``, ``waiting``.
    """
    rows = []
    for index, trial in sorted(_current(search).items()):
        value = float(trial.value) if trial.state is TrialState.COMPLETE and trial.value is not None else math.nan
        rows.append({"setting": index, **trial.user_attrs["params"], "value": value, "state": STATES[trial.state]})
    return pd.DataFrame(rows, columns=["setting", *search.space, "value", "state"])


def _trials(search: Search) -> list[FrozenTrial]:
    return search.study.get_trials(deepcopy=False)


def _current(search: Search) -> dict[int, FrozenTrial]:
    """Newest trial of each setting, without those whose worker died."""
    known = [trial for trial in _trials(search) if "setting" in trial.user_attrs]
    alive = [trial for trial in known if trial.state is not TrialState.FAIL or "undefined" in trial.user_attrs]
    return {trial.user_attrs["setting"]: trial for trial in alive}


def _give_back(search: Search, *, own: bool = False) -> None:
    """Fail the trials of dead workers, then enqueue every setting that has no trial; only while the turn is held.

    A trial without owner was taken by a worker that died before it could sign, as signing belongs to its turn. With
    `own`, what this very process left unfinished counts too: in a notebook, an interrupted cell is run again.
    """
    me = journal.sign()
    for trial in _trials(search):
        if trial.state is TrialState.RUNNING:
            owner = trial.user_attrs.get("owner")
            if owner is None or journal.is_dead(owner) or (own and owner == me):
                search.study.tell(trial.number, state=TrialState.FAIL)
    current = _current(search)
    facts = [trial.user_attrs for trial in _trials(search) if "setting" in trial.user_attrs]
    wanted = search.drawn | {one["setting"]: one["params"] for one in facts}
    for index, params in sorted(wanted.items()):
        if index not in current:
            _enqueue(search, index, params)


def _enqueue(search: Search, index: int, params: Setting) -> None:
    encoded = optuna_terms.encode(search.space, params)
    trial = optuna.trial.create_trial(
        state=TrialState.WAITING,
        params={name: value for name, (value, _) in encoded.items()},
        distributions={name: distribution for name, (_, distribution) in encoded.items()},
        user_attrs={"setting": index, "params": params},
    )
    search.study.add_trial(trial)


def _ask(search: Search) -> Asked | None:
    """Take a waiting setting, or have one suggested; only while the turn is held."""
    if not _is_waiting(search):
        _give_back(search)
    if not _is_waiting(search):
        index = len(_current(search))
        if search.sampler == "random" or index >= len(search.settings):
            return None
        _enqueue(search, index, _suggest(search, index))
    trial = search.study.ask()
    trial.set_user_attr("owner", journal.sign())
    return Asked(trial, trial.user_attrs["setting"], trial.user_attrs["params"])


def _suggest(search: Search, index: int) -> Setting:
    """Let TPE propose a setting from all others in order of their numbers, which a kill does not change."""
    seed = child(search.seed, "tpe", search.name, index) % 2**32
    sampler = optuna.samplers.TPESampler(n_startup_trials=STARTUP, multivariate=False, seed=seed)
    study = optuna.create_study(sampler=sampler, direction="maximize")
    study.add_trials([trial for _, trial in sorted(_current(search).items())])
    trial = study.ask()
    return {key: optuna_terms.suggest(trial, key, sampler=drawn) for key, drawn in search.space.items()}


def _is_waiting(search: Search) -> bool:
    return any(trial.state is TrialState.WAITING for trial in _trials(search))


def _load(file: journal.Journal, name: str, pruner: str) -> optuna.Study:
    try:
        return optuna.create_study(
            study_name=name,
            storage=optuna.storages.JournalStorage(file),
            sampler=optuna.samplers.RandomSampler(seed=0),
            pruner=optuna.pruners.MedianPruner() if pruner == "median" else optuna.pruners.NopPruner(),
            direction="maximize",
            load_if_exists=True,
        )
    except (ValueError, KeyError) as error:
        raise StageError(
            f"The journal of the search cannot be read: {error}.",
            where=str(file.path),
            expected="One complete record on each line.",
            remedy="Bring the file back from a copy, or move it away to begin the search again.",
        ) from None


def _check_names(sampler: str, pruner: str) -> None:
    for kind, name, known in (("sampler", sampler, SAMPLERS), ("pruner", pruner, PRUNERS)):
        if name not in known:
            raise SettingsError(f"'{name}' is no known {kind}.", expected=f"One of {', '.join(known)}.")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optuna from announcing studies, and that its journal is new, which it has been since 2022."""
    logger = logging.getLogger("optuna")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        logger.setLevel(level)
