"""Decision-level fusion: support vector regression on what several systems hold of each second.

A system's features of a session that it learnt from look better than those of a new session. So the regression is
fitted on features out of fold: each training session as seen by the round that left it out. Those rounds are different
networks, which begin alike but end apart, so one column need not mean the same in all of them; answers in the place of
features (`take_answers`) do. What cannot be had without training a network for every pair of folds: rounds that left
out a training session have learnt from the session now held out.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg import tables
from nbpkg.datasets.valence.recording import Recording
from nbpkg.errors import FoldError, Problem, SettingsError, TableError, raise_all
from nbpkg.runs.files import new_file

Features = NDArray[np.float32]
Array = NDArray[np.float64]
Source = Literal["out_of_fold", "in_fold"]
FINAL = -1


@dataclass(frozen=True)
class FusionRound:
    """What one training of a system holds of every session.

    Parameters
    ----------
    name
        Of the training.
    fold
        Fold left out; -1 for the training on all folds.
    held_out
        Sessions that it neither learnt from nor chose its epoch by.
    features
        Session to (T, E), one row per second.
    """

    name: str
    fold: int
    held_out: tuple[str, ...]
    features: Mapping[str, Features]


@dataclass(frozen=True)
class FusionSystem:
    """A system to be fused: its name, and its rounds."""

    name: str
    rounds: tuple[FusionRound, ...]


@dataclass(frozen=True)
class FusionData:
    """What decision-level fusion may see.

    Parameters
    ----------
    systems
        What is fused, in order; names differ.
    recordings
        Session to its recording: truth and length. Its own features are not used.
    folds
        Table ``folds``. Test sessions are only answered.

    Raises
    ------
    TableError
        Listing systems of one name, sessions that a round lacks or holds in another length, and unlike widths.
    """

    systems: tuple[FusionSystem, ...]
    recordings: Mapping[str, Recording]
    folds: pd.DataFrame

    def __post_init__(self) -> None:
        """Refuse what would be fused wrongly in silence."""
        names = [system.name for system in self.systems]
        if not names or len(set(names)) < len(names):
            raise TableError(
                f"The systems to fuse are {', '.join(map(repr, names)) or 'none'}.",
                expected="One system or more, each with a name of its own.",
                remedy="Give each system once, or name them apart.",
            )
        lost = sorted(set(self.folds["session"]) - set(self.recordings))
        if lost:
            raise FoldError(f"Sessions are in a fold but were not baked: {', '.join(lost[:5])}.")
        problems = [one for system in self.systems for one in _find_unlike(system, self.recordings)]
        raise_all(problems, TableError, summary="features cannot be fused")

    def sessions(self, *, fold: int | None = None, role: str = "train") -> list[str]:
        """List sessions of a role by name; of one fold, or of all."""
        own = self.folds[self.folds["role"] == role]
        return sorted(own.loc[own["fold"] == fold, "session"] if fold is not None else own["session"])

    def held_out_features(self, sessions: Sequence[str]) -> dict[str, Array]:
        """Put together each session's features from the rounds that left it out, (T, sum of widths)."""
        return {session: self._join(session, None) for session in sessions}

    def round_features(self, sessions: Sequence[str], *, fold: int) -> dict[str, Array]:
        """Put together each session's features from the rounds that left one fold out, (T, sum of widths)."""
        return {session: self._join(session, fold) for session in sessions}

    def _join(self, session: str, fold: int | None) -> Array:
        return np.concatenate([_pick(system, session, fold) for system in self.systems], axis=1).astype(np.float64)


