"""The frame stores of all sessions together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg.video.folders import INDEX, PictureStore, open_view
from nbpkg.video.frames import FrameStore

Store = FrameStore | PictureStore


def open_store(path: Path) -> Store:
    """Open the frame store of one prepared session, or the view of its pictures, whichever is there.

    Raises
    ------
    MediaError
        When it is missing, damaged, or its pictures are not those that were prepared.
    """
    return open_view(path) if (path / INDEX).is_file() else FrameStore(path)


def open_stores(folder: Path, media: pd.DataFrame) -> dict[str, Store]:
    """Open frame store or view of every session, checked as far as opening does.

    Parameters
    ----------
    folder
        Run folder of the stage that prepared the videos.
    media
        Table ``media``.
    """
    return {str(row.session): open_store(folder / str(row.store)) for row in media.itertuples()}


def middle_frames(stores: Mapping[str, Store]) -> list[NDArray[np.uint8]]:
    """Return one frame of each session, uint8 ``[H, W, 3]``, from the middle of its video."""
    return [store.frames([len(store) // 2])[0] for store in stores.values()]


def each_frame(store: Store) -> Iterator[NDArray[np.uint8]]:
    """Go through all frames of a store, uint8 ``[H, W, 3]``, one in memory at a time."""
    return (store.frames([number])[0] for number in range(len(store)))
