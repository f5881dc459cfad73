"""What valence training may see: recordings of training sessions, and how they are dealt into folds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from nbpkg.baking.valence import read_baked
from nbpkg.datasets.valence.recording import Recording
from nbpkg.errors import FoldError, SettingsError
from nbpkg.runs.files import check_hashes, read_json


class BakedRecordings(Mapping[str, Recording]):
    """Recordings of stage 04, each read when first asked for; another process gets the folder, not the arrays.

    Parameters
    ----------
    folder
        Run folder of stage 04.
    sessions
        What may be read.

    Raises
    ------
    StageError
        When a file is missing or was changed since stage 04 made it.
    """

    def __init__(self, folder: Path, sessions: Sequence[str]) -> None:
        remedy = "Run notebooks/04_bake.ipynb again; it makes only what is missing."
        check_hashes(folder, read_json(folder / "recordings.json"), what="recordings", remedy=remedy)
        self.folder, self.sessions = folder, tuple(sessions)
        self._read: dict[str, Recording] = {}

    def __getitem__(self, session: str) -> Recording:
        if session not in self._read:
            if session not in self.sessions:
                raise KeyError(session)
            self._read |= read_baked(self.folder, [session])
        return self._read[session]

    def __iter__(self) -> Iterator[str]:
        return iter(self.sessions)

    def __len__(self) -> int:
        return len(self.sessions)

    def __getstate__(self) -> dict[str, object]:
        return {"folder": self.folder, "sessions": self.sessions, "_read": {}}


def keep_baked(folds: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Leave out of the table ``folds`` the sessions that stage 04 left out for want of a modality.

    Parameters
    ----------
    folds
        Table ``folds`` of stage 03.
    folder
        Run folder of stage 04, which said which it left out and why.

    Raises
    ------
    FoldError
        When none is left.
    """
    baked = {Path(name).stem for name in read_json(folder / "recordings.json")}
    kept = folds[folds["session"].isin(baked)].reset_index(drop=True)
    if kept.empty:
        raise FoldError(
            f"None of {len(folds)} sessions of the folds was baked.",
            remedy="Run notebooks/04_bake.ipynb again, with bake.incomplete 'mask'.",
        )
    return kept


@dataclass(frozen=True)
class ValenceMaterial:
    """All that valence training may see.

    Parameters
    ----------
    recordings
        Training sessions only, by name.
    folds
        Table ``folds`` of the training sessions only; ``group`` is the story, subject or actor.
    modalities
        Those used, in the order in which the network takes them.
    ratio
        Annotated frames of a step.
    system
        Name of this way of answering: the experiment's.
    data
        Data folder, in which files of weights are named; None when none is.

    Raises
    ------
    FoldError
        When a session is no training session, has no fold, or its truth is withheld; when a group is in two folds.
    SettingsError
        When a modality is asked for that the recordings lack.
    """

    recordings: Mapping[str, Recording]
    folds: pd.DataFrame
    modalities: tuple[str, ...]
    ratio: int
    system: str
    data: Path | None = None

    def __post_init__(self) -> None:
        """Refuse what training must not see."""
        allowed = set(self.folds.loc[self.folds["role"] == "train", "session"])
        strange = sorted({*self.recordings, *self.folds["session"]} - allowed)
        if strange:
            raise FoldError(
                f"Training must not see these sessions: {', '.join(strange[:5])}.",
                expected="Sessions with the role 'train' only; test sessions are looked at once, in notebook 06.",
                remedy="Select the training part of recordings and folds.",
            )
        lacking = sorted(allowed - set(self.recordings))
        if lacking:
            raise FoldError(
                f"Sessions are in a fold but were not baked: {', '.join(lacking[:5])}.",
                remedy="Run notebooks/04_bake.ipynb again.",
            )
        split = self.folds.groupby("group")["fold"].nunique()
        if (split > 1).any():
            raise FoldError(
                f"What is left out together is in several folds: {', '.join(map(str, split[split > 1].index[:5]))}.",
                expected="All sessions of a story, subject or actor in one fold.",
                remedy="Run notebooks/03_stratify.ipynb again.",
            )

    @property
    def subjects(self) -> dict[str, str]:
        """Subject of each session, by session."""
        return {session: self.recordings[session].subject for session in sorted(self.recordings)}

    def take(self, sessions: Sequence[str]) -> list[Recording]:
        """Return the recordings of some sessions, in this order.

        Raises
        ------
        FoldError
            When there is nothing to learn from in one of them.
        SettingsError
            When one lacks a modality.
        """
        found = [self.recordings[session] for session in sessions]
        hidden = [one.session for one in found if one.hidden]
        if hidden:
            raise FoldError(
                f"The truth of these sessions is withheld: {', '.join(hidden[:5])}.",
                expected="Training sessions with an annotation.",
                remedy="Put their part into folds.test_parts, or correct annotation.hidden.",
            )
        for one in found:
            missing = [name for name in self.modalities if name not in one.features]
            if missing:
                raise SettingsError(
                    f"{one.session} has no modality {', '.join(missing)}.",
                    expected=f"All of {', '.join(self.modalities)}; it has {', '.join(one.features)}.",
                    remedy="Correct train.modalities, or bake these modalities.",
                )
        return found