def name_systems(folders: Sequence[str | Path], names: Sequence[str] | None = None) -> dict[str, Path]:
    """Name the folders of systems, by their last part unless named; a slash at the end changes nothing.

    Parameters
    ----------
    folders
        One folder for each system.
    names
        As many names; None for the folders' own.

    Raises
    ------
    SettingsError
        When counts differ, or a name is empty, repeats, or is no folder name.
    """
    paths = [Path(folder) for folder in folders]
    given = [path.name for path in paths] if names is None else [name.strip() for name in names]
    twice = sorted({name for name in given if given.count(name) > 1})
    wrong = [name for name in given if name in ("", ".", "..") or "/" in name or "\\" in name]
    if not paths or len(given) != len(paths) or twice or wrong:
        raise SettingsError(
            f"{len(paths)} systems are called {', '.join(map(repr, given)) or 'nothing'}.",
            where=", ".join(map(str, folders)),
            expected="As many names as folders, each different, none empty.",
            remedy="Name the systems apart.",
        )
    return dict(zip(given, paths, strict=True))


def read_system(folder: Path, networks: Mapping[str, Any], *, name: str = "") -> FusionSystem:
    """Read the features of all rounds of a system.

    Parameters
    ----------
    folder
        ``features/<system>``, with a file for each round.
    networks
        Content of its ``networks.json``.
    name
        What it is called in the fusion; empty for its own name.
    """
    rounds = [
        FusionRound(
            str(one["round"]), int(one["fold"]), tuple(one["held_out"]), read_features(folder / f"{one['round']}.npz")
        )
        for one in networks["networks"]
    ]
    return FusionSystem(name or str(networks["system"]), tuple(rounds))


def take_answers(predictions: pd.DataFrame, folds: pd.DataFrame) -> FusionSystem:
    """Take a system's answers in the place of its features: one column, which means the same in all rounds.

    Parameters
    ----------
    predictions
        Table ``valence_predictions`` of one system: training sessions held out, test sessions from the final network.
    folds
        Table ``folds``.

    Raises
    ------
    TableError
        When there are several systems, or an answer to a training session was not held out.
    """
    names = sorted(set(predictions["system"]))
    fold = dict(zip(folds["session"], folds["fold"], strict=True))
    train = set(folds.loc[folds["role"] == "train", "session"])
    seen = sorted(set(predictions.loc[predictions["role"] == "train", "session"]) & train)
    if len(names) != 1 or seen:
        raise TableError(
            f"{seen[0]} was learnt from when it was answered." if seen else f"There are {len(names)} systems.",
            where="table 'valence_predictions'",
            expected="Answers of one system, to training sessions by the round that left them out.",
            remedy="Take the answers of the cross-validation.",
        )
    ordered = predictions.sort_values(["session", "step"])
    answers = {
        str(session): rows["predicted"].to_numpy(np.float32)[:, None] for session, rows in ordered.groupby("session")
    }
    rounds = []
    for number in (FINAL, *sorted({fold[one] for one in answers if one in train})):
        own = [
            one for one in answers if (one not in train if number == FINAL else one in train and fold[one] == number)
        ]
        held = tuple(own) if number != FINAL else ()
        rounds.append(FusionRound(f"answers of fold {number}", number, held, {one: answers[one] for one in own}))
    return FusionSystem(names[0], tuple(rounds))


