"""Answers that do not look at the face: the lines every network has to beat.

A camera wearer's partner stands near and in the middle of the picture, and looks at the wearer more often than
passers-by do. Where a face is, and how large, therefore says something without any look at it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg.errors import TableError

Array = NDArray[np.float64]
Feature = Literal["size", "centre"]
FEATURES: tuple[Feature, ...] = ("size", "centre")
BOX = ("x0", "y0", "x1", "y1", "width", "height")
_STEPS, _RIDGE = 50, 1e-3


@dataclass(frozen=True)
class BoxPrior:
    """A logistic regression on where a face is and how large.

    Parameters
    ----------
    features
        What it takes, see `describe_boxes`.
    means, spreads
        [features], of the training faces.
    coefficients
        [features + 1], the constant first; their signs are the directions found in training.
    """

    features: tuple[Feature, ...]
    means: tuple[float, ...]
    spreads: tuple[float, ...]
    coefficients: tuple[float, ...]

    def score(self, boxes: pd.DataFrame) -> Array:
        """Return the probability of looking for each box, [n].

        Raises
        ------
        TableError
            As `describe_boxes`.
        """
        scaled = (describe_boxes(boxes, self.features) - np.array(self.means)) / np.array(self.spreads)
        weights = np.array(self.coefficients)
        return _squash(weights[0] + scaled @ weights[1:])


def describe_boxes(boxes: pd.DataFrame, features: tuple[Feature, ...] = FEATURES) -> Array:
    """Say how large faces are and how near to the middle of the picture.

    Parameters
    ----------
    boxes
        x0, y0, x1, y1: box, pixels; width, height: of the picture, pixels.
    features
        ``size``: square root of the share of the picture that the box covers. ``centre``: 1 in the middle of the
        picture, 0 in its corners.

    Returns
    -------
    numpy.ndarray
        [n, features].

    Raises
    ------
    TableError
        When a column lacks, or a box or picture has no area.

    Examples
    --------
    >>> box = {"x0": [40.0], "y0": [40.0], "x1": [60.0], "y1": [60.0], "width": [100], "height": [100]}
    >>> describe_boxes(pd.DataFrame(box)).tolist()
    [[0.2, 1.0]]
    """
    missing = [name for name in BOX if name not in boxes.columns]
    if missing:
        raise TableError(f"The boxes lack {', '.join(missing)}.", expected=f"Columns {', '.join(BOX)}.")
    x0, y0, x1, y1, width, height = (boxes[name].to_numpy(np.float64) for name in BOX)
    broken = ~((x1 > x0) & (y1 > y0) & (width > 0) & (height > 0))
    if broken.any():
        raise TableError(
            f"{int(broken.sum())} of {len(boxes)} boxes or pictures have no area.",
            where=f"row {int(broken.argmax())}",
            expected="x1 above x0, y1 above y0, and the size of the picture.",
        )
    across, down = (x0 + x1) / width - 1, (y0 + y1) / height - 1
    found = {
        "size": np.sqrt((x1 - x0) * (y1 - y0) / (width * height)),
        "centre": 1 - np.sqrt((across**2 + down**2) / 2),
    }
    return np.stack([found[name] for name in features], axis=1)


def fit_box_prior(boxes: pd.DataFrame, labels: NDArray, *, features: tuple[Feature, ...] = FEATURES) -> BoxPrior:
    """Learn from training faces in which direction size and place speak for looking, and how much.

    Parameters
    ----------
    boxes
        As in `describe_boxes`, training faces only.
    labels
        [n], 1 looking, 0 not.
    features
        What to take.

    Raises
    ------
    TableError
        When one of the classes does not occur, or as `describe_boxes`.
    """
    table, truth = describe_boxes(boxes, features), np.asarray(labels, np.float64)
    share = share_looking(truth)
    if share in (0, 1):
        raise TableError(
            f"All {len(truth)} training faces have one label.", expected="Faces that look and faces that do not."
        )
    means, spreads = table.mean(axis=0), table.std(axis=0)
    spreads = np.where(spreads > 1e-12, spreads, 1.0)
    design = np.column_stack([np.ones(len(table)), (table - means) / spreads])
    return BoxPrior(tuple(features), tuple(means.tolist()), tuple(spreads.tolist()), _fit(design, truth, share))


def share_looking(labels: NDArray) -> float:
    """Return the share of training faces that look: the constant answer that is right on average.

    Raises
    ------
    TableError
        When there is no face, or a label is neither 0 nor 1.
    """
    truth = np.asarray(labels)
    if not len(truth) or not np.isin(truth, (0, 1)).all():
        raise TableError("The training labels cannot be used.", expected="At least one, each 0 or 1.")
    return float(truth.mean())


def answer_blindly(predictions: pd.DataFrame, system: str, scores: Array | float) -> pd.DataFrame:
    """Put other answers into a table of predictions, so that they are scored on the very same faces.

    Parameters
    ----------
    predictions
        Table ``looking_predictions`` of one system.
    system
        What the answers go by.
    scores
        [n] of `BoxPrior.score`, or one number for all.

    Raises
    ------
    TableError
        When the predictions are of several systems.
    """
    systems = sorted(set(predictions["system"]))
    if len(systems) > 1:
        raise TableError(f"The predictions are of systems {', '.join(systems)}.", expected="The faces of one system.")
    return predictions.assign(system=system, score=scores)


def _fit(design: Array, truth: Array, share: float) -> tuple[float, ...]:
    """Maximise the likelihood by Newton's steps; a small penalty keeps separable faces finite."""
    weights = np.zeros(design.shape[1])
    weights[0] = np.log(share / (1 - share))
    penalty = np.full(len(weights), _RIDGE * len(truth))
    penalty[0] = 0
    for _ in range(_STEPS):
        found = _squash(design @ weights)
        slope = design.T @ (truth - found) - penalty * weights
        bend = (design * (found * (1 - found))[:, None]).T @ design + np.diag(penalty)
        step = np.linalg.solve(bend + 1e-9 * np.eye(len(weights)), slope)
        weights = weights + step / max(1.0, float(np.abs(step).max()))  # a full step may overshoot where classes part
        if np.abs(step).max() < 1e-10:
            break
    return tuple(weights.tolist())


def _squash(values: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-np.clip(values, -700, 700))), np.float64)
