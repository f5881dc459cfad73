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
from nbpkg.progress import Report
from nbpkg.runs.files import write_json
from nbpkg.settings.learning import FinetuneSettings, NetworkTrainingSettings
from nbpkg.training import checkpointing
from nbpkg.training.finetune import FineTune, fine_tune
from nbpkg.training.head_search import pick_head
from nbpkg.training.history import History
from nbpkg.training.results import Arrays, Found, tabulate_history, tabulate_trial
from nbpkg.training.rounds import Material, Pair, Where
from nbpkg.training.search import Asked, Search, list_trials, next_setting, open_search, report, should_prune, tell
from nbpkg.training.spaces import SEARCHED, draw_settings, space_of

DIVERGED = "diverged.json"  # in the folder of a training that has no result


def search_finetuning(
    material: Material, pairs: Sequence[Pair], *, settings: FinetuneSettings, heads: Arrays, shared: bool, where: Where
) -> Found:
    """Search the best setting for training the whole network of every pair.

    Trainings that are finished are kept, one that was killed goes on from its last epoch, and Optuna's journal says
    which settings are done.

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
        Folder, seed and device.

    Returns
    -------
    Found
        Trials, settings and the history of the chosen settings; no heads.
    """
    tables = [_search_pair(material, pair, settings, heads, shared, where) for pair in pairs]
    trials = pd.concat([one for one, _ in tables], ignore_index=True)
    history = pd.concat([two for _, two in tables], ignore_index=True)
    return Found(trials, summarise_trials(trials), history, {}, [])


def _search_pair(
    material: Material, pair: Pair, settings: FinetuneSettings, heads: Arrays, shared: bool, where: Where
) -> tuple[pd.DataFrame, pd.DataFrame]:
    space = space_of(settings)
    drawn = draw_settings(space, settings.settings, seed=where.seed, name=f"{pair.name} network")
    search = open_search(
        where.folder / "search" / pair.path,
        pair.name,
        drawn,
        space=space,
        seed=where.seed,
        sampler=settings.sampler,
        pruner=settings.pruner,
    )
    progress = Report(f"fine-tune search, {pair.task} {pair.variable}", total=settings.settings, unit="setting")
    own = _PairSearch(material, pair, settings, heads, shared, where)
    while (asked := next_setting(search)) is not None:
        scores, stopped = own.train(asked)
        tell(search, asked, float(np.mean(scores)), pruned=stopped)
        progress.step()
    progress.close()
    return own.tabulate(search)


@dataclass(frozen=True)
class _PairSearch:
    """The search of one pair."""

    material: Material
    pair: Pair
    settings: FinetuneSettings
    heads: Arrays
    shared: bool
    where: Where

    def train(self, asked: Asked) -> tuple[list[float], bool]:
        """Train one setting on every fold and repetition; return its scores, and whether the pruner stopped it."""
        scores: list[float] = []
        for fold in self.material.numbers:
            scores += [self._train_round(asked, fold, repetition) for repetition in range(self.settings.repetitions)]
            report(asked, float(np.nanmean(scores)) if np.isfinite(scores).any() else 0.0, step=len(scores))
            if self.settings.pruner != "none" and fold != self.material.numbers[-1] and should_prune(asked):
                return scores, True
        return scores, False

    def _train_round(self, asked: Asked, fold: int, repetition: int) -> float:
        """Train once, unless an earlier run did; return the validation F1, NaN when the training diverged."""
        folder = self._folder(asked.index, fold, repetition)
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

    def tabulate(self, search: Search) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Collect what all trainings came to, and the history of the setting that is best."""
        own = {"task": self.pair.task, "variable": self.pair.variable, "part": "network"}
        rows, histories = [], {}
        for setting in list_trials(search).to_dict("records"):
            params = {**{name: setting[name] for name in SEARCHED}, "optimiser": self.settings.optimiser}
            for fold in self.material.numbers:
                for repetition in range(self.settings.repetitions):
                    place = {"setting": int(setting["setting"]), "fold": fold, "repetition": repetition}
                    folder = self._folder(**place)
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

    def _folder(self, setting: int, fold: int, repetition: int) -> Path:
        name = f"setting{setting}_fold{fold}_repetition{repetition}"
        return self.where.folder / "trainings" / self.pair.path / name


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
    )
