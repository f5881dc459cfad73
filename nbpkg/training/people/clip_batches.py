"""Clips as networks take them: frames or skeletons chosen, brought to size, mirrored, normalised, read ahead."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol, TypeVar

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from nbpkg import seeding
from nbpkg.datasets.people import images
from nbpkg.datasets.people.pose import Pose, arrange_persons
from nbpkg.datasets.people.pose_maps import PoseMaps, draw_maps, prepare_maps
from nbpkg.datasets.people.pose_streams import prepare_runs
from nbpkg.datasets.people.sampling import SampleFrames, UniformSampleFrames, find_short_clips
from nbpkg.errors import MediaError, Problem
from nbpkg.models.people.families import find_name
from nbpkg.models.people.rgb.facts import RgbFacts, find_rgb_network
from nbpkg.settings.people import PeopleNetworkSettings
from nbpkg.training.people.material import PeopleFacts, PeopleMaterial, locate_clips
from nbpkg.training.people.networks import is_painted
from nbpkg.training.people.variants import Item, Varying

READERS = 2  # threads that read ahead; more only take time from the network where there is no GPU
FLIP = 0.5
SQUARE = (1000, 1000)  # pixels of pictures whose size is not known: skeletons are in shares of the picture
Read = TypeVar("Read")


class Reader(Protocol):
    """What makes a network's input of a clip."""

    def draw(self, item: Item, epoch: int, *, seed: int) -> tuple[torch.Tensor, ...]:
        """Return the input for training, with a leading axis of one view."""

    def look(self, item: Item, views: int) -> tuple[torch.Tensor, ...]:
        """Return the input for an answer, with a leading axis of views; always the same."""


