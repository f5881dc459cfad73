"""The regression of decision-level fusion: how it is fitted, and how its setting is chosen by inner folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from sklearn.svm import SVR

from nbpkg.datasets.valence.recording import Recording
from nbpkg.errors import FoldError, SettingsError, TableError
from nbpkg.metrics.valence.concordance import ccc
from nbpkg.metrics.valence.frames import Pad, steps_to_frames

Array = NDArray[np.float64]
CACHE_MB = 1000
BLOCK = 4096
GAMMAS = ("auto", "scale")
PUBLISHED_COSTS = (0.001, 0.01, 0.03, 0.1, 0.3, 1.0)
SEARCH = ["round", "cost", "gamma", "epsilon", "tolerance", "inner", "ccc"]


@dataclass(frozen=True)
class SvrSetting:
    """One setting of the regression; as it stands, the published one.

    Parameters
    ----------
    cost
        C: how dear errors are. The published 0.01 flattens answers towards the mean.
    gamma
        Width of the radial kernel: ``auto`` is 1 / features, ``scale`` also divides by their variance.
    epsilon
        Error below which nothing is paid.
    tolerance
        At which the solver stops.

    Raises
    ------
    SettingsError
        When a number is not positive (`epsilon`: negative).
    """

    cost: float = 0.01
    gamma: float | Literal["auto", "scale"] = "auto"
    epsilon: float = 0.1
    tolerance: float = 0.01

    def __post_init__(self) -> None:
        """Refuse what the solver would refuse less clearly."""
        positive = [self.cost, self.tolerance, 1.0 if isinstance(self.gamma, str) else self.gamma]
        if min(positive) <= 0 or self.epsilon < 0 or (isinstance(self.gamma, str) and self.gamma not in GAMMAS):
            raise SettingsError(
                f"The regression cannot be set to {self}.",
                expected="cost, gamma and tolerance above 0 (gamma also 'auto' or 'scale'), epsilon 0 or more.",
            )


@dataclass(frozen=True)
class FittedSvr:
    """A fitted regression with the range that its features are brought to, in plain numbers.

    Parameters
    ----------
    setting
        How it was fitted.
    low, span
        Least value and range of each feature in the sessions fitted on, (E,); None when features are taken as they are.
    support, weights
        Support vectors (S, E), scaled, and their weights (S,).
    intercept
        Added to every answer.
    gamma
        Width of the kernel, as a number.
    sessions
        Sessions fitted on.
    """

    setting: SvrSetting
    low: Array | None
    span: Array | None
    support: Array
    weights: Array
    intercept: float
    gamma: float
    sessions: tuple[str, ...]

    def predict(self, features: Array) -> Array:
        """Answer each second: (T, E) to (T,).

        Raises
        ------
        TableError
            When features are not as wide as those fitted on.
        """
        if features.shape[1] != self.support.shape[1]:
            raise TableError(
                f"There are {features.shape[1]} features, and the regression was fitted to {self.support.shape[1]}.",
                expected="Features of the systems that it was fitted to, in the same order.",
            )
        rows = scale(features, self.low, self.span)
        blocks = np.split(rows, range(BLOCK, len(rows), BLOCK))  # the kernel of a long film would fill the memory
        return np.concatenate([self._answer(block) for block in blocks])

    def _answer(self, rows: Array) -> Array:
        kernel = np.exp(-self.gamma * cdist(rows, self.support, "sqeuclidean"))
        answers: Array = kernel @ self.weights + self.intercept
        return answers


class Chosen(NamedTuple):
    """A setting, and how all settings did: round, cost, gamma, epsilon, tolerance, inner (group), ccc."""

    setting: SvrSetting
    search: pd.DataFrame


def make_grid(
    costs: Sequence[float] = PUBLISHED_COSTS,
    gammas: Sequence[float | Literal["auto", "scale"]] = ("auto",),
    *,
    epsilons: Sequence[float] = (0.1,),
    tolerance: float = 0.01,
) -> list[SvrSetting]:
    """List all combinations, costs slowest."""
    return [SvrSetting(cost, gamma, epsilon, tolerance) for cost, gamma, epsilon in product(costs, gammas, epsilons)]


def fit_svr(
    features: Mapping[str, Array],
    truth: Mapping[str, Array],
    *,
    setting: SvrSetting,
    normalise: bool = True,
) -> FittedSvr:
    """Fit support vector regression with a radial kernel to the seconds of some sessions.

    Parameters
    ----------
    features
        Session to (T, E). All these sessions are learnt from.
    truth
        Session to (T,); seconds without a value (NaN) are left out.
    setting
        Of the regression.
    normalise
        Bring each feature to -1 .. 1, by its range in these very sessions.

    Raises
    ------
    TableError
        When no second has a truth, or a session's lengths differ.
    """
    unlike = [name for name, rows in features.items() if len(rows) != len(truth[name])]
    if unlike:
        raise TableError(
            f"{unlike[0]} has {len(features[unlike[0]])} seconds of features and {len(truth[unlike[0]])} of truth.",
            expected="A row of features for every second.",
        )
    target = np.concatenate([truth[name] for name in features]) if features else np.zeros(0)
    known = ~np.isnan(target)
    if not known.any():
        raise TableError(
            f"None of {len(features)} sessions has a second with a truth.",
            expected="Training sessions whose annotation is known.",
        )
    rows = np.concatenate(list(features.values())).astype(np.float64)[known]
    low = span = None
    if normalise:
        low = rows.min(axis=0)
        span = np.where(rows.max(axis=0) > low, rows.max(axis=0) - low, 1.0)
    regressor = SVR(
        kernel="rbf",
        C=setting.cost,
        gamma=setting.gamma,
        epsilon=setting.epsilon,
        tol=setting.tolerance,
        cache_size=CACHE_MB,
    )
    scaled = scale(rows, low, span)
    regressor.fit(scaled, target[known])
    return FittedSvr(
        setting,
        low,
        span,
        support=np.ascontiguousarray(regressor.support_vectors_),
        weights=np.ascontiguousarray(regressor.dual_coef_[0]),
        intercept=float(regressor.intercept_[0]),
        gamma=find_gamma(setting.gamma, scaled),
        sessions=tuple(features),
    )


def find_gamma(gamma: float | Literal["auto", "scale"], rows: Array) -> float:
    """Return the width of the kernel as a number, by scikit-learn's rules for ``auto`` and ``scale``."""
    if not isinstance(gamma, str):
        return gamma
    variance = float(rows.var()) if gamma == "scale" else 1.0
    return 1.0 / (rows.shape[1] * variance) if variance else 1.0


