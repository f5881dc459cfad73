"""How a network of clips sees a clip of a frame store, and where boxes of people lie in what it sees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from nbpkg import seeding
from nbpkg.attention.people.film import Frames, to_pictures
from nbpkg.datasets.people.sampling import SampleFrames
from nbpkg.models.people.rgb.facts import RgbFacts
from nbpkg.models.people.rgb.views import Averaging
from nbpkg.settings.people import PeopleNetworkSettings
from nbpkg.training.people.clip_batches import FrameReader
from nbpkg.training.people.material import PeopleMaterial
from nbpkg.training.people.variants import Item


class Seen(NamedTuple):
    """A clip as its network sees it.

    Parameters
    ----------
    views
        Normalised, ``[views, 3, T, H, W]``; of networks over single frames ``[views, S, 3, H, W]``.
    numbers
        Frame of the store that each picture is of, ``[views, T]``.
    facts
        Of the network.
    average
        How scores of the views are averaged.
    """

    views: torch.Tensor
    numbers: NDArray[np.int64]
    facts: RgbFacts
    average: Averaging

    def pictures(self) -> Frames:
        """Return the pictures of all views, one view after the other, uint8 RGB ``[views * T, H, W, 3]``."""
        segments = self.facts.layout == "segments"
        return np.ascontiguousarray(to_pictures(self.views, self.facts.mean, self.facts.std, segments=segments))

    def place(self, boxes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Turn boxes ``[..., 4]`` in shares of the frame to pixels of the pictures, which are whole frames squeezed."""
        height, width = self.views.shape[-2:]
        return np.asarray(boxes * [width, height, width, height], dtype=np.float64)


Look = Callable[[Any], Seen]  # a row with the columns sample_id and session to what the network sees


def look_at_clips(
    settings: PeopleNetworkSettings, material: PeopleMaterial, *, device: torch.device | str = "cpu"
) -> Look:
    """Return how a network of clips sees clips when it answers.

    Parameters
    ----------
    settings
        Of the network, as it was trained; all its views are seen.
    material
        Clips and frame stores, those of the clips to be explained among them.
    device
        Where the network is.

    Raises
    ------
    SettingsError
        When it is no network of clips.
    MediaError
        When a frame store is missing.
    """
    reader = FrameReader(settings, material)
    single = reader.facts.layout == "segments"
    runs = SampleFrames(1, 1, settings.frames) if single else SampleFrames(settings.frames, settings.interval)
    sampling = replace(runs, runs=settings.frames if single else settings.views, test=True)

    def look(row: Any) -> Seen:
        sample = str(row.sample_id)
        span = reader.spans[sample]
        (views,) = reader.look(Item(sample, 0), settings.views)
        numbers = sampling.choose(span.frames, seeding.generator(0)) + span.first  # tests draw nothing
        return Seen(views.to(device), numbers.reshape(len(views), -1), reader.facts, settings.average)

    return look
