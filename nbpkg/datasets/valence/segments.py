"""Cut recordings into segments and put segments into batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from nbpkg import seeding
from nbpkg.datasets.valence.preparation import Preparation
from nbpkg.datasets.valence.recording import Recording
from nbpkg.errors import Problem, SettingsError


@dataclass(frozen=True)
class Segment:
    """Some consecutive steps of one recording, prepared.

    Parameters
    ----------
    inputs
        Modality to float32 ``(T, D)``, in the order of the network's input.
    present
        Modality to bool ``(T,)``.
    valence
        float32 ``(T,)``, NaN where there is no value.
    """

    inputs: Mapping[str, Tensor]
    present: Mapping[str, Tensor]
    valence: Tensor


@dataclass(frozen=True)
class Batch:
    """Segments side by side, longest first, the shorter ones padded with 0.

    Parameters
    ----------
    inputs
        Modality to float32 ``(B, T, D)``.
    present
        Modality to bool ``(B, T)``; False in padding.
    valence
        float32 ``(B, T, 1)``; 0 where there is no value.
    mask
        bool ``(B, T, 1)``: the step is no padding. This is what a network is given.
    known
        bool ``(B, T, 1)``: the step is no padding and has a value. Only these count in a loss.
    lengths
        Steps of each segment, descending.
    """

    inputs: dict[str, Tensor]
    present: dict[str, Tensor]
    valence: Tensor
    mask: Tensor
    known: Tensor
    lengths: list[int]

    def to(self, device: torch.device) -> Batch:
        """Return the same batch on a device."""
        return Batch(
            {modality: values.to(device) for modality, values in self.inputs.items()},
            {modality: values.to(device) for modality, values in self.present.items()},
            self.valence.to(device),
            self.mask.to(device),
            self.known.to(device),
            self.lengths,
        )


def split_recording(
    recording: Recording, prepared: Mapping[str, NDArray[np.float32]], *, parts: int = 1
) -> list[Segment]:
    """Cut a recording into `parts` segments that differ by at most one step, the longer ones first.

    Parameters
    ----------
    recording
        The recording.
    prepared
        Its features as `Preparation.apply` gives them.
    parts
        How many; 1 takes the recording whole. A recording of fewer steps gives as many segments as it has steps.

    Returns
    -------
    list of Segment
        In order of time. The tensors share memory with `prepared`.
    """
    valence = torch.from_numpy(recording.valence.astype(np.float32))
    inputs = {modality: torch.from_numpy(rows) for modality, rows in prepared.items()}
    present = {modality: torch.from_numpy(np.array(recording.present[modality])) for modality in prepared}
    return [
        Segment(
            {modality: rows[start:end] for modality, rows in inputs.items()},
            {modality: rows[start:end] for modality, rows in present.items()},
            valence[start:end],
        )
        for start, end in cut(recording.steps, parts)
    ]


def cut(steps: int, parts: int) -> list[tuple[int, int]]:
    """Return first and last (exclusive) step of each part; empty parts are left out.

    Examples
    --------
    >>> cut(7, 3), cut(2, 3)
    ([(0, 3), (3, 5), (5, 7)], [(0, 1), (1, 2)])
    """
    if parts < 1:
        raise SettingsError(f"A recording cannot be cut into {parts} parts.", expected="A whole number from 1.")
    least, longer = divmod(steps, parts)
    ends = np.cumsum([least + (number < longer) for number in range(parts)]).tolist()
    return [(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True) if end > start]


def note_short(recordings: Sequence[Recording], *, parts: int) -> list[Problem]:
    """Say of which recordings there are fewer segments than asked for.

    Parameters
    ----------
    recordings
        The recordings.
    parts
        Segments asked for of each.

    Returns
    -------
    list of Problem
        Warnings, one for each recording shorter than `parts` steps.
    """
    return [
        Problem(
            f"The recording has {recording.steps} steps and was to be cut into {parts} segments; empty ones are left "
            "out.",
            file=recording.session,
            severity="warning",
        )
        for recording in recordings
        if recording.steps < parts
    ]


def collate(items: Sequence[Segment]) -> Batch:
    """Put segments into a batch: longest first by the first modality, equal ones in the order given.

    Parameters
    ----------
    items
        At least one segment, all of the same modalities and widths.

    Returns
    -------
    Batch
        Padded to the longest.
    """
    ordered = sorted(items, key=lambda item: len(next(iter(item.inputs.values()))), reverse=True)
    lengths = [len(item.valence) for item in ordered]
    valence = pad_sequence([item.valence for item in ordered], batch_first=True, padding_value=torch.nan)[..., None]
    known = ~valence.isnan()
    modalities = list(ordered[0].inputs)
    return Batch(
        {name: pad_sequence([item.inputs[name] for item in ordered], batch_first=True) for name in modalities},
        {name: pad_sequence([item.present[name] for item in ordered], batch_first=True) for name in modalities},
        valence.nan_to_num(0.0),
        lengths_to_mask(lengths),
        known,
        lengths,
    )


def lengths_to_mask(lengths: Sequence[int]) -> Tensor:
    """Return bool ``(B, T, 1)``: whether a step lies before its segment's end; T is the greatest length."""
    steps = torch.arange(max(lengths))
    return (steps[None, :] < torch.tensor(lengths)[:, None])[..., None]


