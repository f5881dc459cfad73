"""What training over face tracks may see: faces with labels and crops, what is known of each, and features if baked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg.baking.looking import BakedFaces, open_baked
from nbpkg.datasets.looking.windows import Windows, list_windows
from nbpkg.errors import FoldError, StageError
from nbpkg.features.looking.packs import CropPacks
from nbpkg.folds.looking import chooser_fold

Faces = NDArray[Any]


@dataclass(frozen=True)
class FaceMaterial:
    """All that is known of some face tracks.

    Parameters
    ----------
    footage, tracks
        Tables of these names.
    faces, priors, quality
        Structured arrays with a row for each face of all tracks, see `nbpkg.annotations.looking.faces`,
        `nbpkg.features.looking.priors` and `nbpkg.features.looking.quality`.
    crops
        Pictures of the faces.
    folds
        Table ``folds`` of the clips; ``group`` is the full video.
    baked
        Features of the crops; None where the network of faces is trained with the rest.
    fps
        Frames per second of the annotation.
    system
        Name of this way of answering: the experiment's.
    data
        Data folder, in which files of weights are named.

    Raises
    ------
    FoldError
        When a clip has no fold.
    """

    footage: pd.DataFrame
    tracks: pd.DataFrame
    faces: Faces
    priors: Faces
    quality: Faces
    crops: CropPacks
    folds: pd.DataFrame
    baked: BakedFaces | None
    fps: Fraction
    system: str
    data: Path

    def __post_init__(self) -> None:
        lost = sorted(set(self.tracks["session"]) - set(self.folds["session"]))
        if lost:
            raise FoldError(
                f"Clips have no fold: {', '.join(lost[:5])}.",
                expected="Each clip with tracks in a fold.",
                remedy="Run notebooks/03_stratify.ipynb again.",
            )

    def of_folds(self, *roles: Literal["train", "test"]) -> FaceMaterial:
        """Return what belongs to clips with these roles."""
        folds = self.folds[self.folds["role"].isin(roles)].reset_index(drop=True)
        return self._only(folds)

    def of_sessions(self, sessions: Sequence[str]) -> FaceMaterial:
        """Return what belongs to these clips."""
        return self._only(self.folds[self.folds["session"].isin(list(sessions))].reset_index(drop=True))

    def _only(self, folds: pd.DataFrame) -> FaceMaterial:
        footage = self.footage[self.footage["session"].isin(folds["session"])].reset_index(drop=True)
        tracks = self.tracks[self.tracks["session"].isin(folds["session"])].reset_index(drop=True)
        return replace(self, folds=folds, footage=footage, tracks=tracks)

    @cached_property
    def choosing(self) -> list[str]:
        """Clips of the training fold that chooses epochs."""
        fold = chooser_fold(self.folds)
        return self.folds.loc[(self.folds["fold"] == fold) & (self.folds["role"] == "train"), "session"].tolist()

    def list_windows(
        self, sessions: Sequence[str], *, stride: int, labelled: bool, keep: NDArray[np.bool_] | None = None
    ) -> Windows:
        """List the windows of some clips.

        Parameters
        ----------
        sessions
            Clips.
        stride
            Faces of a track from one window to the next.
        labelled
            Whether faces of which nothing is known are left out.
        keep
            Which faces may be asked about; None for all.
        """
        tracks = self.tracks[self.tracks["session"].isin(list(sessions))]
        found = list_windows(tracks, self.faces, crop=self.priors["crop"], stride=stride, keep=keep)
        return found.pick(np.flatnonzero(found.label >= 0)) if labelled else found

    def describe(self, rows: NDArray[np.int64]) -> pd.DataFrame:
        """Say whose faces some rows of `faces` are: session, track, person, frame, box and label."""
        starts = self.tracks["offset"].to_numpy(np.int64)
        order = np.argsort(starts, kind="stable")
        place = order[np.searchsorted(starts[order], rows, side="right") - 1]
        own = self.tracks.iloc[place][["session", "track", "person"]].reset_index(drop=True)
        faces = self.faces[rows]
        columns = {name: faces[name] for name in ("frame", "x0", "y0", "x1", "y1", "label")}
        return own.assign(**columns)


def open_material(
    tables: Mapping[str, pd.DataFrame],
    *,
    parsed: Path,
    prepared: Path,
    baked: Path,
    fps: str,
    system: str,
    data: Path,
) -> FaceMaterial:
    """Put together what earlier stages made; pictures are read when they are used.

    Parameters
    ----------
    tables
        ``footage``, ``tracks`` and ``folds``; tracks of clips without a fold are left out.
    parsed, prepared, baked
        Run folders of stages 01, 02 and 04.
    fps
        Of the annotation, frames per second as a fraction.
    system, data
        As in `FaceMaterial`.

    Raises
    ------
    StageError
        When arrays of several stages do not belong together.
    """
    faces, priors = np.load(parsed / "faces.npy", mmap_mode="r"), np.load(prepared / "priors.npy", mmap_mode="r")
    quality = np.load(baked / "quality.npy", mmap_mode="r")
    sizes = {"faces.npy (01)": len(faces), "priors.npy (02)": len(priors), "quality.npy (04)": len(quality)}
    if len(set(sizes.values())) > 1:
        raise StageError(
            f"Stages do not speak of the same faces: {', '.join(f'{name} has {n}' for name, n in sizes.items())}.",
            expected="One row for each face in all of them.",
            remedy="Run the notebooks again from 02 on.",
        )
    folds, tracks = tables["folds"], tables["tracks"]
    kept = tracks[tracks["session"].isin(folds["session"])].reset_index(drop=True)
    return FaceMaterial(
        footage=tables["footage"],
        tracks=kept,
        faces=faces,
        priors=priors,
        quality=quality,
        crops=CropPacks(prepared / "crops", kept),
        folds=folds,
        baked=open_baked(baked),
        fps=Fraction(fps),
        system=system,
        data=data,
    )
