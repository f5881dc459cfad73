"""Agreement of two courses: concordance correlation, Pearson's correlation, mean squared error."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nbpkg.errors import TableError

Array = NDArray[np.float64]
Edge = Literal["zero", "nan", "training"]
EDGES: tuple[Edge, ...] = ("zero", "nan", "training")


def ccc(truth: ArrayLike, predicted: ArrayLike, *, edge: Edge = "zero") -> float:
    """Measure concordance: correlation, less what differs in mean and in spread.

    With population moments, 2 cov / (var + var + (difference of the means)²), in 64 bits whatever the input.

    Parameters
    ----------
    truth, predicted
        [frames], equally long.
    edge
        What it is where a side does not vary, or there is one frame. ``zero``: 0, so that no mean is poisoned and no
        constant answer rewarded; `why_degenerate` says so. ``nan``: undefined, as the challenge's scorer has it.
        ``training``: as the published training program has it, 0, but undefined where both are the same constant.

    Returns
    -------
    float
        -1 to 1; NaN where a value is no number, whatever the edge.

    Raises
    ------
    TableError
        When lengths differ, there is no frame, or the edge is unknown.

    Source
    ------
    Lin (1989). The published program computes the moments of answers in 32 bits; ours differ from the 8th digit.

    Examples
    --------
    >>> ccc([0.0, 1.0], [0.0, 1.0]), ccc([0.0, 1.0], [1.0, 2.0]), ccc([0.0, 1.0], [0.5, 0.5])
    (1.0, 0.3333333333333333, 0.0)
    """
    if edge not in EDGES:
        raise TableError(f"{edge!r} is no way to treat a constant course.", expected=f"One of {', '.join(EDGES)}.")
    a, b = _both(truth, predicted)
    if np.isnan(a).any() or np.isnan(b).any():
        return float("nan")
    if _is_constant(a) or _is_constant(b):
        same = _is_constant(a) and _is_constant(b) and a[0] == b[0]
        return float("nan") if edge == "nan" or (edge == "training" and same) else 0.0
    mean_a, mean_b = a.mean(), b.mean()
    spread = ((a - mean_a) ** 2).mean() + ((b - mean_b) ** 2).mean() + (mean_a - mean_b) ** 2
    # squares of differences below 1e-154 vanish
    return float(2 * ((a - mean_a) * (b - mean_b)).mean() / spread) if spread > 0 else 0.0


def pearson(truth: ArrayLike, predicted: ArrayLike) -> float:
    """Measure Pearson's correlation; NaN where a side is constant, there is one frame, or a value is no number.

    Parameters
    ----------
    truth, predicted
        [frames], equally long.

    Raises
    ------
    TableError
        When lengths differ or there is no frame.

    Examples
    --------
    >>> pearson([0.0, 1.0, 2.0], [5.0, 7.0, 9.0]), pearson([0.0, 1.0], [3.0, 3.0])
    (1.0, nan)
    """
    a, b = _both(truth, predicted)
    if _is_constant(a) or _is_constant(b) or np.isnan(a).any() or np.isnan(b).any():
        return float("nan")
    a, b = a - a.mean(), b - b.mean()
    length = float(np.sqrt((a @ a) * (b @ b)))
    return float(np.clip(a @ b / length, -1, 1)) if length > 0 else float("nan")


def mse(truth: ArrayLike, predicted: ArrayLike) -> float:
    """Average the squared differences; NaN where a value is no number.

    Parameters
    ----------
    truth, predicted
        [frames], equally long.

    Raises
    ------
    TableError
        When lengths differ or there is no frame.
    """
    a, b = _both(truth, predicted)
    return float(((a - b) ** 2).mean())


def why_degenerate(truth: ArrayLike, predicted: ArrayLike) -> str:
    """Say why concordance means little or nothing for two courses; empty where it does mean something.

    Examples
    --------
    >>> why_degenerate([0.0, 0.0], [0.5, 0.6])
    'the truth is constant'
    """
    a, b = _both(truth, predicted)
    names = ("truth", "answer")
    undefined = [name for name, values in zip(names, (a, b), strict=True) if np.isnan(values).any()]
    if undefined:
        return f"the {' and the '.join(undefined)} {'hold' if len(undefined) > 1 else 'holds'} what is no number"
    if len(a) == 1:
        return "there is one frame only"
    constant = [name for name, values in zip(names, (a, b), strict=True) if _is_constant(values)]
    return f"the {' and the '.join(constant)} {'are' if len(constant) > 1 else 'is'} constant" if constant else ""


def _both(truth: ArrayLike, predicted: ArrayLike) -> tuple[Array, Array]:
    a, b = np.asarray(truth, np.float64), np.asarray(predicted, np.float64)
    if a.ndim != 1 or a.shape != b.shape or not len(a):
        raise TableError(
            f"A truth of shape {a.shape} cannot be held against an answer of shape {b.shape}.",
            expected="Two courses of the same frames, at least one.",
            remedy="Bring the answer to the frames of the annotation first (`steps_to_frames`).",
        )
    return a, b


def _is_constant(values: Array) -> bool:
    """Compare with the first value: the variance of equal values need not be exactly 0."""
    return bool((values == values[0]).all())
