"""Does a network see the future? Later windows are changed, and earlier answers must stay."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch

from nbpkg import seeding
from nbpkg.errors import ExplainError
from nbpkg.models.people.cross_person.conversations import Conversations


class CausalCheck(NamedTuple):
    """What changed when windows behind window k were replaced, for k from the first to the last but one.

    Parameters
    ----------
    earlier
        Largest change of a logit in windows up to k, one for each k; 0 but for rounding in a causal network.
    later
        Largest change in windows behind k, one for each k; above 0, or the check has shown nothing.
    """

    earlier: tuple[float, ...]
    later: tuple[float, ...]

    def holds(self, *, tolerance: float = 1e-5) -> bool:
        """Whether no answer changed before its time, and every change was felt after it."""
        return max(self.earlier) <= tolerance < min(self.later)


def check_causality(
    answer: Callable[[Conversations], torch.Tensor], batch: Conversations, *, seed: int = 0
) -> CausalCheck:
    """Replace all that comes after each window and see which answers change.

    Parameters
    ----------
    answer
        The network in evaluation mode, from the beginning of recordings: a batch to logits ``[B, K, ...]``.
    batch
        Recordings of at least two windows.
    seed
        Of what windows are replaced by: other values, and other tokens that are missing.

    Returns
    -------
    CausalCheck
        For each window but the last.

    Raises
    ------
    ExplainError
        When there are not two windows, or the answers are not numbers.
    """
    windows = batch.size[1]
    if windows < 2:
        raise ExplainError(
            f"The recordings have {windows} window.", expected="At least two.", remedy="Choose longer recordings."
        )
    earlier, later = [], []
    with torch.no_grad():
        before = answer(batch)
        if not bool(before.isfinite().all()):
            raise ExplainError(
                "Answers of the network are not numbers.",
                expected="Finite logits.",
                remedy="Look at the weights and features.",
            )
        for window in range(windows - 1):
            after = answer(_replace(batch, window + 1, seed=seeding.child(seed, "causal check", window)))
            change = (after - before).abs().nan_to_num(nan=float("inf"))
            earlier.append(float(change[:, : window + 1].max()))
            later.append(float(change[:, window + 1 :].max()))
    return CausalCheck(tuple(earlier), tuple(later))


def _replace(batch: Conversations, start: int, *, seed: int) -> Conversations:
    """Return the batch with other values and flags from window `start` on."""
    chance = torch.Generator().manual_seed(seed)
    tokens, valid = {}, {}
    for name in sorted(batch.tokens):
        values, flags = batch.tokens[name].clone(), batch.valid[name].clone()
        values[:, start:] = torch.randn(values[:, start:].shape, generator=chance).to(values)
        flags[:, start:] = (torch.rand(flags[:, start:].shape, generator=chance) > 0.3).to(flags.device)
        tokens[name], valid[name] = values, flags
    return Conversations(tokens, valid, batch.roles)
