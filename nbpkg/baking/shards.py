"""Features on disk: one memory-mapped array for each session and view, complete or not there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg.errors import StageError
from nbpkg.runs.files import read_json, sha256

FOLDER = "shards"


def shard_path(folder: Path, name: str) -> Path:
    """Return where a shard lies in the run folder of stage 04."""
    return folder / FOLDER / f"{name}.npy"


def is_finished(path: Path, shape: tuple[int, int]) -> bool:
    """Tell whether an earlier run completed a shard: it is renamed into place only when whole."""
    if not path.is_file():
        return False
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError):  # cut or overwritten by something else: it is made again
        return False
    return bool(found.shape == shape and found.dtype == np.float32)


def hash_shards(folder: Path, index: pd.DataFrame) -> dict[str, str]:
    """Return the hash of every shard that the table ``features`` names."""
    return {name: sha256(shard_path(folder, name)) for name in sorted(set(index["shard"]))}


def check_shards(folder: Path) -> None:
    """Hold every shard against its hash in ``shards.json``.

    Raises
    ------
    StageError
        Naming what is missing or changed.
    """
    wanted = read_json(folder / "shards.json")
    bad = [name for name in wanted if not shard_path(folder, name).is_file()]
    what = "missing" if bad else "damaged: its bytes have changed since it was made"
    bad = bad or [name for name, value in wanted.items() if sha256(shard_path(folder, name)) != value]
    if bad:
        raise StageError(
            f"{len(bad)} of {len(wanted)} shards of features cannot be used; {bad[0]!r} is {what}.",
            where=str(shard_path(folder, bad[0])),
            expected=f"The file with the hash in {folder / 'shards.json'}.",
            remedy="Delete the file and run notebooks/04_bake.ipynb again; it makes only what is missing.",
        )


def gather(folder: Path, index: pd.DataFrame, clips: pd.Series) -> NDArray[np.float32]:
    """Read the features of clips.

    Parameters
    ----------
    folder
        Run folder of stage 04.
    index
        Table ``features``.
    clips
        clip_id, in any order, repeats allowed.

    Returns
    -------
    ndarray
        float32 ``[clips, D]``.

    Raises
    ------
    StageError
        When a clip was not baked.
    """
    place = index.set_index("clip_id")[["shard", "row"]].reindex(clips)
    lacking = place.index[place["row"].isna()]
    if len(lacking):
        raise StageError(
            f"{len(lacking)} clips have no features: {', '.join(lacking[:5])}.",
            where=str(folder),
            expected="A row of the table 'features' for each clip.",
            remedy="Run notebooks/04_bake.ipynb again.",
        )
    shard, row = place["shard"].to_numpy(), place["row"].to_numpy(np.int64)
    features: NDArray[np.float32] | None = None
    for name in sorted(set(shard)):
        own = np.flatnonzero(shard == name)
        part = np.load(shard_path(folder, name), mmap_mode="r", allow_pickle=False)[row[own]]
        features = np.empty((len(shard), part.shape[1]), np.float32) if features is None else features
        features[own] = part
    return np.empty((0, 0), np.float32) if features is None else features


def project_features(features: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the first two principal components of features ``[N, D]`` as ``[N, 2]``, signs fixed.

    Examples
    --------
    >>> project_features(np.array([[0.0, 1.0], [0.0, 5.0]])).round(6)[:, 0]
    array([-2.,  2.])
    """
    centred = features - features.mean(axis=0, dtype=np.float64)
    left, scale, right = np.linalg.svd(centred, full_matrices=False)
    largest = np.abs(right[:2]).argmax(axis=1)
    signs = np.sign(right[:2][np.arange(min(2, len(right))), largest])  # largest weight positive
    points: NDArray[np.float64] = left[:, :2] * scale[:2] * signs
    return points
