"""Folds that leave out a story, a listener or an actor at a time, and what training and held-out sessions share."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import pandas as pd

from nbpkg import tables
from nbpkg.errors import FoldError

Scheme = Literal["story", "subject", "actor"]
COLUMNS = ["fold", "what", "shared", "n", "meaning"]
# what a score on held-out sessions is worth when they share this with the training sessions, and when they do not
MEANING = {
    "subject": ("Listeners are known: the score holds for new stories, not for new listeners.", "Listeners are new."),
    "story": ("Stories are known: a second may be recognised by its place in the story.", "Stories are new."),
    "actor": ("Actors are known: voice and face of the teller were seen in training.", "Actors are new."),
    "annotation": ("The same annotation stands in both: one of them is a copy.", "No annotation is a copy."),
}


def deal_sequences(
    recordings: pd.DataFrame,
    *,
    scheme: Scheme = "story",
    test_parts: Sequence[str] = (),
    test_stories: Sequence[str] = (),
    stories: Sequence[str] = (),
    subjects: Sequence[str] = (),
) -> pd.DataFrame:
    """Make a fold of each story, subject or actor, and one more of the sessions that are kept for the test.

    Parameters
    ----------
    recordings
        Table ``recordings``.
    scheme
        What a fold is: ``story`` as published, ``subject``, or ``actor``, who may tell several stories.
    test_parts, test_stories
        Sessions of these parts and stories, and hidden ones, are kept for the test.
    stories
        Stories that are trained on; empty for all. Others, unless kept for the test, are in no fold.
    subjects
        Subjects used at all; empty for all.

    Returns
    -------
    pandas.DataFrame
        Table ``folds``: folds 0, 1, … in natural order of the stories (subjects, actors), then the test fold if there
        are test sessions; within each the order of `recordings`.

    Raises
    ------
    FoldError
        When a name is unknown, an actor is unknown, a story is both for training and for the test, or fewer than two
        training folds come out.

    Source
    ------
    desmond-ong/cheem-omg-empathy, ``multimodal/crossval.py`` (stories only).
    """
    named = {"test_parts": ("part", test_parts), "test_stories": ("story", test_stories)}
    named |= {"stories": ("story", stories), "subjects": ("subject", subjects)}
    for setting, (column, names) in named.items():
        _refuse_unknown(recordings, column, names, setting=setting)
    _refuse_both(sorted(set(stories) & set(test_stories), key=_natural), "named in stories and in test_stories")
    used = recordings[recordings["subject"].isin(list(subjects))] if subjects else recordings
    test = used["part"].isin(list(test_parts)) | used["story"].isin(list(test_stories)) | used["hidden"]
    wanted = used["story"].isin(list(stories)) if stories else pd.Series(True, index=used.index)
    train = used[~test & wanted]
    if scheme == "story":
        _refuse_both(sorted(set(train["story"]) & set(used.loc[test, "story"]), key=_natural), "in both")
    if scheme == "actor":
        _refuse_unknown_actors(train)
    groups = sorted(set(train[scheme]), key=_natural)
    if len(groups) < 2:
        raise FoldError(
            f"There are training sessions of {len(groups)} {_plural(scheme)} only: {', '.join(groups) or 'none'}.",
            expected=f"At least two {_plural(scheme)} beside those kept for the test.",
            remedy="Name fewer stories, subjects or parts in stratify, or add annotations.",
        )
    place = {group: number for number, group in enumerate(groups)}
    dealt = pd.concat([train.assign(fold=train[scheme].map(place)), used[test].assign(fold=len(groups))])
    table = dealt.assign(
        group=dealt[scheme].replace("", "unknown"), role=np.where(dealt["fold"] < len(groups), "train", "test")
    )
    return check_sequence_folds(table.sort_values("fold", kind="stable")[["session", "group", "fold", "role"]])


def check_sequence_folds(folds: pd.DataFrame) -> pd.DataFrame:
    """Hold a ``folds`` table of sequences against its contract.

    Other than `nbpkg.folds.check_folds` it lets a listener or actor be in a training fold and in the test fold: in
    published lists they are, and `find_sequence_leakage` says so.

    Raises
    ------
    FoldError
        Naming sessions in two folds, groups in two training folds, and folds that are both for training and for test.
    """
    spread = folds.groupby("session")["fold"].nunique()
    twice = sorted(spread.index[spread > 1])
    if twice:
        raise FoldError(
            f"{len(twice)} sessions are in two folds: {', '.join(twice[:5])}.",
            expected="Each session in one fold.",
            remedy="Make the folds again, or correct the table by hand.",
        )
    table = tables.check(folds, "folds")
    train = table[table["role"] == "train"]
    spread = train.groupby("group")["fold"].nunique()
    split = sorted(spread.index[spread > 1], key=_natural)
    both = sorted(set(train["fold"]) & set(table.loc[table["role"] == "test", "fold"]))
    if split or both:
        raise FoldError(
            f"Fold {both[0]} is both for training and for the test."
            if both
            else f"{', '.join(split[:5])} {'is' if len(split) == 1 else 'are'} in two training folds.",
            expected="All sessions of what is left out together in one fold.",
            remedy="Make the folds again, or correct the table by hand.",
        )
    return table


def find_sequence_leakage(
    recordings: pd.DataFrame, folds: pd.DataFrame, *, hashes: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """List what the training sessions of each fold share with the sessions left out.

    Parameters
    ----------
    recordings
        Table ``recordings``.
    folds
        Table ``folds``. Of a training fold the training sessions are all other training folds; of the test fold, all.
    hashes
        Session to hash of its annotation: copies under another name are found too. Hidden sessions do not count.

    Returns
    -------
    pandas.DataFrame
        fold, what (subject, story, actor, annotation), shared (names, between semicolons; sessions where annotations
        are identical), n (how many) and meaning; a row also where nothing is shared.

    Raises
    ------
    FoldError
        When a session is in two folds, or is not described.
    """
    table = check_sequence_folds(folds)
    lacking = sorted(set(table["session"]) - set(recordings["session"]))
    if lacking:
        raise FoldError(
            f"{len(lacking)} sessions of the folds are not described: {', '.join(lacking[:5])}.",
            remedy="Describe and deal the same sessions.",
        )
    described = recordings[["session", "subject", "story", "actor", "hidden"]]
    joined = table[["session", "fold", "role"]].merge(described, on="session", validate="one_to_one")
    rows = []
    for fold in sorted(table["fold"].unique()):
        held = joined[joined["fold"] == fold]
        train = joined[(joined["role"] == "train") & (joined["fold"] != fold)]
        for what in ("subject", "story", "actor"):
            shared = sorted((set(train[what]) & set(held[what])) - {""}, key=_natural)
            unknown = bool(what == "actor" and (pd.concat([train, held])["actor"] == "").any())
            rows.append(_leakage_row(int(fold), what, shared, unknown=unknown))
        if hashes is not None:
            rows.append(_leakage_row(int(fold), "annotation", _find_copies(train, held, hashes)))
    return pd.DataFrame(rows, columns=COLUMNS)


def session_grid(recordings: pd.DataFrame, folds: pd.DataFrame) -> pd.DataFrame:
    """Arrange folds by subject and story, to be drawn as a grid.

    Parameters
    ----------
    recordings
        Table ``recordings``.
    folds
        Table ``folds``.

    Returns
    -------
    pandas.DataFrame
        A row per subject, a column per story, both in natural order; the number of the fold, -1 for a session in no
        fold, and missing where there is no session.
    """
    joined = recordings[["session", "subject", "story"]].merge(folds[["session", "fold"]], on="session", how="left")
    joined["fold"] = joined["fold"].fillna(-1).astype("Int64")
    grid = joined.set_index(["subject", "story"])["fold"].unstack()  # noqa: PD010 -- nothing to aggregate
    return grid.loc[sorted(grid.index, key=_natural), sorted(grid.columns, key=_natural)]


def _leakage_row(fold: int, what: str, shared: Sequence[str], *, unknown: bool = False) -> dict[str, object]:
    meaning = MEANING[what][0 if shared else 1]
    if unknown:
        meaning = meaning if shared else "Actors are not known for all stories, so they may be shared."
    return {"fold": fold, "what": what, "shared": "; ".join(shared), "n": len(shared), "meaning": meaning}


def _find_copies(train: pd.DataFrame, held: pd.DataFrame, hashes: Mapping[str, str]) -> list[str]:
    owners: dict[str, list[str]] = {}
    for session in train.loc[~train["hidden"], "session"]:
        if session in hashes:
            owners.setdefault(hashes[session], []).append(session)
    return [
        f"{session} = {owner}"
        for session in held.loc[~held["hidden"], "session"]
        for owner in owners.get(hashes.get(session, ""), [])
    ]


def _refuse_unknown(recordings: pd.DataFrame, column: str, names: Sequence[str], *, setting: str) -> None:
    known = sorted(set(recordings[column]), key=_natural)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise FoldError(
            f"stratify.{setting} names {', '.join(unknown)}.",
            expected=f"Some of {', '.join(known)}.",
            remedy=f"Correct stratify.{setting}.",
        )


def _refuse_both(stories: Sequence[str], where: str) -> None:
    if stories:
        many = len(stories) > 1
        raise FoldError(
            f"Stor{'ies' if many else 'y'} {', '.join(stories)} {'are' if many else 'is'} for training and for the "
            f"test ({where}).",
            expected="All sessions of a story in one fold.",
            remedy="Name it in stratify.test_stories only, move the files to one part, or use another scheme.",
        )


def _refuse_unknown_actors(train: pd.DataFrame) -> None:
    unknown = sorted(set(train.loc[train["actor"] == "", "story"]), key=_natural)
    if unknown:
        raise FoldError(
            f"Nobody says who tells story {', '.join(unknown)}.",
            expected="An actor for each training story.",
            remedy="Add them to the list of actors (parse.actors), or use scheme story.",
        )


def _plural(scheme: Scheme) -> str:
    return "stories" if scheme == "story" else f"{scheme}s"


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Give the key by which 2 comes before 10, and text behind numbers."""
    parts = [part for part in re.split(r"([0-9]+)", name) if part]
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]
