"""The frame stores of all sessions together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg.video.frames import FrameStore


def open_stores(folder: Path, media: pd.DataFrame) -> dict[str, FrameStore]:
    """Open the frame store of every session, checked as far as opening does.

    Parameters
    ----------
    folder
        Run folder of the stage that prepared the videos.
    media
        Table ``media``.
    """
    return {str(row.session): FrameStore(folder / str(row.store)) for row in media.itertuples()}


def middle_frames(stores: Mapping[str, FrameStore]) -> list[NDArray[np.uint8]]:
    """Return one frame of each session, uint8 ``[H, W, 3]``, from the middle of its video."""
    return [store.frames([len(store) // 2])[0] for store in stores.values()]


def each_frame(store: FrameStore) -> Iterator[NDArray[np.uint8]]:
    """Go through all frames of a store, uint8 ``[H, W, 3]``, one in memory at a time."""
    return (store.frames([number])[0] for number in range(len(store)))
