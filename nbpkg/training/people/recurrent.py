"""Steps through recordings with a memory: gradients of a few windows at a time, what is padding left out.

Source: truncated back-propagation through time (Williams & Peng, 1990): the memory that a chunk of windows begins with
is taken as given.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch

from nbpkg.errors import DivergedError, Problem, SettingsError, TableError, raise_all
from nbpkg.models.people.cross_person.conversations import Conversations
from nbpkg.models.people.cross_person.memory_transformer import CrossPersonMemoryTransformer
from nbpkg.training.people.losses import NO_LABEL, LabelLoss

CHUNK = 4  # windows that gradients go back


class Learnt(NamedTuple):
    """What a step came to.

    Parameters
    ----------
    loss
        Mean loss of the labels learnt from, each weighted as the loss has it; 0 when there is none.
    labels
        How many they are.
    """

    loss: float
    labels: int


def learn_recordings(
    network: CrossPersonMemoryTransformer,
    batch: Conversations,
    labels: torch.Tensor,
    *,
    loss: LabelLoss,
    backward: Callable[[torch.Tensor], None],
    chunk: int = CHUNK,
    after_chunk: Callable[[], None] | None = None,
) -> Learnt:
    """Go through a batch of recordings from their beginning and work out gradients.

    Parameters
    ----------
    network
        In training mode; its gradients are added to.
    batch
        Recordings, the shorter ones padded with windows in which nothing is valid; on the network's device.
    labels
        Classes from 0, ``[B, K]`` for target ``joint``, ``[B, K, P]`` for ``person``; -1 where there is none. Labels of
        windows in which nobody is present do not count.
    loss
        What is lowered.
    backward
        Adds the gradients of a chunk's loss, e.g. ``lambda part: part.backward()``.
    chunk
        Windows that gradients go back; the memory goes on beyond.
    after_chunk
        Called when a chunk's gradients are there, to step the optimiser and clear them; each chunk's loss is then the
        mean of its own labels. None: gradients of all chunks add up to those of one step, of the mean of all labels.

    Returns
    -------
    Learnt
        Of the whole batch.

    Raises
    ------
    SettingsError
        When the chunk is no number of windows.
    TableError
        When labels do not fit the batch or the classes.
    DivergedError
        Before gradients of a loss that is no number are added.
    """
    _check_chunk(chunk)
    raise_all(_find_label_faults(network, batch, labels), TableError, summary="labels cannot be learnt from.")
    counted = _find_counted(batch, labels)
    whole = loss.measure(labels[counted])
    total = torch.zeros((), device=labels.device)
    memories = _Memories(network, batch)
    for windows, rows in _list_chunks(batch, chunk):
        answer = memories.answer(windows, rows)
        own = counted[rows, windows]
        wanted = labels[rows, windows][own]
        if not wanted.numel():
            continue
        summed = loss.add_up(answer[own], wanted)
        _check_finite(float(summed.detach()), windows)
        total += summed.detach()
        divisor = whole if after_chunk is None else loss.measure(wanted)
        if divisor > 0:
            backward(summed / divisor)
            if after_chunk is not None:
                after_chunk()
    return Learnt(float(total) / whole if whole > 0 else 0.0, int(counted.sum()))


@torch.no_grad()
def answer_recordings(
    network: CrossPersonMemoryTransformer, batch: Conversations, *, chunk: int = CHUNK
) -> torch.Tensor:
    """Answer recordings from their beginning, a few windows at a time.

    Parameters
    ----------
    network
        In evaluation mode.
    batch
        As in `learn_recordings`.
    chunk
        Windows in the network at once; answers do not depend on it.

    Returns
    -------
    torch.Tensor
        Logits ``[B, K, C]`` or ``[B, K, P, C]``; not-a-number in windows in which nobody is present.

    Raises
    ------
    SettingsError
        When the chunk is no number of windows.
    """
    _check_chunk(chunk)
    present = batch.find_present().any(dim=-1)
    memories = _Memories(network, batch)
    people = batch.size[2:] if network.options.target == "person" else ()
    found = torch.full((*present.shape, *people, network.classes), torch.nan, device=present.device)
    for windows, rows in _list_chunks(batch, chunk):
        found[rows, windows] = memories.answer(windows, rows).to(found.dtype)
    return found.masked_fill(~_widen(present, found), torch.nan)


class _Memories:
    """What is kept in mind of each person of each recording; who has not been there yet, begins as the network says."""

    def __init__(self, network: CrossPersonMemoryTransformer, batch: Conversations) -> None:
        self.network, self.batch = network, batch
        self.present = batch.find_present()
        rows, _, people = batch.size
        self.kept = network.mem_init.detach().expand(rows, people, -1, -1).clone()
        self.begun = self.present.new_zeros(rows, people)

    def answer(self, windows: slice, rows: torch.Tensor) -> torch.Tensor:
        """Return logits of some windows of some recordings, and keep what is detached of their memory."""
        begun = self.begun[rows][..., None, None]
        memory = torch.where(begun, self.kept[rows], self.network.mem_init)
        answer = self.network(self.batch.take(windows, rows), memory)
        self.kept[rows] = answer.memory.detach().to(self.kept.dtype)
        self.begun[rows] |= self.present[rows, windows].any(dim=1)
        logits: torch.Tensor = answer.logits
        return logits


def _list_chunks(batch: Conversations, chunk: int) -> Iterator[tuple[slice, torch.Tensor]]:
    """Give windows and the recordings that have anything in them; memories of the others would stay as they are."""
    present = batch.find_present().any(dim=-1)
    for start in range(0, present.shape[1], chunk):
        windows = slice(start, start + chunk)
        rows = present[:, windows].any(dim=1).nonzero()[:, 0]
        if len(rows):
            last = int(present[rows, windows].any(dim=0).nonzero().max())
            yield slice(start, start + last + 1), rows


def _find_counted(batch: Conversations, labels: torch.Tensor) -> torch.Tensor:
    """Flag the labels of windows in which anybody is present."""
    return (labels != NO_LABEL) & _widen(batch.find_present().any(dim=-1), labels)


def _widen(flags: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Append dimensions of size 1 to flags ``[B, K]``."""
    return flags.view(*flags.shape, *[1] * (like.ndim - flags.ndim))


def _find_label_faults(
    network: CrossPersonMemoryTransformer, batch: Conversations, labels: torch.Tensor
) -> list[Problem]:
    joint = network.options.target == "joint"
    wanted = batch.size[:2] if joint else batch.size
    if tuple(labels.shape) != wanted or labels.dtype != torch.int64:
        text = f"Labels are {labels.dtype} {tuple(labels.shape)}."
        return [Problem(text, expected=f"torch.int64 {wanted}, one for each window{'' if joint else ' and person'}.")]
    outside = (labels < NO_LABEL) | (labels >= network.classes)
    return [
        Problem(f"{place} is labelled {label}.", expected=f"From 0 to {network.classes - 1}, or -1 for no label.")
        for place, label in zip(outside.nonzero().tolist(), labels[outside].tolist(), strict=True)
    ]


def _check_chunk(chunk: int) -> None:
    if chunk < 1:
        raise SettingsError(
            f"Gradients are to go back {chunk} windows.", expected="At least 1.", remedy="Correct the setting."
        )


def _check_finite(loss: float, windows: slice) -> None:
    if not math.isfinite(loss):
        raise DivergedError(
            f"The loss is {loss} in windows {windows.start} to {windows.stop - 1}.",
            expected="Finite numbers.",
            remedy="Lower the learning rate, or look for features or weights that are not finite.",
        )
