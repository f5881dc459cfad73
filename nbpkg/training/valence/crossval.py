"""Rounds side by side: each in a process of its own, or one after the other with the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from nbpkg import seeding
from nbpkg.progress import Report
from nbpkg.training.rounds import Where
from nbpkg.training.valence.material import ValenceMaterial
from nbpkg.training.valence.one_round import Place, Plan, Start, train_round
from nbpkg.training.valence.outcome import Outcome
from nbpkg.training.valence.rounds import Round
from nbpkg.video import workers

Starts = Mapping[str, Start]


def train_rounds(
    material: ValenceMaterial, rounds: Sequence[Round], *, plan: Plan, where: Where, starts: Starts | None = None
) -> list[Outcome]:
    """Train all rounds of a phase.

    Parameters
    ----------
    material
        What may be seen.
    rounds
        The rounds.
    plan
        What is trained, and how.
    where
        Run folder, seed, device, and how many processes train at a time. Each has as many threads as this one, as
        their number changes the last digits; so the results are the same whether rounds go side by side or not.
    starts
        Where each round begins, by its name; one that is not there begins at random.

    Returns
    -------
    list of Outcome
        In the order of the rounds.

    Raises
    ------
    DivergedError, StageError, WeightsError
        As `train_round` says; StageError also when a process dies.
    """
    given = starts or {}
    works = {
        one.name: _Work(
            material, one, plan, given.get(one.name), where.folder, str(where.device), torch.get_num_threads()
        )
        for one in rounds
    }
    report = Report(plan.phase, total=plan.how.epochs * sum(not one.reason for one in rounds), unit="epoch")

    def tick(amount: float) -> None:
        report.step(round(amount))

    at_once = min(where.workers, len(works))
    if at_once > 1:
        with workers.start(at_once) as pool:
            for name, work in works.items():
                pool.submit(name, work)
            found = dict(pool.results(tick))
    else:
        found = {name: work.train(tick) for name, work in works.items()}
    report.close()
    return [found[one.name] for one in rounds]


@dataclass(frozen=True)
class _Work:
    """One round as a process of its own gets it."""

    material: ValenceMaterial
    one: Round
    plan: Plan
    start: Start | None
    folder: Path
    device: str
    threads: int

    def __call__(self, tick: Callable[[float], None]) -> Outcome:
        """Train in a fresh process, which first is set up as the one that started it."""
        seeding.seed_everything(self.plan.seed, threads=self.threads)
        return self.train(tick)

    def train(self, tick: Callable[[float], None]) -> Outcome:
        place = Place(self.folder, torch.device(self.device), tick)
        return train_round(self.material, self.one, plan=self.plan, place=place, start=self.start)