@dataclass(frozen=True)
class Stack:
    """All segments at once: the steps of all recordings below each other, and where each segment lies.

    A batch is one selection of rows for each modality. The last row is padding.

    Parameters
    ----------
    inputs
        Modality to float32 ``(steps + 1, D)``.
    present
        Modality to bool ``(steps + 1,)``.
    valence
        float32 ``(steps + 1,)``, 0 where there is no value.
    known
        bool ``(steps + 1,)``: there is a value.
    starts, lengths
        First row and number of steps of each segment, int64, on the CPU.
    """

    inputs: dict[str, Tensor]
    present: dict[str, Tensor]
    valence: Tensor
    known: Tensor
    starts: Tensor
    lengths: Tensor

    def __len__(self) -> int:
        return len(self.starts)

    def to(self, device: torch.device) -> Stack:
        """Return the same stack on a device, from which batches then come."""
        return Stack(
            {modality: values.to(device) for modality, values in self.inputs.items()},
            {modality: values.to(device) for modality, values in self.present.items()},
            self.valence.to(device),
            self.known.to(device),
            self.starts,
            self.lengths,
        )

    def batch(self, segments: Tensor) -> Batch:
        """Return the batch of these segments (int64), the same as `collate` makes of them."""
        chosen = segments[self.lengths[segments].argsort(descending=True, stable=True)]
        lengths = self.lengths[chosen]
        steps = torch.arange(int(lengths[0]))
        mask = steps < lengths[:, None]
        padding = len(self.valence) - 1
        rows = (self.starts[chosen][:, None] + steps).where(mask, padding).flatten().to(self.valence.device)
        shape = mask.shape
        return Batch(
            {name: values.index_select(0, rows).view(*shape, -1) for name, values in self.inputs.items()},
            {name: values.index_select(0, rows).view(shape) for name, values in self.present.items()},
            self.valence.index_select(0, rows).view(*shape, 1),
            mask[..., None].to(self.valence.device),
            self.known.index_select(0, rows).view(*shape, 1),
            lengths.tolist(),
        )


def stack_recordings(recordings: Sequence[Recording], preparation: Preparation, *, parts: int) -> Stack:
    """Prepare recordings and lay all their segments down, once for a whole training.

    Parameters
    ----------
    recordings
        The recordings; one that is there several times (see `augment`) has its segments several times, but is held
        in memory once.
    preparation
        Fitted on the training recordings.
    parts
        Segments of each recording.

    Returns
    -------
    Stack
        Segments in order of recordings and time.
    """
    single = {recording.session: recording for recording in recordings}
    places = np.cumsum([0, *(recording.steps for recording in single.values())])
    firsts = dict(zip(single, places.tolist(), strict=False))
    rows = int(places[-1]) + 1
    inputs = {name: torch.zeros(rows, width) for name, width in preparation.widths.items()}
    present = {name: torch.zeros(rows, dtype=torch.bool) for name in preparation.widths}
    valence = torch.full((rows,), torch.nan)
    for session, recording in single.items():
        own = slice(firsts[session], firsts[session] + recording.steps)
        valence[own] = torch.from_numpy(recording.valence.astype(np.float32))
        for name, values in preparation.apply(recording).items():
            inputs[name][own] = torch.from_numpy(values)
            present[name][own] = torch.from_numpy(np.array(recording.present[name]))
    spans = [
        (firsts[recording.session] + start, end - start)
        for recording in recordings
        for start, end in cut(recording.steps, parts)
    ]
    starts, lengths = torch.tensor(spans, dtype=torch.int64).reshape(-1, 2).unbind(1)
    return Stack(inputs, present, valence.nan_to_num(0.0), ~valence.isnan(), starts, lengths)


def batches(items: Stack, *, batch_size: int, shuffle: bool, seed: int, epoch: int) -> Iterator[Batch]:
    """Give all segments once, in batches; the last one may be smaller.

    Parameters
    ----------
    items
        The segments.
    batch_size
        Segments per batch.
    shuffle
        Whether the order is drawn, else as they lie.
    seed, epoch
        The experiment's seed and the number of the epoch: the same two give the same batches, whatever came before.

    Yields
    ------
    Batch
        On the device of `items`.
    """
    order = torch.arange(len(items))
    if shuffle:
        generator = torch.Generator().manual_seed(seeding.child(seed, "segments", epoch))
        order = torch.randperm(len(items), generator=generator)
    for chosen in order.split(batch_size):
        yield items.batch(chosen)
