"""Image operations on maps, and how maps of any size come to the common size at which they are compared.

Everything linear is a matrix for each axis (rows: new pixels, columns: old ones), so that a whole clip is resampled by
two multiplications.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nbpkg.errors import ExplainError

Array = NDArray[np.float64]
Filter = Literal["nearest", "linear", "cubic"]
_CUBIC_ANTIALIASED, _CUBIC_PLAIN = -0.5, -0.75  # the sharpness of Pillow's cubic, and of the one without antialiasing
_NO_SPREAD = 1e-9  # share of the greatest value; smaller differences are rounding


def kernel_side(sigma: float) -> int:
    """Return the side of a Gaussian kernel, pixels: 5 sigma, at least 1, made odd.

    Examples
    --------
    >>> [kernel_side(sigma) for sigma in (0.1, 0.5, 1.0, 2.0, 5.0)]
    [1, 3, 5, 11, 25]
    """
    side = max(1, int(5 * sigma))
    return side + 1 - side % 2


def gaussian_blur(values: ArrayLike, sigma: float) -> Array:
    """Blur each picture with a Gaussian.

    Parameters
    ----------
    values
        ``[..., H, W]``.
    sigma
        Standard deviation, pixels; 0 changes nothing. The kernel is cut off at `kernel_side`, and pictures are mirrored
        at their edges without repeating the edge.

    Returns
    -------
    ndarray
        float64 ``[..., H, W]``.

    Examples
    --------
    >>> gaussian_blur([[0.0, 0, 0], [0, 1, 0], [0, 0, 0]], 0.5).round(2).tolist()
    [[0.05, 0.17, 0.05], [0.17, 0.62, 0.17], [0.05, 0.17, 0.05]]
    """
    array = np.asarray(values, np.float64)
    return weigh(array, _blur_weights(array.shape[-2], sigma), _blur_weights(array.shape[-1], sigma))


def gaussian_down(values: ArrayLike, sigma: float, *, stride: int) -> Array:
    """Blur with a Gaussian and keep every `stride`-th pixel from pixel 0 (see `gaussian_blur`)."""
    return gaussian_blur(values, sigma)[..., ::stride, ::stride]


def resize(values: ArrayLike, size: tuple[int, int], *, how: Filter, antialias: bool) -> Array:
    """Enlarge or reduce each picture.

    Parameters
    ----------
    values
        ``[..., H, W]``.
    size
        New height and width.
    how
        ``nearest``, ``linear`` or ``cubic`` interpolation between pixel centres.
    antialias
        Widen the filter when reducing, so that every old pixel counts; ``nearest`` knows none.

    Returns
    -------
    ndarray
        float64 ``[..., *size]``. Cubic interpolation over- and undershoots.

    Source
    ------
    Same numbers as torchvision's ``resize`` (cubic: a = -0.5 antialiased as in Pillow, -0.75 otherwise), without torch.

    Examples
    --------
    >>> resize([[0.0, 1.0]], (1, 4), how="linear", antialias=True).tolist()
    [[0.0, 0.25, 0.75, 1.0]]
    """
    array = np.asarray(values, np.float64)
    rows, columns = (_resize_weights(array.shape[axis - 2], size[axis], how, antialias) for axis in (0, 1))
    return weigh(array, rows, columns)


def pool(values: ArrayLike, size: int) -> Array:
    """Average each picture over `size` x `size` equal fields; a pixel on a border counts in parts.

    Examples
    --------
    >>> pool([[1.0, 3.0], [5.0, 7.0]], 1).tolist()
    [[4.0]]
    """
    array = np.asarray(values, np.float64)
    return weigh(array, _field_weights(array.shape[-2], size), _field_weights(array.shape[-1], size))


def low_pass(values: ArrayLike, limit: float) -> Array:
    """Remove fine detail: all spatial frequencies above `limit` in either axis.

    Parameters
    ----------
    values
        ``[..., H, W]``.
    limit
        0 .. 1, as a share of the highest frequency that pixels can show (half a cycle per pixel).

    Examples
    --------
    >>> low_pass([[0.0, 2.0], [0.0, 2.0]], 0.5).tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    """
    array = np.asarray(values, np.float64)
    height, width = array.shape[-2:]
    kept = (np.abs(2 * np.fft.fftfreq(height)) <= limit)[:, None] & (2 * np.fft.rfftfreq(width) <= limit)
    return np.fft.irfft2(np.fft.rfft2(array) * kept, s=(height, width))


def fourier_resize(values: ArrayLike, size: tuple[int, int]) -> Array:
    """Resize each picture by keeping its lowest spatial frequencies.

    Parameters
    ----------
    values
        ``[..., H, W]``, taken as one period of an endless pattern.
    size
        New height and width, any.

    Source
    ------
    The published function does even squares only and multiplies intensities by ``H W / n^2``; here a picture keeps its
    mean (`nbpkg.attention.comparing.reference_comparison` holds the published one).

    Examples
    --------
    >>> fourier_resize([[3.0, 3.0, 3.0, 3.0]], (1, 3)).round(6).tolist()
    [[3.0, 3.0, 3.0]]
    """
    from scipy.signal import resample  # half a second, and rarely needed

    array = np.asarray(values, np.float64)
    result: Array = resample(resample(array, size[0], axis=-2), size[1], axis=-1)
    return result


def remap(
    values: ArrayLike, target: tuple[float, float] = (0.0, 1.0), *, source: tuple[float, float] | None = None
) -> Array | None:
    """Shift and scale values so that `source` becomes `target`.

    Parameters
    ----------
    values
        Any shape.
    target
        New bounds.
    source
        Old bounds; None takes the smallest and the greatest of all values.

    Returns
    -------
    ndarray or None
        float64; None where the old bounds are equal, because a constant has no scale.

    Examples
    --------
    >>> remap([1.0, 2.0, 3.0]).tolist(), remap([2.0, 2.0])
    ([0.0, 0.5, 1.0], None)
    """
    array = np.asarray(values, np.float64)
    low, high = (float(array.min()), float(array.max())) if source is None else source
    if high == low:
        return None
    return target[0] + (target[1] - target[0]) * (array - low) / (high - low)


def central_square(values: NDArray) -> NDArray:
    """Cut the central square out of ``[..., H, W]``: what the network sees of a picture.

    Examples
    --------
    >>> central_square(np.array([[1, 2, 3, 4], [5, 6, 7, 8]])).tolist()
    [[2, 3], [6, 7]]
    """
    height, width = values.shape[-2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return values[..., top : top + side, left : left + side]


def stretch_time(values: ArrayLike, frames: int) -> Array:
    """Interpolate linearly in time, each map standing in the middle of its share of the clip.

    Parameters
    ----------
    values
        ``[t, H, W]``.
    frames
        New number of frames, at least t.

    Returns
    -------
    ndarray
        float64 ``[frames, H, W]``; before the first middle and after the last one nothing changes.

    Raises
    ------
    ExplainError
        When the map has more frames than the clip.

    Examples
    --------
    >>> stretch_time([[[0.0]], [[1.0]]], 4).ravel().tolist()
    [0.0, 0.25, 0.75, 1.0]
    """
    array = np.asarray(values, np.float64)
    if array.shape[0] == frames:
        return array
    if array.shape[0] > frames:
        raise ExplainError(
            f"A map of {array.shape[0]} frames is to be compared with a painting of {frames} frames.",
            expected=f"At most {frames} frames.",
            remedy="Compute the map on the frames that were painted.",
        )
    return np.tensordot(_resize_weights(array.shape[0], frames, "linear", False), array, axes=1)


def prepare_map(values: ArrayLike, size: int, *, kind: Literal["human", "machine"], frames: int) -> NDArray[np.float32]:
    """Bring a map to the common size, number of frames and scale at which maps are compared.

    1. A ``human`` map is cut to the central square of the picture, which is what the network sees. Values below 0,
       which in signed maps speak against the class, become 0.
    2. A map whose side is at least twice `size` is blurred and sampled: the blur's standard deviation is the distance
       of the samples, ``side / size`` pixels, and samples are the middles of ``size`` x ``size`` equal fields (linear
       between pixels). A smaller one, such as the map of a layer, is resized by antialiased cubic interpolation and cut
       to the range that it had.
    3. Fewer frames are interpolated (see `stretch_time`).
    4. The smallest value of the clip becomes 0 and the greatest 1. A constant map, such as an unpainted one, says of no
       place more than of another and becomes 0 throughout.

    Parameters
    ----------
    values
        ``[t, H, W]``, finite; a machine's map is square.
    size
        Common side, pixels.
    kind
        Whether the map covers the whole picture (``human``) or its central square (``machine``).
    frames
        Frames of the clip.

    Returns
    -------
    ndarray
        float32 ``[frames, size, size]`` in 0..1.

    Raises
    ------
    ExplainError
        When the map is not ``[t, H, W]``, not finite, not square, or has too many frames.

    Source
    ------
    Published: side 160 to 32, standard deviation 5, every 5th pixel *from pixel 0*, which moves these maps by 0.4 of a
    field against the resized ones; hence the middles here. Published resized maps keep their under- and overshoots, so
    that 0 is no longer 0 after scaling (`nbpkg.attention.comparing.reference_comparison.published_map`).

    Examples
    --------
    >>> prepare_map(np.eye(4)[None], 2, kind="machine", frames=2).shape
    (2, 2, 2)
    """
    array = np.asarray(values, np.float64)
    if array.ndim != 3 or array.size == 0 or not np.isfinite(array).all():
        raise ExplainError(
            f"A map of shape {array.shape} cannot be compared." if array.ndim != 3 else "A map is empty or not finite.",
            expected="Finite numbers [frames, height, width].",
            remedy="Compute the map again.",
        )
    array = central_square(array) if kind == "human" else array
    if array.shape[1] != array.shape[2]:
        raise ExplainError(
            f"A machine's map is {array.shape[2]} x {array.shape[1]} pixels.",
            expected="A square: the network sees the central square of the picture.",
            remedy="Compute the map on the clip that the network sees.",
        )
    array = np.maximum(array, 0)
    small = _reduce(array, size) if array.shape[1] >= 2 * size else _resize_within(array, size)
    stretched = stretch_time(small, frames)
    scaled = remap(stretched) if np.ptp(stretched) > _NO_SPREAD * array.max() else None
    return np.zeros((frames, size, size), np.float32) if scaled is None else scaled.astype(np.float32)


def weigh(values: Array, rows: Array, columns: Array) -> Array:
    """Multiply the rows and columns of pictures ``[..., H, W]`` by weights ``[H', H]`` and ``[W', W]``."""
    return rows @ values @ columns.T


def _reduce(values: Array, size: int) -> Array:
    """Blur, and sample the middles of equal fields."""
    side = values.shape[-1]
    weights = _resize_weights(side, size, "linear", False) @ _blur_weights(side, side / size)
    return weigh(values, weights, weights)


def _resize_within(values: Array, size: int) -> Array:
    """Resize, keeping to the range of the values: undershoots would lift a map's zeros when it is scaled."""
    bounds = float(values.min()), float(values.max())
    return np.clip(resize(values, (size, size), how="cubic", antialias=True), *bounds)


