"""What a network says of every crop, clip by clip, each only once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg.errors import StageError
from nbpkg.features.looking.packs import CropPacks
from nbpkg.progress import Report
from nbpkg.runs.files import write_array

HEAD_POSE, LANDMARKS = "head_pose", "landmarks"
Describe = Callable[[NDArray[np.uint8]], NDArray[np.floating]]


def describe_faces(
    packs: CropPacks,
    tracks: pd.DataFrame,
    describe: Describe,
    *,
    shape: tuple[int, ...],
    folder: Path,
    batch: int = 64,
) -> NDArray[np.float32]:
    """Describe every crop, session by session; those that are finished are read again.

    Parameters
    ----------
    packs
        Crops of these tracks.
    tracks
        Table ``tracks``, whole.
    describe
        Turns RGB crops uint8 ``[n, S, S, 3]`` into numbers ``[n, *shape]``; NaN where nothing is found
        (`HeadPoseEstimator`, `nbpkg.features.looking.landmarks.LandmarkFinder`).
    shape
        Of what is said of a crop: ``(3,)`` for poses, ``(5, 4)`` for points.
    folder
        Where ``<session>.npy`` go.
    batch
        Crops at once.

    Returns
    -------
    ndarray
        float32 ``[faces, *shape]``, in the order of ``faces.npy``; NaN where there is no crop or nothing was found.

    Raises
    ------
    MediaError
        When a crop is damaged.
    StageError
        When what is finished there was made for other tracks.
    """
    found = np.full((int(tracks["rows"].sum()), *shape), np.nan, np.float32)
    report = Report(folder.name.replace("_", " "), total=len(found), unit="face")
    for session, own in tracks.groupby("session", sort=False):
        first, stop = int(own["offset"].min()), int((own["offset"] + own["rows"]).max())
        file = folder / f"{session}.npy"
        if not file.is_file():
            values = np.full((stop - first, *shape), np.nan, np.float32)
            rows = np.arange(first, stop)
            rows = rows[packs.has(rows)]
            for start in range(0, len(rows), batch):
                part = rows[start : start + batch]
                values[part - first] = describe(packs.read(part))
                report.step(len(part))
            write_array(file, values)
        known = np.load(file, allow_pickle=False)
        if known.shape != (stop - first, *shape):
            raise StageError(
                f"{file.name!r} holds numbers {known.shape} of another set of faces.",
                where=str(file),
                expected=f"{(stop - first, *shape)}.",
                remedy="Delete the folder and run the preparation again.",
            )
        found[first:stop] = known
    report.close()
    return found