class FrameReader:
    """Frames of clips for a network of clips.

    Parameters
    ----------
    settings
        Frames, interval and size of the network.
    material
        Clips and frame stores.
    varying
        Makes copies of training clips; None when there are none.
    """

    def __init__(
        self, settings: PeopleNetworkSettings, material: PeopleMaterial, *, varying: Varying | None = None
    ) -> None:
        self.settings, self.stores, self.varying = settings, material.stores, varying
        self.facts: RgbFacts = find_rgb_network(find_name(settings.name))
        lengths = {name: len(material.stores[name]) for name in _sessions(material, material.stores, "frames")}
        self.spans = locate_clips(material.clips, material.media, lengths)
        self.sessions = _pair(material.clips)

    def draw(self, item: Item, epoch: int, *, seed: int) -> tuple[torch.Tensor, ...]:
        """As `Reader.draw`: frames, copy, size, mirroring."""
        draws = seeding.generator(seed, "clip", *item, epoch)
        numbers = self._choose(item, draws, views=1, test=False)
        frames = self._read(item, numbers)
        if images.draw_flip(draws, FLIP):
            frames = images.flip(frames)
        return (self._shape(frames, numbers.shape[1]),)

    def look(self, item: Item, views: int) -> tuple[torch.Tensor, ...]:
        """As `Reader.look`: views at even places; of a network over single frames always one."""
        numbers = self._choose(item, np.random.default_rng(0), views=views, test=True)
        return (self._shape(self._read(item, numbers), numbers.shape[1]),)

    def look_at(self, frames: NDArray[np.uint8]) -> torch.Tensor:
        """Bring frames ``[T, H, W, 3]`` of one view to the network's input, with a leading axis of one view."""
        size = self.settings.size
        return self._shape(images.resize(frames, (size, size)), len(frames))

    def _choose(self, item: Item, draws: np.random.Generator, *, views: int, test: bool) -> NDArray[np.int64]:
        """Return numbers of frames of the clip ``[views, T]``."""
        total, how = self.spans[item.sample].frames, self.settings
        if self.facts.layout == "segments":
            return SampleFrames(1, runs=how.frames, test=test).choose(total, draws).reshape(1, -1)
        return SampleFrames(how.frames, how.interval, runs=views, test=test).choose(total, draws)

    def _read(self, item: Item, numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Read frames ``[runs * length, h, w, 3]``; one that is wanted twice is read once."""
        session, size = self.sessions[item.sample], (self.settings.size, self.settings.size)
        wanted, places = np.unique(numbers + self.spans[item.sample].first, return_inverse=True)
        frames = self.stores[session].frames(wanted)
        if item.copy and self.varying is not None:
            frames = self.varying.make(frames, item, session=session, numbers=wanted)
        return images.resize(frames, size)[places.reshape(-1)]

    def _shape(self, frames: NDArray[np.uint8], length: int) -> torch.Tensor:
        values = images.normalise(frames, self.facts.mean, self.facts.std)
        if self.facts.layout == "segments":
            pictures = images.shape_pictures(values)
            return torch.from_numpy(pictures.reshape(-1, length, *pictures.shape[1:]))
        return torch.from_numpy(images.shape_clips(values, length))


class SkeletonReader:
    """Skeletons of clips for a graph network, each role in a place of its own, or as maps of heat.

    Parameters
    ----------
    settings
        Frames of the network, which are spread over the clip; size of maps.
    material
        Clips and skeletons.
    facts
        Places of people.
    """

    def __init__(self, settings: PeopleNetworkSettings, material: PeopleMaterial, *, facts: PeopleFacts) -> None:
        self.settings, self.material, self.facts = settings, material, facts
        self.painted = is_painted(settings.name)
        lengths = {name: material.poses[name].shape[1] for name in _sessions(material, material.poses, "skeletons")}
        self.spans = locate_clips(material.clips, material.media, lengths)
        self.sessions = _pair(material.clips)
        self.places = _place_people(material.people, facts)
        self.sizes = _list_sizes(material.media)

    def draw(self, item: Item, epoch: int, *, seed: int) -> tuple[torch.Tensor, ...]:
        """As `Reader.draw`: frames; of maps also part and mirroring."""
        draws, pose = seeding.generator(seed, "clip", *item, epoch), self._take(item)
        if self.painted:
            integers = random.Random(seeding.child(seed, "part", *item, epoch))
            return (torch.from_numpy(draw_maps(pose, draws, integers, self._paint(1))),)
        return self._stack(pose, UniformSampleFrames(self.settings.frames, portion=(1.0, 1.0)), draws)

    def look(self, item: Item, views: int) -> tuple[torch.Tensor, ...]:
        """As `Reader.look`: runs drawn with a seed of their own, as published."""
        pose = self._take(item)
        if self.painted:
            return (torch.from_numpy(prepare_maps(pose, self._paint(views))),)
        runs = UniformSampleFrames(self.settings.frames, runs=views, test=True)
        return self._stack(pose, runs, np.random.default_rng(0))

    def _stack(self, pose: Pose, sampling: UniformSampleFrames, draws: np.random.Generator) -> tuple[torch.Tensor, ...]:
        made = prepare_runs(pose, draws, sampling=sampling, persons=self.facts.places)
        return torch.from_numpy(made.values), torch.from_numpy(made.present)

    def _paint(self, views: int) -> PoseMaps:
        side = self.settings.size
        return PoseMaps(length=self.settings.frames, runs=views, side=side, train_side=side)

    def _take(self, item: Item) -> Pose:
        session, span = self.sessions[item.sample], self.spans[item.sample]
        values = self.material.poses[session][:, span.first : span.first + span.frames]
        height, width = self.sizes.get(session, SQUARE)
        pose = Pose(values[..., :2] * np.array([width, height], np.float32), values[..., 2], (height, width))
        places = self.places.get(session, list(range(len(values))))
        return arrange_persons(pose, (places + [-1] * len(values))[: len(values)], count=self.facts.places)


def find_short(settings: PeopleNetworkSettings, material: PeopleMaterial) -> list[Problem]:
    """List clips that are shorter than what a network of clips sees of them at once, as warnings."""
    if find_rgb_network(find_name(settings.name)).layout == "segments":
        return []
    spans = FrameReader(settings, material).spans
    sampling = SampleFrames(settings.frames, settings.interval, test=True)
    return find_short_clips(sampling, {name: span.frames for name, span in spans.items()})


def read_ahead(read: Callable[[int], Read], count: int, *, threads: int = READERS) -> Iterator[Read]:
    """Give what is read, in order, while the next is being read already.

    Parameters
    ----------
    read
        Reads number 0, 1, ...; in threads, so that it must change nothing.
    count
        How many.
    threads
        How many read, and how many wait to be used.
    """
    with ThreadPoolExecutor(threads) as pool:
        waiting: list[Future[Read]] = []
        try:
            for number in range(count):
                waiting.append(pool.submit(read, number))
                if len(waiting) > threads:
                    yield waiting.pop(0).result()
            while waiting:
                yield waiting.pop(0).result()
        finally:
            for one in waiting:
                one.cancel()


def _list_sizes(media: pd.DataFrame | None) -> dict[str, tuple[int, int]]:
    """Return height and width of each session's pictures."""
    rows = [] if media is None else media.to_dict("records")
    return {str(row["session"]): (int(row["height"]), int(row["width"])) for row in rows}


def _pair(clips: pd.DataFrame) -> dict[str, str]:
    return dict(zip(map(str, clips["sample_id"]), map(str, clips["session"]), strict=True))


def _sessions(material: PeopleMaterial, known: object, what: str) -> Sequence[str]:
    names = sorted({str(name) for name in material.clips["session"]})
    lost = [name for name in names if name not in known]  # type: ignore[operator]
    if lost:
        raise MediaError(
            f"There are no {what} of {', '.join(lost[:5])}.",
            expected=f"{what.capitalize()} of every session that has a clip.",
            remedy="Run notebooks/02_prepare.ipynb again.",
        )
    return names


def _place_people(people: pd.DataFrame | None, facts: PeopleFacts) -> dict[str, list[int]]:
    """Return the place of each person of each session, by role; -1 for one whose role has none."""
    if people is None or not facts.roles:
        return {}
    found: dict[str, list[int]] = {}
    known = {role: place for place, role in enumerate(facts.roles)}
    for row in people[["session", "person", "who"]].drop_duplicates().to_dict("records"):
        places, person = found.setdefault(str(row["session"]), []), int(row["person"])
        places += [-1] * (person + 1 - len(places))
        places[person] = known.get(str(row["who"]), -1)
    return found
