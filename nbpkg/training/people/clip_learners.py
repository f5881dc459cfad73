"""How networks of clips and skeletons learn, clip by clip, and answer from several views."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from nbpkg import seeding
from nbpkg.datasets.people.balance import BalancedSampler
from nbpkg.models.people.families import family_of
from nbpkg.models.people.rgb.views import Averaging, average_views
from nbpkg.settings.people import PeopleTrainSettings
from nbpkg.training.people.clip_batches import FrameReader, Reader, SkeletonReader, read_ahead
from nbpkg.training.people.learners import (
    ConversationLearner,
    Learner,
    Pass,
    Probabilities,
    Setting,
    StepsLearner,
)
from nbpkg.training.people.material import PeopleFacts
from nbpkg.training.people.networks import keep_widths
from nbpkg.training.people.optimiser import Stepper
from nbpkg.training.people.variants import Item, Varying, list_copies


class ClipLearner:
    """A network that sees clips by themselves.

    Parameters
    ----------
    network
        On its device.
    setting
        Material and settings.
    reader
        What makes its input.
    train
        Stage settings: class balance, copies, and how views are averaged.
    held_out
        Clips that must have no varied copy; None for a network that only answers.
    """

    def __init__(
        self,
        network: nn.Module,
        setting: Setting,
        *,
        reader: Reader,
        train: PeopleTrainSettings,
        held_out: Sequence[str] | None,
    ) -> None:
        self.network, self.setting, self.reader, self.train = network, setting, reader, train
        self.held_out = tuple(held_out or ())
        self.average: Averaging = train.network.average

    def count_batches(self, items: Sequence[str]) -> int:
        """As `Learner.count_batches`."""
        return len(_cut(len(self._list(items)), self.setting.batch_size))

    def epoch(self, items: Sequence[str], epoch: int, *, stepper: Stepper) -> Pass:
        """As `Learner.epoch`."""
        order = self._order(items, epoch)
        places = _cut(len(order), self.setting.batch_size)
        batches = len(places)

        def read(number: int) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
            part = order[places[number]]
            inputs = [self.reader.draw(item, epoch, seed=self.setting.seed) for item in part]
            labels = self.setting.material.take_labels([item.sample for item in part])
            return _join(inputs), torch.from_numpy(labels)

        self.network.train()
        data_s = step_s = 0.0
        begun = time.perf_counter()
        for number, (inputs, labels) in enumerate(read_ahead(read, batches)):
            there = time.perf_counter()
            stepper.enter((epoch - 1) * batches + number)
            self._learn(inputs, labels, stepper)
            data_s, step_s, begun = data_s + there - begun, step_s + time.perf_counter() - there, time.perf_counter()
        return self.setting.loss.finish(data_s, step_s)

    @torch.no_grad()
    def answer(self, items: Sequence[str], *, views: int = 1) -> Probabilities:
        """As `Learner.answer`."""
        self.network.eval()

        def read(number: int) -> tuple[torch.Tensor, ...]:
            return self.reader.look(Item(items[number]), views)

        found = []
        for inputs in read_ahead(read, len(items)):
            parts = zip(*(part.split(self.setting.batch_size) for part in inputs), strict=True)
            scores = torch.cat([self.network(*(one.to(self.setting.device) for one in part)) for part in parts])
            averaged = average_views(scores.float(), len(scores), self.average)
            found.append((averaged if self.average == "prob" else averaged.softmax(dim=1)).cpu().numpy())
        return np.concatenate(found)

    def _learn(self, inputs: tuple[torch.Tensor, ...], labels: torch.Tensor, stepper: Stepper) -> None:
        loss, device = self.setting.loss, self.setting.device
        labels = labels.to(device)
        summed = loss.add_up(self.network(*(part.to(device) for part in inputs)), labels)
        weight = loss.measure(labels)
        if weight > 0:
            (summed / weight).backward()  # type: ignore[no-untyped-call]
            stepper.step()

    def _list(self, items: Sequence[str]) -> list[Item]:
        labels = self.setting.material.take_labels(items).tolist()
        seed = self.setting.seed
        return list_copies(items, labels, settings=self.train.augment, seed=seed, held_out=self.held_out)

    def _order(self, items: Sequence[str], epoch: int) -> list[Item]:
        """Return the clips of an epoch in its order: each once, or classes as often as was asked for."""
        own, power = self._list(items), self.train.learning.class_power
        if power is None:
            order = seeding.generator(self.setting.seed, "order", epoch).permutation(len(own))
        else:
            labels = self.setting.material.take_labels([item.sample for item in own]).tolist()
            sampler = BalancedSampler(labels, power=power, seed=self.setting.seed)
            sampler.set_epoch(epoch)
            order = sampler.order()
        return [own[place] for place in order.tolist()]


def build_learner(
    network: nn.Module,
    setting: Setting,
    *,
    train: PeopleTrainSettings,
    variant: str,
    facts: PeopleFacts,
    held_out: Sequence[str] | None = None,
) -> Learner:
    """Give a network what it looks at.

    Parameters
    ----------
    network
        From `nbpkg.training.people.networks.build_people_network`.
    setting
        Material, batches, loss, seed, device; the network is put on the device.
    train
        Settings of the stage.
    variant, facts
        What the network was built with.
    held_out
        Clips that must have no varied copy; None for a network that only answers.

    Raises
    ------
    SettingsError
        When the material or a plug-in lacks something.
    MediaError
        When frames or skeletons of a session are missing, or a clip lies behind the end of its video.
    """
    family = family_of(train.network.name)
    network = network.to(setting.device)
    if family == "conversation":
        return ConversationLearner(network, setting)  # type: ignore[arg-type, return-value]
    if family == "steps":
        return StepsLearner(network, setting, widths=keep_widths(variant, facts), places=facts.places)
    if family == "skeletons":
        reader: Reader = SkeletonReader(train.network, setting.material, facts=facts)
    else:
        varies = held_out is not None and train.augment.variant != "none" and train.augment.copies > 0
        varying = Varying(train.augment, setting.material.people, seed=setting.seed) if varies else None
        reader = FrameReader(train.network, setting.material, varying=varying)
    return ClipLearner(network, setting, reader=reader, train=train, held_out=held_out)


def _cut(count: int, size: int) -> list[slice]:
    """Cut clips into batches; one that would be left over joins the last, as batch norms learn nothing from one."""
    starts = list(range(0, count, size))
    if len(starts) > 1 and count % size == 1:
        starts.pop()
    return [slice(start, end) for start, end in zip(starts, [*starts[1:], count], strict=True)]


def _join(inputs: Sequence[tuple[torch.Tensor, ...]]) -> tuple[torch.Tensor, ...]:
    """Join clips of one view each to a batch."""
    return tuple(torch.cat(parts) for parts in zip(*inputs, strict=True))
