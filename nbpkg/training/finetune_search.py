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
from nbpkg.runs.files import read_json, write_json
from nbpkg.settings.learning import FinetuneSettings, NetworkTrainingSettings
from nbpkg.training.finetune import FineTune, fine_tune
from nbpkg.training.head_search import Arrays, Found, pick_head, space_of, tabulate_history
from nbpkg.training.history import MEASURES, History
from nbpkg.training.rounds import Material, Pair
from nbpkg.training.search import Asked, next_setting, open_search, report, should_prune, tell
from nbpkg.training.spaces import draw_settings


@dataclass(frozen=True)
class Where:
    """Where trainings happen.

    Parameters
    ----------
    folder
        Run folder.
    seed
        The experiment's seed.
    device
        Where to compute.
    workers
        Processes that read clips.
    """

    folder: Path
    seed: int
    device: torch.device
    workers: int


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
    return Found(trials, summarise_trials(trials), history, {})


def _search_pair(
    material: Material, pair: Pair, settings: FinetuneSettings, heads: Arrays, shared: bool, where: Where
) -> tuple[pd.DataFrame, pd.DataFrame]:
    space = space_of(settings)
    drawn = draw_settings(space, settings.settings, seed=where.seed, name=f"{pair.name} network")
    search = open_search(
        where.folder / "search",
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
    return own.tabulate()


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
        """Train once and write down the outcome; NaN when the training diverged."""
        folder = self._folder(asked.index, fold, repetition)
        if (folder / "outcome.json").is_file():
            return float(read_outcome(folder)["validation_f1"])
        name = "best" if self.shared else f"fold{fold}"
        head = pick_head(self.heads, self.pair, name, where=str(self.where.folder))
        seed = seeding.child(self.where.seed, self.pair.name, "network", fold, repetition)
        clips = self.material.clips(self.pair, fold, chunks=self.settings.chunks, seed=seed)
        balance = self.material.balance(self.pair, fold) if asked.params["class_weights"] else None
        how = describe_training(self.settings, asked.params, epochs=self.settings.epochs, balance=balance)
        own = {**asked.params, "setting": asked.index, "fold": fold, "repetition": repetition}
        own["optimiser"] = self.settings.optimiser
        try:
            trained = fine_tune(
                assemble(self.material, head),
                train=clips.train,
                validation=clips.validation,
                how=how,
                folder=folder,
                seed=seed,
                device=self.where.device,
                workers=self.where.workers,
                label=f"setting {asked.index}, fold {fold} left out",
            )
        except DivergedError as error:  # belongs to the results: a setting that diverges is no good
            return write_outcome(folder, own, None, str(error))
        return write_outcome(folder, own, trained.history, "")

    def tabulate(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Collect the outcomes of all trainings, and the history of the setting that is best."""
        folders = sorted((self.where.folder / "trainings").glob(f"{self.pair.name}_*/outcome.json"))
        outcomes = [read_outcome(path.parent) for path in folders]
        wanted = len(self.material.numbers) * self.settings.repetitions
        rows = pd.DataFrame([{k: v for k, v in one.items() if k != "history"} for one in outcomes])
        rows = rows.drop(columns="error").assign(task=self.pair.task, variable=self.pair.variable, part="network")
        rows = rows.sort_values(["setting", "fold", "repetition"], ignore_index=True)
        whole = rows.groupby("setting")["fold"].transform("size") == wanted  # the pruner stopped the others
        rows = rows.assign(failed=rows["failed"].to_numpy(bool) | ~whole.to_numpy())
        best = summarise_trials(rows).query("chosen")
        chosen = int(best["setting"].iloc[0]) if len(best) else -1
        histories = {
            (one["fold"], one["repetition"]): History.from_json(one["history"])
            for one in outcomes
            if one["setting"] == chosen
        }
        return rows, tabulate_history(self.pair, "network", histories)

    def _folder(self, setting: int, fold: int, repetition: int) -> Path:
        return self.where.folder / "trainings" / f"{self.pair.name}_{setting:04d}_{fold}_{repetition}"


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


def write_outcome(folder: Path, own: Mapping[str, Any], history: History | None, error: str) -> float:
    """Write down what a training came to, and return its validation F1; the checkpoints are not needed any more."""
    names = [f"{split}_{name}" for split in ("train", "validation") for name in MEASURES]
    scores: dict[str, Any] = dict.fromkeys(names)
    if history is not None:
        at = {split: history.at(history.best_epoch, split) for split in ("train", "validation")}
        scores = {f"{split}_{name}": at[split][name] for split in at for name in MEASURES}
        scores["last_validation_f1"] = float(history.splits["validation"].measure("f1")[-1])
    scores |= {"best_epoch": history.best_epoch if history else 0, "failed": history is None, "error": error}
    kept = history.to_json() if history else {}
    write_json(folder / "outcome.json", {**own, "last_validation_f1": None, **scores, "history": kept})
    for name in ("last.ckpt", "best.ckpt"):
        (folder / name).unlink(missing_ok=True)
    return float("nan") if history is None else float(scores["validation_f1"])


def read_outcome(folder: Path) -> dict[str, Any]:
    """Read what `write_outcome` wrote; what is missing is NaN."""
    content: dict[str, Any] = read_json(folder / "outcome.json")
    return {name: float("nan") if value is None else value for name, value in content.items()}
