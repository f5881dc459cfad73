"""Single pictures as they lie on disk, for looking at them before anything is prepared."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nbpkg.video.folders import PictureStore


def read_originals(folder: Path, names: Iterable[str]) -> list[NDArray[np.uint8]]:
    """Read pictures by name.

    Parameters
    ----------
    folder
        Data folder.
    names
        Pictures relative to it, e.g. column ``image`` of table ``gaze``; sizes may differ.

    Returns
    -------
    list of ndarray
        uint8 RGB ``[H, W, 3]``.

    Raises
    ------
    MediaError
        When a picture is missing or damaged.
    """
    store = PictureStore([folder / name for name in names])
    return [store.picture(number) for number in range(len(store))]
