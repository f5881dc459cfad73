"""One recording: what was heard, said and seen in each second, and the valence that the listener reported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nbpkg.errors import TableError


@dataclass(frozen=True)
class Recording:
    """One video, aligned: every part has one row per step (second).

    Parameters
    ----------
    session
        Name of the video, ``Subject_<s>_Story_<t>``.
    subject, story
        The listener, and the story that was told.
    part
        ``Training``, ``Validation`` or ``Testing``.
    actor
        Who told the story; empty when unknown.
    features
        Modality to float32 ``(T, D)``, in the order of the experiment; missing rows hold 0.
    present
        Modality to bool ``(T,)``: whether anything was seen or heard in that second.
    valence
        float64 ``(T,)``, mean of the frames of each second; NaN where there is no value, everywhere when hidden.
    original
        float64 ``(frames,)``, as annotated; never cut. NaN everywhere when hidden, so that only its length tells.
    hidden
        Whether the truth is withheld: there is nothing to score.

    Raises
    ------
    TableError
        When two parts differ in length; session and modality are named.
    """

    session: str
    subject: str
    story: str
    part: str
    actor: str
    features: Mapping[str, NDArray[np.float32]]
    present: Mapping[str, NDArray[np.bool_]]
    valence: NDArray[np.float64]
    original: NDArray[np.float64]
    hidden: bool

    def __post_init__(self) -> None:
        if self.valence.ndim != 1 or self.original.ndim != 1 or not len(self.valence):
            raise TableError(
                f"Recording {self.session!r} has valence of shapes {self.valence.shape} and {self.original.shape}.",
                expected="One value per step and one per frame, at least one of each.",
                remedy="Bake the recordings again.",
            )
        if list(self.features) != list(self.present):
            raise TableError(
                f"Recording {self.session!r} has features of {', '.join(self.features) or 'nothing'}, "
                f"but says of {', '.join(self.present) or 'nothing'} when they are there.",
                expected="The same modalities in the same order.",
                remedy="Bake the recordings again.",
            )
        for modality, rows in self.features.items():
            _check_modality(self, modality, rows)

    @property
    def steps(self) -> int:
        """Number of steps T."""
        return len(self.valence)

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities, in order."""
        return tuple(self.features)

    @property
    def widths(self) -> dict[str, int]:
        """How many features each modality has."""
        return {modality: rows.shape[1] for modality, rows in self.features.items()}


def _check_modality(recording: Recording, modality: str, rows: NDArray[np.float32]) -> None:
    present = recording.present[modality]
    if rows.ndim != 2 or len(rows) != recording.steps or present.shape != (recording.steps,):
        raise TableError(
            f"Recording {recording.session!r}: modality {modality!r} has features {rows.shape} and mask "
            f"{present.shape}, valence has {recording.steps} steps.",
            expected="The same number of rows in all parts.",
            remedy="Align them first (align_recording), or bake the recordings again.",
        )
    if rows.dtype != np.float32 or present.dtype != np.bool_:
        raise TableError(
            f"Recording {recording.session!r}: modality {modality!r} is {rows.dtype} with mask {present.dtype}.",
            expected="float32 and bool.",
            remedy="Bake the recordings again.",
        )
