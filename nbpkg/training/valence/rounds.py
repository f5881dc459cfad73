"""The rounds of valence training: which sessions each one learns from, chooses its epoch by, and is scored on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from nbpkg.errors import FoldError, SettingsError

Select = Literal["inner", "epoch", "held_out", "last"]


@dataclass(frozen=True)
class Round:
    """One training.

    Parameters
    ----------
    name
        Of its files and rows.
    fold
        Fold left out; -1 for none.
    train
        Sessions learnt from, in order; a session that stands there several times counts several times.
    inner
        Sessions that choose the epoch, which are neither learnt from nor reported on.
    held_out
        Sessions it is scored on.
    subject
        Whose network it is; empty for everybody's.
    reason
        Why it cannot be trained; else empty.
    """

    name: str
    fold: int
    train: tuple[str, ...]
    inner: tuple[str, ...] = ()
    held_out: tuple[str, ...] = ()
    subject: str = ""
    reason: str = ""

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


def list_crossval(folds: pd.DataFrame, *, select: Select) -> list[Round]:
    """List the rounds of a cross-validation, one for each training fold left out.

    Parameters
    ----------
    folds
        Table ``folds`` of the training sessions.
    select
        With ``inner`` the next fold (after the last comes the first) is left out of training, too: it chooses the
        epoch, so that the fold reported on has no say.

    Returns
    -------
    list of Round
        ``fold_<k>``, by fold; sessions in the order of their names, as the published program has its files.

    Raises
    ------
    FoldError
        When there are too few folds.
    """
    numbers = sorted(set(folds["fold"].tolist()))
    least = 3 if select == "inner" else 2
    if len(numbers) < least:
        raise FoldError(
            f"There are {len(numbers)} training folds.",
            expected=f"{least} or more: one is scored{', one chooses the epoch' if least == 3 else ''}, one teaches.",
            remedy="Use more folds, or set train.crossval.select to 'epoch'.",
        )
    members = {fold: tuple(sorted(own["session"])) for fold, own in folds.groupby("fold")}
    rounds = []
    for place, fold in enumerate(numbers):
        chooser = numbers[(place + 1) % len(numbers)] if select == "inner" else None
        rest = sorted(session for other in numbers if other not in (fold, chooser) for session in members[other])
        inner = () if chooser is None else members[chooser]
        rounds.append(Round(f"fold_{fold}", int(fold), tuple(rest), inner, members[fold]))
    return rounds


def list_final(
    subjects: Mapping[str, str], *, chosen: Sequence[str] = (), augment: int = 0, held_out: Sequence[str] = ()
) -> Round:
    """List what the network for the test sessions learns from.

    Parameters
    ----------
    subjects
        Subject of each training session.
    chosen
        Subjects learnt from alone, or with `augment` beside everybody; empty for all.
    augment
        Further copies of the chosen subjects' sessions, behind everybody's.
    held_out
        Sessions to be scored on instead.

    Raises
    ------
    SettingsError
        When a subject or session is not there, or nothing is left to learn from.
    """
    known = set(subjects.values())
    _refuse("subjects", [name for name in chosen if name not in known], known)
    _refuse("sessions", [name for name in held_out if name not in subjects], set(subjects))
    if augment and not chosen:
        raise SettingsError(
            f"train.final.augment is {augment}, but no subject is named.",
            expected="Subjects whose sessions are repeated.",
            remedy="Name them in train.final.subjects, or set augment to 0.",
        )
    rest = sorted(session for session in subjects if session not in set(held_out))
    train = emphasise(rest, [name for name in rest if subjects[name] in set(chosen)], augment) if chosen else rest
    if not train:
        raise SettingsError(
            "Nothing is left to learn from.",
            expected="Training sessions of the subjects named.",
            remedy="Correct train.final.subjects.",
        )
    scored = [name for name in sorted(held_out) if not chosen or subjects[name] in set(chosen)]
    return Round("final", -1, tuple(train), (), tuple(scored))


def list_personal(
    subjects: Mapping[str, str], *, outer: Sequence[Round], augment: int = 0, named: str = "subject_{}"
) -> list[Round]:
    """List the rounds of personal training: for every subject, and for each round that it begins with.

    Parameters
    ----------
    subjects
        Subject of each training session.
    outer
        Rounds whose networks are gone on with: of what they learnt from (and, where there is an inner fold, what chose
        their epoch) the subject's sessions are learnt from, of what they left out the subject's are scored.
    augment
        With 0 the subject's sessions alone; else everybody's, and as many further copies of the subject's.
    named
        Name of a round, with a place for the subject; of several outer rounds each adds its own name.

    Returns
    -------
    list of Round
        By subject (numbers in order of size), then by outer round. A subject without sessions to learn from, or
        without one to be scored on where others have some, is listed with the reason.
    """
    rounds = []
    for subject in sorted(set(subjects.values()), key=_by_number):
        for one in outer:
            name = named.format(subject) + (f"_{one.name}" if len(outer) > 1 else "")
            rest = sorted({*one.train, *one.inner})
            own = [session for session in rest if subjects[session] == subject]
            scored = tuple(session for session in one.held_out if subjects[session] == subject)
            reason = "" if own else "the subject has no session to learn from"
            if one.held_out and not scored:
                reason = "the subject has no session among those left out"
            train = emphasise(rest, own, augment) if augment and own else own
            rounds.append(Round(name, one.fold, tuple(train), (), scored, subject, reason))
    return rounds


def emphasise(everybody: Sequence[str], chosen: Sequence[str], copies: int) -> list[str]:
    """Return the chosen sessions alone, or with `copies` everybody's and behind them as many blocks of the chosen."""
    return [*everybody, *(session for _ in range(copies) for session in chosen)] if copies else list(chosen)


def _by_number(name: str) -> tuple[int, int, str]:
    return (0, int(name), name) if name.isdecimal() else (1, 0, name)


def _refuse(what: str, strange: Sequence[str], known: set[str]) -> None:
    if strange:
        raise SettingsError(
            f"There are no such {what} to train with: {', '.join(sorted(strange)[:5])}.",
            expected=f"Some of {', '.join(sorted(known, key=_by_number)[:20])}.",
            remedy="Correct the parameter file.",
        )
