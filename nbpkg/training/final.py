"""The training that is evaluated: a head on baked features, then the whole network from there.

Source: MarcFraile/infant-engagement, ``scripts/training/final``. There the score of the last epoch was reported for the
network of the best one; here nothing is scored on the test fold before notebook 06, which runs the saved network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch

from nbpkg import seeding
from nbpkg.errors import SettingsError
from nbpkg.metrics.search import choose, summarise_trials
from nbpkg.models.checkpoints import Card, Preparation, save_checkpoint
from nbpkg.settings.learning import FinalSettings, NetworkTrainingSettings, TrainingSettings
from nbpkg.training.finetune import Trained, fine_tune
from nbpkg.training.finetune_search import assemble, describe_training
from nbpkg.training.head_search import as_columns
from nbpkg.training.heads import initial_heads, train_heads
from nbpkg.training.history import History
from nbpkg.training.results import Found, tabulate_history, tabulate_trial
from nbpkg.training.rounds import Material, Pair, Where
from nbpkg.training.spaces import SEARCHED

Parameters = Mapping[str, Any]


class Searched(NamedTuple):
    """Tables ``settings`` of the searches that went before; None for one that the experiment leaves out."""

    head: pd.DataFrame | None
    network: pd.DataFrame | None


def train_final(
    material: Material,
    pairs: Sequence[Pair],
    *,
    settings: FinalSettings,
    fold: int,
    searched: Searched,
    where: Where,
) -> Found:
    """Train the network of every pair and save the best epoch's.

    Parameters
    ----------
    material
        What may be seen.
    pairs
        Tasks and variables.
    settings
        The two trainings; what is null is taken from the search's best setting.
    fold
        Training fold that chooses the epoch; -1 for the last one.
    searched
        What the searches found.
    where
        Folder, seed and device. Networks go to ``networks/<task>/<variable>.safetensors``.

    Returns
    -------
    Found
        Trials, settings (the ones trained with), history and networks.

    Raises
    ------
    SettingsError
        When a parameter is null and no search found one, or there is no such fold.
    DivergedError
        When a loss is no longer a finite number.
    """
    numbers = material.numbers
    if fold != -1 and fold not in numbers:
        raise SettingsError(
            f"train.validation_fold is {fold}.",
            expected=f"A training fold: one of {', '.join(map(str, numbers))}; or -1 for the last of them.",
            remedy="Correct train.validation_fold.",
        )
    chosen = numbers[-1] if fold == -1 else fold
    found = [_Final(material, pair, settings, chosen, searched, where).run() for pair in pairs]
    trials = pd.concat([one.trials for one in found], ignore_index=True)
    history = pd.concat([one.history for one in found], ignore_index=True)
    networks = trials[trials["part"] == "network"]
    return Found(trials, summarise_trials(networks), history, {}, [one.saved for one in found])


class _Done(NamedTuple):
    trials: pd.DataFrame
    history: pd.DataFrame
    saved: dict[str, str]


class _Final(NamedTuple):
    """The final training of one pair."""

    material: Material
    pair: Pair
    settings: FinalSettings
    fold: int
    searched: Searched
    where: Where

    def run(self) -> _Done:
        """Train head and network, save the network, and tabulate both."""
        head_params = self._parameters(self.settings.head, self.searched.head, "head")
        net_params = self._parameters(self.settings.finetune, self.searched.network, "finetune")
        head, head_history = self._train_head(head_params)
        trained = self._fine_tune(
            head, net_params, fold=self.fold, epochs=self.settings.finetune.epochs, name="network"
        )
        state, epochs = trained.best, trained.best_epoch
        if self.settings.retrain and epochs:
            state = self._fine_tune(head, net_params, fold=-1, epochs=epochs, name="again").last
        histories = {"head": (head_params, head_history), "network": (net_params, trained.history)}
        trials = pd.DataFrame([self._row(part, *given) for part, given in histories.items()])
        courses = [tabulate_history(self.pair, part, {(self.fold, 0): own}) for part, (_, own) in histories.items()]
        saved = self._save(state, {part: {**given[0]} for part, given in histories.items()}, epochs)
        return _Done(trials, pd.concat(courses, ignore_index=True), saved)

    def _parameters(self, own: TrainingSettings, searched: pd.DataFrame | None, name: str) -> dict[str, Any]:
        """Fill what is null with the best setting that was found for the pair."""
        given = {key: getattr(own, key) for key in SEARCHED}
        if None not in given.values():
            return {**given, "optimiser": own.optimiser}
        if searched is None:
            lacking = ", ".join(f"train.final.{name}.{key}" for key, value in given.items() if value is None)
            raise SettingsError(
                f"{lacking} must be given, because this experiment runs no search for it.",
                expected="A number, or the phase of the search in train.phases.",
                remedy="State the values, or add the search.",
            )
        mine = searched[(searched["task"] == self.pair.task) & (searched["variable"] == self.pair.variable)]
        best = choose(mine)
        filled = {key: best[key] if value is None else value for key, value in given.items()}
        return {
            **{key: float(filled[key]) for key in SEARCHED if key != "class_weights"},
            "class_weights": bool(filled["class_weights"]),
            "optimiser": own.optimiser,
        }

    def _train_head(self, params: Parameters) -> tuple[tuple[torch.Tensor, torch.Tensor], History]:
        train, validation = self.material.rows(self.pair, self.fold)
        own = self.settings.head
        seed = seeding.child(self.where.seed, self.pair.name, "final head")
        runs = train_heads(
            train,
            validation,
            settings=as_columns([params]),
            weights=initial_heads([seed], train[0].shape[1]),
            epochs=own.epochs,
            window=own.window,
            warm_up=own.warm_up,
            optimiser=own.optimiser,
            device=self.where.device,
        )
        head = torch.from_numpy(runs.best.weight[0]), torch.from_numpy(runs.best.bias[0])
        return head, runs.history(0)

    def _fine_tune(
        self, head: tuple[torch.Tensor, torch.Tensor], params: Parameters, *, fold: int, epochs: int, name: str
    ) -> Trained:
        own: NetworkTrainingSettings = self.settings.finetune
        seed = seeding.child(self.where.seed, self.pair.name, "final network")
        clips = self.material.clips(self.pair, fold, chunks=own.chunks, seed=seed)
        balance = self.material.balance(self.pair, fold) if params["class_weights"] else None
        patience = own.patience if fold >= 0 else 0
        how = describe_training(own, params, epochs=epochs, balance=balance, patience=patience)
        return fine_tune(
            assemble(self.material, head),
            train=clips.train,
            validation=clips.validation,
            how=how,
            folder=self.where.folder / "trainings" / self.pair.path / name,
            seed=seed,
            device=self.where.device,
            workers=self.where.workers,
            launch=self.where.launch,
            label=f"{self.pair.task} {self.pair.variable}, " + (f"fold {fold} left out" if fold >= 0 else "all folds"),
        )

    def _row(self, part: str, params: Parameters, history: History) -> dict[str, Any]:
        """One row of table ``trials``."""
        where = {"task": self.pair.task, "variable": self.pair.variable, "part": part}
        return tabulate_trial(params, history, where={**where, "setting": 0, "fold": self.fold, "repetition": 0})

    def _save(self, state: Mapping[str, torch.Tensor], params: Mapping[str, Any], epochs: int) -> dict[str, str]:
        baked = self.material.baked
        again = self.settings.retrain and epochs > 0
        card = Card(
            encoder=baked.facts["encoder"],
            classes=("not engaged", "engaged"),
            task=self.pair.task,
            variable=self.pair.variable,
            clip_ms=self.material.clip_ms,
            preprocess=Preparation.model_validate(baked.grid.to_json()),
            fps=str(next(iter(self.material.stores.values())).fps),
            train_size=baked.train.size,
            test_size=baked.grid.size,
            training={
                "sessions": self.material.sessions(without=-1 if again else self.fold),
                "validation_fold": self.fold,
                "retrained_on_all_folds": again,
                "epochs": epochs,
                "settings": params,
                "encoder_weights": baked.facts["weights"],
                "normalisation": baked.facts["normalisation"],
            },
        )
        path = Path("networks", self.pair.task, f"{self.pair.variable}.safetensors")
        written = save_checkpoint(self.where.folder / path, state, card=card)
        names = {"task": self.pair.task, "variable": self.pair.variable}
        return {**names, "file": path.as_posix(), "sha256": written.sha256}
