"""Pictures with all their people, for Gaze-LLE: the scene is encoded once, however many heads it shows."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch.nn import functional as F
from torch.utils.data import Dataset

from nbpkg import seeding
from nbpkg.datasets.gaze import maps
from nbpkg.datasets.gaze.augment import (
    UNCHANGED,
    Augment,
    Changes,
    Persons,
    change_persons,
    change_picture,
    draw_gazelle,
)
from nbpkg.datasets.gaze.blocks import FrameSource, check_frames
from nbpkg.datasets.gaze.boxes import check_boxes, clamp
from nbpkg.datasets.gaze.items import IMAGENET_MEAN, IMAGENET_STD, Picture, Targets, read_persons
from nbpkg.datasets.gaze.maps import Compat
from nbpkg.datasets.gaze.plans import Rows, check_settings, group_rows, no_rows, usable_rows

GAZELLE_SIZE = 448


@dataclass(frozen=True)
class PeoplePlan:
    """All pictures of one pass, in batches.

    Parameters
    ----------
    batches
        For each batch the pictures, for each picture the places of its people in the table.
    changes
        The draw of each picture, alike in shape.
    left_out
        Rows of the table that no picture uses.
    """

    batches: tuple[tuple[Rows, ...], ...]
    changes: tuple[tuple[Changes, ...], ...]
    left_out: int


class People(NamedTuple):
    """One batch of pictures with their people.

    Parameters
    ----------
    images
        ImageNet-normalised, float32 ``[B, 3, S, S]``; None when the data set was opened without frames.
    boxes
        Head boxes of each picture as fractions ``x0 y0 x1 y1`` of width and height, float32 ``[p, 4]``.
    targets
        What is to be answered, people of all pictures one after the other; maps are Gaze-LLE's.
    rows
        Places in the table, in the same order, int64 ``[P]``.
    """

    images: torch.Tensor | None
    boxes: list[torch.Tensor]
    targets: Targets
    rows: torch.Tensor


def plan_people(
    table: pd.DataFrame,
    *,
    batch: int,
    one_head: bool = False,
    inside_only: bool = False,
    every: int = 1,
    seed: int | None = None,
    epoch: int = 0,
    augment: Augment | None = None,
    need_targets: bool = True,
    compat: Compat = "none",
) -> PeoplePlan:
    """Plan one pass through the pictures of a table; no frame is read.

    Parameters
    ----------
    table
        Table `gaze`, one annotator.
    batch
        Pictures of each batch.
    one_head
        Whether a picture is shown once for each of its people, as published training does, instead of once.
    inside_only
        Whether to leave out people whose target is not inside (published training on GazeFollow).
    every
        Take every n-th picture of each session that shows anybody (published training on video: 6).
    seed
        For training: pictures are shuffled, and changes drawn, from this and the epoch. None keeps the table's order.
    epoch
        Number of the pass; each has its own draws.
    augment
        Random changes; None for none.
    need_targets
        As in `plans.usable_rows`.
    compat
        As in `draw_gazelle`.

    Raises
    ------
    SettingsError
        When a number is out of range, or something is to be drawn without a seed.
    TableError
        When nobody is left.
    """
    check_settings(batch=batch, chunk=every, limit=None, seed=seed, random=augment is not None)
    usable = usable_rows(table, need_targets=need_targets)
    if inside_only:
        usable &= table["inside"].to_numpy() == 1
    pictures = _list_pictures(table, np.flatnonzero(usable), every=every, one_head=one_head)
    if not pictures:
        raise no_rows(table, need_targets=need_targets)
    changes = [UNCHANGED] * len(pictures)
    if seed is not None:
        order = seeding.generator(seed, "gaze people", epoch).permutation(len(pictures))
        pictures = [pictures[place] for place in order]
        if augment is not None:
            ready, frames = _ready(read_persons(table)), table["frame"].to_numpy()
            names = table["session"].astype(str).to_numpy() + "/" + table["person"].astype(str).to_numpy()
            for place, rows in enumerate(pictures):
                name = f"{names[rows[0]]}/{frames[rows[0]]}"
                whole = random.Random(seeding.child(seed, "gaze people, whole numbers", epoch, name))
                draws = seeding.generator(seed, "gaze people", epoch, name)
                changes[place] = draw_gazelle(draws, whole, ready.take(rows), augment=augment, compat=compat)
    starts = range(0, len(pictures), batch)
    return PeoplePlan(
        tuple(tuple(pictures[start : start + batch]) for start in starts),
        tuple(tuple(changes[start : start + batch]) for start in starts),
        len(table) - len(np.unique(np.concatenate(pictures))),
    )


class PeopleDataset(Dataset[People]):
    """Batches of a plan, read when asked for; can be sent to another process.

    Parameters
    ----------
    plan
        From `plan_people`, of the same table.
    table
        Table `gaze`.
    stores
        Frames of each session.
    size
        Side of the pictures, pixels; a multiple of the backbone's patch.
    frames
        Whether to read frames; without, a batch has boxes, targets and rows only, for tokens that were baked before.

    Raises
    ------
    MediaError
        When a session has no frames, or fewer than the table says.
    """

    def __init__(
        self,
        plan: PeoplePlan,
        table: pd.DataFrame,
        *,
        stores: Mapping[str, FrameSource],
        size: int = GAZELLE_SIZE,
        frames: bool = True,
    ) -> None:
        self.plan, self.size = plan, size
        self.people = read_persons(table)
        self.session, self.frame = table["session"].astype(str).tolist(), table["frame"].to_numpy(np.int64)
        self.stores: dict[str, FrameSource] | None = None
        if frames:
            check_frames(table, stores)
            self.stores = {session: stores[session] for session in sorted(set(self.session))}

    def __len__(self) -> int:
        return len(self.plan.batches)

    def __getitem__(self, index: int) -> People:
        """Return a batch."""
        pictures, changes = self.plan.batches[index], self.plan.changes[index]
        placed = [place_people(self.people.take(rows), drawn) for rows, drawn in zip(pictures, changes, strict=True)]
        boxes = [torch.from_numpy((one.boxes / np.tile(one.sizes, 2)).astype(np.float32)) for one in placed]
        images = None
        if self.stores is not None:
            images = torch.stack(
                [
                    prepare_picture(self._read(int(rows[0])), size=self.size, changes=drawn)
                    for rows, drawn in zip(pictures, changes, strict=True)
                ]
            )
        everybody = Persons(*(np.concatenate(parts) for parts in zip(*placed, strict=True)))
        return People(images, boxes, make_people_targets(everybody), torch.from_numpy(np.concatenate(pictures)))

    def _read(self, row: int) -> Picture:
        stores = self.stores or {}
        picture: Picture = stores[self.session[row]].frames([int(self.frame[row])])[0]
        return picture


def place_people(people: Persons, changes: Changes) -> Persons:
    """Find heads and gaze points in a changed picture; heads are cut to it.

    Parameters
    ----------
    people
        As annotated.
    changes
        The draw of their picture.

    Raises
    ------
    TableError
        When a person has no head box.
    """
    placed = change_persons(_ready(people), changes, whole_pixels=True)
    gaze = np.where((people.inside == 1)[:, None], placed.gaze, np.nan)
    return placed._replace(boxes=clamp(placed.boxes, placed.sizes), gaze=gaze)


def make_people_targets(placed: Persons) -> Targets:
    """Draw the maps that Gaze-LLE is to answer.

    Parameters
    ----------
    placed
        From `place_people`.
    """
    gaze = placed.gaze / placed.sizes
    return Targets(
        torch.from_numpy(maps.gazelle_map(gaze)),
        torch.from_numpy(placed.inside.astype(np.float32)),
        torch.from_numpy(gaze.astype(np.float32)),
    )


def prepare_picture(picture: Picture, *, size: int = GAZELLE_SIZE, changes: Changes = UNCHANGED) -> torch.Tensor:
    """Bring a picture to Gaze-LLE's input; numbers are scaled before the size is, as published.

    Parameters
    ----------
    picture
        uint8 RGB ``[H, W, 3]``.
    size
        Side of the result, pixels.
    changes
        The draw.

    Returns
    -------
    Tensor
        ImageNet-normalised, float32 ``[3, size, size]``.
    """
    pixels = np.asarray(change_picture(Image.fromarray(picture), changes)) if changes != UNCHANGED else picture
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    planes = torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None].float().div_(255).sub_(mean).div_(std)
    small = F.interpolate(planes, size=(size, size), mode="bilinear", antialias=True)
    return small[0]


def _ready(people: Persons) -> Persons:
    gaze = np.where((people.inside == 1)[:, None], np.maximum(people.gaze, 0), np.nan)
    return people._replace(boxes=clamp(check_boxes(people.boxes, people.sizes).boxes, people.sizes), gaze=gaze)


def _list_pictures(table: pd.DataFrame, rows: Rows, *, every: int, one_head: bool) -> list[Rows]:
    """Return the rows of each picture that is taken, in the table's order."""
    pictures = group_rows(table, ["session", "frame"], rows)
    firsts = table[["session", "frame"]].iloc[[picture[0] for picture in pictures]]
    place = firsts.groupby("session", sort=False, observed=True)["frame"].rank(method="first").to_numpy(np.int64) - 1
    kept = [picture for picture, nth in zip(pictures, place, strict=True) if nth % every == 0]
    return [picture[i : i + 1] for picture in kept for i in range(len(picture))] if one_head else kept
