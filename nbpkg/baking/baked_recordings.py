"""Recordings as stage 04 baked them, for whoever reads them: training, evaluation, explanations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from nbpkg.baking.valence import read_baked
from nbpkg.datasets.valence.recording import Recording
from nbpkg.errors import FoldError
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
