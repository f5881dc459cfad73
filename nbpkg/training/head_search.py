"""The search for the best head: all settings, folds and repetitions of a pair trained at once.

Source: MarcFraile/infant-engagement, ``scripts/training/head_search``. There the one winning head starts every round of
fine-tuning, also those that are validated on folds it was trained on; here every round has a head of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from nbpkg import seeding
from nbpkg.errors import WeightsError
from nbpkg.metrics.search import summarise_trials
from nbpkg.progress import Report
from nbpkg.runs.files import new_file
from nbpkg.settings.learning import SearchSettings
from nbpkg.training import sharing
from nbpkg.training.heads import HeadRuns, HeadSettings, Weights, initial_heads, train_heads
from nbpkg.training.history import MEASURES, Course, choose_epoch
from nbpkg.training.leases import Lease, keep_lease
from nbpkg.training.results import Arrays, Found, tabulate_history
from nbpkg.training.rounds import Material, Pair, Where
from nbpkg.training.search import Asked, ask_all, list_trials, open_search, tell_all
from nbpkg.training.spaces import SEARCHED, Setting, draw_settings, space_of


def search_heads(material: Material, pairs: Sequence[Pair], *, settings: SearchSettings, where: Where) -> Found:
    """Search the best setting of the head of every pair.

    Every finished fold is kept in the folder, and Optuna's journal says which settings are done, so that a search that
    was killed goes on and ends with the same results.

    Parameters
    ----------
    material
        What may be seen.
    pairs
        Tasks and variables.
    settings
        The search.
    where
        Folder, seed and device.

    Returns
    -------
    Found
        With heads, float32 arrays ``<task>/<variable>/fold<k>.weight`` [2, D] and ``.bias`` [2]: the head of the chosen
        setting that never saw fold k; ``best``: the head with the highest smoothed validation F1 of all its runs.

    Raises
    ------
    FoldError
        When a round holds a single class.
    StageError
        When no setting could be trained, or the journal is of another search.
    """
    report = Report("head search", total=len(pairs) * settings.settings * len(material.numbers), unit="setting")
    tables: list[tuple[pd.DataFrame, pd.DataFrame]] = []
    heads: Arrays = {}
    with keep_lease(sharing.lease_folder(where.folder), seconds=where.launch.lease_seconds) as lease:
        for pair in pairs:
            trials, history, found = _PairSearch(material, pair, settings, where).run(report, lease=lease)
            tables.append((trials, history))
            heads |= {f"{pair.task}/{pair.variable}/{name}": array for name, array in found.items()}
    report.close()
    trials = pd.concat([one for one, _ in tables], ignore_index=True)
    history = pd.concat([two for _, two in tables], ignore_index=True)
    return Found(trials, summarise_trials(trials), history, heads, [])


class _PairSearch(NamedTuple):
    """The search of one pair."""

    material: Material
    pair: Pair
    settings: SearchSettings
    where: Where

    def run(self, report: Report, *, lease: Lease) -> tuple[pd.DataFrame, pd.DataFrame, Arrays]:
        """Return trials, history and heads."""
        how, space = self.settings, space_of(self.settings)
        drawn = draw_settings(space, how.settings, seed=self.where.seed, name=f"{self.pair.name} head")
        search = open_search(
            sharing.search_folder(self.where.folder, self.pair),
            self.pair.name,
            drawn,
            space=space,
            seed=self.where.seed,
            lease=lease,
            sampler=how.sampler,
            storage=self.where.launch.storage,
        )
        if search.in_order:
            sharing.wait_until_alone(search)
        if how.sampler == "random":
            runs = self._train(drawn, _label(range(len(drawn))), report)
            batch = ask_all(search)
            tell_all(search, batch, self._averages(runs)[[one.index for one in batch]].tolist())
        else:
            while batch := ask_all(search, limit=1):
                tell_all(search, batch, self._averages(self._train_one(batch[0], report)).tolist())
        known = list_trials(search)
        settings: list[Setting] = known[list(space)].to_dict("records")  # type: ignore[assignment]
        groups = [list(range(len(settings)))] if how.sampler == "random" else [[n] for n in range(len(settings))]
        parts = [(group, self._train([settings[n] for n in group], _label(group), report)) for group in groups]
        trials = pd.concat(
            [
                pd.concat([self._rows(group, settings, fold, one) for fold, one in runs.items()])
                for group, runs in parts
            ],
            ignore_index=True,
        )
        best = summarise_trials(trials).query("chosen")
        if best.empty:
            return trials, self._history({}, 0), {}
        number = int(best["setting"].iloc[0])
        group, runs = next(part for part in parts if number in part[0])
        return trials, self._history(runs, group.index(number)), self._heads(runs, group.index(number))

    def _train_one(self, asked: Asked, report: Report) -> dict[int, HeadRuns]:
        return self._train([asked.params], _label([asked.index]), report)

    def _averages(self, runs: Mapping[int, HeadRuns]) -> NDArray[np.float64]:
        """Return the mean validation F1 of every setting; NaN when one of its trainings failed."""
        scores = np.stack([_validation_f1(one) for one in runs.values()])
        averages: NDArray[np.float64] = scores.reshape(len(scores), -1, self.settings.repetitions).mean(axis=(0, 2))
        return averages

    def _train(self, settings: Sequence[Setting], label: str, report: Report) -> dict[int, HeadRuns]:
        """Train all settings on all folds; folds that an earlier run finished are read."""
        runs = {}
        for fold in self.material.numbers:
            path = self.where.folder / "trainings" / self.pair.path / f"fold{fold}_settings{label}.npz"
            if not path.is_file():
                _save(path, self._train_fold(settings, fold))
                report.step(len(settings), note=f"{self.pair.task} {self.pair.variable}, fold {fold} left out")
            runs[fold] = _load(path)
        return runs

    def _train_fold(self, settings: Sequence[Setting], fold: int) -> HeadRuns:
        train, validation = self.material.rows(self.pair, fold)
        times = self.settings.repetitions
        names = [(self.pair.name, "head", fold, repetition) for repetition in range(times)]
        start = initial_heads([seeding.child(self.where.seed, *name) for name in names], train[0].shape[1])
        return train_heads(
            train,
            validation,
            settings=as_columns(settings).repeat(times),
            weights=Weights(*(np.tile(part, (len(settings), *[1] * (part.ndim - 1))) for part in start)),
            epochs=self.settings.epochs,
            window=self.settings.window,
            warm_up=self.settings.warm_up,
            optimiser=self.settings.optimiser,
            device=self.where.device,
        )

    def _rows(self, group: Sequence[int], settings: Sequence[Setting], fold: int, runs: HeadRuns) -> pd.DataFrame:
        times = self.settings.repetitions
        numbers = np.repeat(group, times)
        given = {name: [settings[n][name] for n in numbers] for name in SEARCHED}
        table = pd.DataFrame({"setting": numbers, **given})
        table = table.assign(task=self.pair.task, variable=self.pair.variable, part="head", fold=fold)
        table = table.assign(optimiser=self.settings.optimiser, repetition=np.tile(np.arange(times), len(group)))
        for split in ("train", "validation"):
            for name in MEASURES:
                values = runs.splits[split].measure(name)
                table[f"{split}_{name}"] = np.take_along_axis(values, runs.best_epoch[:, None], axis=1)[:, 0]
        last = runs.splits["validation"].measure("f1")[:, -1]
        return table.assign(best_epoch=runs.best_epoch, last_validation_f1=last, failed=runs.failed_at >= 0)

    def _history(self, runs: Mapping[int, HeadRuns], place: int) -> pd.DataFrame:
        times = self.settings.repetitions
        own = {
            (fold, repetition): one.history(place * times + repetition)
            for fold, one in runs.items()
            for repetition in range(times)
        }
        return tabulate_history(self.pair, "head", own)

    def _heads(self, runs: Mapping[int, HeadRuns], place: int) -> Arrays:
        """Pick heads: for each fold left out the first repetition, after its last epoch (not chosen by that fold)."""
        times, heads, best = self.settings.repetitions, {}, (-np.inf, 0, 0)
        for fold, one in runs.items():
            first = place * times
            heads[f"fold{fold}.weight"], heads[f"fold{fold}.bias"] = one.last.weight[first], one.last.bias[first]
            scores = one.splits["validation"].measure("f1")[first : first + times]
            values = choose_epoch(scores, window=self.settings.window, warm_up=self.settings.warm_up)[1]
            best = max(best, (float(values.max()), -fold, first + int(values.argmax())), key=lambda item: item[:2])
        run, fold = best[2], -best[1]
        heads["best.weight"], heads["best.bias"] = runs[fold].best.weight[run], runs[fold].best.bias[run]
        return heads


def as_columns(settings: Sequence[Mapping[str, Any]]) -> HeadSettings:
    """Turn settings into the columns that `train_heads` takes."""
    return HeadSettings(*(np.array([one[name] for one in settings]) for name in SEARCHED))


def random_heads(material: Material, pairs: Sequence[Pair], *, seed: int) -> Arrays:
    """Return the same seeded random head for every round, for an experiment without a search for heads."""
    drawn = initial_heads([seed], material.baked.encoder.features)
    names = [*(f"fold{fold}" for fold in material.numbers), "best"]
    keys = [f"{pair.task}/{pair.variable}/{name}" for pair in pairs for name in names]
    return {f"{key}.{part}": array[0] for key in keys for part, array in zip(("weight", "bias"), drawn, strict=True)}


def pick_head(heads: Arrays, pair: Pair, name: str, *, where: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return weight and bias of a head of `Found.heads`.

    Raises
    ------
    WeightsError
        When it is not among them.
    """
    key = f"{pair.task}/{pair.variable}/{name}"
    if f"{key}.weight" not in heads:
        raise WeightsError(
            f"There is no head {key!r}.",
            where=where,
            expected=f"One of {', '.join(sorted({known.rsplit('.', 1)[0] for known in heads})[:8])}.",
            remedy="Run notebooks/05_train.ipynb with phase = 'head_search' again, with the same pairs and folds.",
        )
    return torch.from_numpy(heads[f"{key}.weight"].copy()), torch.from_numpy(heads[f"{key}.bias"].copy())


