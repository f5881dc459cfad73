"""Pictures of people as tokens: each person is cut out of a frame of every token and described."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from nbpkg.errors import WeightsError
from nbpkg.features.boxes import crop
from nbpkg.features.embed import Embedder
from nbpkg.features.people.tokens import Cast, Window, WindowTokens
from nbpkg.settings.people import PersonModality
from nbpkg.video.stores import Store

SMALL = "small"
_CELLS, _SIDE = 4, 64
_AHEAD = 32  # frames decoded while those before are described
_ENDINGS = (".safetensors", ".pt", ".pth")


class Describe(Protocol):
    """What turns RGB crops of any size into rows of numbers."""

    width: int

    def __call__(self, crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Describe crops uint8 ``[H, W, 3]``; float32 ``[crops, width]``."""
        ...


class SmallPictures:
    """Describes crops without a network: means and spreads of red, green and blue in 4 × 4 cells, 0 to 1.

    Parameters
    ----------
    size
        Side to which crops are shrunk, pixels; a multiple of 4 up to 64 is taken.

    Attributes
    ----------
    width
        Number of features, 96.
    """

    width = 2 * 3 * _CELLS**2

    def __init__(self, size: int = _SIDE) -> None:
        self.side = min(_SIDE, size // _CELLS * _CELLS)

    def __call__(self, crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Describe crops uint8 ``[H, W, 3]``; float32 ``[crops, 96]``."""
        rows = [self._describe(one) for one in crops]
        return np.stack(rows) if rows else np.zeros((0, self.width), np.float32)

    def _describe(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        small = cv2.resize(picture, (self.side, self.side), interpolation=cv2.INTER_AREA).astype(np.float64) / 255
        cell = self.side // _CELLS
        cells = small.reshape(_CELLS, cell, _CELLS, cell, 3)
        whole = np.concatenate([cells.mean(axis=(1, 3)).ravel(), cells.std(axis=(1, 3)).ravel()])
        return whole.astype(np.float32)


def build_describer(
    modality: PersonModality,
    *,
    data: Path,
    device: torch.device | None = None,
    seed: int = 0,
    cache: Path | None = None,
) -> Describe:
    """Make what describes crops.

    Parameters
    ----------
    modality
        Its network, weights and size.
    data
        Data folder, in which a file of weights is.
    device, seed, cache
        See `nbpkg.features.embed.Embedder`.

    Raises
    ------
    SettingsError
        When there is no such network.
    WeightsError
        When weights cannot be had or do not fit.
    """
    if modality.network == SMALL:
        return SmallPictures(modality.size)
    weights = modality.weights
    if Path(weights).suffix in _ENDINGS:
        if not (data / weights).is_file():
            raise WeightsError(
                f"There are no weights {weights!r}.",
                where=str(data / weights),
                expected=f"A state dict of {modality.network}.",
                remedy="Put the file there, or set 'weights' to none or imagenet.",
            )
        weights = str(data / weights)
    return Embedder(modality.network, weights, size=modality.size, device=device, seed=seed, cache=cache)


def pick_frames(window: Window, boxes: NDArray[np.float64], *, rate: str) -> NDArray[np.int64]:
    """Choose the frame of each person and token: with a box, nearest to the middle of the token's frames.

    Parameters
    ----------
    window
        Which frames.
    boxes
        ``[P, F, 4]``; NaN where somebody is not seen.
    rate
        Tokens per second, a fraction.

    Returns
    -------
    ndarray
        Frame of the store ``[P, L]``; -1 where somebody is in no frame of the token.
    """
    place, length = window.place_frames(rate), window.count_tokens(rate)
    seen = np.asarray(np.isfinite(boxes[:, window.first : window.stop]).all(axis=-1))
    chosen = np.full((len(boxes), length), -1, np.int64)
    for token in range(length):
        own = np.flatnonzero(place == token)
        if not len(own):
            continue
        nearest = own[np.argsort(np.abs(own - (own[0] + own[-1]) / 2), kind="stable")]
        for person in range(len(boxes)):
            there = nearest[seen[person, nearest]]
            if len(there):
                chosen[person, token] = window.first + there[0]
    return chosen


def crop_tokens(
    windows: Sequence[Window],
    cast: Cast,
    stores: Mapping[str, Store],
    *,
    describe: Describe,
    rate: str,
    threads: int = 1,
) -> list[WindowTokens]:
    """Describe the pictures of everybody in some windows; each frame is read once, each crop described once.

    Parameters
    ----------
    windows
        Of one recording.
    cast
        Who is where.
    stores
        Open frame store of each session.
    describe
        Describes crops.
    rate
        Tokens per second, a fraction.
    threads
        How many read frames.

    Returns
    -------
    list of WindowTokens
        One for each window.
    """
    chosen = [pick_frames(one, cast.boxes[one.session], rate=rate) for one in windows]
    wanted: dict[tuple[str, int], list[int]] = {}
    for one, frames in zip(windows, chosen, strict=True):
        for person, frame in {(int(person), int(frames[person, token])) for person, token in np.argwhere(frames >= 0)}:
            people = wanted.setdefault((one.session, frame), [])
            if person not in people:
                people.append(person)
    order = [(session, frame, sorted(wanted[session, frame])) for session, frame in sorted(wanted)]
    rows = _describe_all(order, cast, stores, describe, threads)
    found = []
    for one, frames in zip(windows, chosen, strict=True):
        values = np.zeros((*frames.shape, describe.width), np.float32)
        for person, token in np.argwhere(frames >= 0):
            values[person, token] = rows[one.session, int(frames[person, token]), int(person)]
        found.append(WindowTokens(values, frames >= 0))
    return found


def _describe_all(
    order: Sequence[tuple[str, int, list[int]]],
    cast: Cast,
    stores: Mapping[str, Store],
    describe: Describe,
    threads: int,
) -> dict[tuple[str, int, int], NDArray[np.float32]]:
    """Return the row of each session, frame and person; frames are read ahead while crops are described."""

    def cut(wanted: tuple[str, int, list[int]]) -> list[NDArray[np.uint8]]:
        session, frame, people = wanted
        picture = stores[session].picture(frame)
        sides = np.tile(picture.shape[1::-1], 2)
        return [
            crop(picture, tuple((cast.boxes[session][person, frame] * sides).tolist()))[0].copy() for person in people
        ]

    rows: dict[tuple[str, int, int], NDArray[np.float32]] = {}
    parts = [order[start : start + _AHEAD] for start in range(0, len(order), _AHEAD)]
    with ThreadPoolExecutor(max(1, threads)) as pool:
        ahead = [pool.submit(cut, one) for one in parts[0]] if parts else []
        for number, part in enumerate(parts):
            crops = [one.result() for one in ahead]
            ahead = [pool.submit(cut, one) for one in parts[number + 1]] if number + 1 < len(parts) else []
            described = iter(describe([one for several in crops for one in several]))
            for session, frame, people in part:
                rows |= {(session, frame, person): next(described) for person in people}
    return rows
