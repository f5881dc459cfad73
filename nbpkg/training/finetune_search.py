"""The search for the best training of the whole network: one setting after the other, each on every fold.

Source: MarcFraile/infant-engagement, ``scripts/training/finetune_search``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from nbpkg import seeding
from nbpkg.errors import DivergedError
from nbpkg.metrics.search import summarise_trials
from nbpkg.models.network import Classifier, Net
from nbpkg.runs.files import write_json
from nbpkg.settings.learning import FinetuneSettings, NetworkTrainingSettings
from nbpkg.training import attempts, checkpointing, sharing
from nbpkg.training.attempts import DIVERGED
from nbpkg.training.finetune import FineTune, fine_tune
from nbpkg.training.head_search import pick_head
from nbpkg.training.history import History
from nbpkg.training.leases import Lease, keep_lease
from nbpkg.training.results import Arrays, Found, tabulate_history, tabulate_trial
from nbpkg.training.rounds import Material, Pair, Where
from nbpkg.training.search import (
    FINISHED,
    Asked,
    Search,
    count_attempts,
    list_trials,
    open_search,
    report,
    should_prune,
    tell,
)
from nbpkg.training.spaces import SEARCHED, draw_settings, space_of


def search_finetuning(
    material: Material, pairs: Sequence[Pair], *, settings: FinetuneSettings, heads: Arrays, shared: bool, where: Where
) -> Found:
    """Search the best setting for training the whole network of every pair, alone or together with other workers.

    Trainings that are finished are kept, one that was killed goes on from its last epoch, and Optuna's journal says
    which settings are done. Worker 0 (``where.launch``) ends the search: its tables hold all settings, the same
    whatever the workers did. Those of another worker hold what is known when nothing is left for it.

    Parameters
    ----------
    material
        What may be seen.
    pairs
        Tasks and variables.
    settings
        The search.
    heads
        From `nbpkg.training.head_search`; where each round starts.
    shared
        Start all rounds from the search's best head, as published, although it was trained on their validation folds.
    where
        Folder, seed and device; which worker this is, and what it takes.

    Returns
    -------
    Found
        Trials, settings and the history of the chosen settings; no heads.

    Raises
    ------
    SettingsError
        When the search cannot be shared in this way, or its storage cannot be used.
    StageError
        When others have taken this worker for dead, or it has nothing to summarise; when the storage holds another
        search or cannot be read or written.
    """
    launch = where.launch
    sharing.check_launch(launch, sampler=settings.sampler)
    folder, seconds = sharing.lease_folder(where.folder), launch.lease_seconds
    with keep_lease(folder, seconds=seconds, worker=launch.worker, share=launch.share) as lease:
        own = {pair: _open(material, pair, settings, heads, shared, where, lease) for pair in pairs}
        searches = {pair: one.search for pair, one in own.items()}
        sharing.share_work(searches, {pair: one.attempt for pair, one in own.items()}, launch=launch)
        tables = [one.tabulate() for one in own.values()]
    trials = pd.concat([one for one, _ in tables], ignore_index=True)
    history = pd.concat([two for _, two in tables], ignore_index=True)
    return Found(trials, summarise_trials(trials), history, {}, [])


def _open(
    material: Material,
    pair: Pair,
    settings: FinetuneSettings,
    heads: Arrays,
    shared: bool,
    where: Where,
    lease: Lease,
) -> _PairSearch:
    space = space_of(settings)
    search = open_search(
        sharing.search_folder(where.folder, pair),
        pair.name,
        draw_settings(space, settings.settings, seed=where.seed, name=f"{pair.name} network"),
        space=space,
        seed=where.seed,
        lease=lease,
        sampler=settings.sampler,
        pruner=settings.pruner,
        storage=where.launch.storage,
    )
    return _PairSearch(material, pair, settings, heads, shared, where, search)


@dataclass(frozen=True)
class _PairSearch:
    """The search of one pair."""

    material: Material
    pair: Pair
    settings: FinetuneSettings
    heads: Arrays
    shared: bool
    where: Where
    search: Search

    def attempt(self, asked: Asked) -> None:
        """Train one setting on every fold and repetition, and tell its score, or that the pruner stopped it."""
        scores: list[float] = []
        stopped = False
        for fold in self.material.numbers:
            scores += [self._train_round(asked, fold, repetition) for repetition in range(self.settings.repetitions)]
            known = float(np.nanmean(scores)) if np.isfinite(scores).any() else 0.0
            report(self.search, asked, known, step=len(scores))
            last = fold == self.material.numbers[-1]
            stopped = self.settings.pruner != "none" and not last and should_prune(self.search, asked)
            if stopped:
                break
        tell(self.search, asked, float(np.mean(scores)), pruned=stopped)

    def _train_round(self, asked: Asked, fold: int, repetition: int) -> float:
        """Train once, unless an earlier run did; return the validation F1, NaN when the training diverged."""
        *earlier, folder = self._folders(asked.index, fold, repetition, attempt=asked.attempt)
        attempts.take_over(folder, earlier)
        if not (folder / DIVERGED).is_file() and checkpointing.read_history(folder) is None:
            self._fine_tune(asked.params, fold, repetition, folder)
        history = checkpointing.read_history(folder)
        return np.nan if history is None else history.at(history.best_epoch, "validation")["f1"]

    def _fine_tune(self, params: Mapping[str, Any], fold: int, repetition: int, folder: Path) -> None:
        """Train once; of a training that is over the checkpoints go, the history stays."""
        head = pick_head(self.heads, self.pair, "best" if self.shared else f"fold{fold}", where=str(self.where.folder))
        seed = seeding.child(self.where.seed, self.pair.name, "network", fold, repetition)
        clips = self.material.clips(self.pair, fold, chunks=self.settings.chunks, seed=seed)
        balance = self.material.balance(self.pair, fold) if params["class_weights"] else None
        try:
            fine_tune(
                assemble(self.material, head),
                train=clips.train,
                validation=clips.validation,
                how=describe_training(self.settings, params, epochs=self.settings.epochs, balance=balance),
                folder=folder,
                seed=seed,
                device=self.where.device,
                workers=self.where.workers,
                launch=self.where.launch,
                label=f"fine-tune, fold {fold} left out",
            )
        except DivergedError as error:  # belongs to the results: a setting that diverges is no good
            write_json(folder / DIVERGED, {"error": str(error)})
        checkpointing.discard(folder)

    def tabulate(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Collect what all trainings of finished settings came to, and the history of the setting that is best."""
        own = {"task": self.pair.task, "variable": self.pair.variable, "part": "network"}
        known, tried = list_trials(self.search), count_attempts(self.search)
        rows, histories = [], {}
        for setting in known[known["state"].isin(FINISHED)].to_dict("records"):
            params = {**{name: setting[name] for name in SEARCHED}, "optimiser": self.settings.optimiser}
            for fold in self.material.numbers:
                for repetition in range(self.settings.repetitions):
                    place = {"setting": int(setting["setting"]), "fold": fold, "repetition": repetition}
                    *earlier, folder = self._folders(**place, attempt=tried[place["setting"]])
                    attempts.forget(earlier)
                    history = checkpointing.read_history(folder)
                    if history is not None:
                        histories[place["setting"], fold, repetition] = history
                    if history is not None or (folder / DIVERGED).is_file():
                        rows.append(tabulate_trial(params, history, where={**own, **place}))
        table = pd.DataFrame(rows)
        wanted = len(self.material.numbers) * self.settings.repetitions
        table["failed"] |= table.groupby("setting")["fold"].transform("size") < wanted  # the pruner stopped the others
        best = summarise_trials(table).query("chosen")
        chosen = int(best["setting"].iloc[0]) if len(best) else -1
        kept: dict[tuple[int, int], History] = {key[1:]: one for key, one in histories.items() if key[0] == chosen}
        return table, tabulate_history(self.pair, "network", kept)

    def _folders(self, setting: int, fold: int, repetition: int, *, attempt: int) -> list[Path]:
        """Return the folders of a training in all attempts, the last one last."""
        base, own = self.where.folder / "trainings" / self.pair.path, {"fold": fold, "repetition": repetition}
        return [attempts.name_folder(base, setting, **own, attempt=number) for number in range(attempt + 1)]


def assemble(material: Material, head: tuple[torch.Tensor, torch.Tensor]) -> Net:
    """Put a head on the encoder that stage 04 handed on."""
    net = Net(material.baked.encoder, Classifier(material.baked.encoder.features))
    with torch.no_grad():
        net.classifier.fc.weight.copy_(head[0])
        net.classifier.fc.bias.copy_(head[1])
    return net


def describe_training(
    settings: FinetuneSettings | NetworkTrainingSettings,
    params: Mapping[str, Any],
    *,
    epochs: int,
    balance: tuple[float, float] | None,
    patience: int = 0,
) -> FineTune:
    """Put the settings of a phase, the parameters of one setting and class weights together."""
    return FineTune(
        epochs=epochs,
        batch_size=settings.batch_size,
        learning_rate=float(params["learning_rate"]),
        lr_decay=float(params["lr_decay"]),
        weight_decay=float(params["weight_decay"]),
        class_weights=balance,
        optimiser=settings.optimiser,
        window=settings.window,
        warm_up=settings.warm_up,
        precision=settings.precision,
        accumulate=settings.accumulate,
        max_batches=settings.max_batches,
        profile=settings.profile,
        patience=patience,
        batch_statistics=settings.batch_statistics,
    )
