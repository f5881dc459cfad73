"""Attention maps of networks: values on the method's own scale; scaling and resizing are separate, visible acts."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nbpkg.errors import ExplainError

Values = NDArray[np.float32]

# Files that are cut, foreign or changed; all mean the same to the reader.
UNREADABLE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError)
ABOUT = "about"  # entry of a file of maps that says what the maps are of


@dataclass(frozen=True)
class MethodFacts:
    """What one needs to know of an explanation method before running it.

    Parameters
    ----------
    name, title
        As in settings and tables, and as people call it.
    kind
        ``pixel`` (a value for every pixel), ``layer`` (every place of a layer) or ``block`` (every block covered).
    signed
        Whether negative values speak against the class; else all values say how much a place matters.
    source
        Where the method was published.
    """

    name: str
    title: str
    kind: str
    signed: bool
    source: str


METHOD_FACTS: Mapping[str, MethodFacts] = MappingProxyType(
    {
        facts.name: facts
        for facts in (
            MethodFacts("gradient", "Gradient", "pixel", False, "Simonyan et al., ICLR workshop 2014"),
            MethodFacts("gradient_input", "Gradient × input", "pixel", True, "Shrikumar et al., arXiv 1605.01713"),
            MethodFacts(
                "guided_backprop", "Guided backprop", "pixel", False, "Springenberg et al., ICLR workshop 2015"
            ),
            MethodFacts("gradcam", "Grad-CAM", "layer", False, "Selvaraju et al., ICCV 2017"),
            MethodFacts("guided_gradcam", "Guided Grad-CAM", "pixel", False, "Selvaraju et al., ICCV 2017"),
            MethodFacts("gradcam_plus_plus", "Grad-CAM++", "layer", False, "Chattopadhay et al., WACV 2018"),
            MethodFacts("hirescam", "HiResCAM", "layer", True, "Draelos and Carin, arXiv 2011.08891"),
            MethodFacts("layercam", "LayerCAM", "layer", False, "Jiang et al., IEEE TIP 2021"),
            MethodFacts("occlusion", "Occlusion", "block", False, "Zeiler and Fergus, ECCV 2014"),
            MethodFacts(
                "integrated_gradients", "Integrated gradients", "pixel", True, "Sundararajan et al., ICML 2017"
            ),
            MethodFacts("smoothgrad", "SmoothGrad", "pixel", False, "Smilkov et al., arXiv 1706.03825"),
            MethodFacts("rollout", "Attention roll-out", "layer", False, "Abnar and Zuidema, ACL 2020"),
            MethodFacts("heatmap", "Predicted heat map", "layer", False, "what the network itself answers"),
        )
    }
)


@dataclass(frozen=True, eq=False)
class Map:
    """How much each place of a clip matters to one class, on the method's own scale.

    Parameters
    ----------
    values
        float32 ``[T', H', W']`` (a picture: ``[H', W']``, a sequence: ``[T']``), as coarse as the method gives it;
        `enlarge` brings it to the clip's size.
    method
        One of `METHOD_FACTS`.
    layer
        Dotted path of the layer explained; empty for methods of the input.
    target
        Class explained.
    signed
        Whether negative values speak against the class.
    settings
        What else the values depend on, plain data.
    """

    values: Values
    method: str
    layer: str
    target: int
    signed: bool
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """Method, layer and class in words."""
        layer = f", layer {self.layer!r}" if self.layer else ""
        return f"{self.method}{layer}, class {self.target}"

    @property
    def range(self) -> tuple[float, float]:
        """Smallest and largest value; the same when no place stands out."""
        return float(self.values.min()), float(self.values.max())


def saliency(raw: ArrayLike) -> Values:
    """Reduce values of several channels to how strong the strongest is; the scale stays.

    Parameters
    ----------
    raw
        ``[C, *space]``, e.g. a gradient.

    Returns
    -------
    ndarray
        float32 ``[*space]``, at least 0.

    Examples
    --------
    >>> saliency([[0.5, -2.0], [-1.0, 1.0]]).tolist()
    [1.0, 2.0]
    """
    return np.asarray(np.abs(np.asarray(raw)).max(axis=0), dtype=np.float32)


def is_constant(values: ArrayLike) -> bool:
    """Tell whether all values are the same, so that no place stands out."""
    array = np.asarray(values)
    return array.size == 0 or bool(array.min() == array.max())


def check_map(explained: Map) -> Map:
    """Return a map that tells places apart.

    Raises
    ------
    ExplainError
        Naming method and layer, when values are not finite numbers or all the same.
    """
    check_finite(explained.values, where=explained.where)
    if is_constant(explained.values):
        raise _constant(explained.values, explained.where)
    return explained


def check_finite(values: Values, *, where: str) -> None:
    """Refuse values that are not finite numbers.

    Raises
    ------
    ExplainError
        Naming what `where` names.
    """
    bad = int(np.count_nonzero(~np.isfinite(values)))
    if bad:
        raise ExplainError(
            f"{bad} of {values.size} values of the map are no finite numbers.",
            where=where,
            expected="Finite numbers everywhere.",
            remedy="Check the network's weights and the clip; half precision may overflow, float32 does not.",
        )


def normalise(values: Values, how: str, *, where: str = "the map") -> Values:
    """Bring a map to 0..1; the values of two maps can no longer be compared then.

    Parameters
    ----------
    values
        ``[T, H, W]``, ``[H, W]`` or ``[T]``, finite.
    how
        ``clip``: the smallest value of all becomes 0, the largest 1. ``frame``: the same for each first index on its
        own (each frame of ``[T, H, W]``); a frame without differences becomes 0, as nothing stands out in it.
    where
        What the map is, for the message, e.g. `Map.where`.

    Returns
    -------
    ndarray
        float32, of the same shape.

    Raises
    ------
    ExplainError
        When all values of the map are the same, or some are no finite numbers.

    Source
    ------
    The published helpers divide by zero then and give NaN.

    Examples
    --------
    >>> normalise(np.array([[2.0, 4.0], [6.0, 8.0]], np.float32), "frame").tolist()
    [[0.0, 1.0], [0.0, 1.0]]
    """
    check_finite(values, where=where)
    if is_constant(values):
        raise _constant(values, where)
    if how not in ("clip", "frame"):
        raise ExplainError(f"A map cannot be normalised by {how!r}.", expected="'clip' or 'frame'.")
    axes = tuple(range(values.ndim)) if how == "clip" else tuple(range(1, values.ndim))
    exact = values.astype(np.float64)
    low = exact.min(axis=axes, keepdims=True)
    spread = exact.max(axis=axes, keepdims=True) - low
    scaled: Values = ((exact - low) / np.where(spread > 0, spread, 1.0)).astype(np.float32)
    return scaled


def enlarge(values: Values, shape: Sequence[int], mode: str) -> Values:
    """Bring a map to another size, axis by axis.

    Parameters
    ----------
    values
        ``[T', H', W']``, ``[H', W']`` or ``[T']``.
    shape
        The new length of every axis.
    mode
        ``trilinear`` (linear along every axis), ``nearest``, or ``bicubic``, which is cubic along the last two axes and
        linear along the first of three; it may leave the range of the values by a little.

    Returns
    -------
    ndarray
        float32, of `shape`.

    Raises
    ------
    ExplainError
        When the axes do not agree or there is no such mode.

    Source
    ------
    As `torch.nn.functional.interpolate` without ``align_corners`` and without smoothing when a map shrinks.

    Examples
    --------
    >>> enlarge(np.array([0.0, 1.0], np.float32), [4], "trilinear").tolist()
    [0.0, 0.25, 0.75, 1.0]
    """
    if len(shape) != values.ndim or min(shape, default=0) < 1 or 0 in values.shape:
        raise ExplainError(
            f"A map of shape {list(values.shape)} cannot be brought to {list(shape)}.",
            expected="As many axes as the map has, each at least 1 long.",
            remedy="Correct the shape.",
        )
    kinds = {"trilinear": "linear", "nearest": "nearest", "bicubic": "cubic"}
    if mode not in kinds:
        raise ExplainError(f"A map cannot be enlarged by {mode!r}.", expected=f"One of {', '.join(kinds)}.")
    result = values.astype(np.float64)
    for axis, new in enumerate(shape):
        in_time = values.ndim == 3 and axis == 0 and mode == "bicubic"
        weights = _resampling(values.shape[axis], new, "linear" if in_time else kinds[mode])
        result = np.moveaxis(np.tensordot(weights, result, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(result, dtype=np.float32)


def _resampling(old: int, new: int, kind: str) -> NDArray[np.float64]:
    """Return the matrix [new, old] that resamples one axis."""
    weights = np.zeros((new, old))
    rows = np.arange(new)
    if kind == "nearest":
        weights[rows, np.minimum(rows * old // new, old - 1)] = 1.0
        return weights
    places = (rows + 0.5) * old / new - 0.5
    if kind == "linear":
        places = np.clip(places, 0, old - 1)
    first = np.floor(places).astype(int)
    part = places - first
    for shift, share in _linear(part) if kind == "linear" else _cubic(part):
        np.add.at(weights, (rows, np.clip(first + shift, 0, old - 1)), share)
    return weights


def _linear(part: NDArray[np.float64]) -> list[tuple[int, NDArray[np.float64]]]:
    return [(0, 1 - part), (1, part)]


def _cubic(part: NDArray[np.float64], bend: float = -0.75) -> list[tuple[int, NDArray[np.float64]]]:
    """Weights of the four neighbours; the bend is that of torch and OpenCV."""

    def near(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return ((bend + 2) * x - (bend + 3)) * x * x + 1

    def far(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return ((bend * x - 5 * bend) * x + 8 * bend) * x - 4 * bend

    return [(-1, far(part + 1)), (0, near(part)), (1, near(1 - part)), (2, far(2 - part))]


def read_map(folder: Path, row: Mapping[str, Any]) -> Values:
    """Read one map that table ``maps`` lists.

    Parameters
    ----------
    folder
        Run folder to which the column ``file`` is relative.
    row
        A row of the table: ``file`` and ``entry``.

    Returns
    -------
    ndarray
        float32, as coarse as the method gave it, on the method's own scale.

    Raises
    ------
    ExplainError
        When the file is missing, damaged or lacks the map.
    """
    path = folder / str(row["file"])
    try:
        with np.load(path, allow_pickle=False) as content:
            return np.asarray(content[str(row["entry"])], dtype=np.float32)
    except UNREADABLE as error:
        raise ExplainError(
            f"The map {row['entry']!r} cannot be read: {type(error).__name__}: {error}.",
            where=str(path),
            expected="A file of maps that notebook 08 wrote.",
            remedy="Run notebooks/08_compare.ipynb again: it makes damaged files anew and keeps the others.",
        ) from None


def read_about(path: Path) -> dict[str, Any]:
    """Read what the maps of a file are of (see `nbpkg.attention.machine.explain_snippets`)."""
    with np.load(path, allow_pickle=False) as content:
        found: dict[str, Any] = json.loads(bytes(content[ABOUT]))
    return found


def _constant(values: Values, where: str) -> ExplainError:
    value = f"{float(values.flat[0]):.6g}" if values.size else "nothing"
    return ExplainError(
        f"All {values.size} values of the map are {value}: no place matters more than another.",
        where=where,
        expected="Values that differ.",
        remedy="Explain the other class or another layer: Grad-CAM is zero everywhere when nothing speaks for a class.",
    )
