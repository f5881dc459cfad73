"""What a VTD network sees of a person in a frame, and what it is to answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image

from nbpkg.datasets.gaze import maps
from nbpkg.datasets.gaze.augment import UNCHANGED, Changes, Persons, change_persons, change_picture
from nbpkg.datasets.gaze.boxes import check_boxes, cut_face, widen
from nbpkg.datasets.gaze.maps import Compat, Floats
from nbpkg.errors import TableError

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Preparation:
    """How frames, head boxes and gaze points become tensors.

    Parameters
    ----------
    size
        Side of scene and face, pixels.
    map_size
        Side of the heat map, cells.
    sigma
        Width of the bell on the heat map, cells.
    widened
        Share by which every head box is widened first: 0.1 for GazeFollow and for inference on videos with the spatial
        model, 0 for video training.
    rounded_face
        Whether the face is cut at rounded pixels, as VTD's demonstration does, instead of truncated ones.
    compat
        ``reference`` for VTD's maps, rounding of crops and empty boxes as they are, see `maps` and `boxes`.
    """

    size: int = maps.INPUT_SIZE
    map_size: int = maps.MAP_SIZE
    sigma: float = maps.SIGMA
    widened: float = 0.0
    rounded_face: bool = False
    compat: Compat = "none"


class Inputs(NamedTuple):
    """What the network sees, one row per frame and person.

    Parameters
    ----------
    scene
        Whole frame, ImageNet-normalised, float32 ``[N, 3, S, S]``.
    head
        Head channel, 0 or 1, float32 ``[N, 1, S, S]``.
    face
        Crop of the head box, ImageNet-normalised, float32 ``[N, 3, S, S]``.
    """

    scene: torch.Tensor
    head: torch.Tensor
    face: torch.Tensor


class Targets(NamedTuple):
    """What the network is to answer, one row per frame and person.

    Parameters
    ----------
    maps
        Heat map, highest value 1; zeros for a target outside the picture; float32 ``[N, M, M]``.
    inside
        1 inside, 0 outside, -1 unknown; float32 ``[N]``.
    gaze
        Gaze point as fractions of width and height of the (cropped) picture, NaN outside; float32 ``[N, 2]``.
    """

    maps: torch.Tensor
    inside: torch.Tensor
    gaze: torch.Tensor


class Pixels(NamedTuple):
    """Inputs before their numbers are scaled: a quarter of the bytes, so this is what a loader's workers send.

    Parameters
    ----------
    scene, face
        RGB, uint8 ``[N, S, S, 3]``.
    heads
        Cells of the head channel, ``x0 y0 x1 y1`` half-open, int64 ``[N, 4]``.
    """

    scene: torch.Tensor
    face: torch.Tensor
    heads: torch.Tensor

    def make_inputs(self, device: torch.device | str = "cpu") -> Inputs:
        """Bring the pixels to a device and scale them there."""
        scene, face = (_normalise(part.to(device, non_blocking=True)) for part in (self.scene, self.face))
        place = torch.arange(scene.shape[-1], device=device)
        x0, y0, x1, y1 = self.heads.to(device, non_blocking=True).T.unsqueeze(2)
        columns, rows = (place >= x0) & (place < x1), (place >= y0) & (place < y1)
        return Inputs(scene, (rows[:, None, :, None] & columns[:, None, None, :]).float(), face)


class SamplePicture(NamedTuple):
    """One prepared sample as it can be shown.

    Parameters
    ----------
    scene, face
        uint8 RGB ``[S, S, 3]``.
    head_box
        ``x0 y0 x1 y1`` on the scene, pixels, half-open; zeros when the head channel is empty.
    heat
        Heat map, ``[M, M]``, 0 to 1.
    gaze
        Gaze point on the scene, pixels; NaN outside.
    inside
        1, 0 or -1.
    """

    scene: Picture
    face: Picture
    head_box: NDArray[np.int64]
    heat: NDArray[np.float32]
    gaze: NDArray[np.float32]
    inside: int


def read_persons(table: pd.DataFrame) -> Persons:
    """Take boxes, gaze points and sizes out of a table.

    Parameters
    ----------
    table
        Columns x0, y0, x1, y1, gaze_x, gaze_y, inside, width, height, as in the table `gaze`.
    """
    return Persons(
        table[["x0", "y0", "x1", "y1"]].to_numpy(np.float64),
        table[["gaze_x", "gaze_y"]].to_numpy(np.float64),
        table["inside"].to_numpy(np.int64),
        table[["width", "height"]].to_numpy(np.float64),
    )


def ready_persons(people: Persons, how: Preparation) -> Persons:
    """Check and widen the head boxes; what is drawn at random starts from these.

    Parameters
    ----------
    people
        As annotated.
    how
        Share of widening, and compat: ``reference`` takes boxes as they are.

    Raises
    ------
    TableError
        When a person has no head box.
    """
    boxes = check_boxes(people.boxes, people.sizes).boxes if how.compat == "none" else people.boxes
    return people._replace(boxes=widen(boxes, how.widened) if how.widened else boxes)


def place_persons(people: Persons, changes: Changes, how: Preparation) -> Persons:
    """Find heads and gaze points in the changed pictures.

    Parameters
    ----------
    people
        From `ready_persons`.
    changes
        The draw.
    how
        With compat ``none`` crops count in whole pixels, as the pixels themselves do, and a point of a target outside
        is no point.
    """
    gaze = np.where((people.inside == 1)[:, None], np.maximum(people.gaze, 0), people.gaze)
    if how.compat == "none":
        gaze = np.where((people.inside == 1)[:, None], gaze, np.nan)
    return change_persons(people._replace(gaze=gaze), changes, whole_pixels=how.compat == "none")


def make_targets(placed: Persons, how: Preparation) -> Targets:
    """Draw the maps that the network is to answer.

    Parameters
    ----------
    placed
        From `place_persons`.
    how
        Size and kind of the maps.
    """
    gaze = placed.gaze / placed.sizes
    heat = maps.gaze_map(gaze, size=how.map_size, sigma=how.sigma, compat=how.compat)
    return Targets(
        torch.from_numpy(heat),
        torch.from_numpy(placed.inside.astype(np.float32)),
        torch.from_numpy(gaze.astype(np.float32)),
    )


def look_at(
    picture: Picture, box: Floats, size: Floats, *, changes: Changes, how: Preparation
) -> tuple[Picture, Picture]:
    """Bring one picture and one face to the network's size.

    Parameters
    ----------
    picture
        uint8 RGB ``[H, W, 3]``.
    box
        Head box in the changed picture, from `place_persons`, ``[4]``.
    size
        ``width height`` that the box refers to before the changes; a picture that was stored smaller or larger is
        taken into account.
    changes
        The draw.
    how
        Size of the result.

    Returns
    -------
    scene, face : ndarray
        uint8 RGB ``[S, S, 3]``.
    """
    changed = change_picture(Image.fromarray(picture), changes)
    scene = changed.resize((how.size, how.size), Image.Resampling.BILINEAR)
    scale = np.array([picture.shape[1], picture.shape[0]] * 2) / np.tile(size, 2)
    face = cut_face(changed, box * scale, size=how.size, compat=how.compat, rounded=how.rounded_face)
    return np.asarray(scene), np.asarray(face)


def join_pixels(scenes: Picture, faces: Picture, placed: Persons, how: Preparation) -> Pixels:
    """Put together what was looked at and where the heads are.

    Parameters
    ----------
    scenes, faces
        uint8 RGB ``[N, S, S, 3]``.
    placed
        From `place_persons`.
    how
        Size and kind of the head channel.
    """
    heads = maps.head_rectangles(placed.boxes, placed.sizes, size=how.size, compat=how.compat)
    return Pixels(torch.from_numpy(scenes), torch.from_numpy(faces), torch.from_numpy(heads))


def prepare(
    pictures: Iterable[Picture], people: Persons, how: Preparation, *, changes: Changes | Sequence[Changes] = UNCHANGED
) -> tuple[Inputs, Targets]:
    """Prepare persons and their pictures, which are taken one at a time.

    Parameters
    ----------
    pictures
        uint8 RGB ``[H, W, 3]``, one for each row, sizes may differ.
    people
        As annotated, ``N`` rows.
    how
        Sizes and kinds.
    changes
        One draw for all rows, or one for each.

    Raises
    ------
    TableError
        When a person has no head box, or pictures and rows differ in number.
    """
    count = len(people.boxes)
    each = [changes] * count if isinstance(changes, Changes) else list(changes)
    placed = place_all(ready_persons(people, how), each, how)
    scenes, faces = np.empty((2, count, how.size, how.size, 3), dtype=np.uint8)
    seen = 0
    for row, picture in enumerate(pictures):
        seen += 1
        if row < count:
            scenes[row], faces[row] = look_at(picture, placed.boxes[row], people.sizes[row], changes=each[row], how=how)
    if seen != count:
        raise TableError(
            f"There are {seen} pictures for {count} persons.",
            expected="One picture for each row.",
            remedy="Give the picture once for every person in it.",
        )
    return join_pixels(scenes, faces, placed, how).make_inputs(), make_targets(placed, how)


def place_all(people: Persons, changes: Sequence[Changes], how: Preparation) -> Persons:
    """Place persons of whom each has a draw (see `place_persons`), all rows of one draw at once.

    Parameters
    ----------
    people
        From `ready_persons`, ``N`` rows.
    changes
        ``N`` draws.
    how
        As in `place_persons`.
    """
    placed = people._replace(boxes=people.boxes.copy(), gaze=people.gaze.copy(), sizes=people.sizes.copy())
    rows: dict[Changes, list[int]] = {}
    for row, drawn in enumerate(changes):
        rows.setdefault(drawn, []).append(row)
    for drawn, places in rows.items():
        part = place_persons(people.take(places), drawn, how)
        placed.boxes[places], placed.gaze[places], placed.sizes[places] = part.boxes, part.gaze, part.sizes
    return placed


def show_sample(inputs: Inputs, targets: Targets, row: int) -> SamplePicture:
    """Turn one prepared sample back into pictures, to look at what the augmentation did.

    Parameters
    ----------
    inputs, targets
        From `prepare` or a block.
    row
        Which sample.
    """
    scene, face = (_undo(part[row]) for part in (inputs.scene, inputs.face))
    rows, columns = (np.flatnonzero(inputs.head[row, 0].amax(axis).numpy()) for axis in (1, 0))
    filled = len(rows) > 0
    box = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1] if filled else [0, 0, 0, 0]
    gaze = targets.gaze[row].numpy() * inputs.scene.shape[-1]
    return SamplePicture(
        scene, face, np.array(box, dtype=np.int64), targets.maps[row].numpy(), gaze, int(targets.inside[row])
    )


def _undo(planes: torch.Tensor) -> Picture:
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    pixels: Picture = (planes.cpu() * std + mean).mul(255).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
    return pixels


def _normalise(pixels: torch.Tensor) -> torch.Tensor:
    mean, std = (torch.tensor(values, device=pixels.device).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    planes = pixels.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    return planes.mul_(1 / (255 * std)).sub_(mean / std)
