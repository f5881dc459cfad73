"""The rounds of training over people: which families each learns from, chooses its epoch by, and is scored on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pandas as pd

from nbpkg.errors import FoldError, SettingsError
from nbpkg.settings.people import PeopleTrainSettings

Phase = Literal["crossval", "final"]


@dataclass(frozen=True)
class Round:
    """One training.

    Parameters
    ----------
    name
        Of its files.
    variant, repeat
        What is trained, and the number of the repetition, each with its own seed.
    fold
        The fold left out, -1 for none.
    train, inner, held_out
        Sessions learnt from; choosing the epoch, neither learnt from nor reported on; and scored on.
    epochs
        Epochs when they are given, so that nothing chooses.

    Raises
    ------
    FoldError
        When a session is in two places.
    """

    name: str
    variant: str
    repeat: int
    fold: int
    train: tuple[str, ...]
    inner: tuple[str, ...] = ()
    held_out: tuple[str, ...] = ()
    epochs: int | None = None

    def __post_init__(self) -> None:
        """Refuse sessions that are learnt from and scored."""
        both = sorted((set(self.train) & {*self.inner, *self.held_out}) | (set(self.inner) & set(self.held_out)))
        if both:
            raise FoldError(
                f"Sessions are learnt from and scored: {', '.join(both[:5])}.",
                where=f"round {self.name}",
                expected="Every session in one place only.",
                remedy="Run notebooks/03_stratify.ipynb again.",
            )


def list_rounds(phase: Phase, folds: pd.DataFrame, *, settings: PeopleTrainSettings) -> list[Round]:
    """List the trainings of a phase.

    Parameters
    ----------
    phase
        ``crossval``: variants by repeats by folds left out; ``final``: one that leaves no fold out.
    folds
        Table ``folds``; test sessions are not looked at.
    settings
        With ``select: inner`` a further fold is left out of training: in the cross-validation the next one (after the
        last comes the first), in ``final`` the last, unless its epochs are given.

    Returns
    -------
    list of Round
        By variant, repeat and fold; sessions in the order of their names.

    Raises
    ------
    FoldError
        When there are too few folds.
    SettingsError
        When a fold is to be left out that is no training fold.
    """
    own = folds[folds["role"] == "train"]
    numbers = sorted({int(number) for number in own["fold"]})
    members = {fold: tuple(sorted(map(str, own.loc[own["fold"] == fold, "session"]))) for fold in numbers}
    inner = settings.learning.select == "inner"
    if phase == "final":
        return [_list_final(numbers, members, settings, inner=inner and settings.final.epochs is None)]
    _check(numbers, least=3 if inner else 2)
    wanted = settings.crossval.folds or numbers
    strange = sorted(set(wanted) - set(numbers))
    if strange:
        raise SettingsError(
            f"train.crossval.folds names {', '.join(map(str, strange))}.",
            expected=f"Training folds: {', '.join(map(str, numbers))}.",
            remedy="Correct it; [] leaves each out in turn.",
        )
    rounds = []
    for variant in settings.crossval.variants:
        for repeat in range(settings.crossval.repeats):
            for fold in wanted:
                chooser = numbers[(numbers.index(fold) + 1) % len(numbers)] if inner else None
                rest = _join(members, [number for number in numbers if number not in (fold, chooser)])
                chosen = () if chooser is None else members[chooser]
                name = f"{variant}_repeat_{repeat}_fold_{fold}"
                rounds.append(Round(name, variant, repeat, fold, rest, chosen, members[fold]))
    return rounds


def _list_final(
    numbers: list[int], members: dict[int, tuple[str, ...]], settings: PeopleTrainSettings, *, inner: bool
) -> Round:
    _check(numbers, least=2 if inner else 1)
    last = numbers[-1] if inner else None
    rest = _join(members, [number for number in numbers if number != last])
    chosen = () if last is None else members[last]
    return Round("final", settings.final.variant, 0, -1, rest, chosen, epochs=settings.final.epochs)


def _join(members: dict[int, tuple[str, ...]], numbers: list[int]) -> tuple[str, ...]:
    return tuple(sorted(session for number in numbers for session in members[number]))


def _check(numbers: list[int], *, least: int) -> None:
    if len(numbers) < least:
        raise FoldError(
            f"There are {len(numbers)} training folds.",
            expected=f"{least} or more: one teaches, and each that scores or chooses the epoch is one more.",
            remedy="Use more folds, or set train.learning.select to 'last'.",
        )
