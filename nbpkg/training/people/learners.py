"""How networks over tokens learn from clips and answer for them: recordings with a memory, or windows by themselves."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from nbpkg import seeding
from nbpkg.baking.people import PersonRecording
from nbpkg.models.people.cross_person.conversations import Conversations, pad_conversations
from nbpkg.models.people.cross_person.memory_transformer import CrossPersonMemoryTransformer
from nbpkg.training.people.losses import NO_LABEL, LabelLoss
from nbpkg.training.people.material import PeopleMaterial
from nbpkg.training.people.optimiser import Stepper
from nbpkg.training.people.recurrent import answer_recordings, learn_recordings

Probabilities = NDArray[np.float32]


class Pass(NamedTuple):
    """What one epoch came to.

    Parameters
    ----------
    loss
        Mean over labels.
    top1_acc
        Share of labels that were answered, as the network was when it met them.
    data_s, step_s
        Time waited for input, and time of steps, seconds.
    """

    loss: float
    top1_acc: float
    data_s: float
    step_s: float


class Learner(Protocol):
    """A network with what it looks at."""

    network: nn.Module

    def count_batches(self, items: Sequence[str]) -> int:
        """Return the batches of an epoch over these clips."""

    def epoch(self, items: Sequence[str], epoch: int, *, stepper: Stepper) -> Pass:
        """Learn once from each clip; what is random follows from the seed and the epoch, from 1."""

    def answer(self, items: Sequence[str], *, views: int = 1) -> Probabilities:
        """Return probabilities ``[n, C]``; not-a-number where there is nobody to be seen."""


@dataclass(frozen=True)
class CountedLoss(LabelLoss):
    """A loss that counts what was answered rightly.

    Parameters
    ----------
    counted
        Sums so far: losses, labels (as they weigh), labels answered rightly, labels.
    """

    counted: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0, 0.0])

    def add_up(self, scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """As `LabelLoss.add_up`."""
        summed = super().add_up(scores, labels)
        right = int((scores.detach().argmax(dim=1) == labels).sum())
        for place, value in enumerate((float(summed.detach()), self.measure(labels), right, labels.numel())):
            self.counted[place] += value
        return summed

    def finish(self, data_s: float, step_s: float) -> Pass:
        """Return what was counted, and begin anew."""
        losses, weight, right, labels = self.counted
        self.counted[:] = [0.0] * 4
        return Pass(losses / weight if weight else 0.0, right / labels if labels else math.nan, data_s, step_s)


@dataclass(frozen=True)
class Setting:
    """What all learners of a round share.

    Parameters
    ----------
    material
        What may be seen.
    batch_size
        Recordings, windows or clips in a batch.
    chunk
        Windows that gradients go back.
    loss
        What is lowered.
    seed
        Of orders and draws.
    device
        Where to compute.
    """

    material: PeopleMaterial
    batch_size: int
    chunk: int
    loss: CountedLoss
    seed: int
    device: torch.device


class ConversationLearner:
    """The cross-person memory transformer, which goes through recordings from their beginning.

    A step of the optimiser is made after each chunk of windows, with the memory as it has come to be by then.

    Parameters
    ----------
    network
        On its device.
    setting
        Material and settings.
    """

    def __init__(self, network: CrossPersonMemoryTransformer, setting: Setting) -> None:
        self.network: CrossPersonMemoryTransformer = network
        self.setting = setting
        clips = setting.material.clips
        self._where = dict(zip(map(str, clips["sample_id"]), map(str, clips["recording"]), strict=True))

    def count_batches(self, items: Sequence[str]) -> int:
        """As `Learner.count_batches`."""
        return -(-len(self._list_recordings(items)) // self.setting.batch_size)

    def epoch(self, items: Sequence[str], epoch: int, *, stepper: Stepper) -> Pass:
        """As `Learner.epoch`."""
        names, wanted = self._list_recordings(items), set(items)
        order = seeding.generator(self.setting.seed, "order", epoch).permutation(len(names))
        batches = self.count_batches(items)
        self.network.train()
        data_s = step_s = 0.0
        for number, part in enumerate(_cut([names[place] for place in order], self.setting.batch_size)):
            begun = time.perf_counter()
            recordings, batch = self._join(part)
            labels = self._take_labels(recordings, wanted, batch.size[1]).to(self.setting.device)
            read = time.perf_counter()
            stepper.enter((epoch - 1) * batches + number)
            learn_recordings(
                self.network,
                batch,
                labels,
                loss=self.setting.loss,
                backward=torch.Tensor.backward,
                chunk=self.setting.chunk,
                after_chunk=stepper.step,
            )
            data_s, step_s = data_s + read - begun, step_s + time.perf_counter() - read
        return self.setting.loss.finish(data_s, step_s)

    def answer(self, items: Sequence[str], *, views: int = 1) -> Probabilities:  # noqa: ARG002 - has one view only
        """As `Learner.answer`."""
        self.network.eval()
        found: dict[str, NDArray[np.float32]] = {}
        for part in _cut(self._list_recordings(items), self.setting.batch_size):
            recordings, batch = self._join(part)
            logits = answer_recordings(self.network, batch, chunk=max(self.setting.chunk, 8))
            chances = logits.float().softmax(dim=-1).cpu().numpy()
            for row, one in enumerate(recordings):
                found |= dict(zip(one.clips, chances[row], strict=False))
        return np.stack([found[name] for name in items])

    def _join(self, names: Sequence[str]) -> tuple[list[PersonRecording], Conversations]:
        """Return recordings and the batch of them; more people than the network knows roles share the last one."""
        recordings = [self.setting.material.recordings[name] for name in names]
        batch = pad_conversations([one.conversations for one in recordings])
        batch = batch._replace(roles=batch.roles.clamp(max=self.network.options.roles - 1))
        return recordings, batch.to(self.setting.device)

    def _list_recordings(self, items: Sequence[str]) -> list[str]:
        return list(dict.fromkeys(self._where[name] for name in items))

    def _take_labels(self, recordings: Sequence[PersonRecording], wanted: set[str], windows: int) -> torch.Tensor:
        labels = torch.full((len(recordings), windows), NO_LABEL)
        for row, one in enumerate(recordings):
            for window, name in enumerate(one.clips):
                if name in wanted:
                    labels[row, window] = self.setting.material.labels[name]
        return labels


class StepsLearner:
    """Multipar-T, which sees one window at a time, all modalities on one clock.

    It answers for everybody but the last person; the answer for all is the mean of their scores.

    Parameters
    ----------
    network
        On its device.
    setting
        Material and settings.
    widths
        Of the modalities that it looks at, by name.
    places
        People that it has places for.
    """

    def __init__(self, network: nn.Module, setting: Setting, *, widths: dict[str, int], places: int) -> None:
        self.network = network
        self.setting, self.widths, self.places = setting, widths, places
        clips = setting.material.clips
        self._where = dict(zip(map(str, clips["sample_id"]), map(str, clips["recording"]), strict=True))

    def count_batches(self, items: Sequence[str]) -> int:
        """As `Learner.count_batches`."""
        return -(-len(items) // self.setting.batch_size)

    def epoch(self, items: Sequence[str], epoch: int, *, stepper: Stepper) -> Pass:
        """As `Learner.epoch`."""
        order = seeding.generator(self.setting.seed, "order", epoch).permutation(len(items))
        batches, loss = self.count_batches(items), self.setting.loss
        self.network.train()
        data_s = step_s = 0.0
        for number, part in enumerate(_cut([items[place] for place in order], self.setting.batch_size)):
            begun = time.perf_counter()
            steps, there = self._lay_out(part)
            labels = torch.from_numpy(self.setting.material.take_labels(part))[there].to(self.setting.device)
            read = time.perf_counter()
            stepper.enter((epoch - 1) * batches + number)
            if there.any():
                summed = loss.add_up(self.network(steps[there].to(self.setting.device)).mean(dim=1), labels)
                weight = loss.measure(labels)
                if weight > 0:
                    (summed / weight).backward()  # type: ignore[no-untyped-call]
                    stepper.step()
            data_s, step_s = data_s + read - begun, step_s + time.perf_counter() - read
        return loss.finish(data_s, step_s)

    @torch.no_grad()
    def answer(self, items: Sequence[str], *, views: int = 1) -> Probabilities:  # noqa: ARG002 - has one view only
        """As `Learner.answer`."""
        self.network.eval()
        parts = []
        for part in _cut(list(items), self.setting.batch_size):
            steps, there = self._lay_out(part)
            scores = self.network(steps.to(self.setting.device)).mean(dim=1)
            parts.append(scores.float().softmax(dim=-1).cpu().masked_fill(~there[:, None], torch.nan).numpy())
        return np.concatenate(parts)

    def _lay_out(self, items: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return steps ``[B, places, T, D]`` and in which windows anybody is, ``[B]``."""
        windows = []
        for name in items:
            one = self.setting.material.recordings[self._where[name]]
            windows.append(lay_steps(one.conversations, one.clips.index(name), self.widths, self.places))
        longest = max(steps.shape[1] for steps, _ in windows)
        batch = torch.zeros(len(items), max(self.places, 2), longest, sum(self.widths.values()))
        for row, (steps, _) in enumerate(windows):
            batch[row, : self.places, longest - steps.shape[1] :] = steps  # at the end: the last step answers
        return batch, torch.tensor([there for _, there in windows])