def _label(numbers: Sequence[int]) -> str:
    return f"{numbers[0]}-{numbers[-1]}"


def _validation_f1(runs: HeadRuns) -> NDArray[np.float64]:
    """Unsmoothed F1 of the epoch kept; NaN where the loss stopped being a number."""
    scores = np.take_along_axis(runs.splits["validation"].measure("f1"), runs.best_epoch[:, None], axis=1)[:, 0]
    return np.where(runs.failed_at >= 0, np.nan, scores)


def _save(path: Path, runs: HeadRuns) -> None:
    """Write runs, complete or not at all, the same bytes for the same runs."""
    arrays: dict[str, NDArray[Any]] = {"best_epoch": runs.best_epoch, "failed_at": runs.failed_at}
    for name, weights in (("best", runs.best), ("last", runs.last)):
        arrays |= {f"{name}_weight": weights.weight, f"{name}_bias": weights.bias}
    for split, course in runs.splits.items():
        arrays |= {f"{split}_loss": course.loss, f"{split}_confusion": course.confusion}
    with new_file(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]


def _load(path: Path) -> HeadRuns:
    with np.load(path, allow_pickle=False) as file:
        splits = {
            name.removesuffix("_loss"): Course(file[name], file[name.replace("_loss", "_confusion")])
            for name in file.files
            if name.endswith("_loss")
        }
        best, last = (Weights(file[f"{name}_weight"], file[f"{name}_bias"]) for name in ("best", "last"))
        return HeadRuns(splits, file["best_epoch"], best, last, file["failed_at"])