@lru_cache(maxsize=64)
def _blur_weights(length: int, sigma: float) -> Array:
    """Weights ``[length, length]`` of a Gaussian with mirrored edges."""
    if sigma == 0:
        return _frozen(np.eye(length))
    half = kernel_side(sigma) // 2
    kernel = np.exp(-0.5 * (np.arange(-half, half + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    mirrored = np.pad(np.arange(length), half, mode="reflect")
    weights = np.zeros((length, length))
    for shift, weight in enumerate(kernel):
        np.add.at(weights, (np.arange(length), mirrored[shift : shift + length]), weight)
    return _frozen(weights)


@lru_cache(maxsize=64)
def _resize_weights(length: int, new: int, how: Filter, antialias: bool) -> Array:
    """Weights ``[new, length]`` of an interpolation between pixel centres."""
    scale = length / new
    if how == "nearest":
        return _frozen(np.eye(length)[(np.arange(new) * scale).astype(int)])
    stretch = max(scale, 1.0) if antialias else 1.0
    centre = (np.arange(new)[:, None] + 0.5) * scale - 0.5
    if antialias:  # what would fall outside is left out and the rest weighs more
        weights = _interpolate((np.arange(length) - centre) / stretch, how, _CUBIC_ANTIALIASED)
        return _frozen(weights / weights.sum(axis=1, keepdims=True))
    places = np.floor(centre).astype(int) + np.arange(-1, 3)  # what falls outside repeats the edge
    weights = np.zeros((new, length))
    found = _interpolate(places - centre, how, _CUBIC_PLAIN)
    np.add.at(weights, (np.arange(new)[:, None], np.clip(places, 0, length - 1)), found)
    return _frozen(weights)


@lru_cache(maxsize=64)
def _field_weights(length: int, new: int) -> Array:
    """Weights ``[new, length]`` of averages over equal fields."""
    edges = np.arange(new + 1) * length / new
    low, high = edges[:-1, None], edges[1:, None]
    covered = np.minimum(high, np.arange(1, length + 1)) - np.maximum(low, np.arange(length))
    return _frozen(np.maximum(covered, 0) * new / length)


def _interpolate(distance: Array, how: Filter, a: float) -> Array:
    """Weight of an old pixel at a distance, in pixels, from where the new one lies."""
    x = np.abs(distance)
    if how == "linear":
        hat: Array = np.maximum(1 - x, 0)
        return hat
    near = ((a + 2) * x - (a + 3)) * x**2 + 1
    far = ((x - 5) * x + 8) * a * x - 4 * a
    result: Array = np.where(x < 1, near, np.where(x < 2, far, 0.0))
    return result


def _frozen(weights: Array) -> Array:
    """Forbid changes: the array is kept and given out again."""
    weights.flags.writeable = False
    return weights