def write_features(features: Mapping[str, Features], path: Path) -> Path:
    """Write the late-fusion features of one round of one system, ``features/<system>/<round>.npz``, complete or not.

    Parameters
    ----------
    features
        Session to (T, E), a row per second: what the network holds before its last layers (`embed`).
    path
        The file; its folder is made.

    Raises
    ------
    TableError
        When a session's features are no table of finite numbers, or widths differ.
    """
    for session, rows in features.items():
        _check_features(session, rows, path)
    widths = {rows.shape[1] for rows in features.values()}
    if len(widths) > 1:
        raise TableError(
            f"Sessions have features of {len(widths)} widths: {', '.join(map(str, sorted(widths)))}.",
            where=str(path),
            expected="One network's features, of one width.",
        )
    with new_file(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for session, rows in sorted(features.items()):
            with archive.open(f"{session}.npy", "w") as stream:  # no time of day is stored: same features, same bytes
                np.lib.format.write_array(stream, np.ascontiguousarray(rows, np.float32), allow_pickle=False)
    return path


def read_features(path: Path) -> dict[str, Features]:
    """Read what `write_features` wrote: session to (T, E) float32.

    Raises
    ------
    TableError
        When the file is not there, cannot be read, or holds what is no table of finite numbers.
    """
    if not path.is_file():
        raise TableError(
            "The features of a system are not there.",
            where=str(path),
            remedy="Run the training that dumps them, with features switched on.",
        )
    try:
        with np.load(path, allow_pickle=False) as content:
            found = {name: content[name] for name in content.files}
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise TableError(f"The features cannot be read: {error}.", where=str(path), remedy="Make them again.") from None
    for session, rows in found.items():
        _check_features(session, rows, path)
    return {session: rows.astype(np.float32, copy=False) for session, rows in found.items()}


def tabulate_answers(
    answers: Mapping[str, Array], recordings: Mapping[str, Recording], *, system: str, name: str, role: str
) -> pd.DataFrame:
    """Put answers into table ``valence_predictions``; hidden sessions get role ``hidden``.

    Parameters
    ----------
    answers
        Session to [T].
    recordings
        Who and what, and the truth.
    system, name, role
        Columns system, round and role.
    """
    rows = []
    for session, predicted in answers.items():
        one = recordings[session]
        who = {"system": system, "round": name, "role": "hidden" if one.hidden else role, "session": session}
        who |= {"subject": one.subject, "story": one.story}
        truth = np.full(len(predicted), np.nan) if one.hidden else one.valence
        rows.append(pd.DataFrame({**who, "step": np.arange(len(predicted)), "truth": truth, "predicted": predicted}))
    return tables.check(pd.concat(rows), "valence_predictions") if rows else tables.empty("valence_predictions")


def _pick(system: FusionSystem, session: str, fold: int | None) -> Features:
    """Find a session's features: of the round that left it out (`fold` None), or of the round that left `fold` out."""
    wanted = [one for one in system.rounds if (session in one.held_out if fold is None else one.fold == fold)]
    if len(wanted) != 1 or session not in wanted[0].features:
        asked = (
            f"left out {session}"
            if fold is None
            else "learnt from all folds"
            if fold == FINAL
            else f"left out fold {fold}"
        )
        raise TableError(
            f"System {system.name!r} has {len(wanted) or 'no'} round{'s' * (len(wanted) > 1)} that {asked}."
            if len(wanted) != 1
            else f"Round {wanted[0].name!r} of system {system.name!r} has no features of {session}.",
            expected="One such round, with features of every session that is fused.",
            remedy="Dump the features of all rounds, for test sessions those of the final network.",
        )
    return wanted[0].features[session]


def _find_unlike(system: FusionSystem, recordings: Mapping[str, Recording]) -> list[Problem]:
    """Find features that do not fit their session, and rounds of several widths."""
    found = []
    widths = {rows.shape[1] for one in system.rounds for rows in one.features.values()}
    if len(widths) > 1:
        found.append(Problem(f"It has features of widths {', '.join(map(str, sorted(widths)))}.", file=system.name))
    for one in system.rounds:
        where = f"{system.name}, {one.name}"
        for session, rows in one.features.items():
            steps = len(recordings[session].valence) if session in recordings else len(rows)
            if len(rows) != steps:
                found.append(
                    Problem(
                        f"{session} has {len(rows)} seconds of features and {steps} of truth.",
                        expected="A row for every second.",
                        remedy="Dump the features again from the same baked recordings.",
                        file=where,
                    )
                )
    return found


def _check_features(session: str, rows: Features, path: Path) -> None:
    if rows.ndim != 2 or not rows.size or not np.isfinite(rows).all():
        raise TableError(
            f"The features of session {session!r} are of shape {rows.shape}, or hold what is no number.",
            where=str(path),
            expected="Finite numbers, a row per second and a column per feature.",
        )
