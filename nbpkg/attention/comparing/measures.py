"""All measures of likeness between maps in one list, and all of them for many pairs of clips at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nbpkg.attention.comparing import similarity as alike
from nbpkg.attention.comparing.transport import earth_mover_frames
from nbpkg.errors import ExplainError, SettingsError

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Level = Literal["clip", "frame"]
LEVELS: tuple[Level, ...] = ("clip", "frame")


@dataclass(frozen=True)
class Options:
    """What the measures need to know besides the maps.

    Parameters
    ----------
    size
        Side at which maps are compared, pixels; published: 32.
    transport_size
        Side to which maps are averaged for the earth mover's distance, at most `size`; published: 32.
    top
        Above 0, at most 1: the share of pixels taken as fixated (of the human map, only painted ones) or claimed (of
        the machine's).
    tolerance
        At least 0: how far from a fixated pixel the pointing game still counts a hit, pixels of `size`.
    floor
        Above 0, below 1: share of each map spread evenly before Kullback-Leibler divergences.
    centre
        Above 0: standard deviation of the control that looks at the centre, as a share of the side.

    Raises
    ------
    SettingsError
        When one lies outside its range.
    """

    size: int
    transport_size: int
    top: float
    tolerance: float
    floor: float
    centre: float

    def __post_init__(self) -> None:
        fits = 2 <= self.transport_size <= self.size and 0 < self.top <= 1 and self.tolerance >= 0
        if not fits or not 0 < self.floor < 1 or self.centre <= 0:
            raise SettingsError(
                f"Maps cannot be compared with {self}.",
                expected="2 <= transport_size <= size, 0 < top <= 1, tolerance >= 0, 0 < floor < 1, centre > 0.",
                remedy="Correct the settings of the comparison.",
            )


@dataclass(frozen=True)
class Target:
    """A human map with what is derived from it, all pixels of a frame or clip in the last axis.

    Parameters
    ----------
    values
        ``[..., P]``, at least 0.
    fixated, hits
        bool ``[..., P]``: fixated pixels, and those near enough to one for the pointing game.
    negatives
        ``[P]``: how often each pixel was fixated in other clips; None when there is no other.
    options
        As given.
    """

    values: Array
    fixated: Flags
    hits: Flags
    negatives: Array | None
    options: Options


@dataclass(frozen=True)
class Measure:
    """One measure of likeness.

    Parameters
    ----------
    name, title
        Its name in tables, and in figures with its unit.
    function
        From a human `Target` and a machine's maps ``[..., P]`` to values ``[...]``.
    direction
        Which way is more alike.
    range
        Smallest and greatest possible value.
    levels
        Whether it is taken of each frame (then averaged), of the whole clip at once, or both.
    source
        Where it comes from.
    """

    name: str
    function: Callable[[Target, Array], Array]
    direction: Literal["higher", "lower"]
    range: tuple[float, float]
    levels: tuple[Level, ...]
    title: str
    source: str


def _transport(target: Target, machine: Array) -> Array:
    size = target.options.size
    planes = (values.reshape(*values.shape[:-1], size, size) for values in (target.values, machine))
    return earth_mover_frames(*planes, size=target.options.transport_size)


def _shuffled(target: Target, machine: Array) -> Array:
    if target.negatives is None:
        return np.full(np.broadcast_shapes(target.values.shape[:-1], machine.shape[:-1]), np.nan)
    return alike.auc_shuffled(target.fixated, machine, negatives=target.negatives)


def _overlap(target: Target, machine: Array) -> Array:
    return alike.intersection_over_union(target.fixated, alike.top_pixels(machine, target.options.top))


def _divergence(target: Target, machine: Array) -> Array:
    return alike.kullback_leibler(target.values, machine, floor=target.options.floor)


def _divergence_back(target: Target, machine: Array) -> Array:
    return alike.kullback_leibler(target.values, machine, floor=target.options.floor, reverse=True)


_ENDLESS = float("inf")
_PUBLISHED = "published comparison"
_LIST = (
    Measure(
        "linear_correlation",
        lambda target, machine: alike.linear_correlation(target.values, machine),
        "higher", (-1, 1), LEVELS, "Linear correlation", _PUBLISHED,
    ),
    Measure(
        "rank_correlation",
        lambda target, machine: alike.rank_correlation(target.values, machine),
        "higher", (-1, 1), LEVELS, "Rank correlation", f"{_PUBLISHED}; equal values share ranks",
    ),
    Measure(
        "earth_mover", _transport,
        "lower", (0, _ENDLESS), ("frame",), "Earth mover's distance (pixels)", f"{_PUBLISHED}; solved exactly",
    ),
    Measure(
        "histogram_intersection",
        lambda target, machine: alike.histogram_intersection(target.values, machine),
        "higher", (0, 1), LEVELS, "Histogram intersection", _PUBLISHED,
    ),
    Measure(
        "kullback_leibler", _divergence,
        "lower", (0, _ENDLESS), LEVELS, "KL divergence of human from machine (nats)", f"{_PUBLISHED}; with a floor",
    ),
    Measure(
        "kullback_leibler_reverse", _divergence_back,
        "lower", (0, _ENDLESS), LEVELS, "KL divergence of machine from human (nats)", "Kullback & Leibler (1951)",
    ),
    Measure(
        "jensen_shannon",
        lambda target, machine: alike.jensen_shannon(target.values, machine),
        "lower", (0, 1), LEVELS, "Jensen-Shannon divergence (bits)", "Lin (1991)",
    ),
    Measure(
        "scanpath_saliency",
        lambda target, machine: alike.scanpath_saliency(target.fixated, machine),
        "higher", (-_ENDLESS, _ENDLESS), LEVELS, "Normalised scanpath saliency (NSS)", "Peters et al. (2005)",
    ),
    Measure(
        "auc_judd",
        lambda target, machine: alike.auc_judd(target.fixated, machine),
        "higher", (0, 1), LEVELS, "AUC (Judd)", "Judd et al. (2009)",
    ),
    Measure("auc_shuffled", _shuffled, "higher", (0, 1), LEVELS, "AUC (shuffled)", "Zhang et al. (2008)"),
    Measure(
        "pointing_game",
        lambda target, machine: alike.pointing_game(target.hits, machine),
        "higher", (0, 1), LEVELS, "Pointing game", "Zhang et al. (2018)",
    ),
    Measure(
        "intersection_over_union", _overlap,
        "higher", (0, 1), LEVELS, "Intersection over union of the highest pixels", "Jaccard (1901)",
    ),
)  # fmt: skip
MEASURES: dict[str, Measure] = {measure.name: measure for measure in _LIST}


def make_target(human: ArrayLike, level: Level, *, options: Options, negatives: ArrayLike | None) -> Target:
    """Derive from human maps what the measures need.

    Parameters
    ----------
    human
        ``[..., T, S, S]``, at least 0.
    level
        ``frame``: what is fixated is decided in each frame, and the result has axes ``[..., T, S * S]``. ``clip``: in
        the whole clip, ``[..., T * S * S]``.
    options
        See `Options`.
    negatives
        ``[S, S]``, how often each pixel was fixated in other clips; None when there is no other.
    """
    volume = np.asarray(human, np.float64)
    flat = flatten(volume, level)
    fixated = alike.fixated_pixels(flat, options.top)
    hits = flatten(alike.widen(fixated.reshape(volume.shape), options.tolerance), level)
    places = None if negatives is None else np.asarray(negatives, np.float64).ravel()
    if places is not None and level == "clip":
        places = np.tile(places, volume.shape[-3])
    return Target(flat, fixated, hits, places, options)


def flatten(volume: NDArray, level: Level) -> NDArray:
    """Bring the pixels of each frame, or of the whole clip, into the last axis of ``[..., T, S, S]``."""
    kept = volume.shape[:-2] if level == "frame" else volume.shape[:-3]
    return volume.reshape(*kept, -1)


def measure_maps(
    human: ArrayLike, machine: ArrayLike, *, options: Options, negatives: ArrayLike | None
) -> dict[tuple[str, Level], Array]:
    """Take every measure of every pair of clips.

    Parameters
    ----------
    human, machine
        ``[..., T, S, S]``, at least 0, S the common side of `options`; the leading axes are broadcast against each
        other, so that ``[R, 1, T, S, S]`` and ``[N, T, S, S]`` give R x N pairs.
    options
        See `Options`.
    negatives
        ``[S, S]``, how often each pixel was fixated in other clips; None leaves ``auc_shuffled`` undefined.

    Returns
    -------
    dict
        Name of the measure and level to values: ``[..., T]`` of level ``frame``, ``[...]`` of level ``clip``.

    Raises
    ------
    ExplainError
        When the maps do not have the common size or the same number of frames, or are not finite and at least 0.

    Examples
    --------
    >>> options = Options(size=4, transport_size=4, top=0.25, tolerance=0, floor=0.01, centre=0.25)
    >>> found = measure_maps(np.eye(4)[None], np.eye(4)[None], options=options, negatives=None)
    >>> found["earth_mover", "frame"].tolist(), float(found["auc_judd", "clip"])
    ([0.0], 1.0)
    """
    first, second = np.asarray(human, np.float64), np.asarray(machine, np.float64)
    for array in (first, second):
        if array.shape[-3:] != (first.shape[-3], options.size, options.size):
            raise ExplainError(
                f"Maps of shapes {first.shape[-3:]} and {second.shape[-3:]} are to be compared.",
                expected=f"Equally many frames of {options.size} x {options.size} pixels.",
                remedy="Bring both to the common size first (prepare_map).",
            )
    alike.check_attention(first, second)
    result: dict[tuple[str, Level], Array] = {}
    for level in LEVELS:
        target = make_target(first, level, options=options, negatives=negatives)
        flat = flatten(second, level)
        for name, measure in MEASURES.items():
            if level in measure.levels:
                result[name, level] = measure.function(target, flat)
    return result
