"""What valence training may see: recordings of training sessions, and how they are dealt into folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from nbpkg.datasets.valence.recording import Recording
from nbpkg.errors import FoldError, SettingsError


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
