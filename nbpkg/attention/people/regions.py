"""How far a network's map agrees with faces, bodies and motion, for each person and region.

Maps are float ``[T, H, W]`` within 0..1. The study's page shows these scores in a figure and gives neither bins,
weights nor colours; what is stated here is our choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from nbpkg.errors import ExplainError, TableError

Floats = NDArray[np.floating]
BINS = 20
MEASURES = ("mutual_information", "cross_entropy")
SIDES = ["x0", "y0", "x1", "y1"]
REGION = ["role", "part"]
_LEVELS = np.array([0.0, 2 / 3, 1.0, 1 / 3], dtype=np.float32)  # of `nbpkg.datasets.people.augment_people.PARTS`


def mutual_information(first: ArrayLike, second: ArrayLike, *, bins: int = BINS) -> float:
    """Return how much the values of one map tell about those of another at the same places.

    Parameters
    ----------
    first, second
        Of the same shape, within 0..1.
    bins
        Equal bins of each map's values.

    Returns
    -------
    float
        Nats, at least 0, of the joint histogram. Of n places it is too high by up to ``(bins - 1)**2 / (2 n)``: compare
        small regions with regions of their size only.
    """
    counts, _, _ = np.histogram2d(np.ravel(first), np.ravel(second), bins=bins, range=[[0, 1], [0, 1]])
    joint = counts / counts.sum()
    apart = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    filled = joint > 0
    return float((joint[filled] * np.log(joint[filled] / apart[filled])).sum())


def cross_entropy(reference: ArrayLike, other: ArrayLike) -> float:
    """Return the cross-entropy of two maps, each as a distribution over places by softmax.

    Parameters
    ----------
    reference, other
        Of the same shape.

    Returns
    -------
    float
        Nats; of places that are all alike the logarithm of their number.
    """
    first, second = (np.ravel(values).astype(np.float64) for values in (reference, other))
    return float(-(np.exp(_log_softmax(first)) * _log_softmax(second)).sum())


def score_regions(
    cam: Floats, semantic: Floats, flow: Floats, boxes: pd.DataFrame, *, alpha: float = 0.5
) -> pd.DataFrame:
    """Score how far a map agrees with what is seen and with what moves, in each region of each frame.

    Parameters
    ----------
    cam
        The network's map, ``[T, H, W]``, 0..1.
    semantic
        Faces and bodies, e.g. from `draw_semantic`, of the same shape.
    flow
        Strength of motion, e.g. from `measure_motion`, of the same shape.
    boxes
        Regions: columns frame (from 0), role (e.g. parent, child, all), part (e.g. face, body, all), x0, y0, x1, y1 in
        pixels of the maps, whole or cut towards zero.
    alpha
        Weight of `semantic`; `flow` has the rest.

    Returns
    -------
    pandas.DataFrame
        One row for each row of `boxes`: frame, role, part, mutual_information, cross_entropy, places (of the region,
        pixels). Scores are NaN where nothing of the box lies in the frame.

    Raises
    ------
    ExplainError
        When maps differ in shape, leave 0..1, or a frame does not exist.
    TableError
        When a column is missing.
    """
    _check_maps(cam, semantic, flow, alpha)
    missing = [name for name in ("frame", *REGION, *SIDES) if name not in boxes]
    if missing:
        raise TableError(f"The boxes lack the columns {', '.join(missing)}.", expected="frame, role, part, x0 to y1.")
    rows = []
    for frame, role, part, *sides in boxes[["frame", *REGION, *SIDES]].itertuples(index=False, name=None):
        if not 0 <= frame < len(cam):
            raise ExplainError(f"There is no frame {frame}.", where=f"{role}, {part}", expected=f"0 to {len(cam) - 1}.")
        where = _cut(sides, cam.shape[1:])
        scores = (np.nan, np.nan)
        places = 0
        if where is not None:
            seen, about, moving = (values[frame][where] for values in (cam, semantic, flow))
            places = seen.size
            scores = (
                alpha * mutual_information(seen, about) + (1 - alpha) * mutual_information(seen, moving),
                alpha * cross_entropy(about, seen) + (1 - alpha) * cross_entropy(moving, seen),
            )
        rows.append((frame, role, part, *scores, places))
    return pd.DataFrame(rows, columns=["frame", *REGION, *MEASURES, "places"])


def average_frames(scores: pd.DataFrame) -> pd.DataFrame:
    """Average the scores of each region over its frames.

    Parameters
    ----------
    scores
        From `score_regions`.

    Returns
    -------
    pandas.DataFrame
        role, part, mutual_information, cross_entropy, n (frames with a score), sorted by region; NaN where n is 0.
    """
    groups = scores.groupby(REGION, sort=True)
    found = groups[list(MEASURES)].mean()
    return found.assign(n=groups["mutual_information"].count()).reset_index()


def correlate_cues(scores: pd.DataFrame, cues: pd.DataFrame) -> pd.DataFrame:
    """Correlate region scores with social cues over clips or frames.

    Parameters
    ----------
    scores
        Columns unit (clip or frame), role, part and the two measures, one row for each unit and region.
    cues
        Column unit and one numeric column for each cue, e.g. smile, head_angle, body_distance.

    Returns
    -------
    pandas.DataFrame
        role, part, measure, cue, pearson, spearman, n (units with both values); NaN where fewer than 3 units have both
        or one of them never changes.

    Raises
    ------
    TableError
        When a column is missing or a unit has several rows of cues.
    """
    if "unit" not in scores or "unit" not in cues or cues["unit"].duplicated().any():
        raise TableError("Scores and cues have no common key.", expected="Column unit in both, each once in the cues.")
    names = [name for name in cues if name != "unit"]
    together = scores.merge(cues, on="unit", how="inner", validate="many_to_one")
    rows = [
        (role, part, measure, name, *_correlate(group[measure], group[name]))
        for (role, part), group in together.groupby(REGION, sort=True)
        for measure in MEASURES
        for name in names
    ]
    return pd.DataFrame(rows, columns=[*REGION, "measure", "cue", "pearson", "spearman", "n"])


def draw_semantic(
    parts: NDArray[np.uint8], joints: Sequence[ArrayLike] | None = None, *, spread: float = 3.0
) -> Floats:
    """Draw what matters about people: parts of the body, and their joints as round blobs.

    Parameters
    ----------
    parts
        Number in `nbpkg.datasets.people.augment_people.PARTS` of each pixel, ``[T, H, W]``: face 1, head 2/3, upper
        body 1/3, other 0.
    joints
        For each frame joints ``[n, 2]``, x and y in pixels, NaN where unseen; None for no joints.
    spread
        Of the blobs, pixels; their centre is 1.

    Returns
    -------
    ndarray
        float32 ``[T, H, W]``, 0..1, the stronger of part and joint.
    """
    out = _LEVELS[parts]
    y, x = np.mgrid[: parts.shape[1], : parts.shape[2]]
    for frame, points in enumerate(joints or ()):
        for px, py in np.asarray(points, dtype=np.float64).reshape(-1, 2):
            if np.isfinite(px + py):
                blob = np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * spread**2))
                out[frame] = np.maximum(out[frame], blob)
    return out


def measure_motion(frames: NDArray[np.uint8]) -> Floats:
    """Measure how far each place moves to the next frame, relative to the strongest motion of the clip.

    Parameters
    ----------
    frames
        uint8 RGB ``[T, H, W, 3]``.

    Returns
    -------
    ndarray
        float32 ``[T, H, W]``, 0..1; the last frame has the motion of the one before, a still clip is 0.

    Source
    ------
    Optical flow by Farnebäck's method (OpenCV), its length without colours.
    """
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    steps = np.zeros(frames.shape[:3], dtype=np.float32)
    for number, (before, after) in enumerate(pairwise(grey)):
        flow = cv2.calcOpticalFlowFarneback(before, after, None, 0.5, 3, 15, 3, 5, 1.2, 0)  # type: ignore[call-overload]
        steps[number] = np.hypot(flow[..., 0], flow[..., 1])
    steps[-1] = steps[-2] if len(frames) > 1 else 0
    strongest = float(steps.max())
    return steps / np.float32(strongest) if strongest else steps


def _log_softmax(values: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = values - values.max()
    found: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum())
    return found


def _cut(sides: Sequence[float], size: tuple[int, ...]) -> tuple[slice, slice] | None:
    """Cut a box to the frame; None when nothing is left or it is not known."""
    if not np.isfinite(sides).all():
        return None
    x0, y0, x1, y1 = (int(side) for side in sides)
    left, right = max(0, x0), min(size[1], x1)
    top, bottom = max(0, y0), min(size[0], y1)
    return (slice(top, bottom), slice(left, right)) if left < right and top < bottom else None


def _check_maps(cam: Floats, semantic: Floats, flow: Floats, alpha: float) -> None:
    for name, values in (("cam", cam), ("semantic", semantic), ("flow", flow)):
        inside = values.size and np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1
        if values.shape != cam.shape or values.ndim != 3 or not inside:
            raise ExplainError(
                f"The map {name} of shape {list(values.shape)} cannot be compared.",
                expected=f"[T, H, W] as the network's map {list(cam.shape)}, all values within 0..1.",
                remedy="Scale the map, and resize it to the network's map.",
            )
    if not 0 <= alpha <= 1:
        raise ExplainError(f"The semantic map cannot have the weight {alpha}.", expected="0 to 1.")


def _correlate(first: pd.Series, second: pd.Series) -> tuple[float, float, int]:
    both = pd.DataFrame({"a": first.to_numpy(dtype=float), "b": second.to_numpy(dtype=float)}).dropna()
    if len(both) < 3 or not (np.ptp(both["a"]) and np.ptp(both["b"])):
        return np.nan, np.nan, len(both)
    pearson, spearman = stats.pearsonr(both["a"], both["b"])[0], stats.spearmanr(both["a"], both["b"])[0]
    return float(pearson), float(spearman), len(both)
