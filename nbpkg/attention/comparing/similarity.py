"""How alike a human and a machine's map are: one function for each measure, for any number of pairs at once.

Maps are arrays whose last axis holds the pixels, of a frame or of a whole clip; the leading axes of the human and the
machine's map are broadcast against each other. A human map that is 0 throughout is *unpainted*: it says nothing, and
every measure is NaN there. A machine's map that is 0 throughout points nowhere and counts as uniform.

A *constant* machine's map has no spread to divide by, so that both correlations and the scanpath saliency are NaN for
it. The other measures are defined: it is a uniform distribution, ties with itself everywhere (areas of 1/2), points
everywhere (the pointing game gives the share of the picture that counts as a hit) and claims the whole picture.

Which pixels people *fixated* is taken from the painting by `top_pixels`.
`nbpkg.attention.comparing.measures` lists all measures.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from nbpkg.errors import ExplainError

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]


def linear_correlation(human: ArrayLike, machine: ArrayLike) -> Array:
    """Pearson's correlation over pixels, ``[..., P]`` to ``[...]``, -1..1; NaN where a map is constant.

    Examples
    --------
    >>> float(linear_correlation([0.0, 1, 2], [5.0, 6, 7]).round(6))
    1.0
    """
    return _dot(_standard(_floats(human)), _standard(_floats(machine))).clip(-1, 1)


def rank_correlation(human: ArrayLike, machine: ArrayLike) -> Array:
    """Spearman's correlation over pixels, ``[..., P]`` to ``[...]``, -1..1; NaN where a map is constant.

    Source
    ------
    Published: ranks in the order of sorting, so that equal values get different ranks by accident (and two constant
    maps correlate). Here equal values share the mean of their ranks.

    Examples
    --------
    >>> float(rank_correlation([0.0, 0, 1, 2], [0.0, 0, 1, 9]).round(6))
    1.0
    """
    return linear_correlation(average_ranks(human), average_ranks(machine))


def histogram_intersection(human: ArrayLike, machine: ArrayLike) -> Array:
    """Attention that two maps share, ``[..., P]`` to ``[...]``, 0..1: the sum over pixels of the smaller share.

    As published, each map is first shifted so that its smallest value is 0.

    Examples
    --------
    >>> float(histogram_intersection([0.0, 1, 1], [0.0, 0, 1]))
    0.5
    """
    h, m = _floats(human), _floats(machine)
    shares = (as_shares(values - values.min(axis=-1, keepdims=True)) for values in (h, m))
    return _painted(h, np.minimum(*np.broadcast_arrays(*shares)).sum(axis=-1))


def kullback_leibler(human: ArrayLike, machine: ArrayLike, *, floor: float, reverse: bool = False) -> Array:
    """Kullback-Leibler divergence, ``[..., P]`` to ``[...]``, nats, at least 0: sum of human * log(human / machine).

    Parameters
    ----------
    human, machine
        At least 0.
    floor
        Above 0, below 1: the share of each map that is spread evenly over all pixels before they are compared. Without
        it a single pixel that people painted and the machine left at 0 makes the divergence infinite.
    reverse
        Sum machine * log(machine / human) instead, which punishes a machine that looks where people do not.

    Source
    ------
    Published: a floor of 2e-16 inside the logarithm, so that zeros of the machine's map decide (36 nats each).

    Examples
    --------
    >>> float(kullback_leibler([0.0, 1.0], [1.0, 0.0], floor=0.5).round(6))
    0.549306
    """
    h, m = _floats(human), _floats(machine)
    p, q = (_lifted(as_shares(values), floor) for values in ((m, h) if reverse else (h, m)))
    value = (p * np.log(p)).sum(axis=-1) - _dot(p, np.log(q))
    return _painted(h, np.maximum(value, 0))


def jensen_shannon(human: ArrayLike, machine: ArrayLike) -> Array:
    """Jensen-Shannon divergence, ``[..., P]`` to ``[...]``, bits, 0 (equal) .. 1 (no pixel in common); symmetric.

    Examples
    --------
    >>> float(jensen_shannon([0.0, 1.0], [1.0, 0.0])), float(jensen_shannon([1.0, 3.0], [2.0, 6.0]))
    (1.0, 0.0)
    """
    h, m = _floats(human), _floats(machine)
    p, q = as_shares(h), as_shares(m)
    value = _entropy((p + q) / 2) - (_entropy(p) + _entropy(q)) / 2
    return _painted(h, value.clip(0, 1))


def scanpath_saliency(fixated: ArrayLike, machine: ArrayLike) -> Array:
    """Normalised scanpath saliency (NSS), ``[..., P]`` to ``[...]``: mean z-score of a map where people look.

    Parameters
    ----------
    fixated
        Flags of the fixated pixels (see `top_pixels`); NaN where there is none.
    machine
        The map; NaN where it is constant.

    Source
    ------
    Peters et al. (2005).

    Examples
    --------
    >>> float(scanpath_saliency([True, False], [1.0, 0.0]))
    1.0
    """
    chosen, m = np.asarray(fixated, bool), _floats(machine)
    return _ratio(_dot(chosen, _standard(m) * np.sqrt(m.shape[-1])), chosen.sum(axis=-1))


def auc_judd(fixated: ArrayLike, machine: ArrayLike) -> Array:
    """Area under the ROC curve of fixated against all other pixels, ``[..., P]`` to ``[...]``, 0..1, chance 1/2.

    Parameters
    ----------
    fixated
        Flags of the fixated pixels (see `top_pixels`); NaN where there is none, or no other.
    machine
        The map; ties count half.

    Source
    ------
    Judd et al. (2009), who break ties by noise instead.

    Examples
    --------
    >>> float(auc_judd([False, True, False], [0.0, 1.0, 1.0]))
    0.75
    """
    chosen = np.asarray(fixated, bool)
    count = chosen.sum(axis=-1)
    others = chosen.shape[-1] - count
    won = _dot(chosen, average_ranks(machine)) - count * (count + 1) / 2
    return _ratio(won, count * others)


def auc_shuffled(fixated: ArrayLike, machine: ArrayLike, *, negatives: ArrayLike) -> Array:
    """Area under the ROC curve of fixated pixels against places fixated elsewhere, ``[..., P]`` to ``[...]``, 0..1.

    A map that only knows where people look in general, such as one of the centre, gets about 1/2.

    Parameters
    ----------
    fixated
        Flags of the fixated pixels (see `top_pixels`); NaN where there is none.
    machine
        The map; ties count half.
    negatives
        ``[P]``, at least 0: how often each pixel was fixated in other clips. All 0 gives NaN.

    Source
    ------
    Zhang et al. (2008), with all negatives in place of a random sample of them.

    Examples
    --------
    >>> float(auc_shuffled([True, False, False], [1.0, 1.0, 0.0], negatives=[0, 1, 1]))
    0.75
    """
    chosen, weights = np.asarray(fixated, bool), _floats(negatives)
    won = _dot(chosen, _weight_below(_floats(machine), weights))
    return _ratio(won, chosen.sum(axis=-1) * weights.sum())


def pointing_game(hits: ArrayLike, machine: ArrayLike) -> Array:
    """Whether the machine's greatest value lies on a hit, ``[..., P]`` to ``[...]``, 0..1.

    Parameters
    ----------
    hits
        Flags of the pixels that count: fixated ones and those near them (see `widen`); NaN where there is none.
    machine
        The map; where several pixels share the greatest value, the share of them that are hits.

    Source
    ------
    Zhang et al. (2018).

    Examples
    --------
    >>> pointing_game([True, False], [[2.0, 1.0], [1.0, 1.0]]).tolist()
    [1.0, 0.5]
    """
    chosen, m = np.asarray(hits, bool), _floats(machine)
    highest = m == m.max(axis=-1, keepdims=True)
    value = _dot(chosen, highest / highest.sum(axis=-1, keepdims=True))
    return np.where(chosen.any(axis=-1), value, np.nan)


def intersection_over_union(fixated: ArrayLike, claimed: ArrayLike) -> Array:
    """Overlap of two sets of pixels, ``[..., P]`` to ``[...]``, 0..1; NaN where nothing is fixated.

    Parameters
    ----------
    fixated, claimed
        Flags of the highest pixels of the human and the machine's map (see `top_pixels`).

    Examples
    --------
    >>> float(intersection_over_union([True, True, False], [False, True, True]).round(3))
    0.333
    """
    first, second = np.asarray(fixated, bool), np.asarray(claimed, bool)
    common = _dot(first, second)
    value = common / np.maximum(first.sum(axis=-1) + second.sum(axis=-1) - common, 1)
    return np.where(first.any(axis=-1), value, np.nan)


def top_pixels(values: ArrayLike, share: float) -> Flags:
    """Mark the highest pixels of each map.

    Parameters
    ----------
    values
        ``[..., P]``.
    share
        0 .. 1: the highest ``ceil(share * P)`` pixels are marked, with all that equal the last of them, but none that
        holds the smallest value of its map. A constant map is marked throughout.

    Returns
    -------
    ndarray
        bool ``[..., P]``.

    Examples
    --------
    >>> top_pixels([[0.0, 1.0, 1.0, 2.0], [0.0, 0.0, 0.0, 2.0]], 0.5).tolist()
    [[False, True, True, True], [False, False, False, True]]
    """
    array = _floats(values)
    place = array.shape[-1] - max(1, int(np.ceil(share * array.shape[-1])))
    limit = np.partition(array, place, axis=-1)[..., place, None]
    least = array.min(axis=-1, keepdims=True)
    chosen: Flags = (array >= limit) & ((array > least) | (array.max(axis=-1, keepdims=True) == least))
    return chosen


def fixated_pixels(human: ArrayLike, share: float) -> Flags:
    """Mark as fixated the highest pixels of human maps ``[..., P]`` (see `top_pixels`), none of an unpainted one."""
    array = _floats(human)
    return top_pixels(array, share) & (array > 0)


def widen(flags: ArrayLike, tolerance: float) -> Flags:
    """Mark every pixel ``[..., H, W]`` within `tolerance` pixels of a marked one of the same frame."""
    marked = np.asarray(flags, bool)
    reach = int(tolerance)
    if reach < 1:
        return marked
    row, column = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = (row**2 + column**2 <= tolerance**2).astype(np.uint8)
    planes = marked.reshape(-1, *marked.shape[-2:]).astype(np.uint8)
    return np.stack([cv2.dilate(plane, disc) for plane in planes]).astype(bool).reshape(marked.shape)


def average_ranks(values: ArrayLike) -> Array:
    """Rank the pixels of each map ``[..., P]`` from 1; equal values share the mean of their ranks.

    Examples
    --------
    >>> average_ranks([0.0, 7.0, 0.0]).tolist()
    [1.5, 3.0, 1.5]
    """
    array = _floats(values)
    return _weight_below(array, np.ones(array.shape[-1])) + 0.5


def as_shares(values: ArrayLike) -> Array:
    """Divide each map ``[..., P]`` by its sum; one that is 0 throughout becomes uniform.

    Raises
    ------
    ExplainError
        When a value is negative or not finite.
    """
    array = _floats(values)
    check_attention(array)
    filled = np.where(array.any(axis=-1, keepdims=True), array, 1.0)
    shares: Array = filled / filled.sum(axis=-1, keepdims=True)
    return shares


def check_attention(*arrays: Array) -> None:
    """Refuse maps that hold values below 0, or that are no finite numbers."""
    for array in arrays:
        if not np.isfinite(array).all() or array.min(initial=0) < 0:
            raise ExplainError(
                "A map holds negative or infinite values or NaN.",
                expected="Finite values of at least 0.",
                remedy="Bring the map to the common scale first (prepare_map).",
            )


def mean_of_frames(values: ArrayLike) -> tuple[Array, NDArray[np.int64]]:
    """Average over frames, ``[..., T]`` to ``[...]``, leaving undefined ones out, and count the defined ones."""
    array = _floats(values)
    known = ~np.isnan(array)
    count = known.sum(axis=-1)
    return _ratio(np.where(known, array, 0).sum(axis=-1), count), count


def _weight_below(values: Array, weights: Array) -> Array:
    """Sum, for each pixel of each map, the weights of the pixels below it, and half of those equal to it."""
    order = np.argsort(values, axis=-1)
    ordered = np.take_along_axis(values, order, axis=-1)
    total = np.cumsum(weights[order], axis=-1)
    is_first = np.ones(values.shape, bool)
    is_first[..., 1:] = ordered[..., 1:] != ordered[..., :-1]
    is_last = np.ones(values.shape, bool)
    is_last[..., :-1] = is_first[..., 1:]
    place = np.arange(values.shape[-1])
    first = np.maximum.accumulate(np.where(is_first, place, 0), axis=-1)
    last = np.flip(np.minimum.accumulate(np.flip(np.where(is_last, place, place[-1]), -1), axis=-1), -1)
    below = np.where(first > 0, np.take_along_axis(total, np.maximum(first - 1, 0), axis=-1), 0)
    result = np.empty(values.shape)
    np.put_along_axis(result, order, (below + np.take_along_axis(total, last, axis=-1)) / 2, axis=-1)
    return result


def _floats(values: ArrayLike) -> Array:
    return np.asarray(values, np.float64)


def _dot(first: NDArray, second: NDArray) -> Array:
    """Sum products over the last axis; leading axes are broadcast without being copied."""
    result: Array = np.einsum("...p,...p->...", first.astype(np.float64), second.astype(np.float64))
    return result


def _standard(values: Array) -> Array:
    """Take the mean off and divide by the length; NaN where constant (asked of the values: a mean is rounded)."""
    centred = values - values.mean(axis=-1, keepdims=True)
    length = np.sqrt((centred**2).sum(axis=-1, keepdims=True))
    varies = (values.max(axis=-1, keepdims=True) > values.min(axis=-1, keepdims=True)) & (length > 0)
    return np.where(varies, centred / np.where(varies, length, 1), np.nan)


def _lifted(shares: Array, floor: float) -> Array:
    lifted: Array = (1 - floor) * shares + floor / shares.shape[-1]
    return lifted


def _entropy(shares: Array) -> Array:
    result: Array = -(shares * np.log2(np.where(shares > 0, shares, 1))).sum(axis=-1)
    return result


def _painted(human: Array, value: Array) -> Array:
    return np.where(human.any(axis=-1), value, np.nan)


def _ratio(part: ArrayLike, whole: ArrayLike) -> Array:
    top, bottom = np.broadcast_arrays(_floats(part), _floats(whole))
    result: Array = np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom > 0)
    return result
