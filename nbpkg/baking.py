"""Features of clips from a frozen encoder, kept so that heads train in seconds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from torch import nn

from nbpkg import tables
from nbpkg.errors import MediaError
from nbpkg.progress import Report
from nbpkg.runs.files import write_array
from nbpkg.video.frames import FrameStore


def distinct_clips(samples: pd.DataFrame) -> pd.DataFrame:
    """Return each clip of the table samples once (columns clip_id, session, start_ms, end_ms), in order.

    Several raters, tasks and variables share a clip; its features are computed once.
    """
    columns = ["clip_id", "session", "start_ms", "end_ms"]
    return samples[columns].drop_duplicates().sort_values(["session", "start_ms"]).reset_index(drop=True)


def bake_features(
    encoder: nn.Module,
    clips: pd.DataFrame,
    *,
    stores: Mapping[str, FrameStore],
    folder: Path,
    size: int,
    batch_size: int,
    device: torch.device,
) -> tuple[np.ndarray, pd.DataFrame]:
    """Compute the features of all clips, one shard for each session; finished shards are kept.

    Parameters
    ----------
    encoder
        Takes uint8 ``[B, 3, T, H, W]``, gives ``[B, D]``.
    clips
        As from `distinct_clips`.
    stores
        Open frame store of each session.
    folder
        Receives the shards ``<session>.npy``; must belong to these settings alone.
    size
        Side of the square put into the network, pixels: the frame's short side is scaled to it, its centre taken.
    batch_size
        Clips per forward pass.
    device
        Where the encoder runs.

    Returns
    -------
    numpy.ndarray
        float32 ``[N, D]``, rows as in the table.
    pandas.DataFrame
        Table features.

    Raises
    ------
    MediaError
        When a clip reaches beyond its video.
    """
    folder.mkdir(parents=True, exist_ok=True)
    encoder = encoder.to(device).to(memory_format=torch.channels_last_3d)  # as the stacked frames lie: faster
    report = Report("bake", total=len(clips), unit="clip")
    ordered = clips.sort_values(["session", "start_ms"]).reset_index(drop=True)
    parts = []
    for session, rows in ordered.groupby("session", sort=True):
        shard = folder / f"{session}.npy"
        part = _finished_shard(shard, len(rows))
        if part is None:
            part = _encode(encoder, stores[str(session)], rows, size=size, batch_size=batch_size, device=device)
            write_array(shard, part)
        parts.append(part)
        report.step(len(rows), note=str(session))
    report.close()
    table = ordered.assign(row=np.arange(len(ordered)))
    return np.concatenate(parts), tables.check(table, "features")


def _finished_shard(path: Path, rows: int) -> np.ndarray | None:
    """Return a shard that an earlier run completed; shards are renamed into place, so that a file is a whole one."""
    if not path.is_file():
        return None
    part = np.load(path, allow_pickle=False)
    return part if len(part) == rows else None


def _encode(
    encoder: nn.Module, store: FrameStore, rows: pd.DataFrame, *, size: int, batch_size: int, device: torch.device
) -> np.ndarray:
    features: list[np.ndarray] = []
    batch: list[np.ndarray] = []
    for start_ms, end_ms in rows[["start_ms", "end_ms"]].itertuples(index=False):
        clip = store.clip(int(start_ms), int(end_ms))
        if len(clip) == 0:
            raise MediaError(
                f"The clip from {start_ms} to {end_ms} ms has no frames.",
                where=str(store.path),
                expected=f"A clip within the video's {len(store)} frames.",
                remedy="Check that annotations and video belong together.",
            )
        if batch and (len(batch) == batch_size or len(batch[0]) != len(clip)):  # a clip holds one frame more or less
            features.append(_forward(encoder, batch, device))
            batch = []
        batch.append(square(clip, size))
    features.append(_forward(encoder, batch, device))
    return np.concatenate(features).astype(np.float32)


def _forward(encoder: nn.Module, clips: list[np.ndarray], device: torch.device) -> np.ndarray:
    batch = torch.from_numpy(np.stack(clips)).permute(0, 4, 1, 2, 3).to(device)
    with torch.inference_mode():
        result: np.ndarray = encoder(batch).float().cpu().numpy()
    return result


def square(frames: np.ndarray, size: int) -> np.ndarray:
    """Scale the short side of frames uint8 ``[T, H, W, 3]`` to `size` pixels and take the central square.

    Examples
    --------
    >>> square(np.zeros((2, 160, 288, 3), np.uint8), 112).shape
    (2, 112, 112, 3)
    """
    height, width = frames.shape[1:3]
    scale = size / min(height, width)
    new = (max(size, round(width * scale)), max(size, round(height * scale)))
    top, left = (new[1] - size) // 2, (new[0] - size) // 2
    scaled = [cv2.resize(frame, new, interpolation=cv2.INTER_AREA) for frame in frames]
    return np.stack(scaled)[:, top : top + size, left : left + size]


def project_features(features: np.ndarray) -> np.ndarray:
    """Return the first two principal components of features ``[N, D]`` as ``[N, 2]``, signs fixed.

    Examples
    --------
    >>> project_features(np.array([[0.0, 1.0], [0.0, 5.0]])).round(6)[:, 0]
    array([-2.,  2.])
    """
    centred = features - features.mean(axis=0)
    left, scale, right = np.linalg.svd(centred, full_matrices=False)
    signs = np.sign(
        right[:2][np.arange(min(2, len(right))), np.abs(right[:2]).argmax(axis=1)]
    )  # largest weight positive
    points: np.ndarray = left[:, :2] * scale[:2] * signs
    return points
