"""Scores of a network while it is trained: answers of whole sessions, brought to frames and held against the truth."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from nbpkg.datasets.valence.preparation import Preparation
from nbpkg.datasets.valence.recording import Recording
from nbpkg.datasets.valence.segments import Stack, stack_recordings
from nbpkg.metrics.valence.concordance import ccc, pearson
from nbpkg.metrics.valence.frames import Pad, steps_to_frames
from nbpkg.models.valence.build import SequenceNetwork

ToFrames = Callable[[int, NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True)
class Scored:
    """Whole sessions that are scored as training goes on.

    Parameters
    ----------
    stack
        The sessions as one segment each.
    originals
        Their annotations, frame by frame.
    to_frames
        From a session's number and its answers ``(T,)`` to frames ``(F,)``, as many as it is annotated.
    at_once
        Sessions in the network at once.
    """

    stack: Stack
    originals: Sequence[NDArray[np.float64]]
    to_frames: ToFrames
    at_once: int = 25


@dataclass(frozen=True)
class StepFrames:
    """Repeat each step's answer for its frames; frames behind the last step are filled as `steps_to_frames` says."""

    frames: tuple[int, ...]
    ratio: int
    pad: Pad = "hold"

    def __call__(self, number: int, answers: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the frames of one session."""
        return steps_to_frames(answers, self.frames[number], ratio=self.ratio, pad=self.pad)


def score_sessions(
    recordings: Sequence[Recording], preparation: Preparation, *, ratio: int, at_once: int = 25
) -> Scored:
    """Make whole sessions ready to be scored frame by frame."""
    frames = StepFrames(tuple(len(one.original) for one in recordings), ratio)
    stack = stack_recordings(recordings, preparation, parts=1)
    return Scored(stack, [one.original for one in recordings], frames, at_once)


@torch.no_grad()
def answer(
    network: SequenceNetwork, stack: Stack, *, device: torch.device, at_once: int = 25, embed: bool = False
) -> list[NDArray[np.float32]]:
    """Let a network answer for whole sessions, in evaluation mode.

    Parameters
    ----------
    network
        On `device`.
    stack
        The sessions as one segment each.
    device
        Where to compute.
    at_once
        Sessions in the network at once.
    embed
        Give features for late fusion instead.

    Returns
    -------
    list of numpy.ndarray
        ``(T,)``, or ``(T, E)`` of features, of each session.
    """
    network.eval()
    found: list[NDArray[np.float32]] = [np.empty(0, np.float32)] * len(stack)
    # Sessions of like length go together, as padding costs as much as they do.
    for chosen in stack.lengths.argsort(descending=True, stable=True).split(at_once):
        batch = stack.batch(chosen).to(device)
        ask = network.embed if embed else network
        made = ask(batch.inputs, batch.mask, batch.lengths, present=batch.present).float().cpu().numpy()
        for number, row, length in zip(chosen.tolist(), made, batch.lengths, strict=True):
            found[number] = row[:length].copy() if embed else row[:length, 0].copy()
    return found


def measure(network: SequenceNetwork, scored: Scored, *, device: torch.device) -> dict[str, float]:
    """Score a network on whole sessions.

    Parameters
    ----------
    network
        On `device`.
    scored
        The sessions.
    device
        Where to compute.

    Returns
    -------
    dict
        ``loss`` (mean squared error over steps), and the means over sessions of ``ccc`` and ``pearson`` over frames;
        a session without any value counts in none, one whose answer is constant not in the last.
    """
    stack = scored.stack
    answers = answer(network, stack, device=device, at_once=scored.at_once)
    squares, steps, pairs = 0.0, 0, []
    for number, made in enumerate(answers):
        rows = slice(int(stack.starts[number]), int(stack.starts[number] + stack.lengths[number]))
        known = stack.known[rows].numpy()
        squares += float((((made - stack.valence[rows].numpy()) ** 2)[known]).sum(dtype=np.float64))
        steps += int(known.sum())
        truth = scored.originals[number]
        there = np.isfinite(truth)
        if there.any():
            frames = scored.to_frames(number, made.astype(np.float64))
            pairs.append((truth[there], frames[there]))
    tight = [ccc(truth, frames) for truth, frames in pairs]
    linear = [value for value in (pearson(truth, frames) for truth, frames in pairs) if not math.isnan(value)]
    return {
        "loss": squares / steps if steps else math.nan,
        "ccc": float(np.mean(tight)) if tight else math.nan,
        "pearson": float(np.mean(linear)) if linear else math.nan,
    }
