"""Published averaging of face features over seconds, defects included, for tables made with it; behind compat."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_RATE = 25


def reference_average(features: NDArray[np.floating]) -> NDArray[np.floating]:
    """Average features of the frames in which a face was found, as published.

    They are taken as if no frame were missing, so that every missed face moves what follows earlier; each block of 25
    is averaged over its first 24; the incomplete rest over all of it, and without a rest the last block is repeated.

    Parameters
    ----------
    features
        ``[frames with a face, ..., D]``.

    Returns
    -------
    ndarray
        ``[blocks + 1, ..., D]``.

    Source
    ------
    cheem-omg-empathy, visual/feature_extraction/avgvisual_rawfeats_25fps.py. `nbpkg.features.faces` keeps time.
    """
    blocks = len(features) // _RATE
    means = [features[_RATE * block : _RATE * block + _RATE - 1].mean(axis=0) for block in range(blocks)]
    rest = features[_RATE * blocks :]
    means.append(rest.mean(axis=0) if len(rest) else means[-1])
    return np.stack(means)


def reference_trim(averages: NDArray[np.floating], frames: int) -> NDArray[np.floating]:
    """Bring averages to the length of a video as published: the last row goes, whatever the length.

    Parameters
    ----------
    averages
        ``[rows, 1, D]`` of `reference_average`.
    frames
        Annotated frames.

    Returns
    -------
    ndarray
        ``[rows - 1, D]``, or ``[rows - 1, 1, D]`` where the number of rows was right and so was made wrong.

    Source
    ------
    cheem-omg-empathy, visual/feature_extraction/sanity_check_visualfeats.py.
    """
    return averages[:-1] if len(averages) == frames // _RATE else averages[:-1].squeeze(1)