def lay_steps(
    conversation: Conversations, window: int, widths: dict[str, int], places: int
) -> tuple[torch.Tensor, bool]:
    """Join the modalities of one window to steps of one clock.

    Parameters
    ----------
    conversation
        One recording.
    window
        Which of its windows.
    widths
        Modalities wanted, and the features of each.
    places
        Places of people; each person has that of the role.

    Returns
    -------
    steps
        ``[places, T, D]``, T that of the modality with most tokens; others' tokens are repeated, 0 where there is none.
    there
        Whether anybody is.
    """
    known = [name for name in widths if name in conversation.tokens]
    longest = max((conversation.tokens[name].shape[3] for name in known), default=1) or 1
    steps, there, start = torch.zeros(places, longest, sum(widths.values())), False, 0
    roles = [int(role) for role in conversation.roles[0]]
    for name, width in widths.items():
        length = conversation.tokens[name].shape[3] if name in known else 0
        if length:
            clock = ((torch.arange(longest) + 0.5) * length / longest).long()
            flags = conversation.valid[name][0, window][:, clock]
            tokens = conversation.tokens[name][0, window][:, clock].masked_fill(~flags[..., None], 0.0)
            there |= bool(flags.any())
            for person, role in enumerate(roles):
                if role < places and flags[person].any():
                    steps[role, :, start : start + width] = tokens[person]
        start += width
    return steps, there


def _cut(items: Sequence[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])
