"""The published data set of recordings, known defects included (``compat: reference``)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nbpkg.annotations.valence.recordings import step_means, whole_ratio
from nbpkg.datasets.valence.segments import Batch, lengths_to_mask
from nbpkg.errors import SettingsError, TableError

_CONSTANT = 1e-10
Array = NDArray[Any]
Item = tuple[Array, ...]


@dataclass(frozen=True)
class PublishedRecording:
    """One recording as the published program reads it.

    Parameters
    ----------
    subject, story
        Who, and which story.
    features
        Modality to ``(rows, D)``, as read; the modalities may differ in length.
    valence
        float64 ``(steps, 1)``, mean of each second.
    original
        float64 ``(frames,)``, never cut.
    """

    subject: str
    story: str
    features: Mapping[str, Array]
    valence: Array
    original: Array


def load_published(
    valence_frames: NDArray[np.float64],
    features: Mapping[str, Array],
    *,
    subject: str,
    story: str,
    ratio: float,
    truncate: bool,
) -> PublishedRecording:
    """Read one recording.

    Parameters
    ----------
    valence_frames
        One value per frame.
    features
        Modality to its rows; axes beyond the first are flattened.
    subject, story
        Who, and which story.
    ratio
        Frames per step, a whole number; others drift in the published program and are refused here.
    truncate
        Whether features and valence are cut to the shortest; the published program does so with the training part only.
    """
    original = np.asarray(valence_frames, np.float64).reshape(-1)
    valence = step_means(original, ratio)[:, None]
    flat = {modality: rows.reshape(len(rows), -1) for modality, rows in features.items()}
    if truncate:
        shortest = min([len(valence), *map(len, flat.values())])
        valence = valence[:shortest]
        flat = {modality: rows[:shortest] for modality, rows in flat.items()}
    return PublishedRecording(subject, story, flat, valence, original)


class PublishedDataset:
    """Recordings and the items that are served from them.

    Parameters
    ----------
    recordings
        In the order of the names of their annotation files, as text.
    ratio
        Frames per step.
    parts
        Segments of each recording.
    normalise
        Whether `normalise` is called before the recordings are cut.

    Items are made once. `normalise` changes the recordings but not the items, as published: it shows only after
    `split`, `extract`, `augment` or `join`. The published training program joins copies, so that its flag does nothing.
    """

    def __init__(
        self, recordings: Sequence[PublishedRecording], *, ratio: float, parts: int = 1, normalise: bool = False
    ) -> None:
        self.recordings = list(recordings)
        self.ratio, self.parts = whole_ratio(ratio), parts
        if normalise:
            self.normalise()
        self._items = self._make_items()

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> Item:
        return self._items[index]

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities, in order."""
        return tuple(self.recordings[0].features)

    def normalise(self) -> None:
        """Scale features to -1 .. 1 over all recordings of this object; constants become -1, NaN spreads."""
        for modality in self.modalities:
            arrays = [recording.features[modality] for recording in self.recordings]
            least = np.min([rows.min(axis=0) for rows in arrays], axis=0)  # differences are taken as the features are
            greatest = np.max([rows.max(axis=0) for rows in arrays], axis=0)  # stored, only quotients in float64
            spread = np.where(greatest == least, _CONSTANT, (greatest - least).astype(np.float64))
            self.recordings = [
                replace(
                    recording,
                    features={
                        **recording.features,
                        modality: (recording.features[modality] - least) / spread * 2 - 1,
                    },
                )
                for recording in self.recordings
            ]

    def split(self, parts: int) -> PublishedDataset:
        """Cut every recording anew; each modality is cut by its own length, and parts may be empty."""
        return PublishedDataset(self.recordings, ratio=self.ratio, parts=parts)

    def join(self, other: PublishedDataset) -> PublishedDataset:
        """Put the recordings of another data set behind these.

        Raises
        ------
        SettingsError
            When the two differ in frames per step or in segments.
        """
        if (self.ratio, self.parts) != (other.ratio, other.parts):
            raise SettingsError(
                f"Data sets of {self.ratio} and {other.ratio} frames per step, in {self.parts} and {other.parts} "
                "segments, cannot be joined.",
                expected="The same in both.",
                remedy="Split both alike first.",
            )
        return PublishedDataset([*self.recordings, *other.recordings], ratio=self.ratio, parts=self.parts)

    def extract(
        self, *, stories: Collection[str] | None = None, subjects: Collection[str] | None = None
    ) -> tuple[PublishedDataset, PublishedDataset]:
        """Return the recordings of these stories and these subjects (None: all), and the rest, in order."""
        chosen: list[PublishedRecording] = []
        rest: list[PublishedRecording] = []
        for recording in self.recordings:
            meets = (stories is None or recording.story in stories) and (
                subjects is None or recording.subject in subjects
            )
            (chosen if meets else rest).append(recording)
        return (
            PublishedDataset(chosen, ratio=self.ratio, parts=self.parts),
            PublishedDataset(rest, ratio=self.ratio, parts=self.parts),
        )

    def augment(
        self, *, stories: Collection[str] | None = None, subjects: Collection[str] | None = None, copies: int = 5
    ) -> PublishedDataset:
        """Append the recordings of these stories and subjects `copies` times behind all."""
        chosen = self.extract(stories=stories, subjects=subjects)[0].recordings
        return PublishedDataset([*self.recordings, *chosen * copies], ratio=self.ratio, parts=self.parts)

    def fused(self, index: int) -> tuple[Array, Array]:
        """Return an item with all modalities beside each other.

        Raises
        ------
        TableError
            When they differ in length.
        """
        *arrays, valence = self[index]
        lengths = [len(rows) for rows in arrays]
        if len(set(lengths)) > 1:
            raise TableError(
                f"Item {index} has modalities of {', '.join(map(str, lengths))} rows.",
                expected="The same number of rows in each.",
                remedy="Read the recordings with truncation.",
            )
        return np.concatenate(arrays, axis=1), valence

    def _make_items(self) -> list[Item]:
        items: list[Item] = []
        for recording in self.recordings:
            cuts = [np.array_split(rows, self.parts) for rows in (*recording.features.values(), recording.valence)]
            items += zip(*cuts, strict=True)
        return items


def collate_published(items: Sequence[Item], modalities: Sequence[str]) -> Batch:
    """Put items into a batch: longest *first modality* first, padded with 0 up to the longest part of any item.

    Parameters
    ----------
    items
        Arrays of the modalities, then valence; lengths may differ within an item.
    modalities
        Their names.

    Returns
    -------
    Batch
        ``lengths`` are those of the longest part of each item, and may not descend. ``known`` is the mask: padded truth
        counts as 0, as published.
    """
    ordered = sorted(items, key=lambda item: len(item[0]), reverse=True)
    lengths = [max(map(len, item)) for item in ordered]
    padded = [_pad([item[place] for item in ordered], max(lengths)) for place in range(len(modalities) + 1)]
    mask = lengths_to_mask(lengths)
    inputs = dict(zip(modalities, padded[:-1], strict=True))
    steps = torch.arange(max(lengths))
    present = {
        name: steps < torch.tensor([len(item[place]) for item in ordered])[:, None]
        for place, name in enumerate(modalities)
    }
    return Batch(inputs, present, padded[-1], mask, mask, lengths)


def _pad(arrays: Sequence[Array], steps: int) -> torch.Tensor:
    block = np.zeros((len(arrays), steps, arrays[0].shape[1]), np.float32)
    for number, rows in enumerate(arrays):
        block[number, : len(rows)] = rows
    return torch.from_numpy(block)
