"""Batches of windows: each face is decoded once in a batch, however many of its windows hold it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from nbpkg.datasets.looking.windows import AROUND, SLOTS, Fill, Windows, drop_slots, fill_slots
from nbpkg.features.looking.packs import CropPacks
from nbpkg.features.looking.pixels import normalise_crops, resize_crops
from nbpkg.features.looking.priors import mirror_angles, mirror_landmarks, read_angles
from nbpkg.models.looking.priors import Compat, normalise_landmarks, quantise_head, quantise_landmarks
from nbpkg.seeding import generator

Cut = tuple[int, int, int, int]  # x, y, width, height, pixels
_RATIOS = (math.log(3 / 4), math.log(4 / 3))
_TRIES = 10


class WindowBatch(NamedTuple):
    """Some windows.

    Parameters
    ----------
    crops
        Different pictures of the batch, float32 ``[N, 3, S, S]``, normalised as for ImageNet; none (N = 0) where they
        were not asked for.
    where
        Which of them stands in each place of each window, int64 ``[B, 7]``.
    head
        Rows of the tables of yaw, pitch, roll, int64 ``[B, 3]``.
    points
        Rows of the tables of places and confidences, int64 ``[B, 5, 2]``.
    label
        1 looking, 0 not, -1 unknown, int64 ``[B]``.
    rows
        Face of each picture, row of ``faces.npy``, int64 ``[N]``, -1 for black; given without pictures, too.
    number
        Which windows, int64 ``[B]``.
    """

    crops: torch.Tensor
    where: torch.Tensor
    head: torch.Tensor
    points: torch.Tensor
    label: torch.Tensor
    rows: torch.Tensor
    number: torch.Tensor


@dataclass(frozen=True)
class PriorGrids:
    """How priors become rows of tables.

    Parameters
    ----------
    split
        Degrees of a row of an angle.
    dsplit, csplit
        Side of a landmark's cell, crop sides; step of its confidence.
    compat
        See `nbpkg.models.looking.priors`.
    """

    split: float = 1.0
    dsplit: float = 0.1
    csplit: float = 0.1
    compat: Compat = "none"


@dataclass(frozen=True)
class Variation:
    """How windows vary in training.

    Parameters
    ----------
    mirror
        Mirror half of the windows.
    least_area
        Least share of its area that a random cut of a crop keeps; 1 for no cut.
    per
        One cut for all faces of a window, or one for each, as published, which looks like a moving head.
    mirror_priors
        Mirror priors with their window; the published program does not.
    """

    mirror: bool = True
    least_area: float = 0.8
    per: Literal["window", "face"] = "window"
    mirror_priors: bool = True


@dataclass(frozen=True)
class WindowRule:
    """What stands in the places of a window.

    Parameters
    ----------
    fill
        See `nbpkg.datasets.looking.windows.fill_slots`.
    dropout
        Leave blurred faces out (`nbpkg.datasets.looking.windows.drop_slots`).
    margin
        Share of faces that `dropout` never leaves out.
    drop_centre
        Without training: leave out a blurred face that is asked about, too; as published for test crops.
    """

    fill: Fill = "nearest"
    dropout: bool = False
    margin: float = 0.2
    drop_centre: bool = False


@dataclass(frozen=True)
class WindowBatches:
    """Makes batches of windows, the same for the same seed, epoch and window, whatever the batches and processes.

    Parameters
    ----------
    windows
        Which.
    packs
        Crops of their tracks; None where only rows are wanted, for features made before.
    priors
        Of all faces, `nbpkg.features.looking.priors.PRIOR_DTYPE`.
    p
        How sharp each face is, 0 to 1, ``[faces]``; NaN where nothing is known. Needed for dropout.
    size
        Side of a crop as the network sees it, pixels.
    grids
        How priors become rows.
    rule
        What stands in the places of a window.
    variation
        How windows vary; None outside of training, where nothing is random.
    seed
        Of all that is random.
    """

    windows: Windows
    packs: CropPacks | None
    priors: NDArray[np.void]
    p: NDArray[np.floating] | None = None
    size: int = 224
    grids: PriorGrids = field(default_factory=PriorGrids)
    rule: WindowRule = field(default_factory=WindowRule)
    variation: Variation | None = None
    seed: int = 0

    def __len__(self) -> int:
        return len(self.windows)

    def shuffle(self, epoch: int) -> NDArray[np.int64]:
        """Return the numbers of all windows in the order of an epoch."""
        return generator(self.seed, "order", epoch).permutation(len(self.windows)).astype(np.int64)

    def each(
        self, numbers: Sequence[int] | NDArray[np.integer], *, batch: int, epoch: int = 0, readers: int = 0
    ) -> Iterator[WindowBatch]:
        """Make batches in order.

        Parameters
        ----------
        numbers
            Of windows, in the order wanted, e.g. `shuffle`, or every second of it for one of two processes.
        batch
            Windows at once; the last batch may be smaller.
        epoch
            What is random depends on it.
        readers
            Threads that make batches ahead of their use; 0 makes them when they are asked for.
        """
        parts = [np.asarray(numbers[start : start + batch]) for start in range(0, len(numbers), batch)]
        yield from self.each_of(parts, epoch=epoch, readers=readers)

    def each_of(
        self, parts: Sequence[NDArray[np.integer]], *, epoch: int = 0, readers: int = 0
    ) -> Iterator[WindowBatch]:
        """Make a batch of each part, in order; `epoch` and `readers` as for `each`."""
        if readers <= 0:
            yield from (self.make(part, epoch=epoch) for part in parts)
            return
        with ThreadPoolExecutor(readers) as pool:
            waiting: deque[Future[WindowBatch]] = deque()
            for part in parts:
                waiting.append(pool.submit(self.make, part, epoch=epoch))
                if len(waiting) > readers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    def make(self, numbers: Sequence[int] | NDArray[np.integer], *, epoch: int = 0) -> WindowBatch:
        """Make one batch.

        Parameters
        ----------
        numbers
            Of its windows.
        epoch
            What is random depends on it.

        Raises
        ------
        MediaError
            When a crop is damaged.
        """
        chosen = np.array(numbers, np.int64, order="C")
        draws = [self._draw(int(number), epoch) for number in chosen]
        mirrored = np.array([draw.mirrored for draw in draws], bool)
        slots = fill_slots(self._drop(self.windows.slots[chosen], draws), self.rule.fill)
        keys = [
            [_Key(row, draw.mirrored, None if row < 0 else draw.cuts[place]) for place, row in enumerate(own)]
            for own, draw in zip(slots.tolist(), draws, strict=True)
        ]
        unique = {key: place for place, key in enumerate(dict.fromkeys(key for own in keys for key in own))}
        where = [[unique[key] for key in own] for own in keys]
        head, points = self._find_priors(self.windows.row[chosen], mirrored)
        return WindowBatch(
            self._picture(list(unique)),
            torch.tensor(where, dtype=torch.int64).reshape(-1, SLOTS),
            torch.from_numpy(head),
            torch.from_numpy(points),
            torch.from_numpy(self.windows.label[chosen]),
            torch.tensor([key.row for key in unique], dtype=torch.int64),
            torch.from_numpy(chosen),
        )

    def _draw(self, number: int, epoch: int) -> _Draw:
        """Draw what is random of one window: mirrored, six faces left out, cuts; in this order, as published."""
        if self.variation is None:
            return _Draw(False, np.zeros(len(AROUND)), [None] * SLOTS)
        random = generator(self.seed, "window", epoch, number)
        mirrored = bool(random.random() > 0.5) and self.variation.mirror
        left_out = random.random(len(AROUND))
        if self.variation.least_area >= 1:
            return _Draw(mirrored, left_out, [None] * SLOTS)
        if self.variation.per == "window":
            return _Draw(mirrored, left_out, [draw_cut(random, self.size, self.variation.least_area)] * SLOTS)
        return _Draw(mirrored, left_out, [draw_cut(random, self.size, self.variation.least_area) for _ in range(SLOTS)])

    def _drop(self, slots: NDArray[np.int64], draws: Sequence[_Draw]) -> NDArray[np.int64]:
        if not self.rule.dropout or self.p is None:
            return slots
        uniform = np.array([draw.left_out for draw in draws]).reshape(-1, len(AROUND))
        return drop_slots(
            slots,
            self.p,
            training=self.variation is not None,
            margin=self.rule.margin,
            uniform=uniform,
            drop_centre=self.rule.drop_centre,
        )

    def _find_priors(
        self, rows: NDArray[np.int64], mirrored: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        own, grids = self.priors[rows], self.grids
        angles, vectors = read_angles(own), normalise_landmarks(own["points"])
        if self.variation is not None and self.variation.mirror_priors:
            angles = np.where(mirrored[:, None], mirror_angles(angles), angles)
            vectors = np.where(mirrored[:, None], mirror_landmarks(vectors), vectors)
        head = quantise_head(angles, grids.split, compat=grids.compat)
        points = quantise_landmarks(vectors, grids.dsplit, csplit=grids.csplit, compat=grids.compat)
        return head, points

    def _picture(self, keys: Sequence[_Key]) -> torch.Tensor:
        """Decode, resize, cut and mirror the pictures of a batch."""
        if self.packs is None:
            return torch.zeros(0, 3, self.size, self.size)
        rows = list(dict.fromkeys(key.row for key in keys if key.row >= 0))
        faces = dict(zip(rows, resize_crops(self.packs.read(rows), self.size), strict=True))
        pictures = np.zeros((len(keys), self.size, self.size, 3), np.uint8)
        for picture, key in zip(pictures, keys, strict=True):
            if key.row >= 0:
                picture[:] = vary_crop(faces[key.row], mirrored=key.mirrored, cut=key.cut)
        return normalise_crops(pictures)


class _Key(NamedTuple):
    """What makes one picture of a batch."""

    row: int
    mirrored: bool
    cut: Cut | None


class _Draw(NamedTuple):
    """What is random of one window."""

    mirrored: bool
    left_out: NDArray[np.float64]
    cuts: list[Cut | None]


def draw_cut(random: np.random.Generator, size: int, least_area: float) -> Cut:
    """Draw which part of a square crop is kept: `least_area` to all of its area, 3:4 to 4:3, anywhere.

    Parameters
    ----------
    random
        Where numbers come from.
    size
        Side of the crop, pixels.
    least_area
        Least share of the area.

    Returns
    -------
    tuple
        x, y, width, height, pixels. The whole crop when ten tries gave none that fits in it.

    Source: Szegedy et al., CVPR 2015, as torchvision's RandomResizedCrop.
    """
    for _ in range(_TRIES):
        area = size * size * random.uniform(least_area, 1)
        ratio = math.exp(random.uniform(*_RATIOS))
        width, height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < width <= size and 0 < height <= size:
            x, y = int(random.integers(size - width + 1)), int(random.integers(size - height + 1))
            return x, y, width, height
    return 0, 0, size, size


def vary_crop(crop: NDArray[np.uint8], *, mirrored: bool = False, cut: Cut | None = None) -> NDArray[np.uint8]:
    """Mirror a crop, uint8 ``[S, S, 3]``, left to right, and bring a part of it to its whole size."""
    picture = crop[:, ::-1] if mirrored else crop
    if cut is None:
        return picture
    x, y, width, height = cut
    part = np.ascontiguousarray(picture[y : y + height, x : x + width])
    resized = cv2.resize(part, crop.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return resized.astype(np.uint8, copy=False)
