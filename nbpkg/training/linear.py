"""One linear head on frozen features: a small convex problem, solved to the end.

A head standardises its features with the statistics of the rows it was trained on, and carries these statistics.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from nbpkg.errors import SettingsError, TableError
from nbpkg.metrics.classification import balanced_accuracy

Matrix = NDArray[np.float64]
_Rows = tuple[Matrix, NDArray[np.int64]]  # standardised features and labels
MAX_STEPS = 200  # a well-posed problem needs 10 to 40
FLAT = 1e-4  # largest slope of a solution


@dataclass(frozen=True, order=True)
class Setting:
    """One point of the grid.

    Parameters
    ----------
    weight_decay
        Weight of the sum of squared weights in the loss, 0 or more.
    class_weights
        Whether every class counts the same, however rare.
    """

    weight_decay: float = 1e-2
    class_weights: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.weight_decay < float("inf"):
            raise SettingsError(
                f"Weight decay {self.weight_decay} was asked for.", expected="0 or more.", remedy="Correct the grid."
            )

    @property
    def name(self) -> str:
        """As written into tables, e.g. ``weight_decay=0.01 class_weights=no``."""
        return f"weight_decay={self.weight_decay:g} class_weights={'yes' if self.class_weights else 'no'}"


@dataclass(frozen=True)
class Head:
    """A trained linear head, ready for safetensors.

    Parameters
    ----------
    arrays
        float32: ``weight`` [classes, D], ``bias`` [classes], ``mean`` [D] and ``std`` [D] of the training rows.
    metadata
        Text: weight_decay, class_weights, classes, steps, converged (yes, no), train_loss, n_train; `search_heads` adds
        task, variable, sessions (JSON) and score.
    """

    arrays: dict[str, NDArray[np.float32]]
    metadata: dict[str, str]

    @property
    def sessions(self) -> list[str]:
        """The sessions whose clips trained the head."""
        named: list[str] = json.loads(self.metadata["sessions"])
        return named


class Course(NamedTuple):
    """What a training looked like after each step: cross entropies, and balanced accuracy on the rows left out."""

    train_loss: list[float]
    validation_loss: list[float]
    validation_score: list[float]
    slope: float = float("nan")  # largest slope of the loss at the end


def fit_head(
    features: NDArray[np.float32],
    labels: ArrayLike,
    *,
    setting: Setting | None = None,
    classes: int = 2,
    validation: tuple[NDArray[np.float32], ArrayLike] | None = None,
) -> tuple[Head, Course]:
    """Fit a multinomial logistic regression by full-batch LBFGS in double precision, from zero weights.

    The loss is the mean cross entropy plus ``weight_decay`` times the sum of squared weights; biases are free.

    Parameters
    ----------
    features
        [n, D], finite.
    labels
        [n], 0 .. classes - 1, at least two of them present.
    setting
        Weight decay and class weights.
    classes
        Number of classes.
    validation
        Features and labels that are only measured after each step.

    Returns
    -------
    tuple of Head and Course
        The last iterate, and its course. Nothing is chosen by the validation rows.

    Raises
    ------
    TableError
        For features that are not finite or do not match the labels, and for labels of a single class.

    Source
    ------
    MarcFraile/infant-engagement trains the same head by 20 epochs of Adam or LBFGS and penalises the bias too; a
    convex problem solved to the end has no learning rate and no seed.
    """
    chosen = setting or Setting()
    truth = _checked(features, labels, classes)
    mean = features.mean(axis=0, dtype=np.float64).astype(np.float32)
    std = features.std(axis=0, dtype=np.float64).astype(np.float32)
    std[std == 0] = 1  # a feature that never changes says nothing, and 0 / 0 would spread
    data = [(_standardise(features, mean, std), truth)]
    if validation is not None:
        other = _checked(*validation, classes, varied=False)
        data.append((_standardise(validation[0], mean, std), other))
    weight, bias, course = _solve(data, chosen, classes)
    arrays = {
        "weight": weight.astype(np.float32),
        "bias": bias.astype(np.float32),
        "mean": mean,
        "std": std,
    }
    metadata = {
        "weight_decay": repr(chosen.weight_decay),
        "class_weights": "yes" if chosen.class_weights else "no",
        "classes": str(classes),
        "steps": str(len(course.train_loss) - 1),
        "converged": "yes" if course.slope < FLAT else "no",
        "train_loss": repr(course.train_loss[-1]),
        "n_train": str(len(truth)),
    }
    return Head(arrays, metadata), course


def predict(head: Head, features: NDArray[np.float32]) -> NDArray[np.float64]:
    """Compute the probability of each class, [n, classes].

    Raises
    ------
    TableError
        When the features have another number of columns than the head, or are not finite.
    """
    width = head.arrays["weight"].shape[1]
    if features.ndim != 2 or features.shape[1] != width:
        raise TableError(
            f"Features have shape {features.shape}.",
            expected=f"[n, {width}], as the head was trained with.",
            remedy="Bake the features with the encoder that the head belongs to.",
        )
    _check_finite(features)
    rows = _standardise(features, head.arrays["mean"], head.arrays["std"])
    probability: Matrix = np.exp(_log_softmax(rows @ head.arrays["weight"].T.astype(np.float64) + head.arrays["bias"]))
    return probability


def _solve(data: list[_Rows], setting: Setting, classes: int) -> tuple[Matrix, Matrix, Course]:
    """Minimise over data[0]; measure at the start and after each step, on data[1] too when it is there."""
    rows, labels = data[0]
    balance = _class_weights(labels, classes) if setting.class_weights else np.ones(classes)
    wanted = np.eye(classes)[labels]
    share, every = balance[labels] / balance[labels].sum(), np.arange(len(labels))

    def loss(flat: Matrix) -> tuple[float, Matrix]:
        weight, bias = _unpack(flat, classes)
        chances = _log_softmax(rows @ weight.T + bias)
        slope = share[:, None] * (np.exp(chances) - wanted)
        value = float(setting.weight_decay * (weight**2).sum() - share @ chances[every, labels])
        by_weight = slope.T @ rows + 2 * setting.weight_decay * weight
        return value, np.concatenate([by_weight.ravel(), slope.sum(axis=0)])

    course = Course([], [], [])
    start = np.zeros(classes * rows.shape[1] + classes)
    with threadpool_limits(limits=1, user_api="blas"):  # small matrices are faster so, and equal on any number of cores
        _measure(course, data, start, balance=balance)
        found = minimize(
            loss,
            start,
            jac=True,
            method="L-BFGS-B",
            callback=lambda flat: _measure(course, data, flat, balance=balance),
            options={"maxiter": MAX_STEPS, "maxcor": 20, "ftol": 1e-10, "gtol": 1e-6},
        )
    weight, bias = _unpack(found.x, classes)
    return weight, bias, course._replace(slope=float(np.abs(found.jac).max()))


def _measure(course: Course, data: list[_Rows], flat: Matrix, *, balance: Matrix) -> None:
    weight, bias = _unpack(flat, len(balance))
    for (rows, labels), losses in zip(data, (course.train_loss, course.validation_loss), strict=False):
        chances = _log_softmax(rows @ weight.T + bias)
        share = balance[labels] / balance[labels].sum()
        losses.append(float(-share @ chances[np.arange(len(labels)), labels]))
    if len(data) > 1:
        count = len(balance)
        cells = np.bincount(labels * count + chances.argmax(axis=1), minlength=count**2)
        course.validation_score.append(float(balanced_accuracy(cells.reshape(count, count).astype(np.float64))))


def _unpack(flat: Matrix, classes: int) -> tuple[Matrix, Matrix]:
    return flat[:-classes].reshape(classes, -1), flat[-classes:]


def _log_softmax(logits: Matrix) -> Matrix:
    shifted = logits - logits.max(axis=1, keepdims=True)
    chances: Matrix = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return chances


def _class_weights(labels: NDArray[np.int64], classes: int) -> Matrix:
    """Weigh each class by one over its share; a class without training rows as the rarest that has some."""
    counts = np.bincount(labels, minlength=classes)
    return len(labels) / np.where(counts > 0, counts, counts[counts > 0].min())


def _standardise(features: NDArray[np.float32], mean: NDArray[np.float32], std: NDArray[np.float32]) -> Matrix:
    rows: Matrix = (features.astype(np.float64) - mean) / std
    return rows


def _checked(
    features: NDArray[np.float32], labels: ArrayLike, classes: int, *, varied: bool = True
) -> NDArray[np.int64]:
    """Return the labels as integers after checking that they fit the features."""
    truth = np.asarray(labels)
    if features.ndim != 2 or truth.shape != (len(features),) or not len(truth):
        raise TableError(
            f"Features have shape {features.shape} and labels {truth.shape}.",
            expected="Features [n, D] and labels [n], n at least 1.",
            remedy="Use align_features.",
        )
    _check_finite(features)
    if not np.isin(truth, np.arange(classes)).all():
        raise TableError(
            f"Labels hold {sorted(set(truth.tolist()) - set(range(classes)))}.",
            expected=f"Whole numbers from 0 to {classes - 1}.",
        )
    if varied and len(np.unique(truth)) < 2:
        raise TableError(
            f"All {len(truth)} labels are class {truth[0]}.",
            expected="At least two classes to tell apart.",
            remedy="Use fewer folds or more sessions, or leave this task and variable out.",
        )
    return truth.astype(np.int64)


def _check_finite(features: NDArray[np.float32]) -> None:
    broken = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if len(broken):
        raise TableError(
            f"{len(broken)} of {len(features)} rows of features are not finite.",
            where=f"rows {', '.join(map(str, broken[:5]))}",
            remedy="Bake the features again.",
        )
