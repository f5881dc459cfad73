"""Choose among many things by rules and by aims in order of importance: an integer program, solved exactly."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, milp

from nbpkg.errors import PaintingError

ROUGHLY = 0.2  # how far from the best a random preference may stay: it is no aim, and proving it best takes long


class Programme:
    """Things to choose, rules for them, and aims added one by one; each aim keeps what the ones before reached.

    Parameters
    ----------
    things
        How many things there are to choose from.
    helpers
        How many variables between 0 and 1 come after them in the rules.

    Attributes
    ----------
    chosen
        bool ``[things]``: the choice by the aims so far.

    Examples
    --------
    >>> programme = Programme(4, helpers=0)
    >>> programme.count(np.array([0, 0, 1, 1]), at_most=1)
    >>> programme.maximise([1, 2, 5, 3])
    7
    >>> programme.chosen
    array([False,  True,  True, False])
    """

    def __init__(self, things: int, *, helpers: int) -> None:
        self.chosen: NDArray[np.bool_] = np.zeros(things, dtype=bool)
        self._variables = things + helpers
        self._rules: list[tuple[sparse.csr_array, NDArray, NDArray]] = []

    def require(self, matrix: sparse.csr_array, low: ArrayLike, high: ArrayLike) -> None:
        """Let ``matrix @ variables`` lie between two vectors; the things come first, then the helpers."""
        self._rules.append((sparse.csr_array(matrix), np.asarray(low, dtype=float), np.asarray(high, dtype=float)))

    def count(self, groups: ArrayLike, *, at_least: ArrayLike = 0, at_most: ArrayLike = np.inf) -> None:
        """Let the number chosen of each group lie within limits: one number, or one for each group in sorted order."""
        counts = _add_up(groups)
        low, high = (np.broadcast_to(np.asarray(limit, dtype=float), counts.shape[:1]) for limit in (at_least, at_most))
        self.require(counts, low, high)

    def maximise(self, value: ArrayLike, *, gap: float = 0.0) -> int:
        """Choose the greatest sum of values, which are whole numbers, and return it.

        Parameters
        ----------
        value
            Of each thing.
        gap
            How far from the best it may stay, as a share.

        Raises
        ------
        PaintingError
            When the solver gives up or the rules contradict each other.
        """
        things = np.asarray(value, dtype=float)
        return self._solve(np.pad(things, (0, self._variables - len(things))), gap)

    def level(self, groups: ArrayLike, *, at_most: int) -> None:
        """Choose alike many of all groups: the least sum of squared counts.

        Parameters
        ----------
        groups
            Group of each thing.
        at_most
            How many of a group can be chosen at all by the rules.

        Raises
        ------
        PaintingError
            When the solver gives up or the rules contradict each other.
        """
        counts = _add_up(groups)
        # A square n² is 1 + 3 + 5 + …: the n-th of a group takes the cheapest step that is left.
        most = np.minimum(np.asarray(counts.sum(axis=1)).astype(int), at_most)
        owner = np.repeat(np.arange(len(most)), most)
        cost = 2.0 * (np.arange(len(owner)) - np.repeat(np.cumsum(most) - most, most)) + 1
        steps = _add_up(owner)
        between = sparse.csr_array((len(most), self._variables - counts.shape[1]))
        self.require(sparse.hstack([counts, between, -steps]), np.zeros(len(most)), np.zeros(len(most)))
        self._variables += len(owner)
        self._solve(np.pad(-cost, (self._variables - len(owner), 0)), 0.0)

    def _solve(self, aim: NDArray[np.float64], gap: float) -> int:
        rules = []
        for matrix, low, high in self._rules:
            missing = sparse.csr_array((matrix.shape[0], self._variables - matrix.shape[1]))
            rules.append(LinearConstraint(sparse.hstack([matrix, missing]), low, high))
        whole = np.arange(self._variables) < len(self.chosen)  # with whole things the rest is whole by itself
        found = milp(-aim, constraints=rules, integrality=whole, bounds=Bounds(0, 1), options={"mip_rel_gap": gap})
        if found.x is None:
            raise PaintingError(
                f"No choice follows the rules ({found.message}).",
                expected="Rules that do not contradict each other.",
                remedy="Ask for fewer snippets or painters.",
            )
        self.chosen = found.x[: len(self.chosen)] > 0.5
        reached = round(float(aim @ found.x))
        # All values are whole, so half a unit of slack keeps rounding from making the next aim impossible.
        self.require(sparse.csr_array(aim[None]), [reached - 0.5], [np.inf])
        return reached


def _add_up(groups: ArrayLike) -> sparse.csr_array:
    """Return a matrix that counts what belongs to each group, ``[groups, things]``."""
    names, numbers = np.unique(np.asarray(groups), return_inverse=True)
    return sparse.csr_array(
        (np.ones(len(numbers)), (numbers, np.arange(len(numbers)))), shape=(len(names), len(numbers))
    )
