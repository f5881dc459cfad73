"""Scale features, and make them fewer, by what the training recordings show, and only by that."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray

from nbpkg import seeding
from nbpkg.datasets.valence.decompose import decompose
from nbpkg.datasets.valence.moments import measure, merge
from nbpkg.datasets.valence.recording import Recording
from nbpkg.errors import SettingsError, TableError, WeightsError

Scale = Literal["none", "range", "standard"]
_CONSTANT = 1e-10


@dataclass(frozen=True)
class Scaling:
    """What is done to one modality: ``x`` to components, then ``(x - shift) / divisor``.

    Parameters
    ----------
    width
        Features that come in.
    components
        float64 ``(k, width)``, or None when all features stay.
    shift, divisor
        float64, one for each feature that goes out; None without scaling.
    constant
        bool, one for each feature that goes out: the training recordings hold a single value of it.
    """

    width: int
    components: NDArray[np.float64] | None
    shift: NDArray[np.float64] | None
    divisor: NDArray[np.float64] | None
    constant: NDArray[np.bool_] | None

    @property
    def width_out(self) -> int:
        """Features that go out."""
        return self.width if self.components is None else len(self.components)


@dataclass(frozen=True)
class Preparation:
    """How features become the input of a network; see `fit_preparation`.

    Parameters
    ----------
    scale
        ``none``, ``range`` or ``standard``.
    scalings
        What is done to each modality, in the order of the network's input.
    sessions
        The recordings on which it was fitted, in order of name.
    seed
        The experiment's seed.
    """

    scale: Scale
    scalings: Mapping[str, Scaling]
    sessions: tuple[str, ...] = field(default=())
    seed: int = 0

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities, in the order of the network's input."""
        return tuple(self.scalings)

    @property
    def widths(self) -> dict[str, int]:
        """Features that go out of each modality."""
        return {modality: scaling.width_out for modality, scaling in self.scalings.items()}

    def apply(self, recording: Recording) -> dict[str, NDArray[np.float32]]:
        """Prepare one recording.

        Parameters
        ----------
        recording
            Any recording with these modalities; it may have more.

        Returns
        -------
        dict
            Modality to float32 ``(T, width)``, in the order of `modalities`; masked rows hold 0.

        Raises
        ------
        TableError
            When a modality is missing or has another width; session, modality and both widths are named.
        """
        prepared = {}
        for modality, scaling in self.scalings.items():
            rows = _rows(recording, modality, scaling.width)
            prepared[modality] = self._scale(rows, scaling)
            prepared[modality][~recording.present[modality]] = 0
        return prepared

    def _scale(self, rows: NDArray[np.float32], scaling: Scaling) -> NDArray[np.float32]:
        if scaling.components is None and scaling.shift is None:
            return np.array(rows, np.float32)
        values = rows.astype(np.float64)
        if scaling.components is not None:
            values = values @ scaling.components.T
        if scaling.shift is not None and scaling.divisor is not None and scaling.constant is not None:
            values = (values - scaling.shift) / scaling.divisor
            if self.scale == "range":
                values = values * 2 - 1
                values[:, scaling.constant] = -1
        return values.astype(np.float32)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return all numbers as tensors ``<modality>.<what>``, to be stored beside a network's weights."""
        tensors = {}
        for modality, scaling in self.scalings.items():
            for what in ("components", "shift", "divisor", "constant"):
                values = getattr(scaling, what)
                if values is not None:
                    tensors[f"{modality}.{what}"] = torch.from_numpy(values.copy())
        return tensors

    def facts(self) -> dict[str, Any]:
        """Return all that `tensors` does not hold, fit for JSON."""
        return {
            "scale": self.scale,
            "modalities": list(self.modalities),
            "widths_in": {modality: scaling.width for modality, scaling in self.scalings.items()},
            "widths": self.widths,
            "sessions": list(self.sessions),
            "seed": self.seed,
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> Self:
        """Rebuild a preparation from `tensors` and `facts`.

        Raises
        ------
        WeightsError
            When the two do not fit each other.
        """
        wanted: set[str] = set()
        scalings = {}
        for modality in facts["modalities"]:
            parts = {what: tensors.get(f"{modality}.{what}") for what in ("components", "shift", "divisor", "constant")}
            wanted |= {f"{modality}.{what}" for what, values in parts.items() if values is not None}
            arrays = {what: None if values is None else values.cpu().numpy() for what, values in parts.items()}
            scalings[modality] = Scaling(width=facts["widths_in"][modality], **arrays)
        found = cls(facts["scale"], scalings, tuple(facts["sessions"]), facts["seed"])
        scaled = all((scaling.shift is not None) == (found.scale != "none") for scaling in scalings.values())
        if found.widths != facts["widths"] or set(tensors) != wanted or not scaled:
            raise WeightsError(
                f"The stored preparation of {', '.join(scalings) or 'nothing'} does not fit its description.",
                expected=f"Widths {facts['widths']}, scale {facts['scale']!r}; found widths {found.widths} and "
                f"{', '.join(sorted(tensors)) or 'no numbers'}.",
                remedy="Take weights and card of the same training.",
            )
        return found


def fit_preparation(
    recordings: Sequence[Recording], modalities: Sequence[str], *, scale: Scale, reduce: Mapping[str, int], seed: int
) -> Preparation:
    """Learn from exactly these recordings how features are scaled and made fewer.

    Parameters
    ----------
    recordings
        The training recordings. Masked rows do not count; a recording that is there twice counts twice.
    modalities
        Which modalities, in the order of the network's input.
    scale
        ``none``; ``range``: to -1 .. 1 by ``(x - min) / (max - min) * 2 - 1``, a constant feature becomes -1;
        ``standard``: mean 0 and standard deviation 1, a constant feature is only shifted. Scaling follows `reduce`.
    reduce
        Modality to number of components (truncated singular value decomposition, not centred), e.g. of hashed words.
    seed
        The experiment's seed.

    Returns
    -------
    Preparation
        The same for the same recordings, whatever the machine has done before.

    Raises
    ------
    SettingsError
        When nothing is to be fitted on, or more components are asked for than there are features.
    TableError
        When a recording lacks a modality or has another width, or no recording has a row of a modality.

    Source: the published program scales by ``range`` over training and test recordings together, and divides by 1e-10
    where a feature is constant. Here a feature that is constant in training is -1 in every recording; by the published
    rule a held-out recording with another value would hold numbers of the order 1e10.
    """
    _check_request(recordings, modalities, reduce)
    scalings = {
        modality: _fit_modality(recordings, modality, scale=scale, components=reduce.get(modality), seed=seed)
        for modality in modalities
    }
    sessions = tuple(sorted({recording.session for recording in recordings}))
    return Preparation(scale, scalings, sessions, seed)


def _check_request(recordings: Sequence[Recording], modalities: Sequence[str], reduce: Mapping[str, int]) -> None:
    if not recordings or not modalities or len(set(modalities)) < len(modalities):
        raise SettingsError(
            f"Features cannot be prepared from {len(recordings)} recordings of "
            f"{', '.join(modalities) or 'no modality'}.",
            expected="At least one recording, and each modality once.",
            remedy="Correct the modalities, or the sessions to train on.",
        )
    for modality in reduce:
        if modality in modalities and reduce[modality] < 1:
            raise SettingsError(
                f"Modality {modality!r} cannot be reduced to {reduce[modality]} components.",
                expected="A whole number from 1.",
                remedy="Correct it in the parameter file.",
            )


def _fit_modality(
    recordings: Sequence[Recording], modality: str, *, scale: Scale, components: int | None, seed: int
) -> Scaling:
    width = recordings[0].widths.get(modality, -1)

    def rows() -> Iterator[NDArray[np.float32]]:
        for recording in recordings:
            yield _rows(recording, modality, width)[recording.present[modality]]

    counted = sum(map(len, rows()))  # holds every recording against the width, too
    if not counted:
        raise TableError(
            f"No training recording has a row of modality {modality!r}.",
            where=f"{len(recordings)} recordings, {recordings[0].session!r} first.",
            expected="Something seen or heard in at least one second.",
            remedy="Leave the modality out, or add its features.",
        )
    if components is not None and components > width:
        raise SettingsError(
            f"Modality {modality!r} is {width} wide and cannot be reduced to {components} components.",
            expected=f"At most {width}.",
            remedy="Ask for fewer components.",
        )
    vectors = None
    if components is not None:
        vectors = decompose(rows, width, components=components, seed=seeding.child(seed, "reduce", modality))
    plain = Scaling(width, vectors, None, None, None)
    return plain if scale == "none" else _fit_scale(plain, rows(), scale)


def _fit_scale(plain: Scaling, parts: Iterable[NDArray[np.float32]], scale: Scale) -> Scaling:
    found = merge([measure(part if plain.components is None else part @ plain.components.T) for part in parts])
    constant = found.constant
    if scale == "range":
        shift, divisor = found.least, np.where(constant, _CONSTANT, found.greatest - found.least)
    else:
        shift, divisor = np.where(constant, found.least, found.mean), np.where(constant, 1.0, found.std)
    return replace(plain, shift=shift, divisor=divisor, constant=constant)


def _rows(recording: Recording, modality: str, width: int) -> NDArray[np.float32]:
    if modality not in recording.features:
        raise TableError(
            f"Recording {recording.session!r} has no modality {modality!r}.",
            expected=f"One of {', '.join(recording.modalities) or 'nothing'}.",
            remedy="Correct the modalities in the parameter file, or bake the recordings again with this one.",
        )
    rows = recording.features[modality]
    if rows.shape[1] != width:
        raise TableError(
            f"Recording {recording.session!r}: modality {modality!r} is {rows.shape[1]} wide, others are {width} wide.",
            expected=f"{width} features in every recording.",
            remedy="Extract this modality of all videos with the same settings.",
        )
    return rows
