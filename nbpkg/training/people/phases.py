"""The phases of training over people behind one call: cross-validation over variants, and the final network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from nbpkg import progress, seeding
from nbpkg.errors import FoldError, SettingsError
from nbpkg.models.people.families import family_of
from nbpkg.progress import Report
from nbpkg.settings.people import PeopleTrainSettings
from nbpkg.training.people.clip_batches import find_short
from nbpkg.training.people.material import PeopleMaterial
from nbpkg.training.people.networks import check_variant
from nbpkg.training.people.one_round import Place, Plan, choose_learning, train_round
from nbpkg.training.people.optimiser import plan_rate
from nbpkg.training.people.outcome import Outcome, PeopleFound, gather
from nbpkg.training.people.rounds import Phase, Round, list_rounds
from nbpkg.training.people.schedules import Span, find_unreached
from nbpkg.training.rounds import Where
from nbpkg.video import workers


def train_people_phase(
    phase: Phase,
    material: PeopleMaterial,
    *,
    settings: PeopleTrainSettings,
    earlier: Mapping[str, Path],  # noqa: ARG001 - no phase goes on from another; all studies call alike
    where: Where,
) -> PeopleFound:
    """Run one phase; what is finished is kept, what was cut off goes on with the same bytes.

    Parameters
    ----------
    phase
        ``crossval`` or ``final``.
    material
        What may be seen: training sessions only, see `PeopleMaterial.of_folds`.
    settings
        All settings of the stage.
    earlier
        Run folders of the phases that were run before, by name; none is needed.
    where
        Run folder (networks, states and logs go there), seed, device, processes that train at a time.

    Returns
    -------
    PeopleFound
        Tables, and the content of ``networks.json``.

    Raises
    ------
    SettingsError
        When several processes are to train one network, it cannot be built or varied as asked for, or its warm-up never
        ends.
    FoldError
        When there is a test session, or too few folds.
    DivergedError, MediaError, StageError, WeightsError
        As the rounds say.
    """
    _check(material, settings, where)
    facts = material.describe(family_of(settings.network.name))
    rounds = list_rounds(phase, material.folds, settings=settings)
    _check_rates(material, settings, rounds)
    for variant in dict.fromkeys(one.variant for one in rounds):
        check_variant(settings.network, variant, facts)
    if family_of(settings.network.name) == "clips":
        short = find_short(settings.network, material)
        if short:
            progress.say(f"{len(short)} clips are too short, among them {short[0].file}: {short[0].what}")
    plan = Plan(phase, settings, facts, where.seed)
    return gather(train_rounds(material, rounds, plan=plan, where=where), system=material.system, phase=phase)


def train_rounds(material: PeopleMaterial, rounds: Sequence[Round], *, plan: Plan, where: Where) -> list[Outcome]:
    """Train all rounds of a phase, side by side where there are processes for it.

    Parameters
    ----------
    material, rounds, plan
        What is trained.
    where
        Each process has as many threads as this one, as their number changes the last digits; so the results are the
        same whether rounds go side by side or not.

    Returns
    -------
    list of Outcome
        In the order of the rounds.

    Raises
    ------
    StageError
        Also when a process dies.
    """
    works = {
        one.name: _Work(material, one, plan, where.folder, str(where.device), torch.get_num_threads()) for one in rounds
    }
    epochs = sum(choose_learning(plan.settings, one).epochs for one in rounds)
    report = Report(plan.phase, total=epochs, unit="epoch")

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

    material: PeopleMaterial
    one: Round
    plan: Plan
    folder: Path
    device: str
    threads: int

    def __call__(self, tick: Callable[[float], None]) -> Outcome:
        """Train in a fresh process, which first is set up as the one that started it."""
        seeding.seed_everything(self.plan.seed, threads=self.threads)
        return self.train(tick)

    def train(self, tick: Callable[[float], None]) -> Outcome:
        place = Place(self.folder, torch.device(self.device), tick)
        return train_round(self.material, self.one, plan=self.plan, place=place)


def _check(material: PeopleMaterial, settings: PeopleTrainSettings, where: Where) -> None:
    if where.launch.group > 1:
        raise SettingsError(
            f"launch asks for {where.launch.group} processes to train one network over people.",
            expected="launch.processes 1 and launch.nodes 1: trainings share a machine instead.",
            remedy="Set both to 1, and let several trainings go side by side (workers).",
        )
    strange = sorted(material.folds.loc[material.folds["role"] != "train", "session"])
    if strange:
        raise FoldError(
            f"Training must not see these sessions: {', '.join(strange[:5])}.",
            expected="Sessions with the role 'train' only; test sessions are looked at once, in notebook 06.",
            remedy="Use PeopleMaterial.of_folds('train').",
        )
    varied = settings.augment.variant != "none" and settings.augment.copies > 0
    if varied and family_of(settings.network.name) != "clips":
        raise SettingsError(
            f"Copies of clips are to be varied ({settings.augment.variant}), but {settings.network.name} sees no "
            "pictures.",
            expected="A network of clips, or the variant 'none'.",
            remedy="Correct train.augment.variant.",
        )


def _check_rates(material: PeopleMaterial, settings: PeopleTrainSettings, rounds: Sequence[Round]) -> None:
    """Refuse a warm-up that no round outlasts, and say which falls of the rate lie behind the end of a round."""
    # There are at most so many steps in an epoch, whatever the batches; a warm-up that outlasts these outlasts fewer.
    most = max(1, len(material.clips)) * (1 + settings.augment.copies)
    for epochs, how in {how.epochs: how for how in (choose_learning(settings, one) for one in rounds)}.items():
        span = Span(epochs, most)
        for problem in find_unreached(plan_rate(how, span), span):
            if problem.severity == "error":
                raise SettingsError(
                    f"With a warm-up of {how.warm_up:g} of all steps the learning rate never gets to "
                    f"{how.learning_rate:g}.",
                    where="train.learning.warm_up",
                    expected="A share that leaves steps behind it, such as 0.05.",
                    remedy="Shorten it, or set it to 0 for a rate that is there at once.",
                )
            progress.say(problem.what)
