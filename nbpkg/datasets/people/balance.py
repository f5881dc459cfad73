"""Class-balanced sampling: how often clips of each class are drawn, alike with one process or several."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from nbpkg import seeding
from nbpkg.annotations.people.classes import class_probabilities
from nbpkg.errors import SettingsError

Numbers = NDArray[np.int64]


def share_out(weights: Sequence[float], count: int) -> Numbers:
    """Divide a number among shares, to whole numbers that add up to it.

    Parameters
    ----------
    weights
        Shares, at least 0, with a sum above 0.
    count
        What is divided.

    Returns
    -------
    ndarray
        int64, each within 1 of its exact share; what is left goes to the largest remainders, of equal ones to the
        first.

    Examples
    --------
    >>> share_out([0.5, 0.3, 0.2], 4).tolist()
    [2, 1, 1]
    """
    exact = np.asarray(weights, dtype=np.float64) / np.sum(weights) * count
    whole: Numbers = np.floor(exact + 1e-9).astype(np.int64)
    order = np.argsort(-np.round(exact - whole, 9), kind="stable")
    whole[order[: count - int(whole.sum())]] += 1
    return whole


class BalancedSampler(Sampler[int]):
    """Draws clips so that classes come in given shares; several processes share one order.

    In each pass the draws of each class go to its clips in turn, in an order drawn anew: no clip is drawn twice before
    all others of its class were drawn. Only for training: validation and test keep the classes as they are.

    Parameters
    ----------
    labels
        Class of each clip of the training split.
    power
        As in `nbpkg.annotations.people.classes.class_probabilities`, from 0 (all classes alike) to 1.
    length
        ``clips``: as many draws as there are clips. ``cover``: as many as it takes to draw every clip at least once;
        with power 0 the rarer classes are then drawn as often as the most frequent one.
    seed
        The experiment's seed.
    process, processes
        Place of this process among those that train together, from 0, and how many these are. All get the same number
        of draws; the last few of the order are repeated from its beginning where it does not divide.

    Raises
    ------
    SettingsError
        When the power is not between 0 and 1, or there is no such process or length.
    AnnotationError
        When there are no clips, or one has no class.

    Source
    ------
    ``sample_by_class`` of mmaction2 0.24.1, which acts in distributed training only and is passed over in silence
    elsewhere; draws and lengths here are our own.
    """

    def __init__(
        self,
        labels: Sequence[int],
        *,
        power: float,
        seed: int,
        length: Literal["clips", "cover"] = "clips",
        process: int = 0,
        processes: int = 1,
    ) -> None:
        if not 0 <= process < processes or length not in ("clips", "cover"):
            raise SettingsError(
                f"There is no process {process} of {processes}, or no length {length!r}.",
                expected="A place from 0 and below the number of processes; 'clips' or 'cover'.",
            )
        if not 0 <= power <= 1:
            raise SettingsError(f"Classes cannot be balanced by the power {power}.", expected="A number from 0 to 1.")
        shares = dict(sorted(class_probabilities(labels, power).items()))
        known = np.asarray(labels)
        self._clips = [np.flatnonzero(known == label) for label in shares]
        self._shares = list(shares.values())
        self.seed, self.process, self.processes, self.epoch = seed, process, processes, 0
        self.total = len(known) if length == "clips" else self._cover()

    def __len__(self) -> int:
        return -(-self.total // self.processes)

    def __iter__(self) -> Iterator[int]:
        order = self.order()
        padded = np.resize(order, len(self) * self.processes)
        return iter(padded[self.process :: self.processes].tolist())

    def set_epoch(self, epoch: int) -> None:
        """Go to another pass; each has an order of its own, so that a resumed training draws as an unbroken one."""
        self.epoch = epoch

    def order(self) -> Numbers:
        """Return the clips of this pass for all processes together, int64 ``[total]``."""
        draws = seeding.generator(self.seed, "balance", self.epoch)
        counts = share_out(self._shares, self.total)
        parts = []
        for clips, count in zip(self._clips, counts.tolist(), strict=True):
            rounds = [draws.permutation(clips) for _ in range(-(-count // len(clips)))]
            parts.append(np.concatenate([*rounds, clips[:0]])[:count])
        return np.asarray(draws.permutation(np.concatenate(parts)), dtype=np.int64)

    def _cover(self) -> int:
        needed = (len(clips) / share for clips, share in zip(self._clips, self._shares, strict=True))
        total = math.ceil(max(needed) - 1e-9)
        while any(share_out(self._shares, total) < [len(clips) for clips in self._clips]):
            total += 1
        return total
