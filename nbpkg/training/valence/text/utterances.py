"""The text-only network as it was published: learnt from chunks of utterances, answering once per utterance.

Source: the published text programs (text/train.py, text/personalized_finetuning.py). The network kept there was that of
the lowest training loss; here it is the last, or chosen by sessions left out. A network trained before is gone on with
from its weights, for single subjects too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from nbpkg import seeding
from nbpkg.datasets.valence.segments import Stack
from nbpkg.errors import TableError
from nbpkg.models.valence.build import build_network
from nbpkg.models.valence.options import NetworkOptions
from nbpkg.models.valence.text import TextLstm
from nbpkg.models.weights import State, load_strictly
from nbpkg.training.valence.loop import Course, Job, SequenceTraining, fit
from nbpkg.training.valence.scoring import Scored, answer
from nbpkg.training.valence.text.chunks import Target, cut_chunks, stack_utterances, targets_of
from nbpkg.training.valence.text.frames import Utterance, UtteranceFrames

TEXT = "text"


@dataclass(frozen=True)
class Talk:
    """What was said in one session.

    Parameters
    ----------
    session
        Its name.
    utterances
        In order of the file.
    vectors
        float32 ``(V, D)``, of the valid utterances.
    original
        Annotation, frame by frame.

    Raises
    ------
    TableError
        When there are not as many vectors as valid utterances, or none.
    """

    session: str
    utterances: tuple[Utterance, ...]
    vectors: NDArray[np.float32]
    original: NDArray[np.float64]

    def __post_init__(self) -> None:
        valid = sum(one.valid for one in self.utterances)
        if len(self.vectors) != valid or not valid:
            raise TableError(
                f"{self.session} has {len(self.vectors)} utterance vectors for {valid} utterances with words.",
                expected="One for each, and at least one.",
                remedy="Leave the session out, or make its vectors again.",
            )

    def averages(self) -> NDArray[np.float64]:
        """Return the mean valence of each valid utterance; NaN for one that has no frame of the annotation."""
        spans = [self.original[one.start : one.end] for one in self.utterances if one.valid]
        return np.array([np.nanmean(own) if np.isfinite(own).any() else np.nan for own in spans])


@dataclass(frozen=True)
class TextPlan:
    """How the text-only network is trained; the defaults are the published ones.

    Parameters
    ----------
    how
        Settings of the training.
    target
        What an utterance is answered with.
    size, step
        Chunks, see `plan_chunks`.
    options
        Sizes and dropout of the network.
    """

    how: SequenceTraining = field(
        default_factory=lambda: SequenceTraining(
            epochs=5000, batch_size=20, learning_rate=0.01, weight_decay=0.0, optimiser="sgd", whole_batches=True
        )
    )
    target: Target = "difference"
    size: int = 10
    step: int = 5
    options: NetworkOptions = field(default_factory=NetworkOptions)


class TextTrained(NamedTuple):
    """A text-only network, in evaluation mode on the CPU, and the course of its training."""

    network: TextLstm
    course: Course


def train_text(
    train: Sequence[Talk],
    plan: TextPlan,
    *,
    held_out: Sequence[Talk] = (),
    start: State | None = None,
    seed: int,
    folder: Path,
    device: torch.device,
) -> TextTrained:
    """Train the text-only network, or go on with one.

    Parameters
    ----------
    train
        What was said in the sessions learnt from; of one subject for a personal network.
    plan
        How.
    held_out
        Sessions scored frame by frame as training goes on.
    start
        Weights to begin with; None for random ones.
    seed, folder, device
        As `Job` says; a training that was cut off goes on with the same bytes.

    Raises
    ------
    DivergedError, StageError, WeightsError
        As `fit` and `load_strictly` say.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeding.child(seed, "network"))
        network = build_network("text_lstm", (TEXT,), widths={TEXT: train[0].vectors.shape[1]}, options=plan.options)
    if start is not None:
        load_strictly(network, start, what="the text-only network", where="the weights to begin with")
    chunks = cut_chunks(_stack(train, plan), size=plan.size, step=plan.step)
    scored = {"held_out": _score(held_out, plan)} if held_out else {}
    identity = {"target": plan.target, "chunk": [plan.size, plan.step], "train": [one.session for one in train]}
    fitted = fit(Job(network, chunks, scored, plan.how, seed, device, folder, None, identity, lambda _: None))
    network.load_state_dict(fitted.best)
    return TextTrained(network.cpu().eval(), fitted.course)  # type: ignore[arg-type]


def predict_text(
    network: TextLstm, talks: Sequence[Talk], *, target: Target, device: torch.device, threshold: float = 0.0
) -> dict[str, NDArray[np.float64]]:
    """Answer every frame of some sessions.

    Parameters
    ----------
    network
        Trained on `target`.
    talks
        What was said.
    target, threshold
        As in `assemble`.
    device
        Where to compute.

    Returns
    -------
    dict
        Session to ``(frames,)``.
    """
    stack = stack_utterances([one.vectors for one in talks], [np.full(len(one.vectors), np.nan) for one in talks])
    made = answer(network.to(device), stack, device=device)
    frames = _frames(talks, target, threshold)
    return {one.session: frames(place, made[place].astype(np.float64)) for place, one in enumerate(talks)}


def _stack(talks: Sequence[Talk], plan: TextPlan) -> Stack:
    targets = [targets_of(one.averages(), target=plan.target) for one in talks]
    return stack_utterances([one.vectors for one in talks], targets)


def _score(talks: Sequence[Talk], plan: TextPlan) -> Scored:
    return Scored(_stack(talks, plan), [one.original for one in talks], _frames(talks, plan.target, 0.0))


def _frames(talks: Sequence[Talk], target: Target, threshold: float) -> UtteranceFrames:
    lengths = tuple(len(one.original) for one in talks)
    return UtteranceFrames(tuple(one.utterances for one in talks), lengths, target, threshold)