def scale(features: Array, low: Array | None, span: Array | None) -> Array:
    """Bring features (T, E) to -1 .. 1 by a least value and a range (E,); as they are where these are None."""
    return features if low is None or span is None else (features - low) / span * 2 - 1


def choose_svr(
    features: Mapping[str, Array],
    recordings: Mapping[str, Recording],
    *,
    groups: Mapping[str, str],
    grid: Sequence[SvrSetting],
    ratio: int,
    normalise: bool = True,
    pad: Pad = "hold",
    name: str = "",
) -> Chosen:
    """Choose the setting with the best mean concordance over inner groups, each left out once.

    The published program chooses by the very story that it reports on.

    Parameters
    ----------
    features
        Session to (T, E): training sessions, nothing else.
    recordings
        Their truth.
    groups
        Session to what is left out together, e.g. its story.
    grid
        Settings; of several equally good ones the first is taken, and a single one is not tried.
    ratio, pad
        Frames of a step, and how frames behind the last are filled.
    normalise
        As in `fit_svr`, fitted anew in every inner fold.
    name
        Column ``round`` of the search.

    Raises
    ------
    FoldError
        When there is a choice, but only one group.
    SettingsError
        When the grid is empty.
    """
    if not grid:
        raise SettingsError("There is no setting of the regression to try.", expected="One or more.")
    names = sorted({groups[session] for session in features})
    if len(grid) == 1:
        return Chosen(grid[0], pd.DataFrame(columns=SEARCH))
    if len(names) < 2:
        raise FoldError(
            f"The training sessions are of {len(names)} group, so that none can be left out to choose a setting.",
            expected="Two stories (or subjects) or more.",
            remedy="Give one setting, or more training sessions.",
        )
    truth = {session: recordings[session].valence for session in features}
    rows: list[list[object]] = []
    means = []
    for setting in grid:
        found = []
        for inner in names:
            learnt = {session: own for session, own in features.items() if groups[session] != inner}
            fitted = fit_svr(learnt, truth, setting=setting, normalise=normalise)
            asked = {session: fitted.predict(own) for session, own in features.items() if groups[session] == inner}
            found.append(mean_concordance(asked, recordings, ratio=ratio, pad=pad))
            rows.append([name, setting.cost, setting.gamma, setting.epsilon, setting.tolerance, inner, found[-1]])
        means.append(np.mean(found))
    best = int(np.nanargmax(means)) if not np.isnan(means).all() else 0
    return Chosen(grid[best], pd.DataFrame(rows, columns=SEARCH))


def mean_concordance(
    answers: Mapping[str, Array], recordings: Mapping[str, Recording], *, ratio: int, pad: Pad = "hold"
) -> float:
    """Average the concordance of sessions, frame by frame; NaN when none has a truth."""
    found = []
    for session, steps in answers.items():
        truth = recordings[session].original
        known = ~np.isnan(truth)
        if known.any() and not recordings[session].hidden:
            found.append(ccc(truth[known], steps_to_frames(steps, len(truth), ratio=ratio, pad=pad)[known]))
    return float(np.mean(found)) if found else float("nan")
